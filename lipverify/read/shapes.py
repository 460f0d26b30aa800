"""A dry run of a program on shapes alone: no numbers are computed and no memory is taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from lipverify.errors import ReadError, quoted
from lipverify.read.program import Program, run

MAX_ENTRIES = 1 << 31
"""Of one intermediate value."""


def types(program: Program) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Shape and dtype of every tensor value; a value whose operation cannot be run on its own has no entry."""
    mode = FakeTensorMode(allow_non_fake_inputs=False)
    with mode, torch.no_grad():
        values: dict[str, Any] = {
            name: torch.empty(shape, dtype=program.dtype) for name, shape in program.inputs.items()
        }
        values.update((name, mode.from_tensor(weight)) for name, weight in program.weights.items())
        for op in program.operations:
            try:
                values[op.name] = run(op, values, {})
            except Exception:  # torch raises what it likes; such an operation has no rule anywhere
                continue
    tensors = {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}
    return {name: (tuple(int(n) for n in value.shape), value.dtype) for name, value in tensors.items()}


def check(program: Program, sizes: Mapping[str, Sequence[Any]]) -> None:
    """Check that every operation runs on the shapes that it meets, and gives the shape that the file states.

    A file that asks for absurd sizes, or hands an operator arguments that it does not take, is found out here, before
    anything is computed.

    Args:
        program: as read.
        sizes: value name -> its serialized sizes, as far as the file states them.

    Raises:
        ReadError: naming the operation and its module.
    """
    mode = FakeTensorMode(allow_non_fake_inputs=False)
    with mode, torch.no_grad():
        values: dict[str, Any] = {
            name: torch.empty(shape, dtype=program.dtype) for name, shape in program.inputs.items()
        }
        values.update((name, mode.from_tensor(weight)) for name, weight in program.weights.items())
        for op in program.operations:
            where = f"{quoted(op.target)} in {f'module {quoted(op.calls[-1])}' if op.calls[-1] else 'the top level'}"
            try:
                value = run(op, values, {})
            except Exception as error:  # whatever an operator raises for arguments that it does not take
                lines = str(error).strip().splitlines() or [type(error).__name__]
                raise ReadError(
                    f"the operation {where} does not run on its inputs", why=quoted(lines[0], 300)
                ) from error
            values[op.name] = value
            if not isinstance(value, torch.Tensor):
                continue
            if value.numel() > MAX_ENTRIES:
                raise ReadError(f"the operation {where} has a result of {value.numel()} entries", why="over the limit")
            stated = [size.get("as_int") for size in sizes.get(op.name, ())] if op.name in sizes else list(value.shape)
            if None in stated:
                step = "Export with static shapes, without dynamic_shapes."
                raise ReadError(f"the result of the operation {where} has a dynamic shape", step=step)
            if stated != list(value.shape):
                raise ReadError(f"the operation {where} gives shape {list(value.shape)}", why=f"the file says {stated}")
