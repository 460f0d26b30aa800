"""A program's value at a point, enclosed: every ATen operation in ball arithmetic, on the original program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from lipverify.graph.held import keeps
from lipverify.read.program import Operation, Program, Ref, aten, run
from lipverify.read.shapes import types
from lipverify.rigor.aten_balls import (
    CONDITIONAL,
    INDEXED,
    INTEGER,
    PARAMETERS,
    RULES,
    UNBOUNDED,
    Ball,
    Condition,
    Missing,
    NotEnclosed,
    checked,
    exact,
    scalar,
)
from lipverify.rigor.probe import machine
from lipverify.subnormals import widened

__all__ = ("NotEnclosed", "enclose")

PLACEMENT = frozenset(("dtype", "layout", "device", "pin_memory", "memory_format", "non_blocking", "copy", "out"))
"""Arguments that say where and how a value is stored. That a stored dtype rounds nothing is checked of every operation."""
Types = Mapping[str, tuple[tuple[int, ...], torch.dtype]]


def enclose(program: Program, x: torch.Tensor | Ball) -> Ball:
    """The program's output at ``x``, real semantics: the ball contains the exact value, or every one of a ball ``x``.

    Args:
        program: with one input and one output.
        x: float64 tensor of the input's shape, taken as exact; or a ball.

    Raises:
        NotEnclosed: naming an operation that has no rule, or a value too large to bound.
    """
    machine()
    if len(program.inputs) != 1:
        raise NotEnclosed(f"a program of {len(program.inputs)} inputs")
    values: dict[str, Any] = {}
    for name, weight in program.weights.items():
        values[name] = exact(torch.from_numpy(widened(weight))) if weight.is_floating_point() else weight
    values[next(iter(program.inputs))] = x if isinstance(x, Ball) else exact(x)
    for name, value in values.items():
        if isinstance(value, Ball):
            _guard(value, f"the value {program.weight_names.get(name, name)}")
    known = types(program)
    last = {name: op.name for op in program.operations for name in op.references}
    for op in program.operations:
        where = f"{op.target} in {op.calls[-1] or 'the model'}"
        try:
            value = values[op.name] = _step(op, values, known, program)
        except NotEnclosed as reason:
            raise NotEnclosed(f"{where}: {reason}") from reason
        if isinstance(value, Ball) and op.target not in UNBOUNDED:
            _guard(value, where)
        for name in op.references:
            if last[name] == op.name and name not in program.outputs:
                values.pop(name, None)
    output = values[program.outputs[0]]
    if not isinstance(output, Ball):
        raise NotEnclosed("the output is no array of real numbers")
    return _guard(output, "the output")


def _guard(ball: Ball, where: str) -> Ball:
    try:
        return checked(ball)
    except NotEnclosed as reason:
        raise NotEnclosed(f"{where}: {reason}") from reason


def _step(op: Operation, values: Mapping[str, Any], known: Types, program: Program) -> Any:
    if op.target == "getitem":
        result = values[op.args[0].name][op.args[1]]
        if isinstance(result, Missing):
            raise NotEnclosed(f"it reads {result.why}")
        return result
    whole = op.name in known and not known[op.name][1].is_floating_point
    if whole and op.target in INTEGER and all(isinstance(values[name], torch.Tensor) for name in op.references):
        return run(op, values, {})
    rule = RULES.get(op.target)
    if rule is None:
        raise NotEnclosed("no rule in ball arithmetic")
    _keep(op, values, known, program)
    dtype = known[op.name][1] if op.name in known else program.dtype
    args, keywords = [], {}
    for parameter, value in _arguments(op, dtype):
        operand = _operand(value, values, dtype, op.target)
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and op.target not in PARAMETERS
            and _is_real(parameter)
        ):
            operand = scalar(value, program.dtype)
        if parameter.kwarg_only:
            keywords[parameter.name] = operand
        else:
            args.append(operand)
    result = rule(*args, **keywords)
    if isinstance(result, Ball) and op.name in known and tuple(result.midpoint.shape) != known[op.name][0]:
        raise NotEnclosed(f"its rule gives shape {tuple(result.midpoint.shape)}, not {known[op.name][0]}")
    return result


def _keep(op: Operation, values: Mapping[str, Any], known: Types, program: Program) -> None:
    """Check that no real number that the operation reads is rounded to the dtype of a result.

    A comparison is made in the dtype of the program. Of several results only those that are read have a dtype.
    """
    targets = {known[op.name][1]} if op.name in known else set()
    if not targets:
        targets = {known[o.name][1] for o in program.operations if _reads(o, op.name) and o.name in known}
    for target in targets:
        target = program.dtype if target == torch.bool else target
        for name in op.references:
            source = known[name][1] if name in known else None
            if isinstance(values[name], Ball) and target.is_floating_point and not keeps(source, target):
                raise NotEnclosed(f"a conversion from {source} to {target} may round")
            if isinstance(values[name], Ball) and not target.is_floating_point and op.name in known:
                raise NotEnclosed(f"a conversion from {source} to {target}")


def _reads(op: Operation, name: str) -> bool:
    return op.target == "getitem" and op.args[0].name == name


def _arguments(op: Operation, dtype: torch.dtype) -> list[tuple[Any, Any]]:
    """The parameters of the operator's schema, but for the stored form of its result, with their values or defaults."""
    given = list(op.args)
    bound = []
    for parameter in aten(op.target)._schema.arguments:  # type: ignore[attr-defined]
        name = parameter.name
        if given and not parameter.kwarg_only:
            value = given.pop(0)
        elif name in op.kwargs:
            value = op.kwargs[name]
        elif parameter.has_default_value():
            value = parameter.default_value
        else:
            raise NotEnclosed(f"its argument {name} is missing")
        if name == "eps" and value is None:  # rms_norm: the machine epsilon of what it normalises
            value = torch.finfo(dtype).eps
        if name not in PLACEMENT:
            bound.append((parameter, value))
    return bound


def _is_real(parameter: Any) -> bool:
    return str(parameter.type).removeprefix("Optional[").removesuffix("]") in ("number", "float", "Tensor")


def _operand(arg: Any, values: Mapping[str, Any], dtype: torch.dtype, target: str) -> Any:
    """The ball of a value; a condition or positions where the operation reads such; any other argument as it is."""
    if isinstance(arg, Ref):
        return _value(values[arg.name], arg.name, dtype, target)
    return [_operand(a, values, dtype, target) for a in arg] if isinstance(arg, list | tuple) else arg


def _value(value: Any, name: str, dtype: torch.dtype, target: str) -> Any:
    if isinstance(value, Ball) or (isinstance(value, Condition) and target in CONDITIONAL):
        return value
    if isinstance(value, torch.Tensor):
        if target in INDEXED or (target in CONDITIONAL and value.dtype == torch.bool):
            return value
        entries = widened(value)
        if keeps(value.dtype, dtype, entries):
            return exact(torch.from_numpy(entries))
    raise NotEnclosed(f"it reads {name}, which is not a floating point value")
