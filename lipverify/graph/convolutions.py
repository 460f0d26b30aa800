"""Lowering rules of convolution, of every kind; a transposed one is the adjoint of a convolution of its output."""

from __future__ import annotations

from typing import Any

from lipverify.graph.scope import Lowered, NotLowered, Scope, affine, arguments, per_axis
from lipverify.maps import Adjoint, Convolution, Enclosure, Pad, Shape
from lipverify.read.program import Operation


def convolution(op: Operation, scope: Scope) -> Lowered:
    """convolution, conv1d, conv2d, conv_transpose1d, conv_transpose2d, with padding in numbers or by name."""
    given = arguments(op)
    value, kernel = scope.value(given["input"]), scope.weight(given["weight"])
    shape = scope.shapes[value]
    axes = len(kernel.shape) - 2
    if axes not in (1, 2) or len(shape) != axes + 2:
        raise NotLowered(f"a convolution of a value of shape {shape}, not one- or two-dimensional with a batch axis")
    offset = None if given["bias"] is None else reshaped(scope.weight(given["bias"]), (-1,) + (1,) * axes)
    stride, dilation = per_axis(given["stride"], axes), per_axis(given["dilation"], axes)
    pads = _pads(given["padding"], dilation, kernel.shape[2:])
    if min(min(pair) for pair in pads) < 0:
        raise NotLowered(f"a convolution with padding {given['padding']}")
    geometry: dict[str, Any] = {"stride": stride, "dilation": dilation, "groups": given["groups"]}
    transposed = given["transposed"] if "transposed" in given else op.target.startswith("aten.conv_transpose")
    if not transposed:
        if any(per_axis(given.get("output_padding", 0), axes)):
            raise NotLowered("a convolution with output padding that is not transposed")
        return affine(Convolution(kernel, shape, pads, **geometry), offset, value)
    return _transposed(value, kernel, offset, shape, scope.shapes[op.name], pads, geometry)


def _transposed(
    value: str,
    kernel: Enclosure,
    offset: Enclosure | None,
    shape: Shape,
    output: Shape,
    pads: Any,
    geometry: dict[str, Any],
) -> Lowered:
    """The adjoint of the convolution that maps the output's image to the input's.

    Output padding makes the output longer at its end. Where it is not below the stride, the convolution of such an image is
    larger than the input: its adjoint reads the input with zeros added at the end.
    """
    forward = Convolution(kernel, output, pads, **geometry)
    missing = tuple((0, m - n) for m, n in zip(forward.output_shape, shape, strict=True))
    if min(after for _, after in missing) < 0:
        raise NotLowered(f"a transposed convolution from {shape} to {output}")
    embedded = affine(Pad(shape, missing), None, value) if any(after for _, after in missing) else value
    return affine(Adjoint(forward), offset, embedded)


def _pads(padding: Any, dilation: tuple[int, ...], taps: Shape) -> tuple[tuple[int, int], ...]:
    """(before, after) for each axis; 'same' adds dilation (taps - 1) in all, the odd one after."""
    reach = [d * (k - 1) for d, k in zip(dilation, taps, strict=True)]
    if padding == "same":
        return tuple((r // 2, r - r // 2) for r in reach)
    if padding == "valid":
        return ((0, 0),) * len(taps)
    if isinstance(padding, str):
        raise NotLowered(f"a convolution with padding {padding!r}")
    return tuple((p, p) for p in per_axis(padding, len(taps)))


def reshaped(x: Enclosure, shape: tuple[int, ...]) -> Enclosure:
    return Enclosure(x.midpoint.reshape(shape), None if x.radius is None else x.radius.reshape(shape))
