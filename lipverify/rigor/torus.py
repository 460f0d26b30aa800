"""Convolutions on a torus: block diagonal under the discrete Fourier transform.

On the torus Z_N1 x Z_N2 with boundary twists e^{i pi t}, t in {0, 1} per axis (t = 1: antiperiodic), the convolution
with kernel K has the blocks

    B(w) = sum_d K[:, :, d] e^{i w.d},    w_a = pi (2 k_a + t_a) / N_a,  k_a = 0 .. N_a - 1,

and norm max_w ||B(w)||_2. K is real, so w and -w have equal norms and half the frequencies suffice.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from lipverify.rigor.lanczos import top_eigenpair
from lipverify.rigor.psd import psd_shift
from lipverify.rigor.reductions import Array, matrix_norm_up, row_sums_up
from lipverify.rigor.rounding import U, float_up, gamma, round_up, sqrt_up, underflow

_FIXED = 192
"""Bits after the point of the integer arithmetic below."""

TWIDDLE_ERROR = Fraction(1, 2**49)
"""Bound on the error of one two-dimensional twiddle factor's real or imaginary part (see :func:`_table`)."""

_CHUNK = 1 << 22

_DIRECT = 96


@dataclass(frozen=True, slots=True)
class Torus:
    """Sizes (N1, N2) and twists (t1, t2)."""

    sizes: tuple[int, int]
    twists: tuple[int, int]

    def __str__(self) -> str:
        kinds = ("periodic", "antiperiodic")
        return " x ".join(f"{n} {kinds[t]}" for n, t in zip(self.sizes, self.twists, strict=True))


