"""The command line: every command of ``lipverify``, and what the process does at its start and end."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from lipverify import terminal
from lipverify.commands.audit import audit, replay
from lipverify.commands.certificates import check, compare, weights

AUDIT_EXITS = """
Exit codes: 0 every claim is PROVED; 1 a claim is REFUTED or bounds are in CONFLICT; 2 usage or unreadable input;
3 something is UNDECIDED or UNSUPPORTED, or nothing was claimed; 70 a defect of lipverify; 130 interrupted.
"""
CHECK_EXITS = """
Exit codes: 0 everything stated holds and every claim is PROVED; 1 something does not hold, or is not of this model;
2 usage or unreadable input; 3 something is UNCHECKED, or a claim is not PROVED; 70, 130 as of audit.
"""
COMPARE_EXITS = """
Exit codes: 0 nothing is weaker than it was, or --update; 1 something is; 2 usage, or a certificate that is missing or
unreadable; 70, 130 as of audit.
"""

app = typer.Typer(
    name="lipverify",
    help="Independent verification of Lipschitz claims of trained networks.",
    epilog=AUDIT_EXITS,
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


app.command(epilog=AUDIT_EXITS)(audit)
app.command()(replay)
app.command(epilog=CHECK_EXITS)(check)
app.command(epilog=COMPARE_EXITS)(compare)
app.command()(weights)


def main() -> None:
    """The console script."""
    sys.stdout, sys.stderr = terminal.Enduring(sys.stdout), terminal.Enduring(sys.stderr)
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
