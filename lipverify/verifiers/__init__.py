"""Verifiers: region -> evidence. Independent of each other; each a configured value with a name."""

from __future__ import annotations

import importlib
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from lipverify.errors import LipverifyError, quoted
from lipverify.evidence import Contradiction, Evidence, Rigor
from lipverify.verifiers.problem import Problem, Verifier

BUILT_IN = {
    "spectral": "lipverify.verifiers.spectral:Spectral",
    "sdp": "lipverify.verifiers.sdp:SDP",
    "propagation": "lipverify.verifiers.propagation:Propagation",
    "witness": "lipverify.verifiers.witness:WitnessSearch",
}
"""Name -> where it lives; the default of an audit is all of them, in this order."""

__all__ = ["BUILT_IN", "Capped", "Problem", "Verifier", "admit"]


class Capped:
    """A third party's verifier: whatever rigor it reports, its bounds count as numeric at most."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self.name = verifier.name

    def verify(self, problem: Problem) -> Evidence:
        try:
            evidence = self._verifier.verify(problem)
        except Contradiction as found:
            raise RuntimeError(f"it reports a contradiction: {found}") from found
        return replace(evidence, rigor=Rigor.NUMERIC) if evidence.rigor.proves else evidence


def admit(verifier: str | Verifier, trusted: Collection[str] = ()) -> Verifier:
    """A verifier that may be asked: a built-in one, or a third party's, capped at numeric unless it is trusted.

    Args:
        verifier: a built-in name, ``package.module:Name`` (importing it runs its code), or a verifier itself.
        trusted: specs or names of third parties' verifiers whose rigor is believed.

    Raises:
        LipverifyError: where there is none, or what is there is no verifier.
    """
    found = _load(verifier) if isinstance(verifier, str) else verifier
    if not isinstance(found, Verifier) or not isinstance(found.name, str):
        raise LipverifyError(
            f"{quoted(verifier)} is no verifier",
            why="it needs a `name` and `verify(problem)`",
            step="See lipverify.verifiers.Verifier.",
        )
    if type(found).__module__.startswith("lipverify."):
        return found
    if found.name in BUILT_IN:
        raise LipverifyError(
            f"a third party's verifier calls itself {quoted(found.name)}", step="Give it its own name."
        )
    return found if {found.name, verifier if isinstance(verifier, str) else ""} & set(trusted) else Capped(found)


def _load(spec: str) -> Any:
    where = BUILT_IN.get(spec, spec)
    module, colon, name = where.partition(":")
    if not (module and colon and name):
        raise LipverifyError(
            f"there is no verifier {quoted(spec)}",
            step=f"The built-in ones are {', '.join(BUILT_IN)}; a third party's is written package.module:Name.",
        )
    try:
        found = getattr(importlib.import_module(module), name)
        return found() if isinstance(found, type) else found
    except (Exception, SystemExit) as error:  # a third party's code may raise anything, or end the process
        raise LipverifyError(
            f"the verifier {quoted(spec)} cannot be loaded",
            why=f"{type(error).__name__}: {quoted(error, 300)}",
            step="Its module must be importable: for one in this folder, set PYTHONPATH=.",
        ) from error
