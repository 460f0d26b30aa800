"""Arithmetic on stored weights, written down: what a checker can do again, in intervals.

An expression is a leaf, ``{"weight": name, "shape": ...}`` or ``{"numbers": ..., "shape": ...}``, ``{"fold": expression,
"shape": ...}`` for the same entries in another shape, or ``[operation, operand, ...]``. Every expression is evaluated as it
is made; where one does not give what the graph holds, it is not used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import torch

from lipverify.certificates.canonical import entries
from lipverify.certificates.stored import Stored
from lipverify.graph.held import keeps, scalar_argument
from lipverify.graph.intervals import Interval, NotFoldable, exactly, interval
from lipverify.graph.scope import NotLowered, arguments
from lipverify.maps import Enclosure, Shape
from lipverify.read import Program
from lipverify.read.program import Operation, Ref
from lipverify.read.shapes import types


class NotWritten(Exception):
    """Arithmetic that no expression stands for."""


@dataclass(frozen=True, eq=False)
class Expression:
    """What is written down, and the numbers that it gives; these may broadcast to the value's shape."""

    data: Any
    numbers: Interval

    @property
    def shape(self) -> Shape:
        return self.numbers.shape

    def reshaped(self, shape: Sequence[int]) -> Expression:
        """The same entries in another shape.

        Raises:
            NotWritten: where their number differs.
        """
        if prod(shape) != prod(self.shape):
            raise NotWritten("entries repeated")
        low, high = (end.reshape(shape) for end in self.numbers)
        leaf = isinstance(self.data, dict) and "transposed" not in self.data
        data = {**self.data, "shape": list(shape)} if leaf else {"fold": self.data, "shape": list(shape)}
        return Expression(data, Interval(low, low if self.numbers.low is self.numbers.high else high))


def inline(x: Enclosure) -> Expression:
    """Numbers written down one by one, with their radii."""
    data: dict[str, Any] = {"numbers": entries(x.midpoint), "shape": list(x.shape)}
    if x.radius is not None:
        data["radii"] = entries(x.radius)
    return Expression(data, interval(x))


def applied(name: str, *operands: Expression) -> Expression:
    """One operation, entry by entry with broadcasting."""
    with np.errstate(all="ignore"):
        return Expression([name, *(x.data for x in operands)], OPERATIONS[name](*(x.numbers for x in operands)))


def summed(x: Expression, axes: tuple[int, ...]) -> Expression:
    """The sum over axes, which are kept with length 1."""
    axes = tuple(sorted(axis % len(x.shape) for axis in axes))
    return Expression(["sum", x.data, list(axes)], x.numbers.total(axes))


ONE = Enclosure(np.ones(()))
OPERATIONS: dict[str, Callable[..., Interval]] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
    "neg": lambda x: -x,
    "sqrt": lambda x: x.sqrt(),
    "square": lambda x: x.square(),
    "abs": lambda x: abs(x),
    "reciprocal": lambda x: exactly(np.ones(())) / x,
}


