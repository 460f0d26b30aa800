"""Bad certificates and weights by name: each is refused for what it is, in bounded time and memory."""

import json
import os
import resource
import struct
import subprocess
import sys
from pathlib import Path

import lipverify_checker as checker
import pytest

from tests.certificates.bases import MARGINS, base
from tests.certificates.materialised import canonical
from tests.certificates.mutations import sealed
from tests.certificates.statements import node, norm, statement

DENSE = "dense"
HEX = "0x1.0000000000000p+0"


def parsed(name=DENSE):
    data, weights = base(name)
    return json.loads(data), weights


def compact(name=DENSE):
    """In canonical form, the whole file."""
    certificate, weights = parsed(name)
    return sealed(certificate), weights


def outcome(certificate, weights):
    data = certificate if isinstance(certificate, bytes) else sealed(certificate)
    found = checker.check(data, checker.Weights.of(weights))
    assert found.text().isascii()
    return found


def whole(certificate):
    return next(region for region in certificate["body"]["regions"] if region["path"] == "")


def safetensors(weights) -> bytes:
    header, data = {}, b""
    for name, (dtype, shape, content) in weights.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


# ---- Of the certificate ------------------------------------------------------------------------------------------------


def test_a_bit_of_a_weight():
    certificate, weights = parsed()
    for name, (dtype, shape, data) in weights.items():
        flipped = bytes([data[0] ^ 1, *data[1:]])
        assert outcome(certificate, {**weights, name: (dtype, shape, flipped)}).exit_code == 1


def test_another_model():
    certificate, _ = parsed()
    assert outcome(certificate, base("residual sum")[1]).exit_code == 1
    assert outcome(certificate, {}).exit_code == 1


@pytest.mark.parametrize("change", ["swap", "remove", "add"])
def test_other_regions_do_not_have_the_digest(change):
    certificate, weights = parsed()
    regions = certificate["body"]["regions"]
    if change == "swap":
        regions[0], regions[1] = regions[1], regions[0]
    elif change == "remove":
        regions.pop()
    else:
        regions.append({**regions[1], "path": "added"})
    assert outcome(canonical(certificate), weights).exit_code == 1


def test_regions_that_change_places():
    certificate, weights = parsed()
    claimed = [region for region in certificate["body"]["regions"] if region["claim"]]
    least, most = sorted(claimed, key=lambda region: float.fromhex(region["upper"]))[:: len(claimed) - 1]
    least["claim"], most["claim"] = most["claim"], least["claim"]
    assert outcome(certificate, weights).exit_code == 1
    certificate, weights = parsed()
    first, second = certificate["body"]["regions"][:2]
    first["steps"], second["steps"] = second["steps"], first["steps"]
    assert outcome(certificate, weights).exit_code == 1


def test_a_region_twice():
    certificate, weights = parsed()
    certificate["body"]["regions"].append(certificate["body"]["regions"][0])
    assert outcome(certificate, weights).exit_code != 0


def test_a_claim_that_is_stronger_than_its_evidence():
    certificate, weights = parsed()
    region = whole(certificate)
    region["claim"]["bound"] = f"{float.fromhex(region['upper']) * (1 - 2**-30):.17g}"
    assert outcome(certificate, weights).exit_code == 1


@pytest.mark.parametrize("name", ["linear", "linear_1", "linear_2"])
def test_a_looser_bound_is_still_true_and_a_tighter_one_is_refused(name):
    for factor, code in ((1 - 2**-20, 1), (1.5, 1)):
        certificate, weights = parsed()
        stated = certificate["body"]["norms"][name]
        stated["square"] = (float.fromhex(stated["square"]) * factor).hex()
        assert outcome(certificate, weights).exit_code == code
    for region in certificate["body"]["regions"]:
        for i, step in enumerate(region["steps"], 1):
            step["upper"] = (float.fromhex(step["upper"]) * factor**i).hex()
        region["upper"], region["claim"]["bound"] = region["steps"][-1]["upper"], "1e3"
    assert outcome(certificate, weights).exit_code == 0


