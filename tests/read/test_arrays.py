"""Inputs from .npy and .npz: exact in float64, and checked by their header before anything is unpacked."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from lipverify.errors import ReadError
from lipverify.read.arrays import read_array


def refused(path, message: str, sample=None) -> str:
    with pytest.raises(ReadError, match=message) as error:
        read_array(path, sample=sample)
    assert "where: " in str(error.value) and "next: " in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "u2", "u4", "u8", "i8", "?"])
def test_real_numbers_are_read_into_float64(tmp_path, dtype):
    np.save(tmp_path / "a.npy", np.eye(2, dtype=dtype))
    array = read_array(tmp_path / "a.npy", sample=(2,))
    assert array.dtype == np.float64 and np.array_equal(array, np.eye(2))


@pytest.mark.parametrize("dtype", [">f4", ">i8", "g", "c8", "M8[s]", "U3", [("a", "f4")]])
def test_other_dtypes_are_refused(tmp_path, dtype):
    np.save(tmp_path / "a.npy", np.zeros((2, 3), dtype=dtype))
    refused(tmp_path / "a.npy", "dtype")


def test_integers_that_float64_does_not_hold_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([2**53 + 1]))
    refused(tmp_path / "a.npy", r"2\^53")


def with_header(path, text: str):
    header = text.encode()
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(24))
    return path


@pytest.mark.parametrize(
    "shape", ["(True,3)", "(-1,3)", "(10**9,3)", "(1000000000000,3)", "(" * 3000 + ")" * 3000, "3", "(1.0,3)", "None"]
)
def test_a_bad_header_is_refused(tmp_path, shape):
    refused(with_header(tmp_path / "a.npy", "{'descr':'<f8','fortran_order':False,'shape':" + shape + "}"), "refused")


@pytest.mark.parametrize("descr", ["('<f8',(3,))", "[('a','O')]", "'<V0'", "'|O'", "7"])
def test_a_bad_dtype_in_a_header_is_refused(tmp_path, descr):
    text = "{'descr':" + descr + ",'fortran_order':False,'shape':(1,3)}"
    refused(with_header(tmp_path / "a.npy", text), "refused")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_damage_at_any_byte_is_refused_or_harmless(tmp_path, method):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((4, 3)))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        archive.write(tmp_path / "a.npy", "x.npy")
    data = (tmp_path / "a.npz").read_bytes()
    for position in range(0, len(data), 3):
        spoiled = bytearray(data)
        spoiled[position] ^= 0xFF
        (tmp_path / "b.npz").write_bytes(spoiled)
        try:
            assert np.array_equal(read_array(tmp_path / "b.npz"), np.load(tmp_path / "a.npy"))
        except ReadError as error:
            assert "b.npz" in str(error)


@pytest.mark.parametrize("shape", [(1 << 33,), (1 << 33, 3)])
def test_a_bomb_is_refused_by_its_header(tmp_path, shape, monkeypatch):
    """Neither does the archive unpack more than the header, nor is the shape believed where it fits the model."""
    read = zipfile.ZipExtFile.read
    taken = []
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda self, n=-1: taken.append(n) or read(self, n))
    header = f"{{'descr':'|u1','fortran_order':False,'shape':{shape}}}".encode()
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(10**6))
    refused(tmp_path / "a.npz", "shape|asks for", sample=(3,))
    assert max(taken, default=0) < 10_000 and min(taken, default=0) >= 0


def test_the_shape_of_one_input_is_checked(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 4)))
    assert "(k, 3)" in refused(tmp_path / "a.npy", r"\(2, 4\)", sample=(3,))
    np.save(tmp_path / "a.npy", np.float64(3))
    refused(tmp_path / "a.npy", "shape", sample=())


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(ReadError, match=r"there is no file 'none\.npz'"):
        read_array(tmp_path / "none.npz")
