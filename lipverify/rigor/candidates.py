"""Guesses for convolutions: which torus or strip to prove, which input to try. Nothing here is trusted."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from lipverify.maps import Convolution, Enclosure
from lipverify.rigor.lanczos import top_eigenpair, top_values
from lipverify.rigor.reductions import Array
from lipverify.rigor.stack import gram, top_square
from lipverify.rigor.torus import Blocks, Torus, block_at

_MORE = 6
"""Sizes tried per axis: the least valid one and the next few."""

_COMPARED = 8
"""Tori whose exact tops are compared: those which the interpolation ranks first."""

_SQUARE = 3
"""Sizes, the same step above the least on both axes, whose four twists are compared as well, whatever their rank."""

_NARROW = 8
_WIDE = 96


def torus_flops(kernel: Array, frequencies: float) -> float:
    """Floating-point operations of a proof on a torus, roughly: Gram matrices, factors, residuals, and moving memory."""
    groups, out, inner = kernel.shape[:3]
    long, short = max(out, inner), min(out, inner)
    return frequencies * groups * (4.0 * long * short**2 + 5.0 * short**3 + 2.5e3 * long * short)


def torus_spectrum(kernel: Array, torus: Torus, steps: int = 24) -> Array:
    """Guesses of max over the groups of ||B(w)||^2 for every frequency of :class:`lipverify.rigor.torus.Blocks`."""
    values = []
    for real, imaginary in Blocks(kernel, torus).chunks():
        if real.shape[-1] <= _NARROW:
            a, b = gram(real, imaginary)
            top = np.linalg.eigvalsh(a if b is None else a + 1j * b)[..., -1]
        else:
            pair = (torch.from_numpy(x).float() for x in (real, imaginary if imaginary is not None else 0 * real))
            top = top_values(torch.complex(*pair).flatten(0, 1), steps).reshape(real.shape[:2])
        values.append(top.max(-1))
    return np.concatenate(values)


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """||B(w)||^2, the largest of the groups, on a fine periodic grid, and the least valid torus size per axis."""

    kernel: Array
    values: Array
    least: tuple[int, int]

    @classmethod
    def of(cls, kernel: Array, least: tuple[int, int]) -> Spectrum:
        """Evaluates a grid of 16 to 64 points per axis (16 for wide kernels); half of it follows by w -> -w."""
        width = min(kernel.shape[1:3])
        finest = 64 if width <= _NARROW else 32 if width <= _WIDE else 16
        grids = [min(finest, max(16, 2 * n)) if k > 1 else 1 for n, k in zip(least, kernel.shape[3:], strict=True)]
        rows, columns = grids
        half = torus_spectrum(kernel, Torus((rows, columns), (0, 0)), 24 if width <= _WIDE else 12).reshape(rows, -1)
        values = np.empty((rows, columns))
        values[:, : half.shape[1]] = half
        for k in range(half.shape[1], columns):
            values[:, k] = half[-np.arange(rows) % rows, columns - k]
        return cls(kernel, values, least)

    def best_torus(self, flops: float) -> tuple[Torus, float]:
        """The torus on which the interpolated spectrum is least, among those whose proof costs about ``flops``.

        The interpolation knows nothing of corners of the spectrum: the best few, and the nearest to the image whatever
        their rank, are compared again by their exact tops.

        Returns:
            the torus, and a guess of the largest ||B(w)||^2 on it; 0 where there is none.
        """
        waves = np.fft.fft2(self.values) / self.values.size
        axes = [_cosets(n, m) for n, m in zip(self.least, self.values.shape, strict=True)]
        limit = max(flops, 1.3 * torus_flops(self.kernel, self.least[0] * self.least[1] / 2))
        found = []
        for (n, s, a), (m, t, b) in itertools.product(*axes):
            if torus_flops(self.kernel, n * m / 2) <= limit or (n, m) == self.least:
                values = (a @ waves @ b.T).real
                found.append((float(values.max()), Torus((n, m), (s, t)), values))
        found.sort(key=lambda entry: entry[0])
        if min(self.kernel.shape[1:3]) > _WIDE or len(self.kernel) > 1:
            return found[0][1], 0.0
        steps = [[n - least for n, least in zip(torus.sizes, self.least, strict=True)] for _, torus, _ in found]
        near = [i for i, (a, b) in enumerate(steps) if i < _COMPARED or (a == b and a < _SQUARE)]
        tops = [(_exact_top(self.kernel, *found[i][1:]), found[i][1]) for i in near]
        top, torus = min(tops, key=lambda pair: pair[0])
        return torus, top

    def circles(self, axis: int) -> list[Circle]:
        """Tori along ``axis`` alone, those first on which the other axis' maximum is least."""
        profile = self.values.max(1 - axis)
        waves = np.fft.fft(profile) / profile.size
        found = []
        for size, twist, points in _cosets(self.least[axis], profile.size):
            values = (points @ waves).real
            # Frequencies w and -w have equal norms: half of them suffice, as in `circle_twiddles`.
            half = values[: size // 2 + 1 - (twist and not size % 2)]
            found.append(Circle(size, twist, float(values.max()), np.argsort(half)[-4:]))
        return sorted(found, key=lambda circle: circle.value)


@dataclass(frozen=True, slots=True, eq=False)
class Circle:
    """A twisted torus along one axis.

    Attributes:
        size, twist: of the torus.
        value: a guess of the largest ||B||^2 at its frequencies, over all frequencies of the other axis.
        top: indices of the frequencies at which it is largest.
    """

    size: int
    twist: int
    value: float
    top: np.ndarray


def _exact_top(kernel: Array, torus: Torus, values: Array) -> float:
    """The largest of ||B||^2 at the frequencies where the interpolated spectrum is largest."""
    best = np.argsort(values, axis=None)[-6:]
    tops = []
    for flat in best:
        index = np.unravel_index(flat, values.shape)
        a, b = gram(*block_at(kernel[0], torus, (int(index[0]), int(index[1]))))
        tops.append(top_square(a, b))
    return max(tops)


def _cosets(least: int, grid: int) -> list[tuple[int, int, np.ndarray]]:
    """(size, twist, interpolation matrix from the grid's Fourier coefficients to the torus' frequencies)."""
    if grid == 1:
        return [(1, 0, np.ones((1, 1), complex))]
    harmonics = np.fft.fftfreq(grid, 1 / grid)
    return [
        (size, twist, np.exp(1j * np.pi * np.outer((2 * np.arange(size) + twist) / size, harmonics)))
        for size in range(least, least + _MORE)
        for twist in (0, 1)
    ]


_FLOPS = 4e8
"""Of one application of the map; a larger image is cropped, which loses about (pi / side)^2 of the norm at most."""


_CHEAP = 1e10
"""Of all steps together: below that more are made."""


def guess_singular_vector(convolution: Convolution, steps: int) -> Array:
    """An input (of the map's shape, one image) that nearly attains the norm: Lanczos on A^T A, in single precision.

    A zero-padded map restricted to a part of the image is a compression, so a cropped guess is a good one.
    """
    kernel, (_, inner, *image) = convolution.kernel.midpoint, convolution.input_shape
    area = _FLOPS / (2 * kernel.size) * np.prod(convolution.stride)
    spare = [s * max(8, 2 * (r + 1)) for r, s in zip(convolution.reach, convolution.stride, strict=True)]
    crop = list(image)
    if not convolution.circular and np.prod(image, dtype=float) > area:
        crop = [min(n, max(int(np.sqrt(area)), least)) for n, least in zip(image, spare, strict=True)]
    small = replace(convolution, input_shape=(1, inner, *crop), kernel=Enclosure(kernel))
    count = int(np.prod(small.input_shape))
    start = np.random.default_rng(0).standard_normal(count)
    flops = 4.0 * kernel.size * np.prod(small.output_shape[2:], dtype=float)
    steps = max(8, min(max(steps, int(_CHEAP / flops)), 200, (1 << 24) // count))
    vector = top_eigenpair(_normal_product(small), start, steps=steps, relative=1e-10, reorthogonalise=False).vector
    x = np.zeros((1, *convolution.input_shape[1:]))
    corner = [(n - m) // 2 // s * s for n, m, s in zip(image, crop, convolution.stride, strict=True)]
    inside = tuple(slice(c, c + m) for c, m in zip(corner, crop, strict=True))
    x[(..., *inside)] = vector.reshape(small.input_shape)
    return x


def _normal_product(convolution: Convolution) -> Callable[[Array], Array]:
    """x -> A^T A x for a planar convolution, by torch in float32."""
    kernel = torch.from_numpy(convolution.kernel.midpoint).float()
    shape, options = convolution.input_shape, (convolution.stride, convolution.dilation, convolution.groups)
    stride, dilation, groups = options
    (top, bottom), (left, right) = convolution.pads
    height, width = (n + sum(p) for n, p in zip(shape[2:], convolution.pads, strict=True))
    rows, columns = (
        torch.arange(-before, n + after) % n for n, (before, after) in zip(shape[2:], convolution.pads, strict=True)
    )
    # What the last window leaves over is read by no output.
    spare = [(n - r - 1) % s for n, r, s in zip((height, width), convolution.reach, stride, strict=True)]
    conv, transposed = torch.nn.functional.conv2d, torch.nn.functional.conv_transpose2d

    def product(v: Array) -> Array:
        x = torch.from_numpy(v).float().reshape(shape)
        if convolution.circular:
            padded = x[:, :, rows][:, :, :, columns]
        else:
            padded = torch.nn.functional.pad(x, (left, right, top, bottom))
        y = conv(padded, kernel, stride=stride, dilation=dilation, groups=groups)
        back = transposed(y, kernel, stride=stride, dilation=dilation, groups=groups)
        back = torch.nn.functional.pad(back, (0, spare[1], 0, spare[0]))
        if not convolution.circular:
            return back[:, :, top : top + shape[2], left : left + shape[3]].double().numpy().reshape(-1)
        folded = torch.zeros(shape[0], shape[1], shape[2], back.shape[3]).index_add_(2, rows, back)
        return torch.zeros(shape).index_add_(3, columns, folded).double().numpy().reshape(-1)

    return product
