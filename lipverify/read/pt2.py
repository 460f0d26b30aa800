"""A ``.pt2`` archive -> :class:`~lipverify.read.program.Program`, from its JSON and raw weights alone.

``torch.export.load`` is never called: it unpickles sample inputs and some weights, evaluates symbolic expressions and
can load compiled libraries, all of which run code of the file. Here nothing is unpickled, evaluated or executed; what
the format can say beyond plain operators on plain tensors is refused by name. ``data/sample_inputs`` (a pickle in every
archive) is never opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lipverify import strict_json
from lipverify.errors import ReadError, quoted
from lipverify.read import shapes
from lipverify.read.archive import RESAVE, Archive
from lipverify.read.calls import name_calls
from lipverify.read.nodes import operations, references, stack_of
from lipverify.read.operators import ASSERTIONS
from lipverify.read.program import Operation, Program
from lipverify.read.weights import SCALAR_TYPES, Payload, static

SCHEMA_MAJOR = 8
MAX_JSON = 1 << 28
MAX_EXTRA = 1 << 24
_IGNORED = ("data/sample_inputs/", ".data/", "archive_version", "version", ".format_version", ".storage_alignment")
_PLAIN = {"as_none", "as_int", "as_float", "as_bool", "as_string"}
"""How an archive writes inputs and outputs that are no tensors but plain values."""
_EMPTY = ("sym_int_values", "sym_bool_values", "sym_float_values", "custom_obj_values")
_KEYS = {
    "graph": {"inputs", "outputs", "nodes", "tensor_values", "is_single_tensor_return", *_EMPTY},
    "graph_module": {"graph", "signature", "module_call_graph", "metadata", "treespec_namedtuple_fields"},
    "node": {"target", "inputs", "outputs", "metadata", "is_hop_single_tensor_return", "name"},
    "model": {
        *("graph_module", "opset_version", "range_constraints", "schema_version"),
        *("verifiers", "torch_version", "guards_code"),
    },
}


def read_pt2(path: Path) -> Program:
    """The program in a ``.pt2`` archive.

    Raises:
        ReadError: what is refused, where, why, and what to do instead.
    """
    with Archive(path) as archive:
        try:
            return _program(archive)
        except (KeyError, TypeError, AttributeError, ValueError, IndexError, OverflowError) as error:
            why = f"{type(error).__name__}: {quoted(error, 200)}"
            raise archive.refuse(
                "it does not follow the layout of torch.export archives", why=why, step=RESAVE
            ) from error


def _program(archive: Archive) -> Program:
    name = _model_name(archive)
    model = _json(archive, f"models/{name}.json")
    _known(archive, model, "model")
    version = model["schema_version"]
    if version["major"] != SCHEMA_MAJOR:
        why = f"schema version {quoted(version)}; version {SCHEMA_MAJOR} is read"
        raise archive.refuse("it was written by another generation of torch.export", why=why, step=RESAVE)
    module = model["graph_module"]
    _known(archive, module, "graph_module")
    graph = module["graph"]
    _known(archive, graph, "graph")
    if any(graph.get(key) for key in _EMPTY):
        raise archive.refuse(
            "it has symbolic values or custom objects",
            why="bounds are proved for one input size; a symbolic expression is not evaluated",
            step="Export with static shapes: torch.export.export(model, (example,)) without dynamic_shapes.",
        )
    inputs, dtypes, weights, names = _placeholders(archive, name, module["signature"]["input_specs"], graph)
    dtype = _real(archive, inputs, dtypes)
    outputs = _outputs(archive, module["signature"]["output_specs"])
    for node in graph["nodes"]:
        _known(archive, node, "node")
    nodes = [node for node in graph["nodes"] if not _asserts(node)]
    stacks = [stack_of(archive, node) for node in nodes]
    read = {ref for node in nodes for ref in references(node)} | set(outputs)
    ops: list[Operation] = []
    for node, calls in zip(nodes, name_calls(stacks), strict=True):
        ops.extend(operations(archive, node, calls, read))
    _check_order(archive, {*inputs, *weights}, ops, outputs)
    if graph["outputs"] != [next(iter(spec.values()))["arg"] for spec in module["signature"]["output_specs"]]:
        raise archive.refuse("its signature and its graph name different outputs", step=RESAVE)
    fqns = [entry["fqn"] for entry in module["module_call_graph"] if "@" not in entry["fqn"]]
    modules = tuple(dict.fromkeys(["", *fqns, *(path for stack in stacks for _, path in stack)]))
    extra = {e.removeprefix("extra/"): archive.read(e, MAX_EXTRA) for e in archive if e.startswith("extra/")}
    others = {n: d for n, d in dtypes.items() if d is not dtype}
    program = Program(inputs, dtype, weights, names, tuple(ops), outputs, modules, extra, others)
    try:
        shapes.check(program, {k: v["sizes"] for k, v in graph["tensor_values"].items()})
    except ReadError as error:
        raise archive.refuse(error.what, why=error.why, step=error.step or RESAVE) from error
    return program


def _model_name(archive: Archive) -> str:
    names = list(archive)
    for name in names:
        if name.endswith((".so", ".o", ".cpp", ".cubin")) or name.startswith(("data/aotinductor/", "executorch/")):
            why = "a compiled library runs code when it is loaded; it was not opened"
            raise archive.refuse(f"it carries the compiled file {quoted(name)}", why=why, step=RESAVE)
        known = ("models/", "data/weights/", "data/constants/", "extra/", "archive_format", "byteorder", *_IGNORED)
        if not name.startswith(known):
            why = "" if "serialized" not in name else "it is laid out as torch before 2.8 did, with pickles"
            raise archive.refuse(f"it has the unknown entry {quoted(name)}", why=why, step=RESAVE)
    if "archive_format" not in archive or archive.read("archive_format", 16) != b"pt2":
        raise archive.refuse("it is a zip archive but not one of torch.export", step=RESAVE)
    if "byteorder" in archive and archive.read("byteorder", 16) != b"little":
        raise archive.refuse("its weights are not little-endian", step="Save the model on a little-endian machine.")
    models = [name for name in names if name.startswith("models/")]
    if len(models) != 1 or not models[0].endswith(".json"):
        found = ", ".join(map(quoted, models[:5])) or "none"
        raise archive.refuse(f"it has {len(models)} models", why=f"one is read; found: {found}", step=RESAVE)
    return models[0].removeprefix("models/").removesuffix(".json")


def _placeholders(
    archive: Archive, model: str, specs: Sequence[Any], graph: Mapping[str, Any]
) -> tuple[dict[str, tuple[int, ...]], dict[str, torch.dtype], dict[str, torch.Tensor], dict[str, str]]:
    """Shapes and dtypes of the inputs, the weights, and the names of the weights in the model's state."""
    stored = _payload(archive, "data/weights", f"{model}_weights_config.json")
    constants = _payload(archive, "data/constants", f"{model}_constants_config.json")
    shared = sorted(set(stored) & set(constants))
    if shared:
        why = "it is stored both as a weight and as a constant, and readers differ in which they take"
        raise archive.refuse(f"the tensor {quoted(shared[0])} is stored twice", why=why, step=RESAVE)
    inputs: dict[str, tuple[int, ...]] = {}
    weights: dict[str, torch.Tensor] = {}
    names: dict[str, str] = {}
    dtypes: dict[str, torch.dtype] = {}
    for spec in specs:
        match spec:
            case {"user_input": {"arg": {"as_tensor": {"name": str(name)}}}}:
                meta = graph["tensor_values"][name]
                inputs[name] = tuple(static(archive, s, f"the size of the input {quoted(name)}") for s in meta["sizes"])
                if meta["dtype"] not in SCALAR_TYPES:
                    why = (
                        f"dtype number {quoted(meta['dtype'])}; a Lipschitz constant needs real, floating point inputs"
                    )
                    raise archive.refuse(f"the input {quoted(name)} has an unsupported dtype", why=why)
                dtypes[name] = SCALAR_TYPES[meta["dtype"]]
                continue
            case {"constant_input": {"value": dict(value)}} if len(value) == 1 and set(value) <= _PLAIN:
                continue  # None or a number, which is part of the program
            case {"parameter": {"arg": {"name": str(name)}, "parameter_name": str(fqn)}}:
                payload = stored
            case {"buffer": {"arg": {"name": str(name)}, "buffer_name": str(fqn), "persistent": bool(persistent)}}:
                payload = stored if persistent else constants
            case {"tensor_constant": {"arg": {"name": str(name)}, "tensor_constant_name": str(fqn)}}:
                payload = constants
            case _:
                step = "Export a model whose inputs are tensors and whose state is tensors."
                raise archive.refuse(f"an input of the graph is no tensor: {quoted(spec)}", step=step)
        if fqn not in payload:
            raise archive.refuse(
                f"the tensor {quoted(fqn)} is missing",
                why="parameters and persistent buffers are weights; all else are constants",
                step=RESAVE,
            )
        weights[name], names[name] = payload.tensor(fqn), fqn
        sizes = tuple(static(archive, s, quoted(fqn)) for s in graph["tensor_values"][name]["sizes"])
        if sizes != tuple(weights[name].shape):
            why = f"the graph says {sizes}, the weights {tuple(weights[name].shape)}"
            raise archive.refuse(f"the tensor {quoted(fqn)} has two shapes", why=why, step=RESAVE)
    tensors = [spec for spec in specs if "constant_input" not in spec]
    if list(map(_given, graph["inputs"])) != [_given(_argument(s)) for s in specs] or len({*inputs, *weights}) != len(
        tensors
    ):
        raise archive.refuse("its signature and its graph name different inputs", step=RESAVE)
    stored.check_entries()
    constants.check_entries()
    for name, shape in inputs.items():
        if 0 in shape:
            step = "Export with one whole example input."
            raise archive.refuse(f"the input {quoted(name)} of shape {shape} is empty", step=step)
    return inputs, dtypes, weights, names


