"""Linear maps as dense matrices, enclosed: copies are exact, every other entry has a radius."""

from __future__ import annotations

from fractions import Fraction
from functools import singledispatch

import numpy as np

from lipverify.actions import apply
from lipverify.maps import Adjoint, Array, Convolution, Dense, Diagonal, Gather, Pad, Rearrange, Separable, size
from lipverify.rigor.ball import BallMatrix
from lipverify.rigor.polyphase import planar
from lipverify.rigor.rounding import float_up
from lipverify.rigor.unrolled import unrolled


@singledispatch
def matrix(linear) -> BallMatrix:
    """The matrix (size of the output, size of the input) of a linear map between flattened arrays.

    Holds the matrix of every map of the enclosure. Exact where the map is exact and its scale is a float64.

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
    try:
        flat = planar(linear)
    except NotImplementedError as error:
        raise TypeError(str(error)) from None

    def placed(kernel: Array) -> Array:
        groups = unrolled(kernel, flat)
        count, rows, columns = groups.shape
        images = linear.input_shape[0]
        blocks = np.zeros((images, count, rows, images, count, columns))
        for image, group in np.ndindex(images, count):
            blocks[image, group, :, image, group] = groups[group]
        return blocks.reshape(images * count * rows, -1)

    kernel = flat.kernel
    midpoint = placed(kernel.midpoint)
    return BallMatrix.exact(midpoint) if kernel.radius is None else BallMatrix(midpoint, placed(kernel.radius))


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
