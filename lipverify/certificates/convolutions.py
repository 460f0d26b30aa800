"""Which rule a certificate applies to a convolution, and the square that it states.

unrolled   the whole matrix, where its smaller side is at most 1,024: no gap
torus      the blocks at the frequencies of a torus that holds the map: cheap to check, a small gap
           (of a grid: those between its points as well)

A torus is chosen by a spectrum in float64; of those that are about equally good the smallest one, so that the choice does
not depend on the last digits.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
import torch

from lipverify.certificates.canonical import root_up
from lipverify.certificates.squares import MOST, RADII, Square, settled, top_of
from lipverify.maps import Array, Convolution, Enclosure
from lipverify.rigor.lanczos import top_values
from lipverify.rigor.polyphase import Polyphase, planar, polyphase
from lipverify.rigor.reductions import power_of_two, unit_scaled
from lipverify.rigor.stack import gram, stack_upper
from lipverify.rigor.torus import Blocks, Torus, between, magnitude_norm, torus_upper
from lipverify.rigor.unrolled import unrolled

SMALL_SIDE = 1024
SMALL_ENTRIES = 1 << 25

GOOD = 1 + Fraction(1, 10**9)
"""A torus whose square is within that of the whole matrix' is good enough."""

BUDGET = 1e11
"""Products of integers that the check of one torus takes at most, roughly; a grid of fewer frequencies is taken beyond."""

FREQUENCIES = 1 << 15
"""So many frequencies are checked at most."""

SIZES = 6
"""Sizes tried per axis: the least one and the next few."""

EQUAL = 2.0**16
"""Tori are equally good whose squares' binary logarithms agree to one part in that."""

TRIED = 3
"""So many tori are looked at for one that reaches the target."""

_NARROW = 8
_WIDE = 96
_GRID = 16


@dataclass(frozen=True, slots=True)
class Bounded:
    """What a certificate states of a convolution: the rule with its own fields, the square and its slack."""

    rule: dict[str, Any]
    square: Square


def convolution_square(convolution: Convolution, target: Fraction | None = None) -> Bounded | None:
    """The best rule for a convolution, of any enclosure; None where none is offered."""
    if not prod(convolution.input_shape) or not prod(convolution.output_shape):
        return None
    flat = planar(convolution)
    scaled, e = unit_scaled(np.ascontiguousarray(flat.kernel.midpoint))
    one = replace(flat, kernel=Enclosure(scaled), input_shape=(1, *flat.input_shape[1:]))
    radius = _radius(flat)
    problem = _Problem(convolution, one, polyphase(one, scaled), power_of_two(e), radius, target)
    if _wraps(flat):
        return None
    if not scaled.any() and not radius:
        return problem.zero()
    found = problem.torus()
    if found is not None and target is not None and found.square.square <= target:
        return found
    matrix = problem.matrix()
    if matrix is None or (found is not None and found.square.square <= matrix.square.square * GOOD):
        return found
    return matrix


def _wraps(flat: Convolution) -> bool:
    """Whether circular padding makes two taps meet in one entry."""
    return flat.circular and any(r >= n for r, n in zip(flat.reach, flat.input_shape[2:], strict=True))


def _radius(flat: Convolution) -> Fraction:
    """The norm of any convolution whose kernel lies within the radius."""
    if flat.kernel.radius is None or not flat.kernel.radius.any():
        return Fraction(0)
    scaled, e = unit_scaled(np.ascontiguousarray(flat.kernel.radius))
    phases = polyphase(flat, scaled)
    return phases.repeats * magnitude_norm(phases.kernel) * power_of_two(e) * RADII


