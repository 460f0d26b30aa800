"""The SDP verifier: every proved bound is above what slope patterns attain, and tight where the truth is known."""

from __future__ import annotations

import sys
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from lipverify.claims import LOGITS, NormPair
from lipverify.evidence import Evidence, Rigor
from lipverify.graph import LayerGraph, Region
from lipverify.maps import Affine, Opaque, Pointwise, Rearrange
from lipverify.verifiers import Problem
from lipverify.verifiers.sdp import SDP
from tests.verifiers.cases import SLOPES, Maker, chain, cpl_stack, pattern_norms, region


def verify(graph: LayerGraph, sdp: SDP | None = None, **problem) -> Evidence:
    return (sdp or SDP()).verify(Problem(region(graph), **problem))


def upper(graph: LayerGraph, sdp: SDP | None = None, **problem) -> float:
    evidence = verify(graph, sdp, **problem)
    assert evidence.reason is None, evidence.reason
    assert evidence.rigor is Rigor.RIGOROUS and not evidence.local and evidence.upper is not None
    assert evidence.method.startswith("lmi ")
    return float(evidence.upper)


def dense(rng: np.random.Generator, *widths: int) -> list[np.ndarray]:
    return [rng.standard_normal((b, a)) / np.sqrt(a) for a, b in pairwise(widths)]


def sealed(rng: np.random.Generator, inner: int, width: int, square: float) -> np.ndarray:
    """V (inner, width) with ||V||^2 = square to rounding."""
    weight = rng.standard_normal((inner, width))
    return weight * np.sqrt(square) / np.linalg.norm(weight, 2)


def skip_network(rng: np.random.Generator) -> LayerGraph:
    maker, (first, second) = Maker((1, 3)), dense(rng, 3, 4, 3)
    inner = maker.dense(maker.activation(maker.dense("x", first)), second)
    return maker.graph(maker.add("x", inner))


def residual_chain(rng: np.random.Generator) -> LayerGraph:
    """Leaky and abs layers, a residual block with a scalar h, and a subtraction of two branches."""
    maker = Maker((1, 2))
    z = maker.dense("x", rng.standard_normal((2, 2)))
    y = maker.add("x", maker.scale(maker.adjoint(maker.activation(z, "leaky_relu"), z), 0.37), signs=(1, -1))
    a = maker.activation(maker.dense(y, rng.standard_normal((3, 2))), "abs")
    return maker.graph(maker.add(maker.dense(a, rng.standard_normal((2, 3))), y, "x", signs=(1, -1, 1)))


def convolutional(rng: np.random.Generator) -> LayerGraph:
    maker = Maker((1, 1, 3, 2))
    z = maker.conv("x", rng.standard_normal((1, 1, 3, 3)), ((1, 1), (1, 1)))
    return maker.graph(maker.add("x", maker.adjoint(maker.activation(z), z), signs=(1, -1)))


