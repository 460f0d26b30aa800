"""State dicts: every tensor bit for bit, wrappers taken off and said, whatever is no tensor refused by name."""

from __future__ import annotations

import json
import struct
import zipfile
from collections import OrderedDict
from io import BytesIO

import pytest
import safetensors.torch
import torch
from torch import nn

from lipverify.errors import LipverifyError, ReadError
from lipverify.models import Source, read_model
from lipverify.read import read_state
from lipverify.read.factory import FactoryError, build, load
from lipverify.read.state import State


def network() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)).eval()
    model[1].running_var.uniform_(0.5, 2)  # type: ignore[union-attr, operator]
    return model


def saved(path, value):
    torch.save(value, path)
    return path


DTYPES = [
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool),
]


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_every_dtype_and_shape_is_read_bit_for_bit(tmp_path, suffix):
    tensors = {f"t{i}": torch.arange(-3, 9).reshape(3, 4).to(dtype) for i, dtype in enumerate(DTYPES)}
    tensors |= {"scalar": torch.tensor(1.5), "empty": torch.zeros(0, 3), "a\nb": torch.ones(2)}
    path = tmp_path / f"m.{suffix}"
    saved(path, tensors) if suffix == "pt" else safetensors.torch.save_file(tensors, path, {"format": "pt"})
    found = read_state(path).tensors
    assert list(found) and set(found) == set(tensors)
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype and found[name].shape == tensor.shape
        assert torch.equal(found[name], tensor)


def test_views_and_ties_of_a_checkpoint_survive(tmp_path):
    whole = torch.arange(12.0).reshape(3, 4)
    path = saved(tmp_path / "m.pt", {"a": whole, "t": whole.T, "row": whole[1], "same": whole})
    found = read_state(path).tensors
    assert torch.equal(found["t"], whole.T) and torch.equal(found["row"], whole[1]) and found["a"] is found["same"]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_is_read(tmp_path, protocol):
    torch.save(network().state_dict(), tmp_path / "m.pt", pickle_protocol=protocol)
    assert torch.equal(read_state(tmp_path / "m.pt").tensors["4.bias"], network().state_dict()["4.bias"])


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "net"])
def test_a_wrapper_is_taken_off_and_said(tmp_path, key):
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 1, 4, 4)).sum().backward()
    optimizer.step()
    value = {"epoch": 3, "best": 0.5, key: model.state_dict(), "optimizer": optimizer.state_dict(), "args": None}
    state = read_state(saved(tmp_path / "m.pt", value))
    assert set(state.tensors) == set(model.state_dict())
    assert repr(key) in state.notes[0] and "'optimizer'" in state.notes[0]


def test_parameters_are_tensors(tmp_path):
    state = read_state(saved(tmp_path / "m.pt", OrderedDict(w=nn.Parameter(torch.ones(2)))))
    assert torch.equal(state.tensors["w"], torch.ones(2))


W = torch.ones(2)
OTHER = {
    "a module": (lambda: network(), "unsafe-load"),
    "a wrapped module": (lambda: {"model": network()}, "unsafe-load"),
    "a tensor": (lambda: W, "state dict"),
    "a list": (lambda: [W], "a list"),
    "no tensors": (lambda: {"a": 1, "b": {"c": 2}}, "no state dict"),
    "nothing": (lambda: {}, "no state dict"),
    "two state dicts": (lambda: {"model": {"w": W}, "net": {"w": W}}, "several"),
    "an object among tensors": (lambda: {"w": W, "size": torch.Size([1])}, "'size' is no plain tensor"),
    "a number among tensors": (lambda: {"w": W, "n": 3}, "'n' is no plain tensor"),
    "sparse": (lambda: {"w": torch.eye(2).to_sparse()}, "'w' is no plain tensor"),
    "complex": (lambda: {"w": W.to(torch.complex64)}, "'w' is no plain tensor"),
    "quantized": (lambda: {"w": torch.quantize_per_tensor(W, 0.1, 0, torch.qint8)}, "'w' is no plain tensor"),
    "float8": (lambda: {"w": W.to(torch.float8_e4m3fn)}, "'w' is no plain tensor"),
    "nan": (lambda: {"w": W * float("nan")}, "'w' contains NaN"),
    "infinite": (lambda: {"w": W / 0}, "'w' contains NaN or inf"),
}


@pytest.mark.parametrize("name", OTHER)
@pytest.mark.filterwarnings("ignore")
def test_anything_else_is_refused_by_name(tmp_path, name):
    make, message = OTHER[name]
    with pytest.raises(ReadError, match=message):
        read_state(saved(tmp_path / "m.pt", make()))


