"""Scalar activations: their slope intervals, with the one-line proof of each.

The slope interval is the hull of the range of sigma', rounded outward where its ends are not rational. The extrema of the
functions that are not monotone are proved in the tests, by interval arithmetic on a subdivision of the line.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import exp, inf, log2, pi, sqrt
from typing import Any

import numpy as np
import torch

from lipverify.graph.convolutions import reshaped
from lipverify.graph.intervals import enclose, interval
from lipverify.graph.scope import Lowered, NotLowered, Scope, arguments
from lipverify.maps import Array, Enclosure, Pointwise
from lipverify.read.program import Operation

Given = dict[str, Any]
Slopes = tuple[Fraction, Fraction]
Rule = Callable[[Given, Scope, str], Pointwise]
ZERO, ONE = Fraction(0), Fraction(1)


def activation(op: Operation, scope: Scope) -> Lowered:
    given = arguments(op) if "." in op.target else {"self": op.args[0]}
    value = scope.value(given["self"])
    return ACTIVATIONS[op.target](given, scope, value), (value,)


def _fixed(
    name: str,
    low: Fraction | int | str,
    high: Fraction | int | str,
    breakpoints: tuple[float, ...],
    function: Callable[[Array], Array],
) -> Rule:
    def rule(given: Given, scope: Scope, value: str) -> Pointwise:
        return Pointwise(name, scope.shapes[value], (Fraction(low), Fraction(high)), breakpoints, function)

    return rule


def _hull(*ends: Fraction) -> Slopes:
    return min(ends), max(ends)


def _ends(x: Enclosure) -> Slopes:
    low, high = interval(x)
    return Fraction(float(low.min())), Fraction(float(high.max()))


def _leaky(name: str, slope: Enclosure, scope: Scope, value: str) -> Pointwise:
    """sigma' is 1 for x > 0 and the slope a for x < 0: [min(a, 1), max(a, 1)], over all channels."""
    a = slope.midpoint
    function = lambda x: np.where(x > 0, x, a * x)  # noqa: E731
    return Pointwise(name, scope.shapes[value], _hull(ONE, *_ends(slope)), (0.0,), function)


def _leaky_relu(given: Given, scope: Scope, value: str) -> Pointwise:
    return _leaky("leaky_relu", scope.weight(given["negative_slope"]), scope, value)


def _rrelu(given: Given, scope: Scope, value: str) -> Pointwise:
    """Outside training the slope is the middle of its two limits, which the machine rounds."""
    if given["training"]:
        raise NotLowered("randomised leaky relu in training")
    middle = (given["lower"] + given["upper"]) / 2
    low, high = interval(scope.weight(middle))
    return _leaky("rrelu", enclose((np.nextafter(low, -np.inf), np.nextafter(high, np.inf))), scope, value)


def _prelu(given: Given, scope: Scope, value: str) -> Pointwise:
    """A slope for each channel, along axis 1; of ``_prelu_kernel`` the weight broadcasts as it is."""
    weight, shape = scope.weight(given["weight"]), scope.shapes[value]
    if len(weight.shape) == 1 and len(shape) > 1:
        weight = reshaped(weight, (-1,) + (1,) * (len(shape) - 2))
    if np.broadcast_shapes(weight.shape, shape) != shape:
        raise NotLowered(f"prelu with a weight of shape {weight.shape}")
    return _leaky("prelu", weight, scope, value)


def _prelu_kernel(given: Given, scope: Scope, value: str) -> Pointwise:
    weight, shape = scope.weight(given["weight"]), scope.shapes[value]
    if np.broadcast_shapes(weight.shape, shape) != shape:
        raise NotLowered(f"prelu with a weight of shape {weight.shape}")
    return _leaky("prelu", weight, scope, value)


def _clamp(low: str | None, high: str | None) -> Rule:
    """sigma' is 1 between the two limits and 0 outside; either may be missing."""

    def rule(given: Given, scope: Scope, value: str) -> Pointwise:
        least, most = (None if key is None else given[key] for key in (low, high))
        for end in (least, most):
            if end is not None:
                scope.weight(end)
        ends = (-np.inf if least is None else float(least), np.inf if most is None else float(most))
        if not ends[0] <= ends[1]:
            raise NotLowered(f"a clamp between {least} and {most}")
        breakpoints = tuple(end for end in ends if np.isfinite(end))
        return Pointwise("hardtanh", scope.shapes[value], (ZERO, ONE), breakpoints, lambda x: np.clip(x, *ends))

    return rule


