"""Images for training and evaluation, by name.

    name                     what is read below `root` (a folder, or the file itself)
    digits                   nothing: 1,797 images of 1 x 8 x 8 in the wheel of scikit-learn (Alpaydin and Kaynak, 1998; UCI)
    mnist                    train-images-idx3-ubyte[.gz] and its three companions, or one .npz
    cifar10, cifar100        cifar-10-batches-py, cifar-10-batches-bin (cifar-100-python, cifar-100-binary), or one .npz
    folder                   train/CLASS/*.png|jpg|..., test/CLASS/... (or val); without either test part a seeded fifth
    package.module:function  the Split that function(root=, seed=) returns: naming it runs its code

An .npz holds uint8 arrays x_train, y_train, x_test, y_test, images (n, height, width[, channels]) or (n, channels, height,
width). Pickled batches are read without running anything that is pickled in them. Nothing is downloaded.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from cpl.data import cifar, digits, folder, mnist
from cpl.data.images import ByteImages, Images
from cpl.data.split import Split, bad_data
from cpl.errors import DataError

__all__ = ["DATASETS", "ByteImages", "Images", "Split", "bad_data", "load_data"]

ROOT = "CPL_DATA"

_LOADERS: Mapping[str, Callable[[Path, int], Split]] = MappingProxyType(
    {
        "digits": lambda root, seed: digits.load(seed),
        "mnist": lambda root, seed: mnist.load(root),
        "cifar10": lambda root, seed: cifar.load(root, classes=10),
        "cifar100": lambda root, seed: cifar.load(root, classes=100),
        "folder": lambda root, seed: folder.load(root, seed),
    }
)
DATASETS = tuple(_LOADERS)


def load_data(name: str, *, seed: int, root: Path | None = None) -> Split:
    """Loads a data set by name.

    Args:
        name: see the table above.
        seed: of a split that the data set does not come with.
        root: where its files are; the environment's CPL_DATA if None, else `data`.

    Raises:
        DataError: the name is unknown; files are missing, corrupt, or hold something else; a library is missing.
    """
    place = Path(os.environ.get(ROOT, "data")) if root is None else root
    if isinstance(name, str) and name in _LOADERS:
        return _LOADERS[name](place, seed)
    if isinstance(name, str) and ":" in name:
        return _from_function(name, place, seed)
    choices = f"choose one of {', '.join(DATASETS)}, or name a function as package.module:function"
    path = isinstance(name, str) and Path(name).exists()
    raise DataError(
        f"data set {name!r} is unknown",
        where="--data",
        why="no loader has this name",
        next_step=f"{choices}; a path goes into --data-dir" if path else choices,
    )


def _from_function(name: str, root: Path, seed: int) -> Split:
    module, _, function = name.partition(":")
    try:
        split = getattr(importlib.import_module(module), function)(root=root, seed=seed)
    except Exception as error:  # whatever a stranger's code raises
        raise DataError(
            f"the function {name!r} gave no data",
            where="--data",
            why=f"{type(error).__name__}: {error}",
            next_step="make it importable (PYTHONPATH), and let function(root=, seed=) return a cpl.Split",
        ) from error
    if not isinstance(split, Split):
        raise bad_data(
            f"the function {name!r} returned a {type(split).__name__}",
            "--data",
            "training needs images and labels in two parts",
            "let it return a cpl.Split",
        )
    return split
