"""Whether what a certificate states is so: in numpy, from definitions, without a line of the checker or of lipverify.

Every norm is a singular value of a materialised matrix, so the oracle sees what is true and not what a rule can prove. It
is as wrong as float64: a bound is called false where it is below the truth by more than ``TOLERANCE``, relatively, which
is far below the changes that the tests make and far above the rounding.

Statements are relative to the graph, the regions and inline numbers: what the certificate says they are, they are.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from math import prod

import numpy as np

from tests.certificates.materialised import Maps, Stored, Tree, Untrue, bound, canonical, demand, digest

TOLERANCE = 1e-9
ROUNDING = 1e-13
"""Of values, relatively to the largest one on their way."""

Reached = Mapping[str, tuple[str, float]]
"""Value -> the norm pair of its bound, and the bound."""

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


def at_least(stated: float, truth: float) -> bool:
    return stated * (1 + TOLERANCE) >= truth


def falsehood(certificate: Tree, weights: Stored) -> str | None:
    """The first thing that a certificate states and that is not so, or None where all of it is true."""
    try:
        demand(certificate["schema"] == "lipverify-certificate/1", "the schema")
        demand(certificate["sha256"] == digest(canonical(certificate["body"])), "the digest of the body")
        _Reading(certificate["body"], weights).all(certificate.get("evidence"))
    except Untrue as untrue:
        return str(untrue)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError) as malformed:
        return f"says nothing: {malformed!r}"
    return None


@lru_cache
def _slopes(name: str) -> tuple[float, float]:
    """The least and the largest slope of a function on a fine grid."""
    grid = np.linspace(-12, 12, 24001)
    slopes = np.diff(FUNCTIONS[name](grid)) / np.diff(grid)
    return float(slopes.min()), float(slopes.max())


class _Reading:
    """One certificate's body, read statement by statement."""

    def __init__(self, body: Tree, weights: Stored) -> None:
        self.body, self.weights, self.maps = body, weights, Maps(body["weights"], weights)
        self.start: str = body["graph"]["input"]
        self.shapes: dict[str, tuple[int, ...]] = {self.start: tuple(body["graph"]["shape"])}
        self.nodes: dict[str, Tree] = {}

    def all(self, evidence: Tree) -> None:
        body, graph = self.body, self.body["graph"]
        demand(body["semantics"] == "real", "the semantics")
        for name, stated in body["weights"].items():
            dtype, shape, data = self.weights[name]
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
        for name, norm in body["norms"].items():
            truth = self._norm(self.operator(norm["maps"]), norm["rule"])
            demand(at_least(bound(norm["square"]), truth**2), f"norm {name}: {norm['square']} < {(truth**2).hex()}")
        demand(body["regions"], "nothing is stated")
        for region in body["regions"]:
            self._region(region)
        for margin in body.get("margins", ()):
            self._margin(margin)
        for witness in (evidence or {}).get("witnesses", ()):
            self._witness(witness)

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
        (matrix, *others), before = [self._matrix(name) for name in maps], None
        for name in maps:
            demand(before is None or self.nodes[name]["reads"] == [before], f"{name} does not read {before} alone")
            before = name
        for other in others:
            matrix = other @ matrix
        return matrix

    def _matrix(self, name: str) -> np.ndarray:
        (read,) = self.nodes[name]["reads"]
        return self.maps.matrix(self.nodes[name]["map"], self.shapes[read])

    def _norm(self, matrix: np.ndarray, rule: str) -> float:
        """||A||, or by the rule ``rows`` the largest norm of a row."""
        if matrix.size == 0:
            return 0.0
        return float(np.linalg.norm(matrix, axis=1).max() if rule == "rows" else np.linalg.norm(matrix, 2))

    def _region(self, region: Tree) -> None:
        path, upper, claim = region["path"], region["upper"], region["claim"]
        demand(region["norm"] in ("l2->l2", "l2->linf"), f"{path}: the norm pair")
        reached: dict[str, tuple[str, float]] = {region["input"]: ("l2", 1.0)}
        for step in region["steps"] if upper is not None else ():
            kind, truth = self._step(step, reached)
            demand(at_least(bound(step["upper"]), truth), f"{path}: the step to {step['value']}: {step['upper']}")
            reached[step["value"]] = kind, bound(step["upper"])
        if upper is not None:
            demand(region["input"] in self.shapes, f"{path}: no value {region['input']!r}")
            kind, derived = reached[region["output"]]
            demand(kind == "l2" or region["norm"] == "l2->linf", f"{path}: of another norm")
            demand(at_least(bound(upper), derived), f"{path}: {upper} < {derived.hex()}")
            self._sampled(region)
        demand((claim is None) is (region["verdict"] is None), f"{path}: a verdict without a claim")
        if region["verdict"] == "PROVED":
            demand(upper is not None, f"{path}: PROVED without a bound")
            claimed = Fraction(claim["bound"].strip())
            demand(claimed * (1 + Fraction(TOLERANCE)) >= Fraction(bound(upper)), f"{path}: {claimed} is not PROVED")

    def _step(self, step: Tree, reached: Reached) -> tuple[str, float]:
        """The norm pair of a step's bound, and the least bound that its rule gives: by true norms."""
        node = self.nodes[step["value"]]
        map_, rule = node["map"], step["rule"]
        if rule in ("affine", "rows"):
            maps = self.body["norms"][step["norm"]]["maps"]
            demand(maps[-1] == step["value"], "the norm of another map")
            kind, before = reached[self.nodes[maps[0]]["reads"][0]]
            matrix = self.operator(maps)
            if kind == "linf":
                demand(rule == "affine", "rows after rows")
                return "linf", before * float(np.abs(matrix).sum(1).max(initial=0))
            return "linf" if rule == "rows" else "l2", before * self._norm(matrix, rule)
        if rule == "cpl":
            return "l2", self._block(node, self.body["norms"][step["norm"]]["maps"], reached)
        kinds, uppers = zip(*(reached[read] for read in node["reads"]), strict=True)
        if rule == "pointwise" and map_["kind"] == "pointwise":
            return kinds[0], max(abs(float(Fraction(*end))) for end in map_["slopes"]) * uppers[0]
        demand(set(kinds) == {"l2"}, "an entrywise bound where an l2 bound is needed")
        match rule, map_["kind"]:
            case "named", "named":
                return "l2", float(Fraction(*map_["square"])) ** 0.5 * uppers[0]
            case "sum", "sum":
                return "l2", sum(uppers)
            case "joint", ("concatenation" | "extremum"):
                return "l2", float(np.linalg.norm(uppers))
        raise Untrue(f"the rule {rule!r} of a {map_['kind']}")

    def _block(self, node: Tree, maps: Sequence[str], reached: Reached) -> float:
        """The constant of x + c A^T S A x over all diagonal S between the slopes, times that of x."""
        inner = self.operator(maps)
        for skip, branch in ((0, 1), (1, 0)):
            start, name = node["reads"][skip], node["reads"][branch]
            after, slopes, before = None, None, None
            while name != start and name in self.nodes and len(self.nodes[name]["reads"]) == 1:
                map_ = self.nodes[name]["map"]
                if map_["kind"] == "pointwise":
                    demand(slopes is None, "two functions in a block")
                    slopes = [float(Fraction(*end)) for end in map_["slopes"]]
                elif slopes is None:
                    after = self._matrix(name) if after is None else after @ self._matrix(name)
                else:
                    before = self._matrix(name) if before is None else before @ self._matrix(name)
                name = self.nodes[name]["reads"][0]
            if name != start or after is None or before is None or slopes is None:
                continue
            if node["map"]["signs"][skip] != 1 or before.shape != inner.shape or after.shape != inner.T.shape:
                continue
            size = float(np.abs(inner).max(initial=0)) or 1.0
            c = float((after * (inner.T / size)).sum() / ((inner / size) ** 2).sum() / size) if inner.any() else 0.0
            demand(np.abs(before - inner).max() <= 1e-12 * size, "another inner map than that of the norm")
            demand(np.abs(after - c * inner.T).max() <= 1e-12 * abs(c) * size, "an outer map that is not adjoint")
            square = float(np.linalg.norm(inner, 2)) ** 2
            ends = [0.0] + [c * node["map"]["signs"][branch] * slope * square for slope in slopes]
            kind, upper = reached[start]
            demand(kind == "l2", "an entrywise bound where an l2 bound is needed")
            return max(abs(1 + min(ends)), abs(1 + max(ends))) * upper
        raise Untrue("no block ends there")

    # ---- The function itself -------------------------------------------------------------------------------------------

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

    def _ratio(self, region: Tree, x: np.ndarray, y: np.ndarray) -> tuple[float, float] | None:
        """The largest ||f(x) - f(y)|| / ||x - y|| of pairs of inputs of a region: between these two numbers."""
        ends = [self.evaluate(region["input"], region["output"], inputs) for inputs in (x, y)]
        if ends[0] is None or ends[1] is None:
            return None
        order, error = 2 if region["norm"] == "l2->l2" else np.inf, ends[0][1] + ends[1][1]
        moved = np.linalg.norm((ends[0][0] - ends[1][0]).reshape(len(x), -1), order, axis=1)
        apart = np.linalg.norm((x - y).reshape(len(x), -1), axis=1)
        return float(((moved - error) / apart).max()), float(((moved + error) / apart).max())

    def _sampled(self, region: Tree) -> None:
        """No two of some random inputs are carried further apart than a region's bound allows."""
        shape = self.shapes[region["input"]]
        if prod(shape) == 0:
            return
        rng, ones = np.random.default_rng(0), (1,) * len(shape)
        x = rng.standard_normal((16, *shape)) * 4.0 ** rng.integers(-2, 3, (16, *ones))
        y = x + rng.standard_normal(x.shape) * 4.0 ** rng.integers(-3, 2, (16, *ones))
        ratio = self._ratio(region, x, y)
        kept = ratio is None or at_least(bound(region["upper"]), ratio[0])
        demand(kept, f"{region['path']}: two inputs show {ratio}")

    def _point(self, value: Tree, shape: tuple[int, ...]) -> np.ndarray:
        return np.frombuffer(base64.b64decode(value["base64"], validate=True), "<f8").reshape(1, *shape)

    def _witness(self, witness: Tree) -> None:
        pair = witness["path"], witness["norm"]
        (region, *_) = [region for region in self.body["regions"] if (region["path"], region["norm"]) == pair]
        ends = [self._point(witness[key], self.shapes[region["input"]]) for key in "xy"]
        ratio = self._ratio(region, *ends)
        demand(ratio is not None and at_least(ratio[1], bound(witness["ratio"])), f"the witness of {pair}")

    def _margin(self, margin: Tree) -> None:
        """f_i - f_j falls by at most sqrt(2) L r within the radius r, L the l2 constant of the whole (2 L r of l2 -> linf)."""
        (whole, *_) = [r for r in self.body["regions"] if (r["path"], r["norm"]) == ("", margin["norm"])]
        demand(whole["input"] == self.start, "a margin of something else than the whole")
        outputs = self.evaluate(self.start, whole["output"], self._point(margin["input"], self.shapes[self.start]))
        demand(outputs is not None and margin["class"] >= 0, "a margin of no class")
        ends, error = outputs[0].reshape(-1), outputs[1]
        room = ends[margin["class"]] - np.delete(ends, margin["class"]).max(initial=-np.inf) + 2 * error
        fall = (2**0.5 if margin["norm"] == "l2->l2" else 2) * bound(whole["upper"]) * float(Fraction(margin["radius"]))
        demand(room > 0 and at_least(room, fall), "a class that is not kept")
