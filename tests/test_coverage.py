"""The coverage table is what the code says, and nothing with a rule is missing from it."""

import runpy
from dataclasses import replace
from pathlib import Path

import pytest

from lipverify.coverage import EXAMPLES, markdown, table
from lipverify.errors import LipverifyError
from lipverify.graph.rules import RULES
from lipverify.maps import Affine, Pointwise

PAGE = Path(__file__).parent.parent / "docs" / "coverage.md"


@pytest.fixture(scope="module")
def rows():
    return {row.target: row for row in reversed(table.rows())}


def test_the_page_in_the_docs_is_the_table_of_today(capsys):
    runpy.run_module("lipverify.coverage", run_name="__main__")
    printed = capsys.readouterr().out
    assert PAGE.read_text() == printed, "run: python -m lipverify.coverage > docs/coverage.md"


def test_a_rule_without_an_example_is_an_error(monkeypatch):
    monkeypatch.setitem(RULES, "aten.bessel_j0.default", RULES["aten.relu.default"])
    with pytest.raises(LipverifyError, match=r"no example of aten\.bessel_j0\.default"):
        markdown()


def test_a_rule_that_is_taken_away_shows_as_unsupported(monkeypatch):
    (relu,) = (example for example in EXAMPLES if example.target == "aten.relu.default")
    assert table._row(relu).section == "Activations"
    monkeypatch.delitem(RULES, "aten.relu.default")
    assert table._row(relu).section == "Unsupported"


def test_an_answer_changes_with_the_room_that_gives_it(monkeypatch):
    (relu,) = (example for example in EXAMPLES if example.target == "aten.relu.default")
    before = table._row(relu).cells

    def refuse(*_):
        raise table.NotExpressible("no form")

    monkeypatch.setattr(table, "forms", refuse)
    after = table._row(relu).cells
    assert before[1] == "yes" and after == replace(table._row(relu), cells=(before[0], "no", *before[2:])).cells


def test_known_rows(rows):
    assert rows["aten.relu.default"].cells == ("slopes in [0, 1]", "yes", "yes", "yes", "not yet")
    assert rows["aten.linear.default"].cells == ("norm of Dense", "yes", "yes", "yes", "not yet")
    assert rows["aten.sigmoid.default"].cells[0] == "slopes in [0, 1/4]"
    assert rows["aten.scaled_dot_product_attention.default"].section == "Unsupported"
    products = [row for row in table.rows() if row.target == "aten.mul.Tensor" and row.section == "Unsupported"]
    assert len(products) == 1 and "depend" in products[0].cells[0]


def test_nothing_is_said_to_be_certified(rows):
    assert all(row.cells[-1] == "not yet" for row in rows.values() if row.section != "Unsupported")


def test_every_example_that_is_supported_has_the_map_that_its_section_says(rows):
    for example in EXAMPLES:
        if rows[example.target].section in ("Activations", "Copies"):
            graph = table.regions(example.program())[""].graph
            kind = Pointwise if rows[example.target].section == "Activations" else Affine
            assert all(isinstance(node.map, kind) for node in graph.nodes.values()), example.target
