"""Probes of what a map says of itself: slopes on a grid around every breakpoint, a constant on pairs of inputs.

No proof: they catch a table entry that is wrong, not one that is a little too small somewhere.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lipverify.errors import LipverifyError
from lipverify.maps import Array, Lipschitz, Pointwise, Shape, size

REPORT = "Please report this model."
ROUNDS = 64
LARGE = 1 << 18


class CrossCheckError(LipverifyError):
    """A map does not do what the program does: a bug in lipverify. No bound is computed."""


def grid(map_: Pointwise) -> Array:
    """Breakpoints, their neighbours, and a grid; sorted, each once."""
    points = [p for b in map_.breakpoints for p in (np.nextafter(b, -np.inf), b, np.nextafter(b, np.inf), b - 1, b + 1)]
    return np.unique(np.concatenate([points, np.linspace(-12, 12, 241)]))


def fillings(map_: Pointwise, shape: Shape, points: Array | None = None) -> Iterator[Array]:
    """Arrays of that shape which together hold all points of the grid, as far as ``ROUNDS`` arrays can."""
    points = grid(map_) if points is None else points
    entries = size(shape)
    for start in range(0, len(points) if entries else 0, max(entries, 1)):
        if start < ROUNDS * entries:
            yield np.resize(np.roll(points, -start), shape)


def probe_slopes(name: str, map_: Pointwise) -> None:
    """Check the difference quotients of ``map_`` between neighbours of the grid, in every entry.

    Raises:
        CrossCheckError: where one is outside the slope interval.
    """
    points = grid(map_)
    apart = points[np.concatenate([[True], np.diff(points) > 1e-3])]
    low, high = (float(s) for s in map_.slopes)
    for x, y in zip(fillings(map_, map_.shape, apart[:-1]), fillings(map_, map_.shape, apart[1:]), strict=True):
        quotients = (map_.function(y) - map_.function(x)) / (y - x)
        if quotients.min() < low - 1e-9 or quotients.max() > high + 1e-9:
            raise CrossCheckError(f"{map_.name} has slopes outside [{low}, {high}]", where=name, step=REPORT)


def probe_constant(name: str, map_: Lipschitz, x: Array) -> None:
    """Check the ratios of ``map_`` on a few pairs: far apart, close to zero, and one entry at a time about the middle.

    Raises:
        CrossCheckError: where one is above the constant.
    """
    if not x.size:
        return
    zero, side = np.zeros_like(x), 2 if x.size > LARGE else 4
    pairs = [(x, np.roll(x, 1)), (zero, x * 2.0**-12)]
    middle = [n // 2 for n in x.shape]
    for block in np.ndindex(*(min(side, n) for n in x.shape[-2:])):
        bump = zero.copy()
        sides = zip(middle[-2:], block, x.shape[-2:], strict=True)
        bump[(*middle[: x.ndim - len(block)], *((m + b) % n for m, b, n in sides))] = 1.0
        pairs.append((zero, bump))
    limit = float(map_.square) * (1 + 1e-9)
    for a, b in pairs:
        moved, change = ((p - q).reshape(-1) for p, q in ((a, b), (map_.function(a), map_.function(b))))
        if float(change @ change) > limit * float(moved @ moved) + 1e-12:
            raise CrossCheckError(f"{map_.name} has a ratio above {float(map_.square)}^(1/2)", where=name, step=REPORT)
