"""One node of an archive's graph -> operations of a program: allowed operators and plain arguments only."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from lipverify.errors import ReadError, quoted
from lipverify.read.archive import RESAVE, Archive
from lipverify.read.calls import source_line
from lipverify.read.operators import ALLOWED
from lipverify.read.program import Operation, Ref, aten
from lipverify.read.weights import SCALAR_TYPES, STRIDED

_MEMORY_FORMATS = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}
_POSITIONAL, _KEYWORD = 1, 2
_PLACEMENT = ("device", "layout", "pin_memory", "non_blocking")
"""Arguments that say where a value lives, not what it is; programs leave them out."""
OUTSIDE_TRAINING: dict[str, tuple[dict[str, Any], ...]] = {
    **{
        f"aten.{name}.default": ({"train": False},)
        for name in ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
    },
    "aten.rrelu.default": ({"training": False},),
    "aten.batch_norm.default": ({"training": False}, {"running_mean": None, "running_var": None}),
    "aten.instance_norm.default": ({"use_input_stats": False}, {"running_mean": None, "running_var": None}),
    "aten.scaled_dot_product_attention.default": ({"dropout_p": 0.0},),
}
"""Operators that may draw random numbers or rewrite statistics -> the arguments with which they do neither."""


def operations(archive: Archive, node: Mapping[str, Any], calls: tuple[str, ...], read: set[str]) -> list[Operation]:
    """The operation of a node, followed by a ``getitem`` for every one of several results that is in ``read``.

    Raises:
        ReadError: naming the operation and its module, where the operator is not allowed, its arguments are not those
            of its schema, or an argument is symbolic, a graph or an object.
    """
    where = f"module {quoted(calls[-1])}" if calls[-1] else "the top level"
    target = str(node["target"]).removeprefix("torch.ops.")
    target = (
        "aten.detach.default" if target == "aten.detach_.default" else target
    )  # writes nothing: it drops a gradient
    if target not in ALLOWED:
        raise _not_allowed(archive, str(node["target"]), where)
    args, kwargs = _arguments(archive, target, node["inputs"], f"{quoted(target)} in {where}")
    if not _is_function(target, args, kwargs):
        raise archive.refuse(
            f"the operation {quoted(target)} in {where} is in training mode",
            why="dropout and batch statistics make another function of the model at every call",
            step="Call model.eval() before torch.export.export.",
        )
    source = source_line(node["metadata"].get("stack_trace"))
    names = [_single(archive, output, target) for output in _flat_outputs(node["outputs"])]
    schema = aten(target)._schema  # type: ignore[attr-defined]
    several = len(schema.returns) != 1 or str(schema.returns[0].type).startswith("List")
    if not several and len(names) == 1:
        return [Operation(names[0], target, args, kwargs, calls, source)]
    if not several or not names or (len(schema.returns) > 1 and len(names) != len(schema.returns)):
        raise archive.refuse(f"the operation {quoted(target)} in {where} has {len(names)} results", step=RESAVE)
    whole = str(node.get("name") or f"{names[0]}_and_more")
    whole = f"{whole}_and_more" if whole in names else whole
    parts = [Operation(n, "getitem", (Ref(whole), i), {}, calls, source) for i, n in enumerate(names) if n in read]
    return [Operation(whole, target, args, kwargs, calls, source), *parts]


def _is_function(target: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether an operator with these arguments neither draws nor writes; what is left out has its default."""
    pure = OUTSIDE_TRAINING.get(target)
    if pure is None:
        return True
    schema = aten(target)._schema.arguments  # type: ignore[attr-defined]
    given = {a.name: a.default_value for a in schema if a.has_default_value()}
    given |= {**dict(zip((a.name for a in schema), args, strict=False)), **kwargs}
    return any(all(name in given and _equal(given[name], value) for name, value in case.items()) for case in pure)


def _equal(given: Any, value: Any) -> bool:
    return given == value and isinstance(given, bool) == isinstance(value, bool)


def _not_allowed(archive: Archive, target: str, where: str) -> ReadError:
    why = "only operators on the list of pure ATen operators are ever run, and this one is not on it"
    if re.fullmatch(r"torch\.ops\.aten\.\w*[a-z]_\.\w+", target):
        why = "it writes into its input, as in train mode or before decomposition; only pure operators are ever run"
    return archive.refuse(
        f"the operation {quoted(target)} in {where} is not read",
        why=why,
        step="Put the model into eval mode, export it with torch.export.export(...).run_decompositions(), "
        "and replace custom operators by ATen ones.",
    )


def references(node: Mapping[str, Any]) -> list[str]:
    """The names of the values that a node reads."""
    found = []
    stack = [item["arg"] for item in node["inputs"]]
    while stack:
        item = stack.pop()
        if isinstance(item, list):
            stack.extend(item)
        elif isinstance(item, dict) and isinstance(item.get("name"), str):
            found.append(item["name"])
        elif isinstance(item, dict):
            stack.extend(item.values())
    return found


