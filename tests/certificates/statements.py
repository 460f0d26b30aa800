"""Certificates of single norms, made by hand: graphs of one to three linear maps that no network need have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.certificates.materialised import Maps, Stored, Tree, Untrue, digest
from tests.certificates.mutations import RULES, sealed

ONE = "0x1.0000000000000p+0"
LARGE = float(2**100).hex()


def node(value: str, read: str = "x", **fields: Any) -> Tree:
    """A linear map of one value."""
    return {"value": value, "map": fields, "reads": [read]}


def norm(rule: str, *maps: str, square: str = ONE, slack: int = 40, **fields: Any) -> Tree:
    return {"maps": list(maps), "rule": rule, "square": square, "slack": slack, **fields}


def statement(nodes: Sequence[Tree], norms: Tree, weights: Stored, shape: Sequence[int], upper: str = LARGE) -> bytes:
    """A certificate of these norms, and of the whole where its last norm is all of it."""
    graph = {"input": "x", "shape": list(shape), "nodes": list(nodes), "sha256": ""}
    stated = {
        name: {"dtype": dtype, "shape": list(size), "sha256": digest(d)} for name, (dtype, size, d) in weights.items()
    }
    name, last = list(norms.items())[-1]
    step = {
        "value": last["maps"][-1],
        "rule": "rows" if last["rule"] == "rows" else "affine",
        "norm": name,
        "upper": upper,
    }
    region = {"path": "", "norm": "l2->linf" if last["rule"] == "rows" else "l2->l2", "claim": None, "verdict": None}
    region |= {"reason": None, "input": "x", "output": nodes[-1]["value"], "steps": [step], "upper": upper, "rule": ""}
    body = {"semantics": "real", "weights": stated, "graph": graph, "norms": norms, "regions": [region], "margins": []}
    return sealed({"schema": "lipverify-certificate/1", "body": body, "sha256": ""})


Chain = tuple[list[Tree], Stored, tuple[int, ...]]
"""Nodes one after the other, their weights, and the shape of the input."""


class Chains:
    """Random chains of nodes: one linear map, or a padding and a convolution, or either and a diagonal."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Tree] = []
        self.weights: dict[str, tuple[str, tuple[int, ...], bytes]] = {}

    def up_to(self, most: int, least: int = 0) -> int:
        return int(self.rng.integers(least, most + 1))

    def pick(self, *values: Any) -> Any:
        return values[self.rng.integers(len(values))]

    def stored(self, name: str, *shape: int, inline: bool = True) -> Tree:
        """A float32 weight: normal, of signs, of ones, or with a single entry; at several scales; or numbers with radii."""
        kind = self.pick("normal", "signs", "ones", "one")
        made = {"normal": self.rng.standard_normal(shape), "signs": self.rng.integers(-1, 2, shape) * 1.0}.get(kind)
        if made is None:
            made = np.ones(shape)
            made.reshape(-1)[made.size if kind == "ones" else 1 :] = 0
        made = (made * self.pick(1.0, 1.0, 3.7e-3, 2.0**-70)).astype("<f4")
        if inline and self.pick(True, False, False):
            radii = [abs(float(x)) * self.pick(0.0, 2.0**-3, 2.0**-12) for x in made.reshape(-1)]
            numbers = [(float(x) + 0.0).hex() for x in made.reshape(-1)]
            return {"numbers": numbers, "radii": [x.hex() for x in radii], "shape": list(shape)}
        self.weights[name] = ("F32", shape, made.tobytes())
        return {"weight": name, "shape": list(shape)}

    def chain(self) -> Chain:
        made = None
        match self.pick("dense", *["convolution"] * 5, "separable", "gather", "pad", "diagonal"):
            case "dense":
                shape, made = self.dense()
            case "convolution":
                shape, made = self.convolution()
            case other:
                shape = self.moving(other)
        if made and self.pick(True, False, False):
            axis = len(made) - 1 if len(made) == 2 else 1
            factor = self.stored("d", *(n if a == axis else self.pick(*[1] * 9, n) for a, n in enumerate(made)))
            self.nodes.append(node("b", "a", kind="diagonal", factor=factor))
        return self.nodes, self.weights, tuple(shape)

    def dense(self) -> tuple[Sequence[int], Sequence[int]]:
        batch, inner, out = self.up_to(2, 1), self.up_to(4, 1), self.up_to(4, 1)
        if self.pick(True, False):
            self.nodes.append(node("a", kind="dense", weight=self.stored("w", out, inner)))
        else:
            of = {"kind": "dense", "weight": self.stored("w", inner, out), "input": [batch, out]}
            self.nodes.append(node("a", kind="adjoint", of=of))
        return (batch, inner), (batch, out)

    def convolution(self) -> tuple[Sequence[int], Sequence[int]]:
        groups, image = self.pick(1, 1, 2), [self.up_to(5, 1) for _ in range(self.pick(1, 2))]
        shape, read = [1, groups * self.up_to(2, 1), *image], "x"
        if self.pick(True, False, False):
            pads = [[0, 0]] * 2 + [[self.up_to(n), self.up_to(n)] for n in image]
            self.nodes.append(node("p", kind="pad", pads=pads, circular=self.pick(True, False)))
            image, read = [n + sum(p) for n, p in zip(image, pads[2:], strict=True)], "p"
        pads = [[0, 0] if read == "p" else [self.up_to(min(3, n)), self.up_to(min(3, n))] for n in image]
        dilation, stride = [self.pick(1, 1, 2) for _ in image], [self.pick(1, 1, 2, 3) for _ in image]
        most = [(n + sum(p) - 1) // d + 1 for n, p, d in zip(image, pads, dilation, strict=True)]
        kernel = self.stored(
            "w", groups * self.up_to(2, 1), shape[1] // groups, *(self.up_to(min(4, m), 1) for m in most)
        )
        if circular := read == "x" and self.pick(True, False):  # mostly no more outputs than inputs
            spans = zip(pads, kernel["shape"][2:], dilation, strict=True)
            pads = [[p[0], min(p[1], max(0, d * (k - 1) - p[0]))] if self.up_to(5) else p for p, k, d in spans]
            stride = [s if n % s == 0 or not self.up_to(5) else 1 for s, n in zip(stride, image, strict=True)]
        fields: Tree = {"kind": "convolution", "kernel": kernel, "pads": pads, "circular": circular}
        fields |= {"stride": stride, "dilation": dilation, "groups": groups}
        spans = zip(image, pads, kernel["shape"][2:], stride, dilation, strict=True)
        made = [1, kernel["shape"][0], *((n + sum(p) - d * (k - 1) - 1) // s + 1 for n, p, k, s, d in spans)]
        if read == "x" and self.pick(True, False, False):
            self.nodes.append(node("a", kind="adjoint", of={**fields, "input": shape}))
            return made, shape
        self.nodes.append(node("a", read, **fields))
        return shape, made

    def moving(self, kind: str) -> Sequence[int]:
        shape = (self.up_to(4, 1), self.up_to(4, 1))
        if kind == "separable":
            factors = [
                [a, self.stored(f"w{a}", self.up_to(4, 1), shape[a])] for a in range(2) if self.pick(True, False)
            ]
            made = [{a: f["shape"][0] for a, f in factors}.get(a, n) for a, n in enumerate(shape)]
            scale = [self.up_to(3, 1), self.up_to(3, 1)]
            self.nodes.append(node("a", kind=kind, factors=factors, scale=scale, output=made))
        elif kind == "gather":
            runs = [[self.up_to(shape[0] * shape[1] - 1), 0, self.up_to(2, 1)], [-1, 0, 1]] * self.up_to(2, 1)
            self.nodes.append(node("a", kind=kind, runs=runs, output=[sum(count for *_, count in runs)]))
        elif kind == "pad":
            pads = [[self.up_to(n), self.up_to(n)] for n in shape]
            self.nodes.append(node("a", kind=kind, pads=pads, circular=self.pick(True, False)))
        else:
            self.nodes.append(node("a", kind=kind, factor=self.stored("w", *(self.pick(1, n) for n in shape))))
        return shape


def truth(chain: Chain) -> tuple[float, float]:
    """||A||^2 and the largest squared norm of a row of a chain's operator."""
    nodes, weights, shape = chain
    maps, matrix = Maps(weights, weights), np.eye(int(np.prod(shape)))
    for one in nodes:
        matrix, action = maps.matrix(one["map"], shape) @ matrix, maps.action(one["map"], shape)
        shape = action(np.zeros((1, *shape))).shape[1:]
    return float(np.linalg.norm(matrix, 2)) ** 2, float((matrix**2).sum(1).max())


APT = {"dense": ("dense", "rows"), "adjoint": ("dense", "unrolled", "torus", "torus"), "separable": ("separable",)}
APT |= {"convolution": ("torus", "torus", "torus", "unrolled", "rows"), "diagonal": ("entries",)}
"""Kind -> rules that are made for it; of all others ``copies``."""


def stated(seed: int, factor: float, rule: str | None = None, slack: int | None = None) -> tuple[bytes, Stored] | None:
    """A random chain with a norm of ``factor`` times the truth; None where the chain is no operator, or zero.

    Args:
        rule: by which it is stated; mostly an apt one, with random fields, where None.
    """
    made = Chains(seed)
    chain = made.chain()
    try:
        square, row = truth(chain)
    except (Untrue, ValueError):
        return None
    kind = next(n["map"]["kind"] for n in chain[0] if n["value"] == "a")
    rule = rule or made.pick(*RULES, *2 * APT.get(kind, ("copies",)), *2 * APT.get(kind, ("copies",)))
    claimed, fields, axes = (row if rule == "rows" else square) * factor, {}, len(chain[2]) - 2
    if not claimed:
        return None
    if rule == "torus":
        fields = {"sizes": [made.up_to(12, 1) for _ in range(axes)], "twists": [made.up_to(1) for _ in range(axes)]}
        fields["grid"] = made.pick(True, False)
    if rule == "separable":
        parts = len(chain[0][0]["map"].get("factors", ()))
        fields = {"squares": [made.pick(ONE, claimed.hex()) for _ in range(parts)], "slacks": [20] * parts}
    slack = made.up_to(40) if slack is None else slack
    one = norm(rule, *(n["value"] for n in chain[0]), square=claimed.hex(), slack=slack, **fields)
    return statement(chain[0], {"n": one}, chain[1], chain[2]), chain[1]


def on_a_torus(seed: int) -> tuple[bytes, Stored] | None:
    """A convolution of stride 1 with the norm that it would have on a random torus, rightly or not; None where it is zero."""
    made = Chains(seed)
    axes = made.pick(1, 2)
    image, taps = [made.up_to(4, 1) for _ in range(axes)], [made.up_to(3, 1) for _ in range(axes)]
    circular = made.pick(True, False, False)
    pads = [[made.up_to(min(2, n)), made.up_to(min(2, n))] for n in image]
    if circular:
        pads = [[k // 2, k - 1 - k // 2] for k in taps]
    if any(n + sum(p) < k or max(p) > n for n, p, k in zip(image, pads, taps, strict=True)):
        return None
    stored = made.stored("w", made.up_to(2, 1), made.up_to(2, 1), *taps, inline=False)
    data = np.frombuffer(made.weights["w"][2], "<f4").reshape(stored["shape"]).astype(np.float64)
    fields = {"sizes": [made.up_to(6, 1) for _ in image], "twists": [made.up_to(1) for _ in image], "grid": False}
    square = 0.0
    for k in np.ndindex(*fields["sizes"]):
        block: np.ndarray = data
        for place, n, twist in zip(k, fields["sizes"], fields["twists"], strict=True):
            turns = np.exp(-1j * np.pi * (2 * place + twist) / n * np.arange(block.shape[2]))
            block = np.tensordot(block, turns, (2, 0))
        square = max(square, float(np.linalg.norm(block, 2)) ** 2)
    if not square:
        return None
    ones = [1] * axes
    one = node(
        "a", kind="convolution", kernel=stored, pads=pads, circular=circular, stride=ones, dilation=ones, groups=1
    )
    proof = norm("torus", "a", square=(square * (1 + 2.0**-16)).hex(), slack=14, **fields)
    return statement([one], {"n": proof}, made.weights, (1, stored["shape"][1], *image)), made.weights
