"""The Householder activation: every form of it has the constant 1, and nothing that differs from it is taken for it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import cos, nn, sin, where

from lipverify.actions import apply
from lipverify.graph import CrossCheckError, arb, regions, trace
from lipverify.graph.rules import RULES
from lipverify.maps import Lipschitz
from lipverify.read import read
from lipverify.verifiers.problem import Problem
from lipverify.verifiers.spectral import Spectral

needs_flint = pytest.mark.skipif(arb.flint is None, reason="python-flint is not installed")
PLAIN = {
    "pair": lambda z: z.chunk(2, 1),
    "angle": lambda t, z: t,
    "selector": lambda x, y, t: x * sin(t / 2) - y * cos(t / 2),
    "first": lambda x, y, t: x * cos(t) + y * sin(t),
    "second": lambda x, y, t: x * sin(t) - y * cos(t),
    "choose_first": lambda s, kept, reflected: where(s <= 0, kept, reflected),
    "choose_second": lambda s, kept, reflected: where(s <= 0, kept, reflected),
    "join": lambda a, b: torch.cat((a, b), 1),
}


class Activation(nn.Module):
    """The activation, with some of its parts exchanged."""

    def __init__(self, angles: torch.Tensor, **parts) -> None:
        super().__init__()
        self.theta = nn.Parameter(angles)
        self.parts = PLAIN | parts

    def forward(self, z):
        part = self.parts
        (x, y), t = part["pair"](z), part["angle"](self.theta, z)
        s = part["selector"](x, y, t)
        a = part["choose_first"](s, x, part["first"](x, y, t))
        b = part["choose_second"](s, y, part["second"](x, y, t))
        return part["join"](a, b)


def both(choose):
    return {"choose_first": choose, "choose_second": choose}


FORMS = {
    "as published": {},
    "below the line": both(lambda s, kept, reflected: where(s < 0, kept, reflected)),
    "above the line": both(lambda s, kept, reflected: where(s > 0, reflected, kept)),
    "from the line on": both(lambda s, kept, reflected: where(s >= 0, reflected, kept)),
    "masks": both(lambda s, kept, reflected: kept * (s <= 0) + reflected * (s > 0)),
    "strict masks": both(lambda s, kept, reflected: reflected * (s >= 0) + (s < 0) * kept),
    "a mask and a choice": {"choose_first": lambda s, kept, reflected: where(s > 0, reflected, kept)},
    "half as a product": {"selector": lambda x, y, t: x * sin(0.5 * t) - cos(t * 0.5) * y},
    "sum the other way": {"first": lambda x, y, t: sin(t) * y + cos(t) * x},
    "angles made of others": {"angle": lambda t, z: (t * 3 + 0.25).abs()},
    "slices": {"pair": lambda z: (z[:, ::2], z[:, 1::2])},
    "last axis": {"pair": lambda z: z.split(2, -1), "join": lambda a, b: torch.cat((a, b), -1)},
    "concatenated along another axis": {"join": lambda a, b: torch.cat((a, b), 3)},
}
ANGLES = {"one": torch.tensor(2.5), "for each channel": torch.tensor([[[[-1.0]], [[0.7]]]])}

MUTANTS = {
    "selector with a sum": {"selector": lambda x, y, t: x * sin(t / 2) + y * cos(t / 2)},
    "selector exchanged": {"selector": lambda x, y, t: x * cos(t / 2) - y * sin(t / 2)},
    "selector negative": {"selector": lambda x, y, t: y * cos(t / 2) - x * sin(t / 2)},
    "selector of the whole angle": {"selector": lambda x, y, t: x * sin(t) - y * cos(t)},
    "selector of a quarter": {"selector": lambda x, y, t: x * sin(t / 4) - y * cos(t / 4)},
    "halves differ": {"selector": lambda x, y, t: x * sin(t / 2) - y * cos(t * 0.25)},
    "half rounded": {"selector": lambda x, y, t: x * sin(torch.div(t, 2, rounding_mode="floor")) - y * cos(t / 2)},
    "a half that is not": {"selector": lambda x, y, t: x * sin(t * 0.5000001) - y * cos(t / 2)},
    "rotation": {"second": lambda x, y, t: y * cos(t) - x * sin(t)},
    "first with a difference": {"first": lambda x, y, t: x * cos(t) - y * sin(t)},
    "first exchanged": {"first": lambda x, y, t: x * sin(t) + y * cos(t)},
    "first twice x": {"first": lambda x, y, t: x * cos(t) + x * sin(t)},
    "first with alpha": {"first": lambda x, y, t: torch.add(x * cos(t), y * sin(t), alpha=2)},
    "second with a sum": {"second": lambda x, y, t: x * sin(t) + y * cos(t)},
    "another angle": {"second": lambda x, y, t: x * sin(t + 1) - y * cos(t + 1)},
    "another threshold": both(lambda s, kept, reflected: where(s <= 0.5, kept, reflected)),
    "branches exchanged": both(lambda s, kept, reflected: where(s <= 0, reflected, kept)),
    "one branch exchanged": {"choose_second": lambda s, kept, reflected: where(s <= 0, reflected, kept)},
    "masks that overlap": both(lambda s, kept, reflected: kept * (s <= 0) + reflected * (s >= 0)),
    "masks that leave the line out": both(lambda s, kept, reflected: kept * (s < 0) + reflected * (s > 0)),
    "masks subtracted": both(lambda s, kept, reflected: kept * (s <= 0) - reflected * (s > 0)),
    "another condition": {"choose_second": lambda s, kept, reflected: where(s.abs() <= 0, kept, reflected)},
    "selector of other entries": {"choose_second": lambda s, kept, reflected: where(s.flip(1) <= 0, kept, reflected)},
    "equality": both(lambda s, kept, reflected: where(s == 0, kept, reflected)),
    "halves exchanged": {"join": lambda a, b: torch.cat((b, a), 1)},
    "one half twice": {"join": lambda a, b: torch.cat((a, a), 1)},
    "three parts": {"join": lambda a, b: torch.cat((a, b, a), 1)},
    "stacked": {"join": lambda a, b: torch.stack((a, b), 1)},
    "angle of the input": {"angle": lambda t, z: z[:, :2]},
    "angle of the input, one": {"angle": lambda t, z: t * z.mean()},
    "shapes differ": {"pair": lambda z: (z[:, :2], z[:, 2:3])},
    "a constant for x": {"pair": lambda z: (torch.ones(1, 2, 4, 4), z[:, 2:])},
}


def judged(model, shape=(1, 4, 4, 4)):
    program = trace(model.eval(), torch.zeros(shape))
    region = regions(program)[""]
    return program, region, Spectral().verify(Problem(region))


def steepest(program, x):
    jacobian = torch.autograd.functional.jacobian(program, x)
    return float(torch.linalg.matrix_norm(jacobian.reshape(-1, x.numel()), 2))


CASES = [(form, angles) for form in FORMS for angles in ANGLES if (form, angles) != ("last axis", "for each channel")]


@needs_flint
@pytest.mark.parametrize(("form", "angles"), CASES)
def test_every_form_has_the_constant_one(form, angles):
    program, region, evidence = judged(Activation(ANGLES[angles].clone(), **FORMS[form]))
    assert region.unsupported is None and evidence.upper == 1 and "householder" in evidence.method
    for seed in range(3):
        x = torch.randn(1, 4, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        assert steepest(program, x) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_what_differs_is_not_recognised(mutant):
    _, region, evidence = judged(Activation(ANGLES["for each channel"].clone(), **MUTANTS[mutant]))
    assert evidence.upper is None and "aten." in (region.unsupported or "")
    assert not any(isinstance(node.map, Lipschitz) for node in region.graph.nodes.values())


def test_every_reference_of_the_form_is_to_one_parameter():
    """Equal numbers under two names are two weights: a program is recognised by its terms."""

    class Two(Activation):
        def __init__(self):
            super().__init__(torch.ones(2, 1, 1), second=lambda x, y, t: x * sin(self.other) - y * cos(self.other))
            self.other = nn.Parameter(torch.ones(2, 1, 1))

    assert judged(Two())[2].upper is None


@needs_flint
def test_values_that_are_not_disjoint_cost_their_copies():
    """x = y = z: the pair moves sqrt(2) times as far, and where the activation keeps it the Jacobian does, too."""
    program, _, evidence = judged(Activation(torch.tensor(0.5), pair=lambda z: (z, z)), (1, 3))
    assert evidence.upper**2 >= 2 and float(evidence.upper) == pytest.approx(math.sqrt(2))
    assert steepest(program, -torch.ones(1, 3, dtype=torch.float64)) == pytest.approx(math.sqrt(2))


@needs_flint
def test_the_constants_of_what_stands_before_and_after_are_multiplied():
    torch.manual_seed(0)
    linear = nn.Linear(6, 6)
    _, _, evidence = judged(nn.Sequential(linear, Activation(torch.rand(3) * 6)), (1, 6))
    norm = float(torch.linalg.matrix_norm(linear.weight.detach().double(), 2))
    assert norm <= float(evidence.upper) <= norm * (1 + 1e-6)


@given(st.floats(-7, 7), st.tuples(*(st.floats(-4, 4),) * 4))
def test_no_two_points_move_apart_at_any_angle(angle, points):
    """What the proof says of the real function, seen on what a machine computes of it."""
    t, v, w = torch.tensor(angle, dtype=torch.float64), points[:2], points[2:]
    plain = Activation(t)
    of = [plain(torch.tensor([p], dtype=torch.float64)).detach().numpy() for p in (v, w)]
    assert np.linalg.norm(of[0] - of[1]) <= np.linalg.norm(np.subtract(v, w)) + 1e-12


@needs_flint
@pytest.mark.parametrize("angle", [-3.0, 0.0, 0.7, math.pi, 5.0])
def test_the_function_of_the_map_is_what_the_program_computes(angle):
    program, region, _ = judged(Activation(torch.tensor(angle)), (1, 6))
    (map_,) = (node.map for node in region.graph.nodes.values() if isinstance(node.map, Lipschitz))
    x = torch.randn(1, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert np.allclose(apply(map_, x.numpy()), program(x).detach().numpy(), rtol=0, atol=1e-12)


@needs_flint
def test_the_cross_check_notices_another_function(monkeypatch):
    right = RULES["householder"]

    def wrong(op, scope):
        map_, inputs = right(op, scope)
        other = Lipschitz(map_.name, map_.input_shape, map_.output_shape, map_.square, map_.why, lambda v: -v)
        return other, inputs

    monkeypatch.setitem(RULES, "householder", wrong)
    with pytest.raises(CrossCheckError, match="differs"):
        judged(Activation(torch.tensor(0.7)))


@needs_flint
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["as published", "masks"])
def test_an_exported_file_has_the_same_constant(form, tmp_path):
    exported = torch.export.export(Activation(torch.rand(2, 1, 1), **FORMS[form]).eval(), (torch.zeros(1, 4, 4, 4),))
    for program in (exported, exported.run_decompositions()):
        torch.export.save(program, tmp_path / "model.pt2")
        region = regions(read(tmp_path / "model.pt2"))[""]
        assert Spectral().verify(Problem(region)).upper == 1


def test_angles_of_another_dtype_are_refused():
    model = Activation(torch.tensor([[[0.5]], [[1.0]]], dtype=torch.float16))
    assert judged(model)[2].upper is None


def test_without_ball_arithmetic_it_is_refused_with_the_advice(monkeypatch):
    monkeypatch.setattr(arb, "flint", None)
    assert "lipverify[fold]" in (judged(Activation(torch.tensor(0.7)))[1].unsupported or "")
