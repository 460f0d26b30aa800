"""A line per replayed witness: what it shows now, and what that means for the claim."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import reports

from lipverify.claims import L2
from lipverify.render import replayed
from lipverify.replay import Pair, Replayed


def shown(proved: str, inside: bool = True, claim: str | None = "1", name: str = "fc") -> str:
    pair = Pair(name, L2, claim, None, name, np.ones(1), np.zeros(1), Fraction(3, 2))
    return replayed.render([Replayed(pair, Fraction(proved), inside)])


@pytest.mark.parametrize(
    ("proved", "inside", "texts"),
    [
        ("3/2", True, ["proved again 1.5, reproduced", "claim <= 1: REFUTED"]),
        ("5/4", True, ["NOT REPRODUCED", "claim <= 1: REFUTED"]),
        ("1", True, ["NOT REPRODUCED", "claim <= 1: not refuted"]),
        ("2", False, ["NOT REPRODUCED", "this pair refutes nothing", "claim <= 1: not refuted"]),
    ],
)
def test_what_a_pair_shows(proved, inside, texts):
    for text in texts:
        assert text in shown(proved, inside)
    assert "claim" not in shown(proved, claim=None)


def test_nothing_is_said_to_be_nothing():
    assert "nothing was replayed" in replayed.render([])


def test_hostile_names_stay_on_their_line():
    text = shown("2", name=reports.HOSTILE)
    assert text.count("\n") == 1 and "\x1b" not in text and "::" not in text
