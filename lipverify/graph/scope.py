"""What a lowering rule may look at, what it returns, and how it says no."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from lipverify.graph.held import keeps, scalar
from lipverify.maps import Affine, Enclosure, LinearMap, Map, Shape
from lipverify.read.program import Operation, Ref, aten


class NotLowered(Exception):
    """An operation in a form that has no map; the message says why."""


Lowered = tuple[Map, tuple["str | Lowered", ...]]
"""A map and what it acts on: values of the program by name, or again a map and what that acts on."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a lowering rule may look at.

    Attributes:
        weights: folded values by name.
        shapes, dtypes: of every tensor value by name, where known.
        dtype: of the program's values.
        operations: by the name of the value that each computes.
    """

    weights: Mapping[str, Enclosure]
    shapes: Mapping[str, Shape]
    dtypes: Mapping[str, torch.dtype]
    dtype: torch.dtype
    operations: Mapping[str, Operation] = field(default_factory=dict)

    def value(self, arg: Any) -> str:
        """The name of an argument that depends on the input."""
        if self.is_value(arg):
            return arg.name
        raise NotLowered("its first argument does not depend on the input")

    def shape(self, arg: Any) -> Shape:
        """The shape of an argument that depends on the input."""
        return self.shapes[self.value(arg)]

    def weight(self, arg: Any) -> Enclosure:
        """The numbers of an argument that does not depend on the input: a folded weight or a Python scalar."""
        if isinstance(arg, Ref):
            if arg.name in self.weights:
                if not keeps(self.dtypes.get(arg.name), self.dtype, self.weights[arg.name].midpoint):
                    raise NotLowered(f"a weight of {self.dtypes.get(arg.name)} among values of {self.dtype} may round")
                return self.weights[arg.name]
            raise NotLowered("a product or other mixture of two values that both depend on the input")
        if isinstance(arg, bool) or not isinstance(arg, int | float):
            raise NotLowered(f"the argument {arg!r}")
        return scalar(arg, self.dtype)

    def is_value(self, arg: Any) -> bool:
        return isinstance(arg, Ref) and arg.name not in self.weights


def arguments(op: Operation) -> dict[str, Any]:
    """The arguments of an operation by name, defaults filled in, as the operator's own schema has them.

    Raises:
        NotLowered: where they do not fit the schema.
    """
    schema: Any = aten(op.target)
    schema = schema._schema.arguments
    positional = [a.name for a in schema if not a.kwarg_only]
    names = {a.name for a in schema}
    if len(op.args) > len(positional) or not set(op.kwargs) <= names:
        raise NotLowered(f"arguments beyond {', '.join(a.name for a in schema)}")
    given = dict(zip(positional, op.args, strict=False)) | dict(op.kwargs)
    missing = [a.name for a in schema if a.name not in given and not a.has_default_value()]
    if missing:
        raise NotLowered(f"without its argument {missing[0]}")
    return {a.name: given.get(a.name, a.default_value) for a in schema}


def per_axis(argument: Any, axes: int) -> tuple[int, ...]:
    """An argument with one entry for each axis, or with one for all of them."""
    entries = tuple(argument) if isinstance(argument, tuple | list) else (argument,)
    entries = entries * axes if len(entries) == 1 else entries
    if len(entries) != axes:
        raise NotLowered(f"the argument {argument} for {axes} axes")
    return entries


def dimensions(argument: Any, rank: int) -> tuple[int, ...]:
    """Axes of an array of that rank, counted from the front, in order; None and () are all of them."""
    listed = argument if isinstance(argument, tuple | list) else (() if argument is None else (argument,))
    axes = sorted({a % rank for a in listed}) if rank else []
    return tuple(axes) if listed else tuple(range(rank))


def affine(linear: LinearMap, bias: Enclosure | None, value: str | Lowered) -> Lowered:
    return Affine(linear, bias), (value,)
