"""Matrices known to within a radius: midpoint-radius arithmetic on float64 (Rump 1999, "Fast and parallel interval arithmetic").

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
from lipverify.rigor.reductions import Array, checked, matrix_norm_up

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
        ValueError: on NaN or infinity (an operation overflowed), a negative radius, or shapes that do not fit.
    """

    midpoint: Array
    radius: Array

    def __post_init__(self) -> None:
        if self.midpoint.ndim != 2 or self.midpoint.shape != self.radius.shape:
            raise ValueError(f"BallMatrix: midpoint {self.midpoint.shape} and radius {self.radius.shape} must be 2-D, equal")
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
    def T(self) -> BallMatrix:  # noqa: N802 (numpy's name)
        """The transpose; no rounding."""
        return BallMatrix(np.ascontiguousarray(self.midpoint.T), np.ascontiguousarray(self.radius.T))

    def __add__(self, other: BallMatrix) -> BallMatrix:
        self._same_shape(other)
        with np.errstate(all="ignore"):
            midpoint = self.midpoint + other.midpoint
            return BallMatrix(midpoint, _upward(self.radius + other.radius + np.abs(midpoint) * _EPS, 3))

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
        """diag(left) X diag(right) for exact float64 vectors; exact where both are powers of two and nothing underflows."""
        rows, columns = checked(left, "left scale")[:, None], checked(right, "right scale")[None, :]
        with np.errstate(all="ignore"):
            midpoint = rows * self.midpoint * columns
            radius = np.abs(rows) * self.radius * np.abs(columns)
            exact = _powers_of_two(rows) and _powers_of_two(columns)
            flushed = _largest(rows) * _largest(columns) * 2.0**-1000
            if exact and (np.abs(midpoint[self.midpoint != 0]) > 2.0**-900).all() and _normal(self.midpoint):
                rounded = 0.0
            else:
                rounded = np.abs(midpoint) * (3 * _EPS) + flushed
            if not radius.any() and not self.radius.any() and not np.any(rounded):
                return BallMatrix(midpoint, radius)
            return BallMatrix(midpoint, _upward(radius + rounded, 8) + flushed)

    def symmetrised(self) -> BallMatrix:
        """Members' symmetric parts (X + X^T) / 2: for square balls known to hold a symmetric matrix."""
        both = self + self.T
        return BallMatrix(both.midpoint / 2, both.radius / 2 + _TINY)

    def norm_error(self) -> Fraction:
        """An upper bound of ||X - midpoint||_2 over all members X."""
        return matrix_norm_up(self.radius)


def _powers_of_two(v: Array) -> bool:
    return bool((np.abs(np.frexp(v)[0]) == 0.5).all())


def _normal(a: Array) -> bool:
    """Every nonzero entry lies far from the subnormal range, before and after a moderate scaling."""
    magnitudes = np.abs(a[(a.view(np.int64) << 1) != 0])
    return bool((magnitudes > 2.0**-400).all() and (magnitudes < 2.0**400).all())
