"""What a report means, in the sentences that every human format ends with."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lipverify.claims import Claim
    from lipverify.report import Report

WHOLE = "(whole)"
EXIT_MEANING = {
    0: "every claim is proved",
    1: "a claim is refuted, or two rigorous bounds contradict each other",
    3: "something is undecided or unsupported, or nothing was claimed",
}


def summary(report: Report, exit_code: int) -> tuple[str, str, str]:
    """Three sentences: counts of verdicts, semantics, and what the exit code says."""
    counts = Counter(str(r.verdict) for r in report.regions if r.verdict is not None)
    found = ", ".join(f"{n} {verdict}" for verdict, n in sorted(counts.items())) or "no claims, hence no verdicts"
    semantics = {
        "real": "the real function that the stored weights define",
        "float": "the function that the machine computes",
    }
    speaks = semantics.get(report.semantics, report.semantics)
    meaning = EXIT_MEANING if counts else EXIT_MEANING | {0: "bounds were asked for, nothing was claimed"}
    return (
        f"{found}.",
        f"Verdicts are of {speaks} ({report.semantics} semantics).",
        f"Exit code {exit_code}: {meaning.get(exit_code, 'see above')}.",
    )


def place(path: str) -> str:
    """How a path is shown: the whole network has a name, too."""
    return {"": WHOLE, WHOLE: f'"{WHOLE}"'}.get(path, path)


def claim_text(claim: Claim | None) -> str:
    """``<= 1``, with the norm pair and the ball where they are not the default."""
    if claim is None:
        return "-"
    text = claim.text if len(claim.text) <= 24 else claim.text[:21] + "..."
    norm = "" if str(claim.norms) == "l2->l2" else f" {claim.norms}"
    ball = "" if claim.domain is None else f" in a ball of radius {claim.domain.radius}"
    return f"<= {text}{norm}{ball}"
