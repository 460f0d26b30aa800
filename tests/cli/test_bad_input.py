"""One clear message for every kind of bad input."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from tests.cli.commands import audit, refused, run, write

BAD_CLAIMS = {
    "unknown layer": ([{"layer": "O", "bound": "1"}], ["'O'", "next:"]),
    "near layer": ([{"layer": "2x", "bound": "1"}], ["'2x'"]),
    "negative": ([{"layer": "0", "bound": "-1"}], ["negative", "'0'"]),
    "nan": ([{"layer": "0", "bound": "nan"}], ["not a number"]),
    "long": ([{"layer": "0", "bound": "1" * 10**6}], ["too long"]),
    "word": ([{"layer": "0", "bound": "one"}], ["'one'"]),
    "bool": ([{"layer": "0", "bound": True}], ["not a number"]),
    "duplicate": ([{"layer": "0", "bound": "1"}, {"layer": "0", "bound": "2"}], ["claimed twice"]),
    "none": ([], ["no claims"]),
    "norm": ([{"layer": "0", "bound": "1", "norm": "l7->l2"}], ["norm pair"]),
    "codes": ([{"layer": "\x1b[31m\n::error::", "bound": "1"}], ["\\x1b"]),
}


@pytest.mark.parametrize("name", BAD_CLAIMS)
def test_bad_claims(home, tmp_path, name):
    claims, texts = BAD_CLAIMS[name]
    message = refused(audit(home / "plain.pt2", "--claims", write(tmp_path / "c.json", *claims)), *texts)
    assert "\x1b" not in message and "\n::" not in message and len(message) < 2000


def test_bad_claim_files(home, tmp_path):
    refused(audit(home / "plain.pt2", "--claims", tmp_path / "none.json"), "none.json", "No such file")
    (tmp_path / "c.json").write_text("{")
    refused(audit(home / "plain.pt2", "--claims", tmp_path / "c.json"), "c.json", "JSON")


def test_bad_models(home, tmp_path):
    for name, data in {"a.pt2": b"no model", "b.pt": b"\x80\x04.", "c.pt2": b"", "d.safetensors": b"x"}.items():
        (tmp_path / name).write_bytes(data)
        refused(audit(tmp_path / name), name, "where:", "next:")
    refused(audit(tmp_path / "none.pt2"), "there is no file")
    refused(audit(tmp_path), "directory")


def test_weights_that_are_not_finite(home, tmp_path):
    path = tmp_path / "nan.pt2"
    with zipfile.ZipFile(home / "plain.pt2") as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            target.writestr(name, b"\x00\x00\xc0\x7f" + data[4:] if name.endswith("weight_0") else data)
    refused(audit(path), "NaN", "'0.weight'")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--format", "xml"], "text, json, markdown"),
        (["--radius", "1"], "--at and --radius"),
        (["--at", "at.npz"], "--at and --radius"),
        (["--at", "at.npz", "--radius", "-1"], "negative"),
        (["--at", "at.npz", "--radius", "x"], "'x'"),
        (["--at", "none.npz", "--radius", "1"], "none.npz"),
        (["--at", "wide.npz", "--radius", "1"], "(3, 5)"),
        (["--at", "pickled.npy", "--radius", "1"], "objects"),
        (["--bounds-only", "--claims", "good.json"], "--bounds-only"),
        (["--verifiers", "nothing"], "nothing"),
        (["--verifiers", "no.such.module:Name"], "no.such.module"),
        (["--verifiers", "json:loads"], "json:loads"),
        (["--verifiers", ""], "verifier"),
        (["--seed", "x"], "seed"),
        (["--seed", "-1"], "seed"),
        (["--seed", str(2**64)], "seed"),
        (["--trust-verifier", "nope"], "--trust-verifier 'nope'"),
        (["--verifiers", "witness", "--trust-verifier", "spectral"], "--trust-verifier 'spectral'"),
        (["--at", "at.npz", "--radius", "0"], "a point has no ratio"),
        (["--at", "big.npy", "--radius", "1"], "dtype"),
        (["--at", "long.npy", "--radius", "1"], "dtype"),
        (["--no-such-option"], "no-such-option"),
    ],
)
def test_bad_usage(home, monkeypatch, arguments, text):
    monkeypatch.chdir(home)
    np.savez("wide.npz", x=np.ones((3, 5)))
    np.save("big.npy", np.ones((3, 4), dtype=">f4"))
    np.save("long.npy", np.ones((3, 4), dtype=np.longdouble))
    np.save("pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    refused(run("audit", home / "plain.pt2", *arguments), text)
