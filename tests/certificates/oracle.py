"""Whether what a certificate states is so: in numpy, from definitions, without a line of the checker or of lipverify.

Every norm is a singular value of a materialised matrix, so the oracle sees what is true and not what a rule can prove. It
is as wrong as float64: a bound is called false where it is below the truth by more than ``TOLERANCE``, relatively, which
is far below the changes that the tests make and far above the rounding.

Statements are relative to the graph, the regions and inline numbers: what the certificate says they are, they are.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import prod

import numpy as np

from tests.certificates.materialised import Stored, Tree, Untrue, bound, canonical, demand, digest
from tests.certificates.network import Network

TOLERANCE = 1e-9

Reached = Mapping[str, tuple[str, float]]
"""Value -> the norm pair of its bound, and the bound."""

UNTRUE = (Untrue, KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError)
"""What reading a false or malformed certificate raises."""


def at_least(stated: float, truth: float) -> bool:
    return stated * (1 + TOLERANCE) >= truth


def falsehood(certificate: Tree, weights: Stored) -> str | None:
    """The first thing that a certificate states and that is not so, or None where all of it is true."""
    try:
        demand(certificate["schema"] == "lipverify-certificate/1", "the schema")
        demand(certificate["sha256"] == digest(canonical(certificate["body"])), "the digest of the body")
        _Reading(certificate["body"], weights).all(certificate.get("evidence"))
    except UNTRUE as untrue:
        return str(untrue) if isinstance(untrue, Untrue) else f"says nothing: {untrue!r}"
    return None


def false_constants(certificate: Tree, weights: Stored) -> list[tuple[str, str]]:
    """(path, norm pair) of every region whose constant is not shown to be so by its steps; [] without a graph."""
    try:
        reading = _Reading(certificate["body"], weights)
    except UNTRUE:
        return []
    false, regions = [], certificate["body"]["regions"]
    for region in regions:
        try:
            reading.constant(region)
        except UNTRUE:
            if isinstance(region, dict):
                false.append((str(region.get("path")), str(region.get("norm"))))
    pairs = [(str(region.get("path")), str(region.get("norm"))) for region in regions if isinstance(region, dict)]
    return [pair for pair in false if pairs.count(pair) == 1]


class _Reading:
    """One certificate's body, read statement by statement."""

    def __init__(self, body: Tree, weights: Stored) -> None:
        self.body, self.network = body, Network(body, weights)

    def all(self, evidence: Tree) -> None:
        """Everything stated."""
        body = self.body
        demand(body["semantics"] == "real", "the semantics")
        for name, norm in body["norms"].items():
            truth = self._norm(self.network.operator(norm["maps"]), norm["rule"])
            demand(at_least(bound(norm["square"]), truth**2), f"norm {name}: {norm['square']} < {(truth**2).hex()}")
        demand(body["regions"], "nothing is stated")
        for region in body["regions"]:
            self.constant(region)
            self._verdict(region)
        for margin in body.get("margins", ()):
            self._margin(margin)
        for witness in (evidence or {}).get("witnesses", ()):
            self._witness(witness)

    def _norm(self, matrix: np.ndarray, rule: str) -> float:
        """||A||, or by the rule ``rows`` the largest norm of a row."""
        if matrix.size == 0:
            return 0.0
        return float(np.linalg.norm(matrix, axis=1).max() if rule == "rows" else np.linalg.norm(matrix, 2))

    def constant(self, region: Tree) -> None:
        """The bound of a region, by its steps."""
        path, upper = region["path"], region["upper"]
        demand(region["norm"] in ("l2->l2", "l2->linf"), f"{path}: the norm pair")
        if upper is None:
            return
        demand(region["input"] in self.network.shapes, f"{path}: no value {region['input']!r}")
        reached: dict[str, tuple[str, float]] = {region["input"]: ("l2", 1.0)}
        for step in region["steps"]:
            kind, truth = self._step(step, reached)
            demand(at_least(bound(step["upper"]), truth), f"{path}: the step to {step['value']}: {step['upper']}")
            reached[step["value"]] = kind, bound(step["upper"])
        kind, derived = reached[region["output"]]
        demand(kind == "l2" or region["norm"] == "l2->linf", f"{path}: of another norm")
        demand(at_least(bound(upper), derived), f"{path}: {upper} < {derived.hex()}")
        self._sampled(region)

    def _verdict(self, region: Tree) -> None:
        path, upper, claim = region["path"], region["upper"], region["claim"]
        demand((claim is None) is (region["verdict"] is None), f"{path}: a verdict without a claim")
        if region["verdict"] == "PROVED":
            demand(upper is not None, f"{path}: PROVED without a bound")
            claimed = Fraction(claim["bound"].strip())
            demand(claimed * (1 + Fraction(TOLERANCE)) >= Fraction(bound(upper)), f"{path}: {claimed} is not PROVED")

    def _step(self, step: Tree, reached: Reached) -> tuple[str, float]:
        """The norm pair of a step's bound, and the least bound that its rule gives: by true norms."""
        node = self.network.nodes[step["value"]]
        map_, rule = node["map"], step["rule"]
        if rule in ("affine", "rows"):
            maps = self.body["norms"][step["norm"]]["maps"]
            demand(maps[-1] == step["value"], "the norm of another map")
            kind, before = reached[self.network.nodes[maps[0]]["reads"][0]]
            matrix = self.network.operator(maps)
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
        inner = self.network.operator(maps)
        for skip, branch in ((0, 1), (1, 0)):
            start, name = node["reads"][skip], node["reads"][branch]
            after, slopes, before = None, None, None
            while name != start and name in self.network.nodes and len(self.network.nodes[name]["reads"]) == 1:
                map_ = self.network.nodes[name]["map"]
                if map_["kind"] == "pointwise":
                    demand(slopes is None, "two functions in a block")
                    slopes = [float(Fraction(*end)) for end in map_["slopes"]]
                elif slopes is None:
                    after = self.network.matrix(name) if after is None else after @ self.network.matrix(name)
                else:
                    before = self.network.matrix(name) if before is None else before @ self.network.matrix(name)
                name = self.network.nodes[name]["reads"][0]
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

    def _ratio(self, region: Tree, x: np.ndarray, y: np.ndarray) -> tuple[float, float] | None:
        """The largest ||f(x) - f(y)|| / ||x - y|| of pairs of inputs of a region: between these two numbers."""
        ends = [self.network.evaluate(region["input"], region["output"], inputs) for inputs in (x, y)]
        if ends[0] is None or ends[1] is None:
            return None
        order, error = 2 if region["norm"] == "l2->l2" else np.inf, ends[0][1] + ends[1][1]
        moved = np.linalg.norm((ends[0][0] - ends[1][0]).reshape(len(x), -1), order, axis=1)
        apart = np.linalg.norm((x - y).reshape(len(x), -1), axis=1)
        return float(((moved - error) / apart).max()), float(((moved + error) / apart).max())

    def _sampled(self, region: Tree) -> None:
        """No two of some random inputs are carried further apart than a region's bound allows."""
        shape = self.network.shapes[region["input"]]
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
        ends = [self._point(witness[key], self.network.shapes[region["input"]]) for key in "xy"]
        ratio = self._ratio(region, *ends)
        demand(ratio is not None and at_least(ratio[1], bound(witness["ratio"])), f"the witness of {pair}")

    def _margin(self, margin: Tree) -> None:
        """f_i - f_j falls by at most sqrt(2) L r within the radius r, L the l2 constant of the whole (2 L r of l2 -> linf)."""
        (whole, *_) = [r for r in self.body["regions"] if (r["path"], r["norm"]) == ("", margin["norm"])]
        demand(whole["input"] == self.network.start, "a margin of something else than the whole")
        start, point = self.network.start, self._point(margin["input"], self.network.shapes[self.network.start])
        outputs = self.network.evaluate(start, whole["output"], point)
        demand(outputs is not None and margin["class"] >= 0, "a margin of no class")
        ends, error = outputs[0].reshape(-1), outputs[1]
        room = ends[margin["class"]] - np.delete(ends, margin["class"]).max(initial=-np.inf) + 2 * error
        fall = (2**0.5 if margin["norm"] == "l2->l2" else 2) * bound(whole["upper"]) * float(Fraction(margin["radius"]))
        demand(room > 0 and at_least(room, fall), "a class that is not kept")
