"""Elementary functions and activations against 60 digits of mpmath, extreme arguments included."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch

from lipverify.rigor.aten_balls import activations, elementary
from lipverify.rigor.aten_balls.arithmetic import one
from lipverify.rigor.aten_balls.ball import Ball, NotEnclosed, constant, exact, scalar

mpmath.mp.dps = 60
POINTS = np.unique(
    np.concatenate(
        [
            np.linspace(-45, 45, 181),
            [0.0, 5e-324, -5e-324, 1e-310, 2.0**-1022, 1e-300, 1e-9, -1e-9, 2.0**-17, -(2.0**-17), 750.0, -750.0],
            [6.0, np.nextafter(6, 7), -6.0, 3.0, -3.0, np.nextafter(-3, -4), 20.0, np.nextafter(20, 21), 1e5, -1e5],
        ]
    )
)


def gelu_tanh(v):
    return v / 2 * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (v + mpmath.mpf("0.044715") * v**3)))


def softplus(v):
    return mpmath.log1p(mpmath.exp(v))


ALPHA, SCALE = mpmath.mpf(activations.SELU_ALPHA), mpmath.mpf(activations.SELU_SCALE)
FUNCTIONS = {
    "exp": (elementary.exp, mpmath.exp, POINTS[POINTS < 300]),
    "log": (elementary.log, mpmath.log, np.geomspace(1e-100, 1e120, 97)),
    "sin": (lambda x: elementary.waves(x)[0], mpmath.sin, POINTS),
    "cos": (lambda x: elementary.waves(x)[1], mpmath.cos, POINTS),
    "atan": (elementary.atan, mpmath.atan, np.append(POINTS, [1e100, -1e15])),
    "erf": (elementary.erf, mpmath.erf, np.append(POINTS, np.linspace(-7, 7, 141))),
    "tanh": (activations.tanh, mpmath.tanh, POINTS),
    "sigmoid": (activations.sigmoid, lambda v: 1 / (1 + mpmath.exp(-v)), POINTS),
    "log_sigmoid": (activations.log_sigmoid, lambda v: -softplus(-v), POINTS),
    "softplus": (lambda x: activations.softplus(x, one(), constant(20.0)), softplus, POINTS),
    "silu": (activations.silu, lambda v: v / (1 + mpmath.exp(-v)), POINTS),
    "gelu": (activations.gelu, lambda v: v / 2 * (1 + mpmath.erf(v / mpmath.sqrt(2))), POINTS),
    "gelu tanh": (lambda x: activations.gelu(x, approximate="tanh"), gelu_tanh, POINTS),
    "mish": (activations.mish, lambda v: v * mpmath.tanh(softplus(v)), POINTS),
    "asinh": (activations.RULES["aten.asinh.default"], mpmath.asinh, POINTS),
    "elu": (
        lambda x: activations.elu(x, one(), one(), one()),
        lambda v: v if v > 0 else mpmath.exp(v) - 1,
        POINTS,
    ),
    "selu": (
        activations.RULES["aten.selu.default"],
        lambda v: SCALE * (v if v > 0 else ALPHA * (mpmath.exp(v) - 1)),
        POINTS,
    ),
    "celu": (
        lambda x: activations.celu(x, constant(0.25)),
        lambda v: v if v > 0 else (mpmath.exp(4 * v) - 1) / 4,
        POINTS,
    ),
    "hardswish": (activations.hardswish, lambda v: v * min(max(v + 3, mpmath.mpf(0)), mpmath.mpf(6)) / 6, POINTS),
    "hardsigmoid": (activations.hardsigmoid, lambda v: min(max(v + 3, mpmath.mpf(0)), mpmath.mpf(6)) / 6, POINTS),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_true_value_is_in_a_narrow_ball(name):
    rule, truth, points = FUNCTIONS[name]
    ball = rule(exact(torch.from_numpy(points)))
    for p, middle, radius in zip(points, ball.midpoint.tolist(), ball.radius.tolist(), strict=True):
        value = truth(mpmath.mpf(float(p)))
        assert abs(value - mpmath.mpf(middle)) <= mpmath.mpf(radius), p
        limit = 3e-9 if name == "softplus" else 1e-13 * (1 + abs(p))
        assert radius <= limit * (1 + float(abs(value))), p


@pytest.mark.parametrize("radius", [1e-6, 0.03, 0.9])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_image_of_a_ball_contains_its_ends(name, radius):
    rule, truth, points = FUNCTIONS[name]
    points = points[np.abs(points) < 1e4]
    try:
        ball = rule(Ball(torch.from_numpy(points), torch.full(points.shape, radius, dtype=torch.float64)))
    except NotEnclosed:
        assert name in ("log", "celu")
        return
    for p, middle, reach in zip(points, ball.midpoint.tolist(), ball.radius.tolist(), strict=True):
        for end in (-1, -0.5, 0, 1):
            value = truth(mpmath.mpf(float(p)) + end * mpmath.mpf(radius))
            assert abs(value - mpmath.mpf(middle)) <= mpmath.mpf(reach), (p, end)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_scalar_is_enclosed_with_every_rounding_that_the_machine_may_give_it(dtype):
    ball = scalar(0.1, dtype)
    low, high = (Fraction(float(ball.midpoint)) + s * Fraction(float(ball.radius)) for s in (-1, 1))
    readings = {0.1, float(torch.tensor(0.1).to(dtype)) if dtype != torch.float64 else 0.1}
    if dtype in (torch.float16, torch.bfloat16):
        readings.add(float(torch.tensor(0.1)))
    assert all(low <= Fraction(r) <= high for r in readings)
    assert dtype != torch.float64 or float(ball.radius) == 0


@pytest.mark.parametrize("number", [float("inf"), float("nan"), 1e300])
def test_a_scalar_beyond_all_bounds_is_refused(number):
    with pytest.raises(NotEnclosed, match="constant"):
        scalar(number, torch.float32)


def test_what_cannot_be_bounded_is_refused():
    wide = Ball(torch.zeros(1).double(), torch.full((1,), 2.0, dtype=torch.float64))
    for rule, ball in (
        (elementary.exp, wide),
        (elementary.exp, exact(torch.tensor([301.0]).double())),
        (elementary.log, wide),
        (elementary.log, exact(torch.zeros(1).double())),
        (lambda x: elementary.waves(x)[0], exact(torch.tensor([1e9]).double())),
    ):
        with pytest.raises(NotEnclosed):
            rule(ball)
