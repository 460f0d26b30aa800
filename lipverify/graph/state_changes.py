"""State that a module changes at every call: power iterations in parametrizations, counters, running statistics.

What the stored state defines is the function of the next call. Where the changes are arithmetic on the state alone, that is
judged, and a note says so; a module that remembers its inputs is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.export.graph_signature import InputKind, OutputKind
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from lipverify.errors import LipverifyError, quoted

CHANGES = (OutputKind.BUFFER_MUTATION, OutputKind.PARAMETER_MUTATION)
SHOWN = 3


class TraceError(LipverifyError):
    """The model cannot be turned into a program."""


@contextmanager
def restored(model: nn.Module) -> Iterator[None]:
    """Puts the parameters and buffers of ``model`` back to what they were, where a call changes or replaces them."""
    tables: list[dict[str, Any]] = [
        table for module in model.modules() for table in (module._parameters, module._buffers)
    ]
    held = [dict(table) for table in tables]
    state = [t for t in (*model.parameters(), *model.buffers()) if not is_lazy(t)]
    before = [t.detach().clone() for t in state]
    try:
        yield
    finally:
        for table, had in zip(tables, held, strict=True):
            if list(table) != list(had) or any(table[name] is not tensor for name, tensor in had.items()):
                table.clear()
                table.update(had)
        with torch.no_grad():
            for tensor, was in zip(state, before, strict=True):
                if tensor.shape != was.shape:
                    tensor.data = was
                elif not torch.equal(tensor, was):
                    tensor.copy_(was)


@contextmanager
def stores_as_copies() -> Iterator[None]:
    """Whatever is assigned to a parametrized tensor is copied into it: torch.export cannot follow a change of storage.

    The numbers are the same, unless somebody writes into one of the two tensors afterwards, which eager torch, but not a
    copy, shows in the other one as well.

    Raises:
        TraceError: where somebody does.
    """
    original, stored = parametrize._maybe_set, dict[int, tuple[Any, int, Any, int]]()

    def check(entry: tuple[Any, int, Any, int]) -> None:
        source, was, held, kept = entry
        if (source._version, held._version) != (was, kept):
            raise TraceError(
                "the model writes into a tensor that it has assigned to a parametrized weight",
                why="the two share their numbers, which no program shows",
                step="Assign a copy of it.",
            )

    def store(held: Any, source: Any) -> None:
        if id(held) in stored:
            check(stored[id(held)])
        held.copy_(source)
        stored[id(held)] = (source, source._version, held, held._version)

    parametrize._maybe_set = store
    try:
        yield
        for entry in stored.values():
            check(entry)
    finally:
        parametrize._maybe_set = original


def changed(exported: torch.export.ExportedProgram) -> tuple[str, ...]:
    """A note on the state that every call changes, or none.

    Raises:
        TraceError: where a change depends on the input.
    """
    signature = exported.graph_signature
    specs = [spec for spec in signature.output_specs if spec.kind in CHANGES]
    if not specs:
        return ()
    inputs = {s.arg.name for s in signature.input_specs if s.kind is InputKind.USER_INPUT}
    dependent = set[str]()
    for node in exported.graph.nodes:
        if node.name in inputs or any(source.name in dependent for source in node.all_input_nodes):
            dependent.add(node.name)
    for spec in specs:
        if spec.arg.name in dependent:
            raise TraceError(
                f"the model changes {quoted(spec.target)} while it runs",
                why=f"{spec.kind.name}: what it remembers of one input makes another function of its next call",
                step="Freeze that state, or export the model without it (vanilla_export, remove_parametrizations).",
            )
    names = sorted(str(spec.target) for spec in specs)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    shown = ", ".join(map(quoted, names[:SHOWN])) + more
    return (f"every call of the module changes its state ({shown}): judged is the next call from the state as it is",)
