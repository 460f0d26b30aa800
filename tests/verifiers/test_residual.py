"""The CPL rule with a weight on every channel: against materialised Jacobians, exact rationals, and blocks that are none."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from lipverify.graph import regions, trace
from lipverify.maps import Convolution, Dense, Enclosure
from lipverify.verifiers.problem import Problem
from lipverify.verifiers.residual import residual_block, weighted
from lipverify.verifiers.spectral import Spectral
from tests.networks import Lambda, jacobian


def block_of(function, x, *weights):
    """The block that the whole network is, and the evidence of the spectral verifier on it."""
    region = regions(trace(Lambda(function, *weights).eval(), x))[""]
    graph = region.graph
    return residual_block(graph, graph.nodes[graph.output]), Spectral().verify(Problem(region))


def dense(c, d, activation=F.relu, before=lambda y: y):
    """x + c W^T (d * sigma(W x + 5))."""
    d = torch.tensor(d)
    return lambda x, w: x + c * F.linear(activation(before(F.linear(x, w) + 5)) * d, w.t())


WEIGHT = torch.tensor([[1.0, -2, 0, 1, 0], [0, 1, 1, 0, 2], [2, 0, 1, -1, 1], [1, 1, -1, 0, 0]]) / 2

CASES = {
    "minus": (-0.5, [0.5, 1.0, 2.0, 0.25], F.relu, (0, 1)),
    "plus": (0.75, [0.5, 1.0, 2.0, 0.25], F.relu, (0, 1)),
    "beyond 2": (-2.0, [3.0, 1.0, 2.0, 0.25], F.relu, (0, 1)),
    "a channel is off": (-1.0, [0.0, 1.0, 2.0, 0.0], F.relu, (0, 1)),
    "all below zero": (1.5, [-0.5, -1.0, -2.0, -0.25], F.relu, (0, 1)),
    "leaky": (1.0, [0.5, 1.0, 2.0, 0.25], lambda x: F.leaky_relu(x, 0.25), (0.25, 1)),
    "abs": (-0.5, [0.5, 1.0, 2.0, 0.25], torch.abs, (-1, 1)),
    "the same for all": (-1.0, [0.5, 0.5, 0.5, 0.5], F.relu, (0, 1)),
}


@pytest.mark.parametrize("case", CASES)
def test_the_constant_is_the_closed_form_and_above_every_pattern(case):
    c, d, activation, slopes = CASES[case]
    block, evidence = block_of(dense(c, d, activation), torch.zeros(1, 5), WEIGHT)
    assert block is not None and evidence.method == "cpl"
    w, d = WEIGHT.double().numpy(), np.array(d)
    size = np.linalg.norm(np.sqrt(abs(d))[:, None] * w, 2) ** 2 * np.sign(d.sum())
    ends = [0.0, *(c * s * size for s in slopes)]
    assert float(evidence.upper) == pytest.approx(max(abs(1 + min(ends)), abs(1 + max(ends))), rel=1e-9)
    for pattern in np.ndindex(2, 2, 2, 2):
        gate = np.array([slopes[p] for p in pattern])
        truth = np.linalg.norm(np.eye(5) + c * w.T @ np.diag(d * gate) @ w, 2)
        assert truth <= float(evidence.upper) * (1 + 1e-12)


def test_all_channels_off_is_the_identity():
    _, evidence = block_of(dense(-1.0, [0.0] * 4), torch.zeros(1, 5), WEIGHT)
    assert evidence.upper == 1


def test_equal_weights_leave_the_numbers_of_a():
    block, _ = block_of(dense(-1.0, [0.5] * 4), torch.zeros(1, 5), WEIGHT)
    assert block.map.weight.radius is None and block.low == block.high == Fraction(-1, 2)


NO_BLOCKS = {
    "mixed signs": dense(-1.0, [0.5, -1.0, 2.0, 0.25]),
    "before the activation": lambda x, w: x - F.linear(F.relu(F.linear(x, w) * torch.tensor([1.0, 2, 3, 4])), w.t()),
    "after the second use": lambda x, w: x - F.linear(F.relu(F.linear(x, w)), w.t()) * torch.tensor([1.0, 2, 3, 4, 5]),
    "on the input": lambda x, w: x - F.linear(F.relu(F.linear(x * torch.tensor([1.0, 2, 3, 4, 5]), w)), w.t()),
    "scalar before the activation": dense(-1.0, [0.5, 1.0, 2.0, 0.25], before=lambda y: 2 * y),
    "another tensor": lambda x, w: x - F.linear(F.relu(F.linear(x, w)) * torch.tensor([1.0, 2, 3, 4]), w.t().flip(0)),
}


@pytest.mark.parametrize("case", NO_BLOCKS)
def test_look_alikes_are_no_blocks_and_get_the_sum_rule(case):
    block, evidence = block_of(NO_BLOCKS[case], torch.zeros(1, 5), WEIGHT)
    assert block is None and "sum" in evidence.method
    j = jacobian(Lambda(NO_BLOCKS[case], WEIGHT).eval(), torch.rand(1, 5))
    assert float(torch.linalg.matrix_norm(j, 2)) <= float(evidence.upper)


@pytest.mark.parametrize("shape", [(1, 6, 1, 1), (6, 5, 4)])
@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions_weighted_by_channel_or_by_pixel(shape, groups):
    """Within a channel the largest weight counts: an upper bound, and the closed form where the weights are by channel."""
    torch.manual_seed(4)
    weight, d = torch.randn(6, 4 // groups, 3, 3) / 2, torch.rand(shape) + 0.1

    def function(x, w):
        y = F.relu(F.conv2d(x, w, padding=1, groups=groups) + 3)
        return x - F.conv_transpose2d(y * d, w, padding=1, groups=groups)

    x = torch.zeros(1, 4, 5, 4)
    block, evidence = block_of(function, x, weight)
    assert block is not None
    on = float(torch.linalg.matrix_norm(jacobian(Lambda(function, weight).eval(), x), 2))
    assert 1 < on <= float(evidence.upper)
    if d.numel() == 6:  # the region is 20 pixels: its norm is that of the dense matrix
        assert float(evidence.upper) == pytest.approx(on, rel=0.05)


def test_a_grouped_or_dense_map_of_one_more_axis_is_weighted_on_its_own_axis():
    """x - W^T D relu(W x) on the last of three axes, with as many rows as channels."""
    d = torch.tensor([0.25, 1.0, 0.5, 2.0])
    by_row = torch.tensor([0.25, 1.0, 0.5]).reshape(1, 3, 1)
    for factor, most in ((d, d), (by_row, torch.ones(4))):
        block, evidence = block_of(
            lambda x, w, factor=factor: x - 3 * F.linear(F.relu(F.linear(x, w)) * factor, w.t()),
            torch.zeros(1, 3, 5),
            WEIGHT,
        )
        size = torch.linalg.matrix_norm(most.double().sqrt()[:, None] * WEIGHT.double(), 2) ** 2
        assert block is not None and float(evidence.upper) == pytest.approx(float(3 * size - 1), rel=1e-9)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1e200), st.floats(0, 1)), min_size=1, max_size=5),
    st.sampled_from([-1, 1]),
)
def test_every_diagonal_of_an_enclosure_is_covered_exactly(entries, sign):
    """With A = I: m B^T B >= |D| in rationals, D the largest of its enclosure; a bound of B's norm covers its radius."""
    radius = np.array([m * r for m, r in entries])
    middle = np.maximum(np.array([m for m, _ in entries]), np.nextafter(radius, np.inf) * (radius > 0))
    found = weighted(Dense(Enclosure(np.eye(len(entries))), (len(entries),)), Enclosure(sign * middle, radius))
    assert found is not None
    m, b = found
    assert m * sign >= 0
    for i, (most, r) in enumerate(zip(middle, radius, strict=True)):
        error = 0.0 if b.weight.radius is None else b.weight.radius[i, i]
        largest = Fraction(b.weight.midpoint[i, i]) + Fraction(error)
        assert abs(m) * largest**2 >= Fraction(most) + Fraction(r)


