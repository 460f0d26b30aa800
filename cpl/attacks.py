"""Attacks in l2: what a certificate must survive. Libraries search, this module judges what they found.

Those of `cpl.ensemble` run one after the other, each on the images that those before it did not break.

An image counts as broken at a radius only by an input that lies in [0, 1], within the radius (distances in float64, rounded
up), and that the model does not classify as its label without a tie. Whatever is found at a smaller radius serves for the
larger ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cpl import checks
from cpl.data.images import Images
from cpl.ensemble import MINIMUM_NORM, NAMES, Method, method_named
from cpl.errors import ArgumentError

ROUNDING = 2.0**-40  # relative, of a distance computed in float64


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """How hard to search.

    Attributes:
        images: number of images, from the first; None for all.
        steps: of each attack.
        restarts: random starts of each attack; fab with more than 10 classes starts once per target instead.
        names: which attacks, in this order; at least one.
        seed: of the random starts.
        batch_size: images at once.

    Raises:
        ArgumentError: an entry is out of range, or an attack unknown.
    """

    images: int | None = None
    steps: int = 50
    restarts: int = 1
    names: tuple[str, ...] = NAMES
    seed: int = 0
    batch_size: int = 128

    def __post_init__(self) -> None:
        where = "Attack"
        if self.images is not None:
            checks.positive_int(self.images, name="images", where=where)
        for name in ("steps", "restarts", "batch_size"):
            checks.positive_int(getattr(self, name), name=name, where=where)
        checks.natural_int(self.seed, name="seed", where=where, most=2**63)
        if not self.names:
            raise ArgumentError(
                "names is empty",
                where=where,
                why="without an attack nothing is broken, whatever the model",
                next_step=f"name some of {', '.join(NAMES)}",
            )
        for name in self.names:
            checks.one_of(name, NAMES, name="names", where=where)


@dataclass(frozen=True, slots=True, eq=False)
class Broken:
    """For each image the nearest wrong input that was found.

    Attributes:
        distance: shape (n,), float64, rounded up; 0 where the image itself is not classified correctly, Inf where nothing
            was found.
        by: index of the attack in `Attack.names`; -1 where there is none.
    """

    distance: Tensor
    by: Tensor

    def at(self, radius: float) -> Tensor:
        """Which images are broken within the radius, shape (n,)."""
        return self.distance <= radius


def search(
    model: nn.Module,
    x: Images,
    y: Tensor,
    *,
    radii: tuple[float, ...],
    attack: Attack,
    report: Callable[[int, int], None] | None = None,
) -> Broken:
    """Attacks the first images of x at every radius, from small to large.

    Args:
        model: in eval mode, differentiable in its input.
        x: images (n, channels, height, width), taken in the model's dtype.
        y: labels (n,), integer.
        radii: > 0, in l2.
        attack: how hard.
        report: called with the images done and the number of all.

    Raises:
        MissingLibrary: foolbox or adv-lib is not installed.
    """
    count = len(x) if attack.images is None else min(attack.images, len(x))
    attacks = [(name, method_named(name, steps=attack.steps, restarts=attack.restarts)) for name in attack.names]
    dtype = next(itertools.chain(model.parameters(), model.buffers())).dtype
    distance, by = [], []
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(attack.seed)
        for start in range(0, count, attack.batch_size):
            part = slice(start, min(start + attack.batch_size, count))
            images = x[part].to(dtype)
            found = _search_batch(model, images, y[part].long(), sorted(radii), attacks)
            distance.append(found.distance)
            by.append(found.by)
            if report is not None:
                report(part.stop, count)
    return Broken(torch.cat(distance), torch.cat(by))


class _Float32(nn.Module):
    """The model as libraries see it: float32, which is all that some of them work in."""

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.model, self.dtype = model, dtype
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x.to(self.dtype)).to(torch.float32)


def _search_batch(
    model: nn.Module, x: Tensor, y: Tensor, radii: list[float], attacks: list[tuple[str, Method]]
) -> Broken:
    seen = _Float32(model, x.dtype)
    nearest: dict[int, Tensor] = {}
    distance = torch.where(_wrong(model, x, y), 0.0, torch.inf).double()
    by = torch.full((len(x),), -1)
    for radius in radii:
        for index, (name, method) in enumerate(attacks):
            left = (distance > radius).nonzero()[:, 0]
            if len(left) == 0:
                break
            if index in nearest:  # what is left shrinks, so all of it was there at the first radius
                candidate = nearest[index][left]
            else:
                candidate = method(seen, x[left].float(), y[left], radius).detach().to(x.dtype)
            if name in MINIMUM_NORM and index not in nearest:
                nearest[index] = x.index_copy(0, left, candidate)
            candidate = _inside(x[left], candidate, radius)
            reached = _distance(x[left], candidate)
            # a tie or NaN in place of an answer is no correct answer either
            hit = _wrong(model, candidate, y[left]) & (reached < distance[left])
            distance[left[hit]] = reached[hit]
            by[left[hit]] = index
    return Broken(distance, by)


def _wrong(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Whether the label's logit is not above all others; shape (n,)."""
    with torch.no_grad():
        logits = model(x).double()
    others = logits.scatter(1, y[:, None], -torch.inf).amax(dim=1)
    return ~(logits.gather(1, y[:, None])[:, 0] > others)


def _inside(x: Tensor, candidate: Tensor, radius: float) -> Tensor:
    """The candidate in the box, and drawn to x where it is outside the ball; x itself where it is not finite."""
    candidate = torch.where(candidate.isfinite(), candidate, x).clamp(0, 1)
    for _ in range(3):  # rounding to the dtype of x may step out again
        distance = _distance(x, candidate)
        scale = torch.where(distance > radius, radius / distance * (1 - 2.0**-20), 1.0)
        moved = x.double() + scale.view(-1, *[1] * (x.ndim - 1)) * (candidate.double() - x.double())
        candidate = torch.where((scale < 1).view(-1, *[1] * (x.ndim - 1)), moved.to(x.dtype), candidate)
    return candidate


def _distance(x: Tensor, candidate: Tensor) -> Tensor:
    """||candidate - x|| per image, rounded up; both are float32 or float64 numbers, their difference is exact enough."""
    return (candidate.double() - x.double()).flatten(1).norm(dim=1) * (1 + ROUNDING)
