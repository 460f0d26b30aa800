"""Bound propagation over balls around given inputs: CROWN through auto_LiRPA. Numeric throughout, never a proof.

For a ball B(c, r): linear bounds (Zhang et al. 2018; Xu et al. 2020) give ranges of every pre-activation and of the output. Where
the argument of an activation stays in [l, u], its slope stays in an interval [a, b] (0 or 1 for a ReLU of constant sign). The
Jacobian on the ball is J(d) with d in the box of these intervals; propagation through v, d -> J(d)^T v bounds its
entries by [lo, hi] = mid +- rad, and then

    ||f(x) - f(y)|| <= (||mid||_2 + ||rad||_2) ||x - y||        for x, y in the ball

by the mean value theorem along the segment, which stays in the ball.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch

from lipverify.claims import L2, LOGITS
from lipverify.evidence import Evidence, Rigor
from lipverify.graph import LayerGraph
from lipverify.maps import Affine, Array, Pointwise, Sum, apply, size
from lipverify.verifiers.auto_lirpa import Library, Unavailable, build, session
from lipverify.verifiers.canonical import (
    Adjoined,
    Forward,
    NotCanonical,
    activations,
    batched,
    bounded_arguments,
)
from lipverify.verifiers.problem import Problem

AGREEMENT = 1e-9
"""Relative difference at which an emitted model is taken for the graph's; both run in float64."""
SLACK = 1e-6
"""Relative excess over a propagated range at which an output counts as outside: propagation rounds too."""


class Excluded(ArithmeticError):
    """A propagated range excludes what it must contain."""


@dataclass(frozen=True, slots=True)
class Propagation:
    """Local upper bounds of the Lipschitz constant on l2 balls, by CROWN; ``upper`` is the largest over the balls used.

    The evidence is ``local`` and numeric. Each ball's output range is checked against the original program at samples.

    Attributes:
        method: of auto_LiRPA, for pre-activations and for the Jacobian: "CROWN", or "IBP" (far looser).
        max_centers: balls used: the first ones; the evidence says how many of how many.
        max_size: most entries of any value of the region.
        max_work: most entries of outputs x (largest value)^2 for which the Jacobian is propagated by ``method``; beyond
            it IBP is used for a region with one activation, where it is as tight, else there is a reason.
        samples: points of each ball at which the program is run.
    """

    method: str = "CROWN"
    max_centers: int = 2
    max_size: int = 4096
    max_work: int = 20_000_000
    samples: int = 32
    name: str = "propagation"

    def verify(self, problem: Problem) -> Evidence:
        """The bound, or a reason; a range that excludes an output of the program is a reason of its own, by name."""
        start = time.perf_counter()
        try:
            upper, method = self._bound(problem)
        except (NotCanonical, Unavailable, Excluded) as stop:
            return self._silent(str(stop), start)
        except Exception as error:  # noqa: BLE001 (a third party's library raises what it likes; it is reported)
            return self._silent(f"auto_LiRPA failed: {type(error).__name__}: {error}", start)
        return Evidence(
            self.name,
            upper=upper,
            rigor=Rigor.NUMERIC,
            method=method,
            seconds=time.perf_counter() - start,
            local=True,
        )

    def _silent(self, reason: str, start: float) -> Evidence:
        return Evidence(self.name, seconds=time.perf_counter() - start, local=True, reason=reason)

    def _bound(self, problem: Problem) -> tuple[Fraction, str]:
        graph = problem.region.graph
        if graph is None:
            raise NotCanonical(problem.region.unsupported or "the region has no graph")
        if problem.centers is None or problem.radius is None or not len(problem.centers):
            raise NotCanonical("no inputs: pass inputs and a radius (--at data.npz --radius R)")
        if problem.norms not in (L2, LOGITS):
            raise NotCanonical(f"norms {problem.norms}: l2->l2 and l2->linf only")
        centers, radius = np.asarray(problem.centers, dtype=np.float64), float(problem.radius)
        if centers.shape[1:] != graph.input_shape or not np.isfinite(centers).all():
            raise NotCanonical(f"centers of shape {centers.shape[1:]} for an input {graph.input_shape}, or not finite")
        if not (np.isfinite(radius) and radius >= 0):
            raise NotCanonical(f"a ball of radius {radius}")
        widest = max([size(graph.input_shape), *(size(node.map.output_shape) for node in graph.nodes.values())])
        if widest > self.max_size:
            raise NotCanonical(f"a value of {widest} entries > max_size = {self.max_size}")
        gates = activations(graph)
        work = size(graph.output_shape) * widest**2
        jacobian = self.method if work <= self.max_work else "IBP"
        if jacobian != self.method and len(gates) > 1:
            raise NotCanonical(f"the Jacobian needs {work} entries > max_work = {self.max_work}")
        rng = np.random.default_rng(problem.seed)
        with session() as library:
            balls = _Balls(library, graph, self.method, jacobian, rng)
            used = centers[: self.max_centers]
            uppers = []
            for center in used:
                low, high = balls.output_range(center, radius)
                self._check(problem, center, radius, low, high, rng)
                uppers.append(balls.lipschitz(problem.norms == LOGITS))
        name = f"{self.method} + VJP ({jacobian}), auto_LiRPA {library.version}"
        return Fraction(max(uppers)), f"{name}, {len(used)} of {len(centers)} balls of radius {radius:g}"

    def _check(
        self, problem: Problem, center: Array, radius: float, low: Array, high: Array, rng: np.random.Generator
    ) -> None:
        """Run the original program at samples of the ball; its outputs must lie in the range.

        Raises:
            Excluded: where one does not.
        """
        program = problem.region.program
        if program is None:
            return
        for point in samples(center, radius, self.samples, rng):
            with torch.no_grad():
                y = program(torch.from_numpy(point)).numpy().reshape(-1)
            slack = SLACK * (1.0 + float(np.abs(y).max(initial=0.0)))
            if not ((y >= low - slack) & (y <= high + slack)).all():
                raise Excluded("propagated range excludes an output of the program (numeric mismatch)")


