"""The vocabulary of graphs: linear maps, and nonlinear maps with slope intervals.

A map is a value. It knows its shapes and holds its numbers in float64, which represents every float16, bfloat16 and
float32 weight exactly. What it does is said by ``apply`` and ``adjoint_apply``: its action on arrays, in numpy, written
independently of torch so that the import of a program can be cross-checked. What it is *worth*, its norm, is the
business of :mod:`lipverify.rigor`.

Shapes include every axis of the program's value; no axis is treated as a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import singledispatch
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


@singledispatch
def apply(map_, x: Array) -> Array:
    """The action of a map on a float64 array of its input shape, by its definition; enclosures act by their midpoint.

    Rounding: none where all products and sums are representable (small integers), else that of numpy.

    Raises:
        TypeError: for a map without a definition here (Opaque, Sum with its several inputs).
    """
    raise TypeError(f"no action is defined for {type(map_).__name__}")


@apply.register
def _(map_: Dense, x: Array) -> Array:
    return x @ map_.weight.midpoint.T


@apply.register
def _(map_: Convolution, x: Array) -> Array:
    padded = apply(Pad(map_.input_shape, ((0, 0), (0, 0), *map_.pads), map_.circular), x)
    kernel = map_.kernel.midpoint
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[2:], axis=(2, 3))
    return np.einsum("nchwij,ocij->nohw", windows, kernel, optimize=True)


@apply.register
def _(map_: Adjoint, x: Array) -> Array:
    return adjoint_apply(map_.of, x)


@apply.register
def _(map_: Diagonal, x: Array) -> Array:
    return x * map_.factor.midpoint


@apply.register
def _(map_: AveragePooling, x: Array) -> Array:
    *rest, h, w = map_.output_shape
    a, b = map_.window
    return x[..., : h * a, : w * b].reshape(*rest, h, a, w, b).sum((-3, -1)) / (a * b)


@apply.register
def _(map_: Rearrange, x: Array) -> Array:
    return (x if map_.axes is None else x.transpose(map_.axes)).reshape(map_.output_shape)


@apply.register
def _(map_: Pad, x: Array) -> Array:
    return np.pad(x, map_.pads, mode="wrap" if map_.circular else "constant")


@apply.register
def _(map_: Affine, x: Array) -> Array:
    y = apply(map_.linear, x)
    return y if map_.bias is None else y + map_.bias.midpoint


@apply.register
def _(map_: Pointwise, x: Array) -> Array:
    return map_.function(x)


@singledispatch
def adjoint_apply(map_, y: Array) -> Array:
    """The action of the adjoint of a linear map on a float64 array of its output shape.

    Raises:
        TypeError: for a map without a definition here.
    """
    raise TypeError(f"no adjoint is defined for {type(map_).__name__}")


@adjoint_apply.register
def _(map_: Dense, y: Array) -> Array:
    return y @ map_.weight.midpoint


@adjoint_apply.register
def _(map_: Convolution, y: Array) -> Array:
    kernel = map_.kernel.midpoint
    pad = Pad(map_.input_shape, ((0, 0), (0, 0), *map_.pads), map_.circular)
    padded = np.zeros(pad.output_shape)
    h, w = y.shape[2:]
    for i, j in np.ndindex(*kernel.shape[2:]):
        padded[:, :, i : i + h, j : j + w] += np.einsum("nohw,oc->nchw", y, kernel[:, :, i, j], optimize=True)
    return adjoint_apply(pad, padded)


@adjoint_apply.register
def _(map_: Adjoint, y: Array) -> Array:
    return apply(map_.of, y)


@adjoint_apply.register
def _(map_: Diagonal, y: Array) -> Array:
    return y * map_.factor.midpoint


@adjoint_apply.register
def _(map_: AveragePooling, y: Array) -> Array:
    a, b = map_.window
    x = np.zeros(map_.input_shape)
    x[..., : y.shape[-2] * a, : y.shape[-1] * b] = np.repeat(np.repeat(y, a, -2), b, -1) / (a * b)
    return x


@adjoint_apply.register
def _(map_: Rearrange, y: Array) -> Array:
    if map_.axes is None:
        return y.reshape(map_.input_shape)
    return y.reshape([map_.input_shape[a] for a in map_.axes]).transpose(np.argsort(map_.axes))


@adjoint_apply.register
def _(map_: Pad, y: Array) -> Array:
    if not map_.circular:
        return y[tuple(slice(before, before + n) for n, (before, _) in zip(map_.input_shape, map_.pads, strict=True))]
    for axis, (n, (before, _)) in enumerate(zip(map_.input_shape, map_.pads, strict=True)):
        folded = np.zeros((*y.shape[:axis], n, *y.shape[axis + 1 :]))
        np.add.at(np.moveaxis(folded, axis, 0), (np.arange(y.shape[axis]) - before) % n, np.moveaxis(y, axis, 0))
        y = folded
    return y


def size(shape: Shape) -> int:
    """The number of entries of an array of this shape."""
    return prod(shape)
