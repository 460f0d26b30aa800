"""Lowering: a program in the vocabulary of maps. What is not in the tables, or not in this form, is Opaque.

Only operations that depend on the input are lowered; arithmetic on weights alone was folded before.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from lipverify.errors import LipverifyError, quoted
from lipverify.graph.fold import fold
from lipverify.graph.householder import householder
from lipverify.graph.intervals import NotFoldable
from lipverify.graph.layer_graph import Node
from lipverify.graph.patterns import recognised
from lipverify.graph.rules import FIRST_RESULT, PARTS, REFUSED, RULES, Rule
from lipverify.graph.scope import Lowered, NotLowered, Scope
from lipverify.maps import Map, Opaque, Shape, input_shapes
from lipverify.read.program import Operation, Program
from lipverify.read.shapes import types

MARK = "~"
"""Between the name of a value and the number of a map before it; in no name of a program."""


def lower(program: Program) -> dict[str, Node]:
    """Every operation that depends on the input and that an output depends on, as nodes, in program order.

    The node that computes a value of the program has its name. Where an operation is several maps, the ones before the
    last have names of their own (:func:`auxiliary`).

    Raises:
        LipverifyError: where a value of the program has such a name.
    """
    for name in (*program.inputs, *program.weights, *(op.name for op in program.operations)):
        if MARK in name:
            raise LipverifyError(
                f"a value of the program is named {quoted(name)}", step="Rename it, without the sign ~."
            )
    weights, refused = fold(program)
    known = types(program)
    shapes = {name: shape for name, (shape, _) in known.items()}
    dtypes = {name: dtype for name, (_, dtype) in known.items()}
    operations = {op.name: op for op in program.operations}
    scope = Scope(weights, shapes, dtypes, program.dtype, operations)
    nodes: dict[str, Node] = {}
    for op in program.operations:
        if op.name not in weights and op.name not in refused:
            _place(nodes, op.name, *lower_operation(op, scope, refused))
    needed, stack = set[str](), list(program.outputs)
    while stack:
        value = stack.pop()
        if value in nodes and value not in needed:
            needed.add(value)
            stack.extend(nodes[value].inputs)
    return {name: node for name, node in nodes.items() if name in needed}


def value_of(node: str) -> str:
    """The value of the program that a node computes, or that it stands before."""
    return node.partition(MARK)[0]


def auxiliary(node: str) -> bool:
    """Whether a node stands before the one that computes a value of the program."""
    return MARK in node


def _place(nodes: dict[str, Node], name: str, map_: Map, inputs: tuple[str | Lowered, ...]) -> None:
    """The map as a node of that name, after the nodes of what it acts on."""
    reads = []
    for i, source in enumerate(inputs):
        if not isinstance(source, str):
            _place(nodes, f"{name}{MARK}{i}", *source)
        reads.append(source if isinstance(source, str) else f"{name}{MARK}{i}")
    nodes[name] = Node(name, map_, tuple(reads))


def lower_operation(op: Operation, scope: Scope, refused: Mapping[str, str] = {}) -> Lowered:
    """The map of one operation and what it acts on; Opaque with the reason where there is none."""
    result = f"its result {op.args[1]} is " if op.target == "getitem" and op.args[1] else ""
    try:
        op, rule = _rule(op, scope)
        bad = next((refused[r] for r in op.references if r in refused), None)
        if bad is not None and rule is not RULES["aten.slice_scatter.default"]:
            raise NotLowered(f"{bad}, which it reads, cannot be folded")
        if rule is None:
            raise NotLowered(f"{result}not in the vocabulary")
        if op.target in REFUSED:
            raise NotLowered(REFUSED[op.target])
        if any(name not in scope.shapes for name in (op.name, *op.references)):
            raise NotLowered("its values have no shapes of their own")
        values = [r for r in op.references if r not in scope.weights and r not in refused]
        if any(scope.dtypes[name] != scope.dtype for name in (op.name, *values)):
            raise NotLowered(f"its values are not of the program's dtype {scope.dtype}")
        lowered = rule(op, scope)
        if not _fits(lowered, scope.shapes[op.name], scope):
            raise NotLowered("the shapes of its map are not those of the program")
        return lowered
    except (NotLowered, NotFoldable) as reason:
        return _opaque(op, str(reason), scope, refused)
    except (ArithmeticError, IndexError, RuntimeError, TypeError, ValueError) as error:
        return _opaque(op, f"its rule fails on it ({type(error).__name__})", scope, refused)


def _opaque(op: Operation, reason: str, scope: Scope, refused: Mapping[str, str]) -> Lowered:
    values = tuple(r for r in dict.fromkeys(op.references) if r not in scope.weights and r not in refused)
    return Opaque(op.target, reason, (), scope.shapes.get(op.name, ())), values


def _rule(op: Operation, scope: Scope) -> tuple[Operation, Rule | None]:
    """The rule of an operation, and the operation that it is a rule of: of a getitem the one that it takes a result of."""
    if op.target != "getitem":
        known = recognised(op, scope) or householder(op, scope) or op
        return known, RULES.get(known.target)
    source, index = op.args
    producer = scope.operations[source.name]
    whole = Operation(op.name, producer.target, producer.args, producer.kwargs, producer.calls, producer.source)
    if producer.target in PARTS:
        return whole, partial(PARTS[producer.target], result=index)
    return whole, FIRST_RESULT.get(producer.target) if index == 0 else None


def _fits(lowered: Lowered, shape: Shape, scope: Scope) -> bool:
    """Whether the maps have this output shape and everywhere the input shapes of what they act on."""
    map_, inputs = lowered
    wanted = input_shapes(map_)
    return (
        map_.output_shape == shape
        and len(wanted) == len(inputs)
        and all(
            scope.shapes[source] == part if isinstance(source, str) else _fits(source, part, scope)
            for source, part in zip(inputs, wanted, strict=True)
        )
    )
