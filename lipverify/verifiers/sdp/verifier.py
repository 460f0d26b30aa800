"""LipSDP-Neuron through cvxpy, proved afterwards (Fazlyab, Robey, Hassani, Morari, Pappas 2019).

The solver only proposes multipliers; its objective is never a bound. :mod:`lipverify.verifiers.sdp.lmi` proves what they give.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec

import numpy as np
import scipy.linalg

from lipverify.claims import L2, LOGITS
from lipverify.evidence import Evidence, Rigor
from lipverify.maps import Array
from lipverify.verifiers.problem import Problem
from lipverify.verifiers.sdp.forms import NotExpressible, count, forms
from lipverify.verifiers.sdp.lmi import Lmi, constant, lmi, tightest

INSTALL = "pip install 'lipverify[sdp]'"
CLARABEL_ROWS = 64
"""Clarabel factors a matrix of half the square of the LMI's rows: about 1 s at 60 rows, 9 s at 100, where SCS takes 0.5 s."""
SCS_INTERRUPTED = -5
CLOSE = 1e-9
"""Relative distance to the least value that any multipliers can give at which no solver is asked."""


@dataclass(frozen=True, slots=True)
class SDP:
    """LipSDP-Neuron: the best bound from slope intervals and one multiplier a neuron; ``upper`` only, rigorous.

    The region's graph becomes one LMI (chains, residual blocks, sums, skips, convolutions unrolled). First the multipliers
    that cancel the term between input and neurons are tried: a closed form, exact for residual blocks f(x) = x - h W^T sigma(W x)
    and stacks of them. Where these do not reach the least value possible, a solver proposes multipliers.

    Attributes:
        max_neurons: most neurons that a solver is asked for (SCS: about 5 s at 160).
        max_inputs: most entries of the region's input.
        max_size: most entries of the input and neurons together, and of any value: the LMI that is proved (2,048: 4 to 6 s).
        solver: a solver of cvxpy, or "" to use Clarabel up to 64 rows of the LMI and SCS beyond; the evidence names it.
        time_limit: seconds that one call of the solver may take; what it has by then is proved, if it can be.
    """

    max_neurons: int = 160
    max_inputs: int = 1024
    max_size: int = 2048
    solver: str = ""
    time_limit: float = 10.0
    name: str = "sdp"

    def verify(self, problem: Problem) -> Evidence:
        """An upper bound of the region's Lipschitz constant on the whole space, or the reason why there is none.

        For l2 -> linf the constant of every output is bounded by itself while outputs x neurons <= max_neurons; else the
        l2 -> l2 bound is given, which is larger, and named.
        """
        start = time.perf_counter()
        try:
            upper, method = self._bound(problem)
        except NotExpressible as stop:
            return Evidence(self.name, seconds=time.perf_counter() - start, reason=str(stop))
        except (ValueError, ArithmeticError, MemoryError) as stop:
            reason = f"the LMI could not be formed: {stop}"
            return Evidence(self.name, seconds=time.perf_counter() - start, reason=reason)
        return Evidence(
            self.name, upper=upper, rigor=Rigor.RIGOROUS, method=method, seconds=time.perf_counter() - start
        )

    def _bound(self, problem: Problem) -> tuple[Fraction, str]:
        region = problem.region
        if region.graph is None:
            raise NotExpressible(region.unsupported or "the region has no graph")
        if problem.norms not in (L2, LOGITS):
            raise NotExpressible(f"norms {problem.norms}: LipSDP bounds l2->l2 and l2->linf only")
        if region.unsupported:
            raise NotExpressible(region.unsupported)
        inputs, neurons, widest = count(region.graph)
        if inputs > self.max_inputs:
            raise NotExpressible(f"{inputs} inputs > max_inputs = {self.max_inputs}")
        if max(inputs + neurons, widest) > self.max_size:
            raise NotExpressible(
                f"too large: {neurons} neurons, {inputs} inputs and values of up to {widest} entries, max_size = {self.max_size}"
            )
        region_forms = forms(region.graph)
        rows = region_forms.output.rows
        if problem.norms == LOGITS and rows * max(region_forms.neurons, 1) <= self.max_neurons:
            bounds = [self._one(lmi(region_forms, row)) for row in range(rows)]
            upper, method = max(bounds, key=lambda bound: bound[0])
            return upper, f"{method}; the largest of {rows} outputs"
        upper, method = self._one(lmi(region_forms))
        return upper, method if problem.norms == L2 else f"{method}; the l2->l2 bound"

    def _one(self, problem: Lmi) -> tuple[Fraction, str]:
        size = problem.inputs + problem.neurons
        best: tuple[float, str] | None = None
        floor, failures = least(problem), []
        for origin, multipliers in self._candidates(problem, failures):
            proved = tightest(problem, multipliers)
            if proved is None:
                failures.append(f"{origin}: LMI of {size} rows not proved")
                continue
            rho, delta, inflation = proved
            if best is None or rho < best[0]:
                best = (
                    rho,
                    f"lmi (LipSDP-Neuron; {origin}; {size} rows proved at delta {delta:g}, inflation {inflation:g})",
                )
            if best[0] <= floor * (1 + CLOSE):
                break
        if best is None:
            raise NotExpressible("; ".join(failures))
        rho, method = best
        return constant(problem, rho), "; ".join([method, *failures])

    def _candidates(self, problem: Lmi, failures: list[str]) -> Iterator[tuple[str, Array]]:
        """Multipliers to try, with what they come from; lazily, so that no solver runs where a closed form is enough."""
        if not problem.neurons:
            yield "no neurons", np.zeros(0)
            return
        if (cancelling := cancelling_multipliers(problem)) is not None:
            yield "closed form", cancelling
        if problem.neurons > self.max_neurons:
            failures.append(f"{problem.neurons} neurons > max_neurons = {self.max_neurons}")
            return
        if find_spec("cvxpy") is None:
            failures.append(f"cvxpy is not installed: {INSTALL}")
            return
        try:
            name, multipliers = solve(problem, self.solver, self.time_limit)
        except Exception as error:
            failures.append(f"{self.solver or 'solver'} failed: {type(error).__name__}: {error}")
            return
        yield name, multipliers


