"""The vocabulary of graphs: linear maps, and nonlinear maps with slope intervals.

A map is a value. It knows its shapes and holds its numbers in float64, which represents every float16, bfloat16 and
float32 weight exactly. What it does to arrays is said in :mod:`lipverify.actions`, what it is *worth*, its norm, in
:mod:`lipverify.rigor`.

Shapes include every axis of the program's value; no axis is treated as a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import prod

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]
Array = NDArray[np.float64]
Pads = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Enclosure:
    """An array known to within a radius: every entry of the true array lies in midpoint +- radius.

    Attributes:
        midpoint: float64 array.
        radius: float64 array of the same shape, entrywise >= 0, or None where the midpoint is exact.
    """

    midpoint: Array
    radius: Array | None = None

    @property
    def shape(self) -> Shape:
        return self.midpoint.shape


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Dense:
    """x -> x W^T on the last axis; ``weight`` W has shape (out, in)."""

    weight: Enclosure
    input_shape: Shape

    @property
    def output_shape(self) -> Shape:
        return (*self.input_shape[:-1], self.weight.shape[0])


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Convolution:
    """Stride-1 two-dimensional cross-correlation of (N, C, H, W) with ``kernel`` (out, in, kh, kw).

    Attributes:
        pads: ((top, bottom), (left, right)), each >= 0.
        circular: the padding repeats the image (each pad at most the image's side) instead of adding zeros.
    """

    kernel: Enclosure
    input_shape: Shape
    pads: Pads
    circular: bool = False

    @property
    def output_shape(self) -> Shape:
        n, _, *image = self.input_shape
        sides = (m + sum(p) - k + 1 for m, p, k in zip(image, self.pads, self.kernel.shape[2:], strict=True))
        return (n, self.kernel.shape[0], *sides)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Adjoint:
    """The adjoint (transpose) of a linear map."""

    of: LinearMap

    @property
    def input_shape(self) -> Shape:
        return self.of.output_shape

    @property
    def output_shape(self) -> Shape:
        return self.of.input_shape


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Diagonal:
    """x -> d * x, entrywise; ``factor`` d has a shape that broadcasts to x without enlarging it."""

    factor: Enclosure
    input_shape: Shape

    @property
    def output_shape(self) -> Shape:
        return self.input_shape


@dataclass(frozen=True, slots=True)
class AveragePooling:
    """Means over disjoint windows of the last two axes, incomplete windows dropped."""

    input_shape: Shape
    window: tuple[int, int]

    @property
    def output_shape(self) -> Shape:
        *rest, h, w = self.input_shape
        return (*rest, h // self.window[0], w // self.window[1])


@dataclass(frozen=True, slots=True)
class Rearrange:
    """A permutation of entries: the axes are permuted by ``axes`` (None: kept), then the result is reshaped."""

    input_shape: Shape
    output_shape: Shape
    axes: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Pad:
    """Padding by ``pads`` (one (before, after) pair per axis) with zeros, or with a circular copy of the array."""

    input_shape: Shape
    pads: Pads
    circular: bool = False

    @property
    def output_shape(self) -> Shape:
        return tuple(n + sum(p) for n, p in zip(self.input_shape, self.pads, strict=True))


LinearMap = Dense | Convolution | Adjoint | Diagonal | AveragePooling | Rearrange | Pad


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """x -> linear(x) + bias; ``bias`` has a shape that broadcasts to the output (None: zero)."""

    linear: LinearMap
    bias: Enclosure | None = None

    @property
    def input_shape(self) -> Shape:
        return self.linear.input_shape

    @property
    def output_shape(self) -> Shape:
        return self.linear.output_shape


@dataclass(frozen=True, slots=True, eq=False)
class Pointwise:
    """A scalar function applied to every entry.

    Attributes:
        name: its name, for people.
        slopes: (alpha, beta): alpha <= (sigma(a) - sigma(b)) / (a - b) <= beta for all a != b. Proved, not sampled.
        breakpoints: where sigma is not smooth.
        function: sigma on float64 arrays, to rounding.
    """

    name: str
    shape: Shape
    slopes: tuple[Fraction, Fraction]
    breakpoints: tuple[float, ...]
    function: Callable[[Array], Array]

    @property
    def input_shape(self) -> Shape:
        return self.shape

    @property
    def output_shape(self) -> Shape:
        return self.shape


@dataclass(frozen=True, slots=True)
class Sum:
    """(x_1, ..., x_k) -> sum_i signs_i x_i, all of one shape; signs are +1 or -1."""

    shape: Shape
    signs: tuple[int, ...]

    @property
    def input_shape(self) -> Shape:
        return self.shape

    @property
    def output_shape(self) -> Shape:
        return self.shape


@dataclass(frozen=True, slots=True)
class Opaque:
    """An operation that is not in the vocabulary: whatever contains it is UNSUPPORTED, by this name and reason."""

    operation: str
    reason: str
    input_shape: Shape
    output_shape: Shape


Map = Affine | Pointwise | Sum | Opaque


def size(shape: Shape) -> int:
    """The number of entries of an array of this shape."""
    return prod(shape)
