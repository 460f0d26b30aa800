"""Two certificates beside each other -> text, json, markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any

from rich.cells import cell_len

from lipverify.baseline import Change, Comparison, Margin, MarginPair, Pair, Statement
from lipverify.baseline.origin import GraphChange
from lipverify.numerals import decimal_down, decimal_up
from lipverify.render.escape import lower_text, markdown, upper_text, visible
from lipverify.render.outcome import place
from lipverify.render.structured import dumped
from lipverify.render.tabular import row

SCHEMA = "lipverify-comparison/1"
HEAD = ["layer", "claim", "verdict", "upper", "outcome"]
DIGITS = 7
MAX_NAMES = 8
"""Of tensors or claims in one line."""
_UNREMARKABLE = {Change.SAME, Change.NOISE}


def render(comparison: Comparison, format: str, *, exit_code: int, width: int = 140, colour: bool = False) -> str:
    """The comparison in one of :data:`lipverify.render.FORMATS`.

    In text and Markdown: a row for every statement that changed, the meaning of each outcome, what differs in weights,
    graph, claims and tools, and the exit code. In JSON: everything, bounds as exact hexadecimal floats.

    Raises:
        ValueError: for an unknown format.
    """
    if format == "text":
        return _text(comparison, exit_code, width, colour)
    if format == "json":
        return dumped(_data(comparison, exit_code))
    if format == "markdown":
        return _markdown(comparison, exit_code)
    raise ValueError(f"{format!r} is no format of a comparison")


def _text(comparison: Comparison, exit_code: int, width: int, colour: bool) -> str:
    if comparison.origin.graph is GraphChange.FIRST:
        count = len(comparison.pairs) + len(comparison.margins)
        return f"The first baseline: {count} statements. Exit code {exit_code}.\n"
    pairs = _changed(comparison)
    rows = [HEAD, *(_cells(pair, visible) for pair in pairs)]
    widths = [max(cell_len(cell) for cell in column) for column in zip(*rows, strict=True)]
    if sum(widths) + 2 * len(widths) <= width:
        rows.insert(1, ["-" * w for w in widths])
        lines = ["  ".join(c + " " * (w - cell_len(c)) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]
    else:
        lines = ["  ".join((cells[-1], *cells[:-1])) for cells in rows[1:]]
    if colour:
        failing = len(lines) - len(pairs), len(lines) - len(pairs) + sum(pair.fails for pair in pairs)
        lines[slice(*failing)] = [f"\x1b[1;31m{line}\x1b[0m" for line in lines[slice(*failing)]]
    lines = [*lines, *_margins(comparison)] if pairs else _margins(comparison)
    about = [*_meanings(comparison), *_origin(comparison, visible)]
    return "\n".join([*lines, *([""] if lines else []), *about, "", _summary(comparison, exit_code)]) + "\n"


def _markdown(comparison: Comparison, exit_code: int) -> str:
    pairs = _changed(comparison)
    lines = ["## Comparison of certificates", ""]
    if pairs:
        lines += [row(HEAD), row(["---"] * len(HEAD)), *(row(_cells(pair, markdown)) for pair in pairs), ""]
    items = [*map(markdown, [*_margins(comparison), *_meanings(comparison)]), *_origin(comparison, markdown)]
    lines += [f"- {item}" for item in items]
    return "\n".join([*lines, "", _summary(comparison, exit_code)]) + "\n"


def _changed(comparison: Comparison) -> list[Pair]:
    """What is shown: everything that changed, what fails first."""
    pairs = [pair for pair in comparison.pairs if not set(pair.changes) <= _UNREMARKABLE]
    return sorted(pairs, key=lambda pair: not pair.fails)


def _cells(pair: Pair, escape: Callable[[str, int], str]) -> list[str]:
    names = (None if s is None else place(s.path) + (f" {s.norm}" if s.norm != "l2->l2" else "") for s in _both(pair))
    outcome = ", ".join(change.name for change in pair.changes)
    return [
        _then_now([None if name is None else escape(name, 48) for name in names]),
        _then_now([None if s is None else escape(_claim(s), 60) for s in _both(pair)]),
        _then_now([None if s is None else str(s.verdict or "-") for s in _both(pair)]),
        _then_now([None if s is None else upper_text(s.upper, DIGITS, s.bound) for s in _both(pair)]) + _growth(pair),
        f"FAILS: {outcome}" if pair.fails else outcome,
    ]


def _both(pair: Pair) -> tuple[Statement | None, Statement | None]:
    return pair.old, pair.new


def _then_now(texts: Sequence[str | None]) -> str:
    """What was, and what is where that is something else."""
    return " -> ".join(dict.fromkeys(text for text in texts if text is not None))


def _claim(s: Statement) -> str:
    return "-" if s.claim is None else f"<= {s.claim}" + ("" if s.domain is None else f" in the ball {s.domain[:8]}")


def _growth(pair: Pair) -> str:
    then, now = (None if s is None else s.upper for s in _both(pair))
    if not then or now is None or now == then:
        return ""
    percent = abs(now - then) / then * 100
    return f" (+{decimal_up(percent, 3)} %)" if now > then else f" (-{decimal_down(percent, 3)} %)"


def _margins(comparison: Comparison) -> list[str]:
    """A line for every margin that is another one than it was; one for all, where none is stated any more."""
    gone = sum(pair.new is None for pair in comparison.margins)
    if gone > 1 and gone == len(comparison.margins):
        asked = "was NEW audited with --at and --radius?"
        return [
            f"{gone} inputs kept their class, of none is it stated any more ({asked})  FAILS: {Change.VANISHED.name}"
        ]
    changed = (pair for pair in comparison.margins if pair.change not in _UNREMARKABLE)
    return [_margin(pair) for pair in sorted(changed, key=lambda pair: not pair.fails)]


def _margin(pair: MarginPair) -> str:
    of = next(margin for margin in (pair.old, pair.new) if margin is not None)
    radii = _then_now([None if m is None else lower_text(m.radius, DIGITS) for m in (pair.old, pair.new)])
    outcome = f"FAILS: {pair.change.name}" if pair.fails else pair.change.name
    return f"input {of.input[:12]} keeps class {of.kept} within {radii}  {outcome}"


def _meanings(comparison: Comparison) -> list[str]:
    found = {change for pair in comparison.pairs for change in pair.changes} | {p.change for p in comparison.margins}
    return [f"{change.name}: {change.meaning}" for change in Change if change in found - _UNREMARKABLE]


def _origin(comparison: Comparison, escape: Callable[[str, int], str]) -> list[str]:
    """What differs beside the statements: a line each for weights, graph, claims and tools."""
    origin = comparison.origin

    def listed(what: str, names: Iterable[str]) -> str:
        texts = [escape(name, 80) for name in names]
        more = f" and {len(texts) - MAX_NAMES} more" if len(texts) > MAX_NAMES else ""
        return f"{len(texts)} {what}: {', '.join(texts[:MAX_NAMES])}{more}" if texts else ""

    renamed = (f"{old} -> {new}" for old, new in origin.renamed)
    weights = [
        listed(what, names)
        for what, names in (
            ("changed", origin.changed),
            ("new", origin.new),
            ("gone", origin.vanished),
            ("renamed", renamed),
        )
    ]
    claimed: dict[str, list[str]] = {"of another bound or domain": [], "new": [], "gone": []}
    for pair in comparison.claims:
        before, now = (s is not None and s.bound is not None for s in _both(pair))
        what = "new" if not before else "of another bound or domain" if now else "gone"
        claimed[what] += [place(s.path) for s in (pair.new or pair.old,) if s is not None]
    tools = (f"{name} {old or 'none'} -> {new or 'none'}" for name, old, new in origin.tools)
    claims = [listed(what, names) for what, names in claimed.items()]
    return [
        f"weights ({origin.weights}): {'; '.join(filter(None, weights)) or 'the same'}",
        f"graph: {origin.graph.value}",
        f"claims: {'; '.join(filter(None, claims)) or 'the same'}",
        f"tools: {listed('of another version', tools) or 'the same'}",
    ]


def _summary(comparison: Comparison, exit_code: int) -> str:
    failing = sum(pair.fails for pair in (*comparison.pairs, *comparison.margins))
    same = sum(set(pair.changes) <= _UNREMARKABLE for pair in comparison.pairs)
    same += sum(pair.change in _UNREMARKABLE for pair in comparison.margins)
    count = len(comparison.pairs) + len(comparison.margins)
    means = f"{failing} weaker than before" if failing else "nothing is weaker than it was"
    if failing and exit_code == 0:
        means += ", which would fail; accepted by --update"
    return f"{count} statements, {same} as they were: {means}. Exit code {exit_code}."


def _data(comparison: Comparison, exit_code: int) -> dict[str, Any]:
    origin = comparison.origin
    return {
        "schema": SCHEMA,
        "fails": comparison.fails,
        "exit_code": exit_code,
        "tolerance": str(comparison.tolerance.upper),
        "statements": [
            {
                "old": _statement(pair.old),
                "new": _statement(pair.new),
                "changes": [change.name for change in pair.changes],
                "fails": pair.fails,
            }
            for pair in comparison.pairs
        ],
        "margins": [
            {"old": _radius(p.old), "new": _radius(p.new), "changes": [p.change.name], "fails": p.fails}
            for p in comparison.margins
        ],
        "weights": {
            "changed": list(origin.changed),
            "new": list(origin.new),
            "vanished": list(origin.vanished),
            "renamed": [list(pair) for pair in origin.renamed],
        },
        "graph": origin.graph.name,
        "tools": [{"name": name, "old": old, "new": new} for name, old, new in origin.tools],
        "meanings": {change.name: change.meaning for change in Change},
    }


def _statement(s: Statement | None) -> dict[str, Any] | None:
    if s is None:
        return None
    return {
        "path": s.path,
        "norm": s.norm,
        "domain": s.domain,
        "claim": s.claim,
        "verdict": s.verdict and str(s.verdict),
        "upper": _hex(s.upper),
        "rule": s.rule,
    }


def _radius(m: Margin | None) -> dict[str, Any] | None:
    return None if m is None else {"input": m.input, "class": m.kept, "norm": m.norm, "radius": str(m.radius)}


def _hex(upper: Fraction | None) -> str | None:
    return None if upper is None else float(upper).hex()
