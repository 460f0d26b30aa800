"""From a model to its certificate, to the checker's word on it, on this model and on others."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

import lipverify
from lipverify.certificates.canonical import digest
from tests.cli.commands import ROOT, audit, refused, run, write

CHECKER = ROOT / "proofs" / "checker" / "lipverify_checker.py"
EYE = {"0.weight": torch.eye(4) / 2, "2.weight": torch.eye(4)[:2] * 2, "2.bias": torch.ones(2)}


def export(path, weights=EYE, middle: nn.Module | None = None):
    model = nn.Sequential(nn.Linear(4, 4, bias=False), middle or nn.ReLU(), nn.Linear(4, 2)).eval()
    model.load_state_dict(weights)
    torch.export.save(torch.export.export(model, (torch.zeros(1, 4),)).run_decompositions(), path)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model with claims that hold, its certificate and its weights."""
    home = tmp_path_factory.mktemp("certificates")
    export(home / "m.pt2")
    write(home / "claims.json", {"layer": "0", "bound": "0.5000001"}, {"layer": "", "bound": "1.0000001"})
    result = audit(home / "m.pt2", "--claims", home / "claims.json", "--certificate", home / "c.json")
    assert result.exit_code == 0, result.output
    assert "2 PROVED" in result.stdout and "(certificate)" in result.stderr
    assert run("weights", home / "m.pt2", home / "w.safetensors").exit_code == 0
    return home


def checked(made, certificate="c.json", model="m.pt2", *arguments):
    return run("check", made / certificate, "--model", made / model, *arguments)


def test_a_certificate_is_accepted_on_its_model(made):
    result = checked(made)
    assert result.exit_code == 0, result.output
    assert "ACCEPTED" in result.stdout and "PROVED <= 1.0000001" in result.stdout
    assert "on trust  lipverify's reading of the model" in result.stdout
    assert "that the graph is the model's program" not in result.stdout


