"""The framework: each step equals its own definition, and is 1-Lipschitz where it says so."""

import math

import pytest
import torch

import cpl
from cpl.activations import ACTIVATIONS

FLOAT = torch.float64
SIZE = (3, 5)


def random(*shape, seed=0):
    return torch.randn(shape, dtype=FLOAT, generator=torch.Generator().manual_seed(seed))


def matrix_of(function, *shape):
    """The matrix of a linear map on tensors of this shape (without the batch)."""
    basis = torch.eye(math.prod(shape), dtype=FLOAT).view(-1, *shape)
    return function(basis).flatten(1).t()


def jacobian(function, x):
    return torch.autograd.functional.jacobian(lambda y: function(y[None])[0], x).reshape(x.numel(), x.numel())


def norm(matrix):
    return float(torch.linalg.matrix_norm(matrix, 2))


def test_explicit_euler_on_a_potential_is_the_convex_potential_layer():
    w, b, x = random(4, 6), random(4, seed=1), random(3, 6, seed=2)
    step = 2 / norm(w) ** 2
    found = cpl.explicit_euler(cpl.Potential(cpl.Dense(w), b), x, step)
    torch.testing.assert_close(found, x - step * torch.relu(x @ w.t() + b) @ w)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_have_slopes_between_zero_and_one(name):
    points = torch.linspace(-9, 9, 4001, dtype=FLOAT)
    values = ACTIVATIONS[name].function(points)
    slopes = values.diff() / points.diff()
    assert float(slopes.min()) >= -1e-12 and float(slopes.max()) <= 1 + 1e-12
    positive = torch.tensor([0.5, 2.0, 7.0], dtype=FLOAT)[:, None]
    scaled = ACTIVATIONS[name].function(positive * points)
    assert torch.allclose(scaled, positive * values, atol=1e-12) == ACTIVATIONS[name].homogeneous


def test_explicit_euler_on_a_skew_field_is_refused_with_the_reason():
    with pytest.raises(cpl.ArgumentError, match="expands"):
        cpl.explicit_euler(cpl.Skew(cpl.Dense(random(3, 3))), random(1, 3), 0.1)


@pytest.mark.parametrize("iterations", [0, 1, 2, 7, 60])
@pytest.mark.parametrize("step", [0.1, 2.0, 50.0])
def test_every_truncation_of_implicit_euler_is_one_lipschitz(iterations, step):
    w = random(8, 5)
    field = cpl.Potential(cpl.Dense(w), random(8, seed=1), torch.tanh)
    for seed in range(5):
        matrix = jacobian(
            lambda x: cpl.implicit_euler(field, x, step, smoothness=norm(w) ** 2, iterations=iterations),
            3 * random(5, seed=10 + seed),
        )
        assert norm(matrix) <= 1 + 1e-12


def test_implicit_euler_tends_to_the_proximal_point():
    w, x = random(4, 5), random(3, 5, seed=1)
    field = cpl.Potential(cpl.Dense(w), random(4, seed=2))
    y = cpl.implicit_euler(field, x, 0.3, smoothness=norm(w) ** 2, iterations=2000)
    torch.testing.assert_close(y + 0.3 * field.gradient(y), x, rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", ["dense", "circular"])
def test_the_midpoint_rule_is_the_cayley_transform(kind):
    operator, shape = operators()[kind]
    b = matrix_of(operator.apply, *shape)
    skew, unit = b - b.t(), torch.eye(len(b), dtype=FLOAT)
    cayley = torch.linalg.inv(unit - skew / 2) @ (unit + skew / 2)
    found = matrix_of(lambda x: cpl.midpoint(cpl.Skew(operator), x), *shape)
    torch.testing.assert_close(found, cayley, rtol=0, atol=1e-10)
    torch.testing.assert_close(found @ found.t(), unit, rtol=0, atol=1e-10)


def operators():
    return {
        "dense": (cpl.Dense(random(6, 6)), (6,)),
        "circular": (cpl.Convolution(random(2, 2, 3, 3), "circular"), (2, *SIZE)),
        "zeros": (cpl.Convolution(random(2, 2, 3, 3), "zeros"), (2, *SIZE)),
    }


@pytest.mark.parametrize("kind", ["dense", "circular", "zeros"])
@pytest.mark.parametrize("order", [1, 3, 4, 12, 40])
@pytest.mark.parametrize("scale", [0.05, 1.0])
def test_the_exact_flow_is_the_exponential_and_never_expands(kind, order, scale):
    operator, shape = operators()[kind]
    b = matrix_of(operator.apply, *shape)
    radius = scale * norm(b - b.t())

    def flow(x):
        field = cpl.Skew(operator)
        small = Scaled(field, scale)
        return cpl.exact_flow(small, x, order=order, radius=radius)

    found = matrix_of(flow, *shape)
    assert norm(found) <= 1 + 1e-12
    error = radius ** (order + 1) / math.factorial(order + 1)
    if error < 1e-3:
        wanted = torch.linalg.matrix_exp(scale * (b - b.t()))
        torch.testing.assert_close(found, wanted, rtol=0, atol=3 * error + 1e-10)


class Scaled:
    """A skew field times a number."""

    def __init__(self, field, scale):
        self.field, self.scale = field, scale

    def apply(self, x):
        return self.scale * self.field.apply(x)


@pytest.mark.parametrize("order", range(1, 9))
@pytest.mark.parametrize("radius", [0.3, 1.0, 1.732, 2.0, 2.828, 4.0])
def test_the_bound_of_a_series_is_above_its_norm(order, radius):
    t = 1j * torch.linspace(0, radius, 2001, dtype=FLOAT)
    series = sum(t**power / math.factorial(power) for power in range(order + 1))
    assert float(series.abs().max()) <= cpl.series_bound(order, radius) + 1e-12


def test_zero_padded_cayley_has_no_solver():
    with pytest.raises(cpl.ArgumentError, match="circular"):
        cpl.midpoint(cpl.Skew(operators()["zeros"][0]), random(1, 2, *SIZE))
