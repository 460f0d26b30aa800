"""The arithmetic of the certificate checker: stored tensors, folded arrays, and proofs that ||A||^2 <= s.

Every proof ends in exact integers. A matrix is replaced by an integer one at a fixed point, the difference is counted (in
Frobenius norm) and taken from s, and then top I - H is shown to be semidefinite, H an exact Hermitian Gram matrix: a factor U
is guessed in floating point, and what is left over, top I - H - U U^H, is diagonally dominant with a diagonal >= 0 (Gershgorin).
A bad guess proves nothing. Floating point decides nothing else, but in :func:`fold`, where it is rounded outward.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import math
import struct
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt, prod
from operator import add, mul, ne, sub, truediv

try:
    from flint import fmpz_mat
except ImportError:
    fmpz_mat = None


class Refused(Exception):
    """A file or a statement that cannot be read."""


class TooLarge(Refused):
    """Beyond the limits of time and memory that this checker keeps."""


class Disproved(Exception):
    """Something stated that is not so, or not shown to be so."""


class Unchecked(Exception):
    """A statement by a rule that is not known here."""


_flint = {"on": fmpz_mat is not None}


def has_flint():
    """Whether python-flint multiplies large matrices of integers."""
    return _flint["on"]


def use_flint(on):
    """Use python-flint, where it is installed, or not."""
    _flint["on"] = bool(on) and fmpz_mat is not None


def hex_number(text):
    """The float >= 0 of which this is the text that ``float.hex`` writes, as a Fraction.

    Raises:
        Refused: for any other text.
    """
    try:
        number = float.fromhex(text) if isinstance(text, str) and len(text) <= 32 else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or number.hex() != text or text.startswith("-"):
        raise Refused(f"{str(text)[:40]!r} is not how Python writes a float >= 0 in hexadecimal")
    return Fraction(number)


# ---- Numbers: stored tensors, and arithmetic on them ------------------------------------------------------------------

MAX_NUMBERS = 1 << 26
MAX_HEADER = 100_000_000
_PIECE = 1 << 22


@dataclass(frozen=True)
class Numbers:
    """An array of exact floats, flat in C order, each within its radius of what is meant (None: equal to it).

    Raises:
        Refused: for NaN, infinity, a radius below zero, or another number of entries than the shape has.
    """

    shape: tuple
    values: list | array
    radii: list | array | None = None

    def __post_init__(self):
        if len(self.values) != prod(self.shape) or not all(map(math.isfinite, self.values)):
            raise Refused(f"numbers of shape {self.shape} that are NaN, infinite, or of another shape")
        if self.radii is not None and (
            len(self.radii) != len(self.values) or not all(0 <= r < math.inf for r in self.radii)
        ):
            raise Refused("radii that are no finite numbers >= 0, one for each entry")

    def reshaped(self, shape):
        """The same entries in C order under another shape."""
        return Numbers(tuple(shape), self.values, self.radii)

    def transposed(self):
        """The transpose of a matrix."""
        if len(self.shape) != 2:
            raise Refused(f"the transpose of an array of shape {self.shape}")
        rows, columns = self.shape

        def turned(entries):
            return entries and array("d", itertools.chain(*(entries[c::columns] for c in range(columns))))

        return Numbers((columns, rows), turned(self.values), turned(self.radii))


_DTYPES = {
    "F64": (8, "d"), "F32": (4, "f"), "F16": (2, "e"), "BF16": (2, None), "I64": (8, "q"), "I32": (4, "i"), "I16": (2, "h"),
    "I8": (1, "b"), "U8": (1, "B"), "BOOL": (1, "B"), "U16": (2, "H"), "U32": (4, "I"), "U64": (8, "Q"),
    "F8_E4M3": (1, None), "F8_E5M2": (1, None),
}  # fmt: skip
"""Bytes of an entry, and how the struct module reads it."""


class Weights:
    """The tensors of a .safetensors file: its header is read at once, a tensor when it is asked for.

    Raises:
        Refused: where the file is anything but a header and the tensors that it names, one after the other without a gap.
        OSError: where it cannot be opened.
    """

    def __init__(self, path):
        self._path, self._digests, self._kept = path, {}, {}
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, MAX_HEADER):
                raise Refused(f"the weights' file of {size} bytes states a header of {length}; write it again")
            header = _header(file.read(length))
        self._entries, end = {}, 0
        for name, (dtype, shape, begin, stop) in sorted(header.items(), key=lambda item: item[1][2:]):
            if begin != end or stop - begin != prod(shape) * _DTYPES[dtype][0]:
                raise Refused(
                    f"the bytes of the tensor {name[:200]!r} overlap others, leave a gap or do not fit its shape"
                )
            self._entries[name], end = (dtype, shape, 8 + length + begin), stop
        if 8 + length + end != size:
            raise Refused(f"the tensors end at byte {8 + length + end}, the file at {size}")

    @classmethod
    def of(cls, tensors: Mapping):
        """Tensors in memory: name -> (dtype, shape, little-endian bytes)."""
        weights = cls.__new__(cls)
        weights._path, weights._digests, weights._kept, weights._entries = None, {}, {}, {}
        for name, (dtype, shape, data) in tensors.items():
            if dtype not in _DTYPES or len(data) != prod(shape) * _DTYPES[dtype][0]:
                raise Refused(f"the bytes of the tensor {name[:200]!r} do not fit its shape")
            weights._entries[name] = (dtype, tuple(shape), bytes(data))
        return weights

    def names(self):
        return list(self._entries)

    def entry(self, name):
        """(dtype, shape)."""
        return self._entries[name][:2]

    def digest(self, name):
        """SHA-256 of the bytes, in hexadecimal."""
        if name not in self._digests:
            state = hashlib.sha256()
            for piece in self._pieces(name):
                state.update(piece)
            self._digests[name] = state.hexdigest()
        return self._digests[name]

    def numbers(self, name):
        """The entries as floats, exactly.

        Raises:
            Refused: for another dtype, NaN or infinity, integers of 2^53 and more, or a file that changed.
        """
        if name in self._kept:
            return self._kept[name]
        dtype, shape, _ = self._entries[name]
        size, code = _DTYPES[dtype]
        if dtype in ("U16", "U32", "U64", "F8_E4M3", "F8_E5M2"):
            raise Refused(f"the tensor {name[:200]!r} is of the type {dtype}, which is not read")
        if prod(shape) > MAX_NUMBERS:
            raise TooLarge(f"the tensor {name[:200]!r} has more than {MAX_NUMBERS} entries")
        values, state = array("d"), hashlib.sha256()
        for piece in self._pieces(name):
            state.update(piece)
            if dtype == "BF16":  # the upper half of a float32
                wide = bytearray(2 * len(piece))
                wide[2::4], wide[3::4] = piece[0::2], piece[1::2]
                piece, size, code = bytes(wide), 4, "f"
            entries = struct.unpack(f"<{len(piece) // size}{code}", piece)
            if code not in "dfe" and max(map(abs, entries)) >= (2 if dtype == "BOOL" else 1 << 53):
                raise Refused(f"the tensor {name[:200]!r} holds integers that are not read exactly")
            values.extend(entries)
        if name in self._digests and state.hexdigest() != self._digests[name]:
            raise Refused("the weights' file changed while it was read")
        if len(self._kept) == 4:  # those that were asked for last are asked for again
            del self._kept[next(iter(self._kept))]
        self._kept[name] = Numbers(shape, values)
        return self._kept[name]

    def _pieces(self, name):
        dtype, shape, where = self._entries[name]
        if self._path is None:
            yield from (where[i : i + _PIECE] for i in range(0, len(where), _PIECE))
            return
        left = prod(shape) * _DTYPES[dtype][0]
        with open(self._path, "rb") as file:
            file.seek(where)
            while left:
                piece = file.read(min(left, _PIECE))
                if len(piece) != min(left, _PIECE):
                    raise Refused("the weights' file changed while it was read")
                left -= len(piece)
                yield piece


def _header(data):
    """name -> (dtype, shape, begin, end) of the header of a .safetensors file."""

    def unique(pairs):
        if len(dict(pairs)) != len(pairs):
            raise Refused("a key appears twice in the header of the weights' file")
        return dict(pairs)

    def no_number(text):
        raise Refused(f"the number {text[:30]} in the header of the weights' file")

    def natural(text):
        return int(text) if len(text) <= 18 and text.isdigit() else no_number(text)

    if not data.startswith(b"{"):
        raise Refused("no .safetensors file: its header does not begin with {")
    try:
        header = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=unique, parse_int=natural, parse_float=no_number, parse_constant=no_number,
        )  # fmt: skip
    except (ValueError, RecursionError) as error:
        raise Refused(f"the header of the weights' file is no JSON: {str(error)[:200]}") from None
    about = header.pop("__metadata__", {})
    if not isinstance(about, dict) or not all(isinstance(v, str) for v in about.values()):
        raise Refused("the metadata of the weights' file are not text")
    entries = {}
    for name, entry in header.items():
        keys = set(entry) if isinstance(entry, dict) else set()
        if keys != {"dtype", "shape", "data_offsets"} or not isinstance(entry["dtype"], str):
            raise Refused(f"the header's entry of the tensor {name[:200]!r}")
        shape, offsets = entry["shape"], entry["data_offsets"]
        both = [shape, offsets] if isinstance(shape, list) and isinstance(offsets, list) else [[None]]
        if any(type(n) is not int for part in both for n in part) or len(offsets) != 2 or len(shape) > 16:
            raise Refused(f"the shape or the offsets of the tensor {name[:200]!r}")
        if entry["dtype"] not in _DTYPES:
            raise Refused(f"the tensor {name[:200]!r} is of the unknown type {entry['dtype'][:40]!r}")
        entries[name] = (entry["dtype"], tuple(shape), *offsets)
    return entries


MAX_FOLD = 1 << 25
_OPERANDS = {
    **dict.fromkeys("add sub mul div sum".split(), 2),
    **dict.fromkeys("neg sqrt square abs reciprocal".split(), 1),
}


def fold(expression, numbers_of):
    """The value of an expression, enclosed: intervals (shape, low, high), every operation rounded outward.

    Python's floats round each of + - * / and sqrt to a nearest one, so the float next to the outcome on either side encloses.

    Args:
        expression: an array, resolved by ``numbers_of``, or [op, operand, ...].

    Raises:
        Refused: for what is no expression, too large, or leaves the range of the floats.
        Disproved: for the root of a number that may be negative, or a division by one that may be zero.
    """
    left = [MAX_FOLD]

    def spend(shape, depth=0):
        left[0] -= prod(shape) + (1 << 15)
        if depth > 32 or left[0] < 0:
            raise TooLarge(f"an expression of more than 1024 parts, 32 levels or {MAX_FOLD} entries")
        return tuple(shape)

    def value(part, depth):
        if isinstance(part, dict):
            numbers = numbers_of(part)
            shape = spend(numbers.shape, depth)
            if numbers.radii is None:
                return shape, numbers.values, numbers.values
            return (shape, *(_widened(list(map(op, numbers.values, numbers.radii)), end) for op, end in _ENDS))
        op = part[0] if isinstance(part, list) and part and isinstance(part[0], str) else None
        if op is None or _OPERANDS.get(op) != len(part) - 1:
            raise Refused(f"{str(part)[:60]} is no expression")
        spend((), depth)
        if op == "sum":
            return _total(*value(part[1], depth + 1), part[2])
        operands = [value(x, depth + 1) for x in part[1:]]
        if len(operands) == 1:
            return (spend(operands[0][0]), *_unary(op, *operands[0][1:]))
        shape = spend(_joint_shape(*(shape for shape, _, _ in operands)))
        return (shape, *_binary(op, *(_broadcast(x, shape) for x in operands)))

    shape, low, high = value(expression, 0)
    if not (all(map(math.isfinite, low)) and all(map(math.isfinite, high))):
        raise Refused("an expression that leaves the range of the floats")
    if low is high:
        return Numbers(shape, low)
    middle = [a / 2 + b / 2 for a, b in zip(low, high)]
    radii = [0.0 if a == b == m else math.nextafter(max(m - a, b - m), math.inf) for a, m, b in zip(low, middle, high)]
    return Numbers(shape, middle, radii)


_ENDS = ((sub, -math.inf), (add, math.inf))


def _widened(values, end):
    if not all(map(math.isfinite, values)):
        raise Refused("an expression that leaves the range of the floats")
    return list(map(math.nextafter, values, itertools.repeat(end)))


def _unary(op, low, high):
    """The ends of neg, sqrt, square, abs, reciprocal of intervals."""
    if op == "neg":
        down = [-x for x in high]
        return down, down if low is high else [-x for x in low]
    if op == "sqrt":
        if min(low, default=0) < 0:
            raise Disproved("the root of a number that may be negative")
        roots = [list(map(math.sqrt, x)) for x in (low, high)]
        return [max(0.0, x) for x in _widened(roots[0], -math.inf)], _widened(roots[1], math.inf)
    if op == "reciprocal":
        return _binary("div", ([1.0] * len(low),) * 2, (low, high))
    largest = [max(-a, b) for a, b in zip(low, high)]
    least = [max(a, -b, 0.0) for a, b in zip(low, high)]
    if op == "abs":
        return (largest, largest) if low is high else (least, largest)
    squares = [list(map(mul, x, x)) for x in (least, largest)]
    return [max(0.0, x) for x in _widened(squares[0], -math.inf)], _widened(squares[1], math.inf)


def _binary(op, first, second):
    """The ends of add, sub, mul, div of intervals of one shape."""
    (a, b), (c, d) = first, second
    if op in ("add", "sub"):
        low, high = (map(add, a, c), map(add, b, d)) if op == "add" else (map(sub, a, d), map(sub, b, c))
        return _widened(list(low), -math.inf), _widened(list(high), math.inf)
    if op == "div" and any(x <= 0 <= y for x, y in zip(c, d)):
        raise Disproved("a division by a number that may be zero")
    # Both are monotone in each operand, so the extremes are at ends.
    pairs = [(x, y) for x in ((a,) if a is b else (a, b)) for y in ((c,) if c is d else (c, d))]
    ends = [list(map(mul if op == "mul" else truediv, x, y)) for x, y in pairs]
    low, high = (ends[0], ends[0]) if len(ends) == 1 else (list(map(min, *ends)), list(map(max, *ends)))
    return _widened(low, -math.inf), _widened(high, math.inf)


def _joint_shape(a, b):
    axes = max(len(a), len(b))
    pairs = list(zip((1,) * (axes - len(a)) + a, (1,) * (axes - len(b)) + b))
    shape = tuple(n if m == 1 else m for n, m in pairs)
    if any(n != m and 1 not in (n, m) for n, m in pairs):
        raise Refused(f"operands of the shapes {a} and {b}")
    return shape


def _broadcast(operand, shape):
    """(low, high) of an operand spread to a larger shape."""
    own, low, high = operand
    if prod(own) == prod(shape):
        return low, high
    at, step = [0], 1
    for n, m in zip(shape[::-1], own[::-1] + (1,) * (len(shape) - len(own))):
        at = [p + step * i * (m > 1) for i in range(n) for p in at]
        step *= m
    spread = [low[p] for p in at]
    return spread, spread if low is high else [high[p] for p in at]


def _total(shape, low, high, axes):
    """The sums over some axes, which are kept with length 1: ``fsum`` is within one float of the exact sum."""
    if not isinstance(axes, list) or any(type(a) is not int or not 0 <= a < len(shape) for a in axes):
        raise Refused(f"a sum over the axes {str(axes)[:40]} of an array of shape {shape}")
    made = tuple(1 if a in axes else n for a, n in enumerate(shape))
    to, _ = _broadcast((made, *(range(prod(made)),) * 2), shape)
    ends = []
    for values, end in ((low, -math.inf), (high, math.inf)):
        parts = [[] for _ in range(prod(made))]
        for i, x in zip(to, values):
            parts[i].append(x)
        try:
            ends.append(_widened(list(map(math.fsum, parts)), end))
        except OverflowError:
            raise Refused("a sum that leaves the range of the floats") from None
    return made, ends[0], ends[1]


# ---- Exact products of integer matrices -------------------------------------------------------------------------------
# A row is a span (start, entries): the entries from column ``start`` on, zeros elsewhere. So is a row of a product.


def _span(entries, start=0):
    """A row without the zeros at its ends."""
    if not any(entries):
        return 0, []
    first = next(i for i, x in enumerate(entries) if x)
    last = next(i for i in range(len(entries), 0, -1) if entries[i - 1])
    return start + first, entries[first:last]


def _products(left, right, lower=False):
    """The rows of left right^T, exactly; ``lower``: both are square, of each row only the part up to the diagonal."""
    inner = max([start + len(entries) for start, entries in right], default=0)
    filled = sum(len(entries) for _, entries in right)
    if len(right) <= 24:
        dense = [[0] * start + list(entries) for start, entries in right]
        padded = ([0] * start + list(entries) for start, entries in left)
        return [(0, [sum(map(mul, row, b)) for b in dense[: i + 1 if lower else None]]) for i, row in enumerate(padded)]
    if has_flint() and 20 * filled > 9 * len(right) * inner and len(left) * len(right) * inner > 1 << 20:
        return _flint_products(left, right, lower, inner)
    return _packed_products(left, right, lower, inner)


def _flint_products(left, right, lower, inner, block=512):
    def blocks(rows):
        for i in range(0, len(rows), block):
            dense = ([0] * s + list(e) + [0] * (inner - s - len(e)) for s, e in rows[i : i + block])
            yield fmpz_mat([row[:inner] for row in dense])

    turned = [b.transpose() for b in blocks(right)]
    made = []
    for a, part in enumerate(blocks(left)):
        tables = [(part * b).tolist() for b in turned[: a + 1 if lower else None]]
        for rows in zip(*tables):
            row = list(map(int, itertools.chain(*rows)))
            made.append((0, row[: len(made) + 1] if lower else row))
    return made


def _packed_products(left, right, lower, inner, block=32):
    """By Kronecker substitution: a column of ``right`` is packed into one integer, a slot of bytes for each of its entries.

    Then sum_k left[i][k] column[k] holds row i of the product, each entry in its slot: partial sums may run over from one
    slot into the next, the last sum does not, as no entry is larger than the longest row of either matrix allows.
    """
    most = [max([1, *(sum(map(mul, e, e)) for _, e in rows)]) for rows in (left, right)]
    size = (isqrt(most[0] * most[1]) + 1).bit_length() // 8 + 1
    width, step = 8 * size, block if lower else len(right)
    columns, bases, made = [0] * inner, [None] * inner, []
    for first in range(0, len(right), step):
        rows = right[first : first + step]
        begin, end = min(s for s, _ in rows), max(s + len(e) for s, e in rows)
        dense = [[0] * (s - begin) + list(e) + [0] * (end - s - len(e)) for s, e in rows]
        for k, column in enumerate(zip(*dense), begin):
            if any(column):
                bases[k] = first if bases[k] is None else bases[k]
                columns[k] += _packed(column, size) << (width * (first - bases[k]))
        runs, k = [], 0
        for base, run in itertools.groupby(bases):
            begin, k = k, k + len(list(run))
            if base is not None:
                runs.append((base, begin, k))
        for i in range(first, first + len(rows)) if lower else range(len(left)):
            start, entries = left[i]
            met = [(base, max(a, start), min(b, start + len(entries))) for base, a, b in runs]
            met = [(base, a, b) for base, a, b in met if a < b]
            least, total = min([base for base, _, _ in met], default=first), 0
            for base, a, b in met:
                total += sum(map(mul, entries[a - start : b - start], columns[a:b])) << (width * (base - least))
            row = _unpacked(total, first + len(rows) - least, size)
            made.append((least, row[: i + 1 - least] if lower else row))
    return made


@functools.lru_cache(maxsize=64)
def _halves(count, size):
    """Half of what a slot holds, in each of ``count`` slots: added, it makes every entry >= 0."""
    return int.from_bytes((1 << (8 * size - 1)).to_bytes(size, "little") * count, "little")


def _packed(values, size):
    """The integer with these entries, each below 2^(8 size - 1) in magnitude, in slots of ``size`` bytes."""
    half = 1 << (8 * size - 1)
    data = b"".join([(v + half).to_bytes(size, "little") for v in values])
    return int.from_bytes(data, "little") - _halves(len(values), size)


def _unpacked(number, count, size):
    half, data = 1 << (8 * size - 1), (number + _halves(count, size)).to_bytes(count * size, "little")
    return [int.from_bytes(data[i : i + size], "little") - half for i in range(0, len(data), size)]


# ---- Semidefinite matrices ----------------------------------------------------------------------------------------------


def _semidefinite(parts, top, slack, factor=None):
    """Whether top I - H is shown to be positive semidefinite, H Hermitian.

    Args:
        parts: the lower rows of H's real part and, where H is complex, of its imaginary part, integers.
        top: an integer.
        slack: H <= (1 - 2^-slack) top is hoped for.
        factor: (shift >= 0, rows): top I - H is hoped to be near 2^shift U U^T; guessed where None.
    """
    if top <= 0 or _dominates(top, parts):
        return _dominates(top, parts)
    shift, rows = factor or _guess(parts, top, slack)
    if rows is None:
        return False
    if len(parts) == 1:
        added = [_products(rows, rows, lower=True)]
    else:  # row i of U interleaved as re, im, re, im, ...; U U^H = (X X^T) + i (Y X^T) with Y = im, -re, ...
        flat = [(2 * s, [x for pair in e for x in pair]) for s, e in rows]
        turned = [(2 * s, [x for re, im in e for x in (im, -re)]) for s, e in rows]
        added = [_products(flat, flat, lower=True), _products(turned, flat, lower=True)]
    return _dominates(top, [_plus(a, b, shift) for a, b in zip(parts, added)])


def _dominates(top, parts):
    """Whether top I - H is diagonally dominant with a diagonal >= 0; |re| + |im| stands for the modulus."""
    sums = [0] * len(parts[0])
    for rows in parts:
        for i, (start, entries) in enumerate(rows):
            if len(rows) != len(sums) or start + len(entries) != i + 1:
                raise RuntimeError("a row that does not end on the diagonal")
            off = list(map(abs, entries[:-1]))
            sums[i] += sum(off)
            sums[start:i] = map(add, sums[start:i], off)
    return all(top - entries[-1] >= total for (_, entries), total in zip(parts[0], sums))


def _plus(rows, others, shift):
    """Lower rows + 2^shift other lower rows."""
    made = []
    for (s, e), (t, f) in zip(rows, others):
        start = min(s, t)
        a, b = [0] * (s - start) + e, [0] * (t - start) + [x << shift for x in f]
        made.append((start, list(map(add, a, b))))
    return made


def _guess(parts, top, slack):
    """(shift, U) with 2^shift U U^H near (1 - 2^-(slack + 1)) top I - H, by Cholesky in floating point; U None without one."""
    n, scale = len(parts[0]), 1 / top
    rows = []
    for i, (start, entries) in enumerate(parts[0]):
        row = [-scale * x for x in entries]
        if len(parts) > 1:
            other, imaginary = parts[1][i]
            first = min(start, other)
            row = [0.0] * (start - first) + row
            row = [complex(x, -scale * y) for x, y in zip(row, [0] * (other - first) + imaginary)]
            start = first
        row[-1] += 1 - 0.5 ** (slack + 1)
        zeros = next(k for k, x in enumerate(row) if x or k == len(row) - 1)
        rows.append((start + zeros, row[zeros:]))
    if has_flint() and len(parts) == 1 and n > 512 and sum(len(e) for _, e in rows) > 0.4 * n * n:
        found = _halved_cholesky([[0.0] * s + e for s, e in rows])
        found = found and [(0, row) for row in found]
    else:
        found = _cholesky(rows)
    if found is None:
        return 0, None
    shift = max(0, top.bit_length() - 2 * (slack + 3 + n.bit_length()))
    root = math.sqrt(top / (1 << shift))
    if len(parts) == 1:
        return shift, [(s, [round(root * x) for x in e]) for s, e in found]
    return shift, [(s, [(round(root * x.real), round(root * x.imag)) for x in e]) for s, e in found]


def _cholesky(rows):
    """L with L L^H near the matrix of these lower rows; within them, as zeros before a row's first entry stay zeros."""
    found, conjugates = [], []
    for start, entries in rows:
        row = []
        for j, entry in enumerate(entries[:-1], start):
            first, other = conjugates[j]
            if first == start:
                dot = sum(map(mul, row, other))
            else:
                dot = sum(map(mul, row[max(0, first - start) :], other[max(0, start - first) :]))
            row.append((entry - dot) / other[-1])
        conjugate = [x.conjugate() for x in row]
        pivot = (entries[-1] - sum(map(mul, row, conjugate))).real
        if not pivot > 0:
            return None
        root = math.sqrt(pivot)
        found.append((start, [*row, root]))
        conjugates.append((start, [*conjugate, root]))
    return found


