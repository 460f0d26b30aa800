"""CIFAR-10 (reconstructed): the images of Krizhevsky (2009) from public copies, packed as differences so that they compress.

59,851 of the 60,000 images are bit-exact; results on them are reported under this name. As a data set of `cpl train`:

    CPL_DATA=cifar10_packed.npz PYTHONPATH=benchmarks cpl train --data reconstructed:cifar10 --out DIR
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from cpl.data import Split
from cpl.data.images import ByteImages

NAME = "CIFAR-10 (reconstructed)"


def cifar10(root: Path, seed: int) -> Split:
    """The official split, as bytes; `root` is the packed file, the seed is not used."""
    with np.load(root, allow_pickle=False) as file:
        packed = {name: file[name] for name in ("d_train", "y_train", "d_test", "y_test")}
    train, test = (ByteImages(torch.from_numpy(_unpacked(packed[name]))) for name in ("d_train", "d_test"))
    labels = [torch.from_numpy(packed[name].astype(np.int64)) for name in ("y_train", "y_test")]
    return Split(NAME, train, labels[0], test, labels[1], classes=10)


def _unpacked(differences: np.ndarray) -> np.ndarray:
    """Sums along rows and columns, then the channels relative to green; all modulo 256. Shape (n, 3, 32, 32)."""
    pixels = np.add.accumulate(np.add.accumulate(differences, axis=2, dtype=np.uint8), axis=3, dtype=np.uint8)
    pixels[:, 0] += pixels[:, 1]
    pixels[:, 2] += pixels[:, 1]
    return pixels
