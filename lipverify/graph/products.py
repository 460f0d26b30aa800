"""Lowering rules of products with weights: matrix products from either side, scalings; and why two values have none."""

from __future__ import annotations

from typing import Any

import numpy as np

from lipverify.graph.copies import expanded
from lipverify.graph.intervals import enclose, exactly, interval
from lipverify.graph.scope import Lowered, NotLowered, Scope, affine, arguments
from lipverify.maps import Affine, Dense, Diagonal, Enclosure, Separable
from lipverify.read.program import Operation

TWO_VALUES = (
    "a product of two values that both depend on the input has no Lipschitz constant on the whole space "
    "(of attention: Kim, Papamakarios, Mnih 2021)"
)


def linear(op: Operation, scope: Scope) -> Lowered:
    given = arguments(op)
    _one_value(scope, given["input"], given["weight"])
    value, weight = scope.value(given["input"]), scope.weight(given["weight"])
    if len(weight.shape) != 2:
        raise NotLowered(f"a weight of shape {weight.shape} where a matrix is expected")
    bias = None if given["bias"] is None else scope.weight(given["bias"])
    return affine(Dense(weight, scope.shapes[value]), bias, value)


def matrix_product(op: Operation, scope: Scope) -> Lowered:
    """mm, bmm, mv, matmul."""
    left, right = list(arguments(op).values())[:2]
    return _matrices(op, scope, left, right, None)


def matrix_product_and_sum(op: Operation, scope: Scope) -> Lowered:
    given = arguments(op)
    if (given["alpha"], given["beta"]) != (1, 1):
        raise NotLowered(f"alpha = {given['alpha']}, beta = {given['beta']}")
    return _matrices(op, scope, given["mat1"], given["mat2"], scope.weight(given["self"]))


def _matrices(op: Operation, scope: Scope, left: Any, right: Any, bias: Enclosure | None) -> Lowered:
    """value W acts on the last axis, W value on the one before it (on the only one of a vector)."""
    _one_value(scope, left, right)
    output = scope.shapes[op.name]
    if scope.is_value(left):
        value, weight = scope.value(left), scope.weight(right)
        shape = scope.shapes[value]
        matrix, axis = _each(_matrix(weight, column=True), np.transpose), len(shape) - 1
        if len(weight.shape) == 2:
            return affine(Dense(matrix, shape), bias, value)
    else:
        value = scope.value(right)
        shape = scope.shapes[value]
        matrix, axis = _matrix(scope.weight(left), column=False), max(len(shape) - 2, 0)
    full = (*shape[:axis], matrix.shape[0], *shape[axis + 1 :])
    if [n for n in full if n != 1] != [n for n in output if n != 1]:
        raise NotLowered("a product with a weight that enlarges the value by broadcasting")
    return affine(Separable(shape, output, ((axis, matrix),)), bias, value)


def _one_value(scope: Scope, left: Any, right: Any) -> None:
    if scope.is_value(left) and scope.is_value(right):
        raise NotLowered(TWO_VALUES)


def _matrix(weight: Enclosure, *, column: bool) -> Enclosure:
    """The one matrix that a weight is: a vector is a column from the right, a row from the left; of a batch, all equal."""
    if len(weight.shape) < 2:
        return _each(weight, lambda a: a.reshape((-1, 1) if column else (1, -1)))
    batch = _each(weight, lambda a: a.reshape(-1, *a.shape[-2:]))
    if not len(batch.midpoint):
        raise NotLowered("a product with no matrix")
    for part in (batch.midpoint, batch.radius):
        if part is not None and not (part == part[:1]).all():
            raise NotLowered("a product with a batch of different matrices")
    return _each(batch, lambda a: a[0])


def _each(x: Enclosure, change: Any) -> Enclosure:
    radius = None if x.radius is None else np.ascontiguousarray(change(x.radius))
    return Enclosure(np.ascontiguousarray(change(x.midpoint)), radius)


def product(op: Operation, scope: Scope) -> Lowered:
    left, right = list(arguments(op).values())[:2]
    _one_value(scope, left, right)
    if not scope.is_value(left):
        left, right = right, left
    return scaled(op, scope, scope.value(left), scope.weight(right))


def quotient(op: Operation, scope: Scope) -> Lowered:
    left, right = list(arguments(op).values())[:2]
    if scope.is_value(right):
        raise NotLowered("a quotient by a value that depends on the input")
    value, divisor = scope.value(left), scope.weight(right)
    mantissa = np.abs(np.frexp(divisor.midpoint)[0])
    if divisor.radius is None and np.all(mantissa == 0.5) and np.all(np.abs(divisor.midpoint) < 2.0**960):
        return scaled(op, scope, value, Enclosure(1 / divisor.midpoint))
    with np.errstate(all="ignore"):
        return scaled(op, scope, value, enclose(exactly(np.ones(())) / interval(divisor)))


def negation(op: Operation, scope: Scope) -> Lowered:
    return scaled(op, scope, scope.value(op.args[0]), Enclosure(np.array(-1.0)))


def scaled(op: Operation, scope: Scope, value: str, factor: Enclosure) -> Lowered:
    """The value, expanded to the shape of the product where the weight enlarges it, times the weight."""
    shape = scope.shapes[op.name]
    return Affine(Diagonal(factor, shape)), (expanded(scope.shapes[value], shape, value),)


def attention(op: Operation, scope: Scope) -> Lowered:
    raise NotLowered(
        "attention has no Lipschitz constant on the whole space (Kim, Papamakarios, Mnih 2021, "
        "The Lipschitz Constant of Self-Attention)"
    )
