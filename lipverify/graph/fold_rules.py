"""Folding rules: what ATen operations do to weights, in any arithmetic that encloses.

``Numbers`` are intervals on float64 or balls of many digits; a rule that is written with their operators serves both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np

from lipverify.graph.arb import Balls
from lipverify.graph.intervals import Interval, NotFoldable, exactly

Numbers = Interval | Balls


def constant(number: float, like: Numbers) -> Numbers:
    """A float64 number in the arithmetic of ``like``."""
    exact = exactly(np.array(float(number)))
    return Balls.of(exact) if isinstance(like, Balls) else exact


def together(*numbers: Numbers) -> tuple[Any, ...]:
    """The same numbers in one arithmetic: that of many digits, where one of them is."""
    return tuple(Balls.of(x) for x in numbers) if any(isinstance(x, Balls) for x in numbers) else numbers


def _add(x: Any, y: Any, alpha: Any = None) -> Numbers:
    return x + (y if alpha is None else y * alpha)


def _subtract(x: Any, y: Any, alpha: Any = None) -> Numbers:
    return x - (y if alpha is None else y * alpha)


def _reciprocal(x: Any) -> Numbers:
    return constant(1, x) / x


ARITHMETIC: dict[str, Callable[..., Numbers]] = {
    **dict.fromkeys(("aten.add.Tensor", "aten.add.Scalar"), _add),
    **dict.fromkeys(("aten.sub.Tensor", "aten.sub.Scalar"), _subtract),
    **dict.fromkeys(("aten.rsub.Tensor", "aten.rsub.Scalar"), lambda x, y, alpha=None: _subtract(y, x, alpha)),
    **dict.fromkeys(("aten.mul.Tensor", "aten.mul.Scalar"), lambda x, y: x * y),
    **dict.fromkeys(("aten.div.Tensor", "aten.div.Scalar"), lambda x, y: x / y),
    "aten.reciprocal.default": _reciprocal,
    "aten.sqrt.default": lambda x: x.sqrt(),
    "aten.rsqrt.default": lambda x: _reciprocal(x.sqrt()),
    "aten.neg.default": lambda x: -x,
    "aten.square.default": lambda x: x.square(),
    "aten.abs.default": lambda x: abs(x),
    **dict.fromkeys(("aten.maximum.default", "aten.max.other", "aten.clamp_min.default"), lambda x, y: x.maximum(y)),
    **dict.fromkeys(("aten.minimum.default", "aten.min.other", "aten.clamp_max.default"), lambda x, y: x.minimum(y)),
    "aten.relu.default": lambda x: x.maximum(constant(0, x)),
}
"""ATen operation -> its rule, entry by entry with broadcasting; Python scalars are numbers, too."""


def shaped(x: Numbers, shape: Sequence[int]) -> Numbers:
    """The same entries in another shape."""
    return x.take(np.arange(prod(shape)).reshape(shape))


def _axes(x: Numbers, dim: Any) -> tuple[int, ...]:
    dims = range(len(x.shape)) if dim is None or dim == [] else [dim] if isinstance(dim, int) else dim
    return tuple(d % len(x.shape) for d in dims)


def _reduced(x: Numbers, found: Numbers, dim: Any, keepdim: bool) -> Numbers:
    axes = _axes(x, dim)
    return found if keepdim else shaped(found, [n for axis, n in enumerate(x.shape) if axis not in axes])


def _sum(x: Numbers, dim: Any = None, keepdim: bool = False) -> Numbers:
    return _reduced(x, x.total(_axes(x, dim)), dim, keepdim)


def _mean(x: Any, dim: Any = None, keepdim: bool = False) -> Numbers:
    count = prod(x.shape[axis] for axis in _axes(x, dim))
    return _reduced(x, x.total(_axes(x, dim)) / constant(count, x), dim, keepdim)


def _largest(x: Numbers, dim: Any = None, keepdim: bool = False) -> Numbers:
    return _reduced(x, x.largest(_axes(x, dim)), dim, keepdim)


def _vector_norm(x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False) -> Numbers:
    axes = _axes(x, dim)
    if ord == 2:
        found = x.square().total(axes).sqrt()
    elif ord == 1:
        found = abs(x).total(axes)
    elif ord == float("inf"):
        found = abs(x).largest(axes)
    else:
        raise NotFoldable(f"the vector norm of order {ord}")
    return _reduced(x, found, dim, keepdim)


def _weight_norm(direction: Any, magnitude: Any, dim: int = 0) -> Numbers:
    """g v / |v|, the norm over all axes but ``dim``; over all of them for -1."""
    axes = [axis for axis in range(len(direction.shape)) if dim == -1 or axis != dim % len(direction.shape)]
    return direction * (magnitude / _vector_norm(direction, 2, axes, True))


def _power(x: Any, exponent: Any) -> Numbers:
    """Integer powers by products, 2^-k by square roots, negative ones by the reciprocal."""
    e = Fraction(exponent)
    if e < 0:
        return _reciprocal(_power(x, -exponent))
    if e == 2:
        return x.square()
    roots = e.denominator.bit_length() - 1
    if e.denominator != 2**roots or roots > 16 or e.numerator > 64 or e == 0:
        raise NotFoldable(f"the power {exponent}")
    for _ in range(roots):
        x = x.sqrt()
    found = x
    for _ in range(e.numerator - 1):
        found = found * x
    return found


REDUCTIONS: dict[str, Callable[..., Numbers]] = {
    "aten.sum.default": _sum,
    "aten.sum.dim_IntList": _sum,
    "aten.mean.default": _mean,
    "aten.mean.dim": _mean,
    "aten.amax.default": _largest,
    "aten.linalg_vector_norm.default": _vector_norm,
    "aten.norm.Scalar": lambda x, p=2: _vector_norm(x, p),
    "aten.norm.ScalarOpt_dim": _vector_norm,
    "aten.pow.Tensor_Scalar": _power,
    "aten._weight_norm.default": _weight_norm,
}
"""ATen operation -> its rule on whole arrays; all other arguments are Python's."""


