"""Several values at once: how far a concatenation, a maximum or a minimum can move, by weights on entries pulled back.

Let the output move by at most sum_v sum_j w_v[j] |dv_j|^2 (squared), w_v >= 0 one weight for each entry of the value v. Then
v may be replaced by what it is made of:

copies      dv_j = du_i(j): the weights of all copies of u_i add up
extremum    |d max(a, b)|^2 <= max(|da|, |db|)^2 <= |da|^2 + |db|^2, entrywise: both get the weight
order       |d max(a, b)|^2 + |d min(a, b)|^2 <= |da|^2 + |db|^2 (sorting two numbers is 1-Lipschitz): the larger weight
gate        |d sigma(a)| <= |da| for slopes in [-1, 1]

and where nothing more is replaced, sum_v max_j w_v[j] L(v)^2 bounds the square of the constant, L(v) being that of v.
Direction: an upper bound. Maximum and minimum over disjoint parts of one value (MaxMin, GroupSort) thus keep its constant.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from lipverify.actions import apply
from lipverify.graph import LayerGraph, Node
from lipverify.maps import (
    Affine,
    Array,
    Concatenation,
    Diagonal,
    Extremum,
    Gather,
    LinearMap,
    Pad,
    Pointwise,
    Rearrange,
    size,
)

LARGEST_WEIGHT = 2.0**20
"""Weights are integers held in float64; beyond this a value is not pulled back,
so that no sum of copies reaches 2^53."""


def joint_square(graph: LayerGraph, node: Node, constants: Mapping[str, Fraction]) -> Fraction:
    """An upper bound of the square of the constant from the graph's input to a Concatenation or an Extremum.

    Args:
        graph: where the node stands.
        node: of the kind Concatenation or Extremum.
        constants: an upper bound of the constant of every value before it.
    """
    plain = sum((constants[name] ** 2 for name in node.inputs), Fraction(0))
    weights: dict[str, Array] = {node.name: np.ones(size(node.map.output_shape))}
    total = Fraction(0)
    for name in reversed([n for n in graph.nodes if n in constants or n == node.name]):
        weight = weights.get(name)
        if weight is None:
            continue
        pulled = _pulled(graph, graph.nodes[name], weights) if _largest(weight) <= LARGEST_WEIGHT else None
        if pulled is None:
            total += Fraction(_largest(weight)) * constants[name] ** 2
        else:
            for source, moved in pulled:
                weights[source] = weights[source] + moved if source in weights else moved
        del weights[name]
    for name, weight in weights.items():  # the graph's input alone; what has no constant raises, it is never left out
        total += Fraction(_largest(weight)) * constants[name] ** 2
    return min(plain, total)


def _largest(weight: Array) -> float:
    return float(weight.max(initial=0.0))


def _pulled(graph: LayerGraph, node: Node, weights: dict[str, Array]) -> list[tuple[str, Array]] | None:
    """The weights that a value's own weight puts on what it is made of; None where it is to be bounded by its constant."""
    weight = weights[node.name]
    match node.map:
        case Affine(linear=linear):
            copies = _copies(linear)
            if copies is None:
                return None
            kept = copies >= 0
            source = np.bincount(copies[kept], weight[kept], size(linear.input_shape)).astype(np.float64)
            return [(node.inputs[0], source)]
        case Concatenation(input_shapes=shapes, axis=axis):
            parts = np.split(weight.reshape(node.map.output_shape), np.cumsum([s[axis] for s in shapes])[:-1], axis)
            return [(name, part.reshape(-1)) for name, part in zip(node.inputs, parts, strict=True)]
        case Extremum(largest=largest):
            for other in [n for n in weights if n != node.name and n in graph.nodes]:
                twin = graph.nodes[other]
                if (
                    isinstance(twin.map, Extremum)
                    and twin.map.largest is not largest
                    and sorted(twin.inputs) == sorted(node.inputs)
                    and _largest(weights[other]) <= LARGEST_WEIGHT
                ):
                    # Weights that reach the twin only later start again from zero, and are pulled back on their own.
                    weight = np.maximum(weight, weights[other])
                    weights[other] = np.zeros_like(weight)
                    break
            return [(name, weight) for name in node.inputs]
        case Pointwise(slopes=(low, high)) if low >= -1 and high <= 1 and max(-low, high) == 1:
            return [(node.inputs[0], weight)]
    return None


def _copies(linear: LinearMap) -> np.ndarray | None:
    """For every output entry the input entry that it copies up to sign, -1 for none; None for other maps."""
    match linear:
        case Gather(index=index):
            return index.reshape(-1)
        case Rearrange() | Pad():
            count = np.arange(1.0, size(linear.input_shape) + 1).reshape(linear.input_shape)
            return apply(linear, count).reshape(-1).astype(np.int64) - 1
        case Diagonal(factor=factor) if factor.radius is None and (np.abs(factor.midpoint) == 1).all():
            return np.arange(size(linear.input_shape))
    return None