def samples(center: Array, radius: float, count: int, rng: np.random.Generator) -> Array:
    """The center and points of its ball, half of them on the sphere: (count + 1, *shape)."""
    steps = rng.standard_normal((count, center.size))
    steps *= radius / np.maximum(np.linalg.norm(steps, axis=1, keepdims=True), 1e-300)
    steps[::2] *= rng.random((len(steps[::2]), 1))
    return np.concatenate((center[None], center + steps.reshape(count, *center.shape)))


class _Balls:
    """The two bounded models of a region, built once, asked for one ball after another.

    Raises:
        NotCanonical: where the emitted model differs from the graph at random inputs.
    """

    def __init__(
        self, library: Library, graph: LayerGraph, method: str, jacobian: str, rng: np.random.Generator
    ) -> None:
        self.library, self.graph, self.method, self.jacobian = library, graph, method, jacobian
        self.gates = activations(graph)
        self.inputs, self.outputs = batched(graph.input_shape), batched(graph.output_shape)
        forward = Forward(graph)
        for _ in range(3):
            _agree(forward, graph, rng.standard_normal(graph.input_shape))
        self.forward = build(library, forward, torch.zeros(1, *self.inputs))
        self.rows = torch.eye(size(self.outputs)).reshape(-1, *self.outputs)
        self.adjoint = None
        self.ranges: list[tuple[Array, Array]] = []

    def output_range(self, center: Array, radius: float) -> tuple[Array, Array]:
        """Bounds of every output on the ball, flattened; those of the pre-activations are kept."""
        point = torch.from_numpy(center).reshape(1, *self.inputs)
        ball = self.library.tensor(point, self.library.ball(norm=2, eps=radius))
        low, high = self.forward.compute_bounds(x=(ball,), method=self.method)
        self.ranges = [(a.numpy().reshape(-1), b.numpy().reshape(-1)) for a, b in bounded_arguments(self.forward)]
        _contain(self.ranges, self.gates, self.graph, center)
        return low.detach().numpy().reshape(-1), high.detach().numpy().reshape(-1)

    def lipschitz(self, per_output: bool) -> float:
        """||mid||_2 + ||rad||_2 of the Jacobian's range on the ball asked last; the largest row's length if per output."""
        boxes = [
            slope_range(gate.map, low, high)
            for gate, (low, high) in zip(self.gates, self.ranges, strict=True)
            if isinstance(gate.map, Pointwise)
        ]
        low, high = self._jacobian(boxes)
        if per_output:
            return float(np.linalg.norm(np.maximum(np.abs(low), np.abs(high)), axis=1).max())
        return float(np.linalg.norm((low + high) / 2, 2) + np.linalg.norm((high - low) / 2, 2))

    def _jacobian(self, boxes: list[tuple[Array, Array]]) -> tuple[Array, Array]:
        tensors = []
        for gate, (low, high) in zip(self.gates, boxes, strict=True):
            shape = (len(self.rows), *batched(gate.map.output_shape))
            a, b = (torch.from_numpy(e).reshape(1, *shape[1:]).expand(shape).contiguous() for e in (low, high))
            tensors.append((a, b))
        middles = [(a + b) / 2 for a, b in tensors]
        adjoint = Adjoined(self.graph)
        if all(torch.equal(a, b) for a, b in tensors):
            with torch.no_grad():
                exact = adjoint(self.rows, *middles).numpy().reshape(len(self.rows), -1)
            return exact, exact
        if self.adjoint is None:
            self.adjoint = build(self.library, adjoint, self.rows, *middles)
        boxed = [
            self.library.tensor(m, self.library.ball(norm=np.inf, x_L=a, x_U=b))
            for m, (a, b) in zip(middles, tensors, strict=True)
        ]
        low, high = self.adjoint.compute_bounds(x=(self.rows, *boxed), method=self.jacobian)
        return tuple(e.detach().numpy().reshape(len(self.rows), -1) for e in (low, high))


