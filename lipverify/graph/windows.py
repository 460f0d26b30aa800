"""The windows of pooling along one axis: which entries lie in which window. Exact, in integers.

Pooling in two dimensions is pooling along one axis after the other, with the same windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lipverify.graph.scope import NotLowered, per_axis
from lipverify.maps import Shape


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """The windows along one axis.

    Attributes:
        axis: counted from the front.
        members: (windows, entries) truth values: which entry lies in which window.
        padded: the size of each window with the padding that it meets, entries beyond the padding not counted.
    """

    axis: int
    members: NDArray[np.bool_]
    padded: NDArray[np.int64]

    @property
    def overlap(self) -> int:
        """The largest number of windows over one entry."""
        return int(self.members.sum(0).max(initial=0))


def windows(given: Mapping[str, Any], shape: Shape, output: Shape, axes: int) -> tuple[Windows, ...]:
    """Of a pooling over the last ``axes`` axes, from its arguments and the shape of its outcome.

    Raises:
        NotLowered: where a window has no entry, or the outcome has other axes.
    """
    if len(output) != len(shape) or output[: len(shape) - axes] != shape[: len(shape) - axes]:
        raise NotLowered(f"pooling of {shape} to {output}")
    first = len(shape) - axes
    sides = list(zip(shape[first:], output[first:], strict=True))
    if "output_size" in given:
        found = [_adaptive(n, m) for n, m in sides]
    else:
        size, padding = (per_axis(given[key], axes) for key in ("kernel_size", "padding"))
        stride = per_axis(given["stride"] or given["kernel_size"], axes)
        dilation = per_axis(given.get("dilation", 1), axes)
        found = [_sliding(*side, *rest) for side, *rest in zip(sides, size, stride, padding, dilation, strict=True)]
    if not all(members.any(1).all() for members, _ in found):
        raise NotLowered("pooling with an empty window")
    return tuple(Windows(first + i, *both) for i, both in enumerate(found))


def _adaptive(n: int, m: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Window i of m holds the entries from floor(i n / m) to ceil((i + 1) n / m), the end excluded."""
    i, entry = np.arange(m)[:, None], np.arange(n)[None]
    members = (i * n // m <= entry) & (entry < -((-(i + 1) * n) // m))
    return members, members.sum(1)


def _sliding(
    n: int, m: int, size: int, stride: int, padding: int, dilation: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Window i holds the entries i stride - padding + t dilation for t < size."""
    offset = np.arange(n)[None] - (np.arange(m) * stride - padding)[:, None]
    members = (offset >= 0) & (offset < size * dilation) & (offset % dilation == 0)
    start = np.arange(m) * stride - padding
    return members, np.minimum(start + size, n + padding) - start
