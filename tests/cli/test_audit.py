"""What an audit on the command line answers: verdicts, exit codes, formats."""

from __future__ import annotations

import json

import torch
from torch import nn

from tests.cli.commands import audit, run, write


def test_all_proved_is_exit_0_with_claims_from_inside_the_model(home):
    result = audit(home / "claimed.pt2")
    assert result.exit_code == 0, result.output
    assert "2 PROVED" in result.stdout and "(whole)" in result.stdout and result.stderr == ""


def test_given_claims_replace_those_inside(home):
    result = audit(home / "claimed.pt2", "--claims", home / "good.toml", "--format", "json")
    assert result.exit_code == 0
    regions = json.loads(result.stdout)["regions"]
    assert [(r["path"], r["claim"], r["verdict"]) for r in regions] == [("2", "2", "PROVED"), ("", None, None)]


def test_refuted_is_exit_1_and_the_witness_is_shown_and_replayed(home, tmp_path):
    result = audit(home / "plain.pt2", "--claims", home / "bad.json")
    assert result.exit_code == 1 and "REFUTED 2" in result.stdout and "ratio" in result.stdout
    report = tmp_path / "report.json"
    assert (
        audit(home / "plain.pt2", "--claims", home / "bad.json", "--format", "json", "--output", report).exit_code == 1
    )
    again = run("replay", report, home / "plain.pt2")
    assert again.exit_code == 0, again.output
    assert "claim <= 1.9: REFUTED" in again.stdout and "NOT REPRODUCED" not in again.stdout


def test_a_report_whose_ratio_was_raised_is_not_reproduced(home, tmp_path):
    report = tmp_path / "report.json"
    audit(home / "plain.pt2", "--claims", home / "bad.json", "--format", "json", "--output", report)
    data = json.loads(report.read_text())
    for region in data["regions"]:
        for evidence in region["evidence"]:
            if "witness" in evidence:
                evidence["witness"]["ratio"] = "100"
    report.write_text(json.dumps(data))
    result = run("replay", report, home / "plain.pt2")
    assert result.exit_code == 1 and "NOT REPRODUCED" in result.stdout


def test_without_claims_every_region_has_bounds_and_the_exit_is_3_or_0(home):
    result = audit(home / "plain.pt2", "--format", "json")
    data = json.loads(result.stdout)
    assert result.exit_code == 3 == data["exit_code"] and data["verdict"] is None
    assert {r["path"] for r in data["regions"]} >= {"", "0", "2"}
    assert all(r["verdict"] is None and float(r["upper"]) > 0 for r in data["regions"])
    for model in ("plain.pt2", "claimed.pt2"):
        result = audit(home / model, "--bounds-only", "--format", "json")
        data = json.loads(result.stdout)
        assert result.exit_code == 0 == data["exit_code"] and data["verdict"] is None


def test_undecided_is_exit_3(home, tmp_path):
    claims = write(tmp_path / "c.json", {"layer": "0", "bound": "0.5"})
    result = run("audit", home / "plain.pt2", "--claims", claims, "--verifiers", "witness")
    assert result.exit_code == 3 and "UNDECIDED" in result.stdout


def test_local_inputs_and_radius_are_taken(home):
    result = audit(home / "claimed.pt2", "--at", home / "at.npz", "--radius", "8/255")
    assert result.exit_code == 0, result.output


def test_markdown_and_output_to_a_file(home, tmp_path):
    path = tmp_path / "report.md"
    result = audit(home / "claimed.pt2", "--output", path)  # the suffix says the format
    assert result.exit_code == 0 and "report.md (markdown); exit code 0" in result.stdout
    assert path.read_text().startswith("## Audit of claimed.pt2") and list(tmp_path.iterdir()) == [path]


def test_the_same_seed_gives_the_same_report(home):
    def bounds():
        data = json.loads(audit(home / "plain.pt2", "--format", "json", "--seed", "7").stdout)
        return [(r["path"], e["lower"], e["upper"]) for r in data["regions"] for e in r["evidence"]]

    assert bounds() == bounds()


def test_a_hostile_module_name_in_every_format(tmp_path):
    name = "::error::\x1b[31m|<b>"
    model = nn.Sequential()
    model.add_module(name, nn.Linear(2, 2))
    path = tmp_path / "m.pt2"
    torch.export.save(torch.export.export(model.eval(), (torch.zeros(1, 2),)).run_decompositions(), path)
    claims = write(tmp_path / "c.json", {"layer": name, "bound": "100"})
    for format in ("text", "json", "markdown"):
        result = audit(path, "--claims", claims, "--format", format)
        assert result.exit_code == 0, result.output
        assert "\x1b" not in result.stdout and "::error::" not in result.stdout
