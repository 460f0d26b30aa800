"""The command line: exit codes, formats, and one clear message for every kind of bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from lipverify.claims import L2, Claim
from lipverify.cli import app
from lipverify.report import RegionReport, Report
from lipverify.verdict import Verdict

ROOT = Path(__file__).parent.parent


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def audit(*arguments):
    return run("audit", *arguments, "--verifiers", "spectral,witness")


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


def write(path: Path, *claims) -> Path:
    path.write_text(json.dumps({"claims": claims}))
    return path


def refused(result, *texts):
    """Exit 2, nothing on stdout, one message on stderr that names ``texts`` and has no traceback."""
    assert result.exit_code == 2, (result.exit_code, result.stdout, result.stderr)
    assert result.stdout == "" and "Traceback" not in result.stderr
    for text in texts:
        assert text in result.stderr, result.stderr
    return result.stderr


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


# Bad input


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


def report(options) -> Report:
    claim = Claim("0", Fraction(1), "1")
    row = RegionReport("0", L2, claim, Verdict.PROVED, None, Fraction(1), "affine", (), (), None, None)
    return Report(options["name"], "real", (row,), (), 0.0)


def test_what_the_audit_is_asked(home, stub):
    calls = stub(report)
    result = run("audit", home / "plain.pt2", "--verifiers", "a, b:C", "--trust-verifier", "b:C", "--seed", "3",
                 "--at", home / "at.npz", "--radius", "0.1", "--claims", home / "good.json")  # fmt: skip
    assert result.exit_code == 0, result.output
    (options,) = calls
    assert options["verifiers"] == ["a", "b:C"] and options["trusted"] == ("b:C",) and options["seed"] == 3
    assert options["radius"] == Fraction(1, 10) and options["claims"][0].bound == Fraction(1, 2)
    assert options["name"] == "plain.pt2"


@pytest.mark.parametrize("kind", ["missing directory", "a directory", "not writable", "write-protected file"])
def test_an_output_that_cannot_be_written_is_refused_before_the_audit(home, stub, tmp_path, kind):
    if os.geteuid() == 0 and kind in ("not writable", "write-protected file"):
        pytest.skip("nothing is protected from root")
    calls = stub(report)
    path = tmp_path / "d" / "report.json"
    if kind != "missing directory":
        path.parent.mkdir()
    if kind == "a directory":
        path.mkdir()
    if kind == "write-protected file":
        path.write_text("old")
        path.chmod(0o400)
    if kind == "not writable":
        path.parent.chmod(0o500)
    refused(run("audit", home / "plain.pt2", "--output", path), "cannot be written", "report.json")
    assert calls == []


def test_an_old_report_stays_whole_when_the_audit_fails(home, stub, tmp_path):
    path = tmp_path / "report.json"
    path.write_text("old")
    for action, code in ((interrupt, 130), (lambda options: 1 / 0, 70)):
        stub(action)
        assert run("audit", home / "plain.pt2", "--output", path).exit_code == code
        assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    stub(report)
    path.chmod(0o640)
    assert run("audit", home / "plain.pt2", "--output", path).exit_code == 0
    assert "PROVED" in path.read_text() and path.stat().st_mode & 0o777 == 0o640


def test_a_symbolic_link_is_followed(home, stub, tmp_path):
    stub(report)
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert run("audit", home / "plain.pt2", "--output", tmp_path / "link").exit_code == 0
    assert (tmp_path / "link").is_symlink() and "PROVED" in (tmp_path / "real").read_text()


@pytest.mark.parametrize("name", ["model", "claims", "at", "link", "hard link", "roundabout"])
def test_a_report_never_replaces_what_was_audited(home, stub, tmp_path, name):
    calls = stub(report)
    for file in ("plain.pt2", "good.json", "at.npz"):
        (tmp_path / file).write_bytes((home / file).read_bytes())
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    output = tmp_path / {"model": "plain.pt2", "claims": "good.json", "at": "at.npz"}.get(name, "plain.pt2")
    if name == "link":
        (tmp_path / "link").symlink_to(output)
        output = tmp_path / "link"
    if name == "hard link":
        (tmp_path / "link").hardlink_to(output)
        output = tmp_path / "link"
    if name == "roundabout":
        output = tmp_path / ".." / tmp_path.name / "plain.pt2"
    result = run("audit", tmp_path / "plain.pt2", "--claims", tmp_path / "good.json", "--at", tmp_path / "at.npz",
                 "--radius", "1", "--output", output)  # fmt: skip
    refused(result, "are one file", "next:")
    assert calls == [] and all(path.read_bytes() == data for path, data in before.items())


def interrupt(options):
    raise KeyboardInterrupt


def test_an_interrupt_is_130_with_a_short_message(home, stub):
    stub(interrupt)
    result = run("audit", home / "plain.pt2")
    assert result.exit_code == 130 and "interrupted" in result.stderr and "Traceback" not in result.stderr


def test_what_a_defect_says_stays_on_its_line(home, stub):
    def fail(options):
        raise RuntimeError("a\n::error::b")

    stub(fail)
    result = run("audit", home / "plain.pt2")
    assert result.exit_code == 70 and "\n::" not in result.stderr and "'a\\n:" in result.stderr


def test_a_defect_is_neither_1_nor_a_traceback(home, stub):
    stub(lambda options: {}["\x1b[31m"])
    result = run("audit", home / "plain.pt2")
    assert result.exit_code == 70 and "KeyError" in result.stderr and "test_cli.py:" in result.stderr
    assert "Traceback" not in result.stderr and "\x1b" not in result.stderr


def test_bounds_only_without_any_bound_is_not_0(home, stub):
    def nothing(options):
        row = RegionReport("", L2, None, None, None, None, "", (), (), "no rule", None)
        return Report("m", "real", (row,), (), 0.0)

    stub(nothing)
    assert run("audit", home / "plain.pt2", "--bounds-only").exit_code == 3


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


def process(*arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-m", "lipverify", *map(str, arguments)],
        capture_output=True, text=True, env=environment, timeout=300, **options,
    )  # fmt: skip


def test_help_does_not_wait_for_torch():
    code = "import sys; sys.argv = ['lipverify', '--help']\ntry:\n import lipverify.__main__\nexcept SystemExit: pass\n"
    code += "print(sorted(m for m in ('torch', 'numpy', 'scipy', 'cvxpy') if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.stdout.strip().endswith("[]"), done.stdout + done.stderr


def test_a_real_process(home):
    done = process("audit", home / "bad.json")
    assert done.returncode == 2 and done.stdout == "" and done.stderr.startswith("error: 'bad.json'")
    done = process("audit", home / "plain.pt2", "--claims", home / "bad.json", "--verifiers", "spectral",
                   env={"PYTHONIOENCODING": "ascii"})  # fmt: skip
    assert done.returncode == 1 and done.stderr == "" and "REFUTED" in done.stdout
    assert process("--version").returncode == 0
    assert process("--version").stdout.startswith("lipverify")


STREAMS = {
    "full stdout": (">/dev/full", 2),
    "closed stdout": (">&-", 2),
    "no reader": ("| true", 1),
    "full stderr": ("2>/dev/full", 1),
    "closed stderr": ("2>&-", 1),
    "both closed": (">&- 2>&-", 2),
}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_that_nobody_reads_changes_no_verdict_and_is_no_defect(home, name):
    """REFUTED is 1, and only REFUTED: what cannot be said is 2."""
    redirection, code = STREAMS[name]

    def shell(*arguments):
        script = f'set -o pipefail; "$0" -m lipverify "$@" {redirection}'
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            ["bash", "-c", script, sys.executable, *map(str, arguments)],
            capture_output=True, text=True, env=environment, timeout=300,
        ).returncode  # fmt: skip

    assert shell("audit", home / "plain.pt2", "--claims", home / "bad.json", "--verifiers", "spectral") == code
    assert shell("audit", home / "none.pt2") == shell("audit", "--no-such-option") == 2
    assert shell("--help") in (0, 2)