def test_a_norm_that_no_step_uses():
    certificate, weights = parsed()
    norms = certificate["body"]["norms"]
    norms["other"] = {**norms["linear"], "square": (float.fromhex(norms["linear"]["square"]) * (1 - 2**-20)).hex()}
    assert outcome(certificate, weights).exit_code == 1


@pytest.mark.parametrize("name", MARGINS)
def test_a_radius_that_is_larger_than_the_margin_allows(name):
    for factor, code in ((0.5, 0), (1.002, 1), (1e6, 1)):
        certificate, weights = parsed(name)
        margin = certificate["body"]["margins"][0]
        margin["radius"] = f"{float(margin['radius']) * factor:.12f}"
        assert outcome(certificate, weights).exit_code == code
    margin.update({"class": (margin["class"] + 1) % 3, "radius": "0"})
    assert outcome(certificate, weights).exit_code == 1


BAD_NUMBERS = (
    *("nan", "inf", "-inf", "NaN", "Infinity", "-0x0.0p+0", "-" + HEX, "0x1p", "1.5", "", " " + HEX, "0x1_0p+0"),
    *(
        "0x1.0000000000000p+1000000000",
        "0x1.0000000000000p-1000000000",
        "0x1.8p+1024",
        "\u0661x1p+0",
        "0x" + "1" * 5000,
    ),
)


@pytest.mark.parametrize("text", BAD_NUMBERS, ids=range(len(BAD_NUMBERS)))
@pytest.mark.parametrize("place", ["square", "step", "upper"])
def test_a_number_that_is_none(place, text):
    certificate, weights = parsed()
    if place == "square":
        next(iter(certificate["body"]["norms"].values()))["square"] = text
    elif place == "step":
        whole(certificate)["steps"][-1]["upper"] = text
    else:
        whole(certificate)["upper"] = text
    assert outcome(certificate, weights).exit_code in (1, 2)


@pytest.mark.parametrize(
    "text", ["1e1000000000", "nan", "inf", "-1", "1/0", "", "0x2", "1" * 5000, "1e-1000000000", "²"]
)
def test_a_claim_that_is_no_number(text):
    certificate, weights = parsed()
    whole(certificate)["claim"]["bound"] = text
    assert outcome(certificate, weights).exit_code in (1, 2)


@pytest.mark.parametrize("token", [b"NaN", b"Infinity", b"-Infinity", b"-0", b"1.5", b"1e1000000000", b"1" * 5000])
def test_numbers_of_json_that_are_no_integers(token):
    data, weights = compact()
    assert outcome(data.replace(b'"slack":', b'"slack":' + token + b',"x":', 1), weights).exit_code == 2


def test_a_key_twice():
    data, weights = compact()
    assert b'"verdict":"PROVED"' in data
    assert outcome(data.replace(b'"verdict":', b'"verdict":null,"verdict":', 1), weights).exit_code == 2


@pytest.mark.parametrize("pair", [b"[]", b'{"a":', b"["])
def test_nesting(pair):
    _, weights = base(DENSE)
    opened = pair if pair[:1] == b"{" else b"["
    text = opened * 100_000 + (b"1" if pair != b"[" else b"") + (b"}" if opened != b"[" else b"]") * 100_000
    assert outcome(text, weights).exit_code == 2
    data, _ = compact()
    assert outcome(data.replace(b'"made":{', b'"made":{"x":' + text + b",", 1), weights).exit_code == 2


def test_truncation():
    data, weights = base(DENSE)
    for length in range(0, len(data), 29):
        assert outcome(data[:length], weights).exit_code == 2


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe", b"null", b"[]", b"0", b'"x"', b"{}", "{}".encode("utf-16"), b"\x00" * 100]
)
def test_no_certificate(data):
    assert outcome(data, {}).exit_code == 2


@pytest.mark.parametrize(
    "schema", ["lipverify-certificate/0", "lipverify-certificate/2", "lipverify-report/1", 1, None, []]
)
def test_another_schema(schema):
    certificate, weights = parsed()
    certificate["schema"] = schema
    found = outcome(certificate, weights)
    assert found.exit_code == 2 and "lipverify audit MODEL --certificate FILE" in found.text()