def slope_range(activation: Pointwise, low: Array, high: Array) -> tuple[Array, Array]:
    """Bounds of the slopes of sigma where its argument stays in [low, high], entrywise, to rounding."""
    alpha, beta = (float(s) for s in activation.slopes)
    match activation.name:
        case "relu" | "leaky_relu" | "abs":
            left, right = -activation.function(np.array([-1.0]))[0], activation.function(np.array([1.0]))[0]
            at_low, at_high = np.where(low > 0, right, left), np.where(high < 0, left, right)
            return np.minimum(at_low, at_high), np.maximum(at_low, at_high)
        case "tanh":
            slopes = [1 - np.tanh(e) ** 2 for e in (low, high)]
        case "sigmoid":
            slopes = [0.25 * (1 - np.tanh(e / 2) ** 2) for e in (low, high)]
        case _:
            return np.full(low.shape, alpha), np.full(low.shape, beta)
    return np.minimum(*slopes), np.where((low <= 0) & (high >= 0), beta, np.maximum(*slopes))


def _values(graph: LayerGraph, x: Array) -> dict[str, Array]:
    values = {graph.input: x}
    for node in graph.nodes.values():
        reads = [values[name] for name in node.inputs]
        if isinstance(node.map, Sum):
            values[node.name] = sum(s * r for s, r in zip(node.map.signs, reads, strict=True))
        elif isinstance(node.map, Affine | Pointwise):
            values[node.name] = apply(node.map, reads[0])
    return values


def _agree(forward: Forward, graph: LayerGraph, x: Array) -> None:
    with torch.no_grad():
        emitted = forward(torch.from_numpy(x).reshape(1, *batched(graph.input_shape))).numpy().reshape(-1)
    expected = _values(graph, x)[graph.output].reshape(-1)
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    if not (emitted.shape == expected.shape and np.abs(emitted - expected).max(initial=0.0) <= AGREEMENT * scale):
        raise NotCanonical("the emitted model differs from the graph at a random input")


def _contain(ranges: list[tuple[Array, Array]], gates, graph: LayerGraph, center: Array) -> None:
    """Check that the ranges are those of the gates, in order: each contains the value at the center.

    Raises:
        Excluded: where one does not.
    """
    values = _values(graph, center)
    if len(ranges) != len(gates):
        raise Excluded(f"{len(ranges)} propagated pre-activations for {len(gates)} activations (numeric mismatch)")
    for gate, (low, high) in zip(gates, ranges, strict=True):
        z = values[gate.inputs[0]].reshape(-1)
        slack = SLACK * (1.0 + float(np.abs(z).max(initial=0.0)))
        if z.shape != low.shape or not ((z >= low - slack) & (z <= high + slack)).all():
            raise Excluded(f"propagated range excludes the argument of {gate.name} (numeric mismatch)")
