"""Architectures by name: those of Meunier et al. (2022, Table 1), and two small ones."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from cpl import checks
from cpl.config import CPLNetConfig

# convolutional blocks, dense blocks, channels, rows of a dense block
SIZES: Mapping[str, tuple[int, int, int, int]] = MappingProxyType(
    {
        "tiny": (5, 3, 30, 512),
        "S": (20, 7, 45, 2048),
        "M": (30, 10, 60, 2048),
        "L": (50, 10, 90, 2048),
        "XL": (70, 15, 120, 2048),
    }
)
PRESETS = ("digits", *SIZES)
CONV_INNER = 5  # inner channels of the published networks
POOLED_SIDE = 8  # at most, of the map that the dense blocks see: 32 x 32 images are pooled by 4, 224 x 224 ones by 28


def preset(name: str, *, image_shape: tuple[int, int, int], classes: int, **changes: Any) -> CPLNetConfig:
    """The configuration of this name for these images.

    Args:
        name: 'digits' (what `CPLNetConfig()` is, for small images), 'tiny', 'S', 'M', 'L' or 'XL': 3 x 3 convolutions on the
            image padded with zero channels, average pooling to at most 8 x 8, dense blocks, a head of normalised rows.
        image_shape: (channels, height, width).
        classes: number of logits.
        changes: fields of `CPLNetConfig` that shall differ, e.g. `conv_inner=45`.

    Raises:
        ArgumentError: the name is unknown, or the sizes do not fit.

    >>> preset("XL", image_shape=(3, 32, 32), classes=10).weights
    236415480
    """
    checks.one_of(name, PRESETS, name="preset", where="preset")
    shape = checks.int_shape(image_shape, name="image_shape", where="preset")
    if name == "digits":
        fields: dict[str, Any] = {"channels": max(16, shape[0])}
    else:
        conv_blocks, dense_blocks, channels, dense_inner = SIZES[name]
        fields = {
            "conv_blocks": conv_blocks,
            "conv_inner": CONV_INNER,
            "channels": channels,
            "dense_blocks": dense_blocks,
            "dense_inner": dense_inner,
            "pool": -(-min(shape[1:]) // POOLED_SIDE),
        }
    return CPLNetConfig(**{"image_shape": image_shape, "classes": classes, **fields, **changes})
