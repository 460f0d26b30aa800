"""Models and claims on which the commands are tried, and an audit that does as it is told."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from tests.cli.commands import write


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Two layers whose norms are exactly 1/2 and 2, with claims that hold and claims that do not."""
    home = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 2)).eval()
    weights = {"0.weight": torch.eye(4) / 2, "2.weight": torch.eye(4)[:2] * 2, "2.bias": torch.rand(2)}
    model.load_state_dict(weights)
    exported = torch.export.export(model, (torch.zeros(1, 4),)).run_decompositions()
    torch.export.save(exported, home / "plain.pt2")
    inside = json.dumps({"claims": [{"layer": "0", "bound": "0.5"}, {"layer": "", "bound": "1"}]})
    torch.export.save(exported, home / "claimed.pt2", extra_files={"claims.json": inside})
    write(home / "good.json", {"layer": "0", "bound": "0.5"})
    write(home / "bad.json", {"layer": "0", "bound": "0.5"}, {"layer": "2", "bound": "1.9"})
    (home / "good.toml").write_text('[[claims]]\nlayer = "2"\nbound = 2\n')
    np.savez(home / "at.npz", x=np.ones((3, 4)))
    return home


@pytest.fixture
def stub(monkeypatch):
    """An audit that counts its calls and does what it is told."""
    calls = []

    def install(action):
        def stubbed(*arguments, **options):
            calls.append(options)
            return action(options)

        monkeypatch.setattr("lipverify.auditing.audit", stubbed)
        return calls

    return install
