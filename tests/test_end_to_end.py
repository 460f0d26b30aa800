"""The main job: cpl trains and exports, lipverify audits what was written, a planted fault is caught and replayed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*arguments, code=0):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    pytest.importorskip("sklearn")
    out = tmp_path_factory.mktemp("honest")
    run("-m", "cpl", "train", "--data", "digits", "--epochs", "2", "--out", out)
    return out


@pytest.fixture(scope="module")
def faulty(honest, tmp_path_factory):
    out = tmp_path_factory.mktemp("faulty")
    run("examples/plant_fault.py", honest, "--out", out)
    return out


def audit(model, *options, code):
    report = model.parent / "report.json"
    run("-m", "lipverify", "audit", model, *options, "--format", "json", "--output", report, code=code)
    return json.loads(report.read_text())


def test_every_claim_of_an_honest_model_is_proved_by_four_verifiers(honest):
    report = audit(honest / "model.pt2", "--at", honest / "inputs.npz", "--radius", "0.01", code=0)
    rows = {(row["path"], row["norm"]): row for row in report["regions"]}
    assert len(rows) == 12 and {row["verdict"] for row in rows.values()} == {"PROVED"}
    assert rows["trunk", "l2->l2"]["upper"] == "1" and rows["", "l2->linf"]["claim"] == "1"
    block = {e["verifier"]: e for e in rows["trunk.dense1", "l2->l2"]["evidence"]}
    assert block["spectral"]["upper"] == "1" and float(block["sdp"]["upper"]) < 1 + 1e-6
    assert block["propagation"]["rigor"] == "numeric" and block["propagation"]["local"]
    assert float(block["propagation"]["upper"]) > 0.9 and float(block["witness"]["lower"]) > 0.9
    assert report["mismatches"] == []


def test_the_planted_fault_is_refuted_and_every_other_layer_still_proved(faulty):
    report = audit(faulty / "model.pt2", "--verifiers", "spectral,witness", code=1)
    verdicts = {(row["path"], row["norm"]): row["verdict"] for row in report["regions"]}
    refuted = [path for (path, _), verdict in verdicts.items() if verdict == "REFUTED"]
    assert refuted == ["trunk.dense3"]
    around = {("trunk", "l2->l2"), ("", "l2->linf"), ("", "l2->l2")}
    assert all(
        (verdict == "UNDECIDED") == (row in around) for row, verdict in verdicts.items() if row[0] != "trunk.dense3"
    )
    (row,) = (row for row in report["regions"] if row["path"] == "trunk.dense3")
    assert float(row["lower"]) > 1.2 and row["claim"] == "1"
    replayed = run("-m", "lipverify", "replay", faulty / "report.json", faulty / "model.pt2")
    assert "REFUTED" in replayed and "NOT REPRODUCED" not in replayed
    picture = faulty / "report.png"
    run("examples/draw_report.py", faulty / "report.json", picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_witness_of_one_model_is_not_reproduced_on_another(honest, faulty):
    if not (faulty / "report.json").exists():
        audit(faulty / "model.pt2", "--verifiers", "spectral,witness", code=1)
    replayed = run("-m", "lipverify", "replay", faulty / "report.json", honest / "model.pt2", code=1)
    assert "NOT REPRODUCED" in replayed and "REFUTED" not in replayed.replace("not refuted", "")


def test_the_benchmark_runs():
    assert "upper/lower-1" in run("benchmarks/norms.py", "--quick")


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    text = (ROOT / "README.md").read_text()
    blocks = [part.split("```")[0] for part in text.split("```python\n")[1:]]
    assert len(blocks) >= 2
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    claims = text.split("```json\n")[1].split("```")[0]
    assert lipverify_claims(claims)


def lipverify_claims(text):
    from lipverify.claims import parse_claims

    return parse_claims(text)
