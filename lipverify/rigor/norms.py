"""norm(map): the operator norm of every linear map of :mod:`lipverify.maps`, enclosed by two rationals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import singledispatch

import numpy as np

from lipverify.actions import apply
from lipverify.claims import L2, NormPair
from lipverify.evidence import Rigor
from lipverify.maps import (
    Adjoint,
    Array,
    Convolution,
    Dense,
    Diagonal,
    Enclosure,
    Gather,
    Pad,
    Rearrange,
    Separable,
    Shape,
    size,
)
from lipverify.rigor.convolution import convolution_norm
from lipverify.rigor.dense import dense_norm, orthogonal_square, row_norm, row_square
from lipverify.rigor.enclosure import NormEnclosure
from lipverify.rigor.probe import machine
from lipverify.rigor.reductions import checked, largest_magnitude
from lipverify.rigor.rounding import round_down, round_up, sqrt_down, sqrt_up


def norm(linear_map, norms: NormPair = L2, *, tight: bool = False) -> NormEnclosure:
    """lower <= sup |A x| / |x| <= upper in the given norms, real semantics, for every map within the enclosures.

    Args:
        linear_map: one of the linear maps of :mod:`lipverify.maps`.
        norms: l2 -> l2 or l2 -> linf.
        tight: spend up to a minute on a convolution (see :func:`lipverify.rigor.convolution.convolution_norm`).

    Raises:
        TypeError: for a map without a rule here.
        NotImplementedError: for another pair of norms.
        ValueError: for NaN or infinite weights.

    >>> from lipverify.maps import Rearrange
    >>> norm(Rearrange((2, 3), (6,))).upper
    Fraction(1, 1)
    """
    machine()
    if norms.input != "l2" or norms.output not in ("l2", "linf"):
        raise NotImplementedError(f"norm: {norms} is not covered; ask for l2->l2 or l2->linf")
    if norms.output == "linf":
        return linf_norm(linear_map)
    return _tight(linear_map) if tight else l2_norm(linear_map)


def _tight(linear_map) -> NormEnclosure:
    """The l2 -> l2 norm, with the tight bound of a convolution or of its adjoint."""
    if isinstance(linear_map, Convolution):
        return convolution_norm(linear_map, tight=True)
    if isinstance(linear_map, Adjoint):
        return _of_adjoint(linear_map, _tight(linear_map.of))
    return l2_norm(linear_map)


@singledispatch
def l2_norm(linear_map) -> NormEnclosure:
    """The l2 -> l2 norm of one kind of map."""
    raise TypeError(f"norm: no rule for {type(linear_map).__name__}; linear maps are those of lipverify.maps.LinearMap")


@singledispatch
def linf_norm(linear_map) -> NormEnclosure:
    """The l2 -> linf norm (the largest l2 norm of a row) of one kind of map; at most the l2 -> l2 norm."""
    found = l2_norm(linear_map)
    return NormEnclosure(Fraction(0), found.upper, f"linf <= l2: {found.method}", found.rigor)


def _zero(shape: Shape) -> NormEnclosure:
    return NormEnclosure(Fraction(0), Fraction(0), "no entries", Rigor.EXACT, np.zeros(shape))


def _is_empty(linear_map) -> bool:
    return size(linear_map.input_shape) == 0 or size(linear_map.output_shape) == 0


def _unit(shape: Shape, index: tuple[int, ...] | None = None) -> np.ndarray:
    vector = np.zeros(shape)
    vector[index if index is not None else (0,) * len(shape)] = 1.0
    return vector


def _embedded(found: NormEnclosure, shape: Shape) -> NormEnclosure:
    """The enclosure of a map that acts on the last axis, its vector placed at the first of the leading indices."""
    vector = np.zeros(shape)
    if found.vector is not None:
        vector[(0,) * (len(shape) - 1)] = found.vector
    return NormEnclosure(found.lower, found.upper, found.method, found.rigor, vector)


@l2_norm.register
def _(linear_map: Dense) -> NormEnclosure:
    found = dense_norm(linear_map.weight)
    return _zero(linear_map.input_shape) if _is_empty(linear_map) else _embedded(found, linear_map.input_shape)


@linf_norm.register
def _(linear_map: Dense) -> NormEnclosure:
    found = row_norm(linear_map.weight)
    return _zero(linear_map.input_shape) if _is_empty(linear_map) else _embedded(found, linear_map.input_shape)


@l2_norm.register
def _(linear_map: Convolution) -> NormEnclosure:
    return convolution_norm(linear_map)


@l2_norm.register
def _(linear_map: Adjoint) -> NormEnclosure:
    return _of_adjoint(linear_map, l2_norm(linear_map.of))


def _of_adjoint(linear_map: Adjoint, found: NormEnclosure) -> NormEnclosure:
    vector = None if found.vector is None else apply(linear_map.of, found.vector)
    return NormEnclosure(found.lower, found.upper, f"adjoint of: {found.method}", found.rigor, vector)


@linf_norm.register
def _(linear_map: Adjoint) -> NormEnclosure:
    """Rows of an adjoint are columns; those of a zero-padded convolution hold entries of one input channel."""
    of = linear_map.of
    if isinstance(of, Adjoint):
        return linf_norm(of.of)
    if isinstance(of, Dense) and not _is_empty(of):
        transposed = Dense(_reshaped(of.weight, lambda a: np.ascontiguousarray(a.T)), linear_map.input_shape)
        return linf_norm(transposed)
    if isinstance(of, Convolution) and not _is_empty(of) and (not of.circular or set(_read_twice(of)) == {False}):
        groups, (_, inner, *taps) = of.groups, of.kernel.shape

        def columns(a: np.ndarray) -> np.ndarray:
            return a.reshape(groups, -1, inner, *taps).swapaxes(1, 2).reshape(groups * inner, -1)

        found = row_norm(_reshaped(of.kernel, columns))
        return NormEnclosure(Fraction(0), found.upper, "norm of an input channel's kernel", found.rigor)
    return linf_norm.dispatch(object)(linear_map)


def _read_twice(of: Convolution) -> list[bool]:
    """For each axis, whether circular padding lets one output read an entry twice, or two outputs by the same tap."""
    axes = zip(of.reach, of.input_shape[2:], of.output_shape[2:], of.stride, strict=True)
    return [r >= n or (m - 1) * s >= n for r, n, m, s in axes]


@linf_norm.register
def _(linear_map: Convolution) -> NormEnclosure:
    """A row holds entries of one output channel's kernel, of the channels of its group: some of them, each once.

    Where stride 1 lets one output see the whole kernel inside the image, all of them: then the norm is known both ways.
    """
    if _is_empty(linear_map):
        return _zero(linear_map.input_shape)
    whole = all(r < n for r, n in zip(linear_map.reach, linear_map.input_shape[2:], strict=True))
    if linear_map.circular and not whole:
        return linf_norm.dispatch(object)(linear_map)
    found = row_norm(_reshaped(linear_map.kernel, lambda a: a.reshape(a.shape[0], -1)))
    lower = found.lower if linear_map.circular or (whole and set(linear_map.stride) == {1}) else Fraction(0)
    return NormEnclosure(lower, found.upper, "norm of an output channel's kernel", found.rigor)


def _reshaped(enclosure: Enclosure, reshape: Callable[[np.ndarray], np.ndarray]) -> Enclosure:
    radius = None if enclosure.radius is None else reshape(enclosure.radius)
    return Enclosure(reshape(enclosure.midpoint), radius)


@l2_norm.register
def _(linear_map: Diagonal) -> NormEnclosure:
    factor = checked(linear_map.factor.midpoint, "factor of a diagonal map")
    if _is_empty(linear_map):
        return _zero(linear_map.input_shape)
    largest = largest_magnitude(factor)
    top = int(np.argmax(np.abs(np.broadcast_to(factor, linear_map.input_shape))))
    index = tuple(int(i) for i in np.unravel_index(top, linear_map.input_shape))
    found = NormEnclosure(largest, largest, "largest entry", Rigor.EXACT, _unit(linear_map.input_shape, index))
    if linear_map.factor.radius is None:
        return found
    radius = checked(linear_map.factor.radius, "radius of a diagonal map")
    lower, upper = _largest_entry(np.abs(factor), radius)
    return replace(found, lower=lower, upper=upper, rigor=Rigor.RIGOROUS)


FLUSHED = Fraction(1, 1 << 1020)
"""More than a sum of two floats loses where the processor takes subnormals for zeros."""


def _largest_entry(magnitude: Array, radius: Array) -> tuple[Fraction, Fraction]:
    """max (magnitude - radius), or 0, and max (magnitude + radius), rounded outward; exact where radii are zero."""
    known = radius.view(np.uint64) == 0
    exact, beyond = largest_magnitude(magnitude[known]), magnitude[~known]
    if not beyond.size:
        return exact, exact
    with np.errstate(over="ignore"):
        least = np.nextafter(beyond - radius[~known], -np.inf).clip(0)
        most = checked(np.nextafter(beyond + radius[~known], np.inf), "entry of a diagonal map")
    lower, upper = largest_magnitude(least) - FLUSHED, largest_magnitude(most) + FLUSHED
    return max(exact, round_down(lower)), max(exact, round_up(upper))


@linf_norm.register
def _(linear_map: Diagonal) -> NormEnclosure:
    return l2_norm(linear_map)


@l2_norm.register
def _(linear_map: Separable) -> NormEnclosure:
    """The norm of a Kronecker product is the product of the norms; squares are multiplied where they are known exactly."""
    return _kronecker(linear_map, orthogonal_square, dense_norm, "product over the axes")


@linf_norm.register
def _(linear_map: Separable) -> NormEnclosure:
    """Rows of a Kronecker product are Kronecker products of rows."""

    def square(w: Array) -> tuple[Fraction, Array] | None:
        largest = row_square(w)
        return None if largest is None else (largest, w[np.argmax((w * w).sum(1))])

    return _kronecker(linear_map, square, row_norm, "product of row norms")


def _kronecker(
    linear_map: Separable,
    square_of: Callable[[Array], tuple[Fraction, Array] | None],
    norm_of: Callable[[Enclosure], NormEnclosure],
    method: str,
) -> NormEnclosure:
    if _is_empty(linear_map):
        return _zero(linear_map.input_shape)
    square, lower, upper, rigor = linear_map.scale**2, Fraction(1), Fraction(1), Rigor.EXACT
    vector = np.ones((1,) * len(linear_map.input_shape))
    for axis, factor in linear_map.factors:
        exact = None if factor.radius is not None else square_of(checked(factor.midpoint, "factor of a separable map"))
        if exact is None:
            found = norm_of(factor)
            lower, upper = lower * found.lower, upper * found.upper
            rigor = found.rigor if rigor is Rigor.EXACT else rigor
            along = found.vector if found.vector is not None else _unit((factor.shape[1],))
        else:
            square, along = square * exact[0], exact[1]
        vector = vector * along.reshape([-1 if a == axis else 1 for a in range(vector.ndim)])
    whole = np.zeros(linear_map.input_shape)
    whole[tuple(slice(n) for n in vector.shape)] = vector
    return NormEnclosure(sqrt_down(square) * lower, sqrt_up(square) * upper, method, rigor, whole)


@l2_norm.register
def _(linear_map: Gather) -> NormEnclosure:
    """A^T A is diagonal with the number of copies of each entry."""
    copies = np.bincount(linear_map.index.reshape(-1) + 1, minlength=size(linear_map.input_shape) + 1)[1:]
    if _is_empty(linear_map) or not copies.any():
        return _zero(linear_map.input_shape)
    square = Fraction(int(copies.max()))
    top = np.unravel_index(int(copies.argmax()), linear_map.input_shape)
    vector = _unit(linear_map.input_shape, tuple(int(i) for i in top))
    return NormEnclosure(sqrt_down(square), sqrt_up(square), "multiplicity of copies", Rigor.EXACT, vector)


@linf_norm.register
def _(linear_map: Gather) -> NormEnclosure:
    found = l2_norm(linear_map)
    return found if not found.upper else replace(found, lower=Fraction(1), upper=Fraction(1))


def _one(shape: Shape, method: str) -> NormEnclosure:
    return NormEnclosure(Fraction(1), Fraction(1), method, Rigor.EXACT, _unit(shape))


@l2_norm.register
def _(linear_map: Rearrange) -> NormEnclosure:
    return _zero(linear_map.input_shape) if _is_empty(linear_map) else _one(linear_map.input_shape, "permutation")


@linf_norm.register
def _(linear_map: Rearrange) -> NormEnclosure:
    return l2_norm(linear_map)


@l2_norm.register
def _(linear_map: Pad) -> NormEnclosure:
    """A^T A is diagonal with the number of copies of each entry: a product over the axes."""
    if any(min(pair) < 0 for pair in linear_map.pads):
        raise ValueError(f"pad: negative pads {linear_map.pads} would crop; lower them as a slice")
    if _is_empty(linear_map):
        return _zero(linear_map.input_shape)
    if not linear_map.circular:
        return _one(linear_map.input_shape, "zero padding")
    copies, index = 1, []
    for n, (before, after) in zip(linear_map.input_shape, linear_map.pads, strict=True):
        counts = np.bincount((np.arange(n + before + after) - before) % n, minlength=n)
        copies *= int(counts.max())
        index.append(int(counts.argmax()))
    square = Fraction(copies)
    vector = _unit(linear_map.input_shape, tuple(index))
    return NormEnclosure(sqrt_down(square), sqrt_up(square), "multiplicity of copies", Rigor.EXACT, vector)


@linf_norm.register
def _(linear_map: Pad) -> NormEnclosure:
    if _is_empty(linear_map):
        return l2_norm(linear_map)
    return _one(linear_map.input_shape, "every output is a copy of one input, or zero")
