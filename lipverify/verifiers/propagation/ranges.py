"""Ranges of a region over a ball, by auto_LiRPA: of its output, its pre-activations and its Jacobian. Numeric."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from lipverify.actions import apply
from lipverify.graph import LayerGraph, Node
from lipverify.maps import Affine, Array, Pointwise, Sum, size
from lipverify.verifiers.propagation.auto_lirpa import Library, build
from lipverify.verifiers.propagation.canonical import Adjoined, Forward, activations
from lipverify.verifiers.propagation.layers import NotCanonical, batched

AGREEMENT = 1e-9
"""Relative difference at which an emitted model is taken for the graph's; both run in float64."""
SLACK = {torch.float64: 1e-6, torch.float32: 1e-4}
"""Relative excess over a propagated range at which a value counts as outside: propagation rounds too."""


class Excluded(ArithmeticError):
    """A propagated range excludes what it must contain."""


class PropagatedRanges:
    """The two bounded models of a region, built once, asked for one ball after another.

    Raises:
        NotCanonical: where the emitted model differs from the graph at random inputs.
    """

    def __init__(
        self, library: Library, graph: LayerGraph, method: str, max_work: int, rng: np.random.Generator
    ) -> None:
        self.library, self.graph, self.method, self.max_work = library, graph, method, max_work
        self.gates = activations(graph)
        self.inputs, self.outputs = batched(graph.input_shape), batched(graph.output_shape)
        forward = Forward(graph)
        for _ in range(3):
            _agree(forward, graph, rng.standard_normal(graph.input_shape))
        self.forward = build(library, forward, torch.zeros(1, *self.inputs, dtype=library.dtype))
        self.rows = torch.eye(size(self.outputs), dtype=library.dtype).reshape(-1, *self.outputs)
        self.ranges: list[tuple[Array, Array]] = []

    def output_range(self, center: Array, radius: float) -> tuple[Array, Array]:
        """Bounds of every output on the ball, flattened; those of the pre-activations are kept."""
        point = torch.from_numpy(center).to(self.library.dtype).reshape(1, *self.inputs)
        ball = self.library.tensor(point, self.library.ball(norm=2, eps=radius))
        low, high = self.forward.compute_bounds(x=(ball,), method=self.method)
        self.ranges = [(_array(a, -1), _array(b, -1)) for a, b in _bounded_arguments(self.forward)]
        _contain(self.ranges, self.gates, self.graph, center, SLACK[self.library.dtype])
        return _array(low, -1), _array(high, -1)

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
        """Entrywise bounds (outputs, inputs) of J(d) for d in the boxes.

        Raises:
            NotCanonical: where too many slopes are uncertain for the work allowed.
        """
        middles, radii = [(a + b) / 2 for a, b in boxes], [(b - a) / 2 for a, b in boxes]
        uncertain = [np.flatnonzero(radius) for radius in radii]
        most = max((len(u) for u in uncertain), default=0)
        work = len(self.rows) * most * max([0, *(size(node.map.output_shape) for node in self.graph.nodes.values())])
        # With one layer of slopes J is affine in them, and interval arithmetic is as tight as any relaxation.
        method = "IBP" if sum(len(u) > 0 for u in uncertain) <= 1 else self.method
        if method != "IBP" and work > self.max_work:
            raise NotCanonical(
                f"up to {most} slopes a layer are uncertain on the ball: {work} entries > max_work = {self.max_work};"
                " pass a smaller radius"
            )
        adjoint = Adjoined(self.graph, middles, uncertain)
        dtype, rows = self.library.dtype, len(self.rows)
        errors = [
            torch.from_numpy(r[u]).to(dtype).expand(rows, -1) for r, u in zip(radii, uncertain, strict=True) if len(u)
        ]
        if not errors:
            exact = _array(adjoint.to(dtype)(self.rows), rows, -1)
            return exact, exact
        module = build(self.library, adjoint, self.rows, *(torch.zeros_like(e) for e in errors))
        boxed = [
            self.library.tensor(torch.zeros_like(e), self.library.ball(norm=np.inf, x_L=-e, x_U=e)) for e in errors
        ]
        low, high = module.compute_bounds(x=(self.rows, *boxed), method=method)
        return _array(low, rows, -1), _array(high, rows, -1)


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


def _array(tensor: torch.Tensor, *shape: int) -> Array:
    return tensor.detach().to(torch.float64).numpy().reshape(shape)


def _values(graph: LayerGraph, x: Array) -> dict[str, Array]:
    values = {graph.input: x}
    for node in graph.nodes.values():
        reads = [values[name] for name in node.inputs]
        if isinstance(node.map, Sum):
            values[node.name] = np.sum([s * r for s, r in zip(node.map.signs, reads, strict=True)], axis=0)
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


def _contain(
    ranges: list[tuple[Array, Array]], gates: tuple[Node, ...], graph: LayerGraph, center: Array, slack: float
) -> None:
    """Check that the ranges are those of the gates, in order: each contains the value at the center.

    Raises:
        Excluded: where one does not.
    """
    values = _values(graph, center)
    if len(ranges) != len(gates):
        raise Excluded(f"{len(ranges)} propagated pre-activations for {len(gates)} activations (numeric mismatch)")
    for gate, (low, high) in zip(gates, ranges, strict=True):
        if not within(values[gate.inputs[0]].reshape(-1), low, high, slack):
            raise Excluded(f"propagated range excludes the argument of {gate.name} (numeric mismatch)")


def within(y: Array, low: Array, high: Array, slack: float) -> bool:
    slack *= 1.0 + float(np.abs(y).max(initial=0.0))
    return y.shape == low.shape and bool(((y >= low - slack) & (y <= high + slack)).all())


def _bounded_arguments(module: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The (lower, upper) that auto_LiRPA holds of the argument of every activation, in order."""
    for node in module._modules.values():
        if type(node).__name__ in ("BoundRelu", "BoundTanh", "BoundSigmoid"):
            argument = node.inputs[0]
            if argument.lower is None or argument.upper is None:
                raise NotCanonical(f"auto_LiRPA left the argument of {node.name} without bounds")
            yield argument.lower.detach(), argument.upper.detach()
