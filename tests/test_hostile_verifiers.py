"""Evidence of strangers made to mislead: none of it proves or refutes."""

from fractions import Fraction

import pytest
import torch
from torch import nn

import lipverify
from lipverify.errors import LipverifyError
from lipverify.evidence import Evidence, Rigor
from lipverify.verdict import MismatchKind, Verdict
from tests.networks import Lambda


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


def test_a_lower_bound_without_two_inputs_refutes_nothing():
    claims = [{"layer": "", "bound": "1"}]
    shown = Says(lower=Fraction(2), rigor=Rigor.RIGOROUS)
    model = Lambda(lambda x, w: x * x).eval()
    (row,) = lipverify.audit(model, torch.ones(1, 3), claims=claims, verifiers=[shown], trusted=["says"]).regions
    assert row.verdict is Verdict.UNSUPPORTED and row.mismatches[0].kind is MismatchKind.CLAIM


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


def test_no_verifiers_and_unknown_trust_are_refused():
    for options in ({"verifiers": []}, {"trusted": ["nobody"]}):
        with pytest.raises(LipverifyError):
            lipverify.audit(nn.Linear(3, 3).eval(), torch.ones(1, 3), **options)
