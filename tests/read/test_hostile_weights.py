"""Weights that do not fit their bytes, or are no numbers, are refused by name."""

from __future__ import annotations

import json
import struct
import zipfile
from io import BytesIO

import pytest
from archives import WEIGHTS, entries, pack, spoil, tiny
from hostile import refused


def meta(**fields):
    return lambda config: config["config"]["0.weight"]["tensor_meta"].update(fields)


def sizes(*numbers):
    return [{"as_int": n} for n in numbers]


@pytest.mark.parametrize(
    "change",
    [
        meta(storage_offset={"as_int": 1}),
        meta(storage_offset={"as_int": -1}),
        meta(strides=sizes(3, 2)),
        meta(strides=sizes(3)),
        meta(sizes=sizes(2, 4)),
        meta(sizes=sizes(2**40, 3), strides=sizes(0, 1)),
        meta(dtype=8),
        meta(dtype=9),
        meta(dtype=99),
        meta(layout=1),
        lambda c: c["config"]["0.weight"].update(path_name="../weight_0"),
        lambda c: c["config"]["0.weight"].update(path_name="weight_77"),
        lambda c: c["config"]["0.weight"].update(tensor_meta=None),
        lambda c: c["config"].pop("0.weight"),
        lambda c: c["config"].clear(),
    ],
)
def test_a_weight_that_does_not_fit_its_bytes_is_refused(tmp_path, change):
    path = spoil(tmp_path / "m.pt2", lambda config: [change(config), config][1], WEIGHTS)
    assert "0.weight" in refused(path, "refused")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path, value):
    files = entries(tiny())
    config = json.loads(files[WEIGHTS])["config"]["0.weight"]["path_name"]
    entry = f"data/weights/{config}"
    files[entry] = files[entry][:-4] + struct.pack("<f", value)
    assert "'0.weight'" in refused(pack(tmp_path / "m.pt2", files), "NaN or infinity")


def test_a_flipped_weight_bit_is_noticed(tmp_path):
    data = bytearray(tiny())
    with zipfile.ZipFile(BytesIO(tiny())) as archive:
        info = next(i for i in archive.infolist() if i.filename.endswith("weights/weight_0"))
    position = info.header_offset + 30 + struct.unpack_from("<H", data, info.header_offset + 26)[0]
    position += struct.unpack_from("<H", data, info.header_offset + 28)[0]
    data[position] ^= 1
    (tmp_path / "m.pt2").write_bytes(bytes(data))
    refused(tmp_path / "m.pt2", "damaged")
