"""Claims: what somebody says about a network's Lipschitz constants."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np


@dataclass(frozen=True, slots=True)
class NormPair:
    """Norms of the input and of the output: ``l2->linf`` bounds every output's own constant."""

    input: str = "l2"
    output: str = "l2"

    def __str__(self) -> str:
        return f"{self.input}->{self.output}"


L2 = NormPair()
LOGITS = NormPair("l2", "linf")


@dataclass(frozen=True, slots=True, eq=False)
class Ball:
    """The l2 ball of ``radius`` around ``center``, in the input space of the claim's layer."""

    center: np.ndarray
    radius: Fraction


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """``layer`` is Lipschitz with constant ``bound`` between ``norms``, on ``domain`` (None: the whole space).

    Attributes:
        layer: module path; "" is the whole network. Holds for every call of the module.
        bound: an exact rational, parsed from its decimal text.
        text: that text.
    """

    layer: str
    bound: Fraction
    text: str
    norms: NormPair = L2
    domain: Ball | None = None
