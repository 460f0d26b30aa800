"""Changes to a certificate that its digests do not give away: they are computed again afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from math import isfinite, sqrt
from typing import Any

from hypothesis import strategies as st

from tests.certificates.materialised import Tree, canonical, digest

Draw = Callable[..., Any]
Path = tuple[str | int, ...]

JUNK = (
    *(None, True, False, 0, 1, -1, 2, 7, 2**31, 2**63, 10**17, -(10**17), 10**30),
    *(
        "",
        "x",
        "nan",
        "inf",
        "-inf",
        "-0x0.0p+0",
        "0x0.0p+0",
        "0x1.0000000000000p+1000000000",
        "1e1000000000",
        "\ud800",
    ),
    *("0x0.0000000000001p-1022", "0x1.fffffffffffffp+1023", "PROVED", "1", "0", "l2->linf", "l2->l2", "relu", "abs"),
    *("dense", "torus", "unrolled", "entries", "copies", "rows", "affine", "cpl", "sum", "joint", "named", "pointwise"),
)
COLLECTIONS = (
    "[]",
    "{}",
    "[[]]",
    "[0]",
    "[1, 1]",
    "[null]",
    '{"kind": "dense"}',
    '{"shape": [], "numbers": ["0x0.0p+0"]}',
)
FACTORS = (0.0, 0.5, 0.9, 1 - 2**-10, 1 - 2**-20, 1 - 2**-28, 1 + 2**-28, 1 + 2**-20, 1.1, 2.0, 1e-300, 1e300, -1.0)
TIGHTER = (1 - 2**-20, 1 - 2**-12, 1 - 2**-7, 0.9, 0.7, 0.5, 0.25, 0.1, 0.01)
RULES = ("dense", "unrolled", "torus", "entries", "copies", "separable", "rows")


def sealed(certificate: Tree) -> bytes:
    """The certificate's bytes, with every digest of its own computed again where it still has a place."""
    body = certificate.get("body") if isinstance(certificate, dict) else None
    if isinstance(body, dict):
        graph = body.get("graph")
        if isinstance(graph, dict):
            graph["sha256"] = digest(
                canonical({key: graph[key] for key in ("input", "shape", "nodes") if key in graph})
            )
        certificate["sha256"] = digest(canonical(body))
    return canonical(certificate)


