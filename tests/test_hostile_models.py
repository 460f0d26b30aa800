"""Models, evidence and processes made to mislead: each once gave a wrong verdict or a crash."""

import sys
import warnings
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

import lipverify
from lipverify.claims import ClaimError
from lipverify.errors import LipverifyError
from lipverify.evidence import Evidence, Rigor
from lipverify.graph import regions, trace
from lipverify.rigor.enclose import NotEnclosed, enclose
from lipverify.verdict import MismatchKind, Verdict
from tests.networks import Lambda

FAST = ["spectral", "witness"]


def verdict(model, bound, x=None, **kwargs):
    x = torch.ones(1, 3) if x is None else x
    report = lipverify.audit(model.eval(), x, claims=[{"layer": "", "bound": bound}], verifiers=FAST, **kwargs)
    return report.regions[0].verdict


@pytest.fixture
def flush():
    torch.set_flush_denormal(True)
    yield
    torch.set_flush_denormal(False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_subnormal_weights_where_the_process_reads_them_as_zero(flush, dtype):
    weight = torch.tensor([2], dtype=torch.int16).view(torch.bfloat16).to(dtype) if dtype is torch.bfloat16 else None
    weight = torch.tensor([1 << 9], dtype=torch.int32).view(torch.float32) if weight is None else weight
    model = Lambda(lambda x, w: x * 2.0**60 * w * 2.0**60, weight)
    assert verdict(model, "0", torch.ones(1, 1, dtype=dtype)) is Verdict.REFUTED
    with pytest.raises(LipverifyError, match="subnormal"):
        enclose(trace(model, torch.ones(1, 1, dtype=dtype)), torch.ones(1, 1).double())


def test_products_of_weights_that_underflow_where_the_process_flushes(flush):
    class Tiny(nn.Module):
        def __init__(self):
            super().__init__()
            self.v = nn.Parameter(torch.tensor([2.0**-600], dtype=torch.float64))
            self.w = nn.Parameter(torch.tensor([1.5 * 2.0**-424], dtype=torch.float64))

        def forward(self, x):
            return x * (self.w * self.v) * 2.0**900

    assert verdict(Tiny(), "1e-50", torch.ones(1, 1).double()) is not Verdict.PROVED


def test_a_model_that_returns_one_value_twice_has_two_outputs():
    class Twice(nn.Module):
        def forward(self, x):
            y = torch.relu(x)
            return y, y

    assert verdict(Twice(), "1") is Verdict.UNSUPPORTED


@pytest.mark.parametrize("cast", [lambda w: w.half().float(), lambda w: w.to(torch.bfloat16).to(torch.float32)])
def test_weights_that_pass_through_a_narrower_dtype_are_not_taken_as_exact(cast):
    model = Lambda(lambda x, w: x * cast(w), torch.tensor([1 + 2.0**-20]))
    assert verdict(model, "1") is Verdict.UNSUPPORTED
    with pytest.raises(NotEnclosed, match="conversion"):
        enclose(trace(model.eval(), torch.ones(1, 3)), torch.ones(1, 3).double())


def test_a_float64_buffer_narrowed_to_the_programs_dtype_is_not_taken_as_exact():
    model = nn.Module()
    model.register_buffer("a", torch.tensor([1 - 2.0**-40], dtype=torch.float64))
    model.forward = lambda x: x * model.a.float()
    assert verdict(model, "0.9999999999999") is Verdict.UNSUPPORTED


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


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.bool])
def test_integer_arithmetic_wraps_as_the_program_does(dtype):
    model = nn.Module()
    model.register_buffer("a", torch.tensor([1, 100, 100]).to(dtype))
    model.forward = lambda x: x * (model.a * model.a)
    largest = int((model.a * model.a).max())
    (row,) = lipverify.audit(model.eval(), torch.ones(1, 3), verifiers=FAST).regions
    assert row.lower == row.upper == largest


def test_integers_that_are_drawn_are_not_folded():
    model = buffered(lambda x, n: x * torch.randint_like(n, 5), n=torch.tensor([3, 4, 5]))
    assert verdict(model, "5") is Verdict.UNSUPPORTED


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


