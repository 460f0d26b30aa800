"""A program of several inputs or outputs -> a program of one input and one output: the others are held, or left out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from lipverify.errors import LipverifyError, quoted
from lipverify.read.program import Program


def focus(
    program: Program, input: str | None = None, output: str | int | None = None, held: Mapping[str, Any] | None = None
) -> Program:
    """The function of one input to one output of ``program``, every other input being held at a given value.

    Its constant is that of x -> f(x, held)_output and says nothing of other held values; the notes of the program say so.
    An input is never held unasked: a bound that holds at a value that nobody chose would answer another question.

    Args:
        program: of one input or more, of one output or more.
        input: its name; may be left out where one real input is not held.
        output: its name, its place in what the model returns (``logits``, ``1``) or its number; may be left out where
            there is one. A text that means several outputs is refused; an integer is a number.
        held: the values of all other inputs by name: tensors or arrays of the input's shape, or a number that fills it,
            a decimal one rounded to the input's dtype.

    Raises:
        LipverifyError: where a name is unknown or missing, or a value does not fit its input exactly.
    """
    held = held or {}
    for name in held:
        _known(program, name)
    name = _input(program, input, held)
    chosen = _output(program, output)
    constants = {other: _value(program, other, held[other]) for other in program.inputs if other != name}
    if len(program.inputs) == len(program.outputs) == 1:
        return program
    joined = replace(
        program,
        inputs={name: program.inputs[name]},
        weights={**program.weights, **constants},
        weight_names={**program.weight_names, **{other: other for other in constants}},
        dtypes={},
    )
    notes = [
        f"the input {quoted(other)} is held{_at(held[other], value)}: no verdict speaks of its other values"
        for other, value in constants.items()
    ]
    if len(program.outputs) > 1:
        notes.append(f"of {len(program.outputs)} outputs {quoted(_title(program, chosen))} is judged")
    part = joined.between(joined.inputs, [chosen])
    return replace(part, notes=(*program.notes, *notes))


def advice(program: Program) -> str:
    """What to choose of a program of several inputs or outputs, in words; empty where there is nothing to choose."""
    inputs = [f"{quoted(n)} {tuple(s)} {program.dtypes.get(n, program.dtype)}" for n, s in program.inputs.items()]
    outputs = [quoted(_title(program, name)) for name in program.outputs]
    if len(inputs) == len(outputs) == 1 and not program.dtypes:
        return ""
    flags = (["--input NAME", "--hold NAME=VALUE for every other one"] if len(inputs) > 1 else []) + (
        ["--of OUTPUT"] if len(outputs) > 1 else []
    )
    return f"the model has the inputs {', '.join(inputs)} and the outputs {', '.join(outputs)}: choose with " + (
        ", ".join(flags) or "a real input"
    )


def _input(program: Program, input: str | None, held: Mapping[str, Any]) -> str:
    if input is not None:
        _known(program, input)
        name = input
    else:
        free = [n for n in program.inputs if n not in held and n not in program.dtypes]
        if len(free) != 1:
            raise _undecided(program, f"{len(free)} real inputs are not held, not one")
        (name,) = free
    if name in program.dtypes:
        why = f"it is {program.dtypes[name]}; a Lipschitz constant is of real inputs"
        raise LipverifyError(f"the input {quoted(name)} can only be held", why=why, step="Choose another --input.")
    if name in held:
        raise LipverifyError(
            f"the input {quoted(name)} is both chosen and held",
            step="Leave it out of --hold, or choose another --input.",
        )
    missing = [n for n in program.inputs if n != name and n not in held]
    if missing:
        raise _undecided(program, f"the input {quoted(missing[0])} has no value")
    return name


def _output(program: Program, output: str | int | None) -> str:
    if output is None:
        if len(program.outputs) != 1:
            raise _undecided(program, f"there are {len(program.outputs)} outputs, not one")
        return program.outputs[0]
    named = [] if isinstance(output, int) else [*zip(program.labels, program.outputs, strict=False)]
    meant = {value for label, value in named if label == output}
    meant |= {value for value in program.outputs if value == output}
    if re.fullmatch(r"\d{1,9}", str(output), re.ASCII) and int(output) < len(program.outputs):
        meant.add(program.outputs[int(output)])
    if not meant:
        raise _undecided(program, f"there is no output {quoted(output)}")
    if len(meant) > 1:
        raise LipverifyError(
            f"the output {quoted(output)} may be any of {len(meant)}",
            why="it is the place of one in what the model returns, and the name, number or place of another",
            step=f"Choose by the name in the program: {', '.join(map(quoted, sorted(meant)))}.",
        )
    return meant.pop()


def _title(program: Program, output: str) -> str:
    return dict(zip(program.outputs, program.labels, strict=False)).get(output, output)


def _known(program: Program, name: str) -> None:
    if name not in program.inputs:
        raise _undecided(program, f"there is no input {quoted(name)}")


def _undecided(program: Program, what: str) -> LipverifyError:
    single = f"the model has the input {', '.join(map(quoted, program.inputs))} and one output"
    return LipverifyError(what, why=advice(program) or single, step="Choose one input and one output, hold the rest.")


def _at(given: Any, value: torch.Tensor) -> str:
    return f" at {value.flatten()[0].item()!r}" if isinstance(given, int | float) and value.numel() else ""


def _value(program: Program, name: str, value: Any) -> torch.Tensor:
    shape, dtype = tuple(program.inputs[name]), program.dtypes.get(name, program.dtype)
    try:
        given = torch.as_tensor(np.asarray(value) if not isinstance(value, torch.Tensor) else value).detach()
    except (TypeError, ValueError, OverflowError) as error:
        why = f"it is {type(value).__name__} {quoted(value)}, no array of numbers"
        step = "Give a number or an array."
        raise LipverifyError(f"the value of the held input {quoted(name)} does not fit", why=why, step=step) from error
    if given.ndim == 0:
        given = given.expand(shape)
    if tuple(given.shape) != shape:
        why = f"its shape is {tuple(given.shape)}, the input's {shape}"
        raise LipverifyError(f"the value of the held input {quoted(name)} does not fit", why=why, step="Give it whole.")
    if not bool(torch.isfinite(given).all()):
        raise LipverifyError(
            f"the value of the held input {quoted(name)} does not fit",
            why="it is no number (NaN or infinity)",
            step="Hold it at finite numbers.",
        )
    cast = given.to(dtype)
    if isinstance(value, float) and dtype.is_floating_point and bool(torch.isfinite(cast).all()):
        return cast.contiguous().clone()  # a decimal number means the nearest one of the input's dtype
    if given.is_complex() or not bool(torch.equal(cast.double(), given.double())):
        why = f"{dtype} does not hold it exactly"
        raise LipverifyError(
            f"the value of the held input {quoted(name)} does not fit", why=why, step="Round it first."
        )
    return cast.contiguous().clone()
