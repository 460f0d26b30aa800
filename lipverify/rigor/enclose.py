"""A program's value at a point, enclosed: every ATen operation in ball arithmetic, on the original program.

A ball is a float64 midpoint and an entrywise radius. For an operation that is linear in its argument, with k terms in
each sum, |fl(F m) - F z| <= |F| r + gamma_k |F| |m| for every z within r of m. Matrix products are the only sums that
are not written out here; of them only the standard error model is trusted (any order of summation, FMA allowed), so
convolutions are unfolded into matrix products. The radius is itself computed in float64 and then enlarged by a bound of
its own rounding; ``TINY`` covers underflow, flushed to zero or not. Source: Rump (1999), Fast and parallel interval
arithmetic; Higham (2002), section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal, localcontext
from typing import Any, NamedTuple

import torch
from torch.nn import functional as F

from lipverify.graph.fold import REARRANGEMENTS, NotFoldable, scalar
from lipverify.read.program import Operation, Program, Ref, run
from lipverify.rigor.probe import probe
from lipverify.rigor.rounding import float_up, gamma

TINY = 2.0**-400
HUGE = 2.0**450
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class NotEnclosed(Exception):
    """An operation without a rule in ball arithmetic; the message names it."""


class Ball(NamedTuple):
    """All arrays z with |z - midpoint| <= radius in every entry; both float64 tensors of one shape."""

    midpoint: torch.Tensor
    radius: torch.Tensor


def enclose(program: Program, x: torch.Tensor) -> Ball:
    """The program's output at ``x``, real semantics: the ball contains the exact value.

    Args:
        program: with one input and one output.
        x: float64 tensor of the input's shape; taken as exact.

    Raises:
        NotEnclosed: naming an operation that has no rule, or a value too large to bound.
    """
    probe()
    values: dict[str, Any] = {
        name: exact(w.to(torch.float64)) if w.is_floating_point() else w for name, w in program.weights.items()
    }
    values[next(iter(program.inputs))] = exact(x)
    for op in program.operations:
        try:
            ball = values[op.name] = _step(op, values, program.dtype)
        except NotFoldable as reason:
            raise NotEnclosed(f"{op.target} in {op.calls[-1] or 'the model'}: {reason}") from reason
        if not bool((ball.midpoint.abs() <= HUGE).all() and (ball.radius <= HUGE).all()):
            raise NotEnclosed(f"the value of {op.target} in {op.calls[-1] or 'the model'} is too large to bound")
    return values[program.outputs[0]]


def exact(x: torch.Tensor) -> Ball:
    """The ball of radius zero around ``x``."""
    return Ball(x, torch.zeros_like(x))


def _step(op: Operation, values: dict[str, Any], dtype: torch.dtype) -> Ball:
    if op.target in REARRANGEMENTS or op.target in PADDINGS:
        if op.target in PADDINGS and any(op.args[3:] + op.args[2:3][op.target == "aten.pad.default" :]):
            raise NotFoldable("padding with a constant that is not zero")
        return Ball(*(run(op, values | {op.references[0]: part}, {}) for part in values[op.references[0]]))
    rule = RULES.get(op.target)
    if rule is None:
        raise NotFoldable("no rule in ball arithmetic")

    def argument(arg: Any, position: int) -> Any:
        if isinstance(arg, Ref):
            value = values[arg.name]
            if not isinstance(value, Ball):
                raise NotFoldable(f"it reads {arg.name}, which is not a floating point value")
            return value
        number = isinstance(arg, int | float) and not isinstance(arg, bool)
        if number and op.target in SCALAR_ARGUMENTS:
            hull = scalar(arg, dtype)
            middle = torch.from_numpy(hull.midpoint)
            return Ball(middle, torch.zeros_like(middle) if hull.radius is None else torch.from_numpy(hull.radius))
        return arg

    return rule(
        *(argument(a, i) for i, a in enumerate(op.args)), **{k: argument(v, -1) for k, v in op.kwargs.items()}
    )


def _grown(radius: torch.Tensor, k: int) -> torch.Tensor:
    """An upper bound of a radius that was computed with sums of at most k terms."""
    return radius * (1 + float_up(4 * gamma(k + 16))) + TINY


def _bilinear(function: Callable[..., torch.Tensor], x: Ball, w: Ball, k: int) -> Ball:
    middle = function(x.midpoint, w.midpoint)
    size, weight = x.midpoint.abs(), w.midpoint.abs()
    radius = float_up(gamma(k + 1)) * function(size, weight) + function(x.radius, weight + w.radius)
    if bool(w.radius.any()):
        radius = radius + function(size, w.radius)
    return Ball(middle, _grown(radius, k))


def _add(x: Ball, y: Ball, *, alpha: Any = 1, sign: int = 1) -> Ball:
    if alpha != 1:
        raise NotFoldable(f"alpha = {alpha}")
    middle = x.midpoint + sign * y.midpoint
    return Ball(middle, _grown(x.radius + y.radius + float_up(gamma(1)) * middle.abs(), 2))


def _subtract(x: Ball, y: Ball, *, alpha: Any = 1) -> Ball:
    return _add(x, y, alpha=alpha, sign=-1)


def _multiply(x: Ball, y: Ball) -> Ball:
    return _bilinear(torch.mul, x, y, 1)


def _divide(x: Ball, y: Ball) -> Ball:
    """|X / Y - x / y| <= (|X - x| + |x / y| |Y - y|) / |Y|."""
    least = y.midpoint.abs() * (1 - 2.0**-50) - y.radius * (1 + 2.0**-50)
    if not bool((least > 2.0**-400).all()):
        raise NotFoldable("a division by what may be zero")
    middle = x.midpoint / y.midpoint
    size = middle.abs() * (1 + 2.0**-50)
    return Ball(middle, _grown((x.radius + size * y.radius) / least + float_up(gamma(2)) * size, 4))


def _square_root(x: Ball) -> Ball:
    """|sqrt X - sqrt x| <= |X - x| / sqrt x."""
    if not bool((x.midpoint - x.radius > 2.0**-400).all()):
        raise NotFoldable("the square root of what may not be positive")
    middle = x.midpoint.sqrt()
    return Ball(middle, _grown(x.radius / middle + float_up(gamma(2)) * middle, 4))


def _one() -> Ball:
    return exact(torch.ones((), dtype=torch.float64))


def _linear(x: Ball, weight: Ball, bias: Ball | None = None) -> Ball:
    y = _bilinear(torch.matmul, x, Ball(weight.midpoint.mT, weight.radius.mT), x.midpoint.shape[-1])
    return y if bias is None else _add(y, bias)


def _matmul(x: Ball, y: Ball) -> Ball:
    return _bilinear(torch.matmul, x, y, x.midpoint.shape[-1])


def _addmm(bias: Ball, x: Ball, y: Ball, *, alpha: Any = 1, beta: Any = 1) -> Ball:
    if (alpha, beta) != (1, 1):
        raise NotFoldable(f"alpha = {alpha}, beta = {beta}")
    return _add(_matmul(x, y), bias)


def _convolution(
    x: Ball, weight: Ball, bias: Ball | None, stride, padding, dilation, transposed, output_padding, groups
) -> Ball:
    if groups != 1 or weight.midpoint.ndim != 4 or any(output_padding) or min(padding) < 0:
        raise NotFoldable("a grouped, output-padded, cropped or not two-dimensional convolution")
    first, second, *kernel = weight.midpoint.shape
    stride, padding, dilation = (tuple(p) * (2 if len(p) == 1 else 1) for p in (stride, padding, dilation))
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    sides = x.midpoint.shape[2:]
    geometry = {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    if transposed:
        image = [(n - 1) * s - 2 * p + r + 1 for n, s, p, r in zip(sides, stride, padding, reach, strict=True)]
        k = first + kernel[0] * kernel[1]

        def function(value: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
            columns = torch.matmul(w.reshape(first, -1).T, value.reshape(len(value), first, -1))
            return F.fold(columns, image, **geometry)
    else:
        image = [(n + 2 * p - r - 1) // s + 1 for n, s, p, r in zip(sides, stride, padding, reach, strict=True)]
        k = second * kernel[0] * kernel[1]

        def function(value: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
            columns = torch.matmul(w.reshape(first, -1), F.unfold(value, **geometry))
            return columns.reshape(len(value), first, *image)

    y = _bilinear(function, x, weight, k)
    return y if bias is None else _add(y, Ball(*(part.reshape(-1, 1, 1) for part in bias)))


def _conv2d(x, weight, bias=None, stride=(1,), padding=(0,), dilation=(1,), groups=1) -> Ball:
    return _convolution(x, weight, bias, stride, padding, dilation, False, (0, 0), groups)


def _conv_transpose2d(
    x, weight, bias=None, stride=(1,), padding=(0,), output_padding=(0,), groups=1, dilation=(1,)
) -> Ball:
    return _convolution(x, weight, bias, stride, padding, dilation, True, output_padding, groups)


def _average(x: Ball, window, *rest) -> Ball:
    def pool(value: torch.Tensor) -> torch.Tensor:
        return torch.ops.aten.avg_pool2d.default(value, list(window), *(list(a) if isinstance(a, tuple) else a for a in rest))

    k = window[0] * window[-1] + 2
    return Ball(pool(x.midpoint), _grown(pool(x.radius) + float_up(gamma(k)) * pool(x.midpoint.abs()), k))


def _relu(x: Ball) -> Ball:
    return Ball(x.midpoint.relu(), x.radius)


def _negate(x: Ball) -> Ball:
    return Ball(-x.midpoint, x.radius)


def _leaky_relu(x: Ball, slope: Ball | None = None) -> Ball:
    if slope is None:
        raise NotFoldable("leaky_relu with its slope left out")
    return _subtract(_relu(x), _multiply(slope, _relu(_negate(x))))


def _hardtanh(x: Ball, low: Ball | None = None, high: Ball | None = None) -> Ball:
    """A clamp moves no farther than its argument and its ends do."""
    low, high = low or _negate(_one()), high or _one()
    ends = torch.maximum(low.radius, high.radius)
    return Ball(torch.minimum(torch.maximum(x.midpoint, low.midpoint), high.midpoint), _grown(x.radius + ends, 2))


def _conversion(x: Ball, dtype: torch.dtype | None = None, **_: Any) -> Ball:
    if dtype not in (None, *FLOATS):
        raise NotFoldable(f"a conversion to {dtype}")
    return x


def _smooth(function: Callable[[Decimal], Decimal], slope: float) -> Callable[[Ball], Ball]:
    """A function of slope at most ``slope``, evaluated to 40 digits by the correctly rounded exp of ``decimal``."""

    def rule(x: Ball) -> Ball:
        with localcontext(Context(prec=50, Emin=-(10**6), Emax=10**6)):
            numbers = [float(function(Decimal(v))) for v in x.midpoint.reshape(-1).tolist()]
        middle = torch.tensor(numbers, dtype=torch.float64).reshape(x.midpoint.shape)
        return Ball(middle, _grown(slope * x.radius + float_up(gamma(2)) * middle.abs(), 2))

    return rule


def _tanh(v: Decimal) -> Decimal:
    """1 - 2 / (e^{2v} + 1) for v >= 0: at least 30 digits beyond float64 for v above 1e-8, v itself to v^3 below."""
    if v < 0:
        return -_tanh(-v)
    if v < Decimal("1e-8"):
        return v - v**3 / 3
    return 1 - 2 / ((2 * min(v, Decimal(100))).exp() + 1)


def _sigmoid(v: Decimal) -> Decimal:
    return 1 / (1 + (-max(v, Decimal(-1000))).exp())


RULES: dict[str, Callable[..., Ball]] = {
    "aten.linear.default": _linear,
    "aten.addmm.default": _addmm,
    "aten.mm.default": _matmul,
    "aten.matmul.default": _matmul,
    "aten.convolution.default": _convolution,
    "aten.conv2d.default": _conv2d,
    "aten.conv_transpose2d.input": _conv_transpose2d,
    "aten.avg_pool2d.default": _average,
    "aten.add.Tensor": _add,
    "aten.sub.Tensor": _subtract,
    "aten.rsub.Scalar": lambda x, y: _subtract(y, x),
    "aten.mul.Tensor": _multiply,
    "aten.mul.Scalar": _multiply,
    "aten.div.Tensor": _divide,
    "aten.div.Scalar": _divide,
    "aten.neg.default": _negate,
    "aten.sqrt.default": _square_root,
    "aten.rsqrt.default": lambda x: _divide(_one(), _square_root(x)),
    "aten.reciprocal.default": lambda x: _divide(_one(), x),
    "aten.square.default": lambda x: _multiply(x, x),
    "aten.relu.default": _relu,
    "aten.abs.default": lambda x: Ball(x.midpoint.abs(), x.radius),
    "aten.leaky_relu.default": _leaky_relu,
    "aten.hardtanh.default": _hardtanh,
    "aten.tanh.default": _smooth(_tanh, 1.0),
    "aten.sigmoid.default": _smooth(_sigmoid, 0.25),
    "aten._to_copy.default": _conversion,
}
"""ATen operation -> its rule on balls. Written without sight of the lowering rules: the two check each other."""

PADDINGS = frozenset(("aten.pad.default", "aten.constant_pad_nd.default"))
SCALAR_ARGUMENTS = frozenset(
    name for name in RULES if name.split(".")[1] in ("add", "sub", "rsub", "mul", "div", "leaky_relu", "hardtanh")
)
