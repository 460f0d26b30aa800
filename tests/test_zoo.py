"""The zoo: whatever family a network is of, every part of it is judged, or refused by name; and no bound is wrong.

Oracle: dense float64 Jacobians of every region's own program, at inputs that the whole network sends it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from fractions import Fraction

import pytest
import torch
from torch import nn

from lipverify.auditing import audit
from lipverify.evidence import Evidence
from lipverify.graph import Region, TraceError, regions, trace
from lipverify.maps import size
from lipverify.read import ReadError, read
from lipverify.read.program import Program
from lipverify.verdict import Verdict
from lipverify.verifiers.problem import Problem
from lipverify.verifiers.spectral import Spectral
from lipverify.verifiers.witness import WitnessSearch
from tests.zoo import NETWORKS, Network

SMALL = [name for name, network in NETWORKS.items() if not network.large]
LARGE = [name for name, network in NETWORKS.items() if network.large]
MOST_ENTRIES = 1024
"""Regions with more inputs or outputs have no dense oracle here; those of small networks have fewer."""
UNREACHED = Fraction(10**30)
"""A claim that no lower bound refutes: no pair of large inputs is looked for."""
ROUNDING = 1e-7
"""Of the oracle: torch's derivative of hardsigmoid is the float32 next to 1/6, in float64 too."""


@dataclass(frozen=True, slots=True)
class Examined:
    """A network, traced, and what the spectral verifier says of every region of it."""

    network: Network
    model: nn.Module
    program: Program
    regions: Mapping[str, Region]
    evidence: Mapping[str, Evidence]


def examine(program: Program, bound: Fraction | None = None) -> tuple[Mapping[str, Region], dict[str, Evidence]]:
    found, spectral = regions(program), Spectral()
    return found, {path: spectral.verify(Problem(region, bound=bound)) for path, region in found.items()}


@pytest.fixture(scope="module")
def examined(request) -> Iterator[Examined]:
    """Made once for all tests of one network, which therefore run one after another."""
    network = NETWORKS[request.param]
    model = network.build(request.param)
    program = trace(model, torch.zeros(network.shape))
    bound = UNREACHED if network.large else None
    yield Examined(network, model, program, *examine(program, bound))


each_small = pytest.mark.parametrize("examined", SMALL, indirect=True)
each = pytest.mark.parametrize("examined", NETWORKS, indirect=True)


def live(program: Program) -> set[str]:
    """Operations that depend on the input and that an output depends on."""
    moved, needed = set(program.inputs), set(program.outputs)
    for op in program.operations:
        if moved & set(op.references):
            moved.add(op.name)
    for op in reversed(program.operations):
        if op.name in needed:
            needed.update(op.references)
    return {op.name for op in program.operations if op.name in moved & needed}


@each
def test_every_operation_is_in_a_region_and_every_region_is_bounded_or_refused_by_name(examined):
    wanted = live(examined.program)
    calls = {call for op in examined.program.operations if op.name in wanted for call in op.calls}
    assert set(examined.regions) == calls | {""}
    whole = examined.regions[""].program
    assert whole is None or {op.name for op in whole.operations} >= wanted
    for path, region in examined.regions.items():
        evidence = examined.evidence[path]
        if region.unsupported is None:
            assert evidence.upper is not None, (path, evidence.reason)
            assert evidence.rigor.proves and evidence.method
        else:
            assert evidence.upper is None and len(evidence.reason or "") > 20, (path, evidence.reason)
    reason = examined.evidence[""].reason or ""
    assert bool(reason) == bool(examined.network.unsupported), reason
    assert examined.network.unsupported in reason


@each_small
def test_no_enclosure_excludes_a_dense_jacobian(examined):
    generator = torch.Generator().manual_seed(3)
    for scale in (0.3, 1.0, 4.0):
        x = scale * torch.randn(examined.network.shape, generator=generator, dtype=torch.float64)
        values = {**dict.fromkeys(examined.program.inputs, x), **examined.program.values(x)}
        for path, region in examined.regions.items():
            evidence = examined.evidence[path]
            if evidence.upper is None:
                continue
            slope = steepest(region.program, values)
            assert slope <= float(evidence.upper) * (1 + ROUNDING), path
            if evidence.lower is not None:  # one linear map: its Jacobian is the same everywhere
                assert float(evidence.lower) * (1 - ROUNDING) <= slope, path
                assert evidence.lower <= evidence.upper


