"""Interval arithmetic on float64 arrays: every end a bound, rounded outward only where the operation rounds.

IEEE 754 addition, subtraction, multiplication, division and square root are correctly rounded, so an end moves by at most
one unit in the last place; the error-free transformations of Dekker (1971) and Knuth (1969) tell whether, and to which
side. What is exact (sums and products of weights with short mantissas, powers of two, integers) stays exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from lipverify.maps import Array, Enclosure

TINY = 2.0**-900
"""Below it an error term may underflow: an end moves by as much."""
LARGE = 2.0**480
"""Above it a product is not split: an end moves by one unit in the last place."""


class NotFoldable(Exception):
    """An operation on weights that has no folding rule; the message names it."""


@dataclass(frozen=True, slots=True, eq=False)
class Interval:
    """{x : low <= x <= high, entrywise}: float64 arrays of one shape; exact where they are the same array or equal."""

    low: Array
    high: Array

    def __iter__(self) -> Iterator[Array]:
        yield self.low
        yield self.high

    def __getitem__(self, end: int) -> Array:
        return (self.low, self.high)[end]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.low.shape

    @property
    def exact(self) -> bool:
        return self.low is self.high or np.array_equal(self.low, self.high)

    def __neg__(self) -> Interval:
        return exactly(-self.low) if self.low is self.high else Interval(-self.high, -self.low)

    def __add__(self, other: Interval) -> Interval:
        if self.low is self.high and other.low is other.high:
            return _rounded(self.low + other.low, _sum_error(self.low, other.low))
        return Interval(_add(self.low, other.low)[0], _add(self.high, other.high)[1])

    def __sub__(self, other: Interval) -> Interval:
        return self + (-other)

    def __mul__(self, other: Interval) -> Interval:
        if self.low is self.high and other.low is other.high:
            return _rounded(self.low * other.low, _product_error(self.low, other.low))
        products = [_rounded(a * b, _product_error(a, b)) for a in self for b in other]
        return Interval(np.minimum.reduce([p.low for p in products]), np.maximum.reduce([p.high for p in products]))

    def __truediv__(self, other: Interval) -> Interval:
        """All quotients; refused where the divisor may be zero."""
        if np.any((other.low <= 0) & (other.high >= 0)):
            raise NotFoldable("a division by a weight that may be zero")
        if self.low is self.high and other.low is other.high:
            return _quotient(self.low, other.low)
        quotients = [_quotient(a, b) for a in self for b in other]
        return Interval(np.minimum.reduce([q.low for q in quotients]), np.maximum.reduce([q.high for q in quotients]))

    def sqrt(self) -> Interval:
        if np.any(self.low < 0):
            raise NotFoldable("the square root of a weight that may be negative")
        if self.low is self.high:
            return _root(self.low)
        return Interval(np.maximum(_root(self.low).low, 0.0), _root(self.high).high)

    def square(self) -> Interval:
        size = abs(self)
        if size.low is size.high:
            return size * size
        low, high = exactly(size.low), exactly(size.high)
        return Interval((low * low).low, (high * high).high)

    def __abs__(self) -> Interval:
        if self.low is self.high:
            return _both(np.abs, self)
        around = (self.low <= 0) & (self.high >= 0)
        sizes = np.abs(self.low), np.abs(self.high)
        return Interval(np.where(around, 0.0, np.minimum(*sizes)), np.maximum(*sizes))

    def maximum(self, other: Interval) -> Interval:
        low = np.maximum(self.low, other.low)
        if self.low is self.high and other.low is other.high:
            return exactly(low)
        return Interval(low, np.maximum(self.high, other.high))

    def minimum(self, other: Interval) -> Interval:
        low = np.minimum(self.low, other.low)
        if self.low is self.high and other.low is other.high:
            return exactly(low)
        return Interval(low, np.minimum(self.high, other.high))

    def total(self, axes: tuple[int, ...]) -> Interval:
        """The sum over ``axes``, which are kept with length 1; each sum correctly rounded (Shewchuk 1997)."""
        if self.low is self.high:
            low, high = _totals(self.low, axes)
            return Interval(low, low) if np.array_equal(low, high) else Interval(low, high)
        return Interval(_totals(self.low, axes)[0], _totals(self.high, axes)[1])

    def largest(self, axes: tuple[int, ...]) -> Interval:
        """The maximum over ``axes``, which are kept with length 1."""
        return _both(lambda end: end.max(axes, keepdims=True), self)

    def take(self, index: np.ndarray) -> Interval:
        """The entries at ``index`` of the flattened array; 0 where it is -1."""
        return _both(lambda end: np.append(end.reshape(-1), 0.0)[index], self)

    def join(self, other: Interval) -> Interval:
        """The entries of both, flat."""
        if self.low is self.high and other.low is other.high:
            flat = np.append(self.low, other.low)
            return Interval(flat, flat)
        return Interval(np.append(self.low, other.low), np.append(self.high, other.high))

    def enclosure(self) -> Enclosure:
        return enclose(self)


def exactly(array: Array) -> Interval:
    """The interval that holds only ``array``."""
    return Interval(array, array)


def interval(x: Enclosure) -> Interval:
    """[midpoint - radius, midpoint + radius], rounded outward."""
    if x.radius is None:
        return exactly(x.midpoint)
    return Interval(_down(x.midpoint - x.radius), _up(x.midpoint + x.radius))


def enclose(ends: Interval | tuple[Array, Array]) -> Enclosure:
    """The midpoint and radius of an interval, the radius rounded up; exact where the ends agree.

    Raises:
        NotFoldable: where an end is not finite.
    """
    low, high = (np.asarray(end, dtype=np.float64, order="C") for end in ends)
    if not (np.abs(low).max(initial=0.0) < 2.0**1022 and np.abs(high).max(initial=0.0) < 2.0**1022):
        raise NotFoldable("arithmetic on weights that overflows or divides by an interval around zero")
    if np.array_equal(low, high):
        return Enclosure(low)
    middle = low + (high - low) / 2
    radius = np.maximum(_up(high - middle), _up(middle - low))
    return Enclosure(np.asarray(middle), np.where(low == high, 0.0, _up(radius)))


def _up(x: Array) -> Array:
    return np.nextafter(x, np.inf)


def _down(x: Array) -> Array:
    return np.nextafter(x, -np.inf)


def _both(function: Callable[[Array], Array], x: Interval) -> Interval:
    low = function(x.low)
    return Interval(low, low if x.low is x.high else function(x.high))


def _rounded(computed: Array, error: Array) -> Interval:
    """The interval of the true value = computed + error; an error of NaN says that nothing is known of it."""
    unknown = np.isnan(error)
    low = np.where(unknown | (error < 0), _down(computed), computed)
    high = np.where(unknown | (error > 0), _up(computed), computed)
    tiny = unknown & (np.abs(computed) < TINY)
    if tiny.any():
        low, high = np.where(tiny, low - TINY, low), np.where(tiny, high + TINY, high)
    if not unknown.any() and not error.any():
        return exactly(np.asarray(computed))
    return Interval(np.asarray(low), np.asarray(high))


def _add(a: Array, b: Array) -> Interval:
    return _rounded(a + b, _sum_error(a, b))


def _sum_error(a: Array, b: Array) -> Array:
    """Knuth's TwoSum: a + b - fl(a + b), exactly, in any order of size; NaN near the ends of the range of float64.

    A sum never underflows inexactly, but where the processor flushes subnormal numbers a tiny one may vanish.
    """
    total = a + b
    part = total - a
    error = (a - (total - part)) + (b - part)
    largest = np.maximum(np.abs(a), np.abs(b))
    fits = np.isfinite(total) & (largest < 2.0**1000) & ((largest > TINY) | (largest == 0))
    return np.where(fits, error, np.nan)


def _product_error(a: Array, b: Array) -> Array:
    """Dekker's TwoProduct: a b - fl(a b), exactly, where nothing overflows or underflows; else NaN."""
    product = a * b
    (a_high, a_low), (b_high, b_low) = _split(a), _split(b)
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    fits = (np.abs(a) < LARGE) & (np.abs(b) < LARGE) & (np.abs(product) > TINY)
    return np.where((a == 0) | (b == 0), 0.0 * (a + b), np.where(fits, error, np.nan))


