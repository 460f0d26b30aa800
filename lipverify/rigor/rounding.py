"""Scalars that cannot lie: exact rationals, rounded only in a named direction.

Every scalar of this room is a :class:`fractions.Fraction`. Functions ending in ``_up`` return a number >= the true one,
``_down`` one that is <= it; both return the number itself where it is representable in the requested form.
"""

from __future__ import annotations

import math
from fractions import Fraction
from math import isqrt

from lipverify.numerals import decimal_down as decimal_down
from lipverify.numerals import decimal_up as decimal_up

U = Fraction(1, 2**53)
"""Unit roundoff of float64, round to nearest."""

BITS = 128
"""Significant bits kept where rationals would grow."""


def gamma(k: int) -> Fraction:
    """gamma_k = k u / (1 - k u): the relative error of k roundings in any order (Higham 2002, Lemma 3.1).

    Raises:
        ValueError: if k < 0 or k u >= 1, where the error model says nothing.
    """
    if k < 0 or k * U >= 1:
        raise ValueError(f"gamma: k must satisfy 0 <= k < 2**53, got {k}; the sum is too long for float64")
    return k * U / (1 - k * U)


def underflow(k: int, largest: Fraction | int = 1) -> Fraction:
    """An absolute error that covers all underflow in one inner product of length ``k``, flush-to-zero or not.

    With eta = 2^-1022 and factors of magnitude at most b = ``largest``, one product loses at most eta (2 b + eta) to
    subnormal factors read as zero and eta to a flushed product; one addition of the sum at most eta. Later roundings
    magnify this by less than 2: k (2 b + 3) 2 eta <= 10 k max(1, b) eta.
    """
    return Fraction(k) * max(Fraction(1), Fraction(largest)) / 2**1018


def _shift(q: Fraction, bits: int) -> int:
    """k such that q 2^k has at least ``bits`` bits before the point and at most bits + 2."""
    return bits + 1 - (q.numerator.bit_length() - q.denominator.bit_length())


def _dyadic(n: int, k: int) -> Fraction:
    return Fraction(n, 1 << k) if k >= 0 else Fraction(n << -k)


def _floor_scaled(q: Fraction, k: int) -> int:
    """floor(q 2^k)."""
    return (q.numerator << k) // q.denominator if k >= 0 else q.numerator // (q.denominator << -k)


def round_down(q: Fraction, bits: int = BITS) -> Fraction:
    """A dyadic rational <= q of about ``bits`` significant bits, relative distance below 2^-bits."""
    if not q or (q.denominator & (q.denominator - 1) == 0 and q.numerator.bit_length() <= bits):
        return q
    k = _shift(abs(q), bits)
    return _dyadic(_floor_scaled(q, k), k)


def round_up(q: Fraction, bits: int = BITS) -> Fraction:
    """A dyadic rational >= q of about ``bits`` significant bits, relative distance below 2^-bits."""
    return -round_down(-q, bits)


def _sqrt(q: Fraction, up: bool, bits: int) -> Fraction:
    q = Fraction(q)
    if q < 0:
        raise ValueError("square root of a negative number: a squared norm went below zero; clamp the lower bound at 0")
    p, d = isqrt(q.numerator), isqrt(q.denominator)
    if p * p == q.numerator and d * d == q.denominator:
        return Fraction(p, d)
    k = _shift(q, 2 * bits) // 2
    return _dyadic(isqrt(_floor_scaled(q, 2 * k)) + up, k)


def sqrt_up(q: Fraction, bits: int = BITS) -> Fraction:
    """A rational >= sqrt(q): sqrt(q) itself if rational, else within a factor 1 + 2^(1 - bits) of it.

    floor(sqrt(floor(y))) = floor(sqrt(y)), so isqrt(floor(q 4^k)) + 1 > sqrt(q) 2^k.

    Raises:
        ValueError: for q < 0.

    >>> sqrt_up(Fraction(9, 4)), sqrt_up(Fraction(2)) ** 2 > 2
    (Fraction(3, 2), True)
    """
    return _sqrt(q, True, bits)


def sqrt_down(q: Fraction, bits: int = BITS) -> Fraction:
    """A rational <= sqrt(q): the counterpart of :func:`sqrt_up`."""
    return _sqrt(q, False, bits)


def float_up(q: Fraction) -> float:
    """The least float64 >= q (infinity above the largest finite one)."""
    try:
        x = float(q)
    except OverflowError:
        x = math.inf if q > 0 else -math.inf
    if x == -math.inf:
        return math.nextafter(x, 0.0)
    return x if x == math.inf or Fraction(x) >= q else math.nextafter(x, math.inf)


def float_down(q: Fraction) -> float:
    """The greatest float64 <= q (minus infinity below the least finite one)."""
    return -float_up(-q)
