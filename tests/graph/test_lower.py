"""Programs become graphs of maps; what has no map is named, never dropped."""

import pytest
import torch
from torch import nn

from lipverify.errors import LipverifyError
from lipverify.graph import TraceError, regions, trace
from lipverify.maps import Adjoint, Affine, Convolution, Dense, Opaque, Pad
from tests.graph.operations import IMAGE, SUPPORTED, UNSUPPORTED, VECTOR
from tests.networks import Lambda, Shared


@pytest.mark.parametrize("case", SUPPORTED)
def test_supported_operations_are_lowered_and_survive_the_cross_check(case):
    model, x = SUPPORTED[case]
    region = regions(trace(model.eval(), x))[""]
    assert region.unsupported is None and region.graph is not None
    assert region.graph.output_shape == tuple(model(x).shape)


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_what_has_no_map_makes_the_region_unsupported_by_name(case):
    model, x, name = UNSUPPORTED[case]
    region = regions(trace(model.eval(), x))[""]
    assert region.unsupported is not None and name in region.unsupported


def test_padding_merges_with_the_convolution_that_follows():
    graph = regions(trace(SUPPORTED["explicit padding"][0].eval(), IMAGE))[""].graph
    (node,) = graph.nodes.values()
    assert isinstance(node.map, Affine) and isinstance(node.map.linear, Convolution)
    assert node.map.linear.pads == ((3, 2), (2, 1))


def test_a_transposed_convolution_is_an_adjoint_on_its_output_image():
    (node,) = regions(trace(SUPPORTED["transposed"][0].eval(), IMAGE))[""].graph.nodes.values()
    assert isinstance(node.map.linear, Adjoint) and node.map.linear.output_shape == (1, 3, 5, 6)


def test_every_call_of_a_module_is_a_region():
    assert list(regions(trace(Shared().eval(), torch.zeros(1, 4)))) == [
        "",
        "inner",
        "inner.linear",
        "inner.linear@1",
        "inner@1",
        "inner.linear@2",
        "inner.linear@3",
    ]


def test_other_regions_are_judged_where_one_is_unsupported():
    model = nn.Sequential(nn.Linear(6, 6), nn.GLU(1), nn.Linear(3, 2)).eval()
    found = regions(trace(model, VECTOR))
    assert found[""].unsupported == found["1"].unsupported
    assert found["1"].unsupported.startswith("aten.mul.Tensor in 1: a product of two values")
    assert found["0"].unsupported is None and found["2"].unsupported is None


def test_a_region_with_two_inputs_is_unsupported():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.add = Lambda(lambda x, w: x[0] + x[1])

        def forward(self, x):
            return self.add((2 * x, 3 * x))

    assert "2 inputs" in regions(trace(Two().eval(), VECTOR))["add"].unsupported


def test_float32_scalars_are_enclosed_with_their_rounding():
    model = Lambda(lambda x, w: 0.1 * x + w).eval()
    region = regions(trace(model, VECTOR))[""]
    factor = next(iter(region.graph.nodes.values())).map.linear.factor
    low, high = factor.midpoint - factor.radius, factor.midpoint + factor.radius
    assert low <= 0.1 < float(torch.tensor(0.1)) <= high
    exact = regions(trace(Lambda(lambda x, w: 0.5 * x + w).eval(), VECTOR))[""]
    assert next(iter(exact.graph.nodes.values())).map.linear.factor.radius is None


@pytest.mark.parametrize(
    ("model", "x", "message"),
    [
        (nn.Linear(6, 2).train(), VECTOR, "training mode"),
        (nn.Sequential(nn.Linear(6, 2), nn.Dropout()).eval().train(), VECTOR, "training mode"),
        (nn.Linear(6, 2).eval(), torch.zeros(1, 6, dtype=torch.long), "int64"),
        (nn.Linear(6, 2).eval(), torch.zeros(1, 6, dtype=torch.complex64), "complex64"),
        (nn.Linear(6, 2).eval(), torch.zeros(0, 6), "empty"),
        (nn.Linear(6, 2).eval(), torch.zeros(1, 5), "itself fails"),
        (Lambda(lambda x, w: x if x.sum() > 0 else -x).eval(), VECTOR, "cannot trace"),
        (Lambda(lambda x, w: 3).eval(), VECTOR, "returns nothing"),
    ],
)
def test_what_cannot_be_traced_is_refused_with_the_reason(model, x, message):
    with pytest.raises(TraceError, match=message):
        trace(model, x)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(bad):
    model = nn.Sequential(nn.Linear(6, 2)).eval()
    with torch.no_grad():
        model[0].bias[1] = bad
    with pytest.raises(LipverifyError, match=r"0\.bias"):
        trace(model, VECTOR)


def test_maps_keep_the_numbers_of_the_model_bit_for_bit():
    model = nn.Linear(6, 3).eval()
    (node,) = regions(trace(model, VECTOR))[""].graph.nodes.values()
    assert isinstance(node.map.linear, Dense)
    assert (node.map.linear.weight.midpoint == model.weight.detach().double().numpy()).all()
    assert not any(isinstance(n.map, Opaque | Pad) for n in [node])
