"""Lanczos with full reorthogonalisation: guesses of the top eigenpair. Nothing here is trusted by any bound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lipverify.rigor.reductions import Array


@dataclass(frozen=True, slots=True, eq=False)
class RitzPair:
    """An approximate top eigenpair of a symmetric operator, and how far it may be off: a guess."""

    value: float
    vector: Array
    error: float


def top_eigenpair(
    product: Callable[[Array], Array], start: Array, *, steps: int = 300, relative: float = 1e-12
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
        w = w - (known @ w) @ known
        w -= (known @ w) @ known
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
