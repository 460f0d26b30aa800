"""The published JSON Schema: it accepts what is made, and refuses what no certificate of version 1 is."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from tests.certificates.golden.__main__ import HERE

SCHEMA = json.loads((Path(__file__).parent.parent.parent / "proofs" / "certificate.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)
MADE = json.loads((HERE / "1" / "normalised.json").read_text())


def test_it_is_a_schema():
    Draft202012Validator.check_schema(SCHEMA)
    assert VALIDATOR.is_valid(MADE)


def objects(schema):
    """Every schema of an object with properties of its own."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for value in schema.values():
            yield from objects(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from objects(value)


def test_every_object_says_what_it_may_hold():
    found = list(objects(SCHEMA))
    assert len(found) > 30 and all("additionalProperties" in schema for schema in found)
    assert all(schema["additionalProperties"] is not True for schema in found)


def places(value, path=()):
    """Every (path, key or index) of a JSON tree."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield path, key
        if isinstance(value[key], dict | list):
            yield from places(value[key], (*path, key))


PLACES = list(places(MADE))
OF_NAMES = {("body", "weights"), ("body", "norms"), ("made",)}
"""Objects whose keys are names."""
OPTIONAL = {"evidence", "made", "bias", "radii"}


def altered(path, change):
    data = copy.deepcopy(MADE)
    inner = data
    for key in path:
        inner = inner[key]
    change(inner)
    return data


def test_no_required_key_may_be_missing_and_none_be_added():
    for path, key in PLACES:
        holder = MADE
        for step in path:
            holder = holder[step]
        if isinstance(holder, dict) and path not in OF_NAMES and key not in OPTIONAL:
            assert not VALIDATOR.is_valid(altered(path, lambda d, key=key: d.pop(key))), (path, key)
            assert not VALIDATOR.is_valid(altered(path, lambda d: d.update(unknown=1))), path


@pytest.mark.parametrize("value", [True, 1.5, -1.5, {"a": 1}, [[]], "\x00"], ids=repr)
def test_no_value_may_be_of_another_type(value):
    """A name may be any text; whatever is no text may not be in its place."""
    for path, key in PLACES:
        holder = MADE
        for step in path:
            holder = holder[step]
        old = holder[key]
        if (isinstance(old, str) and isinstance(value, str)) or (old is None and isinstance(value, str)):
            continue
        if isinstance(old, bool) and isinstance(value, bool):
            continue
        assert not VALIDATOR.is_valid(altered(path, lambda d, key=key: d.__setitem__(key, value))), (path, key)


NO_BOUNDS = ["1.5", "inf", "nan", "-0x1.8000000000000p+0", "0x1.8p+0", "0X1.8000000000000P+0", "0x1.8000000000000p+0\n", "",
             " 0x1.8000000000000p+0", "0x1.8000000000000p+99999",
             "-0x0.0p+0", "0x0.0p+1", "\u0660x1.8000000000000p+0"]  # fmt: skip


@pytest.mark.parametrize("text", NO_BOUNDS)
def test_bounds_are_canonical(text):
    assert not VALIDATOR.is_valid(altered(("body", "regions", 0), lambda d: d.update(upper=text)))


@pytest.mark.parametrize("text", ["", "one", "1e", "nan", "inf", "0x1p0", "1\n", "1/2/3", "\u0661", "9" * 1001])
def test_claims_are_decimals_or_ratios(text):
    assert not VALIDATOR.is_valid(altered(("body", "regions", 0, "claim"), lambda d: d.update(bound=text)))


@pytest.mark.parametrize("text", ["1", "0.5", ".5", "1.", "1e-3", "36/255", "+1"])
def test_what_claims_may_be(text):
    assert VALIDATOR.is_valid(altered(("body", "regions", 0, "claim"), lambda d: d.update(bound=text)))


def test_a_claim_and_a_verdict_go_together():
    assert not VALIDATOR.is_valid(altered(("body", "regions", 0), lambda d: d.update(verdict=None)))
    assert not VALIDATOR.is_valid(altered(("body", "regions", 0), lambda d: d.update(claim=None)))
    assert VALIDATOR.is_valid(altered(("body", "regions", 0), lambda d: d.update(claim=None, verdict=None)))
