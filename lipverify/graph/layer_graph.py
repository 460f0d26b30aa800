"""LayerGraph: a program in the vocabulary of :mod:`lipverify.maps`, and its regions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lipverify.maps import Map, Shape
from lipverify.read.program import Program


@dataclass(frozen=True, slots=True)
class Node:
    """One map of the graph, applied to the values ``inputs``; ``name`` is also the name of a value of the program."""

    name: str
    map: Map
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LayerGraph:
    """A graph of maps from one input to one output.

    Attributes:
        input: name of the input value.
        input_shape: its shape.
        nodes: by name, in an order in which every value is computed before it is read.
        output: name of the output value (the input's own name for the identity).
    """

    input: str
    input_shape: Shape
    nodes: Mapping[str, Node]
    output: str

    @property
    def output_shape(self) -> Shape:
        return self.nodes[self.output].map.output_shape if self.output in self.nodes else self.input_shape


@dataclass(frozen=True, slots=True)
class Region:
    """The part of a program that belongs to one call of one module.

    Attributes:
        path: the module's path and call: ``""`` is the whole program, ``conv@1`` the second call of ``conv``.
        graph: its maps from its input to its output, or None where it is unsupported.
        program: the same part of the original program, from its input to its output, or None where it has none.
        unsupported: why no bound can be derived from the graph (operation and reason), or None.
        plain: ``graph`` as it was before maps were merged, a map for every operation.
    """

    path: str
    graph: LayerGraph | None
    program: Program | None
    unsupported: str | None = None
    plain: LayerGraph | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Regions(Mapping[str, Region]):
    """Every region of a program by path, and the nodes that they are parts of.

    Attributes:
        program: the whole program.
        nodes: of all its operations, compared with them; maps are not merged.
    """

    program: Program
    nodes: Mapping[str, Node]
    _by_path: Mapping[str, Region]

    def __getitem__(self, path: str) -> Region:
        return self._by_path[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_path)

    def __len__(self) -> int:
        return len(self._by_path)
