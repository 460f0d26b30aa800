"""A ball: an array known to within an entrywise radius; and how every rule accounts for rounding.

The account is that of the standard error model: a computed sum of k terms, in any order and with FMA or without, differs
from the true one by at most gamma_k times the sum of the terms' sizes. Radii are computed in float64 too and then
enlarged by a bound of their own rounding; ``TINY`` covers underflow, flushed to zero or not, while every factor stays
below ``HUGE``, which is checked of every ball. Source: Rump (1999), Fast and parallel interval arithmetic; Higham
(2002), section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import torch

from lipverify.rigor.rounding import float_up, gamma

TINY = 2.0**-400
HUGE = 2.0**450
U = 2.0**-53


class NotEnclosed(Exception):
    """An operation without a rule in ball arithmetic, or in a form that has none; the message says why."""


class Ball(NamedTuple):
    """All arrays z with |z - midpoint| <= radius in every entry; both float64 tensors of one shape."""

    midpoint: torch.Tensor
    radius: torch.Tensor


class Condition(NamedTuple):
    """A comparison of balls: where it certainly holds, and where it certainly does not; boolean tensors."""

    yes: torch.Tensor
    no: torch.Tensor


class Missing(NamedTuple):
    """A result that has no enclosure; refused only where something reads it."""

    why: str


def exact(x: torch.Tensor) -> Ball:
    """The ball of radius zero around ``x``."""
    return Ball(x, torch.zeros_like(x))


def constant(number: float | Fraction) -> Ball:
    """A real number as a ball without axes: float64 rounds it by at most u times its size.

    Raises:
        NotEnclosed: for infinity.
    """
    middle = float(number)
    if not abs(middle) <= HUGE:
        raise NotEnclosed(f"the constant {number}")
    error = abs(Fraction(number) - Fraction(middle))
    return Ball(torch.tensor(middle, dtype=torch.float64), torch.tensor(float_up(error), dtype=torch.float64))


def scalar(number: float | int, dtype: torch.dtype) -> Ball:
    """A Python scalar of the program: a ball around it and whatever the machine may round it to.

    The machine rounds a scalar to the dtype of the tensor that it meets, or (for float16 and bfloat16) to float32, in which
    it then computes. Exact where both represent it.

    Raises:
        NotEnclosed: where it is infinite, NaN, or overflows one of them.
    """
    if not abs(number) <= HUGE:
        raise NotEnclosed(f"the constant {number!r}")
    kinds = {dtype, torch.promote_types(dtype, torch.float32)}
    readings = [Fraction(number)]
    for kind in kinds:
        rounded = float(torch.tensor(number, dtype=torch.float64).to(kind))
        if not abs(rounded) <= HUGE:
            raise NotEnclosed(f"the constant {number!r} overflows {kind}")
        readings.append(Fraction(rounded))
    middle = float((min(readings) + max(readings)) / 2)
    radius = float_up(max(abs(r - Fraction(middle)) for r in readings))
    return Ball(torch.tensor(middle, dtype=torch.float64), torch.tensor(radius, dtype=torch.float64))


def error(k: int) -> float:
    """gamma_k, rounded up."""
    return float_up(gamma(k))


def grown(radius: torch.Tensor, k: int) -> torch.Tensor:
    """An upper bound of a radius that was computed with sums of at most k terms.

    Every radius is a sum of products of nonnegative numbers, at most k + 16 roundings deep, so the computed one is at
    least (1 - gamma_{k+16}) times the true one; 1 + 4 gamma_{k+16} makes up for it and for this product's own rounding.
    """
    return radius * (1 + error(4 * (k + 16))) + TINY


def checked(ball: Ball) -> Ball:
    """The ball itself.

    Raises:
        NotEnclosed: where it reaches beyond ``HUGE``, is NaN, or midpoint and radius differ in shape.
    """
    if ball.midpoint.shape != ball.radius.shape:
        raise NotEnclosed("midpoint and radius of different shapes: a bug in lipverify")
    if not bool((ball.midpoint.abs() <= HUGE).all() and (ball.radius <= HUGE).all()):
        raise NotEnclosed("its value is too large to bound")
    return ball


def made(midpoint: torch.Tensor, radius: torch.Tensor, k: int = 4) -> Ball:
    """The ball of a computed radius that sums at most k terms, enlarged by its own rounding, and checked."""
    return checked(Ball(midpoint, grown(radius, k).expand_as(midpoint)))


def size(x: Ball) -> torch.Tensor:
    """At least the size of every number in the ball, up to the rounding that :func:`grown` makes up for."""
    return x.midpoint.abs() + x.radius


def bilinear(function: Callable[[Any, Any], torch.Tensor], x: Ball, w: Ball, k: int) -> Ball:
    """A function that is linear in each of its two arguments, with k terms in each sum and nonnegative coefficients.

    |fl(x w) - X W| <= gamma_k |x| |w| + r_x |w| + (|x| + r_x) r_w for all X, W in the balls.
    """
    middle = function(x.midpoint, w.midpoint)
    weight = w.midpoint.abs()
    radius = function(error(k + 1) * x.midpoint.abs() + x.radius, weight)
    if bool(w.radius.any()):
        radius = radius + function(size(x), w.radius)
    return made(middle, radius, k + 2)


def linear_in(function: Callable[[torch.Tensor], torch.Tensor], x: Ball, k: int) -> Ball:
    """A linear function with nonnegative coefficients, whose computed value sums k terms (divisions counted among them)."""
    return made(function(x.midpoint), function(error(k + 1) * x.midpoint.abs() + x.radius), k + 2)


def lifted(condition: Condition | torch.Tensor) -> Condition:
    """A known boolean tensor as a condition."""
    if isinstance(condition, Condition):
        return condition
    if not isinstance(condition, torch.Tensor) or condition.dtype != torch.bool:
        raise NotEnclosed("it reads something else than a condition")
    return Condition(condition, ~condition)
