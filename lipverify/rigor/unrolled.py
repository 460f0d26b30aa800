"""Convolutions as matrices: every entry is a copy of the kernel's, no rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lipverify.maps import Convolution
from lipverify.rigor.reductions import Array


def unrolled(kernel: Array, convolution: Convolution) -> Array:
    """The matrices of the groups, (groups, out * rows * columns, in * height * width), of a planar convolution.

    Args:
        kernel: (out, in / groups, kh, kw): the midpoint or the radius.
        convolution: the geometry; its own kernel and its number of images are not looked at.

    Raises:
        TypeError: where circular padding makes two taps meet in one entry (their sum would round).
    """
    geometry = zip(convolution.reach, convolution.input_shape[2:], strict=True)
    if convolution.circular and any(reach >= n for reach, n in geometry):
        raise TypeError("no matrix is defined for a circular Convolution whose kernel is larger than the image")
    groups, image, out = convolution.groups, convolution.input_shape[2:], convolution.output_shape[2:]
    kernel = kernel.reshape(groups, -1, *kernel.shape[1:])
    matrices = np.zeros((*kernel.shape[:2], *out, kernel.shape[2], *image))
    for i, j in np.ndindex(*kernel.shape[3:]):
        (a, p), (b, q) = (_places(convolution, axis, tap) for axis, tap in enumerate((i, j)))
        entries = np.moveaxis(kernel[..., i, j], 0, -1)[..., None, None, :]
        # Index arrays apart from each other put their own axes first: (rows, columns, groups, out, in).
        matrices[:, :, a[:, None], b, :, p[:, None], q] = np.moveaxis(entries, (-1, 0, 1), (2, 3, 4))
    return matrices.reshape(groups, kernel.shape[1] * out[0] * out[1], -1)


def along(kernel: Array, convolution: Convolution, axis: int) -> Array:
    """Unrolled along one axis: (taps of the other axis, out * rows, in * columns), for one group."""
    other = 1 - axis
    line = replace(
        convolution,
        input_shape=tuple(1 if a == 2 + other else n for a, n in enumerate(convolution.input_shape)),
        pads=tuple((0, 0) if a == other else p for a, p in enumerate(convolution.pads)),
    )
    taps = [np.take(kernel, [t], 2 + other) for t in range(kernel.shape[2 + other])]
    return np.stack([unrolled(tap, replace(line, kernel=replace(line.kernel, midpoint=tap)))[0] for tap in taps])


def _places(convolution: Convolution, axis: int, tap: int) -> tuple[np.ndarray, np.ndarray]:
    """Outputs a and the inputs that this tap reads for them, where it reads any."""
    n = convolution.input_shape[2 + axis]
    a = np.arange(convolution.output_shape[2 + axis])
    p = a * convolution.stride[axis] + tap * convolution.dilation[axis] - convolution.pads[axis][0]
    if convolution.circular:
        p = p % n
    inside = (p >= 0) & (p < n)
    return a[inside], p[inside]
