"""Canonical form: what a digest is of, and how numbers are written down."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

SHORT = 31
"""Significant bits of a bound: rounding up costs at most 2^-30, and hides what differs between machines."""

FULL = 53
"""Significant bits of the steps between bounds: those of float64."""

_LEAST = Fraction(1, 2**1000)


class Unbounded(ArithmeticError):
    """A bound that float64 does not hold."""


def digest(data: Any) -> str:
    """SHA-256 of the canonical form: sorted keys, no spaces, ASCII."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def dumps(certificate: Mapping[str, Any]) -> str:
    """A certificate as the text of its file: sorted keys, ASCII, a line for every entry."""
    return json.dumps(certificate, sort_keys=True, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def hexadecimal(x: float) -> str:
    """A finite float64 as Python writes it in hexadecimal; -0 is 0."""
    if not math.isfinite(x):
        raise Unbounded("a number of a certificate is not finite")
    return (float(x) + 0.0).hex()


def entries(array: np.ndarray) -> list[str]:
    """The entries of an array, in C order."""
    return [hexadecimal(x) for x in np.asarray(array, dtype=np.float64).reshape(-1).tolist()]


def short_up(q: Fraction, bits: int = SHORT) -> Fraction:
    """The least dyadic number >= q of at most ``bits`` significant bits that float64 holds (2^-1000 for smaller ones).

    Raises:
        Unbounded: where there is none.

    >>> short_up(Fraction(1)), short_up(Fraction(1, 3), 4)
    (Fraction(1, 1), Fraction(11, 32))
    """
    if not q:
        return q
    q = max(q, _LEAST)
    shift = bits - (q.numerator.bit_length() - q.denominator.bit_length())
    while True:
        found = Fraction(math.ceil(q * _power(shift)))
        if found.numerator.bit_length() <= bits or found == 1 << bits:
            break
        shift -= 1
    found /= _power(shift)
    if found >= Fraction(2) ** 1023:
        raise Unbounded("the bound is beyond float64")
    return found


def short_down(q: Fraction, bits: int = SHORT) -> Fraction:
    """The greatest dyadic number <= q of at most ``bits`` significant bits, for q >= 2^-900; 0 below.

    >>> short_down(Fraction(2)), short_down(Fraction(1, 3), 4)
    (Fraction(2, 1), Fraction(5, 16))
    """
    if q < Fraction(1, 2**900):
        return Fraction(0)
    shift = bits - (q.numerator.bit_length() - q.denominator.bit_length())
    while True:
        found = math.floor(q * _power(shift))
        if found.bit_length() <= bits:
            return Fraction(found) / _power(shift)
        shift -= 1


def root_up(q: Fraction) -> Fraction:
    """The least dyadic number of 53 significant bits whose square is >= q.

    Raises:
        Unbounded: where float64 does not hold it.

    >>> root_up(Fraction(9, 4)), root_up(Fraction(2)) ** 2 > 2
    (Fraction(3, 2), True)
    """
    if not q:
        return q
    q = max(q, _LEAST**2)
    shift = FULL + 1 - (q.numerator.bit_length() - q.denominator.bit_length()) // 2
    scaled = q * _power(2 * shift)
    least = math.isqrt(math.ceil(scaled))
    return short_up(Fraction(least if least * least >= scaled else least + 1) / _power(shift), FULL)


def _power(e: int) -> Fraction:
    return Fraction(1 << e) if e >= 0 else Fraction(1, 1 << -e)
