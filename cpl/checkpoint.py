"""Checkpoints: plain tensors and plain types, written whole, read without running code."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cpl.errors import CheckpointError
from cpl.files import write_atomically

SCHEMA = 1
NAME = "checkpoint.pt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The state of a run at the end of an epoch, enough to go on with bit-identical weights on the same machine.

    Attributes:
        settings: of the run, as plain types (`TrainSettings.to_dict`).
        config: of the model (`CPLNetConfig.to_dict`).
        epoch: epochs done; the schedule is a function of it.
        model: state_dict, power iterates included.
        optimizer: state_dict.
        generator: state of the generator that draws the order of the data.
    """

    settings: dict[str, Any]
    config: dict[str, Any]
    epoch: int
    model: dict[str, Any]
    optimizer: dict[str, Any]
    generator: torch.Tensor


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Writes the checkpoint atomically.

    Raises:
        CheckpointError: if the place cannot be written.
    """
    buffer = io.BytesIO()
    fields = {name: getattr(checkpoint, name) for name in Checkpoint.__dataclass_fields__}
    torch.save({"schema": SCHEMA, **fields}, buffer)
    write_atomically(path, buffer.getvalue())


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint with torch's restricted reader (weights_only=True): no code of the file runs.

    Args:
        path: the file, or the directory that holds it.

    Raises:
        CheckpointError: missing, corrupt, truncated, or of another schema.
    """
    path = path / NAME if path.is_dir() else path
    retry = "check the path, or train again: cpl train --data digits --out DIR"
    if not path.is_file():
        raise CheckpointError("there is no checkpoint", where=str(path), why="no such file", next_step=retry)
    try:
        entries = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for damaged files
        reason = str(error).strip().splitlines()
        raise CheckpointError(
            "the checkpoint cannot be read",
            where=str(path),
            why=reason[0] if reason else type(error).__name__,
            next_step=retry,
        ) from error
    if (
        not isinstance(entries, dict)
        or entries.pop("schema", None) != SCHEMA
        or set(entries) != set(Checkpoint.__dataclass_fields__)
    ):
        raise CheckpointError(
            "the file is no cpl checkpoint",
            where=str(path),
            why=f"it lacks the entries of schema {SCHEMA}",
            next_step=retry,
        )
    return Checkpoint(**entries)
