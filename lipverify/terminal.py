"""What the command line does at its edges: errors, interrupts, progress, width, colour."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from lipverify.errors import LipverifyError

if TYPE_CHECKING:
    from lipverify.replay import Replayed

WIDTH = 140
"""Of reports that go to no terminal."""


@contextmanager
def guarded() -> Iterator[None]:
    """Errors become one message on stderr and an exit code; there is no traceback.

    Bad input exits 2, an interrupt 130. A defect of lipverify exits 70 (never 1, which means REFUTED); its traceback is
    shown if LIPVERIFY_TRACEBACK is set.
    """
    try:
        yield
    except LipverifyError as error:
        _say(f"error: {error}")
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        _say("interrupted: no report was written")
        raise typer.Exit(130) from None
    except MemoryError:
        _say("error: the memory of this machine does not suffice\n  next:  Audit fewer layers, or on a larger machine.")
        raise typer.Exit(2) from None
    except (typer.Exit, typer.Abort, SystemExit):
        raise
    except Exception as error:
        if type(error).__module__.startswith(("typer", "click")) or os.environ.get("LIPVERIFY_TRACEBACK"):
            raise
        _say(
            f"internal error: {type(error).__name__}: {error}"[:2000]
            + f"\n  where: {_origin(error)}"
            + "\n  why:   this is a defect of lipverify; no verdict was reached"
            + "\n  next:  Set LIPVERIFY_TRACEBACK=1, run it again, and report the traceback."
        )
        raise typer.Exit(70) from None


@contextmanager
def progress() -> Iterator[Callable[[str, str], None]]:
    """A callback ``(path, verifier)`` that shows a line on stderr while something is at work, on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda path, verifier: None
        return
    from rich.console import Console
    from rich.text import Text

    from lipverify.render.escape import visible
    from lipverify.render.outcome import place

    with Console(stderr=True).status(Text("reading the graph")) as status:
        yield lambda path, verifier: status.update(Text(f"{visible(verifier)}: {visible(place(path))}"))


def page(to_file: bool) -> tuple[int, bool]:
    """Width and whether to colour, of what stdout (or a file) is."""
    if to_file or not sys.stdout.isatty():
        return WIDTH, False
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return max(40, shutil.get_terminal_size((WIDTH, 24)).columns), not plain


def write(text: str) -> None:
    """Text on stdout; what its encoding lacks is spelled out, and a reader who has left is no error."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def replayed(done: Sequence[Replayed]) -> str:
    """A line per witness: what the report says, what is proved now, and what that means for the claim."""
    from lipverify.render.escape import lower_text, visible
    from lipverify.render.outcome import place

    lines = []
    for r in done:
        state = "reproduced" if r.reproduced else "NOT REPRODUCED"
        claim = f"; claim <= {visible(r.pair.claim, 40)}: {'REFUTED' if r.refutes else 'not refuted by this pair'}"
        lines.append(
            f"{visible(place(r.pair.path))} ({r.pair.norms}, found by {visible(r.pair.verifier)}): "
            f"report {lower_text(r.pair.ratio, 12)}, proved again {lower_text(r.proved, 12)}, {state}"
            + (claim if r.pair.claim is not None else "")
        )
    return "\n".join(lines or ["the report has no witness: nothing was replayed"]) + "\n"


def _say(message: str) -> None:
    """A message on stderr: its own lines kept, whatever else a terminal or a build log would obey spelled out."""
    from lipverify.render.escape import harmless

    lines = [harmless(line) for line in message.split("\n")]
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    sys.stderr.write("\n".join(lines).encode(encoding, "backslashreplace").decode(encoding) + "\n")


def _origin(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "unknown" if trace is None else f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"
