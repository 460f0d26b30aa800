"""Linear maps as dense matrices, enclosed: copies are exact, every other entry has a radius."""

from __future__ import annotations

from fractions import Fraction
from functools import singledispatch

import numpy as np

from lipverify.actions import apply
from lipverify.maps import Adjoint, Array, AveragePooling, Convolution, Dense, Diagonal, Pad, Rearrange, size
from lipverify.rigor.ball import BallMatrix
from lipverify.rigor.rounding import float_up


@singledispatch
def matrix(linear) -> BallMatrix:
    """The matrix (size of the output, size of the input) of a linear map between flattened arrays.

    Holds the matrix of every map of the enclosure. Exact but for average pooling whose window is no power of two.

    Raises:
        TypeError: for a map without a matrix here; names its type.
    """
    raise TypeError(f"no matrix is defined for {type(linear).__name__}")


@matrix.register
def _(linear: Dense) -> BallMatrix:
    copies = np.eye(size(linear.input_shape[:-1]))
    weight = BallMatrix.of(linear.weight)
    return BallMatrix(_kron(copies, weight.midpoint), _kron(copies, weight.radius))


@matrix.register
def _(linear: Convolution) -> BallMatrix:
    kernel = linear.kernel
    midpoint = _placed(kernel.midpoint, linear)
    if kernel.radius is None:
        return BallMatrix.exact(midpoint)
    return BallMatrix(midpoint, _placed(kernel.radius, linear))


@matrix.register
def _(linear: Adjoint) -> BallMatrix:
    return matrix(linear.of).T


@matrix.register
def _(linear: Diagonal) -> BallMatrix:
    def placed(array: Array) -> Array:
        return np.diag(np.broadcast_to(array, linear.input_shape).reshape(-1))

    factor = linear.factor
    if factor.radius is None:
        return BallMatrix.exact(placed(factor.midpoint))
    return BallMatrix(placed(factor.midpoint), placed(factor.radius))


@matrix.register
def _(linear: AveragePooling) -> BallMatrix:
    cells = Fraction(1, linear.window[0] * linear.window[1])
    midpoint = float(cells)
    radius = float_up(abs(Fraction(midpoint) - cells))
    *rest, h, w = linear.input_shape
    rows = _window_axis(h, linear.window[0])
    columns = _window_axis(w, linear.window[1])
    members = _kron(np.eye(size(tuple(rest))), _kron(rows, columns))
    return BallMatrix(members * midpoint, members * radius)


@matrix.register(Rearrange)
@matrix.register(Pad)
def _(linear: Rearrange | Pad) -> BallMatrix:
    n = size(linear.input_shape)
    source = apply(linear, np.arange(1.0, n + 1).reshape(linear.input_shape)).reshape(-1).astype(np.int64)
    return BallMatrix.exact(np.concatenate((np.zeros((1, n)), np.eye(n)))[source])


def _kron(left: Array, right: Array) -> Array:
    return np.asarray(np.kron(left, right), dtype=np.float64)


def _window_axis(n: int, window: int) -> Array:
    """0-1 matrix (n // window, n): which entries lie in which window."""
    return (np.arange(n)[None, :] // window == np.arange(n // window)[:, None]).astype(np.float64)


def _placed(kernel: Array, linear: Convolution) -> Array:
    """The kernel's entries at their places.

    Raises:
        TypeError: where circular padding makes two taps meet in one entry (their sum would round).
    """
    images, channels, height, width = linear.input_shape
    _, out, rows, columns = linear.output_shape
    if linear.circular and (kernel.shape[2] > height or kernel.shape[3] > width):
        raise TypeError("no matrix is defined for a circular Convolution whose kernel is larger than the image")
    one = np.zeros((out, rows, columns, channels, height, width))
    for i, j in np.ndindex(*kernel.shape[2:]):
        a, p = _taps(rows, height, i - linear.pads[0][0], linear.circular)
        b, q = _taps(columns, width, j - linear.pads[1][0], linear.circular)
        one[:, a[:, None], b, :, p[:, None], q] = kernel[:, :, i, j]
    flat = one.reshape(out * rows * columns, -1)
    return flat if images == 1 else _kron(np.eye(images), flat)


def _taps(outputs: int, inputs: int, offset: int, circular: bool) -> tuple[np.ndarray, np.ndarray]:
    """Outputs a and the inputs a + offset that one tap reads, where it reads any."""
    a = np.arange(outputs)
    p = (a + offset) % inputs if circular else a + offset
    inside = (p >= 0) & (p < inputs)
    return a[inside], p[inside]
