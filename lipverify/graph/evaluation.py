"""What operations compute, by torch in float64, and what maps compute, by their own definitions in numpy."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from lipverify.actions import apply
from lipverify.graph.layer_graph import Node
from lipverify.graph.lower import auxiliary, lower
from lipverify.maps import Array, Concatenation, Extremum, Map, Sum
from lipverify.read.program import Operation, Program, run

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True, slots=True)
class Weighted:
    """A program under certain weights.

    Attributes:
        program: with these weights.
        nodes: what it is lowered to.
        operations: its operations, by name.
        places: of each operation in the order of the program.
        constants: its values that depend on weights alone.
    """

    program: Program
    nodes: Mapping[str, Node]
    operations: Mapping[str, Operation]
    places: Mapping[str, int]
    constants: dict[str, torch.Tensor]

    @classmethod
    def of(cls, program: Program, nodes: Mapping[str, Node] | None = None) -> Weighted:
        lowered = lower(program) if nodes is None else nodes
        operations = {op.name: op for op in program.operations}
        places = {name: place for place, name in enumerate(operations)}
        return cls(program, lowered, operations, places, constants(program))

    def computed(self, name: str, inputs: Mapping[str, Array]) -> Array | None:
        """The value of that name by the operations between it and the values ``inputs``; None where one is missing."""
        given = {source: torch.from_numpy(np.asarray(x)) for source, x in inputs.items()}
        known = ChainMap(given, self.constants)  # what is computed here goes into the first
        steps, stack = set[str](), [name]
        while stack:
            step = stack.pop()
            if step in known or step in steps:
                continue
            if step not in self.operations:
                return None
            steps.add(step)
            stack.extend(self.operations[step].references)
        for step in sorted(steps, key=self.places.__getitem__):
            known[step] = run(self.operations[step], known, dict.fromkeys(FLOATS, torch.float64))
        return known[name].detach().numpy()

    def mapped(self, name: str, inputs: Mapping[str, Array]) -> Array:
        """The value of a node by the definitions of its map and of those before it that are no value of the program."""
        node = self.nodes[name]
        return act(node.map, [self.mapped(i, inputs) if auxiliary(i) else inputs[i] for i in node.inputs])


def act(map_: Map, inputs: list[Array]) -> Array:
    """The action of any map of the vocabulary on its inputs, by its definition."""
    match map_:
        case Sum(shape, signs):
            return sum((s * x for s, x in zip(signs, inputs, strict=True)), np.zeros(shape))
        case Concatenation(axis=axis):
            return np.concatenate(inputs, axis)
        case Extremum(largest=largest):
            return (np.maximum if largest else np.minimum)(*inputs)
    return apply(map_, inputs[0])


def constants(program: Program) -> dict[str, torch.Tensor]:
    """Every value that depends on weights alone, computed by torch in float64, where it can be."""
    values = {n: w.to(torch.float64) if w.is_floating_point() else w for n, w in program.weights.items()}
    for op in program.operations:
        if all(r in values for r in op.references):
            try:
                values[op.name] = run(op, values, dict.fromkeys(FLOATS, torch.float64))
            except (RuntimeError, ValueError, TypeError, NotImplementedError):
                continue
    return values
