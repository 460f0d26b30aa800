"""The graph of a program as data: a node for every map, its numbers by where they come from."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor
from typing import Any

import numpy as np

from lipverify.certificates.arrays import Arrays
from lipverify.certificates.canonical import digest
from lipverify.graph.layer_graph import Node, Regions
from lipverify.graph.lower import value_of
from lipverify.maps import (
    Adjoint,
    Affine,
    Concatenation,
    Convolution,
    Dense,
    Diagonal,
    Enclosure,
    Extremum,
    Gather,
    LinearMap,
    Lipschitz,
    Map,
    Opaque,
    Pad,
    Pointwise,
    Rearrange,
    Separable,
    Sum,
)

RUNS = 1 << 16
"""So many runs of copied entries are written down at most."""

LARGEST = 10**17
"""Integers of a certificate are below it."""


class Unwritten(Exception):
    """A map that the graph of a certificate cannot hold; the message says why."""


def graph_data(examined: Regions, arrays: Arrays) -> dict[str, Any]:
    """Input, shape and nodes of the graph, and the digest of these.

    What else the program reads, inputs that are not the one judged, are nodes that read nothing.
    """
    inputs = list(examined.program.inputs.items())
    (start, shape), others = inputs[0], inputs[1:]
    nodes = [
        {"value": name, "map": _opaque("input", "it is not the input that is judged", other), "reads": []}
        for name, other in others
    ]
    nodes += [
        {"value": name, "map": map_data(node, arrays), "reads": list(node.inputs)}
        for name, node in examined.nodes.items()
    ]
    graph = {"input": start, "shape": list(shape), "nodes": nodes}
    return {**graph, "sha256": digest(graph)}


def map_data(node: Node, arrays: Arrays) -> dict[str, Any]:
    """One map as data."""
    try:
        return _map(node.map, value_of(node.name), arrays)
    except Unwritten as reason:
        return _opaque(type(node.map).__name__.lower(), str(reason), node.map.output_shape)


def _opaque(operation: str, reason: str, output: tuple[int, ...]) -> dict[str, Any]:
    return {"kind": "opaque", "operation": operation[:200], "reason": reason[:1000], "output": list(output)}


def _map(map_: Map, value: str, arrays: Arrays) -> dict[str, Any]:
    match map_:
        case Affine(linear=linear, bias=bias):
            data = _linear(linear, value, arrays)
            return data if bias is None else {**data, "bias": arrays.data(bias, value)}
        case Pointwise(name=name, slopes=slopes):
            return {"kind": "pointwise", "name": name, "slopes": [_ratio(end) for end in stated_slopes(slopes)]}
        case Sum(signs=signs):
            return {"kind": "sum", "signs": list(signs)}
        case Concatenation(axis=axis):
            return {"kind": "concatenation", "axis": axis}
        case Extremum(largest=largest):
            return {"kind": "extremum", "largest": largest}
        case Lipschitz(name=name, output_shape=output, square=square):
            return {"kind": "named", "name": name, "square": _ratio(stated(square)), "output": list(output)}
        case Opaque(operation=operation, reason=reason, output_shape=output):
            return _opaque(operation, reason, output)


def _linear(linear: LinearMap, value: str, arrays: Arrays) -> dict[str, Any]:
    def array(x: Enclosure) -> dict[str, Any]:
        return arrays.data(x, value)

    match linear:
        case Dense(weight=weight):
            return {"kind": "dense", "weight": array(weight)}
        case Convolution(kernel=kernel, pads=pads, circular=circular, groups=groups):
            return {
                "kind": "convolution",
                "kernel": array(kernel),
                "pads": _pairs(pads),
                "circular": circular,
                "stride": list(linear.stride),
                "dilation": list(linear.dilation),
                "groups": groups,
            }
        case Adjoint(of=of):
            return {"kind": "adjoint", "of": {**_linear(of, value, arrays), "input": list(of.input_shape)}}
        case Diagonal(factor=factor):
            return {"kind": "diagonal", "factor": array(factor)}
        case Separable(factors=factors, scale=scale, output_shape=output):
            if max(scale.numerator, scale.denominator) >= LARGEST:
                raise Unwritten("its scale is a ratio of integers beyond 10^17")
            return {
                "kind": "separable",
                "factors": [[axis, array(matrix)] for axis, matrix in factors],
                "scale": [scale.numerator, scale.denominator],
                "output": list(output),
            }
        case Gather(index=index):
            return {"kind": "gather", "runs": runs(index), "output": list(index.shape)}
        case Rearrange(axes=axes, output_shape=output):
            return {"kind": "rearrange", "axes": None if axes is None else list(axes), "output": list(output)}
        case Pad(pads=pads, circular=circular):
            return {"kind": "pad", "pads": _pairs(pads), "circular": circular}


def _pairs(pads: tuple[tuple[int, int], ...]) -> list[list[int]]:
    return [list(pair) for pair in pads]


def stated(q: Fraction, *, down: bool = False) -> Fraction:
    """q as a certificate states it: rounded, up or down, where its numerator or denominator would be too long.

    Raises:
        Unwritten: where it is too large.
    """
    if abs(q.numerator) < LARGEST and q.denominator < LARGEST:
        return q
    bits = 54 - (abs(q.numerator) // q.denominator).bit_length()
    if bits < 0:
        raise Unwritten("its constant is beyond 10^16")
    scaled = q * (1 << bits)
    return Fraction(floor(scaled) if down else ceil(scaled), 1 << bits)


def stated_slopes(slopes: tuple[Fraction, Fraction]) -> tuple[Fraction, Fraction]:
    """The interval of slopes, rounded outward."""
    return stated(slopes[0], down=True), stated(slopes[1])


def _ratio(q: Fraction) -> list[int]:
    return [q.numerator, q.denominator]


def runs(index: np.ndarray) -> list[list[int]]:
    """An array of positions as arithmetic progressions [start, step, count]; [-1, 0, count] for -1.

    Raises:
        Unwritten: where there are more than ``RUNS``.

    >>> runs(np.array([0, 1, 2, 7, 7, -1, -1]))
    [[0, 1, 3], [7, 0, 2], [-1, 0, 2]]
    """
    flat = index.reshape(-1)
    steps = np.diff(flat)
    # A progression goes on while the step is the same and no end of it is a zero (or both are).
    outside = flat < 0
    joined = outside[1:] == outside[:-1]
    ends = np.flatnonzero(np.r_[True, (steps[1:] != steps[:-1]) | ~joined[1:], True])
    found: list[list[int]] = []
    position = 0
    while position < flat.size:
        last = position
        if position < flat.size - 1 and joined[position]:
            last = int(ends[np.searchsorted(ends, position, side="right")])
        step = int(steps[position]) if last > position else 0
        found.append([int(flat[position]), step, last - position + 1])
        if len(found) > RUNS:
            raise Unwritten(f"its copies are more than {RUNS} runs of entries")
        position = last + 1
    return found