def _real(archive: Archive, inputs: Mapping[str, Any], dtypes: Mapping[str, torch.dtype]) -> torch.dtype:
    """The one floating point dtype among the inputs; those of other dtypes can only be held."""
    real = {dtype for dtype in dtypes.values() if dtype.is_floating_point}
    if len(real) != 1:
        raise archive.refuse(
            f"its inputs are not of one real floating point dtype: {quoted(', '.join(map(quoted, inputs)) or 'none')}",
            why="a Lipschitz constant needs real inputs; integer and complex inputs have none here",
            step="Export the part of the model behind the embedding, with a float example input.",
        )
    return real.pop()


def _outputs(archive: Archive, specs: Sequence[Any]) -> tuple[str, ...]:
    names = []
    for spec in specs:
        match spec:
            case {"user_output": {"arg": {"as_tensor": {"name": str(name)}}}}:
                names.append(name)
            case {"user_output": {"arg": dict(value)}} if len(value) == 1 and set(value) <= _PLAIN:
                pass
            case {"buffer_mutation": {"buffer_name": name}} | {"parameter_mutation": {"parameter_name": name}}:
                raise archive.refuse(
                    f"the model changes its own state {quoted(name)} while it runs",
                    why="it was exported in training mode, or keeps state: it is not a function",
                    step="Call model.eval() before torch.export.export.",
                )
            case _:
                raise archive.refuse(f"an output is no tensor: {quoted(spec)}", step="Return tensors only.")
    if not names:
        raise archive.refuse("the model returns no tensor", step="Return a tensor.")
    return tuple(names)


