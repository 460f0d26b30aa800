"""Ways to bound a zero-padded stride-1 convolution without wrapping it around both axes, with what each would cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from lipverify.maps import Convolution
from lipverify.rigor.banded import Strip, strip_guess, strip_upper
from lipverify.rigor.candidates import Circle, Spectrum
from lipverify.rigor.reductions import Array
from lipverify.rigor.rounding import round_up
from lipverify.rigor.torus import block_error, circle_twiddles
from lipverify.rigor.unrolled import along


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """A bound that could be proved.

    Attributes:
        flops: what it would cost, roughly.
        method: its name, for people.
        upper: the proof: an upper bound of the norm, or None where none is found.
    """

    flops: float
    method: str
    upper: Callable[[], Fraction | None]


def finite_attempts(convolution: Convolution, spectrum: Spectrum, compared: int = 1) -> list[Attempt]:
    """Finite along one axis, the other a circle (half the gap of a torus) or unrolled (no gap); cheapest first.

    Args:
        compared: how many circles of each axis are compared before one is proved.
    """
    attempts = [_circle(convolution, spectrum, compared), _unrolled(convolution)]
    return sorted(attempts, key=lambda attempt: attempt.flops)


def _unrolled(convolution: Convolution) -> Attempt:
    kernel = convolution.kernel.midpoint
    image, out, taps = convolution.input_shape[2:], convolution.output_shape[2:], convolution.kernel.shape[2:]
    width = min(convolution.kernel.shape[:2])
    costs = [_unrolled_cost(taps[a], image[a], width * max(image[1 - a], out[1 - a])) for a in (0, 1)]
    axis = costs.index(min(costs))

    def upper() -> Fraction | None:
        return strip_upper(_oriented(along(kernel, convolution, 1 - axis)[:, None], None, convolution, axis))

    return Attempt(costs[axis], "unrolled, s I - A^T A proved semidefinite by blocks", upper)


def _circle(convolution: Convolution, spectrum: Spectrum, compared: int) -> Attempt:
    """The other axis a circle; the first ``compared`` circles of each axis are compared at their top frequencies."""
    kernel = convolution.kernel.midpoint
    circles = [(circle, axis) for axis in (0, 1) for circle in spectrum.circles(1 - axis)[:compared]]

    def upper() -> Fraction | None:
        circle, axis = circles[0] if len(circles) == 1 else min(circles, key=lambda pair: _at_top(convolution, *pair))
        bound = strip_upper(_strip(convolution, circle, axis))
        return None if bound is None else round_up(bound + block_error(kernel[None]))

    along, size, image = max(kernel.shape[2:]), max(spectrum.least), max(convolution.input_shape[2:])
    flops = 20.0 * size * along**2 * image * float(min(kernel.shape[:2])) ** 3
    return Attempt(flops, "finite along one axis, a circle along the other, proved by blocks", upper)


def _at_top(convolution: Convolution, circle: Circle, axis: int) -> float:
    """A guess of the largest squared norm of a strip, from its frequencies with the largest symbols."""
    return strip_guess(_strip(convolution, circle, axis, circle.top))


def _strip(convolution: Convolution, circle: Circle, axis: int, only: np.ndarray | slice = slice(None)) -> Strip:
    """The finite convolutions along ``axis``, one for each frequency of the circle along the other (of ``only`` these)."""
    kernel = convolution.kernel.midpoint
    along, across = kernel.shape[2 + axis], kernel.shape[3 - axis]
    cosine, sine = (part[only] for part in circle_twiddles(circle.size, circle.twist, across))
    moved = np.moveaxis(kernel, 3 - axis, 0).reshape(across, -1)
    shape = (len(cosine), *kernel.shape[:2], along)
    real, imaginary = (np.moveaxis((part @ moved).reshape(shape), 3, 0) for part in (cosine, sine))
    return _oriented(real, imaginary, convolution, axis)


def _unrolled_cost(taps: int, blocks: int, side: int) -> float:
    """Floating-point operations of a real banded proof, roughly."""
    return 6.0 * taps**2 * blocks * float(side) ** 3


def _oriented(real: Array, imaginary: Array | None, convolution: Convolution, axis: int) -> Strip:
    """The strip along ``axis``, or its adjoint (equal norm) where the outputs are the smaller side.

    Row j, column i holds tap i - j + left; in the adjoint row i, column j does: with taps reversed, t' = R - t, that is
    t' = j - i + (R - left).
    """
    left, rows, columns = (
        convolution.pads[axis][0],
        convolution.output_shape[2 + axis],
        convolution.input_shape[2 + axis],
    )
    if real.shape[-2] < real.shape[-1]:
        real = np.swapaxes(real[::-1], -1, -2)
        imaginary = None if imaginary is None else -np.swapaxes(imaginary[::-1], -1, -2)
        left, rows, columns = len(real) - 1 - left, columns, rows
    real = np.ascontiguousarray(real)
    return Strip(real, None if imaginary is None else np.ascontiguousarray(imaginary), left, rows, columns)
