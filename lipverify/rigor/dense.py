"""The 2-norm of a matrix, enclosed: ||W||^2 <= s iff s I - W^T W is positive semidefinite."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from lipverify.evidence import Rigor
from lipverify.maps import Enclosure
from lipverify.rigor.enclosure import NormEnclosure
from lipverify.rigor.lanczos import RitzPair, top_eigenpair
from lipverify.rigor.probe import machine
from lipverify.rigor.psd import psd_shift
from lipverify.rigor.reductions import (
    Array,
    checked,
    exact_sum_squares,
    length,
    lost,
    matrix_norm_up,
    power_of_two,
    sum_squares,
    unit_scaled,
)
from lipverify.rigor.rounding import U, float_up, gamma, round_down, round_up, sqrt_down, sqrt_up, underflow

LARGEST_GRAM = 8192
"""The largest Gram matrix that is formed; beyond it (minutes, gigabytes) the cheap bounds answer."""

_SMALL = 128
_EXACT_SQUARES = 1 << 16


def dense_norm(weight: Enclosure | np.ndarray) -> NormEnclosure:
    """lower <= ||W||_2 <= upper for every matrix W of the enclosure.

    Upper: sigma^2 is guessed, s = sigma^2 (1 + slack), and s I - W^T W proved to be at least -beta I on the smaller
    side, after scaling by a power of two; then ||W||^2 <= s + beta. Where no proof is found the Frobenius norm and
    sqrt(||W||_1 ||W||_inf) still hold. Lower: |W v| / |v| for the guessed singular vector v.
    Errors counted: the Gram matrix (gamma_m ||W||_F^2), the rounded diagonal (u s), the residual of the factorisation
    (see :mod:`lipverify.rigor.psd`), underflow, and the radius of the enclosure (its own norm, added).
    Matrices whose columns (or rows) have at most one nonzero entry (zero, diagonal, permutation, a single row or
    column) are answered in integer arithmetic.

    Args:
        weight: (m, n).

    Raises:
        ValueError: for NaN or infinite entries, or an array that is not 2-D.

    >>> dense_norm(np.eye(3)).upper
    Fraction(1, 1)
    """
    machine()
    midpoint, radius = _parts(weight)
    if midpoint.ndim != 2:
        raise ValueError(f"dense_norm: a matrix (out, in) is needed, got shape {midpoint.shape}")
    exact = _single_entries(midpoint)
    return (_enclose(midpoint) if exact is None else exact).widened(radius)


def row_norm(weight: Enclosure | np.ndarray) -> NormEnclosure:
    """lower <= max_i ||row i||_2 <= upper: the norm of W from l2 to linf."""
    machine()
    midpoint, _ = _parts(weight)
    if midpoint.ndim != 2:
        raise ValueError(f"row_norm: a matrix (out, in) is needed, got shape {midpoint.shape}")
    radius = weight.radius if isinstance(weight, Enclosure) else None
    if not midpoint.size:
        return NormEnclosure(Fraction(0), Fraction(0), "empty", Rigor.EXACT, np.zeros(midpoint.shape[1]))
    scaled, e = unit_scaled(midpoint)
    squares = np.einsum("ij,ij->i", scaled, scaled)
    top = int(squares.argmax())
    vector = scaled[top]
    n = midpoint.shape[1]
    if radius is None and n <= _EXACT_SQUARES:
        # Every row that might be the largest, in integers.
        close = np.flatnonzero(squares >= squares[top] * (1 - 2 * float(gamma(n + 4))) - 2.0**-900)
        if len(close) * n <= _EXACT_SQUARES:
            largest = max(exact_sum_squares(midpoint[i]) for i in close)
            return NormEnclosure(sqrt_down(largest), sqrt_up(largest), "largest row norm", Rigor.EXACT, vector)
    high = round_up((Fraction(float(squares[top])) + underflow(n + 1)) / (1 - gamma(n + 1)))
    low = round_down(max(Fraction(0), sum_squares(vector)[0]))
    scale = power_of_two(e)
    loss = lost(vector)
    lower, upper = round_down(max(Fraction(0), sqrt_down(low) - loss)), round_up(sqrt_up(high) + loss)
    enclosure = NormEnclosure(lower * scale, upper * scale, "largest row norm", vector=vector)
    return enclosure if radius is None else enclosure.widened(row_norm(radius).upper)


def _parts(weight: Enclosure | np.ndarray) -> tuple[Array, Fraction]:
    """The checked midpoint, and an upper bound of the norm of the radius."""
    if not isinstance(weight, Enclosure):
        return checked(weight, "matrix"), Fraction(0)
    midpoint = checked(weight.midpoint, "midpoint of a weight")
    if weight.radius is None:
        return midpoint, Fraction(0)
    radius = checked(weight.radius, "radius of a weight")
    if radius.shape != midpoint.shape or (radius < 0).any():
        raise ValueError("radius of a weight: it must be nonnegative and of the midpoint's shape")
    return midpoint, matrix_norm_up(radius.reshape(radius.shape[0], -1) if radius.ndim else radius.reshape(1, 1))


def _single_entries(w: Array) -> NormEnclosure | None:
    """The exact norm where W W^T or W^T W is diagonal because no column (row) has two nonzero entries."""
    if not w.size:
        return NormEnclosure(Fraction(0), Fraction(0), "empty", Rigor.EXACT, np.zeros(w.shape[1]))
    found = orthogonal_square(w)
    if found is None:
        return None
    square, vector = found
    method = "orthogonal rows or columns" if square else "zero"
    return NormEnclosure(sqrt_down(square), sqrt_up(square), method, Rigor.EXACT, vector)


def orthogonal_square(w: Array) -> tuple[Fraction, Array] | None:
    """||W||^2 and a top right singular vector, in integers, where no column (or no row) has two nonzero entries."""
    nonzero = (w.view(np.int64) << 1) != 0
    vector = np.zeros(w.shape[1])
    if not nonzero.any():
        return Fraction(0), vector
    if int(nonzero.sum()) > min(max(w.shape), _EXACT_SQUARES):
        return None
    if (nonzero.sum(0) <= 1).all():
        squares = [exact_sum_squares(w[i]) for i in range(len(w))]
        top = squares.index(max(squares))
        vector = unit_scaled(w[top])[0]
    elif (nonzero.sum(1) <= 1).all():
        squares = [exact_sum_squares(np.ascontiguousarray(w[:, j])) for j in range(w.shape[1])]
        top = squares.index(max(squares))
        vector[top] = 1.0
    else:
        return None
    return squares[top], vector


def row_square(w: Array) -> Fraction | None:
    """max_i ||row i||^2 in integers, where the matrix is small enough."""
    return max(map(exact_sum_squares, w)) if w.size and w.size <= _EXACT_SQUARES else None


def _enclose(w: Array) -> NormEnclosure:
    cheap = matrix_norm_up(w)
    scaled, e = unit_scaled(w)
    tall = scaled if scaled.shape[0] >= scaled.shape[1] else np.ascontiguousarray(scaled.T)
    n = tall.shape[1]
    squares = sum_squares(tall)[1]
    ritz, upper = _guess_and_prove(tall, squares) if n <= LARGEST_GRAM else (_guess(tall), None)
    vector = ritz.vector if tall.shape == scaled.shape else tall @ ritz.vector
    lower = max(Fraction(0), _rayleigh(scaled, vector, sqrt_up(squares)) - lost(w)) * power_of_two(e)
    method = "min(Frobenius, sqrt(1-norm inf-norm))"
    if upper is not None and (proved := round_up((upper + lost(w)) * power_of_two(e))) <= cheap:
        cheap, method = proved, f"s I - W^T W proved semidefinite ({n} x {n})"
    return NormEnclosure(round_down(lower), cheap, method, vector=vector)


def _guess(tall: Array) -> RitzPair:
    start = np.random.default_rng(0).standard_normal(tall.shape[1])
    return top_eigenpair(lambda v: tall.T @ (tall @ v), start, steps=100, relative=1e-8)


def _guess_and_prove(tall: Array, squares: Fraction) -> tuple[RitzPair, Fraction | None]:
    """A guess of the top eigenpair of W^T W, and an upper bound of ||W||; |W| <= 1 entrywise, ||W||_F^2 <= squares."""
    m, n = tall.shape
    gram = tall.T @ tall
    if n <= _SMALL:
        values, vectors = np.linalg.eigh(gram)
        ritz = RitzPair(float(values[-1]), vectors[:, -1], 0.0)
    else:
        ritz = top_eigenpair(gram.__matmul__, np.random.default_rng(0).standard_normal(n))
    gram_error = gamma(m) * squares + n * underflow(m)
    diagonal = gram.diagonal().copy()
    np.negative(gram, out=gram)
    slack = max(2.0**-40, 4 * ritz.error / ritz.value, n * 2.0**-51)
    for _ in range(4):
        s = float_up(Fraction(ritz.value) * (1 + Fraction(slack)) + gram_error)
        shifted = s - diagonal
        gram[np.diag_indices(n)] = shifted
        rounded = U * Fraction(float(np.abs(shifted).max())) / (1 - U) + underflow(1)
        beta = psd_shift(gram, gram_error + rounded)
        if beta is not None:
            return ritz, sqrt_up(Fraction(s) + beta)
        slack *= 64
    return ritz, None


def _rayleigh(w: Array, v: Array, frobenius: Fraction) -> Fraction:
    """A lower bound of |W v| / |v|: fl(W v) is off by gamma_n |W| |v|, in norm by gamma_n ||W||_F |v|."""
    m, n = w.shape
    if not np.isfinite(v).all() or not v.any():
        return Fraction(0)
    v, _ = unit_scaled(np.ascontiguousarray(v))
    y = w @ v
    longest = length(v)[1]
    image, e = unit_scaled(y)
    below = length(image)[0] - lost(y)
    short = below * power_of_two(e) - gamma(n) * frobenius * longest - m * underflow(n)
    return max(Fraction(0), short / longest)
