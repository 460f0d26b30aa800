"""Corrupt every lowering rule in turn: the import must notice."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from lipverify.graph import CrossCheckError, regions, trace
from lipverify.graph import crosscheck as room
from lipverify.graph import lower as lowering
from lipverify.maps import (
    Adjoint,
    Affine,
    Convolution,
    Dense,
    Diagonal,
    Enclosure,
    Opaque,
    Pad,
    Pointwise,
    Rearrange,
    Separable,
    Sum,
)
from tests.graph.test_lower import SUPPORTED


def flip(x: Enclosure) -> Enclosure:
    changed = x.midpoint.copy()
    changed.flat[0] += 1
    return replace(x, midpoint=changed)


MUTATIONS = {
    "dense": ("linear", Dense, lambda m: replace(m, weight=flip(m.weight))),
    "convolution": ("convolution", Convolution, lambda m: replace(m, kernel=flip(m.kernel))),
    "kernel mirrored": (
        "convolution",
        Convolution,
        lambda m: replace(m, kernel=Enclosure(m.kernel.midpoint[..., ::-1].copy())),
    ),
    "pads shifted": (
        "explicit padding",
        Pad,
        lambda m: replace(m, pads=tuple((b, a) for a, b in m.pads)),
    ),
    "wrong boundary": ("circular", Pad, lambda m: replace(m, circular=False)),
    "not transposed": (
        "transposed",
        Adjoint,
        lambda m: replace(m, of=replace(m.of, kernel=Enclosure(m.of.kernel.midpoint[:, :, ::-1].copy()))),
    ),
    "sign": ("dense block", Sum, lambda m: replace(m, signs=(1, 1))),
    "scale": ("scales", Diagonal, lambda m: replace(m, factor=flip(m.factor))),
    "axes": (
        "shapes",
        Rearrange,
        lambda m: replace(m, axes=(0, 1, 2, 3)) if m.axes is not None and len(m.axes) == 4 else m,
    ),
}


def corrupted(monkeypatch, kind, change):
    original = lowering.lower_operation

    def lower_operation(*args):
        map_, inputs = original(*args)
        if isinstance(map_, kind):
            return change(map_), inputs
        if isinstance(map_, Affine) and isinstance(map_.linear, kind):
            return replace(map_, linear=change(map_.linear)), inputs
        return map_, inputs

    monkeypatch.setattr(lowering, "lower_operation", lower_operation)


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_corrupted_rule_is_noticed(monkeypatch, name):
    case, kind, change = MUTATIONS[name]
    corrupted(monkeypatch, kind, change)
    model, x = SUPPORTED[case]
    with pytest.raises(CrossCheckError):
        regions(trace(model.eval(), x))


def test_a_dropped_bias_is_noticed(monkeypatch):
    corrupted(monkeypatch, Affine, lambda m: replace(m, bias=None))
    with pytest.raises(CrossCheckError):
        regions(trace(nn.Linear(3, 2).eval(), torch.zeros(1, 3)))


def test_a_wrong_window_is_noticed(monkeypatch):
    corrupted(monkeypatch, Separable, lambda m: replace(m, scale=m.scale / 2))
    with pytest.raises(CrossCheckError):
        regions(trace(nn.AvgPool2d((2, 3)).eval(), torch.zeros(1, 1, 6, 6)))


def test_a_wrong_activation_is_noticed(monkeypatch):
    corrupted(monkeypatch, Pointwise, lambda m: replace(m, function=lambda x: np.maximum(x, 1e-300)))
    with pytest.raises(CrossCheckError):
        regions(trace(nn.ReLU().eval(), torch.zeros(1, 6)))


def test_a_slope_interval_that_is_too_small_is_noticed(monkeypatch):
    corrupted(monkeypatch, Pointwise, lambda m: replace(m, slopes=(Fraction(0), Fraction(1, 5))))
    with pytest.raises(CrossCheckError, match="slopes"):
        regions(trace(nn.Sigmoid().eval(), torch.zeros(1, 6)))


def test_a_wrong_merge_of_padding_is_noticed(monkeypatch):
    original = room.pair

    def pair(pad, convolution):
        both = original(pad, convolution)
        return both and replace(both, linear=replace(both.linear, circular=False))

    monkeypatch.setattr(room, "pair", pair)
    model, x = SUPPORTED["circular"]
    with pytest.raises(CrossCheckError):
        regions(trace(model.eval(), x))


def spoiled(map_):
    """The map with one of its numbers off by one: the first weight where it has one, else its offset or sign."""
    if isinstance(map_, Sum):
        return replace(map_, signs=(map_.signs[0], -map_.signs[1]))
    if isinstance(map_, Pointwise):
        return replace(map_, function=lambda x: map_.function(x) + 1.0)
    for field in ("weight", "kernel", "factor"):
        numbers = getattr(map_.linear, field, None)
        if numbers is not None:
            return replace(map_, linear=replace(map_.linear, **{field: flip(numbers)}))
    offset = np.ones(map_.output_shape) + (0.0 if map_.bias is None else map_.bias.midpoint)
    return replace(map_, bias=Enclosure(offset))


def targets():
    found = {}
    for case, (model, x) in SUPPORTED.items():
        program = trace(model.eval(), x)
        nodes = lowering.lower(program)
        for op in program.operations:
            if op.name in nodes:
                found.setdefault(op.target, case)
    return sorted(found.items())


@pytest.mark.parametrize(("target", "case"), targets())
def test_every_lowering_rule_corrupted_in_turn_is_noticed(monkeypatch, target, case):
    original, hit = lowering.lower_operation, []

    def lower_operation(op, *rest):
        map_, inputs = original(op, *rest)
        if op.target == target and not isinstance(map_, Opaque):
            hit.append(op.name)
            return spoiled(map_), inputs
        return map_, inputs

    monkeypatch.setattr(lowering, "lower_operation", lower_operation)
    model, x = SUPPORTED[case]
    program = trace(model.eval(), x)
    with pytest.raises(CrossCheckError):
        regions(program)
    assert hit
