"""Activations of balls.

Piecewise linear ones are composed of clamps, products and sums. Smooth ones are evaluated at the midpoint and widened by
the radius times a bound of their slope; the bounds are crude where that makes their proof a line.

sigma(t) = 1 / (1 + e^-t), and t / cosh^2 t <= 1/2 because cosh^2 t >= 1 + t^2 >= 2 t.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import torch

from lipverify.rigor.aten_balls.arithmetic import (
    add,
    divide,
    is_one,
    multiply,
    negate,
    one,
    reciprocal,
    square_root,
    subtract,
)
from lipverify.rigor.aten_balls.ball import Ball, Missing, NotEnclosed, constant, exact, made
from lipverify.rigor.aten_balls.elementary import LOG2, ROOT_2, TWO_OVER_ROOT_PI, atan, erf, exp, log, waves
from lipverify.rigor.aten_balls.order import absolute, clamp, greater, positive_part

Function = Callable[[Ball], Ball]
SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def smooth(function: Function, slope: float) -> Function:
    """The rule of a function of slope at most ``slope``, from its enclosure at numbers."""

    def rule(x: Ball) -> Ball:
        y = function(exact(x.midpoint))
        return made(y.midpoint, y.radius + slope * x.radius)

    return rule


def negative_part(x: Ball) -> Ball:
    """min(x, 0)."""
    return Ball(x.midpoint.clamp(max=0.0), x.radius)


def leaky_relu(x: Ball, slope: Ball) -> Ball:
    """max(x, 0) + a min(x, 0) = x where x >= 0, a x elsewhere: at most max(1, |a|) times as far apart as its arguments."""
    y = add(positive_part(exact(x.midpoint)), multiply(slope, negative_part(exact(x.midpoint))))
    steepest = (slope.midpoint.abs() + slope.radius).clamp(min=1.0)
    return made(y.midpoint, y.radius + steepest * x.radius)


def prelu(x: Ball, slope: Ball) -> Ball:
    """leaky_relu with a slope for each channel: the second axis."""
    if slope.midpoint.numel() > 1 and x.midpoint.ndim > 1:
        shape = [1, -1] + [1] * (x.midpoint.ndim - 2)
        slope = Ball(*(part.reshape(shape) for part in slope))
    return leaky_relu(x, slope)


def rrelu(x: Ball, lower: Ball, upper: Ball, training: bool) -> Ball:
    """leaky_relu with the mean of its two slopes, outside training."""
    if training is not False:
        raise NotEnclosed("rrelu in training")
    return leaky_relu(x, divide(add(lower, upper), constant(2.0)))


def relu6(x: Ball) -> Ball:
    """min(max(x, 0), 6)."""
    return clamp(x, constant(0.0), constant(6.0))


def hardsigmoid(x: Ball) -> Ball:
    """relu6(x + 3) / 6."""
    return divide(relu6(add(x, constant(3.0))), constant(6.0))


def _hardswish(x: Ball) -> Ball:
    """x relu6(x + 3) / 6: slope (2 x + 3) / 6 for |x| < 3, which is within [-1/2, 3/2], else 0 or 1."""
    return multiply(x, hardsigmoid(x))


def softshrink(x: Ball, width: Ball) -> Ball:
    """max(x - w, 0) + min(x + w, 0), w >= 0: at most one of the two moves."""
    at = exact(x.midpoint)
    y = add(positive_part(subtract(at, width)), negative_part(add(at, width)))
    return made(y.midpoint, y.radius + x.radius)


def sigmoid(x: Ball) -> Ball:
    """e^min(x, 0) / (1 + e^-|x|): slope sigma (1 - sigma) <= 1/4."""
    return divide(exp(negative_part(x)), add(one(), exp(negate(absolute(x)))))


def _tanh(x: Ball) -> Ball:
    """sign(x) (1 - e) / (1 + e), e = e^(-2 |x|); x itself within |x|^3 where |x| < 2^-17; at the
    midpoint. Slope 1 - tanh^2 <= 1."""
    e = exp(exact(-2 * x.midpoint.abs()))
    y = divide(subtract(one(), e), add(one(), e))
    size = x.midpoint.abs()
    small = size < 2.0**-17
    return made(
        torch.where(small, x.midpoint, x.midpoint.sign() * y.midpoint), torch.where(small, size * size * size, y.radius)
    )


def _silu(x: Ball) -> Ball:
    """x sigma(x): |sigma + x sigma (1 - sigma)| <= 1 + |t| / (2 cosh^2 t) <= 5/4 with t = x / 2."""
    return multiply(x, sigmoid(x))


def gelu(x: Ball, *, approximate: str = "none") -> Ball:
    """x Phi(x), slope |Phi + x phi| <= 1 + phi(1) < 5/4; or with Phi = (1 + tanh v) / 2, v = c (x + a x^3).

    The latter's slope is at most 1 + |x v'| / (2 cosh^2 v) <= 1 + 3 |v| / (2 cosh^2 v) <= 7/4.

    Raises:
        NotEnclosed: for an unknown approximation.
    """
    half = constant(0.5)
    at = exact(x.midpoint)
    if approximate == "none":
        probability = multiply(half, add(one(), erf(divide(at, constant(ROOT_2)))))
        slope = 1.25
    elif approximate == "tanh":
        inside = multiply(at, add(one(), multiply(constant(Fraction("0.044715")), multiply(at, at))))
        c = divide(constant(TWO_OVER_ROOT_PI), constant(ROOT_2))
        probability = multiply(half, add(one(), tanh(clamp(multiply(c, inside), constant(-60.0), constant(60.0)))))
        probability = made(probability.midpoint, probability.radius + 2.0**-160)  # 1 - tanh 60 < 2 e^-120
        slope = 1.75
    else:
        raise NotEnclosed(f"the approximation {approximate!r}")
    y = multiply(at, probability)
    return made(y.midpoint, y.radius + slope * x.radius)


def log_one_plus_exp(x: Ball) -> Ball:
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|): slope sigma <= 1."""
    return add(positive_part(x), log(add(one(), exp(negate(absolute(x))))))


