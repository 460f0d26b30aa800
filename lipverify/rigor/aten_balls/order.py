"""Maxima, sorted values, clamps, comparisons and choices of balls.

max and min over any set move no farther than the entry that moves farthest, and sorting is 1-Lipschitz in l-infinity: the
radius of a maximum or of a sorted value is the largest radius among its candidates. Nothing rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from lipverify.rigor.aten_balls.arithmetic import negate
from lipverify.rigor.aten_balls.ball import TINY, Ball, Condition, Missing, NotEnclosed, constant, lifted, made

aten = torch.ops.aten
INDICES = Missing("the places of maxima or of sorted values, which depend on the input without being continuous")


def max_pool(axes: int, indices: bool) -> Callable[..., Any]:
    """Max pooling, with its indices or without; what is padded takes no part."""

    def rule(x: Ball, window, stride=(), padding=(0,), dilation=(1,), ceil_mode=False) -> Any:
        pool = aten.max_pool1d if axes == 1 else aten.max_pool2d
        y = Ball(*(pool(part, window, stride, padding, dilation, ceil_mode) for part in x))
        return [y, INDICES] if indices else y

    return rule


def adaptive_max_pool(x: Ball, output: list[int]) -> list[Any]:
    """Maxima over windows that cover the image evenly."""
    pool = aten.adaptive_max_pool1d if len(output) == 1 else aten.adaptive_max_pool2d
    return [Ball(*(pool(part, output)[0] for part in x)), INDICES]


def largest(x: Ball, dims: Sequence[int] | int = (), keepdim: bool = False) -> Ball:
    """The maximum over axes; over all for none."""
    return Ball(*(aten.amax(part, dims, keepdim) for part in x))


def smallest(x: Ball, dims: Sequence[int] | int = (), keepdim: bool = False) -> Ball:
    """The minimum over axes."""
    return negate(largest(negate(x), dims, keepdim))


def along(extreme: Callable[..., Ball]) -> Callable[..., list[Any]]:
    """The form that returns indices beside the extreme values."""
    return lambda x, dim, keepdim=False: [extreme(x, dim, keepdim), INDICES]


def sort(x: Ball, dim: int = -1, descending: bool = False, **_: Any) -> list[Any]:
    """Sorted values."""
    middle = x.midpoint.sort(dim, descending=descending).values
    radius = x.radius.amax(dim, True).expand_as(middle) if x.midpoint.ndim else x.radius
    return [Ball(middle, radius), INDICES]


def stable_sort(x: Ball, dim: int = -1, descending: bool = False, *, stable: bool | None = None) -> list[Any]:
    """Sorted values: stability is a matter of indices."""
    return sort(x, dim, descending)


def top(x: Ball, count: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> list[Any]:
    """The first values of the sorted ones.

    Raises:
        NotEnclosed: where their order is left open.
    """
    if not sorted:
        raise NotEnclosed("topk in no order")
    values = sort(x, dim, largest)[0]
    return [Ball(*(part.narrow(dim, 0, count) for part in values)), INDICES] if x.midpoint.ndim else [values, INDICES]


def maximum(x: Ball, y: Ball) -> Ball:
    """The larger of the two in every entry."""
    return Ball(torch.maximum(x.midpoint, y.midpoint), _winning(greater(x, y), x, y))


def minimum(x: Ball, y: Ball) -> Ball:
    """The smaller of the two in every entry."""
    return Ball(torch.minimum(x.midpoint, y.midpoint), _winning(less(x, y), x, y))


def _winning(c: Condition, x: Ball, y: Ball) -> torch.Tensor:
    """The radius of x where it is certainly chosen, that of y where that is, the larger one elsewhere."""
    return torch.where(c.yes, x.radius, torch.where(c.no, y.radius, torch.maximum(x.radius, y.radius)))


def clamp(x: Ball, low: Ball | None = None, high: Ball | None = None) -> Ball:
    """min(max(x, low), high): ``high`` where the two are the wrong way round, as torch does."""
    x = x if low is None else maximum(x, low)
    return x if high is None else minimum(x, high)


def positive_part(x: Ball) -> Ball:
    """max(x, 0): exactly 0 where x is certainly negative, which halves what a deep network widens."""
    off = x.midpoint + x.radius * (1 + 2.0**-50) < -TINY
    return Ball(x.midpoint.clamp(min=0.0), torch.where(off, 0.0, x.radius))


def absolute(x: Ball) -> Ball:
    """|x|."""
    return Ball(x.midpoint.abs(), x.radius)


def greater(x: Ball, y: Ball) -> Condition:
    """x > y, where the balls lie apart; >= is decided in the same places."""
    gap = x.midpoint - y.midpoint
    reach = (x.radius + y.radius + gap.abs() * 2.0**-50) * (1 + 2.0**-50) + TINY
    return Condition(gap > reach, gap < -reach)


def less(x: Ball, y: Ball) -> Condition:
    """x < y or x <= y, where the balls lie apart."""
    return greater(y, x)


def equal(x: Ball, y: Ball | float) -> Condition:
    """x = y: certainly not where the balls lie apart, certainly never for infinity."""
    if not isinstance(y, Ball) and abs(y) == torch.inf:
        no = torch.ones_like(x.midpoint, dtype=torch.bool)
    else:
        apart = greater(x, y if isinstance(y, Ball) else constant(y))
        no = apart.yes | apart.no
    return Condition(torch.zeros_like(no), no)


def unequal(x: Ball, y: Ball | float) -> Condition:
    """x != y."""
    return opposite(equal(x, y))


def opposite(c: Condition | torch.Tensor) -> Condition:
    """Not c."""
    c = lifted(c)
    return Condition(c.no, c.yes)


def both(a: Condition | torch.Tensor, b: Condition | torch.Tensor) -> Condition:
    """a and b."""
    a, b = lifted(a), lifted(b)
    return Condition(a.yes & b.yes, a.no | b.no)


def either(a: Condition | torch.Tensor, b: Condition | torch.Tensor) -> Condition:
    """a or b."""
    a, b = lifted(a), lifted(b)
    return Condition(a.yes | b.yes, a.no & b.no)


def any_along(c: Condition | torch.Tensor, dim: int | list[int] | None = None, keepdim: bool = False) -> Condition:
    """Whether c holds somewhere along axes."""
    c = lifted(c)
    if dim is None:
        return Condition(c.yes.any(), c.no.all())
    return Condition(c.yes.any(dim, keepdim), c.no.all(dim, keepdim))


def choose(c: Condition | torch.Tensor, x: Ball, y: Ball) -> Ball:
    """x where c holds, else y; the hull of both balls where it is undecided.

    The hull has the mean of the midpoints as its midpoint, within half their distance and the larger radius of either.
    """
    c = lifted(c)
    yes, no, xm, ym, xr, yr = torch.broadcast_tensors(*c, x.midpoint, y.midpoint, x.radius, y.radius)
    half = (xm / 2 - ym / 2).abs()
    middle = torch.where(yes, xm, torch.where(no, ym, xm / 2 + ym / 2))
    hull = half * (1 + 2.0**-50) + torch.maximum(xr, yr) + (xm.abs() + ym.abs()) * 2.0**-52
    return made(middle, torch.where(yes, xr, torch.where(no, yr, hull)), 4)


RULES: Mapping[str, Callable[..., Any]] = {
    "aten.max_pool1d.default": max_pool(1, False),
    "aten.max_pool2d.default": max_pool(2, False),
    "aten.max_pool2d_with_indices.default": max_pool(2, True),
    "aten.adaptive_max_pool1d.default": adaptive_max_pool,
    "aten.adaptive_max_pool2d.default": adaptive_max_pool,
    "aten.amax.default": largest,
    "aten.amin.default": smallest,
    "aten.aminmax.default": lambda x, *, dim, keepdim: [
        f(x, () if dim is None else dim, keepdim) for f in (smallest, largest)
    ],
    "aten.max.default": largest,
    "aten.min.default": smallest,
    "aten.max.dim": along(largest),
    "aten.min.dim": along(smallest),
    "aten.topk.default": top,
    "aten.sort.default": sort,
    "aten.sort.stable": stable_sort,
    "aten.maximum.default": maximum,
    "aten.minimum.default": minimum,
    "aten.max.other": maximum,
    "aten.min.other": minimum,
    "aten.clamp.default": clamp,
    "aten.clamp.Tensor": clamp,
    "aten.clamp_min.default": clamp,
    "aten.clamp_min.Tensor": clamp,
    "aten.clamp_max.default": lambda x, high: clamp(x, None, high),
    "aten.clamp_max.Tensor": lambda x, high: clamp(x, None, high),
    "aten.relu.default": positive_part,
    "aten.abs.default": absolute,
    "aten.gt.Scalar": greater,
    "aten.gt.Tensor": greater,
    "aten.ge.Scalar": greater,
    "aten.ge.Tensor": greater,
    "aten.lt.Scalar": less,
    "aten.lt.Tensor": less,
    "aten.le.Scalar": less,
    "aten.le.Tensor": less,
    "aten.eq.Scalar": equal,
    "aten.eq.Tensor": equal,
    "aten.ne.Scalar": unequal,
    "aten.ne.Tensor": unequal,
    "aten.logical_not.default": opposite,
    "aten.logical_and.default": both,
    "aten.logical_or.default": either,
    "aten.bitwise_not.default": opposite,
    "aten.bitwise_and.Tensor": both,
    "aten.bitwise_or.Tensor": either,
    "aten.any.default": any_along,
    "aten.any.dim": any_along,
    "aten.any.dims": any_along,
    "aten.where.self": choose,
    "aten.where.ScalarOther": choose,
    "aten.where.ScalarSelf": choose,
    "aten.where.Scalar": choose,
    "aten.masked_fill.Scalar": lambda x, mask, value: choose(mask, value, x),
    "aten.masked_fill.Tensor": lambda x, mask, value: choose(mask, value, x),
}

COMPARISONS = frozenset(t for t in RULES if t.split(".")[1] in ("gt", "ge", "lt", "le", "eq", "ne"))
CONDITIONAL = frozenset(
    t for t in RULES if t.split(".")[1] in ("where", "masked_fill", "any") or "logical" in t or "bitwise" in t
)
"""Operations that read conditions: comparisons of balls, or boolean tensors of the program."""

PARAMETERS = frozenset(("aten.eq.Scalar", "aten.ne.Scalar"))
"""Operations that take their Python scalars as they are, not as balls."""
