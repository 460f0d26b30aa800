"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009), as they are distributed: pickled batches or binary records; or one .npz."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cpl.data.arrays import load_npz
from cpl.data.batches import PIXELS, read_batch
from cpl.data.images import ByteImages
from cpl.data.split import Split, bad_data

SHAPE = (3, 32, 32)


@dataclass(frozen=True, slots=True)
class _Files:
    """Where a data set lies: folder, training files and test file of both forms; key and place of the label."""

    python: str
    binary: str
    python_files: tuple[str, ...]
    binary_files: tuple[str, ...]
    key: str
    label_bytes: int


_FILES = {
    10: _Files(
        "cifar-10-batches-py",
        "cifar-10-batches-bin",
        (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"),
        (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"),
        "labels",
        1,
    ),
    100: _Files("cifar-100-python", "cifar-100-binary", ("train", "test"), ("train.bin", "test.bin"), "fine_labels", 2),
}


def load(root: Path, *, classes: int) -> Split:
    """The official split below `root`: a folder that holds one of the forms, that form's own folder, or an .npz file.

    Raises:
        DataError: none is there, or it is damaged.
    """
    name, files = f"CIFAR-{classes}", _FILES[classes]
    for folder in (root / files.python, root):
        if (folder / files.python_files[-1]).is_file():
            batches = [read_batch(folder / file, labels=files.key) for file in files.python_files]
            return _split(name, batches, classes)
    for folder in (root / files.binary, root):
        if (folder / files.binary_files[-1]).is_file():
            batches = [_records(folder / file, files.label_bytes) for file in files.binary_files]
            return _split(name, batches, classes)
    for file in (root, root / f"cifar{classes}.npz"):
        if file.is_file():
            return load_npz(file, name=name, classes=classes, image_shape=SHAPE)
    raise bad_data(
        f"{name} is not there",
        str(root),
        f"neither {files.python}, {files.binary} nor cifar{classes}.npz is in this folder",
        "unpack the archive of https://www.cs.toronto.edu/~kriz/cifar.html there, or say --data-dir",
    )


def _records(path: Path, label_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """Records of label_bytes + 3072 bytes; the last byte of the label counts."""
    size = path.stat().st_size if path.is_file() else 0
    record = label_bytes + PIXELS
    if size == 0 or size % record:
        raise bad_data("a binary batch is missing or truncated", str(path), f"{size} bytes are no records of {record}")
    rows = np.fromfile(path, np.uint8).reshape(-1, record)
    return rows[:, label_bytes:].reshape(-1, *SHAPE), rows[:, label_bytes - 1].astype(np.int64)


def _split(name: str, batches: Iterable[tuple[np.ndarray, np.ndarray]], classes: int) -> Split:
    *train, test = batches
    images = [torch.from_numpy(np.concatenate([x for x, _ in part])) for part in (train, [test])]
    labels = [torch.from_numpy(np.concatenate([y for _, y in part])) for part in (train, [test])]
    return Split(name, ByteImages(images[0]), labels[0], ByteImages(images[1]), labels[1], classes)
