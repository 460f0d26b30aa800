"""Training: seeded, resumable to the bit, interruptible at any moment, on one process or many.

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
from cpl.checkpoint import FAILED, NAME, Checkpoint, load_checkpoint, refuse_unfit, save_checkpoint, unfit
from cpl.config import CPLNetConfig
from cpl.data.augment import augment
from cpl.distributed import Processes
from cpl.errors import TrainingError, reason
from cpl.losses import margin_cross_entropy, margin_hinge
from cpl.models import CPLNet
from cpl.schedules import SCHEDULES
from cpl.settings import TrainSettings

CPU = torch.device("cpu")
AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class Progress:
    """Reported after every step: epoch and step count from 1; loss is that of the last batch, over all processes."""

    epoch: int
    step: int
    steps: int
    loss: float
    rate: float


class Run:
    """A training run: model, optimizer, generator and the number of epochs done.

    Args:
        settings: what defines the run.
        config: the architecture.
        split: the images; loaded by `settings.data` and `settings.seed` if None.
        device: where the model and each batch are.
        processes: that share every batch.

    Raises:
        TrainingError: half precision that the device does not have.
        DataError: the images are not of the shape that the architecture takes, or have more classes.
    """

    def __init__(
        self,
        settings: TrainSettings,
        config: CPLNetConfig,
        *,
        split: data.Split | None = None,
        device: torch.device = CPU,
        processes: Processes | None = None,
    ) -> None:
        self.settings = settings
        self.config = config
        self.device = device
        self.processes = Processes() if processes is None else processes
        self.split = data.load_data(settings.data, seed=settings.seed) if split is None else split
        _refuse_unfit_data(self.split, config)
        if settings.precision == "float16" and device.type != "cuda":
            raise TrainingError(
                f"float16 is not trained on {device.type}",
                where="precision",
                why="its small range needs the loss scaling of a GPU",
                next_step="use bfloat16 or float32 there",
            )
        self.generator = torch.Generator().manual_seed(settings.seed)
        model = CPLNet(config, generator=self.generator)
        # the layout that convolutions prefer, on CPU and GPU
        self.model: CPLNet = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        with torch.no_grad():  # so that every power iterate has its size
            self.model.train()(torch.zeros(1, *config.image_shape, device=device))
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=settings.rate, betas=settings.betas, weight_decay=settings.weight_decay
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "float16")
        self.epoch = 0

    @classmethod
    def resume(
        cls,
        path: Path,
        *,
        split: data.Split | None = None,
        root: Path | None = None,
        device: torch.device = CPU,
        processes: Processes | None = None,
    ) -> Run:
        """Rebuilds the run of a checkpoint (a file, or the directory that holds it), on any device and processes.

        Args:
            path: the checkpoint.
            split: the images; loaded by the settings, from below `root`, if None.
            root: see `cpl.load_data`.
            device, processes: as in `Run`.

        Raises:
            CheckpointError: missing, corrupt, or its tensors do not fit its configuration.
        """
        stored = load_checkpoint(path)
        settings, config = TrainSettings.from_dict(stored.settings), CPLNetConfig.from_dict(stored.config)
        split = data.load_data(settings.data, seed=settings.seed, root=root) if split is None else split
        run = cls(settings, config, split=split, device=device, processes=processes)
        refuse_unfit(stored, run.model, run.optimizer, epochs=run.settings.epochs, steps=run.steps, where=str(path))
        try:
            run.model.load_state_dict(stored.model)
            run.optimizer.load_state_dict(stored.optimizer)
            run.generator.set_state(stored.generator)
            run.scaler.load_state_dict(stored.scaler)
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
            TrainingError: the loss is not finite; the last good checkpoint stays, and the state that failed is beside it
                in failed.pt.
            CheckpointError: the checkpoint cannot be written.
        """
        with torch_threads(self.settings.threads):
            try:
                self._train(directory, report)
            except TrainingError:
                self.save(directory, name=FAILED)
                raise

    def _train(self, directory: Path, report: Callable[[Progress], None] | None) -> None:
        self.save(directory)
        steps, total = self.steps, self.settings.epochs * self.steps
        self.model.train()
        called = self.processes.wrapped(self.model, self.device)
        while not self.finished:
            order = torch.randperm(len(self.split.train_x), generator=self.generator)
            for index, batch in enumerate(order.split(self.settings.batch_size)):
                step = self.epoch * steps + index
                rate = self._set_rate((step + 1) / (total + 1))
                x, y = self._batch(batch)
                loss = self.step(x, y, called=called, where=f"epoch {self.epoch + 1}, step {step + 1} of {total}")
                if report is not None:
                    report(Progress(self.epoch + 1, step + 1, total, loss, rate))
            self.epoch += 1
            self.save(directory)

    def _batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The whole batch, augmented as one so that any number of processes sees the same images."""
        crop, flip = self.settings.crop, self.settings.flip
        x = augment(self.split.train_x[indices], crop=crop, flip=flip, generator=self.generator)
        return x, self.split.train_y[indices]

    def step(self, x: Tensor, y: Tensor, *, called: torch.nn.Module | None = None, where: str = "a step") -> float:
        """One optimizer step on a whole batch, of which this process computes its share; returns the loss before it.

        Args:
            x, y: images (n, channels, height, width) and labels (n,) of the batch, on any device.
            called: the model as the processes call it; the model itself if None.
            where: named in the error.

        Raises:
            TrainingError: the loss is NaN or Inf; no step is taken.
        """
        called = self.model if called is None else called
        share = self.processes.share(len(x))
        mine, labels = x[share], y[share]
        weights = len(mine) / len(x)
        if len(mine) == 0:  # fewer images than processes: one image counts for nothing
            mine, labels = x[:1], y[:1]
        parts = min(self.settings.accumulation, len(mine))
        self.optimizer.zero_grad()
        total = torch.zeros((), device=self.device)
        iterates = [buffer.clone() for buffer in self.model.buffers()] if parts > 1 else []
        for number, (part, answers) in enumerate(zip(mine.chunk(parts), labels.chunk(parts), strict=True), start=1):
            last = number == len(mine.chunk(parts))
            for buffer, iterate in zip(self.model.buffers(), iterates, strict=False):
                buffer.copy_(iterate)  # every part has the step sizes of the first
            loss = self._loss(called, part, answers) * (weights * len(part) / len(mine))
            total += loss.detach()
            with contextlib.nullcontext() if last or called is self.model else called.no_sync():  # type: ignore[operator]
                self.scaler.scale(loss * self.processes.count).backward()
        value = float(self.processes.total(total))
        if not math.isfinite(value):
            raise self._not_finite(value, where)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return value

    def _loss(self, called: torch.nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """The mean loss of the settings over some images: a scalar in float32."""
        x = x.to(self.device, memory_format=torch.channels_last)
        half = AUTOCAST.get(self.settings.precision)
        with torch.autocast(self.device.type, dtype=half, enabled=half is not None):
            logits = called(x)
        logits, y, offset = logits.float(), y.to(self.device), self.settings.offset
        if self.settings.loss == "hinge":
            return margin_hinge(logits, y, offset=offset)
        return margin_cross_entropy(logits, y, offset=offset, temperature=self.settings.temperature)

    def _not_finite(self, loss: float, where: str) -> TrainingError:
        bad = [name for name, weight in self.model.named_parameters() if not bool(weight.isfinite().all())]
        slope = [name for name, weight in self.model.named_parameters() if not _finite(weight.grad)]
        found = (
            f"the weights of {bad[0]} are" if bad else f"the gradient of {slope[0]} is" if slope else "the images are"
        )
        return TrainingError(
            f"the loss is {loss}",
            where=where,
            why=f"{found} not finite; the rate may be too large",
            next_step="check the data, or lower the learning rate; the checkpoint of the last good epoch is whole",
        )

    def save(self, directory: Path, *, name: str = NAME) -> None:
        """Writes `directory`/checkpoint.pt atomically, on the first process; the others wait."""
        if self.processes.first:
            checkpoint = Checkpoint(
                settings=self.settings.to_dict(),
                config=self.config.to_dict(),
                epoch=self.epoch,
                model=self.model.state_dict(),
                optimizer=self.optimizer.state_dict(),
                generator=self.generator.get_state(),
                scaler=self.scaler.state_dict(),
            )
            save_checkpoint(checkpoint, directory / name)
        self.processes.wait()

    def _set_rate(self, done: float) -> float:
        rate = self.settings.rate * SCHEDULES[self.settings.schedule](done, self.settings.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate


def _finite(gradient: Tensor | None) -> bool:
    return gradient is None or bool(gradient.isfinite().all())


def _refuse_unfit_data(split: data.Split, config: CPLNetConfig) -> None:
    found = tuple(split.train_x.shape[1:])
    if found != config.image_shape or split.classes > config.classes:
        raise data.bad_data(
            f"images of shape {found} in {split.classes} classes",
            split.name,
            f"the architecture takes {config.image_shape} and has {config.classes} logits",
            "choose the preset for these images, or the images for this architecture",
        )


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Runs its body with `count` threads within torch's operations, then restores the number."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