class Says:
    """A third party's verifier that says what it is told to."""

    name = "says"

    def __init__(self, **evidence):
        self.evidence = evidence

    def verify(self, problem):
        return Evidence("spectral", **self.evidence)


@pytest.mark.parametrize(
    "evidence",
    [
        {"lower": float("nan")},
        {"upper": float("inf")},
        {"upper": 1},
        {"upper": Fraction(-1)},
        {"upper": Fraction(1), "rigor": "rigorous"},
    ],
)
def test_evidence_that_is_none_is_a_failure_of_its_verifier_alone(evidence):
    report = lipverify.audit(nn.Linear(3, 3).eval(), torch.ones(1, 3), verifiers=["spectral", Says(**evidence)])
    assert "failed" in report.regions[0].evidence[1].reason and report.regions[0].upper is not None


def test_a_verifier_given_as_a_value_is_capped_and_bears_its_own_name():
    claims = [{"layer": "", "bound": "0"}]
    liar = Says(upper=Fraction(0), rigor=Rigor.EXACT)
    model = Lambda(lambda x, w: x * x).eval()
    (row,) = lipverify.audit(model, torch.ones(1, 3), claims=claims, verifiers=[liar]).regions
    assert row.verdict is Verdict.UNSUPPORTED
    assert (row.evidence[0].verifier, row.evidence[0].rigor) == ("says", Rigor.NUMERIC)
    liar.name = "spectral"
    with pytest.raises(LipverifyError, match="spectral"):
        lipverify.audit(model, torch.ones(1, 3), claims=claims, verifiers=[liar])


def test_what_a_verifier_finds_at_odds_with_the_program_is_a_mismatch():
    row = lipverify.audit(
        nn.Linear(3, 3).eval(),
        torch.ones(1, 3),
        verifiers=["spectral", Says(contradiction="a range excludes an output")],
    ).regions[0]
    assert [m.kind for m in row.mismatches] == [MismatchKind.NUMERIC]


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


def test_no_verifiers_and_unknown_trust_are_refused():
    for options in ({"verifiers": []}, {"trusted": ["nobody"]}):
        with pytest.raises(LipverifyError):
            lipverify.audit(nn.Linear(3, 3).eval(), torch.ones(1, 3), **options)


def test_the_center_of_a_ball_has_the_layers_own_shape():
    claim = {"layer": "", "bound": "9", "domain": {"center": [0, 0, 0], "radius": "1"}}
    with pytest.raises(ClaimError, match="shape"):
        lipverify.audit(nn.Linear(3, 3).eval(), torch.ones(1, 3), claims=[claim])


def test_a_lower_bound_without_two_inputs_refutes_nothing():
    claims = [{"layer": "", "bound": "1"}]
    shown = Says(lower=Fraction(2), rigor=Rigor.RIGOROUS)
    model = Lambda(lambda x, w: x * x).eval()
    (row,) = lipverify.audit(model, torch.ones(1, 3), claims=claims, verifiers=[shown], trusted=["says"]).regions
    assert row.verdict is Verdict.UNSUPPORTED and row.mismatches[0].kind is MismatchKind.CLAIM


def buffered(function, dtype=torch.float32, **buffers):
    model = nn.Module()
    for name, value in buffers.items():
        model.register_buffer(name, value)
    model.forward = lambda x: function(x, *(getattr(model, name) for name in buffers))
    return model


@pytest.mark.parametrize(
    ("model", "dtype"),
    [
        (buffered(lambda x, a: x * a, a=torch.tensor(1 - 2.0**-40, dtype=torch.float64)), torch.float32),
        (
            buffered(
                lambda x, a, w: x * ((a - w) * 2.0**24),
                a=torch.tensor(1 + 2.0**-24 + 2.0**-40, dtype=torch.float64),
                w=torch.ones(3),
            ),
            torch.float32,
        ),
        (buffered(lambda x, n: x * n, n=torch.tensor([2051] * 3)), torch.float16),
        (buffered(lambda x, n: x * n, n=torch.tensor(259)), torch.bfloat16),
        (buffered(lambda x, n: x * n, n=torch.tensor(16777219)), torch.float32),
    ],
)
def test_weights_that_meet_a_narrower_dtype_are_not_taken_as_exact(model, dtype):
    assert verdict(model, "0.9", torch.ones(1, 3, dtype=dtype)) is Verdict.UNSUPPORTED
    assert verdict(model, "1e9", torch.ones(1, 3, dtype=dtype)) is Verdict.UNSUPPORTED


