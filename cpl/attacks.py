"""Attacks in l2: what a certificate must survive. Libraries search, this module judges what they found.

The ensemble, one after the other, each on the images that those before it did not break:

    pgd      projected gradient ascent on the cross-entropy (Madry et al. 2018), foolbox
    apgd-ce  automatic step sizes, cross-entropy (Croce and Hein 2020), adv-lib
    apgd-t   the same against every other class, by differences of logits, adv-lib
    fab      the nearest point of a decision boundary (Croce and Hein 2020), adv-lib

An image counts as broken at a radius only by an input that lies in [0, 1], within the radius in exact arithmetic on float64
numbers rounded against the attack, and that the model does not classify as its label without a tie. Whatever is found at a
smaller radius serves for the larger ones.
"""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cpl import checks
from cpl.data.images import Images
from cpl.errors import CplError

NAMES = ("pgd", "apgd-ce", "apgd-t", "fab")
ROUNDING = 2.0**-40  # relative, of a distance computed in float64


class MissingLibrary(CplError):
    """A library that the attacks need is not installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """How hard to search.

    Attributes:
        images: number of images, from the first; None for all.
        steps: of each attack.
        restarts: random starts of each attack.
        names: which attacks, in this order.
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
        x: images (n, channels, height, width).
        y: labels (n,).
        radii: > 0, in l2.
        attack: how hard.
        report: called with the images done and the number of all.

    Raises:
        MissingLibrary: foolbox or adv-lib is not installed.
    """
    count = len(x) if attack.images is None else min(attack.images, len(x))
    attacks = [_attack(name, attack) for name in attack.names]
    distance, by = [], []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(attack.seed)
        for start in range(0, count, attack.batch_size):
            part = slice(start, min(start + attack.batch_size, count))
            found = _search_batch(model, x[part], y[part], sorted(radii), attacks)
            distance.append(found.distance)
            by.append(found.by)
            if report is not None:
                report(part.stop, count)
    return Broken(torch.cat(distance), torch.cat(by))


Method = Callable[[nn.Module, Tensor, Tensor, float], Tensor]


def _search_batch(model: nn.Module, x: Tensor, y: Tensor, radii: list[float], attacks: list[Method]) -> Broken:
    distance = torch.where(_wrong(model, x, y), 0.0, torch.inf).double()
    by = torch.full((len(x),), -1)
    for radius in radii:
        for index, method in enumerate(attacks):
            left = (distance > radius).nonzero()[:, 0]
            if len(left) == 0:
                break
            candidate = _inside(x[left], method(model, x[left], y[left], radius), radius)
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


def _attack(name: str, settings: Attack) -> Method:
    if name == "pgd":
        return _pgd(settings)
    library = _adv_lib()
    common: dict[str, Any] = {"norm": 2}

    def run(model: nn.Module, x: Tensor, y: Tensor, radius: float) -> Tensor:
        if name == "fab":
            return library.fab(model, x, y, n_iter=settings.steps, restarts=settings.restarts, **common)
        rest = {"eps": radius, "n_iter": settings.steps, "n_restarts": settings.restarts, **common}
        if name == "apgd-ce":
            return library.apgd(model, x, y, loss_function="ce", **rest)
        return library.apgd_targeted(model, x, y, **rest)

    return run


def _pgd(settings: Attack) -> Method:
    foolbox = _imported("foolbox", "pip install foolbox==3.3.4")

    def run(model: nn.Module, x: Tensor, y: Tensor, radius: float) -> Tensor:
        attacked = foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device)
        method = foolbox.attacks.L2ProjectedGradientDescentAttack(steps=settings.steps)
        return method.repeat(settings.restarts)(attacked, x, y, epsilons=radius)[1]

    return run


def _adv_lib() -> Any:
    """What the attacks need of adv-lib, whose `attacks` package imports torchvision and visdom for what is not needed: an
    empty package stands in for it while its modules are imported, and is taken away again."""
    command = "pip install --no-deps adv-lib==0.2.8"
    name = "adv_lib.attacks"
    if name in sys.modules:
        return sys.modules[name]
    base = _imported("adv_lib", command)
    stand_in = types.ModuleType(name)
    stand_in.__path__ = [f"{entry}/attacks" for entry in base.__path__]
    sys.modules[name] = stand_in
    try:
        gradient = _imported(f"{name}.auto_pgd", command)
        boundary = _imported(f"{name}.fast_adaptive_boundary", command)
    finally:
        del sys.modules[name]
        vars(base).pop("attacks", None)
    return types.SimpleNamespace(apgd=gradient.apgd, apgd_targeted=gradient.apgd_targeted, fab=boundary.fab)


def _imported(name: str, command: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingLibrary(
            f"{name.partition('.')[0]} is not installed",
            where="cpl.attacks",
            why=f"{error}",
            next_step=command,
        ) from error
