"""Circular padding that an export has decomposed: slices of an uninitialised array, filled one after the other.

What comes out is followed entry by entry: the operations are run on an array that counts its entries, the uninitialised one
being NaN. Where no NaN is left the whole is a copy, and where it is the copy that circular padding makes, a Pad, which merges
with the convolution that follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from lipverify.graph.copies import copied
from lipverify.graph.scope import Lowered, NotLowered, Scope, affine
from lipverify.maps import Pad, Shape, size
from lipverify.read.program import Operation, run

EMPTY = "aten.empty.memory_format"
COPYING = frozenset(
    f"aten.{name}"
    for name in ("slice.Tensor", "slice_scatter.default", "copy.default", "clone.default", "alias.default")
)


def scattered(op: Operation, scope: Scope) -> Lowered:
    """The copy that ends in ``op``, a slice_scatter, from the one value before it that is no such operation's.

    Raises:
        NotLowered: where there are several values, or an entry that was never written.
    """
    chain: dict[str, Operation] = {}
    values: set[str] = set()
    stack = [op.name]
    while stack:
        name = stack.pop()
        before = scope.operations.get(name)
        if name in chain:
            continue
        if before is not None and before.calls == op.calls and before.target in COPYING | {EMPTY}:
            chain[name] = before
            stack.extend(before.references)
        elif name in scope.weights:
            raise NotLowered("a copy into a weight")
        else:
            values.add(name)
    if len(values) != 1:
        raise NotLowered(f"a copy of {len(values)} values into one array")
    if any(scope.dtypes.get(name) != scope.dtype for name in (*chain, *values)):
        raise NotLowered("a copy through another dtype, which rounds")
    (value,) = values
    shape = scope.shapes[value]
    known: dict[str, Any] = {value: torch.arange(1.0, size(shape) + 1, dtype=torch.float64).reshape(shape)}
    for name, step in scope.operations.items():
        if name in chain:
            known[name] = _uninitialised(scope.shapes[name]) if step.target == EMPTY else _step(step, known)
    counts = known[op.name].numpy()
    if np.isnan(counts).any():
        raise NotLowered("a copy that leaves entries uninitialised")
    index = counts.astype(np.int64) - 1
    pad = _circular(shape, index)
    return copied(shape, index, value) if pad is None else affine(pad, None, value)


def _uninitialised(shape: Shape) -> torch.Tensor:
    return torch.full(shape, torch.nan, dtype=torch.float64)


def _step(op: Operation, known: Mapping[str, Any]) -> torch.Tensor:
    return run(op, known, {})


def _circular(shape: Shape, index: np.ndarray) -> Pad | None:
    """The circular padding that is this copy, if one is: its first entry says how far it begins before the array."""
    if index.ndim != len(shape) or not index.size or index.shape == shape:
        return None
    first = np.unravel_index(int(index.flat[0]), shape)
    pads = []
    for n, m, start in zip(shape, index.shape, (int(f) for f in first), strict=True):
        before = -start % n
        if not 0 <= m - n - before <= n:
            return None
        pads.append((before, m - n - before))
    pad = Pad(shape, tuple(pads), True)
    count = np.arange(size(shape)).reshape(shape)
    return pad if np.array_equal(np.pad(count, pad.pads, mode="wrap"), index) else None
