"""Proof that a symmetric or Hermitian matrix is positive semidefinite up to a known shift, in floating point.

For *any* matrix L, M = L L^H + E gives x^H M x >= -||E||_2 |x|^2. An approximate Cholesky factor makes E small, and E
is measured afterwards; the factorisation itself is never trusted (Rump 2006, "Verification of positive definiteness",
trusts it; here only a product and a difference are). With P = fl(L L^H) and R = fl(M - P),

    |E| <= |R| / (1 - u)  +  gamma_n |L| |L|^T  +  underflow          (entrywise, full matrix)

    ||E||_2 <= max(||E||_1, ||E||_inf).
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from lipverify.rigor.probe import machine
from lipverify.rigor.reductions import Array, require_float64, row_sums_up, symmetric_norm_up
from lipverify.rigor.rounding import gamma, round_up, underflow


def psd_shift(
    matrix: Array,
    error: Fraction | int = 0,
    *,
    imaginary: Array | None = None,
    factor: np.ndarray | None = None,
) -> Fraction | None:
    """beta >= 0 such that M_true + beta I is positive semidefinite, for every matrix of the stack.

    Direction: beta is an upper bound of the shift needed. A claim about real semantics: M_true is any symmetric
    (Hermitian) matrix with ||M_true - M||_2 <= error. M itself need not be symmetric to the last bit.
    Scale the matrix to entries of about 1 first: the underflow account (n^2 2^-1017) is absolute.

    Args:
        matrix: (..., n, n) float64, the real part of M.
        error: bound on ||M_true - M||_2, the same for the whole stack.
        imaginary: (..., n, n) imaginary part, or None for real matrices.
        factor: an approximate Cholesky factor where it is known already; any matrix will do, a bad one costs tightness.

    Returns:
        beta, or None where no factorisation was found: then nothing is known.

    Raises:
        TypeError: for another dtype than float64.
        ValueError: for matrices that are not square, parts of different shapes, or a negative error.

    >>> psd_shift(np.array([[2.0, -1.0], [-1.0, 2.0]])) < Fraction(1, 10**14)
    True
    >>> psd_shift(np.array([[1.0, 2.0], [2.0, 1.0]])) is None
    True
    """
    machine()
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(f"psd_shift: a stack of square matrices is needed, got shape {matrix.shape}")
    for part in (matrix, imaginary):
        if part is not None:
            require_float64(part)
    if imaginary is not None and imaginary.shape != matrix.shape:
        raise ValueError(f"psd_shift: real part {matrix.shape} and imaginary part {imaginary.shape} differ in shape")
    if error < 0:
        raise ValueError(f"psd_shift: the error bound is negative ({error}); pass ||M_true - M||_2 <= error")
    n = matrix.shape[-1]
    if not matrix.size:
        return Fraction(error)
    if factor is None:
        try:
            factor = np.linalg.cholesky(matrix if imaginary is None else matrix + 1j * imaginary)
        except np.linalg.LinAlgError:
            return None
    elif factor.shape != matrix.shape or np.iscomplexobj(factor) != (imaginary is not None):
        raise ValueError(f"psd_shift: a factor {factor.shape} {factor.dtype} does not fit a matrix {matrix.shape}")
    with np.errstate(all="ignore"):
        if imaginary is None:
            residual: Array = np.abs(matrix - factor @ np.swapaxes(factor, -1, -2))
            magnitude, inner, roundings = np.abs(factor), n, 1
        else:
            # Real products only: L L^H = [A B][A B]^T + i [B -A][A B]^T for L = A + i B, so the inner length is 2 n.
            a, b = np.ascontiguousarray(np.real(factor)), np.ascontiguousarray(np.imag(factor))
            right = np.swapaxes(np.concatenate((a, b), -1), -1, -2)
            residual = np.abs(matrix - np.concatenate((a, b), -1) @ right)
            residual += np.abs(imaginary - np.concatenate((b, -a), -1) @ right)
            # |error of the real part| + |of the imaginary part| <= gamma_2n (|A| + |B|)(|A| + |B|)^T
            magnitude, inner, roundings = np.abs(a) + np.abs(b), 2 * n, 2
        ones = np.ones((n, 1))
        spread = magnitude @ (np.swapaxes(magnitude, -1, -2) @ ones)
    largest = float(magnitude.max())
    if not (np.isfinite(residual).all() and np.isfinite(spread).all() and np.isfinite(largest)):
        return None
    measured = symmetric_norm_up(residual, roundings)
    # `spread` is a product of nonnegative factors: each entry has relative error below gamma_(2 n + 2).
    product = gamma(inner) * row_sums_up(spread, 2 * n + 2)
    # Flushed residuals, products and sums: n entries a row, each an inner product (real and imaginary part).
    flushed = 2 * n * underflow(2 * inner + 4, Fraction(largest) ** 2)
    return round_up(measured + product + flushed + Fraction(error))
