"""The checker's arithmetic: it accepts what is true with the room that it was promised, and nothing that is not."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import operator
import struct
from dataclasses import replace
from fractions import Fraction

import lipverify_checker as checker
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

SLACK = 28
ROOM = Fraction(1, 1 << SLACK)
HINTS = (0, 3, SLACK, 40)


@pytest.fixture(params=[False, True], ids=["standard library", "flint"])
def flint(request):
    """Both ways of multiplying integers."""
    checker.use_flint(request.param)
    if checker.has_flint() is not request.param:
        pytest.skip("python-flint is not installed")
    yield
    checker.use_flint(True)


def numbers(array, radii=None):
    array = np.asarray(array, np.float64)
    return checker.Numbers(array.shape, array.ravel().tolist(), None if radii is None else np.ravel(radii).tolist())


def squared_norm(matrix):
    return Fraction(float(np.linalg.norm(np.asarray(matrix, np.float64), 2))) ** 2


def draw(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32).astype(np.float64)


# ---- Scalars, arrays, files


def test_hexadecimal_numbers_are_read_in_one_spelling_only():
    for x in (0.0, 1.0, 0.1, 5e-324, 1.7976931348623157e308, 2.0**-1022):
        assert checker.hex_number(x.hex()) == Fraction(x)
    strange = ["1.0", "0x1p+0", "0x1.0000000000000P+0", " 0x1.0000000000000p+0", "0x1.0000000000000p+0\n", "-0x0.0p+0"]
    for text in [
        *strange,
        (-1.0).hex(),
        "nan",
        "inf",
        "-inf",
        "",
        "0x1.0p+99999",
        "0x" + "0" * 999,
        None,
        1,
        1.0,
        b"0x0.0p+0",
    ]:
        with pytest.raises(checker.Refused):
            checker.hex_number(text)


def test_a_transpose_is_the_transpose():
    matrix, radii = draw(0, 3, 5), np.abs(draw(1, 3, 5))
    turned = numbers(matrix, radii).transposed()
    assert turned.shape == (5, 3)
    assert list(turned.values) == matrix.T.ravel().tolist() and list(turned.radii) == radii.T.ravel().tolist()
    assert list(numbers(matrix).reshaped((5, 3)).values) == matrix.ravel().tolist()


STORED = {
    "F64": ("<f8", [0.1, -5e-324, 1e308]),
    "F32": ("<f4", [0.1, -1e-45, 3e38]),
    "F16": ("<f2", [0.1, -6e-8, 65504]),
    "I64": ("<i8", [2**53 - 1, 1 - 2**53, 0]),
    "I32": ("<i4", [2**31 - 1, -(2**31), 7]),
    "I16": ("<i2", [2**15 - 1, -(2**15), 7]),
    "I8": ("<i1", [127, -128, 7]),
    "U8": ("<u1", [255, 0, 7]),
    "BOOL": ("<u1", [1, 0, 1]),
}


def safetensors(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_every_stored_type_is_read_exactly(tmp_path):
    arrays = {kind: np.array(values, code) for kind, (code, values) in STORED.items()}
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for kind, array in arrays.items():
        header[kind] = entry(kind, (3, 1), (len(data), len(data) + array.nbytes))
        data += array.tobytes()
    header["BF16"] = entry("BF16", (2,), (len(data), len(data) + 4))
    data += struct.pack("<HH", 0x3F81, 0xBDCC)
    header["empty"] = entry("F32", (0, 4), (len(data), len(data)))
    (tmp_path / "w.safetensors").write_bytes(safetensors(header, data))
    memory = {kind: (kind, array.shape, array.tobytes()) for kind, array in arrays.items()}
    for weights in (checker.Weights(tmp_path / "w.safetensors"), checker.Weights.of(memory)):
        for kind, array in arrays.items():
            assert list(weights.numbers(kind).values) == array.astype(np.float64).ravel().tolist()
            assert weights.digest(kind) == hashlib.sha256(array.tobytes()).hexdigest()
    weights = checker.Weights(tmp_path / "w.safetensors")
    assert set(weights.names()) == {*arrays, "BF16", "empty"} and weights.entry("I8") == ("I8", (3, 1))
    assert list(weights.numbers("BF16").values) == [1.0078125, -0.099609375]
    assert weights.numbers("empty").shape == (0, 4) and len(weights.numbers("empty").values) == 0


HOSTILE = {
    "empty": b"",
    "a cut length": b"\x01\0\0",
    "a header beyond the file": safetensors(b"{}", length=1 << 40),
    "a header beyond 100 MB": safetensors(b"{}", length=(1 << 63) + 5),
    "no JSON": safetensors(b"\xff\xfe"),
    "a list": safetensors([]),
    "a key twice": safetensors(b'{"a": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}, "a": 1}'),
    "an inner key twice": safetensors(b'{"a": {"dtype": "F32", "dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}'),
    "nesting": safetensors(b'{"a":' + b"[" * 200_000),
    "NaN": safetensors(b'{"a": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 0]}}'),
    "a float": safetensors(b'{"a": {"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]}}', bytes(8)),
    "true": safetensors(b'{"a": {"dtype": "F32", "shape": [true], "data_offsets": [0, 4]}}', bytes(4)),
    "a negative size": safetensors({"a": entry(shape=(-1, -2))}, bytes(8)),
    "a large number": safetensors(b'{"a": {"dtype": "F32", "shape": [' + b"9" * 5000 + b'], "data_offsets": [0, 0]}}'),
    "an unknown type": safetensors({"a": entry("F31")}, bytes(8)),
    "an unknown key": safetensors({"a": {**entry(), "x": 1}}, bytes(8)),
    "another number of bytes": safetensors({"a": entry(shape=(3,))}, bytes(8)),
    "an overlap": safetensors({"a": entry(), "b": entry(offsets=(4, 12))}, bytes(12)),
    "the same bytes twice": safetensors({"a": entry(), "b": entry()}, bytes(8)),
    "a gap": safetensors({"a": entry(), "b": entry(offsets=(12, 20))}, bytes(20)),
    "bytes before": safetensors({"a": entry(offsets=(4, 12))}, bytes(12)),
    "bytes after": safetensors({"a": entry()}, bytes(9)),
    "a cut file": safetensors({"a": entry()}, bytes(7)),
    "offsets in reverse": safetensors({"a": entry(offsets=(8, 0))}, bytes(8)),
    "three offsets": safetensors({"a": entry(offsets=(0, 8, 8))}, bytes(8)),
    "metadata of numbers": safetensors({"__metadata__": {"a": 1}}),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_weights_file_is_refused(tmp_path, data):
    (tmp_path / "w.safetensors").write_bytes(data)
    with pytest.raises(checker.Refused):
        checker.Weights(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("F64", struct.pack("<d", math.nan)),
        ("F32", struct.pack("<f", math.inf)),
        ("F16", struct.pack("<e", -math.inf)),
        ("BF16", b"\xc0\x7f"),
        ("I64", struct.pack("<q", 2**53)),
        ("I64", struct.pack("<q", -(2**63))),
        ("BOOL", b"\x02"),
    ],
)
def test_numbers_that_are_none_are_refused(kind, data):
    weights = checker.Weights.of({"a": (kind, (1,), data)})
    with pytest.raises(checker.Refused):
        weights.numbers("a")


# ---- Folded arrays

OPERATIONS = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv}
finite = st.floats(-1e6, 1e6).map(lambda x: x if abs(x) > 1e-6 else 0.0)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(OPERATIONS)), st.lists(finite, min_size=3, max_size=3), finite, st.integers(0, 4))
def test_a_binary_fold_encloses_the_exact_value(op, values, other, grain):
    radius = 0.0 if not grain else 2.0**-grain
    leaves = {"a": numbers(values, [radius] * 3), "b": numbers([[other], [3.0]])}
    try:
        made = checker.fold([op, {"leaf": "a"}, {"leaf": "b"}], lambda leaf: leaves[leaf["leaf"]])
    except checker.Disproved:
        assert op == "div" and other == 0
        return
    assert made.shape == (2, 3)
    for place, (b, a) in enumerate(itertools.product((other, 3.0), values)):
        for end in (-1, 0, 1):
            exact = OPERATIONS[op](Fraction(a) + end * Fraction(radius), Fraction(b))
            assert abs(exact - Fraction(made.values[place])) <= Fraction(made.radii[place] if made.radii else 0)


@settings(max_examples=100, deadline=None)
@given(st.floats(-1e3, 1e3), st.sampled_from([0.0, 0.25, 3.0]))
def test_a_unary_fold_encloses_the_exact_value(x, radius):
    def folded(op):
        made = checker.fold([op, {}], lambda _: numbers([x], [radius]))
        low, high = (Fraction(made.values[0]) + sign * Fraction(made.radii[0] if made.radii else 0) for sign in (-1, 1))
        return low, high

    for point in (Fraction(x) - Fraction(radius), Fraction(x), Fraction(x) + Fraction(radius)):
        for op, exact in (("neg", -point), ("abs", abs(point)), ("square", point**2)):
            low, high = folded(op)
            assert low <= exact <= high
        if Fraction(x) - Fraction(radius) > Fraction(1, 1000):
            low, high = folded("sqrt")
            assert max(low, 0) ** 2 <= point <= high**2
            low, high = folded("reciprocal")
            assert low <= 1 / point <= high


def test_a_batch_normalised_weight_is_folded_tightly():
    weight, gain, variance = draw(2, 4, 3), draw(3, 4, 1), np.abs(draw(4, 4, 1))
    leaves = {"w": numbers(weight), "g": numbers(gain), "v": numbers(variance), "e": numbers(1e-5)}
    leaf = lambda name: {"leaf": name}  # noqa: E731
    root = ["sqrt", ["add", leaf("v"), leaf("e")]]
    made = checker.fold(["mul", leaf("w"), ["div", leaf("g"), root]], lambda x: leaves[x["leaf"]])
    np.testing.assert_allclose(np.reshape(made.values, (4, 3)), weight * gain / np.sqrt(variance + 1e-5), rtol=1e-15)
    assert max(made.radii) < 1e-14


def test_sums_keep_their_axes():
    array = draw(5, 2, 3, 4)
    made = checker.fold(["sum", {}, [0, 2]], lambda _: numbers(array))
    exact = [sum(Fraction(x) for x in array[:, j].ravel()) for j in range(3)]
    assert made.shape == (1, 3, 1)
    assert all(
        abs(e - Fraction(m)) <= Fraction(r) < 1e-14 for e, m, r in zip(exact, made.values, made.radii, strict=True)
    )


nested: list | dict = {}
for _ in range(100):
    nested = ["neg", nested]


@pytest.mark.parametrize(
    "expression",
    [
        ["div", {}, ["sub", {}, {}]],
        ["sqrt", ["neg", {}]],
        ["mul", ["square", ["square", ["square", ["square", {}]]]], {}],
        ["cosh", {}],
        ["add", {}],
        ["neg"],
        [],
        None,
        "add",
        [["neg"], {}],
        ["sum", {}, [1]],
        ["sum", {}, 0],
        ["sum", {}, [True]],
    ],
    ids=str,
)
def test_what_is_no_expression_or_leaves_the_floats_is_not_folded(expression):
    with pytest.raises((checker.Refused, checker.Disproved)):
        checker.fold(expression, lambda _: numbers([1e30, 2.0]))


# ---- Dense matrices


def hadamard(n):
    return np.ones((1, 1)) if n == 1 else np.kron([[1, 1], [1, -1]], hadamard(n // 2))


def circulant(row):
    return np.array([np.roll(row, i) for i in range(len(row))])


EXACT = {  # ||.||^2, proved without room
    "identity": (np.eye(7), 1),
    "a scaled permutation": (3.0 * np.eye(5)[[2, 0, 4, 1, 3]], 9),
    "Hadamard": (hadamard(32), 32),
    "wide Hadamard": (hadamard(32)[:9], 32),
    "zero": (np.zeros((4, 3)), 0),
    "one row": (np.array([[3.0, 4.0]]), 25),
    "tiny": (2.0**-300 * np.eye(3), Fraction(1, 2**600)),
    "large": (2.0**300 * np.eye(3), Fraction(2) ** 600),
}
ROOMY = {
    "rank one": (np.outer(np.arange(1.0, 4), np.arange(1.0, 31)), 14 * (30 * 31 * 61 // 6)),
    "ones": (np.ones((30, 40)), 1200),
    "circulant of positives": (circulant(np.arange(1.0, 34)), (33 * 34 // 2) ** 2),
    "a box": (np.array([[1.0] * 3 + [0.0] * 27] * 2), 6),
    "two by two": (np.array([[3.0, 0.0], [4.0, 5.0]]), 45),
    "wide range": (np.array([[2.0**200, 1.0], [0.0, 2.0**-200]]), Fraction(2) ** 400),
}  # fmt: skip


@pytest.mark.parametrize(("matrix", "square"), EXACT.values(), ids=EXACT)
def test_orthogonal_rows_need_no_room(flint, matrix, square):
    for slack in HINTS:
        assert checker.dense_holds(numbers(matrix), Fraction(square), slack)
        assert checker.dense_holds(numbers(matrix).transposed(), Fraction(square), slack)
        assert not square or not checker.dense_holds(numbers(matrix), Fraction(square) * (1 - ROOM), slack)


@pytest.mark.parametrize(("matrix", "square"), ROOMY.values(), ids=ROOMY)
def test_closed_forms_are_proved_with_little_room_and_never_below(flint, matrix, square):
    square = Fraction(square)
    for array in (numbers(matrix), numbers(matrix).transposed()):
        assert checker.dense_holds(array, square * (1 + ROOM), SLACK)
        for slack in HINTS:
            assert not checker.dense_holds(array, square * (1 - ROOM), slack)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (5, 2), (30, 70), (90, 60), (33, 130), (150, 150)], ids=str)
def test_random_matrices(flint, shape):
    matrix = draw(6, *shape)
    square = squared_norm(matrix)
    assert checker.dense_holds(numbers(matrix), square * (1 + ROOM), SLACK)
    assert checker.dense_holds(numbers(matrix), square * Fraction(3, 2), 1)
    for slack in HINTS:
        assert not checker.dense_holds(numbers(matrix), square * (1 - ROOM), slack)
        assert not checker.dense_holds(numbers(matrix), Fraction(0), slack)


def test_a_large_matrix_by_blocks():
    matrix = draw(7, 640, 700) / 30
    square = squared_norm(matrix)
    assert checker.dense_holds(numbers(matrix), square * Fraction(129, 128), 7)
    assert not checker.dense_holds(numbers(matrix), square * Fraction(127, 128), 7)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 60), st.integers(-140, 140), st.integers(0, 40))
def test_no_scale_and_no_hint_makes_it_accept_less_than_the_truth(seed, rows, columns, exponent, slack):
    left, right = (np.random.default_rng(seed + i).integers(-9, 10, n) for i, n in enumerate((rows, columns)))
    square = Fraction(int(left @ left) * int(right @ right)) * Fraction(4) ** exponent
    matrix = numbers(np.outer(left, right) * 2.0**exponent)
    assert not square or not checker.dense_holds(matrix, square * (1 - Fraction(1, 2**50)), slack)
    assert checker.dense_holds(matrix, square * (1 + Fraction(1, 2**slack)), slack)


def test_radii_are_respected(flint):
    matrix = np.eye(40) + np.diag(np.full(39, 0.25), 1)
    worst = squared_norm(matrix + 1e-6 / 40)  # all entries 1e-6 / 40 larger: a matrix within the radii
    uncertain = numbers(matrix, np.full((40, 40), 1e-6 / 40))
    assert worst > squared_norm(matrix) * (1 + ROOM)
    assert checker.dense_holds(numbers(matrix), squared_norm(matrix) * (1 + ROOM), SLACK)
    assert not checker.dense_holds(uncertain, squared_norm(matrix) * (1 + ROOM), SLACK)
    assert not checker.dense_holds(uncertain, worst * (1 - ROOM), SLACK)
    assert checker.dense_holds(uncertain, worst * (1 + Fraction(1, 2**18)), 19)
    zero = numbers(np.zeros((2, 2)), np.full((2, 2), 0.5))
    assert checker.dense_holds(zero, 1 + ROOM, 0) and not checker.dense_holds(zero, Fraction(99, 100), 0)
    assert not checker.dense_holds(numbers([[1.0]], [5e-324]), Fraction(1), 10)


def test_entries_below_the_fixed_point_are_counted():
    for a, t in ((2.0**498, 1e-300), (1.0, 5e-324), (2.0**-200, 2.0**-900)):
        assert not checker.dense_holds(numbers([[a, t], [0.0, t]]), Fraction(a) ** 2, 10)
        assert checker.dense_holds(numbers([[a, t], [0.0, t]]), Fraction(a) ** 2 * (1 + ROOM), SLACK)


def factor_of(matrix, square, count, shift=0):
    """(shift, U) with U U^T / 4^(k + shift) near square I - W W^T, k as the certificate's format has it, for a hint of 10."""
    small = matrix if len(matrix) < matrix.shape[1] else matrix.T
    spread = count / square
    k = 20 + (spread.numerator.bit_length() - spread.denominator.bit_length() + 2) // 2
    lower = np.linalg.cholesky(np.eye(len(small)) * float(square) * (1 - 2.0**-12) - small @ small.T)
    return shift, [[round(x * 2.0 ** (k + shift)) for x in row[: i + 1]] for i, row in enumerate(lower.tolist())]


