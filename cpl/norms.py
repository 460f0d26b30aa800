"""Norms of dense maps and convolutions from above, by Gram iteration.

*Lower*: ||A v|| / ||v|| <= ||A|| for every v. Power iteration (`cpl.operators.power_lower`) makes it large; it stays a
lower bound, so a step size 2 / lower^2 is too large. It is the training proxy and never what ships.

*Upper* (Delattre et al., 2023): with G_0 = A and G_{k+1} = G_k^* G_k, ||A||^(2^k) = ||G_k||_2 <= ||G_k||_F. It
decreases to ||A|| as k grows. Float64 throughout, with every rounding error of the products counted: the computed
G_{k+1} differs from G_k^* G_k by at most gamma ||G_k||_F^2 in norm, so going back down,

    ||G_k||_2 <= sqrt(||G_{k+1}||_2 + gamma ||G_k||_F^2 + underflow).

This is what ships. It is honest arithmetic and no proof: the standard error model of the matrix product is trusted, and
the proof that ||V||^2 <= 2 is the audit's job.

Convolutions on a torus of N_h x N_w points are block diagonal under the DFT, the blocks being

    B(w) = sum_d K[:, :, d] exp(-i w.d),   w = 2 pi (m + s) / N,  m = 0 .. N - 1,

with s = 0 (periodic) or s = 1/2 (antiperiodic) per axis. The norm on the torus is max_w ||B(w)||. Circular padding
*is* the periodic torus with N = n. Zero padding is a compression of every torus with N >= n + p, hence bounded by
each of them.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from cpl import checks
from cpl.convolution import half_width, materialise
from cpl.errors import ArgumentError
from cpl.scaling import scaled_to_one, times_two_to

UNIT = 2.0**-53
DENSE_ROWS = 1024  # the unrolled Gram matrix of a convolution up to this size costs about a second
CHUNK = 2**22  # complex numbers held at once
UNDERFLOW = 2.0**-1000  # the blocks have entries near 1; what scaling to that loses is below it too


def gram_upper_dense(weight: Tensor) -> float:
    """Gram iteration: an UPPER bound of ||W||_2 with its own rounding counted.

    Args:
        weight: W, shape (rows, columns), finite.

    Returns:
        upper >= ||W||_2, about 1e-10 above it in relative terms; 0.0 exactly for W = 0.

    Raises:
        ArgumentError: if W is not a finite real matrix.

    Source: Delattre et al. (2023), Efficient bound of Lipschitz constant for convolutional layers by Gram iteration,
    Theorem 1.

    >>> gram_upper_dense(torch.diag(torch.tensor([3.0, 1.0])))  # doctest: +ELLIPSIS
    3.0000000...
    """
    _require(weight, axes=2, name="weight")
    weight, exponent = scaled_to_one(weight.detach().double().cpu())
    return times_two_to(_gram_upper(weight[None], error=0.0), exponent)


def gram_upper_conv(kernel: Tensor, size: tuple[int, int], *, padding_mode: str, groups: int = 1) -> float:
    """An UPPER bound of ||A_K||_2 on maps of the given size: the best of tori, and of the unrolled matrix where it is
    small.

    Args:
        kernel: K, shape (inner, channels, k_h, k_w), k odd, finite.
        size: (n_h, n_w), the size of the map.
        padding_mode: 'circular' (the periodic torus N = n, no loss) or 'zeros' (periodic and antiperiodic tori with
            n + p <= N <= n + p + 2 on both axes; the matrix itself if its smaller side has at most `DENSE_ROWS` rows).
        groups: g; K then has shape (inner, channels / g, k_h, k_w) and the norm is the largest of the g groups'.

    Returns:
        upper >= ||A_K||_2; 0.0 exactly for K = 0.

    Raises:
        ArgumentError: if K is not a finite real kernel with odd sides, or the padding mode is unknown.

    Source: Delattre et al. (2023), section 4, for the periodic torus.
    """
    _require(kernel, axes=4, name="kernel")
    if kernel.shape[2] % 2 == 0 or kernel.shape[3] % 2 == 0:
        raise ArgumentError(
            f"kernel sides {tuple(kernel.shape[2:])} are not odd",
            where="gram_upper_conv",
            why="'same' padding p = (k - 1) / 2 is meant",
            next_step="use an odd kernel",
        )
    checks.padding_mode(padding_mode, where="gram_upper_conv")
    kernel, exponent = scaled_to_one(kernel.detach().double().cpu())
    return times_two_to(max(_conv_upper(part, size, padding_mode) for part in kernel.chunk(groups)), exponent)


def _conv_upper(kernel: Tensor, size: tuple[int, int], padding_mode: str) -> float:
    if padding_mode == "circular":
        return _torus_upper(kernel, size, (0, 0))
    if min(kernel.shape[:2]) * size[0] * size[1] <= DENSE_ROWS:
        return _gram_upper(materialise(kernel, size)[None], error=0.0)
    # a tap further from the centre than n - 1 only ever meets the padding
    far = [max(0, p - (n - 1)) for p, n in zip(half_width(kernel), size, strict=True)]
    kernel = kernel[:, :, far[0] : kernel.shape[2] - far[0], far[1] : kernel.shape[3] - far[1]]
    p = half_width(kernel)
    tori = itertools.product(range(3), (0, 1), (0, 1))
    return min(_torus_upper(kernel, (size[0] + p[0] + extra, size[1] + p[1] + extra), (t, s)) for extra, t, s in tori)


def _torus_upper(kernel: Tensor, torus: tuple[int, int], twist: tuple[int, int]) -> float:
    """Upper bound of max_w ||B(w)|| on one torus; twist 1 means antiperiodic along that axis."""
    # K is real: B(-w) is the conjugate of B(w), so half of the frequencies of the first axis suffice.
    half = torus[0] // 2 + 1 if twist[0] == 0 else (torus[0] + 1) // 2
    rows = _twiddles(half, torus[0], twist[0], kernel.shape[2])
    columns = _twiddles(torus[1], torus[1], twist[1], kernel.shape[3])
    taps = kernel.shape[2] * kernel.shape[3]
    # twiddles are within 16 u, their products within 40 u, the sum of the taps adds 2 (taps + 2) u
    error = (4 * taps + 64) * UNIT * float(torch.linalg.vector_norm(kernel.abs().sum(dim=(2, 3))))
    per_row = torus[1] * kernel.shape[0] * kernel.shape[1]
    step = max(1, CHUNK // per_row)
    upper = 0.0
    for start in range(0, half, step):
        partial = torch.einsum("ochw,ah->aocw", kernel.to(torch.complex128), rows[start : start + step])
        blocks = torch.einsum("aocw,bw->aboc", partial, columns).reshape(-1, *kernel.shape[:2])
        upper = max(upper, _gram_upper(blocks, error=error))
    return upper


def _twiddles(count: int, size: int, twist: int, taps: int) -> Tensor:
    """exp(-i pi j / size) with j = (2 m + twist) d reduced exactly to (-size, size]; shape (count, taps)."""
    j = (2 * torch.arange(count)[:, None] + twist) * torch.arange(taps)[None, :] % (2 * size)
    angle = torch.where(j > size, j - 2 * size, j).double() * math.pi / size
    return torch.complex(angle.cos(), -angle.sin())


def _gram_upper(blocks: Tensor, *, error: float, tolerance: float = 2.0**-34, levels: int = 60) -> float:
    """Upper bound of max_b ||M_b||_2 over blocks (B, m, n), each known up to `error` in norm; rounding counted."""
    if not bool(blocks.abs().amax() > 0):
        return error
    if blocks.shape[1] < blocks.shape[2]:
        blocks = blocks.mH
    size = blocks.shape[2]
    history: list[tuple[int, float, Tensor]] = []
    finished = 0.0
    for level in range(levels):
        blocks, exponent = scaled_to_one(blocks, room=_room(blocks))
        count = blocks.shape[1] * blocks.shape[2]
        norms = torch.linalg.vector_norm(blocks, dim=(1, 2)) * (1 + (2 * count + 8) * UNIT) + UNDERFLOW
        terms = (8 if blocks.is_complex() else 1) * (blocks.shape[1] + 2)
        gamma = terms * UNIT / (1 - terms * UNIT)
        if level > 0:  # the blocks are Gram matrices, so ||G||_F^2 / trace G <= ||G||_2 <= ||G||_F
            traces = blocks.diagonal(dim1=1, dim2=2).sum(-1).real.clamp_min(UNDERFLOW)
            lower = float((norms.square() / traces).amax())
            keep = norms >= 0.5 * lower
            if math.log(float(norms.amax()) / lower) <= tolerance * 2.0**level:
                break
            if not bool(keep.all()):
                finished = max(finished, _descend(norms[~keep], [(e, g, n[~keep]) for e, g, n in history], exponent))
                blocks, norms = blocks[keep], norms[keep]
                history = [(e, g, n[keep]) for e, g, n in history]
        history.append((exponent, gamma, norms))
        blocks = blocks.mH @ blocks
    else:
        blocks, exponent = scaled_to_one(blocks, room=_room(blocks))
        norms = torch.linalg.vector_norm(blocks, dim=(1, 2)) * (1 + (2 * size * size + 8) * UNIT) + UNDERFLOW
    return (max(finished, _descend(norms, history, exponent)) + error) * (1 + 4 * UNIT)


def _descend(norms: Tensor, history: list[tuple[int, float, Tensor]], exponent: int) -> float:
    """From bounds of ||G_K|| 2^-exponent back to a bound of ||G_0||, one square root and one error term a level."""
    for below, gamma, frobenius in reversed(history):
        norms = (norms * math.ldexp(1.0, exponent) + gamma * frobenius.square() + UNDERFLOW).sqrt() * (1 + 8 * UNIT)
        exponent = below
    return math.ldexp(float(norms.amax()), exponent)


def _room(blocks: Tensor) -> int:
    """Bits such that blocks with entries below 2^-bits have norms of about 1, so that their squares do not overflow."""
    return math.isqrt(blocks.shape[1] * blocks.shape[2]).bit_length()


def _require(tensor: Tensor, *, axes: int, name: str) -> None:
    if tensor.ndim != axes or tensor.numel() == 0 or not tensor.is_floating_point():
        raise ArgumentError(
            f"{name} of shape {tuple(tensor.shape)}, {tensor.dtype} is not a real array with {axes} axes",
            where="Gram iteration",
            why="its norm is not defined here",
            next_step="pass a floating-point tensor without empty axes",
        )
    if not bool(torch.isfinite(tensor).all()):
        raise ArgumentError(
            f"{name} holds NaN or Inf",
            where="Gram iteration",
            why="it has no finite norm",
            next_step="inspect the training run that made it",
        )
