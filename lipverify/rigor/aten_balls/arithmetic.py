"""Arithmetic on balls: sums, products, quotients, roots, integer powers. Every step of IEEE 754 errs by u relatively."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from lipverify.rigor.aten_balls.ball import TINY, Ball, Missing, NotEnclosed, bilinear, constant, error, exact, made

MAX_POWER = 64


def one() -> Ball:
    """The number 1."""
    return constant(1.0)


def negate(x: Ball) -> Ball:
    """-x, exactly."""
    return Ball(-x.midpoint, x.radius)


def is_one(x: Ball) -> bool:
    """Whether the ball is the number 1."""
    return x.midpoint.ndim == 0 and float(x.midpoint) == 1 and float(x.radius) == 0


def add(x: Ball, y: Ball, *, alpha: Ball | None = None) -> Ball:
    """x + alpha y: |fl(x + y) - (X + Y)| <= r_x + r_y + u |fl(x + y)|."""
    if alpha is not None and not is_one(alpha):
        y = multiply(y, alpha)
    middle = x.midpoint + y.midpoint
    return made(middle, x.radius + y.radius + error(1) * middle.abs(), 2)


def subtract(x: Ball, y: Ball, *, alpha: Ball | None = None) -> Ball:
    """x - alpha y."""
    return add(x, negate(y), alpha=alpha)


def multiply(x: Ball, y: Ball) -> Ball:
    """x y."""
    return bilinear(torch.mul, x, y, 1)


def divide(x: Ball, y: Ball) -> Ball:
    """|X / Y - x / y| <= (|X - x| + |x / y| |Y - y|) / |Y|.

    Raises:
        NotEnclosed: where y may be zero, or nearly.
    """
    least = y.midpoint.abs() * (1 - 2.0**-50) - y.radius * (1 + 2.0**-50)
    if not bool((least > TINY).all()):
        raise NotEnclosed("a division by what may be zero")
    middle = x.midpoint / y.midpoint
    size = middle.abs() * (1 + 2.0**-50)
    return made(middle, (x.radius + size * y.radius) / least + error(2) * size, 4)


def reciprocal(x: Ball) -> Ball:
    """1 / x."""
    return divide(one(), x)


def square_root(x: Ball) -> Ball:
    """|sqrt X - sqrt x| = |X - x| / (sqrt X + sqrt x), at most |X - x| / sqrt x and at most sqrt |X - x|.

    Raises:
        NotEnclosed: where x may be negative.
    """
    if not bool((x.midpoint >= x.radius).all()):
        raise NotEnclosed("the square root of what may be negative")
    middle = x.midpoint.sqrt()
    drift = torch.where(middle > 2.0**-150, x.radius / middle.clamp(min=2.0**-150), x.radius.sqrt())
    return made(middle, drift + error(2) * middle, 4)


def square(x: Ball) -> Ball:
    """x^2."""
    return multiply(x, x)


def power(x: Ball, exponent: float | int) -> Ball:
    """x^n by repeated multiplication, for an integer n of size at most 64, or 1/2 and -1/2.

    Raises:
        NotEnclosed: for another exponent.
    """
    if exponent in (0.5, -0.5):
        return square_root(x) if exponent > 0 else reciprocal(square_root(x))
    if exponent != int(exponent) or abs(exponent) > MAX_POWER:
        raise NotEnclosed(f"the power {exponent}")
    result = exact(torch.ones_like(x.midpoint))
    for _ in range(abs(int(exponent))):
        result = multiply(result, x)
    return reciprocal(result) if exponent < 0 else result


def sign(x: Ball) -> Ball:
    """The sign where it is certain, else everything between -1 and 1."""
    decided = x.midpoint.abs() > x.radius * (1 + 2.0**-50)
    decided |= (x.midpoint == 0) & (x.radius == 0)
    middle = torch.where(decided, x.midpoint.sign(), 0.0)
    return made(middle, (~decided).to(torch.float64))


def addcmul(x: Ball, y: Ball, z: Ball, *, value: Ball) -> Ball:
    """x + value y z."""
    return add(x, multiply(y, z), alpha=value)


def addcdiv(x: Ball, y: Ball, z: Ball, *, value: Ball) -> Ball:
    """x + value y / z."""
    return add(x, divide(y, z), alpha=value)


def unchanged(x: Ball, *_: Any, **__: Any) -> Ball:
    """Of a conversion that changes no number."""
    return x


def dropout(x: Ball, probability: Any, train: bool | None) -> Ball:
    """The identity, outside training.

    Raises:
        NotEnclosed: in training.
    """
    if train is not False:
        raise NotEnclosed("dropout in training")
    return x


def filled(shape: list[int], number: Ball) -> Ball:
    """One number everywhere."""
    return Ball(number.midpoint.expand(shape).clone(), number.radius.expand(shape).clone())


def uninitialised(shape: list[int]) -> Ball:
    """Memory of unknown content: any number. Only copies may read it, until it is overwritten."""
    return Ball(torch.zeros(shape, dtype=torch.float64), torch.full(shape, torch.inf, dtype=torch.float64))


RULES: Mapping[str, Callable[..., Any]] = {
    "aten.add.Tensor": add,
    "aten.add.Scalar": lambda x, y, alpha: add(x, y, alpha=alpha),
    "aten.sub.Tensor": subtract,
    "aten.sub.Scalar": lambda x, y, alpha: subtract(x, y, alpha=alpha),
    "aten.rsub.Tensor": lambda x, y, *, alpha: subtract(y, x, alpha=alpha),
    "aten.rsub.Scalar": lambda x, y, alpha: subtract(y, x, alpha=alpha),
    "aten.mul.Tensor": multiply,
    "aten.mul.Scalar": multiply,
    "aten.div.Tensor": divide,
    "aten.div.Scalar": divide,
    "aten.neg.default": negate,
    "aten.sqrt.default": square_root,
    "aten.rsqrt.default": lambda x: reciprocal(square_root(x)),
    "aten.reciprocal.default": reciprocal,
    "aten.square.default": square,
    "aten.pow.Tensor_Scalar": power,
    "aten.sign.default": sign,
    "aten.sgn.default": sign,
    "aten.addcmul.default": addcmul,
    "aten.addcdiv.default": addcdiv,
    "aten._to_copy.default": unchanged,
    "aten.to.dtype": unchanged,
    "aten.dropout.default": dropout,
    "aten.feature_dropout.default": dropout,
    "aten.alpha_dropout.default": dropout,
    "aten.feature_alpha_dropout.default": dropout,
    "aten.native_dropout.default": lambda x, p, train: [dropout(x, p, train), Missing("a dropout mask")],
    "aten.scalar_tensor.default": lambda number: number,
    "aten.full.default": filled,
    "aten.full_like.default": lambda x, number: filled(list(x.midpoint.shape), number),
    "aten.zeros.default": lambda shape: filled(shape, constant(0.0)),
    "aten.ones.default": lambda shape: filled(shape, constant(1.0)),
    "aten.zeros_like.default": lambda x: exact(torch.zeros_like(x.midpoint)),
    "aten.ones_like.default": lambda x: exact(torch.ones_like(x.midpoint)),
    "aten.new_zeros.default": lambda x, shape: filled(shape, constant(0.0)),
    "aten.new_ones.default": lambda x, shape: filled(shape, constant(1.0)),
    "aten.new_full.default": lambda x, shape, number: filled(shape, number),
    "aten.eye.default": lambda n: exact(torch.eye(n, dtype=torch.float64)),
    "aten.empty.memory_format": uninitialised,
}

PARAMETERS = frozenset(("aten.pow.Tensor_Scalar", *(name for name in RULES if "dropout" in name)))
"""Operations that take their Python scalars as they are, not as balls."""
