"""A certificate against a model: is it of this model, and does the checker accept what it states?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lipverify.baseline import Certificate, Stored, parse_certificate
from lipverify.certificates.arrays import Arrays
from lipverify.certificates.graph import graph_data
from lipverify.certificates.stored import DTYPES
from lipverify.certificates.stored import Stored as StoredTensors
from lipverify.errors import ReadError, quoted
from lipverify.graph import Region, regions
from lipverify.read import Program
from lipverify.undisturbed import undisturbed

ON_TRUST = (
    "lipverify's reading of the model, whose graph and regions were derived again and are those of the certificate"
)
MAX_NAMED = 20
"""So many things that differ are named."""
_WHOLE_NUMBERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True, slots=True, eq=False)
class Derived:
    """What a certificate is held against, derived from the model again.

    Attributes:
        graph: as a certificate has it.
        regions: by path.
        weights: that the graph reads: name -> (dtype, shape, little-endian bytes in C order).
    """

    graph: Mapping[str, Any]
    regions: Mapping[str, Region]
    weights: Mapping[str, tuple[str, tuple[int, ...], bytes]]


def derive(program: Program) -> Derived:
    """Graph, regions and weights of a program.

    Raises:
        LipverifyError: where a certificate cannot name them.
    """
    with undisturbed():
        examined, stored = regions(program), StoredTensors(program)
        arrays = Arrays(program, stored)
        graph = graph_data(examined, arrays)
        tensors = stored.tensors(arrays.read)
    weights = {name: (DTYPES[t.dtype], tuple(t.shape), _bytes(t)) for name, t in tensors.items()}
    return Derived(graph, examined, weights)


def check(data: bytes, derived: Derived, weights: Path | None, progress: Callable[[str], object], where: str) -> Any:
    """What the checker says of a certificate; what of it is not of the model is refused in the same outcome.

    Args:
        data: the certificate's file.
        derived: of the model.
        weights: a safetensors file to check with, in place of the model's own weights.
        progress: called with a line before every longer proof.
        where: names the certificate in messages.

    Returns:
        The ``Outcome`` of ``lipverify_checker``.

    Raises:
        ReadError: where the checker understands what lipverify does not.
    """
    import lipverify_checker as checker

    try:
        stored = checker.Weights.of(derived.weights) if weights is None else checker.Weights(str(weights))
    except (OSError, checker.Refused) as error:
        raise ReadError("the weights cannot be read", where=quoted(weights, 300), why=quoted(error, 300)) from None
    outcome = checker.check(data, stored, progress)
    if outcome.unreadable is not None:
        return outcome
    try:
        certificate = parse_certificate(data, where)
    except ReadError:
        if outcome.refused:  # a digest, say: the checker has named it
            return outcome
        raise
    differing = [f"not of this model: {what}" for what in differences(certificate, derived)]
    if len(differing) > MAX_NAMED:
        differing[MAX_NAMED:] = [f"not of this model: {len(differing) - MAX_NAMED} things more"]
    outcome.refused[:0] = differing
    if not differing:
        outcome.trusted[:] = [ON_TRUST if line == checker.GRAPH_ON_TRUST else line for line in outcome.trusted]
    return outcome


def differences(certificate: Certificate, derived: Derived) -> Iterator[str]:
    """What a certificate states of another model than the one that was derived: weights, graph and regions, by name."""
    for name, (dtype, shape, data) in derived.weights.items():
        stated = certificate.weights.get(name)
        if stated is None:
            yield f"the weight {quoted(name)}, which the model's graph reads, is not stated"
        elif stated != Stored(dtype, shape, hashlib.sha256(data).hexdigest()):
            same = (stated.dtype, stated.shape) == (dtype, shape)
            yield f"the weight {quoted(name)} has {'other numbers' if same else 'another dtype or shape'}"
    for name in certificate.weights.keys() - derived.weights.keys():
        yield f"the model's graph reads no weight {quoted(name)}"
    named = list(_of_graphs(certificate.graph, derived.graph))
    if not named and certificate.graph["sha256"] != derived.graph["sha256"]:
        named = ["the graph is another one"]  # by whatever is not looked for: nothing that differs goes unsaid
    yield from named
    yield from _of_regions(certificate, derived.regions)


def _of_graphs(stated: Mapping[str, Any], derived: Mapping[str, Any]) -> Iterator[str]:
    if stated["sha256"] == derived["sha256"]:
        return
    if (stated["input"], stated["shape"]) != (derived["input"], derived["shape"]):
        yield f"the graph's input {quoted(stated['input'])} has another name or shape in the model"
    nodes = {node["value"]: node for node in stated["nodes"]}
    again = {node["value"]: node for node in derived["nodes"]}
    if list(nodes) != list(again) and nodes.keys() == again.keys():
        yield "the graph's nodes are in another order"
    for value in again:
        if value not in nodes:
            yield f"the graph has no node {quoted(value)}"
        elif nodes[value] != again[value]:
            part = "reads other values" if nodes[value]["reads"] != again[value]["reads"] else "is another map"
            yield f"the node {quoted(value)} {part} in the model"
    for value in nodes.keys() - again.keys():
        yield f"the model has no node {quoted(value)}"


def _of_regions(certificate: Certificate, derived: Mapping[str, Region]) -> Iterator[str]:
    for s in certificate.statements:
        region, place = derived.get(s.path), f"the region {quoted(s.path)}"
        plain = None if region is None else region.plain
        ends = (None, None) if plain is None else (plain.input, plain.output)
        if region is None and s.input is not None:
            yield f"the model has no region {quoted(s.path)}"
        elif (s.input, s.output) != ends:
            yield f"{place} goes from {quoted(ends[0])} to {quoted(ends[1])} in the model"
        elif region is not None and region.unsupported is not None and s.upper is not None:
            yield f"{place} has no bound that its graph could show: {quoted(region.unsupported, 300)}"


def _bytes(tensor: torch.Tensor) -> bytes:
    """The little-endian bytes in C order."""
    numbers = tensor.reshape(-1).view(_WHOLE_NUMBERS[tensor.itemsize]).numpy()
    return numbers.astype(numbers.dtype.newbyteorder("<")).tobytes()
