"""Lowering rules of several values at once: sums, maxima, concatenation; constants among them become an offset."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from lipverify.graph.copies import expanded
from lipverify.graph.intervals import enclose, interval
from lipverify.graph.scope import Lowered, Scope, affine, arguments
from lipverify.maps import (
    Affine,
    Concatenation,
    Diagonal,
    Enclosure,
    Extremum,
    Gather,
    Pointwise,
    Rearrange,
    Shape,
    Sum,
    size,
)
from lipverify.read.program import Operation, Ref


def total(sign: int) -> Callable[[Operation, Scope], Lowered]:
    """left + sign * alpha * right; a smaller one is expanded to the shape of the sum."""

    def rule(op: Operation, scope: Scope) -> Lowered:
        left, right, alpha = list(arguments(op).values())
        if op.target.startswith("aten.rsub."):
            left, right = right, left
        shape = scope.shapes[op.name]
        scaled = None if alpha == 1 else scope.weight(alpha)
        if scope.is_value(right):
            whole = expanded(scope.shapes[right.name], shape, right.name)
            if scaled is not None:
                whole = affine(Diagonal(scaled, shape), None, whole)
            if scope.is_value(left):
                return Sum(shape, (1, sign)), (expanded(scope.shapes[left.name], shape, left.name), whole)
            linear = Rearrange(shape, shape) if sign == 1 else Diagonal(Enclosure(np.array(-1.0)), shape)
            return affine(linear, scope.weight(left), whole)
        whole, offset = expanded(scope.shape(left), shape, scope.value(left)), interval(scope.weight(right))
        if scaled is not None:
            offset = offset * interval(scaled)
        return affine(Rearrange(shape, shape), enclose(offset if sign == 1 else -offset), whole)

    return rule


def extremum(op: Operation, scope: Scope) -> Lowered:
    """The larger or the smaller of two; with a constant it is a function of each entry, of slope 0 or 1."""
    left, right = list(arguments(op).values())
    shape, largest = scope.shapes[op.name], op.target.split(".")[1] in ("maximum", "max")
    if scope.is_value(left) and scope.is_value(right):
        return Extremum(shape, largest), tuple(expanded(scope.shapes[v.name], shape, v.name) for v in (left, right))
    value, constant = (left, right) if scope.is_value(left) else (right, left)
    ends, function = scope.weight(constant), np.maximum if largest else np.minimum
    breakpoints = tuple(np.unique(ends.midpoint)[:32].tolist())
    name = f"{'maximum' if largest else 'minimum'} with a constant"
    slopes = (Fraction(0), Fraction(1))
    map_ = Pointwise(name, shape, slopes, breakpoints, lambda x: function(x, ends.midpoint))
    return map_, (expanded(scope.shape(value), shape, scope.value(value)),)


def concatenation(op: Operation, scope: Scope) -> Lowered:
    given = arguments(op)
    shape = scope.shapes[op.name]
    return _joined(given["tensors"], given["dim"] % len(shape), scope, lambda part: part)


def stack(op: Operation, scope: Scope) -> Lowered:
    given = arguments(op)
    axis = given["dim"] % len(scope.shapes[op.name])
    return _joined(given["tensors"], axis, scope, lambda part: (*part[:axis], 1, *part[axis:]))


def _joined(tensors: tuple[Ref, ...], axis: int, scope: Scope, unsqueezed: Callable[[Shape], Shape]) -> Lowered:
    """The values side by side; where constants stand among them, room for these and the constants as an offset."""
    tensors = tuple(t for t in tensors if scope.shapes[t.name] != (0,))  # torch leaves these out of any cat
    shapes = {t.name: scope.shapes[t.name] for t in tensors}
    values = [t.name for t in tensors if scope.is_value(t)]
    parts = tuple(
        name if unsqueezed(shapes[name]) == shapes[name] else _reshaped(shapes[name], unsqueezed(shapes[name]), name)
        for name in values
    )
    joint = Concatenation(tuple(unsqueezed(shapes[name]) for name in values), axis)
    if len(values) == len(tensors):
        return joint, parts
    places, offsets, start = [], [], 0
    count = np.arange(size(joint.output_shape)).reshape(joint.output_shape)
    for tensor in tensors:
        shape = unsqueezed(shapes[tensor.name])
        if scope.is_value(tensor):
            places.append(count.take(range(start, start + shape[axis]), axis))
            offsets.append((np.zeros(shape), np.zeros(shape)))
            start += shape[axis]
        else:
            places.append(np.full(shape, -1))
            offsets.append(tuple(np.broadcast_to(end.reshape(shape), shape) for end in interval(scope.weight(tensor))))
    low, high = (np.concatenate([offset[end] for offset in offsets], axis) for end in (0, 1))
    spread = Gather(joint.output_shape, np.concatenate(places, axis).astype(np.int64))
    return Affine(spread, enclose((low, high))), (parts[0] if len(parts) == 1 else (joint, parts),)


def _reshaped(shape: Shape, wanted: Shape, value: str) -> Lowered:
    return affine(Rearrange(shape, wanted), None, value)
