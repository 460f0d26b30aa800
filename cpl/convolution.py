"""The stride-1 'same' convolution A_K and its exact adjoint, written with one and the same stored kernel.

A_K maps (c, n_h, n_w) to (o, n_h, n_w):

    (A_K x)(s) = sum_d K[:, :, d] x(s + d - p),   p = (k - 1) / 2 per axis,

with x continued by zeros ('zeros') or periodically ('circular'). Its adjoint is

    (A_K^T y)(s) = sum_d K[:, :, d]^T y(s - d + p),

which for zero padding is the transposed convolution and for circular padding is again a circular convolution, by the
kernel with its channels exchanged and its axes reversed: a reindexing, so no number of the kernel changes. With g groups
K has shape (o, c / g, k, k) and A_K is block diagonal over the groups.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def half_width(kernel: Tensor) -> tuple[int, int]:
    """Returns p = (k - 1) / 2 per axis of an odd kernel (o, c, k_h, k_w)."""
    return (kernel.shape[2] - 1) // 2, (kernel.shape[3] - 1) // 2


def convolve(x: Tensor, kernel: Tensor, bias: Tensor | None, *, padding_mode: str, groups: int = 1) -> Tensor:
    """Returns A_K x + bias, shape (batch, o, n_h, n_w), for x of shape (batch, c, n_h, n_w)."""
    p_h, p_w = half_width(kernel)
    if padding_mode == "zeros":
        return F.conv2d(x, kernel, bias, padding=(p_h, p_w), groups=groups)
    return F.conv2d(F.pad(x, (p_w, p_w, p_h, p_h), mode="circular"), kernel, bias, groups=groups)


def convolve_adjoint(y: Tensor, kernel: Tensor, *, padding_mode: str, groups: int = 1) -> Tensor:
    """Returns A_K^T y, shape (batch, c, n_h, n_w), for y of shape (batch, o, n_h, n_w)."""
    p_h, p_w = half_width(kernel)
    if padding_mode == "zeros":
        return F.conv_transpose2d(y, kernel, padding=(p_h, p_w), groups=groups)
    return F.conv2d(F.pad(y, (p_w, p_w, p_h, p_h), mode="circular"), reversed_kernel(kernel, groups), groups=groups)


def reversed_kernel(kernel: Tensor, groups: int = 1) -> Tensor:
    """The kernel of the adjoint of a circular convolution, (c, o / g, k, k): channels exchanged, both axes reversed."""
    parts = kernel.unflatten(0, (groups, -1)).transpose(1, 2)
    return parts.flatten(0, 1).flip(2, 3)


def materialise(kernel: Tensor, size: tuple[int, int]) -> Tensor:
    """Returns the matrix of A_K with zero padding, or its transpose if that has fewer rows: (min(o, c) n, max(o, c) n).

    Every entry is one kernel entry or zero, so no rounding happens.
    """
    out_channels, in_channels = kernel.shape[:2]
    rows = min(out_channels, in_channels) * size[0] * size[1]
    basis = torch.eye(rows, dtype=kernel.dtype).view(rows, -1, *size)
    if out_channels < in_channels:
        return convolve_adjoint(basis, kernel, padding_mode="zeros").reshape(rows, -1)
    return convolve(basis, kernel, None, padding_mode="zeros").reshape(rows, -1)
