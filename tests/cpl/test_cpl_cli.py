"""The command line and the planted fault, as a user runs them."""

import contextlib
import importlib.util
import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import cpl
from cpl.cli import main

ROOT = Path(__file__).parents[2]
FILES = {"checkpoint.pt", "model.pt2", "model.safetensors", "claims.json", "inputs.npz"}


def plant_fault():
    spec = importlib.util.spec_from_file_location("plant_fault", ROOT / "examples" / "plant_fault.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def run(*arguments, entry=main):
    """The exit code and what was printed; anything but SystemExit would be a traceback, and fails the test."""
    output, errors, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            entry([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code or 0
    return SimpleNamespace(returncode=code, stdout=output.getvalue(), stderr=errors.getvalue())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("digits")
    done = run("train", "--data", "digits", "--out", out, "--epochs", "1")
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_python_m_cpl_is_the_same_command(tmp_path):
    command = [sys.executable, "-m", "cpl", "evaluate", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 2
    assert "no such file" in done.stderr and "Traceback" not in done.stderr


def test_train_writes_and_prints_everything(trained):
    out, text = trained
    assert {path.name for path in out.iterdir()} == FILES
    rows = [line.replace("│", " ").replace("|", " ").split() for line in text.splitlines()]
    shares = {tuple(row[:2]): row[2] for row in rows if len(row) == 3 and row[2].endswith("%")}
    assert list(shares) == [("clean", "-"), *(("certified", radius) for radius in ("36/255", "72/255", "108/255", "1"))]
    values = [float(share[:-1]) for share in shares.values()]
    assert values == sorted(values, reverse=True) and 0 <= values[-1] <= values[0] <= 100
    assert {claim["layer"] for claim in json.loads((out / "claims.json").read_text())["claims"]} >= {
        "",
        "trunk",
        "head",
    }


def test_evaluate_reports_what_train_reported(trained):
    out, text = trained
    table = text[: text.index("wrote")]
    assert run("evaluate", out).stdout == table
    assert run("evaluate", out / "checkpoint.pt").stdout == table


def test_export_of_a_checkpoint_gives_the_same_tensors(trained, tmp_path):
    out, _ = trained
    assert run("export", out / "checkpoint.pt", "--out", tmp_path).returncode == 0
    for name in ("model.safetensors", "claims.json"):
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes()


def refused(done, *words):
    assert done.returncode == 2, done.stderr
    for word in ("where:", "why:", "next:", *words):
        assert word in done.stderr


def test_bad_input_is_refused_without_a_traceback(trained, tmp_path):
    out, _ = trained
    (tmp_path / "file").write_text("")
    refused(run("train", "--data", "minst", "--out", tmp_path / "a"), "minst")
    refused(run("train", "--out", tmp_path / "file" / "a", "--epochs", "1"), "cannot be written")
    refused(run("train", "--out", out, "--resume", "--seed", "5"), "seed")
    refused(run("evaluate", tmp_path), "no such file")
    refused(run("export", tmp_path / "file", "--out", tmp_path / "b"), "cannot be read")
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()


def test_an_unfinished_run_is_not_overwritten_but_resumed(tmp_path):
    cpl.Run(cpl.TrainSettings(epochs=1), cpl.CPLNetConfig()).save(tmp_path)
    refused(run("train", "--out", tmp_path, "--epochs", "1"), "unfinished", "--resume")
    assert run("train", "--out", tmp_path, "--resume").returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == FILES
    refused(run("train", "--out", tmp_path, "--epochs", "1"), "a finished run", "--overwrite")
    assert {path.name for path in tmp_path.iterdir()} == FILES


def test_planted_fault_breaks_exactly_one_block(trained, tmp_path):
    out, _ = trained
    done = run(out, "--out", tmp_path, entry=plant_fault())
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "claims.json").read_bytes() == (out / "claims.json").read_bytes()
    extra = {"claims.json": ""}
    faulty = torch.export.load(tmp_path / "model.pt2", extra_files=extra).state_dict
    assert extra["claims.json"] == (out / "claims.json").read_text()
    honest = torch.export.load(out / "model.pt2").state_dict
    changed = [name for name, tensor in honest.items() if not torch.equal(tensor, faulty[name])]
    assert changed == ["trunk.dense3.V"]
    matrix, bias = faulty["trunk.dense3.V"].double(), faulty["trunk.dense3.bias"].double()
    _, values, right = torch.linalg.svd(matrix)
    x = torch.linalg.pinv(matrix) @ (1 - bias)
    y = x + 1e-3 * right[0]

    def block(x):
        return x - matrix.t() @ torch.relu(matrix @ x + bias)

    assert float((block(x) - block(y)).norm() / (x - y).norm()) == pytest.approx(float(values[0]) ** 2 - 1)
    assert float(values[0]) ** 2 - 1 > 1.2


def test_planted_fault_refuses_what_is_no_fault(trained, tmp_path):
    out, _ = trained
    for options in (("--factor", "0.9"), ("--layer", "trunk.conv1")):
        done = run(out, "--out", tmp_path, *options, entry=plant_fault())
        assert done.returncode == 2 and "error: " in done.stderr
    assert not list(tmp_path.iterdir())


def test_interrupt_ends_with_130_and_says_how_to_go_on(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("cpl.train.Run.step", interrupted)
    done = run("train", "--out", tmp_path, "--epochs", "1")
    assert done.returncode == 130
    assert "--resume" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint.pt"}


def test_a_recipe_is_read_and_flags_have_the_last_word(tmp_path):
    recipe = tmp_path / "run.toml"
    recipe.write_text('[training]\nepochs = 3\nrate = 0.01\n[model]\npreset = "tiny"\nconv_blocks = 1\nchannels = 6\n')
    done = run("train", "--config", recipe, "--epochs", "1", "--set", "dense_blocks=1", "--set", "loss=hinge",
               "--set", "dense_inner=8", "--tensorboard", tmp_path / "events", "--out", tmp_path / "out")  # fmt: skip
    assert done.returncode == 0, done.stderr
    stored = cpl.load_checkpoint(tmp_path / "out")
    assert stored.settings["epochs"] == 1 and stored.settings["rate"] == 0.01 and stored.settings["loss"] == "hinge"
    assert stored.config["conv_blocks"] == 1 and stored.config["dense_inner"] == 8 and stored.config["conv_inner"] == 5
    assert list((tmp_path / "events").iterdir())
    done = run("evaluate", tmp_path / "out", "--attack", "--images", "8", "--steps", "2", "--radii", "0.05,36/255")
    assert done.returncode == 0, done.stderr
    assert "no attack found" in done.stdout and "36/255" in done.stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[training]\nepoch = 3", ("epochs", "[training]")),
        ("[trainin]\n", ("training",)),
        ("[model]\npreset = 'Q'", ("tiny", "XL")),
        ("epochs = ", ("cannot be read",)),
        ("[training]\nrate = -1", ("rate",)),
        ("[model]\ndeeper = [1]", ("deeper",)),
    ],
)
def test_bad_recipes_are_refused_and_say_what_was_meant(tmp_path, text, words):
    recipe = tmp_path / "run.toml"
    recipe.write_text(text)
    refused(run("train", "--config", recipe, "--out", tmp_path / "out"), *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--preset", "XXL"), "XXL"),
        (("--device", "quantum"), "quantum"),
        (("--set", "conv_iner=3"), "conv_inner"),
        (("--set", "rate"), "NAME=VALUE"),
        (("--data", "nowhere:load"), "nowhere"),
        (("--data", "cifar10", "--data-dir", "."), "cifar-10-batches-py"),
    ],
)
def test_bad_options_are_refused(tmp_path, options, word):
    refused(run("train", *options, "--out", tmp_path / "out"), word)
