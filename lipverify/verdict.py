"""Evidence and a claim make a verdict; bounds that contradict each other or the claim make a mismatch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from lipverify.claims import Claim
from lipverify.evidence import Evidence


class Verdict(StrEnum):
    """What is known of a claim."""

    PROVED = "PROVED"
    """A rigorous upper bound is at or below the claim."""
    REFUTED = "REFUTED"
    """Two inputs show a ratio above the claim."""
    UNDECIDED = "UNDECIDED"
    """No rigorous bound reaches the claim from either side."""
    UNSUPPORTED = "UNSUPPORTED"
    """The layer contains an operation for which no rigorous bound can be derived."""
    CONFLICT = "CONFLICT"
    """Two rigorous bounds contradict each other: a verifier is wrong. Please report it."""


class MismatchKind(StrEnum):
    """What a contradiction is between."""

    CLAIM = "claim"
    RIGOROUS = "rigorous"
    NUMERIC = "numeric"


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A contradiction, in words: which bounds, of which verifiers, on which layer."""

    kind: MismatchKind
    path: str
    message: str


def judge(
    path: str, claim: Claim | None, evidence: Sequence[Evidence], unsupported: str | None
) -> tuple[Verdict | None, tuple[Mismatch, ...]]:
    raise NotImplementedError
