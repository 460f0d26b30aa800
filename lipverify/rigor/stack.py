"""The largest 2-norm of a stack of matrices, proved with one number: s I - B^H B is semidefinite for every B.

The stack comes in chunks, so that only one is held. A matrix whose factorisation fails has a norm above sqrt(s): its own
top eigenvalue is guessed, s raised, and only what failed is tried again. Guesses are never trusted.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import torch

from lipverify.rigor.lanczos import top_eigenpair
from lipverify.rigor.psd import psd_shift
from lipverify.rigor.reductions import Array, row_sums_up
from lipverify.rigor.rounding import U, float_up, gamma, round_up, sqrt_up, underflow

Parts = tuple[Array, Array | None]
"""Real and imaginary part (None: real), (..., m, n)."""

_DIRECT = 128
_ROUNDS = 12


def stack_upper(chunks: Iterable[Parts], guess: float) -> Fraction | None:
    """An upper bound of the largest 2-norm of all matrices, taken as exact; entries of about 1 or below.

    Errors: Gram matrices, real parts X and imaginary parts Y with m rows: |error| <= gamma_2m (|X| + |Y|)^T (|X| + |Y|),
    in norm at most 2 gamma_2m ||B||_F^2 (real: gamma_m ||B||_F^2); the rounded diagonal; the factorisation's residual
    (:mod:`lipverify.rigor.psd`); underflow.

    Args:
        chunks: real and imaginary parts, each (..., m, n).
        guess: of the largest squared norm; not trusted. A good one saves time.

    Returns:
        the bound, or None where no proof was found.
    """
    s, largest = max(float(guess), 0.0), Fraction(0)
    if not np.isfinite(s):
        return None
    for parts in chunks:
        real, imaginary = (None if p is None else p.reshape(-1, *p.shape[-2:]) for p in parts)
        if real is None or not real.size:
            continue
        bound, s = _chunk_upper(real, imaginary, s)
        if bound is None:
            return None
        largest = max(largest, bound)
    return round_up(sqrt_up(largest))


def gram(real: Array, imaginary: Array | None) -> Parts:
    """B^H B by real products of inner length 2 m: [X; Y]^T [X; Y] and [X; Y]^T [Y; -X] for B = X + i Y."""
    if imaginary is None:
        return np.swapaxes(real, -1, -2) @ real, None
    stacked = np.concatenate((real, imaginary), -2)
    left = np.swapaxes(stacked, -1, -2)
    return left @ stacked, left @ np.concatenate((imaginary, -real), -2)


def top_square(a: Array, b: Array | None) -> float:
    """The largest eigenvalue of the Hermitian matrix A + i B; a guess."""
    n = len(a)
    if n <= _DIRECT:
        return float(np.linalg.eigvalsh(a if b is None else a + 1j * b)[-1])
    start = np.random.default_rng(0).standard_normal(n if b is None else 2 * n)

    def product(v: Array) -> Array:
        if b is None:
            return a @ v
        x, y = v[:n], v[n:]
        return np.concatenate((a @ x - b @ y, b @ x + a @ y))

    ritz = top_eigenpair(product, start, steps=100, relative=1e-10)
    return ritz.value + ritz.error


def _chunk_upper(real: Array, imaginary: Array | None, s: float) -> tuple[Fraction | None, float]:
    """An upper bound of the largest squared norm of these matrices, and the s that was enough for them."""
    m, n = real.shape[-2:]
    squares = real * real if imaginary is None else real * real + imaginary * imaginary
    # ||B||_F^2 as a row sum: one row for each matrix.
    frobenius = row_sums_up(squares.reshape(len(real), -1), 2)
    inner = m if imaginary is None else 2 * m
    error = (1 if imaginary is None else 2) * gamma(inner) * frobenius + 2 * n * underflow(inner, 2**40)
    a, b = gram(real, imaginary)
    slack, bound = max(2.0**-40, n * 2.0**-50), Fraction(0)
    for _ in range(_ROUNDS):
        tried = float_up(Fraction(s) * (1 + Fraction(slack)) + error + Fraction(1, 2**900))
        shifted, below = _shifted(a, tried), None if b is None else -b
        factor, failed = _factors(shifted, below)
        # A diagonal entry becomes fl(s - G_ii).
        rounded = U * Fraction(float(np.abs(shifted).max())) / (1 - U) + underflow(1)
        held = slice(None) if not failed.any() else ~failed
        beta = psd_shift(
            shifted[held], error + rounded, imaginary=None if below is None else below[held], factor=factor[held]
        )
        if beta is None:
            return None, s
        bound = max(bound, Fraction(tried) + beta) if not failed.all() else bound
        if not failed.any():
            return bound, s
        a, b = a[failed], None if b is None else b[failed]
        # Not all of them: the worst few by their largest diagonal entries, each a lower bound of the eigenvalue.
        worst = np.argsort(a.diagonal(axis1=-2, axis2=-1).max(-1))[-16:]
        found = max(top_square(a[i], None if b is None else b[i]) for i in worst)
        s, slack = (found, slack) if found > s else (s, slack * 64)
    return None, s


def _shifted(a: Array, s: float) -> Array:
    index = np.arange(a.shape[-1])
    diagonal = s - a[:, index, index]
    shifted = -a
    shifted[:, index, index] = diagonal
    return shifted


def _factors(real: Array, imaginary: Array | None) -> tuple[np.ndarray, np.ndarray]:
    """Approximate Cholesky factors, and which matrices have none."""
    matrix = real if imaginary is None else real + 1j * imaginary
    factor, info = torch.linalg.cholesky_ex(torch.from_numpy(matrix))
    return factor.numpy(), info.numpy() != 0
