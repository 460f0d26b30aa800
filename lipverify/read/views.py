"""Tensors over the raw entries of an archive: bounds checked, each stored byte read once, views limited together."""

from __future__ import annotations

from math import prod

import torch

from lipverify.errors import quoted
from lipverify.read.archive import Archive

SPARE_ENTRIES = 1 << 26
"""How many entries views may have in total beyond what is stored (views may overlap, or repeat with stride 0)."""


class Views:
    """The tensors that lie in the entries of an archive.

    Tensors that share their bytes and their layout are one object, so that tied weights stay tied.

    Args:
        archive: the file.
        directory: of the entries.
    """

    def __init__(self, archive: Archive, directory: str) -> None:
        self._archive, self._directory = archive, directory
        self._made: dict[tuple[object, ...], torch.Tensor] = {}
        self._bytes: dict[str, torch.Tensor] = {}
        self._unread: dict[str, int] = {}
        self._spare = SPARE_ENTRIES

    def tensor(
        self, name: str, path: str, dtype: torch.dtype, sizes: tuple[int, ...], strides: tuple[int, ...], offset: int
    ) -> torch.Tensor:
        """The tensor over the entry ``path``, contiguous; all numbers are natural.

        Args:
            name: of the tensor, for messages.
            path: of the entry below the directory.
            dtype: of the stored numbers.
            sizes, strides, offset: in entries of that dtype.

        Raises:
            ReadError: where the entry does not hold it, views are over their limit, a mask holds something else than 0
                and 1, or a number is not finite.
        """
        key = (path, dtype, sizes, strides, offset)
        if key not in self._made:
            self._made[key] = self._view(name, path, dtype, sizes, strides, offset)
        return self._made[key]

    def _view(
        self, name: str, path: str, dtype: torch.dtype, sizes: tuple[int, ...], strides: tuple[int, ...], offset: int
    ) -> torch.Tensor:
        entry = f"{self._directory}/{path}"
        stored, rest = divmod(self._archive.size(entry) if entry in self._archive else 0, dtype.itemsize)
        entries = prod(sizes)
        extent = offset + sum((n - 1) * s for n, s in zip(sizes, strides, strict=False)) + 1 if entries else 0
        if len(sizes) != len(strides) or rest or extent > stored:
            raise self._archive.refuse(
                f"the tensor {quoted(name)} does not fit its bytes",
                why=f"shape {quoted(sizes)}, strides {quoted(strides)}, offset {offset} of {dtype} need "
                f"{extent * dtype.itemsize} bytes; {quoted(path)} has {stored * dtype.itemsize + rest}",
                step=self._archive.resave,
            )
        covered = min(entries, self._unread.setdefault(path, stored))
        self._unread[path] -= covered
        self._spare -= entries - covered
        if self._spare < 0:
            raise self._archive.refuse(
                f"the tensor {quoted(name)} unfolds {stored} stored entries to {entries}",
                why="over the limit for views",
            )
        if not entries:
            return torch.zeros(sizes, dtype=dtype)
        if path not in self._bytes:
            self._bytes[path] = torch.frombuffer(bytearray(self._archive.read(entry)), dtype=torch.uint8)
        if dtype is torch.bool and bool(self._bytes[path].gt(1).any()):
            raise self._archive.refuse(
                f"the mask {quoted(name)} holds something else than 0 and 1", step=self._archive.resave
            )
        flat = self._bytes[path].ne(0) if dtype is torch.bool else self._bytes[path].view(dtype)
        tensor = torch.as_strided(flat, sizes, strides, offset).contiguous()
        if dtype.is_floating_point and not torch.isfinite(tensor).all():
            raise self._archive.refuse(
                f"the weight {quoted(name)} contains NaN or infinity",
                why="no bound is true of a network with such a weight",
                step="Retrain or repair the model, then save it again.",
            )
        return tensor
