"""A region as affine forms in its input and its neurons: what the LMI is made of.

Every difference of two evaluations of a region is a linear form in (x, w_1, ..., w_K), where x is the difference of the
inputs and w_k that of the k-th pointwise layer, rewritten to slopes in [0, 1]: for sigma with slopes in [alpha, beta],

    sigma(z) - sigma(z') = alpha (z - z') + (beta - alpha) w,    w = d (z - z'),   d diagonal with entries in [0, 1].

Biases cancel. Forms carry a power of two, so that their entries stay near 1 whatever the scale of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from lipverify.graph import LayerGraph
from lipverify.maps import Affine, Array, LinearMap, Opaque, Pointwise, Sum, size
from lipverify.rigor.ball import BallMatrix
from lipverify.rigor.matrices import matrix
from lipverify.rigor.rounding import float_up


class NotExpressible(ValueError):
    """A region that has no affine forms here; the message is the reason, for people."""


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """2^exponent sum_v blocks[v] v over variables v: 0 is the input, k >= 1 the k-th pointwise layer.

    Attributes:
        blocks: variable -> (rows, size of the variable); absent blocks are zero.
        rows: number of rows.
        exponent: of the common factor.
    """

    blocks: Mapping[int, BallMatrix]
    rows: int
    exponent: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Forms:
    """A region's forms: w_k = d_k (argument k) entrywise, output = ``output``.

    Attributes:
        sizes: entries of the input, then of every w_k.
        arguments: the forms of z_1, ..., z_K, divided by 2^exponent of w_k: w_k / 2^e_k = d_k (z_k / 2^e_k).
        exponents: 0 for the input, then e_k. Blocks are coefficients of the scaled variables w_k / 2^e_k.
        output: the form of the output.
    """

    sizes: tuple[int, ...]
    arguments: tuple[Form, ...]
    exponents: tuple[int, ...]
    output: Form

    @property
    def neurons(self) -> int:
        return sum(self.sizes[1:])


def count(graph: LayerGraph) -> tuple[int, int, int]:
    """Input entries, pointwise entries, and the largest number of entries of any value of a graph."""
    inputs = size(graph.input_shape)
    neurons = sum(size(node.map.shape) for node in graph.nodes.values() if isinstance(node.map, Pointwise))
    return inputs, neurons, max([inputs, *(size(node.map.output_shape) for node in graph.nodes.values())])


def forms(graph: LayerGraph) -> Forms:
    """The affine forms of a graph; exact where only copies and powers of two occur, else enclosures.

    Raises:
        NotExpressible: at an operation that has no linear form or no finite slopes; names it.
    """
    values = {graph.input: Form({0: BallMatrix.exact(np.eye(size(graph.input_shape)))}, size(graph.input_shape))}
    sizes, arguments, exponents = [size(graph.input_shape)], [], [0]
    for node in graph.nodes.values():
        reads = [values[name] for name in node.inputs]
        match node.map:
            case Affine():
                values[node.name] = _normalised(_apply(_matrix_of(node.map.linear, node.name), reads[0]))
            case Sum():
                values[node.name] = _normalised(_sum(reads, node.map.signs))
            case Pointwise():
                argument = _normalised(reads[0])
                low, width = _slopes(node.map, node.name)
                live = np.flatnonzero(_nonzero_rows(argument))
                values[node.name] = _scale(argument, low)
                if width and len(live):
                    variable, rows = len(sizes), np.zeros((argument.rows, len(live)))
                    rows[live, np.arange(len(live))] = 1.0
                    own = Form({variable: BallMatrix.exact(rows)}, argument.rows, argument.exponent)
                    values[node.name] = _normalised(_sum([values[node.name], _scale(own, width)], (1, 1)))
                    arguments.append(_rows(argument, live))
                    sizes.append(len(live))
                    exponents.append(argument.exponent)
            case Opaque():
                raise NotExpressible(f"{node.name}: {node.map.operation}: {node.map.reason}")
            case other:
                raise NotExpressible(f"{node.name}: {type(other).__name__} has no affine form")
    return Forms(tuple(sizes), tuple(arguments), tuple(exponents), _normalised(values[graph.output]))


def _matrix_of(linear: LinearMap, name: str) -> BallMatrix:
    try:
        return matrix(linear)
    except TypeError as error:
        raise NotExpressible(f"{name}: {error}") from None


def _slopes(activation: Pointwise, name: str) -> tuple[Fraction, Fraction]:
    low, high = activation.slopes
    if not (isinstance(low, Fraction | int) and isinstance(high, Fraction | int) and low <= high):
        raise NotExpressible(f"{name}: {activation.name} has no finite slope interval ({low}, {high})")
    return Fraction(low), Fraction(high) - Fraction(low)


def _bits(array: Array) -> np.ndarray:
    """Where entries are not zero; by their bits, since a subnormal may compare equal to zero."""
    return (np.ascontiguousarray(array).view(np.int64) << 1) != 0


def nonzero(ball: BallMatrix) -> np.ndarray:
    return _bits(ball.midpoint) | _bits(ball.radius)


def _nonzero_rows(form: Form) -> np.ndarray:
    return np.any([np.zeros(form.rows, bool), *(nonzero(b).any(1) for b in form.blocks.values())], axis=0)


def _rows(form: Form, rows: np.ndarray) -> Form:
    blocks = {v: BallMatrix(b.midpoint[rows], b.radius[rows]) for v, b in form.blocks.items()}
    return Form(blocks, len(rows), form.exponent)


def product(left: BallMatrix, right: BallMatrix) -> BallMatrix:
    """left right; exact where every entry is one product by a power of two (selections, signs, identities)."""
    for one, other, axis in ((left, right, 1), (right, left, 0)):
        entries = one.midpoint[_bits(one.midpoint)]
        single = (_bits(one.midpoint).sum(axis) <= 1).all() and not _bits(one.radius).any()
        if (
            single
            and (np.abs(np.frexp(entries)[0]) == 0.5).all()
            and _moderate(one.midpoint)
            and _moderate(other.midpoint)
        ):
            magnitude, radius = np.abs(one.midpoint), _floored(other.radius)
            radius = magnitude @ radius if one is left else radius @ magnitude
            return BallMatrix(left.midpoint @ right.midpoint, radius)
    return left @ right


def _moderate(array: Array) -> bool:
    """Nonzero entries lie within 2^+-400: no product of two such numbers under- or overflows."""
    magnitudes = np.abs(array[_bits(array)])
    return bool(((magnitudes > 2.0**-400) & (magnitudes < 2.0**400)).all())


def _floored(radius: Array) -> Array:
    """Radii that are nonzero raised to 2^-400, so that no scaling in these ranges loses them."""
    return np.where(_bits(radius), np.maximum(radius, 2.0**-400), 0.0)


def add(left: BallMatrix, right: BallMatrix) -> BallMatrix:
    """left + right; exact in the entries where one of them is zero or where they cancel bit for bit."""
    total = left + right
    known = ~_bits(left.radius) & ~_bits(right.radius)
    alone = ~nonzero(left) | ~nonzero(right)
    cancel = known & _same_bits(left.midpoint, -right.midpoint)
    return BallMatrix(
        np.where(cancel, 0.0, total.midpoint),
        np.where(cancel, 0.0, np.where(alone, np.maximum(left.radius, right.radius), total.radius)),
    )


def _same_bits(a: Array, b: Array) -> np.ndarray:
    return np.ascontiguousarray(a).view(np.int64) == np.ascontiguousarray(b).view(np.int64)


def _apply(linear: BallMatrix, form: Form) -> Form:
    unit, exponent = _unit(linear)
    blocks = {v: product(unit, b) for v, b in form.blocks.items()}
    return Form(blocks, linear.shape[0], form.exponent + exponent)


def _sum(terms: list[Form], signs: tuple[int, ...]) -> Form:
    blocks: dict[int, BallMatrix] = {}
    exponent = max((t.exponent for t in terms if t.blocks), default=0)
    for term, sign in zip(terms, signs, strict=True):
        for v, block in _shifted(term, exponent).blocks.items():
            signed = block if sign > 0 else -block
            blocks[v] = add(blocks[v], signed) if v in blocks else signed
    return Form(blocks, terms[0].rows, exponent)


def _scale(form: Form, factor: Fraction) -> Form:
    if not factor:
        return Form({}, form.rows)
    middle = float(factor)
    radius = float_up(abs(Fraction(middle) - factor))
    scalar = BallMatrix(np.full((1, 1), middle), np.full((1, 1), radius))
    unit, exponent = _unit(scalar)
    diagonal = BallMatrix(unit.midpoint * np.eye(form.rows), unit.radius * np.eye(form.rows))
    return Form({v: product(diagonal, b) for v, b in form.blocks.items()}, form.rows, form.exponent + exponent)


def _unit(ball: BallMatrix) -> tuple[BallMatrix, int]:
    """(B, e) with ball = 2^e B and the largest magnitude of B in [1/2, 1)."""
    largest = float(np.abs(ball.midpoint).max(initial=0.0))
    if not largest:
        return ball, 0
    exponent = int(np.frexp(largest)[1])
    return _ldexp(ball, -exponent), exponent


def _ldexp(ball: BallMatrix, exponent: int) -> BallMatrix:
    """2^exponent ball; what underflow changes goes into the radius."""
    if not exponent:
        return ball
    with np.errstate(all="ignore"):
        midpoint, radius = np.ldexp(ball.midpoint, exponent), np.ldexp(ball.radius, exponent)
    # Scaling by a power of two is exact but for underflow, which stays below 2^-400 whatever the machine flushes.
    lost = _bits(ball.midpoint) & (np.abs(midpoint) < 2.0**-400)
    radius = np.where(_bits(ball.radius), np.maximum(radius, 2.0**-400), 0.0)
    return BallMatrix(np.where(lost, 0.0, midpoint), np.where(lost, np.nextafter(radius + 2.0**-400, np.inf), radius))


def _shifted(form: Form, exponent: int) -> Form:
    """The same form with a larger exponent."""
    return Form({v: _ldexp(b, form.exponent - exponent) for v, b in form.blocks.items()}, form.rows, exponent)


def _normalised(form: Form) -> Form:
    """The same form with its largest entry in [1/2, 1)."""
    largest = max((float(np.abs(b.midpoint).max(initial=0.0)) for b in form.blocks.values()), default=0.0)
    if not largest:
        return form
    shift = int(np.frexp(largest)[1])
    blocks = {v: _ldexp(b, -shift) for v, b in form.blocks.items()}
    return Form(blocks, form.rows, form.exponent + shift)
