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
    """Cross-correlation of (N, C, *image) with ``kernel`` (out, C / groups, *taps); one or two image axes.

    Attributes:
        pads: a (before, after) pair for each image axis, each >= 0.
        circular: the padding repeats the image (each pad at most the image's side) instead of adding zeros.
        stride, dilation: for each image axis; () is 1 on all of them.
        groups: output channels o of group g read the channels of group g only.
    """

    kernel: Enclosure
    input_shape: Shape
    pads: Pads
    circular: bool = False
    stride: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1

    def __post_init__(self) -> None:
        ones = (1,) * len(self.pads)
        object.__setattr__(self, "stride", tuple(self.stride) or ones)
        object.__setattr__(self, "dilation", tuple(self.dilation) or ones)

    @property
    def reach(self) -> tuple[int, ...]:
        """For each image axis, how far the last tap lies from the first: dilation (taps - 1)."""
        return tuple(d * (k - 1) for d, k in zip(self.dilation, self.kernel.shape[2:], strict=True))

    @property
    def output_shape(self) -> Shape:
        n, _, *image = self.input_shape
        axes = zip(image, self.pads, self.reach, self.stride, strict=True)
        return (n, self.kernel.shape[0], *((m + sum(p) - r - 1) // s + 1 for m, p, r, s in axes))


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


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Separable:
    """``scale`` times a matrix along each of some axes (a Kronecker product), the result reshaped to ``output_shape``.

    Average pooling, interpolation, means and sums over axes, a weight that multiplies from the left.

    Attributes:
        factors: (axis, matrix (out, in)) pairs, each axis at most once and not negative.
        scale: an exact factor, > 0.
    """

    input_shape: Shape
    output_shape: Shape
    factors: tuple[tuple[int, Enclosure], ...]
    scale: Fraction = Fraction(1)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Gather:
    """y[j] = x[index[j]], or 0 where index[j] is -1: slices, copies, repetitions, crops.

    Attributes:
        index: int64, of the output's shape, into the flattened input.
    """

    input_shape: Shape
    index: NDArray[np.int64]

    @property
    def output_shape(self) -> Shape:
        return self.index.shape


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


LinearMap = Dense | Convolution | Adjoint | Diagonal | Separable | Gather | Rearrange | Pad


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
    def input_shapes(self) -> tuple[Shape, ...]:
        return (self.shape,) * len(self.signs)

    @property
    def output_shape(self) -> Shape:
        return self.shape


@dataclass(frozen=True, slots=True)
class Concatenation:
    """(x_1, ..., x_k) -> the concatenation along ``axis``."""

    input_shapes: tuple[Shape, ...]
    axis: int

    @property
    def output_shape(self) -> Shape:
        first, along = self.input_shapes[0], sum(shape[self.axis] for shape in self.input_shapes)
        return (*first[: self.axis], along, *first[self.axis + 1 :])


@dataclass(frozen=True, slots=True)
class Extremum:
    """(x, y) -> the larger of the two in every entry (the smaller, where not ``largest``)."""

    shape: Shape
    largest: bool

    @property
    def input_shapes(self) -> tuple[Shape, Shape]:
        return (self.shape, self.shape)

    @property
    def output_shape(self) -> Shape:
        return self.shape


@dataclass(frozen=True, slots=True, eq=False)
class Lipschitz:
    """A function of whole vectors with a known constant: max pooling, sorting, softmax, normalisation.

    Attributes:
        name: its name, for people.
        square: the square of a proved l2 -> l2 Lipschitz constant on the whole space.
        why: the proof or its source, in a line.
        function: on float64 arrays, to rounding.
        peak: a proved l2 -> linf constant, where it is better than the root of ``square``.
    """

    name: str
    input_shape: Shape
    output_shape: Shape
    square: Fraction
    why: str
    function: Callable[[Array], Array]
    peak: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Opaque:
    """An operation that is not in the vocabulary: whatever contains it is UNSUPPORTED, by this name and reason."""

    operation: str
    reason: str
    input_shape: Shape
    output_shape: Shape


Joint = Sum | Concatenation | Extremum
"""Maps of several values."""

Map = Affine | Pointwise | Lipschitz | Joint | Opaque


def input_shapes(map_: Map) -> tuple[Shape, ...]:
    """The shapes of the values that a map reads, in order."""
    return map_.input_shapes if isinstance(map_, Joint) else (map_.input_shape,)


def size(shape: Shape) -> int:
    """The number of entries of an array of this shape."""
    return prod(shape)
