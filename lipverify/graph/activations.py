"""Scalar activations: their slope intervals, with the one-line proof of each.

The slope interval is the hull of the range of sigma'. Softplus is missing on purpose: torch returns x itself beyond a
threshold, where the function that it computes jumps by 2e-9 and has no Lipschitz constant.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import torch

from lipverify.graph.fold import NotFoldable, interval, scalar
from lipverify.maps import Array, Pointwise, Shape
from lipverify.read.program import Operation

Rule = Callable[[Operation, Shape, torch.dtype], Pointwise]


def _fixed(
    name: str,
    low: Fraction | int,
    high: Fraction | int,
    breakpoints: tuple[float, ...],
    function: Callable[[Array], Array],
) -> Rule:
    def rule(op: Operation, shape: Shape, dtype: torch.dtype) -> Pointwise:
        if len(op.args) > 1 or op.kwargs:
            raise NotFoldable(f"{name} with arguments {op.args[1:]}")
        return Pointwise(name, shape, (Fraction(low), Fraction(high)), breakpoints, function)

    return rule


def _leaky_relu(op: Operation, shape: Shape, dtype: torch.dtype) -> Pointwise:
    """sigma' is 1 for x > 0 and the negative slope a for x < 0: [min(a, 1), max(a, 1)]."""
    slope = op.args[1] if len(op.args) > 1 else op.kwargs.get("negative_slope", 0.01)
    low, high = (Fraction(float(end)) for end in interval(scalar(slope, dtype)))
    return Pointwise(
        "leaky_relu",
        shape,
        (min(low, Fraction(1)), max(high, Fraction(1))),
        (0.0,),
        lambda x: np.where(x > 0, x, float(slope) * x),
    )


def _hardtanh(op: Operation, shape: Shape, dtype: torch.dtype) -> Pointwise:
    """sigma' is 1 between the two limits and 0 outside."""
    low, high = [*op.args[1:], *(-1.0, 1.0)[len(op.args) - 1 :]]
    if op.kwargs or not low <= high:
        raise NotFoldable(f"hardtanh between {low} and {high}")
    ends = (float(low), float(high))
    return Pointwise("hardtanh", shape, (Fraction(0), Fraction(1)), ends, lambda x: np.clip(x, *ends))


ACTIVATIONS: dict[str, Rule] = {
    "aten.relu.default": _fixed("relu", 0, 1, (0.0,), lambda x: np.maximum(x, 0.0)),
    "aten.abs.default": _fixed("abs", -1, 1, (0.0,), np.abs),
    "aten.leaky_relu.default": _leaky_relu,
    "aten.hardtanh.default": _hardtanh,
    "aten.tanh.default": _fixed("tanh", 0, 1, (), np.tanh),  # sigma' = 1 - tanh^2
    "aten.sigmoid.default": _fixed("sigmoid", 0, Fraction(1, 4), (), lambda x: 0.5 * (1 + np.tanh(x / 2))),
}
"""ATen operation -> its activation. Sigmoid: sigma' = sigma (1 - sigma) <= 1/4."""
