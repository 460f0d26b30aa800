"""Labelled images, in a part to train on and a part that is held out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cpl.data.images import Images
from cpl.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """A split of labelled images.

    Attributes:
        name: of the data set.
        train_x, test_x: images of one shape, float32 in [0, 1] when taken; a plain tensor serves.
        train_y, test_y: int64 labels in [0, classes), one for each image.
        classes: number of classes.

    Raises:
        DataError: a part is empty, shapes differ, or labels are missing or out of range.
    """

    name: str
    train_x: Images
    train_y: Tensor
    test_x: Images
    test_y: Tensor
    classes: int

    def __post_init__(self) -> None:
        for part, x, y in (("train", self.train_x, self.train_y), ("test", self.test_x, self.test_y)):
            where = f"{self.name}, {part}"
            if len(x.shape) != 4 or len(x) == 0:
                raise bad_data(
                    f"images of shape {tuple(x.shape)}", where, "expected (n, channels, height, width), n > 0"
                )
            if y.dtype != torch.int64 or y.shape != (len(x),):
                raise bad_data(
                    f"labels of shape {tuple(y.shape)} and {y.dtype} for {len(x)} images", where, "one int64 label each"
                )
            if bool(((y < 0) | (y >= self.classes)).any()):
                raise bad_data(
                    f"labels from {int(y.min())} to {int(y.max())}", where, f"there are {self.classes} classes"
                )
        if self.train_x.shape[1:] != self.test_x.shape[1:]:
            shapes = f"{tuple(self.train_x.shape[1:])} and {tuple(self.test_x.shape[1:])}"
            raise bad_data(f"images of shapes {shapes}", self.name, "training and test images have one shape")


def bad_data(what: str, where: str, why: str, next_step: str = "check the files, or fetch them again") -> DataError:
    """The error for data that are not what they should be."""
    return DataError(what, where=where, why=why, next_step=next_step)
