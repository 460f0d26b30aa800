"""What a lowering rule may look at, and how it says no."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from lipverify.graph.fold import keeps, scalar
from lipverify.maps import Affine, Enclosure, LinearMap, Map, Shape
from lipverify.read.program import Operation, Ref


class NotLowered(Exception):
    """An operation in a form that has no map; the message says why."""


Lowered = tuple[Map, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Scope:
    """What a lowering rule may look at.

    Attributes:
        weights: folded values by name.
        shapes, dtypes: of every tensor value by name, where known.
        dtype: of the program's values.
    """

    weights: Mapping[str, Enclosure]
    shapes: Mapping[str, Shape]
    dtypes: Mapping[str, torch.dtype]
    dtype: torch.dtype

    def value(self, arg: Any) -> str:
        """The name of an argument that depends on the input."""
        if isinstance(arg, Ref) and arg.name not in self.weights:
            return arg.name
        raise NotLowered("its first argument does not depend on the input")

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


def arguments(op: Operation, *names_and_defaults: tuple[str, Any]) -> list[Any]:
    """Positional and keyword arguments in order, defaults filled in; anything beyond is refused."""
    names = [name for name, _ in names_and_defaults]
    if len(op.args) > len(names) or not set(op.kwargs) <= set(names):
        raise NotLowered(f"arguments beyond {', '.join(names)}")
    given = dict(zip(names, op.args, strict=False)) | dict(op.kwargs)
    return [given.get(name, default) for name, default in names_and_defaults]


def affine(linear: LinearMap, bias: Enclosure | None, value: str) -> Lowered:
    return Affine(linear, bias), (value,)
