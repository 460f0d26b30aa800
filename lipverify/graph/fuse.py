"""Merging nodes: padding with the convolution that follows it, because the norm of the pair is not the product; and copies
of the same entries of one value into one node, so that what is made of them is seen to be made of the same.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lipverify.graph.layer_graph import LayerGraph, Node
from lipverify.maps import Affine, Convolution, Gather, Map, Pad, Rearrange


def fuse(graph: LayerGraph, merged: dict[tuple[int, int], Affine]) -> LayerGraph:
    """The graph with every Pad that a convolution reads merged into that convolution.

    Zero padding adds to the convolution's own; circular padding merges only with a convolution without any.

    Args:
        merged: maps already made, by the identities of the two they replace; filled here, so that several regions of
            one program share them (and with them the norms already computed).
    """
    nodes: dict[str, Node] = {}
    for name, node in graph.nodes.items():
        pad = graph.nodes[node.inputs[0]] if node.inputs and node.inputs[0] in graph.nodes else None
        both = pad and pair(pad.map, node.map)
        if pad and both:
            nodes[name] = Node(name, merged.setdefault((id(pad.map), id(node.map)), both), pad.inputs)
        else:
            nodes[name] = node
    nodes, output = _once(nodes, graph.output)
    read = {i for node in nodes.values() for i in node.inputs} | {output}
    return replace(graph, nodes={name: node for name, node in nodes.items() if name in read}, output=output)


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


def pair(pad: Map, convolution: Map) -> Affine | None:
    """The convolution that does both, where there is one."""
    if not (isinstance(pad, Affine) and isinstance(pad.linear, Pad) and pad.bias is None):
        return None
    if not (isinstance(convolution, Affine) and isinstance(convolution.linear, Convolution)):
        return None
    first, second = pad.linear, convolution.linear
    if any(map(any, first.pads[:2])) or second.circular or (first.circular and any(map(any, second.pads))):
        return None
    pads = tuple((a + c, b + d) for (a, b), (c, d) in zip(first.pads[2:], second.pads, strict=True))
    both = replace(second, input_shape=first.input_shape, pads=pads, circular=first.circular)
    return Affine(both, convolution.bias)
