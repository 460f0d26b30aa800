"""Networks for tests: small makers, and the layers that peers ship."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from lipverify.maps import Enclosure, Separable


class DenseBlock(nn.Module):
    """x - h V^T sigma(V x + b), one stored tensor."""

    def __init__(self, features: int, inner: int, scale: float = 1.0, h: float = 1.0, activation=F.relu) -> None:
        super().__init__()
        weight = torch.randn(inner, features)
        self.weight = nn.Parameter(weight * scale / torch.linalg.matrix_norm(weight.double(), 2).float())
        self.bias = nn.Parameter(torch.randn(inner))
        self.h, self.activation = h, activation

    def forward(self, x):
        update = F.linear(self.activation(F.linear(x, self.weight, self.bias)), self.weight.t())
        return x - (update if self.h == 1.0 else self.h * update)


class ConvBlock(nn.Module):
    """The same with a convolution, zero or circular padding; the adjoint as conv_transpose2d or as a flipped kernel."""

    def __init__(self, channels: int, inner: int, k: int = 3, circular: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inner, channels, k, k) * 0.2)
        self.bias = nn.Parameter(torch.randn(inner))
        self.pads, self.circular = [k // 2] * 4, circular

    def forward(self, x):
        if self.circular:
            y = F.relu(F.conv2d(F.pad(x, self.pads, mode="circular"), self.weight, self.bias))
            return x - F.conv2d(F.pad(y, self.pads, mode="circular"), self.weight.transpose(0, 1).flip(2, 3))
        y = F.relu(F.conv2d(x, self.weight, self.bias, padding=self.pads[0]))
        return x - F.conv_transpose2d(y, self.weight, padding=self.pads[0])


class Shared(nn.Module):
    """One module called twice, inside another that is called twice."""

    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x):
            return torch.tanh(self.linear(torch.relu(self.linear(x))))

    def __init__(self) -> None:
        super().__init__()
        self.inner = Shared.Inner()

    def forward(self, x):
        return self.inner(self.inner(x))


class Lambda(nn.Module):
    """Any function of x and this module's one weight."""

    def __init__(self, function, weight: torch.Tensor | None = None) -> None:
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.zeros(1) if weight is None else weight)

    def forward(self, x):
        return self.function(x, self.weight)


def jacobian(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The dense Jacobian of the module at x, float64."""
    model = model.double()
    j = torch.autograd.functional.jacobian(model, x.double())
    return j.reshape(-1, x.numel())


def pooling(shape: tuple[int, ...], window: tuple[int, int]) -> Separable:
    """Means over disjoint windows of the last two axes, incomplete windows dropped."""
    factors = []
    for axis, w in enumerate(window, len(shape) - 2):
        members = np.arange(shape[axis])[None] // w == np.arange(shape[axis] // w)[:, None]
        factors.append((axis, Enclosure(members.astype(np.float64))))
    output = (*shape[:-2], *(n // w for n, w in zip(shape[-2:], window, strict=True)))
    return Separable(shape, output, tuple(factors), Fraction(1, window[0] * window[1]))
