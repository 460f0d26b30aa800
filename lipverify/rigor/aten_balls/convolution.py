"""Convolutions of balls, unfolded into matrix products: no trust in the algorithms of a convolution library.

A Winograd or FFT convolution does not follow the standard error model; a product of the kernel with the image's columns
does. One image axis is treated as two, the first of one pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch.nn import functional as F

from lipverify.rigor.aten_balls.arithmetic import add
from lipverify.rigor.aten_balls.ball import Ball, NotEnclosed, bilinear

Sides = Sequence[int]
aten = torch.ops.aten


def convolution(
    x: Ball,
    weight: Ball,
    bias: Ball | None,
    stride: Sides,
    padding: Sides,
    dilation: Sides,
    transposed: bool,
    output_padding: Sides,
    groups: int,
) -> Ball:
    """A convolution of (N, C, *image) or (C, *image), with one or two image axes, zero padding; or a transposed one.

    An entry of a convolution sums (C / groups) prod(taps) products. One of a transposed convolution sums at most prod(taps)
    sums of C / groups products: rounding at most C / groups + prod(taps) times on the way of any product.

    Raises:
        NotEnclosed: for three image axes, or negative padding.
    """
    axes = weight.midpoint.ndim - 2
    stride, padding, dilation, output_padding = (
        list(p) * (axes if len(p) == 1 else 1) for p in (stride, padding, dilation, output_padding)
    )
    if axes not in (1, 2) or min(padding) < 0:
        raise NotEnclosed(f"a convolution with {axes} image axes and padding {padding}")
    batched = x.midpoint.ndim == axes + 2
    if not batched:
        x = _each(lambda part: part.unsqueeze(0), x)
    if axes == 1:
        x, weight = (_each(lambda part: part.unsqueeze(-2), ball) for ball in (x, weight))
        stride, dilation = [1, *stride], [1, *dilation]
        padding, output_padding = [0, *padding], [0, *output_padding]
    taps = weight.midpoint.shape[2:]
    inner = x.midpoint.shape[1] // groups
    if transposed:
        function = _transposed(x, taps, stride, padding, dilation, output_padding, groups)
        y = bilinear(function, x, weight, inner + prod(taps))
    else:
        function = _plain(x, taps, stride, padding, dilation, groups)
        y = bilinear(function, x, weight, inner * prod(taps))
    if bias is not None:
        y = add(y, _each(lambda part: part.reshape(-1, 1, 1), bias))
    if axes == 1:
        y = _each(lambda part: part.squeeze(-2), y)
    return y if batched else _each(lambda part: part.squeeze(0), y)


def _plain(x: Ball, taps: Sides, stride: Sides, padding: Sides, dilation: Sides, groups: int):
    sides = zip(x.midpoint.shape[2:], stride, padding, dilation, taps, strict=True)
    image = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, s, p, d, k in sides]

    def function(value: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        columns = aten.im2col(value, list(taps), dilation, padding, stride)
        columns = columns.reshape(len(value), groups, -1, columns.shape[-1])
        kernel = w.reshape(groups, len(w) // groups, -1)
        return torch.matmul(kernel, columns).reshape(len(value), len(w), *image)

    return function


def _transposed(
    x: Ball, taps: Sides, stride: Sides, padding: Sides, dilation: Sides, output_padding: Sides, groups: int
):
    """Every product is added up on the full image, which is then cropped by the padding and enlarged by zeros."""
    sides = zip(x.midpoint.shape[2:], stride, dilation, taps, strict=True)
    full = [(n - 1) * s + d * (k - 1) + 1 for n, s, d, k in sides]
    ends = [e for p, o in zip(reversed(padding), reversed(output_padding), strict=True) for e in (-p, o - p)]

    def function(value: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        kernel = w.reshape(groups, len(w) // groups, -1).mT
        columns = torch.matmul(kernel, value.reshape(len(value), groups, len(w) // groups, -1))
        columns = columns.reshape(len(value), -1, columns.shape[-1])
        whole = aten.col2im(columns, full, list(taps), dilation, [0, 0], stride)
        return F.pad(whole, ends)

    return function


def _each(function: Callable[[torch.Tensor], torch.Tensor], ball: Ball) -> Ball:
    return Ball(function(ball.midpoint), function(ball.radius))


def padded(x: Ball, weight: Ball, bias: Ball | None, stride: Sides, padding: str, dilation: Sides, groups: int) -> Ball:
    """A convolution with padding 'valid' or 'same'; of an odd number of zeros the greater part comes after the image."""
    axes = weight.midpoint.ndim - 2
    if padding == "same":
        dilation = list(dilation) * (axes if len(dilation) == 1 else 1)
        total = [d * (k - 1) for d, k in zip(dilation, weight.midpoint.shape[2:], strict=True)]
        ends = [e for t in reversed(total) for e in (t // 2, t - t // 2)]
        x = _each(lambda part: F.pad(part, ends), x)
    elif padding != "valid":
        raise NotEnclosed(f"padding {padding!r}")
    return convolution(x, weight, bias, stride, [0] * axes, dilation, False, [0] * axes, groups)


def forward(
    x: Ball, weight: Ball, bias: Ball | None, stride: Sides, padding: Sides, dilation: Sides, groups: int
) -> Ball:
    """conv1d, conv2d."""
    return convolution(x, weight, bias, stride, padding, dilation, False, [0] * (weight.midpoint.ndim - 2), groups)


def backward(
    x: Ball,
    weight: Ball,
    bias: Ball | None,
    stride: Sides,
    padding: Sides,
    output_padding: Sides,
    groups: int,
    dilation: Sides,
) -> Ball:
    """conv_transpose1d, conv_transpose2d."""
    return convolution(x, weight, bias, stride, padding, dilation, True, output_padding, groups)


RULES: Mapping[str, Callable[..., Any]] = {
    "aten.convolution.default": convolution,
    "aten.conv1d.default": forward,
    "aten.conv2d.default": forward,
    "aten.conv1d.padding": padded,
    "aten.conv2d.padding": padded,
    "aten.conv_transpose1d.default": backward,
    "aten.conv_transpose2d.input": backward,
}