def test_the_checker_alone_accepts_it_in_a_process_that_knows_nothing_of_lipverify(made, tmp_path):
    command = [sys.executable, "-I", "-S", CHECKER, made / "c.json", made / "w.safetensors"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0 and "that the graph is the model's program" in done.stdout, done.stdout + done.stderr


def test_the_certificate_in_the_report_s_shadow_is_the_same_for_every_format_and_output(made, tmp_path):
    body = json.loads((made / "c.json").read_text())["sha256"]
    for arguments in (["--format", "json"], ["--output", tmp_path / "r.md"], ["--evidence", "full"]):
        path = tmp_path / "again.json"
        result = audit(made / "m.pt2", "--claims", made / "claims.json", "--certificate", path, *arguments)
        assert result.exit_code == 0 and json.loads(path.read_text())["sha256"] == body
        if "json" in arguments:
            assert json.loads(result.stdout)["verdict"] == "PROVED"


def test_the_maker_is_told_what_a_stranger_cannot_check_and_which_inputs_keep_their_class(made, tmp_path):
    np.save(tmp_path / "x.npy", np.array([[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 0, 1.0]]))
    at = ("--at", tmp_path / "x.npy", "--radius", "0.01")
    result = audit(
        made / "m.pt2",
        "--claims",
        made / "claims.json",
        "--certificate",
        tmp_path / "c.json",
        *at,
        "--verifiers",
        "spectral",
    )
    assert "2 of 3 inputs keep their class within 0.01" in result.stderr and "UNCHECKED" not in result.stderr
    assert len(json.loads((tmp_path / "c.json").read_text())["body"]["margins"]) == 2
    first, last = (torch.diag(torch.tensor([*numbers, 0, 0])) for numbers in ((1.0, 0.1), (0.1, 1.0)))
    export(tmp_path / "f.pt2", EYE | {"0.weight": first, "2.weight": last[:2]})  # 1 by norms, 0.1 by sdp
    claims = write(tmp_path / "claims.json", {"layer": "", "bound": "0.5"})
    result = run(
        "audit", tmp_path / "f.pt2", "--claims", claims, "--certificate", tmp_path / "f.json", "--verifiers", "sdp"
    )
    assert result.exit_code == 0, result.output
    assert "1 of 1 PROVED is UNCHECKED by the checker, which has no rule for it: (whole), by sdp" in result.stderr
    assert checked(tmp_path, "f.json", "f.pt2").exit_code == 3


def test_the_weights_are_those_of_the_model(made):
    stored = safetensors.torch.load_file(made / "w.safetensors")
    assert stored.keys() == EYE.keys() and all(torch.equal(stored[name], EYE[name]) for name in stored)
    result = checked(made, "c.json", "m.pt2", "--weights", made / "w.safetensors")
    assert result.exit_code == 0, result.output


def test_another_model_is_named_by_what_differs(made, tmp_path):
    other = EYE | {"0.weight": torch.eye(4) / 4}
    cases = {
        "weights": (export(tmp_path / "weights.pt2", other), ["the weight '0.weight' has other numbers"]),
        "graph": (export(tmp_path / "graph.pt2", middle=nn.Tanh()), ["the graph has no node 'tanh'", "no node 'relu'"]),
    }
    for model, texts in cases.values():
        result = run("check", made / "c.json", "--model", model)
        assert result.exit_code == 1 and all(text in result.stdout for text in texts), result.output
        assert "not of this model" in result.stdout and "ACCEPTED" not in result.stdout.replace("not ACCEPTED", "")


def resealed(made, path, edit):
    """The certificate after an edit that hides itself: every digest is that of what it then holds."""
    data = json.loads((made / "c.json").read_text())
    edit(data["body"])
    graph = data["body"]["graph"]
    graph["sha256"] = digest({key: graph[key] for key in ("input", "shape", "nodes")})
    data["sha256"] = digest(data["body"])
    path.write_text(json.dumps(data))
    return path


def weaker(body):
    """A ReLU of half its slope: every bound of the whole would be half as large."""
    node = next(n for n in body["graph"]["nodes"] if n["map"]["kind"] == "pointwise")
    node["map"] = {"kind": "diagonal", "factor": {"numbers": [(0.5).hex()], "shape": [1]}}


FORGED = {
    "a bound that is too small": lambda b: b["regions"][0].update(upper=(0.25).hex()),
    "a claim that is too small": lambda b: b["regions"][0]["claim"].update(bound="0.4"),
    "another graph": weaker,
    "a region that is another layer": lambda b: b["regions"][0].update(path="2"),
    "a region that the model lacks": lambda b: b["regions"][0].update(path="3"),
    "a weight of another digest": lambda b: b["weights"]["0.weight"].update(sha256="0" * 64),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_certificate_is_refused_though_its_digests_fit(made, tmp_path, name):
    path = resealed(made, tmp_path / "f.json", FORGED[name])
    result = run("check", path, "--model", made / "m.pt2")
    assert result.exit_code == 1 and "REFUSED" in result.stdout, result.output


def test_a_layer_of_another_path_is_refused_by_the_model_alone(made, tmp_path):
    """The checker cannot know which values are a layer's: the regions are derived from the model again."""
    path = resealed(made, tmp_path / "f.json", FORGED["a region that is another layer"])
    done = subprocess.run(
        [sys.executable, str(CHECKER), str(path), str(made / "w.safetensors")],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0
    result = run("check", path, "--model", made / "m.pt2")
    assert "not of this model: the region '2' goes from" in result.stdout


def test_a_changed_digest_is_exit_1_and_no_json_is_exit_2(made, tmp_path):
    (tmp_path / "c.json").write_text((made / "c.json").read_text().replace("0.5000001", "0.4000001"))
    result = run("check", tmp_path / "c.json", "--model", made / "m.pt2")
    assert result.exit_code == 1 and "digest" in result.stdout, result.output
    for text in ("", "{", "[]", '{"schema": "lipverify-certificate/0"}'):
        (tmp_path / "c.json").write_text(text)
        result = run("check", tmp_path / "c.json", "--model", made / "m.pt2")
        assert result.exit_code == 2 and "Traceback" not in result.output, result.output


def test_an_older_schema_is_exit_2_with_the_command_that_migrates(made, tmp_path):
    data = json.loads((made / "c.json").read_text()) | {"schema": "lipverify-certificate/0"}
    (tmp_path / "c.json").write_text(json.dumps(data))
    for arguments in (
        ["check", tmp_path / "c.json", "--model", made / "m.pt2"],
        ["compare", tmp_path / "c.json", made / "c.json"],
    ):
        result = run(*arguments)
        assert result.exit_code == 2 and "lipverify audit MODEL --certificate" in result.output, result.output


def test_unreadable_input_of_check_and_weights(made, tmp_path):
    refused(run("check", tmp_path / "none.json", "--model", made / "m.pt2"), "none.json", "No such file")
    refused(run("check", made / "c.json", "--model", tmp_path / "none.pt2"), "there is no file")
    refused(checked(made, "c.json", "m.pt2", "--weights", tmp_path / "none.safetensors"), "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"\xff" * 64)
    refused(checked(made, "c.json", "m.pt2", "--weights", tmp_path / "bad.safetensors"), "bad.safetensors")
    refused(run("weights", tmp_path / "none.pt2", tmp_path / "w.safetensors"), "there is no file")
    refused(run("weights", made / "m.pt2", tmp_path / "no" / "w.safetensors"), "cannot be written")
    assert not (tmp_path / "w.safetensors").exists()


def test_other_weights_than_the_certificate_s_are_refused(made, tmp_path):
    safetensors.torch.save_file(EYE | {"2.bias": torch.zeros(2)}, tmp_path / "w.safetensors")
    result = checked(made, "c.json", "m.pt2", "--weights", tmp_path / "w.safetensors")
    assert result.exit_code == 1 and "2.bias" in result.stdout


def test_a_claim_that_is_refuted_is_exit_1_of_the_audit_and_3_of_the_check(made, tmp_path):
    claims = write(tmp_path / "low.json", {"layer": "0", "bound": "0.25"})
    assert audit(made / "m.pt2", "--claims", claims, "--certificate", tmp_path / "c.json").exit_code == 1
    result = run("check", tmp_path / "c.json", "--model", made / "m.pt2")
    assert result.exit_code == 3 and "REFUTED" in result.stdout, result.output
    assert run("compare", made / "c.json", tmp_path / "c.json").exit_code == 1


def test_a_norm_pair_without_a_rule_has_no_bound(made, tmp_path):
    claims = write(tmp_path / "l1.json", {"layer": "0", "bound": "9", "norm": "l1->l1"})
    assert audit(made / "m.pt2", "--claims", claims, "--certificate", tmp_path / "c.json").exit_code == 3
    first = json.loads((tmp_path / "c.json").read_text())["body"]["regions"][0]
    assert (first["norm"], first["verdict"], first["upper"], first["steps"]) == ("l1->l1", "UNSUPPORTED", None, [])
    assert checked(made, tmp_path / "c.json").exit_code == 3


def test_a_retrained_model_is_compared_with_its_baseline(made, tmp_path):
    grown = export(tmp_path / "g.pt2", EYE | {"0.weight": torch.eye(4) * 0.49, "2.weight": torch.eye(4)[:2] * 2.1})
    result = audit(grown, "--claims", made / "claims.json", "--certificate", tmp_path / "g.json")
    assert result.exit_code == 1
    result = run("compare", made / "c.json", tmp_path / "g.json")
    assert result.exit_code == 1 and "FAILS: GROWN, WEAKER" in result.stdout, result.output
    assert "2 changed: 0.weight, 2.weight" in result.stdout and "STRONGER" in result.stdout
    assert "graph: the same" in result.stdout and "tools: the same" in result.stdout


@pytest.mark.parametrize("name", ["model", "claims", "output"])
def test_a_certificate_never_replaces_what_was_audited(made, tmp_path, name):
    for file in ("m.pt2", "claims.json"):
        (tmp_path / file).write_bytes((made / file).read_bytes())
    output = tmp_path / "r.json"
    path = {"model": tmp_path / "m.pt2", "claims": tmp_path / "claims.json", "output": output}[name]
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    result = audit(tmp_path / "m.pt2", "--claims", tmp_path / "claims.json", "--certificate", path, "--output", output)
    refused(result, "are one file", "--certificate")
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before
    if name == "model":
        refused(run("weights", tmp_path / "m.pt2", tmp_path / "m.pt2"), "are one file")


def test_evidence_is_named_and_belongs_to_a_certificate(made, tmp_path):
    refused(audit(made / "m.pt2", "--evidence", "full"), "--evidence", "--certificate")
    refused(audit(made / "m.pt2", "--certificate", tmp_path / "c.json", "--evidence", "all"), "'all'", "witnesses")
    assert list(tmp_path.iterdir()) == []


def test_a_certificate_is_of_a_model_as_it_was_handed_over(tmp_path, monkeypatch):
    (tmp_path / "factory_of_certificates.py").write_text(
        "from torch import nn\ndef plain():\n    return nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU())\n"
    )
    safetensors.torch.save_file({"0.weight": torch.eye(4) / 2}, tmp_path / "m.safetensors")
    monkeypatch.chdir(tmp_path)
    handover = ["--factory", "factory_of_certificates:plain", "--shape", "1,4"]
    assert audit("m.safetensors", *handover, "--bounds-only", "--certificate", "c.json").exit_code == 0
    result = run("check", "c.json", "--model", "m.safetensors", *handover)
    assert result.exit_code == 0 and "ACCEPTED" in result.stdout, result.output
    result = run("check", "c.json", "--model", "m.safetensors", "--factory", handover[1], "--shape", "2,4")
    assert result.exit_code == 1 and "input" in result.stdout, result.output


def test_what_is_certified_is_a_program_a_report_and_inputs_with_a_radius():
    model = nn.Linear(4, 2).eval()
    program = lipverify.trace(model, torch.zeros(1, 4))
    report = lipverify.audit(program, verifiers=["spectral"])
    for given, more, text in (
        ((model, report), {}, "a Program is needed, not 'Linear'"),
        ((program, {}), {}, "a Report is needed, not 'dict'"),
        ((program, report), {"inputs": torch.zeros(2, 4)}, "inputs and radius belong together"),
        ((program, report), {"inputs": torch.zeros(2, 4), "radius": "near"}, "'near' is not a number"),
    ):
        with pytest.raises(lipverify.LipverifyError, match=text):
            lipverify.certify(*given, **more)
