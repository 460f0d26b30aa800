"""Certificate files -> what they state: strict, bounded, every digest recomputed. Nothing is proved here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any

from lipverify import strict_json
from lipverify.baseline.stated import Certificate, Margin, Statement, Stored
from lipverify.certificates.canonical import digest
from lipverify.claims import NORMS
from lipverify.errors import LipverifyError, ReadError, quoted
from lipverify.numerals import parse_rational
from lipverify.verdict import Verdict

MAX_FILE = 1 << 28
MIGRATE = "Write it again: lipverify audit MODEL --certificate F"
_PLACE = re.compile(r"line \d+, column \d+$")
_KINDS = {list: "a list", str: "a string", int: "a number", bool: "true or false", type(None): "null"}
_HEX = re.compile(r"0x[01]\.[0-9a-f]{1,13}p[+-]\d{1,4}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


def read_certificate(path: str | PathLike[str]) -> Certificate:
    """The certificate in a file.

    Raises:
        ReadError: where there is no such file, or :func:`parse_certificate` refuses it.
    """
    return parse_certificate(certificate_bytes(path), quoted(path, 300))


def certificate_bytes(path: str | PathLike[str]) -> bytes:
    """What is in a file, which must be no longer than a certificate may be.

    Raises:
        ReadError: where it is, or there is none.
    """
    where = quoted(path, 300)
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ReadError("the certificate cannot be read", where=where, why=why, step="Check the path.") from None
    if len(data) > MAX_FILE:
        raise ReadError("the certificate is too long", where=where, why=f"the limit is {MAX_FILE} bytes", step=MIGRATE)
    return data


def parse_certificate(data: bytes, where: str) -> Certificate:
    """The certificate in the bytes of a file.

    Args:
        data: the bytes.
        where: names the file in messages.

    Raises:
        ReadError: where it is no certificate, one of another schema than :data:`SCHEMAS`, or one that was changed after it
            was made.
    """
    try:
        text = data.decode("utf-8")
        value = strict_json.loads(text, integers_only=True, limit=MAX_FILE)
        if type(value) is not dict:
            raise ValueError(f"its top level is {_KINDS.get(type(value), 'no object')}, not an object")
        schema = value["schema"]
        if type(schema) is str and schema in SCHEMAS:
            return SCHEMAS[schema](value, text)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, LipverifyError) as error:
        why = f"it has no {error}" if isinstance(error, KeyError) else quoted(error, 300)
        if isinstance(error, UnicodeDecodeError):
            why = "it is no text in UTF-8"
        elif place := _PLACE.search(str(error)):
            why = f"it is no JSON text: {place[0]}"
        elif isinstance(error, TypeError | AttributeError):
            why = "a part of it is of another type than the schema says"
        raise ReadError("the file is no certificate", where=where, why=why, step=MIGRATE) from None
    what = f"the certificate is of schema {quoted(schema)}"
    raise ReadError(what, where=where, why=f"read are {', '.join(SCHEMAS)}", step=MIGRATE)


def _first(value: Mapping[str, Any], text: str) -> Certificate:
    """A certificate of schema 1."""
    _keys(value, "the certificate", ("schema", "body", "sha256"), ("evidence", "made"))
    body = value["body"]
    _keys(body, "the body", ("semantics", "weights", "graph", "norms", "regions", "margins"))
    graph = body["graph"]
    _keys(graph, "the graph", ("input", "shape", "nodes", "sha256"))
    if body["semantics"] != "real":
        raise ValueError(f"its semantics is {quoted(body['semantics'])}; real is read")
    if digest(body) != value["sha256"]:
        raise ValueError("the digest of its body is another one: it was changed after it was made")
    if digest({key: graph[key] for key in ("input", "shape", "nodes")}) != graph["sha256"]:
        raise ValueError("the digest of its graph is another one: it was changed after it was made")
    values = _values(graph)
    statements = tuple(_statement(region, values) for region in _list(body["regions"], "the regions"))
    if not statements:
        raise ValueError("it has no regions: nothing is stated")
    margins = tuple(_margin(margin) for margin in _list(body["margins"], "the margins"))
    for stated, what in ((statements, "region, norm pair and domain"), (margins, "input and class")):
        if len({s.key for s in stated}) < len(stated):
            raise ValueError(f"it states two things of one {what}")
    weights = {name: _stored(entry, name) for name, entry in body["weights"].items()}
    return Certificate(weights, graph, statements, margins, _made(value.get("made")), value["sha256"], text)


SCHEMAS: Mapping[str, Callable[[Mapping[str, Any], str], Certificate]] = {"lipverify-certificate/1": _first}
"""What is read: the schema of this version and, once there is one, of the version before it."""


def _statement(region: Mapping[str, Any], values: set[str]) -> Statement:
    names = ("path", "norm", "claim", "verdict", "reason", "input", "output", "steps", "upper", "rule")
    _keys(region, "a region", names)
    path = _text(region["path"], "a path")
    where = f"the region {quoted(path)}"
    norm = _norm_pair(region["norm"], where)
    claim, verdict, bound, text, domain = region["claim"], region["verdict"], None, None, None
    if (claim is None) is not (verdict is None):
        raise ValueError(f"{where} has a claim without a verdict, or a verdict without a claim")
    if claim is not None:
        _keys(claim, f"the claim on {where}", ("bound", "domain"))
        text, domain = _text(claim["bound"], where), claim["domain"]
        bound = parse_rational(text, f"the claim on {where}")
        if domain is not None:
            domain = _digest(domain, where)
    upper = None if region["upper"] is None else hex_bound(region["upper"], where)
    _list(region["steps"], where)
    for end in (region["input"], region["output"]):
        if end is not None and end not in values:
            raise ValueError(f"{where} begins or ends at {quoted(end, 40)}, which is no value")
    rest = (None if region[name] is None else _text(region[name], where) for name in ("rule", "input", "output"))
    return Statement(path, norm, domain, text, bound, None if verdict is None else Verdict(verdict), upper, *rest)


def _margin(margin: Any) -> Margin:
    where = "a margin"
    _keys(margin, where, ("input", "class", "radius", "norm"))
    _keys(margin["input"], where, ("shape", "base64"))
    if type(margin["class"]) is not int or margin["class"] < 0:
        raise ValueError(f"{where} is of the class {quoted(margin['class'], 40)}")
    radius = parse_rational(_text(margin["radius"], where), "the radius of a margin")
    return Margin(digest(margin["input"]), margin["class"], _norm_pair(margin["norm"], where), radius)


def _norm_pair(value: Any, where: str) -> str:
    norm = _text(value, where)
    if norm.count("->") != 1 or not set(norm.split("->")) <= set(NORMS):
        raise ValueError(f"{where} has the norm pair {quoted(norm)}, which is not known")
    return norm


def hex_bound(text: Any, where: str) -> Fraction:
    """The float64 >= 0 whose hexadecimal text, as Python writes it, is ``text``.

    Raises:
        ValueError: for anything else.
    """
    if type(text) is not str or not _HEX.fullmatch(text) or float.fromhex(text).hex() != text:
        raise ValueError(f"{where} has the bound {quoted(text)}, no float in hexadecimal as Python writes it")
    return Fraction(float.fromhex(text))


def _values(graph: Mapping[str, Any]) -> set[str]:
    """The names of the graph's values, each computed before it is read; what their maps are is the checker's to say."""
    known = {_text(graph["input"], "the graph's input")}
    for node in _list(graph["nodes"], "the nodes"):
        _keys(node, "a node", ("value", "map", "reads"))
        value = _text(node["value"], "a node")
        if type(node["map"]) is not dict or value in known or not known.issuperset(_list(node["reads"], "a node")):
            raise ValueError(f"the node {quoted(value)} has no map, is computed twice, or reads what is not computed")
        known.add(value)
    return known


def _stored(entry: Mapping[str, Any], name: str) -> Stored:
    where = f"the weight {quoted(name)}"
    _keys(entry, where, ("dtype", "shape", "sha256"))
    shape = _list(entry["shape"], where)
    if not all(type(n) is int and 0 <= n < 1 << 40 for n in shape):
        raise ValueError(f"{where} has the shape {quoted(shape)}")
    return Stored(_text(entry["dtype"], where), tuple(shape), _digest(entry["sha256"], where))


def _made(value: Any) -> dict[str, str]:
    """Versions of tools by name; the model's name and the seconds that it took differ without meaning."""
    made = () if value is None else value.items()
    return {key: _text(version, f"the tool {quoted(key)}") for key, version in made if key not in ("model", "seconds")}


def _keys(value: Any, where: str, required: Iterable[str], optional: Iterable[str] = ()) -> None:
    """That ``value`` is an object of the required keys and perhaps the optional ones."""
    if type(value) is not dict:
        raise ValueError(f"{where} is no object")
    for key in set(required) - set(value):
        raise ValueError(f"{where} has no {key}")
    for key in set(value) - {*required, *optional}:
        raise ValueError(f"{where} has the unknown key {quoted(key, 40)}")


def _list(value: Any, where: str) -> list[Any]:
    if type(value) is not list:
        raise ValueError(f"{where}: {quoted(value, 40)} is no list")
    return value


def _text(value: Any, where: str) -> str:
    if type(value) is not str:
        raise ValueError(f"{where}: {quoted(value, 40)} is no text")
    return value


def _digest(value: Any, where: str) -> str:
    if not _DIGEST.fullmatch(_text(value, where)):
        raise ValueError(f"{where}: {quoted(value)} is no SHA-256 digest")
    return value
