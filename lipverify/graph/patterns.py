"""Activations that an export has decomposed, recognised: several operations that are one function of one value.

Term by term their product or sum has no constant, or a worse one. A form is recognised only as a whole: every operation
in it is elementwise, of the shape of its one value, in one call of one module, with the constants of the form.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Any

from lipverify.graph.scope import Scope
from lipverify.read.program import Operation, Ref

X = "the value"
A, B = "a scalar", "another scalar"
W = "a weight"


def _clamped(low: Any, high: Any, x: Any) -> list[Any]:
    """A clamp, in one step or in two."""
    forms = [("clamp", ("clamp", x, low), None, high), ("clamp", x, low, high), ("hardtanh", x, low, high)]
    return [*forms, ("relu6", x)] if (low, high) == (0, 6) else forms


FORMS: tuple[tuple[Any, str, dict[str, Any]], ...] = (
    (("mul", X, ("sigmoid", X)), "aten.silu.default", {}),
    (("mul", X, ("hardsigmoid", X)), "aten.hardswish.default", {}),
    *((("div", ("mul", X, six), 6), "aten.hardswish.default", {}) for six in _clamped(0, 6, ("add", X, 3))),
    *((("mul", X, ("div", six, 6)), "aten.hardswish.default", {}) for six in _clamped(0, 6, ("add", X, 3))),
    *((("div", six, 6), "aten.hardsigmoid.default", {}) for six in _clamped(0, 6, ("add", X, 3))),
    (("sub", ("minimum", 0, X), ("log1p", ("exp", ("neg", ("abs", X))))), "aten.log_sigmoid.default", {}),
    (("log1p", ("exp", X)), "aten.softplus.default", {"beta": 1, "threshold": inf}),
    *(
        (("mul", X, ("tanh", inner)), "aten.mish.default", {})
        for inner in (("softplus", X), ("softplus", X, 1, 20), ("log1p", ("exp", X)))
    ),
    (("where", ("gt", X, 0), X, ("mul", ("expm1", ("div", X, A)), A)), "aten.celu.default", {"alpha": A}),
    (("where", ("gt", X, 0), X, ("mul", W, X)), "aten._prelu_kernel.default", {"weight": W}),
    (("where", ("gt", X, 0), X, ("mul", X, A)), "aten.leaky_relu.default", {"negative_slope": A}),
    (("where", ("ge", X, 0), X, ("mul", X, A)), "aten.leaky_relu.default", {"negative_slope": A}),
    (
        ("where", ("gt", ("abs", X), A), ("sub", X, ("mul", ("sign", X), A)), ("mul", X, 0)),
        "aten.softshrink.default",
        {"lambd": A},
    ),
    (("div", X, ("add", ("abs", X), 1)), "softsign", {}),
    (("sub", X, ("tanh", X)), "tanhshrink", {}),
)
"""(form, the operation or activation that it is, its arguments). Softplus and mish with their threshold spelled out, by a
comparison and a choice, are not among them: that function jumps, and has no Lipschitz constant."""

COMMUTATIVE = ("mul", "add", "minimum")
HEADS = frozenset(form[0] for form, _, _ in FORMS)


def recognised(op: Operation, scope: Scope) -> Operation | None:
    """The one operation that this one and those before it in its call are together, on their one value."""
    if op.target.split(".")[1:2] != [] and op.target.split(".")[1] in HEADS:
        for form, target, keywords in FORMS:
            for bound in _matches(form, Ref(op.name), op, scope, {}):
                kwargs = {key: bound.get(entry, entry) for key, entry in keywords.items()}
                return Operation(op.name, target, (bound[X],), kwargs, op.calls, op.source)
    return None


def _matches(form: Any, arg: Any, end: Operation, scope: Scope, bound: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every way in which the argument has the form, as what the letters of the form stand for."""
    if isinstance(form, tuple):
        op = scope.operations.get(arg.name) if scope.is_value(arg) else None
        if op is None or not _alike(op, form[0], len(form) - 1, end, scope):
            return
        orders = [op.args, op.args[::-1]] if form[0] in COMMUTATIVE else [op.args]
        for args in orders:
            yield from _all(form[1:], args, end, scope, bound)
    elif form in (X, A, B, W):
        if form in bound:
            if bound[form] == arg:
                yield bound
        elif _stands(form, arg, end, scope):
            yield {**bound, form: arg}
    elif form is None or arg is None:
        if form is arg:
            yield bound
    elif _number(arg, scope) == form:
        yield bound


def _all(forms: Any, args: Any, end: Operation, scope: Scope, bound: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if not forms:
        yield bound
        return
    for one in _matches(forms[0], args[0], end, scope, bound):
        yield from _all(forms[1:], args[1:], end, scope, one)


def _alike(op: Operation, name: str, count: int, end: Operation, scope: Scope) -> bool:
    """Whether an operation has this name and number of arguments, in the call and of the shape of the form's end."""
    parts = op.target.split(".")
    return (
        parts[0] == "aten"
        and parts[1] == name
        and len(op.args) == count
        and not op.kwargs
        and op.calls == end.calls
        and scope.shapes.get(op.name) == scope.shapes.get(end.name)
    )


def _stands(letter: str, arg: Any, end: Operation, scope: Scope) -> bool:
    """Whether an argument is of the sort that a letter stands for; the value has the shape and dtype of the program's."""
    if not isinstance(arg, Ref):
        return letter in (A, B) and isinstance(arg, int | float) and not isinstance(arg, bool)
    if not scope.is_value(arg):
        return letter == W
    alike = scope.shapes.get(arg.name) == scope.shapes.get(end.name)
    return letter == X and alike and scope.dtypes.get(arg.name) == scope.dtype


def _number(arg: Any, scope: Scope) -> float | None:
    """A scalar of the program, or the number that a folded constant of no axes is."""
    if isinstance(arg, Ref):
        weight = scope.weights.get(arg.name)
        return float(weight.midpoint) if weight is not None and weight.shape == () and weight.radius is None else None
    return arg if isinstance(arg, int | float) and not isinstance(arg, bool) else None
