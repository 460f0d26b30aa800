"""The skew half of the framework: layers that are steps of x' = A x with A = B - B^T, isometries up to a bounded error.

Cayley (midpoint rule) and the exponential (exact flow; SOC where its series is truncated), dense and convolutional.
Convolutions are circular: then the layer, whatever its kernel B, is one circular convolution with a larger kernel, and
that one tensor is what is sealed and audited. With zero padding it would be no convolution.

Each layer is one line of `cpl.flow`, and trains as it is, with no proxy but the radius of the convolutional exponential.
In eval mode an unsealed layer refuses to run, as all do.

Source: Trockman and Kolter (2021), Orthogonalizing convolutional layers with the Cayley transform; Singla and Feizi (2021),
Skew orthogonal convolutions.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cpl import checks
from cpl.convolution import reversed_kernel
from cpl.flow import Skew, exact_flow, midpoint
from cpl.norms import gram_upper_conv
from cpl.operators import Convolution, Dense, power_lower
from cpl.trainable import adopt_size, fitted, initial_kernel, refuse_eval

ORDER = 6  # of the truncated exponential; its error at ||A|| <= 1 is below 1 / 7! = 2e-4


class Orthogonal(nn.Module):
    """What the layers below share: B, a bias, and the refusal of eval mode."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(len(weight)))

    def linear(self, x: Tensor) -> Tensor:
        """The layer without its bias."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Maps a batch to one of the same shape; training mode only.

        Raises:
            SealError: in eval mode.
        """
        if not self.training:
            refuse_eval(self)
        return self.linear(x) + self.bias.view(-1, *[1] * (self.weight.ndim - 2))

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, weight of {tuple(self.weight.shape)}"


class CayleyLinear(Orthogonal):
    """x -> (I - A/2)^-1 (I + A/2) x + b with A = W - W^T, W of shape (features, features).

    Args:
        features: size of the last axis of x.
        generator: source of the random initial weights; torch's global one if None.

    Raises:
        ArgumentError: if the size is not a positive int, or too large.
    """

    def __init__(self, features: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__(_square(features, generator, where="CayleyLinear"))

    def linear(self, x: Tensor) -> Tensor:
        return midpoint(Skew(Dense(self.weight)), x)


class ExponentialLinear(Orthogonal):
    """x -> exp(A) x + b with A = W - W^T, W of shape (features, features); arguments as `CayleyLinear`."""

    def __init__(self, features: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__(_square(features, generator, where="ExponentialLinear"))

    def linear(self, x: Tensor) -> Tensor:
        return F.linear(x, torch.linalg.matrix_exp(self.weight - self.weight.t()))


class CayleyConv2d(Orthogonal):
    """The Cayley transform of a skew circular convolution, solved at every frequency of the map; K of shape (c, c, k, k).

    Sealed, it is a circular convolution whose kernel is as large as the map: for small maps.

    Args:
        channels: c.
        kernel_size: k, odd.
        generator: source of the random initial weights; torch's global one if None.

    Raises:
        ArgumentError: if a size is not a positive int or too large, or k is even.
    """

    def __init__(self, channels: int, *, kernel_size: int = 3, generator: torch.Generator | None = None) -> None:
        super().__init__(
            initial_kernel(channels, channels, kernel_size, "circular", 1, generator, where="CayleyConv2d")
        )

    def linear(self, x: Tensor) -> Tensor:
        return midpoint(Skew(Convolution(self.weight, "circular")), x)


class ExponentialConv2d(Orthogonal):
    """T(A) x / bound + b, A the skew circular convolution, T the Taylor polynomial of exp of order `order` (SOC).

    A is scaled down to norm 1 where it is larger, by its norm's LOWER bound while training and by an upper one when
    sealed: there the polynomial is an isometry up to 1 / (order + 1)!. Sealed, the layer is a circular convolution with a
    kernel of 1 + (k - 1) order taps per axis, at most the size of the map.

    Args:
        channels: c; K of shape (c, c, k, k).
        kernel_size: k, odd.
        order: p >= 1.
        generator: source of the random initial weights; torch's global one if None.

    Raises:
        ArgumentError: if a size is not a positive int or too large, or k is even.
    """

    iterate: Tensor

    def __init__(
        self, channels: int, *, kernel_size: int = 3, order: int = ORDER, generator: torch.Generator | None = None
    ) -> None:
        where = "ExponentialConv2d"
        super().__init__(initial_kernel(channels, channels, kernel_size, "circular", 1, generator, where=where))
        self.order = checks.positive_int(order, name="order", where=where, most=64)
        self.register_buffer("iterate", torch.zeros(1, channels, 0, 0))

    def linear(self, x: Tensor) -> Tensor:
        self.iterate = fitted(self.iterate, x)
        operator = Convolution(skew_kernel(self.weight), "circular")
        lower, following = power_lower(operator, self.iterate.clone())
        self.iterate.copy_(following)
        return exact_flow(_within_one(self.weight, lower), x, order=self.order, radius=1.0)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        adopt_size(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def skew_kernel(kernel: Tensor) -> Tensor:
    """The kernel of A = B - B^T on a torus."""
    return kernel - reversed_kernel(kernel)


def _within_one(kernel: Tensor, norm: Tensor) -> Skew:
    """The field A / max(1, norm)."""
    return Skew(Convolution(kernel / norm.clamp_min(1.0), "circular"))


def matrix_of(layer: CayleyLinear | ExponentialLinear) -> Tensor:
    """The matrix of a dense layer, in float64."""
    weight = layer.weight.detach().double()
    if isinstance(layer, CayleyLinear):
        return midpoint(Skew(Dense(weight)), torch.eye(len(weight), dtype=weight.dtype)).t()
    return torch.linalg.matrix_exp(weight - weight.t())


def kernel_of(layer: CayleyConv2d | ExponentialConv2d, size: tuple[int, int]) -> Tensor:
    """The kernel of a convolutional layer on maps of this size, odd, in float64: its response to impulses.

    The response of the truncated exponential has 1 + (k - 1) p taps where that fits into the map; otherwise, and for
    Cayley, as many as the map, with a row of zeros where that is even.
    """
    kernel = layer.weight.detach().double()
    taps = list(size)
    if isinstance(layer, ExponentialConv2d):
        taps = [min(n, 1 + (kernel.shape[2] - 1) * layer.order) for n in size]
    half = [t // 2 for t in taps]
    impulses = torch.zeros(len(kernel), len(kernel), *size, dtype=kernel.dtype)
    impulses[range(len(kernel)), range(len(kernel)), half[0], half[1]] = 1
    if isinstance(layer, CayleyConv2d):
        response = midpoint(Skew(Convolution(kernel, "circular")), impulses)
    else:
        upper = gram_upper_conv(skew_kernel(kernel), size, padding_mode="circular")
        field = _within_one(kernel, torch.tensor(upper, dtype=kernel.dtype))
        response = exact_flow(field, impulses, order=layer.order, radius=1.0)
    # (A x)(s) = sum_d K[:, :, d] x(s + d - p): the response to an impulse at p holds the kernel reversed
    response = response.transpose(0, 1)[:, :, : 2 * half[0] + 1, : 2 * half[1] + 1]
    missing = [2 * h + 1 - r for h, r in zip(half, response.shape[2:], strict=True)]
    return F.pad(response, (0, missing[1], 0, missing[0])).flip(2, 3)


def _square(features: int, generator: torch.Generator | None, *, where: str) -> Tensor:
    checks.positive_int(features, name="features", where=where)
    checks.entries(features, features, name="weight", where=where)
    return torch.randn(features, features, generator=generator) / math.sqrt(features)
