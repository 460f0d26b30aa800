"""What verifiers say: bounds with a direction and a rigor, and the input pairs that show them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

import numpy as np


class Rigor(StrEnum):
    """How a bound was obtained; only EXACT and RIGOROUS bounds prove or refute."""

    EXACT = "exact"
    """Checked in integer or rational arithmetic."""
    RIGOROUS = "rigorous"
    """float64 with every rounding error bounded outward."""
    NUMERIC = "numeric"
    """Floating point without an error account."""
    SAMPLED = "sampled"
    """The best of finitely many inputs, without an error account."""

    @property
    def proves(self) -> bool:
        return self in (Rigor.EXACT, Rigor.RIGOROUS)


@dataclass(frozen=True, slots=True, eq=False)
class Witness:
    """Two inputs of a region that show a lower bound of its Lipschitz constant.

    Attributes:
        x, y: arrays of the region's input shape, every entry exactly representable in the program's dtype.
        ratio: a lower bound of ||f(x) - f(y)|| / ||x - y|| in the norm pair that was asked, real semantics.
    """

    x: np.ndarray
    y: np.ndarray
    ratio: Fraction


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """One verifier's enclosure [lower, upper] of one region's Lipschitz constant.

    Attributes:
        verifier: its name.
        lower: nothing below this is a Lipschitz constant, or None.
        upper: this is a Lipschitz constant, or None.
        rigor: of both bounds.
        method: the rule or algorithm that gave the bounds, for people and (for PROVED) the rule's id.
        seconds: wall time spent.
        witness: what shows ``lower``, if anything does.
        local: the bounds hold on a ball around given inputs only, not on the whole space.
        reason: why there is no bound (the verifier does not support this region); None if there is one.
    """

    verifier: str
    lower: Fraction | None = None
    upper: Fraction | None = None
    rigor: Rigor = Rigor.NUMERIC
    method: str = ""
    seconds: float = 0.0
    witness: Witness | None = None
    local: bool = False
    reason: str | None = None
