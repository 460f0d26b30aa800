"""Draw a JSON report: every layer's proved enclosure against its claim, and the inputs that refute one.

Usage: python examples/draw_report.py REPORT.json PICTURE.png

Reads the report alone (no model, no lipverify): the file is the interface.
"""

from __future__ import annotations

import argparse
import json
from math import isqrt
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

COLOURS = {"PROVED": "#1b7f4d", "REFUTED": "#c0392b", "UNDECIDED": "#8a6d00", "UNSUPPORTED": "#666666"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path, help="written by lipverify audit --format json")
    parser.add_argument("picture", type=Path, help="the PNG or SVG to write")
    options = parser.parse_args()
    rows = json.loads(options.report.read_text())["regions"]
    refuted = next((row for row in rows if row["verdict"] == "REFUTED"), None)
    figure, axes = plt.subplots(
        1, 4 if refuted else 1, figsize=(13, 0.34 * len(rows) + 1.3), width_ratios=[2, 1, 1, 1] if refuted else None
    )
    enclosures(np.atleast_1d(axes)[0], rows)
    if refuted:
        images(axes[1:], refuted)
    figure.tight_layout()
    figure.savefig(options.picture, dpi=150)


def enclosures(axis: plt.Axes, rows: list[dict]) -> None:
    """A bar from the proved lower to the proved upper bound, a tick at the claim, the verdict beside it."""
    for y, row in enumerate(reversed(rows)):
        colour = COLOURS.get(row["verdict"], "black")
        low, high = (float(row[end]) if row[end] is not None else None for end in ("lower", "upper"))
        if low is not None and high is not None:
            axis.plot([low, high], [y, y], color=colour, linewidth=6, solid_capstyle="butt", alpha=0.45)
        for end, marker in ((low, "|"), (high, "|")):
            if end is not None:
                axis.plot(end, y, marker, color=colour, markersize=13, markeredgewidth=2)
        if row["claim"] is not None:
            axis.plot(float(row["claim"]), y, "D", color="black", markersize=4)
        axis.annotate(row["verdict"] or "", (1.02, y), xycoords=("axes fraction", "data"), color=colour, va="center")
    names = [(row["path"] or "whole network") + ("" if row["norm"] == "l2->l2" else "  " + row["norm"]) for row in rows]
    axis.set_yticks(range(len(rows)), names[::-1], parse_math=False)
    axis.set_xlabel("Lipschitz constant: proved enclosure (bar), claim (diamond)")
    axis.grid(axis="x", alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)


def images(axes: np.ndarray, row: dict) -> None:
    """The two inputs and their difference, as images where the input is one, or a square number of entries."""
    witness = next(e["witness"] for e in row["evidence"] if e.get("witness"))
    x, y = (np.vectorize(float.fromhex)(np.array(witness[name])).squeeze() for name in ("x", "y"))
    if x.ndim == 1:
        side = isqrt(x.size) if isqrt(x.size) ** 2 == x.size else 1
        x, y = x.reshape(side, -1), y.reshape(side, -1)
    if x.ndim == 3:
        x, y = x[0], y[0]
    for axis, image, title in zip(axes, (x, y, x - y), ("x", "y", "x - y"), strict=True):
        size = np.abs(image).max()
        axis.imshow(image, cmap="gray" if title != "x - y" else "RdBu", vmin=-size, vmax=size)
        axis.set_title(f"{title}  (within ±{size:.3g})", fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
    claim = f"claimed {row['claim']}, shown {float(witness['ratio']):.6f}"
    axes[1].set_xlabel(f"{row['path'] or 'whole network'}: {claim}", fontsize=9, parse_math=False)


if __name__ == "__main__":
    main()
