"""Checkpoints: plain tensors and plain types, written whole, read without running code."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cpl.errors import CheckpointError, reason
from cpl.files import write_atomically

SCHEMA = 2  # 1 had no scaler, and power iterates of another meaning
NAME, FAILED = "checkpoint.pt", "failed.pt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The state of a run at the end of an epoch, enough to go on with bit-identical weights on the same machine.

    Attributes:
        settings: of the run, as plain types (`TrainSettings.to_dict`).
        config: of the model (`CPLNetConfig.to_dict`).
        epoch: epochs done; the schedule is a function of it.
        model: state_dict, power iterates included.
        optimizer: state_dict.
        generator: state of the generator that draws the order of the data and the augmentation.
        scaler: state of the loss scaling of float16; empty otherwise.
    """

    settings: dict[str, Any]
    config: dict[str, Any]
    epoch: int
    model: dict[str, Any]
    optimizer: dict[str, Any]
    generator: torch.Tensor
    scaler: dict[str, Any]


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
        why = f"it is cut short, damaged, or no checkpoint ({reason(error)})"
        raise CheckpointError("the checkpoint cannot be read", where=str(path), why=why, next_step=retry) from error
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


def refuse_unfit(
    stored: Checkpoint, model: nn.Module, optimizer: torch.optim.Optimizer, *, epochs: int, steps: int, where: str
) -> None:
    """Refuses a checkpoint that is not of a run with this model and optimizer after `stored.epoch` whole epochs.

    Args:
        stored: the checkpoint.
        model, optimizer: fresh, of the stored configuration; Adam.
        epochs: of the whole run.
        steps: of one epoch.
        where: named in the error.

    Raises:
        CheckpointError: the epoch is out of range; a tensor of the model or of the optimizer is missing or of another
            shape or dtype; an option of the optimizer differs; it has taken another number of steps.
    """
    epoch = stored.epoch
    if isinstance(epoch, bool) or not isinstance(epoch, int) or not 0 <= epoch <= epochs:
        raise unfit(where, f"its epoch is no int from 0 to {epochs}")
    wanted = model.state_dict()
    if not isinstance(stored.model, dict) or stored.model.keys() != wanted.keys():
        raise unfit(where, "its tensors are not those of its model")
    for name, tensor in wanted.items():
        # the size of a map belongs to the iterate of a convolution, not to the configuration
        free = 2 if name.endswith(".iterate") and tensor.ndim == 4 else tensor.ndim
        if not _like(stored.model[name], tensor, axes=free):
            raise unfit(where, f"{name} is not of shape {tuple(tensor.shape)} and {tensor.dtype}")
    moments = stored.optimizer.get("state") if isinstance(stored.optimizer, dict) else None
    groups = stored.optimizer.get("param_groups") if isinstance(stored.optimizer, dict) else None
    if not isinstance(moments, dict) or _options(groups) != _options(optimizer.state_dict()["param_groups"]):
        raise unfit(where, "the options of its optimizer are not those of this version")
    parameters = list(model.parameters())
    if moments.keys() != (set(range(len(parameters))) if epoch else set()):
        raise unfit(where, "its optimizer's state is not that of its model")
    for index, entry in moments.items():
        if not isinstance(entry, dict) or entry.keys() != {"step", "exp_avg", "exp_avg_sq"}:
            raise unfit(where, "its optimizer's state is not that of Adam")
        if not all(_like(entry[name], parameters[index]) for name in ("exp_avg", "exp_avg_sq")):
            raise unfit(where, "its optimizer's state has other shapes than its weights")
        done = float(entry["step"]) if _like(entry["step"], torch.tensor(0.0)) else math.nan
        if not (done <= epoch * steps if stored.scaler else done == epoch * steps):  # the scaling may skip steps
            raise unfit(where, f"its optimizer did not take the {epoch * steps} steps of {epoch} epochs")


def unfit(where: str, why: str) -> CheckpointError:
    """The error for a checkpoint whose parts contradict each other."""
    return CheckpointError(
        "the checkpoint does not fit its own configuration",
        where=where,
        why=why,
        next_step="train again: cpl train --data digits --out DIR",
    )


def _like(found: Any, wanted: Tensor, *, axes: int | None = None) -> bool:
    return (
        isinstance(found, Tensor)
        and found.layout == torch.strided
        and found.ndim == wanted.ndim
        and found.shape[:axes] == wanted.shape[:axes]
        and found.dtype == wanted.dtype
    )


def _options(groups: Any) -> Any:
    """Without the rate, which the schedule sets before every step."""
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        return None
    return [{name: entry for name, entry in group.items() if name != "lr"} for group in groups]
