"""Command line: cpl train | evaluate | export.

Errors on bad input end with exit code 2, an interrupt with 130, SIGTERM with 143.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cpl import data
from cpl.certify import Accuracy, evaluate
from cpl.checkpoint import NAME, load_checkpoint
from cpl.errors import CheckpointError, CplError
from cpl.export import INPUTS, TENSORS, Provenance, export_model, load_sealed, read_facts
from cpl.models import CPLNet, CPLNetConfig
from cpl.sealing import seal
from cpl.settings import TrainSettings
from cpl.train import Run, torch_threads

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Train networks that are 1-Lipschitz by construction."
)
AUDITED_IMAGES = 16

Out = Annotated[Path, typer.Option("--out", help="Directory for the files; made if it does not exist.")]


@app.command("train")
def train_command(
    out: Out,
    data_name: Annotated[str, typer.Option("--data", help=f"One of: {', '.join(data.DATASETS)}.")] = "digits",
    seed: Annotated[
        int | None, typer.Option(help="Of split, weights and order. [default: 0]", show_default=False)
    ] = None,
    epochs: Annotated[int | None, typer.Option(help=f"[default: {TrainSettings().epochs}]", show_default=False)] = None,
    batch_size: Annotated[
        int | None, typer.Option(help=f"[default: {TrainSettings().batch_size}]", show_default=False)
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Of torch; part of the run. [default: 1]", show_default=False)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the checkpoint in --out.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start again although --out holds an unfinished run.")
    ] = False,
) -> None:
    """Train, seal, evaluate and export into one directory."""
    given = {"data": data_name, "seed": seed, "epochs": epochs, "batch_size": batch_size, "threads": threads}
    given = {name: entry for name, entry in given.items() if entry is not None}
    run = _resumed(out, given) if resume else _fresh(out, given, overwrite=overwrite)
    _train_with_bar(run, out)
    _ship(run, out)


@app.command("evaluate")
def evaluate_command(
    directory: Annotated[Path, typer.Argument(help="A directory with an exported model, or a checkpoint file.")],
) -> None:
    """Print clean and certified accuracy on the held-out images."""
    if directory.is_dir() and (directory / TENSORS).exists():
        model, settings = load_sealed(directory), TrainSettings.from_dict(read_facts(directory).get("settings"))
        split = data.load_data(settings.data, seed=settings.seed)
    else:
        run = Run.resume(directory)
        model, split, settings = _sealed(run), run.split, run.settings
    with torch_threads(settings.threads):
        _print_accuracy(evaluate(model, split.test_x, split.test_y))


@app.command("export")
def export_command(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint file, or the directory that holds it.")],
    out: Out,
) -> None:
    """Seal the model of a checkpoint and write model.pt2, model.safetensors, claims.json and inputs.npz."""
    _ship(Run.resume(checkpoint), out)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the console script `cpl`; the arguments default to those of the process."""
    errors = Console(stderr=True)
    try:
        with _terminable():
            app(arguments)
    except CplError as error:
        errors.print(f"[bold red]error[/]: {escape(_printable(error.what))}", highlight=False, soft_wrap=True)
        for name, text in (("where", error.where), ("why", error.why), ("next", error.next_step)):
            errors.print(f"  [bold]{name}[/]: {escape(_printable(text))}", highlight=False, soft_wrap=True)
        sys.exit(2)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Turns SIGTERM into SystemExit, so that what is half written is removed; a second one ends the process at once."""
    if threading.current_thread() is not threading.main_thread():  # only that one receives signals
        yield
        return

    def end(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _fresh(out: Path, given: dict, *, overwrite: bool) -> Run:
    if (out / NAME).exists() and not overwrite:
        stored = load_checkpoint(out)
        settings = TrainSettings.from_dict(stored.settings)
        if stored.epoch < settings.epochs:
            raise CheckpointError(
                "the directory holds an unfinished run",
                where=str(out),
                why=f"{stored.epoch} of {settings.epochs} epochs are done",
                next_step="go on with --resume, start again with --overwrite, or choose another --out",
            )
    return Run(TrainSettings(**given), CPLNetConfig())


def _resumed(out: Path, given: dict) -> Run:
    run = Run.resume(out)
    stored = run.settings.to_dict()
    for name, entry in given.items():
        if stored[name] != entry:
            raise CheckpointError(
                f"{name}={entry!r} differs from the run's {stored[name]!r}",
                where=str(out / NAME),
                why="a resumed run ends where the uninterrupted one does",
                next_step=f"leave --{name.replace('_', '-')} out, or start a new run",
            )
    return run


def _train_with_bar(run: Run, out: Path) -> None:
    columns = (
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
    )
    try:
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("train", total=None, epoch=run.epoch, loss=float("nan"))
            run.train(
                out,
                report=lambda step: bar.update(
                    task, completed=step.step, total=step.steps, epoch=step.epoch, loss=step.loss
                ),
            )
    except KeyboardInterrupt:
        typer.echo(
            f"\ninterrupted; the checkpoint of epoch {run.epoch} is in {out / NAME}; go on with --resume", err=True
        )
        raise typer.Exit(130) from None


def _sealed(run: Run) -> CPLNet:
    with torch_threads(run.settings.threads):  # bounds, hence stored tensors, are the same on every number of cores
        return seal(run.model, run.config.image_shape)


def _ship(run: Run, out: Path) -> None:
    model = _sealed(run)
    with torch_threads(run.settings.threads):
        accuracy = evaluate(model, run.split.test_x, run.split.test_y)
    written = export_model(
        model, out, inputs=run.split.test_x[:AUDITED_IMAGES], provenance=Provenance(run.settings.to_dict(), accuracy)
    )
    _print_accuracy(accuracy)
    for path in written:
        typer.echo(f"wrote {_printable(str(path))}" + (" (for the audit's --at)" if path.name == INPUTS else ""))


def _print_accuracy(accuracy: Accuracy) -> None:
    table = Table("accuracy", "l2 radius", "share", title=f"{accuracy.images} held-out images")
    table.add_row("clean", "-", f"{accuracy.clean:.1%}")
    for radius, share in accuracy.certified:
        table.add_row("certified", f"{radius:g}", f"{share:.1%}")
    Console().print(table)


def _printable(text: str) -> str:
    """Without control characters: names and paths may hold terminal codes."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
