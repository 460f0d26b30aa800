"""The spectral verifier: proved norms of the linear maps, put together by rules that hold for every input.

affine     L(x -> A x + b) = ||A||
pointwise  L(sigma) <= max(|alpha|, |beta|) for slopes in [alpha, beta]
compose    L(f . g) <= L(f) L(g)
sum        L(f + g) <= L(f) + L(g)
joint      L((f, g)), L(max(f, g)) <= sqrt(L(f)^2 + L(g)^2), less for parts of one value: :mod:`lipverify.verifiers.joint`
cpl        L(x -> x + c A^T D sigma(A x + b)): see :mod:`lipverify.verifiers.residual`
named      max pooling, sorting, softmax, normalisation, ...: the constant of :class:`lipverify.maps.Lipschitz`
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from weakref import WeakKeyDictionary

import numpy as np
import torch

from lipverify.claims import L2, LOGITS, NormPair
from lipverify.evidence import Evidence, Rigor, Witness
from lipverify.graph import LayerGraph, Node
from lipverify.maps import (
    Adjoint,
    Affine,
    Concatenation,
    Convolution,
    Dense,
    Diagonal,
    Extremum,
    Gather,
    LinearMap,
    Lipschitz,
    Pad,
    Pointwise,
    Rearrange,
    Separable,
    Sum,
    size,
)
from lipverify.rigor.enclose import NotEnclosed
from lipverify.rigor.enclosure import NormEnclosure
from lipverify.rigor.norms import norm
from lipverify.rigor.rounding import round_up, sqrt_up
from lipverify.verifiers.joint import joint_square
from lipverify.verifiers.problem import Problem
from lipverify.verifiers.ratio import prove_ratio
from lipverify.verifiers.residual import Weighted, residual_block


@dataclass(frozen=True, slots=True)
class Spectral:
    """Rigorous [lower, upper] by proved norms; the lower bound exists where the region is one linear map.

    Attributes:
        tight: spend up to a minute on the norm of a convolution.
    """

    name: str = "spectral"
    tight: bool = False
    _norms: WeakKeyDictionary[LinearMap, dict[NormPair, NormEnclosure]] = field(
        default_factory=WeakKeyDictionary, repr=False, compare=False
    )
    _weighted: Weighted = field(default_factory=WeakKeyDictionary, repr=False, compare=False)

    def verify(self, problem: Problem) -> Evidence:
        start = time.perf_counter()
        graph = problem.region.graph
        if problem.region.unsupported or graph is None:
            return Evidence(self.name, reason=problem.region.unsupported or "no graph")
        if problem.norms not in (L2, LOGITS):
            return Evidence(self.name, reason=f"no rule for the norm pair {problem.norms}")
        walk = _Walk(graph, self._norm, self._weighted)
        upper = walk.l2(graph.output) if problem.norms == L2 else walk.linf(graph.output)
        lower = self._lower(graph, problem.norms)
        return Evidence(
            self.name,
            lower.lower if lower else None,
            _short(upper),
            Rigor.RIGOROUS,
            walk.rule(),
            time.perf_counter() - start,
            witness=_shown(lower, problem) if lower is not None and _matters(lower, problem) else None,
        )

    def _norm(self, map_: LinearMap, norms: NormPair) -> NormEnclosure:
        if not isinstance(map_, Dense | Convolution | Adjoint | Diagonal | Separable | Gather):
            return norm(map_, norms)
        known = self._norms.setdefault(map_, {})
        if norms not in known:
            known[norms] = norm(map_, norms, tight=self.tight)
        return known[norms]

    def _lower(self, graph: LayerGraph, norms: NormPair) -> NormEnclosure | None:
        """The norm of the one map of a linear region: what only moves entries changes neither bound."""
        maps = [node.map for node in graph.nodes.values()]
        if not all(isinstance(m, Affine) for m in maps):
            return None
        linear = [m.linear for m in maps if isinstance(m, Affine) and not isinstance(m.linear, Rearrange)]
        return self._norm(linear[0], norms) if len(linear) == 1 else None


class _Walk:
    """Upper bounds of the constants from the input of one graph to each of its values."""

    def __init__(self, graph: LayerGraph, norm_of, known: Weighted) -> None:
        self.graph = graph
        self.norm_of = norm_of
        self.rules: Counter[str] = Counter()
        found = {name: residual_block(graph, node, known) for name, node in graph.nodes.items()}
        self.blocks = {name: block for name, block in found.items() if block}
        needed, stack = set[str](), [graph.output]
        while stack:
            name = stack.pop()
            if name in graph.nodes and name not in needed:
                needed.add(name)
                stack.extend([self.blocks[name].input] if name in self.blocks else graph.nodes[name].inputs)
        self.constants: dict[str, Fraction] = {graph.input: Fraction(1)}
        for name, node in graph.nodes.items():
            if name in needed:
                self.constants[name] = _short(self._step(node))

    def l2(self, name: str) -> Fraction:
        return self.constants[name]

    def linf(self, name: str) -> Fraction:
        """From the l2 norm of the input to the largest entry of the value: never above the l2 constant."""
        wanted, stack = set[str](), [name]
        while stack:
            value = stack.pop()
            if value in self.graph.nodes and value not in wanted:
                wanted.add(value)
                stack.extend(self._seen_through(self.graph.nodes[value]))
        peaks = dict(self.constants)
        for node in self.graph.nodes.values():
            if node.name in wanted:
                peaks[node.name] = _short(min(peaks[node.name], self._peak(node, peaks)))
        return peaks[name]

    def _seen_through(self, node: Node) -> tuple[str, ...]:
        """The values whose largest entries bound those of a node."""
        match node.map:
            case Affine(linear=Rearrange() | Pad() | Gather()) | Pointwise() | Concatenation() | Extremum():
                return node.inputs
            case Sum() if node.name not in self.blocks:
                return node.inputs
        return ()

    def _peak(self, node: Node, peaks: Mapping[str, Fraction]) -> Fraction:
        """An upper bound of the l2 -> linf constant of a value, by those of the values before it."""
        inputs = [peaks[name] for name in self._seen_through(node)]
        match node.map:
            case Pointwise(slopes=slopes):
                return max(map(abs, slopes)) * inputs[0]
            case Affine(linear=linear) if not inputs:
                return self.norm_of(linear, LOGITS).upper * self.constants[node.inputs[0]]
            case Lipschitz(peak=peak) if peak is not None:
                return peak * self.constants[node.inputs[0]]
            case Sum() if inputs:
                return sum(inputs, Fraction(0))
        return max(inputs, default=self.constants[node.name])

    def rule(self) -> str:
        """The rules that were used, counted; ``compose`` where there are several."""
        if not self.rules:
            return "identity"
        counted = [f"{count} {rule}" if count > 1 else rule for rule, count in self.rules.items()]
        return counted[0] if len(counted) == 1 and sum(self.rules.values()) == 1 else f"compose({', '.join(counted)})"

    def _step(self, node: Node) -> Fraction:
        match node.map:
            case Affine(linear=linear):
                if not isinstance(linear, Rearrange):
                    self.rules["affine"] += 1
                return self.norm_of(linear, L2).upper * self.constants[node.inputs[0]]
            case Pointwise(slopes=slopes):
                self.rules["pointwise"] += 1
                return max(map(abs, slopes)) * self.constants[node.inputs[0]]
            case Lipschitz(name=name, square=square):
                self.rules[name] += 1
                return sqrt_up(square) * self.constants[node.inputs[0]]
            case Concatenation() | Extremum():
                self.rules["joint"] += 1
                return sqrt_up(joint_square(self.graph, node, self.constants))
            case Sum():
                block = self.blocks.get(node.name)
                if block is not None:
                    self.rules["cpl"] += 1
                    return block.constant(self.norm_of(block.map, L2).upper ** 2) * self.constants[block.input]
                self.rules["sum"] += 1
                return sum((self.constants[i] for i in node.inputs), Fraction(0))
        raise TypeError(f"no rule for {node.map!r}; the region should have been unsupported")


def _matters(enclosure: NormEnclosure, problem: Problem) -> bool:
    """Whether two inputs could refute: a pair costs a run of the program in ball arithmetic."""
    return problem.domain is None and (problem.bound is None or enclosure.lower > problem.bound)


def _shown(enclosure: NormEnclosure, problem: Problem) -> Witness | None:
    """Zero and the direction in which a linear map rises most, as inputs of the original program."""
    program = problem.region.program
    if program is None or enclosure.vector is None:
        return None
    shape = next(iter(program.inputs.values()))
    if enclosure.vector.size != size(shape):
        return None
    y = torch.from_numpy(enclosure.vector.reshape(shape)).to(program.dtype).to(torch.float64).numpy()
    try:
        ratio = prove_ratio(program, np.zeros(shape), y, problem.norms)
    except (NotEnclosed, ValueError):
        return None
    return Witness(np.zeros(shape), y, ratio) if ratio else None


def _short(q: Fraction) -> Fraction:
    """q itself while it is short (1/3 times 3 is 1), else rounded up."""
    return q if q.denominator.bit_length() + q.numerator.bit_length() <= 512 else round_up(q)
