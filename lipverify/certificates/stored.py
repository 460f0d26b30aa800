"""The stored tensors of a program, by their names in the model's state."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from lipverify.errors import LipverifyError, quoted
from lipverify.maps import Array
from lipverify.read import Program
from lipverify.subnormals import widened

DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
"""The dtypes of weights that a certificate names, as safetensors names them."""


class Stored:
    """The real weights of a program.

    Raises:
        LipverifyError: where two weights that differ have one name.
    """

    def __init__(self, program: Program) -> None:
        self._tensors: dict[str, torch.Tensor] = {}
        self._arrays: dict[str, Array] = {}
        self.names: dict[str, str] = {}
        """Name of a value of the program -> name in the state."""
        for value, tensor in program.weights.items():
            name = program.weight_names.get(value, value)
            if tensor.dtype not in DTYPES:
                continue
            known = self._tensors.setdefault(name, tensor)
            if known is not tensor and not (known.dtype == tensor.dtype and torch.equal(known, tensor)):
                raise LipverifyError(
                    f"two weights that differ are named {quoted(name)}",
                    why="a certificate names every weight by its name in the model's state",
                    step="Rename one of them.",
                )
            self.names[value] = name

    def array(self, name: str) -> Array:
        """The numbers of a weight, in float64."""
        if name not in self._arrays:
            self._arrays[name] = widened(self._tensors[name])
        return self._arrays[name]

    def tensors(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """These weights, each with memory of its own, contiguous."""
        return {name: self._tensors[name].detach().cpu().clone().contiguous() for name in sorted(names)}

    def data(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Dtype, shape and digest of these weights."""
        return {
            name: {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "sha256": _digest(tensor)}
            for name, tensor in self.tensors(names).items()
        }


def _digest(tensor: torch.Tensor) -> str:
    """SHA-256 of the little-endian bytes in C order."""
    raw = tensor.reshape(-1).view(
        torch.int16 if tensor.itemsize == 2 else torch.int32 if tensor.itemsize == 4 else torch.int64
    )
    numbers = raw.numpy()
    return hashlib.sha256(np.ascontiguousarray(numbers.astype(numbers.dtype.newbyteorder("<"))).tobytes()).hexdigest()
