"""Modules that are called twice, weights that are used twice, values that come in pairs."""

from __future__ import annotations

from torch import nn
from torch.nn import functional as F

from tests.networks import Shared
from tests.zoo.network import Network


class Siamese(nn.Module):
    """One embedding of both halves of the input; the distance is their difference."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))

    def forward(self, x):
        return (self.embed(x[:, :4]) - self.embed(x[:, 4:])).abs()


class Recurrent(nn.Module):
    """A weight-tied residual network: the same block three times."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 2, 3, padding=1))

    def forward(self, x):
        for _ in range(3):
            x = x + 0.5 * self.block(x)
        return x


class TiedHead(nn.Module):
    """Two layers that share one parameter under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 5)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(F.relu(self.first(x)))


class Heads(nn.Module):
    """A trunk with two outputs, in a plain tuple or in what ``pack`` makes of them."""

    def __init__(self, pack=tuple) -> None:
        super().__init__()
        self.trunk, self.pack = nn.Sequential(nn.Linear(4, 5), nn.ReLU()), pack
        self.classes, self.box = nn.Linear(5, 3), nn.Linear(5, 4)

    def forward(self, x):
        y = self.trunk(x)
        return self.pack((self.classes(y), self.box(y)))


class Unused(nn.Module):
    """A layer whose output nobody reads, an identity, and a layer that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.auxiliary, self.never = nn.Linear(4, 4), nn.Linear(4, 2), nn.Linear(4, 4)
        self.identity = nn.Identity()

    def forward(self, x):
        y = self.identity(self.layer(x))
        self.auxiliary(y)
        return F.relu(y)


NETWORKS = {
    "siamese": Network(Siamese, (1, 8)),
    "shared modules": Network(Shared, (1, 4)),
    "recurrent residual": Network(Recurrent, (1, 2, 5, 5)),
    "tied head": Network(TiedHead, (1, 5)),
    "several outputs": Network(Heads, (1, 4), "2 outputs"),
    "outputs by name": Network(
        lambda: Heads(lambda pair: dict(zip(("logits", "box"), pair, strict=True))), (1, 4), "2 outputs"
    ),
    "unused layers": Network(Unused, (1, 4)),
}
