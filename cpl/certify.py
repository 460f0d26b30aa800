"""Clean and certified accuracy of a sealed CPLNet.

With a trunk of constant 1 and a linear head, z_i - z_j is ||w_i - w_j||-Lipschitz, so the label y is certified within
r if

    z_y - z_j > ||w_y - w_j|| r   for ALL j != y

(Tsuzuku et al., 2018, Proposition 1, per pair of classes); the runner-up alone does not suffice. Ties and NaN are
never certified, nor is Inf, and a tie at the top is not counted as correct either. Features come from the model in its own dtype,
logits and margins are computed in float64: a measurement of the shipped model, not a proof of any single image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cpl import checks
from cpl.errors import ArgumentError
from cpl.models import CPLNet
from cpl.sealing import sealed_head

RADII = (0.1, 0.25, 0.5, 1.0)
INTEGERS = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Shares of n images, in [0, 1].

    Attributes:
        images: n.
        clean: classified correctly, without a tie.
        certified: pairs (radius, share classified correctly within the l2 radius).
    """

    images: int
    clean: float
    certified: tuple[tuple[float, float], ...]


def certified(logits: Tensor, labels: Tensor, head: Tensor, radius: float) -> Tensor:
    """Whether each label is certified: z_y - z_j > ||w_y - w_j|| radius for all j != y.

    Args:
        logits: z, shape (n, classes).
        labels: y, shape (n,), integer.
        head: rows w_i, shape (classes, features); what comes before them must be 1-Lipschitz.
        radius: >= 0 and finite, in l2; 0 asks for a correct answer without a tie.

    Returns:
        Shape (n,), bool; False where a logit is NaN or Inf.

    Raises:
        ArgumentError: the radius is negative, NaN or Inf, or the shapes, or a label, do not fit.
    """
    radius = checks.natural_float(radius, name="radius", where="certified")
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or head.shape[:1] != logits.shape[1:]:
        raise _unfit(f"logits {tuple(logits.shape)}, labels {tuple(labels.shape)}, head {tuple(head.shape)}")
    if labels.dtype not in INTEGERS or bool(((labels < 0) | (labels >= logits.shape[1])).any()):
        raise _unfit(f"labels of {labels.dtype} that are no classes from 0 to {logits.shape[1] - 1}")
    labels = labels.long()
    logits, head = logits.double(), head.double()
    differences = head[:, None, :] - head[None, :, :]
    constants = torch.linalg.vector_norm(differences, dim=2)[labels]
    margins = logits.gather(1, labels[:, None]) - logits
    others = torch.ones_like(margins, dtype=torch.bool).scatter(1, labels[:, None], False)
    return (margins > constants * radius).logical_or(~others).all(dim=1) & logits.isfinite().all(dim=1)


def evaluate(
    model: CPLNet, x: Tensor, y: Tensor, *, radii: tuple[float, ...] = RADII, batch_size: int = 256
) -> Accuracy:
    """Clean and certified accuracy of a sealed model on images x (n, channels, height, width) with labels y (n,).

    Raises:
        SealError: the model is not sealed, or its seal is void.
        ArgumentError: there are no images, as many labels as images are not given, or a radius is out of range.
    """
    head = sealed_head(model)
    if len(x) == 0 or len(x) != len(y):
        raise _unfit(f"{len(x)} images and {len(y)} labels")
    with torch.no_grad():
        features = torch.cat([model.trunk(x[i : i + batch_size]) for i in range(0, len(x), batch_size)]).double()
        logits = features @ head.weight.double().t() + head.bias.double()
    shares = [float(certified(logits, y, head.weight, radius).double().mean()) for radius in (0.0, *radii)]
    return Accuracy(len(x), shares[0], tuple(zip(radii, shares[1:], strict=True)))


def _unfit(what: str) -> ArgumentError:
    return ArgumentError(
        f"nothing can be measured on {what}",
        where="accuracy",
        why="an accuracy is a share of images, each with one label, a class of the head",
        next_step="pass at least one image, and for each the number of its class",
    )
