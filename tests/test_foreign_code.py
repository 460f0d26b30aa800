"""Code of a factory, a model or a verifier that ends the process, prints, has no numbers, or is asked in two voices."""

from __future__ import annotations

import json

import pytest
import torch
from typer.testing import CliRunner

import lipverify
from lipverify import Source
from lipverify.cli import app
from lipverify.errors import LipverifyError
from lipverify.graph import regions, trace
from lipverify.read.program import check_weights
from tests.networks import Lambda

FOREIGN = """
import sys
import torch
from torch import nn
from torch._higher_order_ops.while_loop import while_loop

class Net(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.fc = nn.Linear(2, 2, bias=False, **options)
    def forward(self, x):
        return self.fc(x)

class Ends(Net):
    def forward(self, x): raise SystemExit(0)

class EndsTraced(Net):
    def forward(self, x): return self.fc(x) if not torch.compiler.is_exporting() else sys.exit(0)

class EndsLoading(Net):
    def load_state_dict(self, *args, **kwargs): sys.exit(0)

class EndsEval(Net):
    def train(self, mode=True): sys.exit(0)

class Scales(Net):
    def train(self, mode=True):
        if not mode: self.fc.weight.data.mul_(10)
        return super().train(mode)

class Prints(Net):
    def forward(self, x):
        print("forward prints")
        return self.fc(x)

class Lazy(Net):
    def __init__(self):
        super().__init__()
        self.fc = nn.LazyLinear(2, bias=False)

def ends(): raise SystemExit(0)
def meta(): return Net(device="meta")
def prints():
    print("factory prints")
    return Prints()

class Verifier:
    name = "foreign"
    def verify(self, problem): raise SystemExit(0)

class Unborn:
    name = "unborn"
    def __init__(self): sys.exit(0)
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "foreign_code.py").write_text(FOREIGN)
    torch.save({"fc.weight": torch.eye(2) / 2}, tmp_path / "m.pt")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def audit(factory, *arguments, verifiers="spectral"):
    handover = ["m.pt", "--factory", f"foreign_code:{factory}", "--shape", "1,2", "--bounds-only"]
    return CliRunner().invoke(app, ["audit", *handover, "--verifiers", verifiers, *arguments])


@pytest.mark.parametrize(
    ("factory", "verifiers", "code", "text"),
    [
        ("ends", "spectral", 2, "cannot be run"),
        ("Ends", "spectral", 2, "the model itself fails"),
        ("EndsTraced", "spectral", 2, "cannot trace"),
        ("EndsLoading", "spectral", 2, "cannot be loaded"),
        ("EndsEval", "spectral", 2, "cannot be loaded"),
        ("Net", "foreign_code:Unborn", 2, "cannot be loaded"),
        ("Net", "foreign_code:Verifier", 70, "ended the process"),
        ("Scales", "spectral", 2, "is not kept"),
        ("meta", "spectral", 2, "a meta tensor holds no numbers"),
        ("Lazy", "spectral", 2, "lazy"),
    ],
)
def test_no_foreign_code_chooses_the_exit_code(home, factory, verifiers, code, text):
    result = audit(factory, verifiers=verifiers)
    assert result.exit_code == code and result.stdout == "" and text in result.stderr, result.output


def test_what_a_model_prints_is_no_part_of_the_report(home):
    result = audit("prints", "--format", "json")
    assert result.exit_code == 0 and json.loads(result.stdout)["regions"]
    assert "factory prints" in result.stderr and "forward prints" in result.stderr


@pytest.mark.parametrize("device", ["meta", "lazy"])
def test_a_live_model_without_numbers_is_refused(device):
    model = torch.nn.LazyLinear(2) if device == "lazy" else torch.nn.Linear(2, 2, device=device)
    with pytest.raises(LipverifyError, match=f"(?s)has no numbers.*{device}"):
        trace(model.eval(), torch.ones(1, 2))


def test_weights_of_eight_bit_floats_are_refused_by_their_dtype():
    model = Lambda(lambda x, w: x * w.to(x.dtype), torch.ones(2).to(torch.float8_e4m3fn)).eval()
    with pytest.raises(LipverifyError, match="float8_e4m3fn"):
        check_weights(trace(model, torch.ones(1, 2)))


def test_control_flow_that_depends_on_values_is_unsupported_by_name():
    def branch(x, w):
        return torch.cond(x.sum() > 0, lambda v: v * 10, lambda v: v * 1, (x * w,))

    program = trace(Lambda(branch, torch.ones(2)).eval(), torch.ones(1, 2))
    (operation,) = [op for op in program.operations if op.target == "cond"]
    assert any(str(a).startswith("graph ") for a in operation.args) and regions(program)
    report = lipverify.audit(program, verifiers=["spectral"], bounds_only=True)
    assert report.regions[0].upper is None and report.regions[0].reason


class Numbered(torch.nn.Module):
    def forward(self, x):
        return {"1": x * 2, "0": x * 5, "a.b": x * 3, "a": {"b": x * 4}}


@pytest.mark.parametrize("output", ["0", "1", "a.b"])
def test_a_text_that_means_two_outputs_is_refused_and_an_integer_is_a_number(output):
    program = trace(Numbered().eval(), torch.ones(1, 2))
    with pytest.raises(LipverifyError, match="may be any of 2"):
        lipverify.focus(program, output=output)
    x = torch.ones(1, 2)
    assert [float(lipverify.focus(program, output=i)(x)[0, 0]) for i in range(4)] == [2, 5, 3, 4]
    assert [float(lipverify.focus(program, output=n)(x)[0, 0]) for n in program.outputs] == [2, 5, 3, 4]


@pytest.mark.parametrize(
    ("value", "word"),
    [(1e39, "exactly"), (10**40, "no array"), (float("inf"), "no number"), (torch.tensor(float("nan")), "no number")],
)
def test_a_held_value_is_a_finite_number_of_its_dtype(value, word):
    program = trace(torch.nn.Bilinear(2, 2, 2).eval(), (torch.ones(1, 2), torch.ones(1, 2)))
    x, t = program.inputs
    with pytest.raises(LipverifyError, match=word):
        lipverify.focus(program, x, held={t: value})
    assert lipverify.focus(program, x, held={t: 0.1})


@pytest.mark.parametrize(("holds", "text"), [(("t=1", "t=2"), "twice for 't'"), (("t=nan",), "nan is no number")])
def test_a_hold_is_said_once_with_a_number(home, holds, text):
    result = audit("Net", *(part for hold in holds for part in ("--hold", hold)))
    assert result.exit_code == 2 and text in result.stderr, result.output


def test_a_pickle_that_ends_the_process_is_an_error(home, tmp_path):
    class Ending:
        def __reduce__(self):
            return exit, (0,)

    torch.save(Ending(), tmp_path / "ending.pt")
    with pytest.raises(LipverifyError, match="cannot be unpickled"):
        lipverify.read_model(tmp_path / "ending.pt", Source(unsafe_load=True, shapes=[(1, 2)]))
