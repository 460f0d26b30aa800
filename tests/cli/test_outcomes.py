"""What the command asks of the audit, and how it ends when the audit does not."""

from __future__ import annotations

from fractions import Fraction

from lipverify.claims import L2
from lipverify.report import RegionReport, Report
from tests.cli.commands import interrupt, report, run


def test_what_the_audit_is_asked(home, stub):
    calls = stub(report)
    result = run("audit", home / "plain.pt2", "--verifiers", "a, b:C", "--trust-verifier", "b:C", "--seed", "3",
                 "--at", home / "at.npz", "--radius", "0.1", "--claims", home / "good.json")  # fmt: skip
    assert result.exit_code == 0, result.output
    (options,) = calls
    assert options["verifiers"] == ["a", "b:C"] and options["trusted"] == ("b:C",) and options["seed"] == 3
    assert options["radius"] == Fraction(1, 10) and options["claims"][0].bound == Fraction(1, 2)
    assert options["name"] == "plain.pt2"


def test_an_interrupt_is_130_with_a_short_message(home, stub):
    stub(interrupt)
    result = run("audit", home / "plain.pt2")
    assert result.exit_code == 130 and "interrupted" in result.stderr and "Traceback" not in result.stderr


def test_what_a_defect_says_stays_on_its_line(home, stub):
    def fail(options):
        raise RuntimeError("a\n::error::b")

    stub(fail)
    result = run("audit", home / "plain.pt2")
    assert result.exit_code == 70 and "\n::" not in result.stderr and "'a\\n:" in result.stderr


def test_a_defect_is_neither_1_nor_a_traceback(home, stub):
    stub(lambda options: {}["\x1b[31m"])
    result = run("audit", home / "plain.pt2")
    assert result.exit_code == 70 and "KeyError" in result.stderr and "test_outcomes.py:" in result.stderr
    assert "Traceback" not in result.stderr and "\x1b" not in result.stderr


def test_bounds_only_without_any_bound_is_not_0(home, stub):
    def nothing(options):
        row = RegionReport("", L2, None, None, None, None, "", (), (), "no rule", None)
        return Report("m", "real", (row,), (), 0.0)

    stub(nothing)
    assert run("audit", home / "plain.pt2", "--bounds-only").exit_code == 3
