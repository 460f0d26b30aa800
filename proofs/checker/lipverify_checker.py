"""Check a certificate of Lipschitz bounds: one file, the standard library alone, no code of the program that wrote it.

    python lipverify_checker.py CERTIFICATE.json WEIGHTS.safetensors

A certificate states, of a network given as a graph of maps and by the digests of its weights, upper bounds of the Lipschitz
constants of its layers and of the whole, with the rule of every step. Everything stated is derived here again:

1. Documents: strict JSON, and what may stand in it.
2. Numbers: the weights, read by hand; folded weights, in intervals rounded outward.
3. Norms of matrices: an integer matrix is shown to be positive semidefinite by an integer factor and a diagonally dominant
   remainder. Floating point only guesses; what it guesses is checked in integers.
4. Norms of convolutions: the same of their whole matrix, or of their blocks at the frequencies of a torus.
5. The graph, every shape derived; 6. the operator of one or two nodes, and the rule of its norm.
7. Steps from norms to constants, in rationals; 8. witnesses of lower bounds and margins, in integers.
9. The whole certificate, its outcome, and the command line.

What is taken on trust is printed: above all that the graph is the model's program. A rule that is not known here is
UNCHECKED, never silence. python-flint, where it is installed, multiplies the integers faster.

Python 3.10 or later. The format: docs/certificates.md of the project. Mathematics: the docstrings below.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import itertools
import json
import math
import operator
import os
import re
import struct
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod

if sys.version_info < (3, 10):  # noqa: UP036 - a stranger may run it with an older one
    sys.stderr.write("lipverify_checker.py needs Python 3.10 or later\n")
    sys.exit(2)

# ---- Documents: JSON that is strict, bounded and free of binary floating point --------------------------------------


class Refused(Exception):
    """A file or a statement that cannot be read."""


class TooLarge(Refused):
    """More than this checker is willing to compute."""


class Disproved(Exception):
    """A statement that is not shown to hold."""


class Unchecked(Exception):
    """A rule that is not known here."""


SCHEMA = "lipverify-certificate/1"
RENEW = "write it again: lipverify audit MODEL --certificate FILE"
MAX_CERTIFICATE = 1 << 28
MAX_DEPTH = 64
MAX_ENTRIES = 1 << 24
INLINE = 256
_DECIMAL = re.compile(r"\+?(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,4}))?", re.ASCII)
_RATIO = re.compile(r"(\d{1,40})/(\d{1,40})", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


def read_json(data):
    """The value of a JSON text whose only numbers are integers of at most 400 digits, no key twice in an object.

    Raises:
        Refused: for anything else, or where it is too long or nested too deeply.
    """

    def unique(pairs):
        value = dict(pairs)
        if len(value) != len(pairs):
            raise Refused("a key appears twice in one object")
        return value

    def integer(text):
        if len(text) > 400 or text == "-0":
            raise Refused(f"the number {text[:30]} is no integer of at most 400 digits")
        return int(text)

    def no_number(text):
        raise Refused(f"{text[:30]} is no integer; bounds are written as hexadecimal text")

    if len(data) > MAX_CERTIFICATE:
        raise TooLarge(f"it is {len(data)} bytes long, over the limit of {MAX_CERTIFICATE}")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=unique,
            parse_int=integer,
            parse_float=no_number,
            parse_constant=no_number,
        )
    except (ValueError, RecursionError) as error:
        raise Refused(f"it is no JSON: {str(error)[:200]}") from None
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise Refused(f"it is nested more than {MAX_DEPTH} levels deep")
        inner = [item for item in level if isinstance(item, (dict, list))]
        level = [x for item in inner for x in (item.values() if isinstance(item, dict) else item)]
    return value


def digest(value):
    """SHA-256 of the canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _fields(value, where, required, optional=()):
    """The values of an object's required keys, in order, then of the optional ones (None where absent)."""
    if not isinstance(value, dict):
        raise Refused(f"{where} is no object")
    for key in required:
        if key not in value:
            raise Refused(f"{where} has no {key!r}")
    for key in value:
        if key not in required and key not in optional:
            raise Refused(f"{where} has the unknown key {key[:40]!r}")
    return [value.get(key) for key in (*required, *optional)]


def _text(value, where):
    if not isinstance(value, str) or len(value) > 4096:
        raise Refused(f"{where} is no text of at most 4096 characters")
    return value


def _list(value, where, length=None):
    if not isinstance(value, list) or (length is not None and len(value) != length):
        raise Refused("{} is no list{}".format(where, "" if length is None else f" of {length}"))
    return value


def _naturals(value, where, length=None):
    for n in _list(value, where, length):
        if type(n) is not int or not 0 <= n < 1 << 40:
            raise Refused(f"{where} holds {str(n)[:40]}, no natural number")
    return tuple(value)


def _shape(value, where):
    shape = _naturals(value, where)
    if len(shape) > 16 or prod(shape) > 1 << 40:
        raise Refused(f"{where} is too large a shape")
    return shape


def _pads(value, where, axes):
    return tuple(_naturals(pair, where, 2) for pair in _list(value, where, axes))


def _ratio(value, where):
    """[p, q] as p / q."""
    if len(_list(value, where, 2)) != 2 or any(type(n) is not int for n in value) or value[1] < 1:
        raise Refused(f"{where} is no ratio [p, q]")
    return Fraction(value[0], value[1])


def decimal(text, where):
    """The rational that a claim's decimal or ratio spells, >= 0."""
    text = _text(text, where).strip(" ")
    ratio = _RATIO.fullmatch(text)
    if ratio and int(ratio.group(2)):
        return Fraction(int(ratio.group(1)), int(ratio.group(2)))
    found = _DECIMAL.fullmatch(text)
    if len(text) > 1000 or not found or not (found.group(1) or found.group(2)) or abs(int(found.group(3) or 0)) > 400:
        raise Refused(f"{where} {text[:40]!r} is no decimal number")
    after = found.group(2) or ""
    whole = int((found.group(1) or "") + after or "0")
    return whole * Fraction(10) ** (int(found.group(3) or 0) - len(after))


def hex_number(text):
    """The float64 >= 0 that a text spells as Python writes it in hexadecimal, exactly.

    Raises:
        Refused: for anything else: NaN, infinity, -0, another spelling.
    """
    try:
        number = float.fromhex(text) if isinstance(text, str) and len(text) < 32 else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not 0 <= number < math.inf or number.hex() != text or text[0] == "-":
        raise Refused(f"{str(text)[:40]!r} is no float64 >= 0 in hexadecimal as Python writes it")
    return Fraction(number)


# ---- Numbers: stored tensors, read by hand; folded ones, in intervals ------------------------------------------------------


@dataclass(frozen=True)
class Numbers:
    """An array of float64 numbers in C order, each known to within its radius (None: exact)."""

    shape: tuple
    values: Sequence[float]
    radii: Sequence[float] | None = None

    def reshaped(self, shape):
        return Numbers(shape, self.values, self.radii)

    def transposed(self):
        """The matrix transposed; of a kernel (out, in, *taps) that of the adjoint, where nothing is strided: taps reversed."""
        out, inner, *taps = self.shape
        return Numbers((inner, out, *taps), self._turned(self.values), self.radii and self._turned(self.radii))

    def _turned(self, flat):
        out, inner, *taps = self.shape
        count = prod(taps)
        if count == 1:
            return [v for j in range(inner) for v in flat[j::inner]]
        begins = [(o * inner + i) * count for i in range(inner) for o in range(out)]
        return [v for begin in begins for v in flat[begin : begin + count][::-1]]


_DTYPES = {
    "F64": ("d", 8),
    "F32": ("f", 4),
    "F16": ("e", 2),
    "BF16": ("", 2),
    "I64": ("q", 8),
    "I32": ("i", 4),
    "I16": ("h", 2),
    "I8": ("b", 1),
    "U8": ("B", 1),
    "BOOL": ("B", 1),
}
MAX_HEADER = 100_000_000


class Weights:
    """The tensors of a ``.safetensors`` file; only the header is read until one is asked for.

    Raises:
        Refused: where the header is not what the format says, or tensors overlap or leave bytes over.
    """

    def __init__(self, path):
        self._path, self._memory, self._known = path, None, {}
        size = os.stat(path).st_size
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(MAX_HEADER, size - 8):
                raise Refused(
                    f"the weights are no .safetensors file: their header is {length} bytes long, the file {size}; "
                    "lipverify weights MODEL FILE writes one"
                )
            header = read_json(file.read(length))
        if not isinstance(header, dict):
            raise Refused("the weights' header is no object")
        metadata = header.pop("__metadata__", {})
        if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
            raise Refused("the weights' metadata is no object of text")
        self._entries = {name: _entry(name, value, 8 + length) for name, value in header.items()}
        position = 8 + length
        for name in sorted(self._entries, key=lambda name: self._entries[name][2:]):
            if self._entries[name][2] != position:
                raise Refused(f"the tensor {name[:80]!r} does not begin where the one before it ends")
            position = self._entries[name][3]
        if position != size:
            raise Refused(f"the tensors end at byte {position} of {size}")

    @classmethod
    def of(cls, tensors):
        """Weights in memory: name -> (dtype, shape, bytes)."""
        made = cls.__new__(cls)
        made._path, made._memory, made._known = None, {}, {}
        made._entries = {}
        for name, (kind, shape, data) in tensors.items():
            value = {"dtype": kind, "shape": list(shape), "data_offsets": [0, len(data)]}
            made._entries[name] = _entry(name, value, 0)
            made._memory[name] = bytes(data)
        return made

    def names(self):
        return list(self._entries)

    def entry(self, name):
        """(dtype, shape)."""
        return self._entries[name][:2]

    def digest(self, name):
        """SHA-256 of the bytes."""
        found = hashlib.sha256()
        for part in self._parts(name):
            found.update(part)
        return found.hexdigest()

    def numbers(self, name):
        """The tensor's numbers; those of the last few that were asked for are kept.

        Raises:
            Refused: for NaN, infinity, an integer beyond 2^53, or a mask with other bytes than 0 and 1.
        """
        if name not in self._known:
            while len(self._known) >= 4:
                del self._known[next(iter(self._known))]
            self._known[name] = self._read(name)
        return self._known[name]

    def _read(self, name):
        kind, shape, _, _ = self._entries[name]
        data = b"".join(self._parts(name))
        code, _ = _DTYPES[kind]
        if kind == "BF16":
            halves = struct.unpack(f"<{len(data) // 2}H", data)
            data, code = struct.pack(f"<{len(halves)}I", *(h << 16 for h in halves)), "f"
        values = struct.unpack(f"<{prod(shape)}{code}", data)
        if kind[0] in "FB" and kind != "BOOL":
            if not all(map(math.isfinite, values)):
                raise Refused(f"the tensor {name[:80]!r} holds NaN or infinity")
        elif values and (max(values) >= 1 << 53 or min(values) <= -(1 << 53) or (kind == "BOOL" and max(values) > 1)):
            raise Refused(f"the tensor {name[:80]!r} holds numbers beyond float64, or a mask other than 0 and 1")
        return Numbers(tuple(shape), array("d", values))

    def _parts(self, name):
        _, _, begin, end = self._entries[name]
        if self._memory is not None:
            yield self._memory[name]
            return
        with open(self._path, "rb") as file:
            file.seek(begin)
            while begin < end:
                part = file.read(min(1 << 24, end - begin))
                if not part:
                    raise Refused("the weights' file is cut short")
                begin += len(part)
                yield part


def _entry(name, value, start):
    """(dtype, shape, begin, end) of a tensor."""
    kind, shape, offsets = _fields(value, f"the tensor {name[:80]!r}", ("dtype", "shape", "data_offsets"))
    shape, (begin, end) = _shape(shape, name[:80]), _naturals(offsets, name[:80], 2)
    if not isinstance(kind, str) or kind not in _DTYPES or prod(shape) * _DTYPES[kind][1] != end - begin:
        raise Refused(f"the tensor {name[:80]!r} of {str(kind)[:20]} and shape {shape} does not fit its bytes")
    return kind, shape, start + begin, start + end


def _strides(shape):
    return [prod(shape[a + 1 :]) for a in range(len(shape))]


def _places(shape, strides):
    """The flat positions of the entries of an array with these strides, in C order."""
    places = [0]
    for n, stride in zip(shape, strides):
        places = [p + i * stride for p in places for i in range(n)]
    return places


def _spread(values, shape, to):
    """An array broadcast to a larger shape, flat."""
    full = (1,) * (len(to) - len(shape)) + tuple(shape)
    strides = [s if n != 1 else 0 for s, n in zip(_strides(full), full)]
    return [values[p] for p in _places(to, strides)]


FOLDS = {"add": 2, "sub": 2, "mul": 2, "div": 2, "neg": 1, "sqrt": 1, "square": 1, "abs": 1, "reciprocal": 1, "sum": 2}
MAX_FOLDED = 1 << 24


