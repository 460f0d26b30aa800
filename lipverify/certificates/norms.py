"""The norms of a certificate: for every operator that a step needs the rule, the square and the slack."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np

from lipverify.certificates.canonical import hexadecimal, short_up
from lipverify.certificates.convolutions import convolution_square
from lipverify.certificates.operators import Operator
from lipverify.certificates.squares import Square, dense_square, entry_square, row_square
from lipverify.maps import (
    Adjoint,
    Convolution,
    Dense,
    Diagonal,
    Enclosure,
    Gather,
    LinearMap,
    Pad,
    Rearrange,
    Separable,
    size,
)
from lipverify.rigor.polyphase import planar

RULES = ("dense", "unrolled", "torus", "entries", "copies", "separable", "rows")
"""The rules of norms, as ``proofs/rules.json`` has them."""

ROWS = "rows"
BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Norm:
    """||A||^2 <= ``square``; ``id`` is its name in the certificate."""

    id: str
    square: Fraction
    rule: str


class Norms:
    """The norms that are known, each once; ``data`` are those that steps name, ``maps`` what they are bounds of."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Norm, dict[str, Any], LinearMap] | None] = {}
        self.data: dict[str, dict[str, Any]] = {}
        self.maps: dict[str, LinearMap] = {}

    def l2(self, operator: Operator, target: Fraction | None = None) -> Norm | None:
        """Of an operator in l2; None where no rule bounds it.

        Args:
            operator: the map and its nodes.
            target: the largest square that is good enough for a block; where it can be proved it is stated, for that purpose
                alone.
        """
        return self._norm(operator, "" if target is None else BLOCK, lambda: _l2(operator.map, target))

    def rows(self, operator: Operator) -> Norm | None:
        """Of the largest row, from l2 to linf."""
        return self._norm(operator, ROWS, lambda: _rows(operator.map))

    def _norm(self, operator: Operator, purpose: str, stated: Any) -> Norm | None:
        key = "+".join(operator.maps) + (f":{purpose}" if purpose else "")
        if key not in self._known:
            fields = stated()
            self._known[key] = None
            if fields is not None:
                square = fields.pop("square")
                data = {"maps": list(operator.maps), **fields, "square": hexadecimal(float(square))}
                self._known[key] = Norm(key, square, fields["rule"]), data, operator.map
        known = self._known[key]
        return None if known is None else known[0]

    def used(self, norm: Norm) -> str:
        """The id of a norm that a step names; from now on it is part of the certificate."""
        known = self._known[norm.id]
        if known is not None:
            _, self.data[norm.id], self.maps[norm.id] = known
        return norm.id


def _fields(rule: str, square: Square, **more: Any) -> dict[str, Any]:
    return {"rule": rule, **more, "square": square.square, "slack": square.slack}


def _l2(linear: LinearMap, target: Fraction | None = None) -> dict[str, Any] | None:
    match linear:
        case Dense(weight=weight) | Adjoint(of=Dense(weight=weight)):
            square = dense_square(weight, target)
            return None if square is None else _fields("dense", square)
        case Convolution() | Adjoint(of=Convolution()):
            of = linear if isinstance(linear, Convolution) else linear.of
            found = convolution_square(of, target) if isinstance(of, Convolution) else None
            return None if found is None else {**found.rule, "square": found.square.square, "slack": found.square.slack}
        case Diagonal(factor=factor):
            return _fields("entries", Square(entry_square(factor), 0))
        case Separable(factors=factors, scale=scale):
            squares = [s for s in (dense_square(matrix) for _, matrix in factors) if s is not None]
            if len(squares) < len(factors):
                return None
            total = short_up(scale**2 * prod((s.square for s in squares), start=Fraction(1)))
            parts = {
                "squares": [hexadecimal(float(s.square)) for s in squares],
                "slacks": [s.slack for s in squares],
            }
            return _fields("separable", Square(total, 0), **parts)
        case Gather() | Rearrange() | Pad():
            return _fields("copies", Square(Fraction(_copies(linear)), 0))
    return None


def _copies(linear: Gather | Rearrange | Pad) -> int:
    """The largest number of entries of the output that copy one entry of the input."""
    match linear:
        case Rearrange():
            return 1
        case Pad(input_shape=shape, pads=pads, circular=circular):
            counts = (-(-(n + sum(p)) // n) if n else 0 for n, p in zip(shape, pads, strict=True))
            return prod(counts) if circular else 1
        case Gather(index=index):
            counts = np.bincount(index.reshape(-1) + 1, minlength=size(linear.input_shape) + 1)[1:]
            return int(counts.max(initial=0))


def _rows(linear: LinearMap) -> dict[str, Any] | None:
    match linear:
        case Dense(weight=weight):
            return _fields("rows", Square(row_square(weight), 0))
        case Convolution(kernel=kernel, circular=circular):
            flat = planar(linear)
            wraps = circular and any(r >= n for r, n in zip(flat.reach, flat.input_shape[2:], strict=True))
            if wraps:
                return None
            shape = (len(kernel.midpoint), -1)
            radius = None if kernel.radius is None else kernel.radius.reshape(shape)
            return _fields("rows", Square(row_square(Enclosure(kernel.midpoint.reshape(shape), radius)), 0))
    return None
