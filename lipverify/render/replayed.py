"""Replayed witnesses -> text."""

from __future__ import annotations

from collections.abc import Sequence

from lipverify.render.escape import lower_text, visible
from lipverify.render.outcome import place
from lipverify.replay import Replayed


def render(done: Sequence[Replayed]) -> str:
    """A line per witness: what the report says, what is proved now, and what that means for the claim."""
    return "\n".join([_line(r) for r in done] or ["the report has no witness: nothing was replayed"]) + "\n"


def _line(r: Replayed) -> str:
    outside = "" if r.inside else ", outside the claim's ball: this pair refutes nothing"
    claim = ""
    if r.pair.claim is not None:
        claim = f"; claim <= {visible(r.pair.claim, 40)}: {'REFUTED' if r.refutes else 'not refuted by this pair'}"
    return (
        f"{visible(place(r.pair.path))} ({r.pair.norms}, found by {visible(r.pair.verifier)}): "
        f"report {lower_text(r.pair.ratio, 12)}, proved again {lower_text(r.proved, 12)}, "
        f"{'reproduced' if r.reproduced else 'NOT REPRODUCED'}{outside}{claim}"
    )
