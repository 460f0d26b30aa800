"""The cross-check of the graph against the program: every lowering rule is distrusted, at every import.

The weights are replaced by small integers and the program is lowered again. Then every map, by its own definition in
numpy, and the ATen operation that it stands for, by torch, get the same small integers and must return equal numbers:
exactly, because all products and sums are integers below 2^53, except where the map divides or is not piecewise linear.
Activations are also probed at every breakpoint and on both sides of it, and their slopes on a grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from lipverify.actions import apply
from lipverify.errors import LipverifyError
from lipverify.graph.fuse import pair
from lipverify.graph.layer_graph import Node
from lipverify.graph.lower import lower
from lipverify.maps import Affine, Array, Concatenation, Extremum, Lipschitz, Map, Opaque, Pointwise, Separable, Sum
from lipverify.read.program import Operation, Program, run

TOLERANCE = 2.0**-40
SEED = 20220713
REPORT = "Please report this model."
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class CrossCheckError(LipverifyError):
    """A map does not do what the program does: a bug in lipverify. No bound is computed."""


def crosscheck(program: Program, nodes: Mapping[str, Node]) -> dict[str, str]:
    """Compare every node with its operation on signed integers and, where roots or divisors need it, positive ones.

    Returns:
        The nodes that could not be compared, because no such weights suit them, with the reason: nothing may be derived
        from these.

    Raises:
        CrossCheckError: where they differ.
    """
    pending = {name: node for name, node in nodes.items() if not isinstance(node.map, Opaque)}
    for lowest in (-3, 1):
        rng = np.random.default_rng(SEED)
        override = {
            name: torch.from_numpy(rng.integers(lowest, 4, size=tuple(w.shape))).to(w.dtype)
            for name, w in program.weights.items()
            if w.is_floating_point()
        }
        pending = _compare(program, pending, override, rng) if pending else {}
    return dict.fromkeys(pending, "its map could not be compared with it on integer weights")


def _compare(
    program: Program, pending: dict[str, Node], override: Mapping[str, torch.Tensor], rng: np.random.Generator
) -> dict[str, Node]:
    """What could not be compared under these weights."""
    probe = replace(program, weights={**program.weights, **override})
    lowered = lower(probe)
    constants = _constants(probe)
    by_name = {op.name: op for op in program.operations}
    left = {}
    for name, node in pending.items():
        other = lowered.get(name)
        if other is None or type(other.map) is not type(node.map) or other.inputs != node.inputs:
            left[name] = node
            continue
        shapes = {i: lowered[i].map.output_shape if i in lowered else program.inputs[i] for i in node.inputs}
        inputs = {i: rng.integers(-3, 4, size=shape).astype(np.float64) for i, shape in shapes.items()}
        if isinstance(node.map, Pointwise):
            probe_activation(name, node.map, inputs[node.inputs[0]])
        values = constants | {i: torch.from_numpy(x) for i, x in inputs.items()}
        op = by_name[name]
        if not all(r in values for r in op.references):
            left[name] = node
            continue
        expected = _run(op, values)
        if not np.isfinite(expected).all():
            left[name] = node
            continue
        _same(
            name, op.target, act(other.map, [inputs[i] for i in node.inputs]), expected, _tolerance(other.map, program)
        )
        before = lowered.get(node.inputs[0])
        both = None if before is None else pair(before.map, other.map)
        if before is not None and both is not None:
            x = rng.integers(-3, 4, size=both.input_shape).astype(np.float64)
            middle = torch.from_numpy(_run(by_name[before.name], constants | {before.inputs[0]: torch.from_numpy(x)}))
            _same(name, f"pad and {op.target}", apply(both, x), _run(op, constants | {before.name: middle}), 0.0)
    return left


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


def probe_activation(name: str, map_: Pointwise, x: Array) -> None:
    """Fill ``x`` with the breakpoints, their neighbours and a grid; check the slopes of ``map_`` on it.

    Raises:
        CrossCheckError: where a difference quotient is outside the slope interval.
    """
    points = [p for b in map_.breakpoints for p in (np.nextafter(b, -np.inf), b, np.nextafter(b, np.inf), b - 1, b + 1)]
    grid = np.unique(np.concatenate([points, np.linspace(-12, 12, 241)]))
    low, high = (float(s) for s in map_.slopes)
    apart = grid[np.concatenate([[True], np.diff(grid) > 1e-3])]
    quotients = np.diff(map_.function(apart)) / np.diff(apart)
    if quotients.min() < low - 1e-9 or quotients.max() > high + 1e-9:
        raise CrossCheckError(f"{map_.name} has slopes outside [{low}, {high}]", where=name, step=REPORT)
    flat = x.reshape(-1)
    flat[:] = np.resize(grid, flat.shape)


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


def _tolerance(map_: Map, program: Program) -> float:
    """Relative: 0 on integers, rounding where the map divides or is smooth, the dtype's where it encloses a scalar."""
    if isinstance(map_, Pointwise):
        return 0.0 if map_.name in ("relu", "abs") else 4 * torch.finfo(program.dtype).eps
    if isinstance(map_, Lipschitz):
        return 4 * torch.finfo(program.dtype).eps
    if not isinstance(map_, Affine):
        return 0.0
    numbers = [getattr(map_.linear, f, None) for f in ("weight", "kernel", "factor")] + [map_.bias]
    if any(n is not None and n.radius is not None for n in numbers):
        return 4 * torch.finfo(program.dtype).eps
    return TOLERANCE if isinstance(map_.linear, Separable) else 0.0


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


def _run(op: Operation, values: Mapping[str, torch.Tensor]) -> Array:
    return run(op, values, dict.fromkeys(FLOATS, torch.float64)).detach().numpy()
