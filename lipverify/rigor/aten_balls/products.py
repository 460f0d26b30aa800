"""Matrix products of balls, both factors uncertain: attention and parametrised weights are enclosed like any layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import torch

from lipverify.rigor.aten_balls.arithmetic import add, multiply
from lipverify.rigor.aten_balls.ball import Ball, NotEnclosed, bilinear


def matmul(x: Ball, y: Ball) -> Ball:
    """x y, with batch axes broadcast: sums of as many terms as the last axis of x has entries."""
    return bilinear(torch.matmul, x, y, x.midpoint.shape[-1])


def linear(x: Ball, weight: Ball, bias: Ball | None) -> Ball:
    """x W^T + b."""
    y = matmul(x, Ball(weight.midpoint.mT, weight.radius.mT) if weight.midpoint.ndim > 1 else weight)
    return y if bias is None else add(y, bias)


def addmm(bias: Ball, x: Ball, y: Ball, *, beta: Ball, alpha: Ball) -> Ball:
    """beta b + alpha x y, of matrices, batches of them, or a matrix and a vector."""
    return add(multiply(bias, beta), matmul(x, y), alpha=alpha)


def outer(x: Ball, y: Ball) -> Ball:
    """x y^T of two vectors."""
    return multiply(Ball(x.midpoint[:, None], x.radius[:, None]), y)


def einsum(equation: str, operands: list[Ball], path: Any = None, **_: Any) -> Ball:
    """A contraction of one or two arrays: sums of at most as many terms as the axes that it drops have entries.

    Raises:
        NotEnclosed: for more operands.
    """
    if len(operands) > 2:
        raise NotEnclosed(f"einsum of {len(operands)} operands")
    letters = equation.replace(" ", "").partition("->")[0].split(",")
    if "." in equation or any(len(s) != x.midpoint.ndim for s, x in zip(letters, operands, strict=True)):
        raise NotEnclosed(f"einsum by {equation!r}")
    if len(operands) == 1:
        operands = [operands[0], Ball(torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64))]
        equation = f"{letters[0]},->{equation.partition('->')[2]}" if "->" in equation else equation
        if "->" not in equation:
            raise NotEnclosed(f"einsum by {equation!r}")
    axes = {c: n for s, x in zip(letters, operands, strict=False) for c, n in zip(s, x.midpoint.shape, strict=True)}
    terms = prod(axes.values())
    kept = equation.partition("->")[2].replace(" ", "") if "->" in equation else ""
    terms //= prod(axes[c] for c in set(kept)) or 1
    x, y = operands
    return bilinear(lambda a, b: torch.einsum(equation, a, b), x, y, max(terms, 1))


RULES: Mapping[str, Callable[..., Any]] = {
    "aten.linear.default": linear,
    "aten.mm.default": matmul,
    "aten.bmm.default": matmul,
    "aten.matmul.default": matmul,
    "aten.mv.default": matmul,
    "aten.dot.default": matmul,
    "aten.vdot.default": matmul,
    "aten.addmm.default": addmm,
    "aten.addmv.default": addmm,
    "aten.baddbmm.default": addmm,
    "aten.outer.default": outer,
    "aten.einsum.default": einsum,
}
