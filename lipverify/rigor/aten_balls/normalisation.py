"""Normalisation and softmax of balls: means, variances and quotients, composed of arithmetic on balls.

Every occurrence of the input widens on its own, so the radius is that of the composition's steepest path: sound, not tight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from lipverify.rigor.aten_balls.arithmetic import add, divide, multiply, reciprocal, square_root, subtract
from lipverify.rigor.aten_balls.averages import counted, mean, product_mean, total
from lipverify.rigor.aten_balls.ball import Ball, Missing, NotEnclosed, constant, error, exact, made
from lipverify.rigor.aten_balls.elementary import exp, log
from lipverify.rigor.aten_balls.order import absolute, largest
from lipverify.rigor.aten_balls.products import matmul

STATISTICS = Missing("the statistics that a normalisation returns beside its value")


def affine(x: Ball, weight: Ball | None, bias: Ball | None) -> Ball:
    """weight x + bias, either left out."""
    x = x if weight is None else multiply(x, weight)
    return x if bias is None else add(x, bias)


def affine_by_channel(x: Ball, weight: Ball | None, bias: Ball | None) -> Ball:
    """The same with one weight and bias for each channel."""
    x = x if weight is None else multiply(x, channelwise(x, weight))
    return x if bias is None else add(x, channelwise(x, bias))


def channelwise(x: Ball, parameter: Ball) -> Ball:
    """A parameter for each channel, the second axis, shaped to meet x."""
    shape = [-1] + [1] * (x.midpoint.ndim - 2)
    return Ball(*(part.reshape(shape) for part in parameter))


def standardised(x: Ball, axes: Sequence[int], eps: Ball) -> Ball:
    """(x - mean) / sqrt(variance + eps) with the biased variance, over axes."""
    centred = subtract(x, mean(x, axes, True))
    return divide(centred, square_root(add(product_mean(centred, centred, axes), eps)))


def batch_norm(
    x: Ball,
    weight: Ball | None,
    bias: Ball | None,
    centre: Ball | None,
    variance: Ball | None,
    training: bool,
    momentum: Any,
    eps: Ball,
    cudnn: Any = None,
) -> Ball:
    """(x - centre) / sqrt(variance + eps) * weight + bias by channel, with stored statistics.

    Raises:
        NotEnclosed: where the statistics are those of the batch.
    """
    if training or centre is None or variance is None:
        raise NotEnclosed("batch statistics")
    factor = reciprocal(square_root(add(variance, eps)))
    factor = factor if weight is None else multiply(factor, weight)
    shift = multiply(centre, factor)
    return affine_by_channel(subtract(multiply(x, channelwise(x, factor)), channelwise(x, shift)), None, bias)


def no_training(x: Ball, weight: Any, bias: Any, centre: Any, variance: Any, momentum: Any, eps: Ball) -> list[Any]:
    """batch_norm with its statistics beside the value."""
    return [batch_norm(x, weight, bias, centre, variance, False, momentum, eps), STATISTICS, STATISTICS]


def own_statistics(x: Ball, weight: Any, bias: Any, training: bool, momentum: Any, eps: Ball) -> list[Any]:
    """Normalisation over every axis but the second, by the statistics of the input itself."""
    axes = [a for a in range(x.midpoint.ndim) if a != 1]
    y = affine_by_channel(standardised(x, axes, eps), weight, bias)
    return [y, STATISTICS, STATISTICS]


def instance_norm(
    x: Ball, weight: Any, bias: Any, centre: Any, variance: Any, own: bool, momentum: Any, eps: Ball, cudnn: Any = None
) -> Ball:
    """Normalisation of every channel of every image by itself, or by stored statistics."""
    if not own:
        return batch_norm(x, weight, bias, centre, variance, False, momentum, eps)
    y = standardised(x, range(2, x.midpoint.ndim), eps)
    return affine_by_channel(y, weight, bias)


def layer_norm(x: Ball, shape: list[int], weight: Any, bias: Any, eps: Ball, cudnn: Any = None) -> Ball:
    """Normalisation over the last axes."""
    return affine(standardised(x, range(-len(shape), 0), eps), weight, bias)


def group_norm(x: Ball, groups: int, weight: Any, bias: Any, eps: Ball, cudnn: Any = None) -> Ball:
    """Normalisation over groups of channels and the image."""
    grouped = Ball(*(part.reshape(part.shape[0], groups, -1) for part in x))
    y = Ball(*(part.reshape(x.midpoint.shape) for part in standardised(grouped, [2], eps)))
    return affine_by_channel(y, weight, bias)


def rms_norm(x: Ball, shape: list[int], weight: Any, eps: Ball) -> Ball:
    """x / sqrt(mean x^2 + eps) over the last axes."""
    scale = square_root(add(product_mean(x, x, range(-len(shape), 0)), eps))
    return affine(divide(x, scale), weight, None)


def shifted_exp(x: Ball, dim: int) -> tuple[torch.Tensor, Ball]:
    """The largest midpoint m along an axis, and e^(x - m) of the midpoints: the difference is rounded by u |x - m|."""
    top = x.midpoint.amax(dim, True)
    below = x.midpoint - top
    return top, exp(Ball(below, (below.abs() * error(1)).clamp(max=1.0)))


def softmax(x: Ball, dim: int, *_: Any, **__: Any) -> Ball:
    """e^(x_i) / sum_j e^(x_j). Row i of the Jacobian has absolute sum 2 s_i (1 - s_i) <= 1/2: half of the largest radius."""
    if not x.midpoint.ndim:
        return exact(torch.ones_like(x.midpoint))
    e = shifted_exp(x, dim)[1]
    y = divide(e, total(e, dim, True))
    return made(y.midpoint, y.radius + 0.5 * x.radius.amax(dim, True))


def logsumexp(x: Ball, dims: list[int] | int, keepdim: bool = False) -> Ball:
    """log sum e^(x_j) over one axis: the gradient has absolute sum 1.

    Raises:
        NotEnclosed: over several axes.
    """
    dims = [dims] if isinstance(dims, int) else dims
    if len(dims) != 1 or not x.midpoint.ndim:
        raise NotEnclosed("logsumexp over other than one axis")
    top, e = shifted_exp(x, dims[0])
    y = add(exact(top), log(total(e, dims, True)))
    y = made(y.midpoint, y.radius + x.radius.amax(dims[0], True))
    return y if keepdim else Ball(*(part.squeeze(dims[0]) for part in y))


def log_softmax(x: Ball, dim: int, *_: Any, **__: Any) -> Ball:
    """x_i - logsumexp: row i of the Jacobian has absolute sum 2 (1 - s_i) <= 2."""
    if not x.midpoint.ndim:
        return exact(torch.zeros_like(x.midpoint))
    at = exact(x.midpoint)
    y = subtract(at, logsumexp(at, dim, True))
    return made(y.midpoint, y.radius + 2 * x.radius.amax(dim, True))


def vector_norm(x: Ball, order: float, dims: Any = None, keepdim: bool = False, **_: Any) -> Ball:
    """The l1, l2 or l-infinity norm over axes, which moves by at most the same norm of the radii.

    sqrt of the sum of k squares: the sum errs by gamma_{k+1}, its root by no more relatively, and is rounded itself. Squares
    that underflow cost less than sqrt(k) 2^-510.

    Raises:
        NotEnclosed: for another order.
    """
    axes, k = counted(x, dims)
    if order == 1:
        return total(absolute(x), axes, keepdim)
    if order == torch.inf:
        return largest(absolute(x), axes, keepdim)
    if order != 2:
        raise NotEnclosed(f"the norm of order {order}")

    def length(v: torch.Tensor) -> torch.Tensor:
        return (v * v).sum(axes, keepdim).sqrt() if axes else v.abs()

    middle = length(x.midpoint)
    return made(middle, length(x.radius) + error(k + 4) * middle, k + 4)


def norm_over(x: Ball, order: float | None, dims: Any = None, keepdim: bool = False, **_: Any) -> Ball:
    """The older form, whose order may be left out."""
    return vector_norm(x, 2 if order is None else order, dims, keepdim)


def weight_norm(v: Ball, g: Ball, dim: int = 0) -> Ball:
    """g v / ||v||, the norm over every axis but ``dim``."""
    axes = [a for a in range(v.midpoint.ndim) if a != dim % v.midpoint.ndim] if dim != -1 else None
    return multiply(v, divide(g, vector_norm(v, 2, axes, True)))


def variance(x: Ball, dims: Any, correction: float | None, keepdim: bool) -> Ball:
    """The sum of squared deviations over n - correction."""
    axes, k = counted(x, dims)
    free = k - (1 if correction is None else correction)
    if free <= 0:
        raise NotEnclosed("a variance of too few entries")
    centred = subtract(x, mean(x, axes, True))
    return divide(total(multiply(centred, centred), axes, keepdim), constant(free))


def attention(
    q: Ball, k: Ball, v: Ball, mask: Any, dropout: Any, causal: bool, *, scale: Any = None, enable_gqa: bool = False
) -> Ball:
    """softmax(scale q k^T) v, scale 1 / sqrt(width) where left out.

    Raises:
        NotEnclosed: with a mask, dropout or grouped queries.
    """
    if mask is not None or dropout or causal or enable_gqa:
        raise NotEnclosed("attention with a mask, dropout or grouped queries")
    width = constant(q.midpoint.shape[-1])
    factor = reciprocal(square_root(width)) if scale is None else constant(scale)
    scores = multiply(matmul(q, Ball(k.midpoint.mT, k.radius.mT)), factor)
    return matmul(softmax(scores, -1), v)


RULES: Mapping[str, Callable[..., Any]] = {
    "aten.batch_norm.default": batch_norm,
    "aten._native_batch_norm_legit_no_training.default": no_training,
    "aten._native_batch_norm_legit.no_stats": own_statistics,
    "aten.instance_norm.default": instance_norm,
    "aten.layer_norm.default": layer_norm,
    "aten.native_layer_norm.default": lambda *args: [layer_norm(*args), STATISTICS, STATISTICS],
    "aten.group_norm.default": group_norm,
    "aten.native_group_norm.default": lambda x, weight, bias, n, c, hw, groups, eps: [
        group_norm(x, groups, weight, bias, eps),
        STATISTICS,
        STATISTICS,
    ],
    "aten.rms_norm.default": rms_norm,
    "aten.softmax.int": softmax,
    "aten._softmax.default": softmax,
    "aten.log_softmax.int": log_softmax,
    "aten._log_softmax.default": log_softmax,
    "aten.logsumexp.default": logsumexp,
    "aten.linalg_vector_norm.default": vector_norm,
    "aten.norm.Scalar": norm_over,
    "aten.norm.ScalarOpt_dim": norm_over,
    "aten._weight_norm.default": weight_norm,
    "aten._weight_norm_interface.default": lambda v, g, dim: [weight_norm(v, g, dim), STATISTICS],
    "aten.var.correction": lambda x, dims, *, correction, keepdim: variance(x, dims, correction, keepdim),
    "aten.scaled_dot_product_attention.default": attention,
}

PARAMETERS = frozenset(t for t in RULES if "norm.Scalar" in t or "vector_norm" in t or "var" in t or "attention" in t)
"""Operations that take their Python scalars as they are, not as balls."""
