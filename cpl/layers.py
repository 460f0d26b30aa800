"""Convex potential layers: trainable residual blocks that are 1-Lipschitz from l2 to l2, once sealed.

A block is one explicit Euler step of x' = -grad f(x), f(x) = sum_i phi(w_i.x + b_i), phi' = sigma (`cpl.flow`):

    x -> x - h W^T sigma(W x + b),   constant max(1, h ||W||^2 - 1) = 1 iff h ||W||^2 <= 2   (Meunier et al., 2022),

over all sigma with slopes in [0, 1].

While training, h = 2 / lower^2 with one warm-started power iteration a step. `lower` = ||W v|| is a LOWER bound of
||W||: h is a proxy, slightly too large, and nothing is claimed of a training forward. The loss is differentiated
through h with v fixed: without that term the gradient keeps growing the top singular value, which h cancels at the cost
of all the others, and the network stays almost linear. A learnable step is h = 2 s / lower^2 with a share s in (0, 1). In
eval mode an unsealed layer refuses to run: `cpl.seal` replaces it by one whose constant comes from an upper bound.

With `iterations` > 0 the step is implicit Euler, truncated (`cpl.flow.implicit_euler`): 1-Lipschitz at every step size, so
that h = 2 s reach / ||W||^2 may be larger. Its constant is proved in `cpl.flow` and for no rule of an audit, which
therefore leaves it UNDECIDED.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from cpl import checks
from cpl.activations import activation
from cpl.errors import ArgumentError
from cpl.flow import Potential, explicit_euler, implicit_euler
from cpl.operators import Convolution, Dense, Operator, power_lower, start
from cpl.trainable import TINY, adopt_size, fitted, initial_kernel, refuse_eval

FULL_STEP = 4.0  # logit of the share of the largest step that a learnable step begins with: 0.982


class ConvexPotential(nn.Module):
    """What the dense and the convolutional block share: the step size and the forward.

    Attributes:
        weight: W or K, as given.
        bias: b, one number per row of W or per inner channel.
        step_logit: of the share s of the largest step; None for s = 1.
        iterate: v of the power iteration, a unit tensor in the shape of an input, without gradient.
        activation: name of sigma.
        iterations, reach: of implicit Euler; 0 and 1 for explicit Euler.
    """

    iterate: Tensor

    def __init__(
        self, weight: Tensor, iterate: Tensor, sigma: str, *, learn_step: bool, iterations: int, reach: float
    ) -> None:
        super().__init__()
        where = type(self).__name__
        activation(sigma, where=where)
        self.activation = sigma
        checks.boolean(learn_step, name="learn_step", where=where)
        self.iterations = checks.natural_int(iterations, name="iterations", where=where, most=64)
        self.reach = checks.positive_float(reach, name="reach", where=where)
        if self.reach > 1 and not self.iterations:
            raise ArgumentError(
                f"reach={reach} > 1 with explicit Euler",
                where=where,
                why="x - h W^T sigma(W x + b) is 1-Lipschitz for h ||W||^2 <= 2 only",
                next_step="pass reach <= 1, or iterations > 0 for implicit Euler",
            )
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(len(weight)))
        self.step_logit = nn.Parameter(torch.tensor(FULL_STEP)) if learn_step else None
        self.register_buffer("iterate", iterate)

    def operator(self) -> Operator:
        """A, holding the trained weight."""
        raise NotImplementedError

    def share(self) -> Tensor | float:
        """s: the step as a share of the largest one that is 1-Lipschitz, in (0, 1]."""
        return 1.0 if self.step_logit is None else self.step_logit.sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Maps a batch to one of the same shape; training mode only.

        Raises:
            SealError: in eval mode.
        """
        if not self.training:
            refuse_eval(self)
        self._fit(x)
        return self.advance(x, self.measure())

    def measure(self) -> Tensor:
        """A LOWER bound of ||A||^2 on maps of the size last seen, with its gradient; one step of power iteration."""
        with torch.autocast(self.iterate.device.type, enabled=False):
            lower, following = power_lower(self.operator(), self.iterate.clone())
        self.iterate.copy_(following)
        return lower.square().clamp_min(TINY)

    def advance(self, x: Tensor, square: Tensor) -> Tensor:
        """The block with h = 2 s reach / square; no state of the layer changes."""
        potential = Potential(self.operator(), self.bias, activation(self.activation, where="").function)
        step = 2 * self.share() * self.reach / square
        if self.iterations:
            # damped for the largest step, as the sealed layer is, which knows the share no more
            return implicit_euler(potential, x, step, smoothness=2 * self.reach / step, iterations=self.iterations)
        return explicit_euler(potential, x, step)

    def _fit(self, x: Tensor) -> None:
        """Makes an iterate of the size of x, where that is not known before."""


