"""Small regions, built by hand, with known constants or a pattern-enumeration oracle."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np

from lipverify.actions import apply
from lipverify.graph import LayerGraph, Node, Region
from lipverify.maps import Adjoint, Affine, Convolution, Dense, Diagonal, Enclosure, Map, Pads, Pointwise, Shape, Sum

SLOPES = {
    "relu": (Fraction(0), Fraction(1), lambda x: np.maximum(x, 0.0)),
    "leaky_relu": (Fraction(1, 4), Fraction(1), lambda x: np.where(x > 0, x, 0.25 * x)),
    "abs": (Fraction(-1), Fraction(1), np.abs),
    "tanh": (Fraction(0), Fraction(1), np.tanh),
    "sigmoid": (Fraction(0), Fraction(1, 4), lambda x: 0.5 * (1 + np.tanh(x / 2))),
}


class Maker:
    """A graph under construction; every method adds one node and returns its name."""

    def __init__(self, input_shape: Shape) -> None:
        self.input_shape = input_shape
        self.nodes: dict[str, Node] = {}

    def shape(self, name: str) -> Shape:
        return self.input_shape if name == "x" else self.nodes[name].map.output_shape

    def node(self, map_: Map, *inputs: str) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes[name] = Node(name, map_, inputs)
        return name

    def dense(self, name: str, weight: np.ndarray, bias: np.ndarray | None = None) -> str:
        linear = Dense(Enclosure(np.asarray(weight, float)), self.shape(name))
        return self.node(Affine(linear, None if bias is None else Enclosure(bias)), name)

    def conv(
        self, name: str, kernel: np.ndarray, pads: Pads, bias: np.ndarray | None = None, circular: bool = False
    ) -> str:
        linear = Convolution(Enclosure(kernel), self.shape(name), pads, circular)
        return self.node(Affine(linear, None if bias is None else Enclosure(bias.reshape(1, -1, 1, 1))), name)

    def adjoint(self, name: str, of: str) -> str:
        """The adjoint of the linear part of node ``of``, from the same numbers."""
        map_ = self.nodes[of].map
        assert isinstance(map_, Affine)
        return self.node(Affine(Adjoint(map_.linear)), name)

    def scale(self, name: str, factor: float) -> str:
        return self.node(Affine(Diagonal(Enclosure(np.array(factor)), self.shape(name))), name)

    def activation(self, name: str, kind: str = "relu") -> str:
        low, high, function = SLOPES[kind]
        breakpoints = () if kind in ("tanh", "sigmoid") else (0.0,)
        return self.node(Pointwise(kind, self.shape(name), (low, high), breakpoints, function), name)

    def add(self, *names: str, signs: tuple[int, ...] | None = None) -> str:
        return self.node(Sum(self.shape(names[0]), signs or (1,) * len(names)), *names)

    def graph(self, output: str) -> LayerGraph:
        return LayerGraph("x", self.input_shape, self.nodes, output)

    def region(self, output: str) -> Region:
        return Region("", self.graph(output), None)


def chain(weights: list[np.ndarray], kind: str = "relu", biases: list[np.ndarray] | None = None) -> LayerGraph:
    """Dense layers with an activation between any two."""
    maker = Maker((1, weights[0].shape[1]))
    name = "x"
    for i, weight in enumerate(weights):
        name = maker.dense(name, weight, None if biases is None else biases[i])
        if i + 1 < len(weights):
            name = maker.activation(name, kind)
    return maker.graph(name)


def cpl_stack(weights: list[np.ndarray], biases: list[np.ndarray] | None = None) -> LayerGraph:
    """Sealed blocks x - V^T relu(V x + b), the same V twice."""
    maker = Maker((1, weights[0].shape[1]))
    name = "x"
    for i, weight in enumerate(weights):
        z = maker.dense(name, weight, None if biases is None else biases[i])
        name = maker.add(name, maker.adjoint(maker.activation(z), z), signs=(1, -1))
    return maker.graph(name)


def region(graph: LayerGraph) -> Region:
    return Region("", graph, None)


def run(graph: LayerGraph, x: np.ndarray) -> np.ndarray:
    """The graph's value, in numpy."""
    values = {graph.input: x}
    for node in graph.nodes.values():
        reads = [values[name] for name in node.inputs]
        if isinstance(node.map, Sum):
            values[node.name] = sum(s * r for s, r in zip(node.map.signs, reads, strict=True))
        else:
            values[node.name] = apply(node.map, reads[0])
    return values[graph.output]


def pattern_norms(graph: LayerGraph) -> float:
    """The largest ||J|| over all choices of end slopes a neuron: no slope-restricted bound is below it."""
    activations = [n for n in graph.nodes.values() if isinstance(n.map, Pointwise)]
    counts = [int(np.prod(n.map.output_shape)) for n in activations]
    ends = [tuple(map(float, n.map.slopes)) for n in activations if isinstance(n.map, Pointwise)]
    n = int(np.prod(graph.input_shape))
    best = 0.0
    for choice in itertools.product((0, 1), repeat=sum(counts)):
        slopes, at = {}, 0
        for node, count, pair in zip(activations, counts, ends, strict=True):
            slopes[node.name] = np.array([pair[c] for c in choice[at : at + count]]).reshape(node.map.output_shape)
            at += count
        columns = [_slope_run(graph, slopes, e.reshape(graph.input_shape)).reshape(-1) for e in np.eye(n)]
        best = max(best, float(np.linalg.norm(np.array(columns).T, 2)))
    return best


def _slope_run(graph: LayerGraph, slopes: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    values = {graph.input: x}
    for node in graph.nodes.values():
        reads = [values[name] for name in node.inputs]
        match node.map:
            case Sum():
                values[node.name] = sum(s * r for s, r in zip(node.map.signs, reads, strict=True))
            case Affine():
                values[node.name] = apply(node.map.linear, reads[0])
            case _:
                values[node.name] = slopes[node.name] * reads[0]
    return values[graph.output]
