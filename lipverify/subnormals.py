"""Subnormal numbers, exactly: some processes read them as zero (flush-to-zero), and a weight may be one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from lipverify.errors import LipverifyError


def flushed() -> bool:
    """Whether this thread reads or writes subnormal numbers as zero."""
    tiny = np.array([2.0**-1022])
    halved = tiny * 0.5
    return not bool(halved.view(np.int64)[0]) or not bool((halved * 2.0**60)[0] > 0)


@contextmanager
def kept() -> Iterator[None]:
    """Subnormal numbers are kept in this thread while the context is open; the caller's mode is restored."""
    before = flushed()
    if before:
        torch.set_flush_denormal(False)
    try:
        yield
    finally:
        if before:
            torch.set_flush_denormal(True)


def widened(tensor: torch.Tensor) -> np.ndarray:
    """A tensor in float64, entry by entry the same real number (integers: where below 2^53).

    In numpy and in this thread: torch's worker threads keep a floating-point mode of their own.

    Raises:
        LipverifyError: where this thread reads subnormal numbers as zero.
    """
    if flushed():
        raise LipverifyError(
            "this process reads subnormal numbers as zero",
            why="weights and their products would be lost",
            step="Call torch.set_flush_denormal(False).",
        )
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:  # the upper half of a float32
        bits = tensor.contiguous().view(torch.int16).numpy().view(np.uint16).astype(np.uint32) << np.uint32(16)
        return np.asarray(bits.view(np.float32).astype(np.float64), order="C").reshape(tensor.shape)
    return np.asarray(tensor.numpy().astype(np.float64), order="C")
