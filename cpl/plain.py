"""Dataclasses from the plain types of a file."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

from cpl.errors import CheckpointError

Record = TypeVar("Record")


def from_dict(cls: type[Record], entries: Any) -> Record:
    """The dataclass with exactly these fields; its constructor validates each of them.

    Raises:
        CheckpointError: if `entries` is no mapping with exactly the names of the fields.
        ArgumentError: if an entry is out of range.
    """
    names = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    if not isinstance(entries, dict) or set(entries) != names:
        raise CheckpointError(
            "the stored configuration is not one of this version",
            where=cls.__name__,
            why=f"expected exactly {sorted(names)}",
            next_step="train again, or use the version of cpl that wrote the file",
        )
    return cls(**entries)
