"""Learning rates as a share of the peak, functions of how much of the run is done."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType


def triangular(done: float, warmup: float) -> float:
    """0 at the start, 1 at `warmup`, 0 at the end, linear between."""
    return min(done / warmup, (1 - done) / (1 - warmup))


def cosine(done: float, warmup: float) -> float:
    """Linear from 0 to 1 up to `warmup`, then half a cosine down to 0 (Loshchilov and Hutter 2017, without restarts)."""
    if done < warmup:
        return done / warmup
    return (1 + math.cos(math.pi * (done - warmup) / (1 - warmup))) / 2


SCHEDULES: Mapping[str, Callable[[float, float], float]] = MappingProxyType(
    {"triangular": triangular, "cosine": cosine}
)
