"""Arrays from a ``.npz`` or ``.npy`` file: real numbers, nothing unpickled, sizes checked before use."""

from __future__ import annotations

import zipfile
from math import prod
from os import PathLike
from pathlib import Path
from typing import IO

import numpy as np

from lipverify.errors import ReadError, quoted

MAX_BYTES = 1 << 29
EXACT = 1 << 53
"""Every integer up to here is a float64."""
STEP = "Write it with numpy.savez(path, x=array), the array of shape (k, *sample shape)."


def read_array(path: str | PathLike[str], key: str = "x", sample: tuple[int, ...] | None = None) -> np.ndarray:
    """The array ``key`` of a ``.npz`` file (or its only one), or the array of a ``.npy`` file, in float64.

    Args:
        path: of the file.
        key: the array's name in a ``.npz`` file.
        sample: shape that the array must have behind its first axis. What the file's header says is checked before
            anything is unpacked: a small file may hold a very large array.

    Raises:
        ReadError: where the file cannot be read, has no such array, or the array is not finite and real, or not exact in
            float64.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            if file.read(4) == b"PK\x03\x04":
                array = _from_zip(path, key, sample)
            else:
                file.seek(0)
                array = _from_stream(path, file, path.stat().st_size, sample)
    except ReadError:
        raise
    except FileNotFoundError:
        raise ReadError(
            f"there is no file {quoted(path.name)}", where=quoted(path, 300), step="Check the path."
        ) from None
    except Exception as error:  # numpy's header parser and the decompressors raise a dozen types for a damaged file
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise _refused(path, "no array can be read from it", quoted(reason, 200)) from None
    if not array.size or not np.isfinite(array).all():
        raise _refused(path, "its array is empty" if not array.size else "its array contains NaN or infinity")
    if array.dtype.kind in "iu" and (int(array.max()) > EXACT or int(array.min()) < -EXACT):
        raise _refused(path, "its array holds integers beyond 2^53", "float64 does not hold them exactly")
    return array.astype(np.float64)


def _from_zip(path: Path, key: str, sample: tuple[int, ...] | None) -> np.ndarray:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        arrays = [name.removesuffix(".npy") for name in names if name.endswith(".npy")]
        chosen = key if key in arrays else arrays[0] if len(arrays) == 1 else None
        if chosen is None or len(set(names)) != len(names):
            raise _refused(path, f"it has no array {key!r}", f"it has {', '.join(map(quoted, arrays[:5])) or 'none'}")
        info = archive.getinfo(f"{chosen}.npy")
        with archive.open(info) as file:
            return _from_stream(path, file, info.file_size, sample)


def _from_stream(path: Path, file: IO[bytes], length: int, sample: tuple[int, ...] | None) -> np.ndarray:
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = header(file)
    if dtype.hasobject:
        raise _refused(
            path, "its array holds Python objects", "they are pickled, and a pickle runs code; it was not opened"
        )
    if dtype.kind not in "fiub" or dtype.itemsize > 8 or not dtype.isnative:
        why = "booleans, integers and floats of at most 8 bytes in this machine's byte order are read"
        raise _refused(path, f"its array has dtype {quoted(dtype)}", why)
    if any(type(n) is not int or n < 0 for n in shape):
        raise _refused(path, f"its header states the shape {quoted(shape)}")
    if sample is not None and (not shape or shape[1:] != sample):
        wanted = f"(k, {', '.join(map(str, sample))})" if sample else "(k,)"
        raise _refused(path, f"its array has shape {quoted(shape, 200)}", f"the model needs k inputs as {wanted}")
    size = prod(shape) * dtype.itemsize
    if size > min(length, MAX_BYTES) or len(shape) > 32:
        raise _refused(path, f"its header asks for {size} bytes", f"the file holds {length}, the limit is {MAX_BYTES}")
    data = file.read(size)
    if len(data) != size:
        raise _refused(path, "it is cut short")
    return np.frombuffer(bytearray(data), dtype).reshape(shape, order="F" if fortran else "C")


def _refused(path: Path, what: str, why: str = "") -> ReadError:
    return ReadError(f"{quoted(path.name)} is refused: {what}", where=quoted(path, 300), why=why, step=STEP)
