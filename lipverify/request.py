"""What an audit on the command line asks for: options as they are typed, and what they mean together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lipverify import terminal
from lipverify.errors import LipverifyError, quoted
from lipverify.handover import Handover

if TYPE_CHECKING:
    from lipverify.read import Program
    from lipverify.report import Report

EVIDENCE = ("witnesses", "full")
UNCHECKED = "unchecked: "
"""So the rule of a region begins whose proof no certificate holds."""


@dataclass(frozen=True, slots=True)
class Audited:
    """A report, of what program, and what the process exits with."""

    report: Report
    program: Program
    exit_code: int


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
        certificate: whether a certificate is asked for.
        evidence: what it holds beside its body, of :data:`EVIDENCE`, or None where nothing is said.
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
    certificate: bool = False
    evidence: str | None = None
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
        if self.evidence is not None and not self.certificate:
            raise LipverifyError("--evidence says what a certificate holds", step="Name its file: --certificate F.")
        if self.evidence not in (None, *EVIDENCE):
            step = f"Use {' or '.join(EVIDENCE)}."
            raise LipverifyError(f"--evidence {quoted(self.evidence)} is not known", step=step)
        if self.asserted and not (self.handover.factory or self.handover.unsafe_load):
            raise LipverifyError(
                "--asserted needs a live module",
                why="what a library asserts of its layers is not in a file of tensors or operations",
                step="Name the code that builds the network: --factory package.module:function.",
            )

    def run(self) -> Audited:
        """The report and the exit code, which ``--bounds-only`` gives another meaning.

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
            bounded = any(r.lower is not None or r.upper is not None for r in report.regions)
            return Audited(report, program, 0 if bounded else 3)
        return Audited(report, program, report.exit_code)

    def certified(self, audited: Audited) -> tuple[str, list[str]]:
        """The text of the certificate of what was audited, and what its maker should know of it, a line each.

        Raises:
            LipverifyError: where none can be made.
        """
        from lipverify.certificates import certify, dumps

        inputs = None if self.handover.at is None or self.radius is None else self._inputs(audited.program)
        certificate = certify(
            audited.program, audited.report, evidence=self.evidence or EVIDENCE[0], inputs=inputs, radius=self._radius()
        )
        remarks = _unchecked(certificate["body"]["regions"])
        if inputs is not None:
            from lipverify.samples import as_samples

            kept, given = len(certificate["body"]["margins"]), len(as_samples(audited.program, inputs))
            remarks.append(
                f"{kept} of {given} inputs keep their class within {self.radius} (shown by the bound of the whole)"
            )
        return dumps(certificate), remarks

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


def _unchecked(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which PROVED verdicts a checker has no rule for, in one line; none where it has one for all."""
    from lipverify.render.escape import visible
    from lipverify.render.outcome import place

    proved = [row for row in rows if row["verdict"] == "PROVED"]
    unchecked = [row for row in proved if row["rule"].startswith(UNCHECKED)]
    if not unchecked:
        return []
    first, verb = unchecked[0], "is" if len(unchecked) == 1 else "are"
    more = f", and {len(unchecked) - 1} more" if len(unchecked) > 1 else ""
    by = visible(first["rule"].removeprefix(UNCHECKED), 120)
    return [
        f"{len(unchecked)} of {len(proved)} PROVED {verb} UNCHECKED by the checker, which has no rule for it: "
        f"{visible(place(first['path']), 48)}, by {by}{more}"
    ]


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
