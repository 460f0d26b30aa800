"""Report -> text, json, markdown: pure functions. Whatever a model or a claim named is escaped in every format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lipverify.render import structured, tabular, text

if TYPE_CHECKING:
    from lipverify.audit import Report

__all__ = ["FORMATS", "render"]

FORMATS = ("text", "json", "markdown")


def render(report: Report, format: str, *, width: int = 140, colour: bool = False) -> str:
    """The report in one of :data:`FORMATS`; ``width`` and ``colour`` are for text.

    Raises:
        ValueError: for an unknown format.
    """
    if format == "text":
        return text.render(report, width=width, colour=colour)
    if format == "json":
        return structured.render(report)
    if format == "markdown":
        return tabular.render(report)
    raise ValueError(f"{format!r} is no report format; choose one of {', '.join(FORMATS)}")
