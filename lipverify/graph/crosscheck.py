"""The cross-check of the graph against the program: every lowering rule is distrusted, at every import.

The weights are replaced by small integers and the program is lowered again. Then every map, by its own definition in
numpy, and the ATen operations that it stands for, by torch, get the same small integers and must return equal numbers:
exactly, because all products and sums are integers below 2^53, except where the map divides or is not piecewise linear.
Activations are also probed at every breakpoint and on both sides of it, their slopes on a grid, and maps with a known
constant on pairs of inputs (:mod:`lipverify.graph.probes`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch

from lipverify.actions import apply
from lipverify.graph.fuse import pair
from lipverify.graph.layer_graph import Node
from lipverify.graph.lower import auxiliary, lower
from lipverify.graph.probes import REPORT, CrossCheckError, fillings, probe_constant, probe_slopes
from lipverify.maps import (
    Affine,
    Array,
    Concatenation,
    Extremum,
    Lipschitz,
    Map,
    Opaque,
    Pointwise,
    Separable,
    Shape,
    Sum,
)
from lipverify.read.program import Operation, Program, run

TOLERANCE = 2.0**-40
SEED = 20220713
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
Nodes = Mapping[str, Node]


def crosscheck(program: Program, nodes: Nodes) -> dict[str, str]:
    """Compare every node with its operation on signed integers and, where roots or divisors need it, positive ones.

    Returns:
        The nodes that could not be compared, because no such weights suit them, with the reason: nothing may be derived
        from these.

    Raises:
        CrossCheckError: where they differ.
    """
    pending = {n for n, node in nodes.items() if not isinstance(node.map, Opaque) and not auxiliary(n)}
    for lowest in (-3, 1):
        rng = np.random.default_rng(SEED)
        override = {
            name: torch.from_numpy(rng.integers(lowest, 4, size=tuple(w.shape))).to(w.dtype)
            for name, w in program.weights.items()
            if w.is_floating_point()
        }
        pending = _compare(program, nodes, pending, override, rng) if pending else pending
    return dict.fromkeys(pending, "its map could not be compared with it on integer weights")


def _compare(
    program: Program, nodes: Nodes, pending: set[str], override: Mapping[str, torch.Tensor], rng: np.random.Generator
) -> set[str]:
    """What could not be compared under these weights."""
    probe = replace(program, weights={**program.weights, **override})
    lowered = lower(probe)
    constants = _constants(probe)
    by_name = {op.name: op for op in program.operations}
    left = set()
    for name in sorted(pending, key=list(nodes).index):
        if _kinds(nodes, name) != _kinds(lowered, name):
            left.add(name)
            continue
        compared = True
        for inputs in _inputs(lowered, name, program, rng):
            values = constants | {i: torch.from_numpy(x) for i, x in inputs.items()}
            expected = _evaluated(by_name, name, values)
            compared = expected is not None and bool(np.isfinite(expected).all())
            if expected is None or not compared:
                break
            found = _acted(lowered, name, inputs)
            _same(name, by_name[name].target, found, expected, _tolerance(lowered, name, program))
        if not compared:
            left.add(name)
            continue
        _check_pair(lowered, name, by_name, constants, rng)
    return left


def _kinds(nodes: Nodes, name: str) -> object:
    """What must be the same under other weights: the kinds of the maps and the values that they act on."""
    node = nodes.get(name)
    if node is None:
        return None
    return type(node.map), *(_kinds(nodes, i) if auxiliary(i) else i for i in node.inputs)


def _leaves(nodes: Nodes, name: str) -> Iterator[tuple[str, Shape]]:
    """The values of the program that a node and those before it act on."""
    node = nodes[name]
    shapes = node.map.input_shapes if isinstance(node.map, Sum | Concatenation | Extremum) else (node.map.input_shape,)
    for source, shape in zip(node.inputs, shapes, strict=True):
        if auxiliary(source):
            yield from _leaves(nodes, source)
        else:
            yield source, shape


def _inputs(nodes: Nodes, name: str, program: Program, rng: np.random.Generator) -> Iterator[dict[str, Array]]:
    """Small integers; for activations the breakpoints and a grid as well, and where a constant is known, its own probe."""
    map_ = nodes[name].map
    inputs = {i: rng.integers(-3, 4, size=shape).astype(np.float64) for i, shape in _leaves(nodes, name)}
    if isinstance(map_, Lipschitz):
        probe_constant(name, map_, next(iter(inputs.values())))
    if not isinstance(map_, Pointwise):
        yield inputs
        return
    probe_slopes(name, map_)
    for source, shape in _leaves(nodes, name):
        for filled in fillings(map_, shape):
            yield inputs | {source: filled}


def _evaluated(by_name: Mapping[str, Operation], name: str, values: dict[str, torch.Tensor]) -> Array | None:
    """The value of that name, by the operations between it and the values; None where one of those is missing."""
    steps, stack = dict[str, Operation](), [name]
    while stack:
        step = stack.pop()
        if step in values or step in steps:
            continue
        if step not in by_name:
            return None
        steps[step] = by_name[step]
        stack.extend(by_name[step].references)
    known = dict(values)
    for step, op in by_name.items():
        if step in steps:
            known[step] = run(op, known, dict.fromkeys(FLOATS, torch.float64))
    return known[name].detach().numpy()


def _acted(nodes: Nodes, name: str, inputs: Mapping[str, Array]) -> Array:
    """The value of a node by the definitions of its map and of those before it that are no value of the program."""
    node = nodes[name]
    return act(node.map, [_acted(nodes, i, inputs) if auxiliary(i) else inputs[i] for i in node.inputs])


def act(map_: Map, inputs: list[Array]) -> Array:
    """The action of any map of the vocabulary on its inputs, by its definition."""
    match map_:
        case Sum(shape, signs):
            return sum((s * x for s, x in zip(signs, inputs, strict=True)), np.zeros(shape))
        case Concatenation(axis=axis):
            return np.concatenate(inputs, axis)
        case Extremum(largest=largest):
            return (np.maximum if largest else np.minimum)(*inputs)
    return apply(map_, inputs[0])


def _check_pair(
    nodes: Nodes,
    name: str,
    by_name: Mapping[str, Operation],
    constants: dict[str, torch.Tensor],
    rng: np.random.Generator,
) -> None:
    """Padding and the convolution that reads it, as the one map that they are merged into."""
    before = nodes.get(nodes[name].inputs[0])
    both = None if before is None else pair(before.map, nodes[name].map)
    if before is None or both is None:
        return
    x = rng.integers(-3, 4, size=both.input_shape).astype(np.float64)
    expected = _evaluated(by_name, name, constants | {before.inputs[0]: torch.from_numpy(x)})
    if expected is not None:
        _same(name, f"pad and {by_name[name].target}", apply(both, x), expected, 0.0)


def _same(name: str, target: str, found: Array, expected: Array, tolerance: float) -> None:
    difference = np.abs(found - expected) if found.shape == expected.shape else np.array(np.inf)
    allowed = tolerance * (1 + np.abs(expected).max(initial=0.0))
    if not difference.max(initial=0.0) <= allowed:
        raise CrossCheckError(
            f"the graph differs from the program by {difference.max()} on integers",
            where=f"{name} ({target})",
            why="a bug in lipverify: no bound is computed",
            step=REPORT,
        )


def _tolerance(nodes: Nodes, name: str, program: Program) -> float:
    """Relative: 0 on integers, rounding where the map divides or is smooth, the dtype's where it encloses a scalar."""
    node = nodes[name]
    before = [_tolerance(nodes, i, program) for i in node.inputs if auxiliary(i)]
    return max([_own_tolerance(node.map, program), *before])


