"""The witnesses of a JSON report, proved again on the original program."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lipverify import strict_json
from lipverify.claims import NormPair
from lipverify.errors import LipverifyError, ReadError, quoted
from lipverify.numerals import parse_rational

if TYPE_CHECKING:
    from lipverify.read.program import Program

MAX_REPORT = 1 << 29
_HEX = re.compile(r"-?0x[01](\.[0-9a-f]{1,13})?p[+-]?\d{1,4}", re.ASCII)
STEP = "Write the report again: lipverify audit MODEL --format json --output report.json"


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A witness as a report states it: ``verifier`` says that x and y show ``ratio`` on the region ``path``."""

    path: str
    norms: NormPair
    claim: str | None
    verifier: str
    x: np.ndarray
    y: np.ndarray
    ratio: Fraction


@dataclass(frozen=True, slots=True, eq=False)
class Replayed:
    """What a witness shows when it is evaluated again: ``proved`` is a lower bound, 0 where nothing is shown."""

    pair: Pair
    proved: Fraction

    @property
    def reproduced(self) -> bool:
        """At least the ratio of the report is proved again."""
        return self.proved >= self.pair.ratio

    @property
    def refutes(self) -> bool:
        """The ratio is above the claim."""
        return self.pair.claim is not None and self.proved > parse_rational(self.pair.claim)


def read_witnesses(path: str | PathLike[str]) -> tuple[Pair, ...]:
    """The witnesses of a JSON report.

    Raises:
        ReadError: where the file is no such report.
    """
    path = Path(path)
    where = quoted(path, 300)
    try:
        data = path.read_bytes() if path.stat().st_size <= MAX_REPORT else None
    except OSError as error:
        raise ReadError(
            "the report cannot be read", where=where, why=error.strerror or "", step="Check the path."
        ) from None
    if data is None:
        raise ReadError("the report is too long", where=where, why=f"the limit is {MAX_REPORT} bytes", step=STEP)
    try:
        report = strict_json.loads(data, numbers_as_text=True, limit=MAX_REPORT)
        return tuple(
            _pair(region, evidence)
            for region in report["regions"]
            for evidence in region["evidence"]
            if evidence.get("witness") is not None
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, LipverifyError) as error:
        why = f"{type(error).__name__}: {quoted(error, 200)}"
        raise ReadError("the file is no JSON report of lipverify", where=where, why=why, step=STEP) from None


def replay(
    pairs: Iterable[Pair],
    programs: Callable[[str], Program | None],
    prove: Callable[[Program, np.ndarray, np.ndarray, NormPair], Fraction],
) -> tuple[Replayed, ...]:
    """Every witness proved again.

    Args:
        pairs: as a report states them.
        programs: path -> that region's part of the original program, or None.
        prove: a proved lower bound of ||f(x) - f(y)|| / ||x - y||.

    Raises:
        ReadError: where a witness does not fit the model.
    """
    done = []
    for pair in pairs:
        program = programs(pair.path)
        shape = None if program is None else next(iter(program.inputs.values()))
        if program is None or shape != pair.x.shape:
            why = (
                "the model has no such region"
                if program is None
                else f"its input has shape {shape}, not {pair.x.shape}"
            )
            what = f"the witness on {quoted(pair.path)} does not fit the model"
            raise ReadError(what, where="the report", why=why, step="Name the model that the report was made of.")
        done.append(Replayed(pair, prove(program, pair.x, pair.y, pair.norms)))
    return tuple(done)


def _pair(region: Mapping[str, Any], evidence: Mapping[str, Any]) -> Pair:
    witness = evidence["witness"]
    shape = tuple(int(n) for n in witness["shape"])
    x, y = (_array(witness[name], shape) for name in ("x", "y"))
    norms = NormPair(*str(region["norm"]).split("->"))
    claim = region["claim"]
    if claim is not None:
        parse_rational(claim, "the claim")
    return Pair(str(region["path"]), norms, claim, str(evidence["verifier"]), x, y, parse_rational(witness["ratio"]))


def _array(nested: Any, shape: tuple[int, ...]) -> np.ndarray:
    flat = [nested]
    for n in shape:
        if any(not isinstance(part, list) or len(part) != n for part in flat):
            raise ValueError(f"a witness is not nested as its shape {shape}")
        flat = [item for part in flat for item in part]
    if len(flat) != prod(shape) or any(not isinstance(v, str) or not _HEX.fullmatch(v) for v in flat):
        raise ValueError("a witness holds something else than exact hexadecimal floats")
    return np.array([float.fromhex(v) for v in flat]).reshape(shape)