def _elu(given: Given, scope: Scope, value: str) -> Pointwise:
    """scale for x > 0; for x < 0 between 0 and scale alpha input_scale, as exp(input_scale x) is between 0 and 1."""
    alpha, scale, inner = (scope.weight(given[key]) for key in ("alpha", "scale", "input_scale"))
    if _ends(inner)[0] <= 0:
        raise NotLowered(f"elu with input_scale {given['input_scale']} has no Lipschitz constant")
    left = [a * s * i for a in _ends(alpha) for s in _ends(scale) for i in _ends(inner)]
    a, s, i = (float(given[key]) for key in ("alpha", "scale", "input_scale"))
    function = lambda x: s * np.where(x > 0, x, a * np.expm1(i * np.minimum(x, 0)))  # noqa: E731
    return Pointwise("elu", scope.shapes[value], _hull(ZERO, *_ends(scale), *left), (0.0,), function)


def _celu(given: Given, scope: Scope, value: str) -> Pointwise:
    """alpha (exp(x / alpha) - 1) has the slope exp(x / alpha), between 0 and 1 for x < 0."""
    if _ends(scope.weight(given["alpha"]))[0] <= 0:
        raise NotLowered(f"celu with alpha {given['alpha']} has no Lipschitz constant")
    a = float(given["alpha"])
    function = lambda x: np.where(x > 0, x, a * np.expm1(np.minimum(x, 0) / a))  # noqa: E731
    return Pointwise("celu", scope.shapes[value], (ZERO, ONE), (0.0,), function)


def _selu(given: Given, scope: Scope, value: str) -> Pointwise:
    constants = {"alpha": 1.6732632423543772848170429916717, "scale": 1.0507009873554804934193349852946}
    return _elu({**constants, "input_scale": 1}, scope, value)


def _softplus(given: Given, scope: Scope, value: str) -> Pointwise:
    """The slope of log(1 + exp(beta x)) / beta is sigmoid(beta x), between 0 and 1.

    Beyond x = threshold / beta torch returns x: a jump by log(1 + exp(-threshold)) / beta, and a function that jumps has no
    Lipschitz constant. Where the dtype of the program cannot show so small a jump there, the two are one function.
    """
    beta, threshold = float(given["beta"]), float(given["threshold"])
    if not (beta > 0 and threshold > 0):
        raise NotLowered(f"softplus with beta {beta} and threshold {threshold}")
    eps = torch.finfo(scope.dtype).eps
    hidden = threshold == inf or -threshold / np.log(2) < log2(eps * threshold) - 2.01  # exp(-threshold) < ulp / 2
    if not hidden:
        jump = f"{exp(-threshold) / beta:.1e}"
        raise NotLowered(f"softplus jumps by {jump} at its threshold, which {scope.dtype} shows")
    breakpoints = (threshold / beta,) if threshold < inf else ()
    function = lambda x: np.logaddexp(0.0, beta * x) / beta  # noqa: E731
    return Pointwise("softplus", scope.shapes[value], (ZERO, ONE), breakpoints, function)


def _softshrink(given: Given, scope: Scope, value: str) -> Pointwise:
    """x - lambda beyond lambda, x + lambda below -lambda, 0 between: slopes 0 and 1, no jump."""
    scope.weight(given["lambd"])
    a = float(given["lambd"])
    if not a >= 0:
        raise NotLowered(f"softshrink with lambda {a}")
    function = lambda x: x - np.clip(x, -a, a)  # noqa: E731
    return Pointwise("softshrink", scope.shapes[value], (ZERO, ONE), (-a, a), function)


def _gelu(given: Given, scope: Scope, value: str) -> Pointwise:
    form = {"none": GELU, "tanh": GELU_TANH}.get(given["approximate"])
    if form is None:
        raise NotLowered(f"gelu in the form {given['approximate']!r}")
    return form(given, scope, value)