def fold(expression, numbers_of, spend=lambda steps: None):
    """The value of an expression on arrays, every entry enclosed: intervals of float64, rounded outward by one float.

    Args:
        expression: as in the certificate.
        numbers_of: an object in it -> its numbers.
        spend: told how many numbers every operation makes.

    Raises:
        Refused, Disproved: where it is no expression, divides by zero, or leaves float64.
    """
    shape, low, high = _folded(expression, numbers_of, spend)
    middle, radii = [], []
    for a, b in zip(low, high):
        m = a if a == b else a / 2 + b / 2
        middle.append(m)
        radii.append(0.0 if a == b else math.nextafter(max(_up(b - m), _up(m - a)), math.inf))
    if not all(map(math.isfinite, middle)) or not all(map(math.isfinite, radii)):
        raise Disproved("folded numbers leave float64")
    return Numbers(shape, middle, radii if any(radii) else None)


def _up(x):
    return math.nextafter(x, math.inf)


def _down(x):
    return math.nextafter(x, -math.inf)


def _folded(expression, numbers_of, spend):
    """(shape, lower ends, upper ends)."""
    if isinstance(expression, dict):
        numbers = numbers_of(expression)
        if numbers.radii is None:
            return tuple(numbers.shape), numbers.values, numbers.values
        pairs = list(zip(numbers.values, numbers.radii))
        return tuple(numbers.shape), [_down(v - r) for v, r in pairs], [_up(v + r) for v, r in pairs]
    op = expression[0] if isinstance(expression, list) and expression else None
    if not isinstance(op, str) or FOLDS.get(op) != len(expression) - 1:
        raise Refused(f"{str(op)[:40]} is no arithmetic on weights")
    shape, a, b = _folded(expression[1], numbers_of, spend)
    spend(8 * prod(shape))
    if op == "sum":
        return _summed(shape, a, b, _naturals(expression[2], "the axes of a sum"))
    if FOLDS[op] == 1:
        return (shape, *_one(op, a, b))
    other, c, d = _folded(expression[2], numbers_of, spend)
    rank = max(len(shape), len(other))
    shape, other = (1,) * (rank - len(shape)) + shape, (1,) * (rank - len(other)) + other
    if any(m != n and 1 not in (m, n) for m, n in zip(shape, other)):
        raise Refused(f"shapes {shape} and {other} do not broadcast")
    both = tuple(n if m == 1 else m for m, n in zip(shape, other))
    if prod(both) > MAX_FOLDED:
        raise TooLarge(f"a folded array of {prod(both)} numbers")
    spend(8 * prod(both))
    a, b, c, d = _spread(a, shape, both), _spread(b, shape, both), _spread(c, other, both), _spread(d, other, both)
    return (both, *_two(op, a, b, c, d))


def _one(op, low, high):
    if op == "neg":
        return [-b for b in high], [-a for a in low]
    if op in ("abs", "square"):
        ends = [(0.0 if a <= 0 <= b else min(abs(a), abs(b)), max(abs(a), abs(b))) for a, b in zip(low, high)]
        if op == "abs":
            return [a for a, _ in ends], [b for _, b in ends]
        return [max(_down(a * a), 0.0) for a, _ in ends], [_up(b * b) for _, b in ends]
    if op == "sqrt":
        if any(a < 0 for a in low):
            raise Disproved("the root of a number that may be negative")
        return [max(_down(math.sqrt(a)), 0.0) for a in low], [_up(math.sqrt(b)) for b in high]
    if any(a <= 0 <= b for a, b in zip(low, high)):
        raise Disproved("a division by a number that may be zero")
    return [_down(1 / b) for b in high], [_up(1 / a) for a in low]


def _two(op, a, b, c, d):
    if op == "add":
        return [_down(x + y) for x, y in zip(a, c)], [_up(x + y) for x, y in zip(b, d)]
    if op == "sub":
        return [_down(x - y) for x, y in zip(a, d)], [_up(x - y) for x, y in zip(b, c)]
    if op == "div":
        if any(x <= 0 <= y for x, y in zip(c, d)):
            raise Disproved("a division by a number that may be zero")
        ends = [(p / r, p / s, q / r, q / s) for p, q, r, s in zip(a, b, c, d)]
    else:
        ends = [(p * r, p * s, q * r, q * s) for p, q, r, s in zip(a, b, c, d)]
    if not all(e[0] - e[0] == 0 == e[3] - e[3] and e[1] - e[1] == 0 == e[2] - e[2] for e in ends):
        raise Disproved("folded numbers leave float64")
    return [_down(min(e)) for e in ends], [_up(max(e)) for e in ends]


def _summed(shape, low, high, axes):
    if any(axis >= len(shape) for axis in axes):
        raise Refused("a sum over an axis that is not there")
    made = tuple(1 if a in axes else n for a, n in enumerate(shape))
    places = _spread(range(prod(made)), made, shape)
    down, up = [Fraction(0)] * prod(made), [Fraction(0)] * prod(made)
    for place, a, b in zip(places, low, high):
        down[place] += Fraction(a)
        up[place] += Fraction(b)
    try:
        return made, [_down(float(x)) for x in down], [_up(float(x)) for x in up]
    except OverflowError:
        raise Disproved("folded numbers leave float64") from None


# ---- Norms: an integer matrix is positive semidefinite -----------------------------------------------------------------

try:
    from flint import fmpz_mat
except ImportError:
    fmpz_mat = None

_accelerator = {"flint": fmpz_mat is not None}


def has_flint():
    """Whether python-flint multiplies."""
    return _accelerator["flint"]


def use_flint(on):
    """Use python-flint, if it is there, or Python's integers alone."""
    _accelerator["flint"] = on and fmpz_mat is not None


