"""ONNX: what is converted computes the same, no name or path of the file is obeyed, everything else is refused by name."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from lipverify.errors import LipverifyError
from lipverify.graph import regions
from lipverify.models import Source, read_model

onnx = pytest.importorskip("onnx")
if find_spec("onnx2torch") is None:
    pytest.skip("there is no converter", allow_module_level=True)

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

W = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
CONSTANT = helper.make_tensor("c", TensorProto.INT64, [2], [1, 3])


def network(nodes=None, shape=(1, 3), opset=17, **more):
    nodes = nodes or [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", more.pop("dtype", TensorProto.FLOAT), shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        more.pop("weights", [numpy_helper.from_array(W.T.copy(), "w")]),
    )
    domains = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in more.pop("domains", ()))]
    return helper.make_model(graph, opset_imports=domains, ir_version=8)


def saved(path, model):
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def test_a_graph_is_read_named_and_compared(tmp_path):
    program = read_model(saved(tmp_path / "m.onnx", network()))
    x = torch.rand(1, 3)
    assert torch.allclose(program(x), (x @ torch.from_numpy(W.T)).relu())
    assert "first" in regions(program) and "onnx" in program.notes[0]


def test_constants_and_reshapes_are_settled(tmp_path):
    nodes = [
        helper.make_node("Constant", [], ["c"], value=CONSTANT),
        helper.make_node("Reshape", ["x", "c"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["y"]),
    ]
    program = read_model(saved(tmp_path / "m.onnx", network(nodes, shape=("batch", 3, 1))))
    assert program.inputs == {"input_1": (1, 3, 1)} and program(torch.ones(1, 3, 1)).shape == (1, 4)


@pytest.mark.parametrize("part", ["name", "output", "graph", "doc"])
def test_names_that_are_code_are_not_run(tmp_path, part):
    marker = tmp_path / "trace"
    code = f'x"), __import__("os").mkdir("{marker}"), ("'.replace("/", "\\x2f")
    eval(code.join(('("', '")')), {})
    assert marker.exists(), "the payload is live"
    marker.rmdir()
    model = network()
    if part == "name":
        model.graph.node[0].name = code
    elif part == "output":
        model.graph.node[0].output[0] = model.graph.node[1].input[0] = code
        model.graph.input[0].name = model.graph.node[0].input[0] = code + "2"
    elif part == "graph":
        model.graph.name = code
    else:
        model.doc_string = model.graph.node[0].doc_string = code
    program = read_model(saved(tmp_path / "m.onnx", model))
    program(torch.ones(1, 3))
    assert not marker.exists(), "code of the file ran"


def external(location):
    model = network()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return model


def graph_attribute():
    inner = network().graph
    nodes = [helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)]
    return network(nodes)


def lying(dims):
    model = network()
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend(dims)
    return model


def with_function():
    model = network()
    model.functions.append(helper.make_function("d", "f", ["x"], ["y"], [], [helper.make_opsetid("", 17)]))
    return model


def twice():
    model = network()
    model.graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), model.graph.initializer[0].name))
    return model


def versions(*domains):
    model = network()
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(domain, 17 - i) for i, domain in enumerate(domains))
    return model


REFUSED = {
    "a tensor twice": (twice, "stored twice"),
    "two versions": (lambda: versions("", ""), "2 versions"),
    "two versions under two names": (lambda: versions("", "ai.onnx"), "2 versions"),
    "no version": (versions, "0 versions"),
    "external data": (lambda: external("weights.bin"), "external"),
    "external data outside": (lambda: external("../../etc/passwd"), "external"),
    "a custom domain": (
        lambda: network([helper.make_node("F", ["x"], ["y"], domain="evil")], domains=["evil"]),
        "'evil'",
    ),
    "an imported domain": (lambda: network(domains=["ai.onnx.ml"]), "'ai.onnx.ml'"),
    "a function": (with_function, "functions"),
    "a subgraph": (graph_attribute, "is a graph"),
    "a giant tensor": (lambda: lying([2**40, 2**20]), "does not fit its bytes"),
    "a negative tensor": (lambda: lying([-3, -4]), "does not fit its bytes"),
    "a text tensor": (
        lambda: network(weights=[helper.make_tensor("w", TensorProto.STRING, [1], [b"x"])]),
        "dtype number 8",
    ),
    "an open shape": (lambda: network(shape=(1, "n")), "static shape"),
    "a giant input": (lambda: network(shape=(1, 2**31)), "over the limit"),
    "an integer input": (lambda: network([helper.make_node("Abs", ["x"], ["y"])], dtype=TensorProto.INT64), "int64"),
    "an unknown operator": (lambda: network([helper.make_node("NoSuch", ["x"], ["y"])]), "NoSuch"),
    "an operator's name": (lambda: network([helper.make_node("a b", ["x"], ["y"])]), "'a b'"),
    "a random draw": (lambda: network([helper.make_node("RandomNormalLike", ["x"], ["y"])]), "refused"),
    "nothing": (lambda: b"", "empty"),
    "no protobuf": (lambda: b"\xff" * 99, "no ONNX model"),
    "no graph": (lambda: b"\x08\x07", "no ONNX model"),
    "cut short": (lambda: network().SerializeToString()[:-9], "no ONNX model|refused"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_everything_else_is_refused(tmp_path, name):
    make, message = REFUSED[name]
    with pytest.raises(LipverifyError, match=message):
        read_model(saved(tmp_path / "m.onnx", make()))


def test_a_conversion_that_computes_something_else_is_refused(tmp_path, monkeypatch):
    path = saved(tmp_path / "m.onnx", network())
    from lipverify.read import onnx as reader

    true = reader._evaluator
    monkeypatch.setattr(reader, "_evaluator", lambda *a: ("a test", lambda x: [y + 1e-3 for y in true(*a)[1](x)]))
    with pytest.raises(LipverifyError, match="computes something else"):
        read_model(path)


def test_a_factory_has_no_place_beside_a_program(tmp_path):
    with pytest.raises(LipverifyError, match="own program"):
        read_model(saved(tmp_path / "m.onnx", network()), Source(factory="a:b"))


def test_an_intermediate_that_would_take_all_memory_is_refused_before_it_is_computed(tmp_path):
    large = helper.make_tensor("c", TensorProto.INT64, [2], [1 << 20, 1 << 20])
    nodes = [
        helper.make_node("Constant", [], ["c"], value=large),
        helper.make_node("ReduceSum", ["x"], ["s"]),
        helper.make_node("Expand", ["s", "c"], ["e"]),
        helper.make_node("Add", ["e", "e"], ["y"]),
    ]
    with pytest.raises(LipverifyError, match=r"limit|cannot"):
        read_model(saved(tmp_path / "m.onnx", network(nodes)))
