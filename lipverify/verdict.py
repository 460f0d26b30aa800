"""Evidence and a claim make a verdict; bounds that contradict each other or the claim make a mismatch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from lipverify.claims import Claim
from lipverify.evidence import Evidence
from lipverify.numerals import decimal_down, decimal_up

DIGITS = 17
"""Of the bounds in a mismatch: enough to see which one is larger."""


class Verdict(StrEnum):
    """What is known of a claim."""

    PROVED = "PROVED"
    """A rigorous upper bound is at or below the claim."""
    REFUTED = "REFUTED"
    """Two inputs show a ratio above the claim."""
    UNDECIDED = "UNDECIDED"
    """No rigorous bound reaches the claim from either side."""
    UNSUPPORTED = "UNSUPPORTED"
    """The layer contains an operation for which no rigorous bound can be derived."""
    CONFLICT = "CONFLICT"
    """Two rigorous bounds contradict each other: a verifier is wrong. Please report it."""


class MismatchKind(StrEnum):
    """What a contradiction is between."""

    CLAIM = "claim"
    RIGOROUS = "rigorous"
    NUMERIC = "numeric"


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A contradiction, in words: which bounds, of which verifiers, on which layer."""

    kind: MismatchKind
    path: str
    message: str


def judge(
    path: str, claim: Claim | None, evidence: Sequence[Evidence], unsupported: str | None
) -> tuple[Verdict | None, tuple[Mismatch, ...]]:
    """The verdict on ``claim`` (None without one), and every contradiction among the bounds and with the claim.

    Only rigorous bounds decide. An upper bound that holds on the whole space proves the claim on any domain; a local one
    proves nothing. Two inputs refute, and nothing else: their verifier was asked for the claim's domain.
    """
    mismatches = (
        *_against_claim(path, claim, evidence),
        *_among_bounds(path, evidence),
        *(
            Mismatch(MismatchKind.NUMERIC, path, f"{e.verifier}: {e.contradiction}")
            for e in evidence
            if e.contradiction
        ),
    )
    if claim is None:
        return None, mismatches
    rigorous = [e for e in evidence if e.rigor.proves]
    proved = any(e.upper is not None and e.upper <= claim.bound and not e.local for e in rigorous)
    refuted = any(e.witness is not None and e.witness.ratio > claim.bound for e in rigorous)
    if (proved and refuted) or any(m.kind is MismatchKind.RIGOROUS for m in mismatches):
        return Verdict.CONFLICT, mismatches
    if refuted:
        return Verdict.REFUTED, mismatches
    if proved:
        return Verdict.PROVED, mismatches
    return (Verdict.UNDECIDED if unsupported is None else Verdict.UNSUPPORTED), mismatches


def _against_claim(path: str, claim: Claim | None, evidence: Sequence[Evidence]) -> list[Mismatch]:
    if claim is None:
        return []
    return [
        Mismatch(
            MismatchKind.CLAIM,
            path,
            f"{e.verifier} found at least {decimal_down(e.lower, DIGITS)} ({e.rigor}) where {claim.text} is claimed",
        )
        for e in evidence
        if e.lower is not None and e.lower > claim.bound
    ]


def _among_bounds(path: str, evidence: Sequence[Evidence]) -> list[Mismatch]:
    """Every lower bound above an upper bound of the whole space; a local upper bound says nothing elsewhere."""
    found = []
    for low in evidence:
        for high in evidence:
            if low.lower is None or high.upper is None or high.local or low.lower <= high.upper:
                continue
            both = low.rigor.proves and high.rigor.proves
            found.append(
                Mismatch(
                    MismatchKind.RIGOROUS if both else MismatchKind.NUMERIC,
                    path,
                    f"{low.verifier} found at least {decimal_down(low.lower, DIGITS)} ({low.rigor}) where {high.verifier} "
                    f"found at most {decimal_up(high.upper, DIGITS)} ({high.rigor})",
                )
            )
    return found
