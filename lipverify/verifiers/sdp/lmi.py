"""The LipSDP-Neuron matrix inequality, and its proof: separate from whatever finds the multipliers.

With forms (:mod:`lipverify.verifiers.sdp.forms`) z_i = Z_i (x, w) of the neurons' arguments and y = Y (x, w) of the output, and
w_i = d_i z_i, d_i in [0, 1], every neuron satisfies w_i (z_i - w_i) >= 0. Hence for any t >= 0

    M(rho, t) = rho P_x - Y^T Y - (E^T T Z + Z^T T E) + 2 E^T T E  >=  0     implies     |y|^2 <= rho |x|^2,

E selecting w, P_x projecting on x, T = diag(t) (Fazlyab, Robey, Hassani, Morari, Pappas 2019, Theorem 2, whose neurons are
*not* coupled: multipliers across neurons, their equation (9), are unsound and are not offered).
Direction: rho is an upper bound of the squared constant. Every rounding, in M and in its factorisation, is counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import scipy.linalg

from lipverify.maps import Array
from lipverify.rigor.ball import BallMatrix
from lipverify.rigor.psd import psd_shift
from lipverify.rigor.rounding import U, float_up, sqrt_up
from lipverify.verifiers.sdp.forms import Form, Forms, add, nonzero, product

DELTAS = (0.0, 1e-15, 1e-14, 1e-13, 1e-12, 1e-11, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4)
"""Relative excess over the multipliers' own value, in the order in which a proof is tried."""
INFLATIONS = (0.0, 1e-10, 1e-8, 1e-6, 1e-5, 1e-4, 1e-3)
"""Relative growth of the multipliers from layer to layer towards the input, where M is too close to singular."""


@dataclass(frozen=True, slots=True, eq=False)
class Lmi:
    """The data of M(rho, t) in the scaled variables of the forms, neurons without effect left out.

    Attributes:
        inputs: n, the number of entries of x.
        arguments: Z (N, n + N).
        output: Y (m, n + N).
        gram: Y^T Y (n + N, n + N).
        layers: which pointwise layer (0, 1, ...) each neuron belongs to.
        units: t of a neuron whose multiplier is 1 in the region's own variables.
        exponent: the constant is 2^exponent sqrt(rho).
    """

    inputs: int
    arguments: BallMatrix
    output: BallMatrix
    gram: BallMatrix
    layers: np.ndarray
    units: Array
    exponent: int

    @property
    def neurons(self) -> int:
        return self.arguments.shape[0]

    def matrix(self, rho: float, t: Array) -> BallMatrix:
        """M(rho, t), enclosed; entries that are zero or cancel exactly stay exact.

        Raises:
            ValueError: unless rho >= 0 and every multiplier are finite and nonnegative, one multiplier a neuron.
        """
        t = np.asarray(t, dtype=np.float64)
        if t.shape != (self.neurons,) or not (np.isfinite(t).all() and (t >= 0).all()):
            raise ValueError(f"multipliers: {self.neurons} finite numbers >= 0 are needed")
        if not (np.isfinite(rho) and rho >= 0):
            raise ValueError(f"rho: a finite number >= 0 is needed, got {rho}")
        n, size = self.inputs, self.inputs + self.neurons
        weighted = self.arguments.scaled(t, np.ones(size)) if self.neurons else self.arguments
        below = _padded(weighted, (n, 0), (size, size))
        # Z reads earlier neurons only: E^T T Z and its transpose do not overlap.
        cross = BallMatrix(below.midpoint + below.midpoint.T, below.radius + below.radius.T)
        diagonal = BallMatrix.exact(np.diag(np.concatenate((np.full(n, rho), 2 * t))))
        return add(add(-self.gram, -cross), diagonal)


def lmi(forms: Forms, row: int | None = None) -> Lmi:
    """The LMI of a region; of one ``row`` of its output only (the constant of that output) if given."""
    sizes, total = forms.sizes, sum(forms.sizes)
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    output = _assembled(forms.output, offsets, total)
    if row is not None:
        output = BallMatrix(output.midpoint[row : row + 1], output.radius[row : row + 1])
    arguments = [_assembled(form, offsets, total) for form in forms.arguments]
    stacked = BallMatrix.block([[a] for a in arguments]) if arguments else BallMatrix.exact(np.zeros((0, total)))
    n = sizes[0]
    live = _effective(nonzero(stacked)[:, n:], np.asarray(nonzero(output)[:, n:].any(axis=0)))
    columns = np.concatenate((np.arange(n), n + live))
    stacked = BallMatrix(stacked.midpoint[np.ix_(live, columns)], stacked.radius[np.ix_(live, columns)])
    output = BallMatrix(output.midpoint[:, columns], output.radius[:, columns])
    layers = np.repeat(np.arange(len(sizes) - 1), sizes[1:])[live]
    powers = np.clip(2 * (np.array(forms.exponents[1:], dtype=np.int64) - forms.output.exponent), -400, 400)
    units = np.ldexp(1.0, powers)[layers] if len(live) else np.zeros(0)
    blocks = [columns_of(output, slice(0, n))]
    blocks += [columns_of(output, np.flatnonzero(layers == k) + n) for k in np.unique(layers)]
    gram = BallMatrix.block([[product(a.T, b) for b in blocks] for a in blocks])
    return Lmi(n, stacked, output, gram, layers, units, forms.output.exponent)


