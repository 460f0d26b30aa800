"""Certificates are read strictly: a file that was changed, or says anything that is not understood, is refused."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipverify.baseline import SCHEMAS, parse_certificate, read_certificate
from lipverify.baseline.reading import MIGRATE
from lipverify.errors import ReadError
from lipverify.verdict import Verdict
from tests.baseline.stated import BALL, certificate, edited, margin, region, sealed, stated, write


def refused(path, *texts):
    with pytest.raises(ReadError) as error:
        read_certificate(path)
    message = str(error.value)
    assert all(text in message for text in ("where: ", "why: ", "next: ", *texts)), message
    assert len(message) < 1500 and "\x1b" not in message
    return message


def test_what_is_stated_is_read(tmp_path):
    regions = [region("fc1", "x", "a", domain=BALL, claim="1e-1", verdict="REFUTED"), region("", "x", "b", claim=None)]
    read = stated(tmp_path, certificate(regions=regions))
    first, whole = read.statements
    assert (first.bound, first.claim, first.domain) == (Fraction(1, 10), "1e-1", BALL)
    assert first.verdict is Verdict.REFUTED and first.upper == Fraction(3, 2)
    assert (whole.path, whole.claim, whole.bound, whole.verdict) == ("", None, None, None)
    assert read.weights["fc1.weight"].shape == (4, 4) and read.made["torch"] == "2.13.0"


def test_a_certificate_without_evidence_and_of_another_layout_is_the_same(tmp_path):
    data = certificate()
    del data["made"]
    path = tmp_path / "c.json"
    path.write_text(json.dumps(data, indent=7, sort_keys=True))
    assert read_certificate(path).sha256 == data["sha256"] and read_certificate(path).made == {}


@pytest.mark.parametrize(
    "schema", ["lipverify-certificate/0", "lipverify-certificate/2", "lipverify-report/1", "", None, 1, []]
)
def test_other_schemas_are_refused_with_the_command_that_migrates(tmp_path, schema):
    refused(write(tmp_path / "c.json", certificate() | {"schema": schema}), *SCHEMAS, MIGRATE)


def test_files_that_are_none(tmp_path):
    refused(tmp_path / "none.json", "No such file", "none.json")
    refused(tmp_path, "directory")
    for text in ("", "hello", "[]", "{}", "1", "null", '"x"', "[" * 10**5, '{"schema": "lipverify-certificate/1"}'):
        (tmp_path / "c.json").write_text(text)
        refused(tmp_path / "c.json")
    for data in (b"\xff\xfe", b"\x80" * 100):
        (tmp_path / "c.json").write_bytes(data)
        refused(tmp_path / "c.json")


def test_truncated_files(tmp_path):
    text = json.dumps(certificate())
    for n in range(0, len(text), 37):
        (tmp_path / "c.json").write_text(text[:n])
        refused(tmp_path / "c.json")


def test_a_key_twice(tmp_path):
    (tmp_path / "c.json").write_text('{"body": {}, ' + json.dumps(certificate())[1:])
    refused(tmp_path / "c.json", "twice")


def digests_kept(edit):
    """A change that its maker did not hide."""
    data = certificate()
    edit(data["body"])
    return data


CHANGED = {
    "an upper bound": lambda b: b["regions"][0].update(upper=(1.25).hex()),
    "a verdict": lambda b: b["regions"][0].update(verdict="UNDECIDED"),
    "a weight's digest": lambda b: b["weights"]["fc1.weight"].update(sha256="0" * 64),
    "a node": lambda b: b["graph"]["nodes"][1]["map"].update(name="tanh"),
    "a region removed": lambda b: b["regions"].pop(),
    "regions exchanged": lambda b: b["regions"].reverse(),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_body_that_was_changed_is_refused(tmp_path, name):
    refused(write(tmp_path / "c.json", digests_kept(CHANGED[name])), "digest of its body")


def test_a_graph_that_was_changed_is_refused(tmp_path):
    from lipverify.certificates.canonical import digest

    data = digests_kept(CHANGED["a node"])
    data["sha256"] = digest(data["body"])
    refused(write(tmp_path / "c.json", data), "digest of its graph")


def first(**fields):
    return lambda b: b["regions"][0].update(fields)


WRONG = {
    "no regions": lambda b: b["regions"].clear(),
    "a region twice": lambda b: b["regions"].append(b["regions"][0]),
    "regions as an object": lambda b: b.update(regions={}),
    "a region without a verdict key": lambda b: b["regions"][0].pop("verdict"),
    "a region of an unknown key": first(local=True),
    "a claim without a verdict": first(verdict=None),
    "a verdict without a claim": first(claim=None),
    "an unknown verdict": first(verdict="proved"),
    "a verdict of no text": first(verdict=["PROVED"]),
    "a claim as a number": first(claim={"bound": 1, "domain": None}),
    "a claim of NaN": first(claim={"bound": "nan", "domain": None}),
    "a negative claim": first(claim={"bound": "-1", "domain": None}),
    "a claim of a large exponent": first(claim={"bound": "1e1000000000", "domain": None}),
    "a claim without a domain": first(claim={"bound": "1"}),
    "a domain that is no digest": first(claim={"bound": "1", "domain": "everywhere"}),
    "a path of no text": first(path=3),
    "an unknown norm pair": first(norm="l2->l7"),
    "a norm pair of no text": first(norm=None),
    "an end that is no value": first(output="nothing"),
    "an end of no text": first(input=["x"]),
    "steps of no list": first(steps=None),
    "a rule of no text": first(rule=7),
    "an upper bound as an integer": first(upper=2),
    "an upper bound as a float": first(upper=1.5),
    "an upper bound in decimals": first(upper="1.5"),
    "an upper bound of NaN": first(upper="nan"),
    "an infinite upper bound": first(upper="inf"),
    "an upper bound of -0": first(upper="-0x0.0p+0"),
    "a negative upper bound": first(upper="-0x1.8000000000000p+0"),
    "an upper bound of a large exponent": first(upper="0x1.8000000000000p+9999"),
    "an upper bound of a huge exponent": first(upper="0x1.8p+" + "9" * 10**6),
    "an upper bound that Python writes otherwise": first(upper="0x1.8p+0"),
    "an upper bound in capitals": first(upper="0X1.8000000000000P+0"),
    "an upper bound with a space": first(upper=" 0x1.8000000000000p+0"),
    "an upper bound with a line": first(upper="0x1.8000000000000p+0\n"),
    "other semantics": lambda b: b.update(semantics="float"),
    "an unknown part": lambda b: b.update(extra=1),
    "no margins": lambda b: b.pop("margins"),
    "a margin twice": lambda b: b.update(margins=[margin("1"), margin("2")]),
    "a margin of no class": lambda b: b.update(margins=[margin(kept=-1)]),
    "a margin of a class that is no number": lambda b: b.update(margins=[margin(kept=True)]),
    "a negative margin": lambda b: b.update(margins=[margin("-1")]),
    "a margin without an input": lambda b: b.update(margins=[margin() | {"input": None}]),
    "no norms": lambda b: b.pop("norms"),
    "weights as a list": lambda b: b.update(weights=[]),
    "a weight without a digest": lambda b: b["weights"]["fc1.weight"].pop("sha256"),
    "a weight of another digest": lambda b: b["weights"]["fc1.weight"].update(sha256="A" * 64),
    "a weight of a negative size": lambda b: b["weights"]["fc1.weight"].update(shape=[-1]),
    "a weight of a size that is no number": lambda b: b["weights"]["fc1.weight"].update(shape=[True]),
    "a value computed twice": lambda b: b["graph"]["nodes"].append(b["graph"]["nodes"][0]),
    "a value read before": lambda b: b["graph"]["nodes"].reverse(),
    "a node without a map": lambda b: b["graph"]["nodes"][0].update(map=None),
    "a node that reads no list": lambda b: b["graph"]["nodes"][0].update(reads="x"),
    "a node of no name": lambda b: b["graph"]["nodes"][0].update(value=0),
    "a hostile name": lambda b: b["graph"]["nodes"][0].update(reads=["\x1b[31m\u202e"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_understood_is_refused_though_its_digests_fit(tmp_path, name):
    try:
        data = edited(WRONG[name])
    except KeyError:
        pytest.fail("the edit does not fit the certificate")
    refused(write(tmp_path / "c.json", data))


def test_numbers_are_integers(tmp_path):
    data = certificate()
    data["body"]["graph"]["shape"] = [1, 4.0]
    refused(write(tmp_path / "c.json", sealed(data)), "integer")
    (tmp_path / "c.json").write_text(json.dumps(certificate()).replace('"3.00"', "3" * 5000))
    refused(tmp_path / "c.json")


TEXT = json.dumps(certificate()).encode()


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(TEXT) - 1), st.binary(max_size=3), st.integers(0, 5))
def test_of_changed_bytes_nothing_else_is_ever_stated(position, put, removed):
    """What is outside of the body may change; what is stated may not."""
    data = TEXT[:position] + put + TEXT[position + removed :]
    try:
        read = parse_certificate(data, "bytes")
    except ReadError:
        return
    assert read.sha256 == json.loads(TEXT)["sha256"]
    assert read.statements == parse_certificate(TEXT, "bytes").statements


def test_the_table_of_schemas_says_what_is_read(tmp_path, monkeypatch):
    """How the version before this one will be read, once there is one: by a reader of its own."""
    path = write(tmp_path / "c.json", certificate() | {"schema": "lipverify-certificate/0"})
    refused(path, "lipverify-certificate/0")
    monkeypatch.setitem(SCHEMAS, "lipverify-certificate/0", SCHEMAS["lipverify-certificate/1"])
    assert read_certificate(path).statements


def test_a_long_file_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("lipverify.baseline.reading.MAX_FILE", 1000)
    refused(write(tmp_path / "c.json", certificate()), "too long", "1000 bytes")
