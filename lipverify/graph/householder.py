"""The Householder activation of order 1 (Singla, Singla, Feizi 2022, *Improved deterministic l2 robustness on CIFAR-10 and
CIFAR-100*, section 4), recognised in its operations and lowered to a map with constant 1.

With n = (sin t/2, -cos t/2), of length 1, every pair v = (x_i, y_i) with an angle t of its own goes to

    f(v) = v where n.v <= 0,    R v where n.v > 0,    R = I - 2 n n^T = [[cos t, sin t], [sin t, -cos t]]

by the formulas for double angles. R is the reflection in the line n.v = 0, an isometry, which leaves the points of that
line where they are: identity and reflection agree there, so f is continuous, and it is of no concern which of the two a
program takes on the line. A segment from v to w is cut by the line into at most two pieces, on each of which f is an
isometry: |f(v) - f(w)| <= |v - w|. The pairs are disjoint, so the constant of all of them together is 1. It is attained.

Term by term the operations have no constant: they compare, and multiply by what the comparison found. A form is recognised
only as a whole, by its terms and not by numbers: the same x, y and t in every place, t a folded weight, one call of one
module. All of this is about the real function: sin and cos are those of the exact t, whatever it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from lipverify.graph.scope import Lowered, Scope, arguments
from lipverify.maps import Array, Concatenation, Lipschitz
from lipverify.read.program import Operation, Ref

WHY = "on each side of a line the identity or the reflection in it (Singla, Singla, Feizi 2022)"
CATS = ("aten.cat.default", "aten.concat.default", "aten.concatenate.default")


@dataclass(frozen=True, slots=True)
class Either:
    """Any of several forms, which are equal in real arithmetic."""

    forms: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Read:
    """A form whose outcome the map reads, in the first of its places."""

    letter: str
    form: Any


X, Y, T = "one value", "another value", "the angles"
SINE, COSINE = "the sine of half the angles", "the cosine of half the angles"
HALF = Either((("mul", T, 0.5), ("div", T, 2)))
SELECTOR = ("sub", ("mul", X, Read(SINE, ("sin", HALF))), ("mul", Y, Read(COSINE, ("cos", HALF))))


def _chosen(kept: Any, reflected: Any) -> Either:
    """The one where the selector is negative, the other where it is positive, by a choice or by two masks.

    On the line a choice takes either. Two masks must be complements there: their sum would be 0 or twice the value.
    """
    below, above = ((compare, SELECTOR, 0) for compare in ("le", "gt"))
    strictly_below, from_zero = ((compare, SELECTOR, 0) for compare in ("lt", "ge"))
    return Either(
        (
            *(("where", negative, kept, reflected) for negative in (below, strictly_below)),
            *(("where", positive, reflected, kept) for positive in (above, from_zero)),
            ("add", ("mul", kept, below), ("mul", reflected, above)),
            ("add", ("mul", kept, strictly_below), ("mul", reflected, from_zero)),
        )
    )


FIRST = _chosen(X, ("add", ("mul", X, ("cos", T)), ("mul", Y, ("sin", T))))
SECOND = _chosen(Y, ("sub", ("mul", X, ("sin", T)), ("mul", Y, ("cos", T))))
"""The two halves of the activation: the entries of f at (x_i, y_i)."""

COMMUTATIVE = ("mul", "add")
COMPARED = ("le", "lt", "gt", "ge")


def householder(op: Operation, scope: Scope) -> Operation | None:
    """The activation that a concatenation and the operations before it are, on its x, y and t; None for any other."""
    if op.target not in CATS:
        return None
    halves = arguments(op)["tensors"]
    if len(halves) != 2:
        return None
    for bound in _all((FIRST, SECOND), tuple(halves), op, scope, {}):
        shapes = [scope.shapes.get(ref.name) for ref in (bound[X], bound[Y], *halves)]
        if shapes[0] and shapes.count(shapes[0]) == 4:
            args = (bound[X], bound[Y], bound[SINE], bound[COSINE], arguments(op)["dim"])
            return Operation(op.name, "householder", args, {}, op.calls, op.source)
    return None


def reflection(op: Operation, scope: Scope) -> Lowered:
    """The map of the recognised activation, v - 2 n max(n.v, 0), on the concatenation of x and y: constant 1.

    Its function, of which no proof makes use, computes with the midpoints of the folded n.
    """
    x, y, *normal, axis = op.args
    shape = scope.shapes[x.name]
    pairs = Concatenation((shape, shape), axis % len(shape))
    sine, cosine = (scope.weight(part).midpoint for part in normal)

    def function(v: Array) -> Array:
        a, b = np.split(v, 2, pairs.axis)
        above = 2 * np.maximum(a * sine - b * cosine, 0.0)
        return np.concatenate((a - above * sine, b + above * cosine), pairs.axis)

    whole = pairs.output_shape
    return Lipschitz("householder", whole, whole, Fraction(1), WHY, function), ((pairs, (x.name, y.name)),)


Bound = Mapping[str, Ref]


def _matches(form: Any, arg: Any, end: Operation, scope: Scope, bound: Bound) -> Iterator[Bound]:
    """Every way in which the argument has the form, as what the letters of the form stand for."""
    if isinstance(form, Either):
        for one in form.forms:
            yield from _matches(one, arg, end, scope, bound)
    elif isinstance(form, Read):
        for one in _matches(form.form, arg, end, scope, bound):
            yield {form.letter: arg, **one}
    elif isinstance(form, tuple):
        op = scope.operations.get(arg.name) if isinstance(arg, Ref) else None
        if op is not None and _alike(op, form[0], len(form) - 1, end, scope):
            for args in (op.args, op.args[::-1]) if form[0] in COMMUTATIVE else (op.args,):
                yield from _all(form[1:], args, end, scope, bound)
    elif isinstance(form, str):
        if bound.get(form, arg) == arg and _stands(form, arg, scope):
            yield {**bound, form: arg}
    elif isinstance(arg, int | float) and not isinstance(arg, bool) and arg == form:
        yield bound


def _all(forms: Any, args: Any, end: Operation, scope: Scope, bound: Bound) -> Iterator[Bound]:
    if not forms:
        yield bound
        return
    for one in _matches(forms[0], args[0], end, scope, bound):
        yield from _all(forms[1:], args[1:], end, scope, one)


def _alike(op: Operation, name: str, count: int, end: Operation, scope: Scope) -> bool:
    """Whether an operation has this name and number of arguments, in the call of the form's end and its dtype."""
    parts = op.target.split(".")
    return (
        parts[0] == "aten"
        and parts[1] == name
        and len(op.args) == count
        and not op.kwargs
        and op.calls == end.calls
        and (name in COMPARED or scope.dtypes.get(op.name) == scope.dtype)
    )


def _stands(letter: str, arg: Any, scope: Scope) -> bool:
    """Whether an argument is of the sort that a letter stands for: a folded weight, or what depends on the input."""
    if not isinstance(arg, Ref) or scope.dtypes.get(arg.name) != scope.dtype:
        return False
    return scope.is_value(arg) is (letter != T)
