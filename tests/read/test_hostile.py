"""No code of a file runs, and a spoiled file is refused by name: live payloads, bombs, paths, lies."""

from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
from io import BytesIO

import archives
import numpy as np
import pytest
import torch
from archives import MODEL, WEIGHTS, entries, pack, spoil, tiny
from torch import nn

from lipverify.errors import ReadError
from lipverify.read import read
from lipverify.read.arrays import read_array


class Payload:
    """Unpickled, it leaves a trace."""

    def __init__(self, marker) -> None:
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


@pytest.fixture
def marker(tmp_path):
    marker = tmp_path / "trace"
    pickle.loads(pickle.dumps(Payload(marker)))
    assert marker.exists(), "the payload is live"
    marker.rmdir()
    yield marker
    assert not marker.exists(), "code of the file ran"


def torch_pickle(marker) -> bytes:
    buffer = BytesIO()
    torch.save(Payload(marker), buffer)
    return buffer.getvalue()


def refused(path, message: str) -> str:
    with pytest.raises(ReadError, match=message) as error:
        read(path)
    text = str(error.value)
    assert str(path.name) in text and "where: " in text and len(text) < 2000 and "\x1b" not in text
    return text


def test_pickled_sample_inputs_are_never_opened(tmp_path, marker):
    files = entries(tiny()) | {"data/sample_inputs/model.pt": torch_pickle(marker)}
    assert read(pack(tmp_path / "m.pt2", files)).outputs


@pytest.mark.parametrize("entry", [WEIGHTS, "data/constants/model_constants_config.json"])
def test_pickled_weights_and_constants_are_refused_unopened(tmp_path, marker, entry):
    files = entries(tiny())
    config = json.loads(files[entry])
    config["config"]["0.weight"] = {"path_name": "weight_0", "is_param": True, "use_pickle": True, "tensor_meta": None}
    directory = entry.rpartition("/")[0]
    files |= {entry: json.dumps(config).encode(), f"{directory}/weight_0": torch_pickle(marker)}
    assert "'0.weight'" in refused(pack(tmp_path / "m.pt2", files), "stored as a pickle")


@pytest.mark.parametrize("value", [1, "false", None, "", 0])
def test_only_a_plain_false_means_no_pickle(tmp_path, value):
    def change(config):
        config["config"]["0.weight"]["use_pickle"] = value

    refused(spoil(tmp_path / "m.pt2", change, WEIGHTS), "pickle")


@pytest.mark.parametrize("name", ["a.pt", "a.pth", "a.pkl", "a.pt2", "a.bin", "a"])
def test_a_pickle_under_any_name_is_refused_unopened(tmp_path, marker, name):
    for data in (pickle.dumps(Payload(marker)), torch_pickle(marker)):
        (tmp_path / name).write_bytes(data)
        assert "next:" in refused(tmp_path / name, "pickle|torch.export")


def test_a_symbolic_expression_is_not_evaluated(tmp_path, marker):
    expression = f"__import__('os').mkdir({str(marker)!r})"

    def dynamic(model):
        meta = model["graph_module"]["graph"]["tensor_values"]["input"]
        meta["sizes"][0] = {"as_expr": {"expr_str": expression, "hint": {"as_int": 1}}}

    refused(spoil(tmp_path / "m.pt2", dynamic), "dynamic")

    def argument(model):
        model["graph_module"]["graph"]["nodes"][0]["inputs"][1]["arg"] = {
            "as_sym_int": {"as_expr": {"expr_str": expression}}
        }

    refused(spoil(tmp_path / "m.pt2", argument), "symbolic")

    def constraint(model):
        model["range_constraints"] = {expression: {"min_val": 0, "max_val": 3}}
        model["guards_code"] = [expression]

    assert read(spoil(tmp_path / "m.pt2", constraint)).outputs


@pytest.mark.parametrize(
    "name",
    ["data/aotinductor/model/x.so", "data/aotinductor/model/x.cpp", "executorch/p.pte", "extra/a.so", "hooks.py"],
)
def test_compiled_libraries_and_unknown_entries_are_refused(tmp_path, name):
    refused(pack(tmp_path / "m.pt2", entries(tiny()) | {name: b"\x7fELF"}), "compiled|unknown entry")


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


