"""``lipverify compare``: what a certificate states, beside another one."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from lipverify import terminal
from lipverify.commands.outputs import check_format
from lipverify.errors import LipverifyError, quoted

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
