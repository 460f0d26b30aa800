"""Eager validation of arguments, so that a mistake is reported where it is made.

Every size is bounded: sizes also come from files, and one number there must not ask for all memory or for a year.
"""

from __future__ import annotations

import math
import reprlib
from typing import Any

from cpl.errors import ArgumentError

PADDING_MODES = ("zeros", "circular")
MOST = 2**20  # of any one size
MOST_ENTRIES = 2**28  # of one tensor: 1 GiB in float32
MOST_SEED = 2**64 - 1  # torch takes no larger one
MOST_THREADS = 256  # thousands crash the process


def positive_int(value: Any, *, name: str, where: str, most: int = MOST) -> int:
    """Returns `value` if it is an int in [1, most] (bool excluded).

    Raises:
        ArgumentError: otherwise.
    """
    return _int(value, 1, most, name=name, where=where)


def natural_int(value: Any, *, name: str, where: str, most: int = MOST) -> int:
    """Returns `value` if it is an int in [0, most] (bool excluded).

    Raises:
        ArgumentError: otherwise.
    """
    return _int(value, 0, most, name=name, where=where)


def odd_int(value: Any, *, name: str, where: str) -> int:
    """Returns `value` if it is an odd int in [1, MOST].

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


def divides(value: int, total: int, *, name: str, of: str, where: str) -> None:
    """Refuses a `value` that does not divide `total`; both ints >= 1.

    Raises:
        ArgumentError: it does not.
    """
    if total % value:
        raise ArgumentError(
            f"{name}={value} does not divide {of}={total}",
            where=where,
            why="all parts have the same size",
            next_step=f"choose a divisor of {total}",
        )


def padding_mode(value: Any, *, where: str) -> str:
    """Returns `value` if it is 'zeros' or 'circular'.

    Raises:
        ArgumentError: otherwise.
    """
    if not isinstance(value, str) or value not in PADDING_MODES:
        raise ArgumentError(
            f"padding_mode={_shown(value)} is unknown",
            where=where,
            why="no norm bound is implemented for it",
            next_step=f"choose one of {', '.join(PADDING_MODES)}",
        )
    return value


def positive_float(value: Any, *, name: str, where: str, below: float = math.inf) -> float:
    """Returns `value` as a float if it is a finite number > 0 and < `below`.

    Raises:
        ArgumentError: otherwise.
    """
    interval = "> 0" if below == math.inf else f"> 0 and < {below:g}"
    return _float(value, interval, lambda number: 0 < number < below, name=name, where=where)


def natural_float(value: Any, *, name: str, where: str) -> float:
    """Returns `value` as a float if it is a finite number >= 0.

    Raises:
        ArgumentError: otherwise.
    """
    return _float(value, ">= 0", lambda number: 0 <= number < math.inf, name=name, where=where)


def boolean(value: Any, *, name: str, where: str) -> bool:
    """Returns `value` if it is a bool.

    Raises:
        ArgumentError: otherwise.
    """
    if not isinstance(value, bool):
        raise ArgumentError(
            f"{name}={_shown(value)} is not a bool",
            where=where,
            why="it switches something on or off",
            next_step="pass true or false",
        )
    return value


def int_shape(value: Any, *, name: str, where: str) -> tuple[int, ...]:
    """Returns `value`, a tuple or list, as a tuple of ints >= 1; not empty, and with at most MOST_ENTRIES entries.

    Raises:
        ArgumentError: otherwise.
    """
    if not isinstance(value, tuple | list):
        raise ArgumentError(
            f"{name}={_shown(value)} is not a shape",
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
    entries(*shape, name=name, where=where)
    return shape


def floats(value: Any, lengths: tuple[int, ...], *, name: str, where: str) -> tuple[float, ...]:
    """Returns `value`, a tuple or list of finite numbers, as a tuple of floats.

    Raises:
        ArgumentError: it is none, or its length is not among `lengths`.
    """
    if not isinstance(value, tuple | list) or len(value) not in lengths:
        raise ArgumentError(
            f"{name}={_shown(value)} is not a sequence of {' or '.join(map(str, lengths))} numbers",
            where=where,
            why="there is one for each channel",
            next_step="pass as many numbers as there are channels",
        )
    return tuple(_float(entry, "of any sign", math.isfinite, name=name, where=where) for entry in value)


def int_pairs(value: Any, *, name: str, where: str, most: int) -> tuple[tuple[int, int], ...]:
    """Returns `value`, a tuple or list of pairs (int in [0, most], int >= 1), as a tuple of tuples.

    Raises:
        ArgumentError: otherwise.
    """
    if not isinstance(value, tuple | list) or not all(isinstance(e, tuple | list) and len(e) == 2 for e in value):
        raise ArgumentError(
            f"{name}={_shown(value)} is not a sequence of pairs",
            where=where,
            why="each entry is (blocks, inner)",
            next_step="pass e.g. ((3, 64),)",
        )
    if len(value) > 16:
        raise ArgumentError(
            f"{name} has {len(value)} entries", where=where, why="each halves the image", next_step="pass at most 16"
        )
    return tuple(
        (natural_int(first, name=name, where=where, most=most), positive_int(second, name=name, where=where))
        for first, second in value
    )


def one_of(value: Any, names: tuple[str, ...], *, name: str, where: str) -> str:
    """Returns `value` if it is one of the names.

    Raises:
        ArgumentError: otherwise.
    """
    if not isinstance(value, str) or value not in names:
        raise ArgumentError(
            f"{name}={_shown(value)} is unknown",
            where=where,
            why="nothing of that name is implemented",
            next_step=f"choose one of {', '.join(names)}",
        )
    return value


def entries(*shape: int, name: str, where: str, most: int = MOST_ENTRIES) -> int:
    """Returns the number of entries of a tensor of this shape if it is at most `most`.

    Raises:
        ArgumentError: otherwise.
    """
    count = math.prod(shape)
    if count > most:
        raise ArgumentError(
            f"{name} of shape {_shown(shape)} is too large",
            where=where,
            why=f"it would hold {_shown(count)} numbers, more than {most}",
            next_step="choose smaller sizes",
        )
    return count


def _int(value: Any, least: int, most: int, *, name: str, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ArgumentError(
            f"{name}={_shown(value)} is not an int from {least} to {most}",
            where=where,
            why="it counts something, or numbers a seed",
            next_step=f"pass an int from {least} to {most}",
        )
    return value


def _float(value: Any, interval: str, inside: Any, *, name: str, where: str) -> float:
    # an int of many digits compares well with a float, but has no float of its own
    if isinstance(value, bool) or not isinstance(value, int | float) or not inside(value) or value > 1e300:
        raise ArgumentError(
            f"{name}={_shown(value)} is not a finite number {interval}",
            where=where,
            why="it scales something",
            next_step=f"pass a float {interval}",
        )
    return float(value)


def _shown(value: Any) -> str:
    """The value's repr, kept short; an int of thousands of digits has none."""
    if isinstance(value, int) and value.bit_length() > 128:
        return f"an int of {value.bit_length()} bits"
    return reprlib.repr(value)
