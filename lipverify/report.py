"""The outcome of an audit, as data: what renderers draw and certificates are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from lipverify.claims import Claim, NormPair
from lipverify.evidence import Evidence
from lipverify.verdict import Mismatch, MismatchKind, Verdict

if TYPE_CHECKING:
    from lipverify.graph import Regions  # here: who compares or shows reports needs no torch

SCHEMA = "lipverify-report/1"


@dataclass(frozen=True, slots=True)
class RegionReport:
    """What the audit found on one region in one norm pair.

    Attributes:
        path: module path and call; "" is the whole network.
        norms: the norm pair of every bound here.
        claim: what was claimed, or None.
        verdict: None without a claim.
        lower, upper: the best rigorous bounds (None: none); the upper one holds on the whole space.
        rule: method of the best rigorous upper bound, or of the refuting lower bound.
        evidence: one per verifier.
        mismatches: contradictions found here.
        reason: why there is no proof, in words: an unsupported operation, or what is missing.
        input_shape: of the region, where known (to draw witnesses).
    """

    path: str
    norms: NormPair
    claim: Claim | None
    verdict: Verdict | None
    lower: Fraction | None
    upper: Fraction | None
    rule: str
    evidence: tuple[Evidence, ...]
    mismatches: tuple[Mismatch, ...]
    reason: str | None
    input_shape: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of an audit.

    Attributes:
        model: how the model was named (a file, or a class).
        semantics: "real": every verdict is of the real function that the stored weights define.
        regions: a row per claimed layer (per call) and one for the whole.
        notes: what a reader must know, e.g. weights that no output depends on.
        seconds: wall time of the whole audit.
        examined: the regions as they were audited, so that a certificate need not derive them again; no part of the outcome.
    """

    model: str
    semantics: str
    regions: tuple[RegionReport, ...]
    notes: tuple[str, ...]
    seconds: float
    examined: Regions | None = field(default=None, repr=False, compare=False)

    @property
    def verdict(self) -> Verdict | None:
        """The worst verdict of any claim: CONFLICT, REFUTED, UNSUPPORTED, UNDECIDED, PROVED; None without claims."""
        order = (Verdict.CONFLICT, Verdict.REFUTED, Verdict.UNSUPPORTED, Verdict.UNDECIDED, Verdict.PROVED)
        found = {r.verdict for r in self.regions}
        return next((v for v in order if v in found), None)

    @property
    def mismatches(self) -> tuple[Mismatch, ...]:
        return tuple(m for r in self.regions for m in r.mismatches)

    @property
    def exit_code(self) -> int:
        """0 all PROVED; 1 any REFUTED or CONFLICT; 3 something UNDECIDED or UNSUPPORTED, or nothing was claimed."""
        verdicts = {r.verdict for r in self.regions if r.claim is not None}
        if verdicts & {Verdict.REFUTED, Verdict.CONFLICT} or any(
            m.kind is MismatchKind.RIGOROUS for m in self.mismatches
        ):
            return 1
        return 0 if verdicts == {Verdict.PROVED} else 3
