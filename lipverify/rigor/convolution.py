"""The norm of a stride-1 convolution, enclosed: on tori that contain it, or unrolled to a matrix.

Zero padding. Per axis let the input have n entries, the kernel k taps, reach R = k - 1, pads (l, r). Outputs that see
padding only are zero and may be dropped, so l and r may be replaced by min(l, R), min(r, R). Put the input on the
torus Z_N, N >= n + max(l, r): output j reads the entries j + t - l, 0 <= t <= R; those in [-l, -1] become
[N - l, N - 1], all >= n, and those in [n, n + r - 1] are below N, so each meets a zero of the torus, whatever the
twist. The n + l + r - R <= N outputs are distinct points of the torus. Hence the map is a compression of the torus
operator and its norm is at most that operator's, for every such N and twist, chosen per axis.

Circular padding. Output j is the value of the torus operator on Z_n at (j mod n): each is taken at most ceil(m / n)
times for m outputs, so ||A||^2 <= prod ceil(m / n) ||torus||^2, with equality where m = n.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np

from lipverify.actions import apply
from lipverify.evidence import Rigor
from lipverify.maps import Convolution, Enclosure
from lipverify.rigor.candidates import Spectrum, guess_singular_vector
from lipverify.rigor.dense import dense_norm
from lipverify.rigor.enclosure import NormEnclosure
from lipverify.rigor.finite import finite_attempts
from lipverify.rigor.probe import machine
from lipverify.rigor.reductions import Array, checked, length, lost, power_of_two, unit_scaled
from lipverify.rigor.rounding import gamma, round_down, round_up, sqrt_up, underflow
from lipverify.rigor.torus import Torus, magnitude_norm, torus_upper

TOLERANCE = Fraction(1, 2**16)
"""A relative gap below which nothing tighter is tried."""

_SMALL_MATRIX = 1024

BUDGET = 2e12
"""Floating-point operations (a rough count) that one finite proof may cost; beyond a fifth of it (some ten seconds) it
is tried only where the gap exceeds ``DEAR``."""

DEAR = Fraction(1, 200)


def convolution_norm(
    convolution: Convolution, *, tolerance: Fraction = TOLERANCE, budget: float = BUDGET
) -> NormEnclosure:
    """lower <= ||A||_2 <= upper of a stride-1 convolution, zero or circular padding, for every kernel of the enclosure.

    Upper: the least of the proved bounds that were tried, cheapest first, until the gap is below ``tolerance``: small
    maps unrolled to a matrix; the best torus; finite along one axis (:mod:`lipverify.rigor.finite`).
    Lower: |A x| / |x| of the true map, x by Lanczos.
    Errors counted: see :mod:`lipverify.rigor.torus` and :mod:`lipverify.rigor.dense`; the radius by its own norm.

    Raises:
        ValueError: for NaN or infinite weights, or a kernel that does not fit the input.
        NotImplementedError: for stride, dilation, groups and other than two image axes.
    """
    machine()
    kernel = checked(convolution.kernel.midpoint, "kernel of a convolution")
    _check_shapes(convolution, kernel)
    repeats = _repeats(convolution)
    scaled, e = unit_scaled(kernel)
    one = replace(convolution, kernel=Enclosure(scaled), input_shape=(1, *convolution.input_shape[1:]))
    if not np.prod(convolution.input_shape) or not np.prod(convolution.output_shape) or not scaled.any():
        zero = NormEnclosure(Fraction(0), Fraction(0), "zero", Rigor.EXACT, np.zeros(convolution.input_shape))
        return zero.widened(_radius_norm(convolution, repeats))
    found = _enclose(one, repeats, tolerance, budget)
    # What scaling lost is a kernel with entries below 2^-1021: its norm, by the sum of all its magnitudes.
    scale = power_of_two(e)
    found = found.widened(repeats * lost(scaled)).times(scale) if _lossy(kernel, scaled, e) else found.times(scale)
    vector = np.zeros(convolution.input_shape)
    if found.vector is not None:
        vector[:1] = found.vector.reshape(one.input_shape)
    return replace(found, vector=vector).widened(_radius_norm(convolution, repeats))


def _lossy(kernel: Array, scaled: Array, e: int) -> bool:
    """Whether scaling changed any entry by more than its exponent."""
    smallest = np.abs(scaled[(kernel.view(np.int64) << 1) != 0]).min(initial=1.0)
    return not smallest > 2.0**-900


def _check_shapes(convolution: Convolution, kernel: Array) -> None:
    shape, pads = convolution.input_shape, convolution.pads
    form = (convolution.stride, convolution.dilation, convolution.groups)
    if kernel.ndim == 3 or form != ((1, 1), (1, 1), 1):
        raise NotImplementedError(
            f"convolution: stride, dilation, groups {form} with {len(pads)} image axes has no norm here yet"
        )
    if kernel.ndim != 4 or len(shape) != 4 or kernel.shape[1] != shape[1]:
        raise ValueError(
            f"convolution: kernel {kernel.shape} does not fit input {shape}; (out, in, kh, kw), (N, in, H, W)"
        )
    if len(pads) != 2 or min(min(p) for p in pads) < 0 or min(kernel.shape[2:]) < 1:
        raise ValueError(f"convolution: pads {pads} must be two pairs >= 0, and the kernel {kernel.shape} not empty")
    if min(convolution.output_shape[2:]) < 0:
        raise ValueError(f"convolution: kernel {kernel.shape} is larger than the padded input {shape}, pads {pads}")
    if convolution.circular and any(max(p) > n for p, n in zip(pads, shape[2:], strict=True)):
        raise ValueError(f"convolution: circular pads {pads} exceed the image {shape[2:]}")


def _repeats(convolution: Convolution) -> Fraction:
    """An upper bound of ||A|| / ||torus operator||: 1, or the root of how often circular padding repeats an output."""
    if not convolution.circular:
        return Fraction(1)
    sides = zip(convolution.output_shape[2:], convolution.input_shape[2:], strict=True)
    counts = [max(1, -(-int(m) // int(n))) if n else 1 for m, n in sides]
    return sqrt_up(Fraction(counts[0] * counts[1]))


def _radius_norm(convolution: Convolution, repeats: Fraction) -> Fraction:
    """The norm of any convolution whose kernel lies within the radius: dominated by the torus block at w = 0."""
    if convolution.kernel.radius is None:
        return Fraction(0)
    radius = checked(convolution.kernel.radius, "radius of a kernel")
    if radius.shape != convolution.kernel.shape or (radius < 0).any():
        raise ValueError("radius of a kernel: it must be nonnegative and of the midpoint's shape")
    scaled, e = unit_scaled(radius)
    return repeats * (magnitude_norm(scaled) + lost(scaled)) * power_of_two(e) if scaled.any() else Fraction(0)


def _enclose(convolution: Convolution, repeats: Fraction, tolerance: Fraction, budget: float) -> NormEnclosure:
    kernel = convolution.kernel.midpoint
    side = min(int(np.prod(convolution.input_shape)), int(np.prod(convolution.output_shape)))
    unrollable = not convolution.circular or all(
        k <= n for k, n in zip(kernel.shape[2:], convolution.input_shape[2:], strict=True)
    )
    if unrollable and side <= _SMALL_MATRIX:
        return _prefixed(dense_norm(_unroll(convolution)), "unrolled")
    lower, vector = _lower(convolution, repeats)
    upper, method = repeats * magnitude_norm(kernel), "sum of |kernel|"
    least = _least(convolution)
    spectrum = None if convolution.circular else Spectrum.of(kernel, least)
    torus = Torus(least, (0, 0)) if spectrum is None else spectrum.best_torus()
    bound = torus_upper(kernel, torus)
    if bound is not None and repeats * bound < upper:
        upper, method = round_up(repeats * bound), f"torus {torus}, s I - B^H B proved semidefinite"
    for attempt in () if spectrum is None else finite_attempts(convolution, spectrum):
        wanted = tolerance if attempt.flops <= budget / 5 else max(tolerance, DEAR)
        if attempt.flops <= budget and upper > lower * (1 + wanted):
            bound = attempt.upper()
            if bound is not None and bound < upper:
                upper, method = bound, attempt.method
    return NormEnclosure(lower, upper, method, vector=vector)


def _prefixed(enclosure: NormEnclosure, prefix: str) -> NormEnclosure:
    return replace(enclosure, method=f"{prefix}: {enclosure.method}")


def _unroll(convolution: Convolution) -> Array:
    """The matrix of the convolution (one image); entries are copies of the kernel's, no rounding."""
    kernel = convolution.kernel.midpoint
    (_, ci, *image), (_, co, *out) = convolution.input_shape, convolution.output_shape
    matrix = np.zeros((co, *out, ci, *image))
    for i, j in np.ndindex(*kernel.shape[2:]):
        rows, columns = (
            [(y, y + tap - pad[0]) for y in range(m)] for m, tap, pad in zip(out, (i, j), convolution.pads, strict=True)
        )
        if convolution.circular:
            rows, columns = ([(y, x % n) for y, x in part] for part, n in zip((rows, columns), image, strict=True))
        for (y, u), (x, v) in itertools.product(rows, columns):
            if 0 <= u < image[0] and 0 <= v < image[1]:
                matrix[:, y, x, :, u, v] = kernel[:, :, i, j]
    return matrix.reshape(co * out[0] * out[1], -1)


