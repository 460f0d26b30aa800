"""Files that are whole or absent: written beside their place, flushed, then renamed."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from cpl.errors import CheckpointError


def write_atomically(path: Path, content: bytes) -> None:
    """Writes `content` to `path`; whatever happens, `path` holds the old or the new content, never part of it.

    What was written beside it is removed on any exception, an interrupt included.

    Raises:
        CheckpointError: if the place cannot be written.
    """
    beside = path.parent / f".{path.name[:64]}.{secrets.token_hex(8)}"  # named before it exists, so always removed
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(beside, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        raise CheckpointError(
            "a file cannot be written",
            where=str(path),
            why=error.strerror or str(error),
            next_step="choose a directory that you can write to",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
