"""Claims x verifiers -> Report."""

import sys
import types
from fractions import Fraction

import pytest
import torch
from torch import nn

import lipverify
from lipverify.claims import Claim, ClaimError
from lipverify.errors import LipverifyError
from lipverify.evidence import Evidence, Rigor
from lipverify.graph import trace
from lipverify.verdict import MismatchKind, Verdict
from tests.networks import DenseBlock, Lambda, Shared

FAST = ["spectral", "witness"]


def scaled(factor: float, n: int = 3) -> nn.Module:
    model = nn.Sequential(nn.Linear(n, n, bias=False), nn.ReLU()).eval()
    with torch.no_grad():
        model[0].weight.copy_(factor * torch.eye(n))
    return model


def audit(model, claims=None, x=None, **kwargs):
    x = torch.zeros(1, 3) if x is None else x
    return lipverify.audit(model, x, claims=claims, **{"verifiers": FAST, **kwargs})


def test_the_function_is_public():
    assert callable(lipverify.audit)


@pytest.mark.parametrize(
    ("bound", "verdict", "code"),
    [("2", Verdict.PROVED, 0), ("2.000000001", Verdict.PROVED, 0), ("1.99", Verdict.REFUTED, 1)],
)
def test_verdicts_and_exit_codes(bound, verdict, code):
    report = audit(scaled(2.0), [{"layer": "0", "bound": bound}, {"layer": "", "bound": bound}])
    assert [r.verdict for r in report.regions] == [verdict, verdict]
    assert (report.verdict, report.exit_code, report.semantics) == (verdict, code, "real")


def test_a_claim_one_unit_in_the_last_place_below_the_truth_is_not_proved():
    report = audit(scaled(2.0), [{"layer": "", "bound": "1.9999999999999999999999999999"}])
    assert report.verdict is not Verdict.PROVED


def test_one_refuted_layer_leaves_the_others_proved_and_the_whole_not():
    model = nn.Sequential(DenseBlock(6, 4, 1.0), DenseBlock(6, 4, 1.6), DenseBlock(6, 4, 1.2)).eval()
    claims = [{"layer": path, "bound": "1"} for path in ("0", "1", "2", "")]
    report = audit(model, claims, torch.zeros(1, 6))
    verdicts = [r.verdict for r in report.regions]
    assert verdicts[:3] == [Verdict.PROVED, Verdict.REFUTED, Verdict.PROVED]
    assert verdicts[3] is not Verdict.PROVED and report.exit_code == 1
    (mismatch,) = (m for m in report.mismatches if m.path == "1")
    assert mismatch.kind is MismatchKind.CLAIM


def test_without_claims_every_region_has_bounds_and_nothing_is_passed():
    report = audit(scaled(2.0))
    assert [r.path for r in report.regions] == ["", "0", "1"]
    assert report.verdict is None and report.exit_code == 3
    assert all(r.upper is not None and r.lower is not None for r in report.regions)


def test_the_whole_has_a_row_even_when_nothing_is_claimed_of_it():
    report = audit(scaled(1.0), [{"layer": "0", "bound": "1"}])
    assert [(r.path, r.verdict) for r in report.regions] == [("0", Verdict.PROVED), ("", None)]
    assert report.exit_code == 0


def test_a_claim_holds_for_every_call_of_its_module():
    report = audit(Shared().eval(), [{"layer": "inner.linear", "bound": "10"}], torch.zeros(1, 4))
    assert [r.path for r in report.regions][:4] == [f"inner.linear{at}" for at in ("", "@1", "@2", "@3")]


def test_a_layer_without_operations_is_unsupported_not_passed():
    model = nn.Sequential(nn.Linear(3, 3), nn.Identity()).eval()
    report = audit(model, [{"layer": "1", "bound": "1"}])
    assert report.regions[0].verdict is Verdict.UNSUPPORTED and report.exit_code == 3


def test_an_unknown_layer_is_an_error_that_names_the_nearest():
    model = nn.Sequential()
    model.add_module("features", nn.Linear(3, 3))
    with pytest.raises(ClaimError, match="features"):
        audit(model.eval(), [{"layer": "feature", "bound": "1"}])


