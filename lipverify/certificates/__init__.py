"""Certificates: what an audit proved, as data that a checker without lipverify accepts or refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lipverify.certificates.canonical import digest, dumps

if TYPE_CHECKING:
    from lipverify.certificates.certificate import SCHEMA, certify, graph_of, weights_of

__all__ = ["SCHEMA", "certify", "digest", "dumps", "graph_of", "weights_of"]


def __getattr__(name: str) -> Any:
    """What makes certificates is imported when first used: who reads one does not wait for torch."""
    if name in __all__:
        from importlib import import_module

        return getattr(import_module("lipverify.certificates.certificate"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
