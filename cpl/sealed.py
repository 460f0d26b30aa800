"""Layers as they ship: one stored tensor each, its norm bounded from above, used exactly as stored.

Real semantics: with sqrt(h) folded into V = sqrt(h) W and b' = sqrt(h) b (ReLU is positively homogeneous), a block is

    f(x) = x - V^T relu(V x + b'),   1-Lipschitz in l2 if ||V||^2 <= 2   (Meunier et al., 2022).

Both uses of V are the same stored numbers. A sealed layer knows the input shape and dtype it was sealed for and
refuses others: the norm of a convolution depends on the size of the map.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cpl.convolution import convolve, convolve_adjoint
from cpl.errors import SealError


@dataclass(frozen=True, slots=True)
class LayerSeal:
    """What a sealed layer was sealed for.

    Attributes:
        path: module path.
        kind: 'block' (constant 1, l2 -> l2) or 'rows' (constant 1, l2 -> linf).
        input_shape: of one input, without the batch.
        dtype: of weights and inputs, e.g. 'float32'.
        upper: cpl's upper bound of ||V|| (blocks) or of the largest row norm (rows). Numeric; the audit proves it
            again.
        digest: sha256 of the layer's tensors.
    """

    path: str
    kind: str
    input_shape: tuple[int, ...]
    dtype: str
    upper: float
    digest: str


class SealedLinear(nn.Module):
    """x - V^T relu(V x + b') on vectors; V of shape (inner, features)."""

    def __init__(self, V: Tensor, bias: Tensor, *, seal: LayerSeal) -> None:
        super().__init__()
        self.V = nn.Parameter(V, requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)
        self.seal = seal

    def forward(self, x: Tensor) -> Tensor:
        """Maps (batch, features) to the same shape.

        Raises:
            SealError: if shape or dtype are not those of the seal.
        """
        _check_input(self.seal, x, self.V)
        return x - F.linear(F.relu(F.linear(x, self.V, self.bias)), self.V.t())

    def extra_repr(self) -> str:
        return f"{self.V.shape[1]}, inner={self.V.shape[0]}, upper={self.seal.upper:.8g}"


class SealedConv2d(nn.Module):
    """x - A_V^T relu(A_V x + b') on maps; V of shape (inner, channels, k, k)."""

    def __init__(self, V: Tensor, bias: Tensor, *, padding_mode: str, seal: LayerSeal) -> None:
        super().__init__()
        self.V = nn.Parameter(V, requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)
        self.padding_mode = padding_mode
        self.seal = seal

    def forward(self, x: Tensor) -> Tensor:
        """Maps (batch, channels, n_h, n_w) to the same shape.

        Raises:
            SealError: if shape or dtype are not those of the seal.
        """
        _check_input(self.seal, x, self.V)
        inner = F.relu(convolve(x, self.V, self.bias, padding_mode=self.padding_mode))
        return x - convolve_adjoint(inner, self.V, padding_mode=self.padding_mode)

    def extra_repr(self) -> str:
        inner, channels = self.V.shape[:2]
        return f"{channels}, inner={inner}, padding_mode={self.padding_mode!r}, upper={self.seal.upper:.8g}"


class SealedNormalizedLinear(nn.Module):
    """x -> W x + b with every row of the stored W of norm at most 1; W of shape (outputs, features)."""

    def __init__(self, weight: Tensor, bias: Tensor, *, seal: LayerSeal) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)
        self.seal = seal

    def forward(self, x: Tensor) -> Tensor:
        """Maps (batch, features) to (batch, outputs).

        Raises:
            SealError: if shape or dtype are not those of the seal.
        """
        _check_input(self.seal, x, self.weight)
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}, upper={self.seal.upper:.8g}"


SEALED = (SealedLinear, SealedConv2d, SealedNormalizedLinear)


def digest(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over name, dtype, shape and little-endian bytes of every tensor, sorted by name."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"{name}\0{dtype_name(tensor.dtype)}\0{tuple(tensor.shape)}\0".encode())
        array = tensor.numpy()
        total.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return total.hexdigest()


def dtype_name(dtype: torch.dtype) -> str:
    """'float32' for torch.float32."""
    return str(dtype).removeprefix("torch.")


def _check_input(seal: LayerSeal, x: Tensor, weight: Tensor) -> None:
    found = (tuple(x.shape[1:]), dtype_name(x.dtype), dtype_name(weight.dtype))
    if found != (seal.input_shape, seal.dtype, seal.dtype):
        raise SealError(
            f"the seal is for inputs {seal.input_shape} of {seal.dtype}, "
            f"not {found[0]} of {found[1]} with weights of {found[2]}",
            where=seal.path or "the model",
            why="the bound of the layer was computed for that size and those numbers only",
            next_step="seal the trained model again for this input: cpl.seal(model, input_shape)",
        )
