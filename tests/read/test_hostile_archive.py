"""An archive that can be read in two ways, inflates, or leads out of itself is refused."""

from __future__ import annotations

import os
import struct
import zipfile

import pytest
from archives import MODEL, entries, pack, tiny
from hostile import refused

from lipverify.errors import ReadError
from lipverify.read import read


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
