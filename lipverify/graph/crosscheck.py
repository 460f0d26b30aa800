"""The cross-check of the graph against the program: every lowering rule is distrusted, at every import.

The weights are replaced by small multiples of 1/4 and the program is lowered again. Then every map, by its own definition
in numpy, and the ATen operations that it stands for, by torch, get the same small multiples of 1/4 and must return equal
numbers: exactly, because all products and sums are dyadic and small, except where the map divides or is not piecewise
linear. Quarters, because integers would hide a truncation.
What suits no such weights (chains of matrix products overflow on them, solves are singular) is compared on the program's
own weights instead, to the rounding of float64.
Activations are also probed at every breakpoint and on both sides of it, their slopes on a grid, and maps with a known
constant on pairs of inputs (:mod:`lipverify.graph.probes`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch

from lipverify.actions import apply
from lipverify.graph.evaluation import Weighted, act
from lipverify.graph.fuse import pair
from lipverify.graph.layer_graph import Node
from lipverify.graph.lower import auxiliary
from lipverify.graph.probes import REPORT, CrossCheckError, fillings, probe_constant, probe_slopes
from lipverify.maps import (
    Adjoint,
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
from lipverify.read.program import Program

__all__ = ["CrossCheckError", "act", "crosscheck"]

TOLERANCE = 2.0**-40
OWN = 2.0**-30
"""Relative, on the program's own weights: a chain of thirty matrix products in float64 keeps more than that."""
SEED = 20220713
Nodes = Mapping[str, Node]


def crosscheck(program: Program, nodes: Nodes) -> dict[str, str]:
    """Compare every node with its operation on signed quarters and, where roots or divisors need it, positive ones.

    What neither suits is compared on the program's own weights. There a difference may be the rounding of ill-conditioned
    weights: it is no error, and the node counts as not compared.

    Returns:
        The nodes that could not be compared, because no such weights suit them, with the reason: nothing may be derived
        from these.

    Raises:
        CrossCheckError: where they differ on quarters.
    """
    pending = {n for n, node in nodes.items() if not isinstance(node.map, Opaque) and not auxiliary(n)}
    for lowest in (-3, 1):
        if not pending:
            return {}
        rng = np.random.default_rng(SEED)
        override = {
            name: torch.from_numpy(np.asarray(rng.integers(lowest, 4, size=tuple(w.shape)) / 4)).to(w.dtype)
            for name, w in program.weights.items()
            if w.is_floating_point()
        }
        probe = Weighted.of(replace(program, weights={**program.weights, **override}))
        suited = {n for n in pending if _kinds(nodes, n) == _kinds(probe.nodes, n)}
        pending = {n for n in nodes if n in pending and not (n in suited and _compared(probe, n, rng))}
    if pending:
        rng, own = np.random.default_rng(SEED), Weighted.of(program, nodes)
        pending = {n for n in nodes if n in pending and not _agrees(own, n, rng)}
    return dict.fromkeys(pending, "its map could not be compared with it, neither on small weights nor on its own")


def _agrees(own: Weighted, name: str, rng: np.random.Generator) -> bool:
    """Whether a node was compared on the program's own weights and is there what its operation computes."""
    try:
        return _compared(own, name, rng, max(_coarse(own.program), OWN))
    except CrossCheckError:
        return False


def _compared(probe: Weighted, name: str, rng: np.random.Generator, rounding: float = 0.0) -> bool:
    """Whether a node could be compared under these weights, which may cause a relative difference of ``rounding``.

    Raises:
        CrossCheckError: where the map differs from the operation.
    """
    for inputs in _inputs(probe.nodes, name, rng):
        expected = probe.computed(name, inputs)
        if expected is None or not np.isfinite(expected).all():
            return False
        allowed = max(_tolerance(probe.nodes, name, probe.program), rounding)
        _same(name, probe.operations[name].target, probe.mapped(name, inputs), expected, allowed)
    _check_pair(probe, name, rng, rounding)
    return True


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


def _inputs(nodes: Nodes, name: str, rng: np.random.Generator) -> Iterator[dict[str, Array]]:
    """Quarters other than 0, which would hide a column of weights; small ones where a constant is known, with its own
    probe; for activations the breakpoints and a grid as well."""
    map_ = nodes[name].map
    inputs = {i: _quarters(shape, 7, rng) for i, shape in _leaves(nodes, name)}
    if isinstance(map_, Lipschitz):
        inputs = {i: np.asarray(rng.integers(-3, 4, size=x.shape) / 4) for i, x in inputs.items()}
        flat = np.concatenate([x.reshape(-1) for x in inputs.values()])  # a nested map acts on several values at once
        probe_constant(name, map_, np.resize(flat, map_.input_shape))
    if not isinstance(map_, Pointwise):
        yield inputs
        return
    probe_slopes(name, map_)
    for source, shape in _leaves(nodes, name):
        for filled in fillings(map_, shape):
            yield inputs | {source: filled}


def _quarters(shape: Shape, largest: int, rng: np.random.Generator) -> Array:
    return np.asarray(rng.choice((-1, 1), size=shape) * rng.integers(1, largest + 1, size=shape) / 4)


def _check_pair(probe: Weighted, name: str, rng: np.random.Generator, rounding: float) -> None:
    """A node and the one before it, as the one map that they are merged into."""
    before = probe.nodes.get(probe.nodes[name].inputs[0])
    both = None if before is None else pair(before.map, probe.nodes[name].map)
    if before is None or both is None:
        return
    x = _quarters(both.input_shape, 3, rng)
    expected = probe.computed(name, {before.inputs[0]: x})
    if expected is not None:
        # A merged scaling is a product that rounds, summed over many taps.
        rounds = _own_tolerance(both, probe.program) > 0
        allowed = max(rounding, _coarse(probe.program), TOLERANCE) if rounds else rounding
        where = f"{probe.operations[before.name.partition('~')[0]].target} and {probe.operations[name].target}"
        _same(name, where, apply(both, x), expected, allowed)


def _same(name: str, target: str, found: Array, expected: Array, tolerance: float) -> None:
    difference = np.abs(found - expected) if found.shape == expected.shape else np.array(np.inf)
    allowed = tolerance * (1 + np.abs(expected).max(initial=0.0))
    if not difference.max(initial=0.0) <= allowed:
        raise CrossCheckError(
            f"the graph differs from the program by {difference.max()} on small numbers",
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
    coarse = _coarse(program)
    if isinstance(map_, Pointwise):
        return 0.0 if map_.name in ("relu", "abs") else coarse
    if isinstance(map_, Lipschitz):
        return 0.0 if map_.peak is not None else coarse
    if not isinstance(map_, Affine):
        return 0.0
    linear = map_.linear.of if isinstance(map_.linear, Adjoint) else map_.linear
    numbers = [getattr(linear, f, None) for f in ("weight", "kernel", "factor")] + [map_.bias]
    if any(n is not None and n.radius is not None for n in numbers):
        return coarse
    if not isinstance(map_.linear, Separable):
        return 0.0
    exact = map_.linear.scale == 1 and all(factor.radius is None for _, factor in map_.linear.factors)
    return 0.0 if exact else coarse if map_.linear.scale == 1 else TOLERANCE


def _coarse(program: Program) -> float:
    return max(4 * torch.finfo(program.dtype).eps, OWN)
