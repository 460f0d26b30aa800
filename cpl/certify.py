"""Clean, certified and empirical accuracy of a sealed CPLNet.

With a trunk of constant L and a linear head, z_i - z_j is L ||w_i - w_j||-Lipschitz, so the label y is certified within r
if

    z_y - z_j > L ||w_y - w_j|| r   for ALL j != y

(Tsuzuku et al., 2018, Proposition 1, per pair of classes); the runner-up alone does not suffice. Ties and NaN are
never certified, nor is Inf, and a tie at the top is not counted as correct either.

Features f come from the model in its own dtype and count as exact numbers; from them on everything is float64, less its
rounding. With u = 2^-53 and gamma_k = k u / (1 - k u), a logit w.f + b of k features is off by at most
gamma_{k + 2} (||w|| ||f|| + |b|) in any order of summation; gamma_{k + 16} is taken, which pays for the rounding of this
bound, too. A margin loses the bounds of both its logits and 4 u of its size, for the difference and the comparison; the
constants ||w_i - w_j|| and their products with L r are rounded up. The rounding of the trunk is not counted, nor is
underflow of float64: this is a measurement of the shipped model, not a proof of any single image.

What is certified at r must survive every attack within r, and what survives must be correct: image by image, or `evaluate`
raises.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cpl import checks
from cpl.attacks import Attack, Broken, search
from cpl.data.images import Images
from cpl.errors import ArgumentError, CplError
from cpl.models import CPLNet
from cpl.sealing import sealed_head, trunk_constant

RADII = (36 / 255, 72 / 255, 108 / 255, 1.0)
INTEGERS = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)
UNIT = 2.0**-53


class Violation(CplError):
    """A certificate that an attack broke, or an accuracy that another one contradicts: a defect, never a footnote."""


@dataclass(frozen=True, slots=True)
class Empirical:
    """Shares of the first n images, in [0, 1].

    Attributes:
        images: n.
        clean: classified correctly, without a tie.
        certified, robust: pairs (radius, share certified) and (radius, share that no attack broke).
        broken_by: pairs (attack, number of images whose nearest wrong input it found).
    """

    images: int
    clean: float
    certified: tuple[tuple[float, float], ...]
    robust: tuple[tuple[float, float], ...]
    broken_by: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Shares of n images, in [0, 1].

    Attributes:
        images: n.
        clean: classified correctly, without a tie.
        certified: pairs (radius, share classified correctly within the l2 radius).
        empirical: what attacks left, where there were any.
    """

    images: int
    clean: float
    certified: tuple[tuple[float, float], ...]
    empirical: Empirical | None = None


def certified(
    logits: Tensor, labels: Tensor, head: Tensor, radius: float, *, constant: float = 1.0, errors: Tensor | None = None
) -> Tensor:
    """Whether each label is certified: z_y - z_j > L ||w_y - w_j|| radius for all j != y.

    Args:
        logits: z, shape (n, classes).
        labels: y, shape (n,), integer.
        head: rows w_i, shape (classes, features).
        radius: >= 0 and finite, in l2; 0 asks for a correct answer without a tie.
        constant: L, of what comes before the head.
        errors: bounds of the rounding of each logit, in the shape of the logits; none if None.

    Returns:
        Shape (n,), bool; False where a logit is NaN or Inf.

    Raises:
        ArgumentError: the radius or the constant is negative, NaN or Inf, or the shapes, or a label, do not fit.
    """
    radius = checks.natural_float(radius, name="radius", where="certified")
    constant = checks.natural_float(constant, name="constant", where="certified")
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or head.shape[:1] != logits.shape[1:]:
        raise _unfit(f"logits {tuple(logits.shape)}, labels {tuple(labels.shape)}, head {tuple(head.shape)}")
    if labels.dtype not in INTEGERS or bool(((labels < 0) | (labels >= logits.shape[1])).any()):
        raise _unfit(f"labels of {labels.dtype} that are no classes from 0 to {logits.shape[1] - 1}")
    labels = labels.long()
    logits, head = logits.double(), head.double()
    differences = head[:, None, :] - head[None, :, :]
    norms = torch.linalg.vector_norm(differences, dim=2)[labels] * (1 + (head.shape[1] + 16) * UNIT)
    margins = logits.gather(1, labels[:, None]) - logits
    if errors is not None:
        margins = margins - (errors.gather(1, labels[:, None]) + errors) * (1 + 8 * UNIT) - 4 * UNIT * margins.abs()
    others = torch.ones_like(margins, dtype=torch.bool).scatter(1, labels[:, None], False)
    needed = norms * (constant * radius) * (1 + 8 * UNIT)
    return (margins > needed).logical_or(~others).all(dim=1) & logits.isfinite().all(dim=1)