def least(problem: Lmi) -> float:
    """A lower bound, to rounding, of the rho of *any* multipliers: all neurons off, and all on, obey the relaxation."""
    n, z, y = problem.inputs, problem.arguments.midpoint, problem.output.midpoint
    on = scipy.linalg.solve_triangular(
        np.eye(problem.neurons) - z[:, n:], z[:, :n], lower=True, unit_diagonal=True, check_finite=False
    )
    if not problem.neurons:
        return 0.0
    return max(float(np.linalg.norm(j, 2)) ** 2 for j in (y[:, :n], y[:, :n] + y[:, n:] @ on))


def cancelling_multipliers(problem: Lmi) -> Array | None:
    """t >= 0 for which the rows of M between neurons and input are shortest: h for x - h W^T sigma(W x), where they vanish.

    None where the output reads the input through neurons only: then they say nothing.
    """
    n = problem.inputs
    z = problem.arguments.midpoint[:, :n]
    wanted = -problem.gram.midpoint[n:, :n]
    lengths = np.einsum("ij,ij->i", z, z)
    t = np.maximum(np.einsum("ij,ij->i", wanted, z) / np.where(lengths > 0, lengths, 1.0), 0.0)
    if not t.any():
        return None
    return np.where(np.abs(t - problem.units) <= 1e-6 * problem.units, problem.units, dyadic(t))


def dyadic(t: Array) -> Array:
    """t clipped to >= 0 and rounded to 32 significant bits."""
    mantissa, exponent = np.frexp(np.maximum(t, 0.0))
    return np.ldexp(np.rint(np.ldexp(mantissa, 32)), exponent - 32)


