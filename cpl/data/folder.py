"""Images in folders named for their classes, read when they are taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cpl.data.digits import HELD_OUT
from cpl.data.split import Split, bad_data
from cpl.errors import reason

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp"))


class FolderImages:
    """Image files as (n, 3, height, width), all of the size of the first.

    Args:
        paths: the files.

    Raises:
        DataError: the first file is no image; later, of each that is taken, that it is none or has another size.
    """

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self.size = _pixels(paths[0]).shape[:2]

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.paths), 3, *self.size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: slice | Tensor) -> Tensor:
        chosen = self.paths[index] if isinstance(index, slice) else [self.paths[i] for i in index.tolist()]
        batch = np.empty((len(chosen), *self.size, 3), np.uint8)
        for row, path in enumerate(chosen):
            pixels = _pixels(path)
            if pixels.shape[:2] != self.size:
                raise bad_data(
                    f"an image of {pixels.shape[0]} x {pixels.shape[1]}",
                    str(path),
                    f"expected {self.size[0]} x {self.size[1]}, as {self.paths[0].name} has",
                    "resize or crop all images to one size first",
                )
            batch[row] = pixels
        return torch.from_numpy(batch).permute(0, 3, 1, 2).to(torch.float32) / 255


def load(root: Path, seed: int) -> Split:
    """root/train/CLASS/* and root/test/CLASS/* (or val); without a test part a seeded fifth of the images is held out.

    Raises:
        DataError: folders are missing or empty, classes differ, or Pillow is missing.
    """
    train = root / "train"
    if not train.is_dir():
        raise bad_data(
            "there is no folder of training images", str(train), "no such folder",
            "put the images of class C into ROOT/train/C, and say --data-dir ROOT",
        )  # fmt: skip
    classes = sorted(path.name for path in train.iterdir() if path.is_dir())
    paths, labels = _listed(train, classes)
    held = next((root / name for name in ("test", "val") if (root / name).is_dir()), None)
    if held is not None:
        others = sorted(path.name for path in held.iterdir() if path.is_dir())
        if others != classes:
            differing = sorted(set(others) ^ set(classes))
            raise bad_data("the classes of the two parts differ", str(held), f"only one has {', '.join(differing)}")
        test_paths, test_labels = _listed(held, classes)
    else:
        order = torch.randperm(len(paths), generator=torch.Generator().manual_seed(seed)).tolist()
        count = max(1, round(HELD_OUT * len(paths)))
        test_paths, test_labels = [paths[i] for i in order[:count]], labels[order[:count]]
        paths, labels = [paths[i] for i in order[count:]], labels[order[count:]]
    if not paths or not test_paths:
        raise bad_data("there are no images", str(root), "a part is empty")
    return Split(root.name, FolderImages(paths), labels, FolderImages(test_paths), test_labels, len(classes))


def _listed(folder: Path, classes: list[str]) -> tuple[list[Path], Tensor]:
    paths, labels = [], []
    for label, name in enumerate(classes):
        files = sorted(path for path in (folder / name).rglob("*") if path.suffix.lower() in SUFFIXES)
        paths += files
        labels += [label] * len(files)
    if not paths:
        raise bad_data("there are no images", str(folder), f"no file ends with one of {', '.join(sorted(SUFFIXES))}")
    return paths, torch.tensor(labels, dtype=torch.int64)


def _pixels(path: Path) -> np.ndarray:
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise bad_data(
            "images cannot be read", str(path), "Pillow is not installed", "pip install 'lipverify[train]'"
        ) from error
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except Exception as error:  # a damaged file raises anything, a bomb its own warning
        raise bad_data("an image cannot be read", str(path), reason(error)) from error
