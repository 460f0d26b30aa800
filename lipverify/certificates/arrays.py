"""Where the numbers of a map come from: stored weights, arithmetic on them, a few numbers, or a digest of what it is.

What is found is found by its numbers, among what the operation reads: nothing here needs to know what the rule that lowered
it did with them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from lipverify.certificates.canonical import hexadecimal
from lipverify.certificates.expressions import (
    ONE,
    Expression,
    Expressions,
    NotWritten,
    applied,
    inline,
)
from lipverify.certificates.stored import Stored
from lipverify.graph.intervals import NotFoldable, interval
from lipverify.graph.scope import NotLowered, arguments
from lipverify.maps import Array, Enclosure
from lipverify.read import Program
from lipverify.read.program import Operation, Ref

INLINE = 256
"""So many numbers, or runs of equal numbers, are written down at most."""

NEAREST = 64
"""So many of the constants that an operation is made of are tried."""

NORMALISATIONS = frozenset(
    f"aten.{name}.default" for name in ("batch_norm", "instance_norm", "_native_batch_norm_legit_no_training")
)


class Arrays:
    """The arrays of a graph, as data; ``read`` are the names of the weights that they mention."""

    def __init__(self, program: Program, stored: Stored) -> None:
        self._stored, self._expressions = stored, Expressions(program, stored)
        self._operations = {op.name: op for op in program.operations}
        self.read: set[str] = set()

    def data(self, x: Enclosure, value: str) -> dict[str, Any]:
        """The array ``x`` of the map that computes ``value``."""
        found = self._weight(x, value) or self._fold(x, value)
        if found is None:
            found = _written(x) or {"trusted": _digest(x), "shape": list(x.shape)}
        self.read |= set(_weights(found))
        return found

    def _weight(self, x: Enclosure, value: str) -> dict[str, Any] | None:
        """A stored weight of these very numbers, first of all one that the operation reads."""
        if x.radius is not None or not x.midpoint.size:
            return None
        names = self._stored.names
        near = [names[r] for r in self._expressions.read_by(value) if r in names]
        for name in dict.fromkeys(near if x.midpoint.size <= INLINE else (*near, *names.values())):
            array = self._stored.array(name)
            if array.size == x.midpoint.size:
                shape = list(x.shape)
                if np.array_equal(array.reshape(-1), x.midpoint.reshape(-1)):
                    return {"weight": name, "shape": shape}
                if array.ndim >= 2 and np.array_equal(transposed(array), x.midpoint):
                    return {"weight": name, "shape": shape, "transposed": True}
        return None

    def _fold(self, x: Enclosure, value: str) -> dict[str, Any] | None:
        """Arithmetic on stored weights whose outcome, in intervals, meets the array in every entry."""
        low, high = interval(x)
        for candidate in self._candidates(value):
            if np.prod(candidate.shape, dtype=int) != x.midpoint.size:
                continue
            for form in _forms(candidate):
                try:
                    found = form().reshaped(x.shape)
                except (NotWritten, NotFoldable):
                    continue
                if np.all((found.numbers.low <= high) & (low <= found.numbers.high)):
                    data = found.data
                    return data if "fold" in data else {"fold": data, "shape": list(x.shape)}
        return None

    def _candidates(self, value: str) -> Iterator[Expression]:
        op = self._operations.get(value)
        if op is not None and op.target == "getitem":
            op = self._operations.get(op.args[0].name)
        if op is not None and op.target in NORMALISATIONS:
            yield from self._normalisation(op)
        for name in self._expressions.read_by(value)[:NEAREST]:
            found = self._expressions.of(name)
            if found is not None:
                yield found

    def _normalisation(self, op: Operation) -> Iterator[Expression]:
        """gamma / sqrt(var + eps) and beta - mean times that, of stored statistics."""
        try:
            given = arguments(op)
            mean, variance, eps = (self._expressions.argument(given[k]) for k in ("running_mean", "running_var", "eps"))
            gamma, beta = (
                self._expressions.argument(given[k])
                if isinstance(given[k], Ref)
                else inline(Enclosure(np.array([one])))
                for k, one in (("weight", 1.0), ("bias", 0.0))
            )
            factor = applied("div", gamma, applied("sqrt", applied("add", variance, eps)))
            yield factor
            yield applied("sub", beta, applied("mul", mean, factor))
        except (NotWritten, NotFoldable, NotLowered, KeyError):
            return


def _forms(x: Expression):
    """What rules make of a constant: itself, its negative, its reciprocal."""
    yield lambda: x
    yield lambda: applied("neg", x)
    yield lambda: applied("div", inline(ONE), x)


def transposed(array: Array) -> Array:
    """The first two axes exchanged, the others reversed: of a kernel, that of the adjoint."""
    return np.flip(array.swapaxes(0, 1), tuple(range(2, array.ndim)))


def _written(x: Enclosure) -> dict[str, Any] | None:
    """The numbers themselves, runs of equal ones as [number, how many]; None where they are too many."""
    if x.midpoint.size > INLINE and x.radius is not None:
        return None
    if x.midpoint.size <= INLINE:
        return inline(x).data
    flat = x.midpoint.reshape(-1) + 0.0
    starts = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1]])
    if len(starts) > INLINE:
        return None
    counts = np.diff(np.r_[starts, flat.size]).tolist()
    runs = [[hexadecimal(v), n] for v, n in zip(flat[starts].tolist(), counts, strict=True)]
    return {"runs": runs, "shape": list(x.shape)}


def _digest(x: Enclosure) -> str:
    parts = [x.midpoint] + ([] if x.radius is None else [x.radius])
    return hashlib.sha256(b"".join(np.ascontiguousarray(part, "<f8").tobytes() for part in parts)).hexdigest()


def _weights(data: Any) -> Iterator[str]:
    """The names of the weights in an array."""
    if isinstance(data, dict):
        if "weight" in data:
            yield data["weight"]
        data = [data.get("fold")]
    for part in data if isinstance(data, list) else ():
        yield from _weights(part)
