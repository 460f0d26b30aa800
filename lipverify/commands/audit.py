"""``lipverify audit`` and ``lipverify replay``: is each claim true, and does the report show it?"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lipverify import terminal
from lipverify.commands.options import At, Factory, Hold, Input, Model, Of, Shape, UnsafeLoad
from lipverify.commands.outputs import SUFFIXES, check_format, check_outputs, files_of
from lipverify.handover import Handover
from lipverify.request import Request

if TYPE_CHECKING:
    from lipverify.request import Audited


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
        str | None,
        typer.Option(
            help="l2 radius of the balls around --at: 0.1 or 36/255; a certificate states which inputs keep their class.",
            metavar="R",
        ),
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
    certificate: Annotated[
        Path | None,
        typer.Option(
            help="Write what was proved here, with --at the inputs that keep their class; see check, compare.",
            metavar="F",
        ),
    ] = None,
    evidence: Annotated[
        str | None,
        typer.Option(help="In the certificate: witnesses (by default), or full: factors, too.", metavar="WHAT"),
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
            certificate=certificate is not None,
            evidence=evidence,
            seed=seed,
        )
        check_format(format)
        request.check()
        read = {"the model": model, "--claims": claims, "--at": at, **files_of(hold)}
        check_outputs({"--output": output, "--certificate": certificate}, read)
        raise typer.Exit(_write(request, format, output, certificate))


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


def _write(request: Request, format: str, output: Path | None, certificate: Path | None) -> int:
    """Audit; write the report to stdout or whole to a file, and the certificate whole to its own; the exit code."""
    from lipverify.output import pending
    from lipverify.render.escape import visible

    with ExitStack() as files:
        report_file, certificate_file = (path and files.enter_context(pending(path)) for path in (output, certificate))
        audited, remarks = request.run(), []
        text = _rendered(audited, format, to_file=report_file is not None)
        if certificate_file is not None:
            made, remarks = request.certified(audited)
            certificate_file.commit(made)
        if report_file is not None:
            report_file.commit(text)
            text = f"wrote {visible(str(output), 1000)} ({format}); exit code {audited.exit_code}\n"
    terminal.write(text)
    if certificate is not None:
        terminal.say(f"wrote {visible(str(certificate), 1000)} (certificate)")
    for remark in remarks:
        terminal.say(remark)
    return audited.exit_code


def _rendered(audited: Audited, format: str, *, to_file: bool) -> str:
    from lipverify.render import render

    width, colour = terminal.page(to_file)
    return render(audited.report, format, exit_code=audited.exit_code, width=width, colour=colour)
