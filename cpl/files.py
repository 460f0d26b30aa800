"""Files that are whole or absent: written beside their place, flushed, then renamed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from cpl.errors import CheckpointError


def write_atomically(path: Path, content: bytes) -> None:
    """Writes `content` to `path`; whatever happens, `path` holds the old or the new content, never part of it.

    Raises:
        CheckpointError: if the place cannot be written.
    """
    beside = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(beside, 0o666 & ~_umask())
        os.replace(beside, path)
    except OSError as error:
        raise CheckpointError(
            "a file cannot be written",
            where=str(path),
            why=error.strerror or str(error),
            next_step="choose a directory that you can write to",
        ) from error
    finally:
        if beside is not None and os.path.exists(beside):
            os.unlink(beside)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
