"""Exact numbers from their text, and decimals of them, rounded in a named direction."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any

from lipverify.errors import ClaimError, quoted

MAX_DIGITS = 1000
MAX_EXPONENT = 400
_DECIMAL = re.compile(r"([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,9}))?", re.ASCII)
_RATIO = re.compile(r"(\d{1,40})/(\d{1,40})", re.ASCII)


def parse_rational(text: str, what: str = "the number") -> Fraction:
    """The exact non-negative rational that a decimal (``0.5``, ``1e-3``) or a ratio (``36/255``) spells.

    No binary floating point is involved. Length and exponent are limited before anything is computed.

    Args:
        text: the number as it was written.
        what: names it in messages.

    Raises:
        ClaimError: with the reason, for anything else.

    >>> parse_rational("0.1"), parse_rational("8/255")
    (Fraction(1, 10), Fraction(8, 255))
    """
    step = "Write a plain decimal such as 1, 0.5 or 1e-3, or a ratio such as 36/255."
    if len(text) > MAX_DIGITS:
        why = f"it is {len(text)} characters long, over the limit of {MAX_DIGITS}"
        raise ClaimError(f"{what} {quoted(text, 30)} is too long", why=why, step=step)
    text = text.strip(" ")
    if ratio := _RATIO.fullmatch(text):
        if int(ratio[2]) == 0:
            raise ClaimError(f"{what} {quoted(text)} divides by zero", step=step)
        return Fraction(int(ratio[1]), int(ratio[2]))
    decimal = _DECIMAL.fullmatch(text)
    if decimal is None or not (decimal[2] or decimal[3]):
        why = "NaN and infinity bound nothing" if text.lower().lstrip("+-")[:3] in ("nan", "inf") else ""
        raise ClaimError(f"{what} {quoted(text, 40)} is not a number", why=why, step=step)
    sign, whole, fraction, exponent = (group or "" for group in decimal.groups())
    if abs(int(exponent or "0")) > MAX_EXPONENT:
        raise ClaimError(f"{what} {quoted(text, 40)} has an exponent beyond {MAX_EXPONENT}", step=step)
    value = Fraction(int((whole + fraction) or "0")) * Fraction(10) ** (int(exponent or "0") - len(fraction))
    if sign == "-" and value:
        raise ClaimError(
            f"{what} {quoted(text, 40)} is negative", why="neither a bound nor a radius is ever negative", step=step
        )
    return value


def decimal_text(value: Any, what: str = "the number") -> str:
    """The text of a number that was given as text, an integer, a rational, or a float (the decimal that was typed).

    Raises:
        ClaimError: for anything else, NaN and infinity among it.

    >>> decimal_text(0.1), decimal_text(" 1.0 ")
    ('0.1', '1.0')
    """
    if isinstance(value, float) and value == value and abs(value) != float("inf"):
        value = float.__repr__(value)  # the shortest decimal that reads back as this float
    if isinstance(value, Fraction) or (type(value) is int and abs(value) < 1 << 3000):
        value = str(value)
    if not isinstance(value, str):
        step = 'Write it as text: "1.0".'
        raise ClaimError(f"{what} is not a number: {quoted(type(value).__name__)}", step=step)
    return value.strip(" ")


def _floor_power_of_ten(q: Fraction) -> int:
    """e with 10^e <= q < 10^(e + 1), for q > 0."""
    e = math.floor((q.numerator.bit_length() - q.denominator.bit_length()) * math.log10(2))
    while _times_power_of_ten(q, -e) < 1:
        e -= 1
    while _times_power_of_ten(q, -e) >= 10:
        e += 1
    return e


def _times_power_of_ten(q: Fraction, e: int) -> Fraction:
    return q * 10**e if e >= 0 else q / 10**-e


def _decimal(q: Fraction, digits: int, up: bool) -> str:
    if digits < 1:
        raise ValueError(f"digits must be at least 1, got {digits}")
    if q < 0:
        return "-" + _decimal(-q, digits, not up)
    if q.denominator == 1 and q < 10**16:
        return str(q.numerator)
    e = _floor_power_of_ten(q)
    scaled = _times_power_of_ten(q, digits - 1 - e)
    n = math.ceil(scaled) if up else math.floor(scaled)
    if n == 10**digits:
        n, e = n // 10, e + 1
    text = str(n)
    if -5 <= e < digits and e < 16:
        text = text[: e + 1] + "." + text[e + 1 :] if e >= 0 else "0." + "0" * (-e - 1) + text
        return text.rstrip("0").rstrip(".")
    fraction = text[1:].rstrip("0")
    return f"{text[0]}.{fraction}e{e:+d}" if fraction else f"{text[0]}e{e:+d}"


def decimal_up(q: Fraction, digits: int = 10) -> str:
    """A decimal >= q of at most ``digits`` significant digits; integers below 10^16 are printed in full.

    The text is readable by :class:`fractions.Fraction`.

    >>> decimal_up(Fraction(1)), decimal_up(Fraction(1, 3), 4), decimal_up(Fraction(2, 3 * 10**40), 3)
    ('1', '0.3334', '6.67e-41')
    """
    return _decimal(Fraction(q), digits, True)


def decimal_down(q: Fraction, digits: int = 10) -> str:
    """A decimal <= q of at most ``digits`` significant digits: the counterpart of :func:`decimal_up`."""
    return _decimal(Fraction(q), digits, False)
