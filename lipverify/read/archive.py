"""The entries of a zip archive from a stranger: bounded, unique, stored, without paths that lead out."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

from lipverify.errors import ReadError, quoted
from lipverify.read.tiling import Untidy, check_tiling

MAX_ENTRIES = 200_000
RESAVE = "Save the model again with torch.export.save(program, 'model.pt2')."


class Archive:
    """A zip archive below one root directory, open for reading.

    Every entry is checked before any is read: names are relative, without ``..``, unique, and share one root; entries
    are stored (torch compresses nothing, hence nothing can inflate) and together no longer than the
    file; none is encrypted. Names differ by more than case, because torch looks entries up without regard to it. The
    parts tile the file (:mod:`lipverify.read.tiling`). What is read is checked against its CRC-32.

    Args:
        path: of the file.
        resave: how to write such a file again, for messages.

    Raises:
        ReadError: where a check fails, or the file is no zip archive.
    """

    def __init__(self, path: Path, resave: str = RESAVE) -> None:
        self.path, self.resave = path, resave
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise self.refuse("it cannot be opened", why=error.strerror or "", step="Check the path.") from None
        try:
            self._zip = zipfile.ZipFile(self._file)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError, OverflowError) as error:
            self._file.close()
            raise self.refuse(
                "it cannot be read as a zip archive", why=str(error), step=f"Is it whole? {self.resave}"
            ) from None
        try:
            self._root, self._entries = self._check()
        except ReadError:
            self.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[str]:
        """Names of the entries, without the root."""
        return iter(self._entries)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def close(self) -> None:
        self._zip.close()
        self._file.close()

    def size(self, name: str) -> int:
        """The length of an entry in bytes."""
        return self._entries[name].file_size

    def read(self, name: str, limit: int | None = None) -> bytes:
        """The bytes of an entry.

        Raises:
            ReadError: where it is missing, longer than ``limit``, or damaged.
        """
        if name not in self._entries:
            raise self.refuse(f"the entry {quoted(name)} is missing", step=self.resave)
        if limit is not None and self.size(name) > limit:
            raise self.refuse(f"the entry {quoted(name)} is {self.size(name)} bytes long", why=f"the limit is {limit}")
        try:
            data = self._zip.read(self._entries[name])
        except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
            raise self.refuse(f"the entry {quoted(name)} is damaged", why=str(error), step=self.resave) from None
        if len(data) != self.size(name):
            raise self.refuse(f"the entry {quoted(name)} is cut short", step=self.resave)
        return data

    def refuse(self, what: str, *, why: str = "", step: str = "") -> ReadError:
        """An error about this file."""
        return ReadError(
            f"{quoted(self.path.name)} is refused: {what}", where=quoted(self.path, 300), why=why, step=step
        )

    def _check(self) -> tuple[str, dict[str, zipfile.ZipInfo]]:
        infos = self._zip.infolist()
        if not infos:
            raise self.refuse("the archive is empty", step=self.resave)
        if len(infos) > MAX_ENTRIES:
            raise self.refuse(f"the archive has {len(infos)} entries", why=f"the limit is {MAX_ENTRIES}")
        roots = set()
        entries: dict[str, zipfile.ZipInfo] = {}
        folded: set[str] = set()
        for info in infos:
            name = info.orig_filename
            parts = name.split("/")
            if "\\" in name or "\0" in name or any(p in ("", ".", "..") for p in parts) or ":" in parts[0]:
                raise self.refuse(
                    f"the entry {quoted(name)} has a path that leads out of the archive", step=self.resave
                )
            if len(parts) < 2:
                raise self.refuse(
                    f"the entry {quoted(name)} lies outside the archive's root directory", step=self.resave
                )
            if info.flag_bits & 0x41:
                raise self.refuse(f"the entry {quoted(name)} is encrypted", step=self.resave)
            if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
                why = "torch compresses nothing; a compressed entry may inflate without bound"
                raise self.refuse(f"the entry {quoted(name)} is compressed", why=why, step=self.resave)
            root, _, rest = name.partition("/")
            roots.add(root)
            if rest.lower() in folded:
                why = "" if rest in entries else "torch looks entries up without regard to case"
                raise self.refuse(f"the entry {quoted(name)} appears twice", why=why, step=self.resave)
            folded.add(rest.lower())
            entries[rest] = info
        if len(roots) != 1:
            raise self.refuse("the archive has several root directories", why=", ".join(map(quoted, sorted(roots)[:5])))
        if sum(info.file_size for info in infos) > self.path.stat().st_size:
            raise self.refuse("its entries are together longer than the file", why="entries overlap", step=self.resave)
        try:
            check_tiling(self._file, infos)
        except Untidy as error:
            why = f"{error}; another reader may find another program in it"
            raise self.refuse("its parts do not tile the file", why=why, step=self.resave) from None
        return roots.pop(), entries
