"""The inputs that came with a model: checked, one by one, and what they become inside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from lipverify.errors import LipverifyError, quoted
from lipverify.graph import Region
from lipverify.read import Program


def as_tensor(inputs: Any) -> torch.Tensor:
    try:
        given = torch.as_tensor(inputs).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise LipverifyError("the inputs are no array", why=quoted(error, 200), step="Pass a tensor.") from None
    if given.ndim == 0 or given.numel() == 0 or given.is_complex() or not bool(torch.isfinite(given).all()):
        raise LipverifyError(
            f"the inputs are unusable, of shape {tuple(given.shape)} and {given.dtype}",
            why="they are complex, empty, without a batch axis, or contain NaN or infinity",
            step="Pass an array of real numbers, batch axis first.",
        )
    return given


def as_samples(program: Program, inputs: Any) -> list[torch.Tensor]:
    """Every given input in float64, in the shape that the program reads."""
    if inputs is None or len(program.inputs) != 1:
        return []
    ((_, shape),) = program.inputs.items()
    given = as_tensor(inputs)
    each = shape[1:] if shape[:1] == (1,) else shape
    if tuple(given.shape) == shape:
        given = given.unsqueeze(0)
    elif tuple(given.shape[1:]) != each:
        raise LipverifyError(
            f"the inputs have shape {tuple(given.shape)}",
            why=f"one input of the model has shape {each}",
            step=f"Pass an array of shape (k, {', '.join(map(str, each))}) with k >= 1.",
        )
    return [x.to(torch.float64).reshape(shape).clone() for x in given]


def centers_of(program: Program, found: Mapping[str, Region], samples: list[torch.Tensor]) -> dict[str, np.ndarray]:
    """What the given inputs become at the input of every region, on the original program."""
    starts = {path: next(iter(r.program.inputs)) for path, r in found.items() if r.program is not None}
    if not samples or not starts:
        return {}
    try:
        with torch.no_grad():
            runs = [{n: v for n, v in program.values(x).items() if n in set(starts.values())} for x in samples]
    except (RuntimeError, NotImplementedError, ValueError):  # an operation that cannot run here: no local bounds
        return {}
    return {path: np.stack([run[start].numpy() for run in runs]) for path, start in starts.items()}
