"""Lowering rules of maxima and order statistics of one value: Lipschitz, with the constant of their overlap.

|max(a_1, ..., a_k) - max(b_1, ..., b_k)| <= max |a_i - b_i|, so that the squares of all windows add up to at most
(number of windows over an entry) |a - b|^2; sorting is 1-Lipschitz (the rearrangement inequality).
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import prod

import numpy as np

from lipverify.graph.copies import copied
from lipverify.graph.scope import Lowered, NotLowered, Scope, arguments, dimensions
from lipverify.graph.windows import Windows, windows
from lipverify.maps import Array, Extremum, Lipschitz, Shape, size
from lipverify.read.program import Operation

MAXIMUM = "a maximum moves no farther than one of its entries; so many windows at most lie over one entry"


def pooling(axes: int) -> Callable[[Operation, Scope], Lowered]:
    """Max pooling, sliding or adaptive: the square is the largest number of windows over one entry."""

    def rule(op: Operation, scope: Scope) -> Lowered:
        given = arguments(op)
        shape, output = scope.shape(given["self"]), scope.shapes[op.name]
        along = windows(given, shape, output, axes)
        square = Fraction(prod(window.overlap for window in along))
        map_ = Lipschitz("max pooling", shape, output, square, MAXIMUM, _pooled(along), Fraction(1))
        return map_, (scope.value(given["self"]),)

    return rule


def _pooled(along: tuple[Windows, ...]) -> Callable[[Array], Array]:
    def function(x: Array) -> Array:
        for window in along:
            x = _largest(x, window)
        return x

    return function


def _largest(x: Array, window: Windows) -> Array:
    """The maximum over every window: window by window, or entry by entry of all windows, whichever is fewer steps."""
    axis, longest = window.axis, int(window.count.max(initial=0))
    if len(window.first) <= longest:
        x, step = np.moveaxis(x, axis, 0), window.dilation
        pairs = zip(window.first.tolist(), window.count.tolist(), strict=True)
        return np.stack([x[first : first + count * step : step].max(0) for first, count in pairs], axis)
    y = x.take(window.first, axis)
    for t in range(1, longest):
        y = np.maximum(y, x.take(window.first + np.minimum(t, window.count - 1) * window.dilation, axis))
    return y


def extreme(op: Operation, scope: Scope) -> Lowered:
    """The largest or the smallest entry along axes."""
    given = arguments(op)
    shape, output = scope.shape(given["self"]), scope.shapes[op.name]
    axes = dimensions(given.get("dim"), len(shape))
    smallest = op.target.split(".")[1] in ("min", "amin")
    if len(axes) == 1 and shape[axes[0]] == 2:
        return _of_two(shape, output, axes[0], scope.value(given["self"]), largest=not smallest)

    def function(x: Array) -> Array:
        return np.asarray((x.min if smallest else x.max)(axis=axes)).reshape(output)

    name = "minimum over axes" if smallest else "maximum over axes"
    return Lipschitz(name, shape, output, Fraction(1), MAXIMUM, function, Fraction(1)), (scope.value(given["self"]),)


def _of_two(shape: Shape, output: Shape, axis: int, value: str, *, largest: bool) -> Lowered:
    """Of two entries: the extremum of two halves, which the joint rule knows to be orthogonal parts of one value."""
    count = np.arange(size(shape)).reshape(shape)
    halves = (copied(shape, np.asarray(count.take(half, axis)).reshape(output), value) for half in (0, 1))
    return Extremum(output, largest), tuple(halves)


def ordered(op: Operation, scope: Scope) -> Lowered:
    """The sorted entries along an axis, or the first k of them."""
    given = arguments(op)
    shape, output = scope.shape(given["self"]), scope.shapes[op.name]
    if not shape:
        raise NotLowered("the order of a single number")
    axis = given["dim"] % len(shape)
    falling = given["descending"] if "descending" in given else given["largest"]
    if not given.get("sorted", True):
        raise NotLowered("the largest entries in no stated order")

    def function(x: Array) -> Array:
        y = np.sort(x, axis)
        return (np.flip(y, axis) if falling else y).take(range(output[axis]), axis)

    why = "sorting is 1-Lipschitz, by the rearrangement inequality"
    return Lipschitz("order", shape, output, Fraction(1), why, function, Fraction(1)), (scope.value(given["self"]),)
