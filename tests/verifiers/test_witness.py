"""Witnesses: what the search proves, and what can be replayed."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from lipverify.claims import LOGITS, Ball
from lipverify.evidence import Rigor
from lipverify.graph import regions, trace
from lipverify.verifiers.problem import Problem
from lipverify.verifiers.ratio import prove_ratio
from lipverify.verifiers.witness import WitnessSearch
from tests.graph.test_lower import SUPPORTED
from tests.networks import DenseBlock


def search(model, x, **kwargs):
    region = regions(trace(model.eval(), x))[""]
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
