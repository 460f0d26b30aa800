"""Report -> text, json, markdown: pure functions. Whatever a model or a claim named is escaped in every format."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lipverify.report import Report

__all__ = ["FORMATS", "render"]

FORMATS = ("text", "json", "markdown")


def render(report: Report, format: str, *, exit_code: int | None = None, width: int = 140, colour: bool = False) -> str:
    """The report in one of :data:`FORMATS`.

    Args:
        report: what to render.
        format: one of :data:`FORMATS`.
        exit_code: what the process will exit with, where that is not the report's own.
        width, colour: for text.

    Raises:
        ValueError: for an unknown format.
    """
    from lipverify.render import structured, tabular, text

    code = report.exit_code if exit_code is None else exit_code
    if format == "text":
        return text.render(report, code, width=width, colour=colour)
    if format == "json":
        return structured.render(report, code)
    if format == "markdown":
        return tabular.render(report, code)
    raise ValueError(f"{format!r} is no report format; choose one of {', '.join(FORMATS)}")
