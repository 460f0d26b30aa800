"""One affine map as a torch layer: Linear, Conv2d or a reshape, in float64, for :mod:`lipverify.verifiers.propagation.canonical`.

A value of shape (1, ...) keeps its axes behind the batch, any other is flattened.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from lipverify.maps import (
    Adjoint,
    Convolution,
    Dense,
    Diagonal,
    LinearMap,
    Pad,
    Rearrange,
    Shape,
    size,
)
from lipverify.rigor.matrices import matrix

UNROLLED = 1 << 22
"""The most entries of a map that is written out as a matrix."""


class NotCanonical(ValueError):
    """A region that has no canonical model; the message is the reason."""


def batched(shape: Shape) -> Shape:
    """The axes of a value behind the batch axis."""
    return shape[1:] if len(shape) > 1 and shape[0] == 1 else (size(shape),)


class Reshaped(nn.Module):
    """A layer between batches of the given axes."""

    def __init__(self, inner: nn.Module | None, flat: bool, output: Shape) -> None:
        super().__init__()
        self.inner, self.flat, self.output = inner, flat, output

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1) if self.flat else x
        x = x if self.inner is None else self.inner(x)
        return x if tuple(x.shape[1:]) == self.output else x.reshape(-1, *self.output)


def layer(linear: LinearMap, bias: np.ndarray | None) -> nn.Module:
    """One affine map as Linear, Conv2d or a reshape.

    Raises:
        NotCanonical: where it is neither and too large to be written out as a matrix.
    """
    source, target = batched(linear.input_shape), batched(linear.output_shape)
    images = len(linear.input_shape) == len(linear.output_shape) == 4 and linear.input_shape[0] == 1
    if bias is None and isinstance(linear, Rearrange) and linear.axes is None:
        return Reshaped(None, len(source) > 1, target)
    if images and (kernel := _as_convolution(linear)) is not None:
        weight, stride, padding = kernel
        constant = None if bias is None else bias[0]
        # A bias that differs from pixel to pixel is no Conv2d bias: the map is written out instead.
        if constant is None or (constant == constant[:, :1, :1]).all():
            return _conv2d(weight, stride, padding, None if constant is None else constant[:, 0, 0])
    if isinstance(linear, Dense) and source == linear.input_shape[1:] and len(source) == 1:
        return dense_layer(linear.weight.midpoint, bias)
    if size(linear.input_shape) * size(linear.output_shape) > UNROLLED:
        kind = type(linear.of).__name__ + "'s adjoint" if isinstance(linear, Adjoint) else type(linear).__name__
        raise NotCanonical(
            f"{kind} {linear.input_shape} -> {linear.output_shape}: no Conv2d, and too large as a matrix"
        )
    try:
        dense = matrix(linear).midpoint
    except TypeError as error:
        raise NotCanonical(str(error)) from None
    return Reshaped(dense_layer(dense, bias), len(source) > 1, target)


def _as_convolution(linear: LinearMap) -> tuple[np.ndarray, tuple[int, int], tuple[int, int]] | None:
    """(kernel, stride, padding) of a map between images, where it is a Conv2d."""
    match linear:
        case Convolution(circular=False, groups=1) if _plain(linear):
            return linear.kernel.midpoint, (1, 1), (linear.pads[0][0], linear.pads[1][0])
        case Adjoint(of=Convolution(circular=False, groups=1) as of) if _plain(of):
            kernel = of.kernel.midpoint
            pads = [k - 1 - a for k, (a, _) in zip(kernel.shape[2:], of.pads, strict=True)]
            if min(pads) >= 0:
                return np.flip(kernel, (2, 3)).swapaxes(0, 1), (1, 1), (pads[0], pads[1])
        case Pad(circular=False, pads=((0, 0), (before, _), (0, 0), (0, 0))):
            place = np.eye(linear.output_shape[1], linear.input_shape[1], -before)
            return place[:, :, None, None], (1, 1), (0, 0)
        case Diagonal():
            factor = np.broadcast_to(linear.factor.midpoint, linear.input_shape)[0]
            if (factor == factor[:, :1, :1]).all():
                return np.diag(factor[:, 0, 0])[:, :, None, None], (1, 1), (0, 0)
    return None


def _plain(linear: Convolution) -> bool:
    return set(linear.stride + linear.dilation) == {1} and all(a == b for a, b in linear.pads)


def dense_layer(weight: np.ndarray, bias: np.ndarray | None) -> nn.Linear:
    """With a bias always: without one auto_LiRPA 0.3 reads a product of two unknowns and bounds both factors first."""
    module = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
    return _filled(module, weight, np.zeros(weight.shape[0]) if bias is None else bias)


def _conv2d(
    weight: np.ndarray, stride: tuple[int, int], padding: tuple[int, int], bias: np.ndarray | None
) -> nn.Conv2d:
    out, channels, *window = weight.shape
    module = nn.Conv2d(
        channels, out, (window[0], window[1]), stride, padding, bias=bias is not None, dtype=torch.float64
    )
    return _filled(module, weight, bias)


def _filled(module, weight: np.ndarray, bias: np.ndarray | None):
    module.weight.data = torch.from_numpy(np.array(weight, dtype=np.float64))
    if bias is not None:
        module.bias.data = torch.from_numpy(np.array(bias, dtype=np.float64).reshape(-1))
    return module.requires_grad_(False)
