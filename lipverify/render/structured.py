"""Report -> JSON, for machines."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from lipverify.numerals import decimal_down, decimal_up
from lipverify.report import SCHEMA

if TYPE_CHECKING:
    from lipverify.claims import Ball
    from lipverify.evidence import Evidence, Witness
    from lipverify.report import RegionReport, Report

DIGITS = 17
_NUMBERS = re.compile(r'\[\s+("-?0x[^\[\]]*?)\s+\]')


def render(report: Report, exit_code: int) -> str:
    """The report as strict JSON.

    Bounds are decimal strings: ``upper`` at or above the bound, ``lower`` at or below it, readable without loss by
    ``Fraction`` or ``Decimal``. Witness entries are exact hexadecimal floats. All text is ASCII; names appear as JSON
    strings, with control and non-ASCII characters as ``\\u`` escapes.
    """
    return dumped(as_data(report, exit_code))


def dumped(data: Any) -> str:
    """Data as indented ASCII JSON, rows of numbers on one line each."""
    text = json.dumps(data, indent=2, ensure_ascii=True, allow_nan=False)
    text = _NUMBERS.sub(lambda match: "[" + " ".join(match[1].split()) + "]", text)
    # Both pairs occur inside strings only; logs of build services obey ::error:: and ##[error].
    return text.replace("::", ":\\u003a").replace("##", "#\\u0023") + "\n"


def as_data(report: Report, exit_code: int) -> dict[str, Any]:
    """The report as dictionaries, lists, strings, booleans, None and finite floats."""
    return {
        "schema": SCHEMA,
        "model": report.model,
        "verdict": report.verdict and str(report.verdict),
        "semantics": report.semantics,
        "mismatches": [{"kind": str(m.kind), "path": m.path, "message": m.message} for m in report.mismatches],
        "regions": [_region(region) for region in report.regions],
        "notes": list(report.notes),
        "seconds": _seconds(report.seconds),
        "exit_code": exit_code,
    }


def _region(region: RegionReport) -> dict[str, Any]:
    return {
        "path": region.path,
        "claim": None if region.claim is None else region.claim.text,
        "verdict": region.verdict and str(region.verdict),
        "lower": _down(region.lower),
        "upper": _up(region.upper),
        "rule": region.rule,
        "norm": str(region.norms),
        "domain": _domain(region.claim and region.claim.domain),
        "reason": region.reason,
        "input_shape": None if region.input_shape is None else list(region.input_shape),
        "evidence": [_evidence(e) for e in region.evidence],
    }


def _domain(ball: Ball | None) -> dict[str, Any] | None:
    if ball is None:
        return None
    return {"center": _hex(ball.center), "shape": list(ball.center.shape), "radius": str(ball.radius)}


def _evidence(evidence: Evidence) -> dict[str, Any]:
    data = {
        "verifier": evidence.verifier,
        "lower": _down(evidence.lower),
        "upper": _up(evidence.upper),
        "rigor": str(evidence.rigor),
        "method": evidence.method,
        "seconds": _seconds(evidence.seconds),
        "local": evidence.local,
        "reason": evidence.reason,
    }
    return data if evidence.witness is None else data | {"witness": _witness(evidence.witness)}


def _witness(witness: Witness) -> dict[str, Any]:
    return {
        "shape": list(witness.x.shape),
        "x": _hex(witness.x),
        "y": _hex(witness.y),
        "ratio": _down(witness.ratio),
    }


def _hex(array: np.ndarray) -> Any:
    if array.ndim == 0:
        return float(array).hex()
    return [_hex(part) for part in array] if array.ndim > 1 else [float(v).hex() for v in array]


def _up(q: Fraction | None) -> str | None:
    return None if q is None else decimal_up(q, DIGITS)


def _down(q: Fraction | None) -> str | None:
    return None if q is None else decimal_down(q, DIGITS)


def _seconds(seconds: float) -> float | None:
    return round(seconds, 6) if np.isfinite(seconds) else None
