"""A live ``nn.Module`` and an example input -> :class:`~lipverify.read.program.Program`, by torch.export."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

import torch
from torch import nn
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind, TensorArgument
from torch.nn.parameter import is_lazy

from lipverify.errors import quoted
from lipverify.graph.agreement import agree, called
from lipverify.graph.fold_matrices import WHOLE
from lipverify.graph.rules import RULES
from lipverify.graph.signature import Example, as_example, places, plain_outputs
from lipverify.graph.state_changes import CHANGES, TraceError, changed, stores_as_copies
from lipverify.read.calls import name_calls, source_line
from lipverify.read.operators import ASSERTIONS
from lipverify.read.program import Operation, Program, Ref, check_weights

CHECKS = (ASSERTIONS, "aten._linalg_check_errors")
"""Operators that compute nothing: they raise where a factorization failed or a condition does not hold."""


def trace(model: nn.Module, example: Any, *, run: bool = True) -> Program:
    """The ATen program of ``model`` at the shapes and dtypes of ``example``; shapes are static.

    Operations that have a lowering rule are kept whole (the decomposition of circular padding, say, is dozens of slices);
    what has none is decomposed to core ATen. Of a module that changes its state at every call, the program is the next call
    (:mod:`~lipverify.graph.state_changes`); the state is left as it was found.

    Args:
        model: in eval mode.
        example: one input with its batch axis; or a tuple of the model's arguments, or a mapping of its keyword arguments:
            tensors, containers of them, None and Python values, which become part of the program. Only shapes and dtypes
            of tensors matter, and at least one is floating point.
        run: call the model, once before (which says more of what goes wrong) and twice after, and compare it with the
            program (:mod:`~lipverify.graph.agreement`); a stranger's model may be too large for that.

    Raises:
        TraceError: training mode, an unsuitable example, weights that are not finite, or whatever torch.export refuses
            (control flow that depends on values, effects), state that remembers inputs, or a program that is not the model.
    """
    given = as_example(example)
    _check_example(given)
    training = [name or "the model itself" for name, module in model.named_modules() if module.training]
    if training:
        raise TraceError(
            f"{type(model).__name__} is in training mode",
            where=quoted(training[0]),
            why="dropout and batch statistics make another function of it",
            step="Call model.eval() first.",
        )
    _check_memory(model)
    first = called(model, given) if run else []
    table = torch.export.default_decompositions()
    for operator in [operator for operator in table if _target(operator) in RULES.keys() | WHOLE]:
        del table[operator]
    try:
        with warnings.catch_warnings(), _quiet(), torch.no_grad(), plain_outputs(model), stores_as_copies():
            warnings.simplefilter("ignore")
            exported = torch.export.export(model, given.args, given.kwargs, strict=False).run_decompositions(table)
    except TraceError:
        raise
    except (Exception, SystemExit) as error:  # torch.export raises many types, the model's own code any
        raise TraceError(
            f"torch.export cannot trace {type(model).__name__}",
            where=f"input shape {given.shapes}",
            why=str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__,
            step="Control flow that depends on values has no graph: rewrite it, or audit its submodules one by one.",
        ) from error
    program = _program(exported)
    check_weights(program)
    if run:
        agree(model, program, exported, given, first)
    return program


def _check_memory(model: nn.Module) -> None:
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(tensor) or tensor.is_meta:
            lazy = is_lazy(tensor)
            raise TraceError(
                f"the weight {quoted(name)} has no numbers",
                why="it is of a lazy module that was not called yet" if lazy else "it is on the device meta",
                step="Call the model once, or load its weights, first." if lazy else "Build or load it on the CPU.",
            )


def _check_example(example: Example) -> None:
    real = [t for t in example.tensors if t.is_floating_point()]
    if not real:
        kinds = ", ".join(str(t.dtype) for t in example.tensors) or example.kind
        raise TraceError(
            f"the example input is {kinds}",
            why="a Lipschitz constant is of real inputs",
            step="Pass a floating point tensor.",
        )
    if len({t.dtype for t in real}) > 1:
        raise TraceError(
            f"the example inputs have the dtypes {', '.join(sorted({str(t.dtype) for t in real}))}",
            why="real inputs of one dtype are read",
            step="Cast them to one dtype.",
        )
    for tensor in example.tensors:
        if tensor.is_complex() or (tensor.numel() == 0 or (tensor.ndim == 0 and len(example.tensors) == 1)):
            raise TraceError(
                f"the example input has the empty shape {tuple(tensor.shape)}"
                if not tensor.is_complex()
                else "the example input is complex",
                step="Pass one whole input, batch axis first.",
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch logs and prints of every operation that it could not trace; the error says it."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            yield
    finally:
        logging.disable(before)


def _program(exported: torch.export.ExportedProgram) -> Program:
    inputs, dtypes, weights, names = _placeholders(exported)
    outputs, labels = _outputs(exported)
    (dtype,) = {d for d in dtypes.values() if d.is_floating_point}
    nodes = [n for n in exported.graph.nodes if n.op == "call_function" and not _is_check(n)]
    calls = name_calls([[(k, v[0]) for k, v in (n.meta.get("nn_module_stack") or {}).items()] for n in nodes])
    operations = tuple(
        Operation(n.name, *_call(n), call, source_line(n.meta.get("stack_trace")))
        for n, call in zip(nodes, calls, strict=True)
    )
    stacks = [(n.meta.get("nn_module_stack") or {}).values() for n in nodes]
    paths = [entry.fqn for entry in exported.module_call_graph if "@" not in entry.fqn]
    modules = tuple(dict.fromkeys(paths + [path for stack in stacks for path, _ in stack]))
    others = {name: d for name, d in dtypes.items() if d != dtype}
    return Program(
        inputs,
        dtype,
        weights,
        names,
        operations,
        outputs,
        modules,
        dtypes=others,
        labels=labels,
        notes=changed(exported),
    )


def _placeholders(
    exported: torch.export.ExportedProgram,
) -> tuple[dict[str, tuple[int, ...]], dict[str, torch.dtype], dict[str, torch.Tensor], dict[str, str]]:
    """Shapes and dtypes of the inputs, the weights, and the names of the weights in the model's state."""
    inputs: dict[str, tuple[int, ...]] = {}
    dtypes: dict[str, torch.dtype] = {}
    weights: dict[str, torch.Tensor] = {}
    names: dict[str, str] = {}
    changing = {spec.target for spec in exported.graph_signature.output_specs if spec.kind in CHANGES}
    placeholders = {n.name: n for n in exported.graph.nodes if n.op == "placeholder"}
    for spec in exported.graph_signature.input_specs:
        name, target = spec.arg.name, spec.target or spec.arg.name
        if spec.kind is InputKind.TOKEN or (
            spec.kind is InputKind.USER_INPUT and isinstance(spec.arg, ConstantArgument)
        ):
            continue  # a token orders effects and carries nothing; a Python value is part of the program
        if spec.kind is InputKind.USER_INPUT:
            value = placeholders[name].meta["val"]
            inputs[name], dtypes[name] = tuple(int(s) for s in value.shape), value.dtype
            continue
        weight = exported.state_dict[target] if target in exported.state_dict else exported.constants.get(target)
        if not isinstance(weight, torch.Tensor):
            raise TraceError(f"the program reads {quoted(target)}, which is no tensor", why="only tensors are weights")
        weights[name], names[name] = weight.detach().clone() if target in changing else weight.detach(), target
    return inputs, dtypes, weights, names


