"""Every rule of ball arithmetic: the midpoint is torch's value, and no point of a ball is mapped out of its image."""

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lipverify.graph import trace
from lipverify.graph.rules import RULES as LOWERED
from lipverify.read.program import Operation, Ref, aten
from lipverify.rigor.aten_balls import RULES, Ball
from lipverify.rigor.enclose import NotEnclosed, enclose
from tests.networks import Lambda
from tests.rigor.aten_cases import X, cases, program

CASES = cases()


@pytest.mark.parametrize("name", CASES)
def test_the_midpoint_is_torchs_float64_value_and_the_radius_is_rounding(name):
    one, shift = CASES[name]
    x = torch.randn(one.inputs["x"], generator=torch.Generator().manual_seed(1), dtype=torch.float64) + shift
    ball, truth = enclose(one, x), one(x)
    assert ball.midpoint.shape == truth.shape == ball.radius.shape
    size = 1 + float(truth.abs().max())
    if "softplus" in name:  # the ball holds the function that torch reverts to, too
        assert (abs(ball.midpoint - truth) <= ball.radius + 1e-13 * size).all()
        return
    assert (abs(ball.midpoint - truth) <= 1e-12 * size).all()
    assert float(ball.radius.max()) <= 1e-11 * size


@pytest.mark.parametrize("radius", [1e-9, 1e-3, 0.1])
@pytest.mark.parametrize("name", CASES)
def test_every_point_of_a_ball_is_mapped_into_its_image(name, radius):
    one, shift = CASES[name]
    generator = torch.Generator().manual_seed(2)
    shape = one.inputs["x"]
    x = torch.randn(shape, generator=generator, dtype=torch.float64) + shift
    spread = radius * torch.rand(shape, generator=generator, dtype=torch.float64)
    ball = enclose(one, Ball(x, spread))
    corners = [torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1 for _ in range(6)]
    for point in corners + [c.sign() for c in corners] + [torch.ones(shape).double(), -torch.ones(shape).double()]:
        value = one(x + spread * point)
        assert (abs(value - ball.midpoint) <= ball.radius + 1e-13 * (1 + value.abs())).all()


def test_every_rule_has_a_case_and_names_an_operator_of_torch():
    covered = {name.rsplit(" ", 1)[0] for name in CASES}
    later = {  # comparisons and constants, tested by what reads them; memory without content
        t.removeprefix("aten.")
        for t in RULES
        if t.split(".")[1]
        in "gt ge lt le eq ne where masked_fill any full full_like zeros ones zeros_like ones_like".split()
        or "logical" in t
        or "bitwise" in t
        or "new_" in t
        or t.split(".")[1] in ("empty", "eye", "scalar_tensor")
    }
    missing = {t.removeprefix("aten.") for t in RULES} - covered - later
    assert not missing - ALIASES
    for target in RULES:
        assert aten(target)


ALIASES = frozenset(
    """
    mH.default hstack.default vstack.default column_stack.default diagonal_copy.default addmv.default
    feature_alpha_dropout.default sgn.default _upsample_nearest_exact1d.default _upsample_nearest_exact1d.vec
    _upsample_nearest_exact2d.default
    """.split()
)
"""Other names or forms of operations that have a case."""


REFUSED = frozenset(
    f"aten.{name}.default"
    for name in """
    sinh cosh tan asin acos atanh acosh logit exp2 log10
    hardshrink threshold floor ceil round trunc frac
    """.split()
)
"""Operations that are lowered only to a reason, having no constant on the whole space: no ball is ever asked for."""
PATTERNS = frozenset(("softsign", "tanhshrink", "householder"))
"""Names of patterns of several operations, each of which has a rule here."""


def test_every_operation_that_is_lowered_has_a_rule_in_ball_arithmetic():
    assert set(LOWERED) - set(RULES) <= REFUSED | PATTERNS


@pytest.mark.parametrize("radius", [0.0, 1e-3, 0.5])
@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.where(x > 0, x, 0.1 * x),
        lambda x: torch.where(x >= x.flip(0), x, x.flip(0)),
        lambda x: torch.where((x < 1) & ~(x <= -1), x, -x),
        lambda x: x.masked_fill(x != 0, 2.0),
        lambda x: x * torch.tensor([True, False, True, False, True]),
        lambda x: x[torch.arange(1, 4)] + torch.full((3,), 0.1, dtype=torch.float64) @ torch.eye(3).double(),
        lambda x: torch.where((x == float("-inf")).any(), torch.zeros_like(x), x + torch.ones_like(x)),
    ],
)
def test_choices_hold_both_branches_where_they_are_undecided(function, radius):
    program = trace(Lambda(lambda x, w: function(x)).eval(), torch.zeros(5, dtype=torch.float64))
    x = torch.tensor([-1.0, -0.2, 0.0, 0.3, 2.0], dtype=torch.float64)
    ball = enclose(program, Ball(x, torch.full_like(x, radius)))
    for t in torch.linspace(-1, 1, 41, dtype=torch.float64):
        value = program(x + t * radius)
        assert (abs(value - ball.midpoint) <= ball.radius + 1e-13).all()