@dataclass(frozen=True, slots=True, eq=False)
class _Problem:
    """One convolution: as it is, planar of one image and scaled to unit size, by its phases; the scale and the radius."""

    given: Convolution
    one: Convolution
    phases: Polyphase
    scale: Fraction
    radius: Fraction
    target: Fraction | None

    def _settled(self, guess: float, proved: Fraction, factor: Fraction = Fraction(1)) -> Square:
        """Of sizes scaled to 1; ``factor`` goes to the square."""
        square = Fraction(guess) * factor * self.scale**2
        if self.radius:
            square = (root_up(square) + self.radius) ** 2
        return settled(square, root_up(factor) * proved * self.scale + self.radius, self.target)

    def zero(self) -> Bounded:
        """Of a kernel of zeros."""
        axes = len(self.given.pads)
        sizes = list(self.phases.least[:axes])
        return Bounded(
            {"rule": "torus", "sizes": sizes, "twists": [0] * axes, "grid": False}, Square(Fraction(0), MOST)
        )

    def matrix(self) -> Bounded | None:
        """The whole matrix, group by group."""
        groups = self.one.groups
        rows, columns = (prod(shape) // groups for shape in (self.one.output_shape, self.one.input_shape))
        if min(rows, columns) > SMALL_SIDE or groups * rows * columns > SMALL_ENTRIES:
            return None
        matrices = unrolled(self.one.kernel.midpoint, self.one)
        tall = matrices if rows >= columns else np.ascontiguousarray(np.swapaxes(matrices, 1, 2))
        guess = max(top_of(g) for g in gram(tall, None)[0])
        proved = stack_upper([(tall, None)], guess)
        return None if proved is None else Bounded({"rule": "unrolled"}, self._settled(guess, proved))

    def torus(self) -> Bounded | None:
        """The best torus; with a target the first that reaches it."""
        fits = all(n % s == 0 for n, s in zip(self.one.input_shape[2:], self.one.stride, strict=True))
        if self.phases.circular and (self.phases.repeats != 1 or not fits):
            return None  # outputs that repeat, or a stride that goes around the image more than once
        kernel, least = self.phases.kernel, self.target and self.target / self.scale**2
        tried: list[tuple[float, Torus, bool]] = []
        for torus, grid in _tori(self.phases, least):
            guess = torus_guess(kernel, torus)
            tried.append((guess, torus, grid))
            if least is None or guess <= least:
                break
        if not tried:
            return None
        guess, torus, grid = (
            tried[-1] if least is None or tried[-1][0] <= least else min(tried, key=lambda t: _coarse(t[0]))
        )
        factor = Fraction(1)
        for axis in (0, 1) if grid else ():
            factor *= between(kernel, axis, torus.sizes[axis]) ** 2
        proved = torus_upper(kernel, torus, guess)
        if proved is None:
            return None
        axes = len(self.given.pads)
        rule = {"rule": "torus", "sizes": list(torus.sizes[:axes]), "twists": list(torus.twists[:axes]), "grid": grid}
        return Bounded(rule, self._settled(guess, proved, factor))


def _tori(phases: Polyphase, target: Fraction | None) -> list[tuple[Torus, bool]]:
    """Tori to prove, the most promising first, and whether each is a grid."""
    kernel = phases.kernel
    if phases.circular:
        return [(Torus(phases.image, (0, 0)), False)] if _cost(kernel, phases.image) <= BUDGET else []
    if _cost(kernel, phases.least) > BUDGET:
        grid = _grid(kernel, phases.least)
        return [] if grid is None else [(Torus(grid, (0, 0)), True)]
    axes = [_cosets(n, k) for n, k in zip(phases.least, kernel.shape[3:], strict=True)]
    width = min(kernel.shape[1:3])
    finest = 64 if width <= _NARROW else 32 if width <= _WIDE else 16
    sides = tuple(
        min(finest, max(16, 2 * n)) if k > 1 else 1 for n, k in zip(phases.least, kernel.shape[3:], strict=True)
    )
    waves = np.fft.fft2(_spectrum(kernel, sides)) / prod(sides)
    found = []
    for (n, s), (m, t) in itertools.product(*axes):
        if _cost(kernel, (n, m)) <= BUDGET:
            left, right = _points(n, s, sides[0]), _points(m, t, sides[1])
            found.append((float((left @ waves @ right.T).real.max()), Torus((n, m), (s, t))))
    found.sort(key=lambda pair: (prod(pair[1].sizes), pair[1].sizes, pair[1].twists))
    if target is not None:
        enough = [torus for value, torus in found if value <= target * (1 - Fraction(1, 1 << 12))]
        best = sorted(found, key=lambda pair: _coarse(pair[0]))[: TRIED - 1]
        return [(torus, False) for torus in (*enough[:1], *(torus for _, torus in best))]
    return [(min(found, key=lambda pair: _coarse(pair[0]))[1], False)]


def _coarse(value: float) -> int:
    """Its logarithm in steps of ``EQUAL``: what is about equal is equal, and the first of it is taken."""
    return math.floor(math.log2(max(value, 2.0**-1000)) * EQUAL)


def _cost(kernel: Array, sizes: tuple[int, ...]) -> float:
    """Products of integers that a check takes, roughly."""
    groups, out, inner = kernel.shape[:3]
    long, short = max(out, inner), min(out, inner)
    if prod(sizes) > 2 * FREQUENCIES:
        return float("inf")
    return prod(sizes) / 2 * groups * (4.0 * long * short**2 + 4.0 * short**3)


def _grid(kernel: Array, most: tuple[int, int]) -> tuple[int, int] | None:
    """The finest grid within the budget, the same on both axes."""
    reach = [k - 1 for k in kernel.shape[3:]]
    sizes = tuple(min(m, max(_GRID, _GRID * r) if r else 1) for m, r in zip(most, reach, strict=True))
    if _cost(kernel, sizes) > BUDGET:
        return None
    while True:
        finer = tuple(min(2 * n, m) if r else 1 for n, m, r in zip(sizes, most, reach, strict=True))
        if finer == sizes or _cost(kernel, finer) > BUDGET:
            return sizes[0], sizes[1]
        sizes = finer


def _cosets(least: int, taps: int) -> list[tuple[int, int]]:
    """(size, twist) of the circles along one axis."""
    return [(1, 0)] if taps == 1 else [(size, twist) for size in range(least, least + SIZES) for twist in (0, 1)]


def _points(size: int, twist: int, side: int) -> np.ndarray:
    """Interpolation from the Fourier coefficients of a grid to the frequencies of a twisted circle."""
    if side == 1:
        return np.ones((1, 1), complex)
    return np.exp(1j * np.pi * np.outer((2 * np.arange(size) + twist) / size, np.fft.fftfreq(side, 1 / side)))


def _spectrum(kernel: Array, sides: tuple[int, ...]) -> Array:
    """||B(w)||^2, the largest of the groups, on a periodic grid; half of it follows by w -> -w."""
    rows, columns = sides
    half = _tops(kernel, Torus((rows, columns), (0, 0)), 24).reshape(rows, -1)
    values = np.empty((rows, columns))
    values[:, : half.shape[1]] = half
    for k in range(half.shape[1], columns):
        values[:, k] = half[-np.arange(rows) % rows, columns - k]
    return values


def _tops(kernel: Array, torus: Torus, steps: int) -> Array:
    """Guesses of ||B(w)||^2 for every frequency, in float64, by so many steps of Lanczos."""
    values = []
    for real, imaginary in Blocks(kernel, torus).chunks():
        imaginary = np.zeros_like(real) if imaginary is None else imaginary
        if real.shape[-1] <= _NARROW:
            a, b = gram(real, imaginary)
            top = np.linalg.eigvalsh(a if b is None else a + 1j * b)[..., -1]
        else:
            blocks = torch.complex(torch.from_numpy(real), torch.from_numpy(imaginary))
            top = top_values(blocks.flatten(0, 1), steps).reshape(real.shape[:2])
        values.append(top.max(-1))
    return np.concatenate(values)


def torus_guess(kernel: Array, torus: Torus) -> float:
    """The largest ||B(w)||^2 on a torus, to rounding, unless the frequency is missed: by those where it seems largest."""
    seems, top, start = _tops(kernel, torus, 32), 0.0, 0
    best = set(np.argsort(seems)[-6:].tolist())
    for real, imaginary in Blocks(kernel, torus).chunks():
        for k in sorted(best & set(range(start, start + len(real)))):
            a, b = gram(real[k - start], None if imaginary is None else imaginary[k - start])
            top = max(top, *(top_of(g) for g in (a if b is None else a + 1j * b)))
        start += len(real)
    return top
