"""The ratio ||f(x) - f(y)|| / ||x - y|| of two inputs, proved from below on the original program."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import torch

from lipverify.claims import L2, LOGITS, Ball, NormPair
from lipverify.read.program import Program
from lipverify.rigor.aten_balls import Ball as Enclosed
from lipverify.rigor.enclose import enclose
from lipverify.rigor.rounding import gamma, round_down, sqrt_down, sqrt_up

SUBNORMAL = Fraction(1, 2**1000)
"""More than what is lost of a difference where the processor reads subnormal numbers as zero."""

RATIONAL = 20_000
"""Arrays of at most so many entries are compared in rational arithmetic, larger ones in float64 with every rounding counted."""


def prove_ratio(program: Program, x: np.ndarray, y: np.ndarray, norms: NormPair = L2) -> Fraction:
    """A lower bound of ||f(x) - f(y)|| / ||x - y||, real semantics; 0 where nothing is shown.

    Both values of f are enclosed in ball arithmetic; the distance of the inputs and all that follows is rational, or for
    large arrays float64 with an error account.

    Args:
        program: f, with one input and one output.
        x, y: arrays of the input's shape, taken as exact.
        norms: ``l2->l2`` or ``l2->linf``.

    Raises:
        NotEnclosed: where f has an operation without a rule in ball arithmetic.
        ValueError: for another norm pair, or arrays of another shape or that are not finite.
    """
    if norms not in (L2, LOGITS):
        raise ValueError(f"a ratio in the norm pair {norms} cannot be proved; l2->l2 and l2->linf can")
    shape = next(iter(program.inputs.values()))
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.shape != shape or y.shape != shape or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError(f"a witness of shapes {x.shape} and {y.shape} for inputs of shape {shape}, or not finite")
    if np.array_equal(x, y):
        return Fraction(0)
    with torch.no_grad():
        at_x, at_y = (enclose(program, torch.from_numpy(np.array(v))) for v in (x, y))
    distance = sqrt_up(squares(differences(x, y)) if x.size <= RATIONAL else squares_up(x, y)) + x.size * SUBNORMAL
    if norms == L2 and at_x.midpoint.numel() > RATIONAL:
        return round_down(sqrt_down(squares_down(at_x, at_y)) / distance)
    gaps = differences(at_x.midpoint.numpy(), at_y.midpoint.numpy())
    radii = [a + b for a, b in zip(fractions(at_x.radius.numpy()), fractions(at_y.radius.numpy()), strict=True)]
    least = [max(abs(gap) - radius, Fraction(0)) for gap, radius in zip(gaps, radii, strict=True)]
    height = max(least, default=Fraction(0)) if norms == LOGITS else sqrt_down(squares(least))
    return round_down(height / distance)


def squares_up(x: np.ndarray, y: np.ndarray) -> Fraction:
    """An upper bound of ||x - y||^2 in float64: every difference errs by u, its square by 3 u, the sum by gamma_n.

    Squares and differences that underflow lose less than ``SUBNORMAL`` each.

    Raises:
        ValueError: where it overflows.
    """
    total = float(((x - y) ** 2).sum())
    if not math.isfinite(total):
        raise ValueError("the distance of the two inputs is beyond float64")
    return Fraction(total) * (1 + 2 * gamma(x.size + 4)) + x.size * SUBNORMAL


def squares_down(a: Enclosed, b: Enclosed) -> Fraction:
    """A lower bound of ||A - B||^2 for all A and B in two balls, in float64.

    |a - b| (1 - 2 u) - (r_a + r_b) (1 + 4 u) is at most the true distance of two entries. Its squares sum to within gamma_{n+2},
    and those that underflow gain less than ``SUBNORMAL`` each.
    """
    gap = (a.midpoint - b.midpoint).abs() * (1 - 2.0**-51)
    least = ((gap - (a.radius + b.radius) * (1 + 2.0**-50)) * (1 - 2.0**-51)).clamp(min=0.0)
    n = least.numel()
    total = Fraction(float((least * least).sum()))
    return max(total * (1 - 2 * gamma(n + 4)) - n * SUBNORMAL, Fraction(0))


def inside(x: np.ndarray, ball: Ball) -> bool:
    """Whether x lies in the ball, exactly."""
    return squares(differences(np.asarray(x, dtype=np.float64), ball.center)) <= ball.radius**2


def fractions(array: np.ndarray) -> list[Fraction]:
    """The entries as rationals."""
    return [Fraction(v) for v in np.asarray(array, dtype=np.float64).reshape(-1).tolist()]


def differences(a: np.ndarray, b: np.ndarray) -> list[Fraction]:
    """The entries of a - b as rationals."""
    return [x - y for x, y in zip(fractions(a), fractions(b), strict=True)]


def squares(numbers: list[Fraction]) -> Fraction:
    """The sum of squares, over one common denominator (all denominators are powers of two)."""
    common = max((n.denominator for n in numbers), default=1)
    return Fraction(sum((n.numerator * (common // n.denominator)) ** 2 for n in numbers), common**2)
