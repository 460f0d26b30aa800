"""What is read is what torch.export.load would run: a file with two programs or two sets of weights is refused."""

from __future__ import annotations

import copy
import json
import logging
import struct
import zipfile
from io import BytesIO

import archives
import pytest
import torch
from archives import MODEL, WEIGHTS, entries, pack, spoil, tiny
from torch import nn

import lipverify
from lipverify.errors import ReadError
from lipverify.read import read
from lipverify.verdict import Verdict

CONSTANTS = "data/constants/model_constants_config.json"


def refused(path, message: str) -> str:
    with pytest.raises(ReadError, match=message) as error:
        read(path)
    return str(error.value)


def parts(data: bytes) -> tuple[bytes, bytes, int]:
    """Entries, directory and number of entries of a plain archive."""
    end = data.rfind(b"PK\x05\x06")
    count, size, start = struct.unpack("<HII", data[end + 10 : end + 20])
    return data[:start], data[start : start + size], count


def end_record(count: int, size: int, start: int, comment: bytes = b"") -> bytes:
    return b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, count, count, size, start, len(comment)) + comment


def moved(directory: bytes, by: int) -> bytes:
    """The directory with every offset moved."""
    out, at = bytearray(directory), 0
    while at < len(out):
        (offset,) = struct.unpack_from("<L", out, at + 42)
        struct.pack_into("<L", out, at + 42, (offset + by) % 2**32)
        at += 46 + sum(struct.unpack_from("<3H", out, at + 28))
    return bytes(out)


@pytest.fixture
def plain(tmp_path):
    return pack(tmp_path / "m.pt2", entries(tiny())).read_bytes()


def test_two_programs_in_one_file_are_refused(tmp_path):
    """Python shifts the offsets of a directory that is not where the end record says; torch's reader does not."""
    torch.manual_seed(1)
    other = archives.save(nn.Sequential(nn.Linear(3, 2), nn.ReLU()).eval(), torch.zeros(1, 3))
    first, first_directory, count = parts(pack(tmp_path / "a.pt2", entries(tiny())).read_bytes())
    second, second_directory, _ = parts(pack(tmp_path / "b.pt2", entries(other)).read_bytes())
    ahead = len(first) + len(first_directory)
    shift = ahead + len(second) - len(first)
    data = first + first_directory + second + moved(second_directory, ahead - shift)
    path = tmp_path / "m.pt2"
    path.write_bytes(data + end_record(count, len(second_directory), len(first)))
    with zipfile.ZipFile(path) as python:
        assert python.read("archive/data/weights/weight_0") == entries(other)["data/weights/weight_0"], "a live attack"
    refused(path, "do not tile")


TIDINGS = {
    "prefix": lambda e, d, n: b"x" * 8 + e + d + end_record(n, len(d), len(e)),
    "moved prefix": lambda e, d, n: b"PK\x03\x04xxxx" + e + moved(d, 8) + end_record(n, len(d), len(e) + 8),
    "gap": lambda e, d, n: e + b"x" * 8 + d + end_record(n, len(d), len(e) + 8),
    "gap after": lambda e, d, n: e + d + b"x" * 8 + end_record(n, len(d), len(e)),
    "comment": lambda e, d, n: e + d + end_record(n, len(d), len(e), b"comment"),
    "two ends": lambda e, d, n: e + d + end_record(n, len(d), len(e), end_record(n, len(d), len(e))),
    "trailing": lambda e, d, n: e + d + end_record(n, len(d), len(e)) + b"x",
    "count": lambda e, d, n: e + d + end_record(n - 1, len(d), len(e)),
    "disks": lambda e, d, n: e + d + end_record(n, len(d), len(e)).replace(b"PK\x05\x06\0", b"PK\x05\x06\1"),
    "local name": lambda e, d, n: e.replace(b"weight_1", b"weight_7", 1) + d + end_record(n, len(d), len(e)),
    "local method": lambda e, d, n: e[:8] + b"\x08" + e[9:] + d + end_record(n, len(d), len(e)),
    "local size": lambda e, d, n: e[:18] + b"\x01" + e[19:] + d + end_record(n, len(d), len(e)),
    "zip64 elsewhere": lambda e, d, n: (
        e + d + b"PK\x06\x07" + struct.pack("<LQL", 0, 0, 1) + end_record(n, len(d), len(e))
    ),
    "hidden": lambda e, d, n: e + e + moved(d, len(e)) + end_record(n, len(d), 2 * len(e)),
}


