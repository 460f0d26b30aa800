"""Trainable layers that are 1-Lipschitz from l2 to l2, once sealed.

A convex potential block is one explicit Euler step of x' = -grad f(x), f(x) = sum_i phi(w_i.x + b_i), phi' = ReLU:

    x -> x - h W^T relu(W x + b),   constant max(1, h ||W||^2 - 1) = 1 iff h ||W||^2 <= 2   (Meunier et al., 2022).

While training, h = 2 / lower^2 with one warm-started power iteration a step, run under no_grad. `lower` = ||W v|| is
a LOWER bound of ||W||: h is a proxy, slightly too large, and nothing is claimed of a training forward. The loss is
differentiated through h with v fixed: without that term the gradient keeps growing the top singular value, which h
cancels at the cost of all the others, and the network stays almost linear. In eval mode an unsealed layer refuses to
run: `cpl.seal` replaces it by one whose constant comes from an upper bound.
"""

from __future__ import annotations

import math
from typing import Any, NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cpl import checks
from cpl.convolution import convolve, convolve_adjoint
from cpl.errors import ArgumentError, SealError
from cpl.norms import power_lower_conv, power_lower_dense

TINY = 1e-12


class ConvexPotentialLinear(nn.Module):
    """x - h W^T relu(W x + b) on vectors; W of shape (inner, features).

    Args:
        features: size of the last axis of x.
        inner: number of rows of W; at most `features` if W shall have full row rank.
        generator: source of the random initial weights; torch's global one if None.

    Raises:
        ArgumentError: if a size is not a positive int, or too large.
    """

    iterate: Tensor

    def __init__(self, features: int, inner: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        where = "ConvexPotentialLinear"
        self.features = checks.positive_int(features, name="features", where=where)
        self.inner = checks.positive_int(inner, name="inner", where=where)
        checks.entries(inner, features, name="weight", where=where)
        self.weight = nn.Parameter(torch.randn(inner, features, generator=generator) / math.sqrt(features))
        self.bias = nn.Parameter(torch.zeros(inner))
        self.register_buffer("iterate", _start(features))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (..., features) to (..., features); training mode only.

        Raises:
            SealError: in eval mode.
        """
        if not self.training:
            _refuse(self)
        lower, iterate = power_lower_dense(self.weight, self.iterate)
        self.iterate.copy_(iterate)
        step = 2 / lower.square().clamp_min(TINY)
        return x - step * F.linear(F.relu(F.linear(x, self.weight, self.bias)), self.weight.t())

    def extra_repr(self) -> str:
        return f"{self.features}, inner={self.inner}"


class ConvexPotentialConv2d(nn.Module):
    """x - h A_K^T relu(A_K x + b) on maps; K of shape (inner, channels, k, k), stride 1, output size = input size.

    Args:
        channels: channels of x.
        inner: channels of A_K x.
        kernel_size: k, odd.
        padding_mode: 'zeros' or 'circular'.
        generator: source of the random initial weights; torch's global one if None.

    Raises:
        ArgumentError: if a size is not a positive int or too large, k is even, or the padding mode is unknown.
    """

    iterate: Tensor

    def __init__(
        self,
        channels: int,
        inner: int,
        *,
        kernel_size: int = 3,
        padding_mode: str = "zeros",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        where = "ConvexPotentialConv2d"
        self.channels = checks.positive_int(channels, name="channels", where=where)
        self.inner = checks.positive_int(inner, name="inner", where=where)
        self.kernel_size = checks.odd_int(kernel_size, name="kernel_size", where=where)
        self.padding_mode = checks.padding_mode(padding_mode, where=where)
        shape = (inner, channels, kernel_size, kernel_size)
        checks.entries(*shape, name="weight", where=where)
        self.weight = nn.Parameter(torch.randn(shape, generator=generator) / math.sqrt(channels * kernel_size**2))
        self.bias = nn.Parameter(torch.zeros(inner))
        self.register_buffer("iterate", torch.zeros(1, channels, 0, 0))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (batch, channels, n_h, n_w) to the same shape; training mode only.

        Raises:
            SealError: in eval mode.
        """
        if not self.training:
            _refuse(self)
        if self.iterate.shape[2:] != x.shape[2:]:
            self.iterate = _start(*x.shape[1:]).to(self.iterate)
        lower, iterate = power_lower_conv(self.weight, self.iterate, padding_mode=self.padding_mode)
        self.iterate.copy_(iterate)
        step = 2 / lower.square().clamp_min(TINY)
        inner = F.relu(convolve(x, self.weight, self.bias, padding_mode=self.padding_mode))
        return x - step * convolve_adjoint(inner, self.weight, padding_mode=self.padding_mode)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        # the iterate has the size of the map it was trained on, which the constructor does not know
        stored = state_dict.get(prefix + "iterate")
        if isinstance(stored, Tensor) and stored.ndim == 4 and stored.shape[:2] == self.iterate.shape[:2]:
            self.iterate = self.iterate.new_zeros(stored.shape)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def extra_repr(self) -> str:
        return (
            f"{self.channels}, inner={self.inner}, kernel_size={self.kernel_size}, padding_mode={self.padding_mode!r}"
        )


class NormalizedLinear(nn.Module):
    """x -> (w_i / ||w_i||).x + b_i for each row i: every output is 1-Lipschitz (l2 -> linf); the whole map in l2 need
    not be.

    Args:
        features: size of the last axis of x.
        outputs: number of rows.
        generator: source of the random initial weights; torch's global one if None.

    Raises:
        ArgumentError: if a size is not a positive int, or too large.
    """

    def __init__(self, features: int, outputs: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.features = checks.positive_int(features, name="features", where="NormalizedLinear")
        self.outputs = checks.positive_int(outputs, name="outputs", where="NormalizedLinear")
        checks.entries(outputs, features, name="weight", where="NormalizedLinear")
        self.weight = nn.Parameter(torch.randn(outputs, features, generator=generator) / math.sqrt(features))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (..., features) to (..., outputs); training mode only.

        Raises:
            SealError: in eval mode.
        """
        if not self.training:
            _refuse(self)
        return F.linear(x, F.normalize(self.weight, dim=1, eps=TINY), self.bias)

    def extra_repr(self) -> str:
        return f"{self.features}, {self.outputs}"


class ZeroChannelPad(nn.Module):
    """Appends zero channels (axis 1): an isometry, ||f(x) - f(y)|| = ||x - y||. On (batch, features) the channels are
    features.

    Args:
        channels: channels of x.
        padded: channels of the output, >= channels.

    Raises:
        ArgumentError: if a size is not a positive int or padded < channels.
    """

    def __init__(self, channels: int, padded: int) -> None:
        super().__init__()
        self.channels = checks.positive_int(channels, name="channels", where="ZeroChannelPad")
        self.padded = checks.positive_int(padded, name="padded", where="ZeroChannelPad")
        if padded < channels:
            raise ArgumentError(
                f"padded={padded} < channels={channels}",
                where="ZeroChannelPad",
                why="padding cannot remove channels",
                next_step="pass padded >= channels",
            )

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, 0) * (x.ndim - 2) + (0, self.padded - self.channels))

    def extra_repr(self) -> str:
        return f"{self.channels}, {self.padded}"


class UnitNormAvgPool2d(nn.Module):
    """k times the average over disjoint k x k windows: norm exactly 1, and no isometry for k > 1.

    A window of k^2 numbers x has |k mean(x)| = |sum(x)| / k <= ||x||, with equality for constant x only; windows are
    disjoint, and what a size not divisible by k leaves over is dropped.

    Args:
        kernel_size: k.

    Raises:
        ArgumentError: if k is not a positive int.
    """

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        self.kernel_size = checks.positive_int(kernel_size, name="kernel_size", where="UnitNormAvgPool2d")

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.kernel_size, self.kernel_size) * self.kernel_size

    def extra_repr(self) -> str:
        return f"{self.kernel_size}"


def _start(*shape: int) -> Tensor:
    """A fixed pseudo-random unit vector: generic, hence not orthogonal to the top singular vector."""
    vector = torch.randn((1, *shape) if len(shape) > 1 else shape, generator=torch.Generator().manual_seed(0))
    return vector / torch.linalg.vector_norm(vector)


def _refuse(module: nn.Module) -> NoReturn:
    raise SealError(
        "an unsealed layer was called in eval mode",
        where=type(module).__name__,
        why="its step size is a training proxy, for which no Lipschitz constant holds",
        next_step="call cpl.seal(model, input_shape), or model.train() to go on training",
    )
