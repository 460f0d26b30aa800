"""Bound propagation over balls around given inputs: CROWN through auto_LiRPA. Numeric throughout, never a proof.

For a ball B(c, r): linear bounds (Zhang et al. 2018; Xu et al. 2020) give ranges of every pre-activation and of the output. Where
the argument of an activation stays in [l, u], its slope stays in an interval [a, b] (0 or 1 for a ReLU of constant sign). The
Jacobian on the ball is J(d) with d in the box of these intervals; propagation through v, d -> J(d)^T v bounds its
entries by [lo, hi] = mid +- rad, and then

    ||f(x) - f(y)|| <= (||mid||_2 + ||rad||_2) ||x - y||        for x, y in the ball

by the mean value theorem along the segment, which stays in the ball.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch

from lipverify.claims import L2, LOGITS
from lipverify.evidence import Evidence, Rigor
from lipverify.maps import Array, size
from lipverify.verifiers.problem import Problem
from lipverify.verifiers.propagation.auto_lirpa import Unavailable, session
from lipverify.verifiers.propagation.layers import NotCanonical
from lipverify.verifiers.propagation.ranges import SLACK, Excluded, PropagatedRanges, within

SINGLE = 256
"""Largest value of a region that is propagated in float64; larger ones take float32, up to thirty times faster."""


@dataclass(frozen=True, slots=True)
class Propagation:
    """Local upper bounds of the Lipschitz constant on l2 balls, by CROWN; ``upper`` is the largest over the balls used.

    The evidence is ``local`` and numeric. Each ball's output range is checked against the original program at samples.

    Attributes:
        method: of auto_LiRPA, for pre-activations and for the Jacobian: "CROWN", or "IBP" (far looser).
        max_centers: balls used: the first ones; the evidence says how many of how many.
        max_size: most entries of any value of the region.
        max_work: most entries of outputs x uncertain slopes of a layer x largest value for which the Jacobian of several
            layers is propagated.
        samples: points of each ball at which the program is run.
    """

    method: str = "CROWN"
    max_centers: int = 2
    max_size: int = 4096
    max_work: int = 5_000_000
    samples: int = 32
    name: str = "propagation"

    def verify(self, problem: Problem) -> Evidence:
        """The bound, or a reason; a range that excludes an output of the program is a reason of its own, by name."""
        start = time.perf_counter()
        try:
            upper, method = self._bound(problem)
        except Excluded as stop:
            return replace(self._silent(str(stop), start), contradiction=str(stop))
        except (NotCanonical, Unavailable) as stop:
            return self._silent(str(stop), start)
        except Exception as error:
            return self._silent(f"auto_LiRPA failed: {type(error).__name__}: {error}", start)
        return Evidence(
            self.name,
            upper=upper,
            rigor=Rigor.NUMERIC,
            method=method,
            seconds=time.perf_counter() - start,
            local=True,
        )

    def _silent(self, reason: str, start: float) -> Evidence:
        return Evidence(self.name, seconds=time.perf_counter() - start, local=True, reason=reason)

    def _bound(self, problem: Problem) -> tuple[Fraction, str]:
        graph = problem.region.graph
        if graph is None:
            raise NotCanonical(problem.region.unsupported or "the region has no graph")
        if problem.centers is None or problem.radius is None or not len(problem.centers):
            raise NotCanonical("no inputs: pass inputs and a radius (--at data.npz --radius R)")
        if problem.norms not in (L2, LOGITS):
            raise NotCanonical(f"norms {problem.norms}: l2->l2 and l2->linf only")
        centers, radius = np.asarray(problem.centers, dtype=np.float64), float(problem.radius)
        if centers.shape[1:] != graph.input_shape or not np.isfinite(centers).all():
            raise NotCanonical(f"centers of shape {centers.shape[1:]} for an input {graph.input_shape}, or not finite")
        if not (np.isfinite(radius) and radius >= 0):
            raise NotCanonical(f"a ball of radius {radius}")
        widest = max([size(graph.input_shape), *(size(node.map.output_shape) for node in graph.nodes.values())])
        if widest > self.max_size:
            raise NotCanonical(f"a value of {widest} entries > max_size = {self.max_size}")
        rng = np.random.default_rng(problem.seed)
        dtype = torch.float32 if widest > SINGLE else torch.float64
        with session(dtype) as library:
            balls = PropagatedRanges(library, graph, self.method, self.max_work, rng)
            used = centers[: self.max_centers]
            uppers = []
            for center in used:
                low, high = balls.output_range(center, radius)
                self._check(problem, samples(center, radius, self.samples, rng), low, high, SLACK[dtype])
                uppers.append(balls.lipschitz(problem.norms == LOGITS))
        name = f"{self.method} + VJP, auto_LiRPA {library.version} in {str(dtype)[6:]}"
        return Fraction(max(uppers)), f"{name}, {len(used)} of {len(centers)} balls of radius {radius:g}"

    def _check(self, problem: Problem, points: Array, low: Array, high: Array, slack: float) -> None:
        """Run the original program at points of the ball; its outputs must lie in the range.

        Raises:
            Excluded: where one does not.
        """
        program = problem.region.program
        if program is None:
            return
        for point in points:
            y = program(torch.from_numpy(point)).numpy().reshape(-1)
            if not within(y, low, high, slack):
                raise Excluded("propagated range excludes an output of the program (numeric mismatch)")


def samples(center: Array, radius: float, count: int, rng: np.random.Generator) -> Array:
    """The center and points of its ball, half of them on the sphere: (count + 1, *shape)."""
    steps = rng.standard_normal((count, center.size))
    steps *= radius / np.maximum(np.linalg.norm(steps, axis=1, keepdims=True), 1e-300)
    steps[::2] *= rng.random((len(steps[::2]), 1))
    return np.concatenate((center[None], center + steps.reshape(count, *center.shape)))
