"""The witnesses of a JSON report, proved again on the original program."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lipverify import strict_json
from lipverify.claims import L2, LOGITS, Ball, NormPair
from lipverify.errors import LipverifyError, ReadError, quoted
from lipverify.graph import regions
from lipverify.numerals import parse_rational
from lipverify.report import SCHEMA
from lipverify.rigor.enclose import NotEnclosed
from lipverify.verifiers.ratio import inside, prove_ratio

if TYPE_CHECKING:
    from lipverify.read.program import Program

MAX_REPORT = 1 << 29
_HEX = re.compile(r"-?0x[01](\.[0-9a-f]{1,13})?p[+-]?\d{1,4}", re.ASCII)
_RADIUS = re.compile(r"(\d{1,2000})(?:/(\d{1,2000}))?", re.ASCII)
STEP = "Write the report again: lipverify audit MODEL --format json --output report.json"


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A witness as a report states it: ``verifier`` says that x and y show ``ratio`` on the region ``path``.

    ``claim`` is the bound that was claimed there, on the ball ``domain`` (None: on the whole space).
    """

    path: str
    norms: NormPair
    claim: str | None
    domain: Ball | None
    verifier: str
    x: np.ndarray
    y: np.ndarray
    ratio: Fraction


@dataclass(frozen=True, slots=True, eq=False)
class Replayed:
    """What a witness shows when it is evaluated again.

    Attributes:
        pair: the witness.
        proved: a lower bound of its ratio, 0 where nothing is shown.
        inside: both inputs lie in the claim's ball; a pair outside it says nothing of the claim.
    """

    pair: Pair
    proved: Fraction
    inside: bool

    @property
    def reproduced(self) -> bool:
        """At least the ratio of the report is proved again, on the domain that the report speaks of."""
        return self.inside and self.proved >= self.pair.ratio

    @property
    def refutes(self) -> bool:
        """The ratio is above the claim."""
        return self.inside and self.pair.claim is not None and self.proved > parse_rational(self.pair.claim)


def read_witnesses(path: str | PathLike[str]) -> tuple[Pair, ...]:
    """The witnesses of a JSON report.

    Raises:
        ReadError: where the file is no such report.
    """
    path = Path(path)
    where = quoted(path, 300)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_REPORT + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ReadError("the report cannot be read", where=where, why=reason, step="Check the path.") from None
    if len(data) > MAX_REPORT:
        raise ReadError("the report is too long", where=where, why=f"the limit is {MAX_REPORT} bytes", step=STEP)
    try:
        report = strict_json.loads(data, numbers_as_text=True, limit=MAX_REPORT)
        if report["schema"] != SCHEMA:
            raise ValueError(f"its schema is {quoted(report['schema'])}; {SCHEMA} is read")
        return tuple(
            _pair(region, evidence)
            for region in report["regions"]
            for evidence in region["evidence"]
            if evidence.get("witness") is not None
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, LipverifyError) as error:
        why = f"{type(error).__name__}: {quoted(error, 200)}"
        raise ReadError("the file is no JSON report of lipverify", where=where, why=why, step=STEP) from None


def replay(pairs: Iterable[Pair], program: Program) -> tuple[Replayed, ...]:
    """Every witness proved again.

    Args:
        pairs: as a report states them.
        program: of the model that the report was made of.

    Raises:
        ReadError: where a witness does not fit the model, or its ratio cannot be enclosed.
    """
    pairs = tuple(pairs)
    parts = regions(program) if pairs else {}
    done = []
    for pair in pairs:
        what = f"the witness on {quoted(pair.path)} does not fit the model"
        step = "Name the model that the report was made of."
        region = parts.get(pair.path)
        if region is None or region.program is None:
            why = "the model has no such region" if region is None else region.unsupported or "it has no program"
            raise ReadError(what, where="the report", why=quoted(why, 300), step=step)
        shape = next(iter(region.program.inputs.values()))
        if shape != pair.x.shape or (pair.domain is not None and pair.domain.center.size != pair.x.size):
            why = f"its input has shape {shape}, the witness {pair.x.shape}"
            why = why if shape != pair.x.shape else "the center of its ball has another size"
            raise ReadError(what, where="the report", why=why, step=step)
        within = pair.domain is None or all(inside(v, pair.domain) for v in (pair.x, pair.y))
        try:
            proved = prove_ratio(region.program, pair.x, pair.y, pair.norms)
        except (NotEnclosed, ValueError, ArithmeticError, RuntimeError) as error:
            what = f"the ratio of the witness on {quoted(pair.path)} cannot be enclosed"
            why = f"{type(error).__name__}: {quoted(error, 300)}"
            raise ReadError(what, where="the report", why=why, step=step) from None
        done.append(Replayed(pair, proved, within))
    return tuple(done)


def _pair(region: Mapping[str, Any], evidence: Mapping[str, Any]) -> Pair:
    witness = evidence["witness"]
    shape = _shape(witness["shape"])
    x, y = (_array(witness[name], shape) for name in ("x", "y"))
    norms = next((n for n in (L2, LOGITS) if str(n) == region["norm"]), None)
    if norms is None:
        raise ValueError(f"a ratio in the norm pair {quoted(region['norm'])} cannot be proved")
    claim, path, verifier = region["claim"], region["path"], evidence["verifier"]
    if not all(type(text) is str for text in (path, verifier, witness["ratio"], "" if claim is None else claim)):
        raise ValueError("a path, a verifier, a claim or a ratio is no text")
    if claim is not None:
        parse_rational(claim, "the claim")
    ratio = parse_rational(witness["ratio"], "the ratio")
    return Pair(path, norms, claim, _domain(region["domain"]), verifier, x, y, ratio)


def _domain(value: Any) -> Ball | None:
    if value is None:
        return None
    radius = _RADIUS.fullmatch(value["radius"])
    if radius is None or int(radius[2] or "1") == 0 or int(radius[1]) == 0:
        raise ValueError(f"the radius {quoted(value['radius'])} is no positive ratio")
    return Ball(_array(value["center"], _shape(value["shape"])), Fraction(int(radius[1]), int(radius[2] or "1")))


def _shape(value: Any) -> tuple[int, ...]:
    """A list of numbers, as the report's JSON is read: by their text."""
    if not isinstance(value, list) or len(value) > 32:
        raise ValueError(f"the shape {quoted(value)} is no list of numbers")
    if not all(type(n) is strict_json.Number and n.isdecimal() and len(n) < 13 for n in value):
        raise ValueError(f"the shape {quoted(value)} is no list of natural numbers")
    return tuple(int(n) for n in value)


def _array(nested: Any, shape: tuple[int, ...]) -> np.ndarray:
    flat = [nested]
    for n in shape:
        if any(not isinstance(part, list) or len(part) != n for part in flat):
            raise ValueError(f"a witness is not nested as its shape {shape}")
        flat = [item for part in flat for item in part]
    if len(flat) != prod(shape) or any(not isinstance(v, str) or not _HEX.fullmatch(v) for v in flat):
        raise ValueError("a witness holds something else than exact hexadecimal floats")
    return np.array([float.fromhex(v) for v in flat]).reshape(shape)
