"""A dry run of a program on shapes alone: no numbers are computed and no memory is taken."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from lipverify.errors import ReadError, quoted
from lipverify.read.program import Program, run

MAX_ENTRIES = 1 << 28
"""Of all values together, beyond four times the entries of the weights: 2 GiB when they are computed in float64."""
SMALLER = "Export the model for one input of the size that it is used with."


def types(program: Program) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Shape and dtype of every tensor value; a value whose operation cannot be run on its own has no entry."""
    mode = FakeTensorMode(allow_non_fake_inputs=False)
    with mode, torch.no_grad():
        values: dict[str, Any] = {
            name: torch.empty(shape, dtype=program.dtypes.get(name, program.dtype))
            for name, shape in program.inputs.items()
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
        ReadError: naming the operation and its module, or the input, where all values together are over the limit.
    """
    mode = FakeTensorMode(allow_non_fake_inputs=False)
    spare = MAX_ENTRIES + 4 * sum(weight.numel() for weight in program.weights.values())
    for name, shape in program.inputs.items():
        spare -= prod(shape)
        if spare < 0:
            raise ReadError(f"the input {quoted(name)} has {prod(shape)} entries", why="over the limit", step=SMALLER)
    with _quiet(), mode, torch.no_grad():
        values: dict[str, Any] = {
            name: torch.empty(shape, dtype=program.dtypes.get(name, program.dtype))
            for name, shape in program.inputs.items()
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
            parts = value if isinstance(value, tuple | list) else (value,)
            entries = sum(part.numel() for part in parts if isinstance(part, torch.Tensor))
            spare -= entries
            if spare < 0:
                why = "with it all values together are over the limit"
                raise ReadError(f"the operation {where} has a result of {entries} entries", why=why, step=SMALLER)
            if not isinstance(value, torch.Tensor):
                continue
            stated = [size.get("as_int") for size in sizes.get(op.name, ())] if op.name in sizes else list(value.shape)
            if None in stated:
                step = "Export with static shapes, without dynamic_shapes."
                raise ReadError(f"the result of the operation {where} has a dynamic shape", step=step)
            if stated != list(value.shape):
                raise ReadError(f"the operation {where} gives shape {list(value.shape)}", why=f"the file says {stated}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the tracebacks that torch logs for arguments that an operator does not take; the error says it."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
