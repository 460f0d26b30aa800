"""Command line: cpl train | evaluate | export.

Errors on bad input end with exit code 2, an interrupt with 130, SIGTERM with 143.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from cpl import data
from cpl.attacks import Attack
from cpl.certify import Accuracy, evaluate
from cpl.checkpoint import NAME, load_checkpoint
from cpl.distributed import Processes, local_device, processes
from cpl.errors import ArgumentError, CheckpointError, CplError
from cpl.export import EXPORTED, INPUTS, TENSORS, Provenance, export_model, load_sealed, read_facts
from cpl.models import CPLNet
from cpl.presets import PRESETS
from cpl.recipe import Recipe, read_changes, read_recipe
from cpl.sealing import seal
from cpl.settings import TrainSettings
from cpl.tables import print_accuracy, printable
from cpl.train import Run, torch_threads
from cpl.watch import Scalars, progress_bar

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Train networks that are 1-Lipschitz by construction."
)
AUDITED_IMAGES = 16

Out = Annotated[Path, typer.Option("--out", help="Directory for the files; made if it does not exist.")]
DataDir = Annotated[
    Path | None, typer.Option(help="Where the files of the data set are. (default: $CPL_DATA, else data)")
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")]


@app.command("train")
def train_command(
    out: Out,
    config: Annotated[Path | None, typer.Option(help="A recipe in TOML, with the tables training and model.")] = None,
    data_name: Annotated[
        str | None,
        typer.Option(
            "--data",
            help=f"{', '.join(data.DATASETS)} or package.module:function. (default: digits)",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help=f"Architecture: {', '.join(PRESETS)}. (default: digits up to 16 x 16, else S)")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of split, weights, order and augmentation. (default: 0)", show_default=False)
    ] = None,
    epochs: Annotated[int | None, typer.Option(help=f"(default: {TrainSettings().epochs})", show_default=False)] = None,
    batch_size: Annotated[
        int | None, typer.Option(help=f"(default: {TrainSettings().batch_size})", show_default=False)
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Of torch; part of the run. (default: 1)", show_default=False)
    ] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any other entry of a recipe.")
    ] = None,
    data_dir: DataDir = None,
    device: Device = "cpu",
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Less memory: compute inner values again for the backward pass.")
    ] = False,
    tensorboard: Annotated[Path | None, typer.Option(help="Directory for TensorBoard's event files.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the checkpoint in --out.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start again although --out holds a run; what it exported is removed.")
    ] = False,
) -> None:
    """Train, seal, evaluate and export into one directory; under torchrun on several processes."""
    flags = {"data": data_name, "seed": seed, "epochs": epochs, "batch_size": batch_size, "threads": threads}
    training = {name: entry for name, entry in flags.items() if entry is not None}
    recipe = Recipe() if config is None else read_recipe(config)
    recipe = recipe.updated(read_changes(changes or ())).updated(Recipe(training, {"preset": preset} if preset else {}))
    where = local_device(device)
    with processes(where) as group:
        if resume:
            run = Run.resume(out, root=data_dir, device=where, processes=group)
            _refuse_changes(run, recipe, out)
        else:
            _refuse_another_run(out, overwrite=overwrite)
            settings = recipe.settings()
            split = data.load_data(settings.data, seed=settings.seed, root=data_dir)
            run = Run(settings, recipe.config(split), split=split, device=where, processes=group)
            if group.first:
                for path in (out / name for name in EXPORTED):
                    if path.exists():  # of an earlier run: nobody shall take its model for this one's
                        path.unlink()
        run.model.recompute(recompute)
        scalars = Scalars(tensorboard if group.first else None)
        _train(run, out, group, scalars)
    if group.first:
        accuracy = _ship(run, out)
        scalars.accuracy(accuracy, run.settings.epochs * run.steps)
        scalars.close()


@app.command("evaluate")
def evaluate_command(
    directory: Annotated[Path, typer.Argument(help="A directory with an exported model, or a checkpoint file.")],
    data_dir: DataDir = None,
    attack: Annotated[bool, typer.Option("--attack", help="Also search for wrong inputs within each radius.")] = False,
    images: Annotated[int | None, typer.Option(help="Attack only the first of the held-out images.")] = None,
    steps: Annotated[int, typer.Option(help="Of each attack.")] = Attack().steps,
    restarts: Annotated[int, typer.Option(help="Of each attack.")] = Attack().restarts,
    radii: Annotated[
        str, typer.Option(help="In l2, separated by commas; fractions are welcome.")
    ] = "36/255,72/255,108/255,1",
) -> None:
    """Print clean, certified and (with --attack) empirical accuracy on the held-out images.

    An image that is certified and broken by an attack is an error, and so is one that is broken and counted as right.
    """
    wanted = _radii(radii)
    search = Attack(images=images, steps=steps, restarts=restarts) if attack else None
    if directory.is_dir() and (directory / TENSORS).exists():
        model, settings = load_sealed(directory), TrainSettings.from_dict(read_facts(directory).get("settings"))
        split = data.load_data(settings.data, seed=settings.seed, root=data_dir)
    else:
        run = Run.resume(directory, root=data_dir)
        model, split, settings = _sealed(run), run.split, run.settings
    with torch_threads(settings.threads):
        if search is None:
            accuracy = evaluate(model, split.test_x, split.test_y, radii=wanted)
        else:
            with _searching() as report:
                accuracy = evaluate(model, split.test_x, split.test_y, radii=wanted, attack=search, report=report)
    print_accuracy(accuracy)


@app.command("export")
def export_command(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint file, or the directory that holds it.")],
    out: Out,
    data_dir: DataDir = None,
) -> None:
    """Seal the model of a checkpoint and write model.pt2, model.safetensors, claims.json and inputs.npz."""
    _ship(Run.resume(checkpoint, root=data_dir), out)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the console script `cpl`; the arguments default to those of the process."""
    errors = Console(stderr=True)
    try:
        with _terminable():
            app(arguments)
    except CplError as error:
        errors.print(f"[bold red]error[/]: {escape(printable(error.what))}", highlight=False, soft_wrap=True)
        for name, text in (("where", error.where), ("why", error.why), ("next", error.next_step)):
            errors.print(f"  [bold]{name}[/]: {escape(printable(text))}", highlight=False, soft_wrap=True)
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