def test_small_integers_are_kept():
    model = buffered(lambda x, n: x * n, n=torch.tensor([3, 4, 5]))
    assert verdict(model, "5") is Verdict.PROVED


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


class Contradicts(Says):
    def verify(self, problem):
        from lipverify.evidence import Contradiction

        raise Contradiction(*self.evidence.values(), "x")


@pytest.mark.parametrize("bounds", [(0, 0), (5, 0), (0.5, 0.25)])
@pytest.mark.parametrize("trusted", [(), ("says",)])
def test_a_strangers_contradiction_proves_nothing(bounds, trusted):
    lower, upper = (Fraction(b) if isinstance(b, int) else b for b in bounds)
    stranger = Contradicts(lower=lower, upper=upper)
    claims = [{"layer": "", "bound": "0"}]
    report = lipverify.audit(
        nn.Linear(3, 3).eval(), torch.ones(1, 3), claims=claims, verifiers=[stranger], trusted=trusted
    )
    assert report.verdict is (Verdict.CONFLICT if trusted and bounds == (5, 0) else Verdict.UNDECIDED)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, w: x * torch.lgamma(w),
        lambda x, w: x * (w.to(torch.uint8) ** 2),
        lambda x, w: x * torch.special.i0(w),
    ],
)
def test_arithmetic_on_weights_beyond_the_rules_is_unsupported(function):
    assert verdict(Lambda(function, torch.tensor([16.0])), "1") is Verdict.UNSUPPORTED


def test_a_sum_with_a_factor_is_refuted_where_it_is_not_lowered():
    model = Lambda(lambda x, w: x * torch.ops.aten.add.Scalar(w, 1, 2), torch.tensor([16.0]))
    assert verdict(model, "1") is Verdict.REFUTED


def test_dropout_of_a_plain_export_is_the_identity(tmp_path):
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(), nn.ReLU()).eval()
    torch.export.save(torch.export.export(model, (torch.ones(1, 3),)), tmp_path / "model.pt2")
    report = lipverify.audit(tmp_path / "model.pt2", claims=[{"layer": "", "bound": "100"}], verifiers=FAST)
    assert report.verdict is Verdict.PROVED and report.regions[0].lower > 0


def test_a_buffer_that_nothing_reads_may_hold_anything():
    model = buffered(lambda x, mask: 2 * x, mask=torch.tensor([-float("inf")]))
    assert verdict(model, "2") is Verdict.PROVED


class Truncated(nn.Module):
    """The value, through an array of integers."""

    def forward(self, x):
        i = torch.empty(1, 4, dtype=torch.int64)
        i.copy_(x)
        e = torch.empty(1, 6)
        e[:, :4] = i
        e[:, 4:] = i[:, :2]
        return e


class Rounded(nn.Module):
    """0.9 I minus what an array of another dtype keeps of it."""

    def __init__(self, dtype, select):
        super().__init__()
        self.register_buffer("v", 0.9 * torch.eye(4))
        self.dtype, self.select = dtype, select

    def forward(self, x):
        zero = torch.zeros(4, 4, dtype=self.dtype)
        if self.select:  # noqa: SIM108
            kept = torch.select_scatter(zero, self.v[0], 0, 0)
        else:
            kept = torch.slice_scatter(zero, self.v, 0, 0, 4)
        return torch.nn.functional.linear(x, self.v - kept)


@pytest.mark.parametrize("select", [False, True])
@pytest.mark.parametrize("dtype", [torch.int64, torch.float16])
def test_a_copy_of_weights_into_another_dtype_rounds(dtype, select):
    try:
        assert verdict(Rounded(dtype, select), "0.5", torch.ones(1, 4)) is not Verdict.PROVED
    except LipverifyError as error:  # torch decomposes a select_scatter into integers to another function
        assert "the traced program is not the model" in str(error) and select and dtype is torch.int64


def test_a_copy_of_the_value_into_another_dtype_rounds():
    assert verdict(Truncated(), "2", torch.ones(1, 4)) is Verdict.UNSUPPORTED


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