@pytest.mark.parametrize("name", TIDINGS)
def test_an_archive_that_two_readers_may_read_in_two_ways_is_refused(tmp_path, plain, name):
    path = tmp_path / "m.pt2"
    path.write_bytes(TIDINGS[name](*parts(plain)))
    refused(path, "do not tile|no zip archive|cannot be read|no model file")


def test_a_zip64_end_record_that_differs_is_refused(tmp_path):
    data = tiny()
    end = data.rindex(b"PK\x06\x06")
    (tmp_path / "m.pt2").write_bytes(data)
    assert read(tmp_path / "m.pt2").outputs
    for position in (end + 4, end + 24, end + 32, end + 40, end + 48, data.rindex(b"PK\x06\x07") + 8):
        spoiled = bytearray(data)
        spoiled[position] ^= 1
        (tmp_path / "m.pt2").write_bytes(spoiled)
        refused(tmp_path / "m.pt2", "refused")


def test_entries_that_differ_by_case_alone_are_refused(tmp_path):
    files = entries(tiny())
    refused(pack(tmp_path / "m.pt2", files | {"data/weights/WEIGHT_0": bytes(24)}), "appears twice")


def test_weights_of_the_former_layout_are_refused(tmp_path):
    buffer = BytesIO()
    torch.save({"0.weight": torch.full((2, 3), 100.0)}, buffer)
    for name in ("data/weights/model.pt", "data/constants/model.pt", "data/weights/weight_9"):
        refused(pack(tmp_path / "m.pt2", entries(tiny()) | {name: buffer.getvalue()}), "belongs to no tensor")


@pytest.mark.parametrize("name", ["model.pt", "evil", "../weight_0", "custom_obj_0", "weight_0/x", 3, None])
def test_a_weight_lies_in_a_file_with_a_plain_name(tmp_path, name):
    def change(config):
        config["config"]["0.weight"]["path_name"] = name

    refused(spoil(tmp_path / "m.pt2", change, WEIGHTS), "no plain file name")


def of_both_kinds(tmp_path, change):
    """The larger network with its two payload configurations and its model changed together."""
    files = entries(archives.vanilla())
    values = {name: json.loads(files[name]) for name in (MODEL, WEIGHTS, CONSTANTS)}
    change(files, *values.values())
    return pack(tmp_path / "m.pt2", files | {name: json.dumps(v).encode() for name, v in values.items()})


def test_a_tensor_in_both_payloads_is_refused(tmp_path):
    def shadow(files, model, weights, constants):
        name = next(iter(constants["config"]))
        weights["config"][name] = constants["config"][name] | {"path_name": "weight_77"}
        files["data/weights/weight_77"] = files[f"data/constants/{constants['config'][name]['path_name']}"]

    refused(of_both_kinds(tmp_path, shadow), "stored twice")


def test_every_kind_of_tensor_comes_from_its_own_payload(tmp_path):
    def spec(model, fqn):
        specs = model["graph_module"]["signature"]["input_specs"]
        return next(s for s in specs if s.get("buffer", {}).get("buffer_name") == fqn)

    def persistent(files, model, weights, constants):
        spec(model, "dropped")["buffer"]["persistent"] = True

    def volatile(files, model, weights, constants):
        spec(model, "kept")["buffer"]["persistent"] = False

    def constant(files, model, weights, constants):
        own = spec(model, "kept")
        own["tensor_constant"] = {"arg": own.pop("buffer")["arg"], "tensor_constant_name": "kept"}

    for change in (persistent, volatile, constant):
        assert "weights" in refused(of_both_kinds(tmp_path, change), "is missing")


def test_a_file_in_two_dtypes_is_refused(tmp_path):
    def change(config):
        first, second = (config["config"][name] for name in ("0.bias", "0.weight"))
        second.update(path_name=first["path_name"], tensor_meta=copy.deepcopy(first["tensor_meta"]) | {"dtype": 13})

    refused(spoil(tmp_path / "m.pt2", change, WEIGHTS), "two dtypes")


