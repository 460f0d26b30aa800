"""Rules of the spectral verifier against materialised Jacobians and closed forms."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lipverify.claims import L2, LOGITS, NormPair
from lipverify.graph import regions, trace
from lipverify.verifiers.problem import Problem
from lipverify.verifiers.residual import residual_block
from lipverify.verifiers.spectral import Spectral
from tests.graph.test_lower import SUPPORTED, UNSUPPORTED
from tests.networks import ConvBlock, DenseBlock, Lambda, jacobian


def verify(model, x, norms=L2, path=""):
    return Spectral().verify(Problem(regions(trace(model.eval(), x))[path], norms))


@pytest.mark.parametrize("norms", [L2, LOGITS], ids=str)
@pytest.mark.parametrize("case", SUPPORTED)
def test_the_upper_bound_is_above_every_sampled_jacobian(case, norms):
    model, x = SUPPORTED[case]
    evidence = verify(model, x, norms)
    torch.manual_seed(0)
    region = regions(trace(model.eval(), x))[""]
    for _ in range(5):
        j = torch.autograd.functional.jacobian(region.program, torch.randn(x.shape).double()).reshape(-1, x.numel())
        size = torch.linalg.matrix_norm(j, 2) if norms == L2 else j.norm(dim=1).max()
        assert float(size) <= float(evidence.upper) * (1 + 1e-6)
        if evidence.lower is not None:
            assert evidence.lower <= evidence.upper
            assert float(evidence.lower) <= float(size) * (1 + 1e-6)


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_an_unsupported_region_gets_no_bound(case):
    model, x, _ = UNSUPPORTED[case]
    evidence = verify(model, x)
    assert evidence.upper is None and evidence.lower is None and evidence.reason


@pytest.mark.parametrize("circular", [False, True])
@pytest.mark.parametrize("scale", [0.5, 1.0, 1.3])
def test_the_constant_of_a_block_is_the_cpl_rule(circular, scale):
    torch.manual_seed(1)
    model = ConvBlock(2, 3, circular=circular).eval()
    x = torch.zeros(1, 2, 5, 6)
    conv = Lambda(
        lambda x, w: F.conv2d(F.pad(x, [1] * 4, mode="circular" if circular else "constant"), w), model.weight
    )
    size = float(torch.linalg.matrix_norm(jacobian(conv, x), 2))
    with torch.no_grad():
        model.float().weight.mul_(scale * 2**0.5 / size)
    evidence = verify(model, x)
    assert evidence.method == "cpl"
    if scale < 1:
        assert evidence.upper == 1
    else:
        assert float(evidence.upper) == pytest.approx(max(1, 2 * scale**2 - 1), rel=2e-3 if not circular else 1e-6)


@pytest.mark.parametrize(("h", "scale", "truth"), [(1.0, 1.4, 1.0), (0.5, 2.0, 1.0), (0.5, 2.4, 1.88), (2.0, 1.5, 3.5)])
def test_the_constant_of_a_dense_block(h, scale, truth):
    evidence = verify(DenseBlock(6, 4, scale, h), torch.zeros(1, 6))
    assert evidence.method == "cpl"
    assert float(evidence.upper) == pytest.approx(truth, rel=1e-6)
    if truth == 1.0:
        assert evidence.upper <= 1 or scale * scale * h == 2.0


@pytest.mark.parametrize(
    ("function", "truth"),
    [
        (lambda x, w: x - F.linear(torch.tanh(F.linear(x, w)), w.t()), 1.0),
        (lambda x, w: x - F.linear(torch.abs(F.linear(x, w)), w.t()), 2.0),
        (lambda x, w: x + F.linear(F.relu(F.linear(x, w)), w.t()), 2.0),
        (lambda x, w: F.linear(F.leaky_relu(F.linear(x, w), 0.5), w.t()) * 3 + x, 4.0),
        (lambda x, w: x - F.linear(F.relu(2 * F.linear(x, w)), w.t()), 3.0),  # scaled before the activation: sum rule
        (lambda x, w: x - F.linear(F.relu(F.linear(x, w)), w.t().flip(0)), 2.0),  # another tensor: sum rule
        (lambda x, w: x - F.linear(F.relu(F.linear(2 * x, w)), w.t()), 3.0),  # another branch input: sum rule
    ],
)
def test_signs_scales_and_look_alikes_of_the_block(function, truth):
    weight = torch.randn(3, 6)
    model = Lambda(function, weight / torch.linalg.matrix_norm(weight.double(), 2).float())
    assert float(verify(model, torch.zeros(1, 6)).upper) == pytest.approx(truth, rel=1e-6)


def test_a_block_with_one_bit_changed_in_its_second_use_is_no_block():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            w = torch.randn(4, 6) / 10
            self.first, self.second = nn.Parameter(w), nn.Parameter(w.clone())

        def forward(self, x):
            return x - F.linear(F.relu(F.linear(x, self.first)), self.second.t())

    model, x = Twice().eval(), torch.zeros(1, 6)
    graph = regions(trace(model, x))[""].graph
    assert residual_block(graph, graph.nodes[graph.output]) is not None
    with torch.no_grad():
        model.second[0, 0] = torch.nextafter(model.second[0, 0], torch.tensor(1.0))
    graph = regions(trace(model, x))[""].graph
    assert residual_block(graph, graph.nodes[graph.output]) is None


def test_pooling_scaled_by_its_window_is_exactly_one():
    model = Lambda(lambda x, w: 3 * F.avg_pool2d(x, 3))
    evidence = verify(model, torch.zeros(1, 2, 7, 7))
    assert evidence.upper == 1


def test_a_shared_module_counts_once_per_call():
    layer = nn.Linear(4, 4)
    evidence = verify(nn.Sequential(layer, layer, layer), torch.zeros(1, 4))
    size = np.linalg.norm(layer.weight.detach().double().numpy(), 2)
    assert float(evidence.upper) == pytest.approx(size**3, rel=1e-8)


def test_other_norm_pairs_are_refused_by_name():
    assert "linf->linf" in verify(nn.Linear(4, 4), torch.zeros(1, 4), NormPair("linf", "linf")).reason


def test_rows_of_norm_one_give_logits_of_constant_one_exactly():
    head = nn.Linear(2, 3, bias=False)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0], [0, 1.0], [0.5, 0.5]]))
    assert verify(head, torch.zeros(1, 2), LOGITS).upper == Fraction(1)
    assert float(verify(head, torch.zeros(1, 2)).upper) > 1.2