def reduced(z: Array, y: Array, n: int) -> tuple[Array, Array, float]:
    """The same LMI on fewer inputs, to rounding: (Z, Y^T Y, floor) with rho >= floor in addition.

    With Y_x^T Y_x = c I on the complement of a space that holds the rows of Z_x, the range of Y_x^T Y_w and the other
    eigenvectors of Y_x^T Y_x, M splits into (rho - c) I there and a smaller LMI: c = 0 for chains, 1 for residual blocks.
    """
    gram = y.T @ y
    values, vectors = np.linalg.eigh(gram[:n, :n])
    top = max(float(values[-1]), 1e-300) if n else 0.0
    c = float(values[np.argmax([(np.abs(values - v) <= 1e-9 * top).sum() for v in values])])
    span = np.concatenate((z[:, :n].T, gram[:n, n:], vectors[:, np.abs(values - c) > 1e-9 * top]), axis=1)
    basis, sizes, _ = np.linalg.svd(span, full_matrices=False)
    basis = basis[:, sizes > 1e-12 * max(sizes.max(initial=0.0), 1e-300)]
    if basis.shape[1] >= n:
        return z, gram, 0.0
    both: Array = np.asarray(scipy.linalg.block_diag(basis, np.eye(z.shape[0])), dtype=np.float64)
    return z @ both, both.T @ gram @ both, c


def solve(problem: Lmi, solver: str = "", time_limit: float = 20.0) -> tuple[str, Array]:
    """(solver and status, multipliers) for min rho subject to M(rho, t) >= 0, t >= 0. A guess: nothing of it is trusted.

    Layers are scaled to arguments of norm 1 and the output to norm 1, so that a region and its multiples give the same program.

    Raises:
        RuntimeError: where the solver gives no finite multipliers.
    """
    import cvxpy as cp

    n, neurons = problem.inputs, problem.neurons
    z, gram, floor = reduced(problem.arguments.midpoint, problem.output.midpoint, n)
    inputs = z.shape[1] - neurons
    columns = np.ones(inputs + neurons)
    for layer in np.unique(problem.layers):
        members = problem.layers == layer
        columns[inputs:][members] = np.linalg.norm(z[members] * columns, 2)
    scale = columns[inputs:]
    z, gram = z / scale[:, None] * columns, gram * columns[:, None] * columns
    unit = float(np.linalg.norm(gram, 2))
    rho, t = cp.Variable(), cp.Variable(neurons, nonneg=True)
    below = np.eye(inputs + neurons)[:, inputs:] @ cp.multiply(cp.reshape(t, (neurons, 1), order="C"), z)
    diagonal = cp.hstack([rho * np.ones(inputs), 2 * t])
    program = cp.Problem(
        cp.Minimize(rho), [cp.diag(diagonal) - gram / unit - (below + below.T) >> 0, rho >= floor / unit]
    )
    name = solver or ("CLARABEL" if inputs + neurons <= CLARABEL_ROWS else "SCS")
    options = {
        "CLARABEL": {"time_limit": time_limit},
        "SCS": {"time_limit_secs": time_limit, "eps": 1e-7, "max_iters": 50_000},
    }.get(name, {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data, chain, inverse = program.get_problem_data(name, solver_opts=options)
        if chain is None:
            raise RuntimeError(f"cvxpy has no way to {name}")
        raw = chain.solve_via_data(program, data, warm_start=False, verbose=False, solver_opts=options)
        if name == "SCS" and raw["info"]["status_val"] == SCS_INTERRUPTED:
            raise KeyboardInterrupt  # SCS catches the signal and returns
        program.unpack_results(raw, chain, inverse)
    if t.value is None or not np.isfinite(t.value).all():
        raise RuntimeError(f"{name} ended {program.status} without multipliers")
    return f"{name} {program.status}", dyadic(t.value * unit / scale**2)
