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

MATRIX = 1 << 24
"""Entries of a matrix along one axis beyond which it is refused rather than built."""


def limited(rows: int, columns: int) -> None:
    """
    Raises:
        NotLowered: where a matrix of that many rows and columns is too large to build.
    """
    if rows * columns > MATRIX:
        raise NotLowered(
            f"a matrix of {rows} x {columns} along one axis, more than the {MATRIX} entries that are built"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """The windows along one axis: window i holds the entries first[i] + t dilation for t < count[i].

    Attributes:
        axis: counted from the front.
        entries: the length of the axis.
        first, count: for each window, its first entry and how many it has; these lie on the axis.
        padded: the size of each window with the padding that it meets, entries beyond the padding not counted.
        dilation: the distance between the entries of a window.
    """

    axis: int
    entries: int
    first: NDArray[np.int64]
    count: NDArray[np.int64]
    padded: NDArray[np.int64]
    dilation: int

    @property
    def members(self) -> NDArray[np.bool_]:
        """(windows, entries) truth values: which entry lies in which window.

        Raises:
            NotLowered: where these are too many.
        """
        limited(len(self.first), self.entries)
        offset = np.arange(self.entries)[None] - self.first[:, None]
        return (offset >= 0) & (offset < (self.count * self.dilation)[:, None]) & (offset % self.dilation == 0)

    @property
    def overlap(self) -> int:
        """The largest number of windows over one entry.

        A window begins at its first entry and ends beyond its last; between the two it steps by the dilation, so that the
        windows over the entries of one remainder are the running sum of the beginnings less the ends among these.
        """
        steps = -(-self.entries // self.dilation) + 1
        changes = np.zeros(steps * self.dilation, dtype=np.int64)
        np.add.at(changes, self.first, 1)
        np.add.at(changes, self.first + self.count * self.dilation, -1)
        return int(changes.reshape(steps, self.dilation).cumsum(0).max(initial=0))


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
    if not all((count > 0).all() for _, count, *_ in found):
        raise NotLowered("pooling with an empty window")
    return tuple(Windows(first + i, n, *parts) for i, ((n, _), parts) in enumerate(zip(sides, found, strict=True)))


Along = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], int]
"""First entries, counts, padded sizes, and the dilation."""


def _adaptive(n: int, m: int) -> Along:
    """Window i of m holds the entries from floor(i n / m) to ceil((i + 1) n / m), the end excluded."""
    i = np.arange(m, dtype=np.int64)
    first = i * n // m
    count = -(-(i + 1) * n // m) - first
    return first, count, count, 1


def _sliding(n: int, m: int, size: int, stride: int, padding: int, dilation: int) -> Along:
    """Window i holds the entries i stride - padding + t dilation for t < size."""
    start = np.arange(m, dtype=np.int64) * stride - padding
    skipped = np.maximum(-(start // dilation), 0)
    ended = np.minimum(-((start - n) // dilation), size)
    return start + skipped * dilation, ended - skipped, np.minimum(start + size, n + padding) - start, dilation
