"""Rules of the spectral verifier against materialised Jacobians and closed forms."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lipverify.claims import L2, LOGITS, NormPair
from lipverify.graph import regions, trace
from lipverify.maps import Affine, Concatenation, Extremum, Gather, Lipschitz, Rearrange
from lipverify.verifiers.problem import Problem
from lipverify.verifiers.residual import residual_block
from lipverify.verifiers.spectral import Spectral
from tests.graph.test_lower import SUPPORTED, UNSUPPORTED
from tests.networks import ConvBlock, DenseBlock, Lambda, jacobian
from tests.verifiers.cases import Maker


def verify(model, x, norms=L2, path=""):
    return Spectral().verify(Problem(regions(trace(model.eval(), x))[path], norms))


@pytest.mark.parametrize("case", SUPPORTED)
def test_the_upper_bound_is_above_every_sampled_jacobian(case):
    model, x = SUPPORTED[case]
    region, spectral = regions(trace(model.eval(), x))[""], Spectral()
    found = {norms: spectral.verify(Problem(region, norms)) for norms in (L2, LOGITS)}
    torch.manual_seed(0)
    for _ in range(5):
        j = torch.autograd.functional.jacobian(region.program, torch.randn(x.shape).double()).reshape(-1, x.numel())
        for norms, size in ((L2, torch.linalg.matrix_norm(j, 2)), (LOGITS, j.norm(dim=1).max())):
            evidence = found[norms]
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


def known(maker: Maker, name: str, square: int, peak: int | None = None) -> str:
    """Some function of whole vectors whose constants are known."""
    shape = maker.shape(name)
    constant = Lipschitz(
        "known", shape, shape, Fraction(square), "given", np.sort, None if peak is None else Fraction(peak)
    )
    return maker.node(constant, name)


def judged(maker: Maker, output: str, norms=L2):
    return Spectral().verify(Problem(maker.region(output), norms))


def test_a_named_constant_multiplies_and_is_named():
    maker = Maker((1, 2))
    evidence = judged(maker, maker.scale(known(maker, maker.scale("x", 3.0), 4), 0.5))
    assert evidence.upper == 3 and "known" in evidence.method and evidence.lower is None


def test_the_root_of_a_square_that_is_none_is_above():
    maker = Maker((1, 2))
    upper = judged(maker, known(maker, "x", 2)).upper
    assert 2 <= upper**2 <= 2 * (1 + Fraction(1, 2**50))


def test_a_peak_bounds_single_outputs_only():
    maker = Maker((1, 2))
    output = known(maker, maker.scale("x", 3.0), 4, peak=1)
    assert judged(maker, output).upper == 6 and judged(maker, output, LOGITS).upper == 3


def test_single_outputs_of_joins_sums_and_gates_are_those_of_their_parts():
    maker = Maker((1, 2))
    rows = maker.dense("x", np.eye(2)), maker.dense("x", 2 * np.eye(2))
    joined = maker.node(Concatenation(((1, 2), (1, 2)), 1), *rows)
    largest = maker.node(Extremum((1, 2), True), *rows)
    added = maker.add(maker.activation(rows[0]), rows[1])
    for output, every, single in ((joined, 5**0.5, 2), (largest, 5**0.5, 2), (added, 3, 3)):
        assert float(judged(maker, output).upper) == pytest.approx(every)
        assert float(judged(maker, output, LOGITS).upper) == pytest.approx(single)


@pytest.mark.parametrize(
    ("moves", "matrix", "truth"),
    [(Gather((3, 2), np.array([0, 0, 5])), None, 2**0.5), (Rearrange((3, 2), (6,), (1, 0)), [[3.0, 4, 0, 0, 0, 0]], 5)],
)
def test_a_linear_region_has_a_lower_bound_whatever_moves_its_entries(moves, matrix, truth):
    maker = Maker((3, 2))
    name = maker.node(Affine(moves), "x")
    evidence = judged(maker, name if matrix is None else maker.dense(name, np.array(matrix)))
    assert evidence.lower <= evidence.upper
    assert float(evidence.lower) == pytest.approx(truth) == float(evidence.upper)


def test_two_linear_maps_have_no_lower_bound_of_their_product():
    maker = Maker((1, 2))
    evidence = judged(maker, maker.dense(maker.node(Affine(Gather((1, 2), np.array([[0, 0]]))), "x"), np.ones((1, 2))))
    assert evidence.lower is None and float(evidence.upper) == pytest.approx(2)


@pytest.mark.parametrize(("bound", "shown"), [(None, True), (Fraction(1), True), (Fraction(3), False)])
def test_two_inputs_are_shown_where_they_could_refute(bound, shown):
    layer = nn.Linear(2, 2, bias=False).eval()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[2.0, 0], [0, 1]]))
    region = regions(trace(layer, torch.zeros(1, 2)))[""]
    evidence = Spectral().verify(Problem(region, bound=bound))
    assert evidence.lower is not None and (evidence.witness is not None) == shown
