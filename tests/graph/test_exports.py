"""A network is the same graph however it was exported: traced live, written as it is, written after its decomposition."""

import io

import pytest
import torch

from lipverify.errors import ReadError
from lipverify.graph import regions, trace
from lipverify.graph.crosscheck import act
from lipverify.maps import Affine, Convolution, Extremum, Pointwise
from lipverify.read import read
from lipverify.verifiers.problem import Problem
from lipverify.verifiers.spectral import Spectral
from tests.graph.operations import SUPPORTED
from tests.networks import Lambda

DECOMPOSED = {
    "rrelu": "rrelu_with_noise_functional",
    "logsumexp": "eq.Scalar",
    "softplus": "gt.Scalar",
    "mish": "gt.Scalar",
    "triangle": "where.self",
    "nearest, one-dimensional": "index.Tensor",
    "linear interpolation": "index.Tensor",
}
"""What decomposition turns into operations without a map, and which: draws, choices, comparisons, rounding."""

AS_IT_IS = (
    "einsum",
    "same",
    "transposed, strided",
    "circular",
    "reflect",
    "chunk",
    "dropout of every kind",
    "overlapping",
    "max pooling, overlapping",
    "maxmin",
    "rrelu",
    "logsumexp",
    "batch norm",
    "instance norm",
    "layer norm",
)
"""Cases that are read from the export as it is, too: forms that decomposition changes."""

RAW = {"einsum": "einsum"}
"""What only decomposition turns into operations with a map."""


def saved(program, tmp_path):
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    path = tmp_path / "model.pt2"
    path.write_bytes(buffer.getvalue())
    return read(path)


def exported(model, x, tmp_path, *, core):
    program = torch.export.export(model, (x,), strict=False)
    return saved(program.run_decompositions() if core else program, tmp_path)


def value(graph, x):
    """What a graph computes, by the definitions of its maps."""
    values = {graph.input: x}
    for name, node in graph.nodes.items():
        values[name] = act(node.map, [values[i] for i in node.inputs])
    return values[graph.output]


def bound(region):
    """The upper bound of a region, as a float."""
    evidence = Spectral().verify(Problem(region))
    return float(evidence.upper)


@pytest.mark.parametrize("case", SUPPORTED)
def test_an_export_has_the_bound_of_the_model_or_is_refused_by_name(case, tmp_path):
    """Live, as it is exported and decomposed: one bound; the live graph computes what the model computes."""
    model, example = SUPPORTED[case]
    live = trace(model.eval(), example)
    region = regions(live)[""]
    torch.manual_seed(3)
    x = torch.randn(example.shape, dtype=torch.float64) * 3
    torch.testing.assert_close(torch.from_numpy(value(region.graph, x.numpy())), live(x), rtol=1e-6, atol=1e-6)
    expected = bound(region)
    program = torch.export.export(model, (example,), strict=False)
    raw = [(RAW, program)] if case in AS_IT_IS else []
    for refused, form in (*raw, (DECOMPOSED, program.run_decompositions())):
        if case in refused:
            reason = ""
            try:
                reason = regions(saved(form, tmp_path))[""].unsupported
            except ReadError as error:
                reason = str(error)
            assert refused[case] in reason
        else:
            assert bound(regions(saved(form, tmp_path))[""]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("case", ["hardswish", "silu", "celu", "prelu", "softshrink", "log sigmoid"])
def test_a_decomposed_activation_is_the_activation(case, tmp_path):
    model, example = SUPPORTED[case]
    graphs = [
        regions(p)[""].graph for p in (trace(model.eval(), example), exported(model, example, tmp_path, core=True))
    ]
    (live,), (core,) = ([node.map for node in graph.nodes.values()] for graph in graphs)
    assert isinstance(core, Pointwise) and core.slopes == live.slopes


def test_a_form_is_recognised_only_whole():
    def almost(x, w):
        return torch.where(x > 0, x, 0.25 * x + 1)

    assert regions(trace(Lambda(almost).eval(), torch.zeros(1, 6)))[""].unsupported
    for function in (
        lambda x, w: torch.where(x > 1, x, 0.25 * x),
        lambda x, w: x * torch.sigmoid(2 * x),
        lambda x, w: x[:, :3] * torch.sigmoid(x[:, 3:]),
        lambda x, w: x / (x.abs() + 0.5),
    ):
        assert regions(trace(Lambda(function).eval(), torch.zeros(1, 6)))[""].unsupported


def test_circular_padding_that_was_decomposed_merges_with_its_convolution(tmp_path):
    model, example = SUPPORTED["circular"]
    (node,) = regions(exported(model.eval(), example, tmp_path, core=True))[""].graph.nodes.values()
    assert isinstance(node.map, Affine) and isinstance(node.map.linear, Convolution) and node.map.linear.circular


def test_both_halves_of_maxmin_are_seen_to_be_made_of_the_same():
    for case in ("maxmin", "maxmin over an axis"):
        model, example = SUPPORTED[case]
        graph = regions(trace(model.eval(), example))[""].graph
        first, second = (node for node in graph.nodes.values() if isinstance(node.map, Extremum))
        assert sorted(first.inputs) == sorted(second.inputs)
