"""How a run is watched: a bar on the terminal, scalars for TensorBoard."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from cpl.certify import Accuracy
from cpl.errors import TrainingError
from cpl.train import Progress

EVERY = 10  # steps between two points of a curve


@contextlib.contextmanager
def progress_bar(*, shown: bool) -> Iterator[Callable[[Progress], None]]:
    """A bar on standard error, fed by calling what this yields."""
    columns = (
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
    )
    with Bar(*columns, console=Console(stderr=True), disable=not shown) as bar:
        task = bar.add_task("train", total=None, epoch=0, loss=float("nan"))

        def report(step: Progress) -> None:
            bar.update(task, completed=step.step, total=step.steps, epoch=step.epoch, loss=step.loss)

        yield report


class Scalars:
    """Writes loss, rate and accuracies where TensorBoard reads them.

    Args:
        directory: of the event files; nothing is written if None.

    Raises:
        TrainingError: tensorboard is not installed.
    """

    def __init__(self, directory: Path | None) -> None:
        self._writer = None
        if directory is not None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ModuleNotFoundError as error:
                raise TrainingError(
                    "scalars cannot be written",
                    where="--tensorboard",
                    why=str(error),
                    next_step="pip install 'lipverify[train]'",
                ) from error
            self._writer = SummaryWriter(str(directory))

    def step(self, progress: Progress) -> None:
        """Every tenth step's loss and rate."""
        if self._writer is not None and progress.step % EVERY == 0:
            self._writer.add_scalar("train/loss", progress.loss, progress.step)
            self._writer.add_scalar("train/rate", progress.rate, progress.step)

    def accuracy(self, accuracy: Accuracy, step: int) -> None:
        """Clean and certified accuracy at the end."""
        if self._writer is not None:
            self._writer.add_scalar("test/clean", accuracy.clean, step)
            for radius, share in accuracy.certified:
                self._writer.add_scalar(f"test/certified {radius:.3f}", share, step)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
