"""Integers that a program computes from nothing but integers: the indices that an export spells out for padding and rolling.

They are what torch computes, bit for bit: integer arithmetic does not round, and where it wraps the program wraps too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from lipverify.maps import Array
from lipverify.read.operators import ALLOWED
from lipverify.read.program import Program, run

SOURCES = frozenset(
    f"aten.{name}"
    for name in ("arange.default", "arange.start", "arange.start_step", "full.default", "scalar_tensor.default")
)
"""Operations that make integers of their scalar arguments alone. Not ``empty``: its memory is uninitialised."""


def integers(program: Program, dtypes: Mapping[str, torch.dtype]) -> dict[str, Array]:
    """Every value that is made of integers and truth values by pure operations on these, where float64 holds it."""
    values: dict[str, Any] = {name: weight for name, weight in program.weights.items() if _whole(weight.dtype)}
    for op in program.operations:
        read = op.references
        pure = op.target in ALLOWED if read else op.target in SOURCES
        if pure and all(r in values for r in read) and _whole(dtypes.get(op.name)):
            try:
                values[op.name] = run(op, values, {})
            except (RuntimeError, ValueError, TypeError, NotImplementedError):
                continue
    arrays = {
        name: np.asarray(value.numpy(), np.float64) for name, value in values.items() if name not in program.weights
    }
    return {name: array for name, array in arrays.items() if np.abs(array).max(initial=0.0) < 2.0**53}


def _whole(dtype: torch.dtype | None) -> bool:
    return dtype is not None and not dtype.is_floating_point and not dtype.is_complex
