"""Bound propagation: sampled outputs lie in the ranges, autograd Jacobians below the local bound. Numeric throughout."""

from __future__ import annotations

import logging
import sys
import warnings
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch

from lipverify.claims import LOGITS
from lipverify.evidence import Evidence, Rigor
from lipverify.graph import LayerGraph, Region
from lipverify.maps import Affine, Opaque, Pad, Rearrange
from lipverify.read.program import Operation, Program, Ref
from lipverify.verifiers import Problem
from lipverify.verifiers.propagation.auto_lirpa import Unavailable, session
from lipverify.verifiers.propagation.canonical import Adjoined, Forward, activations
from lipverify.verifiers.propagation.ranges import PropagatedRanges, slope_range
from lipverify.verifiers.propagation.verifier import Propagation, samples
from tests.networks import pooling
from tests.verifiers.cases import SLOPES, Maker, chain, cpl_stack, region, run


@pytest.fixture(autouse=True)
def installed() -> None:
    try:
        with session():
            pass
    except Unavailable as missing:
        pytest.skip(str(missing))


def dense(rng: np.random.Generator, *widths: int) -> list[np.ndarray]:
    return [rng.standard_normal((b, a)) / np.sqrt(a) for a, b in pairwise(widths)]


def biased(rng: np.random.Generator, kind: str) -> LayerGraph:
    weights = dense(rng, 4, 6, 6, 3)
    return chain(weights, kind, [0.3 * rng.standard_normal(len(w)) for w in weights])


def images(rng: np.random.Generator) -> LayerGraph:
    """Channel padding, residual convolutions with zero and circular padding, asymmetric pads, pooling, a head."""
    maker = Maker((1, 1, 4, 4))
    x = maker.node(Affine(Pad((1, 1, 4, 4), ((0, 0), (0, 2), (0, 0), (0, 0)))), "x")
    for circular in (False, True):
        kernel = 0.2 * rng.standard_normal((2, 3, 3, 3))
        z = maker.conv(x, kernel, ((1, 1), (1, 1)), 0.2 * rng.standard_normal(2), circular)
        x = maker.add(x, maker.adjoint(maker.activation(z), z), signs=(1, -1))
    x = maker.activation(maker.conv(x, 0.2 * rng.standard_normal((3, 3, 2, 2)), ((1, 0), (0, 1))))
    x = maker.node(Affine(pooling((1, 3, 4, 4), (2, 2))), x)
    x = maker.node(Affine(Rearrange((1, 3, 2, 2), (1, 12), (0, 2, 3, 1))), x)
    return maker.graph(maker.dense(x, rng.standard_normal((2, 12))))


def skips(rng: np.random.Generator) -> LayerGraph:
    """A skip from the input, a value used twice, and a negative single branch."""
    maker = Maker((1, 3))
    a = maker.activation(maker.dense("x", rng.standard_normal((3, 3))))
    b = maker.add(a, "x", a)
    return maker.graph(maker.add(maker.scale(b, -0.5), maker.dense(b, rng.standard_normal((3, 3))), signs=(-1, -1)))


def unbatched(rng: np.random.Generator) -> LayerGraph:
    """Values without a leading axis of one."""
    maker = Maker((2, 3))
    return maker.graph(maker.dense(maker.activation(maker.dense("x", rng.standard_normal((4, 3)))), np.ones((2, 4))))


NETWORKS = {
    **{kind: lambda rng, kind=kind: biased(rng, kind) for kind in SLOPES},
    "stack": lambda rng: cpl_stack(
        dense(rng, 5, 5) + dense(rng, 5, 4), [rng.standard_normal(5), rng.standard_normal(4)]
    ),
    "images": images,
    "skips": skips,
    "unbatched": unbatched,
}


