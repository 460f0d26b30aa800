"""The theory's frame: every rule has its theorem or is said to have none, every theorem that is named exists."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

PROOFS = Path(__file__).parents[2] / "proofs"
THEORY = PROOFS / "theory"
README = (PROOFS / "README.md").read_text()
RULES = [
    (group, rule, entry["theorem"])
    for group, rules in json.loads((PROOFS / "rules.json").read_text()).items()
    for rule, entry in rules.items()
]

spec = importlib.util.spec_from_file_location("check_theory", PROOFS / "check_theory.py")
check_theory = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check_theory)


def proved(name: str) -> bool:
    """Whether ``File.theorem`` stands in that file."""
    file, theorem = name.split(".")
    path = THEORY / f"{file}.v"
    return path.exists() and bool(
        re.search(rf"^\s*(Theorem|Lemma|Corollary)\s+{theorem}\b", path.read_text(), re.MULTILINE)
    )


@pytest.mark.parametrize(("group", "rule", "theorem"), RULES)
def test_every_rule_has_a_row_with_its_theorem(group, rule, theorem):
    rows = [line for line in README.splitlines() if re.match(rf"\| {rule}( \((step|norm)\))? \|", line)]
    cells = [row.split("|")[2] for row in rows]
    assert any((f"`{theorem}`" if theorem else "none") in cell for cell in cells)


def test_named_theorems_exist_and_their_assumptions_are_listed():
    listed = check_theory.listed()
    named = {theorem for _, _, theorem in RULES if theorem}
    assert named <= set(listed)
    assert [name for name in listed if not proved(name)] == []
    assert [name for name in re.findall(r"`([A-Z]\w+\.\w+)`", README) if name[-2:] != ".v" and not proved(name)] == []


def test_every_file_of_the_theory_and_of_the_extracted_checker_is_in_the_readme():
    words = set(re.findall(r"`(\w+)`", README))
    assert {path.stem for path in THEORY.glob("*.v")} <= words
    assert {path.stem for path in (PROOFS / "extracted").glob("*.ml")} - {"verified"} <= words


def test_nothing_is_left_unproved():
    assert list(check_theory.faults()) == []


@pytest.mark.parametrize(
    "text",
    ("Admitted.", "Proof. admit. Qed.", "Axiom a : False.", "Parameter p : nat.", "(* x *) Hypothesis h : False."),
)
def test_what_is_left_unproved_is_found(text, monkeypatch, tmp_path):
    (tmp_path / "T.v").write_text(f"(* Axiom (* admit *) *)\n{text}\n")
    monkeypatch.setattr(check_theory, "THEORY", tmp_path)
    assert len(list(check_theory.faults())) == 1