def evaluate(
    model: CPLNet,
    x: Images,
    y: Tensor,
    *,
    radii: tuple[float, ...] = RADII,
    batch_size: int = 256,
    attack: Attack | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Accuracy:
    """Clean and certified accuracy of a sealed model on images x (n, channels, height, width) with labels y (n,).

    Args:
        model: sealed.
        x, y: images and labels.
        radii: in l2.
        batch_size: images at once.
        attack: also attacks the first images at the radii above 0; None for no attack.
        report: called by the attacks with the images done and the number of all.

    Raises:
        SealError: the model is not sealed, or its seal is void.
        ArgumentError: there are no images, as many labels as images are not given, they have another shape than the
            model's, or a radius is out of range.
        Violation: an attack broke what is certified, or something is certified at a radius and not at a smaller one.
        MissingLibrary: attacks are asked for, and their libraries are not installed.
    """
    head, constant = sealed_head(model), trunk_constant(model)
    if len(x) == 0 or len(x) != len(y):
        raise _unfit(f"{len(x)} images and {len(y)} labels")
    if tuple(x.shape[1:]) != model.config.image_shape:
        raise _unfit(f"images of shape {tuple(x.shape[1:])} where the model takes {model.config.image_shape}")
    logits, errors = _logits(model, head.weight, head.bias, x, batch_size)
    held = {r: certified(logits, y, head.weight, r, constant=constant, errors=errors) for r in (0.0, *radii)}
    # correct without regard to rounding: what an attack has to break
    correct = certified(logits, y, head.weight, 0.0)
    _nested(held, correct)
    shares = tuple((r, _share(held[r])) for r in radii)
    if attack is None:
        return Accuracy(len(x), _share(correct), shares)
    broken = search(model, x, y, radii=tuple(r for r in radii if r > 0), attack=attack, report=report)
    _survives({r: held[r] for r in radii}, broken, attack, logits, y.long().cpu())
    n = len(broken.distance)
    wrong = broken.at(0.0) | ~correct[:n]
    robust = tuple((r, _share(~(wrong | broken.at(r)))) for r in radii)
    by = tuple((name, int((broken.by == i).sum())) for i, name in enumerate(attack.names))
    some = tuple((r, _share(held[r][:n])) for r in radii)
    return Accuracy(len(x), _share(correct), shares, Empirical(n, _share(~wrong), some, robust, by))


def _logits(model: CPLNet, weight: Tensor, bias: Tensor, x: Images, batch_size: int) -> tuple[Tensor, Tensor]:
    """(logits, bounds of their rounding), both float64."""
    dtype, weight, bias = weight.dtype, weight.double(), bias.double()
    gamma = (weight.shape[1] + 16) * UNIT / (1 - (weight.shape[1] + 16) * UNIT)
    rows = torch.linalg.vector_norm(weight, dim=1)
    logits, errors = [], []
    with torch.no_grad():
        for start in range(0, len(x), batch_size):
            part = x[start : start + batch_size].to(weight.device, dtype, memory_format=torch.channels_last)
            features = model.trunk(part).double()
            sizes = torch.linalg.vector_norm(features, dim=1, keepdim=True)
            logits.append(features @ weight.t() + bias)
            errors.append(gamma * (sizes * rows + bias.abs()))
    return torch.cat(logits).cpu(), torch.cat(errors).cpu()


def _nested(held: dict[float, Tensor], correct: Tensor) -> None:
    """Certified at r implies certified at every smaller radius, and correct."""
    order = sorted(held)
    for small, large in itertools.pairwise(order):
        _subset(held[large], held[small], f"certified at {large:g}, but not at {small:g}")
    _subset(held[order[0]], correct, "certified, but not classified correctly")


def _survives(held: dict[float, Tensor], broken: Broken, attack: Attack, logits: Tensor, labels: Tensor) -> None:
    """Certified at r implies that the model is right within r as far as anyone found."""
    for radius, certificate in held.items():
        outside = (certificate[: len(broken.distance)] & broken.at(radius)).nonzero()[:, 0]
        if len(outside):
            image = int(outside[0])
            by, distance = int(broken.by[image]), float(broken.distance[image])
            who = f"broken by {attack.names[by]}" if by >= 0 else "not classified correctly by the model itself"
            others = logits[image].scatter(0, labels[image : image + 1], -torch.inf)
            margin = float(logits[image, labels[image]] - others.max())
            what = f"certified at {radius:g}, {who} at {distance:.6g}"
            raise _violation(what, len(outside), image, f"the margin over the runner-up is {margin:.6g}; ")


def _subset(inner: Tensor, outer: Tensor, what: str) -> None:
    outside = (inner & ~outer).nonzero()[:, 0]
    if len(outside):
        raise _violation(what, len(outside), int(outside[0]))


def _violation(what: str, count: int, image: int, why: str = "") -> Violation:
    return Violation(
        f"image {image} is {what}",
        where=f"image {image}, the first of {count} such",
        why=f"{why}a certificate is wrong: of the trunk, of the head, or of this evaluation",
        next_step="do not use the model; audit it with lipverify, and report the image",
    )


def _share(held: Tensor) -> float:
    return float(held.double().mean())


def _unfit(what: str) -> ArgumentError:
    return ArgumentError(
        f"nothing can be measured on {what}",
        where="accuracy",
        why="an accuracy is a share of images of one shape, each with one label, a class of the head",
        next_step="pass at least one image of the model's shape, and for each the number of its class",
    )
