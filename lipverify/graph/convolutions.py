"""Lowering rules of convolution, pooling and padding."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from lipverify.graph.scope import Lowered, NotLowered, Scope, affine, arguments
from lipverify.maps import Adjoint, Array, Convolution, Enclosure, Pad, Separable
from lipverify.read.program import Operation


def convolution(op: Operation, scope: Scope) -> Lowered:
    x, kernel, bias, stride, padding, dilation, transposed, output_padding, groups = arguments(
        op,
        ("input", None),
        ("weight", None),
        ("bias", None),
        ("stride", (1,)),
        ("padding", (0,)),
        ("dilation", (1,)),
        ("transposed", False),
        ("output_padding", (0,)),
        ("groups", 1),
    )
    return _stride_one(scope, x, kernel, bias, stride, padding, dilation, transposed, output_padding, groups)


def conv2d(op: Operation, scope: Scope) -> Lowered:
    x, kernel, bias, stride, padding, dilation, groups = arguments(
        op,
        ("input", None),
        ("weight", None),
        ("bias", None),
        ("stride", (1,)),
        ("padding", (0,)),
        ("dilation", (1,)),
        ("groups", 1),
    )
    return _stride_one(scope, x, kernel, bias, stride, padding, dilation, False, (0,), groups)


def conv_transpose2d(op: Operation, scope: Scope) -> Lowered:
    x, kernel, bias, stride, padding, output_padding, groups, dilation = arguments(
        op,
        ("input", None),
        ("weight", None),
        ("bias", None),
        ("stride", (1,)),
        ("padding", (0,)),
        ("output_padding", (0,)),
        ("groups", 1),
        ("dilation", (1,)),
    )
    return _stride_one(scope, x, kernel, bias, stride, padding, dilation, True, output_padding, groups)


def _stride_one(scope, x, kernel, bias, stride, padding, dilation, transposed, output_padding, groups) -> Lowered:
    value, weight = scope.value(x), scope.weight(kernel)
    shape = scope.shapes[value]
    if len(weight.shape) != 4 or len(shape) != 4:
        raise NotLowered(f"a convolution of a value of shape {shape}, not two-dimensional with a batch axis")
    stride, padding, dilation, output_padding = (
        tuple(p) * (2 if len(p) == 1 else 1) for p in (stride, padding, dilation, output_padding)
    )
    for what, given, wanted in (
        ("stride", stride, (1, 1)),
        ("dilation", dilation, (1, 1)),
        ("output padding", output_padding, (0, 0)),
        ("groups", groups, 1),
    ):
        if given != wanted:
            raise NotLowered(f"a convolution with {what} {given}")
    if min(padding) < 0:
        raise NotLowered(f"a convolution with padding {padding}")
    offset = None if bias is None else scope.weight(bias)
    if offset is not None:
        offset = _reshaped(offset, (-1, 1, 1))
    pads = tuple((p, p) for p in padding)
    if not transposed:
        return affine(Convolution(weight, shape, pads), offset, value)
    image = tuple(n - 2 * p + k - 1 for n, p, k in zip(shape[2:], padding, weight.shape[2:], strict=True))
    return affine(Adjoint(Convolution(weight, (shape[0], weight.shape[1], *image), pads)), offset, value)


def _reshaped(x: Enclosure, shape: tuple[int, ...]) -> Enclosure:
    return Enclosure(x.midpoint.reshape(shape), None if x.radius is None else x.radius.reshape(shape))


def average_pooling(op: Operation, scope: Scope) -> Lowered:
    x, window, stride, padding, ceil_mode, _, divisor = arguments(
        op,
        ("self", None),
        ("kernel_size", None),
        ("stride", ()),
        ("padding", (0,)),
        ("ceil_mode", False),
        ("count_include_pad", True),
        ("divisor_override", None),
    )
    value = scope.value(x)
    shape = scope.shapes[value]
    window = tuple(window) * (2 if len(window) == 1 else 1)
    stride = (tuple(stride) * (2 if len(stride) == 1 else 1)) or window
    if stride != window or any(padding) or divisor is not None:
        raise NotLowered(f"average pooling with window {window}, stride {stride}, padding {tuple(padding)}")
    if ceil_mode and any(n % w for n, w in zip(shape[-2:], window, strict=True)):
        raise NotLowered("average pooling whose last window is clipped (ceil_mode)")
    factors = tuple((len(shape) - 2 + i, Enclosure(_disjoint(shape[i - 2], w))) for i, w in enumerate(window))
    output = (*shape[:-2], *(n // w for n, w in zip(shape[-2:], window, strict=True)))
    return affine(Separable(shape, output, factors, Fraction(1, window[0] * window[1])), None, value)


def _disjoint(n: int, window: int) -> Array:
    """The 0-1 matrix (n // window, n): which entries lie in which window."""
    return (np.arange(n)[None, :] // window == np.arange(n // window)[:, None]).astype(np.float64)


def pad(op: Operation, scope: Scope) -> Lowered:
    x, widths, *rest = op.args
    mode, fill = "constant", None
    if op.target == "aten.constant_pad_nd.default":
        (fill,) = rest or (op.kwargs.get("value", 0),)
    else:
        mode, fill = ([*rest, None, None])[:2]
        mode, fill = mode or op.kwargs.get("mode", "constant"), fill or op.kwargs.get("value")
    if mode not in ("constant", "circular") or (mode == "constant" and fill not in (None, 0)):
        raise NotLowered(f"padding in mode {mode!r} with {fill}")
    value = scope.value(x)
    shape = scope.shapes[value]
    if min(widths) < 0:
        raise NotLowered(f"padding by {tuple(widths)}, which crops")
    pairs = [(widths[i], widths[i + 1]) for i in range(0, len(widths), 2)][::-1]
    pads = ((0, 0),) * (len(shape) - len(pairs)) + tuple(pairs)
    if mode == "circular" and any(max(p) > n for p, n in zip(pads, shape, strict=True)):
        raise NotLowered(f"circular padding by {pads} of {shape}, more than once around")
    return affine(Pad(shape, pads, mode == "circular"), None, value)
