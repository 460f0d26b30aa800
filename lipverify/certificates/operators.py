"""The operator of a value: its linear map, with the padding before it and what scales its channels after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lipverify.graph import Node
from lipverify.graph.fuse import pair
from lipverify.maps import Adjoint, Affine, Convolution, Dense, Diagonal, LinearMap, Pad


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """The linear parts of some nodes, one after the other, as one map.

    Attributes:
        maps: names of the nodes, in order.
        map: what they are together.
        input: name of the value that the first one reads.
    """

    maps: tuple[str, ...]
    map: LinearMap
    input: str


class Operators:
    """The operators that end in a value of a graph; each is made once, so that one operator is one map."""

    def __init__(self, nodes: Mapping[str, Node]) -> None:
        self._nodes = nodes
        self._known: dict[tuple[str, ...], Operator] = {}

    def to(self, value: str, start: str) -> Operator:
        """The longest operator that ends in the affine node ``value`` and does not begin before the value ``start``."""
        found = self._of((value,))
        if found is None:
            raise TypeError(f"{value} is no linear map")
        while found.input != start and found.input in self._nodes:
            longer = self._of((found.input, *found.maps))
            if longer is None:
                break
            found = longer
        return found

    def _of(self, maps: tuple[str, ...]) -> Operator | None:
        if maps not in self._known:
            linear = [m.linear for m in (self._nodes[name].map for name in maps) if isinstance(m, Affine)]
            if len(linear) < len(maps):
                return None
            both = linear[0] if len(maps) == 1 else _together(linear)
            if both is None:
                return None
            self._known[maps] = Operator(maps, both, self._nodes[maps[0]].inputs[0])
        return self._known[maps]


def _together(linear: list[LinearMap]) -> LinearMap | None:
    """The product of [padding, convolution, diagonal] or a part of it, where a certificate has rules for it."""
    match linear:
        case [Pad() as pad, Convolution() as convolution]:
            return _pair(pad, convolution)
        case [Dense() | Convolution() as first, Diagonal() as diagonal]:
            return _pair(first, diagonal)
        case [Adjoint(of=Convolution(groups=1)) as first, Diagonal() as diagonal]:
            return _pair(first, diagonal)
        case [Pad() as pad, Convolution() as convolution, Diagonal() as diagonal]:
            padded = _pair(pad, convolution)
            return None if padded is None else _pair(padded, diagonal)
    return None


def _pair(first: LinearMap, second: LinearMap) -> LinearMap | None:
    both = pair(Affine(first), Affine(second))
    return None if both is None else both.linear
