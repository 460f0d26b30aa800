"""Two certificates -> what became of every statement. One-sided: what is stronger than it was never fails."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

from lipverify.baseline.origin import Origin, functions, origin
from lipverify.baseline.stated import Certificate, Margin, Statement
from lipverify.errors import LipverifyError, quoted
from lipverify.numerals import parse_rational
from lipverify.verdict import Verdict

NOISE = Fraction(1, 1 << 28)
"""Bounds in certificates are rounded up to 2^-30 of themselves; growth below this says nothing of the network."""
WEAKEST_FIRST = (Verdict.CONFLICT, Verdict.REFUTED, Verdict.UNSUPPORTED, Verdict.UNDECIDED, Verdict.PROVED)
_TOLERANCE = re.compile(r"upper:\+(\d{1,20}(?:\.\d{1,20})?)%|upper:\+0", re.ASCII)


class Change(Enum):
    """What became of a statement of the old certificate; ``fails`` where less is stated than was."""

    SAME = (False, "as it was")
    NOISE = (False, "its upper bound differs by less than 2^-28 of itself")
    STRONGER = (False, "more is stated than was: a smaller bound, a better verdict, a tighter claim or a first one")
    WITHIN = (False, "its upper bound grew by no more than --fail-on allows")
    RENAMED = (False, "the same maps with the same weights have another path")
    NEW = (False, "the old certificate states nothing of it")
    GROWN = (True, "its upper bound grew")
    UNBOUNDED = (True, "it had an upper bound and has none")
    WEAKER = (True, "its verdict is weaker")
    LOOSER = (True, "its claim is weaker: a larger bound, or a smaller radius")
    UNCLAIMED = (True, "its claim is gone: fewer claims than there were")
    DROPPED = (False, "the region is gone, of which nothing was stated")
    VANISHED = (True, "nothing is stated of it any more")

    def __init__(self, fails: bool, meaning: str) -> None:
        self.fails, self.meaning = fails, meaning


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Growth of an upper bound, relative to what it was, that does not fail."""

    upper: Fraction = Fraction(0)

    @classmethod
    def parse(cls, text: str) -> Tolerance:
        """The tolerance that ``upper:+1%`` spells; ``upper:+0`` allows no growth.

        Raises:
            LipverifyError: for anything else.

        >>> Tolerance.parse("upper:+0.5%").upper
        Fraction(1, 200)
        """
        found = _TOLERANCE.fullmatch(text.replace(" ", ""))
        if found is None:
            bare = re.fullmatch(r"(?:upper:?)?\+?(\d{1,20}(?:\.\d{1,20})?)%?", text.replace(" ", ""), re.ASCII)
            meant = f"Did you mean upper:+{bare[1]}%? " if bare and bare[1].strip("0.") else ""
            step = f"{meant}Write upper:+1% (fail where an upper bound grew by more than that) or upper:+0."
            raise LipverifyError(f"--fail-on {quoted(text)} is not understood", step=step)
        return cls(parse_rational(found[1] or "0") / 100)

    def change(self, old: Fraction, new: Fraction) -> Change:
        """What a change of an upper bound means."""
        if new == old:
            return Change.SAME
        if max(old, new) - min(old, new) < NOISE * old:
            return Change.NOISE
        if new < old:
            return Change.STRONGER
        return Change.GROWN if new > old * (1 + self.upper) else Change.WITHIN


@dataclass(frozen=True, slots=True)
class Pair:
    """A statement then and now.

    Attributes:
        old, new: None where nothing is stated; not both.
        changes: what became of it, never empty.
    """

    old: Statement | None
    new: Statement | None
    changes: tuple[Change, ...]

    @property
    def fails(self) -> bool:
        """Less is stated than was."""
        return any(change.fails for change in self.changes)


