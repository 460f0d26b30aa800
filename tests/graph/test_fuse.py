"""Merged pairs: what they compute, what they are worth, and that the cross-check distrusts them."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

import lipverify
from lipverify.graph import fuse as fusing
from lipverify.graph import regions, trace
from lipverify.graph.crosscheck import CrossCheckError, act
from lipverify.graph.fuse import pair
from lipverify.maps import Affine, Convolution, Dense, Diagonal, Enclosure
from lipverify.verifiers.problem import Problem
from lipverify.verifiers.spectral import Spectral
from tests.graph.operations import normalised
from tests.networks import DenseBlock, Lambda

torch.manual_seed(4)
PAIRS = {
    "convolution": (nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)), (1, 3, 5, 5)),
    "padded, strided, grouped": (
        nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(4, 6, 3, stride=2, groups=2), nn.BatchNorm2d(6)),
        (1, 4, 5, 6),
    ),
    "circular": (
        nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"), nn.BatchNorm2d(4)),
        (1, 2, 5, 5),
    ),
    "asymmetric padding": (nn.Sequential(nn.Conv2d(2, 3, 4, padding="same"), nn.BatchNorm2d(3)), (1, 2, 5, 5)),
    "transposed": (
        nn.Sequential(nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2, output_padding=1, bias=False), nn.BatchNorm2d(6)),
        (1, 4, 3, 4),
    ),
    "dense": (nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4)), (2, 5)),
    "one-dimensional": (nn.Sequential(nn.Conv1d(4, 4, 3), nn.BatchNorm1d(4)), (1, 4, 9)),
    "two scalings": (
        nn.Sequential(nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False)),
        (1, 3, 4, 4),
    ),
    "double precision": (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).double(), (1, 3, 5, 5)),
}


def whole(model, x):
    return regions(trace(model, x))[""].graph


@pytest.mark.parametrize("case", PAIRS)
def test_a_scaling_merges_and_the_norm_is_that_of_the_pair(case):
    model, shape = PAIRS[case]
    model = normalised(model).eval()
    x = torch.randn(shape, dtype=next(model.parameters()).dtype)
    (node,) = whole(model, x).nodes.values()
    assert isinstance(node.map, Affine) and not isinstance(node.map.linear, Diagonal)
    rows = {row.path: row for row in lipverify.audit(model, x, verifiers=["spectral"]).regions}
    program = trace(model, x).values(x.double())
    exact = trace(model, x)
    true = torch.linalg.matrix_norm(
        torch.autograd.functional.jacobian(exact, x.double()).reshape(-1, x.numel()), 2
    ).item()
    assert float(rows[""].lower) <= true * (1 + 1e-12) and true * (1 - 1e-12) <= float(rows[""].upper) <= true * 1.0001
    product = np.prod([float(row.upper) for path, row in rows.items() if path])
    assert float(rows[""].upper) <= product * (1 + 1e-6)
    torch.testing.assert_close(
        torch.from_numpy(act(node.map, [x.double().numpy()])), program[exact.outputs[0]], rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("case", ["convolution", "padded, strided, grouped", "transposed", "dense"])
def test_the_merged_numbers_are_enclosed(case):
    """The product and sum in rationals lie within midpoint +- radius, for numbers with radii as well."""
    rng = np.random.default_rng(3)
    model, shape = PAIRS[case]
    node = next(iter(regions(trace(normalised(model).eval(), torch.zeros(shape)))[""].graph.nodes.values()))
    linear = node.map.linear
    a = getattr(linear, "of", linear)
    weight = a.weight if isinstance(a, Dense) else a.kernel
    channels = node.map.output_shape[1]
    shape = (channels,) if isinstance(a, Dense) else (channels, 1, 1)
    d = Enclosure(rng.normal(size=shape), np.abs(rng.normal(size=shape)) * 1e-3)
    b, c = Enclosure(rng.normal(size=shape)), Enclosure(rng.normal(size=shape), np.full(shape, 1e-9))
    both = pair(Affine(linear, b), Affine(Diagonal(d, node.map.output_shape), c))
    found = getattr(both.linear, "of", both.linear)
    found = found.weight if isinstance(found, Dense) else found.kernel
    groups = getattr(a, "groups", 1)
    for index in np.ndindex(*weight.shape):
        group = index[0] // (weight.shape[0] // groups)
        channel = index[0] if a is linear else group * weight.shape[1] + index[1]
        for end in (-1, 1):
            true = Fraction(float(weight.midpoint[index])) * (
                Fraction(float(d.midpoint.flat[channel])) + end * Fraction(float(d.radius.flat[channel]))
            )
            assert abs(true - Fraction(float(found.midpoint[index]))) <= Fraction(float(found.radius[index]))
    for channel in range(channels):
        for end, other in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
            factor = Fraction(float(d.midpoint.flat[channel])) + end * Fraction(float(d.radius.flat[channel]))
            offset = Fraction(float(c.midpoint.flat[channel])) + other * Fraction(float(c.radius.flat[channel]))
            true = factor * Fraction(float(b.midpoint.flat[channel])) + offset
            error = abs(true - Fraction(float(both.bias.midpoint.flat[channel])))
            assert error <= Fraction(float(both.bias.radius.flat[channel]))


def test_a_product_that_does_not_round_is_exact():
    kernel = Enclosure(np.arange(12.0).reshape(3, 4, 1, 1))
    factor = Enclosure(np.array([1.0, 0.5, -4.0]).reshape(3, 1, 1))
    convolution = Convolution(kernel, (1, 4, 2, 2), ((0, 0), (0, 0)))
    both = pair(Affine(convolution), Affine(Diagonal(factor, convolution.output_shape)))
    assert both.linear.kernel.radius is None and both.bias is None
    np.testing.assert_array_equal(both.linear.kernel.midpoint, kernel.midpoint * factor.midpoint[..., None])


def test_a_value_that_is_read_elsewhere_is_kept():
    norm = normalised(nn.BatchNorm2d(2)).eval()

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(2, 2, 3, padding=1), norm

        def forward(self, x):
            y = self.conv(x)
            return y + self.norm(y)

    graph = whole(Twice().eval(), torch.zeros(1, 2, 4, 4))
    assert [type(node.map.linear) for node in graph.nodes.values() if isinstance(node.map, Affine)] == [
        Convolution,
        Diagonal,
    ]


def test_factors_along_other_axes_do_not_merge():
    dense = Affine(Dense(Enclosure(np.ones((3, 3))), (3, 3)))
    rows = Affine(Diagonal(Enclosure(np.array([[1.0], [2.0], [3.0]])), (3, 3)))
    assert pair(dense, rows) is None
    assert pair(dense, Affine(Diagonal(Enclosure(np.arange(9.0).reshape(3, 3)), (3, 3)))) is None
    assert pair(dense, Affine(Diagonal(Enclosure(np.array([1.0, 2.0, 3.0])), (3, 3)))) is not None


def test_what_overflows_does_not_merge():
    dense = Affine(Dense(Enclosure(np.full((2, 2), 1e200)), (1, 2)))
    assert pair(dense, Affine(Diagonal(Enclosure(np.array([1e200, 1.0])), (1, 2)))) is None


def test_a_block_keeps_its_scalar():
    region = regions(trace(DenseBlock(6, 4, h=0.5).eval(), torch.zeros(1, 6)))[""]
    assert any(isinstance(n.map, Affine) and isinstance(n.map.linear, Diagonal) for n in region.graph.nodes.values())


def test_regions_share_merged_maps():
    inner = nn.Sequential(nn.Conv2d(2, 2, 3), normalised(nn.BatchNorm2d(2)))
    found = regions(trace(nn.Sequential(inner, nn.ReLU()).eval(), torch.zeros(1, 2, 4, 4)))
    first, second = (next(iter(found[path].graph.nodes.values())).map for path in ("", "0"))
    assert first is second


def test_a_wrong_merge_is_noticed(monkeypatch):
    def wrong(first, second):
        both = pair(first, second)
        if both is None or not isinstance(getattr(second, "linear", None), Diagonal):
            return both
        return Affine(both.linear, first.bias)

    monkeypatch.setattr("lipverify.graph.crosscheck.pair", wrong)
    monkeypatch.setattr(fusing, "pair", wrong, raising=False)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), normalised(nn.BatchNorm2d(3)))
    with pytest.raises(CrossCheckError, match="conv2d"):
        regions(trace(model.eval(), torch.zeros(1, 2, 4, 4)))


def test_a_scaling_by_a_weight_merges():
    model = Lambda(lambda x, w: (x @ w[:3]) * w[3], torch.randn(4, 3))
    (node,) = whole(model.eval(), torch.zeros(1, 3)).nodes.values()
    assert isinstance(node.map.linear, Dense)


@pytest.mark.parametrize("shape", [(5,), (2, 5), (3, 2, 5)])
def test_weights_of_an_axis_merge_with_the_sum_along_it(shape):
    model = Lambda(lambda x, w: (x * w).sum(-1), torch.randn(5))
    region = regions(trace(model.eval(), torch.zeros(shape)))[""]
    (node,) = region.graph.nodes.values()
    x = torch.randn(shape)
    np.testing.assert_allclose(act(node.map, [x.double().numpy()]), model(x).detach().numpy(), atol=1e-5)
    assert float(Spectral().verify(Problem(region)).upper) == pytest.approx(
        model.weight.double().norm().item(), rel=1e-9
    )


def test_what_does_not_merge_is_left_alone():
    weights = torch.randn(3, 5)
    for function in (
        lambda x, w: x.reshape(15)[:5] * w[0],  # a copy of one axis, scaled
        lambda x, w: (x * w).sum(-1),  # weights along two axes
        lambda x, w: (x * w[:, :1]).sum(-1),  # along another axis
    ):
        graph = whole(Lambda(function, weights).eval(), torch.zeros(3, 5))
        x = torch.randn(3, 5)
        values = {graph.input: x.double().numpy()}
        for name, node in graph.nodes.items():
            values[name] = act(node.map, [values[i] for i in node.inputs])
        assert any(isinstance(n.map, Affine) and isinstance(n.map.linear, Diagonal) for n in graph.nodes.values())
        np.testing.assert_allclose(values[graph.output], function(x, weights).numpy(), atol=1e-5)
