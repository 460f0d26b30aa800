"""What a certificate states, and of what, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from lipverify.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor, as a certificate names it: what it is of, and the digest of its bytes."""

    dtype: str
    shape: tuple[int, ...]
    sha256: str


@dataclass(frozen=True, slots=True)
class Statement:
    """What a certificate states of one region in one norm pair.

    Attributes:
        path: the region's.
        norm: the norm pair.
        domain: digest of the ball that the claim is of; None for the whole space, and without a claim.
        claim: text of the claimed bound, or None.
        bound: the rational that it spells.
        verdict: None without a claim.
        upper: the region's constant is at most this on the whole space, or None.
        rule: of the whole, in words.
        input, output: names of values, or None where the region has no graph.
    """

    path: str
    norm: str
    domain: str | None
    claim: str | None
    bound: Fraction | None
    verdict: Verdict | None
    upper: Fraction | None
    rule: str | None
    input: str | None
    output: str | None

    @property
    def key(self) -> tuple[str, str, str | None]:
        """No certificate states two things of one path, norm pair and domain."""
        return self.path, self.norm, self.domain


@dataclass(frozen=True, slots=True)
class Margin:
    """That an input keeps its class within a radius.

    Attributes:
        input: digest of the input.
        kept: the class.
        norm: the norm pair of the bound that it rests on.
        radius: in l2.
    """

    input: str
    kept: int
    norm: str
    radius: Fraction

    @property
    def key(self) -> tuple[str, int]:
        """No certificate states two radii of one input and class."""
        return self.input, self.kept


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """What a certificate states, and of what.

    Attributes:
        weights: the tensors that it speaks of, by name.
        graph: the graph in JSON, its digest among it.
        statements: one per region, norm pair and domain.
        margins: one per input and class.
        made: by what it was made: names of tools and their versions.
        sha256: digest of the body: equal for certificates that state the same of the same.
        text: the file.
    """

    weights: Mapping[str, Stored]
    graph: Mapping[str, Any]
    statements: tuple[Statement, ...]
    margins: tuple[Margin, ...]
    made: Mapping[str, str]
    sha256: str
    text: str
