"""Claims x verifiers -> Report: the only orchestrator."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from os import PathLike, fspath
from typing import Any

from torch import nn

from lipverify.claims import L2, LOGITS, Claim, ClaimError, NormPair, as_claims, check_layers, parse_claims, read_claims
from lipverify.errors import LipverifyError, quoted
from lipverify.evidence import Contradiction, Evidence, Rigor
from lipverify.graph import Region, regions, trace
from lipverify.models import Source, chosen, read_model
from lipverify.numerals import parse_rational
from lipverify.read import Program
from lipverify.read.calls import split_call
from lipverify.read.focus import advice
from lipverify.report import RegionReport, Report
from lipverify.rigor import machine
from lipverify.samples import as_samples, as_tensor, centers_of
from lipverify.undisturbed import undisturbed
from lipverify.verdict import Verdict, judge
from lipverify.verifiers import BUILT_IN, Problem, Verifier, admit


def audit(
    model: nn.Module | Program | str | PathLike[str],
    inputs: Any = None,
    *,
    claims: Iterable[Claim | Mapping[str, Any]] | Mapping[str, Any] | str | PathLike[str] | None = None,
    bounds_only: bool = False,
    source: Source = Source(),  # noqa: B008 - frozen
    verifiers: Sequence[str | Verifier] | None = None,
    radius: Fraction | int | str | None = None,
    trusted: Sequence[str] = (),
    seed: int = 0,
    progress: Callable[[str, str], None] = lambda path, verifier: None,
    name: str | None = None,
) -> Report:
    """Judge claims about a network's Lipschitz constants, layer by layer.

    Args:
        model: a module in eval mode (then ``inputs`` are needed, to trace it), a program, or the path of a model file.
        inputs: a tensor or array of inputs, shape (k, *one input without its batch axis). Local bounds are taken around
            them, and the search for witnesses starts there. Of a model of several inputs: a tuple of its arguments or a
            mapping of them by name, to trace it.
        claims: mappings such as ``{"layer": "features.0", "bound": "1"}`` or :class:`Claim` values, the content of a
            claims file or its path; None takes the claims that came inside the model file, if any. Without claims every
            region gets its bounds and no verdict.
        bounds_only: judge no claims, those inside the model file neither.
        source: how a file is handed over, and which input and output of several are judged.
        verifiers: names (``spectral``, ``sdp``, ``propagation``, ``witness``, ``package.module:Name``) or verifiers; all
            built-in ones by default.
        radius: l2 radius of the balls around ``inputs``, in each region's own input space.
        trusted: names of third-party verifiers whose rigor is believed; of all others the bounds count as numeric.
        seed: of every random choice.
        progress: called with the region's path and the verifier's name before each run.
        name: of the model, in the report.

    Raises:
        LipverifyError: for a model that cannot be read or traced, claims about layers that do not exist, unusable inputs.
    """
    start = time.perf_counter()
    if bounds_only and claims is not None:
        raise LipverifyError("bounds_only judges no claims, but claims were given", step="Leave one of them out.")
    with undisturbed():
        machine()
        radius, chosen = _radius(radius), _verifiers(verifiers, trusted)
        program = _program(model, inputs, source)
        if isinstance(inputs, tuple | Mapping):
            inputs = inputs.get(next(iter(program.inputs))) if isinstance(inputs, Mapping) else None
        samples = as_samples(program, inputs)
        claimed = None if bounds_only else _claims(claims, program)
        found = regions(program)
        if claimed is not None:
            check_layers(claimed, [*program.modules, *found])
        centers = centers_of(program, found, samples)
        rows = []
        for path, region, norms, claim in _questions(found, claimed, program.modules):
            bound, domain = (claim.bound, _domain(claim, region)) if claim else (None, None)
            problem = Problem(region, norms, bound, centers.get(path), radius, domain, seed)
            evidence = []
            for verifier in chosen:
                progress(path, verifier.name)
                evidence.append(_run(verifier, problem))
            rows.append(_row(problem, claim, tuple(evidence)))
    return Report(
        name or (type(model).__name__ if isinstance(model, nn.Module) else _named(model)),
        "real",
        tuple(rows),
        tuple(_notes(program)),
        time.perf_counter() - start,
        found,
    )


def _radius(radius: Any) -> Fraction | None:
    if radius is None or isinstance(radius, Fraction):
        length = radius
    elif isinstance(radius, int | float) and not isinstance(radius, bool):
        length = parse_rational(repr(radius), "the radius")
    elif isinstance(radius, str):
        length = parse_rational(radius, "the radius")
    else:
        raise LipverifyError(f"the radius is {type(radius).__name__}", step="Pass a number or its decimal text.")
    if length is not None and length < 0:
        raise LipverifyError("the radius is negative", step="Pass a radius >= 0.")
    return length


def _verifiers(verifiers: Sequence[str | Verifier] | None, trusted: Sequence[str]) -> list[Verifier]:
    chosen = list(BUILT_IN) if verifiers is None else list(verifiers)
    if not chosen:
        raise LipverifyError(
            "there are no verifiers", why="nothing would be checked", step=f"Name {', '.join(BUILT_IN)}."
        )
    admitted = [admit(v, trusted) for v in chosen]
    known = {v for v in chosen if isinstance(v, str)} | {v.name for v in admitted}
    for name in trusted:
        if name not in known:
            raise LipverifyError(
                f"the trusted verifier {quoted(name)} is not among those asked", step="Name it in both."
            )
    return admitted


def _claims(claims: Any, program: Program) -> tuple[Claim, ...] | None:
    if claims is None:
        inside = program.extra.get("claims.json")
        return None if inside is None else parse_claims(inside, "the claims inside the model")
    if isinstance(claims, str | PathLike):
        return read_claims(claims)
    return parse_claims(claims) if isinstance(claims, Mapping) else as_claims(claims)


def _program(model: Any, inputs: Any, source: Source) -> Program:
    if isinstance(model, Program):
        return chosen(model, source)
    if isinstance(model, nn.Module):
        if inputs is None:
            raise LipverifyError(
                "a live module needs an example input",
                why="its operations are known only once it is traced",
                step="Pass inputs=..., one input or more, batch axis first.",
            )
        example = inputs if isinstance(inputs, tuple | Mapping) else as_tensor(inputs)[:1]
        return chosen(trace(model, example), source)
    if isinstance(model, str | PathLike):
        return read_model(model, source, inputs)
    raise LipverifyError(
        f"{type(model).__name__} is no model", step="Pass a torch.nn.Module, a Program or a file's path."
    )


def _named(model: Any) -> str:
    return fspath(model) if isinstance(model, str | PathLike) else "program"


def _questions(
    found: Mapping[str, Region], claimed: Sequence[Claim] | None, modules: Sequence[str]
) -> list[tuple[str, Region, NormPair, Claim | None]]:
    """What to ask: every call of every claimed layer and the whole; without claims every region."""
    if claimed is None:
        return [(path, region, L2, None) for path, region in found.items()]
    asked = []
    for claim in claimed:
        paths = [p for p in found if p == claim.layer or split_call(p, modules)[0] == claim.layer]
        missing = Region(claim.layer, None, None, "no operation of the traced program belongs to it")
        asked += [(p, found[p], claim.norms, claim) for p in paths] or [(claim.layer, missing, claim.norms, claim)]
    if not any(path == "" for path, *_ in asked):
        asked.append(("", found[""], L2, None))
    return asked


def _domain(claim: Claim | None, region: Region) -> Any:
    if claim is None or claim.domain is None or region.program is None:
        return None
    shape = next(iter(region.program.inputs.values()))
    if claim.domain.center.shape != shape:
        raise ClaimError(
            f"the claim on layer {quoted(claim.layer)} has a ball around a point of shape {claim.domain.center.shape}",
            why=f"the layer's input has shape {shape}",
            step="Give the center in the layer's own input space.",
        )
    return claim.domain


def _run(verifier: Verifier, problem: Problem) -> Evidence:
    """One verifier's evidence, under its own name; where it fails it says nothing, and the others still speak."""
    start = time.perf_counter()
    try:
        evidence = verifier.verify(problem)
        if not isinstance(evidence, Evidence):
            raise TypeError(f"it returned {type(evidence).__name__}, not Evidence")
        return replace(evidence, verifier=verifier.name, seconds=time.perf_counter() - start)
    except LipverifyError:
        raise
    except Contradiction as found:
        contradiction = f"{found.method}: its own bounds contradict each other"
        evidence = Evidence(verifier.name, contradiction=contradiction, reason=contradiction)
        if found.lower > found.upper >= 0:
            evidence = Evidence(verifier.name, found.lower, found.upper, Rigor.RIGOROUS, found.method)
    except Exception as error:
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        evidence = Evidence(verifier.name, reason=f"it failed ({why})")
    return replace(evidence, seconds=time.perf_counter() - start)