@pytest.mark.parametrize("size", [(50, 35), (35, 50), (40, 40)], ids=str)
def test_a_factor_that_is_offered_is_checked_too(flint, size):
    matrix = draw(8, *size)
    array, truth = numbers(matrix), squared_norm(matrix)
    square = truth * (1 + Fraction(1, 2**10))
    shift, rows = factor_of(matrix, square, matrix.size)
    corrupt = {
        "an entry": (shift, [*rows[:20], [*rows[20][:-1], rows[20][-1] * 2], *rows[21:]]),
        "signs": (shift, [[-x for x in row] if i % 2 else row for i, row in enumerate(rows)]),
        "another shift": (shift + 1, rows),
        "a huge entry": (shift, [[1 << 62], *rows[1:]]),
        "nothing": (shift, [[0]] * len(rows)),
        "rows in reverse": (shift, rows[::-1]),
    }
    assert checker.dense_holds(array, square, 10, (shift, rows))
    assert checker.dense_holds(array, square, 10, factor_of(matrix, square, matrix.size, 3))
    assert not checker.dense_holds(array, truth * (1 - Fraction(1, 2**10)), 10, (shift, rows))
    for what, factor in corrupt.items():
        assert not checker.dense_holds(array, square, 10, factor), what
    for factor in ((shift, rows[:-1]), (-1, rows), (shift, [[1 << 99], *rows[1:]])):
        assert not checker.dense_holds(array, square, 10, factor)


