"""How a model is handed over on the command line: options as they are typed, understood."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lipverify import terminal
from lipverify.errors import LipverifyError, quoted

if TYPE_CHECKING:
    from lipverify.models import Source
    from lipverify.read import Program

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """How the model is handed over.

    Attributes:
        model: its file.
        factory, unsafe_load, input, of, hold, shape: as typed; see :class:`lipverify.models.Source`.
        at: inputs for local bounds, and for tracing where no shape is given.
    """

    model: Path
    factory: str | None = None
    shape: Sequence[str] = ()
    unsafe_load: bool = False
    input: str | None = None
    of: str | None = None
    hold: Sequence[str] = ()
    at: Path | None = None

    def source(self) -> Source:
        """The same, understood; the files of ``--hold`` are read.

        Raises:
            LipverifyError: where one is not understood.
        """
        from lipverify.models import Source

        return Source(
            factory=self.factory,
            shapes=tuple(_shape(text) for text in self.shape),
            unsafe_load=self.unsafe_load,
            input=self.input,
            output=self.of,
            held=_holds(self.hold),
        )

    def program(self) -> Program:
        """The program of the model; code of the file runs with ``--unsafe-load`` alone, which is said on stderr first."""
        from lipverify.models import read_model

        return read_model(self.model, self._announced(), self._example())

    def module(self) -> tuple[Any, tuple[str, ...]]:
        """The live module and what to note of it, of a model that is built by a factory or unpickled."""
        from lipverify.models import read_module

        return read_module(self.model, self._announced())

    def traced(self, module: Any, notes: tuple[str, ...]) -> Program:
        """The program of that module."""
        from lipverify.models import trace_module

        return trace_module(module, self.model, notes, self.source(), self._example())

    def _announced(self) -> Source:
        source = self.source()
        if self.unsafe_load:
            terminal.say(f"warning: --unsafe-load runs code of the file {quoted(self.model.name)} now")
        return source

    def _example(self) -> Any:
        if self.at is None or self.shape or not (self.factory or self.unsafe_load):
            return None
        from lipverify.read.arrays import read_array

        return read_array(self.at)


def _shape(text: str) -> tuple[int, ...]:
    sizes = text.replace("x", ",").split(",")
    if not all(size.strip().isdecimal() and size.isascii() and 0 < len(size.strip()) < 10 for size in sizes):
        raise LipverifyError(f"--shape {quoted(text)} is no shape", step="Write it as 1,3,32,32, batch axis first.")
    shape = tuple(int(size) for size in sizes)
    total = 1
    for size in shape:
        total *= size
    if not 0 < total <= 1 << 28:
        raise LipverifyError(f"--shape {quoted(text)} has {total} entries", step="Give the shape of one input.")
    return shape


def _holds(texts: Sequence[str]) -> dict[str, Any]:
    held: dict[str, Any] = {}
    for text in texts:
        name, value = _held(text)
        if name in held:
            raise LipverifyError(
                f"--hold is given twice for {quoted(name)}", why="it has one value", step="Leave one of them out."
            )
        held[name] = value
    return held


def _held(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise LipverifyError(
            f"--hold {quoted(text)} holds nothing", step="Write NAME=0.5, which fills it, or NAME=values.npy."
        )
    if _NUMBER.fullmatch(value):
        return name, int(value) if value.lstrip("+-").isdecimal() and len(value) < 20 else float(value)
    if value.lower().lstrip("+-") in ("nan", "inf", "infinity"):
        raise LipverifyError(f"--hold {quoted(text)}: {value} is no number", step="Hold it at a finite number.")
    from lipverify.read.arrays import read_array

    return name, read_array(value)