_LEAF = 64


def _halved_cholesky(rows):
    """The same of a large full matrix, by halves, so that most of the work is products of matrices."""
    if len(rows) <= _LEAF:
        found = _cholesky([(0, row) for row in rows])
        return found and [row for _, row in found]
    half = len(rows) // 2
    upper = _halved_cholesky(rows[:half])
    if upper is None:
        return None
    left = _divided([row[:half] for row in rows[half:]], upper)
    rest = _less_products([row[half:] for row in rows[half:]], left, left)
    corner = _halved_cholesky([row[: i + 1] for i, row in enumerate(rest)])
    return corner and upper + [a + b for a, b in zip(left, corner)]


def _divided(rows, lower):
    """X with X L^T = these rows."""
    if len(lower) <= _LEAF:
        made = []
        for row in rows:
            found = []
            for x, other in zip(row, lower):
                found.append((x - sum(map(mul, found, other))) / other[-1])
            made.append(found)
        return made
    half = len(lower) // 2
    first = _divided([row[:half] for row in rows], lower[:half])
    rest = _less_products([row[half:] for row in rows], first, [row[:half] for row in lower[half:]])
    return [a + b for a, b in zip(first, _divided(rest, [row[half:] for row in lower[half:]]))]


def _less_products(rows, left, right):
    """rows - left right^T in 52 bits, as far as the rows reach."""
    parts = [[(0, [round(x * 2**52) for x in row]) for row in part] for part in (left, right)]
    made = _flint_products(parts[0], parts[1], False, len(left[0]))
    return [[x - y * 2.0**-104 for x, y in zip(row, e)] for row, (_, e) in zip(rows, made)]


