"""An audited program and its report -> the certificate of what was proved (docs/certificates.md)."""

from __future__ import annotations

import base64
import platform
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from lipverify import __version__
from lipverify.certificates.arrays import Arrays
from lipverify.certificates.canonical import digest, hexadecimal, short_up
from lipverify.certificates.evidence import witnesses
from lipverify.certificates.factors import factors
from lipverify.certificates.graph import graph_data
from lipverify.certificates.margins import margins
from lipverify.certificates.norms import Norms
from lipverify.certificates.operators import Operators
from lipverify.certificates.steps import Derivation, NoRule
from lipverify.certificates.stored import Stored
from lipverify.claims import L2, LOGITS, Claim
from lipverify.errors import LipverifyError, quoted
from lipverify.graph import Region, Regions, regions
from lipverify.numerals import decimal_text, parse_rational
from lipverify.read import Program
from lipverify.report import RegionReport, Report
from lipverify.samples import as_samples
from lipverify.undisturbed import undisturbed
from lipverify.verdict import Verdict

SCHEMA = "lipverify-certificate/1"
EVIDENCE = ("witnesses", "full")


def certify(
    program: Program,
    report: Report,
    *,
    evidence: str = "witnesses",
    inputs: Any = None,
    radius: Fraction | int | str | None = None,
) -> dict[str, Any]:
    """The certificate of an audit: JSON-able data, its body a function of the program and the claims.

    Args:
        program: what was audited.
        report: its outcome.
        evidence: ``witnesses``, of what is refuted and of the whole; ``full`` for all of them, and factors of matrix proofs.
        inputs: an array (k, *one input without its batch axis); those that keep their class within ``radius`` are stated, if
            the bound of the whole shows it.
        radius: l2, as a rational, an integer or decimal text.

    Raises:
        LipverifyError: for another word or type, inputs without a radius, a report of another program, or weights that a
            certificate cannot name.
    """
    if evidence not in EVIDENCE:
        raise LipverifyError(f"evidence is {' or '.join(EVIDENCE)}, not {evidence!r}", step="Choose one of them.")
    for given, kind, made in ((program, Program, "trace or read_model"), (report, Report, "audit")):
        if not isinstance(given, kind):
            step = f"Pass what lipverify.{made} returns."
            raise LipverifyError(f"a {kind.__name__} is needed, not {quoted(type(given).__name__)}", step=step)
    if (inputs is None) is not (radius is None):
        raise LipverifyError("inputs and radius belong together", step="Pass both, or neither.")
    length = None if radius is None else parse_rational(decimal_text(radius, "the radius"), "the radius")
    with undisturbed():
        examined = _examined(program, report)
        stored = Stored(program)
        arrays, norms = Arrays(program, stored), Norms()
        graph = graph_data(examined, arrays)
        opaque = {n["value"]: _why(n["map"]) for n in graph["nodes"] if n["map"]["kind"] == "opaque"}
        operators = Operators(examined.nodes)
        rows = [_region(row, examined.get(row.path), operators, norms, opaque) for row in report.regions]
        body = {
            "semantics": "real",
            "weights": stored.data(arrays.read),
            "graph": graph,
            "norms": norms.data,
            "regions": rows,
            "margins": _margins(program, rows, inputs, length),
        }
    return {
        "schema": SCHEMA,
        "body": body,
        "sha256": digest(body),
        "evidence": {
            "witnesses": witnesses(report, examined, every=evidence == "full"),
            **({"factors": factors(norms.data, norms.maps)} if evidence == "full" else {}),
        },
        "made": _made(report),
    }


def _margins(
    program: Program, rows: Sequence[Mapping[str, Any]], inputs: Any, radius: Fraction | None
) -> list[dict[str, Any]]:
    """What follows for inputs from the bounds of the whole."""
    stated = {row["norm"]: row["upper"] for row in rows if row["path"] == "" and row["upper"] is not None}
    if inputs is None or radius is None or not stated:
        return []
    bounds = {norm: Fraction(float.fromhex(upper)) for norm, upper in stated.items()}
    return margins(program, bounds, as_samples(program, inputs), radius)


