"""The witness verifier: input pairs of the original program that show a lower bound, proved.

The search is heuristic and may use anything: power iteration on the Jacobian at given, zero and random inputs, and
where every ReLU is switched on (there a residual block attains its constant), then ascent on the ratio of the best one.
What it finds is rounded to the program's own dtype, and the ratio of the rounded pair is proved.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch
from torch.func import jvp, vjp
from torch.utils.flop_counter import FlopCounterMode

from lipverify.claims import L2, LOGITS, NormPair
from lipverify.evidence import Evidence, Rigor, Witness
from lipverify.maps import size
from lipverify.read.program import Program
from lipverify.rigor.enclose import NotEnclosed
from lipverify.verifiers.problem import Problem
from lipverify.verifiers.ratio import inside, prove_ratio

Pair = tuple[torch.Tensor, torch.Tensor]
SWITCHING = 1000
"""So many passes through the network take the start where every ReLU is switched on."""
SMALL = 24
"""A region of at most so many inputs is searched from as many random ones: each lies in a linear piece of its own."""
SWITCHED = ("aten.relu.default", "aten.leaky_relu.default")
BUDGET = 5e10
"""Operations that one search may take: some seconds on one core. A larger network is searched less thoroughly."""


@dataclass(frozen=True, slots=True)
class WitnessSearch:
    """A rigorous lower bound with the pair of inputs that shows it.

    Attributes:
        starts: how many of the given centers, and how many random inputs, the search starts from at least.
        iterations: of the power iteration at each start.
        steps: of the ascent on the ratio from the best pair.

    A network of which a whole search would take more than ``BUDGET`` operations is given fewer starts, iterations and steps,
    in proportion: the search is a function of the network and the seed, never of the clock.
    """

    name: str = "witness"
    starts: int = 2
    iterations: int = 20
    steps: int = 30

    def verify(self, problem: Problem) -> Evidence:
        start = time.perf_counter()
        program = problem.region.program
        if program is None:
            return Evidence(self.name, reason=problem.region.unsupported or "the region has no program of its own")
        if problem.norms not in (L2, LOGITS):
            return Evidence(self.name, reason=f"no search in the norm pair {problem.norms}")
        try:
            search = self._affordable(program)
            pairs = sorted(search._pairs(program, problem), key=lambda pair: -_ratio(program, pair, problem.norms))
            best: tuple[Fraction, list[np.ndarray] | None] = (Fraction(-1), None)
            for x, y in pairs[:1] + [search._ascend(program, pair, problem) for pair in pairs[:1]]:
                rounded = [v.to(program.dtype).to(torch.float64).numpy() for v in (x, y)]
                if problem.domain is None or all(inside(v, problem.domain) for v in rounded):
                    ratio = prove_ratio(program, rounded[0], rounded[1], problem.norms)
                    best = max(best, (ratio, rounded), key=lambda found: found[0])
        except NotEnclosed as reason:
            return Evidence(self.name, reason=str(reason), seconds=time.perf_counter() - start)
        except (RuntimeError, ValueError, NotImplementedError) as error:  # torch has no derivative, or no such operator
            why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            return Evidence(self.name, reason=f"the program cannot be run and differentiated: {why}")
        ratio, found = best
        seconds = time.perf_counter() - start
        if found is None:
            why = "no pair of inputs in the claim's domain was found"
            return Evidence(self.name, reason=why, seconds=seconds)
        if not ratio and pairs and _ratio(program, pairs[0], problem.norms) > 0:
            why = "the outputs of the inputs found differ by less than their enclosures' radii: too deep for float64 balls"
            return Evidence(self.name, reason=why, seconds=seconds)
        return Evidence(
            self.name,
            lower=ratio,
            rigor=Rigor.RIGOROUS,
            method="two inputs, ratio in ball arithmetic",
            seconds=seconds,
            witness=Witness(found[0], found[1], ratio),
        )

    def _affordable(self, program: Program) -> WitnessSearch:
        """This search, or a smaller one for a network so large that it would take more than ``BUDGET`` operations."""
        passes = 4 * self.iterations * (2 * self.starts + 2) + 10 * self.steps
        share = BUDGET / (passes * _operations(program))
        if share >= 1:
            return self
        return replace(
            self,
            starts=max(1, round(self.starts * share)),
            iterations=max(4, round(self.iterations * share)),
            steps=round(self.steps * share),
        )

    def _pairs(self, program: Program, problem: Problem) -> Iterator[Pair]:
        """Candidate pairs, finite, inside the domain up to rounding."""
        generator = torch.Generator().manual_seed(problem.seed)
        for x in self._starts(program, problem, generator):
            direction = _steepest(program, x, problem.norms, self.iterations, generator)
            for step in _steps(x, problem):
                if problem.domain is None:
                    yield x, x + step * direction
                else:
                    yield x - step / 2 * direction, x + step / 2 * direction

    def _starts(self, program: Program, problem: Problem, generator: torch.Generator) -> Iterator[torch.Tensor]:
        shape = next(iter(program.inputs.values()))
        if problem.domain is not None:
            center = torch.from_numpy(np.array(problem.domain.center, dtype=np.float64)).reshape(shape)
            radius = float(problem.domain.radius)
            yield center
            for _ in range(self.starts):
                offset = torch.randn(shape, dtype=torch.float64, generator=generator)
                yield center + 0.4 * radius * offset / offset.norm()
            return
        for center in () if problem.centers is None else problem.centers[: self.starts]:
            yield torch.from_numpy(np.array(center, dtype=np.float64)).reshape(shape)
        count = self.starts if size(shape) > SMALL else SMALL
        random = [torch.randn(shape, dtype=torch.float64, generator=generator) * 10.0 ** (i % 3) for i in range(count)]
        yield torch.zeros(shape, dtype=torch.float64)
        yield from random
        if _operations(program) * SWITCHING > BUDGET:
            return
        switched = _switch_on(program, random[0])
        if switched is not None:
            yield switched

    def _ascend(self, program: Program, pair: Pair, problem: Problem) -> Pair:
        """Ascent on log ||f(x) - f(y)|| - log ||x - y|| over both ends; the best pair seen, the first included."""
        if problem.domain is not None:
            return pair
        best, ends = pair, torch.stack(pair).clone().requires_grad_(True)
        highest = _ratio(program, pair, problem.norms)
        rate = 0.02 * float((pair[1] - pair[0]).norm()) / max(pair[0].numel(), 1) ** 0.5
        optimizer = torch.optim.Adam([ends], lr=rate)
        for _ in range(self.steps):
            optimizer.zero_grad()
            rise = _length(program(ends[0]) - program(ends[1]), problem.norms)
            (-(rise + 1e-300).log() + (ends[0] - ends[1]).norm().log()).backward()
            optimizer.step()
            now = (ends[0].detach().clone(), ends[1].detach().clone())
            ratio = _ratio(program, now, problem.norms)
            if ratio > highest:
                best, highest = now, ratio
        return best


def _steps(x: torch.Tensor, problem: Problem) -> tuple[float, ...]:
    if problem.domain is not None:
        return tuple(float(problem.domain.radius) * s for s in (1.0, 0.1))
    length = float(x.norm()) or 1.0
    return tuple(length * s for s in (2.0, 0.5, 0.1, 0.01, 1e-3))


def _length(values: torch.Tensor, norms: NormPair) -> torch.Tensor:
    return values.abs().max() if norms == LOGITS else values.norm()


def _ratio(program: Program, pair: Pair, norms: NormPair) -> float:
    """The ratio in plain float64: a guess."""
    with torch.no_grad():
        distance = float((pair[0] - pair[1]).norm())
        rise = float(_length(program(pair[0]) - program(pair[1]), norms))
    return rise / distance if distance > 0 and np.isfinite(rise / distance) else 0.0


def _steepest(
    program: Program, x: torch.Tensor, norms: NormPair, iterations: int, generator: torch.Generator
) -> torch.Tensor:
    """A unit direction in which f rises steeply at x: power iteration on J^T J, or the longest row of J."""
    output, back, *_ = vjp(program, x)
    if norms == LOGITS:
        rows = torch.eye(output.numel(), dtype=x.dtype)[:1000]
        gradients = [back(row.reshape(output.shape))[0] for row in rows]
        direction = max(gradients, key=lambda g: float(g.norm()))
    else:
        direction = torch.randn(x.shape, dtype=x.dtype, generator=generator)
        for _ in range(iterations):
            direction = direction / max(float(direction.norm()), 1e-300)
            direction = back(_pushed(program, x, direction))[0]
    length = float(direction.norm())
    if not length > 0:
        direction = torch.randn(x.shape, dtype=x.dtype, generator=generator)
        length = float(direction.norm())
    return (direction / length).detach()


def _pushed(program: Program, x: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """J direction: by forward mode, or by a difference quotient where torch has none for some operation. A guess."""
    try:
        return jvp(program, (x,), (direction,))[1]
    except (NotImplementedError, RuntimeError):
        step = 1e-6 * (1 + float(x.norm())) / max(float(direction.norm()), 1e-300)
        with torch.no_grad():
            return (program(x + step * direction) - program(x - step * direction)) / (2 * step)


def _operations(program: Program) -> float:
    """A count of what one pass through the program costs: products of matrices and convolutions, and 20 for every entry."""
    x = torch.zeros(next(iter(program.inputs.values())), dtype=torch.float64)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        values = program.values(x)
    entries = sum(v.numel() for v in values.values() if isinstance(v, torch.Tensor))
    return counter.get_total_flops() + 20.0 * entries + 1.0


def _switch_on(program: Program, x: torch.Tensor, margin: float = 1.0) -> torch.Tensor | None:
    """An input near ``x`` at which every ReLU's argument is at least ``margin``, by least squares on the shortfall.

    None where the program has no ReLU. Where no such input is found, the last iterate: still a start like any other.
    """
    arguments = [op.references[0] for op in program.operations if op.target in SWITCHED]
    if not arguments:
        return None
    x = x.clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS([x], max_iter=200, history_size=20, line_search_fn="strong_wolfe")

    def shortfall() -> torch.Tensor:
        optimizer.zero_grad()
        values = program.values(x)
        loss = torch.stack([((2 * margin - values[name]).clamp(min=0) ** 2).sum() for name in arguments]).sum()
        loss.backward()
        return loss

    optimizer.step(shortfall)
    return x.detach() if bool(torch.isfinite(x).all()) else None
