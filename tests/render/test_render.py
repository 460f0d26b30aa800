"""Every format says what the report says, says it again byte for byte, and shows hostile names without obeying them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import reports
from hypothesis import given
from hypothesis import strategies as st

from lipverify.evidence import Evidence, Rigor
from lipverify.render import FORMATS, render
from lipverify.render.drawing import as_image, draw
from lipverify.render.escape import harmless, lower_text, markdown, upper_text, visible
from lipverify.verdict import Verdict

ROWS = (reports.region(), reports.refuted(), reports.undecided(), reports.region("", None))
REPORT = reports.report(*ROWS, notes=("a weight is unused",))
VERDICTS = ("PROVED", "REFUTED", "UNDECIDED")
COMMAND = re.compile(r"^\s*::|##\[|##vso", re.MULTILINE)


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_names_every_region_verdict_verifier_and_mismatch(format):
    shown = render(REPORT, format)
    names = ["features.0", "features.1", "head", "spectral", "sdp", "witness", "propagation", "cpl", "real"]
    for text in [*names, *VERDICTS, "no rigorous bound", "more than 80 neurons", "a weight is unused"]:
        assert text in shown, text
    assert re.search(r"MISMATCH \(claim\)|\"kind\": \"claim\"", shown)
    assert shown.endswith("\n") and shown == render(REPORT, format)


def test_an_unknown_format_is_an_error():
    with pytest.raises(ValueError, match="text, json, markdown"):
        render(REPORT, "xml")


@pytest.mark.parametrize("format", FORMATS)
def test_hostile_names_are_shown_but_not_obeyed(format):
    shown = render(reports.hostile(), format)
    assert "\x1b" not in shown and "\u202e" not in shown and not COMMAND.search(shown)
    assert "::error::" not in shown
    assert "error" in shown


def test_json_gives_hostile_names_back_exactly():
    data = json.loads(render(reports.hostile(), "json"))
    assert data["model"] == data["regions"][0]["path"] == data["mismatches"][0]["message"] == reports.HOSTILE


def test_markdown_keeps_its_table_whole_under_hostile_names():
    lines = render(reports.hostile(), "markdown").split("\n")
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 3 and len({row.count("|") for row in rows}) == 1
    assert not re.search(r"<img|\]\(|http://|`", "\n".join(lines))


def test_json_has_the_documented_shape():
    data = json.loads(render(REPORT, "json"), parse_constant=lambda name: pytest.fail(name))
    assert (data["verdict"], data["semantics"], data["exit_code"]) == ("REFUTED", "real", 1)
    assert data["mismatches"] == [{"kind": "claim", "path": "features.1", "message": "witness shows 1.05, claimed 1.0"}]
    first, refuted, undecided, whole = data["regions"]
    assert {"path", "claim", "verdict", "lower", "upper", "rule", "norm", "reason", "evidence"} <= set(first)
    assert (first["path"], first["claim"], first["upper"], first["norm"]) == ("features.0", "1.0", "1", "l2->l2")
    assert {"verifier", "lower", "upper", "rigor", "method", "seconds", "local", "reason"} <= set(first["evidence"][0])
    assert undecided["domain"]["radius"] == "1/3" and undecided["evidence"][0]["local"] is True
    assert whole["path"] == "" and whole["verdict"] is None and whole["claim"] is None
    witness = refuted["evidence"][0]["witness"]
    assert np.array_equal(
        np.vectorize(float.fromhex)(np.array(witness["x"])).reshape(witness["shape"]), reports.witness().x
    )
    assert witness["ratio"] == "1.05"


@given(st.fractions(min_value=0), st.fractions(min_value=0))
def test_json_bounds_are_rounded_outward(lower, upper):
    evidence = (Evidence("v", lower, upper, Rigor.EXACT),)
    row = reports.region(lower=lower, upper=upper, evidence=evidence)
    (region,) = json.loads(render(reports.report(row), "json"))["regions"]
    for part in (region, region["evidence"][0]):
        assert Fraction(part["lower"]) <= lower and Fraction(part["upper"]) >= upper
        assert Fraction(part["upper"]) - upper <= upper / 10**15


@given(st.fractions(0, 2), st.fractions(0, 2))
def test_a_shown_bound_never_crosses_its_claim(q, claim):
    assert (Fraction(upper_text(q, 5, claim)) <= claim) == (q <= claim) or abs(q - claim) < Fraction(1, 10**30)
    assert (Fraction(lower_text(q, 5, claim)) <= claim) == (q <= claim) or abs(q - claim) < Fraction(1, 10**30)


@given(st.text())
def test_visible_text_is_one_printable_line_and_no_two_texts_look_alike(text):
    shown = visible(text, 10**6)
    assert all(c.isprintable() for c in shown) and "::" not in shown and "##" not in shown
    assert shown.encode().decode("utf-8") == shown
    plain = re.sub(r"\\(\\|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|[nrt])", _unescape, shown)
    assert plain == text


def _unescape(match):
    code = match[1]
    return {"\\": "\\", "n": "\n", "r": "\r", "t": "\t"}.get(code) or chr(int(code[1:], 16))


@given(st.text())
def test_markdown_text_has_no_markup(text):
    shown = re.sub(r"&#\d+;", "", markdown(text, 10**6))
    assert not set("|<>`*_[]~\n\r@$\\") & set(shown) and "://" not in shown


def test_messages_keep_single_backslashes():
    assert harmless("a\\b\x1b[0m ::x") == "a\\b\\x1b[0m :\\x3ax"


@pytest.mark.parametrize("width", [40, 70, 100, 140, 300])
def test_text_is_as_wide_as_asked_where_its_columns_allow(width):
    table, _, details = render(REPORT, "text", width=width).partition("\n\n!!")
    lines = table.split("\n")
    assert max(map(len, lines)) <= max(width, 60)
    assert "features.1" in table and details


def test_without_colour_there_are_no_codes_and_with_colour_the_text_is_the_same():
    plain, coloured = render(REPORT, "text"), render(REPORT, "text", colour=True)
    assert "\x1b" not in plain and "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_a_layer_named_like_a_verdict_is_not_coloured():
    coloured = render(reports.report(reports.refuted("PROVED")), "text", colour=True)
    assert "\x1b[32m" not in coloured


def test_a_layer_named_like_the_whole_is_told_from_it():
    shown = render(reports.report(reports.region(""), reports.region("(whole)")), "text")
    assert '"(whole)"' in shown and "\n(whole)" in shown


def test_the_witness_of_a_refuted_region_is_drawn_with_its_ratio():
    shown = render(REPORT, "text")
    assert "x - y" in shown and "█" in shown and "≥" not in shown and ">= 1.05" in shown


@pytest.mark.parametrize(
    ("shape", "drawn"),
    [((1, 8, 8), (8, 8)), ((1, 3, 4, 6), (4, 6)), ((1, 64), (8, 8)), ((1, 63), None), ((64,), (8, 8)), ((), None),
     ((1, 1), None), ((1, 3, 224, 224), None), ((1, 1, 5), None)],
)  # fmt: skip
def test_images_are_found_in_inputs(shape, drawn):
    image = as_image(np.zeros(shape))
    assert (None if image is None else image.shape) == drawn
    lines = draw(reports.witness(shape, Fraction(2)) if np.prod(shape) else reports.witness((1,), Fraction(2)))
    assert lines[-1].endswith(">= 2")


def test_equal_and_extreme_inputs_are_drawn():
    for x, y in ((0.0, 0.0), (1e308, -1e308), (5e-324, 0.0)):
        lines = draw(replace(reports.witness(), x=np.full((4, 4), x), y=np.full((4, 4), y)))
        assert len(lines) == 7


def test_many_refuted_and_no_regions_render():
    empty = reports.report()
    for format in FORMATS:
        assert "no claims" in render(empty, format) or format == "json"
    odd = reports.region(verdict=Verdict.CONFLICT, evidence=(), rule="")
    assert "CONFLICT" in render(reports.report(odd), "text")