def _erf(x: Array) -> Array:
    return torch.erf(torch.from_numpy(np.ascontiguousarray(x))).numpy()


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1 + np.tanh(x / 2))


GELU = _fixed("gelu", "-0.1289041452", "1.1289041452", (), lambda x: 0.5 * x * (1 + _erf(x / sqrt(2))))
GELU_TANH = _fixed(
    "gelu by tanh",
    "-0.128994",
    "1.128994",
    (),
    lambda x: 0.5 * x * (1 + np.tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))),
)
ACTIVATIONS: dict[str, Rule] = {
    "aten.relu.default": _fixed("relu", 0, 1, (0.0,), lambda x: np.maximum(x, 0.0)),
    "aten.relu6.default": _fixed("hardtanh", 0, 1, (0.0, 6.0), lambda x: np.clip(x, 0.0, 6.0)),
    "aten.abs.default": _fixed("abs", -1, 1, (0.0,), np.abs),
    "aten.leaky_relu.default": _leaky_relu,
    "aten.rrelu.default": _rrelu,
    "aten.prelu.default": _prelu,
    "aten._prelu_kernel.default": _prelu_kernel,
    "aten.hardtanh.default": _clamp("min_val", "max_val"),
    "aten.clamp.default": _clamp("min", "max"),
    "aten.clamp_min.default": _clamp("min", None),
    "aten.clamp_max.default": _clamp(None, "max"),
    "aten.softshrink.default": _softshrink,
    "aten.hardsigmoid.default": _fixed(  # 1/6 between -3 and 3, 0 outside
        "hardsigmoid", 0, Fraction(1, 6), (-3.0, 3.0), lambda x: np.clip(x + 3, 0, 6) / 6
    ),
    "aten.hardswish.default": _fixed(  # (2 x + 3) / 6 between -3 and 3, 0 and 1 outside
        "hardswish", Fraction(-1, 2), Fraction(3, 2), (-3.0, 3.0), lambda x: x * np.clip(x + 3, 0, 6) / 6
    ),
    "aten.tanh.default": _fixed("tanh", 0, 1, (), np.tanh),  # sigma' = 1 - tanh^2
    "aten.sigmoid.default": _fixed("sigmoid", 0, Fraction(1, 4), (), _sigmoid),  # sigma' = sigma (1 - sigma)
    "aten.special_expit.default": _fixed("sigmoid", 0, Fraction(1, 4), (), _sigmoid),
    "aten.log_sigmoid.default": _fixed("log_sigmoid", 0, 1, (), lambda x: -np.logaddexp(0.0, -x)),  # sigmoid(-x)
    "aten.softplus.default": _softplus,
    "aten.elu.default": _elu,
    "aten.celu.default": _celu,
    "aten.selu.default": _selu,
    "aten.silu.default": _fixed("silu", "-0.09984", "1.09984", (), lambda x: x * _sigmoid(x)),
    "aten.gelu.default": _gelu,
    "aten.mish.default": _fixed("mish", "-0.112527", "1.088499", (), lambda x: x * np.tanh(np.logaddexp(0.0, x))),
    "aten.sin.default": _fixed("sin", -1, 1, (), np.sin),  # cos
    "aten.cos.default": _fixed("cos", -1, 1, (), np.cos),  # -sin
    "aten.atan.default": _fixed("atan", 0, 1, (), np.arctan),  # 1 / (1 + x^2)
    "aten.asinh.default": _fixed("asinh", 0, 1, (), np.arcsinh),  # 1 / sqrt(1 + x^2)
    "aten.erf.default": _fixed("erf", 0, "1.1283791671", (), _erf),  # 2 / sqrt(pi) exp(-x^2)
    "aten.special_erf.default": _fixed("erf", 0, "1.1283791671", (), _erf),
    "aten.erfc.default": _fixed("erfc", "-1.1283791671", 0, (), lambda x: 1 - _erf(x)),
    "softsign": _fixed("softsign", 0, 1, (0.0,), lambda x: x / (1 + np.abs(x))),  # 1 / (1 + |x|)^2
    "tanhshrink": _fixed("tanhshrink", 0, 1, (), lambda x: x - np.tanh(x)),  # tanh^2
}
"""ATen operation -> its activation; the last two are no operations of their own, only patterns of several."""
