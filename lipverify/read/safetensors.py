"""A ``.safetensors`` file -> its tensors, by its header alone: eight bytes of length, strict JSON, raw bytes."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import IO, Any

import torch

from lipverify import strict_json
from lipverify.errors import ReadError, quoted
from lipverify.read.state import State

MAX_HEADER = 100_000_000
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
RESAVE = "Save it again: safetensors.torch.save_file(model.state_dict(), 'model.safetensors')."


def read_safetensors(path: Path) -> State:
    """The tensors of a ``.safetensors`` file.

    The header is bounded, strict JSON without keys that appear twice; the tensors tile the rest of the file: none
    overlaps another, and no byte belongs to none.

    Raises:
        ReadError: where that does not hold, or a number is not finite.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(MAX_HEADER, size - 8):
            why = f"it states {length} bytes; the file has {size}, the limit is {MAX_HEADER}"
            raise _refused(path, "its header is longer than the file or the limit", why)
        try:
            header = strict_json.loads(file.read(length), limit=MAX_HEADER)
        except ValueError as error:
            raise _refused(path, "its header is no strict JSON", str(error)) from None
        if not isinstance(header, dict):
            raise _refused(path, "its header is no mapping")
        metadata = header.pop("__metadata__", {})
        if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
            raise _refused(path, "its metadata is no mapping of text")
        layout = {name: _entry(path, name, entry) for name, entry in header.items()}
        ordered = sorted(layout, key=lambda name: layout[name][2:])
        position = 0
        for name in ordered:
            begin, end = layout[name][2:]
            if begin != position:
                raise _refused(path, f"the tensor {quoted(name)} does not begin where the one before it ends")
            position = end
        if position != size - 8 - length:
            raise _refused(path, f"its tensors cover {position} bytes of {size - 8 - length}")
        read = {name: _tensor(path, name, file, *layout[name]) for name in ordered}
        return State({name: read[name] for name in layout})


def _entry(path: Path, name: str, entry: Any) -> tuple[torch.dtype, tuple[int, ...], int, int]:
    match entry:
        case {"dtype": str(kind), "shape": list(shape), "data_offsets": [int(begin), int(end)]} if len(entry) == 3:
            numbers = (*shape, begin, end)
        case _:
            raise _refused(path, f"the tensor {quoted(name)} has no dtype, shape and offsets of its own")
    if kind not in DTYPES:
        why = f"read are {', '.join(DTYPES)}"
        raise _refused(path, f"the tensor {quoted(name)} has the unsupported dtype {quoted(kind)}", why)
    if len(shape) > 32 or not all(type(n) is int and 0 <= n < 1 << 48 for n in numbers):
        raise _refused(path, f"the tensor {quoted(name)} has a size or an offset that is no natural number")
    if prod(shape) * DTYPES[kind].itemsize != end - begin:
        why = f"shape {quoted(shape)} of {kind} needs {prod(shape) * DTYPES[kind].itemsize} bytes, not {end - begin}"
        raise _refused(path, f"the tensor {quoted(name)} does not fit its bytes", why)
    return DTYPES[kind], tuple(shape), begin, end


def _tensor(
    path: Path, name: str, file: IO[bytes], dtype: torch.dtype, shape: tuple[int, ...], begin: int, end: int
) -> torch.Tensor:
    """The next tensor of the file, which is open where it begins."""
    data = bytearray(file.read(end - begin))
    if len(data) != end - begin:
        raise _refused(path, "it is cut short")
    if not data:
        return torch.zeros(shape, dtype=dtype)
    if dtype is torch.bool and max(data) > 1:
        raise _refused(path, f"the mask {quoted(name)} holds something else than 0 and 1")
    tensor = torch.frombuffer(data, dtype=dtype).reshape(shape)
    if dtype.is_floating_point and not torch.isfinite(tensor).all():
        raise _refused(
            path, f"the weight {quoted(name)} contains NaN or infinity", "no bound is true of such a network"
        )
    return tensor


def _refused(path: Path, what: str, why: str = "") -> ReadError:
    return ReadError(f"{quoted(path.name)} is refused: {what}", where=quoted(path, 300), why=why, step=RESAVE)
