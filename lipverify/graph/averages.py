"""Lowering rules of averages, sums and interpolation along axes: Kronecker products of one small matrix for each axis.

The matrices are exact wherever their entries have a common denominator that float64 holds: that goes into ``scale``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import lcm, prod
from typing import Any

import numpy as np

from lipverify.graph.intervals import enclose
from lipverify.graph.scope import Lowered, NotLowered, Scope, affine, arguments, dimensions, per_axis
from lipverify.graph.windows import Windows, limited, windows
from lipverify.maps import Convolution, Enclosure, Separable, Shape
from lipverify.read.program import Operation

LONG = 1 << 20
"""Entries of the matrix along one axis beyond which a pooling whose windows are all alike becomes a convolution."""
Pairs = Sequence[tuple[int, Fraction]]


def pooling(axes: int):
    """The mean over every window; over padding too with count_include_pad; or the sum over a given divisor."""

    def rule(op: Operation, scope: Scope) -> Lowered:
        given = arguments(op)
        shape, output = scope.shape(given["self"]), scope.shapes[op.name]
        along = windows(given, shape, output, axes)
        divisor = given.get("divisor_override")
        if divisor is not None and divisor <= 0:
            raise NotLowered(f"average pooling with divisor {divisor}")
        counted = given.get("count_include_pad", False)
        divided = prod(int(w.padded[0]) for w in along) if divisor is None else divisor
        if (
            len(shape) == axes + 2
            and any(len(w.first) * w.entries > LONG for w in along)
            and "output_size" not in given
        ):
            kernel = _box(given, along, shape, counted or divisor is not None, divided, axes)
            if kernel is not None and kernel.output_shape == output:
                return affine(kernel, None, scope.value(given["self"]))
        factors, scale = [], Fraction(1) if divisor is None else Fraction(1, divisor)
        for window in along:
            matrix, share = _mean(window, counted, divisor is None)
            factors.append((window.axis, matrix))
            scale *= share
        return affine(Separable(shape, output, tuple(factors), scale), None, scope.value(given["self"]))

    return rule


def _box(
    given: Mapping[str, Any], along: Sequence[Windows], shape: Shape, counted: bool, divisor: int, axes: int
) -> Convolution | None:
    """Pooling as a depthwise convolution by a constant, where every window has the same divisor.

    That is where none is clipped by the end of the image and its padding, and where padding counts as entries or is none.
    """
    taps, padding = per_axis(given["kernel_size"], axes), per_axis(given["padding"], axes)
    clipped = any((w.padded != k).any() for w, k in zip(along, taps, strict=True))
    if clipped or (any(padding) and not counted):
        return None
    entry = _exactly_or_enclosed(Fraction(1, divisor))
    whole = (shape[1], 1, *taps)
    radius = None if entry.radius is None else np.full(whole, entry.radius)
    kernel = Enclosure(np.full(whole, entry.midpoint), radius)
    stride = per_axis(given["stride"] or given["kernel_size"], axes)
    return Convolution(kernel, shape, tuple((p, p) for p in padding), stride=stride, groups=shape[1])


def _exactly_or_enclosed(number: Fraction) -> Enclosure:
    return enclose((np.array(_float(number, -1)), np.array(_float(number, 1))))


def _mean(window: Windows, counted: bool, divide: bool) -> tuple[Enclosure, Fraction]:
    if not divide:
        return Enclosure(window.members.astype(np.float64)), Fraction(1)
    counts = window.padded if counted else window.members.sum(1)
    common = lcm(*(int(c) for c in np.unique(counts)))
    if common >= 1 << 53:
        raise NotLowered("average pooling whose windows have no common number of entries below 2^53")
    return Enclosure(window.members * (common // counts)[:, None].astype(np.float64)), Fraction(1, common)


def reduction(op: Operation, scope: Scope) -> Lowered:
    """The mean or the sum over axes, kept as axes of one entry or not."""
    given = arguments(op)
    if given.get("dtype") not in (None, scope.dtype):
        raise NotLowered(f"a sum in {given['dtype']}")
    shape = scope.shape(given["self"])
    axes = dimensions(given.get("dim"), len(shape))
    if not all(shape[a] for a in axes):
        raise NotLowered("a mean or a sum of no entries")
    factors = tuple((a, Enclosure(np.ones((1, shape[a])))) for a in axes)
    mean = op.target.startswith("aten.mean.")
    scale = Fraction(1, prod(shape[a] for a in axes)) if mean else Fraction(1)
    return affine(Separable(shape, scope.shapes[op.name], factors, scale), None, scope.value(given["self"]))


def interpolation(axes: int):
    """Linear interpolation: output entry o reads the input at a position that is an affine function of o."""

    def rule(op: Operation, scope: Scope) -> Lowered:
        given = arguments(op)
        shape, output = scope.shape(given.get("input", given.get("self"))), scope.shapes[op.name]
        if len(shape) != axes + 2:
            raise NotLowered(f"interpolation of a value of shape {shape}")
        scales = given.get("scale_factors") or [given.get(f"scales_{a}", given.get("scales")) for a in "hw"[-axes:]]
        factors, total = [], Fraction(1)
        for axis, stated in zip(range(2, axes + 2), scales, strict=True):
            pairs = _interpolated(shape[axis], output[axis], given["align_corners"], stated)
            matrix, scale = _matrix(pairs, shape[axis])
            factors.append((axis, matrix))
            total *= scale
        value = scope.value(given.get("input", given.get("self")))
        return affine(Separable(shape, output, tuple(factors), total), None, value)

    return rule


def _interpolated(n: int, m: int, corners: bool, stated: float | None) -> Pairs:
    """For every output its first entry and the weight t of the next one, 1 - t its own; clamped to the first and the last.

    An axis that keeps its length is copied, whatever scale is stated for it: so does torch.
    """
    if n == m:
        return [(o, Fraction(0)) for o in range(m)]
    if corners:
        step = Fraction(n - 1, m - 1) if m > 1 else Fraction(0)
        positions = [o * step for o in range(m)]
    else:
        step = 1 / Fraction(stated) if stated is not None and stated > 0 else Fraction(n, m)
        positions = [max(Fraction(0), (o + Fraction(1, 2)) * step - Fraction(1, 2)) for o in range(m)]
    return [(int(p), p - int(p)) if p < n - 1 else (n - 1, Fraction(0)) for p in positions]


def _matrix(pairs: Pairs, n: int) -> tuple[Enclosure, Fraction]:
    """A matrix of rationals as (integers, common divisor), or enclosed, where the divisor is too large."""
    limited(len(pairs), n)
    common = lcm(*(t.denominator for _, t in pairs))
    common = common if common < 1 << 40 else 1
    rows, first = np.arange(len(pairs)), np.array([below for below, _ in pairs])
    low, high = np.zeros((len(pairs), n)), np.zeros((len(pairs), n))
    for end, toward in ((low, -1), (high, 1)):
        end[rows, np.minimum(first + 1, n - 1)] = [_float(t * common, toward) for _, t in pairs]
        end[rows, first] = [_float((1 - t) * common, toward) for _, t in pairs]
    return enclose((low, high)), Fraction(1, common)


def _float(number: Fraction, toward: int) -> float:
    """The number in float64, rounded toward that side where it is rounded."""
    nearest = float(number)
    return nearest if (Fraction(nearest) - number) * toward >= 0 else float(np.nextafter(nearest, toward * np.inf))
