"""The networks of the golden certificates. Their weights are in the files; of a network only what computes is here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Potential(nn.Module):
    """x - V^T relu(V x + b), V a convolution: 1-Lipschitz where ||V||^2 <= 2."""

    def __init__(self, channels: int, inner: int, bound: float) -> None:
        super().__init__()
        kernel = torch.randn(inner, channels, 3, 3)
        sizes = kernel.abs()  # the root of the largest sums over outputs and over inputs bounds the norm
        largest = (sizes.sum((0, 2, 3)).max() * sizes.sum((1, 2, 3)).max()).sqrt()
        self.kernel = nn.Parameter(kernel * (bound / largest))
        self.bias = nn.Parameter(torch.randn(inner) / 4)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(F.conv2d(x, self.kernel, self.bias, padding=1))
        return x - F.conv_transpose2d(y, self.kernel, padding=1)


class Residual(nn.Module):
    """x + g(x) with an ordinary g, and two branches side by side."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.left, self.right = nn.Linear(width, 3), nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = x + self.outer(F.relu(self.inner(x)))
        return torch.cat((self.left(y), torch.abs(self.right(y))), -1)


@dataclass(frozen=True)
class Network:
    """How a network is made, what it reads, and what is claimed of it."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    claims: Mapping[str, str]


def _dense() -> nn.Module:
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 5, bias=False))


def _potential() -> nn.Module:
    return nn.Sequential(Potential(2, 3, 1.4), Potential(2, 4, 1.4), nn.Flatten(), nn.Linear(2 * 5 * 5, 3))


def _normalised() -> nn.Module:
    made = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 3),
    )
    norm = made[1]
    norm.weight.data, norm.bias.data = torch.rand(4) + 0.5, torch.randn(4)
    norm.running_mean, norm.running_var = torch.randn(4), torch.rand(4) + 0.5
    return made


NETWORKS: Mapping[str, Network] = {
    "dense": Network(_dense, (1, 12), {"0": "2", "2": "1.5", "": "2"}),
    "potential": Network(_potential, (1, 2, 5, 5), {"0": "1", "1": "1", "": "2"}),
    "residual": Network(lambda: Residual(6), (1, 6), {"inner": "2", "": "6"}),
    "normalised": Network(_normalised, (1, 2, 8, 8), {"0": "2", "1": "3", "": "6"}),
}
