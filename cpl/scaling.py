"""Multiplication by powers of two: exact, so that no weight is too large or too small to be bounded."""

from __future__ import annotations

import math

from torch import Tensor


def scaled_to_one(tensor: Tensor, *, room: int = 0) -> tuple[Tensor, int]:
    """(x 2^-e, e) for a finite x in double precision, e such that the largest entry is in [1/2, 1) 2^-room.

    Exact but for entries below 2^-1022 of the largest, which lose bits: an absolute error of at most 2^-1075 each.
    For x = 0, e = room.
    """
    exponent = math.frexp(float(tensor.abs().amax()))[1] + room
    return shifted(tensor, -exponent), exponent


def shifted(tensor: Tensor, exponent: int) -> Tensor:
    """x 2^e, Inf where it exceeds all floats; exact where it is at least 2^-1022. |e| <= 2000."""
    first = exponent // 2  # 2^e itself may be no float
    return tensor * math.ldexp(1.0, first) * math.ldexp(1.0, exponent - first)


def times_two_to(upper: float, exponent: int) -> float:
    """upper 2^exponent >= 0, rounded upward; 0 for 0, Inf where it exceeds all floats."""
    if upper == 0.0:
        return 0.0
    try:
        product = math.ldexp(upper, exponent)
    except OverflowError:
        return math.inf
    return product if product > 2.0**-1000 else math.nextafter(product, math.inf)