def test_layouts_before_zip_and_scripted_modules_are_refused(tmp_path):
    torch.save(network().state_dict(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(ReadError, match=r"before 1\.6"):
        read_state(tmp_path / "old.pt")
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "s.pt")
    with pytest.raises(ReadError, match=r"TorchScript|compressed"):
        read_state(tmp_path / "s.pt")


# The factory


@pytest.fixture
def factory(tmp_path, monkeypatch):
    """A module in the current folder that builds the network."""
    text = "import torch\nfrom torch import nn\nfrom tests.read.test_state import network\n"
    text += "def half(): return network().half()\ndef number(): return 3\ndef fails(): raise OSError('no disk')\n"
    text += "def other(): return nn.Sequential(nn.Conv2d(1, 2, 5), nn.BatchNorm2d(2))\nclass A:\n  net = staticmethod(network)\n"
    (tmp_path / "factory_of_tests.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    return "factory_of_tests"


@pytest.mark.parametrize("form", ["pt", "safetensors", "wrapped", "parallel"])
def test_a_state_dict_and_its_factory_are_the_model(tmp_path, factory, form):
    model, path = network(), tmp_path / "m.pt"
    model[0].weight.data *= 3  # type: ignore[union-attr]
    state = model.state_dict()
    if form == "safetensors":
        path = tmp_path / "m.safetensors"
        safetensors.torch.save_file(state, path)
    elif form == "parallel":
        saved(path, {f"module.{name}": tensor for name, tensor in state.items()})
    else:
        saved(path, {"state_dict": state} if form == "wrapped" else state)
    x = torch.rand(1, 1, 4, 4)
    for name in ("network", "A.net"):
        program = read_model(path, Source(factory=f"{factory}:{name}", shapes=[(1, 1, 4, 4)]))
        assert torch.allclose(program(x), model(x), atol=1e-6) and "0" in program.modules
    assert len(program.notes) == (1 if form in ("pt", "safetensors") else 2)
    assert torch.equal(read_model(path, Source(factory=f"{factory}:network"), torch.rand(5, 1, 4, 4))(x), program(x))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing", ["cannot be run", "AttributeError"]),
        ("number", ["returns int"]),
        ("fails", ["no disk"]),
        ("other", ["2 unexpected", "'4.weight'", "1 of another shape", "(2, 1, 3, 3)"]),
        ("half", ["not kept", "float16"]),
    ],
)
def test_a_factory_of_something_else_is_refused(tmp_path, factory, name, words):
    path = saved(tmp_path / "m.pt", network().state_dict())
    with pytest.raises(LipverifyError) as error:
        read_model(path, Source(factory=f"{factory}:{name}", shapes=[(1, 1, 4, 4)]))
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize("spec", ["", "a", "a:", ":b", "no.such.module:f", "os:no"])
def test_a_name_of_no_factory_is_refused(spec):
    with pytest.raises(FactoryError):
        build(spec)


def test_missing_tensors_are_named():
    model = network()
    state = {k: v for k, v in model.state_dict().items() if k != "1.running_mean"}
    with pytest.raises(FactoryError, match=r"1 missing from the file: '1.running_mean'"):
        load(model, State(state))


def test_options_that_are_missing_or_too_many_are_named(tmp_path, factory):
    path = saved(tmp_path / "m.pt", network().state_dict())
    for source, word in [
        (Source(), "--factory"),
        (Source(factory=f"{factory}:network"), "--shape"),
        (Source(factory=f"{factory}:network", unsafe_load=True), "exclude each other"),
    ]:
        with pytest.raises(LipverifyError, match=word):
            read_model(path, source)


def test_a_whole_module_is_read_only_in_so_many_words(tmp_path):
    path = saved(tmp_path / "m.pt", network())
    with pytest.raises(ReadError, match="unsafe-load"):
        read_model(path)
    program = read_model(path, Source(unsafe_load=True, shapes=[(1, 1, 4, 4)]))
    assert "code of the file ran" in program.notes[0]
    with pytest.raises(ReadError, match="OrderedDict"):
        read_model(saved(path, network().state_dict()), Source(unsafe_load=True, shapes=[(1, 1, 4, 4)]))


# Layouts that lie


