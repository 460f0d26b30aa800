"""What maps do: their actions on arrays, by definition.

In numpy and independent of torch, so that the import of a program can be cross-checked against them.
"""

from __future__ import annotations

from functools import singledispatch

import numpy as np

from lipverify.maps import (
    Adjoint,
    Affine,
    Array,
    AveragePooling,
    Convolution,
    Dense,
    Diagonal,
    Pad,
    Pointwise,
    Rearrange,
)


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
