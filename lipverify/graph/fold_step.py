"""One operation on weights alone, folded: which kind it is, and its rule on the numbers known so far."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from lipverify.graph.arb import Balls, require_flint
from lipverify.graph.fold_matrices import MATRICES
from lipverify.graph.fold_rules import (
    ARITHMETIC,
    COMPARISONS,
    COPIES,
    COUNTED,
    FILLED,
    REDUCTIONS,
    Numbers,
    together,
)
from lipverify.graph.held import keeps, scalar, scalar_argument, whole
from lipverify.graph.intervals import Interval, NotFoldable, exactly, interval
from lipverify.read.program import Operation, Ref, aten, substitute

IGNORED = frozenset(("memory_format", "dtype", "layout", "device", "pin_memory", "implicit"))
"""Keyword arguments that say nothing of the numbers; conversions are judged by the dtype of the outcome."""


class Folder:
    """One operation after the other, on the numbers known so far."""

    def __init__(
        self,
        known: Mapping[str, Numbers | None],
        types: Mapping[str, tuple[tuple[int, ...], torch.dtype]],
        dtype: torch.dtype,
    ) -> None:
        self._known, self._types, self._dtype = known, types, dtype

    def fold(self, op: Operation, fine: bool) -> Numbers:
        """
        Raises:
            NotFoldable: naming the operation and why.
        """
        where = f"{op.target} on weights alone"
        if op.name not in self._types:
            raise NotFoldable(f"{where}: it has several results, or none of its own")
        try:
            found = self._step(op, fine, where)
        except NotFoldable as reason:
            raise NotFoldable(str(reason) if str(reason).startswith(where) else f"{where}: {reason}") from None
        if found.shape != self._types[op.name][0]:
            raise NotFoldable(f"{where}: its rule gives the shape {found.shape}")
        return found

    def _step(self, op: Operation, fine: bool, where: str) -> Numbers:
        shape, dtype = self._types[op.name]
        if op.target in COPIES:
            return self._copied(op)
        if op.target in FILLED:
            number = _bound(FILLED[op.target], op.args, op.kwargs)
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise NotFoldable(f"the constant {number!r}")
            one = interval(scalar(number, dtype)) if dtype.is_floating_point else exactly(whole(number, dtype))
            return (
                Interval(*(np.broadcast_to(end, shape).copy() for end in one))
                if not one.exact
                else exactly(np.broadcast_to(one.low, shape).copy())
            )
        if op.target in COUNTED:
            return self._counted(op, dtype)
        if op.target in ("aten._to_copy.default", "aten.to.dtype"):
            return self._converted(op, dtype)
        if op.target in COMPARISONS:
            return self._compared(op, dtype)
        if not dtype.is_floating_point:
            raise NotFoldable("integer arithmetic that no pure operations on integers are")
        for name in op.references:
            entries = None if self._types[name][1].is_floating_point else self._numbers(name).enclosure().midpoint
            if not keeps(self._types[name][1], dtype, entries):
                raise NotFoldable(f"{self._types[name][1]} narrowed to {dtype}")
        rule = ARITHMETIC.get(op.target) or REDUCTIONS.get(op.target) or MATRICES.get(op.target)
        if rule is None:
            raise NotFoldable(where)
        if fine:
            require_flint(where)
        return self._ruled(op, rule, fine)

    def _ruled(self, op: Operation, rule: Callable[..., Numbers], fine: bool) -> Numbers:
        """The rule on numbers of one arithmetic; of ARITHMETIC the Python scalars are numbers, too."""
        found: dict[int, Numbers] = {}

        def number(argument: Any) -> Any:
            if isinstance(argument, Ref):
                numbers = self._numbers(argument.name)
            elif op.target in ARITHMETIC:
                numbers = interval(scalar_argument(argument, self._dtype))
            else:
                return [number(a) for a in argument] if isinstance(argument, tuple | list) else argument
            found[id(numbers)] = Balls.of(numbers) if fine else numbers
            return found[id(numbers)]

        args = [number(a) for a in op.args]
        kwargs = {k: number(v) for k, v in op.kwargs.items() if k not in IGNORED}
        numbers = iter(together(*(a for a in (*args, *kwargs.values()) if isinstance(a, Interval | Balls))))
        args = [next(numbers) if isinstance(a, Interval | Balls) else a for a in args]
        kwargs = {k: next(numbers) if isinstance(a, Interval | Balls) else a for k, a in kwargs.items()}
        return _bound(rule, args, kwargs)

    def _numbers(self, name: str) -> Numbers:
        numbers = self._known[name]
        if numbers is None:
            raise NotFoldable(f"{name} was let go")
        return numbers

    def _tensor(self, name: str) -> torch.Tensor:
        """The exact integers or booleans of a value, in their dtype."""
        shape, dtype = self._types[name]
        whole = self._numbers(name).enclosure()
        if whole.radius is not None or dtype.is_floating_point:
            raise NotFoldable(f"{name} is no exact integer")
        return torch.from_numpy(whole.midpoint).to(dtype).reshape(shape)

    def _copied(self, op: Operation) -> Numbers:
        """The operation itself, run on the positions of the entries (0: a new zero).

        A copy into another dtype, as into a slice of an array of integers, converts: it must change no number.
        """
        plain = {r for position in COPIES[op.target] for r in Operation("", "", (op.args[position],)).references}
        if op.target in ("aten.constant_pad_nd.default", "aten.pad.default", "aten.masked_fill.Scalar"):
            position = 3 if op.target == "aten.pad.default" else 2
            fill = op.kwargs.get("value", op.args[position] if len(op.args) > position else None)
            if fill not in (None, 0) or isinstance(fill, Ref):
                raise NotFoldable(f"a constant {fill!r} among weights")
        if op.target == "aten.index_put.default" and (op.args[3:] or op.kwargs.get("accumulate")):
            raise NotFoldable("it adds up what meets in one place")
        joined: Numbers | None = None
        tensors: dict[str, torch.Tensor] = {}
        start = 1
        for name in dict.fromkeys(op.references):
            if name in plain:
                tensors[name] = self._tensor(name)
                continue
            numbers = self._numbers(name)
            self._same_numbers(name, self._types[op.name][1])
            size = int(np.prod(numbers.shape, dtype=int))
            tensors[name] = torch.arange(start, start + size).reshape(numbers.shape)
            start += size
            joined = numbers if joined is None else (lambda pair: pair[0].join(pair[1]))(together(joined, numbers))
        if joined is None:
            raise NotFoldable("it copies nothing")
        args = substitute(op.args, lambda ref: tensors[ref.name])
        kwargs = {k: substitute(v, lambda ref: tensors[ref.name]) for k, v in op.kwargs.items() if k not in IGNORED}
        places = aten(op.target)(*args, **kwargs)
        if places.dtype != torch.int64:
            raise NotFoldable("it computes")
        return joined.take(places.numpy() - 1)

    def _same_numbers(self, name: str, dtype: torch.dtype) -> None:
        """
        Raises:
            NotFoldable: where a value's numbers may change when it is copied into an array of ``dtype``.
        """
        source = self._types[name][1]
        if source == dtype or (source.is_floating_point and keeps(source, dtype)):
            return
        numbers = self._numbers(name).enclosure()
        if source.is_floating_point or numbers.radius is not None:
            raise NotFoldable(f"a copy of {source} into {dtype} may round")
        whole(numbers.midpoint, dtype)

    def _counted(self, op: Operation, dtype: torch.dtype) -> Interval:
        if not all(isinstance(a, int) for a in op.args):
            raise NotFoldable(f"the arguments {op.args}")
        return exactly(whole(aten(op.target)(*op.args, dtype=torch.int64).numpy(), dtype))

    def _converted(self, op: Operation, dtype: torch.dtype) -> Numbers:
        name = op.references[0]
        source, numbers = self._types[name][1], self._numbers(name)
        if source.is_floating_point and dtype.is_floating_point:
            if not keeps(source, dtype):
                raise NotFoldable(f"a conversion from {source} to {dtype} may round")
            return numbers
        found = numbers.enclosure()
        if found.radius is not None:
            raise NotFoldable(f"a conversion from {source} to {dtype} may round")
        return exactly(whole(found.midpoint, dtype))

    def _compared(self, op: Operation, dtype: torch.dtype) -> Interval:
        x, y = (
            interval(self._numbers(a.name).enclosure() if isinstance(a, Ref) else scalar_argument(a, self._dtype))
            for a in op.args
        )
        relation = op.target.split(".")[1]
        compare = aten(f"aten.{relation}.Tensor")
        outcomes = [compare(*(torch.from_numpy(np.asarray(end)) for end in (a, b))) for a in x for b in y]
        apart = (x.high < y.low) | (x.low > y.high) | ((x.low == x.high) & (y.low == y.high))
        turning = torch.stack([outcome != outcomes[0] for outcome in outcomes]).any(0)
        undecided = torch.from_numpy(np.asarray(~apart)) if relation in ("eq", "ne") else turning
        if bool(undecided.any()):
            raise NotFoldable("a comparison of weights that rounding may turn")
        return exactly(whole(outcomes[0].numpy(), dtype))


def _bound(rule: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]) -> Any:
    """The rule on its arguments; arguments that it does not know are refused."""
    try:
        bound = inspect.signature(rule).bind(*args, **{k: v for k, v in kwargs.items() if k not in IGNORED})
    except TypeError as error:
        raise NotFoldable(f"with other arguments: {error}") from None
    return rule(*bound.args, **bound.kwargs)