def _own_tolerance(map_: Map, program: Program) -> float:
    coarse = 4 * torch.finfo(program.dtype).eps
    if isinstance(map_, Pointwise):
        return 0.0 if map_.name in ("relu", "abs") else coarse
    if isinstance(map_, Lipschitz):
        return 0.0 if map_.peak is not None else coarse
    if not isinstance(map_, Affine):
        return 0.0
    numbers = [getattr(map_.linear, f, None) for f in ("weight", "kernel", "factor")] + [map_.bias]
    if any(n is not None and n.radius is not None for n in numbers):
        return coarse
    if not isinstance(map_.linear, Separable):
        return 0.0
    exact = map_.linear.scale == 1 and all(factor.radius is None for _, factor in map_.linear.factors)
    return 0.0 if exact else coarse if map_.linear.scale == 1 else TOLERANCE


def _constants(program: Program) -> dict[str, torch.Tensor]:
    """Every value that depends on weights alone, computed by torch in float64, where it can be."""
    values = {n: w.to(torch.float64) if w.is_floating_point() else w for n, w in program.weights.items()}
    for op in program.operations:
        if all(r in values for r in op.references):
            try:
                values[op.name] = run(op, values, dict.fromkeys(FLOATS, torch.float64))
            except (RuntimeError, ValueError, TypeError, NotImplementedError):
                continue
    return values
