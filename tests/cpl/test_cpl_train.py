"""Training: the loss falls, a run resumes to the bit, and an interrupt or NaN leaves a whole checkpoint."""

import math
import sys

import pytest
import torch

import cpl
from cpl.checkpoint import NAME
from cpl.data import Split
from cpl.schedules import SCHEDULES

CONFIG = cpl.CPLNetConfig(channels=4, conv_inner=4, conv_blocks=1, dense_blocks=1, dense_inner=8)
SETTINGS = cpl.TrainSettings(epochs=4, batch_size=32)


@pytest.fixture(scope="module")
def split():
    digits = cpl.load_data("digits", seed=0)
    return Split(
        "digits", digits.train_x[:128], digits.train_y[:128], digits.test_x[:50], digits.test_y[:50], classes=10
    )


def weights(run):
    return run.model.state_dict()


def same(first, second):
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items()) and first.keys() == second.keys()


def interrupt_at(step):
    def report(progress):
        if progress.step == step:
            raise KeyboardInterrupt

    return report


def test_digits_are_split_by_seed():
    first, again, other = (cpl.load_data("digits", seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.test_x, again.test_x)
    assert not torch.equal(first.test_x, other.test_x)
    assert first.train_x.shape[1:] == (1, 8, 8)
    assert len(first.train_x) + len(first.test_x) == 1797
    assert float(first.train_x.min()) == 0.0 and float(first.train_x.max()) == 1.0
    assert first.train_x.dtype == torch.float32


def test_unknown_data_is_refused():
    with pytest.raises(cpl.DataError, match="digits"):
        cpl.load_data("digit", seed=0)


def test_missing_scikit_learn_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(cpl.DataError, match=r"lipverify\[train\]"):
        cpl.load_data("digits", seed=0)


def test_the_loss_falls(split, tmp_path):
    losses = []
    threads = torch.get_num_threads()
    cpl.Run(SETTINGS, CONFIG, split=split).train(tmp_path, report=lambda progress: losses.append(progress.loss))
    assert torch.get_num_threads() == threads
    assert len(losses) == 16
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])


def test_equal_seeds_give_equal_weights(split, tmp_path):
    runs = [cpl.Run(SETTINGS, CONFIG, split=split) for _ in range(2)]
    for run in runs:
        run.train(tmp_path)
    assert same(weights(runs[0]), weights(runs[1]))


@pytest.mark.parametrize("step", [1, 4, 6, 9, 16])
def test_interrupted_and_resumed_ends_at_the_same_bits(split, tmp_path, step):
    whole = cpl.Run(SETTINGS, CONFIG, split=split)
    whole.train(tmp_path / "whole")
    torn = cpl.Run(SETTINGS, CONFIG, split=split)
    with pytest.raises(KeyboardInterrupt):
        torn.train(tmp_path / "torn", report=interrupt_at(step))
    torch.manual_seed(step)  # the global generator must not matter
    resumed = cpl.Run.resume(tmp_path / "torn", split=split)
    assert resumed.epoch == (step - 1) // 4
    resumed.train(tmp_path / "torn")
    assert resumed.finished
    assert same(weights(whole), weights(resumed))
    assert same(whole.optimizer.state_dict()["state"][0], resumed.optimizer.state_dict()["state"][0])


def test_interrupt_leaves_a_checkpoint_that_can_be_sealed(split, tmp_path):
    run = cpl.Run(SETTINGS, CONFIG, split=split)
    with pytest.raises(KeyboardInterrupt):
        run.train(tmp_path, report=interrupt_at(1))
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    cpl.seal_of(cpl.seal(cpl.Run.resume(tmp_path, split=split).model, (1, 8, 8)))


def test_interrupt_while_writing_keeps_the_old_checkpoint(split, tmp_path, monkeypatch):
    run = cpl.Run(SETTINGS, CONFIG, split=split)
    run.save(tmp_path)
    before = (tmp_path / NAME).read_bytes()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupted)
    run.epoch = 1
    with pytest.raises(KeyboardInterrupt):
        run.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert (tmp_path / NAME).read_bytes() == before


def test_nan_images_stop_training_and_keep_the_last_good_checkpoint(split, tmp_path):
    bad = split.train_x.clone()
    bad[5] = math.nan
    run = cpl.Run(SETTINGS, CONFIG, split=Split("bad", bad, split.train_y, split.test_x, split.test_y, classes=10))
    with pytest.raises(cpl.TrainingError, match=r"the loss is nan .*epoch 1, step \d of 16.*gradient of trunk"):
        run.train(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {NAME, "failed.pt"}
    stored = cpl.load_checkpoint(tmp_path)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in stored.model.values())


