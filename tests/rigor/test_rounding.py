"""Directions and exactness of scalar rounding, against rationals."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipverify.rigor import (
    decimal_down,
    decimal_up,
    float_down,
    float_up,
    frobenius_up,
    gamma,
    matrix_norm_up,
    round_down,
    round_up,
    sqrt_down,
    sqrt_up,
    sum_squares,
)
from lipverify.rigor.reductions import checked, largest_magnitude, lost, power_of_two, row_sums_up, unit_scaled

SIZES = st.integers(-1100, 1100)
RATIONALS = st.builds(
    lambda p, q, e: Fraction(p, q) * Fraction(2) ** e, st.integers(0, 10**30), st.integers(1, 10**30), SIZES
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(q=RATIONALS, bits=st.integers(2, 200))
def test_square_roots_enclose(q, bits):
    low, high = sqrt_down(q, bits), sqrt_up(q, bits)
    assert low * low <= q <= high * high
    assert high - low <= high * Fraction(4, 2**bits)
    assert sqrt_up(q * q) == sqrt_down(q * q) == q


@settings(derandomize=True, max_examples=200, deadline=None)
@given(q=RATIONALS, sign=st.sampled_from((-1, 1)), bits=st.integers(2, 200))
def test_dyadic_rounding_is_outward_and_bounded(q, sign, bits):
    q *= sign
    low, high = round_down(q, bits), round_up(q, bits)
    assert low <= q <= high
    assert high - low <= abs(q) * Fraction(4, 2**bits)
    for r in (low, high):
        assert r.denominator & (r.denominator - 1) == 0
        odd = abs(r.numerator) // (r.numerator & -r.numerator or 1)
        assert r == q or odd.bit_length() <= bits + 3


@settings(derandomize=True, max_examples=200, deadline=None)
@given(q=RATIONALS, sign=st.sampled_from((-1, 1)))
def test_float_rounding_is_outward_and_tight(q, sign):
    q *= sign
    low, high = float_down(q), float_up(q)
    assert low == -math.inf or Fraction(low) <= q
    assert high == math.inf or q <= Fraction(high)
    assert high in (low, math.nextafter(low, math.inf))


@settings(derandomize=True, max_examples=300, deadline=None)
@given(q=RATIONALS, sign=st.sampled_from((-1, 1)), digits=st.integers(1, 30))
def test_decimals_are_outward_and_readable(q, sign, digits):
    q *= sign
    low, high = Fraction(decimal_down(q, digits)), Fraction(decimal_up(q, digits))
    assert low <= q <= high
    assert high - low <= abs(q) * Fraction(10) ** (1 - digits)


@pytest.mark.parametrize(
    ("q", "digits", "text"),
    [
        (Fraction(0), 5, "0"),
        (Fraction(1), 5, "1"),
        (Fraction(1, 2), 5, "0.5"),
        (Fraction(9999, 10000), 3, "1"),
        (Fraction(1234567), 3, "1234567"),
        (Fraction(1, 3), 4, "0.3334"),
        (Fraction(10**40 + 1), 4, "1.001e+40"),
        (Fraction(1, 3 * 10**170), 3, "3.34e-171"),
        (Fraction(-1, 3), 4, "-0.3333"),
    ],
)
def test_decimal_texts(q, digits, text):
    assert decimal_up(q, digits) == text


def test_a_million_digits_do_not_hang():
    assert decimal_up(Fraction(1, 7**100000), 5) == "1.5704e-84510"


def test_gamma_is_the_error_of_a_sum():
    u = Fraction(1, 2**53)
    assert gamma(0) == 0 and gamma(3) == 3 * u / (1 - 3 * u)
    with pytest.raises(ValueError, match="gamma"):
        gamma(2**53)
    rng = np.random.default_rng(0)
    for k in (2, 10, 1000):
        a, b = rng.standard_normal(k), rng.standard_normal(k)
        exact = sum(Fraction(x) * Fraction(y) for x, y in zip(a.tolist(), b.tolist(), strict=True))
        size = sum(abs(Fraction(x) * Fraction(y)) for x, y in zip(a.tolist(), b.tolist(), strict=True))
        assert abs(Fraction(float(a @ b)) - exact) <= gamma(k) * size


ARRAYS = st.lists(FLOATS, min_size=1, max_size=12).map(lambda xs: np.array(xs))


@settings(derandomize=True, max_examples=300, deadline=None)
@given(a=ARRAYS)
def test_scaling_and_reductions_enclose(a):
    b, e = unit_scaled(a)
    assert np.abs(b).max() <= 1 and (not a.any() or np.abs(b).max() >= 0.5)
    exact = [Fraction(x) for x in a.tolist()]
    for x, y in zip(exact, b.tolist(), strict=True):
        assert abs(x - power_of_two(e) * Fraction(y)) <= power_of_two(e - 1021)
    assert largest_magnitude(a) == max(abs(x) for x in exact)
    squares = sum(x * x for x in exact)
    assert frobenius_up(a) ** 2 >= squares
    assert matrix_norm_up(a[None, :]) ** 2 >= squares
    assert frobenius_up(a) <= sqrt_up(squares) * (1 + Fraction(1, 2**40)) + power_of_two(e) * 2 * lost(a)
    low, high = sum_squares(b)
    assert low <= sum(Fraction(y) ** 2 for y in b.tolist()) <= high
    assert row_sums_up(np.abs(b)[None, :]) >= sum(abs(Fraction(y)) for y in b.tolist())


def test_float32_denormals_widen_exactly():
    tiny = np.array([1, 5, -7], np.int32).astype(np.float32) * np.float32(0)
    tiny = np.array([1, 5, 7], np.uint32).view(np.float32)
    assert checked(tiny, "w").tolist() == [2.0**-149, 5 * 2.0**-149, 7 * 2.0**-149]


def test_nan_and_wide_types_are_refused_with_their_place():
    with pytest.raises(ValueError, match=r"\(1,\) is nan"):
        checked(np.array([0.0, math.nan]), "w")
    with pytest.raises(ValueError, match="inf"):
        checked(np.array([math.inf]), "w")
    for dtype in (np.int64, np.complex128, np.longdouble):
        with pytest.raises(TypeError, match="dtype"):
            checked(np.zeros(2, dtype), "w")
