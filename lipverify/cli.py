"""The command line: ``lipverify audit`` and ``lipverify replay``. Everything heavy is imported when it is needed."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lipverify import terminal

if TYPE_CHECKING:
    import numpy as np

    from lipverify.read import Program

FORMATS = ("text", "json", "markdown")
SUFFIXES = {".json": "json", ".md": "markdown"}
EXITS = """
Exit codes: 0 every claim is PROVED; 1 a claim is REFUTED or bounds are in CONFLICT; 2 usage or unreadable input;
3 something is UNDECIDED or UNSUPPORTED, or nothing was claimed; 70 a defect of lipverify; 130 interrupted.
"""

app = typer.Typer(
    name="lipverify",
    help="Independent verification of Lipschitz claims of trained networks.",
    epilog=EXITS,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        from lipverify import __version__

        typer.echo(f"lipverify {__version__}")
        raise typer.Exit(0)


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


@app.command(epilog=EXITS)
def audit(
    model: Annotated[
        Path, typer.Argument(help="A .pt2 file of torch.export.save.", metavar="MODEL", show_default=False)
    ],
    claims: Annotated[
        Path | None, typer.Option(help="Claims as JSON or TOML; without, those inside the model.", metavar="F")
    ] = None,
    verifiers: Annotated[
        str | None,
        typer.Option(help="Comma-separated names; package.module:Name loads a third party's.", metavar="A,B"),
    ] = None,
    at: Annotated[
        Path | None, typer.Option(help="Inputs (.npz or .npy, shape (k, *sample)) for local bounds.", metavar="DATA")
    ] = None,
    radius: Annotated[
        str | None, typer.Option(help="l2 radius of the balls around --at: 0.1 or 36/255.", metavar="R")
    ] = None,
    trust_verifier: Annotated[
        list[str] | None,
        typer.Option(help="Let this third party's verifier prove and refute; may be repeated.", metavar="NAME"),
    ] = None,
    bounds_only: Annotated[bool, typer.Option("--bounds-only", help="Judge no claims; exit 0 with bounds.")] = False,
    format: Annotated[
        str | None, typer.Option(help="text, json or markdown; by default what --output's suffix says, else text.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write the report here, whole or not at all.", metavar="F")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of every random choice.", min=0, max=2**63 - 1)] = 0,
) -> None:
    """Check every Lipschitz claim of a model, layer by layer."""
    with terminal.guarded():
        format = format or SUFFIXES.get(output.suffix.lower() if output else "", "text")
        _usage(claims, at, radius, bounds_only, format)
        _usage_of_output(output, {"the model": model, "--claims": claims, "--at": at})
        if output is None:
            text, code = _audit(model, claims, verifiers, at, radius, trust_verifier, bounds_only, format, seed, False)
            terminal.write(text)
        else:
            from lipverify.output import pending

            with pending(output) as file:
                text, code = _audit(
                    model, claims, verifiers, at, radius, trust_verifier, bounds_only, format, seed, True
                )
                file.commit(text)
            from lipverify.render.escape import visible

            terminal.write(f"wrote {visible(str(output), 1000)} ({format}); exit code {code}\n")
        raise typer.Exit(code)


@app.command()
def replay(
    report: Annotated[Path, typer.Argument(help="A report of lipverify audit --format json.", metavar="REPORT.json")],
    model: Annotated[Path, typer.Argument(help="The model that it was made of.", metavar="MODEL")],
) -> None:
    """Evaluate every witness of a report again, and prove its ratio, on the original program.

    Exit 0 if every ratio of the report is proved again, 1 if one is not, 3 if the report has no witness.
    """
    with terminal.guarded():
        from lipverify.read import read
        from lipverify.render import replayed
        from lipverify.replay import read_witnesses
        from lipverify.replay import replay as replay_witnesses

        done = replay_witnesses(read_witnesses(report), read(model))
        terminal.write(replayed.render(done))
        raise typer.Exit(0 if done and all(r.reproduced for r in done) else 1 if done else 3)


def _usage(claims: Path | None, at: Path | None, radius: str | None, bounds_only: bool, format: str) -> None:
    from lipverify.errors import LipverifyError, quoted

    if format not in FORMATS:
        raise LipverifyError(
            f"{quoted(format)} is no report format", where="--format", step=f"Use {', '.join(FORMATS)}."
        )
    if (at is None) != (radius is None):
        raise LipverifyError(
            "--at and --radius belong together", why="a local bound holds on balls around given inputs"
        )
    if bounds_only and claims is not None:
        raise LipverifyError("--bounds-only judges no claims, but --claims was given", step="Leave one of them out.")


def _usage_of_output(output: Path | None, inputs: Mapping[str, Path | None]) -> None:
    """The report is put in place of what is at its path: that must not be what was audited."""
    from lipverify.errors import LipverifyError, quoted

    for name, path in inputs.items():
        try:
            same = output is not None and path is not None and os.path.samefile(output, path)
        except (OSError, ValueError):  # one of them is missing or no path at all, which is found out later
            same = False
        if same:
            what = f"--output and {name} are one file"
            raise LipverifyError(what, where=quoted(output, 300), step="Choose another path for the report.")


def _trusted(names: Sequence[str], chosen: Sequence[str]) -> tuple[str, ...]:
    from lipverify.errors import LipverifyError, quoted

    for name in names:
        if name not in chosen:
            raise LipverifyError(
                f"--trust-verifier {quoted(name)} names none of the verifiers",
                why=f"asked are {', '.join(map(quoted, chosen))}",
                step="Name it as in --verifiers.",
            )
    return tuple(names)


def _audit(
    model: Path,
    claims: Path | None,
    verifiers: str | None,
    at: Path | None,
    radius: str | None,
    trusted: list[str] | None,
    bounds_only: bool,
    format: str,
    seed: int,
    to_file: bool,
) -> tuple[str, int]:
    """The rendered report and the exit code."""
    from lipverify.claims import read_claims
    from lipverify.errors import LipverifyError
    from lipverify.numerals import parse_rational

    length = None if radius is None else parse_rational(radius, "--radius")
    if length == 0:
        raise LipverifyError("--radius is 0", why="a point has no ratio", step="Give a radius above 0.")
    given = None if claims is None else read_claims(claims)
    from lipverify.auditing import audit as run
    from lipverify.read import read
    from lipverify.render import render
    from lipverify.verifiers import BUILT_IN

    chosen = None if verifiers is None else [name.strip() for name in verifiers.split(",")]
    believed = _trusted(trusted or (), chosen or tuple(BUILT_IN))
    program = read(model)
    if bounds_only:
        program = replace(program, extra={})
    inputs = None if at is None else _inputs(at, program)
    with terminal.progress() as advance:
        report = run(
            program,
            inputs,
            claims=given,
            verifiers=chosen,
            radius=length,
            trusted=believed,
            seed=seed,
            progress=advance,
            name=model.name,
        )
    code = report.exit_code
    if bounds_only:
        code = 0 if any(r.lower is not None or r.upper is not None for r in report.regions) else 3
    width, colour = terminal.page(to_file)
    return render(report, format, exit_code=code, width=width, colour=colour), code


def _inputs(path: Path, program: Program) -> np.ndarray:
    """The inputs of ``--at``: shape (k, *sample)."""
    from lipverify.read.arrays import read_array

    shape = next(iter(program.inputs.values()))
    return read_array(path, sample=shape[1:] if shape[:1] == (1,) else shape)


def main() -> None:
    """The console script."""
    sys.stdout, sys.stderr = terminal.Enduring(sys.stdout), terminal.Enduring(sys.stderr)
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
