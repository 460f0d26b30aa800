"""Images for training and for the audit: scikit-learn's handwritten digits, which ship with its wheel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cpl.errors import DataError

DATASETS = ("digits",)


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """A seeded split of labelled images.

    Attributes:
        name: of the data set.
        train_x, test_x: float32 in [0, 1], shape (n, channels, height, width).
        train_y, test_y: int64 labels, shape (n,).
        classes: number of classes.
    """

    name: str
    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor
    classes: int


def load_data(name: str, *, seed: int, test_fraction: float = 0.2) -> Split:
    """Loads a data set by name and splits it at random.

    'digits': 1,797 images of 1 x 8 x 8 (Alpaydin and Kaynak, 1998; UCI), sixteenths scaled to [0, 1].

    Raises:
        DataError: if the name is unknown, or scikit-learn is missing.
    """
    if not isinstance(name, str) or name not in DATASETS:
        raise DataError(
            f"data set {name!r} is unknown",
            where="--data",
            why="no loader has this name",
            next_step=f"choose one of {', '.join(DATASETS)}",
        )
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
    held_out = round(test_fraction * len(x))
    test, train = order[:held_out], order[held_out:]
    return Split(name, x[train], y[train], x[test], y[test], classes=10)
