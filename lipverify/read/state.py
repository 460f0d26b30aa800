"""A state dict: tensors by name, without the program that uses them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch


@dataclass(frozen=True, slots=True)
class State:
    """The tensors of a state dict as a file holds them.

    Attributes:
        tensors: by name.
        notes: what a reader of a report must know of how they were found, e.g. that a wrapper was taken off.
    """

    tensors: Mapping[str, torch.Tensor]
    notes: tuple[str, ...] = field(default=())
