"""Scikit-learn's handwritten digits, which ship with its wheel."""

from __future__ import annotations

import torch

from cpl.data.split import Split
from cpl.errors import DataError

HELD_OUT = 0.2


def load(seed: int) -> Split:
    """1,797 images of 1 x 8 x 8, sixteenths scaled to [0, 1], split at random; a fifth is held out.

    Raises:
        DataError: scikit-learn is missing.
    """
    try:  # imported here: a second of start-up that only training and evaluation need
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise DataError(
            "the digits cannot be loaded",
            where="--data digits",
            why="scikit-learn, which holds them, is not installed",
            next_step="pip install 'lipverify[train]'",
        ) from error

    pixels, labels = load_digits(return_X_y=True)
    x = torch.as_tensor(pixels, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    y = torch.as_tensor(labels, dtype=torch.int64)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    held_out = round(HELD_OUT * len(x))
    test, train = order[:held_out], order[held_out:]
    return Split("digits", x[train], y[train], x[test], y[test], classes=10)
