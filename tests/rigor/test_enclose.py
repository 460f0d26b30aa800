"""Ball arithmetic on ATen: the exact value of the program lies in the ball."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lipverify.graph import trace
from lipverify.rigor.enclose import NotEnclosed, enclose
from tests.graph.test_lower import SUPPORTED
from tests.networks import Lambda


def rational_mlp(layers: list[nn.Linear], x: list[Fraction]) -> list[Fraction]:
    for i, layer in enumerate(layers):
        rows, bias = layer.weight.tolist(), layer.bias.tolist()
        x = [
            sum((Fraction(w) * v for w, v in zip(row, x, strict=True)), Fraction(b))
            for row, b in zip(rows, bias, strict=True)
        ]
        if i < len(layers) - 1:
            x = [max(v, Fraction(0)) for v in x]
    return x


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-20, 1e-3, 1.0, 1e3, 1e12]))
def test_the_exact_rational_value_is_in_the_ball(seed, scale):
    torch.manual_seed(seed)
    layers = [nn.Linear(5, 7), nn.Linear(7, 6), nn.Linear(6, 3)]
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2]).eval()
    x = torch.randn(1, 5, dtype=torch.float64) * scale
    ball = enclose(trace(model, torch.zeros(1, 5)), x)
    exact = rational_mlp(layers, [Fraction(v) for v in x[0].tolist()])
    for value, middle, radius in zip(exact, ball.midpoint[0].tolist(), ball.radius[0].tolist(), strict=True):
        assert abs(value - Fraction(middle)) <= Fraction(radius)
        assert radius <= 1e-12 * (scale + 1)


@pytest.mark.parametrize("case", SUPPORTED)
def test_every_supported_operation_has_a_rule_that_agrees_with_torch(case):
    model, example = SUPPORTED[case]
    program = trace(model.eval(), example)
    torch.manual_seed(0)
    x = torch.randn(example.shape, dtype=torch.float64)
    ball = enclose(program, x)
    assert (abs(ball.midpoint - program(x)) <= ball.radius + 1e-6).all()
    assert float(ball.radius.max()) < 1e-5
    float32 = program(x.float()).double()
    assert (abs(ball.midpoint - float32) <= ball.radius + 1e-4).all()


def test_an_operation_without_a_rule_is_named():
    model = Lambda(lambda x, w: x.tan()).eval()
    with pytest.raises(NotEnclosed, match=r"aten\.tan\.default in the model: no rule"):
        enclose(trace(model, torch.zeros(1, 2)), torch.zeros(1, 2).double())


def test_values_too_large_to_bound_are_refused():
    with pytest.raises(NotEnclosed, match="too large"):
        enclose(trace(nn.Linear(2, 2).eval(), torch.zeros(1, 2)), torch.full((1, 2), 1e200, dtype=torch.float64))


def test_tanh_and_sigmoid_to_the_last_place():
    mpmath = pytest.importorskip("mpmath")
    mpmath.mp.dps = 60
    points = np.concatenate([np.linspace(-40, 40, 161), [1e-9, -1e-9, 1e-300, 750.0, -750.0]])
    for module, truth in ((nn.Tanh(), mpmath.tanh), (nn.Sigmoid(), lambda v: 1 / (1 + mpmath.exp(-v)))):
        ball = enclose(trace(module.eval(), torch.zeros(1, len(points))), torch.from_numpy(points)[None])
        for p, middle, radius in zip(points, ball.midpoint[0].tolist(), ball.radius[0].tolist(), strict=True):
            assert abs(truth(mpmath.mpf(float(p))) - mpmath.mpf(middle)) <= mpmath.mpf(radius)


def test_a_scalar_that_float32_cannot_hold_is_enclosed_with_its_rounding():
    ball = enclose(trace(Lambda(lambda x, w: 0.1 * x + w).eval(), torch.zeros(1, 1)), torch.ones(1, 1).double())
    low, high = float(ball.midpoint - ball.radius), float(ball.midpoint + ball.radius)
    assert low <= 0.1 < float(torch.tensor(0.1)) <= high