def steepest(program: Program, values: Mapping[str, torch.Tensor]) -> float:
    """The norm of the program's Jacobian at the value that its input has among ``values``."""
    ((name, shape),) = program.inputs.items()
    outputs = values[program.outputs[0]].numel()
    assert max(size(shape), outputs) <= MOST_ENTRIES, "too large for a zoo of small networks"

    def flat(x: torch.Tensor) -> torch.Tensor:
        return program(x.reshape(shape)).reshape(-1)

    x = values[name].detach().reshape(-1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        jacobian = torch.autograd.functional.jacobian(flat, x)
    return float(torch.linalg.matrix_norm(jacobian, 2))


@each_small
def test_a_witness_stays_below_the_bound(examined):
    region, bound = examined.regions[""], examined.evidence[""].upper
    found = WitnessSearch().verify(Problem(region))
    assert found.lower is not None or found.reason
    if found.lower is not None and bound is not None:
        assert found.lower <= bound


@each_small
def test_verdicts_and_exit_codes_follow_the_bounds(examined):
    """Claims at the bounds are PROVED; claims below a linear map's norm are REFUTED; nothing else is either."""
    claims, expected = [], []
    for module in dict.fromkeys(path.partition("@")[0] for path in examined.regions):
        calls = [p for p in examined.regions if p.partition("@")[0] == module]
        uppers = [examined.evidence[p].upper for p in calls]
        top = max((u for u in uppers if u is not None), default=Fraction(1))
        claims.append({"layer": module, "bound": decimal_above(top)})
        expected += [Verdict.UNSUPPORTED if u is None else Verdict.PROVED for u in uppers]
    report = audit(examined.program, claims=claims, verifiers=[Spectral()])
    assert [row.verdict for row in report.regions] == expected
    assert report.exit_code == (3 if Verdict.UNSUPPORTED in expected else 0)
    assert all(row.reason for row in report.regions if row.verdict is Verdict.UNSUPPORTED)
    linear = {p: e.lower for p, e in examined.evidence.items() if e.lower and "@" not in p}
    if linear:
        lowered = [{"layer": path, "bound": decimal_above(lower * Fraction(99, 100))} for path, lower in linear.items()]
        report = audit(examined.program, claims=lowered, verifiers=[Spectral(), WitnessSearch()])
        judged = {row.path: row for row in report.regions if row.claim is not None}
        assert all(row.verdict in (Verdict.REFUTED, Verdict.UNDECIDED) for row in judged.values() if row.path in linear)
        assert all(
            judged[p].verdict is Verdict.REFUTED for p, e in examined.evidence.items() if p in linear and e.witness
        )
        assert report.exit_code == (1 if Verdict.REFUTED in {r.verdict for r in judged.values()} else 3)


def decimal_above(bound: Fraction) -> str:
    context = Context(prec=40, rounding=ROUND_CEILING)
    return format(context.divide(Decimal(bound.numerator), Decimal(bound.denominator)), "f")


@pytest.mark.filterwarnings("ignore")
@each_small
def test_an_exported_file_gets_the_same_bounds_or_is_refused_by_name(examined, tmp_path):
    exported = torch.export.export(examined.model, (torch.zeros(examined.network.shape),))
    refused = ""
    for form, program in (("as exported", exported), ("decomposed", exported.run_decompositions())):
        torch.export.save(program, tmp_path / "model.pt2")
        try:
            found, evidence = examine(read(tmp_path / "model.pt2"))
        except ReadError as error:
            refused += str(error)
            continue
        assert set(found) == set(examined.regions), form
        for path, region in found.items():
            ours, theirs = examined.evidence[path].upper, evidence[path].upper
            if theirs is None:
                reason = region.unsupported or ""
                named = "aten." in reason and (form == "decomposed" or "cannot be folded" in reason)
                assert ours is None or named, (form, path, reason)
            else:
                assert ours is not None, (form, path)
                # What is decomposed may be merged less well, and be bounded more coarsely.
                low, high = 1 - 1e-6, (1 + 1e-6 if form == "as exported" else 2)
                assert float(ours) * low <= float(theirs) <= float(ours) * high, (form, path)
    assert bool(refused) == bool(examined.network.unread) and examined.network.unread in refused, refused


def test_integer_inputs_are_refused():
    with pytest.raises(TraceError, match="int64"):
        trace(nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 2)).eval(), torch.zeros(1, 3, dtype=torch.long))
