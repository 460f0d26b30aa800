"""Exact rational oracles: no rounding, no tolerance."""

from __future__ import annotations

from fractions import Fraction

import numpy as np


def rational(a: np.ndarray) -> list[list[Fraction]]:
    """The rows of a matrix of finite floats, exactly."""
    return [[Fraction(float(x)) for x in row] for row in a]


def definiteness(m: list[list[Fraction]]) -> int:
    """1: positive definite, 0: positive semidefinite and singular, -1: neither; by LDL^T with diagonal pivoting."""
    m, singular = [row[:] for row in m], False
    while m:
        top = max(range(len(m)), key=lambda i: m[i][i])
        pivot = m[top][top]
        if pivot < 0 or min(m[i][i] for i in range(len(m))) < 0:
            return -1
        if pivot == 0:
            return -1 if any(x for row in m for x in row) else 0
        rest = [i for i in range(len(m)) if i != top]
        m = [[m[i][j] - m[i][top] * m[top][j] / pivot for j in rest] for i in rest]
    return 0 if singular else 1


def shifted_gram(a: np.ndarray, s: Fraction) -> list[list[Fraction]]:
    """s I - A^T A on the smaller side, exactly."""
    rows = rational(a if a.shape[0] >= a.shape[1] else a.T)
    n = min(a.shape)
    return [
        [(s if i == j else 0) - sum((row[i] * row[j] for row in rows), Fraction(0)) for j in range(n)] for i in range(n)
    ]


def at_most(a: np.ndarray, bound: Fraction) -> bool:
    """Whether ||A||_2 <= bound, decided exactly."""
    return bound >= 0 and definiteness(shifted_gram(a, bound * bound)) >= 0


def at_least(a: np.ndarray, bound: Fraction) -> bool:
    """Whether ||A||_2 >= bound, decided exactly."""
    return bound <= 0 or definiteness(shifted_gram(a, bound * bound)) < 1
