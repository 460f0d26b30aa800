"""Models, inputs and processes made to mislead: each once gave a wrong verdict or a crash."""

import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import lipverify
from lipverify.claims import ClaimError
from lipverify.errors import LipverifyError
from lipverify.graph import regions, trace
from lipverify.verdict import Verdict
from tests.hostile import FAST, verdict
from tests.networks import Lambda


def test_a_model_that_returns_one_value_twice_has_two_outputs():
    class Twice(nn.Module):
        def forward(self, x):
            y = torch.relu(x)
            return y, y

    assert verdict(Twice(), "1") is Verdict.UNSUPPORTED


@pytest.mark.parametrize(
    "function",
    [
        lambda x, w: x + torch.zeros(3),
        lambda x, w: x * torch.ones(3),
        lambda x, w: x @ torch.triu(torch.eye(3) * w),
        lambda x, w: x.half().float(),
        lambda x, w: (x.double() * 2).float(),
        lambda x, w: x * (x > 0).float(),
        lambda x, w: x * torch.sqrt(1 - (w + 2) * (w + 2)),
        lambda x, w: x.new_zeros(3) + x,
    ],
)
def test_odd_operations_cost_their_own_region_at_most(function):
    assert verdict(Lambda(function), "1000") in (Verdict.PROVED, Verdict.UNSUPPORTED)
    model = nn.Sequential(nn.Linear(3, 3), Lambda(function)).eval()
    report = lipverify.audit(model, torch.ones(1, 3), claims=[{"layer": "0", "bound": "100"}], verifiers=FAST)
    assert report.regions[0].verdict is Verdict.PROVED


def test_circular_padding_spelled_out_by_slices_is_read_as_such(tmp_path):
    model = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), nn.Flatten(), nn.Linear(48, 4)).eval()
    exported = torch.export.export(model, (torch.ones(1, 2, 4, 4),)).run_decompositions()
    torch.export.save(exported, tmp_path / "model.pt2")
    claims = [{"layer": "2", "bound": "100"}, {"layer": "0", "bound": "100"}]
    report = lipverify.audit(tmp_path / "model.pt2", claims=claims, verifiers=FAST)
    assert [r.verdict for r in report.regions[:2]] == [Verdict.PROVED, Verdict.PROVED]


def test_recurrent_networks_are_unsupported_not_a_crash():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(3, 4, batch_first=True)

        def forward(self, x):
            return self.lstm(x)[0]

    assert verdict(Last(), "1", torch.ones(1, 2, 3)) is Verdict.UNSUPPORTED


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu")])
def test_the_callers_modes_do_not_change_the_verdict(mode):
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    with mode():
        assert verdict(model, "0.001") is Verdict.REFUTED


def test_the_callers_process_is_left_as_it_was():
    def state():
        return sys.getrecursionlimit(), list(warnings.filters), np.geterr(), torch.get_default_dtype()

    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU()).eval()
    before, drawn = state(), torch.get_rng_state()
    with np.errstate(all="raise"):
        lipverify.audit(model, torch.ones(1, 3), radius="0.1")
    assert state() == before and torch.equal(torch.get_rng_state(), drawn)


def test_a_program_that_lies_about_its_modules_proves_nothing_of_them():
    """The Linear is said to belong to the root and the ReLU to module 0: claim 1 on module 0 is not the ReLU's."""
    honest = trace(nn.Sequential(nn.Linear(3, 3), nn.ReLU()).eval(), torch.ones(1, 3))
    moved = {"aten.relu.default": ("", "0")}
    lying = replace(
        honest,
        operations=tuple(replace(op, calls=moved.get(op.target, ("",))) for op in honest.operations),
        modules=("", "0"),
    )
    assert "read outside" in regions(lying)["0"].unsupported
    assert lipverify.audit(lying, claims=[{"layer": "0", "bound": "1"}], verifiers=FAST).exit_code != 0


def test_tied_weights_are_everybodys_own():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x))

    found = regions(trace(Tied().eval(), torch.ones(1, 3)))
    assert found["a"].unsupported is None and found["b"].unsupported is None


@pytest.mark.parametrize("radius", ["nan", "-0.1", -1, "1e5000000", True, [1]])
def test_a_radius_that_is_none_is_refused_at_once(radius):
    with pytest.raises(LipverifyError):
        lipverify.audit(nn.Linear(3, 3).eval(), torch.ones(1, 3), radius=radius)


