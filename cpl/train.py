"""Training: seeded, resumable to the bit, interruptible at any moment.

The state is saved at the end of every epoch (and before the first), never in the middle of a step. An interrupt
therefore loses at most one epoch, and a resumed run repeats it with the same numbers: the same data order (the
generator's state is saved as it was at the start of the epoch), the same optimizer state, the same schedule (a
function of the step number only).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cpl import data
from cpl.checkpoint import NAME, Checkpoint, load_checkpoint, refuse_unfit, save_checkpoint, unfit
from cpl.data.augment import augment
from cpl.errors import TrainingError, reason
from cpl.losses import margin_cross_entropy, margin_hinge
from cpl.models import CPLNet, CPLNetConfig
from cpl.schedules import SCHEDULES
from cpl.settings import TrainSettings


@dataclass(frozen=True, slots=True)
class Progress:
    """Reported after every step: epoch and step count from 1; loss is that of the last batch."""

    epoch: int
    step: int
    steps: int
    loss: float


class Run:
    """A training run: model, optimizer, generator and the number of epochs done.

    Args:
        settings: what defines the run.
        config: the architecture.
        split: the images; loaded by `settings.data` and `settings.seed` if None.
    """

    def __init__(self, settings: TrainSettings, config: CPLNetConfig, *, split: data.Split | None = None) -> None:
        self.settings = settings
        self.config = config
        self.split = data.load_data(settings.data, seed=settings.seed) if split is None else split
        self.generator = torch.Generator().manual_seed(settings.seed)
        model = CPLNet(config, generator=self.generator)
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the layout that convolutions on CPU and GPU prefer
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=settings.rate, betas=settings.betas, weight_decay=settings.weight_decay
        )
        self.epoch = 0

    @classmethod
    def resume(cls, path: Path, *, split: data.Split | None = None) -> Run:
        """Rebuilds the run of a checkpoint (a file, or the directory that holds it).

        Raises:
            CheckpointError: missing, corrupt, or its tensors do not fit its configuration.
        """
        stored = load_checkpoint(path)
        run = cls(TrainSettings.from_dict(stored.settings), CPLNetConfig.from_dict(stored.config), split=split)
        refuse_unfit(stored, run.model, run.optimizer, epochs=run.settings.epochs, steps=run.steps, where=str(path))
        try:
            run.model.load_state_dict(stored.model)
            run.optimizer.load_state_dict(stored.optimizer)
            run.generator.set_state(stored.generator)
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise unfit(str(path), reason(error)) from error
        run.epoch = stored.epoch
        return run

    @property
    def steps(self) -> int:
        """Number of steps of an epoch."""
        return math.ceil(len(self.split.train_x) / self.settings.batch_size)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return self.epoch >= self.settings.epochs

    def train(self, directory: Path, *, report: Callable[[Progress], None] | None = None) -> None:
        """Trains to the end, leaving `directory`/checkpoint.pt whole after every epoch.

        A KeyboardInterrupt passes through; the checkpoint on disk is that of the last finished epoch.

        Raises:
            TrainingError: the loss is not finite; the last good checkpoint stays.
            CheckpointError: the checkpoint cannot be written.
        """
        with torch_threads(self.settings.threads):
            self._train(directory, report)

    def _train(self, directory: Path, report: Callable[[Progress], None] | None) -> None:
        self.save(directory)
        steps = self.steps
        self.model.train()
        while not self.finished:
            order = torch.randperm(len(self.split.train_x), generator=self.generator)
            for index, batch in enumerate(order.split(self.settings.batch_size)):
                step = self.epoch * steps + index
                self._set_rate((step + 1) / (self.settings.epochs * steps + 1))
                x = augment(
                    self.split.train_x[batch],
                    crop=self.settings.crop,
                    flip=self.settings.flip,
                    generator=self.generator,
                )
                loss = self.step(x.contiguous(memory_format=torch.channels_last), self.split.train_y[batch])
                if report is not None:
                    report(Progress(self.epoch + 1, step + 1, self.settings.epochs * steps, loss))
            self.epoch += 1
            self.save(directory)

    def step(self, x: Tensor, y: Tensor) -> float:
        """One optimizer step; returns the loss before it.

        Raises:
            TrainingError: the loss is NaN or Inf; no step is taken.
        """
        loss = self.loss(self.model(x), y)
        if not bool(torch.isfinite(loss)):
            raise TrainingError(
                f"the loss is {float(loss.detach())}",
                where=f"epoch {self.epoch + 1}",
                why="the images or the weights are not finite, or the rate is too large",
                next_step="check the data, or lower the learning rate; the checkpoint of the last good epoch is whole",
            )
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        """The loss of the settings: a scalar."""
        if self.settings.loss == "hinge":
            return margin_hinge(logits, y, offset=self.settings.offset)
        return margin_cross_entropy(logits, y, offset=self.settings.offset, temperature=self.settings.temperature)

    def save(self, directory: Path) -> None:
        """Writes `directory`/checkpoint.pt atomically."""
        checkpoint = Checkpoint(
            settings=self.settings.to_dict(),
            config=self.config.to_dict(),
            epoch=self.epoch,
            model=self.model.state_dict(),
            optimizer=self.optimizer.state_dict(),
            generator=self.generator.get_state(),
        )
        save_checkpoint(checkpoint, directory / NAME)

    def _set_rate(self, done: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.rate * SCHEDULES[self.settings.schedule](done, self.settings.warmup)


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Runs its body with `count` threads within torch's operations, then restores the number."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
