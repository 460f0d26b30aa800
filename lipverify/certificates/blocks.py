"""Residual blocks x + c A^T sigma(A x + b) among the nodes of a graph in which nothing is merged yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from lipverify.certificates.graph import stated_slopes
from lipverify.certificates.operators import Operator, Operators
from lipverify.certificates.squares import WIDENED
from lipverify.graph import Node
from lipverify.graph.intervals import interval
from lipverify.maps import Affine, Diagonal, Enclosure, LinearMap, Pointwise, Rearrange, Sum
from lipverify.verifiers.residual import ResidualBlock, is_adjoint


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A block that ends in a sum.

    Attributes:
        rule: what the square of the norm of A says of it; c, the slopes and the input are in it.
        inner: A.
    """

    rule: ResidualBlock
    inner: Operator

    def reached(self) -> Fraction | None:
        """The largest square of the norm for which the constant of the block is 1; None where there is none.

        With every c slope in [-m, 0] it is 2 / m.
        """
        products = [c * slope for c in (self.rule.low, self.rule.high) for slope in self.rule.slopes]
        least = min(products)
        return None if max(products) > 0 or not least else -2 / least


def block_to(nodes: Mapping[str, Node], operators: Operators, value: str, start: str) -> Block | None:
    """The block that ends in the node ``value``, if it is one; no value before ``start`` is looked at."""
    node = nodes[value]
    if not isinstance(node.map, Sum) or len(node.inputs) != 2:
        return None
    for skip, branch in ((0, 1), (1, 0)):
        if node.map.signs[skip] == 1:
            sign = Fraction(node.map.signs[branch])
            found = _branch(nodes, operators, node.inputs[skip], node.inputs[branch], sign, start)
            if found is not None:
                return found
    return None


def _branch(
    nodes: Mapping[str, Node], operators: Operators, skip: str, end: str, sign: Fraction, start: str
) -> Block | None:
    """c A^T sigma(A . + b) from the value ``skip`` to the value ``end``, read backwards."""
    low = high = sign
    outer: LinearMap | None = None
    sigma: Pointwise | None = None
    name = end
    while name != start and name in nodes and len(nodes[name].inputs) == 1:
        node = nodes[name]
        match node.map:
            case Affine(linear=Rearrange(input_shape=shape, output_shape=same, axes=None)) if shape == same:
                name = node.inputs[0]  # a shift: another b, or one that changes no distance
            case Affine(linear=Diagonal(factor=factor)) if factor.midpoint.size == 1 and sigma is None:
                low, high = _times(low, high, factor)
                name = node.inputs[0]
            case Pointwise() if outer is not None and sigma is None:
                sigma, name = node.map, node.inputs[0]
            case Affine() if outer is None:
                found = operators.to(name, start)
                outer, name = found.map, found.input
            case Affine() if sigma is not None and outer is not None:
                inner = operators.to(name, skip)
                if inner.input != skip or not is_adjoint(outer, inner.map):
                    return None
                return Block(ResidualBlock(skip, inner.map, low, high, stated_slopes(sigma.slopes)), inner)
            case _:
                return None
    return None


def _times(low: Fraction, high: Fraction, factor: Enclosure) -> tuple[Fraction, Fraction]:
    """The ends of [low, high] times the factor, a little wider where it is not exact: a checker encloses it again."""
    ends = [Fraction(float(end.reshape(-1)[0])) for end in interval(factor)]
    products = [p * q for p in (low, high) for q in ends]
    if factor.radius is not None:
        products += [p * WIDENED for p in products]
    return min(products), max(products)
