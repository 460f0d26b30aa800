"""Model files -> a live program, without running code from the file."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from lipverify.errors import ReadError, quoted
from lipverify.read.program import Program

__all__ = ["Program", "ReadError", "read"]

EXPORT = "Export the model: torch.export.save(torch.export.export(model.eval(), (example,)), 'model.pt2')."


def read(path: str | PathLike[str]) -> Program:
    """The program in a model file, told by its content and then by its suffix.

    A ``.pt2`` archive of torch.export is read from its JSON and raw weights alone.

    Raises:
        ReadError: for everything else, with what the file seems to be and what to do.
    """
    path = Path(path)
    where = quoted(path, 300)
    try:
        if path.is_dir():
            raise ReadError(f"{quoted(path.name)} is a directory", where=where, step="Name a .pt2 file.")
        if not path.exists():
            raise ReadError(f"there is no file {quoted(path.name)}", where=where, step="Check the path.")
        if not path.is_file():
            raise ReadError(f"{quoted(path.name)} is no regular file", where=where, step="Name a .pt2 file.")
        with path.open("rb") as file:
            head = file.read(30)
            first = file.read(int.from_bytes(head[26:28], "little")) if head[:4] == b"PK\x03\x04" else b""
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ReadError(
            f"{quoted(path.name)} cannot be opened", where=where, why=reason, step="Check the path."
        ) from None
    what, why, step = _seems(path, head, first)
    if what:
        raise ReadError(f"{quoted(path.name)} is {what}", where=where, why=why, step=step)
    from lipverify.read.pt2 import read_pt2

    return read_pt2(path)


def _seems(path: Path, head: bytes, first: bytes) -> tuple[str, str, str]:
    """What a file is, why that is not read and what to do; empty where it may be a ``.pt2`` archive.

    Args:
        path: of the file.
        head: its first bytes.
        first: the name of the first entry of a zip archive.
    """
    suffix = path.suffix.lower()
    if not head:
        return "empty", "", EXPORT
    if head[:4] == b"PK\x03\x04" and not first.endswith(b"data.pkl") and suffix not in (".pt", ".pth", ".npz"):
        return "", "", ""
    if head[:1] == b"\x80" or head[:4] == b"PK\x03\x04" or suffix in (".pt", ".pth", ".pkl", ".pickle", ".ckpt"):
        return (
            "a pickle or a torch checkpoint",
            "a pickle runs code when it is loaded, so it was not opened; a state dict holds tensors but no program",
            EXPORT,
        )
    if suffix == ".safetensors" or head[8:9] == b"{":
        return "a safetensors file", "it holds tensors but no program", EXPORT
    if suffix == ".onnx":
        return "an ONNX model", "ONNX is not read yet", EXPORT
    return "no model file that is known here", f"it starts with {head[:8]!r}", EXPORT
