"""The CPL rule: residual blocks through a tensor and its own adjoint, with a weight on every channel between them.

For f(x) = x + c A^T D sigma(A x + b) with slopes of sigma in [alpha, beta], D diagonal and >= 0 (the identity where there
is none), and s >= ||D^{1/2} A||^2,

    L(f) <= max(|1 + lo|, |1 + hi|),    [lo, hi] = hull{0, c alpha s, c beta s}.

Proof: f(x) - f(y) = (I + c A^T D S A)(x - y) with S diagonal, entries in [alpha, beta]. A^T D S A is symmetric, as D and S
commute, and v^T A^T D S A v = sum_i s_i d_i (A v)_i^2 lies between alpha and beta times |D^{1/2} A v|^2 <= s |v|^2.
With c = -h, D = I and slopes in [0, 1] this is max(1, h ||A||^2 - 1) (Meunier, Delattre, Araujo, Allauzen 2022); with c = -2
and D = T^{-1} it is the SDP-based layer (Araujo, Havens, Delattre, Allauzen, Hu 2023): 1 where A^T T^{-1} A <= I. Direction:
an upper bound. It needs both uses of A to be the same numbers, checked bit for bit; of D only upper ends matter, because
A^T D A grows with D.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from lipverify.graph import LayerGraph, Node
from lipverify.graph.intervals import NotFoldable, enclose, exactly, interval
from lipverify.maps import (
    Adjoint,
    Affine,
    Convolution,
    Dense,
    Diagonal,
    Enclosure,
    LinearMap,
    Pointwise,
    Rearrange,
    Sum,
)


@dataclass(frozen=True, slots=True, eq=False)
class ResidualBlock:
    """x -> x + c A^T D sigma(A x + b) + b', with c between ``low`` and ``high``.

    Attributes:
        input: name of x.
        map: B with A^T D A <= B^T B: A itself where D is the identity. Any number that D may be is covered, and a common
            factor of D is left to c.
        low, high: ends of c.
        slopes: of sigma.
    """

    input: str
    map: LinearMap
    low: Fraction
    high: Fraction
    slopes: tuple[Fraction, Fraction]

    def constant(self, square: Fraction) -> Fraction:
        """The bound of rule ``cpl`` for s = ``square`` >= ||B||^2."""
        ends = [Fraction(0)] + [c * slope * square for c in (self.low, self.high) for slope in self.slopes]
        return max(abs(1 + min(ends)), abs(1 + max(ends)))


Weighted = MutableMapping[Diagonal, tuple[LinearMap, "tuple[Fraction, LinearMap] | None"]]
"""D -> the A before it, and what :func:`weighted` makes of the two."""


def residual_block(graph: LayerGraph, node: Node, known: Weighted | None = None) -> ResidualBlock | None:
    """The block that ends in the sum ``node``, if it is one.

    Args:
        known: weighted maps already made, so that several regions share them (and with them their norms); filled here.
    """
    for skip, branch in ((0, 1), (1, 0)):
        if isinstance(node.map, Sum) and len(node.inputs) == 2 and node.map.signs[skip] == 1:
            sign = Fraction(node.map.signs[branch])
            block = _branch(graph, node.inputs[skip], node.inputs[branch], sign, {} if known is None else known)
            if block is not None:
                return block
    return None


def _branch(graph: LayerGraph, start: str, end: str, sign: Fraction, known: Weighted) -> ResidualBlock | None:
    """c A^T D sigma(A . + b) from the value ``start`` to the value ``end``, read backwards."""
    low = high = sign
    maps, weights, name = [], None, end
    while name != start:
        node = graph.nodes.get(name)
        if node is None or len(node.inputs) != 1 or len(maps) == 3:
            return None
        match node.map:
            case Affine(linear=Rearrange(input_shape=shape, output_shape=same, axes=None)) if shape == same:
                pass  # a shift: another b, or another b'
            case Affine(linear=Diagonal()) if len(maps) == 2:
                return None  # scaled between A and sigma: another function
            case Affine(linear=Diagonal(factor=factor)) if factor.midpoint.size == 1:
                low, high = _hull(low, high, *_ends(factor))
            case Affine(linear=Diagonal() as diagonal) if len(maps) == 1 and weights is None:
                weights = diagonal
            case Affine() | Pointwise():
                maps.append(node.map)
            case _:
                return None
        name = node.inputs[0]
    match maps:
        case [Affine(linear=outer), Pointwise(slopes=slopes), Affine(linear=inner)] if is_adjoint(outer, inner):
            if weights is None:
                return ResidualBlock(start, inner, low, high, slopes)
            before, both = known.get(weights, (None, None))
            if before is not inner:
                both = weighted(inner, weights.factor)
                known[weights] = inner, both
            return None if both is None else ResidualBlock(start, both[1], *_hull(low, high, both[0], both[0]), slopes)
    return None


def weighted(a: LinearMap, d: Enclosure) -> tuple[Fraction, LinearMap] | None:
    """m and B with A^T D A <= m B^T B for every D >= 0 within the enclosure; with m and D negative where D <= 0.

    With m the largest entry, B has the rows of A times the roots of d / m, each root and each product enclosed; where d is
    the same everywhere B is A. Within a channel of a convolution the largest entry counts.

    Args:
        a: A, dense or a convolution.
        d: the diagonal D, of a shape that broadcasts to the output of A.

    Returns:
        None where D may have entries of both signs, or A is of another kind.
    """
    size = np.abs(d.midpoint)
    radius = np.zeros(d.shape) if d.radius is None else d.radius
    if not (np.all(size == d.midpoint) or np.all(size == -d.midpoint)) or np.any(size < radius):
        return None
    sign = -1 if np.any(d.midpoint < 0) else 1
    high = np.where(radius == 0, size, interval(Enclosure(size, radius)).high)
    axis = len(a.output_shape) - 1 if isinstance(a, Dense) else 1
    others = tuple(i for i in range(len(a.output_shape)) if i != axis)
    most = np.broadcast_to(high, a.output_shape).max(axis=others, initial=0.0)
    largest = Fraction(float(most.max(initial=0.0)))
    if not largest or np.all(most == most[0]):
        return sign * largest, a
    try:
        with np.errstate(all="ignore"):
            roots = exactly((exactly(most) / exactly(most.max(keepdims=True))).high).sqrt().high
            match a:
                case Dense(weight=w):
                    return sign * largest, replace(a, weight=_rows(w, roots))
                case Convolution(kernel=w):
                    return sign * largest, replace(a, kernel=_rows(w, roots))
    except NotFoldable:  # numbers at the end of the range of float64
        return None
    return None


def _rows(weight: Enclosure, roots: np.ndarray) -> Enclosure:
    return enclose(interval(weight) * exactly(roots.reshape(-1, *[1] * (weight.midpoint.ndim - 1))))


def is_adjoint(outer: LinearMap, inner: LinearMap) -> bool:
    """Whether ``outer`` is the adjoint of ``inner``, by their numbers bit for bit; no is the answer in doubt."""
    match outer, inner:
        case Dense(weight=a), Dense(weight=b):
            return _same(a, b, np.transpose)
        case Adjoint(of=Convolution() as a), Convolution() as b:
            return _geometry(a) == _geometry(b) and _same(a.kernel, b.kernel, np.asarray)
        case Convolution(groups=1) as a, Convolution(groups=1) as b if (
            set(_geometry(a)[3:]) == set(_geometry(b)[3:]) == {1}
        ):
            pads = tuple(
                (k - 1 - left, k - 1 - right) for (left, right), k in zip(b.pads, b.kernel.shape[2:], strict=True)
            )
            keeps = not b.circular or b.output_shape[2:] == b.input_shape[2:]
            shapes = (a.input_shape, a.output_shape) == (b.output_shape, b.input_shape)
            return (
                shapes and keeps and (a.pads, a.circular) == (pads, b.circular) and _same(a.kernel, b.kernel, _flipped)
            )
    return False


def _geometry(a: Convolution) -> tuple:
    return (a.input_shape, a.pads, a.circular, *a.stride, *a.dilation, a.groups)


def _flipped(kernel: np.ndarray) -> np.ndarray:
    return np.flip(kernel.swapaxes(0, 1), tuple(range(2, kernel.ndim)))


def _same(a: Enclosure, b: Enclosure, change) -> bool:
    return a.radius is None and b.radius is None and np.array_equal(a.midpoint, change(b.midpoint))


def _hull(low: Fraction, high: Fraction, first: Fraction, last: Fraction) -> tuple[Fraction, Fraction]:
    """The ends of [low, high] [first, last]."""
    products = [p * q for p in (low, high) for q in (first, last)]
    return min(products), max(products)


def _ends(factor: Enclosure) -> tuple[Fraction, Fraction]:
    middle = Fraction(float(factor.midpoint.reshape(-1)[0]))
    radius = Fraction(0) if factor.radius is None else Fraction(float(factor.radius.reshape(-1)[0]))
    return middle - radius, middle + radius
