"""A program's value at a point, enclosed: every ATen operation in ball arithmetic, on the original program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from lipverify.graph.fold import REARRANGEMENTS, NotFoldable, keeps, scalar
from lipverify.read.program import Operation, Program, Ref, run
from lipverify.read.shapes import types
from lipverify.rigor import aten_balls as balls
from lipverify.rigor.aten_balls import HUGE, Ball, exact
from lipverify.rigor.probe import machine
from lipverify.subnormals import widened


class NotEnclosed(Exception):
    """An operation without a rule in ball arithmetic; the message names it."""


def enclose(program: Program, x: torch.Tensor) -> Ball:
    """The program's output at ``x``, real semantics: the ball contains the exact value.

    Args:
        program: with one input and one output.
        x: float64 tensor of the input's shape; taken as exact.

    Raises:
        NotEnclosed: naming an operation that has no rule, or a value too large to bound.
    """
    machine()
    values: dict[str, Any] = {
        name: exact(torch.from_numpy(widened(w))) if w.is_floating_point() else w for name, w in program.weights.items()
    }
    values[next(iter(program.inputs))] = exact(x)
    dtypes = {name: dtype for name, (_, dtype) in types(program).items()}
    for op in program.operations:
        try:
            for name in op.references:
                if not keeps(dtypes.get(name), dtypes.get(op.name)):
                    raise NotFoldable(f"a conversion from {dtypes.get(name)} to {dtypes.get(op.name)} may round")
            ball = values[op.name] = _step(op, values, program.dtype)
        except NotFoldable as reason:
            raise NotEnclosed(f"{op.target} in {op.calls[-1] or 'the model'}: {reason}") from reason
        if not bool((ball.midpoint.abs() <= HUGE).all() and (ball.radius <= HUGE).all()):
            raise NotEnclosed(f"the value of {op.target} in {op.calls[-1] or 'the model'} is too large to bound")
    return values[program.outputs[0]]


def _step(op: Operation, values: dict[str, Any], dtype: torch.dtype) -> Ball:
    if op.target in REARRANGEMENTS or op.target in PADDINGS:
        if _fill(op) not in (None, 0):
            raise NotFoldable("padding with a constant that is not zero")
        name = op.references[0]
        return Ball(*(run(op, {**values, name: part}, {}) for part in _ball(values[name], name)))
    rule = RULES.get(op.target)
    if rule is None:
        raise NotFoldable("no rule in ball arithmetic")
    args = (*op.args, 0.01) if op.target == "aten.leaky_relu.default" and len(op.args) == 1 else op.args
    positional = (_operand(a, values, dtype if op.target in SCALAR_ARGUMENTS else None) for a in args)
    return rule(*positional, **{k: _operand(v, values, None) for k, v in op.kwargs.items()})


def _operand(arg: Any, values: dict[str, Any], dtype: torch.dtype | None) -> Any:
    """The ball of a value, or of a scalar that the machine may round to ``dtype``; any other argument as it is."""
    if isinstance(arg, Ref):
        return _ball(values[arg.name], arg.name)
    if dtype is None or isinstance(arg, bool) or not isinstance(arg, int | float):
        return arg
    hull = scalar(arg, dtype)
    middle = torch.from_numpy(hull.midpoint)
    return Ball(middle, torch.zeros_like(middle) if hull.radius is None else torch.from_numpy(hull.radius))


def _ball(value: Any, name: str) -> Ball:
    if not isinstance(value, Ball):
        raise NotFoldable(f"it reads {name}, which is not a floating point value")
    return value


def _fill(op: Operation) -> Any:
    """The constant that a padding operation adds."""
    position = {"aten.pad.default": 3, "aten.constant_pad_nd.default": 2}.get(op.target)
    if position is None:
        return None
    return op.args[position] if len(op.args) > position else op.kwargs.get("value")


RULES: dict[str, Callable[..., Ball]] = {
    "aten.linear.default": balls.linear,
    "aten.addmm.default": balls.addmm,
    "aten.mm.default": balls.matmul,
    "aten.matmul.default": balls.matmul,
    "aten.convolution.default": balls.convolution,
    "aten.conv2d.default": balls.conv2d,
    "aten.conv_transpose2d.input": balls.conv_transpose2d,
    "aten.avg_pool2d.default": balls.average,
    "aten.add.Tensor": balls.add,
    "aten.sub.Tensor": balls.subtract,
    "aten.rsub.Scalar": lambda x, y: balls.subtract(y, x),
    "aten.mul.Tensor": balls.multiply,
    "aten.mul.Scalar": balls.multiply,
    "aten.div.Tensor": balls.divide,
    "aten.div.Scalar": balls.divide,
    "aten.neg.default": balls.negate,
    "aten.sqrt.default": balls.square_root,
    "aten.rsqrt.default": lambda x: balls.divide(balls.one(), balls.square_root(x)),
    "aten.reciprocal.default": lambda x: balls.divide(balls.one(), x),
    "aten.square.default": lambda x: balls.multiply(x, x),
    "aten.pow.Tensor_Scalar": balls.power,
    "aten.relu.default": balls.relu,
    "aten.abs.default": lambda x: Ball(x.midpoint.abs(), x.radius),
    "aten.leaky_relu.default": balls.leaky_relu,
    "aten.hardtanh.default": balls.hardtanh,
    "aten.tanh.default": balls.smooth(balls.tanh, 1.0),
    "aten.sigmoid.default": balls.smooth(balls.sigmoid, 0.25),
    "aten._to_copy.default": balls.conversion,
    "aten.to.dtype": balls.conversion,
    "aten.dropout.default": balls.dropout,
}
"""ATen operation -> its rule on balls. Written without sight of the lowering rules: the two check each other."""

PADDINGS = frozenset(("aten.pad.default", "aten.constant_pad_nd.default"))
SCALAR_ARGUMENTS = frozenset(
    name for name in RULES if name.split(".")[1] in ("add", "sub", "rsub", "mul", "div", "leaky_relu", "hardtanh")
)