def meta(**fields):
    return lambda config: config["config"]["0.weight"]["tensor_meta"].update(fields)


def sizes(*numbers):
    return [{"as_int": n} for n in numbers]


@pytest.mark.parametrize(
    "change",
    [
        meta(storage_offset={"as_int": 1}),
        meta(storage_offset={"as_int": -1}),
        meta(strides=sizes(3, 2)),
        meta(strides=sizes(3)),
        meta(sizes=sizes(2, 4)),
        meta(sizes=sizes(2**40, 3), strides=sizes(0, 1)),
        meta(dtype=8),
        meta(dtype=9),
        meta(dtype=99),
        meta(layout=1),
        lambda c: c["config"]["0.weight"].update(path_name="../weight_0"),
        lambda c: c["config"]["0.weight"].update(path_name="weight_77"),
        lambda c: c["config"]["0.weight"].update(tensor_meta=None),
        lambda c: c["config"].pop("0.weight"),
        lambda c: c["config"].clear(),
    ],
)
def test_a_weight_that_does_not_fit_its_bytes_is_refused(tmp_path, change):
    path = spoil(tmp_path / "m.pt2", lambda config: [change(config), config][1], WEIGHTS)
    assert "0.weight" in refused(path, "refused")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path, value):
    files = entries(tiny())
    config = json.loads(files[WEIGHTS])["config"]["0.weight"]["path_name"]
    entry = f"data/weights/{config}"
    files[entry] = files[entry][:-4] + struct.pack("<f", value)
    assert "'0.weight'" in refused(pack(tmp_path / "m.pt2", files), "NaN or infinity")


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


def test_big_endian_and_foreign_archives_are_refused(tmp_path):
    files = entries(tiny())
    refused(pack(tmp_path / "m.pt2", files | {"byteorder": b"big"}), "little-endian")
    refused(pack(tmp_path / "m.pt2", files | {"archive_format": b"zip"}), "not one of torch.export")
    refused(pack(tmp_path / "m.pt2", files | {"models/other.json": b"{}"}), "2 models")
    refused(pack(tmp_path / "m.pt2", {k: v for k, v in files.items() if k != MODEL}), "0 models")
    refused(pack(tmp_path / "m.pt2", {}), "torch.export|empty|zip")
    refused(pack(tmp_path / "m.pt2", files | {"serialized_state_dict.pt": b""}), "before 2.8")


def test_compressed_entries_are_refused_before_they_inflate(tmp_path):
    bomb = entries(tiny()) | {"extra/zeros": bytes(50_000_000)}
    path = pack(tmp_path / "m.pt2", bomb, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 200_000
    refused(path, "compressed")


def test_overlapping_entries_are_refused(tmp_path):
    path = pack(tmp_path / "m.pt2", entries(tiny()) | {"extra/a": b"x" * 30_000})
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.start_dir
    central = data[start:]
    position = central.index(b"archive/extra/a") - 46
    record = central[position : position + 46 + len("archive/extra/a")]
    count = 5
    extra = b"".join(record.replace(b"extra/a", b"extra/" + bytes([98 + i])) for i in range(count))
    end = central.index(b"PK\x05\x06")
    tail = bytearray(central[end:])
    entries_now, size = struct.unpack("<HL", tail[10:16])
    struct.pack_into("<HHL", tail, 8, entries_now + count, entries_now + count, size + len(extra))
    path.write_bytes(bytes(data[:start]) + bytes(central[:end]) + extra + bytes(tail))
    refused(path, "overlap|differ|longer")


@pytest.mark.parametrize(
    "name", ["../../evil", "/etc/evil", "archive/../../evil", "a\\..\\b", "archive//x", "C:/x", "archive/./x"]
)
def test_paths_that_lead_out_are_refused(tmp_path, name):
    path = pack(tmp_path / "m.pt2", entries(tiny()))
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = info.orig_filename = name
        archive.writestr(info, b"")
    refused(path, "leads out|outside|several root")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_entries_are_refused(tmp_path):
    path = pack(tmp_path / "m.pt2", entries(tiny()))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"archive/{MODEL}", b"{}")
    refused(path, "appears twice")


