"""Sums, means, average pooling and interpolation of balls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from math import floor, prod
from typing import Any

import torch

from lipverify.rigor.aten_balls.ball import Ball, NotEnclosed, bilinear, constant, exact, linear_in
from lipverify.rigor.aten_balls.products import matmul

aten = torch.ops.aten
MATRIX = 1 << 24
"""Entries of the matrix along one axis beyond which interpolation is refused."""
Weights = Callable[[Fraction], list[tuple[int, Fraction]]]
"""Position -> the (index, weight) pairs that an interpolated value sums."""


def counted(x: Ball, dims: Sequence[int] | int | None) -> tuple[list[int], int]:
    """The axes that ``dims`` names, all of them for None or (), and how many entries they have together."""
    rank = x.midpoint.ndim
    dims = [dims] if isinstance(dims, int) else list(dims or range(rank))
    axes = sorted({d % rank for d in dims}) if rank else []
    return axes, prod(x.midpoint.shape[a] for a in axes)


def total(x: Ball, dims: Sequence[int] | int | None = None, keepdim: bool = False, **_: Any) -> Ball:
    """The sum over axes."""
    axes, k = counted(x, dims)
    return linear_in(lambda v: v.sum(axes, keepdim) if axes else v.clone(), x, k)


def mean(x: Ball, dims: Sequence[int] | int | None = None, keepdim: bool = False, **_: Any) -> Ball:
    """The mean over axes: a sum and at most two roundings of its factor."""
    axes, k = counted(x, dims)
    return linear_in(lambda v: v.mean(axes, keepdim) if axes else v.clone(), x, k + 2)


def average_pool(axes: int) -> Callable[..., Ball]:
    """Average pooling over ``axes`` image axes: sums over a window, divided once.

    A window that the image's edge clips has a divisor of its own, which torch's float64 kernel counts as the program's does.
    """

    def rule(
        x: Ball,
        window: list[int],
        stride: list[int] | None = None,
        padding: Sequence[int] = (0,),
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor: int | None = None,
    ) -> Ball:
        if divisor is not None and divisor <= 0:
            raise NotEnclosed(f"average pooling with divisor {divisor}")
        k = prod(window * (axes if len(window) == 1 else 1)) + 2
        pool = aten.avg_pool1d if axes == 1 else aten.avg_pool2d
        settings = [window, stride or [], padding, ceil_mode, count_include_pad, *([] if axes == 1 else [divisor])]
        return linear_in(lambda v: pool(v, *settings), x, k)

    return rule


def adaptive_average_pool(x: Ball, output: list[int]) -> Ball:
    """Means over windows from floor(i n / m) to ceil((i + 1) n / m): at most ceil(n / m) + 1 entries an axis.

    The torch kernel divides once for each axis.
    """
    sides = x.midpoint.shape[-len(output) :]
    k = prod(-(-n // m) + 1 for n, m in zip(sides, output, strict=True)) + len(output) + 1
    pool = aten.adaptive_avg_pool1d if len(output) == 1 else aten.adaptive_avg_pool2d
    return linear_in(lambda v: pool(v, output), x, k)


def interpolate(x: Ball, sides: Sequence[int], align: bool, scales: Sequence[float | None], weights: Weights) -> Ball:
    """Interpolation along the last axes: one matrix an axis, its entries rational, each then rounded once.

    Output i reads the input around position i (n - 1) / (m - 1) with aligned corners, else (i + 1/2) q - 1/2 with q = n / m,
    or 1 / scale where a scale is stated; but linear interpolation copies an axis that keeps its length, whatever its scale.
    """
    rank = x.midpoint.ndim
    for axis, m, scale in zip(range(rank - len(sides), rank), sides, scales, strict=True):
        rows = _rows(x.midpoint.shape[axis], m, align, scale, weights)
        turned = Ball(*(part.movedim(axis, -1) for part in x))
        product = matmul(turned, Ball(rows.midpoint.T, rows.radius.T))
        x = Ball(*(part.movedim(-1, axis) for part in product))
    return x


def _rows(n: int, m: int, align: bool, scale: float | None, weights: Weights) -> Ball:
    if n * m > MATRIX:
        raise NotEnclosed(f"interpolation from {n} to {m} entries, a matrix of more than {MATRIX}")
    if n == m and (align or weights is linear_weights):
        return exact(torch.eye(n, dtype=torch.float64))
    if align:
        ratio = Fraction(n - 1, m - 1) if m > 1 else Fraction(0)
    else:
        ratio = 1 / Fraction(scale) if scale is not None and scale > 0 else Fraction(n, m)
    parts = torch.zeros(2, m, n, dtype=torch.float64)
    for i in range(m):
        row: dict[int, Fraction] = {}
        for j, weight in weights(i * ratio if align else (i + Fraction(1, 2)) * ratio - Fraction(1, 2)):
            inside = min(max(j, 0), n - 1)
            row[inside] = row.get(inside, Fraction(0)) + weight
        for j, weight in row.items():
            parts[:, i, j] = torch.stack([*constant(weight)])
    return Ball(parts[0], parts[1])


def linear_weights(place: Fraction) -> list[tuple[int, Fraction]]:
    """(1 - t) x[j] + t x[j + 1] at j + t >= 0, x[0] before it; indices beyond the last are the last."""
    place = max(place, Fraction(0))
    first = floor(place)
    return [(first, 1 - (place - first)), (first + 1, place - first)]


def cubic_weights(place: Fraction) -> list[tuple[int, Fraction]]:
    """Keys' cubic convolution with a = -3/4; indices beyond the image are clamped to it. Source: Keys (1981)."""
    a, first = Fraction(-3, 4), floor(place)
    t = place - first

    def near(s: Fraction) -> Fraction:
        return ((a + 2) * s - (a + 3)) * s * s + 1

    def far(s: Fraction) -> Fraction:
        return ((a * s - 5 * a) * s + 8 * a) * s - 4 * a

    return [(first - 1, far(t + 1)), (first, near(t)), (first + 1, near(1 - t)), (first + 2, far(2 - t))]