@pytest.mark.parametrize("inputs", [torch.tensor(1.0), [[1.0], [1.0, 2.0]], {"x": 1}, "x", np.zeros((0, 3))])
def test_inputs_that_are_none_are_refused(inputs):
    with pytest.raises(LipverifyError, match="inputs"):
        lipverify.audit(nn.Linear(3, 3).eval(), inputs)


def test_the_center_of_a_ball_has_the_layers_own_shape():
    claim = {"layer": "", "bound": "9", "domain": {"center": [0, 0, 0], "radius": "1"}}
    with pytest.raises(ClaimError, match="shape"):
        lipverify.audit(nn.Linear(3, 3).eval(), torch.ones(1, 3), claims=[claim])


def test_a_view_of_a_weight_read_elsewhere_is_noticed_too():
    """t and relu are said to belong to block, matmul to the root: claim 1 on block is not the ReLU's."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = nn.Sequential(Lambda(lambda x, w: x @ w.t(), torch.randn(3, 3)))

        def forward(self, x):
            return torch.relu(self.block(x))

    honest = trace(Net().eval(), torch.ones(1, 3))
    inside = ("", "block", "block.0")
    lying = replace(
        honest,
        operations=tuple(
            replace(op, calls=("",) if op.target == "aten.matmul.default" else inside) for op in honest.operations
        ),
    )
    for path in ("block", "block.0"):
        assert "read outside" in regions(lying)[path].unsupported
        assert lipverify.audit(lying, claims=[{"layer": path, "bound": "1"}], verifiers=FAST).exit_code != 0


def test_a_sum_with_a_factor_is_refuted_where_it_is_not_lowered():
    model = Lambda(lambda x, w: x * torch.ops.aten.add.Scalar(w, 1, 2), torch.tensor([16.0]))
    assert verdict(model, "1") is Verdict.REFUTED


def test_dropout_of_a_plain_export_is_the_identity(tmp_path):
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(), nn.ReLU()).eval()
    torch.export.save(torch.export.export(model, (torch.ones(1, 3),)), tmp_path / "model.pt2")
    report = lipverify.audit(tmp_path / "model.pt2", claims=[{"layer": "", "bound": "100"}], verifiers=FAST)
    assert report.verdict is Verdict.PROVED and report.regions[0].lower > 0


@pytest.mark.parametrize(
    "function",
    [
        lambda x, w: x + x[:, :0].mean(),
        lambda x, w: x * torch.index_put(w, (torch.tensor([0, 0]),), torch.ones(2), accumulate=True).sum(),
    ],
)
def test_what_a_rule_fails_on_costs_its_own_layer(function):
    model = nn.Sequential(nn.Linear(3, 3), Lambda(function, torch.ones(3))).eval()
    report = lipverify.audit(model, torch.ones(1, 3), claims=[{"layer": "0", "bound": "100"}], verifiers=FAST)
    assert report.regions[0].verdict is Verdict.PROVED and report.regions[1].upper is None


def test_the_largest_entry_of_many_sums_is_bounded_in_one_pass():
    class Doubled(nn.Module):
        def forward(self, x):
            for _ in range(60):
                x = x + torch.relu(x)
            return x

    claims = [{"layer": "", "bound": str(2**60), "norm": "l2->linf"}]
    report = lipverify.audit(Doubled().eval(), torch.ones(1, 2), claims=claims, verifiers=["spectral"])
    assert report.verdict is Verdict.PROVED


def test_a_softplus_whose_jump_is_spelled_out_is_not_bounded(tmp_path):
    """Just below 20 its slope is 1e-6, and at 20 it jumps by 2e-9: the ratio has no bound."""

    class Steep(nn.Module):
        def forward(self, x):
            z = 2.0**-20 * x + (20 - 2.0**-19)
            return torch.where(z > 20, z, torch.log1p(torch.exp(z)))

    assert verdict(Steep(), "1e-5", torch.zeros(1, 1)) is not Verdict.PROVED
    exported = torch.export.export(nn.Softplus().eval(), (torch.zeros(1, 1),)).run_decompositions()
    torch.export.save(exported, tmp_path / "decomposed.pt2")
    report = lipverify.audit(tmp_path / "decomposed.pt2", claims=[{"layer": "", "bound": "1"}], verifiers=FAST)
    assert report.verdict is Verdict.UNSUPPORTED
