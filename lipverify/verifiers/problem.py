"""The question that every verifier is asked, and the protocol that it answers by."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol, runtime_checkable

import numpy as np

from lipverify.claims import L2, Ball, NormPair
from lipverify.evidence import Evidence
from lipverify.graph import Region


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Enclose the Lipschitz constant of one region.

    Attributes:
        region: what to bound.
        norms: norm of the region's input and of its output.
        bound: the claimed bound, for verifiers that may stop once it is decided; None without a claim.
        centers: inputs of the region, shape (k, *input_shape), around which local bounds are taken; None without.
        radius: l2 radius of the balls around ``centers``, in the region's own input space; None without.
        domain: the ball that the claim speaks of, in the region's own input space; None: the whole space. A witness
            must lie in it; a bound on the whole space holds in it.
        seed: of every random choice.
    """

    region: Region
    norms: NormPair = L2
    bound: Fraction | None = None
    centers: np.ndarray | None = None
    radius: Fraction | None = None
    domain: Ball | None = None
    seed: int = 0


@runtime_checkable
class Verifier(Protocol):
    """A configured verifier: a value with a name that encloses Lipschitz constants.

    A verifier states in its evidence which direction each bound has and how rigorous it is. What it cannot bound it
    answers with evidence that has a ``reason``; it raises only on misuse.
    """

    name: str

    def verify(self, problem: Problem) -> Evidence: ...
