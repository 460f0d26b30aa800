"""What the command line does at its edges: errors, interrupts, progress, width, colour."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer

from lipverify.errors import LipverifyError, quoted

WIDTH = 140
"""Of reports that go to no terminal."""


@contextmanager
def guarded() -> Iterator[None]:
    """Errors become one message on stderr and an exit code; there is no traceback.

    Bad input exits 2, an interrupt 130. A defect of lipverify exits 70 (never 1, which means REFUTED), and so does foreign
    code that ends the process, whatever code it says; the traceback of a defect is shown if LIPVERIFY_TRACEBACK is set.
    """
    try:
        yield
    except LipverifyError as error:
        say(f"error: {error}")
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        say("interrupted: no report was written")
        raise typer.Exit(130) from None
    except MemoryError:
        say("error: the memory of this machine does not suffice\n  next:  Audit fewer layers, or on a larger machine.")
        raise typer.Exit(2) from None
    except (typer.Exit, typer.Abort):
        raise
    except SystemExit as error:  # of a model's or a verifier's code: its exit code would be taken for a verdict
        say(
            f"error: code of the model or of a verifier ended the process (SystemExit {quoted(error.code)})"
            + f"\n  where: {_origin(error)}"
            + "\n  why:   no verdict was reached"
            + "\n  next:  Take the call of sys.exit out of it."
        )
        raise typer.Exit(70) from None
    except Exception as error:
        if type(error).__module__.startswith(("typer", "click")) or os.environ.get("LIPVERIFY_TRACEBACK"):
            raise
        say(
            f"internal error: {type(error).__name__}: {quoted(error, 1000)}"
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


def progress_line(line: str) -> None:
    """A line on stderr about what is at work, on a terminal only."""
    if sys.stderr.isatty():
        say(line)


def page(to_file: bool) -> tuple[int, bool]:
    """Width and whether to colour, of what stdout (or a file) is."""
    if to_file or not sys.stdout.isatty():
        return WIDTH, False
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return max(40, shutil.get_terminal_size((WIDTH, 24)).columns), not plain


def write(text: str) -> None:
    """Text on stdout; what its encoding lacks is spelled out, and a reader who has left is no error.

    Raises:
        LipverifyError: where stdout is closed or full.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()
    failure = getattr(sys.stdout, "failure", None)
    if failure is not None and not isinstance(failure, BrokenPipeError):
        why = failure.strerror or str(failure)
        raise LipverifyError("the report cannot be written to stdout", why=why, step="Name a file with --output.")


class Enduring:
    """A standard stream that takes text even when nobody reads it: what went wrong first is its ``failure``.

    So a closed or full stderr cannot change an exit code, and no failure is met again when the process ends.
    """

    def __init__(self, stream: Any) -> None:
        self.failure: OSError | None = None
        if stream is None:  # Python's own mark of a descriptor that was closed when it started
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - it stays open as long as the process
            self.failure = OSError("it is closed")
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        self.failure = self.failure or error
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def say(message: str) -> None:
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