class ConvexPotentialLinear(ConvexPotential):
    """x - h W^T sigma(W x + b) on vectors; W of shape (inner, features).

    Args:
        features: size of the last axis of x.
        inner: number of rows of W; at most `features` if W shall have full row rank.
        activation: name of sigma, one of `cpl.ACTIVATIONS`.
        learn_step: whether h is learned within (0, 2 reach / ||W||^2).
        iterations: 0 for explicit Euler, k for implicit Euler truncated after k damped steps.
        reach: largest h ||W||^2 / 2; above 1 with implicit Euler only.
        generator: source of the random initial weights; torch's global one if None.

    Raises:
        ArgumentError: if a size is not a positive int, or too large, or the activation is unknown.
    """

    def __init__(
        self,
        features: int,
        inner: int,
        *,
        activation: str = "relu",
        learn_step: bool = False,
        iterations: int = 0,
        reach: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        where = "ConvexPotentialLinear"
        checks.positive_int(features, name="features", where=where)
        checks.positive_int(inner, name="inner", where=where)
        checks.entries(inner, features, name="weight", where=where)
        weight = torch.randn(inner, features, generator=generator) / math.sqrt(features)
        super().__init__(weight, start(features), activation, learn_step=learn_step, iterations=iterations, reach=reach)
        self.features, self.inner = features, inner

    def operator(self) -> Dense:
        return Dense(self.weight)

    def extra_repr(self) -> str:
        return f"{self.features}, inner={self.inner}, activation={self.activation!r}"


class ConvexPotentialConv2d(ConvexPotential):
    """x - h A_K^T sigma(A_K x + b) on maps; K of shape (inner, channels / groups, k, k), output size = input size.

    Args:
        channels: channels of x.
        inner: channels of A_K x.
        kernel_size: k, odd.
        padding_mode: 'zeros' or 'circular'.
        groups: g; channels and inner must be multiples of it. With g > 1 and circular padding an audit has no rule for the
            adjoint, and leaves the block UNDECIDED.
        activation: name of sigma, one of `cpl.ACTIVATIONS`.
        learn_step, iterations, reach: as `ConvexPotentialLinear`.
        generator: source of the random initial weights; torch's global one if None.

    Raises:
        ArgumentError: if a size is not a positive int or too large, k is even, the groups do not divide the channels, or
            the padding mode or the activation is unknown.
    """

    def __init__(
        self,
        channels: int,
        inner: int,
        *,
        kernel_size: int = 3,
        padding_mode: str = "zeros",
        groups: int = 1,
        activation: str = "relu",
        learn_step: bool = False,
        iterations: int = 0,
        reach: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        kernel = initial_kernel(
            channels, inner, kernel_size, padding_mode, groups, generator, where="ConvexPotentialConv2d"
        )
        iterate = torch.zeros(1, channels, 0, 0)
        super().__init__(kernel, iterate, activation, learn_step=learn_step, iterations=iterations, reach=reach)
        self.channels, self.inner, self.kernel_size = channels, inner, kernel_size
        self.padding_mode, self.groups = padding_mode, groups

    def operator(self) -> Convolution:
        return Convolution(self.weight, self.padding_mode, self.groups)

    def _fit(self, x: Tensor) -> None:
        self.iterate = fitted(self.iterate, x)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        adopt_size(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def extra_repr(self) -> str:
        return (
            f"{self.channels}, inner={self.inner}, kernel_size={self.kernel_size}, "
            f"padding_mode={self.padding_mode!r}, groups={self.groups}, activation={self.activation!r}"
        )
