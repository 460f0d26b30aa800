"""Data sets in one .npz: read without pickle, and bounded before anything is unpacked."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np
import torch
from numpy.lib import format as npy

from cpl.data.images import ByteImages
from cpl.data.split import Split, bad_data
from cpl.errors import reason

MOST_BYTES = 2**33  # of one array
NAMES = (
    ("x_train", "y_train", "x_test", "y_test"),
    ("train_x", "train_y", "test_x", "test_y"),
    ("train_images", "train_labels", "test_images", "test_labels"),
)


def load_npz(path: Path, *, name: str, classes: int, image_shape: tuple[int, int, int]) -> Split:
    """The split in an .npz file.

    Args:
        path: the file.
        name: of the data set.
        classes: number of classes.
        image_shape: (channels, height, width) that the data set has.

    Raises:
        DataError: corrupt, truncated, too large, or with other arrays than expected.
    """
    try:
        shapes = _shapes(path)
        names = next((row for row in NAMES if set(row) <= shapes.keys()), None)
        if names is None:
            raise bad_data(
                f"arrays {', '.join(sorted(shapes))}",
                str(path),
                "it lacks labels or images under known names",
                f"store uint8 arrays {', '.join(NAMES[0])}",
            )
        with np.load(path, allow_pickle=False) as file:
            arrays = [file[key] for key in names]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise bad_data("the file cannot be read as .npz", str(path), reason(error)) from error
    images = [
        as_images(array, image_shape, f"{path}, {key}") for array, key in zip(arrays[::2], names[::2], strict=True)
    ]
    labels = [as_labels(array, f"{path}, {key}") for array, key in zip(arrays[1::2], names[1::2], strict=True)]
    return Split(name, images[0], labels[0], images[1], labels[1], classes)


def as_images(array: np.ndarray, image_shape: tuple[int, int, int], where: str) -> ByteImages:
    """Bytes (n, height, width), (n, height, width, channels) or (n, channels, height, width) as images.

    Raises:
        DataError: of another type or shape.
    """
    channels, height, width = image_shape
    if array.dtype == np.uint8 and array.shape[1:] == (height, width) and channels == 1:
        array = array[:, None]
    elif array.dtype == np.uint8 and array.shape[1:] == (height, width, channels):
        array = array.transpose(0, 3, 1, 2)
    elif array.dtype != np.uint8 or array.shape[1:] != image_shape:
        raise bad_data(
            f"images of {array.dtype} and shape {array.shape}", where, f"expected uint8 of (n, *{image_shape})"
        )
    return ByteImages(torch.from_numpy(np.array(array, order="C")))


def as_labels(array: np.ndarray, where: str) -> torch.Tensor:
    """Integers as int64.

    Raises:
        DataError: they are not integers.
    """
    if array.dtype.kind not in "iu":
        raise bad_data(f"labels of {array.dtype}", where, "a label is the number of a class")
    return torch.from_numpy(array.reshape(-1).astype(np.int64))


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every array, from its header alone.

    Raises:
        ValueError: an array is larger than `MOST_BYTES` once unpacked.
    """
    shapes = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.namelist():
            with archive.open(entry) as file:
                version = npy.read_magic(file)
                read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                shape, _, dtype = read(file)
            if math.prod(shape) * dtype.itemsize > MOST_BYTES:
                raise ValueError(f"{entry} would take {math.prod(shape) * dtype.itemsize} bytes")
            shapes[entry.removesuffix(".npy")] = shape
    return shapes
