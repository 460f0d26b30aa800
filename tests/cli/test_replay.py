"""Witnesses of a report, proved again from the report and the model."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from tests.cli.commands import audit, refused, run, write


def stated(path="", shape=(1, 4), entry="0x1p0", width=4, **fields):
    x = [[entry] * width]
    witness = {"shape": shape, "x": x, "y": [["0x0p0"] * width], "ratio": "1"}
    evidence = [{"verifier": "w", "witness": witness}]
    region = {"path": path, "norm": "l2->l2", "claim": None, "domain": None, "evidence": evidence}
    report = {"schema": "lipverify-report/1", "regions": [region]}
    for part in (region, witness, report):
        part.update((key, fields[key]) for key in set(part) & set(fields))
    return json.dumps(report)


BAD_REPORTS = {
    "text": "hello",
    "list": "[]",
    "empty": "{}",
    "deep": "[" * 10**5,
    "not hex": stated(entry="0.1"),
    "not finite": stated(entry="inf"),
    "too large": stated(entry="0x1p9999"),
    "wrong shape": stated(shape=(1, 5)),
    "huge shape": stated(shape=(1, 10**12)),
    "other model": stated(shape=(1, 3), width=3),
    "huge coordinates": stated(entry="0x1p1000"),
    "shape as text": stated(shape="14"),
    "shape of floats": stated(shape=(1.0, 4)),
    "shape of texts": stated(shape=("1", "4")),
    "norms without a proof": stated(norm="l1->l1"),
    "norms unknown": stated(norm="\x1b[31m->l2"),
    "norms of no text": stated(norm=None),
    "ratio as number": stated(ratio=1),
    "claim as number": stated(claim=1),
    "another schema": stated(schema="lipverify-report/2"),
    "no schema": '{"regions": []}',
    "ball of no radius": stated(domain={"center": [["0x0p0"] * 4], "shape": [1, 4], "radius": "0"}),
    "ball elsewhere": stated(domain={"center": [["0x0p0"] * 3], "shape": [1, 3], "radius": "1"}),
    "ball without a center": stated(domain={"radius": "1"}),
    "other layer": stated(path="no such layer"),
}


@pytest.mark.parametrize("name", BAD_REPORTS)
def test_bad_reports_are_not_replayed(home, tmp_path, name):
    (tmp_path / "r.json").write_text(BAD_REPORTS[name])
    refused(run("replay", tmp_path / "r.json", home / "plain.pt2"), "where: ", "why: ", "next: ")


class Several(nn.Module):
    def forward(self, x):
        return x, 100 * x


class Sum(nn.Module):
    def forward(self, x, y):
        return x + y


class Rounded(nn.Module):
    """Of no continuous function, hence without a rule that encloses it."""

    def forward(self, x):
        return x.round()


def test_models_with_several_inputs_or_outputs_are_not_replayed(tmp_path):
    """Of several outputs the first would be another function than the one that was judged."""
    (tmp_path / "r.json").write_text(stated(ratio="50"))
    for model, inputs, text in ((Several(), 1, "2 outputs"), (Sum(), 2, "2 inputs"), (Rounded(), 1, "enclosed")):
        exported = torch.export.export(model.eval(), (torch.zeros(1, 4),) * inputs).run_decompositions()
        torch.export.save(exported, tmp_path / "m.pt2")
        refused(run("replay", tmp_path / "r.json", tmp_path / "m.pt2"), text, "where: ", "why: ", "next: ")


@pytest.mark.parametrize(
    ("radius", "center", "within"),
    [("2", "0x0p0", True), ("1/3", "0x0p0", False), ("2", "0x1p4", False), ("1" + "0" * 50 + "/3", "0x0p0", True)],
)
def test_a_pair_outside_the_ball_of_the_claim_refutes_nothing(home, tmp_path, radius, center, within):
    ball = {"center": [[center] * 4], "shape": [1, 4], "radius": radius}
    (tmp_path / "r.json").write_text(stated(domain=ball, claim="0.5", ratio="0.6"))
    result = run("replay", tmp_path / "r.json", home / "plain.pt2")
    assert result.exit_code == (0 if within else 1), result.output
    assert ("outside the claim's ball: this pair refutes nothing" in result.stdout) == (not within)
    assert ("claim <= 0.5: REFUTED" in result.stdout) == within


def test_a_refuted_claim_on_a_ball_is_replayed_on_that_ball(home, tmp_path):
    ball = {"center": [[0, 0, 0, 0]], "radius": "1/3"}
    claims = write(tmp_path / "c.json", {"layer": "2", "bound": "1.9", "domain": ball})
    report = tmp_path / "r.json"
    assert audit(home / "plain.pt2", "--claims", claims, "--format", "json", "--output", report).exit_code == 1
    result = run("replay", report, home / "plain.pt2")
    assert result.exit_code == 0 and "claim <= 1.9: REFUTED" in result.stdout


def test_a_stated_witness_is_replayed(home, tmp_path):
    (tmp_path / "r.json").write_text(stated())
    assert run("replay", tmp_path / "r.json", home / "plain.pt2").exit_code in (0, 1)


def test_a_report_without_witnesses_is_exit_3(home, tmp_path):
    (tmp_path / "r.json").write_text('{"schema": "lipverify-report/1", "regions": []}')
    result = run("replay", tmp_path / "r.json", home / "plain.pt2")
    assert result.exit_code == 3 and "nothing was replayed" in result.stdout
