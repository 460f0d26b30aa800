"""A region as a torch model of a few operations: what bound propagation libraries understand.

Linear, Conv2d, ReLU (and tanh, sigmoid), addition, subtraction and reshapes; every branch is a layer of its own; the first
axis is a batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from lipverify.graph import LayerGraph, Node
from lipverify.maps import Adjoint, Affine, Concatenation, Extremum, Lipschitz, Opaque, Pointwise, Sum
from lipverify.verifiers.propagation.layers import NotCanonical, Reshaped, batched, dense_layer, layer


def needed(graph: LayerGraph) -> tuple[Node, ...]:
    """The nodes that the output depends on, in order.

    Raises:
        NotCanonical: for operations outside the vocabulary.
    """
    reached, nodes = {graph.output}, []
    for node in reversed(list(graph.nodes.values())):
        if node.name in reached:
            reached.update(node.inputs)
            nodes.append(node)
            if isinstance(node.map, Opaque):
                raise NotCanonical(f"{node.name}: {node.map.operation}: {node.map.reason}")
            if isinstance(node.map, Lipschitz | Concatenation | Extremum):
                raise NotCanonical(f"{node.name}: no canonical form of {type(node.map).__name__}")
            if isinstance(node.map, Pointwise) and node.map.name not in ACTIVATIONS:
                raise NotCanonical(f"{node.name}: no canonical form of {node.map.name}")
    return tuple(reversed(nodes))


def activations(graph: LayerGraph) -> tuple[Node, ...]:
    """The pointwise nodes that the output depends on, in order."""
    return tuple(node for node in needed(graph) if isinstance(node.map, Pointwise))


class Forward(nn.Module):
    """The region: (1, ...) -> (1, size of the output); auto_LiRPA 0.3 fails on outputs with axes.

    Raises:
        NotCanonical: at construction, for what has no canonical form.
    """

    def __init__(self, graph: LayerGraph) -> None:
        super().__init__()
        self.input, self.output, self.nodes = graph.input, graph.output, needed(graph)
        self.layers = nn.ModuleDict()
        for i, node in enumerate(self.nodes):
            if isinstance(node.map, Affine):
                self.layers[str(i)] = layer(node.map.linear, _bias(node.map))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = {self.input: x}
        for i, node in enumerate(self.nodes):
            reads = [values[name] for name in node.inputs]
            if isinstance(node.map, Affine):
                values[node.name] = self.layers[str(i)](reads[0])
            elif isinstance(node.map, Sum):
                values[node.name] = _total(reads, node.map.signs)
            elif isinstance(node.map, Pointwise):
                values[node.name] = ACTIVATIONS[node.map.name](reads[0], node.map)
        return values[self.output].flatten(1)


class Adjoined(nn.Module):
    """v, e_1, ..., e_K -> J(d)^T v flattened, a batch of v, where the k-th pointwise layer has slopes d_k = middles[k] + e_k.

    Slopes that are certain are constants of the model: e_k has an entry for each index in ``uncertain[k]`` only, shape
    (batch, their number), and layers without any have no e_k. Only these products need relaxing.

    Raises:
        NotCanonical: at construction, for what has no canonical form.
    """

    def __init__(self, graph: LayerGraph, middles: Sequence[np.ndarray], uncertain: Sequence[np.ndarray]) -> None:
        super().__init__()
        self.input, self.output, self.nodes = graph.input, graph.output, needed(graph)
        self.gates = {node.name: k for k, node in enumerate(activations(graph))}
        self.layers, self.selections, self.places = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        self.given: dict[int, int] = {}
        for i, node in enumerate(self.nodes):
            if isinstance(node.map, Affine):
                self.layers[str(i)] = layer(Adjoint(node.map.linear), None)
        for node in activations(graph):
            k, axes = self.gates[node.name], batched(node.map.output_shape)
            self.register_buffer(f"middle{k}", torch.from_numpy(middles[k].reshape(1, *axes)))
            if len(uncertain[k]):
                chosen = np.eye(middles[k].size)[uncertain[k]]
                self.selections[str(k)] = Reshaped(dense_layer(chosen, None), len(axes) > 1, (len(uncertain[k]),))
                self.places[str(k)] = Reshaped(dense_layer(chosen.T, None), False, axes)
                self.given[k] = len(self.given)

    def forward(self, v: torch.Tensor, *errors: torch.Tensor) -> torch.Tensor:
        pulled: dict[str, list[tuple[int, torch.Tensor]]] = {self.output: [(1, v)]}
        for i, node in reversed(list(enumerate(self.nodes))):
            value = _total([t for _, t in pulled[node.name]], [s for s, _ in pulled[node.name]])
            if isinstance(node.map, Affine):
                backs = [(1, self.layers[str(i)](value))]
            elif isinstance(node.map, Sum):
                backs = [(sign, value) for sign in node.map.signs]
            else:
                backs = [(1, self._gated(value, self.gates[node.name], errors))]
            for name, back in zip(node.inputs, backs, strict=True):
                pulled.setdefault(name, []).append(back)
        return _total([t for _, t in pulled[self.input]], [s for s, _ in pulled[self.input]]).flatten(1)

    def _gated(self, value: torch.Tensor, k: int, errors: Sequence[torch.Tensor]) -> torch.Tensor:
        certain = value * getattr(self, f"middle{k}")
        if k not in self.given:
            return certain
        return certain + self.places[str(k)](self.selections[str(k)](value) * errors[self.given[k]])


def _total(terms: Sequence[torch.Tensor], signs: Sequence[int]) -> torch.Tensor:
    """The signed sum; a positive term first, so that no negation is needed but for a single term."""
    ordered = sorted(zip(signs, terms, strict=True), key=lambda pair: -pair[0])
    sign, total = ordered[0]
    total = total if sign > 0 else -total
    for sign, term in ordered[1:]:
        total = total + term if sign > 0 else total - term
    return total


def _bias(map_: Affine) -> np.ndarray | None:
    return None if map_.bias is None else np.broadcast_to(map_.bias.midpoint, map_.output_shape)


def _leaky(x: torch.Tensor, map_: Pointwise) -> torch.Tensor:
    slope = float(-map_.function(np.array([-1.0]))[0])
    return x * slope + torch.relu(x) * (1 - slope)


ACTIVATIONS = {
    "relu": lambda x, map_: torch.relu(x),
    "leaky_relu": _leaky,
    "abs": lambda x, map_: torch.relu(x) * 2 - x,
    "tanh": lambda x, map_: torch.tanh(x),
    "sigmoid": lambda x, map_: torch.sigmoid(x),
}
"""Activation -> its canonical form; one ReLU, Tanh or Sigmoid each, in the order of the nodes."""
