"""Merging nodes whose norm together is not the product of their norms, and copies of the same entries into one node.

padding       then a convolution: the convolution that pads
linear map    A x + b, then a scaling D of its channels (batch norm outside training): D A x + (D b + c), enclosed

weights       of one axis, then a sum (or other matrix) along it: the weighted sum, enclosed

||D A|| <= ||D|| ||A||, far less where channels that A makes large are those that D makes small, as trained networks have it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from lipverify.graph.convolutions import reshaped
from lipverify.graph.intervals import NotFoldable, enclose, interval
from lipverify.graph.layer_graph import LayerGraph, Node
from lipverify.maps import (
    Adjoint,
    Affine,
    Convolution,
    Dense,
    Diagonal,
    Enclosure,
    Gather,
    LinearMap,
    Map,
    Pad,
    Rearrange,
    Separable,
    Shape,
)


def fuse(graph: LayerGraph, merged: dict[tuple[int, int], Affine]) -> LayerGraph:
    """The graph with every pair that :func:`pair` knows as one node; the value between them may be read by others only
    where it is a padding, which costs nothing to keep.

    Args:
        merged: maps already made, by the identities of the two they replace; filled here, so that several regions of
            one program share them (and with them the norms already computed).
    """
    readers = Counter(i for node in graph.nodes.values() for i in node.inputs) + Counter([graph.output])
    nodes: dict[str, Node] = {}
    for name, node in graph.nodes.items():
        first = nodes.get(node.inputs[0]) if node.inputs else None
        both = first and (_is_pad(first.map) or readers[first.name] == 1) and _shared(first.map, node.map, merged)
        nodes[name] = Node(name, both, first.inputs) if first and both else node
    nodes, output = _once(nodes, graph.output)
    read = {i for node in nodes.values() for i in node.inputs} | {output}
    return replace(graph, nodes={name: node for name, node in nodes.items() if name in read}, output=output)


def _shared(first: Map, second: Map, merged: dict[tuple[int, int], Affine]) -> Affine | None:
    """The pair as one map, made once."""
    key = id(first), id(second)
    if key not in merged and (both := pair(first, second)) is not None:
        merged[key] = both
    return merged.get(key)


def _once(nodes: dict[str, Node], output: str) -> tuple[dict[str, Node], str]:
    """Every copy of the same entries of one value once; the others' readers read that one."""
    first: dict[object, str] = {}
    same: dict[str, str] = {}
    kept: dict[str, Node] = {}
    for name, node in nodes.items():
        inputs = tuple(same.get(i, i) for i in node.inputs)
        kept[name] = replace(node, inputs=inputs) if inputs != node.inputs else node
        key = _copied(node.map, inputs)
        if key is not None:
            same[name] = first.setdefault(key, name)
    return kept, same.get(output, output)


def _copied(map_: Map, inputs: tuple[str, ...]) -> object:
    """What distinguishes one copy of entries from another; None for other maps."""
    match map_:
        case Affine(linear=Rearrange() | Pad() as linear, bias=None):
            return linear, inputs
        case Affine(linear=Gather(input_shape=shape, index=index), bias=None):
            return shape, index.shape, np.ascontiguousarray(index).tobytes(), inputs
    return None


def pair(first: Map, second: Map) -> Affine | None:
    """The one map that does ``second`` after ``first``, where there is one that is worth it.

    Exact where no product rounds; else the enclosure of all products and sums of what the two maps enclose.
    """
    try:
        with np.errstate(all="ignore"):
            return _pair(first, second)
    except NotFoldable:  # a product that overflows
        return None


def _pair(first: Map, second: Map) -> Affine | None:
    match first, second:
        case Affine(linear=Pad() as pad, bias=None), Affine(linear=Convolution() as convolution, bias=bias):
            return _padded(pad, convolution, bias)
        case Affine(linear=Diagonal(factor=factor), bias=None), Affine(linear=Separable() as separable, bias=bias):
            return _weighted(factor, separable, bias)
        case Affine(linear=linear, bias=bias), Affine(linear=Diagonal(factor=factor), bias=offset):
            return _scaled(linear, bias, factor, offset)
    return None


def _is_pad(map_: Map) -> bool:
    return isinstance(map_, Affine) and isinstance(map_.linear, Pad)


def _padded(first: Pad, second: Convolution, bias: Enclosure | None) -> Affine | None:
    """Zero padding adds to the convolution's own; circular padding merges only with a convolution without any."""
    if any(map(any, first.pads[:2])) or second.circular or (first.circular and any(map(any, second.pads))):
        return None
    pads = tuple((a + c, b + d) for (a, b), (c, d) in zip(first.pads[2:], second.pads, strict=True))
    both = replace(second, input_shape=first.input_shape, pads=pads, circular=first.circular)
    return Affine(both, bias)


def _weighted(factor: Enclosure, separable: Separable, bias: Enclosure | None) -> Affine | None:
    """Factors along an axis whose matrix they are the weights of: a sum of products is a product with a row."""
    shape = _full(factor, separable.input_shape)
    for i, (axis, matrix) in enumerate(separable.factors):
        if shape[axis] == np.prod(shape, dtype=int) > 1:
            weighted = axis, _times(matrix, factor, (1, -1))
            factors = (*separable.factors[:i], weighted, *separable.factors[i + 1 :])
            return Affine(replace(separable, factors=factors), bias)
    return None


def _scaled(linear: LinearMap, bias: Enclosure | None, factor: Enclosure, offset: Enclosure | None) -> Affine | None:
    """D (A x + b) + c, for D with one factor for each channel that A makes: row of its matrix, or of its kernel.

    Factors of one size are left alone: their product of norms is the norm. (So a CPL block keeps its scalar.)
    """
    if not isinstance(linear, Dense | Convolution | Adjoint):
        return None
    shape = linear.output_shape
    axis = len(shape) - 1 if isinstance(linear, Dense) else 1
    full = _full(factor, shape)
    if full[axis] != np.prod(full, dtype=int) or len(set(np.abs(factor.midpoint).flat)) < 2:
        return None
    match linear:
        case Dense(weight=weight):
            scaled = replace(linear, weight=_times(weight, factor, (-1, 1)))
        case Convolution(kernel=kernel):
            scaled = replace(linear, kernel=_times(kernel, factor, (-1,) + (1,) * (len(kernel.shape) - 1)))
        case Adjoint(of=Convolution(kernel=kernel, groups=groups) as of):
            # Channel j of group g, made by the adjoint, is read by the kernels of that group as their channel j.
            by_group = reshaped(kernel, (groups, -1, *kernel.shape[1:]))
            product = _times(by_group, factor, (groups, 1, kernel.shape[1]) + (1,) * (len(kernel.shape) - 2))
            scaled = Adjoint(replace(of, kernel=reshaped(product, kernel.shape)))
        case _:
            return None
    moved = None if bias is None else interval(bias) * interval(factor)
    if offset is not None:
        moved = interval(offset) if moved is None else moved + interval(offset)
    return Affine(scaled, None if moved is None else enclose(moved))


def _full(factor: Enclosure, shape: Shape) -> Shape:
    """The shape of the factors with the axes that broadcasting adds."""
    return (1,) * (len(shape) - len(factor.shape)) + factor.shape


def _times(x: Enclosure, factor: Enclosure, shape: Shape) -> Enclosure:
    return enclose(interval(x) * interval(reshaped(factor, shape)))
