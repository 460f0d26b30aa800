"""Activations of potentials: sigma = phi' for a convex phi with a 1-Lipschitz derivative, so monotone with slopes in [0, 1].

The table lists those of torch that qualify with the parameters given here. Not among them: abs, GELU, SiLU, Mish (not
monotone), SELU, hard-swish (slopes above 1), softplus (torch's switches to the identity above a threshold and jumps there
by 2e-9, so as computed it has no Lipschitz constant), threshold and hardshrink (jumps).

`homogeneous` says that sigma(t x) = t sigma(x) for t >= 0; then a step size can be folded into the stored tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cpl.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class Activation:
    """A monotone function R -> R with slopes in [0, 1].

    Attributes:
        function: of a tensor, entry by entry.
        homogeneous: whether sigma(t x) = t sigma(x) for all t >= 0.
        in_place: the same function, overwriting its argument; None where there is none.
    """

    function: Callable[[Tensor], Tensor]
    homogeneous: bool = False
    in_place: Callable[[Tensor], Tensor] | None = None

    def negated(self, fresh: Tensor) -> Tensor:
        """-sigma of a tensor that nobody else holds, with as few new tensors as gradients allow."""
        value = (self.in_place or self.function)(fresh)
        return -value if torch.is_grad_enabled() else value.neg_()


ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {
        "relu": Activation(F.relu, homogeneous=True, in_place=F.relu_),
        "leaky_relu": Activation(F.leaky_relu, homogeneous=True, in_place=F.leaky_relu_),  # slope 0.01 below 0
        "elu": Activation(F.elu),  # alpha = 1
        "celu": Activation(F.celu),
        "relu6": Activation(F.relu6),
        "hardtanh": Activation(F.hardtanh),
        "softshrink": Activation(F.softshrink),
        "tanh": Activation(torch.tanh),
        "sigmoid": Activation(torch.sigmoid),
        "hardsigmoid": Activation(F.hardsigmoid),
        "log_sigmoid": Activation(F.logsigmoid),
        "softsign": Activation(F.softsign),
        "atan": Activation(torch.atan),
        "asinh": Activation(torch.asinh),
    }
)


def activation(name: object, *, where: str) -> Activation:
    """The entry of the table.

    Raises:
        ArgumentError: no such name.
    """
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise ArgumentError(
            f"activation={name!r} is unknown",
            where=where,
            why="a potential needs a monotone activation with slopes in [0, 1]",
            next_step=f"choose one of {', '.join(ACTIVATIONS)}",
        )
    return ACTIVATIONS[name]


class MaxMin(nn.Module):
    """(a, b) -> (max(a, b), min(a, b)) for the two halves a, b of axis 1: a permutation of entries for each x, 1-Lipschitz.

    Source: Anil, Lucas, Grosse (2019), Sorting out Lipschitz function approximation, section 4.2.

    >>> MaxMin()(torch.tensor([[1.0, 5.0, 3.0, 2.0]]))
    tensor([[3., 5., 1., 2.]])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Maps (batch, channels, ...) to the same shape.

        Raises:
            ArgumentError: an odd number of channels.
        """
        if x.shape[1] % 2:
            raise ArgumentError(
                f"{x.shape[1]} channels have no two halves",
                where="MaxMin",
                why="entries are compared in pairs",
                next_step="use an even number of channels",
            )
        first, second = x.chunk(2, dim=1)
        return torch.cat((torch.maximum(first, second), torch.minimum(first, second)), dim=1)
