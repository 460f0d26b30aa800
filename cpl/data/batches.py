"""Pickled batches of CIFAR, read without running anything that is pickled in them.

A pickle is a program: it names functions and calls them. The one here may name five, and each name stands for a stub that
only keeps what it was given: the array's bytes, shape and type, from which the array is built by hand. Any other name is an
error, and so is a place in the memo beyond the size of the file, for which a reader would make room.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np

from cpl.data.split import bad_data
from cpl.errors import reason

MOST_BYTES = 2**29
PIXELS = 3 * 32 * 32


class _Kept:
    """Stands for an array or a type: keeps arguments and state, does nothing."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _kept(*arguments: Any) -> _Kept:
    return _Kept(*arguments)


def _latin1(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError("bytes in another encoding than latin-1")
    return text.encode("latin-1")


_STUBS = {
    ("numpy.core.multiarray", "_reconstruct"): _kept,
    ("numpy._core.multiarray", "_reconstruct"): _kept,
    ("numpy", "ndarray"): _Kept,
    ("numpy", "dtype"): _kept,
    ("_codecs", "encode"): _latin1,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _STUBS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no batch needs; nothing was run") from None

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it holds a persistent id")


def read_batch(path: Path, *, labels: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 3, 32, 32) of bytes and labels (n,) of one pickled batch.

    Args:
        path: the file.
        labels: key of the labels, 'labels' or 'fine_labels'.

    Raises:
        DataError: missing, corrupt, too large, or not such a batch.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES} bytes")
        raw = path.read_bytes()
        if any("PUT" in code.name and int(place or 0) > len(raw) for code, place, _ in pickletools.genops(raw)):
            raise ValueError("it asks for more memory than its size explains")
        entries = _Reader(io.BytesIO(raw), encoding="bytes").load()
        if not isinstance(entries, dict):
            raise ValueError("it holds no dictionary")
        named = {key.decode("latin-1") if isinstance(key, bytes) else key: entry for key, entry in entries.items()}
        return _array(named["data"]), _labels(named[labels])
    except KeyError as error:
        raise bad_data("a batch without an entry", str(path), f"no entry {error}") from error
    except Exception as error:  # a damaged pickle raises anything
        raise bad_data("a batch cannot be read", str(path), reason(error)) from error


def _array(kept: Any) -> np.ndarray:
    if not isinstance(kept, _Kept) or not isinstance(kept.state, tuple) or len(kept.state) != 5:
        raise ValueError("its data are no array")
    _, shape, kind, by_columns, raw = kept.state
    code = kind.arguments[0] if isinstance(kind, _Kept) and kind.arguments else None
    code = code.decode("latin-1") if isinstance(code, bytes) else code
    if code != "u1" or by_columns or not isinstance(raw, bytes) or not isinstance(shape, tuple):
        raise ValueError("its data are not bytes in rows")
    if len(shape) != 2 or shape[1] != PIXELS or len(raw) != shape[0] * PIXELS:
        raise ValueError(f"its data have shape {shape}, not (n, {PIXELS})")
    return np.frombuffer(raw, np.uint8).reshape(-1, 3, 32, 32)


def _labels(entries: Any) -> np.ndarray:
    if not isinstance(entries, list) or not all(type(entry) is int for entry in entries):
        raise ValueError("its labels are no list of ints")
    return np.array(entries, dtype=np.int64)
