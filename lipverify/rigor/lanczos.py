"""Lanczos: guesses of the top eigenpair. Nothing here is trusted by any bound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from lipverify.rigor.reductions import Array


@dataclass(frozen=True, slots=True, eq=False)
class RitzPair:
    """An approximate top eigenpair of a symmetric operator, and how far it may be off: a guess."""

    value: float
    vector: Array
    error: float


def top_eigenpair(
    product: Callable[[Array], Array],
    start: Array,
    *,
    steps: int = 300,
    relative: float = 1e-12,
    reorthogonalise: bool = True,
) -> RitzPair:
    """The largest eigenvalue of ``product`` seen from ``start``, to about ``relative``, in at most ``steps`` products.

    Source: Golub and Van Loan 2013, section 10.3 (the Ritz value's error is about residual^2 / gap).
    """
    steps = min(steps, start.size)
    basis = np.empty((min(steps, 32), start.size))
    diagonal, off = np.zeros(steps), np.zeros(steps)
    v = start / np.linalg.norm(start)
    for j in range(steps):
        if j == len(basis):
            basis = np.concatenate((basis, np.empty((min(len(basis), steps - j), start.size))))
        basis[j] = v
        w = product(v)
        diagonal[j] = v @ w
        known = basis[: j + 1]
        if reorthogonalise:
            w = w - (known @ w) @ known
            w -= (known @ w) @ known
        else:
            # Copies of converged Ritz pairs appear; the largest pair stays good (Paige 1980), at a fraction of the cost.
            w = w - diagonal[j] * v - (off[j - 1] * basis[j - 1] if j else 0.0)
        off[j] = np.linalg.norm(w)
        broke_down = not off[j] > 1e-14 * abs(diagonal[: j + 1]).max()
        if broke_down or j == steps - 1 or (j % 8 == 7):
            values, vectors = np.linalg.eigh(_tridiagonal(diagonal[: j + 1], off[:j]))
            residual = 0.0 if broke_down else float(off[j] * abs(vectors[-1, -1]))
            gap = max(values[-1] - values[-2] - residual, 0.0) if j else 0.0
            error = residual * min(1.0, residual / gap if gap > 0 else 1.0)
            if broke_down or j == steps - 1 or error <= relative * values[-1]:
                return RitzPair(float(values[-1]), vectors[:, -1] @ known, error)
        v = w / off[j]
    raise ValueError("top_eigenpair: the start vector is empty")


def _tridiagonal(diagonal: Array, off: Array) -> Array:
    return np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1)


def top_values(matrices: torch.Tensor, steps: int) -> Array:
    """The largest eigenvalue of B^H B for every matrix B of a complex stack (count, m, n), all at once.

    Without reorthogonalisation: copies of Ritz values that have converged do not move the largest one.
    """
    generator = torch.Generator().manual_seed(0)
    count, _, n = matrices.shape
    steps = min(steps, n)
    v = torch.randn(n, 1, generator=generator, dtype=torch.float32).to(matrices.dtype).expand(count, n, 1)
    v, before = v / torch.linalg.vector_norm(v[0]), torch.zeros_like(v)
    tridiagonal = np.zeros((count, steps, steps))
    off = torch.zeros(count, 1, 1)
    for j in range(steps):
        image = matrices @ v
        w = (image.mH @ matrices).mH - off * before
        level = torch.linalg.vector_norm(image, dim=1, keepdim=True) ** 2
        w = w - level * v
        tridiagonal[:, j, j] = level[:, 0, 0].numpy()
        off = torch.linalg.vector_norm(w, dim=1, keepdim=True)
        if j + 1 < steps:
            tridiagonal[:, j, j + 1] = tridiagonal[:, j + 1, j] = off[:, 0, 0].numpy()
        before, v = v, w / off.clamp_min(1e-30)
    return np.asarray(np.linalg.eigvalsh(np.nan_to_num(tridiagonal))[:, -1], np.float64)
