"""What was accepted once is accepted: certificates of every released schema, read, checked and compared."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import lipverify_checker
import pytest
import safetensors.torch
from jsonschema import Draft202012Validator

from lipverify.baseline import SCHEMAS, compare, read_certificate
from lipverify.baseline.reading import parse_certificate
from tests.certificates.golden.__main__ import HERE, certified
from tests.certificates.golden.networks import NETWORKS

ROOT = Path(__file__).parent.parent.parent
SCHEMA = Draft202012Validator(json.loads((ROOT / "proofs" / "certificate.schema.json").read_text()))
CHECKER = ROOT / "proofs" / "checker" / "lipverify_checker.py"
GOLDEN = sorted(HERE.glob("*/*.json"))
MAX_BYTES = 100_000

golden = pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.name}-{path.stem}")


def weights(path: Path) -> Path:
    return path.with_suffix(".safetensors")


def test_there_are_some_of_every_schema_that_is_read():
    assert {schema.rpartition("/")[2] for schema in SCHEMAS} <= {path.parent.name for path in GOLDEN}
    assert {path.stem for path in GOLDEN} >= NETWORKS.keys()
    assert all(file.stat().st_size < MAX_BYTES for path in GOLDEN for file in (path, weights(path)))


@golden
def test_its_schema_accepts_it(path):
    assert path.parent.name != "1" or not [error.message for error in SCHEMA.iter_errors(json.loads(path.read_text()))]


@golden
def test_the_checker_accepts_it(path):
    outcome = lipverify_checker.check(path.read_bytes(), lipverify_checker.Weights(str(weights(path))))
    assert outcome.exit_code == 0, outcome.text()


@golden
def test_the_checker_accepts_it_alone_without_assertions_and_other_packages(path):
    command = [sys.executable, "-O", "-I", "-S", str(CHECKER), str(path), str(weights(path)), "--no-flint"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "ACCEPTED" in done.stdout, done.stdout + done.stderr


@golden
def test_it_is_read_and_compared(path):
    read = read_certificate(path)
    assert read.statements and not compare(read, read).fails
    assert {s.verdict for s in read.statements} == {"PROVED"}


@golden
def test_today_s_certificate_of_the_same_weights_is_as_strong(path):
    """And of the same weights under the same names: a baseline of today may be compared with those of tomorrow."""
    network = NETWORKS[path.stem]
    model = network.make()
    model.load_state_dict(safetensors.torch.load_file(weights(path)), strict=False)
    _, text = certified(network, model, path.stem)
    old, new = read_certificate(path), parse_certificate(text.encode(), "today's")
    comparison = compare(old, new)
    assert not comparison.fails, [(p.old, p.new, p.changes) for p in comparison.pairs if p.fails]
    assert old.weights == new.weights
    assert not [error.message for error in SCHEMA.iter_errors(json.loads(text))]


@golden
def test_one_bit_of_one_weight_is_refused(path, tmp_path):
    data = bytearray(weights(path).read_bytes())
    data[-1] ^= 1
    (tmp_path / "w.safetensors").write_bytes(data)
    outcome = lipverify_checker.check(path.read_bytes(), lipverify_checker.Weights(str(tmp_path / "w.safetensors")))
    assert outcome.exit_code == 1