def columns_of(ball: BallMatrix, columns: slice | np.ndarray) -> BallMatrix:
    return BallMatrix(np.ascontiguousarray(ball.midpoint[:, columns]), np.ascontiguousarray(ball.radius[:, columns]))


def _assembled(form: Form, offsets: np.ndarray, total: int) -> BallMatrix:
    midpoint, radius = np.zeros((form.rows, total)), np.zeros((form.rows, total))
    for v, block in form.blocks.items():
        midpoint[:, offsets[v] : offsets[v + 1]] = block.midpoint
        radius[:, offsets[v] : offsets[v + 1]] = block.radius
    return BallMatrix(midpoint, radius)


def _effective(reads: np.ndarray, live: np.ndarray) -> np.ndarray:
    """Neurons that reach the output: ``reads[i, j]`` says that neuron i reads neuron j."""
    while True:
        grown = live | reads[live].any(0)
        if (grown == live).all():
            return np.flatnonzero(live)
        live = grown


def _padded(ball: BallMatrix, at: tuple[int, int], shape: tuple[int, int]) -> BallMatrix:
    pads = [(a, s - a - k) for a, s, k in zip(at, shape, ball.shape, strict=True)]
    return BallMatrix(np.pad(ball.midpoint, pads), np.pad(ball.radius, pads))


def prove(problem: Lmi, rho: float, t: Array) -> bool:
    """Whether M(rho, t) >= 0 is proved, for every matrix of the enclosure; False says nothing.

    Rows that are exactly zero are left out; the rest is scaled by powers of two to a diagonal of about 1, lowered by a
    multiple of the shift that its factorisation needs, and factorised again (:func:`lipverify.rigor.psd.psd_shift`).

    Raises:
        ValueError: for multipliers or a rho that are negative or not finite.
    """
    ball = problem.matrix(rho, t)
    kept = nonzero(ball).any(1)
    ball = BallMatrix(ball.midpoint[np.ix_(kept, kept)], ball.radius[np.ix_(kept, kept)])
    diagonal = ball.midpoint.diagonal()
    if not len(diagonal):
        return True
    if not (diagonal > 2.0**-400).all():
        return False
    scale = np.ldexp(1.0, -np.frexp(diagonal)[1] // 2)
    ball = ball.scaled(scale, scale)
    error = ball.norm_error()
    shift = psd_shift(ball.midpoint, error)
    if shift is None:
        return False
    margin = float_up(4 * shift)
    lowered = ball.midpoint.copy()
    lowered[np.diag_indices(len(scale))] -= margin
    rounded = U * Fraction(float(np.abs(lowered.diagonal()).max())) * 2 + Fraction(1, 2**1000)
    needed = psd_shift(lowered, error + rounded)
    return needed is not None and needed <= Fraction(margin)


def value(problem: Lmi, t: Array) -> float | None:
    """The least rho with M(rho, t) >= 0, to rounding: a guess, never a bound. None where there is none."""
    n = problem.inputs
    m = problem.matrix(0.0, t).midpoint
    x, cross, w = -m[:n, :n], m[n:, :n], m[n:, n:]
    if cross.any():
        try:
            scale = 1 / np.sqrt(np.maximum(w.diagonal(), 1e-300))
            factor = np.linalg.cholesky(w * scale[:, None] * scale)
        except np.linalg.LinAlgError:
            return None
        image = scipy.linalg.solve_triangular(factor, scale[:, None] * cross, lower=True)
        x = x + image.T @ image
    if not np.isfinite(x).all():
        return None
    off = x - np.diag(x.diagonal())
    top = float(np.linalg.eigvalsh(x)[-1]) if off.any() else float(x.diagonal().max(initial=0.0))
    return max(top, 0.0)


def tightest(problem: Lmi, t: Array) -> tuple[float, float, float] | None:
    """The least rho on the ladders that is proved with multipliers near ``t``: (rho, delta, inflation), or None.

    Any t >= 0 is a valid choice, so growing the multipliers costs tightness, never soundness. The most promising growth is
    tried first, and the first proof within 1e-9 of its guess ends the search.
    """
    depth, size = int(problem.layers.max(initial=0)) + 1, problem.inputs + problem.neurons
    grown = {inflation: t * (1 + inflation) ** (depth - problem.layers) for inflation in INFLATIONS}
    guesses = {inflation: value(problem, multipliers) for inflation, multipliers in grown.items()}
    best: tuple[float, float, float] | None = None
    for guess, inflation in sorted((guess, inflation) for inflation, guess in guesses.items() if guess is not None):
        for delta in DELTAS:
            if 0 < delta < size * 2.0**-52:
                continue
            rho = guess * (1 + delta)
            if best is not None and rho >= best[0]:
                break
            if prove(problem, rho, grown[inflation]):
                best = rho, delta, inflation
                break
        if best is not None and best[1] <= 1e-9:
            break
    return best


def constant(problem: Lmi, rho: float) -> Fraction:
    """The Lipschitz constant that a proved rho stands for: 2^exponent sqrt(rho), rounded up."""
    return sqrt_up(Fraction(rho)) * Fraction(2) ** problem.exponent
