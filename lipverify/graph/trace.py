"""A live ``nn.Module`` and an example input -> :class:`~lipverify.read.program.Program`, by torch.export."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.export.graph_signature import InputKind, OutputKind, TensorArgument

from lipverify.errors import LipverifyError, quoted
from lipverify.graph.rules import RULES
from lipverify.read.calls import name_calls, source_line
from lipverify.read.operators import ASSERTIONS
from lipverify.read.program import Operation, Program, Ref, check_weights


class TraceError(LipverifyError):
    """The model cannot be turned into a program."""


def trace(model: nn.Module, example: torch.Tensor) -> Program:
    """The ATen program of ``model`` at the shape and dtype of ``example``; shapes are static.

    Operations that have a lowering rule are kept whole (the decomposition of circular padding, say, is dozens of slices);
    what has none is decomposed to core ATen.

    Args:
        model: in eval mode.
        example: one input with its batch axis, floating point; its values do not matter.

    Raises:
        TraceError: training mode, an unsuitable example, weights that are not finite, or whatever torch.export refuses
            (control flow that depends on values, mutation of buffers, effects).
    """
    _check_example(example)
    training = [name or "the model itself" for name, module in model.named_modules() if module.training]
    if training:
        raise TraceError(
            f"{type(model).__name__} is in training mode",
            where=quoted(training[0]),
            why="dropout and batch statistics make another function of it",
            step="Call model.eval() first.",
        )
    _check_runs(model, example)
    table = torch.export.default_decompositions()
    for operator in [operator for operator in table if _target(operator) in RULES]:
        del table[operator]
    try:
        with warnings.catch_warnings(), _quiet(), torch.no_grad():
            warnings.simplefilter("ignore")
            exported = torch.export.export(model, (example.detach(),), strict=False).run_decompositions(table)
    except Exception as error:  # torch.export raises many types, some of them private
        raise TraceError(
            f"torch.export cannot trace {type(model).__name__}",
            where=f"input shape {tuple(example.shape)}",
            why=str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__,
            step="Control flow that depends on values has no graph: rewrite it, or audit its submodules one by one.",
        ) from error
    program = _program(exported, example.dtype)
    check_weights(program)
    return program


def _check_example(example: torch.Tensor) -> None:
    if not isinstance(example, torch.Tensor) or not example.is_floating_point():
        kind = example.dtype if isinstance(example, torch.Tensor) else type(example).__name__
        raise TraceError(
            f"the example input is {kind}",
            why="a Lipschitz constant is of real inputs",
            step="Pass a floating point tensor.",
        )
    if example.ndim == 0 or example.numel() == 0:
        raise TraceError(
            f"the example input has the empty shape {tuple(example.shape)}",
            step="Pass one whole input, batch axis first.",
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the records that torch logs of every operation that it could not trace; the error says it."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _check_runs(model: nn.Module, example: torch.Tensor) -> None:
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model(example.detach().clone())
    except Exception as error:  # the model's own code may raise anything
        raise TraceError(
            f"the model itself fails on an input of shape {tuple(example.shape)}",
            why=f"{type(error).__name__}: {quoted(error, 300)}",
            step="Pass inputs as the model takes them, batch axis first; wrap a model of several inputs.",
        ) from error


def _program(exported: torch.export.ExportedProgram, dtype: torch.dtype) -> Program:
    inputs: dict[str, tuple[int, ...]] = {}
    weights: dict[str, torch.Tensor] = {}
    names: dict[str, str] = {}
    placeholders = {n.name: n for n in exported.graph.nodes if n.op == "placeholder"}
    for spec in exported.graph_signature.input_specs:
        name, target = spec.arg.name, spec.target or spec.arg.name
        if spec.kind is InputKind.USER_INPUT:
            inputs[name] = tuple(int(s) for s in placeholders[name].meta["val"].shape)
            continue
        weight = exported.state_dict[target] if target in exported.state_dict else exported.constants.get(target)
        if not isinstance(weight, torch.Tensor):
            raise TraceError(f"the program reads {quoted(target)}, which is no tensor", why="only tensors are weights")
        weights[name], names[name] = weight.detach(), target
    outputs = []
    for spec in exported.graph_signature.output_specs:
        if spec.kind is not OutputKind.USER_OUTPUT:
            raise TraceError(
                f"the model changes {quoted(spec.target)} while it runs", why=f"{spec.kind.name}: it is not a function"
            )
        if not isinstance(spec.arg, TensorArgument):
            raise TraceError(
                "the model returns something that is not a tensor", step="Wrap it so that it returns tensors."
            )
        outputs.append(spec.arg.name)
    if not outputs:
        raise TraceError("the model returns nothing", step="Wrap it so that it returns a tensor.")
    nodes = [
        n for n in exported.graph.nodes if n.op == "call_function" and not _target(n.target).startswith(ASSERTIONS)
    ]
    calls = name_calls([[(k, v[0]) for k, v in (n.meta.get("nn_module_stack") or {}).items()] for n in nodes])
    operations = tuple(
        Operation(
            n.name,
            _target(n.target),
            tuple(_argument(a) for a in n.args),
            {k: _argument(v) for k, v in n.kwargs.items()},
            call,
            source_line(n.meta.get("stack_trace")),
        )
        for n, call in zip(nodes, calls, strict=True)
    )
    stacks = [(n.meta.get("nn_module_stack") or {}).values() for n in nodes]
    paths = [entry.fqn for entry in exported.module_call_graph if "@" not in entry.fqn]
    modules = tuple(dict.fromkeys(paths + [path for stack in stacks for path, _ in stack]))
    return Program(inputs, dtype, weights, names, operations, tuple(outputs), modules)


def _target(target: Any) -> str:
    if isinstance(target, torch._ops.OpOverload):
        return f"{target.namespace}.{target._schema.name.split('::')[1]}.{target._overloadname}"
    return getattr(target, "__name__", str(target))


def _argument(arg: Any) -> Any:
    if isinstance(arg, torch.fx.Node):
        return Ref(arg.name)
    if isinstance(arg, list | tuple):
        return tuple(_argument(a) for a in arg)
    return arg