def lying(path, change):
    """A checkpoint of one 2x3 tensor whose pickle went through ``change``."""
    buffer = BytesIO()
    torch.save({"w": torch.ones(2, 3)}, buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(path, "w") as target:
        for info in source.infolist():
            data = source.read(info)
            target.writestr(info.filename, change(data) if info.filename.endswith("data.pkl") else data)
    return path


CHANGES = {
    "sizes": lambda d: d.replace(b"K\x02K\x03\x86", b"K\x02K\x04\x86"),
    "a giant by strides of 0": lambda d: d.replace(
        b"K\x02K\x03\x86q\x08K\x03K\x01\x86", b"J\x00\x00\x00\x40J\x00\x00\x00\x40\x86q\x08K\x00K\x00\x86"
    ),
    "offset": lambda d: d.replace(b"QK\x00", b"QK\x01"),
    "negative offset": lambda d: d.replace(b"QK\x00", b"QJ\xff\xff\xff\xff"),
    "count": lambda d: d.replace(b"K\x06t", b"K\x05t"),
    "a huge count": lambda d: d.replace(b"K\x06t", b"\x8a\x06\x00\x00\x00\x00\x00\x40t"),
    "dtype": lambda d: d.replace(b"FloatStorage", b"DoubleStorage"),
    "entry": lambda d: d.replace(b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x007"),
    "an entry outside": lambda d: d.replace(b"X\x01\x00\x00\x000", b"X\x04\x00\x00\x00../0"),
    "a boolean size": lambda d: d.replace(b"K\x02K\x03\x86", b"\x88K\x03\x86"),
    "an empty stack": lambda d: b"\x80\x02R.",
    "a missing memo": lambda d: b"\x80\x02h\x07.",
    "no stop": lambda d: d[:-1],
    "many opcodes": lambda d: b"\x80\x02" + b"N0" * (1 << 22),
    "a key twice": lambda d: b"\x80\x02}(X\x01\x00\x00\x00aNX\x01\x00\x00\x00aNu.",
    "a hash collision": lambda d: b"\x80\x02}(\x8a\x09" + b"\xff" * 8 + b"\x01Nu.",
    "an endless number": lambda d: b"\x80\x02\x8b\xff\xff\xff\x7f" + b"1" * 99 + b".",
    "a protocol of tomorrow": lambda d: b"\x80\x09" + d[2:-1] + b"\x97.",
    "itself": lambda d: b"\x80\x02}q\x00X\x01\x00\x00\x00wh\x00s.",
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_pickle_that_lies_is_refused(tmp_path, name):
    with zipfile.ZipFile(lying(tmp_path / "t.pt", lambda d: d)) as archive:
        before = archive.read(next(n for n in archive.namelist() if n.endswith("data.pkl")))
    assert CHANGES[name](before) != before, "the corruption found its place"
    assert read_state(tmp_path / "t.pt").tensors["w"].shape == (2, 3)
    with pytest.raises(ReadError, match=r"m\.pt"):
        read_state(lying(tmp_path / "m.pt", CHANGES[name]))


def header(path, text, data=b"", length=None):
    text = text if isinstance(text, bytes) else json.dumps(text).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(begin=0, end=4, shape=(1,), dtype="F32", **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end], **more}


HEADERS = {
    "longer than the file": ({"a": entry()}, b"1234", 10**10),
    "longer than any": ({"a": entry()}, b"1234", 2**64 - 1),
    "a key twice": (b'{"a":' + json.dumps(entry()).encode() + b',"a":' + json.dumps(entry()).encode() + b"}", b"1234"),
    "deep": (b'{"a":' + b"[" * 9999 + b"]" * 9999 + b"}", b""),
    "a list": ([], b""),
    "metadata": ({"__metadata__": {"a": 1}, "a": entry()}, b"1234"),
    "bytes of no tensor": ({"a": entry()}, b"12345"),
    "a gap": ({"a": entry(4, 8)}, b"12345678"),
    "an overlap": ({"a": entry(), "b": entry()}, b"1234"),
    "beyond the end": ({"a": entry(0, 8, (2,))}, b"1234"),
    "a shape that does not fit": ({"a": entry(shape=(2,))}, b"1234"),
    "a giant shape": ({"a": entry(shape=(2**40, 2**40))}, b"1234"),
    "a negative shape": ({"a": entry(shape=(-1,))}, b"1234"),
    "a boolean shape": ({"a": entry(shape=(True,))}, b"1234"),
    "many axes": ({"a": entry(shape=(1,) * 99)}, b"1234"),
    "backwards": ({"a": entry(4, 0)}, b"1234"),
    "dtype": ({"a": entry(dtype="F8_E4M3")}, b"1234"),
    "an unknown key": ({"a": entry(hook="x")}, b"1234"),
    "no offsets": ({"a": {"dtype": "F32", "shape": [1]}}, b"1234"),
    "a mask of 2": ({"a": entry(0, 1, (1,), "BOOL")}, b"\x02"),
    "nan": ({"a": entry()}, b"\x00\x00\xc0\x7f"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_safetensors_header_that_lies_is_refused(tmp_path, name):
    with pytest.raises(ReadError, match=r"m\.safetensors"):
        read_state(header(tmp_path / "m.safetensors", *HEADERS[name]))
