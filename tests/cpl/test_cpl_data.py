"""Data sets in every form they come in, and what is refused of damaged and hostile files."""

import gzip
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import cpl
from cpl.data import ByteImages, Split
from cpl.data.augment import augment

SHARED = Path(__file__).parents[3] / "shared" / "data"


def pixels(n, seed=0, shape=(3, 32, 32)):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def labels(n, classes=10):
    return (np.arange(n) * 7 % classes).tolist()


@pytest.fixture
def batches(tmp_path):
    """CIFAR-10 as pickled batches of four images, written as Python 3 and numpy do, and as the published ones are."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for index, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        content = {b"data": pixels(4, index).reshape(4, -1), b"labels": labels(4), b"batch_label": b"x"}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2 if index % 2 else 4))
    return tmp_path


def test_pickled_batches_are_read(batches):
    split = cpl.load_data("cifar10", seed=0, root=batches)
    assert split.train_x.shape == (20, 3, 32, 32) and split.test_x.shape == (4, 3, 32, 32) and split.classes == 10
    assert torch.equal(split.train_x[4:8], torch.from_numpy(pixels(4, 1)).float() / 255)
    assert split.train_y.tolist() == labels(4) * 5
    again = cpl.load_data("cifar10", seed=0, root=batches / "cifar-10-batches-py")
    assert torch.equal(again.test_x[:4], split.test_x[:4])


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda path, raw: pickle.dumps({b"data": Payload(path.parent / "ran"), b"labels": []}), "nothing was run"),
        (lambda path, raw: raw[: len(raw) // 2], "cannot be read"),
        (lambda path, raw: b"", "cannot be read"),
        (lambda path, raw: pickle.dumps({b"data": pixels(4).reshape(4, -1)}), "labels"),
        (lambda path, raw: pickle.dumps({b"data": pixels(4).reshape(4, -1), b"labels": labels(3)}), "labels"),
        (lambda path, raw: pickle.dumps({b"data": pixels(4).reshape(4, -1), b"labels": [77] * 4}), "77"),
        (lambda path, raw: pickle.dumps({b"data": pixels(4).reshape(4, -1).astype(float), b"labels": []}), "bytes"),
        (lambda path, raw: pickle.dumps({b"data": pixels(2).reshape(4, -1), b"labels": labels(4)}), "shape"),
        (lambda path, raw: pickle.dumps([1, 2]), "dictionary"),
        (lambda path, raw: b"\x80\x04" + b"(" * 10**6 + b".", "cannot be read"),
        (lambda path, raw: b"\x80\x02Nr\xff\xff\xff\x07.", "more memory"),  # LONG_BINPUT: a memo of 2^27 places
    ],
)
def test_hostile_and_damaged_batches_are_refused_and_run_nothing(batches, damage, word):
    path = batches / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(damage(path, path.read_bytes()))
    with pytest.raises(cpl.DataError, match=word):
        cpl.load_data("cifar10", seed=0, root=batches)
    assert not (path.parent / "ran").exists()


@pytest.mark.parametrize(("classes", "folder", "head"), [(10, "cifar-10-batches-bin", 1), (100, "cifar-100-binary", 2)])
def test_binary_records_are_read_and_truncated_ones_refused(tmp_path, classes, folder, head):
    place = tmp_path / folder
    place.mkdir()
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"] if classes == 10 else ["train", "test"]
    for name in names:
        rows = np.concatenate(
            [np.tile(np.array(labels(3, classes), np.uint8)[:, None], head), pixels(3).reshape(3, -1)], 1
        )
        (place / f"{name}.bin").write_bytes(rows.tobytes())
    split = cpl.load_data(f"cifar{classes}", seed=0, root=tmp_path)
    assert split.test_y.tolist() == labels(3, classes)
    assert torch.equal(split.test_x[:3], torch.from_numpy(pixels(3)).float() / 255)
    (place / f"{names[0]}.bin").write_bytes(rows.tobytes()[:-5])
    with pytest.raises(cpl.DataError, match="truncated"):
        cpl.load_data(f"cifar{classes}", seed=0, root=tmp_path)


def write_npz(path, **changes):
    arrays = {
        "x_train": pixels(6).transpose(0, 2, 3, 1),
        "y_train": np.array(labels(6)),
        "x_test": pixels(2),
        "y_test": [1, 2],
    }
    np.savez(path, **{name: array for name, array in {**arrays, **changes}.items() if array is not None})


def test_npz_in_either_order_of_axes(tmp_path):
    write_npz(tmp_path / "cifar10.npz")
    split = cpl.load_data("cifar10", seed=0, root=tmp_path)
    assert torch.equal(split.train_x[:6], torch.from_numpy(pixels(6)).float() / 255)
    assert split.test_y.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"y_test": None}, "lacks labels"),
        ({"x_test": pixels(2).astype(float)}, "uint8"),
        ({"x_test": pixels(2, shape=(3, 16, 16))}, "uint8"),
        ({"y_train": np.array(labels(5))}, "labels"),
        ({"y_train": np.array([10.0] * 6)}, "number of a class"),
        ({"y_train": np.array([-1] * 6)}, "classes"),
        ({"x_test": np.array([Payload("x")], dtype=object)}, "read as .npz"),
    ],
)
def test_bad_npz_is_refused(tmp_path, changes, word):
    write_npz(tmp_path / "data.npz", **changes)
    with pytest.raises(cpl.DataError, match=word):
        cpl.load_data("cifar10", seed=0, root=tmp_path / "data.npz")


@pytest.mark.parametrize("damage", [lambda raw: raw[:-100], lambda raw: b"PK" + raw[:10], lambda raw: b""])
def test_damaged_npz_is_refused(tmp_path, damage):
    write_npz(tmp_path / "cifar10.npz")
    (tmp_path / "cifar10.npz").write_bytes(damage((tmp_path / "cifar10.npz").read_bytes()))
    with pytest.raises(cpl.DataError, match="cannot be read"):
        cpl.load_data("cifar10", seed=0, root=tmp_path)


def test_an_npz_that_claims_to_be_huge_is_refused_before_it_is_unpacked(tmp_path):
    write_npz(tmp_path / "cifar10.npz")
    header = np.lib.format.magic(1, 0) + b"\x76\x00"
    text = b"{'descr': '|u1', 'fortran_order': False, 'shape': (90000000000,), }"
    with zipfile.ZipFile(tmp_path / "cifar10.npz", "a") as archive:
        archive.writestr("bomb.npy", header + text.ljust(0x75) + b"\n")
    with pytest.raises(cpl.DataError, match="90000000000 bytes"):
        cpl.load_data("cifar10", seed=0, root=tmp_path)


def idx(array):
    return b"\0\0\x08" + bytes([array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def test_mnist_idx_files_packed_or_not(tmp_path):
    for name, count, pack in (("train", 5, True), ("t10k", 3, False)):
        images, answers = idx(pixels(count, shape=(28, 28))), idx(np.array(labels(count), np.uint8))
        for kind, raw in (("images-idx3", images), ("labels-idx1", answers)):
            path = tmp_path / f"{name}-{kind}-ubyte{'.gz' if pack else ''}"
            path.write_bytes(gzip.compress(raw) if pack else raw)
    split = cpl.load_data("mnist", seed=0, root=tmp_path)
    assert split.train_x.shape == (5, 1, 28, 28) and split.test_y.tolist() == labels(3)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(answers[:-1])
    with pytest.raises(cpl.DataError, match="idx"):
        cpl.load_data("mnist", seed=0, root=tmp_path)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the folder of real data is not beside the project")
def test_the_real_mnist():
    split = cpl.load_data("mnist", seed=0, root=SHARED)
    assert split.train_x.shape == (60000, 1, 28, 28) and len(split.test_y) == 10000
    assert float(split.test_x[torch.tensor([3, 5])].max()) <= 1


@pytest.fixture
def folder(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for part, count in (("train", 3), ("test", 2)):
        for name in ("cat", "dog"):
            place = tmp_path / part / name
            place.mkdir(parents=True)
            for index in range(count):
                image.fromarray(pixels(1, index)[0].transpose(1, 2, 0)).save(place / f"{index}.png")
    return tmp_path, image


def test_image_folders_are_read_when_taken(folder):
    root, image = folder
    split = cpl.load_data("folder", seed=0, root=root)
    assert split.train_x.shape == (6, 3, 32, 32) and split.train_y.tolist() == [0, 0, 0, 1, 1, 1]
    assert torch.equal(split.train_x[torch.tensor([4])], torch.from_numpy(pixels(1, 1)).float() / 255)
    image.new("RGB", (31, 32)).save(root / "train" / "dog" / "1.png")
    with pytest.raises(cpl.DataError, match="expected 32 x 32"):
        split.train_x[torch.tensor([4])]
    (root / "train" / "dog" / "1.png").write_bytes(b"no image")
    with pytest.raises(cpl.DataError, match=r"1\.png"):
        split.train_x[4:5]


def test_a_folder_without_a_test_part_is_split_by_seed(folder):
    root, _ = folder
    (root / "test").rename(root / "other")
    first, again = (cpl.load_data("folder", seed=3, root=root) for _ in range(2))
    assert len(first.train_x) == 5 and len(first.test_x) == 1
    assert first.train_y.tolist() == again.train_y.tolist()
    (root / "train" / "cow").mkdir()
    (root / "other").rename(root / "val")
    with pytest.raises(cpl.DataError, match="cow"):
        cpl.load_data("folder", seed=3, root=root)


def test_a_function_of_the_user_gives_the_data(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "import cpl\n"
        "def data(root, seed):\n    return cpl.load_data('digits', seed=seed)\n"
        "def wrong(root, seed):\n    return 3\n"
        "def failing(root, seed):\n    raise KeyError('oops')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert cpl.load_data("mine:data", seed=0).name == "digits"
    for name, word in (("mine:wrong", "int"), ("mine:failing", "oops"), ("mine:none", "none"), ("mime:data", "mime")):
        with pytest.raises(cpl.DataError, match=word):
            cpl.load_data(name, seed=0)
    sys.modules.pop("mine", None)


@pytest.mark.parametrize("name", ["mnist", "cifar10", "cifar100", "folder"])
def test_missing_files_are_named(tmp_path, name):
    with pytest.raises(cpl.DataError, match=r"where: .*next: "):
        cpl.load_data(name, seed=0, root=tmp_path)


@pytest.mark.parametrize(
    "parts",
    [
        lambda x, y: (x, y[:3], x, y),
        lambda x, y: (x, y, x[:0], y[:0]),
        lambda x, y: (x, y.float(), x, y),
        lambda x, y: (x, y + 9, x, y),
        lambda x, y: (x, y, x[:, :, :4], y),
    ],
)
def test_a_split_that_does_not_fit_is_refused(parts):
    with pytest.raises(cpl.DataError):
        Split("bad", *parts(torch.zeros(5, 1, 8, 8), torch.arange(5)), classes=10)


def test_augmentation_shifts_and_flips_and_is_decided_by_the_generator():
    x = torch.rand(64, 3, 8, 9, generator=torch.Generator().manual_seed(0))
    state = torch.Generator().manual_seed(1)
    before = state.get_state()
    assert augment(x, crop=0, flip=False, generator=state) is x and torch.equal(before, state.get_state())
    first, again = (augment(x, crop=2, flip=True, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, again) and first.shape == x.shape
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2))
    seen = set()
    for image, source in zip(first, padded, strict=True):
        places = [
            (r, c, flip)
            for r in range(5)
            for c in range(5)
            for flip in (False, True)
            if torch.equal(
                image, (source[:, r : r + 8, c : c + 9]).flip(2) if flip else source[:, r : r + 8, c : c + 9]
            )
        ]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) > 25


def test_bytes_are_divided_as_they_are_taken():
    images = ByteImages(torch.arange(8, dtype=torch.uint8).view(2, 1, 2, 2))
    assert torch.equal(images[1:2], torch.arange(4.0, 8.0).view(1, 1, 2, 2) / 255) and len(images) == 2