def upsample_by_scales(weights: Weights) -> Callable[..., Ball]:
    """The form that states a size or the scale factors."""

    def rule(x: Ball, sides: list[int] | None, align: bool, factors: list[float] | None) -> Ball:
        if sides is not None:
            return interpolate(x, sides, align, [None] * len(sides), weights)
        image = x.midpoint.shape[2:]
        if factors is None or len(factors) != len(image):
            raise NotEnclosed("interpolation without a size")
        return interpolate(x, [int(n * f) for n, f in zip(image, factors, strict=True)], align, factors, weights)

    return rule


def upsample(weights: Weights) -> Callable[..., Ball]:
    """The form that states the size, and scales beside it."""
    return lambda x, sides, align, *scales: interpolate(x, sides, align, scales, weights)


def fold(x: Ball, output: list[int], window: list[int], dilation: list[int], padding: list[int], stride: list[int]):
    """Columns added up into an image: at most prod(window) terms in a sum."""
    return linear_in(lambda v: aten.col2im(v, output, window, dilation, padding, stride), x, prod(window))


def running_sum(x: Ball, dim: int, **_: Any) -> Ball:
    """The sums of the first entries along an axis."""
    return linear_in(lambda v: v.cumsum(dim), x, x.midpoint.shape[dim] if x.midpoint.ndim else 1)


def product_mean(x: Ball, y: Ball, dims: Sequence[int]) -> Ball:
    """The mean of x y over axes, keeping them."""
    return mean(bilinear(torch.mul, x, y, 1), dims, True)


RULES: Mapping[str, Callable[..., Any]] = {
    "aten.sum.default": total,
    "aten.sum.dim_IntList": total,
    "aten.mean.default": mean,
    "aten.mean.dim": mean,
    "aten.cumsum.default": running_sum,
    "aten.avg_pool1d.default": average_pool(1),
    "aten.avg_pool2d.default": average_pool(2),
    "aten.adaptive_avg_pool1d.default": adaptive_average_pool,
    "aten.adaptive_avg_pool2d.default": adaptive_average_pool,
    "aten._adaptive_avg_pool2d.default": adaptive_average_pool,
    "aten.upsample_linear1d.vec": upsample_by_scales(linear_weights),
    "aten.upsample_bilinear2d.vec": upsample_by_scales(linear_weights),
    "aten.upsample_bicubic2d.vec": upsample_by_scales(cubic_weights),
    "aten.upsample_linear1d.default": upsample(linear_weights),
    "aten.upsample_bilinear2d.default": upsample(linear_weights),
    "aten.upsample_bicubic2d.default": upsample(cubic_weights),
    "aten.col2im.default": fold,
}

PARAMETERS = frozenset(target for target in RULES if "upsample" in target)
"""Operations that take their Python scalars as they are, not as balls."""
