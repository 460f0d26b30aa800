"""Matrices known to within a radius: midpoint-radius arithmetic on float64.

Source: Rump 1999, "Fast and parallel interval arithmetic".

A ball holds every real matrix X with |X - midpoint| <= radius, entrywise. Each operation returns a ball that holds the
outcome for all members of its operands: rounding, underflow and the operands' radii are counted, upward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from lipverify.maps import Enclosure
from lipverify.rigor.probe import machine
from lipverify.rigor.reductions import Array, checked, matrix_norm_up, require_float64

_EPS = 2.0**-52
_TINY = 2.0**-1000
"""Covers the underflow of a few operations on numbers below 2^9; products scale it (see ``_flushed``)."""


def _upward(x: Array, roundings: int) -> Array:
    """An upper bound of a nonnegative array computed with at most ``roundings`` relative errors u an entry.

    1 / (1 - gamma_k) <= 1 + 2 k u for k u <= 1/4; two more roundings for this product and sum.
    """
    return x * (1 + (roundings + 4) * _EPS) + _TINY


def _largest(*arrays: Array) -> float:
    return max([1.0, *(float(np.abs(a).max()) for a in arrays if a.size)])


def _flushed(k: int, *factors: Array) -> float:
    """An upper bound of what underflow may take from inner products of length k (more than rounding.underflow)."""
    return (k + 1) * 2.0**-1010 * _largest(*factors)


@dataclass(frozen=True, slots=True, eq=False)
class BallMatrix:
    """{X : |X - midpoint| <= radius entrywise}.

    Attributes:
        midpoint: (m, n) float64, finite.
        radius: (m, n) float64, >= 0, finite.

    Raises:
        TypeError: for another dtype than float64.
        ValueError: on NaN or infinity (an operation overflowed), a negative radius, or shapes that do not fit.
    """

    midpoint: Array
    radius: Array

    def __post_init__(self) -> None:
        if self.midpoint.ndim != 2 or self.midpoint.shape != self.radius.shape:
            raise ValueError(
                f"BallMatrix: midpoint {self.midpoint.shape} and radius {self.radius.shape} must be 2-D, equal"
            )
        require_float64(self.midpoint)
        require_float64(self.radius)
        if not (np.isfinite(self.midpoint).all() and np.isfinite(self.radius).all()):
            raise ValueError("BallMatrix: NaN or infinity; scale the matrices by powers of two first")
        if (self.radius < 0).any():
            raise ValueError("BallMatrix: a radius is negative")

    @classmethod
    def exact(cls, array: np.ndarray) -> BallMatrix:
        """The ball that holds only ``array`` (m, n)."""
        machine()
        array = checked(array, "BallMatrix.exact")
        return cls(array, np.zeros(array.shape))

    @classmethod
    def of(cls, enclosure: Enclosure) -> BallMatrix:
        """The ball of a folded weight."""
        if enclosure.radius is None:
            return cls.exact(enclosure.midpoint)
        machine()
        return cls(checked(enclosure.midpoint, "midpoint"), checked(enclosure.radius, "radius"))

    @classmethod
    def block(cls, rows: Sequence[Sequence[BallMatrix]]) -> BallMatrix:
        """The block matrix of these blocks; no rounding."""
        return cls(
            np.block([[b.midpoint for b in row] for row in rows]), np.block([[b.radius for b in row] for row in rows])
        )

    @property
    def shape(self) -> tuple[int, ...]:
        return self.midpoint.shape

    @property
    def T(self) -> BallMatrix:
        """The transpose; no rounding."""
        return BallMatrix(np.ascontiguousarray(self.midpoint.T), np.ascontiguousarray(self.radius.T))

    def __add__(self, other: BallMatrix) -> BallMatrix:
        """Sums of all members; a summand that is exactly zero costs nothing."""
        self._same_shape(other)
        with np.errstate(all="ignore"):
            midpoint = self.midpoint + other.midpoint
            radius = _upward(self.radius + other.radius + np.abs(midpoint) * _EPS, 3)
        one_is_zero = _zero(self.midpoint) | _zero(other.midpoint)
        return BallMatrix(midpoint, np.where(one_is_zero & _zero(self.radius) & _zero(other.radius), 0.0, radius))

    def __neg__(self) -> BallMatrix:
        return BallMatrix(-self.midpoint, self.radius)

    def __sub__(self, other: BallMatrix) -> BallMatrix:
        return self + (-other)

    def _same_shape(self, other: BallMatrix) -> None:
        if self.shape != other.shape:
            raise ValueError(f"BallMatrix: shapes {self.shape} and {other.shape} differ; balls do not broadcast")

    def matmul(self, other: BallMatrix) -> BallMatrix:
        """Products of all members: fl(A B) +- (gamma_k |A| |B| + |A| r_B + r_A (|B| + r_B)), rounded upward."""
        (_, k), (k2, _) = self.shape, other.shape
        if k != k2:
            raise ValueError(f"BallMatrix.matmul: shapes {self.shape} and {other.shape} do not fit")
        with np.errstate(all="ignore"):
            left, right = np.abs(self.midpoint), np.abs(other.midpoint)
            # gamma_k <= 2 k u = k eps for k u <= 1/2.
            radius = (left @ right) * (k * _EPS)
            if other.radius.any():
                radius = radius + left @ other.radius
            if self.radius.any():
                radius = radius + self.radius @ (right + other.radius)
            flushed = _flushed(k, left, right, self.radius, other.radius)
            return BallMatrix(self.midpoint @ other.midpoint, _upward(radius, k + 6) + 4 * flushed)

    __matmul__ = matmul

    def scaled(self, left: np.ndarray, right: np.ndarray) -> BallMatrix:
        """diag(left) X diag(right), float64 vectors; without rounding for moderate powers of two."""
        rows, columns = checked(left, "left scale")[:, None], checked(right, "right scale")[None, :]
        with np.errstate(all="ignore"):
            midpoint = rows * self.midpoint * columns
            radius = np.abs(rows) * self.radius * np.abs(columns)
            if _moderate(rows, 1) and _moderate(columns, 1) and _moderate(self.midpoint, 2):
                if _zero(self.radius).all():
                    return BallMatrix(midpoint, radius)
            else:
                radius = radius + np.abs(midpoint) * (3 * _EPS)
            return BallMatrix(midpoint, _upward(radius, 8) + _largest(rows) * _largest(columns) * 2.0**-1000)

    def norm_error(self) -> Fraction:
        """An upper bound of ||X - midpoint||_2 over all members X."""
        return matrix_norm_up(self.radius)


def _zero(a: Array) -> np.ndarray:
    """Entries that are +0 or -0, by their bits: a comparison may take a subnormal for zero."""
    return (a.view(np.int64) << 1) == 0


def _moderate(a: Array, kind: int) -> bool:
    """Kind 1: powers of two; kind 2: any numbers; all within 2^-300 .. 2^300, so that triple products are exact."""
    mantissa, exponent = np.frexp(a[~_zero(a)])
    return bool((np.abs(exponent) <= 300).all() and (kind == 2 or (np.abs(mantissa) == 0.5).all()))
