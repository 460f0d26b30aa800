"""The graph of a certificate as a function and as matrices: what :mod:`tests.certificates.oracle` judges by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache

import numpy as np

from tests.certificates.materialised import Maps, Stored, Tree, canonical, demand, digest

ROUNDING = 1e-13
"""Of values, relatively to the largest one on their way."""

FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0),
    "abs": np.abs,
    "tanh": np.tanh,
    "sigmoid": lambda x: 0.5 + 0.5 * np.tanh(x / 2),
    "softplus": lambda x: np.logaddexp(0, x),
    "silu": lambda x: x * (0.5 + 0.5 * np.tanh(x / 2)),
    "sin": np.sin,
    "cos": np.cos,
    "atan": np.arctan,
    "asinh": np.arcsinh,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "tanhshrink": lambda x: x - np.tanh(x),
}
"""Functions by name; of others the slopes that are stated are believed."""

CONSTANTS = {"order": 1.0, "softmax": 0.25, "logsumexp": 1.0, "householder": 1.0}
"""Squares of the constants of named functions; of others what is stated is believed."""


@lru_cache
def _slopes(name: str) -> tuple[float, float]:
    """The least and the largest slope of a function on a fine grid."""
    grid = np.linspace(-12, 12, 24001)
    slopes = np.diff(FUNCTIONS[name](grid)) / np.diff(grid)
    return float(slopes.min()), float(slopes.max())


class Network:
    """A graph whose weights have the digests that the body states.

    Attributes:
        start: the name of its input.
        shapes: of every value.
        nodes: by the name of the value that they compute.

    Raises:
        materialised.Untrue, or what Python and numpy raise: where it is none, or has other weights.
    """

    def __init__(self, body: Tree, weights: Stored) -> None:
        self.maps, graph = Maps(body["weights"], weights), body["graph"]
        self.start: str = graph["input"]
        self.shapes: dict[str, tuple[int, ...]] = {self.start: tuple(graph["shape"])}
        self.nodes: dict[str, Tree] = {}
        for name, stated in body["weights"].items():
            dtype, shape, data = weights[name]
            demand((stated["dtype"], tuple(stated["shape"])) == (dtype, tuple(shape)), f"dtype or shape of {name}")
            demand(stated["sha256"] == digest(data), f"the digest of {name}")
        parts = {key: graph[key] for key in ("input", "shape", "nodes")}
        demand(graph["sha256"] == digest(canonical(parts)), "the digest of the graph")
        for node in graph["nodes"]:
            name, reads = node["value"], node["reads"]
            demand(name not in self.shapes, f"{name} is computed twice")
            demand(reads and all(read in self.shapes for read in reads), f"{name} reads what is not computed before it")
            self.nodes[name] = node
            self.shapes[name] = self._shape(node["map"], [self.shapes[read] for read in reads])

    def _shape(self, map_: Tree, inputs: list[tuple[int, ...]]) -> tuple[int, ...]:
        """The shape of what a map computes from values of these shapes."""
        match map_["kind"]:
            case "sum" | "extremum":
                signs = map_["signs"] if map_["kind"] == "sum" else [1, 1]
                demand(len(signs) == len(inputs) and set(signs) <= {1, -1}, "signs that are not those of the values")
                demand(len(set(inputs)) == 1, "several shapes")
                return inputs[0]
            case "concatenation":
                return np.concatenate([np.zeros(shape, bool) for shape in inputs], map_["axis"]).shape
        (shape,) = inputs
        match map_["kind"]:
            case "pointwise":
                low, high = (Fraction(*end) for end in map_["slopes"])
                least, most = _slopes(map_["name"]) if map_["name"] in FUNCTIONS else (float(high), float(low))
                demand(low <= least + 1e-6 and high >= most - 1e-6, f"the slopes of {map_['name']}")
                return shape
            case "named" | "opaque":
                least = CONSTANTS.get(map_["name"], 0) if map_["kind"] == "named" else 0
                demand(not least or Fraction(*map_["square"]) >= least, "a named constant")
                return tuple(map_["output"])
        output = self.maps.action(map_, shape)(np.zeros((1, *shape))).shape[1:]
        if map_.get("bias") is not None:
            np.broadcast_to(self.maps.array(map_["bias"]), output)
        return output

    def operator(self, maps: Sequence[str]) -> np.ndarray:
        """The matrix of the linear parts of these nodes, one after the other."""
        (matrix, *others), before = [self.matrix(name) for name in maps], None
        for name in maps:
            demand(before is None or self.nodes[name]["reads"] == [before], f"{name} does not read {before} alone")
            before = name
        for other in others:
            matrix = other @ matrix
        return matrix

    def matrix(self, name: str) -> np.ndarray:
        (read,) = self.nodes[name]["reads"]
        return self.maps.matrix(self.nodes[name]["map"], self.shapes[read])

    def evaluate(self, start: str, end: str, x: np.ndarray) -> tuple[np.ndarray, float] | None:
        """The values at ``end`` of a stack of values at ``start``, and the size of the rounding that they carry.

        None where a function is known by its slopes alone.
        """
        known: dict[str, np.ndarray | None] = {start: x}
        for name, node in self.nodes.items():
            if name != start and all(read in known for read in node["reads"]):
                inputs = [known[read] for read in node["reads"]]
                known[name] = None if any(i is None for i in inputs) else self._applied(node, inputs)
        ends, sizes = known[end], [float(np.abs(v).max(initial=0)) for v in known.values() if v is not None]
        return None if ends is None else (ends, ROUNDING * max(sizes))

    def _applied(self, node: Tree, inputs: Sequence[np.ndarray]) -> np.ndarray | None:
        map_ = node["map"]
        match map_["kind"]:
            case "pointwise":
                return FUNCTIONS[map_["name"]](inputs[0]) if map_["name"] in FUNCTIONS else None
            case "sum":
                return np.sum([sign * x for sign, x in zip(map_["signs"], inputs, strict=True)], axis=0)
            case "concatenation":
                return np.concatenate(inputs, map_["axis"] + 1)
            case "extremum":
                return (np.maximum if map_["largest"] else np.minimum)(*inputs)
            case "named" | "opaque":
                return None
        made = self.maps.action(map_, self.shapes[node["reads"][0]])(inputs[0])
        return made if map_.get("bias") is None else made + self.maps.array(map_["bias"])