def _arctan_inverse(n: int) -> int:
    """arctan(1 / n) 2^_FIXED, truncated; off by less than 2^8 units."""
    term = (1 << _FIXED) // n
    total, k = term, 1
    while term:
        term //= n * n
        k += 2
        total += -(term // k) if k % 4 == 3 else term // k
    return total


@functools.lru_cache(maxsize=64)
def half_turns(n: int) -> tuple[Array, Array]:
    """cos and sin of pi j / n, j = 0 .. 2 n - 1, each within 2^-53 of the truth (in fact u / 2 + 2^-150).

    Machin's formula and Taylor series in integers of 192 fractional bits: arguments lie below 2 pi, 119 terms leave a
    remainder below 2^-300, the truncations (one a term, magnified by at most (2 pi)^6 / 6! < 90) and the error of pi
    together cost less than 2^-170; the last rounding to float64 costs u / 2.
    """
    pi = 4 * (4 * _arctan_inverse(5) - _arctan_inverse(239))
    values = np.empty((2, 2 * n))
    for j in range(2 * n):
        x = pi * j // n
        term, sums = 1 << _FIXED, [0, 0]
        for k in range(1, 120):
            sums[(k - 1) % 2] += term if (k - 1) % 4 < 2 else -term
            term = (term * x >> _FIXED) // k
        values[:, j] = [float(Fraction(s, 1 << _FIXED)) for s in sums]
    return values[0], values[1]


def _axis(n: int, twist: int, taps: int, half: bool) -> tuple[Array, Array]:
    """cos and sin of w_k d: shape (frequencies, taps)."""
    count = n if not half else (n // 2 + 1 if twist == 0 else (n + 1) // 2)
    index = np.outer(2 * np.arange(count) + twist, np.arange(taps)) % (2 * n)
    cosine, sine = half_turns(n)
    return cosine[index], sine[index]


def circle_twiddles(n: int, twist: int, taps: int) -> tuple[Array, Array]:
    """cos and sin of w_k d on one twisted circle, half of the frequencies, each within u: (frequencies, taps)."""
    return _axis(n, twist, taps, half=True)


def _table(torus: Torus, taps: tuple[int, int]) -> tuple[Array, Array]:
    """Twiddles of all frequencies (half of them by symmetry) and taps: two arrays (frequencies, kh * kw).

    cos(a + b) = cos a cos b - sin a sin b with four factors within u of the truth: inherited error at most
    4 u + 2 u^2, two roundings of products (at most u (1 + 3 u) each) and one of a sum below 2: in all below
    9 u < 2^-49; likewise for the sine.
    """
    (c1, s1), (c2, s2) = (_axis(torus.sizes[a], torus.twists[a], taps[a], half=bool(a)) for a in (0, 1))
    c1, s1, c2, s2 = c1[:, None, :, None], s1[:, None, :, None], c2[None, :, None, :], s2[None, :, None, :]
    size = taps[0] * taps[1]
    return (c1 * c2 - s1 * s2).reshape(-1, size), (s1 * c2 + c1 * s2).reshape(-1, size)


def magnitude_norm(kernel: Array) -> Fraction:
    """An upper bound of || sum_d |K_d| ||_2: dominates the norm of the convolution with |K|, and of every B(w)."""
    out, inner, *taps = kernel.shape
    k = taps[0] * taps[1]
    return matrix_norm_up(np.abs(kernel).sum((2, 3))) / (1 - gamma(k)) + out * inner * underflow(k)


def block_error(kernel: Array) -> Fraction:
    """max_w ||fl(B(w)) - B(w)||_2 <= 2 (gamma_k (1 + eps) + eps) || sum_d |K_d| ||, k taps, eps the twiddles' error.

    Real and imaginary part of an entry are real inner products of length k with |twiddle| <= 1 + eps; |z| <= |x| + |y|.
    """
    out, inner, *taps = kernel.shape
    k = taps[0] * taps[1]
    relative = gamma(k) * (1 + TWIDDLE_ERROR) + TWIDDLE_ERROR
    return 2 * (relative * magnitude_norm(kernel) + out * inner * underflow(k, 2))


class _Blocks:
    """The blocks of one torus, (real, imaginary) in chunks of frequencies, on the kernel's smaller side."""

    def __init__(self, kernel: Array, torus: Torus) -> None:
        out, inner, *taps = kernel.shape
        tall = kernel if out >= inner else kernel.transpose(1, 0, 2, 3)
        # Adjoint blocks are conjugate transposes; conjugation does not change norms, so the transpose will do.
        self.shape = tall.shape[:2]
        self._flat = np.ascontiguousarray(tall.reshape(self.shape[0] * self.shape[1], -1).T)
        self._cosine, self._sine = _table(torus, (taps[0], taps[1]))

    def __iter__(self):
        step = max(1, _CHUNK // max(1, self._flat.shape[1]))
        for start in range(0, len(self._cosine), step):
            part = slice(start, start + step)
            shape = (-1, *self.shape)
            yield (self._cosine[part] @ self._flat).reshape(shape), (self._sine[part] @ self._flat).reshape(shape)


def _gram(real: Array, imaginary: Array) -> tuple[Array, Array]:
    """B^H B by real products of inner length 2 m: [X; Y]^T [X; Y] and [X; Y]^T [Y; -X] for B = X + i Y."""
    stacked = np.concatenate((real, imaginary), -2)
    left = np.swapaxes(stacked, -1, -2)
    return left @ stacked, left @ np.concatenate((imaginary, -real), -2)


def torus_spectrum(kernel: Array, torus: Torus) -> Array:
    """Guesses of ||B(w)||^2 for every frequency of :func:`_table`; not trusted."""
    values = []
    for real, imaginary in _Blocks(kernel, torus):
        a, b = _gram(real, imaginary)
        if a.shape[-1] <= _DIRECT:
            values.append(np.linalg.eigvalsh(a + 1j * b)[:, -1])
        else:
            values.append(np.array([_top(*block) for block in zip(a, b, strict=True)]))
    return np.concatenate(values)


def _top(a: Array, b: Array) -> float:
    """The largest eigenvalue of A + i B (a guess), by Lanczos on [A -B; B A]."""
    n = len(a)

    def product(v: Array) -> Array:
        x, y = v[:n], v[n:]
        return np.concatenate((a @ x - b @ y, b @ x + a @ y))

    return top_eigenpair(product, np.random.default_rng(0).standard_normal(2 * n), steps=80, relative=1e-9).value


def torus_upper(kernel: Array, torus: Torus) -> Fraction | None:
    """An upper bound of max_w ||B(w)||_2, for a kernel of size about 1 (see :func:`..reductions.unit_scaled`).

    For every frequency s I - B^H B >= -beta I is proved (see :mod:`lipverify.rigor.psd`); then ||B(w)||^2 <= s + beta.
    Errors: blocks (:func:`block_error`); Gram: |error| <= gamma_2m (|X| + |Y|)^T (|X| + |Y|), in norm at most
    2 gamma_2m ||B||_F^2; the rounded diagonal; the factorisation's residual; underflow.

    Returns:
        the bound, or None where no proof was found.
    """
    guess = float(torus_spectrum(kernel, torus).max())
    if not np.isfinite(guess):
        return None
    n = min(kernel.shape[:2])
    slack = max(2.0**-40, n * 2.0**-50)
    for _ in range(6):
        s = float_up(Fraction(guess) * (1 + Fraction(slack)) + Fraction(1, 2**900))
        betas = [_shift(s, *blocks) for blocks in _Blocks(kernel, torus)]
        proved = [beta for beta in betas if beta is not None]
        if len(proved) == len(betas):
            return round_up(sqrt_up(Fraction(s) + max(proved)) + block_error(kernel))
        slack *= 64
    return None


def _shift(s: float, real: Array, imaginary: Array) -> Fraction | None:
    """beta with s I - B^H B >= -beta I for these blocks, taken as exact."""
    m, n = real.shape[-2:]
    # ||B||_F^2 as a row sum: one row for each block.
    squares = row_sums_up((real * real + imaginary * imaginary).reshape(len(real), -1), 2)
    error = 2 * gamma(2 * m) * squares + 2 * n * underflow(2 * m, 2**40)
    a, b = _gram(real, imaginary)
    index = np.arange(n)
    diagonal = s - a[:, index, index]
    a, b = -a, -b
    a[:, index, index] = diagonal
    error += U * Fraction(float(np.abs(diagonal).max())) / (1 - U) + underflow(1)
    return psd_shift(a, error, imaginary=b)
