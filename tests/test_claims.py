"""Claims from JSON, TOML and Python: exact bounds, and an error that names what is wrong with anything else."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipverify.claims import LOGITS, Ball, Claim, NormPair, as_claims, check_layers, parse_claims, read_claims
from lipverify.errors import ClaimError, LipverifyError
from lipverify.numerals import parse_rational


def one(**fields):
    return parse_claims({"claims": [{"layer": "fc", "bound": "1"} | fields]})[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1),
        ("1.0", 1),
        ("0.1", Fraction(1, 10)),
        (".5", Fraction(1, 2)),
        ("5.", 5),
        ("1e-3", Fraction(1, 1000)),
        ("+2E2", 200),
        ("36/255", Fraction(36, 255)),
        ("-0", 0),
        ("0." + "1" * 900, Fraction(int("1" * 900), 10**900)),
    ],
)
def test_a_number_is_exactly_what_its_text_says(text, expected):
    assert parse_rational(text) == expected


@given(st.decimals(min_value=0, allow_nan=False, allow_infinity=False).filter(lambda d: abs(d.adjusted()) < 300))
def test_decimals_are_read_without_rounding(decimal):
    assert parse_rational(str(decimal)) == Fraction(decimal)


BAD_NUMBERS = [
    "",
    " ",
    ".",
    "e5",
    "nan",
    "inf",
    "-inf",
    "Infinity",
    "-1",
    "-1e-9",
    "1e401",
    "1e999999999",
    "1e9999999999",
]
BAD_NUMBERS += ["\u00a01", "1\n", "\t1"]
BAD_NUMBERS += ["1" * 10**6, "1/0", "-1/2", "1/2/3", "0x10", "1_000", "1,5", "٣", "one", "1 2", "1\x1b[31m"]


@pytest.mark.parametrize("text", BAD_NUMBERS, ids=lambda t: repr(t[:12]))
def test_a_bound_that_is_no_number_is_refused_with_its_layer_and_text(text):
    with pytest.raises(ClaimError) as error:
        one(bound=text)
    assert "'fc'" in str(error.value) and len(str(error.value)) < 500
    assert str(error.value).isprintable() or ("\n" in str(error.value) and "\x1b" not in str(error.value))


@pytest.mark.parametrize("value", [True, None, [], {}, float("nan"), float("inf"), -1, -0.5, 10**4000, b"1"])
def test_a_bound_of_another_type_is_refused(value):
    with pytest.raises(ClaimError, match="fc"):
        one(bound=value)


def test_json_numbers_are_read_from_their_text():
    (claim,) = parse_claims('{"claims": [{"layer": "", "bound": 0.1000000000000000000001}]}')
    assert claim.bound == Fraction("0.1000000000000000000001")
    assert claim.text == "0.1000000000000000000001"


@pytest.mark.parametrize("value", [0.1, "0.1", Fraction(1, 10), np.float64(0.1)])
def test_python_numbers_are_what_was_typed(value):
    assert one(bound=value).bound == Fraction(1, 10)


def test_norms_and_domain():
    claim = one(norm="l2 -> linf", domain={"center": [[1, 2], [3, 4]], "radius": "36/255"})
    assert claim.norms == LOGITS and claim.domain is not None
    assert claim.domain.radius == Fraction(36, 255) and claim.domain.center.tolist() == [[1, 2], [3, 4]]
    assert one(norm="l1->linf").norms == NormPair("l1", "linf")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"norm": "l3->l2"}, "norm pair"),
        ({"norm": 2}, "norm pair"),
        ({"domain": "ball"}, "ball"),
        ({"domain": {"center": [1]}}, "ball"),
        ({"domain": {"center": [], "radius": 1}}, "empty"),
        ({"domain": {"center": [1, [2]], "radius": 1}}, "array"),
        ({"domain": {"center": ["1"], "radius": 1}}, "array"),
        ({"domain": {"center": [float("nan")], "radius": 1}}, "finite"),
        ({"domain": {"center": [1], "radius": "-1"}}, "radius of the domain '-1' is negative"),
        ({"domain": {"center": [1], "radius": "0"}}, "a point has no ratio"),
        ({"domain": {"center": np.array([1j]), "radius": "1"}}, "complex128"),
        ({"domain": {"center": [1j], "radius": "1"}}, "array of numbers"),
        ({"domain": {"center": [1], "radius": 1, "norm": "l2"}}, "norm"),
        ({"bounds": "1"}, "Did you mean 'bound'"),
        ({"layer": 3}, "names no layer"),
        ({"layer": None}, "names no layer"),
    ],
)
def test_other_fields_are_checked(fields, message):
    with pytest.raises(ClaimError, match=message):
        one(**fields)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "JSON"),
        ("[]", "list of claims"),
        ("{}", "list of claims"),
        ('{"claims": {}}', "list of claims"),
        ('{"claims": []}', "no claims"),
        ('{"claims": [1]}', "no object"),
        ('{"claims": [{"layer": 3, "bound": 1}]}', "names no layer"),
        ('{"claims": [{"layer": "a"}]}', "no bound"),
        ('{"claims": [{"layer": "a", "bound": 1, "bound": 2}]}', "twice"),
        ('{"claims": [{"layer": "a", "bound": NaN}]}', "NaN"),
        ('{"claim": [], "claims": [{"layer": "a", "bound": 1}]}', "Did you mean 'claims'"),
        ('{"claims": ' + "[" * 100_000, "deep"),
        (b"\xff\xfe{}", "UTF-8"),
    ],
)
def test_a_file_that_holds_no_claims_is_refused(text, message):
    with pytest.raises(ClaimError, match=message):
        parse_claims(text)


def test_duplicate_claims_are_refused_but_other_norms_and_domains_are_not():
    claim = {"layer": "a", "bound": "1"}
    ball = {"center": [1.0], "radius": "1"}
    assert len(as_claims([claim, claim | {"norm": "l2->linf"}, claim | {"domain": ball}])) == 3
    for double in ([claim, claim | {"bound": "2"}], [claim | {"domain": ball}] * 2):
        with pytest.raises(ClaimError, match="claimed twice"):
            as_claims(double)


@pytest.mark.parametrize("other", [[[1.0, 0.0]], [1.0, -0.0], [1, 0]])
def test_balls_that_differ_in_writing_only_are_duplicates(other):
    balls = ({"center": center, "radius": radius} for center, radius in (([1.0, 0.0], "1"), (other, "1.0")))
    with pytest.raises(ClaimError, match="claimed twice"):
        as_claims([{"layer": "a", "bound": "1", "domain": ball} for ball in balls])


@pytest.mark.parametrize(
    ("bound", "text"),
    [(Fraction(1), "100"), (Fraction(-1), "1"), (Fraction(-1), "-1"), (Fraction(1), "one"), (Fraction(1), None)],
)
def test_a_claim_judges_what_it_shows(bound, text):
    with pytest.raises(ClaimError, match="'a'"):
        Claim("a", bound, text)


def test_a_claim_on_a_point_is_refused():
    with pytest.raises(ClaimError, match="a point has no ratio"):
        Claim("a", Fraction(1), "1", domain=Ball(np.zeros(1), Fraction(0)))


@pytest.mark.parametrize("version", [0, 2, 99, True, "1", None, 1.0, [1]])
def test_another_version_is_refused(version):
    claims = [{"layer": "a", "bound": 1}]
    assert len(parse_claims({"version": 1, "claims": claims})) == 1
    for source in ({"version": version, "claims": claims}, json.dumps({"version": version, "claims": claims})):
        with pytest.raises(ClaimError, match="version"):
            parse_claims(source)


def test_a_negative_radius_is_not_called_a_constant():
    with pytest.raises(ClaimError) as error:
        parse_rational("-1", "--radius")
    assert "Lipschitz" not in str(error.value) and "--radius" in str(error.value)


def test_claims_and_mappings_may_be_mixed():
    claims = as_claims([Claim("a", Fraction(1), "1"), {"layer": "b", "bound": "2"}])
    assert [c.layer for c in claims] == ["a", "b"]


def test_an_unknown_layer_is_named_with_its_nearest():
    check_layers(as_claims([{"layer": "", "bound": 1}, {"layer": "conv@1", "bound": 1}]), ["conv", "conv@1"])
    with pytest.raises(ClaimError, match=r"'feature.0'.*\n.*\n.*'features.0'"):
        check_layers(as_claims([{"layer": "feature.0", "bound": 1}]), ["features.0", "head"])


def test_json_and_toml_files(tmp_path):
    json_file, toml_file = tmp_path / "c.json", tmp_path / "c.toml"
    json_file.write_text(json.dumps({"claims": [{"layer": "a", "bound": "0.1"}]}))
    toml_file.write_text('[[claims]]\nlayer = "a"\nbound = 0.1000000000000000000001\n')
    assert read_claims(json_file)[0].bound == Fraction(1, 10)
    assert read_claims(toml_file)[0].bound == Fraction("0.1000000000000000000001")


@pytest.mark.parametrize("content", [b"\xff", b"a = ", b"a = [[[[", b"x = 1"])
def test_a_bad_toml_file_is_refused(tmp_path, content):
    (tmp_path / "c.toml").write_bytes(content)
    with pytest.raises(ClaimError, match=r"c\.toml"):
        read_claims(tmp_path / "c.toml")


def test_long_toml_is_refused_before_it_is_parsed(tmp_path):
    (tmp_path / "c.toml").write_text(".".join(["a"] * 20_000) + " = 1")
    with pytest.raises(ClaimError, match="Use JSON"):
        read_claims(tmp_path / "c.toml")


def test_a_missing_file_and_a_directory_are_refused(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(LipverifyError, match="cannot be read"):
            read_claims(path)
