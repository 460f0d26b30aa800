"""The LMI and its proof, apart from any solver; and the matrices and forms that it is made of."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from lipverify.actions import apply
from lipverify.maps import (
    Adjoint,
    Affine,
    Convolution,
    Dense,
    Diagonal,
    Enclosure,
    LinearMap,
    Pad,
    Rearrange,
    size,
)
from lipverify.rigor.matrices import matrix
from lipverify.verifiers.sdp.forms import forms
from lipverify.verifiers.sdp.lmi import constant, lmi, prove, tightest, value
from tests.networks import pooling
from tests.verifiers.cases import Maker, chain, cpl_stack, pattern_norms

RNG = np.random.default_rng(0)
KERNEL = Enclosure(RNG.standard_normal((4, 3, 3, 3)))
LINEAR: list[LinearMap] = [
    Dense(Enclosure(RNG.standard_normal((4, 3))), (2, 3)),
    Convolution(KERNEL, (2, 3, 5, 4), ((1, 1), (1, 1))),
    Convolution(KERNEL, (1, 3, 5, 4), ((2, 1), (0, 2))),
    Convolution(KERNEL, (1, 3, 5, 4), ((1, 1), (1, 1)), True),
    Convolution(KERNEL, (1, 3, 3, 4), ((3, 2), (1, 1)), True),
    Diagonal(Enclosure(RNG.standard_normal((3, 1, 1))), (1, 3, 2, 2)),
    pooling((1, 2, 5, 4), (2, 3)),
    Rearrange((2, 3, 4), (4, 6), (2, 0, 1)),
    Pad((1, 2, 3, 3), ((0, 0), (1, 2), (0, 1), (1, 0))),
    Pad((1, 2, 3, 3), ((0, 0), (0, 0), (2, 1), (1, 0)), True),
]


@pytest.mark.parametrize("linear", [*LINEAR, *map(Adjoint, LINEAR)], ids=lambda m: type(m).__name__)
def test_matrix_acts_as_the_map(linear: LinearMap) -> None:
    x = np.random.default_rng(1).standard_normal(linear.input_shape)
    dense = matrix(linear)
    assert dense.shape == (size(linear.output_shape), size(linear.input_shape))
    np.testing.assert_allclose(dense.midpoint @ x.reshape(-1), apply(linear, x).reshape(-1), rtol=1e-12, atol=1e-12)


def test_matrix_holds_the_enclosed_map() -> None:
    ball = matrix(pooling((1, 1, 3, 3), (3, 3)))
    assert abs(Fraction(ball.midpoint[0, 0]) - Fraction(1, 9)) <= Fraction(ball.radius[0, 0])
    radius = np.full((4, 3), 0.25)
    assert (matrix(Dense(Enclosure(np.ones((4, 3)), radius), (3,))).radius == 0.25).all()


def test_kernel_larger_than_a_circular_image_is_refused() -> None:
    with pytest.raises(TypeError, match="circular"):
        matrix(Convolution(Enclosure(np.ones((1, 1, 3, 3))), (1, 1, 2, 2), ((1, 1), (1, 1)), True))


def problem(seed: int = 0):
    rng = np.random.default_rng(seed)
    graph = chain([rng.standard_normal((3, 2)), rng.standard_normal((3, 3)), rng.standard_normal((2, 3))])
    data = lmi(forms(graph))
    # Feasible by hand: multipliers that fall from layer to layer as the norms of what follows.
    return graph, data, np.where(data.layers == 0, 4.0**4, 4.0**2)


@pytest.mark.parametrize("seed", range(10))
def test_proof_holds_above_its_value_and_is_refused_below(seed: int) -> None:
    graph, data, t = problem(seed)
    rho = value(data, t)
    assert rho is not None
    assert prove(data, rho * (1 + 1e-9), t)
    assert not prove(data, rho * (1 - 1e-9), t)
    assert float(constant(data, rho)) >= pattern_norms(graph) * (1 - 1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_no_multipliers_prove_less_than_a_pattern(seed: int) -> None:
    graph, data, _ = problem(seed)
    rng = np.random.default_rng(seed)
    unit = float(constant(data, 1.0))
    below = (pattern_norms(graph) / unit) ** 2 * (1 - 1e-6)
    for _ in range(200):
        assert not prove(data, below, 4.0 ** rng.uniform(-6, 6, data.neurons))


@pytest.mark.parametrize("bad", [-1e-300, -1.0, np.nan, np.inf])
def test_corrupted_multipliers_are_refused(bad: float) -> None:
    _, data, t = problem()
    corrupted = t.copy()
    corrupted[1] = bad
    with pytest.raises(ValueError, match="multipliers"):
        prove(data, 1e6, corrupted)
    with pytest.raises(ValueError, match="multipliers"):
        prove(data, 1e6, t[1:])
    with pytest.raises(ValueError, match="rho"):
        prove(data, bad, t)


def test_multipliers_that_are_too_small_prove_nothing() -> None:
    _, data, t = problem()
    assert not prove(data, 1e12, t * 0)
    assert tightest(data, t * 0) is None


def test_radius_of_weights_is_counted() -> None:
    """A block with ||V||^2 just below 2, known to 1e-3 only: 1 must not be proved."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((4, 4))
    weight *= np.sqrt(2 * (1 - 2.0**-20)) / np.linalg.norm(weight, 2)
    data = lmi(forms(cpl_stack([weight])))
    assert prove(data, 2.0 ** (-2 * data.exponent), data.units)
    maker = Maker((1, 4))
    linear = Affine(Dense(Enclosure(weight, np.full((4, 4), 1e-3)), (1, 4)))
    z = maker.node(linear, "x")
    data = lmi(forms(maker.graph(maker.add("x", maker.adjoint(maker.activation(z), z), signs=(1, -1)))))
    assert not prove(data, 2.0 ** (-2 * data.exponent), data.units)


def test_neurons_without_effect_are_left_out() -> None:
    first, last = np.ones((4, 2)), np.array([[1.0, 0.0, 1.0, 1.0]])
    first[2] = 0
    assert lmi(forms(chain([first, last]))).neurons == 2