# ---- From floats to integers ------------------------------------------------------------------------------------------

MAX_SIDE = 4096
_FINE = 32
"""Bits of an error beyond those of the numbers that are off by it."""


def _bounded(square, slack):
    """Refuses what is no bound or no hint."""
    if not isinstance(square, Fraction) or square < 0 or type(slack) is not int or not 0 <= slack <= 64:
        raise Refused("a bound below zero, or a slack beyond 0 .. 64")
    if square and abs(_power(square)) > 600:
        raise Refused("a bound beyond the range of the floats")


def _is_zero(numbers):
    return not any(numbers.values) and not any(numbers.radii or ())


def _power(square):
    """The p with 4^(p - 1) < square <= 4^p."""
    p = (square.numerator.bit_length() - square.denominator.bit_length()) // 2
    while square > Fraction(4) ** p:
        p += 1
    while square <= Fraction(4) ** (p - 1):
        p -= 1
    return p


def _bits(slack, spread):
    """Bits after the point with which sqrt(spread) halves of the last one are small against 2^-slack."""
    return slack + 6 + (spread.bit_length() + 1) // 2


def _integers(values, power, bits):
    """The integers nearest to 2^(bits - power) x, and how many are not equal to it; None where one is far too large.

    (No entry of a matrix is above its norm; those of a kernel may be, where no input meets them.)
    """
    if max(map(abs, values), default=0) > 2.0 ** (power + 16):
        return None
    scaled = list(map(math.ldexp, values, itertools.repeat(bits - power)))
    nearest = list(map(round, scaled))
    # ldexp is exact but where its outcome is subnormal, so no integer, or zero.
    return nearest, sum(map(ne, scaled, nearest)) + scaled.count(0.0) - values.count(0.0)