def stack_of(archive: Archive, node: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The (key, path) pairs of a node's ``nn_module_stack``.

    Raises:
        ReadError: where a name holds a comma or semicolon, which the format cannot tell from its separators.
    """
    text = node["metadata"].get("nn_module_stack", "")
    pairs = []
    for item in text.split(";") if text else ():
        parts = item.split(",")
        if len(parts) != 3:
            raise archive.refuse(
                f"the module stack {quoted(item)} cannot be told apart",
                why="a module name with a comma or semicolon is ambiguous in a .pt2 archive",
                step="Rename the module, or audit the live module from Python.",
            )
        pairs.append((parts[0], parts[1]))
    return pairs


def _arguments(
    archive: Archive, target: str, inputs: Sequence[Mapping[str, Any]], where: str
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    schema = aten(target)._schema.arguments  # type: ignore[attr-defined]
    given = {item["name"]: item for item in inputs}
    unknown = set(given) - {a.name for a in schema}
    if unknown or len(given) != len(inputs):
        raise archive.refuse(
            f"{where} has arguments that its operator does not: {quoted(sorted(unknown))}", step=RESAVE
        )
    args, kwargs = [], {}
    contiguous = True
    for parameter in schema:
        if parameter.name not in given:
            contiguous = False
        elif parameter.name not in _PLACEMENT:
            value = argument(archive, given[parameter.name]["arg"], f"{quoted(parameter.name)} of {where}")
            kind = given[parameter.name].get("kind")
            if kind == _POSITIONAL and (parameter.kwarg_only or not contiguous):
                why = "torch would take it for another argument"
                raise archive.refuse(f"{where} has a positional argument behind a gap", why=why, step=RESAVE)
            if contiguous and not parameter.kwarg_only and kind != _KEYWORD:
                args.append(value)
            else:
                kwargs[parameter.name] = value
    return tuple(args), kwargs


def argument(archive: Archive, arg: Any, where: str) -> Any:
    """The value of one serialized argument: a scalar, a string, None, a :class:`Ref`, or a tuple of them.

    Raises:
        ReadError: for anything else.
    """
    if isinstance(arg, dict) and len(arg) == 1:
        (kind, value), *_ = arg.items()
        match kind, value:
            case "as_none", _:
                return None
            case ("as_tensor", {"name": str(name)}):
                return Ref(name)
            case ("as_tensors" | "as_nested_tensors" | "as_optional_tensors" | "as_sym_ints" | "as_sym_floats", list()):
                return tuple(argument(archive, v if "name" not in v else {"as_tensor": v}, where) for v in value)
            case ("as_optional_tensor" | "as_sym_int" | "as_sym_float" | "as_sym_bool", dict()):
                return argument(archive, value, where)
            case "as_int", int() if type(value) is int:
                return value
            case "as_float", float() | int() | str():
                number = (
                    float(value)
                    if type(value) is not str
                    else {"Infinity": math.inf, "-Infinity": -math.inf}.get(value)
                )
                if number is not None and not math.isnan(number):
                    return number
            case ("as_bool", bool()) | ("as_string", str()):
                return value
            case "as_ints", list() if all(type(v) is int for v in value):
                return tuple(value)
            case "as_floats", list():
                return tuple(argument(archive, {"as_float": v}, where) for v in value)
            case "as_bools", list() if all(type(v) is bool for v in value):
                return tuple(value)
            case "as_scalar_type", int() if value in SCALAR_TYPES:
                return SCALAR_TYPES[value]
            case "as_memory_format", int() if value in _MEMORY_FORMATS:
                return _MEMORY_FORMATS[value]
            case "as_layout", int() if value == STRIDED:
                return None
            case "as_name" | "as_expr", _:
                raise archive.refuse(
                    f"the argument {where} is a symbolic size",
                    why="a symbolic expression is not evaluated",
                    step="Export with static shapes, without dynamic_shapes.",
                )
    raise archive.refuse(
        f"the argument {where} is not read: {quoted(arg)}",
        why="scalars, lists of them and tensors are read; graphs, objects, NaN and complex numbers are not",
        step="Rewrite the model without it, then export it again.",
    )


def _flat_outputs(outputs: Sequence[Any]) -> list[Any]:
    if len(outputs) == 1 and isinstance(outputs[0], dict) and isinstance(outputs[0].get("as_tensors"), list):
        return [{"as_tensor": item} for item in outputs[0]["as_tensors"]]
    return list(outputs)


def _single(archive: Archive, output: Any, target: str) -> str:
    match output:
        case {"as_tensor": {"name": str(name)}}:
            return name
    raise archive.refuse(f"a result of {quoted(target)} is no tensor: {quoted(output)}", step=RESAVE)