def _least(convolution: Convolution) -> tuple[int, int]:
    """The least torus that holds the map, per axis: see the head of this module."""
    image = convolution.input_shape[2:]
    if convolution.circular:
        return int(image[0]), int(image[1])
    sizes = [
        int(n + max(min(left, k - 1), min(right, k - 1)))
        for n, k, (left, right) in zip(image, convolution.kernel.shape[2:], convolution.pads, strict=True)
    ]
    return sizes[0], sizes[1]


def _lower(convolution: Convolution, repeats: Fraction) -> tuple[Fraction, Array]:
    """A lower bound of the true map's norm, and the vector that shows it.

    Each entry of fl(A x) sums k = in * kh * kw products: |error| <= gamma_k |A| |x|, in norm gamma_k || |A| || |x|.
    """
    kernel, shape = convolution.kernel.midpoint, convolution.input_shape
    guess = guess_singular_vector(convolution)
    if not np.isfinite(guess).all() or not guess.any():
        return Fraction(0), np.zeros(shape)
    x, _ = unit_scaled(guess)
    image, e = unit_scaled(np.ascontiguousarray(apply(convolution, x.reshape(shape))))
    k = kernel[0].size
    longest = length(x)[1]
    short = (length(image)[0] - lost(image)) * power_of_two(e)
    error = gamma(k) * repeats * magnitude_norm(kernel) * longest + image.size * underflow(k)
    return round_down(max(Fraction(0), (short - error) / longest)), x
