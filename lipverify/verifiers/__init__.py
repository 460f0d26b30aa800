"""Verifiers: region -> evidence. Independent of each other; each a configured value with a name."""

from __future__ import annotations

import importlib
from dataclasses import replace

from lipverify.errors import LipverifyError, quoted
from lipverify.evidence import Evidence, Rigor
from lipverify.verifiers.problem import Problem, Verifier

BUILT_IN = {
    "spectral": "lipverify.verifiers.spectral:Spectral",
    "sdp": "lipverify.verifiers.sdp:SDP",
    "propagation": "lipverify.verifiers.propagation:Propagation",
    "witness": "lipverify.verifiers.witness:WitnessSearch",
}
"""Name -> where it lives; the default of an audit is all of them, in this order."""

__all__ = ["BUILT_IN", "Capped", "Problem", "Verifier", "load"]


class Capped:
    """A third party's verifier: whatever rigor it reports, its bounds count as numeric at most."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self.name = verifier.name

    def verify(self, problem: Problem) -> Evidence:
        evidence = self._verifier.verify(problem)
        if not isinstance(evidence, Evidence):
            raise LipverifyError(
                f"the verifier {quoted(self.name)} returned {type(evidence).__name__}, not Evidence",
                step="See lipverify.evidence.",
            )
        return replace(evidence, rigor=Rigor.NUMERIC) if evidence.rigor.proves else evidence


def load(spec: str, *, trusted: bool = False) -> Verifier:
    """The verifier of a built-in name, or ``package.module:Name`` of a third party (importing it runs its code).

    A third party's is capped at numeric unless ``trusted``.

    Raises:
        LipverifyError: where there is none, or what is there is no verifier.
    """
    where = BUILT_IN.get(spec, spec)
    module, colon, name = where.partition(":")
    if not (module and colon and name):
        raise LipverifyError(
            f"there is no verifier {quoted(spec)}",
            step=f"The built-in ones are {', '.join(BUILT_IN)}; a third party's is written package.module:Name.",
        )
    try:
        found = getattr(importlib.import_module(module), name)
        verifier = found() if isinstance(found, type) else found
    except Exception as error:  # a third party's code may raise anything
        raise LipverifyError(
            f"the verifier {quoted(spec)} cannot be loaded", why=f"{type(error).__name__}: {quoted(error, 300)}"
        ) from error
    if not isinstance(verifier, Verifier) or not isinstance(verifier.name, str):
        raise LipverifyError(
            f"{quoted(spec)} is no verifier",
            why="it needs a `name` and `verify(problem)`",
            step="See lipverify.verifiers.",
        )
    return verifier if spec in BUILT_IN or trusted else Capped(verifier)
