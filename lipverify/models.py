"""A model in whatever form it is handed over -> its program: one door for every kind of file."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lipverify.errors import LipverifyError, ReadError, quoted
from lipverify.graph import trace
from lipverify.read import Kind, Program, focus, kind_of, read, read_state
from lipverify.read.factory import build, load
from lipverify.samples import as_tensor


@dataclass(frozen=True, slots=True)
class Source:
    """How a model is handed over, beside its file.

    Attributes:
        factory: ``package.module:function`` that builds the network of a state dict. Naming it runs it.
        shapes: shape of every input, batch axis first, for a network that has to be traced.
        unsafe_load: unpickle the file as a whole module, which RUNS CODE OF THE FILE.
        input, output, held: the function that is judged, of a model of several inputs or outputs, see
            :func:`lipverify.read.focus.focus`.
    """

    factory: str | None = None
    shapes: Sequence[Sequence[int]] = ()
    unsafe_load: bool = False
    input: str | None = None
    output: str | int | None = None
    held: Mapping[str, Any] = field(default_factory=dict)


def read_model(path: str | PathLike[str], source: Source = Source(), example: Any = None) -> Program:
    """The program of a model file.

    Args:
        path: a ``.pt2`` archive or ``.onnx`` file, which hold a program; a ``.pt``, ``.pth`` or ``.safetensors`` state
            dict, with a factory; or a pickled module, with ``unsafe_load``.
        source: how the model is handed over.
        example: inputs for tracing, in place of ``source.shapes``: a tensor or an array (k, *one input), a tuple of the
            model's arguments, or a mapping of them by name.

    Raises:
        LipverifyError: where the file is refused, options are missing or do not belong to such a file, or the network
            cannot be traced.
    """
    path = Path(path)
    if source.unsafe_load or source.factory is not None:
        model, notes = read_module(path, source)
        return trace_module(model, path, notes, source, example)
    kind = kind_of(path)
    if kind is Kind.CHECKPOINT:
        read_state(path)  # what it holds instead of a state dict is worth saying first
    if source.shapes and not kind.is_state:
        step = "Leave --shape out."
        raise ReadError(f"{quoted(path.name)} is {kind.value} and has its own program", step=step)
    return chosen(_onnx(path) if kind is Kind.ONNX else read(path), source)


def read_module(path: str | PathLike[str], source: Source) -> tuple[nn.Module, tuple[str, ...]]:
    """The live module, in eval mode, of a state dict and its factory or of a pickled module, and what to note of it.

    Raises:
        LipverifyError: where the file is refused or does not fit.
    """
    path = Path(path)
    if source.unsafe_load:
        return _whole(path, source), ("the model was unpickled: code of the file ran before it was judged",)
    state = read_state(path)
    model = build(source.factory or "")
    notes = load(model, state)
    return model, (f"the network was built by {quoted(source.factory)}, the weights are the file's", *notes)


def trace_module(
    model: nn.Module, path: Path, notes: tuple[str, ...], source: Source = Source(), example: Any = None
) -> Program:
    """The program of a module that :func:`read_module` gave.

    Raises:
        LipverifyError: where it cannot be traced.
    """
    program = trace(model, _example(path, model, source, example))
    return chosen(replace(program, notes=(*notes, *program.notes)), source)


def chosen(program: Program, source: Source) -> Program:
    """The one function of a program that ``source`` chooses, or the program as it is where nothing is chosen."""
    if source.input is None and source.output is None and not source.held:
        return program
    return focus(program, source.input, source.output, source.held)


def _example(path: Path, model: nn.Module, source: Source, example: Any) -> Any:
    """Inputs for tracing, in the dtype of the network's weights."""
    dtype = next((p.dtype for p in model.state_dict().values() if p.is_floating_point()), torch.get_default_dtype())
    if example is not None and not source.shapes:
        return example if isinstance(example, tuple | Mapping) else as_tensor(example)[:1].to(dtype)
    if not source.shapes:
        raise ReadError(
            f"the input shape of {quoted(path.name)} is not known",
            where=quoted(path, 300),
            why="a network built from code is traced at an example input",
            step="Give --shape 1,3,32,32 (batch axis first), once for every input, or --at inputs.",
        )
    return tuple(torch.zeros(tuple(shape), dtype=dtype) for shape in source.shapes)


def _whole(path: Path, source: Source) -> nn.Module:
    """The module in a pickle. Code of the file runs here, and nowhere else in this package."""
    if source.factory is not None:
        raise LipverifyError("--unsafe-load and --factory exclude each other", step="Leave one of them out.")
    try:
        with redirect_stdout(sys.stderr):  # stdout is the report's
            model = torch.load(path, map_location="cpu", weights_only=False)
            if isinstance(model, nn.Module):
                model.eval()
    except (Exception, SystemExit) as error:  # code of the file may raise anything, or end the process
        raise ReadError(
            f"{quoted(path.name)} cannot be unpickled",
            where=quoted(path, 300),
            why=f"{type(error).__name__}: {quoted(error, 300)}",
            step="Its classes must be importable: set PYTHONPATH.",
        ) from error
    if not isinstance(model, nn.Module):
        raise ReadError(
            f"{quoted(path.name)} holds {type(model).__name__}, no module",
            where=quoted(path, 300),
            step="A state dict is read without --unsafe-load, with --factory package.module:function.",
        )
    return model


def _onnx(path: Path) -> Program:
    from lipverify.read.onnx import compare, read_onnx

    converted = read_onnx(path)
    program = trace(converted.module, converted.example, run=False)
    return replace(program, notes=(compare(converted, program),))
