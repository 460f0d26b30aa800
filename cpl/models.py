"""CPLNet: a 1-Lipschitz trunk and a head whose rows have norm at most 1."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cpl import checks, plain
from cpl.errors import ArgumentError
from cpl.layers import (
    ConvexPotentialConv2d,
    ConvexPotentialLinear,
    NormalizedLinear,
    UnitNormAvgPool2d,
    ZeroChannelPad,
)

MOST_BLOCKS = 1024
MOST_FEATURES = 2**24


@dataclass(frozen=True, slots=True, kw_only=True)
class CPLNetConfig:
    """Everything needed to rebuild a CPLNet without its weights.

    Attributes:
        image_shape: (channels, height, width) of one input.
        channels: channels after the zero padding, >= image channels.
        conv_blocks, conv_inner, kernel_size, padding_mode: the convolutional blocks.
        pool: window of the average pooling; 1 for none.
        features: width of the dense blocks; what pooling leaves is padded with zeros up to it; None for exactly that.
        dense_blocks, dense_inner: the dense blocks.
        classes: number of logits.

    Raises:
        ArgumentError: on any inconsistent entry, and on sizes beyond what one machine holds.
    """

    image_shape: tuple[int, int, int] = (1, 8, 8)
    channels: int = 16
    conv_blocks: int = 3
    conv_inner: int = 16
    kernel_size: int = 3
    padding_mode: str = "zeros"
    pool: int = 2
    features: int | None = None
    dense_blocks: int = 3
    dense_inner: int = 64
    classes: int = 10

    def __post_init__(self) -> None:
        where = "CPLNetConfig"
        shape = checks.int_shape(self.image_shape, name="image_shape", where=where)
        if len(shape) != 3:
            raise ArgumentError(
                f"image_shape={shape} has {len(shape)} axes",
                where=where,
                why="images are (channels, height, width)",
                next_step="pass e.g. (1, 8, 8)",
            )
        object.__setattr__(self, "image_shape", shape)
        for name in ("channels", "conv_inner", "pool", "dense_inner", "classes"):
            checks.positive_int(getattr(self, name), name=name, where=where)
        for name in ("conv_blocks", "dense_blocks"):
            checks.natural_int(getattr(self, name), name=name, where=where, most=MOST_BLOCKS)
        checks.odd_int(self.kernel_size, name="kernel_size", where=where)
        checks.padding_mode(self.padding_mode, where=where)
        if self.features is not None:
            checks.positive_int(self.features, name="features", where=where)
        if self.channels < shape[0] or self.width < self.pooled or self.pool > min(shape[1:]):
            raise ArgumentError(
                f"sizes do not fit: {asdict(self)}",
                where=where,
                why="channels and features may only grow, and the pooling window must fit the image",
                next_step=f"need channels >= {shape[0]}, features >= {self.pooled}, pool <= {min(shape[1:])}",
            )

        checks.entries(self.channels, *shape[1:], name="a map", where=where, most=MOST_FEATURES)
        checks.entries(self.width, name="the dense features", where=where, most=MOST_FEATURES)
        checks.entries(self.weights, name="all weights", where=where)

    @property
    def weights(self) -> int:
        """Number of entries of all weights and biases together."""
        conv = self.conv_inner * (self.channels * self.kernel_size**2 + 1)
        dense = self.dense_inner * (self.width + 1)
        return self.conv_blocks * conv + self.dense_blocks * dense + self.classes * (self.width + 1)

    @property
    def pooled(self) -> int:
        """Number of features after pooling and flattening."""
        return self.channels * (self.image_shape[1] // self.pool) * (self.image_shape[2] // self.pool)

    @property
    def width(self) -> int:
        """Number of features of the dense blocks."""
        return self.pooled if self.features is None else self.features

    def to_dict(self) -> dict[str, Any]:
        """Plain types only: for JSON and for checkpoints."""
        return {**asdict(self), "image_shape": list(self.image_shape)}

    @classmethod
    def from_dict(cls, entries: Any) -> CPLNetConfig:
        """The inverse of `to_dict`.

        Raises:
            CheckpointError: if names are unknown or missing.
            ArgumentError: if an entry is out of range.
        """
        return plain.from_dict(cls, entries)


class CPLNet(nn.Module):
    """logits = head(trunk(x)): trunk 1-Lipschitz (l2), each logit 1-Lipschitz; once sealed.

    Args:
        config: the architecture.
        generator: source of the random initial weights; torch's global one if None.
    """

    def __init__(self, config: CPLNetConfig | None = None, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        config = CPLNetConfig() if config is None else config
        self.config = config
        blocks: OrderedDict[str, nn.Module] = OrderedDict()
        if config.channels > config.image_shape[0]:
            blocks["pad"] = ZeroChannelPad(config.image_shape[0], config.channels)
        for index in range(1, config.conv_blocks + 1):
            blocks[f"conv{index}"] = ConvexPotentialConv2d(
                config.channels,
                config.conv_inner,
                kernel_size=config.kernel_size,
                padding_mode=config.padding_mode,
                generator=generator,
            )
        if config.pool > 1:
            blocks["pool"] = UnitNormAvgPool2d(config.pool)
        blocks["flatten"] = nn.Flatten()
        if config.width > config.pooled:
            blocks["widen"] = ZeroChannelPad(config.pooled, config.width)
        for index in range(1, config.dense_blocks + 1):
            blocks[f"dense{index}"] = ConvexPotentialLinear(config.width, config.dense_inner, generator=generator)
        self.trunk = nn.Sequential(blocks)
        self.head = NormalizedLinear(config.width, config.classes, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (batch, channels, height, width) to (batch, classes)."""
        return self.head(self.trunk(x))