@pytest.mark.parametrize("where", ["norm", "step"])
def test_an_unknown_rule_is_unchecked(where):
    certificate, weights = parsed()
    norm = next(iter(certificate["body"]["norms"].values()))
    (norm if where == "norm" else whole(certificate)["steps"][-1])["rule"] = "conjecture"
    found = outcome(certificate, weights)
    assert found.exit_code in (1, 3) and "conjecture" in found.text() and "UNCHECKED" in found.text()


def test_where_nothing_is_stated_nothing_is_accepted():
    certificate, weights = parsed()
    for region in certificate["body"]["regions"]:
        region.update(claim=None, verdict=None, upper=None, steps=[])
    assert outcome(certificate, weights).exit_code != 0
    certificate["body"]["regions"] = []
    assert outcome(certificate, weights).exit_code != 0


# ---- Of the weights ----------------------------------------------------------------------------------------------------


def run(tmp_path: Path, certificate: bytes, weights: bytes, *, size: int = 0) -> subprocess.CompletedProcess[str]:
    """The checker as a program of its own, with a gigabyte of memory and a minute of processor time."""
    (tmp_path / "c.json").write_bytes(certificate)
    with open(tmp_path / "w.safetensors", "wb") as file:
        file.write(weights)
        if size:
            file.truncate(size)

    def limits():
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))

    path = os.path.abspath(checker.__file__)
    command = [sys.executable, "-I", path, str(tmp_path / "c.json"), str(tmp_path / "w.safetensors")]
    done = subprocess.run(command, preexec_fn=limits, capture_output=True, text=True)
    assert done.returncode in (0, 1, 2, 3) and "Traceback" not in done.stderr, done.stderr[-2000:]
    return done


def header(text: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text)) + text + data


def entry(name: str, first: int, last: int, shape: str = "[2]", dtype: str = "F32") -> str:
    return f'"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{first},{last}]}}'


BAD_WEIGHTS = {
    "empty": b"",
    "short": b"\x00" * 7,
    "header beyond the file": struct.pack("<Q", 1 << 62),
    "no JSON": header(b"{" * 10),
    "nested": header(b"[" * 100_000),
    "a list": header(b"[]"),
    "a key twice": header(b"{%s,%s}" % (entry("a", 0, 8).encode(), entry("a", 0, 8).encode()), b"\x00" * 8),
    "overlap": header(b"{%s,%s}" % (entry("a", 0, 8).encode(), entry("b", 4, 12).encode()), b"\x00" * 12),
    "the same place": header(b"{%s,%s}" % (entry("a", 0, 8).encode(), entry("b", 0, 8).encode()), b"\x00" * 8),
    "a gap": header(b"{%s,%s}" % (entry("a", 0, 8).encode(), entry("b", 12, 20).encode()), b"\x00" * 20),
    "beyond the end": header(b"{%s}" % entry("a", 0, 8).encode(), b"\x00" * 4),
    "backwards": header(b"{%s}" % entry("a", 8, 0).encode(), b"\x00" * 8),
    "before the start": header(b"{%s}" % entry("a", -8, 0).encode(), b"\x00" * 8),
    "another size": header(b"{%s}" % entry("a", 0, 8, "[3]").encode(), b"\x00" * 8),
    "a huge shape": header(b"{%s}" % entry("a", 0, 8, "[4294967296,4294967296]").encode(), b"\x00" * 8),
    "a negative shape": header(b"{%s}" % entry("a", 0, 8, "[-1,-2]").encode(), b"\x00" * 8),
    "an unknown dtype": header(b"{%s}" % entry("a", 0, 8, "[2]", "F128").encode(), b"\x00" * 8),
    "more than is named": header(b"{%s}" % entry("a", 0, 8).encode(), b"\x00" * 12),
}


@pytest.mark.parametrize("name", BAD_WEIGHTS)
def test_bad_weights(tmp_path, name):
    assert run(tmp_path, base(DENSE)[0], BAD_WEIGHTS[name]).returncode in (1, 2)


def test_a_header_of_a_gigabyte(tmp_path):
    done = run(tmp_path, base(DENSE)[0], struct.pack("<Q", 1 << 30) + b"{}", size=(1 << 30) + 8)
    assert done.returncode == 2


def test_the_program_accepts_what_the_function_accepts(tmp_path):
    data, weights = base(DENSE)
    done = run(tmp_path, data, safetensors(weights))
    assert done.returncode == 0 and "ACCEPTED" in done.stdout


