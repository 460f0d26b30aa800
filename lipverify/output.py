"""Files are written whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lipverify.errors import LipverifyError, quoted


class OutputError(LipverifyError):
    """An output path that cannot be written."""


class PendingFile:
    """A file that is prepared beside its destination; ``commit`` puts it in place in one step."""

    def __init__(self, path: Path, temporary: Path) -> None:
        self.path, self._temporary = path, temporary

    def commit(self, content: str | bytes) -> None:
        """Write ``content`` and put it in place of whatever was at the path.

        Raises:
            OutputError: where that fails; what was at the path stays whole.
        """
        try:
            with self._temporary.open("wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(self._temporary, self.path)
        except OSError as error:
            raise _refused(self.path, error.strerror or str(error)) from error


@contextmanager
def pending(path: str | os.PathLike[str]) -> Iterator[PendingFile]:
    """A file to be written at ``path``; that it can be written is known on entry, before any work is done for it.

    A symbolic link is followed. Without a ``commit`` nothing remains, and what was at the path stays as it was.

    Raises:
        OutputError: where the path is a directory or device, or its directory is missing or not writable.
    """
    target = Path(os.path.realpath(path))
    mode = 0o666 & ~_umask()
    try:
        if target.exists():
            if not target.is_file():
                raise _refused(target, "it is no regular file")
            if not os.access(target, os.W_OK):
                raise _refused(target, "the file there is write-protected")
            mode = stat.S_IMODE(target.stat().st_mode)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:40]}.", suffix=".part")
    except (OSError, ValueError) as error:
        raise _refused(target, getattr(error, "strerror", None) or str(error)) from error
    temporary = Path(name)
    try:
        os.fchmod(handle, mode)
        os.close(handle)
        yield PendingFile(target, temporary)
    finally:
        temporary.unlink(missing_ok=True)


def _refused(path: Path, why: str) -> OutputError:
    step = "Choose a path in an existing directory that you may write to."
    return OutputError("the output cannot be written", where=quoted(path, 300), why=why, step=step)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
