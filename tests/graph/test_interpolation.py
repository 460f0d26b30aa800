"""Interpolation and pooling in both rooms, maps and balls, against what torch computes."""

from fractions import Fraction
from math import prod

import numpy as np
import pytest
import torch
from torch import nn

from lipverify.actions import apply
from lipverify.graph import regions, trace
from lipverify.maps import Convolution, Lipschitz, Separable
from lipverify.rigor import norm
from lipverify.rigor.enclose import NotEnclosed, enclose

GEOMETRIES = [
    (nn.Upsample(**size, mode=mode, align_corners=corners), shape)
    for mode, shape, sizes in (
        ("linear", (1, 2, 5), [{"scale_factor": s} for s in (1.0, 1.1, 1.3, 0.7, 2.5)] + [{"size": 7}, {"size": 5}]),
        ("linear", (1, 1, 1), [{"scale_factor": 1.9}, {"size": 3}]),
        ("bilinear", (1, 1, 3, 4), [{"scale_factor": s} for s in (1.3, 1.2, 0.9, (1.3, 1.0), (1.1, 2.3))]),
        ("bilinear", (1, 2, 4, 1), [{"scale_factor": 1.2}, {"size": (4, 3)}, {"size": (6, 1)}, {"size": (1, 1)}]),
    )
    for size in sizes
    for corners in (False, True)
]


@pytest.mark.parametrize(("model", "shape"), GEOMETRIES)
def test_both_rooms_interpolate_as_torch_does(model, shape):
    program = trace(model.eval(), torch.zeros(shape))
    region = regions(program)[""]
    assert region.unsupported is None
    (node,) = region.graph.nodes.values()
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    truth, ball = model(x), enclose(program, x)
    assert np.abs(apply(node.map, x.numpy()) - truth.numpy()).max() <= 1e-13 * 8
    assert ((ball.midpoint - truth).abs() <= ball.radius + 1e-14).all() and float(ball.radius.max()) < 1e-12


@pytest.mark.parametrize("mode", ["linear", "bilinear"])
def test_the_norm_of_interpolation_is_that_of_its_matrix(mode):
    shape = (1, 1, 5) if mode == "linear" else (1, 1, 3, 4)
    model = nn.Upsample(scale_factor=1.3, mode=mode)
    (node,) = regions(trace(model.eval(), torch.zeros(shape)))[""].graph.nodes.values()
    basis = torch.eye(prod(shape), dtype=torch.float64).reshape(-1, *shape)
    truth = np.linalg.norm(torch.stack([model(e).flatten() for e in basis]).numpy(), 2)
    found = norm(node.map.linear)
    assert float(found.lower) - 1e-12 <= truth <= float(found.upper) + 1e-12
    assert float(found.upper - found.lower) < 1e-9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("shape", "size", "agreed"),
    [((1, 1, 2), 82, False), ((1, 1, 2), 80, True), ((1, 1, 39), 66, False), ((1, 1, 2, 2), (82, 82), False)],
)
def test_nearest_interpolation_is_refused_where_precisions_copy_different_entries(dtype, shape, size, agreed):
    program = trace(nn.Upsample(size=size).to(dtype).eval(), torch.zeros(shape, dtype=dtype))
    region, x = regions(program)[""], torch.randn(shape, dtype=torch.float64)
    if agreed:
        assert region.unsupported is None
        assert torch.equal(enclose(program, x).midpoint, nn.Upsample(size=size)(x))
        return
    assert region.unsupported is not None and "precision of the machine" in region.unsupported
    with pytest.raises(NotEnclosed, match="precision of the machine"):
        enclose(program, x)


@pytest.mark.parametrize(
    ("model", "square"),
    [
        (nn.MaxPool1d(2), 1),
        (nn.MaxPool1d(5, 2, 1), 3),
        (nn.MaxPool1d(3, 1, 1, dilation=2), 3),
        (nn.AdaptiveMaxPool1d(7), 2),
        (nn.AdaptiveMaxPool1d(1), 1),
    ],
)
def test_max_pooling_of_long_signals_is_lowered(model, square):
    shape = (1, 1, 200_000)
    nodes = regions(trace(model.eval(), torch.zeros(shape)))[""].graph.nodes.values()
    assert [node.map.square for node in nodes if isinstance(node.map, Lipschitz)] == [square]
    x = torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    y = x.numpy()
    for node in nodes:
        y = apply(node.map, y)
    assert (y == model(x).numpy()).all()


@pytest.mark.parametrize(
    "model", [nn.AdaptiveAvgPool1d(3_000), nn.AvgPool1d(2, ceil_mode=True), nn.Upsample(scale_factor=2, mode="linear")]
)
def test_a_matrix_too_large_to_build_is_refused_with_its_size(model):
    region = regions(trace(model.eval(), torch.zeros(1, 1, 7_001)))[""]
    assert region.unsupported is not None and "along one axis" in region.unsupported


@pytest.mark.parametrize(
    "model",
    [
        nn.AvgPool1d(2),
        nn.AvgPool1d(3, 1, 1),
        nn.AvgPool1d(6, 4, 2),
        nn.AvgPool1d(5, 3, ceil_mode=True),
        nn.AvgPool1d(3, 1, 1, count_include_pad=False),
    ],
)
def test_average_pooling_of_long_signals_is_the_function_of_torch(model):
    shape = (1, 2, 2_500)
    region = regions(trace(model.eval(), torch.zeros(shape)))[""]
    assert region.unsupported is None
    (node,) = region.graph.nodes.values()
    x = torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert np.abs(apply(node.map, x.numpy()) - model(x).numpy()).max() <= 1e-14
    alike = model.count_include_pad and not model.ceil_mode
    assert isinstance(node.map.linear, Convolution if alike else Separable)


@pytest.mark.parametrize("taps", [2, 3])
def test_average_pooling_of_very_long_signals_has_the_norm_of_its_disjoint_windows(taps):
    (node,) = regions(trace(nn.AvgPool1d(taps).eval(), torch.zeros(1, 1, 30_000)))[""].graph.nodes.values()
    found = norm(node.map.linear)
    assert taps * found.lower**2 <= 1 <= taps * found.upper**2 <= 1 + Fraction(1, 1 << 30)
