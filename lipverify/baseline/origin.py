"""What two certificates are of, and by what they were made: weights, graph and tools, told apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from lipverify.baseline.stated import Certificate, Statement, Stored
from lipverify.certificates.canonical import digest

MAX_VISITS = 1 << 22
"""Of nodes, to tell which regions are the same under other names; beyond it none are said to be."""


class GraphChange(Enum):
    """How one graph differs from another; the value says it."""

    SAME = "the same"
    RENAMED = "the same maps under other names"
    OTHER = "another one"
    FIRST = "the first one"


@dataclass(frozen=True, slots=True)
class Origin:
    """What differs in what the statements of two certificates are of, and in what they were made by.

    Attributes:
        weights: how many tensors the new one reads.
        changed, new, vanished: names of tensors.
        renamed: pairs of names, old and new, of tensors that are equal bit for bit.
        graph: how the graphs differ.
        tools: (name, version then, version now) where these differ; None where there is none.
    """

    weights: int
    changed: tuple[str, ...]
    new: tuple[str, ...]
    vanished: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]
    graph: GraphChange
    tools: tuple[tuple[str, str | None, str | None], ...]


def origin(old: Certificate | None, new: Certificate) -> Origin:
    """What differs, beside the statements themselves."""
    before, made = ({}, {}) if old is None else (old.weights, old.made)
    changed = [name for name in new.weights if name in before and before[name] != new.weights[name]]
    fresh = {name: stored for name, stored in new.weights.items() if name not in before}
    again: dict[Stored, list[str]] = {}
    for name in reversed(fresh):
        again.setdefault(fresh[name], []).append(name)
    gone = [name for name in before if name not in new.weights]
    renamed = {name: again[before[name]].pop() for name in gone if again.get(before[name])}
    tools = ((name, made.get(name), new.made.get(name)) for name in sorted({*made, *new.made}))
    return Origin(
        len(new.weights),
        tuple(changed),
        tuple(name for names in again.values() for name in reversed(names)),
        tuple(name for name in gone if name not in renamed),
        tuple(renamed.items()),
        GraphChange.FIRST if old is None else _graph_change(old, new),
        tuple(tool for tool in tools if tool[1] != tool[2]),
    )


def functions(certificate: Certificate, statements: Iterable[Statement]) -> dict[Statement, str]:
    """Of each statement whose region has a graph, a digest of its maps and their weights, whatever their names."""

    def stored(name: str) -> Any:
        entry = certificate.weights.get(name)
        return entry and [entry.dtype, entry.shape, entry.sha256]

    statements = [s for s in statements if s.input is not None and s.output is not None]
    nodes = {node["value"]: node for node in certificate.graph["nodes"]}
    if len(statements) * len(nodes) > MAX_VISITS:
        return {}
    found = {}
    for s in statements:
        needed, stack = set[Any](), [s.output]
        while stack:
            value = stack.pop()
            if value in nodes and value not in needed and value != s.input:
                needed.add(value)
                stack += nodes[value]["reads"]
        inside = [node for value, node in nodes.items() if value in needed]
        found[s] = digest(_unnamed(inside, [certificate.graph["input"], s.input], stored))
    return found


def _graph_change(old: Certificate, new: Certificate) -> GraphChange:
    if old.graph["sha256"] == new.graph["sha256"]:
        return GraphChange.SAME
    unnamed = []
    for graph in (old.graph, new.graph):
        order: dict[str, int] = {}
        maps = _unnamed(graph["nodes"], [graph["input"]], lambda name, order=order: order.setdefault(name, len(order)))
        unnamed.append([graph["shape"], maps])
    return GraphChange.RENAMED if unnamed[0] == unnamed[1] else GraphChange.OTHER


def _unnamed(nodes: Iterable[Mapping[str, Any]], start: list[Any], weight: Callable[[str], Any]) -> list[Any]:
    """Maps with numbers for the names of values, in order, and ``weight(name)`` for those of weights."""
    number = {value: i for i, value in enumerate(start)}
    maps = []
    for node in nodes:
        maps.append([_replaced(node["map"], weight), [number[value] for value in node["reads"]]])
        number[node["value"]] = len(number)
    return maps


def _replaced(value: Any, weight: Callable[[str], Any]) -> Any:
    if isinstance(value, dict):
        named = value.get("weight")
        inner = {key: _replaced(v, weight) for key, v in value.items()}
        return inner | {"weight": weight(named)} if isinstance(named, str) else inner
    return [_replaced(v, weight) for v in value] if isinstance(value, list) else value
