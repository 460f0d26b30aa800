"""Certificates written by hand: what is stated counts here, not whether it is true."""

from __future__ import annotations

import copy
import json
from fractions import Fraction
from pathlib import Path

from lipverify.baseline import Certificate, read_certificate
from lipverify.certificates.canonical import digest

BALL = "b" * 64


def weight(n: int) -> dict:
    return {"dtype": "F32", "shape": [4, 4], "sha256": f"{n:064x}"}


def dense(value: str, name: str, read: str) -> dict:
    array = {"weight": name, "shape": [4, 4]}
    return {"value": value, "map": {"kind": "dense", "weight": array, "bias": None}, "reads": [read]}


def region(path, start, end, upper="1.5", claim="2", verdict="PROVED", norm="l2->l2", domain=None) -> dict:
    return {
        "path": path,
        "norm": norm,
        "claim": None if claim is None else {"bound": claim, "domain": domain},
        "verdict": None if claim is None else verdict,
        "reason": None,
        "input": start,
        "output": end,
        "steps": [],
        "upper": None if upper is None else float(Fraction(upper)).hex(),
        "rule": "affine",
    }


def margin(radius: str = "0.5", point: str = "AAAA", kept: int = 0) -> dict:
    return {"input": {"shape": [1, 4], "base64": point}, "class": kept, "radius": radius, "norm": "l2->l2"}


def certificate(**changes) -> dict:
    """Two dense layers with a ReLU between them, and the whole; ``changes`` replace parts of the body."""
    relu = {"value": "relu", "map": {"kind": "pointwise", "name": "relu", "slopes": [[0, 1], [1, 1]]}, "reads": ["a"]}
    body = {
        "semantics": "real",
        "weights": {"fc1.weight": weight(1), "fc2.weight": weight(2)},
        "graph": {
            "input": "x",
            "shape": [1, 4],
            "nodes": [dense("a", "fc1.weight", "x"), relu, dense("b", "fc2.weight", "relu")],
        },
        "norms": {},
        "regions": [region("fc1", "x", "a"), region("fc2", "relu", "b"), region("", "x", "b", "2.25", None)],
        "margins": [],
    }
    made = {"model": "m.pt2", "lipverify": "0.1.0", "torch": "2.13.0", "seconds": "3.00"}
    return sealed({"schema": "lipverify-certificate/1", "body": copy.deepcopy(body | changes), "made": made})


def sealed(data: dict) -> dict:
    """With the digests of what it holds now."""
    graph = data["body"]["graph"]
    graph["sha256"] = digest({key: graph[key] for key in ("input", "shape", "nodes")})
    data["sha256"] = digest(data["body"])
    return data


def edited(edit, **changes) -> dict:
    """The certificate after ``edit(body)``, its digests those of what it then holds."""
    data = certificate(**changes)
    edit(data["body"])
    return sealed(data)


def stated(directory: Path, data: dict) -> Certificate:
    return read_certificate(write(directory / "stated.json", data))


def write(path: Path, data: dict) -> Path:
    path.write_text(json.dumps(data))
    return path
