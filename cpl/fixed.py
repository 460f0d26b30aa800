"""Modules without weights, 1-Lipschitz in l2 (the standardisation: with a constant of its own) whatever their input."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cpl import checks
from cpl.errors import ArgumentError, SealError


class ZeroChannelPad(nn.Module):
    """Appends zero channels (axis 1): an isometry, ||f(x) - f(y)|| = ||x - y||. On (batch, features) the channels are
    features.

    Args:
        channels: channels of x.
        padded: channels of the output, >= channels.

    Raises:
        ArgumentError: if a size is not a positive int or padded < channels.
    """

    def __init__(self, channels: int, padded: int) -> None:
        super().__init__()
        self.channels = checks.positive_int(channels, name="channels", where="ZeroChannelPad")
        self.padded = checks.positive_int(padded, name="padded", where="ZeroChannelPad")
        if padded < channels:
            raise ArgumentError(
                f"padded={padded} < channels={channels}",
                where="ZeroChannelPad",
                why="padding cannot remove channels",
                next_step="pass padded >= channels",
            )

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, 0) * (x.ndim - 2) + (0, self.padded - self.channels))

    def extra_repr(self) -> str:
        return f"{self.channels}, {self.padded}"


class UnitNormAvgPool2d(nn.Module):
    """k times the average over disjoint k x k windows: norm exactly 1, and no isometry for k > 1.

    A window of k^2 numbers x has |k mean(x)| = |sum(x)| / k <= ||x||, with equality for constant x only; windows are
    disjoint, and what a size not divisible by k leaves over is dropped.

    Args:
        kernel_size: k.

    Raises:
        ArgumentError: if k is not a positive int.
    """

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        self.kernel_size = checks.positive_int(kernel_size, name="kernel_size", where="UnitNormAvgPool2d")

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.kernel_size, self.kernel_size) * self.kernel_size

    def extra_repr(self) -> str:
        return f"{self.kernel_size}"


class Standardize(nn.Module):
    """(x - mean) / std per channel (axis 1): constant 1 / min std, which every margin behind it is divided by.

    Args:
        mean, std: one number per channel; std > 0.

    Raises:
        ArgumentError: of different lengths, or not finite, or std <= 0.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        where = "Standardize"
        if len(mean) != len(std):
            raise ArgumentError(
                f"{len(mean)} means and {len(std)} standard deviations",
                where=where,
                why="there is one of each per channel",
                next_step="pass as many as the image has channels",
            )
        for entry in mean:
            checks.natural_float(abs(entry), name="|mean|", where=where)
        for entry in std:
            checks.positive_float(entry, name="std", where=where)
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    @property
    def constant(self) -> float:
        """1 / min std of the stored numbers, rounded up: the Lipschitz constant in l2.

        Raises:
            SealError: a stored number is not finite, or a deviation not > 0.
        """
        if not (bool(self.mean.isfinite().all()) and bool((self.std.isfinite() & (self.std > 0)).all())):
            raise SealError(
                "a standardisation is not finite and positive",
                where="Standardize",
                why="no constant in l2 can be stated for it",
                next_step="do not use this file; train or export the model again",
            )
        return float(1 / self.std.double().min()) * (1 + 2.0**-50)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (batch, channels, height, width) to the same shape."""
        return (x - self.mean) / self.std
