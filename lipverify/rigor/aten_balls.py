"""ATen operations in ball arithmetic.

A ball is a float64 midpoint and an entrywise radius. For an operation that is linear in its argument, with k terms in
each sum, |fl(F m) - F z| <= |F| r + gamma_k |F| |m| for every z within r of m. Matrix products (and the sums of pooling
and of folding columns) follow the standard error model: any order of summation, FMA allowed. Convolutions are unfolded
into matrix products. The radius is computed in float64 too and then enlarged by a bound of its own rounding; ``TINY``
covers underflow, flushed to zero or not, while values stay below ``HUGE``. Source: Rump (1999), Fast and parallel
interval arithmetic; Higham (2002), section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal, localcontext
from typing import Any, NamedTuple

import torch
from torch.nn import functional as F

from lipverify.graph.fold import NotFoldable
from lipverify.rigor.rounding import float_up, gamma

TINY = 2.0**-400
HUGE = 2.0**450


class Ball(NamedTuple):
    """All arrays z with |z - midpoint| <= radius in every entry; both float64 tensors of one shape."""

    midpoint: torch.Tensor
    radius: torch.Tensor


def exact(x: torch.Tensor) -> Ball:
    """The ball of radius zero around ``x``."""
    return Ball(x, torch.zeros_like(x))


def grown(radius: torch.Tensor, k: int) -> torch.Tensor:
    """An upper bound of a radius that was computed with sums of at most k terms."""
    return radius * (1 + float_up(4 * gamma(k + 16))) + TINY


def bilinear(function: Callable[..., torch.Tensor], x: Ball, w: Ball, k: int) -> Ball:
    middle = function(x.midpoint, w.midpoint)
    size, weight = x.midpoint.abs(), w.midpoint.abs()
    radius = float_up(gamma(k + 1)) * function(size, weight) + function(x.radius, weight + w.radius)
    if bool(w.radius.any()):
        radius = radius + function(size, w.radius)
    return Ball(middle, grown(radius, k))


def add(x: Ball, y: Ball, *, alpha: Any = 1, sign: int = 1) -> Ball:
    if alpha != 1:
        raise NotFoldable(f"alpha = {alpha}")
    middle = x.midpoint + sign * y.midpoint
    return Ball(middle, grown(x.radius + y.radius + float_up(gamma(1)) * middle.abs(), 2))


def subtract(x: Ball, y: Ball, *, alpha: Any = 1) -> Ball:
    return add(x, y, alpha=alpha, sign=-1)


def multiply(x: Ball, y: Ball) -> Ball:
    return bilinear(torch.mul, x, y, 1)


def divide(x: Ball, y: Ball) -> Ball:
    """|X / Y - x / y| <= (|X - x| + |x / y| |Y - y|) / |Y|."""
    least = y.midpoint.abs() * (1 - 2.0**-50) - y.radius * (1 + 2.0**-50)
    if not bool((least > 2.0**-400).all()):
        raise NotFoldable("a division by what may be zero")
    middle = x.midpoint / y.midpoint
    size = middle.abs() * (1 + 2.0**-50)
    return Ball(middle, grown((x.radius + size * y.radius) / least + float_up(gamma(2)) * size, 4))


def square_root(x: Ball) -> Ball:
    """|sqrt X - sqrt x| <= |X - x| / sqrt x."""
    if not bool((x.midpoint - x.radius > 2.0**-400).all()):
        raise NotFoldable("the square root of what may not be positive")
    middle = x.midpoint.sqrt()
    return Ball(middle, grown(x.radius / middle + float_up(gamma(2)) * middle, 4))


def power(x: Ball, exponent: Any) -> Ball:
    if exponent != 2:
        raise NotFoldable(f"the power {exponent}")
    return multiply(x, x)


def one() -> Ball:
    return exact(torch.ones((), dtype=torch.float64))


def linear(x: Ball, weight: Ball, bias: Ball | None = None) -> Ball:
    y = bilinear(torch.matmul, x, Ball(weight.midpoint.mT, weight.radius.mT), x.midpoint.shape[-1])
    return y if bias is None else add(y, bias)


def matmul(x: Ball, y: Ball) -> Ball:
    return bilinear(torch.matmul, x, y, x.midpoint.shape[-1])


def addmm(bias: Ball, x: Ball, y: Ball, *, alpha: Any = 1, beta: Any = 1) -> Ball:
    if (alpha, beta) != (1, 1):
        raise NotFoldable(f"alpha = {alpha}, beta = {beta}")
    return add(matmul(x, y), bias)


def convolution(
    x: Ball, weight: Ball, bias: Ball | None, stride, padding, dilation, transposed, output_padding, groups
) -> Ball:
    if groups != 1 or weight.midpoint.ndim != 4 or any(output_padding) or min(padding) < 0:
        raise NotFoldable("a grouped, output-padded, cropped or not two-dimensional convolution")
    first, second, *kernel = weight.midpoint.shape
    stride, padding, dilation = (tuple(p) * (2 if len(p) == 1 else 1) for p in (stride, padding, dilation))
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    sides = x.midpoint.shape[2:]
    geometry = {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    if transposed:
        image = tuple((n - 1) * s - 2 * p + r + 1 for n, s, p, r in zip(sides, stride, padding, reach, strict=True))
        k = first + kernel[0] * kernel[1]

        def function(value: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
            columns = torch.matmul(w.reshape(first, -1).T, value.reshape(len(value), first, -1))
            return F.fold(columns, image, **geometry)
    else:
        image = [(n + 2 * p - r - 1) // s + 1 for n, s, p, r in zip(sides, stride, padding, reach, strict=True)]
        k = second * kernel[0] * kernel[1]

        def function(value: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
            columns = torch.matmul(w.reshape(first, -1), F.unfold(value, **geometry))
            return columns.reshape(len(value), first, *image)

    y = bilinear(function, x, weight, k)
    return y if bias is None else add(y, Ball(*(part.reshape(-1, 1, 1) for part in bias)))


def conv2d(x, weight, bias=None, stride=(1,), padding=(0,), dilation=(1,), groups=1) -> Ball:
    return convolution(x, weight, bias, stride, padding, dilation, False, (0, 0), groups)


def conv_transpose2d(
    x, weight, bias=None, stride=(1,), padding=(0,), output_padding=(0,), groups=1, dilation=(1,)
) -> Ball:
    return convolution(x, weight, bias, stride, padding, dilation, True, output_padding, groups)


def average(x: Ball, window, stride=(), padding=(0,), ceil_mode=False, count_include_pad=True, divisor=None) -> Ball:
    if divisor is not None:
        raise NotFoldable(f"average pooling with divisor {divisor}")

    def pool(value: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(value, list(window), list(stride) or None, list(padding), ceil_mode, count_include_pad)

    k = window[0] * window[-1] + 2
    return Ball(pool(x.midpoint), grown(pool(x.radius) + float_up(gamma(k)) * pool(x.midpoint.abs()), k))


def relu(x: Ball) -> Ball:
    return Ball(x.midpoint.relu(), x.radius)


def negate(x: Ball) -> Ball:
    return Ball(-x.midpoint, x.radius)


def leaky_relu(x: Ball, slope: Ball | None = None) -> Ball:
    if slope is None:
        raise NotFoldable("leaky_relu with its slope left out")
    return subtract(relu(x), multiply(slope, relu(negate(x))))


def hardtanh(x: Ball, low: Ball | None = None, high: Ball | None = None) -> Ball:
    """A clamp moves no farther than its argument and its ends do."""
    low, high = low or negate(one()), high or one()
    ends = torch.maximum(low.radius, high.radius)
    return Ball(torch.minimum(torch.maximum(x.midpoint, low.midpoint), high.midpoint), grown(x.radius + ends, 2))


def dropout(x: Ball, probability: float, train: bool) -> Ball:
    """The identity, outside training."""
    if train is not False:
        raise NotFoldable("dropout in training")
    return x


def conversion(x: Ball, *_: Any, **__: Any) -> Ball:
    """Of a conversion that changes no number."""
    return x


def smooth(function: Callable[[Decimal], Decimal], slope: float) -> Callable[[Ball], Ball]:
    """A function of slope at most ``slope``, evaluated to 40 digits by the correctly rounded exp of ``decimal``."""

    def rule(x: Ball) -> Ball:
        with localcontext(Context(prec=50, Emin=-(10**6), Emax=10**6)):
            numbers = [float(function(Decimal(v))) for v in x.midpoint.reshape(-1).tolist()]
        middle = torch.tensor(numbers, dtype=torch.float64).reshape(x.midpoint.shape)
        return Ball(middle, grown(slope * x.radius + float_up(gamma(2)) * middle.abs(), 2))

    return rule


def tanh(v: Decimal) -> Decimal:
    """1 - 2 / (e^{2v} + 1) for v >= 0: at least 30 digits beyond float64 for v above 1e-8, v itself to v^3 below."""
    if v < 0:
        return -tanh(-v)
    if v < Decimal("1e-8"):
        return v - v**3 / 3
    return 1 - 2 / ((2 * min(v, Decimal(100))).exp() + 1)


def sigmoid(v: Decimal) -> Decimal:
    return 1 / (1 + (-max(v, Decimal(-1000))).exp())
