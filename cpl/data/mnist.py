"""MNIST (LeCun et al. 1998): its four idx files, packed or not, or one .npz."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from cpl.data.arrays import as_images, as_labels, load_npz
from cpl.data.split import Split, bad_data
from cpl.errors import reason

SHAPE = (1, 28, 28)
FILES = (
    *("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    *("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
)
MOST_BYTES = 2**28


def load(root: Path) -> Split:
    """The official split below `root`, or in the .npz file that it is.

    Raises:
        DataError: the files are missing or damaged.
    """
    for file in (root, root / "mnist.npz"):
        if file.is_file():
            return load_npz(file, name="MNIST", classes=10, image_shape=SHAPE)
    paths = [path for name in FILES for path in (root / name, root / f"{name}.gz") if path.is_file()]
    if len({path.name.removesuffix(".gz") for path in paths}) < len(FILES):
        raise bad_data(
            "MNIST is not there",
            str(root),
            f"neither mnist.npz nor all of {', '.join(FILES)} (.gz) are in this folder",
            "put the four files there, or say --data-dir",
        )
    arrays = [_idx(next(p for p in paths if p.name.startswith(name))) for name in FILES]
    images = [as_images(array, SHAPE, str(root)) for array in arrays[::2]]
    labels = [as_labels(array, str(root)) for array in arrays[1::2]]
    return Split("MNIST", images[0], labels[0], images[1], labels[1], classes=10)


def _idx(path: Path) -> np.ndarray:
    """An array of bytes: 0, 0, 8, number of axes, the sizes as big-endian 32-bit numbers, the bytes."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise bad_data("a file cannot be read", str(path), reason(error)) from error
    axes = raw[3] if len(raw) >= 4 and raw[:3] == b"\0\0\x08" else 0
    shape = tuple(np.frombuffer(raw[4 : 4 + 4 * axes], ">u4").tolist()) if len(raw) >= 4 + 4 * axes else ()
    if not axes or len(raw) != 4 + 4 * axes + int(np.prod(shape, dtype=object)):
        raise bad_data("a file is no idx file of bytes", str(path), "its length is not what its header says")
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape)