class Expressions:
    """The values of a program that depend on weights alone, as expressions."""

    def __init__(self, program: Program, stored: Stored) -> None:
        self._program, self._stored = program, stored
        self._operations = {op.name: op for op in program.operations}
        self._known: dict[str, Expression | None] = {}

    @cached_property
    def _types(self) -> Mapping[str, tuple[Shape, torch.dtype]]:
        return types(self._program)

    @cached_property
    def constants(self) -> set[str]:
        """The names of all values that depend on weights alone."""
        found = set(self._program.weights)
        for op in self._program.operations:
            if found.issuperset(op.references):
                found.add(op.name)
        return found

    def read_by(self, value: str) -> list[str]:
        """The constants that an operation reads, and those that they are made of, nearest first."""
        found: dict[str, None] = {}
        pending = self._read(value)
        while pending:
            found |= dict.fromkeys(pending)
            pending = [r for name in pending for r in self._read(name) if r not in found]
        return list(found)

    def _read(self, value: str) -> list[str]:
        op = self._operations.get(value)
        if op is not None and op.target == "getitem":
            op = self._operations.get(op.args[0].name)
        return [r for r in op.references if r in self.constants] if op is not None else []

    def of(self, value: str) -> Expression | None:
        """The expression of a constant, or None."""
        if value not in self._known:
            self._known[value] = None
            with suppress(NotWritten, NotFoldable, NotLowered, ArithmeticError, ValueError, TypeError, LookupError):
                self._known[value] = self._made(value)
        return self._known[value]

    def argument(self, x: Any) -> Expression:
        """The expression of an argument: a constant or a Python number.

        Raises:
            NotWritten: where it has none.
        """
        if isinstance(x, Ref):
            found = self.of(x.name)
            if found is None:
                raise NotWritten(x.name)
            return found
        return inline(scalar_argument(x, self._program.dtype))

    def _made(self, value: str) -> Expression:
        if value in self._stored.names:
            name = self._stored.names[value]
            array = self._stored.array(name)
            return Expression({"weight": name, "shape": list(array.shape)}, exactly(array))
        op = self._operations[value]
        shape, dtype = self._types[value]
        if op.target in RESHAPES:
            return self._whole(op.args[0]).reshaped(shape)
        if op.target in EXPANSIONS:
            return self.argument(op.args[0])
        if op.target in CONVERSIONS:
            if not keeps(self._types[op.args[0].name][1], dtype):
                raise NotWritten(op.target)
            return self.argument(op.args[0])
        if not all(keeps(self._types[r][1], dtype) for r in op.references):
            raise NotWritten(op.target)
        return RULES[op.target](self, op).reshaped(shape) if op.target in REDUCED else RULES[op.target](self, op)

    def _whole(self, x: Any) -> Expression:
        """An argument whose entries are all there, none repeated by broadcasting."""
        found = self.argument(x)
        if isinstance(x, Ref) and found.shape != self._types[x.name][0]:
            raise NotWritten("entries repeated")
        return found

    def sum(self, op: Operation, *, mean: bool = False) -> Expression:
        given = arguments(op)
        x = self._whole(given["self"])
        axes = _axes(given.get("dim"), x)
        count = Enclosure(np.array(float(prod(x.shape[a] for a in axes))))
        return applied("div", summed(x, axes), inline(count)) if mean else summed(x, axes)

    def length(self, op: Operation) -> Expression:
        given = arguments(op)
        if given.get("ord", given.get("p", 2)) not in (2, 2.0, None):
            raise NotWritten(op.target)
        x = self._whole(given["self"])
        return applied("sqrt", summed(applied("square", x), _axes(given.get("dim"), x)))

    def weight_norm(self, op: Operation) -> Expression:
        """g v / |v|, the norm over all axes but one; over all of them for -1."""
        given = arguments(op)
        v, g, dim = self._whole(given["v"]), self._whole(given["g"]), given["dim"]
        axes = tuple(a for a in range(len(v.shape)) if dim == -1 or a != dim % len(v.shape))
        return applied("mul", v, applied("div", g, applied("sqrt", summed(applied("square", v), axes))))

    def added(self, op: Operation) -> Expression:
        """add, sub and rsub, with their alpha."""
        x, y, alpha = list(arguments(op).values())
        if ".rsub." in op.target:
            x, y = y, x
        first, second = self.argument(x), self.argument(y)
        if alpha != 1:
            second = applied("mul", second, self.argument(alpha))
        return applied("add" if ".add." in op.target else "sub", first, second)

    def pointwise(self, name: str, op: Operation) -> Expression:
        return applied(name, *(self.argument(x) for x in list(arguments(op).values())[: len(op.args)]))

    def power(self, op: Operation) -> Expression:
        x, exponent = self.argument(op.args[0]), op.args[1]
        if exponent not in POWERS:
            raise NotWritten(op.target)
        for name in POWERS[exponent]:
            x = applied(name, x)
        return x

    def limited(self, op: Operation) -> Expression:
        """The larger of weights and a constant, where the weights are known to be: they themselves."""
        x, least = (self.argument(a) for a in (op.args[0], op.args[1] if len(op.args) > 1 else 0))
        if not np.all(x.numbers.low >= least.numbers.high):
            raise NotWritten(op.target)
        return x


def _axes(dim: Any, x: Expression) -> tuple[int, ...]:
    listed = [dim] if isinstance(dim, int) else list(dim or range(len(x.shape)))
    return tuple(d % len(x.shape) for d in listed)


POWERS: dict[Any, tuple[str, ...]] = {
    1: (),
    2: ("square",),
    -1: ("reciprocal",),
    0.5: ("sqrt",),
    -0.5: ("sqrt", "reciprocal"),
    -2: ("square", "reciprocal"),
}
"""Exponent -> the operations that make the power, one after the other."""


def _targets(names: str) -> list[str]:
    return [f"aten.{name}" if "." in name else f"aten.{name}.default" for name in names.split()]


RESHAPES = frozenset(
    _targets(
        "view view_copy reshape _unsafe_view flatten.using_ints unflatten.int squeeze squeeze.dim squeeze.dims unsqueeze "
        "clone detach alias lift_fresh_copy contiguous"
    )
)
"""Operations that keep every entry, in its order."""

EXPANSIONS = frozenset(_targets("expand broadcast_to"))
"""Operations that repeat entries as broadcasting does, which the next operation does as well."""

CONVERSIONS = frozenset(_targets("_to_copy to.dtype"))

Rule = Callable[[Expressions, Operation], Expression]
RULES: dict[str, Rule] = {
    **dict.fromkeys(_targets("add.Tensor add.Scalar sub.Tensor sub.Scalar rsub.Tensor rsub.Scalar"), Expressions.added),
    **{
        target: lambda known, op, name=name: known.pointwise(name, op)
        for name, targets in (
            ("mul", "mul.Tensor mul.Scalar"),
            ("div", "div.Tensor div.Scalar"),
            ("neg", "neg"),
            ("sqrt", "sqrt"),
            ("square", "square"),
            ("abs", "abs"),
            ("reciprocal", "reciprocal"),
        )
        for target in _targets(targets)
    },
    "aten.rsqrt.default": lambda known, op: applied("reciprocal", known.pointwise("sqrt", op)),
    "aten.pow.Tensor_Scalar": Expressions.power,
    "aten.clamp_min.default": Expressions.limited,
    "aten.relu.default": Expressions.limited,
    "aten._weight_norm.default": Expressions.weight_norm,
    **dict.fromkeys(_targets("sum sum.dim_IntList"), Expressions.sum),
    **dict.fromkeys(_targets("mean mean.dim"), lambda known, op: known.sum(op, mean=True)),
    **dict.fromkeys(_targets("linalg_vector_norm norm.Scalar norm.ScalarOpt_dim"), Expressions.length),
}
"""ATen operation on weights alone -> its expression."""

REDUCED = frozenset(_targets("sum sum.dim_IntList mean mean.dim linalg_vector_norm norm.Scalar norm.ScalarOpt_dim"))
"""Operations that may drop the axes over which they sum."""
