"""Witnesses: what the search proves, and what can be replayed."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from lipverify.claims import LOGITS, Ball
from lipverify.evidence import Rigor
from lipverify.graph import Region, trace
from lipverify.verifiers import ratio, witness
from lipverify.verifiers.problem import Problem
from lipverify.verifiers.ratio import prove_ratio
from lipverify.verifiers.witness import WitnessSearch
from tests.graph.test_lower import SUPPORTED
from tests.networks import DenseBlock


def search(model, x, **kwargs):
    region = Region("", None, trace(model.eval(), x))
    return region, WitnessSearch().verify(Problem(region, **kwargs))


@pytest.mark.parametrize("case", SUPPORTED)
def test_every_supported_operation_has_a_proved_witness(case):
    region, evidence = search(*SUPPORTED[case])
    assert evidence.rigor is Rigor.RIGOROUS and evidence.lower > 0
    assert prove_ratio(region.program, evidence.witness.x, evidence.witness.y) == evidence.lower
    x, y = (torch.from_numpy(v) for v in (evidence.witness.x, evidence.witness.y))
    plain = float((region.program(x) - region.program(y)).norm() / (x - y).norm())
    assert float(evidence.lower) == pytest.approx(plain, rel=1e-5)
    assert torch.equal(x.float().double(), x)


def test_a_linear_layer_attains_its_norm():
    model = nn.Linear(20, 30)
    _, evidence = search(model, torch.zeros(1, 20))
    truth = np.linalg.norm(model.weight.detach().double().numpy(), 2)
    assert truth * (1 - 1e-3) < float(evidence.lower) <= truth * (1 + 1e-12)


def test_a_block_beyond_its_step_attains_its_constant():
    _, evidence = search(DenseBlock(16, 8, scale=1.05 * 2**0.5), torch.zeros(1, 16))
    assert 1.2 < float(evidence.lower) <= 2 * 1.05**2 - 1 + 1e-6


def test_a_logit_attains_its_row():
    model = nn.Linear(20, 5)
    _, evidence = search(model, torch.zeros(1, 20), norms=LOGITS)
    truth = float(model.weight.detach().double().norm(dim=1).max())
    assert truth * (1 - 1e-5) < float(evidence.lower) <= truth * (1 + 1e-12)


def test_a_witness_of_a_local_claim_lies_in_its_ball():
    """The block is 1-Lipschitz where its units are off: outside that ball it is not."""
    model = DenseBlock(6, 4, scale=2.0)
    with torch.no_grad():
        model.bias.fill_(-100)
    ball = Ball(np.zeros((1, 6)), Fraction(1))
    _, evidence = search(model, torch.zeros(1, 6), domain=ball)
    assert evidence.lower <= 1
    for end in (evidence.witness.x, evidence.witness.y):
        assert np.linalg.norm(end) <= 1
    assert search(model, torch.zeros(1, 6))[1].lower > 2


def test_identical_inputs_show_nothing_and_bad_ones_are_refused():
    region, _ = search(nn.Linear(3, 3), torch.zeros(1, 3))
    x = np.ones((1, 3))
    assert prove_ratio(region.program, x, x) == 0
    with pytest.raises(ValueError, match="shape"):
        prove_ratio(region.program, x[0], x)
    with pytest.raises(ValueError, match="finite"):
        prove_ratio(region.program, x, x * np.nan)


def test_nearly_equal_inputs_do_not_turn_rounding_into_a_ratio():
    region, _ = search(nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)), torch.zeros(1, 3))
    x = np.full((1, 3), 1e6)
    y = np.nextafter(x, np.inf)
    j = torch.autograd.functional.jacobian(region.program, torch.from_numpy(x)).reshape(3, 3)
    assert float(prove_ratio(region.program, x, y)) <= float(torch.linalg.matrix_norm(j, 2)) + 1e-9


def test_the_search_is_reproducible():
    model = nn.Linear(5, 5)
    one, two = (search(model, torch.zeros(1, 5), seed=3)[1] for _ in range(2))
    assert one.lower == two.lower and (one.witness.x == two.witness.x).all()


def test_large_arrays_are_compared_in_float64_just_below_the_rational_ratio(monkeypatch):
    region, _ = search(nn.Linear(40, 30), torch.zeros(1, 40))
    x, y = np.random.default_rng(0).standard_normal((2, 1, 40))
    exact = prove_ratio(region.program, x, y)
    monkeypatch.setattr(ratio, "RATIONAL", 0)
    assert exact * (1 - Fraction(1, 10**12)) < prove_ratio(region.program, x, y) <= exact
    tiny = x + 1e-290
    assert prove_ratio(region.program, x * 1e-300, tiny * 1e-300) <= exact * 2


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.MaxPool2d(2), nn.Flatten(), nn.LayerNorm(3)),
        nn.Sequential(nn.Flatten(), nn.Linear(72, 6), nn.SELU(), nn.Softmax(1), nn.Linear(6, 3)),
        nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.TransformerEncoderLayer(8, 2, 8, batch_first=True)),
    ],
    ids=["pooling and layer norm", "softmax", "attention"],
)
def test_other_operations_have_proved_witnesses(model):
    region, evidence = search(model, torch.zeros(1, 2, 6, 6))
    assert evidence.rigor is Rigor.RIGOROUS, evidence.reason
    x, y = (torch.from_numpy(v) for v in (evidence.witness.x, evidence.witness.y))
    plain = float((region.program(x) - region.program(y)).norm() / (x - y).norm())
    assert plain * 0.99 < float(evidence.lower) <= plain * (1 + 1e-9)


def test_a_large_network_is_searched_less_thoroughly_and_as_reproducibly(monkeypatch):
    model = nn.Sequential(nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 20))
    monkeypatch.setattr(witness, "BUDGET", 1e4)
    one, two = (search(model, torch.zeros(1, 20))[1] for _ in range(2))
    assert one.lower == two.lower > 0


def test_a_network_too_deep_for_the_balls_says_so():
    model = nn.Sequential(*(nn.Linear(64, 64) for _ in range(40)))
    _, evidence = search(model, torch.zeros(1, 64))
    assert evidence.lower is None and "radii" in evidence.reason


def test_a_start_without_forward_mode_is_pushed_by_differences(monkeypatch):
    def refuse(*_):
        raise NotImplementedError("no forward mode")

    monkeypatch.setattr(witness, "jvp", refuse)
    model = nn.Linear(20, 30)
    _, evidence = search(model, torch.zeros(1, 20))
    assert float(evidence.lower) > 0.99 * np.linalg.norm(model.weight.detach().double().numpy(), 2)
