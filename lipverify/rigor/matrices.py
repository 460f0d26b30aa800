"""Linear maps as dense matrices, enclosed: copies are exact, every other entry has a radius."""

from __future__ import annotations

from fractions import Fraction
from functools import singledispatch

import numpy as np

from lipverify.actions import apply
from lipverify.maps import Adjoint, Array, Convolution, Dense, Diagonal, Gather, Pad, Rearrange, Separable, size
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
def _(linear: Separable) -> BallMatrix:
    scale = BallMatrix.exact(np.array([[float(linear.scale)]]))
    if Fraction(float(linear.scale)) != linear.scale:
        scale = BallMatrix(scale.midpoint, np.array([[float_up(abs(Fraction(float(linear.scale)) - linear.scale))]]))
    factors = {axis: BallMatrix.of(factor) for axis, factor in linear.factors}
    total = scale
    for axis, n in enumerate(linear.input_shape):
        total = _kron_balls(total, factors.get(axis, BallMatrix.exact(np.eye(n))))
    return total


@matrix.register(Rearrange)
@matrix.register(Gather)
@matrix.register(Pad)
def _(linear: Rearrange | Gather | Pad) -> BallMatrix:
    n = size(linear.input_shape)
    source = apply(linear, np.arange(1.0, n + 1).reshape(linear.input_shape)).reshape(-1).astype(np.int64)
    return BallMatrix.exact(np.concatenate((np.zeros((1, n)), np.eye(n)))[source])


def _kron(left: Array, right: Array) -> Array:
    return np.asarray(np.kron(left, right), dtype=np.float64)


def _kron_balls(left: BallMatrix, right: BallMatrix) -> BallMatrix:
    """Kronecker products of all members; exact where the entries of one factor are 0, 1 and -1."""
    midpoint = _kron(left.midpoint, right.midpoint)
    signs = any(np.isin(ball.midpoint, (-1.0, 0.0, 1.0)).all() and not ball.radius.any() for ball in (left, right))
    radius = _kron(np.abs(left.midpoint), right.radius) + _kron(left.radius, np.abs(right.midpoint) + right.radius)
    if not signs:
        radius = radius + np.abs(midpoint) * 2.0**-52 + 2.0**-1000
    # Each entry is a sum of products of at most four factors, rounded fewer than eight times.
    return BallMatrix(midpoint, np.where(radius > 0, radius * (1 + 2.0**-48) + 2.0**-1000, 0.0))


def _placed(kernel: Array, linear: Convolution) -> Array:
    """The kernel's entries at their places.

    Raises:
        TypeError: where circular padding makes two taps meet in one entry (their sum would round).
    """
    form = (linear.stride, linear.dilation, linear.groups)
    if form != ((1, 1), (1, 1), 1):
        raise TypeError(f"no matrix is defined for a Convolution with stride, dilation, groups {form}")
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
