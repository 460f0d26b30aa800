"""Forms: several operations that are one function, matched term by term against a program.

A form is a tuple (name of an operation, form of each argument), a letter (text) that stands for the same argument in all its
places, a number, None, or :class:`Either` of several forms. A match is exact: every operation lies in the call in which the
form ends, and has the arguments of the form and no others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lipverify.graph.scope import Scope
from lipverify.read.program import Operation, Ref

COMMUTATIVE = ("mul", "add", "minimum")
Bound = Mapping[str, Any]
"""What the letters of a form stand for."""


@dataclass(frozen=True, slots=True)
class Either:
    """Any of several forms, which are equal in real arithmetic."""

    forms: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Read:
    """A form whose outcome the map reads, in the first of its places."""

    letter: str
    form: Any


@dataclass(frozen=True, slots=True)
class Matcher:
    """How forms that end in one operation are matched.

    Attributes:
        end: the operation.
        scope: of its program.
        suits: whether an operation between may be part of the form: its shape, its dtype.
        stands: whether an argument is of the sort that a letter stands for.
    """

    end: Operation
    scope: Scope
    suits: Callable[[Operation], bool]
    stands: Callable[[str, Any], bool]

    def matches(self, form: Any, arg: Any, bound: Bound) -> Iterator[Bound]:
        """Every way in which the argument has the form."""
        if isinstance(form, Either):
            for one in form.forms:
                yield from self.matches(one, arg, bound)
        elif isinstance(form, Read):
            for one in self.matches(form.form, arg, bound):
                yield {form.letter: arg, **one}
        elif isinstance(form, tuple):
            op = self._operation(arg, form)
            if op is not None:
                for args in (op.args, op.args[::-1]) if form[0] in COMMUTATIVE else (op.args,):
                    yield from self.all(form[1:], args, bound)
        elif isinstance(form, str):
            if bound[form] == arg if form in bound else self.stands(form, arg):
                yield {**bound, form: arg}
        elif form is arg or (form is not None and self._number(arg) == form):
            yield bound

    def all(self, forms: Any, args: Any, bound: Bound) -> Iterator[Bound]:
        """Every way in which the arguments have these forms, one by one."""
        if not forms:
            yield bound
            return
        for one in self.matches(forms[0], args[0], bound):
            yield from self.all(forms[1:], args[1:], one)

    def _operation(self, arg: Any, form: tuple[Any, ...]) -> Operation | None:
        op = self.scope.operations.get(arg.name) if isinstance(arg, Ref) else None
        if op is None or op.target.split(".")[:2] != ["aten", form[0]] or op.kwargs or len(op.args) != len(form) - 1:
            return None
        return op if op.calls == self.end.calls and self.suits(op) else None

    def _number(self, arg: Any) -> float | None:
        """A scalar of the program, or the number that a folded constant of no axes is."""
        if isinstance(arg, Ref):
            weight = self.scope.weights.get(arg.name)
            exact = weight is not None and weight.shape == () and weight.radius is None
            return float(weight.midpoint) if weight is not None and exact else None
        return arg if isinstance(arg, int | float) and not isinstance(arg, bool) else None
