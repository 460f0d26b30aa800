"""Files and options that nobody would write by mistake: refused with a message, in bounded time and memory."""

import contextlib
import copy
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import cpl
from cpl.cli import main

ROOT = Path(__file__).parents[2]
CONFIG = cpl.CPLNetConfig(channels=2, conv_inner=2, conv_blocks=1, dense_blocks=1, dense_inner=4)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A directory as `cpl train` leaves it, of a small network after one of two epochs."""
    out = tmp_path_factory.mktemp("run")
    run = cpl.Run(cpl.TrainSettings(epochs=2, batch_size=512), CONFIG)

    def stop(progress):
        if progress.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.train(out, report=stop)
    model = cpl.seal(run.model, CONFIG.image_shape)
    accuracy = cpl.evaluate(model, run.split.test_x, run.split.test_y)
    provenance = cpl.Provenance(run.settings.to_dict(), accuracy)
    cpl.export_model(model, out, inputs=run.split.test_x[:2], provenance=provenance)
    return out


def refused(*arguments):
    """The message of a command that ends with exit code 2; a traceback would fail the test."""
    errors = io.StringIO()
    with (
        contextlib.redirect_stderr(errors),
        contextlib.redirect_stdout(io.StringIO()),
        pytest.raises(SystemExit) as end,
    ):
        main([str(argument) for argument in arguments])
    assert end.value.code == 2
    assert all(word in errors.getvalue() for word in ("error:", "where:", "why:", "next:"))
    return errors.getvalue()


@pytest.mark.parametrize(
    "options",
    [("--seed", 2**64), ("--seed", -1), ("--epochs", 0), ("--epochs", 10**12), ("--batch-size", 2**70), ("--threads", 10**6)],
    ids=str,
)  # fmt: skip
def test_options_out_of_range(options, tmp_path):
    assert options[0][2:].replace("-", "_") in refused("train", "--out", tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "entries",
    [
        {"warmup": 1.0}, {"warmup": 2}, {"rate": 10**400}, {"rate": True}, {"seed": 2**64}, {"threads": 257},
        {"temperature": float("inf")},
    ],
    ids=str,
)  # fmt: skip
def test_settings_out_of_range(entries):
    with pytest.raises(cpl.ArgumentError, match=next(iter(entries))):
        cpl.TrainSettings(**entries)


@pytest.mark.parametrize(
    "entries",
    [
        {"channels": 10**7}, {"channels": 10 ** 5000}, {"classes": 2**40}, {"image_shape": (1, 80000, 80000)},
        {"image_shape": torch.tensor(1)}, {"image_shape": [1, 8, 8, 8]}, {"image_shape": (1, 2**60, 2**60)},
        {"conv_blocks": 10**9}, {"dense_blocks": 10**9}, {"dense_inner": 2**20}, {"kernel_size": 2**19 + 1},
        {"features": 2**30}, {"padding_mode": torch.zeros(2)}, {"conv_inner": 2**20, "channels": 2**10},
    ],
    ids=lambda entries: ",".join(entries),
)  # fmt: skip
def test_architectures_beyond_one_machine(entries):
    with pytest.raises(cpl.ArgumentError):
        cpl.CPLNetConfig(**entries)


@pytest.mark.parametrize(
    "make",
    [
        lambda: cpl.ConvexPotentialLinear(2**20, 2**20),
        lambda: cpl.ConvexPotentialConv2d(2**14, 2**14, kernel_size=9),
        lambda: cpl.NormalizedLinear(2**20, 2**20),
        lambda: cpl.NormalizedLinear(2**21, 1),
    ],
)
def test_layers_beyond_one_machine(make):
    with pytest.raises(cpl.ArgumentError):
        make()


def put(*path):
    *keys, content = path

    def change(entries):
        for key in keys[:-1]:
            entries = entries[key]
        entries[keys[-1]] = content

    return change


EXPORTS = {
    "seed": put("settings", "seed", 2**70),
    "threads": put("settings", "threads", 10**6),
    "data": put("settings", "data", ["digits"]),
    "settings": put("settings", None),
    "classes": put("config", "classes", 2**40),
    "more classes": put("config", "classes", 2**15),
    "blocks": put("config", "dense_blocks", 1000),
    "image": put("config", "image_shape", [1, 80000, 80000]),
    "axes": put("config", "image_shape", [1, 8, 8, 8]),
    "string": put("config", "channels", "x"),
}


@pytest.mark.parametrize("change", EXPORTS.values(), ids=EXPORTS)
def test_exported_facts(trained, tmp_path, change):
    facts = cpl.read_facts(trained)
    change(facts)
    tensors = load_file(trained / "model.safetensors")
    save_file(tensors, tmp_path / "model.safetensors", metadata={"facts": json.dumps(facts)})
    refused("evaluate", tmp_path)


@pytest.mark.parametrize(
    "text", ["[" * 10**5, "[" * 10**7, "[]", "{}", "9" * 5000, '{"config": {}, "seal": 1}', "null"], ids=lambda text: text[:9]
)  # fmt: skip
def test_exported_facts_that_are_none(trained, tmp_path, text):
    save_file(load_file(trained / "model.safetensors"), tmp_path / "model.safetensors", metadata={"facts": text})
    refused("evaluate", tmp_path)


@pytest.mark.parametrize("kind", [torch.int32, torch.half, torch.bool, torch.float64], ids=str)
def test_exported_tensors_of_another_type(trained, tmp_path, kind):
    with safe_open(trained / "model.safetensors", framework="pt") as file:
        metadata = file.metadata()
    tensors = {name: tensor.to(kind) for name, tensor in load_file(trained / "model.safetensors").items()}
    save_file(tensors, tmp_path / "model.safetensors", metadata=metadata)
    refused("evaluate", tmp_path)


def each_moment(entries):
    for moments in entries["optimizer"]["state"].values():
        moments["exp_avg"] = moments["exp_avg"].flatten()[:1]


CHECKPOINTS = {
    "exp_avg": each_moment,
    "exp_avg type": put("optimizer", "state", 0, "exp_avg", 3),
    "step": put("optimizer", "state", 0, "step", torch.tensor(1e9)),
    "no moments": put("optimizer", "state", {}),
    "no state": put("optimizer", {}),
    "no optimizer": put("optimizer", None),
    "one moment": lambda entries: entries["optimizer"]["state"].pop(0),
    "betas": lambda entries: entries["optimizer"]["param_groups"][0].update(betas=(2.0, 2.0)),
    "groups": put("optimizer", "param_groups", []),
    "seed": put("settings", "seed", 2**70),
    "warmup": put("settings", "warmup", 1.0),
    "threads": put("settings", "threads", 10**6),
    "channels": put("config", "channels", 10**7),
    "digits": put("config", "channels", 10**5000),
    "epoch": put("epoch", 10**9),
    "epoch 2": put("epoch", 2),
    "epoch 0": put("epoch", 0),
    "epoch type": put("epoch", 1.0),
    "weight type": put("model", "head.weight", 5),
    "weight dtype": lambda entries: put("model", "head.weight", entries["model"]["head.weight"].double())(entries),
    "iterate": put("model", "trunk.conv1.iterate", torch.zeros(1, 3, 8, 8)),
    "iterate sparse": lambda entries: put("model", "head.weight", entries["model"]["head.weight"].to_sparse())(entries),
    "model": put("model", None),
    "generator": put("generator", torch.zeros(3, dtype=torch.uint8)),
    "generator type": put("generator", 3),
}


@pytest.mark.parametrize("command", ["resume", "export"])
@pytest.mark.parametrize("change", CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_checkpoints(trained, tmp_path, change, command):
    entries = copy.deepcopy(torch.load(trained / "checkpoint.pt", weights_only=True))
    change(entries)
    torch.save(entries, tmp_path / "checkpoint.pt")
    if command == "resume":
        refused("train", "--out", tmp_path, "--resume")
    else:
        refused("export", tmp_path, "--out", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_the_honest_files_are_taken(trained, tmp_path):
    shutil.copy(trained / "checkpoint.pt", tmp_path)
    assert cpl.Run.resume(tmp_path).epoch == 1
    cpl.load_sealed(trained)


def test_sigterm_leaves_no_part_files(tmp_path):
    """The process is ended while it writes the first file: that one is absent, and so is its part."""
    code = (
        "import os, time\nos.fsync = lambda _: (print('writing', flush=True), time.sleep(60))\n"
        "from cpl.cli import main\nmain(['train', '--out', 'out', '--epochs', '1'])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"writing\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
    assert list((tmp_path / "out").iterdir()) == []
