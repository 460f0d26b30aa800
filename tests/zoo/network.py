"""What the zoo is made of: a network by its maker, ready to be judged."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True, slots=True)
class Network:
    """One network of the zoo.

    Attributes:
        make: builds it.
        shape: of one input, batch axis first.
        unsupported: what the reason of the whole region must name; "" where the whole has a bound.
        unread: what the refusal of an exported file names; "" where files of this network are read.
        large: too large for dense Jacobians and for three exports: only structure and finite bounds are looked at.
    """

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    unsupported: str = ""
    unread: str = ""
    large: bool = False

    def build(self, name: str) -> nn.Module:
        """The network in eval mode, with weights and statistics as training leaves them; the same for a name, always."""
        torch.manual_seed(zlib.crc32(name.encode()))
        model = self.make()
        with torch.no_grad():
            for module in model.modules():
                _leave_traces_of_training(module)
        return model.eval()


def _leave_traces_of_training(module: nn.Module) -> None:
    """Statistics and gains away from 0 and 1, where a rule that forgets them would go unnoticed."""
    weight, bias = (getattr(module, part, None) for part in ("weight", "bias"))
    if isinstance(module, nn.modules.batchnorm._NormBase):
        if module.running_mean is not None and module.running_var is not None:
            module.running_mean.normal_(0, 0.5)
            module.running_var.uniform_(0.5, 2)
    elif not isinstance(module, nn.LayerNorm | nn.GroupNorm):
        return
    if isinstance(weight, nn.Parameter):
        weight.uniform_(0.5, 1.5)
    if isinstance(bias, nn.Parameter):
        bias.normal_(0, 0.5)


class Residual(nn.Sequential):
    """x + f(x), or shortcut(x) + f(x), and what comes after the sum."""

    def __init__(self, *branch: nn.Module, shortcut: nn.Module | None = None, after: nn.Module | None = None) -> None:
        super().__init__(*branch)
        self.branches = len(branch)
        self.shortcut = shortcut or nn.Identity()
        self.after = after or nn.Identity()

    def forward(self, x):
        y = x
        for module in list(self)[: self.branches]:
            y = module(y)
        return self.after(self.shortcut(x) + y)


class Concatenated(nn.Sequential):
    """(f_1(x), ..., f_k(x)) along axis 1."""

    def forward(self, x):
        return torch.cat([branch(x) for branch in self], 1)
