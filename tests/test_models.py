"""One door for every kind of model: several inputs in files and live, bounds without claims, the caller's process."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import lipverify
from lipverify.cli import app
from lipverify.errors import LipverifyError
from lipverify.models import Source, read_model
from lipverify.read.factory import build


class Conditioned(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.table = nn.Linear(3, 3, bias=False), nn.Embedding(5, 3)
        self.linear.weight.data = torch.eye(3) / 2

    def forward(self, x, nothing=None, token=None, factor=2):
        return {"y": factor * self.linear(x), "token": self.table(token), "n": None, "c": 3}


EXAMPLE = (torch.zeros(1, 3), None, torch.tensor([1]), 4)
FAST = ["spectral", "witness"]


@pytest.fixture
def stored(tmp_path):
    exported = torch.export.export(Conditioned().eval(), EXAMPLE).run_decompositions()
    claims = json.dumps({"claims": [{"layer": "", "bound": "1"}]})
    torch.export.save(exported, tmp_path / "m.pt2", extra_files={"claims.json": claims})
    return tmp_path / "m.pt2"


def test_a_file_of_several_inputs_and_outputs_has_them(stored):
    program = read_model(stored)
    assert program.inputs == {"x": (1, 3), "token": (1,)} and program.dtypes == {"token": torch.int64}
    assert len(program.outputs) == 2
    part = read_model(stored, Source(held={"token": 3}, output="0"))
    x = torch.rand(1, 3)
    assert torch.equal(part(x), 2 * x) and len(part.notes) == 2


def test_a_file_is_audited_whole_part_and_without_its_claims(stored):
    whole = lipverify.audit(stored, verifiers=FAST)
    assert whole.exit_code == 3 and any("--hold" in note for note in whole.notes)
    chosen = Source(held={"token": 3}, output=0)
    refuted = lipverify.audit(stored, source=chosen, verifiers=FAST)
    assert refuted.exit_code == 1 and any("'token' is held at 3" in note for note in refuted.notes)
    unjudged = lipverify.audit(stored, source=chosen, verifiers=FAST, bounds_only=True)
    assert unjudged.verdict is None and unjudged.regions[0].upper is not None
    with pytest.raises(LipverifyError, match="bounds_only"):
        lipverify.audit(stored, claims=[{"layer": "", "bound": "1"}], bounds_only=True)


@pytest.mark.parametrize("inputs", [EXAMPLE, {"x": torch.ones(1, 3), "token": torch.tensor([1]), "factor": 4}])
def test_a_live_model_takes_its_arguments_by_place_or_by_name(inputs):
    source = Source(input="x", output="y", held={"token": 0})
    report = lipverify.audit(
        Conditioned().eval(), inputs, claims=[{"layer": "", "bound": "2"}], source=source, verifiers=FAST
    )
    assert report.exit_code == 0 and report.regions[0].upper == 2


@pytest.mark.parametrize("how", ["set", "with"])
def test_another_default_device_changes_nothing(how):
    model, x = nn.Linear(3, 3).eval(), torch.ones(1, 3)
    expected = lipverify.audit(model, x, verifiers=FAST).regions[0].upper
    if how == "with":
        with torch.device("meta"):
            assert lipverify.audit(model, x, verifiers=FAST).regions[0].upper == expected
        return
    torch.set_default_device("meta")
    try:
        assert lipverify.audit(model, x, verifiers=FAST).regions[0].upper == expected
        assert torch.get_default_device().type == "meta"
    finally:
        torch.set_default_device(None)


@pytest.mark.parametrize(("wrap", "code"), [("orthogonal", 0), ("", 2)])
def test_claims_that_a_library_asserts(tmp_path, monkeypatch, wrap, code):
    factory = (
        "import torch\nfrom torch import nn\nfrom torch.nn.utils.parametrizations import orthogonal\n"
        f"def net():\n    torch.manual_seed(0)\n    return nn.Sequential({wrap}(nn.Linear(2, 2)))\n"
    )
    name = f"factory_that_asserts_{wrap or 'nothing'}"
    (tmp_path / f"{name}.py").write_text(factory)
    monkeypatch.chdir(tmp_path)
    torch.save(build(f"{name}:net").state_dict(), tmp_path / "m.pt")
    handover = ["m.pt", "--factory", f"{name}:net", "--shape", "1,2"]
    result = CliRunner().invoke(app, ["audit", *handover, "--asserted", "--verifiers", "spectral", "--format", "json"])
    if code:
        assert result.exit_code == code and "asserts nothing" in result.stderr, result.output
        return
    rows = json.loads(result.stdout)["regions"]
    assert result.exit_code in (0, 1, 3) and any(row["claim"] is not None for row in rows), result.output
