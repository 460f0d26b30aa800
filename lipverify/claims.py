"""Claims: what somebody says about a network's Lipschitz constants."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from lipverify import strict_json
from lipverify.errors import ClaimError, quoted
from lipverify.numerals import decimal_text, parse_rational

__all__ = [
    "L2",
    "LOGITS",
    "Ball",
    "Claim",
    "ClaimError",
    "NormPair",
    "as_claims",
    "check_layers",
    "parse_claims",
    "read_claims",
]

MAX_FILE = 1 << 24
MAX_TOML = 1 << 14
"""Small, because the time to parse a dotted key grows with the square of its length."""
NORMS = ("l1", "l2", "linf")
EXAMPLE = 'Write {"claims": [{"layer": "features.0", "bound": "1.0"}]}; "" is the whole network.'


@dataclass(frozen=True, slots=True)
class NormPair:
    """Norms of the input and of the output: ``l2->linf`` bounds every output's own constant."""

    input: str = "l2"
    output: str = "l2"

    def __str__(self) -> str:
        return f"{self.input}->{self.output}"


L2 = NormPair()
LOGITS = NormPair("l2", "linf")


@dataclass(frozen=True, slots=True, eq=False)
class Ball:
    """The l2 ball of ``radius`` around ``center``, in the input space of the claim's layer."""

    center: np.ndarray
    radius: Fraction


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """``layer`` is Lipschitz with constant ``bound`` between ``norms``, on ``domain`` (None: the whole space).

    Attributes:
        layer: module path; "" is the whole network. Holds for every call of the module.
        bound: an exact rational, parsed from its decimal text.
        text: that text.

    Raises:
        ClaimError: where ``text`` does not spell ``bound``, or the ball is a point: what is shown must be what is judged.
    """

    layer: str
    bound: Fraction
    text: str
    norms: NormPair = L2
    domain: Ball | None = None

    def __post_init__(self) -> None:
        what = f"the bound on {quoted(self.layer)}"
        if not isinstance(self.text, str) or parse_rational(self.text, what) != self.bound:
            why = f"its text {quoted(self.text, 40)} is another number than {quoted(self.bound, 40)}"
            raise ClaimError(f"{what} says two things", why=why, step="Give the bound and its own decimal text.")
        if self.domain is not None and self.domain.radius <= 0:
            what = f"the ball of the claim on {quoted(self.layer)} has no positive radius"
            raise ClaimError(what, why="a point has no ratio", step="Give a radius above 0.")


def parse_claims(source: str | bytes | Mapping[str, Any], where: str = "the claims") -> tuple[Claim, ...]:
    """The claims in a JSON text or in an already parsed ``{"claims": [...]}``.

    Raises:
        ClaimError: naming the claim and what is wrong with it.

    >>> parse_claims('{"claims": [{"layer": "", "bound": "1.0"}]}')[0].bound
    Fraction(1, 1)
    """
    if isinstance(source, str | bytes):
        try:
            source = strict_json.loads(source, numbers_as_text=True, limit=MAX_FILE)
        except ValueError as error:
            raise ClaimError("the claims are no strict JSON", where=where, why=str(error), step=EXAMPLE) from None
    if not isinstance(source, Mapping) or not isinstance(source.get("claims"), list | tuple):
        raise ClaimError("there is no list of claims", where=where, step=EXAMPLE)
    _check_keys(source, ("claims", "version"), "the claims", where)
    version = source.get("version", 1)
    if type(version) not in (int, strict_json.Number) or str(version) != "1":
        what = f"the claims are of version {quoted(version, 40)}"
        raise ClaimError(what, where=where, why="version 1 is read", step=EXAMPLE)
    return as_claims(source["claims"], where)


def as_claims(claims: Iterable[Claim | Mapping[str, Any]], where: str = "the claims") -> tuple[Claim, ...]:
    """Claims from :class:`Claim` values and mappings alike, checked for duplicates.

    Raises:
        ClaimError: naming the claim and what is wrong with it, or that there is none.
    """
    parsed = tuple(c if isinstance(c, Claim) else _claim(c, i, where) for i, c in enumerate(claims))
    if not parsed:
        raise ClaimError("there are no claims", where=where, why="an empty list proves nothing", step=EXAMPLE)
    seen = set()
    for claim in parsed:
        ball = claim.domain
        # + 0.0: -0.0 is 0.0; without the shape: a center is read in that of the layer's input
        domain = None if ball is None else ((ball.center.reshape(-1) + 0.0).tobytes(), ball.radius)
        key = (claim.layer, claim.norms, domain)
        if key in seen:
            what = f"layer {quoted(claim.layer)} is claimed twice for {claim.norms}"
            raise ClaimError(what, where=where, step="Keep one claim per layer, norm pair and domain.")
        seen.add(key)
    return parsed


