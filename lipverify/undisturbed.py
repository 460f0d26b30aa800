"""An audit neither depends on what the caller's process has set nor leaves anything of its own behind."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch

from lipverify.subnormals import kept


@contextmanager
def undisturbed() -> Iterator[None]:
    """What the caller's process has set (gradients off, autocast, a device, flushed subnormals, raising numpy) is set aside.

    What the audit itself moves (random states, warning filters, the recursion limit) is put back.
    """
    limit = sys.getrecursionlimit()
    with ExitStack() as stack:
        stack.enter_context(kept())
        stack.enter_context(np.errstate(all="ignore"))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autocast("cpu", enabled=False))
        stack.enter_context(torch.random.fork_rng(devices=[]))
        stack.enter_context(warnings.catch_warnings())
        if torch.get_default_device().type != "cpu":  # entered only then: it slows every call of torch down
            stack.enter_context(torch.device("cpu"))
        try:
            yield
        finally:
            sys.setrecursionlimit(limit)
