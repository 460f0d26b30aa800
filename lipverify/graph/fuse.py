"""Merging explicit padding with the convolution that follows it, because the norm of the pair is not the product."""

from __future__ import annotations

from dataclasses import replace

from lipverify.graph.layer_graph import LayerGraph, Node
from lipverify.maps import Affine, Convolution, Map, Pad


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
    read = {i for node in nodes.values() for i in node.inputs} | {graph.output}
    return replace(graph, nodes={name: node for name, node in nodes.items() if name in read})


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
    return Affine(Convolution(second.kernel, first.input_shape, pads, first.circular), convolution.bias)