def _refuse_another_run(out: Path, *, overwrite: bool) -> None:
    if (out / NAME).exists() and not overwrite:
        stored = load_checkpoint(out)
        epochs = TrainSettings.from_dict(stored.settings).epochs
        raise CheckpointError(
            f"the directory holds {'an unfinished' if stored.epoch < epochs else 'a finished'} run",
            where=str(out),
            why=f"{stored.epoch} of {epochs} epochs are done",
            next_step="go on with --resume, start again with --overwrite, or choose another --out",
        )


def _refuse_changes(run: Run, recipe: Recipe, out: Path) -> None:
    """A resumed run ends where the uninterrupted one does, so what is given may only repeat what it was."""
    wanted = {**run.settings.to_dict(), **run.config.to_dict()}
    given = {**recipe.training, **recipe.model}
    if "preset" in given:
        given |= recipe.config(run.split).to_dict()
        del given["preset"]
    for name, entry in given.items():
        if wanted[name] != entry:
            raise CheckpointError(
                f"{name}={entry!r} differs from the run's {wanted[name]!r}",
                where=str(out / NAME),
                why="a resumed run ends where the uninterrupted one does",
                next_step=f"leave {name} out, or start a new run",
            )


def _train(run: Run, out: Path, group: Processes, scalars: Scalars) -> None:
    try:
        with progress_bar(shown=group.first) as report:

            def both(step):
                report(step)
                scalars.step(step)

            run.train(out, report=both)
    except KeyboardInterrupt:
        if group.first:
            typer.echo(
                f"\ninterrupted; the checkpoint of epoch {run.epoch} is in {out / NAME}; go on with --resume", err=True
            )
        raise typer.Exit(130) from None


def _sealed(run: Run) -> CPLNet:
    with torch_threads(run.settings.threads):  # bounds, hence stored tensors, are the same on every number of cores
        return seal(run.model.cpu(), run.config.image_shape)


def _ship(run: Run, out: Path) -> Accuracy:
    model = _sealed(run)
    with torch_threads(run.settings.threads):
        accuracy = evaluate(model, run.split.test_x, run.split.test_y)
    written = export_model(
        model, out, inputs=run.split.test_x[:AUDITED_IMAGES], provenance=Provenance(run.settings.to_dict(), accuracy)
    )
    print_accuracy(accuracy)
    for path in written:
        typer.echo(f"wrote {printable(str(path))}" + (" (for the audit's --at)" if path.name == INPUTS else ""))
    return accuracy


@contextlib.contextmanager
def _searching() -> Iterator:
    """Reports the images attacked so far on standard error."""
    console = Console(stderr=True)
    with console.status("attacking") as status:
        yield lambda done, count: status.update(f"attacking: {done} of {count} images")


def _radii(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(Fraction(part.strip())) for part in text.split(","))
    except (ValueError, ZeroDivisionError) as error:
        raise ArgumentError(
            f"--radii {text}", where="--radii", why=str(error), next_step="pass e.g. 36/255,0.5"
        ) from error