def _split(a: Array) -> tuple[Array, Array]:
    """Veltkamp's splitting: a = high + low, both of at most 26 bits."""
    scaled = 134217729.0 * a
    high = scaled - (scaled - a)
    return high, a - high


def _quotient(a: Array, b: Array) -> Interval:
    """a / b lies beyond fl(a / b) on the side of the sign of (a - fl(a / b) b) / b."""
    quotient = a / b
    product = quotient * b
    rest = (a - product) - _product_error(quotient, b)  # a - product is exact: the two are neighbours
    known = (np.abs(a) > TINY) & (np.abs(quotient) > TINY) | (a == 0)
    return _rounded(quotient, np.where(known, np.sign(rest) * np.sign(b), np.nan))


def _root(a: Array) -> Interval:
    root = np.sqrt(a)
    rest = (a - root * root) - _product_error(root, root)
    return _rounded(root, np.where((a > TINY) | (a == 0), np.sign(rest), np.nan))


def _totals(a: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    axes = tuple(axis % a.ndim for axis in axes)
    kept = tuple(axis for axis in range(a.ndim) if axis not in axes)
    rows = a.transpose(kept + axes).reshape(math.prod(a.shape[axis] for axis in kept), -1).tolist()
    shape = tuple(1 if axis in axes else n for axis, n in enumerate(a.shape))
    try:
        sums = [math.fsum(row) for row in rows]
        errors = [math.fsum([*row, -s]) for row, s in zip(rows, sums, strict=True)]
    except (OverflowError, ValueError) as error:
        raise NotFoldable("a sum of weights that overflows") from error
    found = _rounded(np.array(sums).reshape(shape), np.array(errors).reshape(shape))
    return found.low, found.high