def root_up(q):
    """A rational >= the root of q >= 0, within 2^-64 relative."""
    shift = max(0, 130 - q.numerator.bit_length() + q.denominator.bit_length())
    shift += shift % 2
    return Fraction(math.isqrt((q.numerator << shift) // q.denominator) + 1, 1 << (shift // 2))


MAX_SIDE = 4096
SMALL = 40


@dataclass(frozen=True)
class Band:
    """Rows of integers, each from its own first column on: everything left and right of it is zero."""

    first: list
    rows: list


def dense_holds(weight, square, slack, factor=None):
    """Whether ||W||_2^2 <= ``square`` is proved for every matrix W (out, in) within the radii.

    Args:
        slack: a hint: how much room there is, 2^-slack of ``square``.
        factor: (j, U) of the certificate, instead of a guess.
    """
    rows, columns = weight.shape
    if min(rows, columns) > MAX_SIDE:
        raise TooLarge(f"a Gram matrix of {min(rows, columns)} rows")
    if rows < columns:
        weight, rows, columns = weight.transposed(), columns, rows
    if Fraction(max(map(abs, weight.values), default=0)) ** 2 > square:  # the norm is at least any entry
        return False
    found = _integers(weight.values, weight.radii, square, slack)
    if found is None:
        return False
    integers, bits, error = found
    band = Band([0] * rows, [integers[i * columns : (i + 1) * columns] for i in range(rows)])
    return _semidefinite(band, columns, bits, error, square, slack, factor)


def _integers(values, radii, square, slack):
    """Numbers as integers over 2^k, k, and a bound of the Frobenius norm of what that and the radii leave out.

    k is such that rounding leaves out less than 2^-(slack + 10) of the root of ``square``. None where numbers are far larger than
    that, or are not zero and ``square`` is.
    """
    if not any(values) and not (radii and any(radii)):
        return [0] * len(values), 0, Fraction(0)
    if not square:
        return None
    count = len(values)
    spread = Fraction(count) / square
    k = slack + 10 + (spread.numerator.bit_length() - spread.denominator.bit_length() + 2) // 2
    if math.frexp(max(map(abs, values)))[1] + k > 1000:
        return None
    scaled = [math.ldexp(v, k) for v in values]  # exact, or below 2^-1000 (and then rounded to 0 and counted)
    integers = list(map(round, scaled))
    inexact = sum(1 for n, x, v in zip(integers, scaled, values) if n != x or (v and not n))
    error = root_up(Fraction(inexact, 4)) * Fraction(2) ** -k if inexact else Fraction(0)
    if radii:
        squares = sum(Fraction(r) ** 2 for r in radii if r)
        error += root_up(squares) if squares else 0
    return integers, k, error


def _semidefinite(band, n, bits, error, square, slack, factor=None):
    """Whether ||W||^2 <= square for every W within ``error`` (Frobenius) of the integer matrix of ``band`` over 2^bits.

    With t <= (sqrt(square) - error)^2 and T = floor(t 4^bits) it suffices that T I - G is positive semidefinite, G = A^T A in
    integers. That is shown by an integer matrix U: 4^j (T I - G) - U U^T is diagonally dominant, its diagonal >= 0, hence
    semidefinite (Gershgorin), and so is the sum with U U^T. U is a guess.
    """
    if not n or not any(map(any, band.rows)):
        return error**2 <= square
    t = square - 2 * error * root_up(square)
    if t <= 0:
        return False
    scaled = t * Fraction(4) ** bits
    top = scaled.numerator // scaled.denominator
    gram = _gram(band, n)
    lower = [row[: i - f + 1] for i, (f, row) in enumerate(zip(gram.first, gram.rows))]
    if any(row[-1] > top for row in lower):
        return False
    if all(sum(map(abs, row)) <= top for row in gram.rows):  # with U = 0: orthogonal rows, for one
        return True
    if factor is None:
        shift, u = 0, _guess(gram.first, lower, top, slack)
    else:
        shift, u = factor
        if len(u) != n or any(len(row) != i + 1 for i, row in enumerate(u)):
            return False
        u = Band([0] * n, u)
    return u is not None and _dominant(gram, top, shift, u, n)


def _product_is_flint(n):
    return has_flint() and n > SMALL


def _width(bits):
    """Bytes of a slot that holds every integer of so many bits, and the sign."""
    return bits // 8 + 1


def _bits(rows):
    return max((max(max(row), -min(row)) for row in rows if row), default=0).bit_length()


def _pack(row, width):
    """The integer sum of row[i] 2^(8 width i)."""
    half = 1 << (8 * width - 1)
    data = b"".join([(v + half).to_bytes(width, "little") for v in row])
    return int.from_bytes(data, "little") - int.from_bytes(half.to_bytes(width, "little") * len(row), "little")


def _unpack(packed, count, width):
    """The ``count`` integers of a packed row, each below 2^(8 width - 1) in magnitude."""
    half = (1 << (8 * width - 1)).to_bytes(width, "little")
    data = (packed + int.from_bytes(half * count, "little")).to_bytes(width * count, "little")
    offset = int.from_bytes(half, "little")
    return [int.from_bytes(data[i : i + width], "little") - offset for i in range(0, width * count, width)]


def _combined(terms, packed, starts, ends, width):
    """(first column, sum of a * row) over terms (row, a), rows given packed from ``starts`` to ``ends``."""
    first = min(starts[r] for r, _ in terms)
    last = max(ends[r] for r, _ in terms)
    total = 0
    for r, a in terms:
        total += (a * packed[r]) << (8 * width * (starts[r] - first))
    return first, _unpack(total, last - first, width)


def _gram(band, n):
    """A^T A: every row from the first column where it may be nonzero."""
    if _product_is_flint(n):
        full = [[0] * f + list(row) + [0] * (n - f - len(row)) for f, row in zip(band.first, band.rows)]
        matrix = fmpz_mat(full)
        rows = [[int(v) for v in row] for row in (matrix.transpose() * matrix).tolist()]
        firsts = [next((j for j, v in enumerate(row) if v), i) for i, row in enumerate(rows)]
        return Band(
            [min(f, i) for i, f in enumerate(firsts)],
            [row[min(f, i) :] for i, (f, row) in enumerate(zip(firsts, rows))],
        )
    terms = [[] for _ in range(n)]
    for r, (f, row) in enumerate(zip(band.first, band.rows)):
        for k, v in enumerate(row):
            if v:
                terms[f + k].append((r, v))
    width = _width(2 * _bits(band.rows) + len(band.rows).bit_length() + 1)
    packed = [_pack(row, width) for row in band.rows]
    ends = [f + len(row) for f, row in zip(band.first, band.rows)]
    made = [_combined(t, packed, band.first, ends, width) if t else (i, [0]) for i, t in enumerate(terms)]
    made = [(f, row) if f <= i else (i, [0] * (f - i) + row) for i, (f, row) in enumerate(made)]
    made = [(f, row + [0] * max(0, i + 1 - f - len(row))) for i, (f, row) in enumerate(made)]
    return Band([f for f, _ in made], [row for _, row in made])


def _transposed(band, n):
    """The n columns of a band, as a band."""
    starts, columns = [0] * n, [[] for _ in range(n)]
    for r, (f, row) in enumerate(zip(band.first, band.rows)):
        for j, v in enumerate(row, f):
            if not columns[j]:
                starts[j] = r
            columns[j].extend([0] * (r - starts[j] - len(columns[j])))
            columns[j].append(v)
    return Band(starts, columns)


def _dominant(gram, top, shift, u, n):
    """Whether 4^shift (top I - G) - U U^T is diagonally dominant with a diagonal >= 0."""
    if type(shift) is not int or shift < 0:
        return False
    squares = _gram(_transposed(u, n), n)
    for i, (f, g, h, p) in enumerate(zip(gram.first, gram.rows, squares.first, squares.rows)):
        left, end = min(f, h), max(f + len(g), h + len(p))
        g = [0] * (f - left) + g + [0] * (end - f - len(g))
        p = [0] * (h - left) + p + [0] * (end - h - len(p))
        line = [(x << 2 * shift) + y for x, y in zip(g, p)]
        if (top << 2 * shift) - line[i - left] < sum(map(abs, line)) - abs(line[i - left]):
            return False
    return True


def _guess(first, lower, top, slack):
    """U with U U^T close to top I - G - delta I, delta = 2^-(slack + 1.5) top: by a Cholesky factor in floating point, rounded.

    Nothing here is trusted. None where there is no such factor.
    """
    delta = 1 - 0.35 * 2.0**-slack
    scaled = [[-(v / top) for v in row] for row in lower]
    for row in scaled:
        row[-1] += delta
    blocked = has_flint() and len(lower) > BLOCKED and not any(first)
    factor = _blocked_cholesky(scaled) if blocked else _cholesky(first, scaled)
    if factor is None:
        return None
    scale = math.isqrt(top)
    return Band(list(first), [[round(v * scale) for v in row] for row in factor])


def _cholesky(first, rows):
    """The lower triangular L with L L^T = A, rows of A and of L from ``first`` to the diagonal; None where a pivot is not > 0."""
    made = []
    for i, (f, row) in enumerate(zip(first, rows)):
        out = []
        for j in range(f, i):
            start = first[j] if first[j] > f else f
            done = made[j]
            products = map(operator.mul, out[start - f :], done[start - first[j] :])
            out.append((row[j - f] - sum(products)) / done[-1])
        pivot = row[-1] - sum(map(operator.mul, out, out))
        if not pivot > 0:
            return None
        out.append(math.sqrt(pivot))
        made.append(out)
    return made


BLOCKED = 1024
_BLOCK = 256


def _blocked_cholesky(rows):
    """The same of a full lower triangle, whose block products go through python-flint; |A| <= 1 entrywise."""
    n, one = len(rows), 1 << 60
    made, integers = [[] for _ in rows], [[] for _ in rows]
    for begin in range(0, n, _BLOCK):
        end = min(begin + _BLOCK, n)
        columns = [rows[i][begin : min(end, i + 1)] for i in range(begin, n)]
        if begin:
            product = fmpz_mat(integers[begin:]) * fmpz_mat(integers[begin:end]).transpose()
            done = [[int(v) / one**2 for v in row] for row in product.tolist()]
            columns = [[a - b for a, b in zip(row, gone)] for row, gone in zip(columns, done)]
        square = _cholesky([0] * (end - begin), columns[: end - begin])
        if square is None:
            return None
        below = columns[end - begin :]
        if below:
            inverse = fmpz_mat([[round(v * one) for v in row] for row in _inverse(square)])
            panel = fmpz_mat([[round(v * one) for v in row] for row in below]) * inverse.transpose()
            below = [[int(v) / one**2 for v in row] for row in panel.tolist()]
        for i, row in enumerate(square + below, begin):
            made[i].extend(row)
            integers[i].extend([round(v * one) for v in row] + [0] * (end - begin - len(row)))
    return made


def _inverse(lower):
    """The inverse of a lower triangular matrix, as full rows."""
    n = len(lower)
    columns = []
    for j in range(n):
        column = [1 / lower[j][j]]
        for i in range(j + 1, n):
            column.append(-sum(map(operator.mul, lower[i][j:i], column)) / lower[i][i])
        columns.append([0.0] * j + column)
    return [list(row) for row in zip(*columns)]


def rows_hold(weight, square):
    """Whether the sum of the squares of every row of a matrix is at most ``square``."""
    columns = weight.shape[1]
    return all(_sum_of_squares(weight, i * columns, (i + 1) * columns) <= square for i in range(weight.shape[0]))


def _sum_of_squares(numbers, start, end):
    """sum (|v| + r)^2, exactly."""
    values = [Fraction(abs(v)) for v in numbers.values[start:end]]
    if numbers.radii:
        values = [v + Fraction(r) for v, r in zip(values, numbers.radii[start:end])]
    common = max((v.denominator for v in values), default=1)
    return Fraction(sum((v.numerator * (common // v.denominator)) ** 2 for v in values), common**2)


def entries_hold(numbers, square):
    """Whether the square of every number is at most ``square``."""
    radii = numbers.radii or [0.0] * len(numbers.values)
    return all((Fraction(abs(v)) + Fraction(r)) ** 2 <= square for v, r in zip(numbers.values, radii))


# ---- Norms of convolutions: the whole matrix, or its blocks at the frequencies of a torus ----------------------------------


@dataclass(frozen=True)
class Kernel:
    """A convolution: the kernel (out, in / groups, *taps), the channels and the image that it reads, its geometry."""

    numbers: Numbers
    channels: int
    image: tuple
    pads: tuple
    circular: bool
    stride: tuple
    dilation: tuple
    groups: int

    def planar(self):
        """The same with two image axes."""
        if len(self.image) == 2:
            return self
        numbers = self.numbers.reshaped((*self.numbers.shape, 1))
        rest = ((*self.image, 1), (*self.pads, (0, 0)), self.circular, (*self.stride, 1), (*self.dilation, 1))
        return Kernel(numbers, self.channels, *rest, self.groups)

    def outputs(self):
        axes = zip(self.image, self.pads, self.numbers.shape[2:], self.stride, self.dilation)
        return tuple((n + sum(p) - d * (k - 1) - 1) // s + 1 for n, p, k, s, d in axes)


MAX_UNROLLED = 2048
MAX_PLACES = 1 << 22


def unrolled_holds(kernel, square, slack, factor=None):
    """Whether the norm of a convolution's whole matrix has a square of at most ``square``; see :func:`dense_holds`.

    Rows and columns are ordered by place, then by channel, so that the Gram matrix is a band.
    """
    k = kernel.planar()
    (height, width), (tall, wide), shape = k.image, k.outputs(), k.numbers.shape
    out, inner, taps = shape[0], k.channels, shape[2] * shape[3]
    small, large = sorted((tall * wide * out, height * width * inner))
    if small > MAX_UNROLLED or tall * wide * out * shape[1] * taps > MAX_PLACES:
        raise TooLarge(f"a convolution's matrix of {small} x {large} entries")
    found = _integers(k.numbers.values, k.numbers.radii, square, slack)
    if found is None:
        return False
    integers, bits, error = found
    # Every entry of the matrix is one of the kernel, at most tall * wide times (in each place of the output).
    error *= root_up(Fraction(tall * wide))
    entries = {}
    axes = []
    for a in (0, 1):
        n, m = k.image[a], k.outputs()[a]
        reads = [
            [(t, i * k.stride[a] + t * k.dilation[a] - k.pads[a][0]) for t in range(shape[2 + a])] for i in range(m)
        ]
        axes.append([[(t, j % n) for t, j in row if k.circular or 0 <= j < n] for row in reads])
    transposed = tall * wide * out < height * width * inner
    per_group = out // k.groups
    for i, rows in enumerate(axes[0]):
        for j, columns in enumerate(axes[1]):
            for o in range(out):
                first = o // per_group * shape[1]
                target = (i * wide + j) * out + o
                for c in range(shape[1]):
                    at = (o * shape[1] + c) * taps
                    for s, y in rows:
                        for t, x in columns:
                            v = integers[at + s * shape[3] + t]
                            source = (y * width + x) * inner + first + c
                            key = (source, target) if transposed else (target, source)
                            line = entries.setdefault(key[0], {})
                            line[key[1]] = line.get(key[1], 0) + v
    firsts, lines = [], []
    for line in entries.values():
        f, end = min(line), max(line)
        firsts.append(f)
        lines.append([line.get(c, 0) for c in range(f, end + 1)])
    if k.circular:  # several taps may meet in one entry: their errors add up
        error *= taps
    return _semidefinite(Band(firsts, lines), small, bits, error, square, slack, factor)


@dataclass(frozen=True)
class Axis:
    """One axis of a convolution as one of stride 1, on the phases x[p], x[s + p], ... of what it reads.

    Output i reads the phase ``phase[t]`` at i + ``offset[t]``, t the tap. ``least`` is a torus that holds it (None: none does).
    """

    phases: int
    phase: tuple
    offset: tuple
    least: int
    exact: bool

    @property
    def reach(self):
        return max(self.offset) - min(self.offset)


def _axis(n, m, taps, pad, stride, dilation, circular):
    """See :class:`Axis`; n entries are read, m made.

    Output i reads entry i s + t d - l = s (i + a) + p with 0 <= p < s. Zero padding: outputs that read nothing are zero. The
    others read i + a between lowest and highest; on a torus of N >= count + max(-lowest, highest - count + 1) points what is
    beyond the count entries of a phase is zero, so the map is a part of the torus' matrix if its outputs are at most N.
    Dilation without stride: output q + d i reads entries of one phase, at i + t + floor((q - l) / d): a direct sum over q < d.
    Circular: N = n / s for s dividing n, and outputs are no more than N.
    """
    if circular:
        if n % stride or m > n // stride:
            raise Unchecked("the torus of circular padding whose stride or outputs do not fit the image")
        parts = [divmod(t * dilation - pad[0], stride) for t in range(taps)]
        return Axis(stride, tuple(p for _, p in parts), tuple(a for a, _ in parts), n // stride, True)
    if stride == 1 and dilation > 1:
        if min(dilation, m) > MAX_DILATION:
            raise TooLarge(f"a dilation of {dilation}")
        sums = [
            ((q - pad[0]) // dilation, (q - pad[0]) % dilation, -(-(m - q) // dilation))
            for q in range(min(dilation, m))
        ]
        least = [_torus(-(-(n - p) // dilation), outs, a, a + taps - 1) for a, p, outs in sums]
        return Axis(1, (0,) * taps, tuple(range(taps)), max(least), False)
    parts = [divmod(t * dilation - pad[0], stride) for t in range(taps)]
    offset = tuple(a for a, _ in parts)
    return Axis(stride, tuple(p for _, p in parts), offset, _torus(-(-n // stride), m, min(offset), max(offset)), False)


def _torus(count, outputs, low, high):
    """The least torus for outputs 0 .. outputs - 1 that read i + low .. i + high of ``count`` entries."""
    first, last = max(0, -high), min(outputs - 1, count - 1 - low)
    if first > last or count < 1:
        return 1
    return max(count + max(0, -(first + low), last + high - count + 1), last - first + 1)


MAX_DILATION = 1 << 12
MAX_FREQUENCIES = 1 << 18
MAX_WORK = 1 << 38
_FINE = 160
_TWIDDLE = 96


def half_turns(n):
    """cos and sin of pi j / n, j = 0 .. 2 n - 1, as integers over 2^96, each within one unit.

    Taylor series in integers over 2^160 for arguments below 2 pi: fewer than 100 truncations, each magnified by less than
    e^(2 pi) < 2^10, and the rest below a unit, cost less than 2^17 units; pi itself is off by less than 2^8.
    """
    pi = 4 * (4 * _arctan(5) - _arctan(239))
    cosines, sines = [], []
    for j in range(2 * n):
        x = pi * j // n
        term, sums, k = 1 << _FINE, [0, 0], 0
        while term:
            sums[k % 2] += -term if k % 4 >= 2 else term
            k += 1
            term = (term * x >> _FINE) // k
        cosines.append(sums[0] + (1 << _FINE - _TWIDDLE - 1) >> _FINE - _TWIDDLE)
        sines.append(sums[1] + (1 << _FINE - _TWIDDLE - 1) >> _FINE - _TWIDDLE)
    return cosines, sines


def _arctan(n):
    """arctan(1 / n) 2^160."""
    power, total, k = (1 << _FINE) // n, 0, 1
    while power:
        total += -(power // k) if k % 4 == 3 else power // k
        power //= n * n
        k += 2
    return total


def torus_holds(kernel, sizes, twists, grid, square, slack, spend=lambda steps: None):
    """Whether ||B(w)||^2 <= ``square`` for the blocks B(w) of a convolution at the frequencies of a torus that holds it.

    B(w) = sum_a K_a e^(-i w.a) at w = pi (2 k + twist) / N per axis. The convolution is a part of the torus' matrix, which the
    Fourier transform makes block diagonal. K is real: w and -w have equal norms. With ``grid`` the sizes may be smaller: then for
    every real w, ||B(w)||^2 <= max over the grid / prod cos^2(pi R / 2 N), R < N the reach of the taps along an axis. (Where
    p(u) = |B(u) v|^2 has its largest value M^2 over all unit v, p - M^2 / 2 is a trigonometric polynomial of degree R and size
    M^2 / 2, so p >= M^2 cos^2(R t / 2) at a distance t <= pi / R (M. Riesz 1914), and a grid point has t <= pi / N.)
    """
    k = kernel.planar()
    sizes, twists = tuple(sizes) + (1,) * (2 - len(sizes)), tuple(twists) + (0,) * (2 - len(twists))
    if any(t not in (0, 1) for t in twists) or min(sizes) < 1:
        raise Refused("a torus has sizes >= 1 and twists 0 or 1")
    shape, made = k.numbers.shape, k.outputs()
    axes = [_axis(k.image[a], made[a], shape[2 + a], k.pads[a], k.stride[a], k.dilation[a], k.circular) for a in (0, 1)]
    if not grid:
        for axis, n, twist in zip(axes, sizes, twists):
            # Where no offset differs from another the block is the same at every frequency, and one point holds it.
            if axis.reach and (n < axis.least or (axis.exact and (n != axis.least or twist))):
                raise Disproved(f"the torus of {n} points does not hold a convolution that needs {axis.least}")
    inner = shape[1] * axes[0].phases * axes[1].phases
    per_group = shape[0] // k.groups
    side = 2 * min(inner, per_group)
    count = sizes[0] * (sizes[1] // 2 + 1)
    if count > MAX_FREQUENCIES or count * k.groups * side * inner * per_group > MAX_WORK:
        raise TooLarge(f"a torus of {sizes[0]} x {sizes[1]} points and blocks of {per_group} x {inner}")
    spend(count * k.groups * (64 * inner * per_group * max(shape[2:]) + side * inner * per_group) // 256)
    if not any(k.numbers.values) and not any(k.numbers.radii or ()):
        return True  # the map is 0
    found = _integers(k.numbers.values, k.numbers.radii, square, slack)
    if found is None:
        return False
    integers, bits, error = found
    turns = [half_turns(n) for n in sizes]
    for axis, n in zip(axes, sizes):
        if grid and axis.reach:
            if axis.reach >= n:
                raise Disproved(f"a grid of {n} points says nothing of a kernel of reach {axis.reach}")
            cosine = Fraction(half_turns(2 * n)[0][axis.reach] - 1, 1 << _TWIDDLE)
            if cosine <= 0:
                return False
            square *= cosine**2
    # Twiddles are off by less than 2 units in modulus, products of two by less than 5; taps of one entry add up.
    taps = Fraction(shape[2] * shape[3])
    size = root_up(sum(Fraction(v) ** 2 for v in integers) * taps) * Fraction(2) ** -bits
    entries = Fraction(shape[0] * inner)
    error = root_up(taps) * error + 5 * Fraction(2) ** -_TWIDDLE * size + root_up(entries) * Fraction(2) ** -bits
    where = _places_of_taps(axes, shape)
    for g in range(k.groups):
        own = integers[g * per_group * shape[1] * prod(shape[2:]) : (g + 1) * per_group * shape[1] * prod(shape[2:])]
        for real, imaginary in _blocks(own, per_group, inner, where, sizes, twists, turns):
            rows = _embedded(real, imaginary, per_group, inner)
            if not _semidefinite(Band([0] * len(rows), rows), len(rows[0]), bits, error, square, slack):
                return False
    return True


def _places_of_taps(axes, shape):
    """For every (input channel, tap, tap): (column of the block, offset from the first, offset from the first)."""
    lows = [min(axis.offset) for axis in axes]
    found = []
    for c in range(shape[1]):
        for s in range(shape[2]):
            for t in range(shape[3]):
                column = (c * axes[0].phases + axes[0].phase[s]) * axes[1].phases + axes[1].phase[t]
                found.append((column, axes[0].offset[s] - lows[0], axes[1].offset[t] - lows[1]))
    return found


def _blocks(integers, out, inner, where, sizes, twists, turns):
    """The blocks at half of the frequencies: real and imaginary parts, rows of integers in the kernel's units, rounded."""
    (c1, s1), (c2, s2) = turns
    half, shift = 1 << 2 * _TWIDDLE - 1, 2 * _TWIDDLE
    reads = sorted({a for _, a, _ in where})
    for k2 in range((sizes[1] - twists[1]) // 2 + 1):
        # Along the second axis first: for every row of the first axis a matrix.
        partial = {a: ([0] * (out * inner), [0] * (out * inner)) for a in reads}
        for i, v in enumerate(integers):
            o, (column, a, b) = i // len(where), where[i % len(where)]
            if v:
                j = (2 * k2 + twists[1]) * b % (2 * sizes[1])
                real, imaginary = partial[a]
                real[o * inner + column] += v * c2[j]
                imaginary[o * inner + column] -= v * s2[j]
        for k1 in range(sizes[0]):
            real, imaginary = [half] * (out * inner), [half] * (out * inner)
            for a in reads:
                j = (2 * k1 + twists[0]) * a % (2 * sizes[0])
                c, s, (x, y) = c1[j], s1[j], partial[a]
                real = [r + c * u + s * v for r, u, v in zip(real, x, y)]
                imaginary = [r + c * v - s * u for r, u, v in zip(imaginary, x, y)]
            yield [v >> shift for v in real], [v >> shift for v in imaginary]


def _embedded(real, imaginary, rows, columns):
    """The real matrix [[X, -Y], [Y, X]] of X + i Y, which has the same norm; transposed where that makes the rows more."""
    if rows >= columns:
        x = [real[i * columns : (i + 1) * columns] for i in range(rows)]
        y = [imaginary[i * columns : (i + 1) * columns] for i in range(rows)]
    else:
        x, y = [real[j::columns] for j in range(columns)], [imaginary[j::columns] for j in range(columns)]
    return [a + [-v for v in b] for a, b in zip(x, y)] + [b + a for a, b in zip(x, y)]


# ---- The graph: values, and the maps that compute them ----------------------------------------------------------------

SLOPES = {
    "abs": (-1, 1),
    "asinh": (0, 1),
    "atan": (0, 1),
    "celu": (0, 1),
    "cos": (-1, 1),
    "erf": (0, Fraction("1.1283791671")),
    "erfc": (Fraction("-1.1283791671"), 0),
    "gelu": (Fraction("-0.1289041452"), Fraction("1.1289041452")),
    "gelu by tanh": (Fraction("-0.128994"), Fraction("1.128994")),
    "hardsigmoid": (0, Fraction(1, 6)),
    "hardswish": (Fraction(-1, 2), Fraction(3, 2)),
    "hardtanh": (0, 1),
    "log_sigmoid": (0, 1),
    "maximum with a constant": (0, 1),
    "minimum with a constant": (0, 1),
    "mish": (Fraction("-0.112527"), Fraction("1.088499")),
    "relu": (0, 1),
    "sigmoid": (0, Fraction(1, 4)),
    "silu": (Fraction("-0.09984"), Fraction("1.09984")),
    "sin": (-1, 1),
    "softplus": (0, 1),
    "softshrink": (0, 1),
    "softsign": (0, 1),
    "tanh": (0, 1),
    "tanhshrink": (0, 1),
}
"""Between these lie (sigma(a) - sigma(b)) / (a - b); the certificate may state an interval that is no smaller."""

WITH_PARAMETERS = {"leaky_relu": 1, "prelu": 1, "rrelu": 1, "elu": 0, "selu": 0}
"""Functions whose slopes depend on numbers of their own: the certificate's interval is taken on trust, if it has this slope."""

NAMED = {
    "order": 1,
    "householder": 1,
    "logsumexp": 1,
    "maximum over axes": 1,
    "minimum over axes": 1,
    "softmax": Fraction(1, 4),
}
"""Functions of whole vectors and the squares of their constants. (Other constants depend on parameters: UNCHECKED.)"""

LINEAR = ("dense", "convolution", "adjoint", "diagonal", "separable", "gather", "rearrange", "pad")


@dataclass(frozen=True)
class Map:
    """One map: its kind, the shapes of what it reads and makes, and its fields, arrays still as the certificate has them."""

    kind: str
    inputs: tuple
    output: tuple
    fields: dict


@dataclass(frozen=True)
class Node:
    value: str
    map: Map
    reads: tuple


@dataclass(frozen=True)
class Graph:
    """From the value ``input`` of ``shape``; ``nodes`` by value, each after what it reads."""

    input: str
    shape: tuple
    nodes: dict

    def shape_of(self, value):
        return self.shape if value == self.input else self.nodes[value].map.output


def read_graph(value):
    """The graph of a certificate, every shape derived.

    Raises:
        Refused: where it is no graph.
    """
    start, shape, nodes, stated = _fields(value, "the graph", ("input", "shape", "nodes", "sha256"))
    if stated != digest({"input": start, "shape": shape, "nodes": nodes}):
        raise Disproved("the digest of the graph is not that of its nodes")
    graph = Graph(_text(start, "the graph's input"), _shape(shape, "the graph's shape"), {})
    for entry in _list(nodes, "the graph's nodes"):
        name, map_, reads = _fields(entry, "a node", ("value", "map", "reads"))
        where = "the node {!r}".format(_text(name, "a node's value"))
        if name == graph.input or name in graph.nodes:
            raise Refused(f"{where} is computed twice")
        for read in _list(reads, where):
            if _text(read, where) != graph.input and read not in graph.nodes:
                raise Refused(f"{where} reads {read!r}, which is not computed before it")
        inputs = tuple(graph.shape_of(read) for read in reads)
        graph.nodes[name] = Node(name, read_map(map_, inputs, where), tuple(reads))
    return graph


def read_map(value, inputs, where):
    """A map that reads values of these shapes.

    Raises:
        Refused: where its fields are not those of its kind, or do not fit the shapes.
    """
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind in LINEAR:
        if len(inputs) != 1:
            raise Refused(f"{where}: {kind} reads one value")
        fields = {key: v for key, v in value.items() if key != "bias"}
        made, bias = _linear(fields, inputs[0], where, value.get("bias")), value.get("bias")
        if bias is not None and not _broadcasts(_array_shape(bias, where), made.output):
            raise Refused(f"{where}: a bias that does not broadcast to {made.output}")
        return made
    if kind == "pointwise":
        _, name, slopes = _fields(value, where, ("kind", "name", "slopes"))
        ends = tuple(_ratio(end, where) for end in _list(slopes, where, 2))
        if len(inputs) != 1 or ends[0] > ends[1]:
            raise Refused(f"{where}: a pointwise map reads one value, its slopes are in order")
        return Map(kind, inputs, inputs[0], {"name": _text(name, where), "slopes": ends})
    if kind == "sum":
        signs = _list(_fields(value, where, ("kind", "signs"))[1], where, len(inputs))
        if not signs or any(type(s) is not int or s not in (1, -1) for s in signs) or len(set(inputs)) != 1:
            raise Refused(f"{where}: a sum has a sign 1 or -1 for each of several values of one shape")
        return Map(kind, inputs, inputs[0], {"signs": tuple(signs)})
    if kind == "concatenation":
        axis = _naturals([_fields(value, where, ("kind", "axis"))[1]], where)[0]
        rest = {(*shape[:axis], *shape[axis + 1 :]) for shape in inputs}
        if len(rest) != 1 or any(axis >= len(shape) for shape in inputs):
            raise Refused(f"{where}: what is concatenated differs off the axis")
        along = sum(shape[axis] for shape in inputs)
        return Map(kind, inputs, (*inputs[0][:axis], along, *inputs[0][axis + 1 :]), {"axis": axis})
    if kind == "extremum":
        largest = _fields(value, where, ("kind", "largest"))[1]
        if type(largest) is not bool or len(inputs) != 2 or inputs[0] != inputs[1]:
            raise Refused(f"{where}: an extremum is of two values of one shape")
        return Map(kind, inputs, inputs[0], {"largest": largest})
    if kind == "named":
        _, name, square, output = _fields(value, where, ("kind", "name", "square", "output"))
        if len(inputs) != 1:
            raise Refused(f"{where} reads one value")
        fields = {"name": _text(name, where), "square": _ratio(square, where)}
        return Map(kind, inputs, _shape(output, where), fields)
    if kind == "opaque":
        _, operation, reason, output = _fields(value, where, ("kind", "operation", "reason", "output"))
        return Map(kind, inputs, _shape(output, where), {"name": f"{operation}: {reason}"})
    raise Refused(f"{where} has the unknown kind {str(kind)[:40]}")


def _linear(value, shape, where, bias=None):
    """A linear map that reads one value of that shape."""
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind == "dense":
        weight = _fields(value, where, ("kind", "weight"))[1]
        out, inner = _array_shape(weight, where, 2)
        if not shape or shape[-1] != inner:
            raise Refused(f"{where}: a matrix of {inner} columns on a value of shape {shape}")
        return Map(kind, (shape,), (*shape[:-1], out), {"weight": weight, "bias": bias})
    if kind == "convolution":
        names = ("kernel", "pads", "circular", "stride", "dilation", "groups")
        _, kernel, pads, circular, stride, dilation, groups = _fields(value, where, ("kind", *names))
        axes = len(shape) - 2
        sizes = _array_shape(kernel, where, len(shape))
        pads, stride = _pads(pads, where, axes), _naturals(stride, where, axes)
        dilation, groups = _naturals(dilation, where, axes), _naturals([groups], where)[0]
        if axes not in (1, 2) or type(circular) is not bool or min((*stride, *dilation, groups, *sizes)) < 1:
            raise Refused(f"{where}: no convolution of one or two image axes")
        if sizes[1] * groups != shape[1] or sizes[0] % groups:
            raise Refused(f"{where}: the kernel does not fit {shape[1]} channels in {groups} groups")
        if circular and any(max(pair) > n for pair, n in zip(pads, shape[2:])):
            raise Refused(f"{where}: circular padding beyond the image")
        image = []
        for n, pair, k, s, d in zip(shape[2:], pads, sizes[2:], stride, dilation):
            if n + sum(pair) <= d * (k - 1):
                raise Refused(f"{where}: the kernel does not fit the image")
            image.append((n + sum(pair) - d * (k - 1) - 1) // s + 1)
        fields = dict(zip(names, (kernel, pads, circular, stride, dilation, groups)), bias=bias)
        return Map(kind, (shape,), (shape[0], sizes[0], *image), fields)
    if kind == "adjoint":
        of = _fields(value, where, ("kind", "of"))[1]
        if not isinstance(of, dict) or "input" not in of or of.get("kind") not in ("dense", "convolution"):
            raise Refused(f"{where}: the adjoint is of a dense map or a convolution with an input shape")
        inner = _linear({k: v for k, v in of.items() if k != "input"}, _shape(of["input"], where), where)
        if inner.output != shape:
            raise Refused(f"{where}: the adjoint of a map to {inner.output} on a value of shape {shape}")
        return Map(kind, (shape,), inner.inputs[0], {"of": inner, "bias": bias})
    if kind == "diagonal":
        factor = _fields(value, where, ("kind", "factor"))[1]
        if not _broadcasts(_array_shape(factor, where), shape):
            raise Refused(f"{where}: factors that do not broadcast to {shape}")
        return Map(kind, (shape,), shape, {"factor": factor, "bias": bias})
    if kind == "separable":
        _, factors, scale, output = _fields(value, where, ("kind", "factors", "scale", "output"))
        made, seen = list(shape), set()
        for pair in _list(factors, where):
            axis, matrix = _list(pair, where, 2)
            out, inner = _array_shape(matrix, where, 2)
            if type(axis) is not int or not 0 <= axis < len(shape) or axis in seen or shape[axis] != inner:
                raise Refused(f"{where}: a factor does not fit its axis")
            seen.add(axis)
            made[axis] = out
        output, scale = _shape(output, where), _ratio(scale, where)
        if prod(output) != prod(made) or scale <= 0:
            raise Refused(f"{where}: the factors make another shape than {output}")
        return Map(kind, (shape,), output, {"factors": factors, "scale": scale, "bias": bias})
    if kind == "gather":
        _, runs, output = _fields(value, where, ("kind", "runs", "output"))
        output, total, most = _shape(output, where), 0, prod(shape)
        for run in _list(runs, where):
            if any(type(n) is not int for n in _list(run, where, 3)):
                raise Refused(f"{where}: a run is three integers")
            first, step, count = run
            ends = (first, first + step * (count - 1))
            if count < 1 or ((first, step) != (-1, 0) and not 0 <= min(ends) <= max(ends) < most):
                raise Refused(f"{where}: a run beyond the value it reads")
            total += count
        if total != prod(output):
            raise Refused(f"{where}: its runs make {total} entries, not {prod(output)}")
        return Map(kind, (shape,), output, {"runs": runs, "bias": bias})
    if kind == "rearrange":
        _, axes, output = _fields(value, where, ("kind", "axes", "output"))
        if axes is not None and sorted(_naturals(axes, where)) != list(range(len(shape))):
            raise Refused(f"{where}: its axes are no permutation")
        if prod(_shape(output, where)) != prod(shape):
            raise Refused(f"{where}: from {shape} to {output}")
        return Map(kind, (shape,), tuple(output), {"axes": axes, "bias": bias})
    if kind == "pad":
        _, pads, circular = _fields(value, where, ("kind", "pads", "circular"))
        pads = _pads(pads, where, len(shape))
        if type(circular) is not bool or (circular and any(max(p) > n for p, n in zip(pads, shape))):
            raise Refused(f"{where}: no padding, or circular beyond the value")
        output = tuple(n + sum(p) for n, p in zip(shape, pads))
        return Map(kind, (shape,), output, {"pads": pads, "circular": circular, "bias": bias})
    raise Refused(f"{where} has the unknown kind {str(kind)[:40]}")


def _array_shape(value, where, axes=None):
    shape = _shape(value.get("shape") if isinstance(value, dict) else None, where)
    if axes is not None and len(shape) != axes:
        raise Refused(f"{where}: an array of shape {shape} where {axes} axes are expected")
    return shape


def _broadcasts(shape, to):
    return len(shape) <= len(to) and all(n in (1, m) for n, m in zip(shape[::-1], to[::-1]))


BUDGET, EACH = 1 << 27, 1 << 9
"""Steps, of about 10^-7 seconds, that a certificate may take: so many, and so many more for each number of the weights."""


class Arrays:
    """The numbers of the arrays of a certificate: stored, inline, or folded again from what is stored."""

    def __init__(self, stated, weights, trusted):
        self._stated, self._weights, self._trusted = stated, weights, trusted
        self._left = BUDGET + EACH * sum(prod(weights.entry(name)[1]) for name in stated)

    def spend(self, steps):
        """Counts steps of all that a certificate asks for: entries gone through, products of a witness, or 256 of a proof.

        Raises:
            TooLarge: where they are too many together.
        """
        self._left -= steps
        if self._left < 0:
            raise TooLarge("more steps in all than weights of this size deserve")

    def __call__(self, value, where):
        """
        Raises:
            Refused, Disproved: where there are none, or others than stated.
            Unchecked: where the certificate gives a digest instead.
        """
        shape = _array_shape(value, where)
        self.spend(prod(shape))
        if "weight" in value:
            _, name, transposed = _fields(value, where, ("shape", "weight"), ("transposed",))
            if _text(name, where) not in self._stated:
                raise Refused(f"{where} reads the weight {name!r}, whose digest is not stated")
            if transposed is not None and type(transposed) is not bool:
                raise Refused(f"{where}: transposed is true or false")
            numbers = self._weights.numbers(name)
            if transposed and len(numbers.shape) < 2:
                raise Refused(f"{where} transposes {name!r}, which has no two axes")
            numbers = numbers.transposed() if transposed else numbers
        elif "numbers" in value or "runs" in value:
            if "runs" in value:
                radii = None
                runs = [_list(run, where, 2) for run in _list(_fields(value, where, ("shape", "runs"))[1], where)]
            else:
                _, found, radii = _fields(value, where, ("shape", "numbers"), ("radii",))
                runs = [(n, 1) for n in _list(found, where)]
            counts = _naturals([count for _, count in runs], where)
            if len(runs) > INLINE or sum(counts) != prod(shape) or prod(shape) > MAX_ENTRIES:
                raise Refused(f"{where} holds more than {INLINE} numbers, or others than of its shape")
            values = [x for (n, _), count in zip(runs, counts) for x in [_signed(n, where)] * count]
            radii = None if radii is None else [float(hex_number(n)) for n in _list(radii, where, len(values))]
            numbers = Numbers((len(values),), values, radii)
            self._trusted("the numbers that the graph itself holds")
        elif "fold" in value:
            expression = _fields(value, where, ("shape", "fold"))[1]
            numbers = fold(expression, lambda leaf: self(leaf, where), self.spend)
        else:
            _fields(value, where, ("shape", "trusted"))
            raise Unchecked(f"the numbers of {where}, of which the certificate has a digest only")
        if prod(numbers.shape) != prod(shape):
            raise Refused(f"{where}: {prod(numbers.shape)} numbers for the shape {shape}")
        return numbers.reshaped(shape)


def _signed(text, where):
    """A float from the text that Python writes of it in hexadecimal, of either sign (no -0)."""
    negative = _text(text, where).startswith("-")
    number = hex_number(text[1:] if negative else text)
    if negative and not number:
        raise Refused(f"{where} holds -0")
    return -float(number) if negative else float(number)


# ---- Norms: the operator of one or two nodes, and the rule that bounds it ----------------------------------------------


NORMS = {
    "dense": (),
    "unrolled": (),
    "torus": ("sizes", "twists", "grid"),
    "entries": (),
    "copies": (),
    "separable": ("squares", "slacks"),
    "rows": (),
}
"""Rules of norms, each with its fields beside those that all have."""


@dataclass(frozen=True)
class Norm:
    """||A||^2 <= square for the operator A of the nodes ``maps``; of ``rows``, the square of every row's norm."""

    maps: tuple
    rule: str
    square: Fraction


def read_norm(value, where, graph):
    """The statement of one norm, its chain of nodes checked to be one; nothing is proved yet."""
    rule = _text(value.get("rule") if isinstance(value, dict) else None, where)
    if rule not in NORMS:
        raise Unchecked(f"the rule {rule[:40]} of {where}")
    maps, _, square, slack, *_ = _fields(value, where, ("maps", "rule", "square", "slack", *NORMS[rule]))
    if not _list(maps, where) or any(_text(m, where) not in graph.nodes for m in maps):
        raise Refused(f"{where} is of no nodes of the graph")
    for first, second in itertools.pairwise(maps):
        if graph.nodes[second].reads != (first,):
            raise Refused(f"{where}: {second!r} does not read {first!r} alone")
    if any(graph.nodes[m].map.kind not in LINEAR for m in maps):
        raise Disproved(f"{where} is of a node that is not linear")
    _slack(slack, where)
    return Norm(tuple(maps), rule, hex_number(square))


def _slack(value, where):
    if type(value) is not int or not 0 <= value <= 40:
        raise Refused(f"{where}: slack is an integer between 0 and 40")
    return value


def norm_holds(value, norm, where, graph, arrays, factor=None):
    """Whether the stated bound is proved by the stated rule.

    Raises:
        Unchecked: for a rule or a combination that is not known here.
        Disproved, Refused: where the rule is not one of this operator.
    """
    chain = [graph.nodes[m].map for m in norm.maps]
    arrays.spend(_cost(chain, value) // 256)
    rule, square, slack = norm.rule, norm.square, value["slack"]
    if rule in ("dense", "rows") and chain[0].kind in ("dense", "adjoint") and _unwrapped(chain[0])[0].kind == "dense":
        matrix = _dense(chain, arrays, where)
        return rows_hold(matrix, square) if rule == "rows" else dense_holds(matrix, square, slack, factor)
    if rule in ("unrolled", "torus"):
        kernel = _kernel(chain, arrays, where)
        if rule == "unrolled":
            return unrolled_holds(kernel, square, slack, factor)
        sizes = _naturals(value["sizes"], where, len(kernel.image))
        twists = _naturals(value["twists"], where, len(kernel.image))
        if type(value["grid"]) is not bool:
            raise Refused(f"{where}: grid is true or false")
        return torus_holds(kernel, sizes, twists, value["grid"], square, slack, arrays.spend)
    if rule == "rows" and chain[-1].kind in ("convolution", "diagonal"):
        kernel = _kernel(chain, arrays, where)
        numbers, reach = kernel.numbers, zip(kernel.numbers.shape[2:], kernel.dilation, kernel.image)
        if _unwrapped(chain[0])[1] or (kernel.circular and any(d * (k - 1) >= n for k, d, n in reach)):
            raise Unchecked("rows of an adjoint, or of a circular kernel larger than its image")
        return rows_hold(numbers.reshaped((numbers.shape[0], prod(numbers.shape[1:]))), square)
    if len(chain) != 1:
        raise Unchecked(f"the rule {rule} of {len(chain)} nodes")
    only = chain[0]
    if rule == "entries" and only.kind == "diagonal":
        return entries_hold(arrays(only.fields["factor"], where), square)
    if rule == "copies" and only.kind in ("gather", "pad", "rearrange"):
        arrays.spend(2 * (prod(only.inputs[0]) + prod(only.output)) if only.kind == "gather" else 0)
        return _most_copies(only) <= square
    if rule == "separable" and only.kind == "separable":
        factors = only.fields["factors"]
        squares = [hex_number(s) for s in _list(value["squares"], where, len(factors))]
        slacks = [_slack(s, where) for s in _list(value["slacks"], where, len(factors))]
        return only.fields["scale"] ** 2 * prod(squares) <= square and all(
            dense_holds(arrays(matrix, where), s, room) for (_, matrix), s, room in zip(factors, squares, slacks)
        )
    raise Unchecked(f"the rule {rule} of a map of kind {only.kind}")


def _cost(chain, value):
    """Products of integers that the proof of a norm takes, about."""
    sides = [prod(chain[0].inputs[0]), prod(chain[-1].output)]
    kind, fields = _unwrapped(chain[0])[0].kind, _unwrapped(chain[0])[0].fields
    if value["rule"] == "unrolled":
        return min(sides) ** 2 * max(sides)
    if value["rule"] == "torus":
        return 0  # torus_holds counts its frequencies
    matrices = (
        [m for _, m in fields["factors"]] if kind == "separable" else [fields["weight"]] if kind == "dense" else []
    )
    shapes = [sorted(_array_shape(m, "a matrix")) for m in matrices]
    return sum(small**2 * (small + large) for small, large in shapes)


def _unwrapped(map_):
    """A dense map or a convolution, and whether its adjoint is meant."""
    return (map_.fields["of"], True) if map_.kind == "adjoint" else (map_, False)


def _dense(chain, arrays, where):
    """The matrix (out, in) of a dense map, and of a diagonal after it."""
    dense, transposed = _unwrapped(chain[0])
    matrix = arrays(dense.fields["weight"], where)
    matrix = matrix.transposed() if transposed else matrix
    if len(chain) == 1:
        return matrix
    return _scaled(matrix, 0, chain, -1, arrays, where)


def _kernel(chain, arrays, where):
    """The kernel of a convolution or of its adjoint, with a padding before and a diagonal after it."""
    padding, chain = (chain[0], chain[1:]) if chain[0].kind == "pad" else (None, chain)
    if not chain or chain[0].kind not in ("convolution", "adjoint"):
        raise Disproved(f"{where} is of no convolution")
    convolution, transposed = _unwrapped(chain[0])
    if convolution.kind != "convolution":
        raise Disproved(f"{where} is of no convolution")
    fields, shape = convolution.fields, convolution.inputs[0]
    pads, circular = fields["pads"], fields["circular"]
    if padding is not None:
        outer, shape = padding.fields["pads"], padding.inputs[0]
        if transposed or any(map(any, outer[:2])) or circular or (padding.fields["circular"] and any(map(any, pads))):
            raise Unchecked("a padding that is none of the convolution after it")
        pads = tuple((a + c, b + d) for (a, b), (c, d) in zip(outer[2:], pads))
        circular = padding.fields["circular"]
    numbers = arrays(fields["kernel"], where)
    if len(chain) > 1:
        if transposed and fields["groups"] != 1:
            raise Unchecked("a diagonal after the adjoint of a grouped convolution")
        numbers = _scaled(numbers, 1 if transposed else 0, chain, 1, arrays, where)
    rest = (fields["stride"], fields["dilation"], fields["groups"])
    return Kernel(numbers, shape[1], tuple(shape[2:]), pads, circular, *rest)


def _scaled(numbers, axis, chain, channels, arrays, where):
    """The array of a linear map times the factors of the diagonal after it, one for each channel that it makes."""
    if len(chain) != 2 or chain[1].kind != "diagonal":
        raise Unchecked("the nodes {} as one operator".format(", ".join(m.kind for m in chain)))
    output = chain[1].inputs[0]
    channels %= len(output)
    factor = arrays(chain[1].fields["factor"], where)
    full = (1,) * (len(output) - len(factor.shape)) + tuple(factor.shape)
    if any(n != 1 for i, n in enumerate(full) if i != channels):
        raise Unchecked("a diagonal that is not constant on each channel")
    shape = [1] * len(numbers.shape)
    shape[axis] = full[channels]
    parts = (numbers, factor.reshaped(tuple(shape)))
    return fold(["mul", {"part": 0}, {"part": 1}], lambda leaf: parts[leaf["part"]])


def _most_copies(map_):
    """The largest number of entries of the output that copy one entry of the input."""
    if map_.kind == "rearrange":
        return 1
    if map_.kind == "pad":
        sides = zip(map_.inputs[0], map_.fields["pads"])
        return prod(-(-(n + sum(p)) // n) if n else 0 for n, p in sides) if map_.fields["circular"] else 1
    if max(prod(map_.inputs[0]), prod(map_.output)) > MAX_ENTRIES:
        raise Unchecked(f"copies among more than {MAX_ENTRIES} entries")
    counts = [0] * prod(map_.inputs[0])
    for first, step, count in map_.fields["runs"]:
        for k in range(count if first >= 0 else 0):
            counts[first + k * step] += 1
    return max(counts, default=0)


# ---- Steps: from the input of a region to its output -------------------------------------------------------------------


MAX_SCALARS = 8
"""Factors of one residual branch."""
STEPS = {
    "affine": ("norm",),
    "cpl": ("norm",),
    "pointwise": (),
    "named": (),
    "sum": (),
    "joint": (),
    "rows": ("norm",),
}
"""Rules of steps, each with its fields beside those that all have."""


class Derivation:
    """Upper bounds of the constants from one value of a graph, by the steps of one region."""

    def __init__(self, graph, start, norms, arrays, trusted, adjoint):
        self._graph, self._norms, self._arrays, self._trusted = graph, norms, arrays, trusted
        self._adjoint = adjoint
        self.l2, self.linf = {start: Fraction(1)}, {}

    def take(self, step, rows):
        """One step: its demand is checked and its bound kept.

        Raises:
            Refused, Disproved, Unchecked: where it may not be taken.
        """
        rule = _text(step.get("rule") if isinstance(step, dict) else None, "a step's rule")
        if rule not in STEPS:
            raise Unchecked(f"the rule {rule[:40]} of a step")
        value, _, upper, *norm = _fields(step, "a step", ("value", "rule", "upper", *STEPS[rule]))
        where = "the step to {!r}".format(_text(value, "a step's value"))
        if value not in self._graph.nodes or value in self.l2 or value in self.linf:
            raise Refused(f"{where} is to no value of the graph, or to one that was reached")
        upper, node = hex_number(upper), self._graph.nodes[value]
        square = self._norms(_text(norm[0], where)) if norm else None
        if rule == "rows" and rows:
            self._demand(upper**2 >= square.square * self._before(square, value, True) ** 2, where)
            self.linf[value] = upper
        elif rule == "affine" and square.rule == "copies" and set(node.reads) <= set(self.linf):
            self._demand(square.maps == (value,) and upper >= self.linf[node.reads[0]], where)
            self.linf[value] = upper
        elif rule == "pointwise" and set(node.reads) <= set(self.linf):
            self._demand(upper >= self._steepest(node, where) * self.linf[node.reads[0]], where)
            self.linf[value] = upper
        else:
            self._demand(self._l2_step(rule, node, upper, square, where), where)
            self.l2[value] = upper

    def _l2_step(self, rule, node, upper, norm, where):
        """Whether the demand of a rule holds, of l2 bounds."""
        if rule == "affine":
            return upper**2 >= norm.square * self._before(norm, node.value, False) ** 2
        if rule == "cpl":
            return upper >= self._block(node, norm, where)
        before = [self._known(read) for read in node.reads]
        if rule == "pointwise":
            return upper >= self._steepest(node, where) * before[0]
        if rule == "sum" and node.map.kind == "sum":
            return upper >= sum(before)
        if rule == "joint" and node.map.kind in ("concatenation", "extremum"):
            return upper**2 >= sum(b**2 for b in before)
        if rule == "named" and node.map.kind == "named":
            name, square = node.map.fields["name"], node.map.fields["square"]
            if name not in NAMED:
                raise Unchecked(f"the constant of {name} ({where})")
            return square >= NAMED[name] and upper**2 >= square * before[0] ** 2
        if rule in ("sum", "joint", "named"):
            raise Disproved(f"{where}: the rule {rule} is none of a map of kind {node.map.kind}")
        raise Unchecked(f"{str(rule)[:40]} ({where})")

    def _known(self, value):
        if value not in self.l2:
            raise Disproved(f"a step reads {value!r}, of which no l2 bound was derived")
        return self.l2[value]

    def _demand(self, holds, where):
        if not holds:
            raise Disproved(f"{where} states less than its rule gives")

    def _before(self, norm, value, rows):
        """The bound of what the first map of a norm reads, if the norm is of the node's own map."""
        if norm.maps[-1] != value or (norm.rule == "rows") is not rows:
            raise Disproved(f"the step to {value!r} rests on the norm of another map")
        return self._known(self._graph.nodes[norm.maps[0]].reads[0])

    def _steepest(self, node, where):
        """max(|alpha|, |beta|) of a pointwise map."""
        if node.map.kind != "pointwise":
            raise Disproved(f"{where}: the rule pointwise is none of a map of kind {node.map.kind}")
        name, (low, high) = node.map.fields["name"], node.map.fields["slopes"]
        if name in SLOPES:
            if low > SLOPES[name][0] or high < SLOPES[name][1]:
                raise Disproved(f"{where}: the slopes of {name} are not within those stated")
        elif name in WITH_PARAMETERS:
            if not low <= WITH_PARAMETERS[name] <= high:
                raise Disproved(f"{where}: the slopes of {name} are not within those stated")
            self._trusted(f"the slopes of {name}, which depend on its parameters")
        else:
            raise Unchecked(f"the slopes of {name} ({where})")
        return max(abs(low), abs(high))

    def _block(self, node, norm, where):
        """The bound of x + c A^T sigma(A x + b): max(|1 + lo|, |1 + hi|) r, [lo, hi] the hull of 0 and c slope square.

        (I + c A^T S A) is symmetric for S diagonal with entries between the slopes, and v^T A^T S A v lies between the
        slopes times |A v|^2, 0 <= |A v|^2 <= square |v|^2.
        """
        reads, nodes = node.reads, self._graph.nodes
        if node.map.kind != "sum" or len(reads) != 2 or norm.rule == "rows":
            raise Disproved(f"{where}: cpl is of a sum of two values")
        for skip, branch in ((0, 1), (1, 0)):
            if node.map.fields["signs"][skip] != 1:
                continue
            sign, name, seen = node.map.fields["signs"][branch], reads[branch], []
            low, high, scalars = Fraction(sign), Fraction(sign), 0
            while name in nodes and len(nodes[name].reads) == 1 and name not in norm.maps:
                map_ = nodes[name].map
                if map_.kind == "diagonal" and prod(_array_shape(map_.fields["factor"], where)) == 1:
                    scalars += 1
                    if "pointwise" in [m.kind for m in seen] or scalars > MAX_SCALARS:
                        break
                    factor = self._arrays(map_.fields["factor"], where)
                    middle = Fraction(factor.values[0])
                    radius = Fraction(factor.radii[0]) if factor.radii else 0
                    ends = [end * f for end in (low, high) for f in (middle - radius, middle + radius)]
                    low, high = min(ends), max(ends)
                elif not (map_.kind == "rearrange" and map_.fields["axes"] is None and map_.inputs[0] == map_.output):
                    seen.append(map_)
                name = nodes[name].reads[0]
            chain = [nodes[m] for m in norm.maps]
            if (
                name != norm.maps[-1]
                or chain[0].reads != (reads[skip],)
                or [m.kind for m in seen[1:]] not in (["pointwise"], ["pad", "pointwise"])
            ):
                continue
            if (node.value, norm.maps) not in self._adjoint:
                is_adjoint(seen[-2::-1], [n.map for n in chain], self._arrays, where)
                self._adjoint.add((node.value, norm.maps))
            self._steepest(Node("", seen[-1], ()), where)
            slopes = seen[-1].fields["slopes"]
            ends = [Fraction(0)] + [c * slope * norm.square for c in (low, high) for slope in slopes]
            return max(abs(1 + min(ends)), abs(1 + max(ends))) * self._known(reads[skip])
        raise Disproved(f"{where}: no block x + c A^T sigma(A x + b) with the A of its norm ends there")


def is_adjoint(outer, inner, arrays, where):
    """Checks that the operator of a chain is the adjoint of that of another: the same stored numbers, the same geometry.

    Raises:
        Disproved: where it is not, or is not seen to be.
    """
    (of_outer, outer_transposed), (of_inner, inner_transposed) = _unwrapped(outer[-1]), _unwrapped(inner[-1])
    same = outer[0].inputs[0] == inner[-1].output and outer[-1].output == inner[0].inputs[0]
    if same and of_inner.kind == of_outer.kind == "dense" and len(inner) == len(outer) == 1:
        same = _equal(_dense(outer, arrays, where), _dense(inner, arrays, where).transposed())
    elif same and of_inner.kind == of_outer.kind == "convolution":
        a, b = _kernel(outer, arrays, where), _kernel(inner, arrays, where)
        if inner_transposed is outer_transposed:
            plain = {*a.stride, *a.dilation, a.groups, *b.stride, *b.dilation, b.groups} == {1}
            pads = tuple((k - 1 - left, k - 1 - right) for (left, right), k in zip(b.pads, b.numbers.shape[2:]))
            same = plain and pads == a.pads and a.circular is b.circular and _equal(a.numbers, b.numbers.transposed())
            # Circular: on the torus that the image is, where outputs are as many as inputs.
            same = same and not (a.circular and inner[-1].output[2:] != inner[0].inputs[0][2:])
        else:
            same = replace(a, numbers=None) == replace(b, numbers=None) and _equal(a.numbers, b.numbers)
    else:
        same = False
    if not same:
        raise Disproved(f"{where}: its two linear maps are not seen to be adjoint to each other")


def _equal(a, b):
    """Whether two arrays are the same exact numbers."""
    return a.shape == b.shape and not a.radii and not b.radii and list(a.values) == list(b.values)


# ---- Witnesses: two inputs evaluated on the graph in integers --------------------------------------------------------

POINT = 160
"""Bits after the point of every value."""
LONGEST = 1 << 13
"""Bits of a value, at most."""
MAX_PRODUCTS = 1 << 27


class Evaluation:
    """Values of a graph at one input: integers over 2^POINT, each value within one radius (in the same units), entrywise."""

    def __init__(self, graph, arrays):
        self._graph, self._arrays, self._left = graph, arrays, MAX_PRODUCTS

    def at(self, start, x, end):
        """The value ``end`` where the value ``start`` has the entries ``x`` (floats): (integers, radius).

        Raises:
            Unchecked: for a map that is not evaluated here, or more than MAX_PRODUCTS products.
            Disproved: where ``end`` depends on something else than ``start``.
        """
        known, stack = {start: (_fixed(x)[0], 1)}, [end]
        seen = set()
        while stack:
            name = stack.pop()
            if name == start or name in seen:
                continue
            if name not in self._graph.nodes:
                raise Disproved(f"the value {end!r} depends on more than the witness gives")
            seen.add(name)
            stack.extend(self._graph.nodes[name].reads)
        needed = [node for name, node in self._graph.nodes.items() if name in seen]
        last = {read: node.value for node in needed for read in node.reads}
        for node in needed:
            known[node.value] = self._apply(node, [known[read] for read in node.reads])
            for read in set(node.reads):
                if last[read] == node.value and read != end:
                    del known[read]
        return known[end]

    def _apply(self, node, before):
        map_, fields, where = node.map, node.map.fields, f"the value {node.value!r}"
        if prod(map_.output) > MAX_ENTRIES:
            raise Unchecked(f"a witness through more than {MAX_ENTRIES} entries ({where})")
        if map_.kind in ("named", "opaque"):
            raise Unchecked("a witness through {} ({})".format(fields["name"], where))
        if not prod(map_.output):
            return [], 0
        self._arrays.spend(prod(map_.output) * (1 + len(before)))
        values, radius = before[0]
        if max(max(map(abs, v), default=0) for v, _ in before).bit_length() > LONGEST:
            raise Unchecked(f"a witness through numbers beyond 2^{LONGEST - POINT} ({where})")
        if map_.kind in LINEAR:
            values, radius = self._linear(map_, values, radius, where)
            if fields["bias"] is not None:
                bias = self._arrays(fields["bias"], where)
                if not _broadcasts(bias.shape, map_.output):
                    raise Refused(f"{where}: a bias that does not broadcast")
                moved, error = _fixed(_spread(bias.values, bias.shape, map_.output))
                values = [v + m for v, m in zip(values, moved)]
                radius += error + _radius(bias)
            return values, radius
        if map_.kind == "pointwise" and fields["name"] in ("relu", "abs"):
            return [max(v, 0) if fields["name"] == "relu" else abs(v) for v in values], radius
        if map_.kind == "sum":
            signs = fields["signs"]
            total = [sum(s * v for s, v in zip(signs, entry)) for entry in zip(*(v for v, _ in before))]
            return total, sum(r for _, r in before)
        if map_.kind == "extremum":
            pick = max if fields["largest"] else min
            return [pick(a, b) for a, b in zip(values, before[1][0])], max(r for _, r in before)
        if map_.kind == "concatenation":
            blocks = [prod(shape[fields["axis"] :]) for shape in map_.inputs]
            rows = prod(map_.inputs[0][: fields["axis"]])
            joined = [v[r * n : (r + 1) * n] for r in range(rows) for (v, _), n in zip(before, blocks)]
            return [v for part in joined for v in part], max(r for _, r in before)
        raise Unchecked("a witness through {} ({})".format(fields.get("name", map_.kind), where))

    def _linear(self, map_, values, radius, where):
        """A x for a linear map: every output is the sum of its products, the floor of which is taken once."""
        if map_.kind == "separable":
            shape, scale = list(map_.inputs[0]), map_.fields["scale"]
            for axis, matrix in map_.fields["factors"]:
                numbers = self._arrays(matrix, where)
                values, radius = self._sums(_along(numbers, shape, axis), numbers, values, radius, where)
                shape[axis] = numbers.shape[0]
            scaled = [v * scale.numerator // scale.denominator for v in values]
            return scaled, -(-radius * scale.numerator // scale.denominator) + 1
        base, transposed = _unwrapped(map_)
        field = {"dense": "weight", "convolution": "kernel", "diagonal": "factor"}.get(base.kind)
        numbers = None if field is None else self._arrays(base.fields[field], where)
        triples = _triples(base, numbers)
        if transposed:
            triples = ((j, i, k) for i, j, k in triples)
        size = prod(map_.output)
        return self._sums((size, triples), numbers, values, radius, where)

    def _sums(self, entries, numbers, values, radius, where):
        size, triples = entries
        if size > MAX_ENTRIES:
            raise Unchecked(f"a witness through more than {MAX_ENTRIES} entries ({where})")
        if not size:
            return [], 0
        total, weight = [0] * size, [0] * size
        fixed, error = ([1 << POINT], 0) if numbers is None else _fixed(numbers.values)
        error += 0 if numbers is None else _radius(numbers)
        largest = max(map(abs, values), default=0) + radius
        count = 0
        for i, j, k in triples:
            count += 1
            if count > self._left:
                raise Unchecked(f"a witness that takes more than {MAX_PRODUCTS} products")
            w = fixed[k]
            total[i] += w * values[j]
            weight[i] += abs(w)
        self._left -= count
        self._arrays.spend(count)
        spread = max(weight, default=0) * radius + count * error * largest
        return [t >> POINT for t in total], (spread >> POINT) + 2


def _triples(map_, numbers):
    """(output, input, weight) positions of every product of a linear map."""
    shape, output, fields = map_.inputs[0], map_.output, map_.fields
    if map_.kind == "dense":
        out, inner = numbers.shape
        for row in range(prod(shape[:-1])):
            for o in range(out):
                for i in range(inner):
                    yield row * out + o, row * inner + i, o * inner + i
    elif map_.kind == "convolution":
        kernel, axes = numbers.shape, []
        for a, (n, m) in enumerate(zip(shape[2:], output[2:])):
            pad, step, dilation = fields["pads"][a][0], fields["stride"][a], fields["dilation"][a]
            if m * kernel[2 + a] > MAX_PLACES:
                raise Unchecked(f"a witness through a convolution of {m} places and {kernel[2 + a]} taps")
            reads = [(i, t, i * step + t * dilation - pad) for i in range(m) for t in range(kernel[2 + a])]
            axes.append([(i, t, j % n) for i, t, j in reads if fields["circular"] or 0 <= j < n])
        axes = axes if len(axes) == 2 else [axes[0], [(0, 0, 0)]]
        (h, w), (oh, ow) = (tuple(s[2:]) + (1,) * (4 - len(s)) for s in (shape, output))
        taps, wide = prod(kernel[2:]), kernel[3] if len(kernel) == 4 else 1
        per_group = kernel[0] // fields["groups"]
        for b in range(shape[0]):
            for o in range(kernel[0]):
                first = o // per_group * kernel[1]
                for c in range(kernel[1]):
                    reads, makes = (b * shape[1] + first + c) * h * w, (b * kernel[0] + o) * oh * ow
                    weights = (o * kernel[1] + c) * taps
                    for i, s, y in axes[0]:
                        for j, t, x in axes[1]:
                            yield makes + i * ow + j, reads + y * w + x, weights + s * wide + t
    elif map_.kind == "diagonal":
        places = _spread(range(prod(numbers.shape)), numbers.shape, shape)
        for i, k in enumerate(places):
            yield i, i, k
    elif map_.kind == "gather":
        i = 0
        for first, step, count in fields["runs"]:
            for k in range(count):
                if first >= 0:
                    yield i + k, first + k * step, 0
            i += count
    elif map_.kind == "rearrange":
        axes = fields["axes"] or range(len(shape))
        strides = _strides(shape)
        moved = [shape[a] for a in axes]
        for i, j in enumerate(_places(moved, [strides[a] for a in axes])):
            yield i, j, 0
    else:
        sides = zip(shape, fields["pads"])
        reads = [[(i, i - p[0]) for i in range(n + sum(p))] for n, p in sides]
        kept = [[(i, j % n) for i, j in axis if fields["circular"] or 0 <= j < n] for axis, n in zip(reads, shape)]
        places = [(0, 0)]
        for axis, a, b in zip(kept, _strides(output), _strides(shape)):
            places = [(i + u * a, j + v * b) for i, j in places for u, v in axis]
        for i, j in places:
            yield i, j, 0


def _along(numbers, shape, axis):
    """(size, triples) of a matrix along one axis."""
    out, inner = numbers.shape
    after, before = prod(shape[axis + 1 :]), prod(shape[:axis])

    def triples():
        for b in range(before):
            for o in range(out):
                for i in range(inner):
                    for a in range(after):
                        yield (b * out + o) * after + a, (b * inner + i) * after + a, o * inner + i

    return before * out * after, triples()


def _fixed(values):
    """Floats as integers over 2^POINT, rounded down, and the error in the same units (0 or 1)."""
    exact, fixed = True, []
    for value in values:
        p, q = float(value).as_integer_ratio()
        shifted, rest = divmod(p << POINT, q)
        exact = exact and not rest
        fixed.append(shifted)
    return fixed, 0 if exact else 1


def _radius(numbers):
    """The largest radius of some numbers, in units of 2^-POINT, rounded up."""
    largest = Fraction(max(numbers.radii)) if numbers.radii else Fraction(0)
    return -(-(largest.numerator << POINT) // largest.denominator)


def _witness_holds(witness, region, graph, arrays):
    """Whether two inputs show the stated ratio: ratio^2 |x - y|^2 <= |f(x) - f(y)|^2 for all that the radii leave open."""
    _, norm, x, y, ratio = witness
    start, end = region["input"], region["output"]
    ends = [Evaluation(graph, arrays).at(start, point, end) for point in (x, y)]
    radius = ends[0][1] + ends[1][1]
    gaps = [max(abs(a - b) - radius, 0) for a, b in zip(ends[0][0], ends[1][0])]
    rise = max(gaps, default=0) ** 2 if norm == "l2->linf" else sum(g * g for g in gaps)
    run = sum((Fraction(a) - Fraction(b)) ** 2 for a, b in zip(x, y))
    return run > 0 and ratio**2 * run <= Fraction(rise, 1 << (2 * POINT))


def _margin_holds(x, kept, radius, norm, upper, graph, arrays, end):
    """Whether class ``kept`` stays the largest output for all inputs within ``radius`` of x.

    (f_i - f_j) is sqrt(2) L Lipschitz for L the l2 -> l2 constant, 2 L for that of l2 -> linf: its value at x must be larger
    than that times the radius, for every j. Ties are no margin.
    """
    values, error = Evaluation(graph, arrays).at(graph.input, x, end)
    if not 0 <= kept < len(values) or len(values) != (graph.shape_of(end) or (0,))[-1]:
        raise Refused("there is no such class, or the outputs are no row of classes")
    gap = min((values[kept] - v for j, v in enumerate(values) if j != kept), default=0) - 2 * error
    factor = 2 if norm == "l2->l2" else 4
    return gap > 0 and Fraction(gap, 1 << POINT) ** 2 > factor * (upper * radius) ** 2


def _point(value, where, size):
    """The entries of a witness: float64, little-endian, base64."""
    shape, text = _fields(value, where, ("shape", "base64"))
    try:
        data = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except ValueError:
        raise Refused(f"{where} is no base64") from None
    if prod(_shape(shape, where)) != size or len(data) != 8 * size:
        raise Refused(f"{where} has another size than the value it is an input of")
    entries = list(struct.unpack(f"<{size}d", data))
    if not all(map(math.isfinite, entries)):
        raise Refused(f"{where} holds NaN or infinity")
    return entries


# ---- The whole certificate -------------------------------------------------------------------------------------------

VERDICTS = ("PROVED", "REFUTED", "UNDECIDED", "UNSUPPORTED", "CONFLICT")
PAIRS = ("l2->l2", "l2->linf")
GRAPH_ON_TRUST = "that the graph is the model's program, and the regions are its layers"


@dataclass
class Outcome:
    """What a check found, statement by statement.

    Attributes:
        accepted: statements that hold.
        refused: statements that do not, or are not shown to.
        unchecked: statements by a rule that is not known here.
        open: claims that the certificate itself does not call PROVED.
        trusted: what was believed.
        claims: how many claims the certificate states.
        unreadable: why nothing could be checked, or None.
    """

    accepted: list
    refused: list
    unchecked: list
    open: list
    trusted: list
    claims: int = 0
    unreadable: str | None = None

    @property
    def exit_code(self):
        """0: all holds and every claim is PROVED; 1: something does not hold; 2: unreadable; 3: something unchecked or open.

        Where nothing was accepted but the digests, which come first, nothing is stated: that is 3, too.
        """
        if self.unreadable is not None:
            return 2
        return 1 if self.refused else 3 if self.unchecked or self.open or len(self.accepted) < 2 else 0

    def text(self):
        """For people, ASCII, a line for each statement."""
        if self.unreadable is not None:
            return f"unreadable: {_plain(self.unreadable)}\n"
        named = (
            ("holds", self.accepted),
            ("REFUSED", self.refused),
            ("UNCHECKED", self.unchecked),
            ("open", self.open),
        )
        lines = [f"{name:9} {_plain(line)}" for name, found in named for line in found]
        lines += [f"on trust  {_plain(line)}" for line in self.trusted]
        claims = f"and its claims ({self.claims}) are PROVED" if self.claims else "and nothing is claimed"
        ends = (f"ACCEPTED: every statement holds, {claims}", "REFUSED", "", "not ACCEPTED as a whole")
        counts = ", ".join(f"{len(found)} {name.lower()}" for name, found in named)
        return "\n".join([*lines, f"{ends[self.exit_code]} ({counts})"]) + "\n"


def _shown(bound):
    """A bound, exactly, and about."""
    return f"{float(bound).hex()} ({float(bound):.9g})"


def _reason(error):
    """What an exception says, and of which file."""
    if isinstance(error, OSError):
        return f"{error.filename!r}: {error.strerror}"
    return str(error) or type(error).__name__


def _plain(text):
    """Text from a stranger's file, with control and non-ASCII characters as escapes."""
    return "".join(c if " " <= c <= "~" else f"\\x{ord(c):x}" for c in text[:2000])


def check(certificate, weights, progress=lambda line: None):
    """Check every statement of a certificate.

    Args:
        certificate: the bytes of the file.
        weights: the stored tensors.
        progress: called with a line before every longer proof.
    """
    outcome = Outcome([], [], [], [], [GRAPH_ON_TRUST])
    try:
        _Check(certificate, weights, progress, outcome).run()
    except (Disproved, Unchecked) as error:
        outcome.refused.append(str(error))
    except Exception as error:  # a defect of this program is no reason to believe what it was given
        outcome.unreadable = f"{_reason(error)} (nothing is accepted)"
    if has_flint():
        outcome.trusted.append("the integer products of python-flint")
    return outcome


class _Check:
    def __init__(self, certificate, weights, progress, outcome):
        self._outcome, self._progress, self._weights = outcome, progress, weights
        data = read_json(certificate)
        schema = data.get("schema") if isinstance(data, dict) else None
        if schema != SCHEMA:
            stated = (
                f"its schema is {str(schema)[:60]!r}"
                if schema is not None
                else "it is no certificate: it has no schema"
            )
            raise Refused(f"{stated}; {SCHEMA} is read: {RENEW}")
        keys = ("schema", "body", "sha256"), ("evidence", "made")
        _, body, stated, self._evidence, _ = _fields(data, "the certificate", *keys)
        if not isinstance(stated, str) or stated != digest(body):
            raise Disproved("the digest of the body is not that of its text")
        parts = _fields(body, "the body", ("semantics", "weights", "graph", "norms", "regions", "margins"))
        semantics, self._tensors, graph, self._stated, self._regions, self._margins = parts
        if semantics != "real":
            raise Refused(f"its semantics is {str(semantics)[:40]!r}; real is read")
        self._read_weights()
        self._graph = read_graph(graph)
        self._arrays = Arrays(self._tensors, weights, self._trust)
        self._norms, self._adjoint, self._whole = {}, set(), {}
        if not isinstance(self._stated, dict):
            raise Refused("the norms are no object")

    def _trust(self, what):
        if what not in self._outcome.trusted:
            self._outcome.trusted.append(what)

    def _read_weights(self):
        if not isinstance(self._tensors, dict):
            raise Refused("the weights are no object")
        there = set(self._weights.names())
        for name in sorted(self._tensors):
            kind, shape, stated = _fields(self._tensors[name], f"the weight {name!r}", ("dtype", "shape", "sha256"))
            if name not in there:
                raise Disproved(f"the weight {name!r} is not in the weights' file")
            if (kind, _shape(shape, name)) != tuple(self._weights.entry(name)) or stated != self._weights.digest(name):
                raise Disproved(f"the weight {name!r} is another one than that of the certificate")
        self._outcome.accepted.append(f"the digests of the body, the graph and {len(self._tensors)} weights")

    def run(self):
        for node in self._graph.nodes.values():  # no bound depends on a bias, but a graph with half a bias is no graph
            if node.map.fields.get("bias") is not None:
                try:
                    self._arrays(node.map.fields["bias"], f"the bias of {node.value!r}")
                except Unchecked as reason:
                    self._trust(str(reason))
        for name in self._stated:
            self._say(lambda name=name: self._norm(name), f"the norm {name!r}", quiet=True)
        if not _list(self._regions, "the regions"):
            raise Refused("there are no regions: nothing is stated")
        seen, readable = set(), []
        for region in self._regions:
            names = ("path", "norm", "claim", "verdict", "reason", "input", "output", "steps", "upper", "rule")
            values = dict(zip(names, _fields(region, "a region", names)))
            path, norm = _text(values["path"], "a path"), _text(values["norm"], "a norm pair")
            where = "{}, {}".format(repr(path) if path else "the whole", norm[:40])
            claim = values["claim"]
            bound, domain = (None, None) if claim is None else _fields(claim, where, ("bound", "domain"))
            if domain is not None and not (isinstance(domain, str) and _DIGEST.fullmatch(domain)):
                raise Refused(f"{where}: a domain is null or a digest")
            if (path, norm, domain) in seen:
                raise Refused(f"{where} is stated twice")
            seen.add((path, norm, domain))
            self._outcome.claims += claim is not None
            bound = None if claim is None else decimal(bound, where)
            verdict = values["verdict"]
            if (verdict is None) is not (claim is None) or (claim is not None and verdict not in VERDICTS):
                raise Refused(f"{where}: the verdict {str(verdict)[:40]} does not go with its claim")
            readable.append((where, values, bound, domain))
        witnesses = self._read_witnesses({(v["path"], v["norm"]): v for _, v, _, _ in readable})
        for where, values, bound, domain in readable:
            self._region(where, values, bound, domain, witnesses)
        for i, margin in enumerate(_list(self._margins, "the margins")):
            self._margin(i + 1, margin)

    def _say(self, prove, what, quiet=False):
        """Run one proof; whether it held (None: it is UNCHECKED). What happened is kept in the outcome."""
        try:
            prove()
        except Unchecked as reason:
            self._outcome.unchecked.append(f"{what}: {reason}")
            return None
        except (Disproved, Refused) as reason:
            self._outcome.refused.append(f"{what}: {reason}")
        else:
            if not quiet:
                self._outcome.accepted.append(what)
            return True
        return False

    def _norm(self, name):
        """The statement of that name, proved once.

        Raises:
            Unchecked, Disproved, Refused: again each time that it is asked for.
        """
        if name not in self._norms:
            try:
                self._norms[name] = self._proved(name)
            except (Unchecked, Disproved, Refused) as reason:
                self._norms[name] = reason
        if isinstance(self._norms[name], Exception):
            raise self._norms[name]
        return self._norms[name]

    def _proved(self, name):
        where = f"the norm {name[:200]!r}"
        if name not in self._stated:
            raise Refused(f"{where} is not stated")
        value = self._stated[name]
        norm = read_norm(value, where, self._graph)
        self._progress(f"{len(self._norms) + 1} of {len(self._stated)}: {where}, by the rule {norm.rule}")
        if not norm_holds(value, norm, where, self._graph, self._arrays, self._factor(name)):
            raise Disproved("{} is not shown to be at most the root of {}".format(where, value["square"]))
        return norm

    def _factor(self, name):
        """The factor that the certificate offers for a norm, or None."""
        factors = (self._evidence or {}).get("factors") if isinstance(self._evidence, dict) else None
        if not isinstance(factors, dict) or name not in factors:
            return None
        where = f"the factor of {name[:200]!r}"
        shift, rows = _fields(factors[name], where, ("shift", "rows"))
        try:
            data = base64.b64decode(rows, validate=True) if isinstance(rows, str) else b""
        except ValueError:
            raise Refused(f"{where} is no base64") from None
        if type(shift) is not int or not 0 <= shift <= 62 or len(data) % 8:
            raise Refused(f"{where} has no shift, or no whole numbers")
        flat = struct.unpack(f"<{len(data) // 8}q", data)
        n = (math.isqrt(8 * len(flat) + 1) - 1) // 2
        if n * (n + 1) // 2 != len(flat):
            raise Refused(f"{where} is no triangle")
        return shift, [list(flat[i * (i + 1) // 2 : (i + 1) * (i + 2) // 2]) for i in range(n)]

    def _region(self, where, values, bound, domain, witnesses):
        upper = None if values["upper"] is None else hex_number(values["upper"])
        steps = _list(values["steps"], where)
        derived = upper is not None and self._say(
            lambda: self._derive(values, steps, upper), f"{where} has a constant of at most {_shown(upper)}"
        )
        shown = []
        for witness in witnesses.get((values["path"], values["norm"]), ()):
            what = f"{where} has no constant below {_shown(witness[4])}, by two inputs"
            if self._say(lambda w=witness: self._show(w, values), what):
                shown.append(witness)
        if bound is None:
            return
        what = "{}: {} <= {}".format(where, values["verdict"], values["claim"]["bound"])
        if values["verdict"] == "PROVED":
            other = isinstance(values["rule"], str) and values["rule"].startswith("unchecked:")
            if derived and upper <= bound:
                self._outcome.accepted.append(what)
            elif derived is None and upper <= bound:
                self._outcome.unchecked.append(f"{what}, as its bound is")
            elif other and (upper is None or (derived and upper > bound)):
                self._outcome.unchecked.append("{} by {}".format(what, values["rule"][len("unchecked:") :].strip()))
            else:
                self._outcome.refused.append(f"{what}, but no bound that holds reaches it")
        elif values["verdict"] == "REFUTED":
            if any(w[4] > bound for w in shown) and domain is None:
                self._outcome.open.append(f"{what}, by its witness above")
            else:
                self._outcome.unchecked.append(f"{what}: no witness of it is here, or its domain is not")
        else:
            self._outcome.open.append(what)

    def _margin(self, number, margin):
        x, kept, text, norm = _fields(margin, f"margin {number}", ("input", "class", "radius", "norm"))
        where, radius = f"input {number} keeps its class within {text}", decimal(text, f"the radius of margin {number}")
        point = _point(x, where, prod(self._graph.shape))

        def prove():
            end, upper = self._whole.get(norm if isinstance(norm, str) else "", (None, None))
            if end is None or type(kept) is not int:
                raise Disproved("it has no bound of the whole to rest on, or no class")
            if not _margin_holds(point, kept, radius, norm, upper, self._graph, self._arrays, end):
                raise Disproved("its margin is not shown to be larger than the bound allows")

        self._say(prove, where)

    def _derive(self, values, steps, upper):
        """
        Raises:
            Refused, Disproved, Unchecked: where the steps do not lead to the region's bound.
        """
        (start, end), rows = self._ends(values), values["norm"] == "l2->linf"
        if values["norm"] not in PAIRS:
            raise Unchecked("the norm pair {}".format(str(values["norm"])[:40]))
        if values["path"] == "" and start != self._graph.input:
            raise Disproved("the whole does not begin at the graph's input")
        taken = Derivation(self._graph, start, self._norm, self._arrays, self._trust, self._adjoint)
        for step in steps:
            taken.take(step, rows)
        reached = taken.linf.get(end, taken.l2.get(end)) if rows else taken.l2.get(end)
        if reached is None or reached > upper:
            raise Disproved("its steps lead " + ("elsewhere" if reached is None else "to a larger bound"))
        if values["path"] == "":
            self._whole[values["norm"]] = end, upper

    def _ends(self, values):
        """The values that a region leads from and to."""
        start, end = values["input"], values["output"]
        for name in (start, end):
            if not isinstance(name, str) or (name != self._graph.input and name not in self._graph.nodes):
                raise Refused(f"a region from {str(start)[:40]} to {str(end)[:40]}, of which one is no value")
        return start, end

    def _show(self, witness, values):
        """
        Raises:
            Refused, Disproved, Unchecked: where two inputs do not show their ratio.
        """
        start, _ = self._ends(values)
        if witness[1] not in PAIRS:
            raise Unchecked(f"a ratio in the norm pair {witness[1][:40]}")
        if prod(self._graph.shape_of(start)) != len(witness[2]):
            raise Refused("the two inputs are of another size")
        if not _witness_holds(witness, values, self._graph, self._arrays):
            raise Disproved("the two inputs do not show it")

    def _read_witnesses(self, regions):
        """The witnesses (path, norm, x, y, ratio) by path and norm."""
        if self._evidence is None:
            return {}
        witnesses, _ = _fields(self._evidence, "the evidence", ("witnesses",), ("factors",))
        read = {}
        for entry in _list(witnesses, "the witnesses"):
            path, norm, x, y, ratio = _fields(entry, "a witness", ("path", "norm", "x", "y", "ratio"))
            region = regions.get((path, norm)) if isinstance(path, str) and isinstance(norm, str) else None
            where = f"the witness on {str(path)[:200]}"
            start, end = (region or {}).get("input"), (region or {}).get("output")
            known = [isinstance(v, str) and (v == self._graph.input or v in self._graph.nodes) for v in (start, end)]
            if not all(known):
                raise Refused(f"{where} is of no region with a graph")
            size = prod(self._graph.shape_of(start))
            found = path, norm, _point(x, where, size), _point(y, where, size), hex_number(ratio)
            read.setdefault((path, norm), []).append(found)
        return read


def main(arguments=None):
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(
        prog="lipverify_checker.py",
        description="Check a certificate of Lipschitz bounds against the weights that it speaks of.",
        epilog="Exit code 0: everything holds and every claim is PROVED. 1: something does not hold. 2: unreadable. "
        "3: something is UNCHECKED, or a claim is not PROVED.",
    )
    parser.add_argument("certificate", help="made by lipverify audit MODEL --certificate FILE")
    parser.add_argument("weights", help="a .safetensors file, e.g. made by lipverify weights MODEL FILE")
    parser.add_argument("--no-flint", action="store_true", help="use Python's integers alone (slower)")
    options = parser.parse_args(arguments)
    if options.no_flint:
        use_flint(False)
    show = sys.stderr.isatty()
    try:
        with open(options.certificate, "rb") as file:
            certificate = file.read(MAX_CERTIFICATE + 1)
        outcome = check(
            certificate, Weights(options.weights), lambda line: show and print(_plain(line), file=sys.stderr)
        )
    except (OSError, MemoryError, Refused) as error:
        outcome = Outcome([], [], [], [], [], unreadable=_reason(error))
    except KeyboardInterrupt:
        return 130
    sys.stdout.write(outcome.text())
    return outcome.exit_code


if __name__ == "__main__":
    sys.exit(main())