def test_encrypted_entries_are_refused(tmp_path):
    path = pack(tmp_path / "m.pt2", entries(tiny()))
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        start = archive.start_dir
    path.write_bytes(data[: start + 8] + b"\x01" + data[start + 9 :])
    refused(path, "encrypted")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"[" * 200_000, "deep"),
        (b'{"a": ' * 5_000 + b"1" + b"}" * 5_000, "deep"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": Infinity}', "Infinity"),
        (b'{"a": ' + b"1" * 10_000 + b"}", "strict JSON"),
        (b"\xff\xfe", "UTF-8"),
        (b"", "strict JSON"),
        (b"{}", "layout"),
    ],
)
def test_json_that_is_not_strict_is_refused(tmp_path, text, message):
    refused(pack(tmp_path / "m.pt2", entries(tiny()) | {MODEL: text}), message)


def test_a_file_cut_anywhere_is_refused(tmp_path):
    data = tiny()
    for length in [1, 3, 4, 30, len(data) // 4, len(data) // 2, len(data) - 100, len(data) - 1]:
        (tmp_path / "m.pt2").write_bytes(data[:length])
        refused(tmp_path / "m.pt2", "refused|no model file")


def test_a_flipped_weight_bit_is_noticed(tmp_path):
    data = bytearray(tiny())
    with zipfile.ZipFile(BytesIO(tiny())) as archive:
        info = next(i for i in archive.infolist() if i.filename.endswith("weights/weight_0"))
    position = info.header_offset + 30 + struct.unpack_from("<H", data, info.header_offset + 26)[0]
    position += struct.unpack_from("<H", data, info.header_offset + 28)[0]
    data[position] ^= 1
    (tmp_path / "m.pt2").write_bytes(bytes(data))
    refused(tmp_path / "m.pt2", "damaged")


FILES = {
    "a.safetensors": (struct.pack("<Q", 2) + b"{}", "no program"),
    "a.onnx": (b"\x08\x07", "ONNX"),
    "a.json": (b"{}", "no model file"),
    "a.pt2": (b"", "empty"),
    "b.pt2": (b"hello world", "no model file"),
}


@pytest.mark.parametrize("name", FILES)
def test_other_files_are_told_what_they_are(tmp_path, name):
    data, message = FILES[name]
    (tmp_path / name).write_bytes(data)
    assert "torch.export.save" in refused(tmp_path / name, message)


def test_missing_files_and_directories_are_refused(tmp_path):
    refused(tmp_path / "none.pt2", "there is no file")
    (tmp_path / "d.pt2").mkdir()
    refused(tmp_path / "d.pt2", "directory")
    os.mkfifo(tmp_path / "f.pt2")
    refused(tmp_path / "f.pt2", "no regular file")


def test_a_name_full_of_terminal_codes_stays_harmless(tmp_path):
    path = tmp_path / "a\x1b[31m\n::error::.pt2"
    path.write_bytes(b"x")
    with pytest.raises(ReadError) as error:
        read(path)
    assert "\x1b" not in str(error.value) and "\n::" not in str(error.value)


def test_arrays_are_read_without_pickle(tmp_path, marker):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.ones((2, 3)), y=np.zeros(1))
    assert read_array(path).shape == (2, 3)
    np.savez(path, only=np.arange(3))
    assert read_array(path).tolist() == [0, 1, 2]
    np.save(tmp_path / "a.npy", np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    assert read_array(tmp_path / "a.npy").tolist() == [[0, 1, 2], [3, 4, 5]]
    np.save(tmp_path / "b.npy", np.array([Payload(marker)], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "c.npz", np.array([1j]))
    np.savez(tmp_path / "d.npz", np.array([np.nan]))
    np.savez(tmp_path / "e.npz", a=np.ones(1), b=np.ones(1))
    (tmp_path / "f.npz").write_bytes(path.read_bytes()[:50])
    (tmp_path / "g.npy").write_bytes(b"not an array")
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999999,), }"
    (tmp_path / "h.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    for name in ("b.npy", "c.npz", "d.npz", "e.npz", "f.npz", "g.npy", "h.npy", "none.npz"):
        with pytest.raises(ReadError, match=name):
            read_array(tmp_path / name)
