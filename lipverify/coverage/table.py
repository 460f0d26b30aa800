"""The coverage table: what each room says of one example of every operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch

from lipverify.coverage.examples import EXAMPLES, REFUSED, Example
from lipverify.errors import LipverifyError
from lipverify.graph import LayerGraph, Region, regions
from lipverify.graph.rules import FIRST_RESULT, PARTS, RULES
from lipverify.maps import (
    Adjoint,
    Affine,
    Concatenation,
    Convolution,
    Dense,
    Extremum,
    Gather,
    LinearMap,
    Lipschitz,
    Map,
    Pad,
    Pointwise,
    Rearrange,
    Sum,
)
from lipverify.rigor.enclose import NotEnclosed, enclose
from lipverify.rigor.norms import norm
from lipverify.verifiers.problem import Problem
from lipverify.verifiers.propagation.canonical import Forward
from lipverify.verifiers.propagation.layers import NotCanonical
from lipverify.verifiers.sdp.forms import NotExpressible, forms
from lipverify.verifiers.spectral import Spectral

HEAD = """# Coverage

What is bounded, by whom, for every operation that has a rule. This page is the output of `python -m lipverify.coverage`,
which asks the code about one small example of each operation; a test compares the two.

- *constant*: what the `spectral` verifier uses, on the whole space, l2 to l2, real semantics, for the parameters of the
  example (torch's defaults). A norm is a proved one; its method is named where it does not depend on the size.
- *sdp*: the operation has an affine form for the matrix inequality, so that a whole region of such operations has a bound.
- *witness*: it has a rule in ball arithmetic, so that a pair of inputs can prove a lower bound and a refutation.
- *local*: it has a form for `propagation` (numeric bounds around given inputs).
- *certificate*: "not yet", for all of them: nothing that a third party could check without lipverify is written so far.

An operation may still be refused in a form that its rule does not cover; the reason says which. Whatever is not in these
tables is UNSUPPORTED by its name.
"""
CERTIFICATE = "not yet"


@dataclass(frozen=True, slots=True)
class Row:
    """What the code says of one operation: a section of the page, and the cells behind the operation's name."""

    section: str
    target: str
    cells: tuple[str, ...]


def rows() -> list[Row]:
    """A row for every operation with a rule, in the order of the examples, then for those refused.

    Raises:
        LipverifyError: where an operation with a rule has no example.
    """
    missing = (RULES.keys() | FIRST_RESULT.keys() | PARTS.keys()) - {example.target for example in EXAMPLES}
    if missing:
        raise LipverifyError(
            f"the coverage table has no example of {', '.join(sorted(missing))}",
            step="Add one to lipverify/coverage/examples.py.",
        )
    return [_row(example) for example in (*EXAMPLES, *REFUSED)]


def markdown() -> str:
    """The page; operations of one section with equal cells share a row."""
    found = rows()
    parts = [HEAD]
    for section, columns in SECTIONS.items():
        grouped: dict[tuple[str, ...], list[str]] = {}
        for row in found:
            if row.section == section:
                grouped.setdefault(row.cells, []).append(_shown(row.target))
        lines = [(", ".join(dict.fromkeys(names)), *cells) for cells, names in grouped.items()]
        parts.append(f"\n## {section}\n\n{_table(('operation', *columns), lines)}")
    return "".join(parts)


VERIFIED = ("constant", "sdp", "witness", "local", "certificate")
SECTIONS = {
    "Linear maps": VERIFIED,
    "Copies": VERIFIED,
    "Several values": VERIFIED,
    "Activations": VERIFIED,
    "Functions of vectors": VERIFIED,
    "Unsupported": ("reason", "witness"),
}


def _row(example: Example) -> Row:
    program = example.program()
    region = regions(program)[""]
    witness = _answer(lambda: enclose(program, torch.full(example.shape, 0.25, dtype=torch.float64)), NotEnclosed)
    if region.unsupported is not None or region.graph is None:
        reason = (region.unsupported or "it has no graph").partition(": ")[2]
        return Row("Unsupported", example.target, (reason, witness))
    graph = region.graph
    sdp = _answer(lambda: forms(graph), NotExpressible)
    local = _answer(lambda: Forward(graph), NotCanonical)
    return Row(_section(graph), example.target, (_constant(region, graph), sdp, witness, local, CERTIFICATE))


def _answer(ask: Callable[[], object], refusal: type[Exception]) -> str:
    try:
        ask()
    except refusal:
        return "no"
    return "yes"


def _section(graph: LayerGraph) -> str:
    maps = [node.map for node in graph.nodes.values()]
    if any(isinstance(m, Sum | Concatenation | Extremum) for m in maps):
        return "Several values"
    if any(isinstance(m, Lipschitz) for m in maps):
        return "Functions of vectors"
    if any(isinstance(m, Pointwise) for m in maps):
        return "Activations"
    moved = all(isinstance(m, Affine) and not _weighs(m.linear) for m in maps)
    return "Copies" if moved else "Linear maps"


def _weighs(linear: LinearMap) -> bool:
    return not isinstance(linear, Rearrange | Gather | Pad)


def _constant(region: Region, graph: LayerGraph) -> str:
    evidence = Spectral().verify(Problem(region))
    if evidence.upper is None:
        raise LipverifyError(f"the spectral verifier does not bound {region.path}", why=evidence.reason or "")
    return " after ".join(_said(node.map) for node in reversed(list(graph.nodes.values())))


def _said(map_: Map) -> str:
    match map_:
        case Affine(linear=Adjoint(of=of)):
            return f"norm of {type(of).__name__}, of which it is the adjoint"
        case Affine(linear=Dense() | Convolution() as linear):
            return f"norm of {type(linear).__name__}"
        case Affine(linear=linear):
            return f"norm of {type(linear).__name__}: {norm(linear).method}"
        case Pointwise(slopes=(low, high)):
            return f"slopes in [{_number(low)}, {_number(high)}]"
        case Lipschitz(square=square, why=why):
            return f"sqrt({_number(square)}): {why}" if square != 1 else f"1: {why}"
        case Sum():
            return "sum of the constants"
        case Concatenation() | Extremum():
            return "joint: root of the sum of squares, less for parts of one value"
    raise TypeError(f"{map_!r} has no place in the table")


def _number(q: Fraction) -> str:
    return str(q) if q.denominator < 1000 else f"{float(q):.6g}"


def _shown(target: str) -> str:
    name = target.removeprefix("aten.").removesuffix(".default")
    return f"`{name}`"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(head)
    cells = [[cell.replace("|", "\\|") for cell in line] for line in (head, rule, *lines)]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)
