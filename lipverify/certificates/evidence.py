"""What is no function of the model alone: witnesses of lower bounds."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from lipverify.certificates.canonical import FULL, hexadecimal, short_down
from lipverify.evidence import Witness
from lipverify.graph import Region
from lipverify.maps import Affine, Concatenation, Extremum, Pointwise, Sum
from lipverify.report import RegionReport, Report
from lipverify.verdict import Verdict

ROOM = Fraction(1, 1 << 20)
"""Of itself a stated ratio is this far below the proved one: a checker folds weights to wider intervals."""


EVALUATED = frozenset(("relu", "abs"))
"""Functions of single entries through which a checker can follow a witness."""


def witnesses(report: Report, examined: Mapping[str, Region], *, every: bool) -> list[dict[str, Any]]:
    """The best witness of what is refuted and of the whole network; with ``every`` of all regions that have one.

    Of what is not refuted only such as a checker can follow: the others would leave it with something UNCHECKED, for nothing.
    """
    found = []
    for row in report.regions:
        shown = [e.witness for e in row.evidence if e.rigor.proves and e.witness is not None]
        refuted = row.verdict is Verdict.REFUTED
        if shown and (refuted or ((every or row.path == "") and _followed(examined.get(row.path)))):
            best = max(shown, key=lambda w: w.ratio)
            if best.ratio > 0 and (refuted or _visible(best)):
                found.append(_data(row, best))
    return found


LEAST = 2.0**-100
"""A checker evaluates at a fixed point of 160 bits, in which smaller differences of outputs may vanish."""


def _visible(witness: Witness) -> bool:
    """Whether the outputs differ by so much that a checker sees it."""
    return float(witness.ratio) * float(np.abs(witness.x - witness.y).max(initial=0.0)) > LEAST


def _followed(region: Region | None) -> bool:
    """Whether every map of the region is one that a checker evaluates."""
    return (
        region is not None
        and region.plain is not None
        and all(
            isinstance(map_, Affine | Sum | Concatenation | Extremum)
            or (isinstance(map_, Pointwise) and map_.name in EVALUATED)
            for map_ in (node.map for node in region.plain.nodes.values())
        )
    )


def _data(row: RegionReport, witness: Witness) -> dict[str, Any]:
    return {
        "path": row.path,
        "norm": str(row.norms),
        "x": array(witness.x),
        "y": array(witness.y),
        "ratio": hexadecimal(float(_stated(row, witness.ratio))),
    }


def _stated(row: RegionReport, ratio: Fraction) -> Fraction:
    """A little less than the ratio, but above a claim that it refutes."""
    less = ratio * (1 - ROOM)
    if row.claim is not None and less <= row.claim.bound < ratio:
        less = (row.claim.bound + ratio) / 2
    return short_down(less, FULL)


def array(x: np.ndarray) -> dict[str, Any]:
    """Little-endian float64 in C order."""
    data = np.ascontiguousarray(x, dtype="<f8").tobytes()
    return {"shape": list(x.shape), "base64": base64.b64encode(data).decode("ascii")}
