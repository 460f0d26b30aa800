"""Folding rules of matrices: products, equations, exponentials, reflections, convolutions of kernels; in ball arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from lipverify.graph.arb import Balls, from_matrices
from lipverify.graph.fold_rules import Numbers, constant, shaped
from lipverify.graph.intervals import NotFoldable, exactly


def matmul(x: Any, y: Any) -> Any:
    """The product of torch.matmul: vectors, matrices, batches that broadcast."""
    if len(x.shape) == 1:
        found = matmul(shaped(x, (1, *x.shape)), y)
        return shaped(found, (*found.shape[:-2], *found.shape[-1:]) if len(y.shape) > 1 else ())
    if len(y.shape) == 1:
        found = matmul(x, shaped(y, (*y.shape, 1)))
        return shaped(found, found.shape[:-1])
    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    left, right = (_broadcast(z, batch).matrices() for z in (x, y))
    return from_matrices([a * b for a, b in zip(left, right, strict=True)], batch)


def _broadcast(x: Balls, batch: tuple[int, ...]) -> Balls:
    return Balls(np.broadcast_to(x.entries, (*batch, *x.shape[-2:])))


def _addmm(bias: Any, x: Any, y: Any, beta: Any = 1, alpha: Any = 1) -> Numbers:
    if (beta, alpha) != (1, 1):
        raise NotFoldable(f"addmm with alpha = {alpha}, beta = {beta}")
    return bias + matmul(x, y)


def _linear(x: Any, weight: Any, bias: Any = None) -> Numbers:
    found = matmul(x, _transposed(weight))
    return found if bias is None else found + bias


def _transposed(x: Any) -> Any:
    return Balls(x.entries.swapaxes(-1, -2))


def _solve(a: Any, b: Any, left: bool = True) -> Numbers:
    """X with A X = B; the true solution is enclosed, or A may be singular."""
    if left is not True:
        raise NotFoldable("an equation with the unknown on the left")
    if len(b.shape) == 1:
        return shaped(_solve(a, shaped(b, (*b.shape, 1))), b.shape)
    if a.shape[:-2] != b.shape[:-2]:
        raise NotFoldable("equations that broadcast")
    try:
        found = [m.solve(n) for m, n in zip(a.matrices(), b.matrices(), strict=True)]
    except ZeroDivisionError as error:
        raise NotFoldable("an equation whose matrix may be singular") from error
    return from_matrices(found, a.shape[:-2])


def _inverse(a: Any) -> Numbers:
    try:
        return from_matrices([m.inv() for m in a.matrices()], a.shape[:-2])
    except ZeroDivisionError as error:
        raise NotFoldable("the inverse of a matrix that may be singular") from error


def _exponential(a: Any) -> Numbers:
    return from_matrices([m.exp() for m in a.matrices()], a.shape[:-2])


def _householder(a: Balls, tau: Balls) -> Balls:
    """The first n columns of H_1 ... H_k, H_i = I - tau_i v_i v_i^T; v_i is 0 above entry i, 1 there, A below."""
    if len(a.shape) != 2 or len(tau.shape) != 1:
        raise NotFoldable("a batch of Householder products")
    m, n = a.shape
    found = Balls.of(exactly(np.eye(m, n)))
    for i in reversed(range(tau.shape[0])):
        column = Balls.of(exactly(np.eye(m)[i])).entries
        column[i + 1 :] = a.entries[i + 1 :, i]
        v = Balls(column.reshape(m, 1))
        found = found - v * matmul(_transposed(v), found) * Balls(tau.entries[i : i + 1])
    return found


def _convolution(x: Any, weight: Any, bias=None, stride=(1,), padding=(0,), dilation=(1,), groups: int = 1) -> Numbers:
    """torch.conv2d, unfolded into a matrix product for each group."""
    if bias is not None or len(weight.shape) != 4 or len(x.shape) != 4 or isinstance(padding, str):
        raise NotFoldable("a convolution of weights with a bias, or that is not two-dimensional")
    stride, padding, dilation = (tuple(p) * (2 if len(p) == 1 else 1) for p in (stride, padding, dilation))
    (batch, _, *image), (out, _, *kernel) = x.shape, weight.shape
    places = torch.arange(1, 1 + x.entries.size, dtype=torch.float64).reshape(x.shape)
    places = F.unfold(places, tuple(kernel), dilation=dilation, padding=padding, stride=stride).long() - 1
    steps = zip(image, padding, dilation, kernel, stride, strict=True)
    sides = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in steps]
    columns = x.take(places.numpy()).entries.transpose(1, 0, 2).reshape(groups, -1, batch * places.shape[2])
    rows = weight.entries.reshape(groups, out // groups, -1)
    found = matmul(Balls(rows), Balls(columns)).entries.reshape(out, batch, *sides)
    return Balls(np.moveaxis(found, 1, 0))


def _core_convolution(x, weight, bias, stride, padding, dilation, transposed, output_padding, groups) -> Numbers:
    if transposed or any(output_padding):
        raise NotFoldable("a transposed convolution of weights")
    return _convolution(x, weight, bias, stride, padding, dilation, groups)


def _each(function: str) -> Callable[[Any], Numbers]:
    return lambda x: x.each(lambda entry: getattr(entry, function)())


MATRICES: dict[str, Callable[..., Numbers]] = {
    **dict.fromkeys(("aten.mm.default", "aten.bmm.default", "aten.matmul.default", "aten.mv.default"), matmul),
    **dict.fromkeys(("aten.dot.default", "aten.vdot.default"), matmul),
    "aten.addmm.default": _addmm,
    "aten.linear.default": _linear,
    "aten.linalg_solve.default": _solve,
    "aten.linalg_inv.default": _inverse,
    "aten.linalg_matrix_exp.default": _exponential,
    "aten.matrix_exp.default": _exponential,
    "aten.linalg_householder_product.default": _householder,
    "aten.conv2d.default": _convolution,
    "aten.convolution.default": _core_convolution,
    "aten.exp.default": _each("exp"),
    "aten.log.default": _each("log"),
    "aten.sin.default": _each("sin"),
    "aten.cos.default": _each("cos"),
    "aten.tanh.default": _each("tanh"),
    "aten.sigmoid.default": lambda x: constant(1, x) / (constant(1, x) + (-x).each(lambda entry: entry.exp())),
}
"""ATen operation -> its rule; all arrays are balls."""

WHOLE = frozenset(("aten.linalg_solve.default", "aten.linalg_inv.default"))
"""What tracing must not decompose, because the parts check for errors as a side effect, or have several results."""
