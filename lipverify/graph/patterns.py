"""Activations that an export has decomposed, recognised: several operations that are one function of one value.

Term by term their product or sum has no constant, or a worse one. A form is recognised only as a whole: every operation
in it is elementwise, of the shape of its one value, in one call of one module, with the constants of the form.
"""

from __future__ import annotations

from math import inf
from typing import Any

from lipverify.graph.forms import Matcher
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
comparison and a choice, are not among them: that function jumps, and has no Lipschitz constant. (mish by softplus in one
operation moves by 20 (1 - tanh(20)^2) 2e-9 = 7e-25 where softplus reverts to x, which no dtype shows.)"""

HEADS = frozenset(form[0] for form, _, _ in FORMS)


def recognised(op: Operation, scope: Scope) -> Operation | None:
    """The one operation that this one and those before it in its call are together, on their one value."""
    if op.target.split(".")[1:2] == [] or op.target.split(".")[1] not in HEADS:
        return None
    shape = scope.shapes.get(op.name)

    def suits(inner: Operation) -> bool:
        return scope.is_value(Ref(inner.name)) and scope.shapes.get(inner.name) == shape

    def stands(letter: str, arg: Any) -> bool:
        if not isinstance(arg, Ref):
            return letter in (A, B) and isinstance(arg, int | float) and not isinstance(arg, bool)
        if not scope.is_value(arg):
            return letter == W
        return letter == X and scope.shapes.get(arg.name) == shape and scope.dtypes.get(arg.name) == scope.dtype

    matcher = Matcher(op, scope, suits, stands)
    for form, target, keywords in FORMS:
        for bound in matcher.matches(form, Ref(op.name), {}):
            kwargs = {key: bound.get(entry, entry) for key, entry in keywords.items()}
            return Operation(op.name, target, (bound[X],), kwargs, op.calls, op.source)
    return None
