"""Linear layers divided by a norm: by that of each row (a head for classification) or by that of the whole map.

Both are trained with a proxy where the norm is not exact, and refuse eval mode until they are sealed, as all layers do.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cpl import checks
from cpl.operators import Convolution, Dense, Operator, power_lower, start
from cpl.trainable import TINY, adopt_size, fitted, initial_kernel, refuse_eval


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
        self.features, self.outputs = features, outputs
        self.weight = nn.Parameter(_initial_matrix(features, outputs, generator, where="NormalizedLinear"))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (..., features) to (..., outputs); training mode only.

        Raises:
            SealError: in eval mode.
        """
        if not self.training:
            refuse_eval(self)
        return F.linear(x, F.normalize(self.weight, dim=1, eps=TINY), self.bias)

    def extra_repr(self) -> str:
        return f"{self.features}, {self.outputs}"


class Spectral(nn.Module):
    """What the dense and the convolutional spectrally normalised layer share: x -> A x / ||A|| + b.

    While training, ||A|| is a LOWER bound by power iteration and a proxy, differentiated as in `cpl.layers`.
    """

    iterate: Tensor

    def __init__(self, weight: Tensor, iterate: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(len(weight)))
        self.register_buffer("iterate", iterate)

    def operator(self) -> Operator:
        """A, holding the trained weight."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Maps a batch of inputs to a batch of outputs; training mode only.

        Raises:
            SealError: in eval mode.
        """
        if not self.training:
            refuse_eval(self)
        self._fit(x)
        with torch.autocast(x.device.type, enabled=False):
            lower, following = power_lower(self.operator(), self.iterate.clone())
        self.iterate.copy_(following)
        shape = (-1, *[1] * (self.weight.ndim - 2)) if self.weight.ndim > 2 else (-1,)
        return self.operator().apply(x) / lower.clamp_min(TINY) + self.bias.view(shape)

    def _fit(self, x: Tensor) -> None:
        """Makes an iterate of the size of x, where that is not known before."""


class SpectralLinear(Spectral):
    """x -> W x / ||W|| + b, W of shape (outputs, features): 1-Lipschitz in l2.

    Args:
        features: size of the last axis of x.
        outputs: number of rows.
        generator: source of the random initial weights; torch's global one if None.

    Raises:
        ArgumentError: if a size is not a positive int, or too large.
    """

    def __init__(self, features: int, outputs: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__(_initial_matrix(features, outputs, generator, where="SpectralLinear"), start(features))
        self.features, self.outputs = features, outputs

    def operator(self) -> Dense:
        return Dense(self.weight)

    def extra_repr(self) -> str:
        return f"{self.features}, {self.outputs}"


class SpectralConv2d(Spectral):
    """x -> A_K x / ||A_K|| + b, K of shape (outputs, channels / groups, k, k), stride 1, output size = input size.

    ||A_K|| is the norm of the operator on maps of the size seen, not of the kernel flattened to a matrix.

    Args:
        channels, outputs: of x and of the image.
        kernel_size: k, odd.
        padding_mode: 'zeros' or 'circular'.
        groups: a divisor of both numbers of channels.
        generator: source of the random initial weights; torch's global one if None.

    Raises:
        ArgumentError: as `ConvexPotentialConv2d` says.
    """

    def __init__(
        self,
        channels: int,
        outputs: int,
        *,
        kernel_size: int = 3,
        padding_mode: str = "zeros",
        groups: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        kernel = initial_kernel(channels, outputs, kernel_size, padding_mode, groups, generator, where="SpectralConv2d")
        super().__init__(kernel, torch.zeros(1, channels, 0, 0))
        self.channels, self.outputs, self.kernel_size = channels, outputs, kernel_size
        self.padding_mode, self.groups = padding_mode, groups

    def operator(self) -> Convolution:
        return Convolution(self.weight, self.padding_mode, self.groups)

    def _fit(self, x: Tensor) -> None:
        self.iterate = fitted(self.iterate, x)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        adopt_size(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def extra_repr(self) -> str:
        return (
            f"{self.channels}, {self.outputs}, kernel_size={self.kernel_size}, "
            f"padding_mode={self.padding_mode!r}, groups={self.groups}"
        )


def _initial_matrix(features: int, outputs: int, generator: torch.Generator | None, *, where: str) -> Tensor:
    checks.positive_int(features, name="features", where=where)
    checks.positive_int(outputs, name="outputs", where=where)
    checks.entries(outputs, features, name="weight", where=where)
    return torch.randn(outputs, features, generator=generator) / math.sqrt(features)
