"""The norm of a convolution, enclosed: unrolled to a matrix, on tori that contain it, or between frequencies of a grid.

Stride, dilation and groups are reduced to stride-1 convolutions, one a group: :mod:`lipverify.rigor.polyphase`. For those:

Zero padding. Per axis let the input have n entries, the kernel k taps, reach R = k - 1, pads (l, r). Outputs that see
padding only are zero and may be dropped, so l and r may be replaced by min(l, R), min(r, R). Put the input on the
torus Z_N, N >= n + max(l, r): output j reads the entries j + t - l, 0 <= t <= R; those in [-l, -1] become
[N - l, N - 1], all >= n, and those in [n, n + r - 1] are below N, so each meets a zero of the torus, whatever the
twist. The n + l + r - R <= N outputs are distinct points of the torus. Hence the map is a compression of the torus
operator and its norm is at most that operator's, for every such N and twist, chosen per axis.

Circular padding. The map's norm is at most a known factor times the torus operator's.

Large images. The norm over *all* frequencies bounds every torus, and a coarse grid bounds it (:func:`.torus.between`): a
large image costs no more than a small one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from math import prod

import numpy as np

from lipverify.actions import apply
from lipverify.evidence import Rigor
from lipverify.maps import Convolution, Enclosure
from lipverify.rigor.candidates import Spectrum, guess_singular_vector, torus_flops, torus_spectrum
from lipverify.rigor.dense import dense_norm
from lipverify.rigor.enclosure import NormEnclosure
from lipverify.rigor.finite import Attempt, finite_attempts
from lipverify.rigor.polyphase import Polyphase, planar, polyphase
from lipverify.rigor.probe import machine
from lipverify.rigor.reductions import Array, checked, length, lost, power_of_two, unit_scaled
from lipverify.rigor.rounding import gamma, round_down, round_up, underflow
from lipverify.rigor.stack import gram, stack_upper
from lipverify.rigor.torus import Torus, between, magnitude_norm, torus_upper
from lipverify.rigor.unrolled import unrolled

TOLERANCE = Fraction(1, 2**9)
"""A relative gap below which nothing tighter is tried by default."""

TIGHT_TOLERANCE = Fraction(1, 2**16)
"""The same where a tight bound is asked for."""

_SMALL_MATRIX = 1024
_SMALL_ENTRIES = 1 << 25

TORUS_BUDGET = 6e10
"""Floating-point operations (a rough count) of a proof on a torus by default; a grid of so many is looked at beyond."""

FINITE_BUDGET = 7e10
"""The same for a tighter proof, by default: a second or two."""

TIGHT_BUDGET = 5e11
"""The same for both where a tight bound is asked for: half a minute, roughly."""

_GRID = 16
"""Frequencies per tap and axis of the coarsest grid: it costs 1 / cos(pi / 32) - 1 < 0.5 % an axis."""

_COMPARED = 5
"""Circles of each axis compared where a tight bound is asked for."""

_GROUPED = 2e9
"""Floating-point operations for which the matrices of all groups are proved at once."""

_GROUPS = 64
"""Groups for each of which a tighter proof is thought of."""


def convolution_norm(convolution: Convolution, *, tight: bool = False) -> NormEnclosure:
    """lower <= ||A||_2 <= upper of a convolution of one or two image axes, for every kernel of the enclosure.

    Upper: the least of the proved bounds that were tried: small maps unrolled to a matrix; the best torus, or a grid where
    it is large; finite along one axis (:mod:`lipverify.rigor.finite`) where that is cheap, or asked for by ``tight``.
    Lower: |A x| / |x| of the true map, x by Lanczos.
    Errors counted: see :mod:`lipverify.rigor.torus`, :mod:`lipverify.rigor.stack` and :mod:`lipverify.rigor.dense`; the
    radius by its own norm.

    Args:
        convolution: any stride, dilation and groups, zero or circular padding.
        tight: spend up to a minute on a gap upper / lower - 1 below 5e-4 for wide kernels on images of about 32 x 32.

    Raises:
        NotImplementedError: for three image axes and more.
        ValueError: for NaN or infinite weights, or a kernel that does not fit the input.
    """
    machine()
    flat = planar(convolution)
    kernel = checked(flat.kernel.midpoint, "kernel of a convolution")
    scaled, e = unit_scaled(kernel)
    one = replace(flat, kernel=Enclosure(scaled), input_shape=(1, *flat.input_shape[1:]))
    if not prod(flat.input_shape) or not prod(flat.output_shape):
        return NormEnclosure(Fraction(0), Fraction(0), "no entries", Rigor.EXACT, np.zeros(convolution.input_shape))
    if not scaled.any():
        zero = NormEnclosure(Fraction(0), Fraction(0), "zero", Rigor.EXACT, np.zeros(convolution.input_shape))
        return zero.widened(_radius_norm(flat))
    phases = polyphase(one, scaled)
    found = _enclose(one, phases, tight)
    # What scaling lost is a kernel with entries below 2^-1021: its norm, by the sum of all its magnitudes.
    scale = power_of_two(e)
    found = found.widened(phases.repeats * lost(scaled)).times(scale) if _lossy(kernel, scaled) else found.times(scale)
    vector = np.zeros(convolution.input_shape)
    if found.vector is not None:
        vector[:1] = found.vector.reshape((1, *convolution.input_shape[1:]))
    return replace(found, vector=vector).widened(_radius_norm(flat))


def _lossy(kernel: Array, scaled: Array) -> bool:
    """Whether scaling changed any entry by more than its exponent."""
    smallest = np.abs(scaled[(kernel.view(np.int64) << 1) != 0]).min(initial=1.0)
    return not smallest > 2.0**-900


def _radius_norm(convolution: Convolution) -> Fraction:
    """The norm of any convolution whose kernel lies within the radius: dominated by the torus block at w = 0."""
    if convolution.kernel.radius is None:
        return Fraction(0)
    radius = checked(convolution.kernel.radius, "radius of a kernel")
    if radius.shape != convolution.kernel.shape or (radius < 0).any():
        raise ValueError("radius of a kernel: it must be nonnegative and of the midpoint's shape")
    scaled, e = unit_scaled(radius)
    if not scaled.any():
        return Fraction(0)
    phases = polyphase(convolution, scaled)
    return phases.repeats * (magnitude_norm(phases.kernel) + lost(scaled)) * power_of_two(e)


def _enclose(convolution: Convolution, phases: Polyphase, tight: bool) -> NormEnclosure:
    small = _small(convolution)
    if small is not None:
        return small
    lower, vector = _lower(convolution, phases, steps=200 if tight else 40)
    upper, method = phases.repeats * magnitude_norm(phases.kernel), "sum of |kernel|"
    spectrum = None if phases.circular else Spectrum.of(phases.kernel, phases.least)
    bound, name = _on_torus(phases, spectrum, TIGHT_BUDGET if tight else TORUS_BUDGET)
    if bound is not None and bound < upper:
        upper, method = bound, name
    tolerance = TIGHT_TOLERANCE if tight else TOLERANCE
    if upper <= lower * (1 + tolerance):
        spectrum = None
    for flops, name, attempt in [] if spectrum is None else _finite(phases, spectrum, _COMPARED if tight else 1):
        if flops <= (TIGHT_BUDGET if tight else FINITE_BUDGET) and upper > lower * (1 + tolerance):
            bound = attempt()
            if bound is not None and bound < upper:
                upper, method = bound, name
    if set(convolution.stride) != {1}:
        method = f"phases of stride {convolution.stride}: {method}"
    return NormEnclosure(lower, upper, method, vector=vector)


def _small(convolution: Convolution) -> NormEnclosure | None:
    """Enclosed by the matrices of its groups, where they are small."""
    groups = convolution.groups
    rows, columns = (prod(shape) // groups for shape in (convolution.output_shape, convolution.input_shape))
    wraps = any(r >= n for r, n in zip(convolution.reach, convolution.input_shape[2:], strict=True))
    side = min(rows, columns)
    if (
        (convolution.circular and wraps)
        or side > _SMALL_MATRIX
        or groups * rows * columns > _SMALL_ENTRIES
        or (groups > 1 and 10.0 * groups * max(rows, columns) * side**2 > _GROUPED)
    ):
        return None
    matrices = unrolled(convolution.kernel.midpoint, convolution)
    if groups == 1:
        found = dense_norm(matrices[0])
        return replace(found, method=f"unrolled: {found.method}")
    tall = matrices if rows >= columns else np.ascontiguousarray(np.swapaxes(matrices, 1, 2))
    tops = np.linalg.eigvalsh(gram(tall, None)[0])[:, -1]
    first = int(tops.argmax())
    found = dense_norm(matrices[first])
    others = np.delete(tall, first, 0)
    upper = stack_upper([(others, None)], float(np.delete(tops, first).max())) if others.any() else Fraction(0)
    if upper is None:
        return None
    vector = np.zeros((groups, columns))
    if found.vector is not None:
        vector[first] = found.vector
    method = f"unrolled, the largest of {groups} groups: {found.method}"
    return NormEnclosure(found.lower, max(found.upper, upper), method, vector=vector)


def _on_torus(phases: Polyphase, spectrum: Spectrum | None, budget: float) -> tuple[Fraction | None, str]:
    """An upper bound by the frequencies of the best torus, or of a grid of fewer where that would cost too much."""
    torus, guess = (Torus(phases.least, (0, 0)), 0.0) if spectrum is None else spectrum.best_torus(budget)
    sizes, factor = list(torus.sizes), Fraction(1)
    for axis in sorted((0, 1), key=lambda a: -sizes[a]):
        if torus_flops(phases.kernel, sizes[0] * sizes[1] / 2) > budget:
            sizes[axis] = min(sizes[axis], max(_GRID, _GRID * (phases.kernel.shape[3 + axis] - 1)))
    if (sizes[0], sizes[1]) != torus.sizes:
        sizes = _finer(phases.kernel, sizes, torus.sizes, budget)
        for axis in (0, 1):
            if sizes[axis] < torus.sizes[axis]:
                factor *= between(phases.kernel, axis, sizes[axis])
        torus, guess = Torus((sizes[0], sizes[1]), torus.twists), 0.0
    guess = guess or float(torus_spectrum(phases.kernel, torus).max())
    bound = torus_upper(phases.kernel, torus, guess)
    name = f"torus {torus}" if factor == 1 else f"all frequencies, from a grid of {sizes[0]} x {sizes[1]}"
    if len(phases.kernel) > 1:
        name = f"{name}, the largest of {len(phases.kernel)} groups"
    name = f"{name}, s I - B^H B proved semidefinite"
    return (None if bound is None else round_up(phases.repeats * factor * bound)), name


def _finer(kernel: Array, sizes: list[int], most: tuple[int, int], budget: float) -> list[int]:
    """A grid made finer, the same on both axes, while the budget lasts."""
    while True:
        finer = [min(2 * n, m) for n, m in zip(sizes, most, strict=True)]
        if finer == sizes or torus_flops(kernel, finer[0] * finer[1] / 2) > budget:
            return sizes
        sizes = finer


def _finite(
    phases: Polyphase, spectrum: Spectrum, compared: int
) -> list[tuple[float, str, Callable[[], Fraction | None]]]:
    """What :mod:`lipverify.rigor.finite` could prove, for all groups: (cost, name, proof), cheapest first."""
    groups = []
    for kernel in phases.kernel if phases.kernel.shape[0] <= _GROUPS else ():
        one = Convolution(Enclosure(kernel), (1, kernel.shape[1], *phases.image), phases.pads)
        own = spectrum if len(phases.kernel) == 1 else Spectrum.of(kernel[None], phases.least)
        groups.append(finite_attempts(one, own, compared))
    return [
        (sum(a.flops for a in attempts), attempts[0].method, lambda attempts=attempts: _largest(attempts))
        for attempts in zip(*groups, strict=True)
    ]


def _largest(attempts: tuple[Attempt, ...]) -> Fraction | None:
    bounds = [attempt.upper() for attempt in attempts]
    proved = [bound for bound in bounds if bound is not None]
    return max(proved) if len(proved) == len(bounds) else None


def _lower(convolution: Convolution, phases: Polyphase, steps: int) -> tuple[Fraction, Array]:
    """A lower bound of the true map's norm, and the vector that shows it.

    Each entry of fl(A x) sums k = in * kh * kw products: |error| <= gamma_k |A| |x|, in norm gamma_k || |A| || |x|.
    """
    kernel, shape = convolution.kernel.midpoint, convolution.input_shape
    guess = guess_singular_vector(convolution, steps)
    if not np.isfinite(guess).all() or not guess.any():
        return Fraction(0), np.zeros(shape)
    x, _ = unit_scaled(guess)
    image, e = unit_scaled(np.ascontiguousarray(apply(convolution, x.reshape(shape))))
    k = kernel[0].size
    longest = length(x)[1]
    short = (length(image)[0] - lost(image)) * power_of_two(e)
    error = gamma(k) * phases.repeats * magnitude_norm(phases.kernel) * longest + image.size * underflow(k)
    return round_down(max(Fraction(0), (short - error) / longest)), x
