"""Tensors of a ``.pt2`` archive from raw little-endian bytes; nothing is unpickled."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from lipverify.errors import quoted
from lipverify.read.archive import RESAVE, Archive
from lipverify.read.views import Views

SCALAR_TYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
"""The numbers by which an archive names the dtypes that are read."""

STRIDED = 7
_FILES = {
    "data/weights": re.compile(r"weight_\d{1,9}", re.ASCII),
    "data/constants": re.compile(r"tensor_\d{1,9}", re.ASCII),
}
"""How the files of plain tensors are named; torch unpickles what is named otherwise."""


class Payload:
    """The tensors behind one payload configuration of an archive, each read once.

    Tensors that share their bytes and their layout are one object, so that tied weights stay tied.

    Args:
        archive: the file.
        directory: ``data/weights`` or ``data/constants``.
        config_file: the entry of its configuration.
        config: the configuration: name -> path_name, use_pickle, tensor_meta.

    Raises:
        ReadError: where a tensor is pickled, or a file has no plain name or two dtypes.
    """

    def __init__(self, archive: Archive, directory: str, config_file: str, config: Mapping[str, Any]) -> None:
        self._archive, self._directory, self._config = archive, directory, config
        self._views = Views(archive, directory)
        for name, entry in config.items():
            if entry["use_pickle"] is not False:
                raise archive.refuse(
                    f"the tensor {quoted(name)} is stored as a pickle",
                    why="a pickle runs code when it is loaded; it was not opened",
                    step="Store plain tensors: replace tensor subclasses and custom objects before torch.export.save.",
                )
        dtypes: dict[str, Any] = {}
        for name, entry in config.items():
            path = entry["path_name"]
            if not isinstance(path, str) or not _FILES[directory].fullmatch(path):
                raise archive.refuse(f"the tensor {quoted(name)} has no plain file name: {quoted(path)}", step=RESAVE)
            dtype = (entry["tensor_meta"] or {}).get("dtype")
            if dtypes.setdefault(path, dtype) != dtype:
                raise archive.refuse(
                    f"the file {quoted(path)} is read in two dtypes",
                    why=f"torch reads all of it in the first one; {quoted(name)} states another",
                    step=RESAVE,
                )
        self._known = {config_file, *(f"{directory}/{path}" for path in dtypes)}

    def __contains__(self, name: str) -> bool:
        return name in self._config

    def __iter__(self) -> Iterator[str]:
        return iter(self._config)

    def check_entries(self) -> None:
        """Check that the directory holds the configuration and the files that it names, and nothing else.

        Raises:
            ReadError: naming the first other entry. Torch prefers a whole ``.pt`` pickle, where there is one.
        """
        for entry in self._archive:
            if entry.lower().startswith(f"{self._directory}/") and entry not in self._known:
                raise self._archive.refuse(
                    f"the entry {quoted(entry)} belongs to no tensor",
                    why="torch may load other weights from it than those that are read here",
                    step=RESAVE,
                )

    def tensor(self, name: str) -> torch.Tensor:
        """The tensor of that name, contiguous.

        Raises:
            ReadError: where its bytes and its description do not agree, or its dtype is not supported.
        """
        entry = self._config[name]
        path, meta = entry["path_name"], entry["tensor_meta"]
        if meta is None or meta["layout"] != STRIDED:
            raise self._archive.refuse(
                f"the tensor {quoted(name)} is not a plain strided tensor", step="Make it dense."
            )
        dtype = SCALAR_TYPES.get(meta["dtype"])
        if dtype is None:
            raise self._archive.refuse(
                f"the tensor {quoted(name)} has an unsupported dtype (number {quoted(meta['dtype'])})",
                why="real networks in float16, bfloat16, float32 or float64 are read",
                step="Convert the model, then export it again.",
            )
        sizes = tuple(static(self._archive, size, f"the shape of {quoted(name)}") for size in meta["sizes"])
        strides = tuple(static(self._archive, stride, f"a stride of {quoted(name)}") for stride in meta["strides"])
        offset = static(self._archive, meta["storage_offset"], f"the offset of {quoted(name)}")
        return self._views.tensor(name, path, dtype, sizes, strides, offset)


def static(archive: Archive, size: Any, what: str) -> int:
    """The number of a size that an archive writes as ``{"as_int": n}``.

    Raises:
        ReadError: where it is symbolic (the expression is not evaluated) or no natural number.
    """
    if isinstance(size, dict) and "as_expr" in size:
        raise archive.refuse(
            f"{what} is dynamic",
            why="bounds are proved for one input size; a symbolic size is not evaluated",
            step="Export with static shapes: torch.export.export(model, (example,)) without dynamic_shapes.",
        )
    number = size.get("as_int") if isinstance(size, dict) and len(size) == 1 else None
    if type(number) is not int or not 0 <= number < 1 << 48:
        raise archive.refuse(f"{what} is no natural number: {quoted(size)}", step=RESAVE)
    return number