def softplus(x: Ball, beta: Ball, threshold: Ball) -> Ball:
    """log(1 + e^(beta x)) / beta, beta > 0.

    Where beta x is above the threshold torch returns x, which is less by log(1 + e^(-beta x)) / beta < e^(-beta x) / beta.
    The ball holds both: what it proves is true of either reading.

    Raises:
        NotEnclosed: where beta is not certainly positive.
    """
    if not bool((beta.midpoint > beta.radius).all()):
        raise NotEnclosed("softplus with beta <= 0")
    scaled = x if is_one(beta) else multiply(x, beta)
    y = smooth(log_one_plus_exp, 1.0)(scaled)
    below = greater(threshold, scaled).yes
    least = (scaled.midpoint - scaled.radius).clamp(-300.0, 300.0)
    reversion = exp(exact(-least)).midpoint * (1 + 2.0**-30)
    y = made(y.midpoint, y.radius + torch.where(below, 0.0, reversion))
    return y if is_one(beta) else divide(y, beta)


def _mish(x: Ball) -> Ball:
    """x tanh(s), s = log(1 + e^x): the slope is tanh s + x sigma / cosh^2 s, of size at most 3/2.

    For x >= 0, cosh^2 s >= e^(2 s) / 4 = (1 + e^x)^2 / 4 >= (2 + x)^2 / 4 >= 2 x; for x < 0, |x| sigma(x) <= |x| e^x < 1/2.
    """
    return multiply(x, tanh(log_one_plus_exp(x)))


def elu(x: Ball, alpha: Ball, scale: Ball, input_scale: Ball) -> Ball:
    """scale (max(x, 0) + alpha (e^(input_scale min(x, 0)) - 1)), in ball arithmetic throughout."""
    below = negative_part(x) if is_one(input_scale) else multiply(negative_part(x), input_scale)
    below = subtract(exp(below), one())
    y = add(positive_part(x), below if is_one(alpha) else multiply(alpha, below))
    return y if is_one(scale) else multiply(scale, y)


def celu(x: Ball, alpha: Ball) -> Ball:
    """max(x, 0) + alpha (e^(min(x, 0) / alpha) - 1)."""
    return elu(x, alpha, one(), reciprocal(alpha))


def _asinh(x: Ball) -> Ball:
    """sign(x) log(|x| + sqrt(x^2 + 1)): slope 1 / sqrt(x^2 + 1) <= 1."""
    size = absolute(x)
    y = log(add(size, square_root(add(multiply(x, x), one()))))
    return Ball(x.midpoint.sign() * y.midpoint, y.radius)


def log_sigmoid(x: Ball) -> Ball:
    """-log(1 + e^-x)."""
    return negate(smooth(log_one_plus_exp, 1.0)(negate(x)))


tanh = smooth(_tanh, 1.0)
silu, mish, hardswish = smooth(_silu, 1.25), smooth(_mish, 1.5), smooth(_hardswish, 1.5)

RULES: Mapping[str, Callable[..., Any]] = {
    "aten.leaky_relu.default": leaky_relu,
    "aten.prelu.default": prelu,
    "aten._prelu_kernel.default": leaky_relu,
    "aten.rrelu.default": lambda x, lower, upper, training, generator=None: rrelu(x, lower, upper, training),
    "aten.relu6.default": relu6,
    "aten.hardtanh.default": clamp,
    "aten.hardsigmoid.default": hardsigmoid,
    "aten.hardswish.default": hardswish,
    "aten.softshrink.default": softshrink,
    "aten.tanh.default": tanh,
    "aten.sigmoid.default": smooth(sigmoid, 0.25),
    "aten.special_expit.default": smooth(sigmoid, 0.25),
    "aten.log_sigmoid.default": log_sigmoid,
    "aten.log_sigmoid_forward.default": lambda x: [log_sigmoid(x), Missing("a buffer of log_sigmoid")],
    "aten.softplus.default": softplus,
    "aten.elu.default": elu,
    "aten.celu.default": celu,
    "aten.selu.default": lambda x: elu(x, constant(SELU_ALPHA), constant(SELU_SCALE), one()),
    "aten.silu.default": silu,
    "aten.gelu.default": gelu,
    "aten.mish.default": mish,
    "aten.sin.default": lambda x: waves(x)[0],
    "aten.cos.default": lambda x: waves(x)[1],
    "aten.atan.default": atan,
    "aten.asinh.default": smooth(_asinh, 1.0),
    "aten.erf.default": erf,
    "aten.special_erf.default": erf,
    "aten.erfc.default": lambda x: subtract(one(), erf(x)),
    "aten.exp.default": exp,
    "aten.expm1.default": lambda x: subtract(exp(x), one()),
    "aten.log.default": log,
    "aten.log1p.default": lambda x: log(add(x, one())),
    "aten.log2.default": lambda x: divide(log(x), constant(LOG2)),
}
"""ATen operation -> its rule on balls."""
