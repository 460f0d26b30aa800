"""The architecture of a CPLNet: everything that is needed to rebuild it without its weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from cpl import checks, plain
from cpl.activations import ACTIVATIONS, activation
from cpl.errors import ArgumentError

MOST_BLOCKS = 1024
MOST_FEATURES = 2**24
BLOCKS = ("cpl", "sll")
HEADS = ("rows", "spectral")
DEEPER = 2  # side of the isometric down-sampling before each further stage


@dataclass(frozen=True, slots=True, kw_only=True)
class CPLNetConfig:
    """Everything needed to rebuild a CPLNet without its weights.

    Attributes:
        image_shape: (channels, height, width) of one input.
        mean, std: per channel, of the standardisation inside the network; () for none. Its constant is 1 / min std.
        downsample: s of the isometric down-sampling at the start: s x s pixels become channels; 1 for none.
        channels: channels after the zero padding that follows, >= image channels times s^2.
        conv_blocks, conv_inner, kernel_size, padding_mode, groups: the convolutional blocks.
        deeper: pairs (blocks, inner) of further stages, each after a down-sampling by 2, with four times the channels.
        pool: window of the average pooling; 1 for none.
        features: width of the dense blocks; what pooling leaves is padded with zeros up to it; None for exactly that.
        dense_blocks, dense_inner: the dense blocks.
        classes: number of logits.
        block: 'cpl', or 'sll' for comparison (zero padding, ReLU, no groups).
        activation: of the blocks, one of `cpl.ACTIVATIONS`.
        maxmin: whether a MaxMin follows every block.
        learn_step: whether the step sizes are learned within their proven range.
        reach: largest h ||W||^2 / 2, in (0, 1]; about 10 / blocks lets a thousand blocks train, whose full steps would
            contract the signal away.
        head: 'rows' (each logit 1-Lipschitz) or 'spectral' (the whole head 1-Lipschitz).

    Raises:
        ArgumentError: on any inconsistent entry, and on sizes beyond what one machine holds.
    """

    image_shape: tuple[int, int, int] = (1, 8, 8)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    downsample: int = 1
    channels: int = 16
    conv_blocks: int = 3
    conv_inner: int = 16
    kernel_size: int = 3
    padding_mode: str = "zeros"
    groups: int = 1
    deeper: tuple[tuple[int, int], ...] = ()
    pool: int = 2
    features: int | None = None
    dense_blocks: int = 3
    dense_inner: int = 64
    classes: int = 10
    block: str = "cpl"
    activation: str = "relu"
    maxmin: bool = False
    learn_step: bool = False
    reach: float = 1.0
    head: str = "rows"

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
        for name in ("mean", "std"):
            object.__setattr__(self, name, checks.floats(getattr(self, name), (0, shape[0]), name=name, where=where))
        object.__setattr__(self, "deeper", checks.int_pairs(self.deeper, name="deeper", where=where, most=MOST_BLOCKS))
        for name in ("downsample", "channels", "conv_inner", "groups", "pool", "dense_inner", "classes"):
            checks.positive_int(getattr(self, name), name=name, where=where)
        for name in ("conv_blocks", "dense_blocks"):
            checks.natural_int(getattr(self, name), name=name, where=where, most=MOST_BLOCKS)
        checks.odd_int(self.kernel_size, name="kernel_size", where=where)
        checks.padding_mode(self.padding_mode, where=where)
        checks.one_of(self.block, BLOCKS, name="block", where=where)
        checks.one_of(self.head, HEADS, name="head", where=where)
        activation(self.activation, where=where)
        for name in ("maxmin", "learn_step"):
            checks.boolean(getattr(self, name), name=name, where=where)
        checks.positive_float(self.reach, name="reach", where=where, below=1.0 + 2.0**-52)
        if self.features is not None:
            checks.positive_int(self.features, name="features", where=where)
        self._check_sizes(where)

    def _check_sizes(self, where: str) -> None:
        least, height, width = self.image_shape[0] * self.downsample**2, *self.image_shape[1:]
        scale = self.downsample * DEEPER ** len(self.deeper)
        if height % scale or width % scale:
            raise ArgumentError(
                f"{height} x {width} images cannot be down-sampled by {scale} in all",
                where=where,
                why="s x s pixels become channels, so s divides both sides",
                next_step="choose a smaller downsample or fewer deeper stages, or pad the images",
            )
        side = min(height, width) // scale
        if self.channels < least or self.width < self.pooled or self.pool > side:
            raise ArgumentError(
                f"sizes do not fit: {asdict(self)}",
                where=where,
                why="channels and features may only grow, and the pooling window must fit the image",
                next_step=f"need channels >= {least}, features >= {self.pooled}, pool <= {side}",
            )
        if self.mean and not self.std:
            raise ArgumentError(
                "there is a mean without a std",
                where=where,
                why="images are standardised by both, or not at all",
                next_step="pass std too, one number per channel",
            )
        form = (self.padding_mode, self.groups, self.activation, self.learn_step, self.reach)
        if self.block == "sll" and form != ("zeros", 1, "relu", False, 1.0):
            raise ArgumentError(
                "block='sll' has zero padding, one group, ReLU and the full step only",
                where=where,
                why="no other form is implemented: it is there for comparison",
                next_step="leave padding_mode, groups, activation, learn_step and reach out, or use block='cpl'",
            )
        checks.entries(self.channels, height // self.downsample, width // self.downsample, name="a map", where=where,
                       most=MOST_FEATURES)  # fmt: skip
        checks.entries(self.width, name="the dense features", where=where, most=MOST_FEATURES)
        checks.entries(self.weights, name="all weights", where=where)

    def stages(self) -> Iterator[tuple[int, int, int]]:
        """(channels, blocks, inner) of every convolutional stage."""
        yield self.channels, self.conv_blocks, self.conv_inner
        for index, (blocks, inner) in enumerate(self.deeper, start=1):
            yield self.channels * DEEPER ** (2 * index), blocks, inner

    @property
    def weights(self) -> int:
        """Number of entries of all tensors of the sealed network."""
        taps = self.kernel_size**2
        convs = sum(blocks * inner * (width // self.groups * taps + 1) for width, blocks, inner in self.stages())
        dense = self.dense_inner * (self.width + 1)
        blocks = self.dense_blocks + sum(blocks for _, blocks, _ in self.stages())
        steps = 0 if ACTIVATIONS[self.activation].homogeneous else blocks
        return convs + self.dense_blocks * dense + self.classes * (self.width + 1) + steps + 2 * len(self.std)

    @property
    def pooled(self) -> int:
        """Number of features after pooling and flattening."""
        scale = self.downsample * DEEPER ** len(self.deeper)
        channels = self.channels * DEEPER ** (2 * len(self.deeper))
        return channels * (self.image_shape[1] // scale // self.pool) * (self.image_shape[2] // scale // self.pool)

    @property
    def width(self) -> int:
        """Number of features of the dense blocks."""
        return self.pooled if self.features is None else self.features

    def to_dict(self) -> dict[str, Any]:
        """Plain types only: for JSON and for checkpoints."""
        lists = {name: list(getattr(self, name)) for name in ("image_shape", "mean", "std")}
        return {**asdict(self), **lists, "deeper": [list(pair) for pair in self.deeper]}

    @classmethod
    def from_dict(cls, entries: Any) -> CPLNetConfig:
        """The inverse of `to_dict`.

        Raises:
            CheckpointError: if names are unknown or missing.
            ArgumentError: if an entry is out of range.
        """
        return plain.from_dict(cls, entries)
