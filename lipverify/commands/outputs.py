"""What commands write: in a known format, and never over what they read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

from lipverify.errors import LipverifyError, quoted

FORMATS = ("text", "json", "markdown")
SUFFIXES = {".json": "json", ".md": "markdown"}


def check_format(format: str) -> None:
    """
    Raises:
        LipverifyError: for a format that is none of :data:`FORMATS`.
    """
    if format not in FORMATS:
        raise LipverifyError(
            f"{quoted(format)} is no report format", where="--format", step=f"Use {', '.join(FORMATS)}."
        )


def files_of(hold: Sequence[str] | None) -> dict[str, Path]:
    """What ``--hold NAME=FILE`` reads, by name (and what is no file, which is found out later)."""
    return {f"--hold {text.partition('=')[0]}": Path(text.partition("=")[2]) for text in hold or ()}


def check_outputs(outputs: Mapping[str, Path | None], inputs: Mapping[str, Path | None]) -> None:
    """An output is put in place of what is at its path: that must be nothing that is read, and no other output.

    Raises:
        LipverifyError: naming the two.
    """
    written = [(name, path) for name, path in outputs.items() if path is not None]
    read = [(name, path) for name, path in inputs.items() if path is not None]
    pairs = [(output, other) for output in written for other in read] + [*combinations(written, 2)]
    for (name, path), (other, other_path) in pairs:
        if _same(path, other_path):
            what = f"{name} and {other} are one file"
            raise LipverifyError(what, where=quoted(path, 300), step="Choose another path to write to.")


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.realpath(one) == os.path.realpath(other) or os.path.samefile(one, other)
    except (OSError, ValueError):  # one of them is missing or no path at all, which is found out later
        return False
