"""Layers of other authors, for comparison: SDP-based (SLL) and almost orthogonal (AOL), dense and convolutional.

Both rescale by sums of magnitudes instead of a spectral norm (Gershgorin's circles), hold their bound at every step of
training, and need no iteration. Sealed, an SLL block is a convex potential block, because ReLU is positively homogeneous:

    x - 2 W^T T^-1 relu(W x + b) = x - V^T relu(V x + b'),   V = sqrt(2) T^-1/2 W,  ||V||^2 <= 2.

Source: Araujo, Havens, Delattre, Allauzen, Hu (2023), A unified algebraic perspective on Lipschitz neural networks; Prach
and Lampert (2022), Almost-orthogonal layers for efficient general-purpose Lipschitz networks.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cpl import checks
from cpl.operators import Convolution, Dense, Operator
from cpl.trainable import TINY, initial_kernel, refuse_eval


class Gershgorin(nn.Module):
    """What the layers below share: a weight, a bias, and the refusal of eval mode."""

    def __init__(self, weight: Tensor, bias: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(bias))

    def operator(self, weight: Tensor) -> Operator:
        """The map that a tensor in the shape of the weight stands for."""
        raise NotImplementedError

    def rescaled(self) -> Tensor:
        """The weight after scaling: V of an SLL block, the map itself of an AOL layer."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Maps a batch of inputs to a batch of outputs; training mode only.

        Raises:
            SealError: in eval mode.
        """
        if not self.training:
            refuse_eval(self)
        return self._map(x)

    def _map(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"weight of {tuple(self.weight.shape)}"


class SLL(Gershgorin):
    """x - 2 A^T T^-1 relu(A x + b), T_i = sum_j |A A^T|_ij q_j / q_i with q > 0 learned: 1-Lipschitz."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__(weight, len(weight))
        self.log_q = nn.Parameter(torch.zeros(len(weight)))

    def gram(self) -> Tensor:
        """Sums of |A A^T| between output channels i and j, shape (inner, inner)."""
        raise NotImplementedError

    def scales(self) -> Tensor:
        """sqrt(2) T^-1/2, one number per row."""
        q = self.log_q.exp()
        t = (self.gram() * q).sum(dim=1) / q
        return (2 / t.clamp_min(TINY)).sqrt()

    def rescaled(self) -> Tensor:
        return self.weight * self.scales().view(-1, *[1] * (self.weight.ndim - 1))

    def _map(self, x: Tensor) -> Tensor:
        operator = self.operator(self.rescaled())
        return x - operator.adjoint(F.relu(operator.apply(x, self.bias * self.scales())))


class AOL(Gershgorin):
    """x -> A D x + b, D_j = (sum_i |A^T A|_ij)^-1/2: 1-Lipschitz."""

    def gram(self) -> Tensor:
        """Sums of |A^T A| between input channels i and j, shape (inputs, inputs)."""
        raise NotImplementedError

    def rescaled(self) -> Tensor:
        scale = self.gram().sum(dim=0).clamp_min(TINY).rsqrt()
        return self.weight * scale.view(1, -1, *[1] * (self.weight.ndim - 2))

    def _map(self, x: Tensor) -> Tensor:
        return self.operator(self.rescaled()).apply(x, self.bias)


class SLLLinear(SLL):
    """SLL on vectors; W of shape (inner, features).

    Args:
        features, inner: as `ConvexPotentialLinear`.
        generator: source of the random initial weights; torch's global one if None.

    Raises:
        ArgumentError: if a size is not a positive int, or too large.
    """

    def __init__(self, features: int, inner: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__(_matrix(inner, features, generator, where="SLLLinear"))

    def operator(self, weight: Tensor) -> Dense:
        return Dense(weight)

    def gram(self) -> Tensor:
        return (self.weight @ self.weight.t()).abs()


class SLLConv2d(SLL):
    """SLL on maps, zero padding; K of shape (inner, channels, k, k).

    Args:
        channels, inner, kernel_size: as `ConvexPotentialConv2d`.
        generator: source of the random initial weights; torch's global one if None.

    Raises:
        ArgumentError: if a size is not a positive int or too large, or k is even.
    """

    def __init__(
        self, channels: int, inner: int, *, kernel_size: int = 3, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(initial_kernel(channels, inner, kernel_size, "zeros", 1, generator, where="SLLConv2d"))

    def operator(self, weight: Tensor) -> Convolution:
        return Convolution(weight)

    def gram(self) -> Tensor:
        return _correlations(self.weight)


class AOLLinear(AOL):
    """AOL on vectors; W of shape (outputs, features); arguments as `SpectralLinear`."""

    def __init__(self, features: int, outputs: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__(_matrix(outputs, features, generator, where="AOLLinear"), outputs)

    def operator(self, weight: Tensor) -> Dense:
        return Dense(weight)

    def gram(self) -> Tensor:
        return (self.weight.t() @ self.weight).abs()


class AOLConv2d(AOL):
    """AOL on maps, zero padding; K of shape (outputs, channels, k, k); arguments as `SpectralConv2d`."""

    def __init__(
        self, channels: int, outputs: int, *, kernel_size: int = 3, generator: torch.Generator | None = None
    ) -> None:
        kernel = initial_kernel(channels, outputs, kernel_size, "zeros", 1, generator, where="AOLConv2d")
        super().__init__(kernel, outputs)

    def operator(self, weight: Tensor) -> Convolution:
        return Convolution(weight)

    def gram(self) -> Tensor:
        return _correlations(self.weight.transpose(0, 1))


def _correlations(kernel: Tensor) -> Tensor:
    """sum_d |sum_{c, e} K[i, c, e] K[j, c, e + d]|, shape (o, o): sums of |A A^T| along a row, channel by channel, on a
    torus. Zero padding is a compression of a torus, and the scales are constant on each channel, so its norm is no larger."""
    reach = (kernel.shape[2] - 1, kernel.shape[3] - 1)
    return F.conv2d(kernel, kernel, padding=reach).abs().sum(dim=(2, 3))


def _matrix(rows: int, columns: int, generator: torch.Generator | None, *, where: str) -> Tensor:
    checks.positive_int(rows, name="rows", where=where)
    checks.positive_int(columns, name="columns", where=where)
    checks.entries(rows, columns, name="weight", where=where)
    return torch.randn(rows, columns, generator=generator) / math.sqrt(columns)
