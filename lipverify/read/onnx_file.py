"""An ``.onnx`` file -> its protobuf message, checked: one graph of standard operators whose tensors are all inside."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from lipverify.errors import ReadError, quoted

MAX_BYTES = 1 << 29
STANDARD = ("", "ai.onnx")
STEP = (
    "Export again with standard operators: torch.onnx.export(model, x, 'model.onnx', opset_version=17, dynamo=False)."
)
_SIZES = {1: 4, 2: 1, 3: 1, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 16: 2}
"""Bytes of an entry by the number of its dtype: float, uint8, int8, int16, int32, int64, bool, float16, double, bfloat16."""
_FIELDS = ("float_data", "int32_data", "int64_data", "double_data")


def parse_onnx(path: Path) -> Any:
    """The ``ModelProto`` in a file.

    Refused: what is longer than 512 MiB or no such message; domains beyond the standard one, functions and training graphs
    (whose code lives elsewhere), more than one version of the standard operators; subgraphs (control flow); tensors outside
    of the file (a path chosen by the file would be opened), of other dtypes, twice under one name, or with another number
    of bytes than their shape asks for. Nodes get plain names: the converter writes names into Python code.

    Raises:
        ReadError: with what is refused and why.
    """
    try:
        import onnx
    except ImportError as error:
        step = "pip install onnx, and pip install --no-deps onnx2torch."
        raise refused(path, "its reader is not installed", str(error), step) from None
    if path.stat().st_size > MAX_BYTES:
        raise refused(path, f"it is longer than {MAX_BYTES} bytes")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except Exception as error:  # protobuf's decoders differ in what they raise
        raise refused(path, "it is no ONNX model", type(error).__name__) from None
    if not model.HasField("graph") or not model.graph.node:
        raise refused(path, "it is no ONNX model", "it has no graph with operators")
    foreign = [o.domain for o in model.opset_import if o.domain not in STANDARD]
    foreign += [n.domain for n in model.graph.node if n.domain not in STANDARD]
    if foreign or model.functions or model.training_info:
        what = f"the domain {quoted(foreign[0])}" if foreign else "functions or a training graph"
        raise refused(path, f"it uses {what}", "the operators of the standard domain are read")
    if model.graph.sparse_initializer:
        raise refused(path, "it has sparse tensors")
    domains = [o.domain for o in model.opset_import]
    if len(domains) != 1:
        what = f"{len(domains)} versions of the standard operators"
        raise refused(path, f"it asks for {what}", "one says what its operators compute; the two names are one domain")
    stored = [tensor.name for tensor in model.graph.initializer]
    if len(set(stored)) < len(stored):
        twice = next(name for i, name in enumerate(stored) if name in stored[:i])
        raise refused(path, f"the tensor {quoted(twice)} is stored twice", "readers differ in which of them they take")
    for name, tensor in _tensors(path, model.graph):
        _check_tensor(path, name, tensor)
    _settle(model.graph)
    return model


def refused(path: Path, what: str, why: str = "", step: str = STEP) -> ReadError:
    """An error about an ONNX file."""
    return ReadError(f"{quoted(path.name)} is refused: {what}", where=quoted(path, 300), why=why, step=step)


def _tensors(path: Path, graph: Any) -> Iterator[tuple[str, Any]]:
    """Every tensor of a graph without subgraphs.

    Raises:
        ReadError: where an attribute is a graph, sparse, or a reference.
    """
    for tensor in graph.initializer:
        yield tensor.name, tensor
    for node in graph.node:
        if not re.fullmatch(r"[A-Za-z]\w*", node.op_type, re.ASCII):
            raise refused(path, f"an operator is called {quoted(node.op_type)}")
        for attribute in node.attribute:
            where = f"{quoted(attribute.name)} of {node.op_type}"
            if attribute.HasField("g") or attribute.graphs:
                raise refused(
                    path, f"the attribute {where} is a graph", "control flow that depends on values has no bound"
                )
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors or attribute.ref_attr_name:
                raise refused(path, f"the attribute {where} is sparse or a reference")
            if attribute.HasField("t"):
                yield where, attribute.t
            yield from ((where, tensor) for tensor in attribute.tensors)


def _check_tensor(path: Path, name: str, tensor: Any) -> None:
    if tensor.data_location != 0 or tensor.external_data:
        why = "its bytes lie in another file, at a path that this file chooses; it was not opened"
        step = "Save it whole: onnx.save(model, 'model.onnx', save_as_external_data=False)."
        raise refused(path, f"the tensor {quoted(name)} is external", why, step)
    size = _SIZES.get(tensor.data_type)
    if size is None or tensor.HasField("segment"):
        raise refused(path, f"the tensor {quoted(name)} has the unsupported dtype number {tensor.data_type}")
    entries = prod(tensor.dims)
    stored = len(tensor.raw_data) / size if tensor.raw_data else max(len(getattr(tensor, f)) for f in _FIELDS)
    if any(n < 0 for n in tensor.dims) or len(tensor.dims) > 32 or stored != entries:
        why = f"shape {quoted(list(tensor.dims))} has {entries} entries; {stored:g} are stored"
        raise refused(path, f"the tensor {quoted(name)} does not fit its bytes", why)


def _settle(graph: Any) -> None:
    """Give nodes plain names; make constants initializers, and copies of initializers those themselves."""
    stored, outputs = {tensor.name for tensor in graph.initializer}, {value.name for value in graph.output}
    same: dict[str, str] = {}
    kept = []
    for node in graph.node:
        node.name = re.sub(r"[^0-9A-Za-z_/]", "_", node.name)[:200]
        for i, name in enumerate(node.input):
            node.input[i] = same.get(name, name)
        plain = len(node.output) == 1 and node.output[0] not in outputs and node.output[0] not in stored
        if plain and node.op_type == "Constant" and [a.name for a in node.attribute] == ["value"]:
            tensor = graph.initializer.add()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
            stored.add(tensor.name)
        elif plain and node.op_type == "Identity" and len(node.input) == 1 and node.input[0] in stored:
            same[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    if len(kept) < len(graph.node):
        copies = [type(node).FromString(node.SerializeToString()) for node in kept]
        del graph.node[:]
        graph.node.extend(copies)
