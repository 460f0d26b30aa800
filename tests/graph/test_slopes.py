"""Slope intervals, proved: sigma' enclosed by interval arithmetic on a subdivision of the line, and on both of its tails."""

import mpmath
import pytest
import torch
from mpmath import iv
from torch import nn

from lipverify.graph import regions, trace

iv.dps = 30
PI = iv.pi


def silu(x):
    s = 1 / (1 + iv.exp(-x))
    return s + x * s * (1 - s)


def phi(x):
    return iv.exp(-x * x / 2) / iv.sqrt(2 * PI)


def gelu_tanh(x):
    a, c = iv.sqrt(2 / PI), iv.mpf("0.044715")
    t = 1 - 2 / (iv.exp(2 * a * (x + c * x**3)) + 1)
    return (1 + t) / 2 + x * (1 - t * t) * a * (1 + 3 * c * x * x) / 2


def mish(x):
    """tanh(log(1 + e^x)) = ((1 + e^x)^2 - 1) / ((1 + e^x)^2 + 1)."""
    e = iv.exp(x)
    square = (1 + e) ** 2
    t = 1 - 2 / (square + 1)
    return t + x * (1 - t * t) * e / (1 + e)


TAIL = 12
# Beyond |x| = 12: |sigma' - (0 or 1)| <= (1 + |x|) e^-|x| 4 <= 52 * 4 e^-12 < 2e-3 for all of these, inside every interval.
DERIVATIVES = {"silu": (nn.SiLU(), silu), "gelu, tanh": (nn.GELU("tanh"), gelu_tanh), "mish": (nn.Mish(), mish)}


def slopes_of(module):
    (node,) = regions(trace(module.eval(), torch.zeros(1, 6)))[""].graph.nodes.values()
    return node.map.slopes


def proved(derivative, low, high, a, b, depth=60):
    """Whether low <= derivative <= high on [a, b], by bisection."""
    stack = [(a, b)]
    while stack:
        left, right = stack.pop()
        found = derivative(iv.mpf([left, right]))
        if found.a >= low and found.b <= high:
            continue
        middle = (left + right) / 2
        if not left < middle < right or right - left < mpmath.mpf(2) ** -depth:
            return False
        stack += [(left, middle), (middle, right)]
    return True


@pytest.mark.parametrize("case", DERIVATIVES)
def test_the_slope_interval_holds_on_the_whole_line_and_is_nearly_attained(case):
    module, derivative = DERIVATIVES[case]
    low, high = (iv.mpf(s.numerator) / s.denominator for s in slopes_of(module))
    assert low.b < -2e-3 and high.a > 1 + 2e-3
    assert proved(derivative, low.b, high.a, mpmath.mpf(-TAIL), mpmath.mpf(TAIL))
    points = [derivative(iv.mpf(k) / 1000) for k in range(-4000, 4001)]
    assert min(p.b for p in points) - low.b < 2e-6 and high.a - max(p.a for p in points) < 2e-6


def test_gelu_attains_its_extreme_slopes_at_the_root_of_two():
    """sigma' = Phi(x) + x phi(x) and sigma'' = (2 - x^2) phi(x)."""
    mpmath.mp.dps = 40
    r = mpmath.sqrt(2)
    top = mpmath.ncdf(r) + r * mpmath.npdf(r)
    low, high = (mpmath.mpf(s.numerator) / s.denominator for s in slopes_of(nn.GELU()))
    assert 0 < high - top < 1e-9 and 0 < (1 - top) - low < 1e-9
