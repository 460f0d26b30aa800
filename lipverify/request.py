"""What the command line asks for: options as they are typed, and what they mean together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lipverify import terminal
from lipverify.errors import LipverifyError, quoted

if TYPE_CHECKING:
    from lipverify.models import Source
    from lipverify.read import Program
    from lipverify.report import Report

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An audit that is asked for on the command line.

    Attributes:
        handover: how the model is handed over.
        claims: file of the claims.
        asserted: take the claims that the model's own library asserts.
        bounds_only: judge none.
        verifiers, trusted: names.
        tight: let ``spectral`` spend up to a minute on a norm.
        radius: as typed.
        seed: of every random choice.
    """

    handover: Handover
    claims: Path | None = None
    asserted: bool = False
    bounds_only: bool = False
    verifiers: Sequence[str] | None = None
    trusted: Sequence[str] = ()
    tight: bool = False
    radius: str | None = None
    seed: int = field(default=0)

    def check(self) -> None:
        """Refuse options that do not belong together, before anything heavy is loaded.

        Raises:
            LipverifyError: naming them.
        """
        if (self.handover.at is None) != (self.radius is None) and not (self.radius is None and self._traces_at):
            raise LipverifyError(
                "--at and --radius belong together", why="a local bound holds on balls around given inputs"
            )
        sources = [name for name, on in (("--claims", self.claims), ("--asserted", self.asserted)) if on]
        if self.bounds_only and sources:
            raise LipverifyError(
                f"--bounds-only judges no claims, but {sources[0]} was given", step="Leave one of them out."
            )
        if len(sources) > 1:
            raise LipverifyError("--claims and --asserted exclude each other", step="Leave one of them out.")
        if self.asserted and not (self.handover.factory or self.handover.unsafe_load):
            raise LipverifyError(
                "--asserted needs a live module",
                why="what a library asserts of its layers is not in a file of tensors or operations",
                step="Name the code that builds the network: --factory package.module:function.",
            )

    def run(self) -> tuple[Report, int]:
        """The report and the exit code.

        Raises:
            LipverifyError: for input that cannot be read or judged.
        """
        from lipverify.auditing import audit

        radius = self._radius()
        claims: Any = None
        if self.claims is not None:
            from lipverify.claims import read_claims

            claims = read_claims(self.claims)
        verifiers = self._verifiers()
        if self.asserted:
            module, notes = self.handover.module()
            claims = _asserted(module)
            program = self.handover.traced(module, notes)
        else:
            program = self.handover.program()
        with terminal.progress() as advance:
            report = audit(
                program,
                None if self.handover.at is None else self._inputs(program),
                claims=claims,
                bounds_only=self.bounds_only,
                verifiers=verifiers,
                radius=radius,
                trusted=tuple(self.trusted),
                seed=self.seed,
                progress=advance,
                name=self.handover.model.name,
            )
        if self.bounds_only:
            return report, 0 if any(r.lower is not None or r.upper is not None for r in report.regions) else 3
        return report, report.exit_code

    @property
    def _traces_at(self) -> bool:
        """Whether ``--at`` alone makes sense: it says the shape of the input."""
        return bool(self.handover.factory or self.handover.unsafe_load)

    def _radius(self) -> Fraction | None:
        from lipverify.numerals import parse_rational

        length = None if self.radius is None else parse_rational(self.radius, "--radius")
        if length == 0:
            raise LipverifyError("--radius is 0", why="a point has no ratio", step="Give a radius above 0.")
        return length

    def _verifiers(self) -> list[Any] | None:
        from lipverify.verifiers import BUILT_IN

        chosen = list(BUILT_IN) if self.verifiers is None else list(self.verifiers)
        for name in self.trusted:
            if name not in chosen:
                raise LipverifyError(
                    f"--trust-verifier {quoted(name)} names none of the verifiers",
                    why=f"asked are {', '.join(map(quoted, chosen))}",
                    step="Name it as in --verifiers.",
                )
        if not self.tight:
            return None if self.verifiers is None else chosen
        if "spectral" not in chosen:
            raise LipverifyError("--tight is for the verifier spectral", step="Name it in --verifiers.")
        from lipverify.verifiers.spectral import Spectral

        return [Spectral(tight=True) if name == "spectral" else name for name in chosen]

    def _inputs(self, program: Program) -> Any:
        """The inputs of ``--at``: shape (k, *sample)."""
        from lipverify.read.arrays import read_array

        shape = next(iter(program.inputs.values()))
        return read_array(self.handover.at or Path(), sample=shape[1:] if shape[:1] == (1,) else shape)


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


def _asserted(module: Any) -> Any:
    from lipverify.assertions import asserted_claims

    claims = asserted_claims(module)
    if not claims:
        raise LipverifyError(
            "the model's library asserts nothing of its layers",
            why="no module of it is of a library that is known here",
            step="Write the claims into a file: --claims.",
        )
    return claims
