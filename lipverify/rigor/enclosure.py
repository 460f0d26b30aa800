"""The answer of this room: an operator norm between two rationals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from lipverify.evidence import Contradiction, Rigor
from lipverify.rigor.rounding import round_down, round_up


@dataclass(frozen=True, slots=True, eq=False)
class NormEnclosure:
    """lower <= ||A|| <= upper, in real semantics.

    Attributes:
        lower, upper: rationals, rounded outward.
        method: how ``upper`` was proved, for people.
        rigor: EXACT where both bounds come from integer arithmetic alone, else RIGOROUS.
        vector: an input direction that nearly attains the norm (float64, a guess), or None.

    Raises:
        Contradiction: where the interval is empty.
    """

    lower: Fraction
    upper: Fraction
    method: str
    rigor: Rigor = Rigor.RIGOROUS
    vector: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.lower <= self.upper:
            raise Contradiction(self.lower, self.upper, self.method)

    def widened(self, radius: Fraction) -> NormEnclosure:
        """The enclosure for every operator within ``radius`` of this one in operator norm."""
        if not radius:
            return self
        lower = round_down(max(Fraction(0), self.lower - radius))
        return replace(self, lower=lower, upper=round_up(self.upper + radius), rigor=Rigor.RIGOROUS)

    def times(self, factor: Fraction) -> NormEnclosure:
        """The enclosure for ``factor`` times the operator, factor >= 0."""
        return replace(self, lower=self.lower * factor, upper=self.upper * factor)
