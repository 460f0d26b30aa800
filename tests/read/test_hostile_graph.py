"""A graph that lies is refused by name: operators, arguments, shapes, order."""

from __future__ import annotations

import archives
import pytest
import torch
from archives import spoil
from hostile import refused
from torch import nn

OPERATORS = [
    "torch.ops.aten.from_file.default",
    "torch.ops.aten.relu_.default",
    "torch.ops.aten.relu.out",
    "torch.ops.aten.rand.default",
    "torch.ops.aten.bernoulli.default",
    "torch.ops.aten.set_.source_Tensor",
    "torch.ops.mylib.op.default",
    "torch.ops.higher_order.cond",
    "os.system",
    "_operator.add",
    "torch.ops.aten.__class__.default",
    "torch.ops.aten.relu.__call__",
    "aten.no_such.default",
    "",
    "\x1b[31m::error::",
]


@pytest.mark.parametrize("target", OPERATORS, ids=repr)
def test_operators_outside_the_list_are_refused_by_name(tmp_path, target):
    def change(model):
        model["graph_module"]["graph"]["nodes"][-1]["target"] = target

    text = refused(spoil(tmp_path / "m.pt2", change), "is not read")
    assert "module '1'" in text and "next:" in text


BAD_ARGUMENTS = [
    {"as_graph": {"name": "g", "graph": {}}},
    {"as_custom_obj": {"name": "o", "class_fqn": "c"}},
    {"as_float": "NaN"},
    {"as_complex": {"real": 1, "imag": 1}},
    {"as_int": True},
    {"as_int": 1, "as_float": 2.0},
    {"as_operator": "os.system"},
    {"as_scalar_type": 10},
    {"as_tensor": {"name": 3}},
    {},
    None,
    7,
]


@pytest.mark.parametrize("arg", BAD_ARGUMENTS, ids=repr)
def test_other_arguments_are_refused(tmp_path, arg):
    def change(model):
        model["graph_module"]["graph"]["nodes"][0]["inputs"][1]["arg"] = arg

    refused(spoil(tmp_path / "m.pt2", change), "refused")


def graph_of(model):
    return model["graph_module"]["graph"]


def signature_of(model):
    return model["graph_module"]["signature"]


LIES = {
    "shape": (lambda m: graph_of(m)["tensor_values"]["relu"]["sizes"].append({"as_int": 9}), "gives shape"),
    "argument": (lambda m: graph_of(m)["nodes"][0]["inputs"][1].update(arg={"as_ints": [0, 5]}), "does not run"),
    "huge": (
        lambda m: graph_of(m)["nodes"][0]["inputs"][1].update(arg={"as_ints": [0, 10**30]}),
        "does not run|refused",
    ),
    "order": (lambda m: graph_of(m)["nodes"].reverse(), "before it is computed"),
    "twice": (lambda m: graph_of(m)["nodes"].append(graph_of(m)["nodes"][0]), "computed twice"),
    "input": (lambda m: graph_of(m)["inputs"].pop(), "different inputs"),
    "output": (
        lambda m: signature_of(m)["output_specs"][0]["user_output"]["arg"].update(as_tensor={"name": "z"}),
        "never computed",
    ),
    "unknown key": (lambda m: graph_of(m)["nodes"][0].update(hook="x"), "unknown key 'hook'"),
    "unknown graph key": (lambda m: graph_of(m).update(hook="x"), "unknown key 'hook'"),
    "version": (lambda m: m["schema_version"].update(major=9), "another generation"),
    "named argument": (
        lambda m: graph_of(m)["nodes"][1]["inputs"][0].update(name="out"),
        "arguments that its operator",
    ),
    "mutation": (
        lambda m: signature_of(m)["output_specs"].insert(
            0, {"buffer_mutation": {"arg": {"name": "relu"}, "buffer_name": "b"}}
        ),
        "eval",
    ),
    "integer input": (lambda m: graph_of(m)["tensor_values"]["input"].update(dtype=5), "floating point"),
    "complex input": (lambda m: graph_of(m)["tensor_values"]["input"].update(dtype=10), "floating point"),
    "empty input": (lambda m: graph_of(m)["tensor_values"]["input"]["sizes"].__setitem__(0, {"as_int": 0}), "is empty"),
    "negative size": (
        lambda m: graph_of(m)["tensor_values"]["input"]["sizes"].__setitem__(0, {"as_int": -1}),
        "natural number",
    ),
    "stack": (lambda m: graph_of(m)["nodes"][0]["metadata"].update(nn_module_stack="a,b"), "cannot be told apart"),
    "no graph": (lambda m: m.pop("graph_module"), "layout"),
    "a list": (lambda m: [m], "layout"),
    "a number": (lambda m: 3, "layout"),
    "nodes": (lambda m: graph_of(m).update(nodes=5), "layout"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_graph_that_lies_is_refused(tmp_path, name):
    change, message = LIES[name]

    def quietly(model):
        changed = change(model)
        return changed if name.startswith("a ") else None

    refused(spoil(tmp_path / "m.pt2", quietly), message)


def test_training_mode_is_refused(tmp_path):
    for layer in (nn.BatchNorm1d(3), nn.Dropout()):
        path = tmp_path / "m.pt2"
        path.write_bytes(archives.save(nn.Sequential(nn.Linear(3, 3), layer), torch.zeros(4, 3), core=False))
        assert "eval" in refused(path, "train|eval")


def test_dynamic_shapes_are_refused_with_the_next_step(tmp_path):
    path = tmp_path / "m.pt2"
    shapes = ({0: torch.export.Dim("n")},)
    path.write_bytes(archives.save(nn.Linear(3, 2).eval(), torch.zeros(4, 3), dynamic_shapes=shapes))
    assert "static shapes" in refused(path, "dynamic")