def losses_of(split, tmp_path, **changes):
    losses = []
    settings = cpl.TrainSettings(**{**SETTINGS.to_dict(), "epochs": 2, **changes})
    cpl.Run(settings, CONFIG, split=split).train(tmp_path, report=lambda progress: losses.append(progress.loss))
    return losses


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "hinge", "offset": 0.7},
        {"schedule": "cosine", "weight_decay": 1e-4},
        {"precision": "bfloat16"},
        {"crop": 1, "flip": True},
    ],
    ids=str,
)
def test_every_kind_of_run_trains_and_repeats(split, tmp_path, changes):
    first, again = (losses_of(split, tmp_path, epochs=6, **changes) for _ in range(2))
    assert first == again and sum(first[-4:]) < 0.95 * sum(first[:4])


def test_accumulation_computes_the_same_batches_in_parts(split, tmp_path):
    whole, parts = (losses_of(split, tmp_path, accumulation=count) for count in (1, 3))
    assert parts == pytest.approx(whole, rel=1e-3)


def test_float16_needs_a_gpu(split):
    with pytest.raises(cpl.TrainingError, match="bfloat16"):
        cpl.Run(cpl.TrainSettings(precision="float16"), CONFIG, split=split)


def test_images_of_another_shape_name_the_expected_one(split):
    other = cpl.CPLNetConfig(image_shape=(3, 8, 8))
    with pytest.raises(cpl.DataError, match=r"\(1, 8, 8\).*\(3, 8, 8\)"):
        cpl.Run(SETTINGS, other, split=split)


def test_a_full_disk_in_the_middle_of_a_checkpoint_keeps_the_old_one(split, tmp_path, monkeypatch):
    run = cpl.Run(SETTINGS, CONFIG, split=split)
    run.save(tmp_path)
    before = (tmp_path / NAME).read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    run.epoch = 1
    with pytest.raises(cpl.CheckpointError, match="No space left"):
        run.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert (tmp_path / NAME).read_bytes() == before


@pytest.mark.parametrize("name", ["triangular", "cosine"])
def test_schedules_rise_to_one_at_the_warmup_and_fall_to_zero(name):
    rate = SCHEDULES[name]
    points = [rate(step / 100, 0.2) for step in range(101)]
    assert points[0] == 0 and points[20] == pytest.approx(1) and points[100] == pytest.approx(0, abs=1e-12)
    assert points[:21] == sorted(points[:21]) and points[20:] == sorted(points[20:], reverse=True)


def test_the_hinge_is_its_definition():
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 3, 0])
    wanted = [
        sum(max(0.0, 0.7 - float(z[y]) + float(z[j])) for j in range(4) if j != y) / 4
        for z, y in zip(logits, labels, strict=True)
    ]
    assert float(cpl.margin_hinge(logits, labels, offset=0.7)) == pytest.approx(sum(wanted) / 5)


def truncated(content):
    return content[: len(content) // 2]


def flipped_header(content):
    return b"\0" * 64 + content[64:]


@pytest.mark.parametrize("damage", [truncated, flipped_header, lambda _: b"", lambda _: b"not a checkpoint"])
def test_damaged_checkpoints_are_refused(split, tmp_path, damage):
    cpl.Run(SETTINGS, CONFIG, split=split).save(tmp_path)
    (tmp_path / NAME).write_bytes(damage((tmp_path / NAME).read_bytes()))
    with pytest.raises(cpl.CheckpointError, match="cannot be read"):
        cpl.Run.resume(tmp_path, split=split)


class Payload:
    def __reduce__(self):
        return print, ("code from a checkpoint ran",)


def test_checkpoints_never_run_code(tmp_path, capsys):
    torch.save({"schema": 1, "model": Payload()}, tmp_path / NAME)
    with pytest.raises(cpl.CheckpointError):
        cpl.load_checkpoint(tmp_path)
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "change",
    [
        lambda entries: entries.pop("optimizer"),
        lambda entries: entries.update(schema=99),
        lambda entries: entries.update(epoch=-1),
        lambda entries: entries.update(config={**entries["config"], "dense_inner": 9}),
        lambda entries: entries.update(settings={}),
        lambda entries: entries.update(settings={**entries["settings"], "epochs": 0}),
        lambda entries: entries.update(model=[1, 2]),
        lambda entries: entries.update(generator="seed"),
    ],
)
def test_inconsistent_checkpoints_are_refused(split, tmp_path, change):
    cpl.Run(SETTINGS, CONFIG, split=split).save(tmp_path)
    entries = torch.load(tmp_path / NAME, weights_only=True)
    change(entries)
    torch.save(entries, tmp_path / NAME)
    with pytest.raises(cpl.CplError, match="next: "):
        cpl.Run.resume(tmp_path, split=split)


def test_missing_checkpoint(tmp_path):
    with pytest.raises(cpl.CheckpointError, match="no such file"):
        cpl.Run.resume(tmp_path)
