"""The rules of ``proofs/rules.json``, of the schema, of the maker and of the checker are the same, each written on its own."""

import json
from pathlib import Path

import lipverify_checker as checker

from lipverify.certificates.norms import RULES as NORM_RULES
from lipverify.certificates.steps import RULES as STEP_RULES

PROOFS = Path(__file__).parents[2] / "proofs"
LISTED = json.loads((PROOFS / "rules.json").read_text())


def fields(group: str) -> dict[str, set[str]]:
    return {rule: set(entry["fields"]) for rule, entry in LISTED[group].items()}


def test_steps():
    assert {rule: set(found) for rule, found in checker.STEPS.items()} == fields("steps")
    assert set(STEP_RULES) == set(checker.STEPS)


def test_norms():
    assert {rule: set(found) for rule, found in checker.NORMS.items()} == fields("norms")
    assert set(NORM_RULES) == set(checker.NORMS)


def test_what_is_no_step_and_no_norm():
    assert set(LISTED["others"]) == {"fold", "witness", "margin"}
    assert set(LISTED["others"]["fold"]["fields"]) == set(checker.FOLDS)


def test_every_rule_is_named_by_the_schema():
    text = (PROOFS / "certificate.schema.json").read_text()
    assert all(f'"{rule}"' in text for rule in (*LISTED["steps"], *LISTED["norms"]))
