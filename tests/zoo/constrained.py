"""Layers that are 1-Lipschitz by construction, in their published forms, and how to put layers together."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from tests.networks import ConvBlock, DenseBlock
from tests.zoo.network import Concatenated, Network


class MaxMin(nn.Module):
    """Maxima of pairs of channels, then minima (Anil, Lucas, Grosse 2019)."""

    def forward(self, x):
        a, b = x.chunk(2, 1)
        return torch.cat((torch.maximum(a, b), torch.minimum(a, b)), 1)


class GroupSort(nn.Module):
    """Groups of neighbouring channels sorted."""

    def __init__(self, group: int) -> None:
        super().__init__()
        self.group = group

    def forward(self, x):
        return x.reshape(len(x), -1, self.group).sort(2)[0].reshape(x.shape)


class Interleaved(nn.Module):
    """MaxMin on neighbouring channels, as slices of stride 2."""

    def forward(self, x):
        a, b = x[:, ::2], x[:, 1::2]
        return torch.stack((torch.maximum(a, b), torch.minimum(a, b)), 2).flatten(1)


class Householder(nn.Module):
    """Reflect the pair (a, b) in a line where it lies on one side of it (Singla, Singla, Feizi 2022)."""

    def __init__(self, pairs: int) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.rand(pairs) * 3)

    def forward(self, x):
        a, b = x.chunk(2, 1)
        s, c = torch.sin(self.theta), torch.cos(self.theta)
        side = torch.sin(self.theta / 2) * a - torch.cos(self.theta / 2) * b
        return torch.cat((torch.where(side > 0, c * a + s * b, a), torch.where(side > 0, s * a - c * b, b)), 1)


class Maxout(nn.Module):
    def forward(self, x):
        return x.reshape(len(x), -1, 3).amax(2)


class CReLU(nn.Module):
    def forward(self, x):
        return torch.cat((F.relu(x), F.relu(-x)), 1)


class Highway(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.carry, self.change = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        t = torch.sigmoid(self.carry(x))
        return t * torch.relu(self.change(x)) + (1 - t) * x


class Coupling(nn.Module):
    """NICE: one half shifted by a function of the other; invertible, its volume kept."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 3))

    def forward(self, x):
        kept, changed = x.split(3, dim=1)
        return torch.cat((changed + self.shift(kept), kept), 1)


class SLL(nn.Module):
    """x - 2 W^T T^-1 relu(W x + b), T = diag(sum_j |W W^T|_ij q_j / q_i) (Araujo et al. 2023)."""

    def __init__(self, features: int, inner: int) -> None:
        super().__init__()
        self.inner, self.q = nn.Linear(features, inner), nn.Parameter(torch.rand(inner))

    def forward(self, x):
        w, q = self.inner.weight, torch.exp(self.q)
        t = (w @ w.t() * q[None] / q[:, None]).abs().sum(1)
        return x - 2 * F.linear(F.relu(self.inner(x)) / t, w.t())


class AOL(nn.Module):
    """W diag(sum_j |W^T W|_ij)^-1/2 (Prach, Lampert 2022)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))

    def forward(self, x):
        return F.linear(x * torch.rsqrt((self.weight.t() @ self.weight).abs().sum(0)), self.weight)


class Cayley(nn.Module):
    """(I - A)(I + A)^-1 for a skew A (Trockman, Kolter 2021)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features, features))

    def forward(self, x):
        skew, eye = self.weight - self.weight.t(), torch.eye(len(self.weight))
        return F.linear(x, torch.linalg.solve(eye + skew, eye - skew))


def after(linear: nn.Module, *modules: nn.Module) -> nn.Module:
    return nn.Sequential(linear, *modules, nn.Linear(6, 3))


NETWORKS = {
    "maxmin": Network(lambda: after(nn.Linear(5, 6), MaxMin()), (1, 5)),
    "maxmin on neighbours": Network(lambda: after(nn.Linear(5, 6), Interleaved()), (1, 5)),
    "maxmin on images": Network(lambda: nn.Sequential(nn.Conv2d(2, 4, 3), MaxMin(), nn.Conv2d(4, 1, 2)), (1, 2, 6, 6)),
    "groupsort": Network(lambda: after(nn.Linear(5, 6), GroupSort(3), nn.Linear(6, 6), GroupSort(2)), (1, 5)),
    "full sort": Network(lambda: after(nn.Linear(5, 6), GroupSort(6)), (1, 5)),
    "householder": Network(lambda: after(nn.Linear(5, 6), Householder(3)), (1, 5)),
    "maxout": Network(lambda: after(nn.Linear(5, 18), Maxout()), (1, 5)),
    "concatenated relu": Network(lambda: after(nn.Linear(5, 3), CReLU()), (1, 5)),
    "highway": Network(lambda: nn.Sequential(nn.Linear(3, 4), Highway()), (1, 3), "aten.mul.Tensor"),
    "additive coupling": Network(lambda: nn.Sequential(Coupling(), Coupling(), Coupling()), (1, 6)),
    "cpl blocks": Network(lambda: nn.Sequential(DenseBlock(5, 4), DenseBlock(5, 8, 0.9, 1.5), nn.Linear(5, 2)), (1, 5)),
    "cpl convolutions": Network(lambda: nn.Sequential(ConvBlock(2, 3), ConvBlock(2, 2, circular=True)), (1, 2, 6, 6)),
    "sll": Network(lambda: nn.Sequential(SLL(5, 4), SLL(5, 7)), (1, 5)),
    "aol": Network(lambda: nn.Sequential(AOL(5, 6), MaxMin(), AOL(6, 4)), (1, 5)),
    "cayley": Network(lambda: after(Cayley(6), MaxMin()), (1, 6), unread="token"),
    "ensemble side by side": Network(
        lambda: nn.Sequential(Concatenated(*(nn.Sequential(nn.Linear(4, 3), nn.ReLU()) for _ in range(3)))), (1, 4)
    ),
}
