"""Where an operation stands: which call of which module it belongs to, and on which line of its source."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

Stack = Sequence[tuple[str, str]]
_FRAME = re.compile(r'File "(?:[^"]*/)?([^"/]*)", line (\d+), in [^\n]*\n\s*([^\n]*)')


def name_calls(stacks: Iterable[Stack]) -> list[tuple[str, ...]]:
    """The module calls around every operation, outermost first, as :attr:`Operation.calls` spells them.

    torch.export keeps a stack of (key, path) for every operation. The key tells two calls of one module apart, but only
    inside one call of its parent, so a call is identified by all keys down to it. The first call of a module is named
    by the module's path; the k-th further one, in order of first appearance, ``path@k``. The root is ``""``.

    Where a module is really called ``conv@1``, that name stays its own, and further calls of ``conv`` skip it.

    Args:
        stacks: for every operation, in program order, its (key, path) pairs, outermost first; empty where unknown.

    >>> name_calls([[("r", ""), ("f", "f")], [("r", ""), ("f@1", "f")], []])
    [('', 'f'), ('', 'f@1'), ('',)]
    """
    stacks = [tuple(stack) for stack in stacks]
    paths = {path for stack in stacks for _, path in stack} | {""}
    names: dict[Stack, str] = {}
    seen: set[str] = set()
    calls = []
    for stack in stacks:
        prefix: Stack = ()
        around = [""]
        for key, path in stack:
            prefix = (*prefix, (key, path))
            if path == "":
                continue
            if prefix not in names:
                names[prefix] = _fresh(path, seen, paths)
                seen.add(names[prefix])
            around.append(names[prefix])
        calls.append(tuple(around))
    return calls


def split_call(call: str, modules: Iterable[str]) -> tuple[str, int]:
    """The module path and the number of the call (0 for the first) behind a name given by :func:`name_calls`.

    Args:
        call: the name of a call.
        modules: the paths of all modules: a module may really be called ``conv@1``.

    >>> split_call("conv@1", ["conv"])
    ('conv', 1)
    """
    path, at, k = call.rpartition("@")
    if call in set(modules) or not at or not k.isdecimal() or path not in set(modules):
        return call, 0
    return path, int(k)


def _fresh(path: str, seen: set[str], paths: set[str]) -> str:
    if path not in seen:
        return path
    k = 1
    while (name := f"{path}@{k}") in seen or name in paths:
        k += 1
    return name


def source_line(stack_trace: object) -> str:
    """``file:line: code`` of the innermost frame of a stack trace as torch.export records it, without the folder.

    >>> source_line('File "/home/me/model.py", line 7, in forward\\n    return relu(x)')
    'model.py:7: return relu(x)'
    """
    frames = _FRAME.findall(stack_trace) if isinstance(stack_trace, str) else []
    if not frames:
        return ""
    name, line, code = frames[-1]
    return f"{name}:{line}: {code}"[:200]