def jacobian(graph: LayerGraph, x: np.ndarray) -> np.ndarray:
    """By central differences of the graph in numpy: independent of the emitted models."""
    step = 1e-6
    basis = np.eye(x.size).reshape(-1, *x.shape)
    columns = [(run(graph, x + step * e) - run(graph, x - step * e)).reshape(-1) / (2 * step) for e in basis]
    return np.array(columns).T


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("radius", [0.02, 0.3])
def test_ranges_hold_what_the_ball_attains(name: str, radius: float) -> None:
    rng = np.random.default_rng(0)
    graph = NETWORKS[name](rng)
    center = rng.standard_normal(graph.input_shape)
    with session() as library:
        balls = PropagatedRanges(library, graph, "CROWN", 10**7, rng)
        low, high = balls.output_range(center, radius)
        bound = balls.lipschitz(False)
        rows = balls.lipschitz(True)
    points = samples(center, radius, 200, rng)
    outputs = np.array([run(graph, p).reshape(-1) for p in points])
    assert (outputs >= low - 1e-9).all() and (outputs <= high + 1e-9).all()
    jacobians = [jacobian(graph, p) for p in points[:60]]
    assert max(np.linalg.norm(j, 2) for j in jacobians) <= bound + 1e-6
    assert max(np.linalg.norm(j, axis=1).max() for j in jacobians) <= rows + 1e-6
    ratios = np.linalg.norm(outputs[1:] - outputs[:-1], axis=1)
    ratios /= np.linalg.norm((points[1:] - points[:-1]).reshape(len(points) - 1, -1), axis=1)
    assert ratios.max() <= bound + 1e-9


