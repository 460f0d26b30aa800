"""A region as a torch model of a few operations: what bound propagation libraries understand.

Linear, Conv2d, ReLU (and tanh, sigmoid), addition, subtraction and reshapes; every branch is a layer of its own; the first
axis is a batch. A value of shape (1, ...) keeps its axes, any other is flattened.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from lipverify.graph import LayerGraph, Node
from lipverify.maps import (
    Adjoint,
    Affine,
    AveragePooling,
    Convolution,
    Dense,
    Diagonal,
    LinearMap,
    Opaque,
    Pad,
    Pointwise,
    Rearrange,
    Shape,
    Sum,
    size,
)
from lipverify.verifiers.matrices import matrix

UNROLLED = 1 << 22
"""The most entries of a map that is written out as a matrix."""


class NotCanonical(ValueError):
    """A region that has no canonical model; the message is the reason."""


def batched(shape: Shape) -> Shape:
    """The axes of a value behind the batch axis."""
    return shape[1:] if len(shape) > 1 and shape[0] == 1 else (size(shape),)


def needed(graph: LayerGraph) -> tuple[Node, ...]:
    """The nodes that the output depends on, in order.

    Raises:
        NotCanonical: for operations outside the vocabulary.
    """
    reached, nodes = {graph.output}, []
    for node in reversed(graph.nodes.values()):
        if node.name in reached:
            reached.update(node.inputs)
            nodes.append(node)
            if isinstance(node.map, Opaque):
                raise NotCanonical(f"{node.name}: {node.map.operation}: {node.map.reason}")
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
    """v, d_1, ..., d_K -> J(d)^T v flattened, a batch of v: J(d) is the Jacobian where the k-th pointwise layer has slopes d_k.

    Raises:
        NotCanonical: at construction, for what has no canonical form.
    """

    def __init__(self, graph: LayerGraph) -> None:
        super().__init__()
        self.input, self.output, self.nodes = graph.input, graph.output, needed(graph)
        self.gates = {node.name: k for k, node in enumerate(activations(graph))}
        self.layers = nn.ModuleDict()
        for i, node in enumerate(self.nodes):
            if isinstance(node.map, Affine):
                self.layers[str(i)] = layer(Adjoint(node.map.linear), None)

    def forward(self, v: torch.Tensor, *gates: torch.Tensor) -> torch.Tensor:
        pulled: dict[str, list[tuple[int, torch.Tensor]]] = {self.output: [(1, v)]}
        for i, node in reversed(list(enumerate(self.nodes))):
            value = _total([t for _, t in pulled[node.name]], [s for s, _ in pulled[node.name]])
            if isinstance(node.map, Affine):
                backs = [(1, self.layers[str(i)](value))]
            elif isinstance(node.map, Sum):
                backs = [(sign, value) for sign in node.map.signs]
            else:
                backs = [(1, value * gates[self.gates[node.name]])]
            for name, back in zip(node.inputs, backs, strict=True):
                pulled.setdefault(name, []).append(back)
        return _total([t for _, t in pulled[self.input]], [s for s, _ in pulled[self.input]]).flatten(1)


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


class _Reshaped(nn.Module):
    """A layer between batches of the given axes."""

    def __init__(self, inner: nn.Module | None, flat: bool, output: Shape) -> None:
        super().__init__()
        self.inner, self.flat, self.output = inner, flat, output

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1) if self.flat else x
        x = x if self.inner is None else self.inner(x)
        return x if tuple(x.shape[1:]) == self.output else x.reshape(-1, *self.output)


def layer(linear: LinearMap, bias: np.ndarray | None) -> nn.Module:
    """One affine map as Linear, Conv2d or a reshape.

    Raises:
        NotCanonical: where it is neither and too large to be written out as a matrix.
    """
    source, target = batched(linear.input_shape), batched(linear.output_shape)
    images = len(linear.input_shape) == len(linear.output_shape) == 4 and linear.input_shape[0] == 1
    if bias is None and isinstance(linear, Rearrange) and linear.axes is None:
        return _Reshaped(None, len(source) > 1, target)
    if images and (kernel := _as_convolution(linear)) is not None:
        weight, stride, padding = kernel
        constant = None if bias is None else bias[0]
        # A bias that differs from pixel to pixel is no Conv2d bias: the map is written out instead.
        if constant is None or (constant == constant[:, :1, :1]).all():
            return _conv2d(weight, stride, padding, None if constant is None else constant[:, 0, 0])
    if isinstance(linear, Dense) and source == linear.input_shape[1:] and len(source) == 1:
        return _linear(linear.weight.midpoint, bias)
    if size(linear.input_shape) * size(linear.output_shape) > UNROLLED:
        kind = type(linear.of).__name__ + "'s adjoint" if isinstance(linear, Adjoint) else type(linear).__name__
        raise NotCanonical(f"{kind} {linear.input_shape} -> {linear.output_shape}: no Conv2d, and too large as a matrix")
    try:
        dense = matrix(linear).midpoint
    except TypeError as error:
        raise NotCanonical(str(error)) from None
    return _Reshaped(_linear(dense, bias), len(source) > 1, target)


def _as_convolution(linear: LinearMap) -> tuple[np.ndarray, tuple[int, int], tuple[int, int]] | None:
    """(kernel, stride, padding) of a map between images, where it is a Conv2d."""
    match linear:
        case Convolution(circular=False) if all(a == b for a, b in linear.pads):
            return linear.kernel.midpoint, (1, 1), (linear.pads[0][0], linear.pads[1][0])
        case Adjoint(of=Convolution(circular=False) as of) if all(a == b for a, b in of.pads):
            kernel = of.kernel.midpoint
            pads = [k - 1 - a for k, (a, _) in zip(kernel.shape[2:], of.pads, strict=True)]
            if min(pads) >= 0:
                return np.flip(kernel, (2, 3)).swapaxes(0, 1), (1, 1), (pads[0], pads[1])
        case AveragePooling():
            channels = np.eye(linear.input_shape[1])[:, :, None, None]
            return channels * np.full(linear.window, 1 / np.prod(linear.window)), linear.window, (0, 0)
        case Pad(circular=False, pads=((0, 0), (before, _), (0, 0), (0, 0))):
            place = np.eye(linear.output_shape[1], linear.input_shape[1], -before)
            return place[:, :, None, None], (1, 1), (0, 0)
        case Diagonal():
            factor = np.broadcast_to(linear.factor.midpoint, linear.input_shape)[0]
            if (factor == factor[:, :1, :1]).all():
                return np.diag(factor[:, 0, 0])[:, :, None, None], (1, 1), (0, 0)
    return None


def _linear(weight: np.ndarray, bias: np.ndarray | None) -> nn.Linear:
    module = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, dtype=torch.float64)
    return _filled(module, weight, bias)


def _conv2d(weight: np.ndarray, stride: tuple[int, int], padding: tuple[int, int], bias: np.ndarray | None) -> nn.Conv2d:
    out, channels, *window = weight.shape
    module = nn.Conv2d(
        channels, out, (window[0], window[1]), stride, padding, bias=bias is not None, dtype=torch.float64
    )
    return _filled(module, weight, bias)


def _filled(module, weight: np.ndarray, bias: np.ndarray | None):
    module.weight.data = torch.from_numpy(np.array(weight, dtype=np.float64))
    if bias is not None:
        module.bias.data = torch.from_numpy(np.array(bias, dtype=np.float64).reshape(-1))
    return module.requires_grad_(False)


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


def bounded_arguments(module) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The (lower, upper) that auto_LiRPA holds of the argument of every activation, in order."""
    for node in module._modules.values():
        if type(node).__name__ in ("BoundRelu", "BoundTanh", "BoundSigmoid"):
            argument = node.inputs[0]
            if argument.lower is None or argument.upper is None:
                raise NotCanonical(f"auto_LiRPA left the argument of {node.name} without bounds")
            yield argument.lower.detach(), argument.upper.detach()
