"""Inputs that keep their class: where the margin of the largest output is more than the bound of the whole lets it lose.

f_i - f_j is sqrt(2) L-Lipschitz for L the l2 -> l2 constant of f, and 2 L for that of l2 -> linf. Within a ball of radius r the
class i stays the largest if f_i - f_j > sqrt(2) L r (2 L r) at its center, for every j. Ties are no margin.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from lipverify.certificates.evidence import array
from lipverify.claims import L2, LOGITS
from lipverify.read import Program
from lipverify.rigor.enclose import NotEnclosed, enclose

FACTORS = {str(L2): 2, str(LOGITS): 4}
"""Squares of what a bound is multiplied by for a difference of two outputs."""


def margins(
    program: Program, bounds: Mapping[str, Fraction], samples: Iterable[torch.Tensor], radius: Fraction
) -> list[dict[str, Any]]:
    """The samples that keep their class within ``radius``, each by the bound of the whole that leaves it most.

    Args:
        program: f, whose output has shape (1, classes) or (classes,).
        bounds: norm pair -> an upper bound of the whole network's constant.
        samples: inputs of the program, float64.
        radius: l2, > 0.
    """
    allowed = {norm: FACTORS[norm] * (bound * radius) ** 2 for norm, bound in bounds.items()}
    if not allowed:
        return []
    norm = min(allowed, key=lambda name: (allowed[name], name))
    kept = []
    for sample in samples:
        found = _margin(program, sample)
        if found is not None and found[1] > 0 and found[1] ** 2 > allowed[norm]:
            kept.append({"input": array(sample.numpy()), "class": found[0], "radius": str(radius), "norm": norm})
    return kept


def _margin(program: Program, sample: torch.Tensor) -> tuple[int, Fraction] | None:
    """The class of the largest output, and a lower bound of what it is ahead; None where it cannot be enclosed."""
    try:
        with torch.no_grad():
            found = enclose(program, sample)
    except (NotEnclosed, ValueError):
        return None
    if found.midpoint.ndim == 0 or found.midpoint.numel() != found.midpoint.shape[-1] or found.midpoint.numel() < 2:
        return None
    middle, radius = (np.asarray(x.reshape(-1), dtype=np.float64) for x in (found.midpoint, found.radius))
    best = int(middle.argmax())
    others = [
        Fraction(float(m)) + Fraction(float(r))
        for i, (m, r) in enumerate(zip(middle, radius, strict=True))
        if i != best
    ]
    return best, Fraction(float(middle[best])) - Fraction(float(radius[best])) - max(others)
