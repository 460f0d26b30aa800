"""CPLNet: a 1-Lipschitz trunk and a linear head."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cpl.activations import MaxMin
from cpl.comparison import SLLConv2d, SLLLinear
from cpl.config import DEEPER, CPLNetConfig
from cpl.fixed import Standardize, UnitNormAvgPool2d, ZeroChannelPad
from cpl.layers import ConvexPotential, ConvexPotentialConv2d, ConvexPotentialLinear
from cpl.normalized import NormalizedLinear, SpectralLinear

HEADS = {"rows": NormalizedLinear, "spectral": SpectralLinear}


class CPLNet(nn.Module):
    """logits = head(trunk(x)): trunk 1-Lipschitz (l2), or 1 / min std with a standardisation; once sealed.

    Args:
        config: the architecture.
        generator: source of the random initial weights; torch's global one if None.
    """

    def __init__(self, config: CPLNetConfig | None = None, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        config = CPLNetConfig() if config is None else config
        self.config = config
        self.recomputes = False
        self.trunk = nn.Sequential(OrderedDict(_trunk(config, generator)))
        self.head = HEADS[config.head](config.width, config.classes, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (batch, channels, height, width) to (batch, classes)."""
        return self.head(self._in_segments(x) if self.recomputes and self.training else self.trunk(x))

    def recompute(self, on: bool = True) -> None:
        """Whether training keeps the values between segments of about sqrt(blocks) modules only, and computes those inside
        again for the backward pass: memory of 2 sqrt(blocks) maps instead of blocks, one more forward in time. The numbers
        stay the same."""
        self.recomputes = on

    def _in_segments(self, x: Tensor) -> Tensor:
        modules = list(self.trunk)
        blocks = [module for module in modules if isinstance(module, ConvexPotential)]
        if any(block.iterate.numel() == 0 for block in blocks):
            return self.trunk(x)  # the first forward, which tells the power iterates their sizes
        squares = {block: block.measure() for block in blocks}  # once, not again when a segment is computed again

        def segment(x: Tensor, start: int, stop: int) -> Tensor:
            for module in modules[start:stop]:
                x = module.advance(x, squares[module]) if isinstance(module, ConvexPotential) else module(x)
            return x

        size = math.isqrt(len(modules))
        for start in range(0, len(modules), size):
            x = checkpoint(segment, x, start, start + size, use_reentrant=False)  # type: ignore[assignment]
        return x


def _trunk(config: CPLNetConfig, generator: torch.Generator | None) -> Iterator[tuple[str, nn.Module]]:
    channels = config.image_shape[0] * config.downsample**2
    if config.std:
        yield "standardize", Standardize(config.mean or (0.0,) * len(config.std), config.std)
    if config.downsample > 1:
        yield "down", nn.PixelUnshuffle(config.downsample)
    if config.channels > channels:
        yield "pad", ZeroChannelPad(channels, config.channels)
    number = 0
    for stage, (channels, blocks, inner) in enumerate(config.stages()):
        if stage:
            yield f"down{stage}", nn.PixelUnshuffle(DEEPER)
        for _ in range(blocks):
            number += 1
            yield f"conv{number}", _conv(config, channels, inner, generator)
            if config.maxmin:
                yield f"maxmin{number}", MaxMin()
    if config.pool > 1:
        yield "pool", UnitNormAvgPool2d(config.pool)
    yield "flatten", nn.Flatten()
    if config.width > config.pooled:
        yield "widen", ZeroChannelPad(config.pooled, config.width)
    for index in range(1, config.dense_blocks + 1):
        yield f"dense{index}", _dense(config, generator)
        if config.maxmin:
            yield f"maxmin{number + index}", MaxMin()


def _conv(config: CPLNetConfig, channels: int, inner: int, generator: torch.Generator | None) -> nn.Module:
    if config.block == "sll":
        return SLLConv2d(channels, inner, kernel_size=config.kernel_size, generator=generator)
    return ConvexPotentialConv2d(
        channels,
        inner,
        kernel_size=config.kernel_size,
        padding_mode=config.padding_mode,
        groups=config.groups,
        activation=config.activation,
        learn_step=config.learn_step,
        reach=config.reach,
        generator=generator,
    )


def _dense(config: CPLNetConfig, generator: torch.Generator | None) -> nn.Module:
    if config.block == "sll":
        return SLLLinear(config.width, config.dense_inner, generator=generator)
    return ConvexPotentialLinear(
        config.width,
        config.dense_inner,
        activation=config.activation,
        learn_step=config.learn_step,
        reach=config.reach,
        generator=generator,
    )
