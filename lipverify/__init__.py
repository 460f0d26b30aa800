"""lipverify: is a trained network as Lipschitz as it claims to be? Layer by layer, with bounds that survive rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lipverify.assertions import asserted_claims
    from lipverify.auditing import audit
    from lipverify.baseline import compare, read_certificate
    from lipverify.certificates import certify
    from lipverify.claims import Ball, Claim, NormPair, read_claims
    from lipverify.errors import LipverifyError
    from lipverify.evidence import Evidence, Rigor, Witness
    from lipverify.graph.trace import trace
    from lipverify.models import Source, read_model
    from lipverify.read.focus import focus
    from lipverify.report import RegionReport, Report
    from lipverify.verdict import Mismatch, MismatchKind, Verdict
    from lipverify.verifiers import Problem, Verifier

__version__ = "0.1.0"

_HOMES = {
    "Ball": "claims",
    "NormPair": "claims",
    "Mismatch": "verdict",
    "MismatchKind": "verdict",
    "Problem": "verifiers",
    "Verifier": "verifiers",
    "asserted_claims": "assertions",
    "audit": "auditing",
    "Source": "models",
    "read_model": "models",
    "trace": "graph.trace",
    "focus": "read.focus",
    "Report": "report",
    "RegionReport": "report",
    "Claim": "claims",
    "read_claims": "claims",
    "certify": "certificates",
    "compare": "baseline",
    "read_certificate": "baseline",
    "LipverifyError": "errors",
    "Evidence": "evidence",
    "Rigor": "evidence",
    "Witness": "evidence",
    "Verdict": "verdict",
}

__all__ = [
    "Ball",
    "Claim",
    "Evidence",
    "LipverifyError",
    "Mismatch",
    "MismatchKind",
    "NormPair",
    "Problem",
    "RegionReport",
    "Report",
    "Rigor",
    "Source",
    "Verdict",
    "Verifier",
    "Witness",
    "asserted_claims",
    "audit",
    "certify",
    "compare",
    "focus",
    "read_certificate",
    "read_claims",
    "read_model",
    "trace",
]


def __getattr__(name: str) -> Any:
    """Public names are imported when first used: ``lipverify --help`` does not wait for torch."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"lipverify.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'lipverify' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__"})
