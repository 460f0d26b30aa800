"""Every convolution as a compression of stride-1 convolutions of its phases, one for each group.

Along one axis output j reads the entries j s + t d - l, 0 <= t < k, of n inputs (stride s, dilation d, pads (l, r)).

Stride. Write t d - l = s a_t + p_t with 0 <= p_t < s. Output j then reads entry j + a_t of phase p_t, the phase p being
x[p], x[s + p], x[2 s + p], ...: a stride-1 convolution whose channels are the pairs (channel, phase), whose taps are the
numbers a_t - a_0 and whose kernel has the given entries at other places (the pairs (p_t, a_t) are distinct). Phases that
are never read are dropped, all others extended by zeros to ceil(n / s) entries, and outputs are added where less than no
padding would be left: the map is a part of the larger one's matrix, so its norm is at most the larger one's.

Dilation without stride. Outputs q, d + q, 2 d + q, ... read one phase of the input only: the map is a direct sum of d
undilated convolutions with the given kernel. Each is a part of the one on ceil(n / d) entries with the largest pads, so
the norm is at most that one's. (Dilation with stride is covered by the first case, taps a_t far apart.)

Circular padding. Let g = gcd(n, s). Outputs are outputs of the circular convolution of stride g, and as g divides n its
phases lie on the torus Z_(n / g): output j is the torus operator's at (j s / g) mod (n / g), up to a shift. Multiplication
by s / g permutes Z_(n / g), so each is taken at most ceil(m / (n / g)) times for m outputs: ||A||^2 <= prod ceil(m g / n)
||torus operator||^2, with equality where s = g and m = n / g.

Groups. A is a direct sum over the groups: its norm is the largest of theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import gcd

import numpy as np

from lipverify.maps import Convolution, Enclosure
from lipverify.rigor.reductions import Array, checked
from lipverify.rigor.rounding import sqrt_up


@dataclass(frozen=True, slots=True, eq=False)
class Polyphase:
    """Stride-1, undilated convolutions, the largest of whose norms, times ``repeats``, bounds the given map's.

    Attributes:
        kernel: (groups, out, in, kh, kw): copies of the given kernel's entries, and zeros.
        image: height and width of the phases.
        pads: zeros (before, after) that are ever read, for each axis; of no meaning where ``circular``.
        circular: the phases lie on tori of the size of ``image``.
        repeats: an upper bound of ||A|| / ||these convolutions||.
    """

    kernel: Array
    image: tuple[int, int]
    pads: tuple[tuple[int, int], tuple[int, int]]
    circular: bool
    repeats: Fraction

    @property
    def outputs(self) -> tuple[int, int]:
        """Height and width of the outputs (zero padding)."""
        sides = [n + sum(p) - k + 1 for n, p, k in zip(self.image, self.pads, self.kernel.shape[3:], strict=True)]
        return sides[0], sides[1]

    @property
    def least(self) -> tuple[int, int]:
        """The least torus that holds the map, per axis (see :mod:`lipverify.rigor.convolution`)."""
        if self.circular:
            return self.image
        return self.image[0] + max(self.pads[0]), self.image[1] + max(self.pads[1])


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis: which phase and tap of the stride-1 convolution each tap of the given one becomes."""

    size: int
    pads: tuple[int, int]
    phase: tuple[int, ...]
    tap: tuple[int, ...]
    repeats: int = 1


def planar(convolution: Convolution) -> Convolution:
    """The same map with two image axes: a second one of length 1 where there is one only.

    Raises:
        NotImplementedError: for three image axes and more.
        ValueError: for shapes that do not fit each other; NaN or infinite weights.
    """
    kernel = convolution.kernel
    _check(convolution)
    if len(convolution.pads) == 2:
        return convolution
    return replace(
        convolution,
        kernel=Enclosure(kernel.midpoint[..., None], None if kernel.radius is None else kernel.radius[..., None]),
        input_shape=(*convolution.input_shape, 1),
        pads=(*convolution.pads, (0, 0)),
        stride=(*convolution.stride, 1),
        dilation=(*convolution.dilation, 1),
    )