def _row(problem: Problem, claim: Claim | None, evidence: tuple[Evidence, ...]) -> RegionReport:
    region = problem.region
    unsupported = region.unsupported
    if unsupported is None and problem.norms not in (L2, LOGITS):
        unsupported = f"no rule bounds the norm pair {problem.norms}; l2->l2 and l2->linf are judged"
    verdict, mismatches = judge(region.path, claim, evidence, unsupported)
    uppers = [e for e in evidence if e.rigor.proves and e.upper is not None and not e.local]
    lowers = [e for e in evidence if e.rigor.proves and e.lower is not None]
    upper = min(uppers, key=lambda e: e.upper or 0, default=None)
    lower = max(lowers, key=lambda e: e.lower or 0, default=None)
    shown = [(e.witness.ratio, e) for e in evidence if e.rigor.proves and e.witness is not None]
    deciding = max(shown, key=lambda pair: pair[0])[1] if verdict is Verdict.REFUTED else upper
    reason = None
    if verdict in (None, Verdict.UNSUPPORTED):
        reason = unsupported
    elif verdict is Verdict.UNDECIDED:
        reason = "no proved bound reaches the claim" if upper or lower else "no verifier gave a proved bound"
        if claim is not None and lower is not None and lower.lower is not None and lower.lower > claim.bound:
            reason = "a proved lower bound is above the claim, but no two inputs that show it were found"
    return RegionReport(
        region.path,
        problem.norms,
        claim,
        verdict,
        lower.lower if lower else None,
        upper.upper if upper else None,
        deciding.method if deciding else "",
        evidence,
        mismatches,
        reason,
        next(iter(region.program.inputs.values())) if region.program else None,
    )


def _notes(program: Program) -> list[str]:
    read_by = {r for op in program.operations for r in op.references} | set(program.outputs)
    unused = sorted(program.weight_names.get(n, n) for n in program.weights if n not in read_by)
    unused = [n for n in unused if not n.endswith("num_batches_tracked")]  # a counter that batch norm reads in training
    unread = [f"weights that no operation reads: {', '.join(map(quoted, unused))}"] if unused else []
    return [*program.notes, *filter(None, [advice(program)]), *unread]
