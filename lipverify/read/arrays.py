"""Arrays from a ``.npz`` or ``.npy`` file: real numbers, nothing unpickled, sizes checked before use."""

from __future__ import annotations

import zipfile
from math import prod
from os import PathLike
from pathlib import Path
from typing import IO

import numpy as np

from lipverify.errors import ReadError, quoted

MAX_BYTES = 1 << 32
STEP = "Write it with numpy.savez(path, x=array), the array of shape (k, *sample shape)."


def read_array(path: str | PathLike[str], key: str = "x") -> np.ndarray:
    """The array ``key`` of a ``.npz`` file (or its only one), or the array of a ``.npy`` file.

    Raises:
        ReadError: where the file cannot be read, has no such array, or the array is not finite and real.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            if file.read(4) == b"PK\x03\x04":
                array = _from_zip(path, key)
            else:
                file.seek(0)
                array = _from_stream(path, file, path.stat().st_size)
    except (OSError, ValueError, EOFError, RuntimeError, NotImplementedError, MemoryError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise _refused(path, "no array can be read from it", quoted(reason, 200)) from None
    if array.dtype.kind not in "fiub":
        raise _refused(path, f"its array has dtype {array.dtype}, which is not real numbers")
    if not array.size or not np.isfinite(array).all():
        raise _refused(path, "its array is empty" if not array.size else "its array contains NaN or infinity")
    return array


def _from_zip(path: Path, key: str) -> np.ndarray:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        arrays = [name.removesuffix(".npy") for name in names if name.endswith(".npy")]
        chosen = key if key in arrays else arrays[0] if len(arrays) == 1 else None
        if chosen is None or len(set(names)) != len(names):
            raise _refused(path, f"it has no array {key!r}", f"it has {', '.join(map(quoted, arrays[:5])) or 'none'}")
        info = archive.getinfo(f"{chosen}.npy")
        with archive.open(info) as file:
            return _from_stream(path, file, info.file_size)


def _from_stream(path: Path, file: IO[bytes], length: int) -> np.ndarray:
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = header(file)
    if dtype.hasobject:
        raise _refused(
            path, "its array holds Python objects", "they are pickled, and a pickle runs code; it was not opened"
        )
    size = prod(shape) * dtype.itemsize
    if size > min(length, MAX_BYTES) or len(shape) > 32:
        raise _refused(path, f"its header asks for {size} bytes", f"the file holds {length}, the limit is {MAX_BYTES}")
    data = file.read(size)
    if len(data) != size:
        raise _refused(path, "it is cut short")
    return np.frombuffer(bytearray(data), dtype).reshape(shape, order="F" if fortran else "C")


def _refused(path: Path, what: str, why: str = "") -> ReadError:
    return ReadError(f"{quoted(path.name)} is refused: {what}", where=quoted(path, 300), why=why, step=STEP)
