"""Whatever happens to the bytes of a file, a reader either reads it or refuses it: no crash, no hang, no other exception."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import textwrap
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from archives import entries, pack, tiny

from lipverify.claims import read_claims
from lipverify.errors import LipverifyError, ReadError
from lipverify.read import read, read_state
from lipverify.read.arrays import read_array

STATE = {"a.weight": torch.linspace(-1, 1, 12).reshape(3, 4), "a.bias": torch.ones(3), "n": torch.tensor(7)}


def state_dict() -> bytes:
    buffer = BytesIO()
    torch.save(STATE, buffer)
    return buffer.getvalue()


def arrays() -> bytes:
    buffer = BytesIO()
    np.savez(buffer, x=np.ones((2, 3)))
    return buffer.getvalue()


def array() -> bytes:
    buffer = BytesIO()
    np.save(buffer, np.ones((2, 3)))
    return buffer.getvalue()


KINDS = {
    "m.pt2": (tiny, read),
    "m.pt": (state_dict, read_state),
    "m.safetensors": (lambda: safetensors.torch.save(STATE, {"format": "pt"}), read_state),
    "x.npz": (arrays, read_array),
    "x.npy": (array, read_array),
    "c.json": (lambda: json.dumps({"claims": [{"layer": "0", "bound": "1.5"}]}).encode(), read_claims),
    "c.toml": (lambda: b'[[claims]]\nlayer = "0"\nbound = "1.5"\n', read_claims),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_file_cut_at_every_sixteenth_is_refused(tmp_path, name):
    make, reader = KINDS[name]
    data, path = make(), tmp_path / name
    path.write_bytes(data)
    reader(path)
    for k in range(16):
        path.write_bytes(data[: len(data) * k // 16])
        if name == "c.toml" and k > 13:
            continue  # what is left says less, in whole lines
        with pytest.raises(LipverifyError):
            reader(path)


@pytest.mark.parametrize("name", KINDS)
def test_flipped_bits_are_read_or_refused(tmp_path, name):
    make, reader = KINDS[name]
    data, path = make(), tmp_path / name
    rng = np.random.default_rng(0)
    refusals = 0
    for _ in range(150):
        spoiled = bytearray(data)
        for position in rng.integers(len(data), size=rng.integers(1, 4)):
            spoiled[position] ^= 1 << rng.integers(8)
        path.write_bytes(spoiled)
        try:
            reader(path)
        except LipverifyError as error:
            refusals += 1
            assert "\x1b" not in str(error) and len(str(error)) < 3000
    assert refusals > 20


@pytest.mark.parametrize("name", KINDS)
def test_bytes_put_in_or_left_out_are_read_or_refused(tmp_path, name):
    make, reader = KINDS[name]
    data, path = make(), tmp_path / name
    rng = np.random.default_rng(1)
    for _ in range(60):
        at, size = rng.integers(len(data)), rng.integers(1, 9)
        more = rng.bytes(size) if rng.integers(2) else b""
        path.write_bytes(data[:at] + more + data[at + (0 if more else size) :])
        try:
            reader(path)
        except LipverifyError:
            continue


@pytest.mark.parametrize("name", KINDS)
def test_what_is_no_regular_file_is_refused(tmp_path, name):
    reader = KINDS[name][1]
    for path in (tmp_path / f"none-{name}", tmp_path, tmp_path / f"d-{name}", Path(f"\0{name}")):
        if path.name.startswith("d-"):
            path.mkdir()
        with pytest.raises(LipverifyError):
            reader(path)


@pytest.mark.parametrize("name", ["m.pt2", "m.pt", "m.safetensors"])
def test_pipes_devices_and_loops_are_refused_without_being_opened(tmp_path, name):
    reader = KINDS[name][1]
    os.mkfifo(tmp_path / name)
    (tmp_path / f"link-{name}").symlink_to(tmp_path / name)
    (tmp_path / f"loop-{name}").symlink_to(tmp_path / f"loop-{name}")
    paths = [tmp_path / name, tmp_path / f"link-{name}", tmp_path / f"loop-{name}"]
    for path in [*paths, *[p for p in (Path("/dev/zero"), Path("/dev/stdin")) if p.exists()]]:
        with pytest.raises(ReadError):
            reader(path)


def wide(path: Path) -> Path:
    """An archive whose directory states sizes of 2^60 bytes in zip64 fields."""
    pack(path, entries(tiny()))
    data = path.read_bytes()
    at = data.index(b"PK\x01\x02")
    size = struct.pack("<L", 0xFFFFFFFF)
    extra = struct.pack("<2H2Q", 1, 16, 1 << 60, 1 << 60)
    name = struct.unpack("<H", data[at + 28 : at + 30])[0]
    record = (
        data[at : at + 20]
        + size
        + size
        + data[at + 28 : at + 30]
        + struct.pack("<H", len(extra))
        + data[at + 32 : at + 46]
    )
    rest = data[at + 46 + name :]
    end = rest.index(b"PK\x05\x06")
    length = struct.unpack("<L", rest[end + 12 : end + 16])[0] + len(extra)
    tail = rest[: end + 12] + struct.pack("<L", length) + rest[end + 16 :]
    path.write_bytes(data[:at] + record + data[at + 46 : at + 46 + name] + extra + tail)
    return path


GIANTS = {
    "a zip64 size": (lambda p: wide(p / "m.pt2"), "read"),
    "a safetensors header": (
        lambda p: _written(p / "m.safetensors", struct.pack("<Q", 10**10) + b"{" * 99),
        "read_state",
    ),
    "a npy header": (
        lambda p: _written(p / "x.npy", b"\x93NUMPY\x02\x00" + struct.pack("<L", 4_000_000_000) + b"{'descr': '<f8'"),
        "read_array",
    ),
    "a npy shape": (
        lambda p: _written(
            p / "y.npy",
            b"\x93NUMPY\x01\x00"
            + struct.pack("<H", 80)
            + b"{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999999,), }".ljust(80),
        ),
        "read_array",
    ),
    "a pickle that memoizes far away": (lambda p: _pickled(p, b"\x80\x02Nr\xff\xff\xff\x7f."), "read_state"),
    "a pickle of empty mappings": (lambda p: _pickled(p, b"\x80\x02" + b"}" * 30_000_000), "read_state"),
    "laughs": (lambda p: _pickled(p, b"\x80\x02)" + b"2\x86" * 1_000_000 + b"."), "read_state"),
    "tuples in tuples": (lambda p: _pickled(p, b"\x80\x02)" + b"\x85" * 1_000_000 + b"."), "read_state"),
    "lists of one mark": (lambda p: _pickled(p, b"\x80\x02" + b"(" * 200_000 + b"t" * 200_000 + b"."), "read_state"),
    "deep json": (lambda p: _written(p / "c.json", b'{"claims":' + b"[" * 900_000), "read_claims"),
    "many keys of json": (
        lambda p: _written(p / "n.safetensors", struct.pack("<Q", 90_000_000) + b'{"a":' + b"[" * 89_999_995),
        "read_state",
    ),
}


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _pickled(folder: Path, data: bytes) -> Path:
    buffer = BytesIO()
    torch.save(STATE, buffer)
    files = entries(buffer.getvalue())
    return pack(folder / "m.pt", {"data.pkl": data, **{k: v for k, v in files.items() if k != "data.pkl"}})


@pytest.mark.parametrize("name", GIANTS)
def test_giants_are_refused_within_a_gigabyte(tmp_path, name):
    make, reader = GIANTS[name]
    path = make(tmp_path)
    code = f"""
        import resource, sys
        import torch, numpy
        from lipverify.claims import read_claims
        from lipverify.errors import LipverifyError
        from lipverify.read import read, read_state
        from lipverify.read.arrays import read_array
        with open("/proc/self/status") as status:
            used = next(int(line.split()[1]) << 10 for line in status if line.startswith("VmSize"))
        resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30),) * 2)
        try:
            {reader}({str(path)!r})
        except LipverifyError as error:
            sys.exit(0 if {path.name!r} in str(error) else str(error))
        sys.exit("it was read")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
