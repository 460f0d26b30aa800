"""An ONNX graph -> a module, through onnx2torch, and the proof by trial that both compute the same.

The converter is a third party's code on a stranger's data: what reaches it was checked and renamed
(:mod:`lipverify.read.onnx_file`), and what comes out is compared with an evaluator of ONNX on random inputs.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from lipverify.errors import ReadError, quoted
from lipverify.read import shapes
from lipverify.read.onnx_file import STEP, parse_onnx, refused
from lipverify.read.program import Program

TRIALS = (0.0, 1.0, 10.0)
"""Sizes of the random inputs on which the graph and its conversion are compared."""
TOLERANCE = 1 << 12
"""How many units of the dtype's precision, relative to the largest output, the two may differ by."""
_DTYPES = {1: torch.float32, 10: torch.float16, 11: torch.float64, 16: torch.bfloat16, 6: torch.int32, 7: torch.int64}


@dataclass(frozen=True, slots=True, eq=False)
class Converted:
    """A module made from an ONNX graph.

    Attributes:
        module: in eval mode.
        example: a tensor for each of its inputs, in order.
        proto: the checked message that it was made from.
        path: of the file.
    """

    module: nn.Module
    example: tuple[torch.Tensor, ...]
    proto: Any
    path: Path


def read_onnx(path: Path) -> Converted:
    """The converted network of an ``.onnx`` file; its first axis is 1 where the file leaves it open.

    Raises:
        ReadError: where the file is refused, or the converter knows an operator or a form of it not.
    """
    proto = parse_onnx(path)
    example = tuple(_example(path, value) for value in _inputs(proto))
    try:
        with _stand_in():
            converter = importlib.import_module("onnx2torch")
    except ImportError as error:
        step = "pip install --no-deps onnx2torch."
        raise refused(path, "its converter is not installed", str(error), step) from None
    try:
        module = converter.convert(proto)
        _settle_shapes(module)
    except Exception as error:  # the converter raises what it likes
        why = f"{type(error).__name__}: {quoted(error, 300)}"
        raise refused(path, "it cannot be converted by onnx2torch", why) from None
    return Converted(module.eval(), example, proto, path)


def compare(converted: Converted, program: Program) -> str:
    """Check that the program computes what the ONNX graph says, on random inputs; what to note of it.

    Raises:
        ReadError: where they differ, the evaluator fails, or the program would take too much memory.
    """
    path, names = converted.path, [value.name for value in _inputs(converted.proto)]
    shapes.check(program, {})
    who, evaluate = _evaluator(path, converted.proto)
    generator = torch.Generator().manual_seed(0)
    for size in TRIALS:
        inputs = [
            size * torch.randn(x.shape, generator=generator, dtype=torch.float64) if x.is_floating_point() else x
            for x in converted.example
        ]
        inputs = [x.to(e.dtype) for x, e in zip(inputs, converted.example, strict=True)]
        try:
            expected = evaluate({name: x.numpy() for name, x in zip(names, inputs, strict=True)})
        except Exception as error:  # whatever an evaluator raises for a graph that it does not take
            raise refused(
                path, f"it cannot be evaluated by {who}", f"{type(error).__name__}: {quoted(error, 300)}"
            ) from None
        values = program.values(*inputs)
        found = [values[name].detach() for name in program.outputs]
        if len(found) != len(expected) or any(not _same(f, e) for f, e in zip(found, expected, strict=False)):
            why = f"on a random input of size {size:g} the outputs of {who} and of the conversion differ"
            raise ReadError(
                f"{quoted(path.name)} is refused: its conversion computes something else", why=why, step=STEP
            )
    return f"converted from ONNX by onnx2torch; it agrees with {who} on {len(TRIALS)} inputs; verdicts speak of the conversion"


def _same(found: torch.Tensor, expected: np.ndarray) -> bool:
    if tuple(found.shape) != tuple(expected.shape):
        return False
    precision = torch.finfo(found.dtype).eps if found.is_floating_point() else 0.0
    expected = np.asarray(expected, np.float64)
    scale = float(np.abs(expected).max(initial=0.0))
    return bool((np.abs(found.double().numpy() - expected) <= TOLERANCE * precision * scale).all())


def _evaluator(path: Path, proto: Any) -> tuple[str, Any]:
    """ONNX Runtime where it is installed, else the reference evaluator of ONNX."""
    try:
        try:
            runtime = importlib.import_module("onnxruntime")
        except ImportError:
            evaluator = importlib.import_module("onnx.reference").ReferenceEvaluator(proto)
            return "onnx.reference", lambda inputs: evaluator.run(None, inputs)
        options = runtime.SessionOptions()
        options.log_severity_level = 4
        session = runtime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return "onnxruntime", lambda inputs: session.run(None, inputs)
    except Exception as error:  # a graph that the evaluator does not load
        why = f"{type(error).__name__}: {quoted(error, 300)}"
        raise refused(path, "no evaluator of ONNX loads it", why) from None


def _inputs(proto: Any) -> list[Any]:
    """The graph's inputs that are no initializers."""
    stored = {tensor.name for tensor in proto.graph.initializer}
    return [value for value in proto.graph.input if value.name not in stored]


def _example(path: Path, value: Any) -> torch.Tensor:
    tensor = value.type.tensor_type
    sizes = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
    sizes = [1 if i == 0 and n is None else n for i, n in enumerate(sizes)]
    if tensor.elem_type not in _DTYPES or not sizes or any(n is None or not 0 < n < 1 << 32 for n in sizes):
        why = f"dtype number {tensor.elem_type}, shape {quoted(sizes)}"
        step = "Export with static shapes, without dynamic_axes; the first axis alone may be open."
        raise refused(path, f"its input {quoted(value.name)} has no plain dtype and static shape", why, step)
    if np.prod([float(n) for n in sizes if n]) > shapes.MAX_ENTRIES:
        raise refused(path, f"its input {quoted(value.name)} has the shape {quoted(sizes)}", "over the limit")
    return torch.zeros([int(n) for n in sizes if n], dtype=_DTYPES[tensor.elem_type])


class Reshaped(nn.Module):
    """A reshape whose sizes are known: the converter reads them from a tensor, which no trace can."""

    def __init__(self, sizes: list[int]) -> None:
        super().__init__()
        self.sizes = sizes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(self.sizes)])


def _settle_shapes(module: Any) -> None:
    for node in module.graph.nodes:
        if node.op != "call_module" or type(module.get_submodule(node.target)).__name__ != "OnnxReshape":
            continue
        x, sizes = node.args
        if sizes.op == "get_attr":
            path, _, name = sizes.target.rpartition(".")
            known = getattr(module.get_submodule(path), name).tolist()
            module.set_submodule(node.target, Reshaped(known))
            node.args = (x,)
    module.recompile()


@contextmanager
def _stand_in() -> Iterator[None]:
    """While onnx2torch is imported, a torchvision without anything in it where there is none.

    onnx2torch takes from it what it needs for two detection operators, which have no bound here.
    """
    if importlib.util.find_spec("torchvision") is not None or "onnx2torch" in sys.modules:
        yield
        return
    ops = ModuleType("torchvision.ops")
    ops.roi_align = None  # type: ignore[attr-defined]
    whole = ModuleType("torchvision")
    whole.ops = ops  # type: ignore[attr-defined]
    sys.modules |= {"torchvision": whole, "torchvision.ops": ops}
    try:
        yield
    finally:
        del sys.modules["torchvision"], sys.modules["torchvision.ops"]
