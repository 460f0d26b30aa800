"""Two processes under torchrun train what one process does, and a lost one leaves a checkpoint to go on with."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import cpl
from cpl.checkpoint import NAME, load_checkpoint
from cpl.distributed import Processes

SCRIPT = """
import json, sys, torch
from pathlib import Path
import cpl
from cpl.distributed import processes
out, epochs = Path(sys.argv[1]), int(sys.argv[2])
config = cpl.CPLNetConfig(channels=4, conv_inner=4, conv_blocks=1, dense_blocks=1, dense_inner=8)
settings = cpl.TrainSettings(epochs=epochs, batch_size=31, crop=1, flip=True)
digits = cpl.load_data("digits", seed=0)
split = cpl.Split("d", digits.train_x[:125], digits.train_y[:125], digits.test_x[:9], digits.test_y[:9], classes=10)
losses = []
with processes(torch.device("cpu")) as group:
    run = cpl.Run(settings, config, split=split, processes=group)
    # one process writes: what two write to one pipe may be mixed
    run.train(out, report=lambda step: (losses.append(step.loss), group.rank or print(step.step, flush=True)))
    (out / f"losses-{group.rank}.json").write_text(json.dumps(losses))
    torch.save({name: t for name, t in run.model.named_buffers()}, out / f"buffers-{group.rank}.pt")
"""


def started(count, out, epochs):
    """The script on `count` processes, with a free port."""
    script = out / "script.py"
    script.write_text(SCRIPT)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)] if count > 1 else []
    command = [sys.executable, *launcher, str(script), str(out), str(epochs)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(cpl.__file__).parents[1])}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The folders of a run on one process and of the same on two."""
    folders = []
    for count in (1, 2):
        out = tmp_path_factory.mktemp(f"on-{count}")
        job = started(count, out, 2)
        _, errors = job.communicate(timeout=300)
        assert job.returncode == 0, errors
        folders.append(out)
    return folders


def test_two_processes_have_the_loss_of_one_at_every_step(both):
    one, *two = (json.loads((both[i // 2]).joinpath(f"losses-{i % 2}.json").read_text()) for i in (0, 2, 3))
    assert len(one) == 10
    for losses in two:
        assert losses == pytest.approx(one, rel=0.01)


def test_power_iterates_are_the_same_on_both_processes(both):
    first, second = (torch.load(both[1] / f"buffers-{rank}.pt") for rank in (0, 1))
    assert first and all(torch.equal(first[name], second[name]) for name in first)


def test_a_checkpoint_of_two_processes_goes_on_with_one(both, tmp_path):
    stored = load_checkpoint(both[1])
    assert stored.epoch == 2
    digits = cpl.load_data("digits", seed=0)
    split = cpl.Split("d", digits.train_x[:125], digits.train_y[:125], digits.test_x, digits.test_y, classes=10)
    assert cpl.Run.resume(both[1], split=split).finished


def test_a_killed_process_ends_the_job_and_leaves_a_checkpoint(tmp_path):
    job = started(2, tmp_path, 100000)
    try:
        assert job.stdout is not None
        for line in job.stdout:
            if int(line) >= 12:
                break
        children = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
        os.kill(int(children[-1]), signal.SIGKILL)
        _, errors = job.communicate(timeout=300)
        assert job.returncode not in (0, None), errors
    finally:
        job.kill()
    assert load_checkpoint(tmp_path).epoch >= 2
    assert not list(tmp_path.glob(f".{NAME}*"))


@pytest.mark.parametrize("size", [1, 2, 7, 64])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_shares_are_the_batch(size, count):
    parts = [list(range(size))[Processes(rank, count).share(size)] for rank in range(count)]
    assert [index for part in parts for index in part] == list(range(size))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