def graph_of(program: Program) -> dict[str, Any]:
    """The graph of a program, as its certificate has it."""
    with undisturbed():
        return graph_data(regions(program), Arrays(program, Stored(program)))


def weights_of(program: Program) -> dict[str, torch.Tensor]:
    """The stored weights that the graph of a program reads, by name: what a checker reads beside a certificate."""
    with undisturbed():
        stored = Stored(program)
        arrays = Arrays(program, stored)
        graph_data(regions(program), arrays)
        return stored.tensors(arrays.read)


def _examined(program: Program, report: Report) -> Regions:
    """The regions of the report, which is of this program.

    Raises:
        LipverifyError: where it is of another one.
    """
    found = report.examined
    if found is None:
        return regions(program)
    other = found.program
    if other is not program and not (
        (program.inputs, program.outputs, program.operations, program.weight_names)
        == (other.inputs, other.outputs, other.operations, other.weight_names)
        and program.weights.keys() == other.weights.keys()
        and all(_equal(weight, other.weights[name]) for name, weight in program.weights.items())
    ):
        raise LipverifyError(
            "the report is of another program",
            why="a certificate states what was audited",
            step="Audit the program that is to be certified, with the same choice of inputs and outputs.",
        )
    return found


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dtype == b.dtype and torch.equal(a, b)


def _why(map_: Mapping[str, Any]) -> str:
    return f"{map_['operation']}: {map_['reason']}"


def _region(
    row: RegionReport, region: Region | None, operators: Operators, norms: Norms, opaque: Mapping[str, str]
) -> dict[str, Any]:
    plain = None if region is None else region.plain
    unsupported = row.reason if region is None else region.unsupported
    if row.norms not in (L2, LOGITS):
        unsupported = unsupported or row.reason or f"no rule bounds {row.norms}"
    steps, upper, reason, rule = [], None, unsupported, ""
    if plain is not None and unsupported is None:
        derivation = Derivation(plain, operators, norms, opaque)
        try:
            upper = short_up(derivation.take(rows=row.norms == LOGITS))
            steps, rule = derivation.steps, derivation.rule
        except NoRule as error:
            reason = str(error)
    reached = upper is not None and row.claim is not None and upper <= row.claim.bound
    if row.verdict is Verdict.PROVED and not reached:
        rule = f"unchecked: {_prover(row)}: {row.rule}"
    elif row.verdict is Verdict.REFUTED:
        reason = "two inputs show a ratio above the claim"
    elif row.verdict is Verdict.UNDECIDED:
        reason = reason or "no proved bound reaches the claim"
    return {
        "path": row.path,
        "norm": str(row.norms),
        "claim": _claim(row.claim),
        "verdict": None if row.verdict is None else str(row.verdict),
        "reason": None if reason is None else reason[:4000],
        "input": None if plain is None else plain.input,
        "output": None if plain is None else plain.output,
        "steps": steps,
        "upper": None if upper is None else hexadecimal(float(upper)),
        "rule": rule[:4000],
    }


def _prover(row: RegionReport) -> str:
    """The verifier whose bound proves the claim."""
    uppers = [e for e in row.evidence if e.rigor.proves and e.upper == row.upper and not e.local]
    return uppers[0].verifier if uppers else "verifier"


def _claim(claim: Claim | None) -> dict[str, Any] | None:
    if claim is None:
        return None
    ball = claim.domain
    if ball is None:
        return {"bound": claim.text, "domain": None}
    center = base64.b64encode(np.ascontiguousarray(ball.center, dtype="<f8").tobytes()).decode("ascii")
    ends = {"center": center, "shape": list(ball.center.shape), "radius": str(ball.radius)}
    return {"bound": claim.text, "domain": digest(ends)}


def _made(report: Report) -> dict[str, Any]:
    return {
        "model": report.model,
        "lipverify": __version__,
        "torch": str(torch.__version__),
        "numpy": str(np.__version__),
        "python": platform.python_version(),
        "seconds": f"{report.seconds:.2f}",
    }
