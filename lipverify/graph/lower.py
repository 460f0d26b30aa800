"""Lowering: a program in the vocabulary of maps. What is not in the table, or not in this form, is Opaque.

Only operations that depend on the input are lowered; arithmetic on weights alone was folded before.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from lipverify.graph.fold import NotFoldable, fold
from lipverify.graph.layer_graph import Node
from lipverify.graph.rules import RULES
from lipverify.graph.scope import Lowered, NotLowered, Scope
from lipverify.maps import Opaque, Shape
from lipverify.read.program import Operation, Program


def lower(program: Program) -> dict[str, Node]:
    """Every operation that depends on the input and that an output depends on, as a node, in program order."""
    weights, refused = fold(program)
    scope = Scope(weights, value_shapes(program), program.dtype)
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
        if op.name not in scope.shapes:
            raise NotLowered("it returns no tensor")
        rule = RULES.get(op.target)
        if rule is None:
            raise NotLowered("not in the vocabulary")
        map_, inputs = rule(op, scope)
        if map_.output_shape != scope.shapes[op.name] or any(map_.input_shape != scope.shapes[i] for i in inputs):
            raise NotLowered("the shapes of its map are not those of the program")
        return map_, inputs
    except (NotLowered, NotFoldable) as reason:
        return Opaque(op.target, str(reason), (), scope.shapes.get(op.name, ())), values


def value_shapes(program: Program) -> dict[str, Shape]:
    """The shape of every tensor value, from a run without numbers."""
    inputs = [torch.empty(shape, dtype=program.dtype, device="meta") for shape in program.inputs.values()]
    shapes = {}
    for name, value in program.values(*inputs).items():
        if isinstance(value, torch.Tensor):
            shapes[name] = tuple(int(n) for n in value.shape)
    return shapes