# ---- Rows and entries


def test_rows_and_entries_are_compared_exactly():
    matrix = np.array([[0.6, 0.8], [1.0, 0.0], [0.1, 0.1]])
    squares = [sum(Fraction(x) ** 2 for x in row) for row in matrix.tolist()]
    assert checker.rows_hold(numbers(matrix), max(squares))
    assert not checker.rows_hold(numbers(matrix), max(squares) - Fraction(1, 2**200))
    assert checker.entries_hold(numbers(matrix), Fraction(1))
    assert not checker.entries_hold(numbers(matrix), 1 - Fraction(1, 2**200))
    assert not checker.rows_hold(numbers(matrix, np.full((3, 2), 1e-30)), max(squares))
    assert not checker.entries_hold(numbers(matrix, np.full((3, 2), 5e-324)), Fraction(1))
    assert checker.entries_hold(numbers(matrix, np.full((3, 2), 1e-3)), Fraction(1001, 1000) ** 2 * (1 + ROOM))
    for x in (1e-150, 1.0, 1e150):
        assert checker.rows_hold(numbers([[x, -x]]), 2 * Fraction(x) ** 2)
        assert not checker.rows_hold(numbers([[x, -x], [0.0, 0.0]]), 2 * Fraction(x) ** 2 * (1 - Fraction(1, 2**99)))
    assert checker.rows_hold(numbers(np.zeros((2, 2))), Fraction(0))
    assert not checker.rows_hold(numbers([[5e-324]]), Fraction(0))