def places(value: Tree, path: Path = ()) -> Iterator[Path]:
    """Every place below a value, outer ones first."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def at(tree: Tree, path: Path) -> Tree:
    for key in path:
        tree = tree[key]
    return tree


def copied(value: Tree) -> Tree:
    return json.loads(canonical(value))


def written(text: str) -> float | None:
    """The number that a text spells, in hexadecimal or not; None where it is none, or not finite."""
    try:
        number = float.fromhex(text) if text.startswith("0x") else float(text)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) else None


def nudged(draw: Draw, value: Tree) -> Tree:
    """A value near it, of the same type."""
    if type(value) is int:
        return draw(st.sampled_from((value + 1, value - 1, 2 * value, -value, value // 2)))
    if isinstance(value, str) and (number := written(value)) is not None:
        number *= draw(st.sampled_from(FACTORS))
        return number.hex() if value.startswith("0x") else repr(number)
    if isinstance(value, str):
        i = draw(st.integers(0, len(value)))
        return draw(st.sampled_from((value + value, value[:i] + "0" + value[i:], value[:i], value[i:], value[::-1])))
    if isinstance(value, list) and value:
        i = draw(st.integers(0, len(value) - 1))
        return draw(
            st.sampled_from((value[::-1], value[:i], value[i:], value + value[i : i + 1], value[i:] + value[:i]))
        )
    return draw(st.sampled_from(JUNK))


def change(draw: Draw, tree: Tree, *, by_name: bool = False) -> None:
    """One change at one place of a parsed certificate; ``by_name``: rare fields are met as often as frequent ones."""
    known = list(places(tree))
    path = draw(st.sampled_from(known))
    if by_name:
        named = {next((key for key in reversed(p) if isinstance(key, str)), "") for p in known}
        name = draw(st.sampled_from(sorted(named)))
        path = draw(st.sampled_from([p for p in known if name in p[-3:]] or known))
    outer, key = at(tree, path[:-1]), path[-1]
    alike = [p for p in known if p[-1] == key and p != path] if isinstance(key, str) else []
    what = draw(st.sampled_from(("nudge", "nudge", "junk", "collection", "take", "swap", "remove", "repeat", "rename")))
    if what == "nudge":
        outer[key] = nudged(draw, outer[key])
    elif what == "junk":
        outer[key] = draw(st.sampled_from(JUNK))
    elif what == "collection":
        outer[key] = json.loads(draw(st.sampled_from(COLLECTIONS)))
    elif what == "take":
        outer[key] = copied(at(tree, draw(st.sampled_from(alike or known))))
    elif what == "swap":
        other = draw(st.sampled_from(alike or known))
        if other[: len(path)] != path and path[: len(other)] != other:
            there = at(tree, other[:-1])
            outer[key], there[other[-1]] = there[other[-1]], outer[key]
    elif what == "remove":
        del outer[key]
    elif isinstance(outer, list):
        outer.insert(draw(st.integers(0, len(outer))), copied(outer[key]))
    else:
        outer[draw(st.sampled_from(("x", *(p[-1] for p in alike or known if isinstance(p[-1], str)))))] = (
            copied(outer[key]) if what == "repeat" else outer.pop(key)
        )


@st.composite
def changed(draw: Draw, text: bytes) -> bytes:
    """One to three changes anywhere in a certificate; most of them in its body."""
    tree = json.loads(text)
    for _ in range(draw(st.sampled_from((1, 1, 2, 3)))):
        if not isinstance(tree, dict):
            break
        part = draw(
            st.sampled_from(("graph", "norms", "norms", "regions", "regions", "evidence", "margins", "body", "all"))
        )
        body = tree.get("body")
        inside = body.get(part) if isinstance(body, dict) else None
        chosen = {"body": body, "all": tree, "evidence": tree.get("evidence")}.get(part, inside)
        chosen = chosen or body
        if isinstance(chosen, dict | list) and chosen:
            change(draw, chosen, by_name=draw(st.booleans()))
    return sealed(tree)


@st.composite
def of_another_graph(draw: Draw, text: bytes) -> bytes:
    """One change of the graph; all bounds stay."""
    tree = json.loads(text)
    change(draw, tree["body"]["graph"]["nodes"], by_name=True)
    return sealed(tree)


@st.composite
def tightened(draw: Draw, text: bytes) -> bytes:
    """A norm or a step below the truth, and every step, bound and claim after it in accordance with it."""
    tree = json.loads(text)
    body = tree["body"]
    if draw(st.booleans()):
        region = draw(st.sampled_from([region for region in body["regions"] if region["steps"]]))
        value = draw(st.sampled_from([step["value"] for step in region["steps"]]))
        follow(body, region, {value: draw(st.sampled_from(TIGHTER))})
    else:
        falsified(draw, body)
    return sealed(tree)


def falsified(draw: Draw, body: Tree) -> None:
    """One norm below the truth, perhaps by another rule, and what follows."""
    name = draw(st.sampled_from(sorted(body["norms"])))
    norm, factor = body["norms"][name], draw(st.sampled_from(TIGHTER))
    norm["square"] = (float.fromhex(norm["square"]) * factor).hex()
    if draw(st.booleans()):
        norm["slack"] = draw(st.integers(0, 40))
    if draw(st.booleans()):
        norm["rule"] = draw(st.sampled_from(RULES))
        for field in ("sizes", "twists", "grid", "squares", "slacks"):
            norm.pop(field, None)
        if norm["rule"] == "separable":
            squares = draw(st.lists(st.sampled_from((norm["square"], (1.0).hex())), min_size=1, max_size=2))
            norm.update(squares=squares, slacks=[norm["slack"]] * len(squares))
    if norm["rule"] == "torus" and (draw(st.booleans()) or "sizes" not in norm):
        axes = len(norm.get("sizes", ())) or draw(st.integers(1, 2))
        norm["sizes"] = draw(st.lists(st.integers(0, 8), min_size=axes, max_size=axes))
        norm["twists"] = draw(st.lists(st.integers(0, 1), min_size=axes, max_size=axes))
        norm["grid"] = draw(st.booleans())
    for region in body["regions"]:
        follow(body, region, {f"norm {name}": factor})


def follow(body: Tree, region: Tree, factors: dict[str, float]) -> None:
    """Makes the steps, the bound and the claim of a region what they would be with a norm's square or a step smaller.

    Args:
        factors: "norm" and its name, or the value of a step -> by how much.
    """
    reads = {node["value"]: node["reads"] for node in body["graph"]["nodes"]}
    before, after = {region["input"]: 1.0}, {region["input"]: 1.0}
    for step in region["steps"]:
        value, factor = step["value"], factors.get(f"norm {step.get('norm')}", 1.0)
        before[value] = float.fromhex(step["upper"])
        if step["rule"] in ("affine", "rows", "cpl"):
            (first,) = reads[body["norms"][step["norm"]]["maps"][0]]
            ratio = before[value] / before[first]
            if step["rule"] == "cpl":  # |1 + c slope s|, of which the second part is smaller
                made = max(1.0, (1 + ratio) * factor - 1) * after[first]
            else:
                made = ratio * sqrt(factor) * after[first]
        elif step["rule"] == "sum":
            made = sum(after[read] for read in reads[value])
        elif step["rule"] == "joint":
            made = sqrt(sum(after[read] ** 2 for read in reads[value]))
        else:
            (first,) = reads[value]
            made = before[value] / before[first] * after[first] if before[first] else 0.0
        after[value] = min(made * (1 + 2**-40), before[value]) * factors.get(value, 1.0)
        step["upper"] = after[value].hex()
    if region["upper"] is not None:
        stated = float.fromhex(region["upper"])
        region["upper"] = min(stated, after[region["output"]] * (1 + 2**-40)).hex()
        if region["claim"] is not None:
            region["claim"]["bound"] = f"{float.fromhex(region['upper']) * (1 + 2**-40):.17g}"


@st.composite
def garbled(draw: Draw, text: bytes) -> bytes:
    """Bytes flipped, cut off, inserted or moved; sealed again where it is still JSON, in half of the cases."""
    data = bytearray(text)
    for _ in range(draw(st.sampled_from((1, 1, 2, 4)))):
        i = draw(st.integers(0, max(len(data) - 1, 0)))
        what = draw(st.sampled_from(("flip", "digit", "digit", "cut", "insert", "drop", "move")))
        if what == "flip" and data:
            data[i] ^= 1 << draw(st.integers(0, 7))
        elif what == "digit":
            digits = [j for j, byte in enumerate(data) if 48 <= byte < 58]
            if digits:
                data[draw(st.sampled_from(digits))] = draw(st.sampled_from(b"0123456789abcdef-+.px"))
        elif what == "cut":
            del data[i:]
        elif what == "insert":
            data[i:i] = draw(st.binary(min_size=1, max_size=4))
        elif what == "drop":
            del data[i : i + draw(st.integers(1, 8))]
        elif what == "move":
            data += data[i : i + 20]
    if draw(st.booleans()):
        try:
            return sealed(json.loads(bytes(data)))
        except (ValueError, RecursionError):
            pass
    return bytes(data)


@st.composite
def other_weights(
    draw: Draw, text: bytes, weights: dict[str, tuple[str, tuple[int, ...], bytes]]
) -> tuple[bytes, dict]:
    """One bit of one weight changed; the certificate's digest of it computed again in most cases."""
    name = draw(st.sampled_from(sorted(weights)))
    dtype, shape, data = weights[name]
    bits = bytearray(data)
    bits[draw(st.integers(0, len(bits) - 1))] ^= 1 << draw(st.integers(0, 7))
    tree = json.loads(text)
    if draw(st.integers(0, 3)) and name in tree["body"]["weights"]:
        tree["body"]["weights"][name]["sha256"] = digest(bytes(bits))
    return sealed(tree), {**weights, name: (dtype, shape, bytes(bits))}
