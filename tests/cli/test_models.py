"""The command line on models in every form: factories, shapes, held inputs, chosen outputs, whole pickles."""

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from typer.testing import CliRunner

from lipverify.cli import app

FACTORY = """
import torch
from torch import nn

class Conditioned(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4, bias=False)
    def forward(self, x, t):
        y = self.linear(x)
        return {"y": y + 3 * t, "scaled": t * y}

def plain():
    return nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU())

def conditioned():
    return Conditioned()
"""


class Whole(nn.Module):
    """Of this module, so that a pickle of it can be loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4, bias=False)
        self.linear.weight.data = torch.eye(4) / 2

    def forward(self, x):
        return self.linear(x)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """State dicts of a layer of norm exactly 1/2, and code that builds its network, in the current folder."""
    (tmp_path / "factory_of_cli.py").write_text(FACTORY)
    torch.save({"state_dict": {"0.weight": torch.eye(4) / 2}, "epoch": 1}, tmp_path / "m.pt")
    safetensors.torch.save_file({"0.weight": torch.eye(4) / 2}, tmp_path / "m.safetensors")
    torch.save({"linear.weight": torch.eye(4) / 2}, tmp_path / "c.pt")
    torch.save(Whole(), tmp_path / "whole.pt")
    np.save(tmp_path / "at.npy", np.ones((2, 4)))
    np.save(tmp_path / "t.npy", np.full((1, 4), 0.25))
    (tmp_path / "claims.json").write_text(json.dumps({"claims": [{"layer": "", "bound": "0.5"}]}))
    (tmp_path / "low.json").write_text(json.dumps({"claims": [{"layer": "", "bound": "0.4"}]}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def audit(*arguments, verifiers="spectral,witness"):
    return CliRunner().invoke(app, ["audit", *map(str, arguments), "--verifiers", verifiers])


def refused(result, *texts):
    assert result.exit_code == 2 and result.stdout == "" and "Traceback" not in result.stderr, result.output
    assert all(text in result.stderr for text in texts), result.stderr


PLAIN = ["--factory", "factory_of_cli:plain"]
BOTH = ["--factory", "factory_of_cli:conditioned", "--shape", "1,4", "--shape", "1,4"]


@pytest.mark.parametrize("model", ["m.pt", "m.safetensors"])
@pytest.mark.parametrize("shape", [["--shape", "1,4"], ["--shape", "1x4"], ["--at", "at.npy"]])
def test_a_state_dict_is_audited(home, model, shape):
    result = audit(model, *PLAIN, *shape, "--claims", "claims.json")
    assert result.exit_code == 0 and "factory_of_cli:plain" in result.stdout, result.output
    assert ("'state_dict'" in result.stdout) == (model == "m.pt")


def test_a_refutation_is_replayed_on_the_model_as_it_was_handed_over(home):
    assert audit("m.pt", *PLAIN, "--shape", "1,4", "--claims", "low.json", "--output", "r.json").exit_code == 1
    replayed = CliRunner().invoke(app, ["replay", "r.json", "m.pt", *PLAIN, "--shape", "1,4"])
    assert replayed.exit_code == 0 and "reproduced" in replayed.stdout, replayed.output


def test_of_several_inputs_and_outputs_one_is_chosen(home):
    whole = audit("c.pt", *BOTH, "--bounds-only", "--format", "json")
    rows = {row["path"]: row for row in json.loads(whole.stdout)["regions"]}
    assert rows["linear"]["upper"] and not rows[""]["upper"] and "2 inputs" in rows[""]["reason"]
    assert all(text in whole.stdout for text in ("'x'", "'t'", "'scaled'", "--input", "--hold", "--of"))
    for hold, of, bound in [("t=7", "y", "0.5"), ("t=2", "scaled", "1"), ("t=t.npy", "1", "0.125")]:
        claims = home / "c.json"
        claims.write_text(json.dumps({"claims": [{"layer": "", "bound": bound}]}))
        result = audit("c.pt", *BOTH, "--hold", hold, "--of", of, "--claims", claims)
        assert result.exit_code == 0, (hold, of, result.output)
        assert "is held" in result.stdout and "no verdict speaks of its other values" in " ".join(result.stdout.split())


def test_a_whole_pickle_runs_only_in_so_many_words(home):
    refused(audit("whole.pt", "--shape", "1,4"), "--unsafe-load", "nothing of it was run")
    result = audit("whole.pt", "--unsafe-load", "--shape", "1,4", "--claims", "claims.json")
    assert (
        result.exit_code == 0 and "runs code of the file" in result.stderr and "code of the file ran" in result.stdout
    )


BAD = [
    (["m.pt"], ["--factory"]),
    (["m.safetensors"], ["--factory"]),
    (["m.pt", *PLAIN], ["--shape"]),
    (["m.pt", "--factory", "factory_of_cli:none", "--shape", "1,4"], ["'factory_of_cli:none'"]),
    (["m.pt", *BOTH], ["missing from the file: 'linear.weight'", "unexpected: '0.weight'"]),
    (["m.pt", *PLAIN, "--shape", "4"], []),
    (["m.pt", *PLAIN, "--shape", "1,5"], ["itself fails"]),
    (["m.pt", *PLAIN, "--shape", "one"], ["--shape 'one'"]),
    (["m.pt", *PLAIN, "--shape", "1,0"], ["--shape"]),
    (["m.pt", *PLAIN, "--shape", "1,-4"], ["--shape"]),
    (["m.pt", *PLAIN, "--shape", "99999999,99999999"], ["--shape"]),
    (["m.pt", *PLAIN, "--unsafe-load", "--shape", "1,4"], ["exclude each other"]),
    (["c.pt", *BOTH, "--hold", "t"], ["--hold 't'"]),
    (["c.pt", *BOTH, "--hold", "t=none.npy"], ["none.npy"]),
    (["c.pt", *BOTH, "--hold", "z=1"], ["no input 'z'"]),
    (["c.pt", *BOTH, "--hold", "t=1"], ["2 outputs", "'scaled'"]),
    (["c.pt", *BOTH, "--input", "x", "--of", "y"], ["'t' has no value"]),
    (["c.pt", *BOTH, "--hold", "t=1", "--of", "z"], ["no output 'z'"]),
    (["c.pt", *BOTH, "--hold", "t=at.npy", "--of", "y"], ["shape is (2, 4)"]),
    (["c.pt", *BOTH, "--hold", "t=t.npy", "--of", "y", "--output", "t.npy"], ["--output and --hold t are one file"]),
    (["m.pt", *PLAIN, "--shape", "1,4", "--asserted", "--claims", "claims.json"], ["exclude each other"]),
    (["m.pt", *PLAIN, "--shape", "1,4", "--asserted", "--bounds-only"], ["--asserted"]),
    (["m.pt", "--asserted"], ["--factory"]),
]


@pytest.mark.parametrize(("arguments", "texts"), BAD, ids=lambda v: " ".join(v) if isinstance(v, list) else None)
def test_bad_handovers_are_one_message(home, arguments, texts):
    if arguments[-1] == "4":
        assert audit(*arguments, "--bounds-only").exit_code in (0, 2)
        return
    refused(audit(*arguments), *texts)


def test_tight_is_for_spectral(home):
    refused(audit("m.pt", *PLAIN, "--shape", "1,4", "--tight", verifiers="witness"), "--tight")
    result = audit("m.pt", *PLAIN, "--shape", "1,4", "--tight", "--claims", "claims.json")
    assert result.exit_code == 0, result.output


def test_an_exported_program_needs_no_factory(home):
    torch.export.save(torch.export.export(Whole().eval(), (torch.zeros(1, 4),)).run_decompositions(), "m.pt2")
    refused(audit("m.pt2", *PLAIN), "own program")
    refused(audit("m.pt2", "--shape", "1,4"), "own program")