def polyphase(convolution: Convolution, kernel: Array) -> Polyphase:
    """The stride-1 convolutions of which a planar ``convolution`` with this kernel is a compression, to a factor."""
    axes = [
        _circular(n, k, m, d, s, left) if convolution.circular else _zero_padded(n, k, m, d, s, left)
        for n, k, m, d, s, (left, _) in zip(
            convolution.input_shape[2:],
            kernel.shape[2:],
            convolution.output_shape[2:],
            convolution.dilation,
            convolution.stride,
            convolution.pads,
            strict=True,
        )
    ]
    (first, second), groups = axes, convolution.groups
    out, inner = len(kernel) // groups, kernel.shape[1]
    phases = [sorted(set(axis.phase)) for axis in axes]
    placed = np.zeros((groups, out, inner, *map(len, phases), max(first.tap) + 1, max(second.tap) + 1))
    for i, j in np.ndindex(*kernel.shape[2:]):
        at = phases[0].index(first.phase[i]), phases[1].index(second.phase[j])
        placed[:, :, :, at[0], at[1], first.tap[i], second.tap[j]] = kernel[:, :, i, j].reshape(groups, out, inner)
    placed = placed.reshape(groups, out, inner * len(phases[0]) * len(phases[1]), *placed.shape[5:])
    repeats = sqrt_up(Fraction(first.repeats * second.repeats))
    return Polyphase(placed, (first.size, second.size), (first.pads, second.pads), convolution.circular, repeats)


def _zero_padded(n: int, k: int, m: int, d: int, s: int, left: int) -> _Axis:
    if s == 1 and d > 1:
        return _undilated(n, k, m, d, left)
    phases, taps, first = _phases(k, d, s, left)
    size = -(-n // s)
    # Padding beyond the reach is read by outputs that are zero, which may be dropped.
    before, after = -first, max(0, m + first + max(taps) - size)
    return _Axis(size, (min(before, max(taps)), min(after, max(taps))), phases, taps)


def _undilated(n: int, k: int, m: int, d: int, left: int) -> _Axis:
    """Phase q of the outputs reads entry v + t - c of its phase of the inputs, q - left = -c d + (that phase)."""
    size, before, most = -(-n // d), -(-left // d), 0
    for q in range(min(d, m)):
        most = max(most, -(-(m - q) // d) + before + (q - left) // d)
    after = max(0, most + k - 1 - size - before)
    return _Axis(size, (min(before, k - 1), min(after, k - 1)), (0,) * k, tuple(range(k)))


def _circular(n: int, k: int, m: int, d: int, s: int, left: int) -> _Axis:
    step = gcd(n, s)
    phases, taps, _ = _phases(k, d, step, left)
    return _Axis(n // step, (0, 0), phases, taps, max(1, -(-m // (n // step))))


def _phases(k: int, d: int, s: int, left: int) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """(p_t, a_t - a_0, a_0) of the head of this module."""
    offsets = [t * d - left for t in range(k)]
    first = offsets[0] // s
    return tuple(o % s for o in offsets), tuple(o // s - first for o in offsets), first


def _check(convolution: Convolution) -> None:
    shape, pads, stride, dilation = (
        convolution.input_shape,
        convolution.pads,
        convolution.stride,
        convolution.dilation,
    )
    kernel = checked(convolution.kernel.midpoint, "kernel of a convolution")
    axes, groups = len(shape) - 2, convolution.groups
    if axes > 2:
        raise NotImplementedError(f"convolution: {axes} image axes (input {shape}); one or two are covered")
    if not axes == len(pads) == len(stride) == len(dilation) == kernel.ndim - 2 or axes < 1:
        raise ValueError(f"convolution: kernel {kernel.shape} does not fit input {shape}, pads {pads}, stride {stride}")
    if groups < 1 or kernel.shape[1] * groups != shape[1] or len(kernel) % groups:
        raise ValueError(
            f"convolution: kernel {kernel.shape} does not fit input {shape}; (out, in / groups, *taps) with groups "
            f"{groups}, (N, in, *image)"
        )
    if min(min(p) for p in pads) < 0 or min(kernel.shape[2:]) < 1 or min(*stride, *dilation) < 1:
        raise ValueError(
            f"convolution: pads {pads} must be pairs >= 0, kernel {kernel.shape} not empty, stride {stride} and dilation "
            f"{dilation} at least 1"
        )
    room = [n + sum(p) - r for n, p, r in zip(shape[2:], pads, convolution.reach, strict=True)]
    if min(room) < 0 or min(convolution.output_shape[2:]) < 0:
        raise ValueError(f"convolution: kernel {kernel.shape} is larger than the padded input {shape}, pads {pads}")
    if convolution.circular and any(max(p) > n for p, n in zip(pads, shape[2:], strict=True)):
        raise ValueError(f"convolution: circular pads {pads} exceed the image {shape[2:]}")