def _check_order(archive: Archive, known: set[str], ops: Sequence[Operation], outputs: Sequence[str]) -> None:
    for op in ops:
        missing = [ref for ref in op.references if ref not in known]
        if missing or op.name in known:
            what = f"reads {quoted(missing[0])} before it is computed" if missing else "is computed twice"
            raise archive.refuse(f"the value {quoted(op.name)} {what}", step=RESAVE)
        known.add(op.name)
    if any(name not in known for name in outputs):
        raise archive.refuse("an output is never computed", step=RESAVE)


def _asserts(node: Mapping[str, Any]) -> bool:
    return str(node["target"]).removeprefix("torch.ops.").startswith(ASSERTIONS) and not node["outputs"]


def _known(archive: Archive, value: Mapping[str, Any], kind: str) -> None:
    unknown = set(value) - _KEYS[kind]
    if unknown:
        raise archive.refuse(f"its {kind} has the unknown key {quoted(min(unknown))}", step=RESAVE)


def _argument(spec: Mapping[str, Any]) -> Any:
    (content,) = spec.values()
    return content["arg"] if "arg" in content else content["value"]


def _given(arg: Mapping[str, Any]) -> Any:
    """The name of a tensor, however an input spells it; a plain value as it is."""
    if _PLAIN & set(arg):
        return arg
    return arg["as_tensor"]["name"] if "as_tensor" in arg else arg["name"]


def _payload(archive: Archive, directory: str, file: str) -> Payload:
    name = f"{directory}/{file}"
    return Payload(archive, directory, name, _json(archive, name)["config"] if name in archive else {})


def _json(archive: Archive, name: str) -> Any:
    try:
        return strict_json.loads(archive.read(name, MAX_JSON), limit=MAX_JSON)
    except ValueError as error:
        raise archive.refuse(f"the entry {quoted(name)} is no strict JSON", why=str(error), step=RESAVE) from None