# ---- Convolutions


def kernel(
    shape, image, channels=None, *, pads=None, circular=False, stride=1, dilation=1, groups=1, seed=9, radii=None
):
    axes = len(shape) - 2
    every = lambda x: x if isinstance(x, tuple) else (x,) * axes  # noqa: E731
    pads = pads or tuple((k // 2, k // 2) for k in shape[2:])
    values = draw(seed, *shape)
    return checker.Kernel(
        numbers(values, None if radii is None else np.full(shape, radii)),
        channels or shape[1] * groups, image, pads, circular, every(stride), every(dilation), groups,
    )  # fmt: skip


def matrix_of(k, torus=None, twists=(0, 0)):
    """The matrix by definition; on a torus: of the operator of stride 1 on its points, dilation without stride left out."""
    weights = np.reshape(k.numbers.values, k.numbers.shape)
    out, inner, *sizes = weights.shape
    along = []
    for a, (n, taps, (left, right), s, d) in enumerate(zip(k.image, sizes, k.pads, k.stride, k.dilation, strict=True)):
        m, n, wraps, d = (
            ((n + left + right - d * (taps - 1) - 1) // s + 1, n, k.circular, d)
            if torus is None
            else (torus[a], torus[a] * s, True, 1 if s == 1 and not k.circular else d)
        )
        part = np.zeros((taps, m, n))
        for t, j in itertools.product(range(taps), range(m)):
            turns, i = divmod(j * s + t * d - left, n)
            if wraps or not turns:
                part[t, j, i] += (-1) ** (turns * (0 if torus is None else twists[a]))
        along.append(part)
    along = along if len(along) == 2 else [*along, np.ones((1, 1, 1))]
    weights = weights.reshape(out, inner, along[0].shape[0], along[1].shape[0])
    per, total = out // k.groups, 0
    blocks = np.zeros((out, along[0].shape[1], along[1].shape[1], k.channels, along[0].shape[2], along[1].shape[2]))
    for g in range(k.groups):
        own = slice(g * per, (g + 1) * per)
        total = np.einsum("ocst,syi,tzj->oyzcij", weights[own], *along)
        blocks[own, :, :, g * inner : (g + 1) * inner] = total
    return blocks.reshape(out * blocks.shape[1] * blocks.shape[2], -1)


GEOMETRIES = {
    "plain": kernel((4, 3, 3, 3), (6, 5)),
    "fewer outputs": kernel((2, 5, 3, 3), (6, 6)),
    "more outputs": kernel((7, 2, 3, 3), (5, 6)),
    "no padding": kernel((3, 3, 3, 2), (6, 6), pads=((0, 0), (0, 0))),
    "one-sided padding": kernel((3, 3, 2, 3), (5, 6), pads=((1, 0), (0, 2))),
    "padding beyond the reach": kernel((2, 3, 2, 3), (5, 4), pads=((3, 4), (5, 0))),
    "larger than the image": kernel((2, 2, 5, 7), (3, 4), pads=((2, 2), (3, 3))),
    "stride": kernel((4, 3, 3, 3), (7, 6), stride=2),
    "stride beyond the kernel": kernel((4, 3, 2, 2), (9, 8), pads=((0, 0), (1, 0)), stride=3),
    "two strides": kernel((3, 2, 3, 4), (7, 9), pads=((1, 2), (0, 3)), stride=(1, 3)),
    "dilation": kernel((3, 2, 3, 3), (8, 7), pads=((2, 2), (3, 3)), dilation=(2, 3)),
    "dilation, one-sided": kernel((3, 2, 3, 2), (8, 7), pads=((0, 3), (5, 0)), dilation=(3, 2)),
    "stride and dilation": kernel((3, 2, 3, 3), (9, 8), pads=((2, 1), (2, 2)), stride=(2, 3), dilation=(3, 2)),
    "groups": kernel((4, 2, 3, 3), (5, 6), groups=2),
    "depthwise": kernel((3, 1, 3, 3), (6, 6), groups=3),
    "groups with stride": kernel((6, 2, 3, 3), (6, 6), groups=3, stride=2),
    "one axis": kernel((4, 3, 5), (11,)),
    "one axis, stride": kernel((3, 4, 4), (10,), pads=((1, 2),), stride=(2,)),
    "circular": kernel((3, 4, 3, 3), (5, 6), circular=True),
    "circular, even": kernel((3, 4, 2, 4), (5, 6), pads=((1, 0), (1, 2)), circular=True),
    "circular stride": kernel((5, 3, 3, 3), (6, 8), circular=True, stride=2),
    "circular dilation": kernel((3, 3, 3, 3), (6, 7), pads=((2, 2), (2, 2)), circular=True, dilation=2),
    "circular, smaller than its kernel": kernel((3, 2, 5, 3), (3, 4), pads=((2, 2), (1, 1)), circular=True),
    "circular, one axis, groups": kernel((4, 2, 3), (8,), circular=True, groups=2, stride=2),
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_whole_convolution(flint, name):
    k = GEOMETRIES[name]
    square = squared_norm(matrix_of(k))
    assert checker.unrolled_holds(k, square * (1 + ROOM), SLACK)
    for slack in HINTS:
        assert not checker.unrolled_holds(k, square * (1 - ROOM), slack)


def least_torus(k):
    """The least size on each axis that is not refused."""
    found = []
    for axis in range(len(k.image)):
        for n in range(1, 40):
            sizes = [99 if not k.circular else i // s for i, s in zip(k.image, k.stride, strict=True)]
            sizes[axis] = n
            try:
                checker.torus_holds(k, tuple(sizes), (0,) * len(sizes), False, Fraction(1, 10**9), 0)
            except checker.Disproved:
                continue
            found.append(n)
            break
    return tuple(found)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_torus_bounds_the_convolution_by_its_own_norm(name):
    k = GEOMETRIES[name]
    axes, truth, least = len(k.image), squared_norm(matrix_of(k)), least_torus(k)
    cases = [(least, (0,) * axes)]
    if not k.circular:
        cases += [(least, (1,) * axes), (tuple(n + 1 for n in least), (1, 0)[:axes])]
    for sizes, twists in cases:
        square = squared_norm(matrix_of(k, sizes, twists))
        assert square >= truth * (1 - Fraction(1, 2**40)), (sizes, twists)
        assert checker.torus_holds(k, sizes, twists, False, square * (1 + ROOM), SLACK), (sizes, twists)
        for slack in HINTS:
            assert not checker.torus_holds(k, sizes, twists, False, square * (1 - ROOM), slack)
    if k.circular:
        assert abs(squared_norm(matrix_of(k, least)) - truth) <= truth * ROOM
        for sizes, twists in ((tuple(n + 1 for n in least), (0,) * axes), (least, (1,) * axes)):
            with pytest.raises(checker.Disproved):
                checker.torus_holds(k, sizes, twists, False, 4 * truth, 1)


def test_one_point_is_enough_where_all_taps_read_one_offset():
    for k in (kernel((4, 3, 1, 1), (5, 6)), kernel((4, 3, 2), (6,), pads=((0, 0),), stride=(2,))):
        axes, square = len(k.image), squared_norm(matrix_of(k))
        for twist, grid in itertools.product((0, 1), (False, True)):
            assert checker.torus_holds(k, (1,) * axes, (twist,) * axes, grid, square * (1 + ROOM), SLACK)
            assert not checker.torus_holds(k, (1,) * axes, (twist,) * axes, grid, square * (1 - ROOM), SLACK)


def test_the_least_torus_is_known_in_simple_cases():
    sizes = {"plain": (7, 6), "no padding": (6, 6), "one-sided padding": (6, 8), "padding beyond the reach": (6, 6)}
    sizes |= {"larger than the image": (5, 7), "dilation": (5, 4), "one axis": (13,), "circular stride": (3, 4)}
    assert {name: least_torus(GEOMETRIES[name]) for name in sizes} == sizes


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_grid_bounds_all_frequencies(name):
    k = GEOMETRIES[name]
    axes, truth = len(k.image), squared_norm(matrix_of(k))
    proved = 0
    for sizes, twist in itertools.product(((5, 6), (8, 8), (3, 16)), (0, 1)):
        for percent in (70, 99, 160, 900):
            try:
                holds = checker.torus_holds(k, sizes[:axes], (twist,) * axes, True, truth * percent / 100, 7)
            except checker.Disproved:
                continue
            proved += holds
            assert not holds or percent > 99
    assert proved or name == "larger than the image"  # a grid says nothing of more taps than points


def test_a_grid_pays_the_cosine():
    values = np.array([1.0, 2.0, 1.0])  # |B(w)| = 2 + 2 cos w, largest at w = 0, which an antiperiodic grid misses
    k = checker.Kernel(numbers(values.reshape(1, 1, 3)), 1, (100,), ((1, 1),), False, (1,), (1,), 1)
    for n in (3, 5, 16):
        square = Fraction((2 + 2 * math.cos(math.pi / n)) ** 2 / math.cos(math.pi / n) ** 2)
        assert square >= 16
        assert checker.torus_holds(k, (n,), (1,), True, square * (1 + ROOM), SLACK)
        assert not checker.torus_holds(k, (n,), (1,), True, square * (1 - ROOM), SLACK)
    with pytest.raises(checker.Disproved):
        checker.torus_holds(k, (2,), (0,), True, Fraction(10**6), 1)
    with pytest.raises(checker.Disproved):
        checker.torus_holds(k, (100,), (0,), False, Fraction(10**6), 1)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_what_is_proved_of_a_random_geometry_is_true(data):
    whole = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    axes, groups = whole(1, 2), whole(1, 2)
    taps, image = tuple(whole(1, 4) for _ in range(axes)), tuple(whole(1, 7) for _ in range(axes))
    circular = data.draw(st.booleans())
    pads = tuple((whole(0, min(4, n)), whole(0, min(4, n))) for n in image)
    k = kernel(
        (groups * whole(1, 3), whole(1, 3), *taps), image, pads=pads, circular=circular, groups=groups, seed=whole(0, 999),
        stride=tuple(whole(1, 3) for _ in range(axes)), dilation=tuple(whole(1, 3) for _ in range(axes)),
    )  # fmt: skip
    if any(n + sum(p) <= d * (t - 1) for n, p, d, t in zip(image, pads, k.dilation, taps, strict=True)):
        return  # the reader of the graph refuses it
    truth = squared_norm(matrix_of(k))
    if not truth:
        return
    assert checker.unrolled_holds(k, truth * (1 + ROOM), SLACK)
    assert not checker.unrolled_holds(k, truth * (1 - ROOM), SLACK)
    for grid, twist in itertools.product((False, True), (0, 1)):
        for size in (*range(1, 13), 20):
            try:
                held = checker.torus_holds(k, (size,) * axes, (twist,) * axes, grid, truth * (1 - ROOM), whole(0, 30))
            except (checker.Disproved, checker.Unchecked):
                continue
            assert not held


def test_radii_of_a_kernel_are_respected(flint):
    k = kernel((3, 3, 3, 3), (6, 6), circular=True, radii=1e-4)
    centre = replace(k, numbers=replace(k.numbers, radii=None))
    values = np.asarray(k.numbers.values)
    weights = np.reshape(values, k.numbers.shape)
    worst = max(
        squared_norm(matrix_of(replace(k, numbers=numbers(weights + 1e-4 * sign))))
        for sign in (np.sign(weights), 1.0, -1.0)
    )
    truth = squared_norm(matrix_of(centre))
    for holds in (checker.unrolled_holds, lambda k, s, slack: checker.torus_holds(k, (6, 6), (0, 0), False, s, slack)):
        assert holds(centre, truth * (1 + ROOM), SLACK)
        assert not holds(k, truth * (1 + ROOM), SLACK)
        assert not holds(k, worst * (1 - ROOM), SLACK)
        assert holds(k, worst * Fraction(11, 10), 5)


def test_the_last_bits_of_sines_and_cosines_are_counted():
    for n in (1, 2, 3, 7, 100, 1023):
        turns = checker.half_turns(n)
        with mpmath.workprec(200):
            for j, made in itertools.product({0, 1, n // 2, n, 2 * n - 1}, range(2)):
                exact = (mpmath.cospi, mpmath.sinpi)[made](mpmath.mpf(j) / n)
                assert abs(turns[made][j] - exact * 2**checker._TWIDDLE) <= 1
    # |B|^2 = 2 + 2 cos(pi / n) is the largest value on an antiperiodic torus of n points
    k = checker.Kernel(numbers([[[1.0, 1.0]]]), 1, (2,), ((1, 1),), False, (1,), (1,), 1)
    for n in range(3, 40):
        with mpmath.workprec(200):
            below = Fraction(int(mpmath.floor((2 + 2 * mpmath.cospi(mpmath.mpf(1) / n)) * 2**96)), 2**96)
        assert not checker.torus_holds(k, (n,), (1,), False, below, 40)
        assert checker.torus_holds(k, (n,), (1,), False, below * (1 + Fraction(1, 2**38)), 39)


def test_entries_that_many_outputs_read_through_one_tap():
    k = checker.Kernel(
        numbers([[[1.0]]], [0.5]), 1, (2,), ((2, 2),), True, (1,), (1,), 1
    )  # three copies of two entries
    assert checker.unrolled_holds(replace(k, numbers=numbers([[[1.5]]])), Fraction(27, 4), 10)
    for square in (3, 4, 5, 6, Fraction(27, 4) * (1 - ROOM)):
        assert not checker.unrolled_holds(k, Fraction(square), 10)


def test_an_offered_factor_of_a_whole_convolution(flint):
    k = GEOMETRIES["fewer outputs"]
    matrix = matrix_of(k)  # its rows by channel, then by position
    order = np.arange(len(matrix)).reshape(2, -1).T.ravel()
    square = squared_norm(matrix) * (1 + Fraction(1, 2**10))
    count = len(k.numbers.values)
    factor = factor_of(matrix[order], square, count)
    assert checker.unrolled_holds(k, square, 10, factor)
    assert not checker.unrolled_holds(k, square, 10, factor_of(matrix, square, count))
    assert not checker.unrolled_holds(k, squared_norm(matrix) * (1 - ROOM), 10, factor)


def test_circular_cases_without_a_torus_are_unchecked():
    for k in (kernel((2, 2, 3), (7,), circular=True, stride=2), kernel((2, 2, 2), (6,), pads=((1, 1),), circular=True)):
        with pytest.raises(checker.Unchecked):
            checker.torus_holds(k, (7,), (0,), False, Fraction(1), 1)


def test_limits_are_kept():
    matrix = checker.Numbers((4200, 4200), np.ones(1).repeat(4200 * 4200).tolist())
    with pytest.raises(checker.TooLarge):
        checker.dense_holds(matrix, Fraction(10**9), 1)
    with pytest.raises(checker.TooLarge):
        checker.unrolled_holds(kernel((64, 64, 3, 3), (32, 32)), Fraction(10**9), 1)
    with pytest.raises(checker.TooLarge):
        checker.torus_holds(kernel((64, 64, 3, 3), (9, 9)), (30000, 30000), (0, 0), False, Fraction(10**9), 1)