def test_claims_as_values_and_norm_pairs():
    claim = Claim("", Fraction(2), "2")
    logits = {"layer": "", "bound": "2", "norm": "l2->linf"}
    other = {"layer": "", "bound": "2", "norm": "linf->linf"}
    report = audit(scaled(2.0), [claim, logits, other])
    assert [r.verdict for r in report.regions] == [Verdict.PROVED, Verdict.PROVED, Verdict.UNSUPPORTED]


def test_claims_as_a_file_and_as_its_content(tmp_path):
    (tmp_path / "claims.toml").write_text('[[claims]]\nlayer = "0"\nbound = 2\n')
    for claims in (tmp_path / "claims.toml", {"claims": [{"layer": "0", "bound": 2}]}):
        assert audit(scaled(2.0), claims).verdict is Verdict.PROVED


def test_a_claim_on_a_ball_is_refuted_only_inside_it():
    model = DenseBlock(3, 2, scale=2.0).eval()
    with torch.no_grad():
        model.bias.fill_(-50)
    ball = {"center": [[0, 0, 0]], "radius": "1"}
    far = {"center": [[0, 0, 0]], "radius": "1e6"}
    report = audit(model, [{"layer": "", "bound": "1", "domain": d} for d in (ball, far)])
    assert [r.verdict for r in report.regions] == [Verdict.UNDECIDED, Verdict.REFUTED]


@pytest.mark.parametrize("inputs", [torch.zeros(1, 4), torch.full((1, 3), float("nan")), torch.zeros(3)])
def test_inputs_that_do_not_fit_are_refused(inputs):
    program = trace(scaled(1.0), torch.zeros(1, 3))
    with pytest.raises(LipverifyError, match=r"inputs|input"):
        lipverify.audit(program, inputs, verifiers=FAST)


def test_a_live_module_needs_an_input():
    with pytest.raises(LipverifyError, match="example input"):
        lipverify.audit(scaled(1.0))


class Liar:
    """A third party's verifier that says whatever it likes."""

    name = "liar"

    def verify(self, problem):
        return Evidence("liar", Fraction(5), Fraction(5), Rigor.EXACT, "lies")


class Crash(Liar):
    name = "crash"

    def verify(self, problem):
        raise RuntimeError("boom")


@pytest.fixture
def module():
    room = types.ModuleType("third_party_of_a_test")
    room.Liar, room.Crash, room.Nothing = Liar, Crash, object
    sys.modules[room.__name__] = room
    yield room.__name__
    del sys.modules[room.__name__]


def test_a_third_partys_verifier_is_numeric_unless_trusted(module):
    claims = [{"layer": "", "bound": "3"}]
    spec = f"{module}:Liar"
    capped = audit(scaled(2.0), claims, verifiers=[*FAST, spec])
    assert capped.verdict is Verdict.PROVED and capped.exit_code == 0
    assert {m.kind for m in capped.mismatches} == {MismatchKind.CLAIM, MismatchKind.NUMERIC}
    trusted = audit(scaled(2.0), claims, verifiers=[*FAST, spec], trusted=[spec])
    assert trusted.verdict is Verdict.CONFLICT and trusted.exit_code == 1


def test_a_verifier_that_fails_says_nothing_and_the_others_still_speak(module):
    report = audit(scaled(2.0), [{"layer": "", "bound": "2"}], verifiers=[f"{module}:Crash", *FAST])
    assert report.verdict is Verdict.PROVED and "boom" in report.regions[0].evidence[0].reason


@pytest.mark.parametrize("spec", ["nonsense", "no.such.module:Name", "third_party_of_a_test:Nothing", "math:pi"])
def test_what_is_no_verifier_is_refused(module, spec):
    with pytest.raises(LipverifyError, match="verifier"):
        audit(scaled(2.0), verifiers=[spec])


def test_weights_that_no_operation_reads_are_noted():
    model = scaled(1.0)
    model.extra = nn.Parameter(torch.zeros(2))
    report = audit(model, [{"layer": "", "bound": "1"}])
    assert any("extra" in note for note in report.notes)


def test_unsupported_operations_leave_the_layer_undropped():
    model = nn.Sequential(nn.Linear(3, 3), Lambda(lambda x, w: torch.special.i0(x))).eval()
    report = audit(model, [{"layer": p, "bound": "100"} for p in ("0", "1", "")])
    assert [r.verdict for r in report.regions] == [Verdict.PROVED, Verdict.UNSUPPORTED, Verdict.UNSUPPORTED]
    assert "aten.i0" in report.regions[1].reason