@pytest.mark.parametrize("name", NETWORKS)
def test_emitted_models_are_the_graph(name: str) -> None:
    rng = np.random.default_rng(1)
    graph = NETWORKS[name](rng)
    x = rng.standard_normal(graph.input_shape)
    forward = Forward(graph)
    leading = (1, *x.shape[1:]) if x.shape[0] == 1 else (1, x.size)
    emitted = forward(torch.from_numpy(x).reshape(leading)).numpy().reshape(-1)
    np.testing.assert_allclose(emitted, run(graph, x).reshape(-1), rtol=1e-12, atol=1e-12)
    inputs = torch.from_numpy(x).reshape(leading).requires_grad_()
    expected = torch.autograd.functional.jacobian(lambda v: forward(v)[0], inputs).reshape(-1, x.size)
    values = {graph.input: x}
    gates = []
    for node in graph.nodes.values():
        values[node.name] = run(LayerGraph(graph.input, graph.input_shape, graph.nodes, node.name), x)
    for node in activations(graph):
        z = values[node.inputs[0]].reshape(-1)
        low, high = slope_range(node.map, z, z)  # type: ignore[arg-type]
        np.testing.assert_allclose(low, high)
        gates.append(low)
    everything = [np.arange(g.size) for g in gates]
    rows = torch.eye(expected.shape[0], dtype=torch.float64)
    rows = rows.reshape(-1, *graph.output_shape[1:]) if graph.output_shape[0] == 1 else rows
    for uncertain, middles, errors in (
        ([np.arange(0)] * len(gates), gates, []),
        (everything, [0 * g for g in gates], [torch.from_numpy(g).expand(len(rows), -1) for g in gates]),
    ):
        pulled = Adjoined(graph, middles, uncertain)(rows, *errors)
        np.testing.assert_allclose(pulled.numpy(), expected.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", SLOPES)
def test_slope_ranges_hold_difference_quotients(kind: str) -> None:
    rng = np.random.default_rng(0)
    maker = Maker((1, 1))
    activation = maker.nodes[maker.activation("x", kind)].map
    centers, radii = 2 * rng.standard_normal(200), rng.random(200)
    low, high = slope_range(activation, centers - radii, centers + radii)  # type: ignore[arg-type]
    for _ in range(20):
        a, b = (centers + radii * rng.uniform(-1, 1, 200) for _ in range(2))
        quotient = (SLOPES[kind][2](a) - SLOPES[kind][2](b)) / (a - b)
        assert (quotient >= low - 1e-7).all() and (quotient <= high + 1e-7).all()


def verify(graph: LayerGraph, propagation: Propagation | None = None, **problem) -> Evidence:
    rng = np.random.default_rng(0)
    at = {"centers": rng.standard_normal((3, *graph.input_shape)), "radius": Fraction(1, 10), **problem}
    return (propagation or Propagation()).verify(Problem(region(graph), **at))


def test_evidence_is_local_and_numeric() -> None:
    evidence = verify(biased(np.random.default_rng(0), "relu"))
    assert evidence.reason is None and evidence.upper is not None and evidence.lower is None
    assert evidence.local and evidence.rigor is Rigor.NUMERIC
    assert "CROWN + VJP" in evidence.method and "2 of 3 balls of radius 0.1" in evidence.method


def test_small_ball_is_the_jacobian() -> None:
    graph = biased(np.random.default_rng(0), "relu")
    center = np.random.default_rng(1).standard_normal((1, 1, 4))
    evidence = verify(graph, centers=center, radius=Fraction(1, 10**6))
    assert evidence.upper is not None
    assert float(evidence.upper) == pytest.approx(np.linalg.norm(jacobian(graph, center[0]), 2), rel=1e-6)


def test_outputs_of_their_own() -> None:
    graph = biased(np.random.default_rng(0), "relu")
    whole, rows = verify(graph), verify(graph, norms=LOGITS)
    assert whole.upper is not None and rows.upper is not None and rows.upper < whole.upper


def linear_program(weight: np.ndarray) -> Program:
    """x -> x W^T, as a program of its own."""
    operation = Operation("y", "aten.linear.default", (Ref("x"), Ref("w")))
    return Program(
        {"x": (1, weight.shape[1])},
        torch.float64,
        {"w": torch.from_numpy(weight)},
        {"w": "weight"},
        (operation,),
        ("y",),
    )


def test_range_that_excludes_an_output_of_the_program_is_a_finding() -> None:
    weight = np.random.default_rng(0).standard_normal((2, 3))
    at = {"centers": np.ones((1, 1, 3)), "radius": Fraction(1, 10)}
    honest = Region("", chain([weight]), linear_program(weight))
    assert Propagation().verify(Problem(honest, **at)).reason is None
    other = Region("", chain([weight]), linear_program(1.5 * weight))
    evidence = Propagation().verify(Problem(other, **at))
    assert evidence.upper is None
    assert evidence.reason == "propagated range excludes an output of the program (numeric mismatch)"


def test_what_is_not_bounded_has_a_reason() -> None:
    graph = biased(np.random.default_rng(0), "relu")
    assert "--radius" in (verify(graph, centers=None).reason or "")
    assert "--radius" in (verify(graph, radius=None).reason or "")
    assert "radius -1" in (verify(graph, radius=Fraction(-1)).reason or "")
    assert "centers" in (verify(graph, centers=np.zeros((1, 1, 5))).reason or "")
    assert "centers" in (verify(graph, centers=np.full((1, 1, 4), np.nan)).reason or "")
    assert "max_size" in (verify(graph, Propagation(max_size=5)).reason or "")
    assert "max_work" in (verify(graph, Propagation(max_work=5), radius=Fraction(3)).reason or "")
    assert "auto_LiRPA failed" in (verify(graph, Propagation(method="NO-SUCH")).reason or "")
    maker = Maker((1, 2))
    opaque = maker.graph(maker.node(Opaque("aten.sort.default", "not in the vocabulary", (1, 2), (1, 2)), "x"))
    assert "aten.sort.default" in (verify(opaque).reason or "")


def state() -> dict[str, object]:
    import torch.onnx.symbolic_helper as helper
    from torch.onnx._internal.torchscript_exporter._globals import GLOBALS

    root = logging.getLogger()
    return {
        "filters": list(warnings.filters),
        "show": warnings.showwarning,
        "handlers": list(root.handlers),
        "level": root.level,
        "disabled": root.manager.disable,
        "dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "opset": GLOBALS.export_onnx_opset_version,
        "setter": hasattr(helper, "_set_opset_version"),
        "subscript": hasattr(torch._C.Node, "__getitem__"),
        "stub": "numpy.lib.arraysetops" in sys.modules,
        "stdout": sys.stdout,
        "threads": torch.get_num_threads(),
    }


def test_nothing_is_left_behind(capsys: pytest.CaptureFixture[str]) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "auto_LiRPA"]:
        del sys.modules[name]
    before = state()
    assert verify(biased(np.random.default_rng(0), "relu")).reason is None
    assert state() == before
    assert verify(biased(np.random.default_rng(0), "relu"), Propagation(method="NO-SUCH")).reason is not None
    assert state() == before
    assert capsys.readouterr() == ("", "")


def test_missing_auto_lirpa_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import lipverify.verifiers.propagation.auto_lirpa as adapter

    def absent(name: str) -> str:
        raise adapter.PackageNotFoundError(name)

    monkeypatch.setattr(adapter, "version", absent)
    evidence = verify(biased(np.random.default_rng(0), "relu"))
    assert evidence.upper is None and "--no-deps auto_LiRPA==0.3" in (evidence.reason or "")


def test_large_regions_run_in_float32() -> None:
    weights = dense(np.random.default_rng(0), 300, 8, 2)
    evidence = verify(chain(weights))
    assert evidence.upper is not None and "float32" in evidence.method
    assert float(evidence.upper) <= 1.5 * np.prod([np.linalg.norm(w, 2) for w in weights])
