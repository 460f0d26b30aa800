"""One visible table from ATen operations to lowering rules."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from lipverify.graph.activations import ACTIVATIONS
from lipverify.graph.convolutions import average_pooling, conv2d, conv_transpose2d, convolution, pad
from lipverify.graph.fold import INTERVAL_RULES, enclose, interval
from lipverify.graph.scope import Lowered, NotLowered, Scope, affine, arguments
from lipverify.maps import Dense, Diagonal, Enclosure, Rearrange, Sum
from lipverify.read.program import Operation


def _linear(op: Operation, scope: Scope) -> Lowered:
    x, weight, bias = arguments(op, ("input", None), ("weight", None), ("bias", None))
    value = scope.value(x)
    return affine(Dense(scope.weight(weight), scope.shapes[value]), bias and scope.weight(bias), value)


def _transposed(weight: Enclosure) -> Enclosure:
    if len(weight.shape) != 2:
        raise NotLowered(f"a weight of shape {weight.shape} where a matrix is expected")
    return Enclosure(
        np.ascontiguousarray(weight.midpoint.T),
        None if weight.radius is None else np.ascontiguousarray(weight.radius.T),
    )


def _mm(op: Operation, scope: Scope) -> Lowered:
    x, weight = arguments(op, ("self", None), ("other", None))
    value = scope.value(x)
    return affine(Dense(_transposed(scope.weight(weight)), scope.shapes[value]), None, value)


def _addmm(op: Operation, scope: Scope) -> Lowered:
    bias, x, weight, beta, alpha = arguments(
        op, ("self", None), ("mat1", None), ("mat2", None), ("beta", 1), ("alpha", 1)
    )
    if (alpha, beta) != (1, 1):
        raise NotLowered(f"alpha = {alpha}, beta = {beta}")
    value = scope.value(x)
    return affine(Dense(_transposed(scope.weight(weight)), scope.shapes[value]), scope.weight(bias), value)


def _activation(op: Operation, scope: Scope) -> Lowered:
    value = scope.value(op.args[0])
    return ACTIVATIONS[op.target](op, scope.shapes[value], scope.dtype), (value,)


def _sum(sign: int) -> Callable[[Operation, Scope], Lowered]:
    def rule(op: Operation, scope: Scope) -> Lowered:
        left, right, alpha = arguments(op, ("self", None), ("other", None), ("alpha", 1))
        if alpha != 1:
            raise NotLowered(f"a sum with alpha = {alpha}")
        if scope.is_value(left) and scope.is_value(right):
            shape = scope.shapes[op.name]
            if scope.shapes[left.name] != shape or scope.shapes[right.name] != shape:
                raise NotLowered("a sum that broadcasts one of two values")
            return Sum(shape, (1, sign)), (left.name, right.name)
        if scope.is_value(left):
            offset, value, slope = scope.weight(right), left.name, 1
        else:
            offset, value, slope = scope.weight(left), scope.value(right), sign
        shape = scope.shapes[value]
        if scope.shapes[op.name] != shape:
            raise NotLowered("a sum with a weight that enlarges the value by broadcasting")
        if slope == sign == -1:  # weight - value
            return affine(Diagonal(Enclosure(np.array(-1.0)), shape), offset, value)
        low, high = interval(offset)
        return affine(Rearrange(shape, shape), offset if sign == 1 else enclose((-high, -low)), value)

    return rule


def _reversed_subtraction(op: Operation, scope: Scope) -> Lowered:
    x, other, alpha = arguments(op, ("self", None), ("other", None), ("alpha", 1))
    return _sum(-1)(Operation(op.name, op.target, (other, x, alpha), {}, op.calls), scope)


def _product(op: Operation, scope: Scope) -> Lowered:
    left, right = arguments(op, ("self", None), ("other", None))
    if not scope.is_value(left):
        left, right = right, left
    return _diagonal(op, scope, scope.value(left), scope.weight(right))


def _quotient(op: Operation, scope: Scope) -> Lowered:
    left, right = arguments(op, ("self", None), ("other", None))
    value, divisor = scope.value(left), scope.weight(right)
    mantissa = np.abs(np.frexp(divisor.midpoint)[0])
    if divisor.radius is None and np.all(mantissa == 0.5) and np.all(np.abs(divisor.midpoint) < 2.0**960):
        return _diagonal(op, scope, value, Enclosure(1 / divisor.midpoint))
    with np.errstate(all="ignore"):
        return _diagonal(op, scope, value, enclose(INTERVAL_RULES["aten.reciprocal.default"](interval(divisor))))


def _diagonal(op: Operation, scope: Scope, value: str, factor: Enclosure) -> Lowered:
    if scope.shapes[op.name] != scope.shapes[value]:
        raise NotLowered("a product with a weight that enlarges the value by broadcasting")
    return affine(Diagonal(factor, scope.shapes[value]), None, value)


def _negation(op: Operation, scope: Scope) -> Lowered:
    return _diagonal(op, scope, scope.value(op.args[0]), Enclosure(np.array(-1.0)))


def _rearrangement(op: Operation, scope: Scope) -> Lowered:
    """Views, copies, and whatever keeps the entries in order."""
    value = scope.value(op.args[0])
    if prod(scope.shapes[op.name]) != prod(scope.shapes[value]):
        raise NotLowered("it changes the number of entries")
    return affine(Rearrange(scope.shapes[value], scope.shapes[op.name]), None, value)


def _dropout(op: Operation, scope: Scope) -> Lowered:
    x, _, train = arguments(op, ("input", None), ("p", None), ("train", True))
    if train is not False:
        raise NotLowered("dropout in training")
    shape = scope.shapes[scope.value(x)]
    return affine(Rearrange(shape, shape), None, scope.value(x))


def _permutation(op: Operation, scope: Scope) -> Lowered:
    value = scope.value(op.args[0])
    shape = scope.shapes[value]
    axes = list(range(len(shape)))
    if op.target == "aten.permute.default":
        axes = [a % len(shape) for a in op.args[1]]
    elif op.target == "aten.transpose.int":
        i, j = (a % len(shape) for a in op.args[1:3])
        axes[i], axes[j] = axes[j], axes[i]
    else:
        axes.reverse()
    return affine(Rearrange(shape, tuple(shape[a] for a in axes), tuple(axes)), None, value)


RULES: dict[str, Callable[[Operation, Scope], Lowered]] = {
    "aten.linear.default": _linear,
    "aten.addmm.default": _addmm,
    "aten.mm.default": _mm,
    "aten.matmul.default": _mm,
    "aten.convolution.default": convolution,
    "aten.conv2d.default": conv2d,
    "aten.conv_transpose2d.input": conv_transpose2d,
    "aten.avg_pool2d.default": average_pooling,
    "aten.add.Tensor": _sum(1),
    "aten.sub.Tensor": _sum(-1),
    "aten.rsub.Scalar": _reversed_subtraction,
    "aten.mul.Tensor": _product,
    "aten.mul.Scalar": _product,
    "aten.div.Tensor": _quotient,
    "aten.div.Scalar": _quotient,
    "aten.neg.default": _negation,
    "aten.dropout.default": _dropout,
    "aten.pad.default": pad,
    "aten.constant_pad_nd.default": pad,
    "aten.permute.default": _permutation,
    "aten.transpose.int": _permutation,
    "aten.t.default": _permutation,
    **dict.fromkeys(
        (
            "aten.view.default",
            "aten.reshape.default",
            "aten._unsafe_view.default",
            "aten.flatten.using_ints",
            "aten.squeeze.default",
            "aten.squeeze.dim",
            "aten.squeeze.dims",
            "aten.unsqueeze.default",
            "aten.clone.default",
            "aten.detach.default",
            "aten.alias.default",
            "aten.contiguous.default",
            "aten._to_copy.default",
        ),
        _rearrangement,
    ),
    **dict.fromkeys(ACTIVATIONS, _activation),
}
"""ATen operation -> its lowering rule."""
