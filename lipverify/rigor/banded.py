"""Finite convolutions along one axis: the Gram matrix is block banded, and so is its Cholesky factor.

A finite convolution with taps K_0 .. K_R has the block K_t in row j, column i = j + t - l, for 0 <= j < rows and
0 <= i < columns: nothing wraps, so its norm is the zero-padded one. The taps are matrices, real where the other axis
is unrolled, complex where it is a torus (one operator for each frequency). The proof is :mod:`lipverify.rigor.psd`'s:
s I - A^H A = L L^H + E and ||E||_2 <= ||E||_inf, with the band in gamma: an inner product has at most (R + 1) q terms.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from lipverify.rigor.lanczos import top_eigenpair
from lipverify.rigor.probe import machine
from lipverify.rigor.reductions import Array, row_sums_up
from lipverify.rigor.rounding import U, float_up, gamma, round_up, sqrt_up, underflow

Parts = tuple[Array, Array | None]
"""Real and imaginary part (None: real) of a stack of matrices."""


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """Finite convolutions with complex matrix taps, one for each frequency.

    Attributes:
        real, imaginary: (R + 1, frequencies, p, q), entries of about 1; imaginary is None for real taps.
        left: padding before the first entry.
        rows, columns: how many blocks.
    """

    real: Array
    imaginary: Array | None
    left: int
    rows: int
    columns: int

    def terms(self, column: int) -> Iterator[tuple[int, int]]:
        """(row, tap) of the blocks in a column."""
        for tap in range(len(self.real)):
            if 0 <= (row := column - tap + self.left) < self.rows:
                yield row, tap


def strip_upper(strip: Strip, slack: float = 2.0**-36) -> Fraction | None:
    """An upper bound of the largest norm of the strip's operators, taps taken as exact; None where no proof is found.

    Errors: products of taps and their sums, gamma_(2p + R + 1) (|X| + |Y|)^T (|X| + |Y|) in the Gram matrix, in norm at
    most gamma ||sum_t |X_t| + |Y_t| ||_F^2 (a nonnegative block Toeplitz matrix is dominated by the sum of its blocks);
    the rounded diagonal; the residual and the product of the factor; underflow.
    """
    machine()
    p, q = strip.real.shape[-2:]
    taps = len(strip.real)
    sums = (
        np.abs(strip.real).sum(0) if strip.imaginary is None else (np.abs(strip.real) + np.abs(strip.imaginary)).sum(0)
    )
    squares = row_sums_up((sums * sums).reshape(len(sums), -1), 2 * taps * 2 + 1)
    inner = (1 if strip.imaginary is None else 2) * p
    error = gamma(inner + taps) * squares + 2 * q * strip.columns * taps * underflow(inner, 2**40)
    gram = _gram(strip)
    largest = max(float(np.abs(g[0]).max()) for g in gram.values())
    guess = strip_guess(strip)
    if not (np.isfinite(largest) and np.isfinite(guess)):
        return None
    for _ in range(5):
        s = float_up(Fraction(guess) * (1 + Fraction(slack)) + 2 * error + Fraction(1, 2**900))
        # Diagonal entries become fl(s - G_ii), |G_ii| <= largest.
        rounded = U * (Fraction(s) + Fraction(largest)) + underflow(1)
        beta = _shift(gram, s, strip.columns)
        if beta is not None:
            return round_up(sqrt_up(Fraction(s) + beta + error + rounded))
        slack *= 64
    return None


def _adjoint_product(a: Parts, b: Parts) -> Parts:
    """A^H B by real products: [X; Y]^T [X'; Y'] + i [X; Y]^T [Y'; -X']."""
    (x, y), (u, v) = a, b
    if y is None or v is None:
        return np.swapaxes(x, -1, -2) @ u, None
    left = np.swapaxes(np.concatenate((x, y), -2), -1, -2)
    return left @ np.concatenate((u, v), -2), left @ np.concatenate((v, -u), -2)


def _gram(strip: Strip) -> dict[tuple[int, int], Parts]:
    """Blocks (i, j), j <= i, of A^H A; sums of at most R + 1 products of two taps."""
    taps = len(strip.real)
    part = [(strip.real[t], None if strip.imaginary is None else strip.imaginary[t]) for t in range(taps)]
    products = {(s, t): _adjoint_product(part[s], part[t]) for s in range(taps) for t in range(s + 1)}
    cache: dict[tuple[tuple[int, int], ...], Parts] = {}
    gram = {}
    zero = np.zeros((*strip.real.shape[1:2], strip.real.shape[-1], strip.real.shape[-1]))
    for i in range(strip.columns):
        for j in range(max(0, i - taps + 1), i + 1):
            other = dict(strip.terms(j))
            pairs = tuple((tap, other[row]) for row, tap in strip.terms(i) if row in other)
            if pairs not in cache:
                cache[pairs] = _sum([products[k] for k in pairs], zero, strip.imaginary is None)
            gram[i, j] = cache[pairs]
    return gram


def _sum(terms: list[Parts], zero: Array, real: bool) -> Parts:
    if real:
        return sum((a for a, _ in terms), zero), None
    return sum((a for a, _ in terms), zero), sum((b for _, b in terms if b is not None), zero)


def _complex(parts: Parts) -> np.ndarray:
    return parts[0] if parts[1] is None else parts[0] + 1j * parts[1]


def _shift(gram: dict[tuple[int, int], Parts], s: float, columns: int) -> Fraction | None:
    """beta with M >= -beta I, M of blocks -gram with fl(s - diagonal) on its diagonal, taken as exact."""
    blocks = {key: (-a, None if b is None else -b) for key, (a, b) in gram.items() if key[0] != key[1]}
    for i in range(columns):
        a, b = gram[i, i]
        index = np.arange(a.shape[-1])
        shifted = -a
        shifted[:, index, index] = s - a[:, index, index]
        blocks[i, i] = (shifted, None if b is None else -b)
    try:
        factor = _factor(blocks, columns)
    except np.linalg.LinAlgError:
        return None
    return _residual(blocks, factor, columns)


def _factor(blocks: dict[tuple[int, int], Parts], columns: int) -> dict[tuple[int, int], np.ndarray]:
    """An approximate block Cholesky factor (not trusted)."""
    factor: dict[tuple[int, int], np.ndarray] = {}
    inverse = []
    for i in range(columns):
        for j in range(i + 1):
            if (i, j) not in blocks:
                continue
            rest = _complex(blocks[i, j])
            for k in range(j):
                if (i, k) in factor and (j, k) in factor:
                    rest = rest - factor[i, k] @ _adjoint(factor[j, k])
            if j < i:
                factor[i, j] = rest @ _adjoint(inverse[j])
            else:
                factor[i, i] = np.linalg.cholesky(rest)
                inverse.append(np.linalg.inv(factor[i, i]))
    return factor


def _adjoint(a: np.ndarray) -> np.ndarray:
    return np.swapaxes(a, -1, -2).conj()


def _residual(blocks: dict[tuple[int, int], Parts], factor: dict, columns: int) -> Fraction | None:
    """||M - L L^H||_inf, measured: |fl(M - P)| / (1 - u) + gamma |L| |L|^T, P = fl(L L^H) by real products."""
    real = np.isrealobj(factor[0, 0])
    parts = {
        k: (v, None) if real else (np.ascontiguousarray(v.real), np.ascontiguousarray(v.imag))
        for k, v in factor.items()
    }
    magnitude = {k: np.abs(a) if b is None else np.abs(a) + np.abs(b) for k, (a, b) in parts.items()}
    frequencies, q = factor[0, 0].shape[:2]
    sums = np.zeros((columns, frequencies, q))
    column_sums = np.zeros((columns, frequencies, q))
    longest = 1
    with np.errstate(all="ignore"):
        for (i, j), m in blocks.items():
            common = [k for k in range(j + 1) if (i, k) in parts and (j, k) in parts]
            longest = max(longest, len(common))
            size = _difference(m, [parts[i, k] for k in common], [parts[j, k] for k in common])
            if i == j:
                # M need not be Hermitian to the last bit: |E_ii| or its transpose, whichever has the larger sums.
                sums[i] += np.maximum(size.sum(-1), size.sum(-2))
            else:
                sums[i] += size.sum(-1)
                sums[j] += size.sum(-2)
        for (_, k), m in magnitude.items():
            column_sums[k] += m.sum(-2)
        spread = np.zeros((columns, frequencies, q))
        for (i, k), m in magnitude.items():
            spread[i] += (m @ column_sums[k][..., None])[..., 0]
    largest = max(float(m.max()) for m in magnitude.values())
    if not (np.isfinite(sums).all() and np.isfinite(spread).all() and np.isfinite(largest)):
        return None
    inner = longest * q * (1 if real else 2)
    # Each entry of `sums` adds at most columns * q numbers, of `spread` nests two such sums.
    measured = row_sums_up(sums.reshape(-1, 1), columns * (q + 1) + 2)
    product = gamma(inner) * row_sums_up(spread.reshape(-1, 1), 2 * columns * (q + 1) + 2)
    return round_up(measured + product + 4 * columns * q * underflow(2 * inner + 4, Fraction(largest) ** 2))


def _difference(m: Parts, left: list[Parts], right: list[Parts]) -> Array:
    """|fl(M - sum_k L_k R_k^H)|, real and imaginary magnitudes added: one real product of the concatenated blocks."""
    a = np.concatenate([part[0] for part in left], -1)
    u = np.concatenate([part[0] for part in right], -1)
    if m[1] is None:
        return np.abs(m[0] - a @ np.swapaxes(u, -1, -2))
    b = np.concatenate([np.asarray(part[1]) for part in left], -1)
    v = np.concatenate([np.asarray(part[1]) for part in right], -1)
    conjugate = np.swapaxes(np.concatenate((u, v), -1), -1, -2)
    size = np.abs(m[0] - np.concatenate((a, b), -1) @ conjugate)
    size += np.abs(m[1] - np.concatenate((b, -a), -1) @ conjugate)
    return size


def strip_guess(strip: Strip) -> float:
    """The largest squared norm, by Lanczos on the direct sum of all frequencies; not trusted."""
    taps = [
        _complex((strip.real[t], None if strip.imaginary is None else strip.imaginary[t]))
        for t in range(len(strip.real))
    ]
    frequencies, p, q = taps[0].shape
    spans = []
    for t in range(len(taps)):
        first, last = max(0, strip.left - t), min(strip.rows, strip.columns + strip.left - t)
        spans.append((slice(first, max(first, last)), slice(first + t - strip.left, max(first, last) + t - strip.left)))

    def product(flat: Array) -> Array:
        x = flat.view(taps[0].dtype).reshape(frequencies, q, strip.columns)
        y = np.zeros((frequencies, p, strip.rows), x.dtype)
        for tap, (rows, columns) in zip(taps, spans, strict=True):
            y[..., rows] += tap @ x[..., columns]
        z = np.zeros_like(x)
        for tap, (rows, columns) in zip(taps, spans, strict=True):
            z[..., columns] += _adjoint(tap) @ y[..., rows]
        return z.reshape(-1).view(np.float64)

    size = frequencies * q * strip.columns * (1 if strip.imaginary is None else 2)
    start = np.random.default_rng(0).standard_normal(size)
    ritz = top_eigenpair(product, start, steps=max(8, min(200, (1 << 25) // size)), relative=1e-8)
    return ritz.value + 4 * ritz.error
