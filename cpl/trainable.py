"""What all trainable layers share: initial kernels, the size of power iterates, and the refusal of eval mode."""

from __future__ import annotations

import math
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from cpl import checks
from cpl.errors import SealError
from cpl.operators import start

TINY = 1e-12


def initial_kernel(
    channels: int,
    outputs: int,
    kernel_size: int,
    padding_mode: str,
    groups: int,
    generator: torch.Generator | None,
    *,
    where: str,
) -> Tensor:
    """A random kernel of shape (outputs, channels / groups, k, k), after validation of the arguments.

    Raises:
        ArgumentError: as `ConvexPotentialConv2d` says.
    """
    checks.positive_int(channels, name="channels", where=where)
    checks.positive_int(outputs, name="inner", where=where)
    checks.odd_int(kernel_size, name="kernel_size", where=where)
    checks.padding_mode(padding_mode, where=where)
    checks.positive_int(groups, name="groups", where=where)
    checks.divides(groups, channels, name="groups", of="channels", where=where)
    checks.divides(groups, outputs, name="groups", of="inner", where=where)
    shape = (outputs, channels // groups, kernel_size, kernel_size)
    checks.entries(*shape, name="weight", where=where)
    return torch.randn(shape, generator=generator) / math.sqrt(shape[1] * kernel_size**2)


def fitted(iterate: Tensor, x: Tensor) -> Tensor:
    """The iterate if it has the size of one map of the batch x; else a new start of that size."""
    if iterate.shape[1:] == x.shape[1:]:
        return iterate
    return start(1, *x.shape[1:]).to(iterate)


def adopt_size(module: nn.Module, state_dict: dict[str, Any], prefix: str) -> None:
    """Before a state dict is loaded: the iterate has the size of the map it was trained on, which the constructor does
    not know."""
    stored, own = state_dict.get(prefix + "iterate"), module.get_buffer("iterate")
    if isinstance(stored, Tensor) and stored.ndim == 4 and stored.shape[:2] == own.shape[:2]:
        module.register_buffer("iterate", own.new_zeros(stored.shape))


def refuse_eval(module: nn.Module) -> NoReturn:
    """What an unsealed layer does in eval mode.

    Raises:
        SealError: always.
    """
    raise SealError(
        "an unsealed layer was called in eval mode",
        where=type(module).__name__,
        why="its step size is a training proxy, for which no Lipschitz constant holds",
        next_step="call cpl.seal(model, input_shape), or model.train() to go on training",
    )
