"""Folding encloses: intervals against exact rationals, matrix rules against float64, nothing that may round passes as exact."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import lipverify
from lipverify.graph import arb
from lipverify.graph.fold import fold
from lipverify.graph.intervals import Interval, NotFoldable, enclose, exactly
from lipverify.graph.trace import trace
from lipverify.read.program import Operation, Program, Ref

FLOATS = st.floats(-1e30, 1e30, allow_subnormal=True) | st.integers(-9, 9).map(float) | st.floats(-1e-300, 1e-300)
NEEDS_FLINT = pytest.mark.skipif(arb.flint is None, reason="python-flint is not installed")


def holds(found: Interval, truth: Fraction) -> bool:
    low, high = float(found.low), float(found.high)
    return (low == -np.inf or Fraction(low) <= truth) and (high == np.inf or truth <= Fraction(high))


@settings(max_examples=300, deadline=None)
@given(FLOATS, FLOATS)
def test_intervals_hold_the_rational_truth_and_are_exact_where_it_is_a_float(a, b):
    x, y = exactly(np.array(a)), exactly(np.array(b))
    p, q = Fraction(a), Fraction(b)
    cases = [(x + y, p + q), (x - y, p - q), (x * y, p * q), (x.square(), p * p)]
    with np.errstate(all="ignore"):
        if b:
            cases.append((x / y, p / q))
    for found, truth in cases:
        assert holds(found, truth)
        if (
            all(z == 0 or abs(z) > 1e-200 for z in (p, q, truth))
            and abs(truth) < 1e200
            and Fraction(float(truth)) == truth
        ):
            assert found.exact
    root = abs(x).sqrt()
    assert Fraction(float(root.low)) ** 2 <= abs(p) <= Fraction(float(root.high)) ** 2


@settings(max_examples=100, deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=9))
def test_sums_hold_the_rational_sum(numbers):
    found = exactly(np.array(numbers)).total((0,))
    assert holds(Interval(found.low[0], found.high[0]), sum(map(Fraction, numbers), Fraction(0)))


@settings(max_examples=200, deadline=None)
@given(FLOATS, FLOATS, FLOATS, FLOATS)
def test_intervals_of_intervals_hold_every_pair_of_ends(a, b, c, d):
    x, y = (Interval(np.array(min(p)), np.array(max(p))) for p in ((a, b), (c, d)))
    for p in map(Fraction, (a, b)):
        for q in map(Fraction, (c, d)):
            assert holds(x + y, p + q) and holds(x - y, p - q) and holds(x * y, p * q)
            assert holds(abs(x), abs(p)) and holds(x.square(), p * p) and holds(x.maximum(y), max(p, q))


def test_overflow_and_division_by_what_may_be_zero_are_refused():
    with np.errstate(all="ignore"), pytest.raises(NotFoldable, match="overflow"):
        enclose(exactly(np.array(1e308)) * exactly(np.array(1e10)))
    with pytest.raises(NotFoldable, match="zero"):
        exactly(np.ones(1)) / Interval(np.array([-1.0]), np.array([1.0]))


def folded_weight(module: nn.Module, x: torch.Tensor):
    program = trace(module.eval(), x)
    known, refused = fold(program)
    last = program.operations[-1]
    (weight,) = [known[r] for r in last.references if r in known and known[r].midpoint.ndim >= 2]
    return weight, refused


class Bjorck(nn.Module):
    def forward(self, w):
        for _ in range(15):
            w = 1.5 * w - 0.5 * w @ w.t() @ w
        return w


class AlmostOrthogonal(nn.Module):
    """W diag(sum_j |W^T W|_ij)^{-1/2} (Prach and Lampert 2022)."""

    def forward(self, w):
        return w / (w.t() @ w).abs().sum(1).sqrt()


def parametrized(make, shape=(6, 6)) -> nn.Module:
    layer = nn.Linear(shape[1], shape[0])
    nn.init.orthogonal_(layer.weight)
    return make(layer)


def registered(parametrization):
    def make(layer):
        parametrize.register_parametrization(layer, "weight", parametrization)
        return layer

    return make


def orthogonal(name, trivial):
    return lambda layer: parametrizations.orthogonal(layer, orthogonal_map=name, use_trivialization=trivial)


INTERVALS = {"weight_norm": parametrizations.weight_norm, "spectral_norm": parametrizations.spectral_norm}
MATRICES = {
    "Bjorck": registered(Bjorck()),
    "AOL": registered(AlmostOrthogonal()),
    **{
        f"{name}{' trivialized' * trivial}": orthogonal(name, trivial)
        for name in ("matrix_exp", "cayley", "householder")
        for trivial in (False, True)
    },
}


@pytest.mark.parametrize("case", [*INTERVALS, *(pytest.param(name, marks=NEEDS_FLINT) for name in MATRICES)])
@pytest.mark.parametrize("shape", [(6, 6), (6, 4), (4, 6)])
def test_parametrizations_fold_to_the_last_place(case, shape):
    torch.manual_seed(0)
    layer = parametrized((INTERVALS | MATRICES)[case], shape).eval().double()
    weight, refused = folded_weight(layer, torch.zeros(1, shape[1], dtype=torch.float64))
    truth = layer.weight.detach().numpy()
    assert not refused
    assert np.abs(weight.midpoint - truth).max() < 1e-13
    assert weight.radius is None or weight.radius.max() < 1e-15


@NEEDS_FLINT
def test_matrix_products_hold_the_rational_product():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((4, 7)), rng.standard_normal((7, 3))
    with arb.precision():
        from lipverify.graph.fold_matrices import matmul

        found = matmul(arb.Balls.of(exactly(a)), arb.Balls.of(exactly(b))).enclosure()
    for i in range(4):
        for j in range(3):
            truth = sum((Fraction(x) * Fraction(y) for x, y in zip(a[i], b[:, j], strict=True)), Fraction(0))
            assert abs(Fraction(found.midpoint[i, j]) - truth) <= Fraction(found.radius[i, j])


@NEEDS_FLINT
@pytest.mark.parametrize("geometry", [{}, {"padding": 1}, {"stride": 2, "padding": 1}, {"dilation": 2}, {"groups": 2}])
def test_convolutions_of_kernels_are_those_of_torch_on_integers(geometry):
    from lipverify.graph.fold_matrices import MATRICES as RULES

    rng = np.random.default_rng(1)
    x = rng.integers(-3, 4, (3, 4, 6, 5)).astype(float)
    w = rng.integers(-3, 4, (2, 4 // geometry.get("groups", 1), 3, 2)).astype(float)
    pairs = {k: v if k == "groups" else (v, v) for k, v in geometry.items()}
    with arb.precision():
        found = RULES["aten.conv2d.default"](*(arb.Balls.of(exactly(z)) for z in (x, w)), **pairs).enclosure()
    truth = torch.nn.functional.conv2d(torch.from_numpy(x), torch.from_numpy(w), **geometry).numpy()
    assert found.radius is None and np.array_equal(found.midpoint, truth)


def program(weights: dict[str, torch.Tensor], *operations: Operation) -> Program:
    return Program({"x": (1,)}, torch.float32, weights, {}, operations, (operations[-1].name,))


REFUSED = {
    "narrowed": (
        {"w": torch.ones(2).double()},
        "aten._to_copy.default",
        (Ref("w"),),
        {"dtype": torch.float32},
        "round",
    ),
    "undecided": ({"w": torch.tensor([0.1])}, "aten.gt.Scalar", (Ref("w"), 0.1), {}, "turn"),
    "memory": ({"w": torch.ones(2)}, "aten.empty.memory_format", ((2,),), {}, "aten.empty"),
    "unknown": ({"w": torch.ones(2)}, "aten.erf.default", (Ref("w"),), {}, "aten.erf"),
    "argument": ({"w": torch.ones(2)}, "aten.div.Tensor_mode", (Ref("w"), 3.0), {"rounding_mode": "floor"}, "aten.div"),
    "padded with ones": ({"w": torch.ones(2)}, "aten.constant_pad_nd.default", (Ref("w"), (1, 1), 1.0), {}, "constant"),
    "root": ({"w": -torch.ones(2)}, "aten.sqrt.default", (Ref("w"),), {}, "negative"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_may_round_wrap_or_is_unknown_is_refused_by_name(case):
    weights, target, args, kwargs, word = REFUSED[case]
    _, refused = fold(program(weights, Operation("y", target, args, kwargs)))
    assert target in refused["y"] and word in refused["y"]


def test_without_python_flint_a_matrix_product_is_refused_with_the_advice(monkeypatch):
    monkeypatch.setattr(arb, "flint", None)
    weights = {"w": torch.eye(2)}
    _, refused = fold(program(weights, Operation("y", "aten.mm.default", (Ref("w"), Ref("w")))))
    assert "pip install 'lipverify[fold]'" in refused["y"]


@NEEDS_FLINT
def test_a_singular_equation_is_refused():
    weights = {"a": torch.zeros(2, 2), "b": torch.eye(2)}
    _, refused = fold(program(weights, Operation("y", "aten.linalg_solve.default", (Ref("a"), Ref("b")))))
    assert "singular" in refused["y"]


@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm_folds_live_and_from_a_file(tmp_path, dim):
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3), dim=dim)
    model = nn.Sequential(layer).eval()
    torch.export.save(torch.export.export(model, (torch.zeros(1, 4),)), tmp_path / "m.pt2")
    live = lipverify.audit(model, torch.zeros(1, 4), verifiers=["spectral"]).regions[0]
    stored = lipverify.audit(tmp_path / "m.pt2", verifiers=["spectral"]).regions[0]
    truth = float(torch.linalg.matrix_norm(layer.weight.double(), 2))
    assert abs(float(stored.upper) - truth) < 1e-6 * truth and abs(stored.upper - live.upper) < 1e-12


def test_a_matrix_exponential_folds_from_a_file(tmp_path):
    pytest.importorskip("flint")
    model = nn.Sequential(parametrizations.orthogonal(nn.Linear(4, 4))).eval()
    torch.export.save(torch.export.export(model, (torch.zeros(1, 4),)), tmp_path / "m.pt2")
    (row,) = [r for r in lipverify.audit(tmp_path / "m.pt2", verifiers=["spectral"]).regions if r.path == ""]
    assert abs(float(row.upper) - 1) < 1e-5
