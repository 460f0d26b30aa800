"""Reductions of float64 arrays to rationals, rounded outward, and the one scaling that makes underflow harmless.

Error model: additions and multiplications are correctly rounded (to nearest) unless they underflow, sums are taken in
any order, FMA may be used, and a subnormal operand or outcome may be replaced by zero (Higham 2002, sections 3.1, 4.2).
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from lipverify.rigor.rounding import gamma, round_down, round_up, sqrt_down, sqrt_up, underflow

Array = NDArray[np.float64]

_EXPONENT = np.uint64(0x7FF)
_MANTISSA = np.uint64(2**52 - 1)


def checked(a: np.ndarray, what: str) -> Array:
    """``a`` as a contiguous float64 array; the conversion of float16, float32 and integers below 2^53 is exact.

    Raises:
        TypeError: for a dtype that float64 does not hold exactly.
        ValueError: for a NaN or an infinity, with its index.
    """
    a = np.asarray(a)
    if not (a.dtype in (np.float16, np.float32, np.float64) or (a.dtype.kind in "iub" and a.dtype.itemsize <= 4)):
        raise TypeError(f"{what}: dtype {a.dtype} is not held exactly by float64; convert it to float64 first")
    if a.dtype.kind == "f" and a.dtype != np.float64:
        a = _widened(a)
    a = np.ascontiguousarray(a, np.float64).reshape(a.shape)
    if a.size and not np.isfinite(a).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(a))[0])
        raise ValueError(
            f"{what}: entry {index} is {a[index]}; a bound exists only for finite numbers: find what wrote it"
        )
    return a


def _widened(a: np.ndarray) -> Array:
    """float16 and float32 to float64, exact even where the processor reads subnormals as zero."""
    wide = a.astype(np.float64)
    info = np.finfo(a.dtype)
    bits = a.view(np.uint16 if a.dtype == np.float16 else np.uint32).astype(np.int64)
    magnitude = bits & ((1 << (info.bits - 1)) - 1)
    small = (magnitude > 0) & (magnitude < 1 << info.nmant)
    if small.any():
        sign = np.where(bits >> (info.bits - 1) & 1, -1.0, 1.0)
        wide = np.where(small, sign * magnitude * 2.0 ** (int(info.minexp) - info.nmant), wide)
    return wide


def require_float64(a: np.ndarray) -> None:
    """Refuses any other dtype: in float32 the unit roundoff is 2^-24 and every bound below would be wrong."""
    if a.dtype != np.float64:
        raise TypeError(f"float64 is needed for rigorous arithmetic, got {a.dtype}; pass the array through checked()")


def unit_scaled(a: Array) -> tuple[Array, int]:
    """(b, e) with |b| <= 1 and |a - 2^e b| <= 2^(e - 1021) in every entry; max |b| >= 1/2 unless a is zero.

    Exponents are read from the bits, so that neither comparisons nor subnormal arithmetic are trusted. Scaling by 2^-e
    is exact but where b underflows. Norms scale with it: | ||a|| - 2^e ||b|| | <= 2^e lost(a) in 2-norm.

    Args:
        a: finite float64 array (see :func:`checked`).

    Raises:
        TypeError: for another dtype.
        ValueError: for NaN or infinity.
    """
    require_float64(a)
    if not a.size:
        return a.copy(), 0
    bits = a.view(np.uint64)
    exponents = (bits >> np.uint64(52)) & _EXPONENT
    largest = int(exponents.max())
    if largest == _EXPONENT:
        raise ValueError("unit_scaled: NaN or infinity; a bound exists only for finite numbers (see checked)")
    if largest:
        e = largest - 1022
        b = (a * 2.0 ** (-(e // 2))) * 2.0 ** -(e - e // 2)
        subnormal = (exponents == 0) & ((bits & _MANTISSA) != 0) if int(exponents.min()) == 0 else None
        if subnormal is not None and subnormal.any():
            # Exact integers times 2^(-1074 - e), in two steps of which neither overflows.
            mantissa = np.where(a.view(np.int64) < 0, -1.0, 1.0) * (bits & _MANTISSA).astype(np.float64)
            b[subnormal] = (mantissa * 2.0**-500 * 2.0 ** (-574 - e))[subnormal]
        return b, e
    mantissa = (bits & _MANTISSA).astype(np.float64)
    if not mantissa.any():
        return np.zeros(a.shape), 0
    e = int(mantissa.max()).bit_length()
    return np.where(a.view(np.int64) < 0, -mantissa, mantissa) * 2.0**-e, e - 1074


def lost(a: Array) -> Fraction:
    """What :func:`unit_scaled` may lose of a, in the Frobenius norm of the scaled array."""
    return Fraction(a.size, 2**1021)


def largest_magnitude(a: Array) -> Fraction:
    """max |a_i| of a finite array, exactly: the bits of nonnegative floats are ordered as they are."""
    if not a.size:
        return Fraction(0)
    return _from_bits(int((a.view(np.uint64) & np.uint64(2**63 - 1)).max()))


def _from_bits(bits: int) -> Fraction:
    """The magnitude of a finite float64. ``Fraction(x)`` is 0 for a subnormal x where the processor reads it as 0."""
    mantissa, exponent = bits & (2**52 - 1), (bits >> 52) & 0x7FF
    return (mantissa + (2**52 if exponent else 0)) * power_of_two(max(exponent, 1) - 1075)


def exact_sum_squares(a: Array) -> Fraction:
    """sum a_i^2 in integer arithmetic; slow, for at most some ten thousand entries."""
    bits = a.view(np.uint64)
    return sum((_from_bits(b) ** 2 for b in bits[(bits << np.uint64(1)) != 0].tolist()), Fraction(0))


def power_of_two(e: int) -> Fraction:
    """2^e."""
    return Fraction(1 << e) if e >= 0 else Fraction(1, 1 << -e)


def sum_squares(a: Array) -> tuple[Fraction, Fraction]:
    """[lower, upper] of sum a_i^2: k products and k - 1 additions of nonnegative numbers, relative error gamma_{k+1}.

    Raises:
        ValueError: if the sum overflows; scale first (:func:`unit_scaled`).
    """
    require_float64(a)
    flat = a.reshape(-1)
    total = float(np.dot(flat, flat))
    return _nonnegative(total, a.size + 1, underflow(a.size + 1), "sum of squares")


def _nonnegative(total: float, k: int, absolute: Fraction, what: str) -> tuple[Fraction, Fraction]:
    if not np.isfinite(total) or total < 0:
        raise ValueError(f"{what}: float64 gave {total}; scale the array to unit size first")
    g, total_q = gamma(k), Fraction(total)
    return max(Fraction(0), round_down(total_q / (1 + g) - absolute)), round_up((total_q + absolute) / (1 - g))


def frobenius_up(a: Array) -> Fraction:
    """An upper bound of the Frobenius norm, hence of the 2-norm; ``a`` may have any scale."""
    b, e = unit_scaled(a)
    return power_of_two(e) * (sqrt_up(sum_squares(b)[1]) + lost(a)) if b.any() else Fraction(0)


def length(a: Array) -> tuple[Fraction, Fraction]:
    """[lower, upper] of the Euclidean length of a unit-scaled array."""
    low, high = sum_squares(a)
    return sqrt_down(low), sqrt_up(high)


def row_sums_up(magnitudes: Array, terms: int = 0) -> Fraction:
    """An upper bound of the largest row sum of a nonnegative array (..., m, n), that is of its infinity norm.

    Args:
        magnitudes: entrywise >= 0.
        terms: roundings already suffered by each entry (each relative, at most u).
    """
    require_float64(magnitudes)
    if not magnitudes.size:
        return Fraction(0)
    n = magnitudes.shape[-1]
    return _nonnegative(float(magnitudes.sum(-1).max()), n + terms, underflow(n + terms), "row sum")[1]


def symmetric_norm_up(magnitudes: Array, terms: int = 0) -> Fraction:
    """An upper bound of the 2-norm of every matrix dominated entrywise by one of ``magnitudes`` (..., m, n).

    ||A||_2 <= sqrt(||A||_1 ||A||_inf) <= max(||A||_1, ||A||_inf); no symmetry is needed (Higham 2002, section 6.2).
    """
    return max(row_sums_up(magnitudes, terms), row_sums_up(np.swapaxes(magnitudes, -1, -2), terms))


def matrix_norm_up(a: Array) -> Fraction:
    """A cheap upper bound of ||A||_2 for a 2-D array of any scale: min(Frobenius, sqrt(||A||_1 ||A||_inf))."""
    if not a.size:
        return Fraction(0)
    b, e = unit_scaled(a)
    mixed = sqrt_up(row_sums_up(np.abs(b)) * row_sums_up(np.abs(b.T))) + lost(a)
    return min(frobenius_up(a), power_of_two(e) * mixed) if b.any() else Fraction(0)