def _frobenius(inexact, radii, power, bits):
    """An upper bound of the Frobenius error: so many entries off by 1/2, and the radii; in units of 2^-(bits + _FINE)."""
    error = isqrt(inexact << (2 * _FINE - 2)) + 1 if inexact else 0
    if any(radii or ()):
        if max(radii) > 2.0 ** (power + 16):
            return None
        scaled = [math.ceil(math.ldexp(r, bits + _FINE - power)) + 1 if r else 0 for r in radii]
        error += isqrt(sum(map(mul, scaled, scaled))) + 1
    return error


def _top(square, power, bits, error):
    """An integer T <= (2^(bits - power) sqrt(square) - error / 2^_FINE)^2; -1 where the error is larger."""
    scaled = square * Fraction(4) ** (bits - power)
    if not error:
        return scaled.numerator // scaled.denominator
    scaled *= 4**_FINE
    root = isqrt(scaled.numerator // scaled.denominator) - error
    return root * root >> (2 * _FINE) if root >= 0 else -1


def _offered(factor, side, count, square, slack):
    """(b, U) of the factor (j, U) that a certificate offers: U U^T / 4^(k + j) is near square I - W W^T, b = k + j + power.

    k is a rule of the file's format, count the number of W's entries or the kernel's. Any integer U of ``side`` rows will do.
    """
    if factor is None:
        return 0, None
    shift, rows = factor
    if type(shift) is not int or not 0 <= shift <= 62 or len(rows) != side:
        raise Disproved("the factor that is offered has another size, or a shift beyond 0 .. 62")
    if any(type(x) is not int or x.bit_length() > 64 for row in rows for x in row) or max(map(len, rows)) > side:
        raise Disproved("the factor that is offered holds more than integers of 64 bits, one for each column")
    spread = Fraction(count) / square
    k = slack + 10 + (spread.numerator.bit_length() - spread.denominator.bit_length() + 2) // 2
    return k + shift + _power(square), [_span(row) for row in rows]


def dense_holds(weight: Numbers, square: Fraction, slack: int, factor=None):
    """Whether ||W||_2^2 <= square is proved, for every W within the radii.

    W / 2^power is within error (Frobenius) of A / 2^bits, A integer. T <= (2^bits sqrt(square) / 2^power - error)^2 and
    A A^T <= T I give ||W|| <= sqrt(square). If W has no fewer rows than columns, W^T stands for W. Of rows no two of which share
    a column ||W|| is the largest norm, whatever the scales of the others.

    Args:
        slack: the room between square and the truth is hoped to be at least 2^-slack of it.
        factor: of the certificate (:func:`_offered`); guessed where None.

    Raises:
        Refused, TooLarge, Disproved: where nothing can be proved of these arguments.
    """
    _bounded(square, slack)
    if len(weight.shape) != 2:
        raise Refused(f"the norm of an array of shape {weight.shape}")
    (rows, columns), side, long = weight.shape, min(weight.shape), max(weight.shape)
    if not square or _is_zero(weight):
        return _is_zero(weight)
    if side > MAX_SIDE or rows * columns > MAX_NUMBERS:
        raise TooLarge(f"a matrix of {rows} x {columns}; up to {MAX_SIDE} on the smaller side are proved")
    if weight.radii is None and rows * columns - weight.values.count(0.0) <= long:
        small = weight if rows < columns else weight.transposed()
        if all(sum(map(bool, small.values[j::long])) <= 1 for j in range(long)):
            return rows_hold(small, square)
    given, offered = _offered(factor, side, rows * columns, square, slack)
    power, bits = _power(square), max(_bits(slack, rows * columns), given)
    gram, inexact, length = None, 0, max(1, (1 << 22) // side)
    for first in range(0, long, length):  # a part of the longer side after the other: bounded memory
        last, part = min(first + length, long), []
        for i in range(side):
            start, step = (i * columns, 1) if rows < columns else (i, columns)
            found = _integers(weight.values[start + first * step : start + (last - 1) * step + 1 : step], power, bits)
            if found is None:
                return False
            inexact += found[1]
            part.append(_span(found[0]))
        part = _products(part, part, lower=True)
        gram = part if gram is None else _plus(gram, part, 0)
    error = _frobenius(inexact, weight.radii, power, bits)
    if error is None:
        return False
    offered = offered and (2 * (bits - given), offered)
    return _semidefinite([gram], _top(square, power, bits, error), slack, offered)


def rows_hold(weight: Numbers, square: Fraction):
    """Whether every row's sum of squares is at most square, for all entries within their radii.

    Raises:
        Refused: for no matrix.
    """
    _bounded(square, 0)
    if len(weight.shape) != 2:
        raise Refused(f"the rows of an array of shape {weight.shape}")
    if not square or _is_zero(weight):
        return _is_zero(weight)
    power, n = _power(square), weight.shape[1]
    sizes = [list(map(abs, part)) for part in (weight.values, weight.radii or ())]
    if max(map(max, filter(None, sizes))) > 2.0**power:
        return False
    # Rounded up at 128 bits after the point, where most floats of this size are exact.
    scaled = [[math.ceil(math.ldexp(x, 128 - power)) or (1 if x else 0) for x in part] for part in sizes]
    entries = list(map(add, *scaled)) if scaled[1] else scaled[0]
    squares, most = list(map(mul, entries, entries)), square * Fraction(4) ** (128 - power)
    return all(sum(squares[i : i + n]) <= most for i in range(0, len(squares), n))


def entries_hold(numbers: Numbers, square: Fraction):
    """Whether the square of every entry is at most square, for all within their radii."""
    return rows_hold(numbers.reshaped((len(numbers.values), 1)), square)


# ---- Convolutions -----------------------------------------------------------------------------------------------------

MAX_UNROLLED = 2048
MAX_WORK = 1 << 37


@dataclass(frozen=True)
class Kernel:
    """A cross-correlation of images of ``channels``: numbers (out, channels / groups, *taps), one or two image axes.

    Along an axis output j reads the entries j stride + t dilation - pads[0], 0 <= t < taps, of the input, which is continued
    by zeros or, if ``circular``, periodically.
    """

    numbers: Numbers
    channels: int
    image: tuple
    pads: tuple
    circular: bool
    stride: tuple
    dilation: tuple
    groups: int


def _axes(kernel):
    """(entries n, taps k, outputs m, dilation d, stride s, pad before l) of each axis.

    Raises:
        Refused: where the kernel does not fit the image.
    """
    shape, parts = kernel.numbers.shape, (kernel.image, kernel.pads, kernel.stride, kernel.dilation)
    if len(shape) not in (3, 4) or any(len(part) != len(shape) - 2 for part in parts):
        raise Refused(f"a kernel of shape {shape} on an image of {len(kernel.image)} axes; one or two are read")
    if (
        min(*shape, *kernel.image, kernel.groups, *kernel.stride, *kernel.dilation) < 1
        or min(map(min, kernel.pads)) < 0
    ):
        raise Refused("a kernel, an image or a step without extent, or a pad below zero")
    if shape[1] * kernel.groups != kernel.channels or shape[0] % kernel.groups:
        raise Refused(f"a kernel of shape {shape} for {kernel.channels} channels in {kernel.groups} groups")
    axes = []
    for k, n, (left, right), s, d in zip(shape[2:], *parts):
        if n + left + right <= d * (k - 1) or (kernel.circular and max(left, right) > n):
            raise Refused(f"{k} taps, or pads {left} and {right}, that do not fit {n} entries")
        if n + left + right > 1 << 20:
            raise TooLarge(f"an image of {n} entries on one axis")
        axes.append((n, k, (n + left + right - d * (k - 1) - 1) // s + 1, d, s, left))
    return axes


def _kernel_integers(numbers, power, bits, copies=1):
    """(integers of the kernel, sum_t ||error of tap t|| sqrt(copies) in units of :func:`_frobenius`); None where too large."""
    taps, total, made = prod(numbers.shape[2:]), 0, [0] * len(numbers.values)
    for t in range(taps):
        found = _integers(numbers.values[t::taps], power, bits)
        error = found and _frobenius(found[1], numbers.radii and numbers.radii[t::taps], power, bits)
        if error is None:
            return None
        made[t::taps] = found[0]
        total += error
    return made, total * (isqrt(copies - 1) + 1)


def unrolled_holds(kernel: Kernel, square: Fraction, slack: int, factor=None):
    """Whether ||A||^2 <= square is proved for the whole matrix A of a convolution, as in :func:`dense_holds`.

    Its rows and columns are ordered by position, then by channel, so the Gram matrix has a band. An output position reads at
    most one entry through a tap, so an error of the kernel's entries there counts sqrt(positions) times in Frobenius norm.

    Raises:
        Refused, TooLarge, Disproved: where nothing can be proved of these arguments.
    """
    _bounded(square, slack)
    axes = _axes(kernel)
    if not square or _is_zero(kernel.numbers):
        return _is_zero(kernel.numbers)
    out, taps, outputs = kernel.numbers.shape[0], prod(a[1] for a in axes), prod(a[2] for a in axes)
    side = min(out * outputs, kernel.channels * prod(kernel.image))
    if side > MAX_UNROLLED or outputs * taps > 1 << 22:
        raise TooLarge(f"a convolution with {side} rows or columns; up to {MAX_UNROLLED} are unrolled")
    given, offered = _offered(factor, side, len(kernel.numbers.values), square, slack)
    power, bits = _power(square), max(_bits(slack, taps * len(kernel.numbers.values) * outputs), given)
    found = _kernel_integers(kernel.numbers, power, bits, outputs)
    if found is None:
        return False
    rows = _unrolled(kernel, axes, found[0])
    offered = offered and (2 * (bits - given), offered)
    return _semidefinite([_products(rows, rows, lower=True)], _top(square, power, bits, found[1]), slack, offered)


def _unrolled(kernel, axes, values):
    """The rows, as spans, of the matrix of a convolution with these integers, or of its transpose: on the smaller side."""
    out, inner, *_ = kernel.numbers.shape
    taps, per = prod(a[1] for a in axes), out // kernel.groups
    reads = [(0, 0, 0)]  # (output position, input position, tap) of every read
    for n, k, m, d, s, left in axes:
        along = [(j, j * s + t * d - left, t) for j in range(m) for t in range(k)]
        along = [(j, i % n, t) for j, i, t in along if kernel.circular or 0 <= i < n]
        reads = [(a * m + j, b * n + i, c * k + t) for a, b, c in reads for j, i, t in along]
    outputs, inputs = prod(a[2] for a in axes), prod(kernel.image)
    if out * outputs < kernel.channels * inputs:
        own, other, places = (out, per), (kernel.channels, inner), [[] for _ in range(outputs)]
        for j, i, t in reads:
            places[j].append((i, t))
        # blocks[c][t]: what joins channel c of this side, through tap t, to those of its group on the other side.
        blocks = [
            [values[c * inner * taps + t : (c + 1) * inner * taps : taps] for t in range(taps)] for c in range(out)
        ]
    else:
        own, other, places = (kernel.channels, inner), (out, per), [[] for _ in range(inputs)]
        for j, i, t in reads:
            places[i].append((j, t))
        firsts = [(c // inner * per * inner + c % inner) * taps for c in range(kernel.channels)]
        step = inner * taps
        blocks = [[values[f + t : f + t + (per - 1) * step + 1 : step] for t in range(taps)] for f in firsts]
    if sum(max(read)[0] - min(read)[0] + 1 for read in places if read) * own[0] * other[0] > 1 << 25:
        raise TooLarge("a convolution whose matrix has too many entries")
    rows = []
    for read in places:
        least, most = (min(read)[0], max(read)[0]) if read else (0, 0)
        for c in range(own[0]):
            row, group = [0] * ((most - least + 1) * other[0]), c // own[1] * other[1]
            for place, t in read:
                at = (place - least) * other[0] + group
                row[at : at + other[1]] = map(add, row[at : at + other[1]], blocks[c][t])
            rows.append(_span(row, least * other[0]))
    return rows


@dataclass(frozen=True)
class _Phases:
    """One axis as one of stride 1: tap t of the kernel is tap ``taps[t]`` of its phase ``phases[t]``; ``least``: see below."""

    phases: tuple
    taps: tuple
    least: int

    @property
    def reach(self):
        return max(self.taps)


def _phases(n, k, m, d, s, left, circular):
    """An axis of stride 1 whose operator on a torus of ``least`` (zeros: or more) points contains that of the given axis.

    Let t d - left = s a_t + p_t, 0 <= p_t < s. Output j reads entry j + a_t of phase p_t: x[p_t], x[p_t + s], ...; distinct
    t have distinct (p_t, a_t).
    Circular, s | n: phases have n / s entries, j + a_t counts modulo n / s, m <= n / s outputs are distinct points of Z_(n/s).
    Zeros: phases have at most n' = ceil(n / s) entries. Outputs that read no entry are zero and may be dropped: left are
    max(0, -max a) <= j <= min(m - 1, n' - 1 - min a). They read the entries from lo to hi. On Z_N, N >= max(n' - lo, hi + 1),
    those below 0 become n' or more, those from n' on stay below N: either way a zero, whatever the sign that a twist gives.
    The hi - lo + 1 - reach outputs kept are distinct as -lo <= reach: the map is a part of the torus operator.
    Zeros, s = 1, d > 1: outputs q, q + d, ... (q < d) read one phase of d only, another for each q: a direct sum. With
    q - left = d b + p output v of q reads entry v + t + b of phase p: taps t, and the largest N of those of all q.
    """
    size, offsets, cases = -(-n // s), [(t * d - left) // s for t in range(k)], []
    if circular:
        if n % s or m > size:
            raise Unchecked(f"circular padding with stride {s}, {n} entries and {m} outputs")
    elif s == 1 and d > 1:
        size, offsets = -(-n // d), list(range(k))
        cases = [(-(-(m - q) // d), (q - left) // d) for q in range(min(d, m))]
    else:
        cases = [(m, 0)]
    least, lowest, highest = size, min(offsets), max(offsets)
    for outputs, b in cases:
        first, last = max(0, -highest - b), min(outputs - 1, size - 1 - lowest - b)
        if first <= last:
            least = max(least, size - (first + lowest + b), last + highest + b + 1)
    phases = (0,) * k if s == 1 else tuple((t * d - left) % s for t in range(k))
    return _Phases(phases, tuple(a - lowest for a in offsets), least)


_PI = Fraction("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899")
_CIRCLE = 80
"""Bits after the point of sines and cosines."""


@functools.lru_cache(maxsize=8192)
def _turned(j, n):
    """cos and sin of pi j / n, 0 <= j < 2 n, in units of 2^-_CIRCLE, each off by less than two.

    Taylor series with 64 bits more: x < 6.3 is off by less than 2 units of the last, each of 100 terms by less than 2 before
    it is passed on to the later ones; those hold less than e^6.3 < 600 times an error: in all less than 2^20 units. The rest
    of the series is below 2^-240. Rounding down costs one of the larger units.
    """
    x = (_PI.numerator * j << (_CIRCLE + 64)) // (_PI.denominator * n)
    term, sums = 1 << (_CIRCLE + 64), [0, 0]
    for k in range(1, 101):
        sums[(k - 1) % 2] += term if (k - 1) % 4 < 2 else -term
        term = (term * x >> (_CIRCLE + 64)) // k
    return sums[0] >> 64, sums[1] >> 64


def torus_holds(kernel: Kernel, sizes, twists, grid: bool, square: Fraction, slack: int):
    """Whether ||A||^2 <= square is proved by the frequencies of a torus that holds A, or of a coarser grid.

    With axes of stride 1 (:func:`_phases`) the operator on Z_N1 x Z_N2, antiperiodic where the twist is 1, has the blocks
    B(w) = sum_d K_d e^(i w.d), w_a = pi (2 k_a + twist_a) / N_a, and the norm max_w ||B(w)||. B(-w) is the conjugate of B(w).

    Grid. Let K have reach R on an axis of N > R frequencies. For all real w there, the rest held fixed, let M = ||B(w)|| =
    |B(w) v| be largest, |v| = 1. q(u) = |B(u) v|^2 - M^2 / 2 is a real trigonometric polynomial of degree R, |q| <= M^2 / 2 =
    q(w), so q(w + t) >= q(w) cos(R t) for |t| <= pi / R (M. Riesz). A frequency of the grid has |t| <= pi / N, so its ||B||^2
    is at least M^2 (1 + cos(pi R / N)) / 2 = M^2 cos^2(pi R / 2N). One axis after the other: square prod cos^2 at the grid
    proves square for all w, so for every torus. (An axis whose own frequencies are all there needs no factor.)

    Raises:
        Refused, TooLarge, Disproved, Unchecked: where nothing can be proved of these arguments.
    """
    _bounded(square, slack)
    axes = _axes(kernel)
    parts = [_phases(*axis, kernel.circular) for axis in axes]
    fitting = len(sizes) == len(twists) == len(axes) and set(twists) <= {0, 1}
    if not fitting or not all(0 < n < 1 << 20 for n in sizes):
        raise Refused(f"a torus of sizes {sizes} and twists {twists} for {len(axes)} image axes")
    if not square or _is_zero(kernel.numbers):
        return _is_zero(kernel.numbers)
    for size, twist, part in zip(sizes, twists, parts):
        whole = (size == part.least and not twist) if kernel.circular else size >= part.least
        if whole or not part.reach:  # of reach 0 all frequencies have one norm
            continue
        if not grid or size <= part.reach:
            raise Disproved(f"a torus of size {size}, twist {twist}, where {part.least} are needed, reach {part.reach}")
        square *= Fraction(_turned(part.reach, 2 * size)[0] - 2, 1 << _CIRCLE) ** 2
    if len(axes) == 1:
        parts, sizes, twists = [*parts, _Phases((0,), (0,), 1)], (*sizes, 1), (*twists, 0)
    power, bits = _power(square), _bits(slack, prod(kernel.numbers.shape[2:]) * len(kernel.numbers.values))
    found = _kernel_integers(kernel.numbers, power, bits)
    if found is None:
        return False
    top = _top(square, power, bits, found[1])
    for matrices in _tap_matrices(kernel, parts, found[0]):
        block, taps = next(iter(matrices.values())), len(matrices)
        work = taps**2 * len(block) ** 2 * len(block[0])
        work += sizes[0] * sizes[1] * (len(block) ** 3 + 4 * taps * len(block) ** 2 + 1000)
        if work * kernel.groups > MAX_WORK:
            raise TooLarge(f"{sizes[0]} x {sizes[1]} frequencies of {kernel.groups} kernels with {len(block)} rows")
        if not _blocks_hold(matrices, sizes, twists, top, slack):
            return False
    return True


def _tap_matrices(kernel, parts, values):
    """Of each group, tap (a, b) -> K_(a, b), the rows of the (out, in * phases) matrix or of its transpose: the fewer."""
    out, inner, *_ = kernel.numbers.shape
    first, second = parts
    kinds = list(itertools.product(sorted(set(first.phases)), sorted(set(second.phases))))
    taps, per, width = len(first.taps) * len(second.taps), out // kernel.groups, inner * len(kinds)
    if len(set(first.taps)) * len(set(second.taps)) * per * width > MAX_NUMBERS:
        raise TooLarge(f"a kernel of {taps} taps with {width} channels and phases")
    for g in range(kernel.groups):
        matrices = {}
        for t, (i, j) in enumerate(itertools.product(range(len(first.taps)), range(len(second.taps)))):
            matrix = matrices.setdefault((first.taps[i], second.taps[j]), [[0] * width for _ in range(per)])
            kind = kinds.index((first.phases[i], second.phases[j]))
            for o, row in enumerate(matrix, g * per):
                row[kind :: len(kinds)] = values[o * inner * taps + t : (o + 1) * inner * taps : taps]
        yield matrices if per <= width else {d: list(zip(*matrix)) for d, matrix in matrices.items()}


def _blocks_hold(matrices, sizes, twists, top, slack):
    """Whether B(w) B(w)^H <= top I at every frequency w of a torus, B(w) = sum_d K_d e^(i w.d) with integer K_d.

    B(w) B(w)^H = sum_e C_e e^(i w.e), C_e = sum_d K_(d + e) K_d^T, C_-e = C_e^T. The lower triangles of C_e + C_e^T and of
    C_e - C_e^T are packed, each into one integer: a frequency takes two products of integers for every e > 0.
    Cosines and sines are off by less than 10 units each, e^(i w.e) by less than 15: an error of at most
    15 sum_e ||C_e|| <= 15 (sum_d ||K_d||_F)^2; that square also bounds every entry of the sum, to the same error.
    """
    taps, side = sorted(matrices), len(next(iter(matrices.values())))
    rows, sums = {d: [_span(list(row)) for row in matrices[d]] for d in taps}, {}
    for at, d in enumerate(taps):
        found = [[0] * s + e for s, e in _products([row for c in taps[at:] for row in rows[c]], rows[d])]
        for i, c in enumerate(taps[at:]):
            e, block = (c[0] - d[0], c[1] - d[1]), found[i * side : (i + 1) * side]
            sums[e] = [list(map(add, a, b)) for a, b in zip(sums[e], block)] if e in sums else block
    spread = sum(isqrt(sum(sum(map(mul, e, e)) for _, e in rows[d])) + 1 for d in taps) ** 2
    size = (spread.bit_length() + _CIRCLE + 1) // 8 + 1
    others, lower = sorted(set(sums) - {(0, 0)}), [i * (i + 1) // 2 for i in range(side + 1)]
    real = [_packed([x for i, row in enumerate(sums[0, 0]) for x in row[: i + 1]], size)]
    imaginary = []
    for e in others:
        for made, op in ((real, add), (imaginary, sub)):
            pairs = enumerate(zip(sums[e], zip(*sums[e])))
            made.append(_packed([x for i, (row, column) in pairs for x in map(op, row[: i + 1], column)], size))
    top = (top << _CIRCLE) - 15 * spread
    n, m = sizes
    for a, b in itertools.product(range(twists[0], 2 * n, 2), range(twists[1], 2 * m, 2)):
        if (a, b) > (-a % (2 * n), -b % (2 * m)):
            continue  # -w is another frequency of the torus
        cosines, sines = [1 << _CIRCLE], []
        for e, f in others:
            (c, s), (u, v) = _turned(a * e % (2 * n), n), _turned(b * f % (2 * m), m)
            cosines.append((c * u - s * v) >> _CIRCLE)
            sines.append((s * u + c * v) >> _CIRCLE)
        both = sum(map(mul, real, cosines)), sum(map(mul, imaginary, sines))
        flat = [_unpacked(number, lower[-1], size) for number in both]
        parts = [[(0, part[p : p + i + 1]) for i, p in enumerate(lower[:-1])] for part in flat]
        if not _semidefinite(parts, top, slack):
            return False
    return True
