"""The CPL rule: residual blocks through a tensor and its own adjoint.

For f(x) = x + c A^T sigma(A x + b) with slopes of sigma in [alpha, beta] and s >= ||A||^2,

    L(f) <= max(|1 + lo|, |1 + hi|),    [lo, hi] = hull{0, c alpha s, c beta s}.

Proof: f(x) - f(y) = (I + c A^T D A)(x - y) with D diagonal, entries in [alpha, beta], and the symmetric matrix c A^T D A
has its eigenvalues in [lo, hi]. With c = -h and slopes in [0, 1] this is max(1, h ||A||^2 - 1) (Meunier, Delattre,
Araujo, Allauzen 2022). Direction: an upper bound. It needs both uses of A to be the same numbers, checked bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from lipverify.graph import LayerGraph, Node
from lipverify.maps import Adjoint, Affine, Convolution, Dense, Diagonal, Enclosure, LinearMap, Pointwise, Sum


@dataclass(frozen=True, slots=True, eq=False)
class ResidualBlock:
    """x -> x + c A^T sigma(A x + b) + b', with c between ``low`` and ``high``.

    Attributes:
        input: name of x.
        map: A.
        low, high: ends of c.
        slopes: of sigma.
    """

    input: str
    map: LinearMap
    low: Fraction
    high: Fraction
    slopes: tuple[Fraction, Fraction]

    def constant(self, square: Fraction) -> Fraction:
        """The bound of rule ``cpl`` for s = ``square`` >= ||A||^2."""
        ends = [Fraction(0)] + [c * slope * square for c in (self.low, self.high) for slope in self.slopes]
        return max(abs(1 + min(ends)), abs(1 + max(ends)))


def residual_block(graph: LayerGraph, node: Node) -> ResidualBlock | None:
    """The block that ends in the sum ``node``, if it is one."""
    for skip, branch in ((0, 1), (1, 0)):
        if isinstance(node.map, Sum) and len(node.inputs) == 2 and node.map.signs[skip] == 1:
            block = _branch(graph, node.inputs[skip], node.inputs[branch], Fraction(node.map.signs[branch]))
            if block is not None:
                return block
    return None


def _branch(graph: LayerGraph, start: str, end: str, sign: Fraction) -> ResidualBlock | None:
    """c A^T sigma(A . + b) from the value ``start`` to the value ``end``, read backwards."""
    low = high = sign
    maps, name = [], end
    while name != start:
        node = graph.nodes.get(name)
        if node is None or len(node.inputs) != 1 or len(maps) == 3:
            return None
        match node.map:
            case Affine(linear=Diagonal(factor=factor)) if factor.midpoint.size == 1:
                if len(maps) == 2:
                    return None  # scaled between A and sigma: another function
                ends = [c * f for c in (low, high) for f in _ends(factor)]
                low, high = min(ends), max(ends)
            case Affine() | Pointwise():
                maps.append(node.map)
            case _:
                return None
        name = node.inputs[0]
    match maps:
        case [Affine(linear=outer), Pointwise(slopes=slopes), Affine(linear=inner)] if is_adjoint(outer, inner):
            return ResidualBlock(start, inner, low, high, slopes)
    return None


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


def _ends(factor: Enclosure) -> tuple[Fraction, Fraction]:
    middle = Fraction(float(factor.midpoint.reshape(-1)[0]))
    radius = Fraction(0) if factor.radius is None else Fraction(float(factor.radius.reshape(-1)[0]))
    return middle - radius, middle + radius
