"""``lipverify compare``, ``check`` and ``weights``: what a certificate states, beside another one and of a model."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from lipverify import terminal
from lipverify.commands.options import Factory, Hold, Input, Model, Of, Shape, UnsafeLoad
from lipverify.commands.outputs import check_format, check_outputs, files_of
from lipverify.errors import LipverifyError, quoted
from lipverify.handover import Handover

Baseline = Annotated[
    Path, typer.Argument(help="The certificate to hold it against: the baseline.", metavar="OLD", show_default=False)
]
Candidate = Annotated[Path, typer.Argument(help="The certificate that is judged.", metavar="NEW", show_default=False)]


def compare(
    old: Baseline,
    new: Candidate,
    fail_on: Annotated[
        str, typer.Option(help="Growth of an upper bound that fails: upper:+1% is any beyond 1 %.", metavar="upper:+P%")
    ] = "upper:+0",
    update: Annotated[
        bool, typer.Option("--update", help="Put NEW in place of OLD, after showing what changed; exit 0.")
    ] = False,
    format: Annotated[str, typer.Option(help="text, json or markdown.")] = "text",
) -> None:
    """Is anything weaker than it was? Layer by layer, one-sided: what is stronger never fails.

    A weaker verdict, a weaker or missing claim, an upper bound that grew or is gone: each fails. Neither certificate is
    checked here; lipverify check does that.
    """
    with terminal.guarded():
        check_format(format)
        from lipverify.baseline import Tolerance, read_certificate
        from lipverify.baseline import compare as compare_certificates
        from lipverify.output import pending
        from lipverify.render import compared
        from lipverify.render.escape import visible

        tolerance = Tolerance.parse(fail_on)
        judged = read_certificate(new)
        missing = not os.path.lexists(old)
        if missing and not update:
            step = f"Take NEW for it with --update, or write one: lipverify audit MODEL --certificate {old.name}"
            raise LipverifyError("there is no baseline to compare with", where=quoted(old, 300), step=step)
        comparison = compare_certificates(None if missing else read_certificate(old), judged, tolerance)
        code = 0 if update else comparison.exit_code
        width, colour = terminal.page(to_file=False)
        with pending(old) if update else nullcontext() as file:
            terminal.write(compared.render(comparison, format, exit_code=code, width=width, colour=colour))
            if file is not None:
                file.commit(judged.text)
                terminal.say(f"wrote {visible(str(old), 1000)} (the certificate of {visible(new.name)})")
        raise typer.Exit(code)


def check(
    certificate: Annotated[
        Path, typer.Argument(help="Written by lipverify audit --certificate.", metavar="CERT", show_default=False)
    ],
    model: Annotated[Path, typer.Option(help="The model that it should be of, as audit takes it.", metavar="MODEL")],
    weights: Annotated[
        Path | None,
        typer.Option(help="Check with the weights in this file instead of the model's.", metavar="F.safetensors"),
    ] = None,
    factory: Factory = None,
    shape: Shape = None,
    unsafe_load: UnsafeLoad = False,
    input: Input = None,
    of: Of = None,
    hold: Hold = None,
) -> None:
    """Is a certificate of this model, and does the checker accept every statement of it?

    The graph, the regions and the digests of the weights are derived from the model again; then lipverify_checker.py, which
    shares no code with lipverify, derives every bound. The model is handed over as it was to the audit.
    """
    with terminal.guarded():
        from lipverify.baseline import certificate_bytes

        data = certificate_bytes(certificate)
        from lipverify.checking import check as check_certificate  # here: a missing file is said before torch is loaded
        from lipverify.checking import derive

        handover = Handover(
            model=model,
            factory=factory,
            shape=shape or (),
            unsafe_load=unsafe_load,
            input=input,
            of=of,
            hold=hold or (),
        )
        outcome = check_certificate(
            data, derive(handover.program()), weights, terminal.progress_line, quoted(certificate, 300)
        )
        terminal.write(outcome.text())
        raise typer.Exit(outcome.exit_code)


def weights(
    model: Model,
    output: Annotated[Path, typer.Argument(help="A .safetensors file.", metavar="OUT", show_default=False)],
    factory: Factory = None,
    shape: Shape = None,
    unsafe_load: UnsafeLoad = False,
    input: Input = None,
    of: Of = None,
    hold: Hold = None,
) -> None:
    """Write the weights that a certificate of the model speaks of: what lipverify_checker.py reads beside it."""
    with terminal.guarded():
        from lipverify.output import pending

        check_outputs({"OUT": output}, {"MODEL": model, **files_of(hold)})
        handover = Handover(
            model=model,
            factory=factory,
            shape=shape or (),
            unsafe_load=unsafe_load,
            input=input,
            of=of,
            hold=hold or (),
        )
        with pending(output) as file:
            from safetensors.torch import save

            from lipverify.certificates import weights_of
            from lipverify.render.escape import visible

            tensors = weights_of(handover.program())
            file.commit(save(tensors))
            terminal.write(f"wrote {visible(str(output), 1000)} ({len(tensors)} tensors)\n")
