"""Eager validation of arguments, so that a mistake is reported where it is made."""

from __future__ import annotations

import math
from typing import Any

from cpl.errors import ArgumentError

PADDING_MODES = ("zeros", "circular")


def positive_int(value: Any, *, name: str, where: str) -> int:
    """Returns `value` if it is an int >= 1 (bool excluded).

    Raises:
        ArgumentError: otherwise.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ArgumentError(
            f"{name}={value!r} is not a positive int",
            where=where,
            why="it counts something",
            next_step="pass an int >= 1",
        )
    return value


def natural_int(value: Any, *, name: str, where: str) -> int:
    """Returns `value` if it is an int >= 0 (bool excluded).

    Raises:
        ArgumentError: otherwise.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ArgumentError(
            f"{name}={value!r} is not an int >= 0", where=where, why="it counts something", next_step="pass an int >= 0"
        )
    return value


def odd_int(value: Any, *, name: str, where: str) -> int:
    """Returns `value` if it is an odd int >= 1.

    Raises:
        ArgumentError: otherwise.
    """
    if positive_int(value, name=name, where=where) % 2 == 0:
        raise ArgumentError(
            f"{name}={value} is even",
            where=where,
            why="a residual block needs output size = input size",
            next_step="pass an odd int",
        )
    return value


def padding_mode(value: Any, *, where: str) -> str:
    """Returns `value` if it is 'zeros' or 'circular'.

    Raises:
        ArgumentError: otherwise.
    """
    if value not in PADDING_MODES:
        raise ArgumentError(
            f"padding_mode={value!r} is unknown",
            where=where,
            why="no norm bound is implemented for it",
            next_step=f"choose one of {', '.join(PADDING_MODES)}",
        )
    return value


def positive_float(value: Any, *, name: str, where: str) -> float:
    """Returns `value` as a float if it is a finite number > 0.

    Raises:
        ArgumentError: otherwise.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise ArgumentError(
            f"{name}={value!r} is not a finite number > 0",
            where=where,
            why="it scales something",
            next_step="pass a float > 0",
        )
    return float(value)


def int_shape(value: Any, *, name: str, where: str) -> tuple[int, ...]:
    """Returns `value` as a tuple of ints >= 1; it must not be empty.

    Raises:
        ArgumentError: otherwise.
    """
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        raise ArgumentError(
            f"{name}={value!r} is not a shape",
            where=where,
            why="it must be a sequence of ints",
            next_step="pass e.g. (1, 8, 8)",
        )
    shape = tuple(positive_int(size, name=f"{name} entry", where=where) for size in value)
    if not shape:
        raise ArgumentError(
            f"{name} is empty",
            where=where,
            why="an input without axes has no size",
            next_step="pass the shape of one input, without the batch",
        )
    return shape
