"""Guesses for convolutions: which torus or strip to prove, which input to try. Nothing here is trusted."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from lipverify.actions import adjoint_apply, apply
from lipverify.maps import Convolution, Pad
from lipverify.rigor.lanczos import top_eigenpair
from lipverify.rigor.reductions import Array
from lipverify.rigor.torus import Torus, torus_spectrum

_MORE = 6
"""Sizes tried per axis: the least valid one and the next few."""


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """||B(w)||^2 on a fine periodic grid, and the least valid torus size per axis."""

    values: Array
    least: tuple[int, int]

    @classmethod
    def of(cls, kernel: Array, least: tuple[int, int]) -> Spectrum:
        """Evaluates a grid of 16 to 64 points per axis (16 for wide kernels); half of it follows by w -> -w."""
        finest = 64 if min(kernel.shape[:2]) <= 96 else 16
        rows, columns = (min(finest, max(16, 2 * n)) for n in least)
        half = torus_spectrum(kernel, Torus((rows, columns), (0, 0))).reshape(rows, -1)
        values = np.empty((rows, columns))
        values[:, : half.shape[1]] = half
        for k in range(half.shape[1], columns):
            values[:, k] = half[-np.arange(rows) % rows, columns - k]
        return cls(values, least)

    def best_torus(self) -> Torus:
        """The torus on which the interpolated spectrum is least."""
        waves = np.fft.fft2(self.values) / self.values.size
        axes = [_cosets(n, m) for n, m in zip(self.least, self.values.shape, strict=True)]
        found = (
            (float((a @ waves @ b.T).real.max()), Torus((n, m), (s, t)))
            for (n, s, a), (m, t, b) in itertools.product(*axes)
        )
        return min(found, key=lambda pair: pair[0])[1]

    def best_circle(self, axis: int) -> tuple[float, int, int]:
        """(value, size, twist) of the torus along ``axis`` on which the other axis' maximum is least."""
        profile = self.values.max(1 - axis)
        waves = np.fft.fft(profile) / profile.size
        cosets = _cosets(self.least[axis], profile.size)
        return min((float((a @ waves).real.max()), n, twist) for n, twist, a in cosets)


def _cosets(least: int, grid: int) -> list[tuple[int, int, np.ndarray]]:
    """(size, twist, interpolation matrix from the grid's Fourier coefficients to the torus' frequencies)."""
    harmonics = np.fft.fftfreq(grid, 1 / grid)
    return [
        (size, twist, np.exp(1j * np.pi * np.outer((2 * np.arange(size) + twist) / size, harmonics)))
        for size in range(least, least + _MORE)
        for twist in (0, 1)
    ]


_FLOPS = 1e9
"""Of one Lanczos step; a larger image is cropped, which loses about (pi / side)^2 of the norm at most."""


def guess_singular_vector(convolution: Convolution) -> Array:
    """An input (of the map's shape, one image) that nearly attains the norm: Lanczos on A^T A.

    A zero-padded map restricted to a part of the image is a compression, so a cropped guess is a good one.
    """
    kernel, (_, inner, *image) = convolution.kernel.midpoint, convolution.input_shape
    side = max(16, int(np.sqrt(_FLOPS / (4 * kernel.size))))
    crop = [
        n if convolution.circular else min(n, max(side, 2 * k)) for n, k in zip(image, kernel.shape[2:], strict=True)
    ]
    small = replace(convolution, input_shape=(1, inner, *crop))
    size = inner * crop[0] * crop[1]
    start = np.random.default_rng(0).standard_normal(size)
    flops = 4.0 * kernel.size * crop[0] * crop[1]
    steps = max(8, min(200, (1 << 25) // size, int(1e11 / flops)))
    vector = top_eigenpair(_normal_product(small), start, steps=steps, relative=1e-10).vector
    x = np.zeros(convolution.input_shape)
    corner = [(n - m) // 2 for n, m in zip(image, crop, strict=True)]
    inside = tuple(slice(c, c + m) for c, m in zip(corner, crop, strict=True))
    x[(..., *inside)] = vector.reshape(small.input_shape)
    return x


def _normal_product(convolution: Convolution) -> Callable[[Array], Array]:
    """x -> A^T A x by two products with the kernel as a matrix."""
    kernel, (_, outer, h, w) = convolution.kernel.midpoint, convolution.output_shape
    pad = Pad(convolution.input_shape, ((0, 0), (0, 0), *convolution.pads), convolution.circular)
    matrix = np.ascontiguousarray(kernel.transpose(0, 2, 3, 1).reshape(outer, -1))
    taps = list(np.ndindex(*kernel.shape[2:]))

    def product(v: Array) -> Array:
        padded = apply(pad, v.reshape(convolution.input_shape))
        windows = np.stack([padded[0, :, i : i + h, j : j + w] for i, j in taps])
        back = (matrix.T @ (matrix @ windows.reshape(len(matrix.T), h * w))).reshape(windows.shape)
        spread = np.zeros_like(padded)
        for part, (i, j) in zip(back, taps, strict=True):
            spread[0, :, i : i + h, j : j + w] += part
        return adjoint_apply(pad, spread).reshape(-1)

    return product
