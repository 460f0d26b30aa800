"""Losses that ask for a margin: a certified radius is a margin divided by a Lipschitz constant."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from cpl import checks


def margin_cross_entropy(logits: Tensor, labels: Tensor, *, offset: float, temperature: float) -> Tensor:
    """Mean cross-entropy of the logits after taking `offset` from the true one, sharpened by `temperature`:

        t * mean_n  log(1 + sum_{j != y} exp((z_j - z_y + offset) / t)),   t = temperature.

    As t -> 0 it tends to the hinge max_j (z_j - z_y + offset)^+ over j != y. For logits that are 1-Lipschitz, a
    margin of sqrt(2) r certifies the radius r, so offset ~ sqrt(2) r pushes for that radius.

    Args:
        logits: shape (batch, classes).
        labels: shape (batch,), integer.
        offset: the margin asked for, >= 0, in units of the logits.
        temperature: t > 0.

    Returns:
        A scalar.

    Raises:
        ArgumentError: if temperature is not a finite number > 0.

    Source: Prach and Lampert (2022), Almost-orthogonal layers for efficient general-purpose Lipschitz networks, eq. 7.
    """
    checks.positive_float(temperature, name="temperature", where="margin_cross_entropy")
    shifted = logits - offset * F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    return F.cross_entropy(shifted / temperature, labels) * temperature


def margin_hinge(logits: Tensor, labels: Tensor, *, offset: float) -> Tensor:
    """Mean multi-class hinge: mean_n (1 / classes) sum_{j != y} max(0, offset - z_y + z_j).

    Args:
        logits, labels, offset: as in `margin_cross_entropy`.

    Returns:
        A scalar.

    Source: Meunier et al. (2022), section 5, after Tsuzuku et al. (2018).
    """
    return F.multi_margin_loss(logits, labels, margin=offset)
