"""Sets of images that hand out float batches without being held in float."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Images(Protocol):
    """n images: a float32 tensor with entries in [0, 1] is one, and so is anything that behaves like it here."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, channels, height, width)."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice | Tensor, /) -> Tensor:
        """A float32 batch in [0, 1], by slice or by a vector of int64 indices."""
        ...


class ByteImages:
    """Images of bytes, divided by 255 as they are taken: a quarter of the memory.

    Args:
        pixels: uint8, shape (n, channels, height, width).
    """

    def __init__(self, pixels: Tensor) -> None:
        self.pixels = pixels

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.pixels.shape)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: slice | Tensor) -> Tensor:
        return self.pixels[index].to(torch.float32) / 255
