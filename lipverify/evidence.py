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
        contradiction: what the verifier found at odds with the program while it worked, in words; None if nothing.

    Raises:
        TypeError: for a bound that is no Fraction, or a rigor that is no Rigor.
        ValueError: for a negative bound.
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
    contradiction: str | None = None

    def __post_init__(self) -> None:
        for bound in (self.lower, self.upper):
            if bound is not None and not isinstance(bound, Fraction):
                raise TypeError(f"evidence of {self.verifier}: a bound is {type(bound).__name__}, not a Fraction")
            if bound is not None and bound < 0:
                raise ValueError(f"evidence of {self.verifier}: a bound is negative")
        if not isinstance(self.rigor, Rigor):
            raise TypeError(f"evidence of {self.verifier}: the rigor is {type(self.rigor).__name__}, not a Rigor")


class Contradiction(Exception):
    """A rigorous lower bound above a rigorous upper bound of one norm: a bug, to be reported and never smoothed.

    Attributes:
        lower, upper: the two.
        method: where they come from.
    """

    def __init__(self, lower: Fraction, upper: Fraction, method: str) -> None:
        super().__init__(f"{method}: a lower bound {float(lower)} above an upper bound {float(upper)}")
        if not (isinstance(lower, Fraction) and isinstance(upper, Fraction)):
            raise TypeError("a contradiction is between Fractions")
        self.lower, self.upper, self.method = lower, upper, method
