"""Folding: arithmetic on weights alone, done once, by enclosure.

Views, copies and sign changes are exact. Everything else is done in interval arithmetic on float64, every end rounded
outward by one unit in the last place (IEEE 754 addition, subtraction, multiplication, division and square root are
correctly rounded), so that the enclosure contains the real number that the stored weights define.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from lipverify.maps import Array, Enclosure
from lipverify.read.program import Operation, Program, Ref, aten, substitute
from lipverify.read.shapes import types
from lipverify.subnormals import widened

Interval = tuple[Array, Array]


class NotFoldable(Exception):
    """An operation on weights that has no folding rule; the message names it."""


REARRANGEMENTS = frozenset(
    (
        "aten.permute.default",
        "aten.t.default",
        "aten.transpose.int",
        "aten.view.default",
        "aten.reshape.default",
        "aten._unsafe_view.default",
        "aten.flip.default",
        "aten.squeeze.default",
        "aten.squeeze.dim",
        "aten.squeeze.dims",
        "aten.unsqueeze.default",
        "aten.expand.default",
        "aten.slice.Tensor",
        "aten.select.int",
        "aten.clone.default",
        "aten.detach.default",
        "aten.alias.default",
        "aten.lift_fresh_copy.default",
        "aten.contiguous.default",
        "aten.flatten.using_ints",
        "aten.roll.default",
    )
)
"""Operations that move entries and compute nothing."""


def fold(program: Program) -> tuple[dict[str, Enclosure], dict[str, str]]:
    """Every value that depends on no input, by name; and for those without a folding rule, the reason.

    Weights of floating dtypes are exact. Integer and boolean weights are kept when float64 holds them exactly.
    """
    dtypes = {name: dtype for name, (_, dtype) in types(program).items()}
    known: dict[str, Enclosure] = {}
    refused: dict[str, str] = {}
    for name, weight in program.weights.items():
        array = widened(weight)
        if not weight.is_floating_point() and np.abs(array).max(initial=0.0) >= 2.0**53:
            refused[name] = f"the integer weight {name} is beyond float64"
        else:
            known[name] = Enclosure(array)
    for op in program.operations:
        if all(r in known or r in refused for r in op.references):
            bad = next((r for r in op.references if r in refused), None)
            if bad is not None:
                refused[op.name] = refused[bad]
                continue
            try:
                known[op.name] = _fold(op, known, program.dtype, dtypes)
            except NotFoldable as error:
                refused[op.name] = str(error)
    return known, refused


def keeps(source: torch.dtype | None, target: torch.dtype | None, entries: Array | None = None) -> bool:
    """Whether a conversion changes no number: to a wider float, or of integers that the float holds.

    Args:
        source, target: dtypes; None where unknown.
        entries: the numbers, where they are known.
    """
    if source is None or target is None or not target.is_floating_point:
        return False
    if source.is_floating_point:
        return torch.promote_types(source, target) == target
    return entries is not None and bool(np.abs(entries).max(initial=0.0) <= 2 / torch.finfo(target).eps)


def scalar(number: float | int, dtype: torch.dtype) -> Enclosure:
    """A Python scalar of the program, which the machine may round to the dtype of the tensor that it meets.

    The enclosure is exact where the dtype represents the scalar, else it holds the scalar and its rounding both.
    """
    if isinstance(number, complex) or not np.isfinite(float(number)):
        raise NotFoldable(f"the constant {number!r}")
    exact = float(number)
    if exact != number:
        raise NotFoldable(f"the constant {number!r} is beyond float64")
    rounded = float(torch.tensor(exact, dtype=torch.float64).to(dtype))
    if not np.isfinite(rounded):
        raise NotFoldable(f"the constant {number!r} overflows {dtype}")
    ends = (np.array(min(exact, rounded)), np.array(max(exact, rounded)))
    return Enclosure(ends[0]) if exact == rounded else enclose(ends)


def interval(x: Enclosure) -> Interval:
    """[midpoint - radius, midpoint + radius], rounded outward."""
    if x.radius is None:
        return x.midpoint, x.midpoint
    return _down(x.midpoint - x.radius), _up(x.midpoint + x.radius)


def enclose(ends: Interval) -> Enclosure:
    """The midpoint and radius of an interval, the radius rounded up; exact where the ends agree.

    Raises:
        NotFoldable: where an end is not finite.
    """
    low, high = (np.asarray(end, dtype=np.float64, order="C") for end in ends)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise NotFoldable("arithmetic on weights that overflows or divides by an interval around zero")
    if np.array_equal(low, high):
        return Enclosure(low)
    middle = low + (high - low) / 2
    radius = _up(np.maximum(_up(high - middle), _up(middle - low)))
    return Enclosure(np.asarray(middle), np.asarray(radius))


def _up(x: Array) -> Array:
    return np.nextafter(x, np.inf)


def _down(x: Array) -> Array:
    return np.nextafter(x, -np.inf)


def _multiply(x: Interval, y: Interval) -> Interval:
    products = [a * b for a in x for b in y]
    low, high = np.minimum.reduce(products), np.maximum.reduce(products)
    if all(np.all(np.abs(np.frexp(b)[0]) == 0.5) for b in y):  # by powers of two: exact unless it underflows
        exact = all(np.all((a * b) / b == a) for a in x for b in y)
        return (low, high) if exact else (_down(low), _up(high))
    return _down(low), _up(high)


def _add(x: Interval, y: Interval) -> Interval:
    return _down(x[0] + y[0]), _up(x[1] + y[1])


def _negate(x: Interval) -> Interval:
    return -x[1], -x[0]


def _reciprocal(x: Interval) -> Interval:
    if np.any((x[0] <= 0) & (x[1] >= 0)):
        raise NotFoldable("a division by a weight that may be zero")
    return _down(1 / x[1]), _up(1 / x[0])


def _square_root(x: Interval) -> Interval:
    if np.any(x[0] < 0):
        raise NotFoldable("the square root of a weight that may be negative")
    return np.maximum(_down(np.sqrt(x[0])), 0.0), _up(np.sqrt(x[1]))


def _square(x: Interval) -> Interval:
    low = np.where((x[0] <= 0) & (x[1] >= 0), 0.0, np.minimum(np.abs(x[0]), np.abs(x[1])))
    high = np.maximum(np.abs(x[0]), np.abs(x[1]))
    return np.maximum(_down(low * low), 0.0), _up(high * high)


INTERVAL_RULES: dict[str, Callable[..., Interval]] = {
    "aten.add.Tensor": _add,
    "aten.add.Scalar": _add,
    "aten.sub.Tensor": lambda x, y: _add(x, _negate(y)),
    "aten.sub.Scalar": lambda x, y: _add(x, _negate(y)),
    "aten.mul.Tensor": _multiply,
    "aten.mul.Scalar": _multiply,
    "aten.div.Tensor": lambda x, y: _multiply(x, _reciprocal(y)),
    "aten.div.Scalar": lambda x, y: _multiply(x, _reciprocal(y)),
    "aten.reciprocal.default": _reciprocal,
    "aten.sqrt.default": _square_root,
    "aten.rsqrt.default": lambda x: _reciprocal(_square_root(x)),
    "aten.neg.default": _negate,
    "aten.square.default": _square,
}


def _fold(
    op: Operation, known: dict[str, Enclosure], dtype: torch.dtype, dtypes: Mapping[str, torch.dtype]
) -> Enclosure:
    where = f"{op.target} on weights alone"
    if op.target in REARRANGEMENTS:
        return _rearrange(op, known)
    if op.target in ("aten._to_copy.default", "aten.to.dtype"):
        name = op.references[0]
        if not keeps(dtypes.get(name), dtypes.get(op.name), known[name].midpoint):
            raise NotFoldable(f"{where}: a conversion from {dtypes.get(name)} to {dtypes.get(op.name)} may round")
        return known[name]
    rule = INTERVAL_RULES.get(op.target)
    whole = [r for r in op.references if not (dtypes.get(r) or torch.bool).is_floating_point]
    if whole:
        raise NotFoldable(f"{where}: integer arithmetic, which may wrap")
    narrowed = [r for r in op.references if not keeps(dtypes.get(r), dtypes.get(op.name))]
    if narrowed:
        raise NotFoldable(f"{where}: {dtypes.get(narrowed[0])} narrowed to {dtypes.get(op.name)}")
    if op.target == "aten.pow.Tensor_Scalar" and op.args[1:] == (2,):
        return enclose(_square(interval(known[op.references[0]])))
    if rule is not None and len(op.args) != rule.__code__.co_argcount:
        raise NotFoldable(f"{where} with {len(op.args)} arguments")
    if rule is None or op.kwargs:
        raise NotFoldable(where if rule is None else f"{where} with {', '.join(op.kwargs)}")
    operands = [known[a.name] if isinstance(a, Ref) else _scalar_argument(a, dtype, where) for a in op.args]
    with np.errstate(all="ignore"):
        return enclose(rule(*(interval(x) for x in operands)))


def _scalar_argument(argument: Any, dtype: torch.dtype, where: str) -> Enclosure:
    if isinstance(argument, bool) or not isinstance(argument, int | float):
        raise NotFoldable(f"{where} with the argument {argument!r}")
    return scalar(argument, dtype)


def _rearrange(op: Operation, known: dict[str, Enclosure]) -> Enclosure:
    def run(array: Array) -> Array:
        args = substitute(op.args, lambda ref: torch.from_numpy(array))
        kwargs = {k: v for k, v in op.kwargs.items() if k not in ("memory_format", "dtype", "layout", "device")}
        return np.asarray(aten(op.target)(*args, **kwargs).numpy(), order="C")

    if len(op.references) != 1:
        raise NotFoldable(f"{op.target} of {len(op.references)} weights")
    x = known[op.references[0]]
    return Enclosure(run(x.midpoint), None if x.radius is None else run(x.radius))