NETWORKS = {
    **{kind: lambda rng, kind=kind: chain(dense(rng, 3, 4, 4, 2), kind) for kind in SLOPES},
    "stack": lambda rng: cpl_stack([rng.standard_normal((3, 3)), rng.standard_normal((4, 3))]),
    "skip": skip_network,
    "residual": residual_chain,
    "convolution": convolutional,
    "dead neurons": lambda rng: chain([np.diag([1.0, 0, 2]), rng.standard_normal((3, 3)) * [1, 1, 0], np.eye(3)]),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("seed", range(3))
def test_upper_is_above_every_slope_pattern(name: str, seed: int) -> None:
    graph = NETWORKS[name](np.random.default_rng(seed))
    truth = pattern_norms(graph)
    bound = upper(graph)
    assert bound >= truth * (1 - 1e-14)
    assert bound <= 3 * truth + 1e-12


@pytest.mark.parametrize("kind", SLOPES)
def test_a_single_neuron_is_exact(kind: str) -> None:
    """c sigma(a.x) has constant |c| max(|alpha|, |beta|) ||a||."""
    low, high, _ = SLOPES[kind]
    graph = chain([np.array([[3.0, 4.0]]), np.array([[-2.0]])], kind)
    assert upper(graph) == pytest.approx(10 * float(max(abs(low), abs(high))), rel=1e-6)


def test_lipsdp_network_counterexample() -> None:
    """Multipliers that couple neurons give 0.273 on this 2-2-1 network, whose constant is 0.702."""
    first = np.array([[0.9765271, -0.35529123], [0.74808321, -0.68616859]])
    graph = chain([first, np.array([[-0.67600173, 0.59624428]])])
    assert pattern_norms(graph) > 0.702
    assert 0.702 < upper(graph) < 0.703


def test_dense_chain_beats_the_product_of_norms() -> None:
    weights = dense(np.random.default_rng(0), 10, 20, 20, 5)
    product = np.prod([np.linalg.norm(w, 2) for w in weights])
    assert upper(chain(weights)) < 0.8 * product


@pytest.mark.parametrize("solver", ["CLARABEL", "SCS"])
def test_solvers_agree_and_are_named(solver: str) -> None:
    graph = chain(dense(np.random.default_rng(1), 4, 8, 8, 2))
    evidence = verify(graph, SDP(solver=solver))
    assert solver in evidence.method
    assert evidence.upper is not None
    assert float(evidence.upper) == pytest.approx(upper(graph), rel=1e-4)


@pytest.mark.parametrize("shape", [(8, 16), (16, 16), (24, 16), (64, 256)])
def test_sealed_block_is_proved_at_exactly_one(shape: tuple[int, int]) -> None:
    """||V||^2 = 2 (1 - 2^-20): the multipliers cancel the cross term bit for bit, so the singular part drops out."""
    weight = sealed(np.random.default_rng(0), *shape, square=2 * (1 - 2.0**-20))
    assert verify(cpl_stack([weight])).upper == 1


def test_stack_of_sealed_blocks() -> None:
    rng = np.random.default_rng(0)
    bound = upper(cpl_stack([sealed(rng, 12, 12, 2 * (1 - 2.0**-20)) for _ in range(3)]))
    assert 1 <= bound < 1 + 1e-12


def test_block_with_a_scalar_step() -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((12, 16))
    maker = Maker((1, 16))
    z = maker.dense("x", weight)
    step = 2 * (1 - 2.0**-20) / np.linalg.norm(weight, 2) ** 2
    graph = maker.graph(maker.add("x", maker.scale(maker.adjoint(maker.activation(z), z), step), signs=(1, -1)))
    assert 1 <= upper(graph) < 1 + 1e-9


def test_oversized_block() -> None:
    """||V||^2 = 2.1: the smallest constant for all sigma with slopes in [0, 1] is 1.1."""
    bound = upper(cpl_stack([sealed(np.random.default_rng(0), 8, 8, 2.1)]))
    assert 1.1 - 1e-12 <= bound < 1.1 + 1e-5


def test_underestimated_blocks_are_bounded_jointly() -> None:
    rng = np.random.default_rng(0)
    bound = upper(cpl_stack([sealed(rng, 8, 8, 2 * 1.03**2) for _ in range(3)]))
    assert 1 < bound < (2 * 1.03**2 - 1) ** 3 - 0.01


def test_linear_region_is_its_norm() -> None:
    weight = np.random.default_rng(0).standard_normal((7, 5))
    assert upper(chain([weight])) == pytest.approx(np.linalg.norm(weight, 2), rel=1e-11)


def test_identity_and_constant() -> None:
    assert verify(LayerGraph("x", (1, 3), {}, "x")).upper == 1
    assert verify(chain([np.zeros((2, 3)), np.ones((1, 2))])).upper == 0


@pytest.mark.parametrize("scale", [1e-150, 1e-30, 2.0**-40, 2.0**40, 1e30, 1e140])
def test_scale_invariance(scale: float) -> None:
    weights = dense(np.random.default_rng(2), 3, 5, 2)
    reference = verify(chain(weights)).upper
    scaled = verify(chain([weights[0] * scale, weights[1]])).upper
    assert reference is not None and scaled is not None
    assert float(scaled / reference / Fraction(scale)) == pytest.approx(1, rel=1e-6)


def test_wide_input() -> None:
    weights = dense(np.random.default_rng(0), 300, 8, 3)
    bound = upper(chain(weights))
    assert bound <= np.prod([np.linalg.norm(w, 2) for w in weights])


def test_every_output_of_its_own() -> None:
    weights = dense(np.random.default_rng(3), 3, 4, 3)
    rows = [upper(chain([weights[0], weights[1][i : i + 1]])) for i in range(3)]
    evidence = verify(chain(weights), norms=LOGITS)
    assert evidence.upper is not None
    assert float(evidence.upper) == pytest.approx(max(rows), rel=1e-9)
    assert "largest of 3 outputs" in evidence.method
    shared = verify(chain(weights), SDP(max_neurons=11), norms=LOGITS)
    assert shared.upper is not None and shared.upper >= evidence.upper
    assert "l2->l2 bound" in shared.method


REFUSED = {
    "max_neurons": (chain([np.ones((9, 2)), np.ones((1, 9))]), SDP(max_neurons=8)),
    "max_inputs": (chain([np.ones((2, 9))]), SDP(max_inputs=8)),
    "max_size": (chain([np.ones((9, 2)), np.ones((1, 9))]), SDP(max_size=10)),
    "nan": (chain([np.array([[1.0, np.nan]])]), SDP()),
    "failed": (chain([np.ones((3, 2)), np.ones((1, 3))]), SDP(solver="NO_SUCH_SOLVER")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_bounded_has_a_reason(name: str) -> None:
    graph, sdp = REFUSED[name]
    evidence = verify(graph, sdp)
    assert evidence.upper is None and evidence.reason is not None
    assert name in evidence.reason


def test_operations_without_a_form_have_a_reason() -> None:
    maker = Maker((1, 2))
    opaque = maker.graph(maker.node(Opaque("aten.sort.default", "not in the vocabulary", (1, 2), (1, 2)), "x"))
    assert "aten.sort.default" in (verify(opaque).reason or "")
    steep = Pointwise("cube", (1, 2), (Fraction(0), float("inf")), (), lambda x: x**3)  # type: ignore[arg-type]
    maker = Maker((1, 2))
    assert "cube" in (verify(maker.graph(maker.node(steep, "x"))).reason or "")
    assert SDP().verify(Problem(Region("", None, None, "aten.sort.default: unsupported"))).reason is not None
    assert "norms" in (verify(chain([np.eye(2)]), norms=NormPair("l1", "l2")).reason or "")


def test_missing_cvxpy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cvxpy", None)
    graph = chain(dense(np.random.default_rng(0), 3, 4, 2))
    evidence = verify(graph)
    assert evidence.upper is None and "pip install" in (evidence.reason or "")


def test_an_interrupt_that_the_solver_caught_is_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    from cvxpy.reductions.solvers.conic_solvers.scs_conif import SCS

    monkeypatch.setattr(SCS, "solve_via_data", lambda *args, **kwargs: {"info": {"status_val": -5}})
    with pytest.raises(KeyboardInterrupt):
        verify(chain(dense(np.random.default_rng(0), 6, 5, 4)), SDP(solver="SCS"))


def test_no_solver_is_asked_where_a_closed_form_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cvxpy", None)
    assert verify(cpl_stack([sealed(np.random.default_rng(0), 4, 4, 1.5)])).upper == 1


def test_rearrangement_keeps_the_bound() -> None:
    weights = dense(np.random.default_rng(5), 4, 5, 2)
    maker = Maker((1, 4))
    turned = maker.node(Affine(Rearrange((1, 4), (1, 2, 2))), "x")
    flat = maker.node(Affine(Rearrange((1, 2, 2), (1, 4))), turned)
    graph = maker.graph(maker.dense(maker.activation(maker.dense(flat, weights[0])), weights[1]))
    assert upper(graph) == pytest.approx(upper(chain(weights)), rel=1e-9)
