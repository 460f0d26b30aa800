"""Model files -> a live program, or the tensors of one, without running code from the file."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from lipverify.errors import ReadError, quoted
from lipverify.read.focus import focus
from lipverify.read.kind import Kind, kind_of
from lipverify.read.program import Program
from lipverify.read.state import State

__all__ = ["Kind", "Program", "ReadError", "State", "focus", "kind_of", "read", "read_state"]


def read(path: str | PathLike[str]) -> Program:
    """The program in a file that holds one: a ``.pt2`` archive of torch.export, read from its JSON and raw weights alone.

    Raises:
        ReadError: for everything else, with what the file is and what to do.
    """
    path = Path(path)
    kind = kind_of(path)
    if kind is not Kind.EXPORTED:
        step = "Name the code that builds the network: --factory package.module:function, and --shape 1,3,32,32."
        if kind is Kind.ONNX:
            step = "Read it with lipverify.read_model, or lipverify audit."
        raise ReadError(
            f"{quoted(path.name)} is {kind.value}",
            where=quoted(path, 300),
            why="it holds tensors but no program" if kind.is_state else "it needs a converter",
            step=f"{step} Or export the model: torch.export.save(torch.export.export(model, (x,)), 'model.pt2').",
        )
    from lipverify.read.pt2 import read_pt2

    return read_pt2(path)


def read_state(path: str | PathLike[str]) -> State:
    """The tensors in a ``.pt``, ``.pth`` or ``.safetensors`` file; nothing is unpickled.

    Raises:
        ReadError: for everything else, with what the file is and what to do.
    """
    path = Path(path)
    kind = kind_of(path)
    if kind is Kind.CHECKPOINT:
        from lipverify.read.checkpoint import read_checkpoint

        return read_checkpoint(path)
    if kind is Kind.SAFETENSORS:
        from lipverify.read.safetensors import read_safetensors

        return read_safetensors(path)
    raise ReadError(
        f"{quoted(path.name)} is {kind.value}, not a state dict",
        where=quoted(path, 300),
        why="a factory builds the network of a state dict; this file has its own program",
        step="Leave --factory out.",
    )
