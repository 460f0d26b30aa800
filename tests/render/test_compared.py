"""Two certificates beside each other, in every format: what fails is seen first, and nothing is hidden."""

from __future__ import annotations

import json

import pytest

from lipverify.baseline import compare
from lipverify.render import FORMATS, compared
from tests.baseline.stated import certificate, edited, margin, region, stated
from tests.baseline.test_comparison import renamed


@pytest.fixture
def comparison(tmp_path):
    """One bound grew, one shrank, a margin became smaller, and a tensor is another one."""

    def edit(body):
        body["weights"]["fc1.weight"]["sha256"] = "e" * 64
        body["regions"][0]["upper"] = (1.25).hex()
        body["regions"][1]["upper"] = (1.75).hex()
        body["margins"] = [margin("0.25")]

    old = stated(tmp_path, certificate(margins=[margin("0.5")]))
    return compare(old, stated(tmp_path, edited(edit)))


def test_what_fails_comes_first(comparison):
    lines = compared.render(comparison, "text", exit_code=1).splitlines()
    assert lines[2].startswith("fc2") and lines[2].endswith("FAILS: GROWN")
    assert lines[3].startswith("fc1") and lines[3].endswith("STRONGER")
    assert "keeps class 0 within 0.5 -> 0.25  FAILS: LOOSER" in "\n".join(lines)
    assert "weights (2): 1 changed: fc1.weight" in lines
    assert lines[-1] == "4 statements, 1 as they were: 2 weaker than before. Exit code 1."


def test_colour_marks_what_fails_and_changes_no_word(comparison):
    plain = compared.render(comparison, "text", exit_code=1)
    coloured = compared.render(comparison, "text", exit_code=1, colour=True)
    assert coloured.replace("\x1b[1;31m", "").replace("\x1b[0m", "") == plain
    assert [line.startswith("\x1b") for line in coloured.splitlines()[:4]] == [False, False, True, False]


def test_a_narrow_page_lists_what_a_wide_one_tabulates(comparison):
    narrow = compared.render(comparison, "text", exit_code=1, width=40)
    assert "FAILS: GROWN  fc2  <= 2  PROVED  1.5 -> 1.75 (+16.7 %)" in narrow.splitlines()


def test_renamed_layers_have_both_names(tmp_path):
    old, new = stated(tmp_path, certificate()), stated(tmp_path, edited(renamed))
    text = compared.render(compare(old, new), "text", exit_code=0)
    assert "fc1 -> net.fc1" in text and "RENAMED" in text and "graph: the same maps under other names" in text
    assert "2 renamed: fc1.weight -> net.fc1.weight" in text and "nothing is weaker" in text


def test_a_claim_shows_on_which_side_of_it_a_bound_is(tmp_path):
    """2 + 2^-50 is not shown as 2 where 2 is claimed."""
    beyond = certificate(regions=[region("fc1", "x", "a", str(2 + 2**-20), "2", "UNDECIDED")])
    old = stated(tmp_path, certificate(regions=[region("fc1", "x", "a", "2", "2")]))
    text = compared.render(compare(old, stated(tmp_path, beyond)), "text", exit_code=1)
    assert "2 -> 2.000001" in text


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_deterministic_and_names_everything(comparison, format):
    text = compared.render(comparison, format, exit_code=1)
    assert text == compared.render(comparison, format, exit_code=1)
    assert all(word in text for word in ("fc1", "fc2", "GROWN", "STRONGER", "LOOSER", "fc1.weight"))
    if format == "json":
        assert json.loads(text)["margins"][0]["new"]["radius"] == "1/4"


def test_no_other_format(comparison):
    with pytest.raises(ValueError, match="xml"):
        compared.render(comparison, "xml", exit_code=0)
