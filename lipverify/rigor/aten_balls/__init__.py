"""ATen operations in ball arithmetic, one room for each kind.

Written without sight of the lowering rules of :mod:`lipverify.graph`, and importing none of them: the two check each other.
A rule takes the arguments of its operator's schema, defaults filled in: balls for tensors of real numbers and for Python
scalars (which the machine may round), anything else as it is. It returns a ball, or a list where there are several results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from lipverify.rigor.aten_balls import (
    activations,
    arithmetic,
    averages,
    convolution,
    copies,
    normalisation,
    order,
    products,
)
from lipverify.rigor.aten_balls.ball import HUGE, TINY, Ball, Condition, Missing, NotEnclosed, checked, exact, scalar

RULES: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        **arithmetic.RULES,
        **products.RULES,
        **convolution.RULES,
        **copies.RULES,
        **averages.RULES,
        **order.RULES,
        **activations.RULES,
        **normalisation.RULES,
    }
)
"""ATen operation -> its rule on balls."""

PARAMETERS = (
    arithmetic.PARAMETERS | copies.PARAMETERS | averages.PARAMETERS | order.PARAMETERS | normalisation.PARAMETERS
)
"""Operations whose Python scalars are settings, not values: their rules get them as they are."""

INDEXED = copies.INDEXED
"""Operations that read integer tensors as positions."""

INTEGER = (
    copies.COPIES
    | order.COMPARISONS
    | {f"aten.{name}" for name in ("arange.default", "arange.start", "arange.start_step")}
)
"""Operations that are run as they are where they concern integers or truth values only: positions and masks."""

CONDITIONAL = order.CONDITIONAL
"""Operations that read conditions."""

UNBOUNDED = copies.COPIES | {"aten.empty.memory_format"}
"""Operations that may pass uninitialised memory on: it is refused where something computes with it."""

__all__ = (
    "CONDITIONAL",
    "HUGE",
    "INDEXED",
    "INTEGER",
    "PARAMETERS",
    "RULES",
    "TINY",
    "UNBOUNDED",
    "Ball",
    "Condition",
    "Missing",
    "NotEnclosed",
    "checked",
    "exact",
    "scalar",
)
