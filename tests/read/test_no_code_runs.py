"""No code of a file runs: every way in which one can carry code, with a payload that would leave a trace."""

from __future__ import annotations

import ast
import json
import pickle
import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from archives import WEIGHTS, entries, pack, spoil, tiny
from hostile import Payload, refused, torch_pickle

import lipverify
from lipverify.claims import read_claims
from lipverify.errors import LipverifyError, ReadError
from lipverify.read import read, read_state
from lipverify.read.arrays import read_array


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


def gadgets(marker) -> dict[str, bytes]:
    """Pickles that make a directory in other ways than through ``__reduce__`` of a class."""
    path = str(marker).encode()
    text = b"X" + struct.pack("<I", len(path)) + path
    return {
        "reduce": b"\x80\x02cos\nmkdir\n" + text + b"\x85R.",
        "getattr": b"\x80\x02cbuiltins\ngetattr\nc__builtin__\n__import__\nX\x02\x00\x00\x00os\x85RX\x05\x00\x00\x00mkdir\x86R"
        + text
        + b"\x85R.",
        "stack global": b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93" + text + b"\x85R.",
        "inst": b"(S'" + path + b"'\nios\nmkdir\n.",
        "obj": b"\x80\x02(cos\nmkdir\n" + text + b"o.",
        "newobj": b"\x80\x02cpathlib\nPosixPath\n" + text + b"\x85\x81cos\nmkdir\nh\x00\x85R.",
        "build": b"\x80\x02ccollections\nOrderedDict\n)R}X\x0c\x00\x00\x00__setstate__cos\nmkdir\nsb" + text + b"b.",
        "hook": b"\x80\x02ctorch._utils\n_rebuild_parameter\ncos\nmkdir\n" + text + b"\x85R\x88}\x87R.",
        "extension": b"\x80\x02\x82\x01" + text + b"\x85R.",
    }


def checkpoint(path, data: bytes):
    """A file as torch.save lays it out, with any pickle inside."""
    buffer = BytesIO()
    torch.save({"w": torch.ones(2)}, buffer)
    files = entries(buffer.getvalue()) | {"data.pkl": data}
    return pack(path, {"data.pkl": files.pop("data.pkl"), **files})


@pytest.mark.parametrize("name", gadgets("x"))
@pytest.mark.parametrize("wrapped", [False, True])
def test_pickles_of_state_dicts_are_inert(tmp_path, marker, name, wrapped):
    data = gadgets(marker)[name]
    if wrapped:  # as a value beside a tensor: {"state_dict": it}
        body = data[2:-1] if data[:1] == b"\x80" else data[:-1]
        data = b"\x80\x04}X\x0a\x00\x00\x00state_dict" + body + b"s."
    with pytest.raises(ReadError, match=r"m\.pt"):
        read_state(checkpoint(tmp_path / "m.pt", data))
    (tmp_path / "bare.pt").write_bytes(data)
    with pytest.raises(ReadError, match="bare"):
        read_state(tmp_path / "bare.pt")


@pytest.mark.parametrize("name", ["reduce", "getattr", "stack global", "inst", "obj"])
def test_these_gadgets_are_live(tmp_path, name):
    pickle.loads(gadgets(tmp_path / "trace")[name])
    assert (tmp_path / "trace").exists()


def test_a_module_with_reduce_is_refused_and_a_state_dict_beside_it_too(tmp_path, marker):
    for value in (
        Payload(marker),
        {"state_dict": Payload(marker)},
        {"model": {"w": torch.ones(1), "x": Payload(marker)}},
    ):
        torch.save(value, tmp_path / "m.pt")
        with pytest.raises(ReadError, match=r"m\.pt"):
            read_state(tmp_path / "m.pt")
    torch.save({"state_dict": {"w": torch.ones(1)}, "config": Payload(marker)}, tmp_path / "m.pt")
    assert list(read_state(tmp_path / "m.pt").tensors) == ["w"]


def test_no_pickle_hides_in_a_checkpoint_beside_its_own(tmp_path, marker):
    torch.save({"w": torch.ones(2)}, tmp_path / "m.pt")
    files = entries((tmp_path / "m.pt").read_bytes())
    for name in ("hook.py", "constants.pkl", "code/__torch__.py", "attributes.pkl"):
        with pytest.raises(ReadError, match=r"entry|TorchScript"):
            read_state(pack(tmp_path / "n.pt", files | {name: torch_pickle(marker)}))
    files |= {".data/serialization_id": torch_pickle(marker), "data/9": torch_pickle(marker)}
    assert list(read_state(pack(tmp_path / "n.pt", files)).tensors) == ["w"]


@pytest.mark.parametrize("where", ["metadata", "name", "dtype"])
def test_text_of_a_safetensors_header_is_text(tmp_path, marker, where):
    code = f"__import__('os').mkdir({str(marker)!r})"
    entry = {"dtype": code if where == "dtype" else "F32", "shape": [1], "data_offsets": [0, 4]}
    name = code if where == "name" else "w"
    header = json.dumps({"__metadata__": {"format": code, "__reduce__": code}, name: entry}).encode()
    (tmp_path / "m.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    if where == "dtype":
        with pytest.raises(ReadError):
            read_state(tmp_path / "m.safetensors")
    else:
        assert list(read_state(tmp_path / "m.safetensors").tensors) == [name]


@pytest.mark.parametrize("suffix", ["json", "toml"])
def test_claims_are_data(tmp_path, marker, suffix):
    code = f"__import__('os').mkdir('{marker}')"
    text = json.dumps({"claims": [{"layer": code, "bound": code, "__class__": code}]})
    if suffix == "toml":
        text = f'[[claims]]\nlayer = "{code}"\nbound = "{code}"\n'
    (tmp_path / f"c.{suffix}").write_text(text)
    with pytest.raises(LipverifyError):
        read_claims(tmp_path / f"c.{suffix}")


def test_no_reader_calls_what_unpickles_or_evaluates():
    """The one place that unpickles is the one that --unsafe-load names."""
    root = Path(lipverify.__file__).parent
    found = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if name in ("eval", "exec", "compile", "torch.load", "torch.export.load", "np.load", "numpy.load") or (
                name.startswith(("pickle.", "marshal.", "shelve.", "joblib.")) or name.endswith("sympify")
            ):
                found.add(f"{path.relative_to(root)}: {name}")
    assert found == {"models.py: torch.load"}
