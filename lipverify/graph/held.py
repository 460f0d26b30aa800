"""What a dtype holds: conversions that change no number, Python scalars with their rounding, integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lipverify.graph.intervals import NotFoldable, enclose
from lipverify.maps import Array, Enclosure


def whole(numbers: Any, dtype: torch.dtype) -> Array:
    """Integers in float64, where ``dtype`` holds every one of them."""
    if dtype.is_complex:
        raise NotFoldable(f"numbers of {dtype}")
    array = np.asarray(numbers).astype(np.float64)
    if dtype is torch.bool:
        limits = (0.0, 1.0)
    elif dtype.is_floating_point:
        limits = (-2 / torch.finfo(dtype).eps, 2 / torch.finfo(dtype).eps)
    else:
        limits = (float(torch.iinfo(dtype).min), float(torch.iinfo(dtype).max))
    low, high = max(limits[0], -(2.0**52)), min(limits[1], 2.0**52)
    if array.size and not (np.all(array == np.floor(array)) and low <= array.min() and array.max() <= high):
        raise NotFoldable(f"numbers that {dtype} may not hold")
    return array


def keeps(source: torch.dtype | None, target: torch.dtype | None, entries: Array | None = None) -> bool:
    """Whether a conversion changes no number: to a wider float, or of integers that the float holds.

    Args:
        source, target: dtypes; None where unknown.
        entries: the numbers, where they are known.
    """
    if source is None or target is None or not target.is_floating_point:
        return False
    if source.is_floating_point:
        return torch.promote_types(source, target) == target
    if entries is None:
        return False
    return bool(
        (entries == np.floor(entries)).all() and np.abs(entries).max(initial=0.0) <= 2 / torch.finfo(target).eps
    )


def scalar(number: float | int, dtype: torch.dtype) -> Enclosure:
    """A Python scalar of the program, which the machine may round to the dtype of the tensor that it meets.

    The enclosure is exact where the dtype represents the scalar, else it holds the scalar and its rounding both.
    """
    if isinstance(number, complex) or not np.isfinite(float(number)):
        raise NotFoldable(f"the constant {number!r}")
    exact = float(number)
    if exact != number:
        raise NotFoldable(f"the constant {number!r} is beyond float64")
    rounded = float(torch.tensor(exact, dtype=torch.float64).to(dtype))
    if not np.isfinite(rounded):
        raise NotFoldable(f"the constant {number!r} overflows {dtype}")
    ends = (np.array(min(exact, rounded)), np.array(max(exact, rounded)))
    return Enclosure(ends[0]) if exact == rounded else enclose(ends)


def scalar_argument(argument: Any, dtype: torch.dtype) -> Enclosure:
    if isinstance(argument, bool) or not isinstance(argument, int | float):
        raise NotFoldable(f"the argument {argument!r}")
    return scalar(argument, dtype)