@pytest.mark.parametrize("radius", [0.5, 2.0])
def test_a_diagonal_whose_sign_is_not_known_is_refused(radius):
    a, middle = Dense(Enclosure(np.eye(2)), (2,)), np.array([1.0, 3.0])
    assert (weighted(a, Enclosure(middle, np.full(2, radius))) is None) == (radius > 1)
    assert weighted(a, Enclosure(np.array([1.0, -3.0]))) is None
    assert weighted(a, Enclosure(np.array([1.0, np.nan]))) is None


def test_other_maps_and_numbers_that_overflow_are_refused():
    d = Enclosure(np.array([1.0, 3.0]))
    conv = Convolution(Enclosure(np.full((2, 1, 1, 1), 1.5e308)), (1, 1, 2, 2), ((0, 0), (0, 0)))
    assert weighted(conv, Enclosure(d.midpoint.reshape(2, 1, 1))) is None


def test_regions_share_what_was_made_of_one_diagonal():
    graph = regions(trace(Lambda(dense(-1.0, [0.5, 1.0, 2.0, 0.25]), WEIGHT).eval(), torch.zeros(1, 5)))[""].graph
    known = {}
    first, second = (residual_block(graph, graph.nodes[graph.output], known) for _ in range(2))
    assert first.map is second.map and len(known) == 1