def read_claims(path: str | PathLike[str]) -> tuple[Claim, ...]:
    """The claims in a file: TOML where its suffix is ``.toml`` (16 KiB at most), else JSON.

    Raises:
        ClaimError: where it cannot be read, naming the claim and what is wrong with it.
    """
    path = Path(path)
    where = quoted(path, 300)
    toml = path.suffix.lower() == ".toml"
    limit = MAX_TOML if toml else MAX_FILE
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ClaimError("the claims cannot be read", where=where, why=reason, step="Check the path.") from None
    if len(data) > limit:
        step = "Use JSON beyond that." if toml else EXAMPLE
        raise ClaimError("the claims file is too long", where=where, why=f"the limit is {limit} bytes", step=step)
    if not toml:
        return parse_claims(data, where)
    try:
        source = tomllib.loads(data.decode(), parse_float=strict_json.Number)
    except (ValueError, RecursionError) as error:
        raise ClaimError("the claims are no TOML", where=where, why=quoted(error, 200), step=EXAMPLE) from None
    return parse_claims(source, where)


def check_layers(claims: Iterable[Claim], known: Iterable[str]) -> None:
    """Check that every claimed layer exists.

    Args:
        claims: as parsed.
        known: module paths (and calls) of the model; "" is always known.

    Raises:
        ClaimError: naming the layer and those nearest to it.
    """
    paths = {"", *known}
    for claim in claims:
        if claim.layer not in paths:
            near = difflib.get_close_matches(claim.layer[:200], sorted(paths - {""}), n=3, cutoff=0.4)
            some = ", ".join(map(quoted, near or sorted(paths)[:5]))
            step = f"Did you mean {some}?" if near else f"The model has {some}{' ...' if len(paths) > 5 else ''}"
            raise ClaimError(f"the model has no layer {quoted(claim.layer)}", where="a claim", step=step)


def _claim(entry: Any, index: int, where: str) -> Claim:
    where = f"claim {index + 1} of {where}"
    if not isinstance(entry, Mapping):
        raise ClaimError(f"a claim is no object: {quoted(entry, 40)}", where=where, step=EXAMPLE)
    layer = entry.get("layer")
    if not isinstance(layer, str) or isinstance(layer, strict_json.Number):
        raise ClaimError("a claim names no layer", where=where, why=f"layer is {quoted(layer, 40)}", step=EXAMPLE)
    _check_keys(entry, ("layer", "bound", "norm", "domain"), f"the claim on {quoted(layer)}", where)
    if "bound" not in entry:
        raise ClaimError(f"the claim on {quoted(layer)} has no bound", where=where, step=EXAMPLE)
    bound, text = _number(entry["bound"], f"the bound on {quoted(layer)}", where)
    return Claim(layer, bound, text, _norms(entry.get("norm", "l2->l2"), where), _domain(entry.get("domain"), where))


def _number(value: Any, what: str, where: str) -> tuple[Fraction, str]:
    try:
        text = decimal_text(value, what)
        return parse_rational(text, what), text
    except ClaimError as error:
        raise ClaimError(error.what, where=where, why=error.why, step=error.step) from None


def _norms(value: Any, where: str) -> NormPair:
    parts = value.replace(" ", "").split("->") if isinstance(value, str) else []
    if len(parts) != 2 or not set(parts) <= set(NORMS):
        step = "Write l2->l2 (the default) or l2->linf (every output on its own)."
        raise ClaimError(f"the norm pair {quoted(value, 40)} is not known", where=where, step=step)
    return NormPair(*parts)


def _domain(value: Any, where: str) -> Ball | None:
    if value is None:
        return None
    step = 'Write {"center": [[...]], "radius": "0.1"}, the center in the shape of the layer\'s input.'
    if not isinstance(value, Mapping) or not {"center", "radius"} <= set(value):
        raise ClaimError(f"the domain {quoted(value, 40)} is no ball", where=where, step=step)
    _check_keys(value, ("center", "radius"), "the domain", where)
    radius, _ = _number(value["radius"], "the radius of the domain", where)
    try:
        center = np.array(_floats(value["center"]), dtype=np.float64)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        what = "the center of the domain is no array of numbers"
        raise ClaimError(what, where=where, why=str(error), step=step) from None
    if not center.size or not np.isfinite(center).all():
        raise ClaimError("the center of the domain is empty or not finite", where=where, step=step)
    return Ball(center, radius)


def _floats(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "fiu":
            raise ValueError(f"it has dtype {quoted(value.dtype)}, which is not real numbers")
        return value
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_floats(v) for v in value]
    if isinstance(value, bool) or (isinstance(value, str) and not isinstance(value, strict_json.Number)):
        raise ValueError(f"{quoted(value, 40)} is no number")
    return float(value)


def _check_keys(entry: Mapping[Any, Any], known: tuple[str, ...], what: str, where: str) -> None:
    for key in entry:
        if key not in known:
            near = difflib.get_close_matches(str(key)[:80], known, n=1, cutoff=0.4)
            step = f"Did you mean {near[0]!r}?" if near else f"Known keys: {', '.join(known)}."
            raise ClaimError(f"{what} has the unknown key {quoted(key, 40)}", where=where, step=step)
