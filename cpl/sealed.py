"""Layers as they ship: one stored tensor each, its norm bounded from above, used exactly as stored.

Real semantics: with sqrt(h) folded into V = sqrt(h) W and b' = sqrt(h) b, where sigma is positively homogeneous as ReLU
is, a block is

    f(x) = x - V^T sigma(V x + b'),   1-Lipschitz in l2 if ||V||^2 <= 2   (Meunier et al., 2022);

with another sigma V = W and h stays a stored number, h ||V||^2 <= 2. With `iterations` > 0 the block is implicit Euler,
truncated, and h ||V||^2 <= 2 reach. Both uses of V are the same stored numbers. A sealed layer knows the input shape and
dtype it was sealed for and refuses others: the norm of a convolution depends on the size of the map.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cpl.activations import ACTIVATIONS
from cpl.convolution import convolve
from cpl.errors import SealError
from cpl.flow import Potential, implicit_euler
from cpl.operators import Convolution, Dense


@dataclass(frozen=True, slots=True)
class LayerSeal:
    """What a sealed layer was sealed for.

    Attributes:
        path: module path.
        kind: 'block' and 'map' (constant 1, l2 -> l2) or 'rows' (constant 1, l2 -> linf).
        input_shape: of one input, without the batch.
        dtype: of weights and inputs, e.g. 'float32'.
        upper: cpl's upper bound of sqrt(h) ||V|| (blocks), of the norm (maps) or of the largest row norm (rows).
            Numeric; the audit proves it again.
        digest: sha256 of the layer's tensors.
    """

    path: str
    kind: str
    input_shape: tuple[int, ...]
    dtype: str
    upper: float
    digest: str


class SealedLinear(nn.Module):
    """x - h V^T sigma(V x + b') on vectors; V of shape (inner, features); h = 1 where `step` is None."""

    def __init__(
        self,
        V: Tensor,
        bias: Tensor,
        *,
        activation: str = "relu",
        step: Tensor | None = None,
        iterations: int = 0,
        reach: float = 1.0,
        seal: LayerSeal,
    ) -> None:
        super().__init__()
        self.V = nn.Parameter(V, requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)
        self.step = None if step is None else nn.Parameter(step, requires_grad=False)
        self.activation = activation
        self.iterations = iterations
        self.reach = reach
        self.seal = seal

    def forward(self, x: Tensor) -> Tensor:
        """Maps (batch, features) to the same shape.

        Raises:
            SealError: if shape or dtype are not those of the seal.
        """
        _check_input(self.seal, x, self.V)
        potential = Potential(Dense(self.V), self.bias, ACTIVATIONS[self.activation].function)
        return _euler(self, potential, x) if self.iterations else x - _scaled(self.step, potential.gradient(x))

    def extra_repr(self) -> str:
        return f"{self.V.shape[1]}, inner={self.V.shape[0]}, {self.activation}, upper={self.seal.upper:.8g}"


class SealedConv2d(nn.Module):
    """x - h A_V^T sigma(A_V x + b') on maps; V of shape (inner, channels / groups, k, k); h = 1 where `step` is None."""

    def __init__(
        self,
        V: Tensor,
        bias: Tensor,
        *,
        padding_mode: str,
        groups: int = 1,
        activation: str = "relu",
        step: Tensor | None = None,
        iterations: int = 0,
        reach: float = 1.0,
        seal: LayerSeal,
    ) -> None:
        super().__init__()
        self.V = nn.Parameter(V, requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)
        self.step = None if step is None else nn.Parameter(step, requires_grad=False)
        self.padding_mode = padding_mode
        self.groups = groups
        self.activation = activation
        self.iterations = iterations
        self.reach = reach
        self.seal = seal

    def forward(self, x: Tensor) -> Tensor:
        """Maps (batch, channels, n_h, n_w) to the same shape.

        Raises:
            SealError: if shape or dtype are not those of the seal.
        """
        _check_input(self.seal, x, self.V)
        operator, sigma = Convolution(self.V, self.padding_mode, self.groups), ACTIVATIONS[self.activation]
        if self.iterations:
            return _euler(self, Potential(operator, self.bias, sigma.function), x)
        # the sign goes to the inner value and the sum in place: the block costs its two convolutions and little more
        return _scaled(self.step, operator.adjoint(sigma.negated(operator.apply(x, self.bias)))).add_(x)

    def extra_repr(self) -> str:
        inner, channels = self.V.shape[0], self.V.shape[1] * self.groups
        return (
            f"{channels}, inner={inner}, padding_mode={self.padding_mode!r}, {self.activation}, "
            f"upper={self.seal.upper:.8g}"
        )


class SealedMap(nn.Module):
    """x -> W x + b on vectors; W of shape (outputs, features). Kind 'map': ||W|| <= 1; 'rows': each row at most 1."""

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


class SealedMapConv2d(nn.Module):
    """x -> A_K x + b on maps with ||A_K|| <= 1; K of shape (outputs, channels / groups, k, k), stride 1, same size."""

    def __init__(self, weight: Tensor, bias: Tensor, *, padding_mode: str, groups: int = 1, seal: LayerSeal) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)
        self.padding_mode = padding_mode
        self.groups = groups
        self.seal = seal

    def forward(self, x: Tensor) -> Tensor:
        """Maps (batch, channels, n_h, n_w) to (batch, outputs, n_h, n_w).

        Raises:
            SealError: if shape or dtype are not those of the seal.
        """
        _check_input(self.seal, x, self.weight)
        return convolve(x, self.weight, self.bias, padding_mode=self.padding_mode, groups=self.groups)

    def extra_repr(self) -> str:
        outputs, channels = self.weight.shape[0], self.weight.shape[1] * self.groups
        return f"{channels}, {outputs}, padding_mode={self.padding_mode!r}, upper={self.seal.upper:.8g}"


SEALED = (SealedLinear, SealedConv2d, SealedMap, SealedMapConv2d)


def _scaled(step: Tensor | None, branch: Tensor) -> Tensor:
    return branch if step is None else step * branch


def _euler(layer: SealedLinear | SealedConv2d, potential: Potential, x: Tensor) -> Tensor:
    """Implicit Euler, truncated, with h ||V||^2 <= 2 reach."""
    step = 1.0 if layer.step is None else layer.step
    return implicit_euler(potential, x, step, smoothness=2 * layer.reach / step, iterations=layer.iterations)


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
