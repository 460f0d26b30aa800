"""Lowering rules of operations that copy entries and compute nothing: views, permutations, slices, repetitions, padding.

Where the entries come from is found by running the operation itself on an array that counts them. What keeps them all in
their order is a Rearrange, as is a permutation of axes; everything else is a Gather.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from lipverify.graph.scope import Lowered, NotLowered, Scope, affine, arguments, per_axis
from lipverify.maps import Enclosure, Gather, Pad, Rearrange, Shape, size
from lipverify.read.program import Operation, Ref, run

REORDERED = 1 << 24
"""Entries beyond which a count that goes through a Gather is refused rather than built."""


def kept(op: Operation, scope: Scope) -> Lowered:
    """What returns its argument, viewed or copied: every entry in its order."""
    value = scope.value(op.args[0])
    if size(scope.shapes[op.name]) != size(scope.shapes[value]):
        raise NotLowered("it changes the number of entries")
    return affine(Rearrange(scope.shapes[value], scope.shapes[op.name]), None, value)


def evaluated(op: Operation, scope: Scope) -> Lowered:
    """Dropout and its kin, which do nothing outside of training."""
    given = arguments(op)
    if given["train"] is not False:
        raise NotLowered("dropout in training")
    return kept(op, scope)


def permutation(op: Operation, scope: Scope) -> Lowered:
    """A permutation of axes, found by running it on an array of no two equal axes."""
    value = scope.value(op.args[0])
    shape = scope.shapes[value]
    distinct = torch.empty(tuple(range(1, len(shape) + 1)), device="meta")
    axes = tuple(int(n) - 1 for n in run(op, {value: distinct}, {}).shape)
    return affine(Rearrange(shape, tuple(shape[a] for a in axes), axes), None, value)


def copies(op: Operation, scope: Scope) -> Lowered:
    """y[j] = x[index[j]], or zero: one value, and constants that say where its entries go."""
    names = [r for r in dict.fromkeys(op.references) if r not in scope.weights]
    if len(names) != 1:
        raise NotLowered("a copy of several values")
    return copied(scope.shapes[names[0]], _places(run, op, names[0], scope), names[0])


def copied(shape: Shape, index: np.ndarray, value: str | Lowered) -> Lowered:
    """The Gather of ``index``, or the Rearrange that it is."""
    flat = index.reshape(-1)
    if flat.size == size(shape) and np.array_equal(flat, np.arange(flat.size)):
        return affine(Rearrange(shape, index.shape), None, value)
    return affine(Gather(shape, index), None, value)


def expanded(shape: Shape, wanted: Shape, value: str) -> str | Lowered:
    """The value itself, or its copies along the axes in which broadcasting enlarges it."""
    if shape == wanted:
        return value
    if size(wanted) > REORDERED:
        raise NotLowered(f"a value expanded to {size(wanted)} entries, more than the {REORDERED} that are followed")
    return copied(shape, np.broadcast_to(np.arange(size(shape)).reshape(shape), wanted).copy(), value)


def _places(run: Callable[..., Any], op: Operation, value: str, scope: Scope) -> np.ndarray:
    """Where each entry of the outcome comes from, -1 for a zero: the operation on 1, 2, 3, ..., less one.

    Args:
        run: what gives the outcome, as :func:`~lipverify.read.program.run` does.
    """
    shape = scope.shapes[value]
    if max(size(shape), size(scope.shapes.get(op.name, ()))) > REORDERED:
        raise NotLowered(f"a copy of {size(shape)} entries, more than the {REORDERED} that are followed one by one")
    if "nearest" in op.target:
        return _nearest(run, op, value, scope)
    values: dict[str, Any] = {value: torch.arange(1.0, size(shape) + 1, dtype=torch.float64).reshape(shape)}
    values |= {r: _constant(r, scope) for r in op.references if r != value}
    found = run(op, values, {scope.dtype: torch.float64})
    return found.contiguous().numpy().astype(np.int64) - 1


def _nearest(run: Callable[..., Any], op: Operation, value: str, scope: Scope) -> np.ndarray:
    """The places of nearest interpolation, where all of torch's kernels agree on them.

    torch rounds the position of a source in the precision of the tensor, or in float32, as its kernel has it: 2 entries that
    become 82 are copied 41 times each in float64, but 42 and 40 times in float32. The counter is copied digit by digit (to
    the base 256, which every floating dtype holds).

    Raises:
        NotLowered: where they differ.
    """
    shape = scope.shapes[value]
    count = torch.arange(size(shape)).reshape(shape)
    formats = (torch.contiguous_format, torch.channels_last) if len(shape) == 4 else (torch.contiguous_format,)
    found: list[torch.Tensor] = []
    for dtype in dict.fromkeys((torch.float64, torch.float32, scope.dtype)):
        for layout in formats:
            digits = [((count >> 8 * i) & 255).to(dtype).contiguous(memory_format=layout) for i in range(3)]
            moved = [run(op, {value: digit}, {scope.dtype: dtype}).contiguous().to(torch.int64) for digit in digits]
            found.append(sum((m << 8 * i for i, m in enumerate(moved)), start=torch.zeros_like(moved[0])))
    if any(not torch.equal(places, found[0]) for places in found):
        raise NotLowered("which entries nearest interpolation copies here depends on the precision of the machine")
    return found[0].numpy()


def _constant(name: str, scope: Scope) -> torch.Tensor:
    """A constant that says where entries go, as integers or truth values."""
    weight, dtype = scope.weights[name], scope.dtypes.get(name)
    if weight.radius is not None or dtype is None or dtype.is_floating_point or dtype.is_complex:
        raise NotLowered(f"an index of {dtype} that is not exact")
    return torch.from_numpy(np.ascontiguousarray(weight.midpoint)).to(dtype).reshape(weight.shape)


def pad(op: Operation, scope: Scope) -> Lowered:
    """Zero and circular padding stay a Pad, which merges with a convolution; a constant is zero padding and a bias."""
    given = arguments(op)
    mode, fill = given.get("mode", "constant"), given["value"] or 0
    value = scope.value(given["self"])
    shape, widths = scope.shapes[value], per_axis(given["pad"], len(given["pad"]))
    if mode in ("reflect", "replicate"):
        return copies(op, scope)
    if mode not in ("constant", "circular"):
        raise NotLowered(f"padding in mode {mode!r}")
    pairs = [(widths[i], widths[i + 1]) for i in range(0, len(widths), 2)][::-1]
    pads = ((0, 0),) * (len(shape) - len(pairs)) + tuple(pairs)
    once = all(max(p) <= n for p, n in zip(pads, shape, strict=True))
    if mode == "circular":
        return affine(Pad(shape, pads, True), None, value) if min(widths) >= 0 and once else copies(op, scope)
    plain = Operation(op.name, "aten.constant_pad_nd.default", (Ref(value), widths, 0), {}, op.calls)
    lowered = affine(Pad(shape, pads), None, value) if min(widths) >= 0 else copies(plain, scope)
    if not fill:
        return lowered
    padded = scope.shapes[op.name]
    return affine(Rearrange(padded, padded), _filled(scope, shape, pads, fill), lowered)


def _filled(scope: Scope, shape: Shape, pads: Any, fill: float) -> Enclosure:
    """The constant wherever a padded array has no entry of the value, 0 elsewhere."""
    constant = scope.weight(fill)
    outside = np.ones([n + sum(p) for n, p in zip(shape, pads, strict=True)])
    outside[
        tuple(slice(max(b, 0), max(b, 0) + n + min(b, 0) + min(a, 0)) for n, (b, a) in zip(shape, pads, strict=True))
    ] = 0
    radius = None if constant.radius is None else outside * constant.radius
    return Enclosure(outside * constant.midpoint, radius)


def several(op: Operation, scope: Scope, result: int = 0) -> Lowered:
    """One of several results of a copying operation."""
    value = scope.value(op.args[0])
    return copied(scope.shapes[value], _places(lambda *given: run(*given)[result], op, value, scope), value)
