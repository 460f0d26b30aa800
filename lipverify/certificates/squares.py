"""Squares of norms that a certificate states: a guess and a margin, on a coarse grid, never below what is proved here.

The guess is that of float64, good to about 10^-14; the margin hides what differs between machines, and rounding up to 31 bits
as well. The same weights give the same square, whatever the BLAS and its threads, unless the guess falls within its noise of
a point of the grid: one in about 10^5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import scipy.linalg

from lipverify.certificates.canonical import root_up, short_down, short_up
from lipverify.graph.intervals import interval
from lipverify.maps import Array, Enclosure
from lipverify.rigor.dense import dense_norm, orthogonal_square
from lipverify.rigor.reductions import frobenius_up, power_of_two, unit_scaled

MARGINS = (31, 27, 23, 19, 15, 11, 7, 3)
"""Relative margins 2^-k that are tried one after the other."""

MOST = 40
"""The largest slack; of a square without any room to the truth, which a diagonal Gram matrix needs."""

WIDENED = 1 + Fraction(1, 1 << 40)
"""What is folded is enclosed again by the checker, perhaps a little wider than here."""

RADII = 1 + Fraction(1, 16)
"""Norms of radii are bounded by the checker in its own way."""

LARGEST_SIDE = 4096
"""Rows of the largest Gram matrix that a checker takes."""


@dataclass(frozen=True, slots=True)
class Square:
    """||A||^2 <= ``square``; the relative room between it and the truth is at least 2^-``slack``."""

    square: Fraction
    slack: int


def settled(guess: Fraction, proved: Fraction, target: Fraction | None, first: int = MARGINS[0]) -> Square:
    """The square to state.

    Args:
        guess: of the square that can be proved.
        proved: an upper bound of the norm, proved here.
        target: the largest square that is good enough, if there is one; it is stated where ``proved`` allows.
        first: the exponent of the first margin.
    """
    square = proved**2
    enough = None if target is None else short_down(target)
    if enough is not None and square <= enough:
        return Square(enough, _slack(enough, guess))
    for k in MARGINS:
        stated = short_up(guess * (1 + Fraction(1, 1 << k)))
        if k <= first and square <= stated:
            return Square(stated, k + 1)
    stated = short_up(square * (1 + Fraction(1, 1 << 20)))
    return Square(stated, _slack(stated, guess))


def _slack(square: Fraction, guess: Fraction) -> int:
    """A multiple of 4, so that it says nothing of a machine."""
    room = 1 - guess / square if square else Fraction(0)
    if room <= Fraction(1, 1 << MOST):
        return MOST
    return max(4, 4 * math.ceil(-math.log2(room) / 4))


def dense_square(weight: Enclosure, target: Fraction | None = None) -> Square | None:
    """Of the largest norm of a matrix of the enclosure; None where it is too large."""
    if min(weight.shape) > LARGEST_SIDE:
        return None
    exact = None if weight.radius is not None else orthogonal_square(np.ascontiguousarray(weight.midpoint))
    if exact is not None:
        return Square(short_up(exact[0]), MOST)
    scaled, e = unit_scaled(np.ascontiguousarray(weight.midpoint))
    tall = scaled if scaled.shape[0] >= scaled.shape[1] else np.ascontiguousarray(scaled.T)
    top = top_of(tall.T @ tall)
    guess = widened(Fraction(top) * power_of_two(2 * e), weight.radius)
    return settled(guess, dense_norm(weight).upper, target, first_margin(tall, top))


def widened(guess: Fraction, radius: Array | None) -> Fraction:
    """A guess of (sigma + e)^2, e the Frobenius norm of the radii."""
    if radius is None:
        return guess
    return (root_up(guess) + frobenius_up(np.ascontiguousarray(radius)) * RADII) ** 2


def top_of(matrix: np.ndarray) -> float:
    """A guess of the largest eigenvalue of a Hermitian matrix."""
    last = (len(matrix) - 1,) * 2
    return max(float(scipy.linalg.eigh(matrix, eigvals_only=True, subset_by_index=last)[0]), 0.0)


def first_margin(tall: Array, top: float) -> int:
    """The first margin that is more than what the proof in float64 loses, by the error of its products and its factors."""
    rows, columns = tall.shape
    lost = 2.0**-53 * (columns + rows * float((tall * tall).sum()) / top if top else 0.0)
    return next((k for k in MARGINS if 2.0**-k >= 2.5 * lost), MARGINS[-1])


def row_square(weight: Enclosure) -> Fraction:
    """An upper bound of the largest sum of squares of a row, exact for exact weights, rounded up to 31 bits."""
    sizes = np.maximum(*(np.abs(end) for end in interval(weight)))
    if not sizes.size:
        return Fraction(0)
    scaled, _ = unit_scaled(np.ascontiguousarray(sizes))
    squares = (scaled * scaled).sum(1)
    close = np.flatnonzero(squares >= squares.max() * (1 - 2.0**-30))
    largest = max(_sum_of_squares(sizes[i]) for i in close)
    return short_up(largest if weight.radius is None else largest * WIDENED)


def _sum_of_squares(row: Array) -> Fraction:
    """In integers."""
    ratios = [x.as_integer_ratio() for x in row.tolist()]
    common = max(q for _, q in ratios)
    return Fraction(sum((p * (common // q)) ** 2 for p, q in ratios), common**2)


def entry_square(factor: Enclosure) -> Fraction:
    """The largest square of an entry, exact for exact ones, rounded up to 31 bits."""
    sizes = np.maximum(*(np.abs(end) for end in interval(factor)))
    largest = Fraction(float(sizes.max(initial=0.0))) ** 2
    return short_up(largest if factor.radius is None else largest * WIDENED)
