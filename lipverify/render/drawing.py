"""A witness drawn in shades: two inputs, their difference, and the ratio that they show."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING

import numpy as np

from lipverify.render.escape import lower_text

if TYPE_CHECKING:
    from lipverify.evidence import Witness

SHADES = " ░▒▓█"
SIGNED = "▼▾·▴▲"
MAX_SIDE = 32


def draw(witness: Witness, width: int = 100) -> list[str]:
    """Lines that show x, y and x - y side by side where they look like images, and always the ratio.

    The last two axes are the image if both are longer than 1; otherwise a square number of entries is laid out as a
    square. Of several channels the first is drawn. x and y share one scale; the difference has its own, around zero
    (``▼`` lowest, ``·`` near zero, ``▲`` highest).
    """
    x, y = as_image(witness.x), as_image(witness.y)
    ratio = f"ratio ||f(x) - f(y)|| / ||x - y|| >= {lower_text(witness.ratio, 12)}"
    if x is None or y is None or x.shape[1] * 3 + 6 > width:
        return [f"x and y of shape {tuple(witness.x.shape)} (not drawn)", ratio]
    low, high = min(x.min(), y.min()), max(x.max(), y.max())
    with np.errstate(over="ignore"):
        difference = np.nan_to_num(x - y)  # beyond the largest float: the largest float
        spread = np.nan_to_num(high - low)
    size = np.abs(difference).max()
    pictures = [
        _shade(x, low, spread, SHADES),
        _shade(y, low, spread, SHADES),
        _shade(difference / 2, -size / 2, size, SIGNED),
    ]
    columns = max(x.shape[1], 5)
    heads = "   ".join(title.ljust(columns) for title in ("x", "y", "x - y"))
    rows = ["   ".join(row.ljust(columns) for row in rows) for rows in zip(*pictures, strict=True)]
    drawn = x.size
    part = "" if drawn == witness.x.size else f"; {drawn} of {witness.x.size} entries drawn"
    scale = f"x and y in [{low:.4g}, {high:.4g}], x - y within ±{size:.4g}{part}"
    return [line.rstrip() for line in (heads, *rows)] + [scale, ratio]


def as_image(array: np.ndarray) -> np.ndarray | None:
    """The two-dimensional picture of an input, or None where it has none."""
    array = np.asarray(array, dtype=np.float64)
    if array.ndim >= 2 and min(array.shape[-2:]) > 1:
        image = array.reshape(-1, *array.shape[-2:])[0]
    elif array.size >= 4 and isqrt(array.size) ** 2 == array.size:
        image = array.reshape(isqrt(array.size), -1)
    else:
        return None
    return image if max(image.shape) <= MAX_SIDE else None


def _shade(image: np.ndarray, low: float, spread: float, shades: str) -> list[str]:
    with np.errstate(over="ignore"):
        scaled = (image - low) / spread if spread > 0 else np.full(image.shape, 0.5)
    levels = (np.clip(scaled, 0, 1 - 2**-20) * len(shades)).astype(int)
    return ["".join(shades[i] for i in row) for row in levels]
