"""What maps do: their actions on arrays, by definition.

In numpy and independent of torch, so that the import of a program can be cross-checked against them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import singledispatch

import numpy as np

from lipverify.maps import (
    Adjoint,
    Affine,
    Array,
    Convolution,
    Dense,
    Diagonal,
    Gather,
    Lipschitz,
    Pad,
    Pointwise,
    Rearrange,
    Separable,
    size,
)


@singledispatch
def apply(map_, x: Array) -> Array:
    """The action of a map on a float64 array of its input shape, by its definition; enclosures act by their midpoint.

    Rounding: none where all products and sums are representable (small integers), else that of numpy.

    Raises:
        TypeError: for a map without a definition here (Opaque, and maps of several inputs).
    """
    raise TypeError(f"no action is defined for {type(map_).__name__}")


@apply.register
def _(map_: Dense, x: Array) -> Array:
    return x @ map_.weight.midpoint.T


@apply.register
def _(map_: Convolution, x: Array) -> Array:
    padded = apply(Pad(map_.input_shape, ((0, 0), (0, 0), *map_.pads), map_.circular), x)
    y = np.zeros(map_.output_shape)
    for taps, window in _windows(map_):
        grouped = padded[(..., *window)].reshape(len(x), map_.groups, -1, size(y.shape[2:]))
        y += np.matmul(taps, grouped).reshape(y.shape)
    return y


def _windows(map_: Convolution) -> Iterator[tuple[Array, tuple[slice, ...]]]:
    """For every tap, its matrices (groups, out / groups, C / groups) and the part of the padded image it multiplies."""
    kernel = map_.kernel.midpoint
    kernel = kernel.reshape(map_.groups, -1, *kernel.shape[1:])
    axes = list(zip(map_.dilation, map_.stride, map_.output_shape[2:], strict=True))
    for tap in np.ndindex(*kernel.shape[3:]):
        window = (slice(t * d, t * d + s * (m - 1) + 1, s) for t, (d, s, m) in zip(tap, axes, strict=True))
        yield kernel[(..., *tap)], tuple(window)


@apply.register
def _(map_: Adjoint, x: Array) -> Array:
    return adjoint_apply(map_.of, x)


@apply.register
def _(map_: Diagonal, x: Array) -> Array:
    return x * map_.factor.midpoint


@apply.register
def _(map_: Separable, x: Array) -> Array:
    for axis, factor in map_.factors:
        x = np.moveaxis(np.tensordot(factor.midpoint, x, (1, axis)), 0, axis)
    scale = map_.scale
    return (x * scale.numerator / scale.denominator).reshape(map_.output_shape)


@apply.register
def _(map_: Gather, x: Array) -> Array:
    return np.append(x.reshape(-1), 0.0)[map_.index]


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


@apply.register(Pointwise)
@apply.register(Lipschitz)
def _(map_: Pointwise | Lipschitz, x: Array) -> Array:
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
    pad = Pad(map_.input_shape, ((0, 0), (0, 0), *map_.pads), map_.circular)
    padded = np.zeros(pad.output_shape)
    grouped = y.reshape(len(y), map_.groups, -1, size(y.shape[2:]))
    for taps, window in _windows(map_):
        part = padded[(..., *window)]
        part += np.matmul(taps.swapaxes(-1, -2), grouped).reshape(part.shape)
    return adjoint_apply(pad, padded)


@adjoint_apply.register
def _(map_: Adjoint, y: Array) -> Array:
    return apply(map_.of, y)


@adjoint_apply.register
def _(map_: Diagonal, y: Array) -> Array:
    return y * map_.factor.midpoint


@adjoint_apply.register
def _(map_: Separable, y: Array) -> Array:
    rows = {axis: len(factor.midpoint) for axis, factor in map_.factors}
    y = y.reshape([rows.get(axis, n) for axis, n in enumerate(map_.input_shape)])
    for axis, factor in map_.factors:
        y = np.moveaxis(np.tensordot(factor.midpoint.T, y, (1, axis)), 0, axis)
    scale = map_.scale
    return y * scale.numerator / scale.denominator


@adjoint_apply.register
def _(map_: Gather, y: Array) -> Array:
    x = np.zeros(size(map_.input_shape) + 1)
    np.add.at(x, map_.index, y)
    return x[:-1].reshape(map_.input_shape)


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