def test_a_graph_and_a_signature_with_different_outputs_are_refused(tmp_path):
    def change(model):
        graph = model["graph_module"]["graph"]
        graph["outputs"] = [{"as_tensor": {"name": graph["nodes"][0]["outputs"][0]["as_tensor"]["name"]}}]

    refused(spoil(tmp_path / "m.pt2", change), "different outputs")


# Operators that compute nothing, nothing yet, or too much


class Mask(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x):
        x = self.linear(x.float())
        return x * (x > 0).float()


@pytest.mark.parametrize("core", [True, False])
def test_assertions_about_metadata_are_left_out(tmp_path, core):
    path = tmp_path / "m.pt2"
    path.write_bytes(archives.save(Mask().eval(), torch.zeros(1, 3), core=core))
    if core:
        assert b"_assert_tensor_metadata" in path.read_bytes()
    assert not [op for op in read(path).operations if "assert" in op.target]


def as_node(name: str, target: str, like, **arguments):
    inputs = [{"name": key, "kind": 1, "arg": value} for key, value in arguments.items()]
    return copy.deepcopy(like) | {
        "target": f"torch.ops.aten.{target}", "inputs": inputs, "outputs": [{"as_tensor": {"name": name}}], "name": name
    }  # fmt: skip


def extended(path, *nodes):
    """The tiny archive with further nodes, the last of which is the output."""

    def change(model):
        graph = model["graph_module"]["graph"]
        graph["nodes"] += [as_node(name, target, graph["nodes"][-1], **inputs) for name, target, inputs in nodes]
        graph["outputs"] = [{"as_tensor": {"name": nodes[-1][0]}}]
        model["graph_module"]["signature"]["output_specs"][0]["user_output"]["arg"] = graph["outputs"][0]

    return spoil(path, change)


def value(name):
    return {"as_tensor": {"name": name}}


def test_uninitialised_memory_is_never_judged(tmp_path):
    nodes = [("e", "empty.memory_format", {"size": {"as_ints": [1, 2]}}),
             ("o", "add.Tensor", {"self": value("relu"), "other": value("e")})]  # fmt: skip
    path = extended(tmp_path / "m.pt2", *nodes)
    for bound in ("0", "1000000"):
        report = lipverify.audit(path, claims=[{"layer": "", "bound": bound}], verifiers=["spectral", "witness"])
        assert report.verdict is Verdict.UNSUPPORTED


def test_values_that_do_not_fit_into_memory_are_refused_by_operation(tmp_path):
    big = ("b", "repeat.default", {"self": value("relu"), "repeats": {"as_ints": [1 << 13, 1 << 13]}})
    more = [(f"b{i}", "mul.Tensor", {"self": value("b"), "other": value("b")}) for i in range(8)]
    least = ("o", "amax.default", {"self": value("b7"), "dim": {"as_ints": [0, 1]}})
    assert "'aten.mul.Tensor'" in refused(extended(tmp_path / "m.pt2", big, *more, least), "entries")


@pytest.mark.parametrize("rows", [1 << 28, 1 << 33])
def test_an_input_that_does_not_fit_into_memory_is_refused(tmp_path, rows):
    def change(model):
        for meta in model["graph_module"]["graph"]["tensor_values"].values():
            if meta["sizes"][:1] == [{"as_int": 1}]:
                meta["sizes"][0] = {"as_int": rows}

    refused(spoil(tmp_path / "m.pt2", change), "the input 'input' has")


def test_torch_logs_nothing_about_odd_arguments(tmp_path, caplog):
    def change(model):
        node = model["graph_module"]["graph"]["nodes"][0]
        node["inputs"][1]["arg"] = {"as_ints": [0, 5]}

    logger = logging.getLogger("torch._subclasses.fake_tensor")
    with caplog.at_level(logging.WARNING, logger="torch._subclasses.fake_tensor"):
        refused(spoil(tmp_path / "m.pt2", change), "does not run")
    assert not [r for r in caplog.records if r.name == logger.name] and not logger.disabled


def test_a_positional_argument_behind_a_gap_is_refused(tmp_path):
    """torch would close the gap: elu(x, 0.25) has alpha = 0.25 and slope 1, elu(x, scale=0.25) slope 1/4."""
    elu = ("o", "elu.default", {"self": value("relu"), "scale": {"as_float": 0.25}})
    refused(extended(tmp_path / "m.pt2", elu), "behind a gap")
