"""Report -> text, for people at a terminal or in a log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len

from lipverify.claims import L2
from lipverify.render import drawing, outcome
from lipverify.render.escape import lower_text, upper_text, visible
from lipverify.verdict import Verdict

if TYPE_CHECKING:
    from lipverify.evidence import Evidence
    from lipverify.report import RegionReport, Report

DIGITS = 7
GAP = "  "
VERDICT = 2
"""The column of the verdict."""
_COLOURS = {
    Verdict.PROVED: "32",
    Verdict.REFUTED: "1;31",
    Verdict.CONFLICT: "1;35",
    Verdict.UNDECIDED: "33",
    Verdict.UNSUPPORTED: "33",
}

Cell = list[str]


def render(report: Report, exit_code: int, *, width: int = 140, colour: bool = False) -> str:
    """The report as text.

    One row per region: layer, claim, verdict, every verifier's [lower, upper] with its rigor and seconds side by side,
    and the rule that decided. Where the columns do not fit into ``width``, verifiers are listed below each other. Then
    mismatches with their kind, reasons, and the witness of every refuted region as pictures.

    Args:
        report: what to show.
        exit_code: what the process will exit with.
        width: of a line, in terminal cells.
        colour: mark verdicts with ANSI colours; they are always spelled out as well.
    """
    lines = [f"Audit of {visible(report.model)}", ""]
    fits = max(map(cell_len, _table(report, colour=False))) <= width
    lines += _table(report, colour) if fits else _stacked(report, colour)
    details = [line for region in report.regions for line in _details(region, width, colour)]
    details += _unsupported(report)
    details += [f"note: {visible(note)}" for note in report.notes]
    if details:
        lines += ["", *details]
    lines += ["", *outcome.summary(report, exit_code), f"{report.seconds:.1f} s in all."]
    return "\n".join(lines) + "\n"


def _table(report: Report, colour: bool) -> list[str]:
    names = list(dict.fromkeys(e.verifier for r in report.regions for e in r.evidence))
    rows: list[list[Cell]] = [[[h] for h in ("layer", "claim", "verdict", *map(visible, names), "rule")]]
    for region in report.regions:
        by_name = {e.verifier: e for e in region.evidence}
        cells = [_verifier_cell(region, by_name.get(name)) for name in names]
        rows.append(
            [[_layer(region)], _claim_cell(region), [_verdict(region)], *cells, [visible(region.rule, 40) or "-"]]
        )
    widths = [max(cell_len(line) for row in rows for line in row[i]) for i in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        for i in range(max(map(len, row))):
            cells = [_pad(cell[i] if i < len(cell) else "", w) for cell, w in zip(row, widths, strict=True)]
            if colour and number and i == 0:
                cells[VERDICT] = _paint(cells[VERDICT], report.regions[number - 1])
            lines.append(GAP.join(cells).rstrip())
        if number == 0:
            lines.append(GAP.join("-" * w for w in widths))
    return lines


def _stacked(report: Report, colour: bool) -> list[str]:
    lines = []
    for region in report.regions:
        rule = f"  by {visible(region.rule, 40)}" if region.rule else ""
        verdict = f"{_verdict(region):<11}"
        lines.append(
            f"{_paint(verdict, region) if colour else verdict}  {_layer(region)}  {' '.join(_claim_cell(region))}{rule}"
        )
        pad = max((cell_len(visible(e.verifier)) for e in region.evidence), default=0)
        for e in region.evidence:
            lines.append(f"    {_pad(visible(e.verifier), pad)}  {'  '.join(_verifier_cell(region, e))}")
    return lines


def _place(region: RegionReport) -> str:
    norm = "" if region.norms == L2 else f" {region.norms}"
    return visible(outcome.place(region.path), 48) + norm


def _layer(region: RegionReport) -> str:
    text = visible(outcome.place(region.path))
    return text if len(text) <= 48 else "…" + text[-47:]


def _claim_cell(region: RegionReport) -> Cell:
    norm = "" if region.claim is not None or str(region.norms) == "l2->l2" else f" {region.norms}"
    return [visible(outcome.claim_text(region.claim)) + norm]


def _verdict(region: RegionReport) -> str:
    return "-" if region.verdict is None else str(region.verdict)


def _verifier_cell(region: RegionReport, evidence: Evidence | None) -> Cell:
    if evidence is None:
        return ["-"]
    if evidence.lower is None and evidence.upper is None:
        return ["no bound", f"{evidence.seconds:.2f} s"]
    claim = region.claim and region.claim.bound
    lower, upper = lower_text(evidence.lower, DIGITS, claim), upper_text(evidence.upper, DIGITS, claim)
    local = " local" if evidence.local else ""
    return [f"[{lower}, {upper}]", f"{evidence.rigor}{local} {evidence.seconds:.2f} s"]


def _details(region: RegionReport, width: int, colour: bool) -> list[str]:
    place = _place(region)
    mark, end = ("\x1b[1;31m", "\x1b[0m") if colour else ("", "")
    lines = [f"{mark}!! MISMATCH ({m.kind}){end} {place}: {visible(m.message, 1000)}" for m in region.mismatches]
    if region.reason:
        lines.append(f"{_verdict(region) if region.verdict else 'no verdict'} {place}: {visible(region.reason, 1000)}")
    if region.verdict is Verdict.REFUTED:
        for evidence in region.evidence:
            if evidence.witness is not None and evidence.rigor.proves and _refutes(region, evidence):
                claim = visible(outcome.claim_text(region.claim))
                lines.append(
                    f"REFUTED {place}: two inputs found by {visible(evidence.verifier)} against the claim {claim}"
                )
                lines += [f"    {line}" for line in drawing.draw(evidence.witness, width - 4)]
                break
    return lines


def _refutes(region: RegionReport, evidence: Evidence) -> bool:
    return evidence.witness is not None and region.claim is not None and evidence.witness.ratio > region.claim.bound


def _unsupported(report: Report) -> list[str]:
    places: dict[tuple[str, str], list[str]] = {}
    for region in report.regions:
        for e in region.evidence:
            if e.reason:
                places.setdefault((e.verifier, e.reason), []).append(_place(region))
    lines = []
    for (verifier, reason), where in places.items():
        more = f" and {len(where) - 3} more" if len(where) > 3 else ""
        lines.append(f"{visible(verifier)} has no bound for {', '.join(where[:3])}{more}: {visible(reason, 500)}")
    return lines


def _pad(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def _paint(text: str, region: RegionReport) -> str:
    code = region.verdict and _COLOURS[region.verdict]
    return f"\x1b[{code}m{text}\x1b[0m" if code else text
