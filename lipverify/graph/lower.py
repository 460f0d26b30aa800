"""Lowering: a program in the vocabulary of maps. What is not in the table, or not in this form, is Opaque.

Only operations that depend on the input are lowered; arithmetic on weights alone was folded before.
"""

from __future__ import annotations

from collections.abc import Mapping

from lipverify.graph.fold import NotFoldable, fold
from lipverify.graph.layer_graph import Node
from lipverify.graph.rules import RULES
from lipverify.graph.scope import Lowered, NotLowered, Scope
from lipverify.maps import Opaque, input_shapes
from lipverify.read.program import Operation, Program
from lipverify.read.shapes import types


def lower(program: Program) -> dict[str, Node]:
    """Every operation that depends on the input and that an output depends on, as a node, in program order."""
    weights, refused = fold(program)
    known = types(program)
    shapes = {name: shape for name, (shape, _) in known.items()}
    dtypes = {name: dtype for name, (_, dtype) in known.items()}
    scope = Scope(weights, shapes, dtypes, program.dtype)
    nodes: dict[str, Node] = {}
    for op in program.operations:
        if op.name not in weights and op.name not in refused:
            map_, inputs = lower_operation(op, scope, refused)
            nodes[op.name] = Node(op.name, map_, inputs)
    needed, stack = set[str](), list(program.outputs)
    while stack:
        value = stack.pop()
        if value in nodes and value not in needed:
            needed.add(value)
            stack.extend(nodes[value].inputs)
    return {name: node for name, node in nodes.items() if name in needed}


def lower_operation(op: Operation, scope: Scope, refused: Mapping[str, str] = {}) -> Lowered:
    """The map of one operation and the values it acts on; Opaque with the reason where there is none."""
    values = tuple(r for r in dict.fromkeys(op.references) if r not in scope.weights and r not in refused)
    try:
        bad = next((refused[r] for r in op.references if r in refused), None)
        if bad is not None:
            raise NotLowered(f"{bad}, which it reads, cannot be folded")
        rule = RULES.get(op.target)
        if rule is None:
            raise NotLowered("not in the vocabulary")
        if any(name not in scope.shapes for name in (op.name, *op.references)):
            raise NotLowered("its values have no shapes of their own")
        if any(scope.dtypes[name] != scope.dtype for name in (op.name, *values)):
            raise NotLowered(f"its values are not of the program's dtype {scope.dtype}")
        map_, inputs = rule(op, scope)
        if map_.output_shape != scope.shapes[op.name] or input_shapes(map_) != tuple(scope.shapes[i] for i in inputs):
            raise NotLowered("the shapes of its map are not those of the program")
        return map_, inputs
    except (NotLowered, NotFoldable) as reason:
        return Opaque(op.target, str(reason), (), scope.shapes.get(op.name, ())), values
