"""Regions: the part of a program that belongs to each call of each module, as a graph of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lipverify.graph.crosscheck import crosscheck
from lipverify.graph.fuse import fuse
from lipverify.graph.layer_graph import LayerGraph, Node, Region, Regions
from lipverify.graph.lower import lower, value_of
from lipverify.maps import Affine, Opaque, Shape
from lipverify.read.calls import split_call
from lipverify.read.focus import advice
from lipverify.read.program import Operation, Program


def regions(program: Program) -> Regions:
    """Every region by path, the whole program ("") first, then module calls in the order of their first operation.

    The region of a module's call is the function from the one value that its operations read to the one value of theirs
    that is read elsewhere: of a module that returns several values, it says nothing about those that it passes through.

    A module whose operations compute weights only, or that has none (an identity), has no region.

    Raises:
        CrossCheckError: where a lowered map does not do what the program does.
    """
    nodes = lower(program)
    by_name = {op.name: op for op in program.operations}
    where = {name: by_name[value_of(name)] for name in nodes}
    for name, reason in crosscheck(program, nodes).items():
        map_ = nodes[name].map
        nodes[name] = replace(nodes[name], map=Opaque(where[name].target, reason, (), map_.output_shape))
    merged: dict[tuple[int, int], Affine] = {}
    members: dict[str, list[str]] = {"": list(nodes)}
    for name in nodes:
        for call in where[name].calls[1:]:
            members.setdefault(call, []).append(name)
    foreign = foreign_readers(program)
    found = {path: _region(path, inside, program, nodes, where, merged, foreign) for path, inside in members.items()}
    return Regions(program, nodes, found)


def foreign_readers(program: Program) -> dict[str, str]:
    """Modules whose weights an operation reads that belongs to no call of an owner of them, with the reason.

    Such a module's calls are not all that its weights do: either another module uses them, or the record of which call an
    operation belongs to is wrong. Its region proves nothing. Tied weights have several owners, each as good as another;
    what holds of a module holds of those around it that the operation lies outside of, too.
    """
    aliases: dict[int, set[str]] = {}
    for value, weight in program.weights.items():
        for identity in (id(weight), weight.data_ptr()):
            aliases.setdefault(identity, set()).add(program.weight_names.get(value, "").rpartition(".")[0])
    made_of = {value: {value} for value in program.weights}
    foreign: dict[str, str] = {}
    for op in program.operations:
        if all(r in made_of for r in op.references):  # arithmetic on weights: what counts is where the outcome is used
            made_of[op.name] = set().union(*(made_of[r] for r in op.references))
            continue
        calls = {split_call(call, program.modules)[0] for call in op.calls}
        for value in set().union(*(made_of.get(r, set()) for r in op.references)):
            weight = program.weights[value]
            owners = (aliases[id(weight)] | aliases[weight.data_ptr()]) - {""}
            if owners & calls:
                continue
            reason = f"its weight {program.weight_names.get(value, value)} is read outside of it"
            chains = {".".join(owner.split(".")[:k]) for owner in owners for k in range(1, owner.count(".") + 2)}
            foreign.update((owner, reason) for owner in chains - calls)
    return foreign


def _region(
    path: str,
    inside: Sequence[str],
    program: Program,
    nodes: Mapping[str, Node],
    where: Mapping[str, Operation],
    merged: dict[tuple[int, int], Affine],
    foreign: Mapping[str, str],
) -> Region:
    own = set(inside)
    inputs = list(dict.fromkeys(i for name in inside for i in nodes[name].inputs if i not in own))
    if path == "":
        inputs, outputs = list(program.inputs), list(program.outputs)
    else:
        read_outside = {i for name, node in nodes.items() if name not in own for i in node.inputs} | set(
            program.outputs
        )
        outputs = [name for name in inside if name in read_outside]
    if len(inputs) != 1 or len(outputs) != 1:
        reason = f"it has {len(inputs)} inputs and {len(outputs)} outputs, not one of each"
        choice = "" if path else advice(program)
        return Region(path, None, None, f"{reason}: {choice}" if choice else reason)
    shape = nodes[inputs[0]].map.output_shape if inputs[0] in nodes else program.inputs[inputs[0]]
    part = _between(inputs[0], shape, outputs[0], nodes)
    if part is None:
        return Region(path, None, None, "its output does not depend on its input")
    original = program.between({inputs[0]: shape}, outputs)
    unsupported = foreign.get(split_call(path, program.modules)[0]) if path else None
    for name, node in part.nodes.items():
        if isinstance(node.map, Opaque):
            at = where[name]
            unsupported = f"{node.map.operation} in {at.calls[-1] or 'the model'}: {node.map.reason}"
            unsupported += f" ({at.source})" if at.source else ""
            break
    return Region(path, fuse(part, merged), original, unsupported, part)


def _between(start: str, shape: Shape, end: str, nodes: Mapping[str, Node]) -> LayerGraph | None:
    needed, stack = set[str](), [end]
    while stack:
        name = stack.pop()
        if name in nodes and name not in needed and name != start:
            needed.add(name)
            stack.extend(nodes[name].inputs)
    inside = {name: node for name, node in nodes.items() if name in needed}
    reads = {i for node in inside.values() for i in node.inputs} | {end}
    return LayerGraph(start, shape, inside, end) if start in reads else None
