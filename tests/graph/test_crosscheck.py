"""Corrupt every lowering rule in turn: the import must notice."""

from dataclasses import replace
from fractions import Fraction
from functools import cache

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
    Concatenation,
    Convolution,
    Dense,
    Diagonal,
    Enclosure,
    Extremum,
    Gather,
    Lipschitz,
    Opaque,
    Pad,
    Pointwise,
    Rearrange,
    Separable,
    Sum,
)
from tests.graph.operations import SUPPORTED
from tests.networks import Lambda


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
    "stride dropped": ("strided", Convolution, lambda m: replace(m, stride=m.stride[::-1], pads=m.pads[::-1])),
    "dilation dropped": (
        "groups",
        Convolution,
        lambda m: replace(m, dilation=(2, 1), pads=((2, 2), (0, 0))),
    ),
    "groups in another order": (
        "groups",
        Convolution,
        lambda m: replace(m, kernel=Enclosure(np.roll(m.kernel.midpoint, 3, 0))),
    ),
    "copies": ("selection", Gather, lambda m: replace(m, index=m.index[:, ::-1])),
    "reflection": ("reflect", Gather, lambda m: replace(m, index=np.maximum(m.index, m.index[0, 0, 0, 0]))),
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


@pytest.mark.parametrize("case", ["max pooling, overlapping", "softmax", "length", "sort", "layer norm"])
def test_a_constant_that_is_too_small_is_noticed(monkeypatch, case):
    corrupted(monkeypatch, Lipschitz, lambda m: replace(m, square=m.square / 64 if case == "softmax" else m.square / 2))
    if case == "layer norm":
        corrupted(monkeypatch, Lipschitz, lambda m: replace(m, square=Fraction(1)))
    model, x = SUPPORTED[case]
    with pytest.raises(CrossCheckError, match="ratio"):
        regions(trace(model.eval(), x))


def test_windows_in_another_place_are_noticed(monkeypatch):
    def moved(map_):
        return replace(map_, function=lambda x: map_.function(np.roll(x, 1, -1)))

    corrupted(monkeypatch, Lipschitz, moved)
    model, x = SUPPORTED["max pooling, overlapping"]
    with pytest.raises(CrossCheckError, match="differs"):
        regions(trace(model.eval(), x))


def test_a_map_before_another_is_checked_with_it(monkeypatch):
    original = lowering.lower_operation

    def lower_operation(*args):
        map_, inputs = original(*args)
        if isinstance(map_, Sum):
            (small, reads) = inputs[1]
            wrong = replace(small, linear=replace(small.linear, index=np.roll(small.linear.index, 1)))
            inputs = (inputs[0], (wrong, reads))
        return map_, inputs

    monkeypatch.setattr(lowering, "lower_operation", lower_operation)
    with pytest.raises(CrossCheckError):
        regions(trace(Lambda(lambda x, w: x + x[:1]).eval(), torch.zeros(2, 3)))


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
    """The map with one of its numbers off by one: the first weight where it has one, else its offset, sign or order."""
    match map_:
        case Sum(signs=signs):
            return replace(map_, signs=(signs[0], -signs[1]))
        case Extremum(largest=largest):
            return replace(map_, largest=not largest)
        case Concatenation():
            return Affine(Rearrange(map_.output_shape, map_.output_shape), Enclosure(np.ones(map_.output_shape)))
        case Pointwise() | Lipschitz():
            return replace(map_, function=lambda x: map_.function(x) + 1.0)
        case Affine(linear=Separable() as linear):
            return replace(map_, linear=replace(linear, scale=linear.scale / 2))
        case Affine(linear=Gather(index=index) as linear) if np.ptp(index):
            return replace(map_, linear=replace(linear, index=np.roll(index, 1)))
    for field in ("weight", "kernel", "factor"):
        numbers = getattr(map_.linear, field, None)
        if numbers is not None:
            return replace(map_, linear=replace(map_.linear, **{field: flip(numbers)}))
    offset = np.ones(map_.output_shape) + (0.0 if map_.bias is None else map_.bias.midpoint)
    return replace(map_, bias=Enclosure(offset))


def placed(map_, inputs):
    """The spoiled map where it stands; a concatenation becomes another map of itself."""
    changed = spoiled(map_)
    return (changed, ((map_, inputs),)) if isinstance(map_, Concatenation) else (changed, inputs)


@cache
def targets():
    """For every operation with a lowering rule the first supported model that has it: model -> operations."""
    found = {}
    for case, (model, x) in SUPPORTED.items():
        program = trace(model.eval(), x)
        nodes = lowering.lower(program)
        for op in program.operations:
            if op.name in nodes:
                found.setdefault(op.target, case)
    return {case: sorted(t for t, first in found.items() if first == case) for case in SUPPORTED}


@pytest.mark.parametrize("case", SUPPORTED)
def test_every_lowering_rule_corrupted_in_turn_is_noticed(monkeypatch, case):
    wanted, (model, x) = targets()[case], SUPPORTED[case]
    if not wanted:
        pytest.skip("earlier models have its operations")
    program, original, hit = trace(model.eval(), x), lowering.lower_operation, []
    for target in wanted:

        def lower_operation(op, *rest, target=target):
            map_, inputs = original(op, *rest)
            if op.target == target and not isinstance(map_, Opaque):
                hit.append(target)
                return placed(map_, inputs)
            return map_, inputs

        monkeypatch.setattr(lowering, "lower_operation", lower_operation)
        with pytest.raises(CrossCheckError):
            regions(program)
    assert sorted(set(hit)) == wanted


class Bjorck(nn.Module):
    def forward(self, w):
        for _ in range(15):
            w = 1.5 * w - 0.5 * w @ w.t() @ w
        return w


class Cayley(nn.Module):
    def forward(self, w):
        skew, one = w - w.t(), torch.eye(len(w))
        return torch.linalg.solve(one + skew, one - skew)


def parametrized(parametrization):
    torch.manual_seed(0)
    layer = nn.Linear(12, 12)
    nn.init.orthogonal_(layer.weight, gain=0.9)
    torch.nn.utils.parametrize.register_parametrization(layer, "weight", parametrization)
    return trace(nn.Sequential(layer, nn.ReLU()).eval(), torch.zeros(1, 12))


@pytest.mark.parametrize("parametrization", [Bjorck(), Cayley()], ids=["overflows", "solve"])
def test_weights_that_suit_no_integers_are_compared_as_they_are(parametrization):
    pytest.importorskip("flint")
    assert regions(parametrized(parametrization))[""].unsupported is None


@pytest.mark.parametrize("by", [1.0, 1e-5])
def test_a_difference_on_the_programs_own_weights_leaves_its_node_unsupported(monkeypatch, by):
    pytest.importorskip("flint")

    def moved(map_):
        changed = map_.weight.midpoint.copy()
        changed[2, 3] += by
        return replace(map_, weight=Enclosure(changed, map_.weight.radius))

    corrupted(monkeypatch, Dense, moved)
    assert "could not be compared" in regions(parametrized(Bjorck()))[""].unsupported
