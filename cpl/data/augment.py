"""Random crops and flips of a batch, drawn from a generator that the caller owns."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def augment(x: Tensor, *, crop: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Each image shifted by up to `crop` pixels per axis, zeros coming in, and flipped left to right or not.

    Args:
        x: shape (n, channels, height, width).
        crop: >= 0; 0 for none.
        flip: whether half of the images, at random, are flipped.
        generator: on the CPU; the same state gives the same batch. Nothing is drawn for crop=0 and flip=False, and x
            itself is returned.
    """
    n, _, height, width = x.shape
    if crop:
        shifts = torch.randint(0, 2 * crop + 1, (2, n, 1), generator=generator).to(x.device)
        rows = shifts[0] + torch.arange(height, device=x.device)
        columns = shifts[1] + torch.arange(width, device=x.device)
        padded = F.pad(x, (crop, crop, crop, crop))
        images = torch.arange(n, device=x.device)[:, None, None]
        x = padded.permute(0, 2, 3, 1)[images, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    if flip:
        flipped = (torch.rand(n, generator=generator) < 0.5).to(x.device)
        x = torch.where(flipped[:, None, None, None], x.flip(3), x)
    return x