def _outputs(exported: torch.export.ExportedProgram) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The values returned and their places in what the model returns; None and Python numbers are left out."""
    specs = [s for s in exported.graph_signature.output_specs if s.kind not in (OutputKind.TOKEN, *CHANGES)]
    for spec in specs:
        if spec.kind is not OutputKind.USER_OUTPUT:
            raise TraceError(
                f"the model changes {quoted(spec.target)} while it runs", why=f"{spec.kind.name}: it is not a function"
            )
        if not isinstance(spec.arg, TensorArgument | ConstantArgument):
            raise TraceError(
                "the model returns something that is not a tensor", step="Wrap it so that it returns tensors."
            )
    where = places(exported.call_spec.out_spec)
    found = [(s.arg.name, p) for s, p in zip(specs, where, strict=True) if isinstance(s.arg, TensorArgument)]
    if not found:
        raise TraceError("the model returns nothing", step="Wrap it so that it returns a tensor.")
    return tuple(name for name, _ in found), tuple(place for _, place in found)


def _is_check(node: torch.fx.Node) -> bool:
    """Whether a node only checks: an assertion, or an effect whose order is all that is read of it.

    Raises:
        TraceError: for any other effect.
    """
    if _target(node.target).startswith(CHECKS):
        return True
    ordered = node.args[0] if _target(node.target) == "getitem" else node
    if not isinstance(ordered, torch.fx.Node) or _target(ordered.target) != "with_effects":
        return False
    operator = _target(ordered.args[1])
    if not operator.startswith(CHECKS):
        raise TraceError(
            f"the operation {quoted(operator)} has effects",
            why="the model is no function of its input",
            step="Take it out: printing, callbacks and custom operators with effects have no bound.",
        )
    return True


def _call(node: torch.fx.Node) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    """The operator and its arguments; a copy over a tensor of the same shape and dtype is the copied tensor."""
    target, args = _target(node.target), tuple(_argument(a) for a in node.args)
    if target == "aten.copy.default":
        over, source = (a.meta["val"] for a in node.args[:2] if isinstance(a, torch.fx.Node))
        if (over.shape, over.dtype) == (source.shape, source.dtype):
            return "aten.alias.default", args[1:2], {}
    return target, args, {k: _argument(v) for k, v in node.kwargs.items()}


def _target(target: Any) -> str:
    if isinstance(target, torch._ops.OpOverload):
        return f"{target.namespace}.{target._schema.name.split('::')[1]}.{target._overloadname}"
    return getattr(target, "__name__", str(target))


def _argument(arg: Any) -> Any:
    if isinstance(arg, torch.fx.Node):
        return f"graph {arg.target}" if arg.op == "get_attr" else Ref(arg.name)  # a branch or body: no value
    if isinstance(arg, list | tuple):
        return tuple(_argument(a) for a in arg)
    return arg
