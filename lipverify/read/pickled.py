"""A pickle as inert data: what it would import and call is written down, and nothing is imported or called.

The pickle machine (PEP 307, PEP 3154) builds objects by calling whatever the file names; that is how a pickle runs code.
Here its opcodes are followed on a stack of plain values, and a call becomes a :class:`Call`, a record of a name and its
arguments. There is no callable anywhere for a file to reach.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

MAX_OPCODES = 1 << 22
"""Of one pickle: a state dict takes about forty for a tensor. Each may cost some hundred bytes."""


class NotInert(Exception):
    """The bytes are no pickle, or no pickle of plain data and calls; the message says why."""


@dataclass(frozen=True, slots=True)
class Name:
    """What a pickle would import."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False)
class Call:
    """What a pickle would call, what it would put into the outcome, and the state that it would give it."""

    function: Name
    arguments: Any
    items: dict[Any, Any] = field(default_factory=dict)
    state: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class Persistent:
    """What a pickle refers to outside of itself, by an identity that its reader understands."""

    identity: Any


_MARK = object()
_PUSH = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_ARGUMENT = set(
    "BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINSTRING SHORT_BINSTRING "
    "BINBYTES SHORT_BINBYTES BINBYTES8 INT FLOAT UNICODE LONG4".split()
)
_NOTHING = {"PROTO", "FRAME"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def inert(data: bytes) -> Any:
    """The value of a pickle as plain values, :class:`Name`, :class:`Call` and :class:`Persistent`.

    Raises:
        NotInert: for anything that is no pickle, is cut short, is too long, has keys that are neither text nor small
            integers, keys twice, or uses an opcode beyond those of plain data and calls.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if count >= MAX_OPCODES:
                raise NotInert(f"it has more than {MAX_OPCODES} opcodes")
            if opcode.name == "STOP":
                (value,) = stack
                return value
            _step(opcode.name, argument, stack, memo)
    except NotInert:
        raise
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, AttributeError) as error:
        raise NotInert(f"it is damaged or no pickle ({type(error).__name__}: {error})"[:300]) from None
    raise NotInert("it is cut short")


def _step(name: str, argument: Any, stack: list[Any], memo: dict[int, Any]) -> None:
    if name in _NOTHING:
        return
    if name in _ARGUMENT:
        stack.append(argument)
    elif name in _PUSH:
        stack.append(_PUSH[name])
    elif name in ("BINGET", "LONG_BINGET", "GET"):
        stack.append(memo[int(argument)])
    elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
        memo[int(argument)] = stack[-1]
    elif name == "MEMOIZE":
        memo[len(memo)] = stack[-1]
    elif name in _TUPLES:
        count = _TUPLES[name]
        stack[-count:] = [tuple(_plain(stack[-count:], count))]
    elif name in _BUILD:
        _BUILD[name](stack, argument)
    else:
        raise NotInert(f"it uses the opcode {name}")


def _plain(values: list[Any], count: int) -> list[Any]:
    if len(values) != count or any(value is _MARK for value in values):
        raise NotInert("its stack is empty where a value is needed")
    return values


def _pop(stack: list[Any]) -> Any:
    (value,) = _plain(stack[-1:], 1)
    del stack[-1]
    return value


def _popped_to_mark(stack: list[Any]) -> list[Any]:
    at = len(stack) - 1
    while stack[at] is not _MARK:
        at -= 1
        if at < 0:
            raise NotInert("its stack has no mark where one is needed")
    values = stack[at + 1 :]
    del stack[at:]
    return values


def _global(stack: list[Any], argument: Any) -> None:
    if argument is None:
        name, module = _pop(stack), _pop(stack)
    else:
        module, _, name = argument.partition(" ")
    if not (isinstance(module, str) and isinstance(name, str)):
        raise NotInert("a name that it imports is no text")
    stack.append(Name(module, name))


def _call(stack: list[Any], _: Any) -> None:
    arguments, function = _pop(stack), _pop(stack)
    if not isinstance(function, Name):
        raise NotInert("it calls what is no name")
    stack.append(Call(function, arguments))


def _build(stack: list[Any], _: Any) -> None:
    state = _pop(stack)
    if not isinstance(stack[-1], Call) or stack[-1].state is not None or state is None:
        raise NotInert("it gives a state to something that it did not make, or twice")
    stack[-1].state = state


def _insert(target: Any, pairs: list[Any]) -> None:
    items = target.items if isinstance(target, Call) else target
    if type(items) is not dict or len(pairs) % 2:
        raise NotInert("it puts items into something that is no mapping")
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        if not isinstance(key, str) and (type(key) is not int or abs(key) > 1 << 60):
            raise NotInert(f"a key is a {type(key).__name__}; text and small integers are read")
        if key in items:
            raise NotInert(f"the key {key!r:.100} is there twice")
        items[key] = value


def _set_item(stack: list[Any], _: Any) -> None:
    value, key = _pop(stack), _pop(stack)
    _insert(stack[-1], [key, value])


def _set_items(stack: list[Any], _: Any) -> None:
    pairs = _popped_to_mark(stack)
    _insert(stack[-1], pairs)


def _extend(target: Any, values: list[Any]) -> None:
    if type(target) is not list:
        raise NotInert("it appends to something that is no list")
    target.extend(values)


def _append(stack: list[Any], _: Any) -> None:
    value = _pop(stack)
    _extend(stack[-1], [value])


def _appends(stack: list[Any], _: Any) -> None:
    values = _popped_to_mark(stack)
    _extend(stack[-1], values)


_BUILD: dict[str, Callable[[list[Any], Any], None]] = {
    "MARK": lambda stack, _: stack.append(_MARK),
    "TUPLE": lambda stack, _: stack.append(tuple(_popped_to_mark(stack))),
    "EMPTY_DICT": lambda stack, _: stack.append({}),
    "EMPTY_LIST": lambda stack, _: stack.append([]),
    "GLOBAL": _global,
    "STACK_GLOBAL": _global,
    "REDUCE": _call,
    "NEWOBJ": _call,
    "BUILD": _build,
    "BINPERSID": lambda stack, _: stack.append(Persistent(_pop(stack))),
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    "APPEND": _append,
    "APPENDS": _appends,
}
