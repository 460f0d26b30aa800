"""What kind of model file a path names: told by its first bytes, then by its suffix; nothing is opened that cannot be."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path

from lipverify.errors import ReadError, quoted

EXPORT = "Export the model: torch.export.save(torch.export.export(model.eval(), (example,)), 'model.pt2')."
_CHECKPOINT = re.compile(rb"[^/]+/(data\.pkl$|constants\.pkl$|code/|data/\d)")
"""The first entry of an archive of torch.save or torch.jit.save."""
RESAVE = "Save its state dict with this torch: torch.save(model.state_dict(), 'model.pt')."


class Kind(Enum):
    """The kinds of files that hold a network or its weights."""

    EXPORTED = "an archive of torch.export"
    CHECKPOINT = "a checkpoint of torch.save"
    SAFETENSORS = "a safetensors file"
    ONNX = "an ONNX model"

    @property
    def is_state(self) -> bool:
        """Whether it holds tensors but no program."""
        return self in (Kind.CHECKPOINT, Kind.SAFETENSORS)


def kind_of(path: Path) -> Kind:
    """The kind of a file.

    Raises:
        ReadError: where there is no regular file, or it is of no kind that is read, with what it seems to be.
    """
    head, first = _head(path)
    suffix = path.suffix.lower()
    what, why, step = "", "", EXPORT
    if not head:
        what = "empty"
    elif head[:4] == b"PK\x03\x04" and suffix != ".npz":
        return Kind.CHECKPOINT if _CHECKPOINT.match(first) else Kind.EXPORTED
    elif head[:4] == b"PK\x03\x04":
        what, why = "an archive of numpy arrays", "it holds arrays but neither a program nor a state dict"
    elif head[8:9] == b"{" and (suffix == ".safetensors" or head[5:8] == b"\0\0\0"):
        return Kind.SAFETENSORS
    elif head[:1] == b"\x80" or suffix in (".pt", ".pth", ".pkl", ".pickle", ".ckpt"):
        what, step = "a bare pickle, or a checkpoint as torch wrote it before 1.6", RESAVE
        why = "a pickle runs code when it is loaded, so it was not opened; the layout in a zip archive is read"
    elif suffix == ".safetensors":
        what, why = "no safetensors file", "it does not begin with the length of a header and the header"
    elif suffix == ".onnx":
        return Kind.ONNX
    else:
        what, why = "no model file that is known here", f"it starts with {head[:8]!r}"
    raise ReadError(f"{quoted(path.name)} is {what}", where=quoted(path, 300), why=why, step=step)


def _head(path: Path) -> tuple[bytes, bytes]:
    """The first bytes of a regular file, and the name of its first entry if it is a zip archive."""
    where = quoted(path, 300)
    try:
        if path.is_dir():
            raise ReadError(f"{quoted(path.name)} is a directory", where=where, step="Name a model file.")
        if not path.exists():
            raise ReadError(f"there is no file {quoted(path.name)}", where=where, step="Check the path.")
        if not path.is_file():
            raise ReadError(f"{quoted(path.name)} is no regular file", where=where, step="Name a model file.")
        with path.open("rb") as file:
            head = file.read(30)
            zipped = head[:4] == b"PK\x03\x04"
            return head, file.read(int.from_bytes(head[26:28], "little")) if zipped else b""
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ReadError(
            f"{quoted(path.name)} cannot be opened", where=where, why=reason, step="Check the path."
        ) from None
