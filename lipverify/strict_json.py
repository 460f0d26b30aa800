"""JSON from strangers: bounded in size and depth, no duplicate keys, no NaN, and numbers by their text where asked."""

from __future__ import annotations

import json
import re
from typing import Any

MAX_DEPTH = 64
_STRUCTURE = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[{]|[\]}]')


class Number(str):
    """A JSON number as it was written."""

    __slots__ = ()


def loads(
    data: bytes | str, *, numbers_as_text: bool = False, integers_only: bool = False, limit: int = 1 << 20
) -> Any:
    """The value of a JSON text.

    Args:
        data: UTF-8 JSON.
        numbers_as_text: numbers are returned as :class:`Number`, never through binary floating point.
        integers_only: other numbers are refused.
        limit: on the length of ``data``, in bytes.

    Raises:
        ValueError: with the reason, for anything else than strict JSON within the limits.

    >>> loads('{"bound": 0.1}', numbers_as_text=True)
    {'bound': '0.1'}
    """
    if len(data) > limit:
        raise ValueError(f"it is {len(data)} bytes long, over the limit of {limit}")
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8: {error}") from None
    _check_depth(text)
    number: dict[str, Any] = {"parse_int": Number, "parse_float": Number} if numbers_as_text else {}
    if integers_only:
        number["parse_float"] = _no_integer
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, **number)
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _check_depth(text: str) -> None:
    depth = 0
    for token in _STRUCTURE.finditer(text):
        first = text[token.start()]
        if first in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
        elif first in "]}":
            depth -= 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key[:80]!r} appears twice")
            seen.add(key)
    return value


def _no_integer(text: str) -> None:
    raise ValueError(f"the number {text[:40]} is no integer")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