@dataclass(frozen=True, slots=True)
class MarginPair:
    """A margin then and now: of one input and one class.

    Attributes:
        old, new: None where nothing is stated; not both.
        change: what became of it.
    """

    old: Margin | None
    new: Margin | None
    change: Change

    @property
    def fails(self) -> bool:
        """Less is stated than was."""
        return self.change.fails


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that was stated, and everything that is.

    Attributes:
        pairs: every old statement in its order, then new ones.
        margins: every old margin in its order, then new ones.
        origin: what differs in what the statements are of and are made by.
        tolerance: what growth was allowed.
    """

    pairs: tuple[Pair, ...]
    margins: tuple[MarginPair, ...]
    origin: Origin
    tolerance: Tolerance

    @property
    def fails(self) -> bool:
        """Something that was stated is now stated less strongly, or not at all."""
        return any(pair.fails for pair in (*self.pairs, *self.margins))

    @property
    def claims(self) -> tuple[Pair, ...]:
        """Those whose claim is another one than it was, or of which one has none."""
        return tuple(p for p in self.pairs if _claimed(p.old) != _claimed(p.new))

    @property
    def exit_code(self) -> int:
        return 1 if self.fails else 0


def compare(old: Certificate | None, new: Certificate, tolerance: Tolerance = Tolerance()) -> Comparison:
    """Whether ``new`` states everything that ``old`` states, at least as strongly; of no ``old``, everything is new.

    Bounds are compared exactly. That the certificates are true is not asked here: the checker says so.
    """
    paired = [(None, s) for s in new.statements] if old is None else _paired(old, new)
    pairs = tuple(Pair(*pair, _changes(*pair, tolerance)) for pair in paired)
    margins = _margins(() if old is None else old.margins, new.margins)
    return Comparison(pairs, margins, origin(old, new), tolerance)


def _paired(old: Certificate, new: Certificate) -> list[tuple[Statement | None, Statement | None]]:
    """Each old statement with the new one that speaks of the same, then the new ones that none is paired with."""
    there = {s.key: s for s in new.statements}
    first: dict[tuple[str, str], Statement] = {}
    for s in new.statements:
        first.setdefault((s.path, s.norm), s)
    # On the same domain, else on the whole space, else on any: bounds hold everywhere, and a claim is asked for its domain.
    match = {
        s: there.get(s.key) or there.get((s.path, s.norm, None)) or first.get((s.path, s.norm)) for s in old.statements
    }
    paired = set(match.values())
    fresh = [s for s in new.statements if s not in paired]
    match |= _renamed(old, [s for s in match if match[s] is None], new, fresh)
    paired = set(match.values())
    return [*match.items(), *((None, s) for s in fresh if s not in paired)]


def _renamed(
    old: Certificate, gone: Sequence[Statement], new: Certificate, fresh: Sequence[Statement]
) -> dict[Statement, Statement]:
    """Statements that have no counterpart, with the first of the same maps and weights that has none either."""
    waiting: dict[tuple[str, str, str | None], list[Statement]] = {}
    for s, function in reversed(functions(new, fresh).items()):
        waiting.setdefault((function, s.norm, s.domain), []).append(s)
    same = {s: waiting.get((function, s.norm, s.domain), []) for s, function in functions(old, gone).items()}
    return {s: there.pop() for s, there in same.items() if there}


def _margins(old: Sequence[Margin], new: Sequence[Margin]) -> tuple[MarginPair, ...]:
    there, known = {m.key: m for m in new}, {m.key for m in old}
    pairs = [MarginPair(m, there.get(m.key), _of_radii(m, there.get(m.key))) for m in old]
    return (*pairs, *(MarginPair(None, m, Change.NEW) for m in new if m.key not in known))


def _of_radii(old: Margin, new: Margin | None) -> Change:
    if new is None:
        return Change.VANISHED
    return Change.SAME if new.radius == old.radius else Change.STRONGER if new.radius > old.radius else Change.LOOSER


def _claimed(s: Statement | None) -> tuple[Fraction | None, str | None]:
    return (None, None) if s is None else (s.bound, s.domain)


def _changes(old: Statement | None, new: Statement | None, tolerance: Tolerance) -> tuple[Change, ...]:
    if old is None:
        return (Change.NEW,)
    if new is None:
        return (Change.DROPPED if old.bound is None and old.upper is None else Change.VANISHED,)
    found = {*_of_claims(old, new), *_of_uppers(old, new, tolerance)} - {Change.SAME}
    if old.path != new.path:
        found.add(Change.RENAMED)
    return tuple(change for change in sorted(Change, key=lambda c: not c.fails) if change in found) or (Change.SAME,)


def _of_claims(old: Statement, new: Statement) -> Iterator[Change]:
    if old.bound is None or old.verdict is None:
        if new.bound is not None:
            yield Change.STRONGER
        return
    if new.bound is None or new.verdict is None or new.domain not in (old.domain, None):
        yield Change.UNCLAIMED
        return
    if new.bound > old.bound:
        yield Change.LOOSER
    steps = WEAKEST_FIRST.index(new.verdict) - WEAKEST_FIRST.index(old.verdict)
    if steps < 0:
        yield Change.WEAKER
    elif steps > 0 or new.bound < old.bound or new.domain != old.domain:
        yield Change.STRONGER


def _of_uppers(old: Statement, new: Statement, tolerance: Tolerance) -> Iterator[Change]:
    if old.upper is None:
        if new.upper is not None:
            yield Change.STRONGER
    elif new.upper is None:
        yield Change.UNBOUNDED
    else:
        yield tolerance.change(old.upper, new.upper)
