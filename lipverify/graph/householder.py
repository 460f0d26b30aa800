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

from fractions import Fraction
from typing import Any

import numpy as np

from lipverify.graph.forms import Either, Matcher, Read
from lipverify.graph.scope import Lowered, Scope, arguments
from lipverify.maps import Array, Concatenation, Lipschitz
from lipverify.read.program import Operation, Ref

WHY = "on each side of a line the identity or the reflection in it (Singla, Singla, Feizi 2022)"
CATS = ("aten.cat.default", "aten.concat.default", "aten.concatenate.default")


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

COMPARED = ("le", "lt", "gt", "ge")


def householder(op: Operation, scope: Scope) -> Operation | None:
    """The activation that a concatenation and the operations before it are, on its x, y and t; None for any other."""
    if op.target not in CATS:
        return None
    halves = arguments(op)["tensors"]
    if len(halves) != 2:
        return None

    def suits(inner: Operation) -> bool:
        return inner.target.split(".")[1] in COMPARED or scope.dtypes.get(inner.name) == scope.dtype

    def stands(letter: str, arg: Any) -> bool:
        """The angles are a folded weight, the values depend on the input."""
        real = isinstance(arg, Ref) and scope.dtypes.get(arg.name) == scope.dtype
        return real and scope.is_value(arg) is (letter != T)

    for bound in Matcher(op, scope, suits, stands).all((FIRST, SECOND), tuple(halves), {}):
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
