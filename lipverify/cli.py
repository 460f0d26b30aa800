"""The command line: ``lipverify audit`` and ``lipverify replay``. Everything heavy is imported when it is needed."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from lipverify import terminal
from lipverify.request import Handover, Request

FORMATS = ("text", "json", "markdown")
SUFFIXES = {".json": "json", ".md": "markdown"}
EXITS = """
Exit codes: 0 every claim is PROVED; 1 a claim is REFUTED or bounds are in CONFLICT; 2 usage or unreadable input;
3 something is UNDECIDED or UNSUPPORTED, or nothing was claimed; 70 a defect of lipverify; 130 interrupted.
"""

Model = Annotated[
    Path,
    typer.Argument(
        help="A .pt2 of torch.export.save, an .onnx, or (with --factory) a state dict: .pt, .pth, .safetensors.",
        metavar="MODEL",
        show_default=False,
    ),
]
At = Annotated[
    Path | None, typer.Option(help="Inputs (.npz or .npy, shape (k, *sample)) for local bounds.", metavar="DATA")
]
Factory = Annotated[
    str | None,
    typer.Option(
        help="Code that builds the network of a state dict. NAMING IT RUNS IT.", metavar="PACKAGE.MODULE:FUNCTION"
    ),
]
Shape = Annotated[
    list[str] | None,
    typer.Option(help="With --factory: the input's shape, as 1,3,32,32; once for every input.", metavar="N,C,H,W"),
]
UnsafeLoad = Annotated[bool, typer.Option("--unsafe-load", help="Unpickle a whole module. THIS RUNS CODE OF THE FILE.")]
Input = Annotated[str | None, typer.Option(help="Of several inputs, the one that is varied.", metavar="NAME")]
Of = Annotated[str | None, typer.Option(help="Of several outputs, the one that is judged.", metavar="OUTPUT")]
Hold = Annotated[
    list[str] | None,
    typer.Option(help="Hold another input: NAME=0.5 or NAME=values.npy; may be repeated.", metavar="NAME=VALUE"),
]

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
    model: Model,
    claims: Annotated[
        Path | None, typer.Option(help="Claims as JSON or TOML; without, those inside the model.", metavar="F")
    ] = None,
    asserted: Annotated[
        bool, typer.Option("--asserted", help="Claim what the model's own library asserts of its layers.")
    ] = False,
    verifiers: Annotated[
        str | None,
        typer.Option(help="Comma-separated names; package.module:Name loads a third party's.", metavar="A,B"),
    ] = None,
    at: At = None,
    radius: Annotated[
        str | None, typer.Option(help="l2 radius of the balls around --at: 0.1 or 36/255.", metavar="R")
    ] = None,
    trust_verifier: Annotated[
        list[str] | None,
        typer.Option(help="Let this third party's verifier prove and refute; may be repeated.", metavar="NAME"),
    ] = None,
    tight: Annotated[
        bool, typer.Option("--tight", help="Let spectral spend up to a minute on the norm of a convolution.")
    ] = False,
    bounds_only: Annotated[bool, typer.Option("--bounds-only", help="Judge no claims; exit 0 with bounds.")] = False,
    factory: Factory = None,
    shape: Shape = None,
    unsafe_load: UnsafeLoad = False,
    input: Input = None,
    of: Of = None,
    hold: Hold = None,
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
        handover = Handover(
            model=model,
            factory=factory,
            shape=shape or (),
            unsafe_load=unsafe_load,
            input=input,
            of=of,
            hold=hold or (),
            at=at,
        )
        request = Request(
            handover=handover,
            claims=claims,
            asserted=asserted,
            bounds_only=bounds_only,
            verifiers=None if verifiers is None else [name.strip() for name in verifiers.split(",")],
            trusted=trust_verifier or (),
            tight=tight,
            radius=radius,
            seed=seed,
        )
        _known_format(format)
        request.check()
        held = {f"--hold {text.partition('=')[0]}": Path(text.partition("=")[2]) for text in hold or ()}
        _usage_of_output(output, {"the model": model, "--claims": claims, "--at": at, **held})
        code = _write(request, format, output)
        raise typer.Exit(code)


@app.command()
def replay(
    report: Annotated[Path, typer.Argument(help="A report of lipverify audit --format json.", metavar="REPORT.json")],
    model: Model,
    factory: Factory = None,
    shape: Shape = None,
    unsafe_load: UnsafeLoad = False,
    input: Input = None,
    of: Of = None,
    hold: Hold = None,
) -> None:
    """Evaluate every witness of a report again, and prove its ratio, on the original program.

    The model is handed over as it was to the audit. Exit 0 if every ratio of the report is proved again, 1 if one is not,
    3 if the report has no witness.
    """
    with terminal.guarded():
        from lipverify.render import replayed
        from lipverify.replay import read_witnesses
        from lipverify.replay import replay as replay_witnesses

        handover = Handover(
            model=model,
            factory=factory,
            shape=shape or (),
            unsafe_load=unsafe_load,
            input=input,
            of=of,
            hold=hold or (),
        )
        done = replay_witnesses(read_witnesses(report), handover.program())
        terminal.write(replayed.render(done))
        raise typer.Exit(0 if done and all(r.reproduced for r in done) else 1 if done else 3)


def _write(request: Request, format: str, output: Path | None) -> int:
    """Audit, write the report to stdout or whole to a file; the exit code."""
    if output is None:
        text, code = _rendered(request, format, to_file=False)
        terminal.write(text)
        return code
    from lipverify.output import pending

    with pending(output) as file:
        text, code = _rendered(request, format, to_file=True)
        file.commit(text)
    from lipverify.render.escape import visible

    terminal.write(f"wrote {visible(str(output), 1000)} ({format}); exit code {code}\n")
    return code


def _rendered(request: Request, format: str, *, to_file: bool) -> tuple[str, int]:
    from lipverify.render import render

    report, code = request.run()
    width, colour = terminal.page(to_file)
    return render(report, format, exit_code=code, width=width, colour=colour), code


def _known_format(format: str) -> None:
    from lipverify.errors import LipverifyError, quoted

    if format not in FORMATS:
        raise LipverifyError(
            f"{quoted(format)} is no report format", where="--format", step=f"Use {', '.join(FORMATS)}."
        )


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


def main() -> None:
    """The console script."""
    sys.stdout, sys.stderr = terminal.Enduring(sys.stdout), terminal.Enduring(sys.stderr)
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
