"""Convolutions on a torus: block diagonal under the discrete Fourier transform.

On the torus Z_N1 x Z_N2 with boundary twists e^{i pi t}, t in {0, 1} per axis (t = 1: antiperiodic), the convolution
with kernel K has the blocks

    B(w) = sum_d K[:, :, d] e^{i w.d},    w_a = pi (2 k_a + t_a) / N_a,  k_a = 0 .. N_a - 1,

and norm max_w ||B(w)||_2. K is real, so w and -w have equal norms and half the frequencies suffice.

Between the points of a grid. Let K have R_a + 1 taps on axis a, and N_a > R_a frequencies w_a = pi (2 k + t) / N_a be looked
at. Then for *all* real w, hence on every torus whatever its size and twist,

    ||B(w)|| <= max_grid ||B|| / prod_a cos(pi R_a / (2 N_a)).

Proof, one axis after the other, the rest held fixed. Let ||B|| be largest, M, at w, and v a unit vector with |B(w) v| = M.
p(u) = |B(u) v|^2 is a real trigonometric polynomial of degree R with 0 <= p <= M^2, so q = p - M^2 / 2 has |q| <= q(w) =
M^2 / 2, and q(w + t) >= q(w) cos(R t) for |t| <= pi / R (M. Riesz 1914). The grid has a point with |t| <= pi / N, where
p >= M^2 (1 + cos(R t)) / 2 = M^2 cos^2(R t / 2). (Pfister and Bresler 2019 bound polynomials from grids this way, without
the use of p >= 0, which halves the angle.)
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from lipverify.rigor.reductions import Array, row_sums_up
from lipverify.rigor.rounding import gamma, round_up, sqrt_up, underflow
from lipverify.rigor.stack import Parts, stack_upper

_FIXED = 192
"""Bits after the point of the integer arithmetic below."""

TWIDDLE_ERROR = Fraction(1, 2**49)
"""Bound on the error of one two-dimensional twiddle factor's real or imaginary part (see :func:`_table`)."""

_CHUNK = 1 << 20
"""Complex numbers held at once."""


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


def _circles(torus: Torus, taps: tuple[int, ...]) -> list[tuple[Array, Array]]:
    return [_axis(torus.sizes[a], torus.twists[a], taps[a], half=False) for a in (0, 1)]


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
    """An upper bound of || sum_d |K_d| ||_2, the largest of the groups: dominates every ||B(w)||, and that of |K|.

    Args:
        kernel: (groups, out, in, kh, kw), entries of about 1 or below.
    """
    sums = np.abs(kernel).sum((-2, -1))
    terms = kernel.shape[-2] * kernel.shape[-1]
    if not sums.size:
        return Fraction(0)
    mixed = row_sums_up(sums, terms) * row_sums_up(np.swapaxes(sums, -1, -2), terms)
    frobenius = row_sums_up((sums * sums).reshape(len(sums), -1), 2 * terms + 1)
    return sqrt_up(min(mixed, frobenius))


def block_error(kernel: Array) -> Fraction:
    """max_w ||fl(B(w)) - B(w)||_2 <= 2 (gamma_k (1 + eps) + eps) || sum_d |K_d| ||, k taps, eps the twiddles' error.

    Real and imaginary part of an entry are real inner products of length k with |twiddle| <= 1 + eps; |z| <= |x| + |y|.
    """
    _, out, inner, *taps = kernel.shape
    k = taps[0] * taps[1]
    relative = gamma(k) * (1 + TWIDDLE_ERROR) + TWIDDLE_ERROR
    return 2 * (relative * magnitude_norm(kernel) + out * inner * underflow(k, 2))


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """The blocks (groups, m, n) of kernels (groups, out, in, kh, kw) at the frequencies of one torus, m >= n."""

    kernel: Array
    torus: Torus

    def chunks(self) -> Iterator[Parts]:
        """Real and imaginary parts (frequencies, groups, m, n), a few frequencies at a time."""
        _, out, inner, *taps = self.kernel.shape
        # Adjoint blocks are conjugate transposes; conjugation does not change norms, so the transpose will do.
        tall = self.kernel if out >= inner else self.kernel.swapaxes(1, 2)
        flat = np.ascontiguousarray(tall.reshape(-1, taps[0] * taps[1]).T)
        cosine, sine = _table(self.torus, (taps[0], taps[1]))
        step = max(1, _CHUNK // max(1, flat.shape[1]))
        shape = (-1, *tall.shape[:3])
        for start in range(0, len(cosine), step):
            part = slice(start, start + step)
            yield (cosine[part] @ flat).reshape(shape), (sine[part] @ flat).reshape(shape)


def block_at(kernel: Array, torus: Torus, index: tuple[int, int]) -> Parts:
    """The block B(w) of one kernel (out, in, kh, kw) at frequency k = ``index`` of the torus, on its smaller side."""
    tall = kernel if len(kernel) >= kernel.shape[1] else kernel.swapaxes(0, 1)
    (c1, s1), (c2, s2) = ((c[k], s[k]) for k, (c, s) in zip(index, _circles(torus, kernel.shape[2:]), strict=True))
    cosine, sine = np.outer(c1, c2) - np.outer(s1, s2), np.outer(s1, c2) + np.outer(c1, s2)
    return np.tensordot(tall, cosine, 2), np.tensordot(tall, sine, 2)


def torus_upper(kernel: Array, torus: Torus, guess: float) -> Fraction | None:
    """An upper bound of max_w ||B(w)||_2 over the torus' frequencies and the groups, for a kernel of size about 1.

    Errors: blocks (:func:`block_error`), and those of :func:`lipverify.rigor.stack.stack_upper`.

    Args:
        kernel: (groups, out, in, kh, kw).
        torus: whose frequencies.
        guess: of the largest squared norm; not trusted.

    Returns:
        the bound, or None where no proof was found.
    """
    bound = stack_upper(Blocks(kernel, torus).chunks(), guess)
    return None if bound is None else round_up(bound + block_error(kernel))


def between(kernel: Array, axis: int, points: int) -> Fraction:
    """An upper bound of 1 / cos(pi R / (2 N)): what N points along an axis may miss (see the head of this module).

    Raises:
        ValueError: for points <= R, where a grid says nothing.
    """
    reach = kernel.shape[3 + axis] - 1
    if points <= reach:
        raise ValueError(f"between: {points} frequencies say nothing of a kernel of {reach + 1} taps; take more")
    # half_turns(2 N) holds cos(pi j / (2 N)), each within 2^-53.
    cosine = Fraction(float(half_turns(2 * points)[0][reach])) - Fraction(1, 2**52)
    if cosine <= 0:
        raise ValueError(f"between: {points} frequencies say nothing of a kernel of {reach + 1} taps; take more")
    return round_up(1 / cosine)