def test_results_without_an_enclosure_are_refused_only_where_they_are_read():
    values, indices = (program("aten.sort.default", (5,), (X, 0), {}, result) for result in (0, 1))
    x = torch.randn(5, dtype=torch.float64)
    assert torch.equal(enclose(values, x).midpoint, x.sort().values)
    with pytest.raises(NotEnclosed, match="places"):
        enclose(indices, x)


def test_uninitialised_memory_may_be_overwritten_but_not_computed_with():
    empty = Operation("e", "aten.empty.memory_format", ((5,),), {"dtype": torch.float64})
    for target, args, fine in (
        ("aten.slice_scatter.default", (Ref("e"), X, 0, 0, 5), True),
        ("aten.slice_scatter.default", (Ref("e"), Ref("w0"), 0, 0, 2), False),
        ("aten.add.Tensor", (Ref("e"), X), False),
    ):
        one = program(target, (5,), args, {}, -1)
        whole = replace(one, operations=(empty, *one.operations), weights={"w0": torch.zeros(2).double()})
        if fine:
            assert torch.equal(enclose(whole, torch.ones(5).double()).midpoint, torch.ones(5).double())
        else:
            with pytest.raises(NotEnclosed, match="large"):
                enclose(whole, torch.ones(5).double())


@settings(max_examples=40, deadline=None)
@given(
    n=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    taps=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    pads=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    extra=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    groups=st.integers(1, 2),
    transposed=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_convolutions_contain_the_rational_value(n, taps, stride, pads, dilation, extra, groups, transposed, seed):
    """y[o, q] = sum x[c, p] w[t] over p = q s + t d - pad; transposed: q = p s + t d - pad."""
    extra = tuple(min(e, max(s, d) - 1) for e, s, d in zip(extra, stride, dilation, strict=True))
    axes = list(zip(n, taps, stride, pads, dilation, extra, strict=True))
    if transposed:
        image = [(m - 1) * s - 2 * p + d * (k - 1) + e + 1 for m, k, s, p, d, e in axes]
    else:
        image = [(m + 2 * p - d * (k - 1) - 1) // s + 1 for m, k, s, p, d, _ in axes]
    assume(min(image) > 0)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((1, 2 * groups, *n), generator=generator, dtype=torch.float64)
    shape = (2 * groups, 3, *taps) if transposed else (3 * groups, 2, *taps)
    weight = torch.randn(shape, generator=generator, dtype=torch.float64) * 1e3
    args = (X, weight, None, stride, pads, dilation, transposed, extra if transposed else (0, 0), groups)
    ball = enclose(program("aten.convolution.default", tuple(x.shape), args, {}, -1), x)
    truth = np.full((3 * groups, *image), Fraction(0), dtype=object)
    places = map(range, (*taps, *(n if transposed else image)))
    for o, c, i, j, s, t in itertools.product(range(3), range(2), *places):
        steps = [(s, i, *axes[0]), (t, j, *axes[1])]
        other = [at * st_ + tap * d - p for at, tap, _, _, st_, p, d, _ in steps]
        for g in range(groups):
            if transposed and all(0 <= q < m for q, m in zip(other, image, strict=True)):
                factor = Fraction(float(weight[g * 2 + c, o, i, j]))
                truth[(g * 3 + o, *other)] += Fraction(float(x[0, g * 2 + c, s, t])) * factor
            elif not transposed and all(0 <= q < m for q, m in zip(other, n, strict=True)):
                factor = Fraction(float(weight[g * 3 + o, c, i, j]))
                truth[g * 3 + o, s, t] += Fraction(float(x[(0, g * 2 + c, *other)])) * factor
    assert tuple(ball.midpoint.shape[1:]) == truth.shape
    for exact, m, r in zip(truth.ravel(), ball.midpoint.ravel().tolist(), ball.radius.ravel().tolist(), strict=True):
        assert abs(exact - Fraction(m)) <= Fraction(r) <= Fraction(1, 10**8)
