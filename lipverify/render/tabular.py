"""Report -> Markdown, for pull requests and pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lipverify.render import outcome
from lipverify.render.escape import lower_text, markdown, upper_text
from lipverify.verdict import Verdict

if TYPE_CHECKING:
    from lipverify.evidence import Evidence
    from lipverify.report import RegionReport, Report

DIGITS = 7


def render(report: Report, exit_code: int) -> str:
    """The report as Markdown: one table with a row per region, then mismatches, reasons and notes as a list."""
    names = list(dict.fromkeys(e.verifier for r in report.regions for e in r.evidence))
    head = ["layer", "claim", "verdict", *map(markdown, names), "rule", "seconds"]
    lines = [f"## Audit of {markdown(report.model)}", "", row(head), row(["---"] * len(head))]
    lines += [row(_cells(region, names)) for region in report.regions]
    items = []
    for region in report.regions:
        place = markdown(outcome.place(region.path))
        items += [f"- **MISMATCH ({m.kind})** {place}: {markdown(m.message, 1000)}" for m in region.mismatches]
        if region.reason:
            items.append(f"- {region.verdict or 'no verdict'} {place}: {markdown(region.reason, 1000)}")
        items += [_witness(place, e) for e in region.evidence if region.verdict is Verdict.REFUTED and e.witness]
    items += [f"- note: {markdown(note, 1000)}" for note in report.notes]
    if items:
        lines += ["", *items]
    return "\n".join([*lines, "", markdown(" ".join(outcome.summary(report, exit_code)), 1000)]) + "\n"


def _cells(region: RegionReport, names: list[str]) -> list[str]:
    by_name = {e.verifier: e for e in region.evidence}
    seconds = sum(e.seconds for e in region.evidence)
    verdict = "-" if region.verdict is None else f"**{region.verdict}**"
    return [
        markdown(outcome.place(region.path)),
        markdown(outcome.claim_text(region.claim)),
        verdict,
        *(_bounds(region, by_name.get(name)) for name in names),
        markdown(region.rule, 60) or "-",
        f"{seconds:.2f}",
    ]


def _bounds(region: RegionReport, evidence: Evidence | None) -> str:
    if evidence is None:
        return "-"
    if evidence.lower is None and evidence.upper is None:
        return f"no bound: {markdown(evidence.reason, 120)}" if evidence.reason else "no bound"
    claim = region.claim and region.claim.bound
    lower, upper = lower_text(evidence.lower, DIGITS, claim), upper_text(evidence.upper, DIGITS, claim)
    return f"&#91;{lower}, {upper}&#93; {evidence.rigor}{' local' if evidence.local else ''}"


def _witness(place: str, evidence: Evidence) -> str:
    ratio = lower_text(evidence.witness.ratio if evidence.witness else None, 12)
    return f"- {place}: two inputs found by {markdown(evidence.verifier)} show a ratio of at least {ratio}"


def row(cells: list[str]) -> str:
    """A row of a table, of cells that are escaped already."""
    return f"| {' | '.join(cells)} |"
