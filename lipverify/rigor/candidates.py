"""Which torus, or which strip, to prove: guesses from one fine spectrum, interpolated. Nothing here is trusted."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

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