COPIES: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(
        (
            f"aten.{name}"
            for name in (
                "permute.default t.default transpose.int mT.default mH.default view.default reshape.default flatten.using_ints "
                "_unsafe_view.default flip.default squeeze.default squeeze.dim squeeze.dims unsqueeze.default expand.default "
                "slice.Tensor select.int clone.default detach.default alias.default lift_fresh_copy.default "
                "contiguous.default roll.default repeat.default movedim.int unflatten.int cat.default stack.default "
                "tril.default triu.default diagonal.default diag_embed.default constant_pad_nd.default pad.default "
                "new_zeros.default zeros_like.default slice_scatter.default select_scatter.default rot90.default "
                "narrow.default broadcast_to.default swapaxes.default"
            ).split()
        ),
        (),
    ),
    "aten.where.self": (0,),
    "aten.index.Tensor": (1,),
    "aten.index_select.default": (2,),
    "aten.gather.default": (2,),
    "aten.masked_fill.Scalar": (1,),
    "aten.index_put.default": (1,),
}
"""Operations that copy entries, put zeros between them and compute nothing -> which arguments are conditions or indices."""

COMPARISONS = frozenset(
    f"aten.{name}.{overload}" for name in ("eq", "ne", "lt", "le", "gt", "ge") for overload in ("Tensor", "Scalar")
)
"""Decided where the intervals are apart or exact."""

FILLED: dict[str, Callable[..., Any]] = {
    "aten.full.default": lambda size, value: value,
    "aten.full_like.default": lambda x, value: value,
    "aten.new_full.default": lambda x, size, value: value,
    "aten.scalar_tensor.default": lambda value: value,
    "aten.zeros.default": lambda size: 0,
    "aten.ones.default": lambda size: 1,
    "aten.ones_like.default": lambda x: 1,
    "aten.new_ones.default": lambda x, size: 1,
}
"""Operation -> the one number that it fills an array with."""

COUNTED = frozenset(
    ("aten.arange.default", "aten.arange.start", "aten.arange.start_step", "aten.eye.default", "aten.eye.m")
)
"""Operations that make integers from integers."""
