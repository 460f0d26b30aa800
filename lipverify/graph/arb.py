"""Real arrays in ball arithmetic of many digits, by Arb (Johansson 2017) through python-flint, which is optional.

Interval products on float64 lose about log2(3 sqrt n) bits at every matrix product, and a weight may be the outcome of
thirty of them (Bjorck and Bowie 1971). With 192 bits such a chain at 512 x 512 loses 107 of them, and still returns every
entry to the last place of a float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from lipverify.graph.intervals import Interval, NotFoldable
from lipverify.maps import Enclosure

PRECISION = 192
"""Bits of the midpoints."""
HUGE = 2.0**200
"""Products of matrices with larger entries are refused: chains of them would overflow float64 in the end."""

try:
    import flint
except ImportError:  # the extra `fold` is not installed
    flint: Any = None


@contextmanager
def precision() -> Iterator[None]:
    """Sets the precision of ball arithmetic, where it is installed, and restores it."""
    if flint is None:
        yield
        return
    with flint.ctx.workprec(PRECISION):
        yield


def require_flint(what: str) -> None:
    """
    Raises:
        NotFoldable: where python-flint is not installed, with the advice to install it.
    """
    if flint is None:
        raise NotFoldable(f"{what} needs ball arithmetic, which is not installed (pip install 'lipverify[fold]')")


@dataclass(frozen=True, slots=True, eq=False)
class Balls:
    """An array of real numbers, each within the radius of its ``flint.arb``.

    The operations are those of :class:`~lipverify.graph.intervals.Interval`, and enclose as they do; to be called within
    :func:`precision`. What is not finite (a quotient by zero, the root of a negative number) is found by ``enclosure``.

    Attributes:
        entries: an object array of ``arb``.
    """

    entries: np.ndarray

    @classmethod
    def of(cls, x: Interval | Balls) -> Balls:
        """The same numbers; an interval as its midpoint and radius."""
        if isinstance(x, Balls):
            return x
        middle = x.enclosure()
        if middle.radius is None:
            return cls.from_list([flint.arb(v) for v in middle.midpoint.reshape(-1).tolist()], middle.shape)
        pairs = zip(middle.midpoint.reshape(-1).tolist(), middle.radius.reshape(-1).tolist(), strict=True)
        return cls.from_list([flint.arb(m, r) for m, r in pairs], middle.shape)

    @classmethod
    def from_list(cls, numbers: Sequence[Any], shape: tuple[int, ...]) -> Balls:
        entries = np.empty(len(numbers), dtype=object)
        entries[:] = numbers
        return cls(entries.reshape(shape))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.entries.shape

    def __neg__(self) -> Balls:
        return _balls(-self.entries)

    def __add__(self, other: Balls) -> Balls:
        return _balls(self.entries + other.entries)

    def __sub__(self, other: Balls) -> Balls:
        return _balls(self.entries - other.entries)

    def __mul__(self, other: Balls) -> Balls:
        return _balls(self.entries * other.entries)

    def __truediv__(self, other: Balls) -> Balls:
        return _balls(self.entries / other.entries)

    def __abs__(self) -> Balls:
        return self.each(abs)

    def sqrt(self) -> Balls:
        return self.each(lambda x: x.sqrt())

    def square(self) -> Balls:
        return self.each(lambda x: x**2)

    def maximum(self, other: Balls) -> Balls:
        return _balls(np.frompyfunc(lambda x, y: x.max(y), 2, 1)(self.entries, other.entries))

    def minimum(self, other: Balls) -> Balls:
        return _balls(np.frompyfunc(lambda x, y: x.min(y), 2, 1)(self.entries, other.entries))

    def total(self, axes: tuple[int, ...]) -> Balls:
        """The sum over ``axes``, which are kept with length 1."""
        return _balls(np.add.reduce(self.entries, axes, keepdims=True, initial=flint.arb(0)))

    def largest(self, axes: tuple[int, ...]) -> Balls:
        """The maximum over ``axes``, which are kept with length 1."""
        larger = np.frompyfunc(lambda x, y: x.max(y), 2, 1)
        found = self.entries
        for axis in axes:
            found = larger.reduce(found, axis=axis, keepdims=True)
        return _balls(found)

    def take(self, index: np.ndarray) -> Balls:
        """The entries at ``index`` of the flattened array; 0 where it is -1."""
        return _balls(np.append(self.entries.reshape(-1), flint.arb(0))[index])

    def join(self, other: Balls) -> Balls:
        """The entries of both, flat."""
        return Balls(np.append(self.entries, other.entries))

    def each(self, function: Callable[[Any], Any]) -> Balls:
        """A function of ``arb`` on every entry."""
        return _balls(np.frompyfunc(function, 1, 1)(self.entries))

    def matrices(self) -> list[Any]:
        """The matrices on the last two axes, as ``arb_mat``.

        Raises:
            NotFoldable: for entries that are not finite, or beyond ``HUGE``.
        """
        *batch, rows, columns = self.shape
        flat = self.entries.reshape(-1).tolist()
        if not all(x.is_finite() and abs(x) < HUGE for x in flat):
            raise NotFoldable("a matrix of numbers that overflow")
        size = rows * columns
        parts = (flat[i * size : (i + 1) * size] for i in range(int(np.prod(batch, dtype=int))))
        return [flint.arb_mat(rows, columns, part) for part in parts]

    def enclosure(self) -> Enclosure:
        """Midpoints in float64, radii rounded up; exact where the number is a float64.

        Raises:
            NotFoldable: where a number is not finite or beyond float64.
        """
        flat = self.entries.reshape(-1).tolist()
        if not all(x.is_finite() and abs(x) < 2.0**1000 for x in flat):
            raise NotFoldable(
                "arithmetic on weights that overflows, divides by what may be zero or has no real outcome"
            )
        middle = [float(x.mid()) for x in flat]
        gaps = [(x - m).abs_upper() for x, m in zip(flat, middle, strict=True)]
        radius = np.array([0.0 if gap == 0 else float(gap) * (1 + 2.0**-40) + 2.0**-1000 for gap in gaps])
        return Enclosure(np.array(middle).reshape(self.shape), radius.reshape(self.shape) if radius.any() else None)


def from_matrices(found: Sequence[Any], batch: tuple[int, ...]) -> Balls:
    """The array of shape (*batch, m, n) with these matrices."""
    rows, columns = found[0].nrows(), found[0].ncols()
    return Balls.from_list([x for matrix in found for x in matrix.entries()], (*batch, rows, columns))


def _balls(entries: Any) -> Balls:
    """numpy returns the bare entry of an array without axes."""
    return Balls(entries if isinstance(entries, np.ndarray) else np.asarray(entries, dtype=object))