# ---- Of time and memory ------------------------------------------------------------------------------------------------

BIG = 1 << 20


def convolution(pads=0, stride=1, dilation=1, circular=False, **fields):
    kernel = {"weight": "w", "shape": [1, 1, 2, 2]}
    return dict(kind="convolution", kernel=kernel, pads=[[pads] * 2] * 2, circular=circular, stride=[stride] * 2,
                dilation=[dilation] * 2, groups=1, **fields)  # fmt: skip


W = {"w": ("F32", (4,), struct.pack("<4f", 1, 2, 3, 4)), "long": ("F32", (BIG,), b"\x00\x00\x80\x3f" * BIG)}
TORUS = {"sizes": [BIG, BIG], "twists": [0, 0], "grid": False}
OUTER = ["add", {"weight": "long", "shape": [BIG, 1]}, {"weight": "long", "shape": [1, BIG]}]


def deep(depth):
    expression = {"weight": "w", "shape": [4]}
    for _ in range(depth):
        expression = ["add", expression, expression]
    return expression


HOSTILE = {
    "a fold that broadcasts": lambda: statement(
        [node("y", kind="dense", weight={"fold": OUTER, "shape": [BIG, BIG]})], {"n": norm("dense", "y")}, W, (1, BIG)
    ),
    "a fold of 2^17 operations": lambda: statement(
        [node("y", kind="diagonal", factor={"fold": deep(17), "shape": [4]})], {"n": norm("entries", "y")}, W, (1, 4)
    ),
    "a long matrix": lambda: statement(
        [node("y", kind="dense", weight={"weight": "long", "shape": [BIG, 1]})], {"n": norm("dense", "y")}, W, (1, 1)
    ),
    "a large image, unrolled": lambda: statement(
        [node("y", **convolution())], {"n": norm("unrolled", "y")}, W, (1, 1, BIG, BIG)
    ),
    "a large image, on a torus": lambda: statement(
        [node("y", **convolution())], {"n": norm("torus", "y", **TORUS)}, W, (1, 1, 8, 8)
    ),
    "a large image, on a grid": lambda: statement(
        [node("y", **convolution())], {"n": norm("torus", "y", **{**TORUS, "grid": True})}, W, (1, 1, BIG, BIG)
    ),
    "large pads": lambda: statement(
        [node("y", **convolution(pads=BIG - 1))], {"n": norm("unrolled", "y")}, W, (1, 1, 4, 4)
    ),
    "large strides": lambda: statement(
        [node("y", **convolution(pads=BIG, stride=BIG, dilation=BIG))],
        {"n": norm("torus", "y", **TORUS), "m": norm("unrolled", "y")},
        W,
        (1, 1, BIG, BIG),
    ),
    "a gather of everything": lambda: statement(
        [node("y", kind="gather", runs=[[0, 0, 1 << 40]], output=[BIG, BIG])], {"n": norm("copies", "y")}, W, (1, 2)
    ),
    "gathers of much, often": lambda: statement(
        [node("y", kind="gather", runs=[[0, 1, 1 << 23]], output=[1 << 23])],
        {f"n{i}": norm("copies", "y") for i in range(1000)},
        W,
        (1, 1 << 23),
    ),
    "a pad of everything": lambda: statement(
        [node("y", kind="pad", pads=[[0, 0], [BIG, BIG]], circular=True)], {"n": norm("copies", "y")}, W, (BIG, BIG)
    ),
    "means of everything": lambda: statement(
        [
            node(
                "y",
                kind="separable",
                factors=[[1, {"weight": "long", "shape": [1, BIG]}]],
                scale=[1, 1],
                output=[1, 1],
            )
        ],
        {"n": norm("separable", "y", squares=[HEX], slacks=[40])},
        W,
        (1, BIG),
    ),
    "rows of everything": lambda: statement(
        [node("y", **convolution(circular=True))], {"n": norm("rows", "y")}, W, (1, 1, BIG, BIG)
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_time_and_memory_are_bounded(tmp_path, name):
    assert run(tmp_path, HOSTILE[name](), safetensors(W)).returncode != 0
