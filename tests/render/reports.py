"""Reports to render, built by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from lipverify.claims import L2, Ball, Claim
from lipverify.evidence import Evidence, Rigor, Witness
from lipverify.report import RegionReport, Report
from lipverify.verdict import Mismatch, MismatchKind, Verdict

HOSTILE = "::error::a|b\n\x1b[31m<img src=x>\u202e`[x](http://e)`##[error]\\é"


def witness(shape=(1, 8, 8), ratio=Fraction(21, 20)) -> Witness:
    x = np.arange(np.prod(shape, dtype=int), dtype=np.float64).reshape(shape) / 64
    y = x.copy()
    y.flat[0] += 0.1
    return Witness(x, y, ratio)


def region(path="features.0", verdict: Verdict | None = Verdict.PROVED, **fields) -> RegionReport:
    claim = None if verdict is None else Claim(path, Fraction(1), "1.0")
    evidence = (
        Evidence("spectral", Fraction(999, 1000), Fraction(1), Rigor.RIGOROUS, "cpl", 0.125),
        Evidence("sdp", None, None, Rigor.NUMERIC, "", 0.5, reason="more than 80 neurons"),
    )
    defaults = {
        "path": path,
        "norms": L2,
        "claim": claim,
        "verdict": verdict,
        "lower": Fraction(999, 1000),
        "upper": Fraction(1),
        "rule": "cpl",
        "evidence": evidence,
        "mismatches": (),
        "reason": None,
        "input_shape": (1, 8, 8),
    }
    return RegionReport(**(defaults | fields))


def refuted(path="features.1", shape=(1, 8, 8)) -> RegionReport:
    shown = Evidence("witness", Fraction(21, 20), None, Rigor.RIGOROUS, "pair", 0.2, witness(shape))
    mismatch = Mismatch(MismatchKind.CLAIM, path, "witness shows 1.05, claimed 1.0")
    return region(path, Verdict.REFUTED, lower=Fraction(21, 20), upper=None, rule="pair", evidence=(shown,),
                  mismatches=(mismatch,), input_shape=shape)  # fmt: skip


def undecided(path="head") -> RegionReport:
    ball = Ball(np.zeros((2, 2)), Fraction(1, 3))
    claim = Claim(path, Fraction(1, 3), "1/3", domain=ball)
    local = Evidence("propagation", Fraction(1, 10), Fraction(1, 2), Rigor.NUMERIC, "jvp", 1.0, local=True)
    return region(
        path, Verdict.UNDECIDED, claim=claim, evidence=(local,), reason="no rigorous bound", lower=None, upper=None
    )


def report(*regions: RegionReport, model="model.pt2", notes=()) -> Report:
    return Report(model, "real", regions, tuple(notes), 1.5)


def hostile() -> Report:
    claim = Claim(HOSTILE, Fraction(1), "1.0")
    mismatch = Mismatch(MismatchKind.NUMERIC, HOSTILE, HOSTILE)
    bad = Evidence(HOSTILE, Fraction(0), Fraction(2), Rigor.NUMERIC, HOSTILE, 0.1)
    worse = Evidence("sdp", reason=HOSTILE)
    row = region(HOSTILE, Verdict.UNSUPPORTED, claim=claim, rule=HOSTILE, evidence=(bad, worse), mismatches=(mismatch,),
                 reason=HOSTILE)  # fmt: skip
    return report(row, model=HOSTILE, notes=(HOSTILE,))
