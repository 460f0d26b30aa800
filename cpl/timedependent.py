"""Flows whose potential changes with time: x' = -grad f_t(x), W(t) = sum_k t^k W_k, b(t) = sum_k t^k b_k."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from cpl import checks
from cpl.activations import ACTIVATIONS
from cpl.flow import Potential, explicit_euler, implicit_euler
from cpl.layers import ConvexPotential
from cpl.operators import Convolution, Operator, power_lower
from cpl.trainable import TINY, adopt_size, fitted, refuse_eval


class ConvexPotentialFlow(nn.Module):
    """N explicit (or implicit) Euler steps through x' = -grad f_t(x), t from 0 to 1, weights polynomial in t.

    Step i takes W_i = sum_k t_i^k C_k with t_i = i / (N - 1), and is a convex potential block with its own step size, so the
    whole is 1-Lipschitz once sealed: into N blocks, whose weights are then independent numbers. Finer steps than those it
    was trained with are a new flow with the same coefficients.

    Args:
        template: a block whose shape, activation and kind of step all N share; its weight is C_0, and W_k = 0 for k > 0.
        steps: N >= 1.
        degree: of the polynomials; 0 for a flow that does not change with time.

    Raises:
        ArgumentError: if a number is out of range.
    """

    iterate: Tensor

    def __init__(self, template: ConvexPotential, *, steps: int, degree: int = 1) -> None:
        super().__init__()
        self.steps = checks.positive_int(steps, name="steps", where="ConvexPotentialFlow", most=1024)
        self.degree = checks.natural_int(degree, name="degree", where="ConvexPotentialFlow", most=16)
        self.template = template
        self.slopes = nn.Parameter(torch.zeros(degree, *template.weight.shape))
        self.bias_slopes = nn.Parameter(torch.zeros(degree, *template.bias.shape))
        iterate = template.iterate if template.weight.ndim > 2 else template.iterate[None]
        self.register_buffer("iterate", iterate.repeat(steps, *[1] * (iterate.ndim - 1)))

    def field(self, index: int) -> tuple[Tensor, Tensor]:
        """(W_i, b_i)."""
        powers = (index / max(1, self.steps - 1)) ** torch.arange(1, self.degree + 1)
        weight = self.template.weight + torch.tensordot(powers.to(self.slopes), self.slopes, dims=1)
        return weight, self.template.bias + torch.tensordot(powers.to(self.slopes), self.bias_slopes, dims=1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps a batch to one of the same shape; training mode only.

        Raises:
            SealError: in eval mode.
        """
        if not self.training:
            refuse_eval(self)
        convolutional = isinstance(self.template.operator(), Convolution)
        if convolutional and self.iterate.shape[1:] != x.shape[1:]:
            self.iterate = fitted(self.iterate[:1], x).repeat(self.steps, 1, 1, 1)
        sigma, reach = ACTIVATIONS[self.template.activation].function, self.template.reach
        for index in range(self.steps):
            weight, bias = self.field(index)
            operator = _with(self.template.operator(), weight)
            here = slice(index, index + 1) if convolutional else index
            lower, following = power_lower(operator, self.iterate[here].clone())
            with torch.no_grad():
                self.iterate[here] = following
            square = lower.square().clamp_min(TINY)
            step = 2 * self.template.share() * reach / square
            potential = Potential(operator, bias, sigma)
            if self.template.iterations:
                iterations = self.template.iterations
                x = implicit_euler(potential, x, step, smoothness=2 * reach / step, iterations=iterations)
            else:
                x = explicit_euler(potential, x, step)
        return x

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        if self.iterate.ndim == 4:
            adopt_size(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def extra_repr(self) -> str:
        return f"steps={self.steps}, degree={self.degree}"


def _with(operator: Operator, weight: Tensor) -> Operator:
    """The operator with another tensor."""
    name = "kernel" if isinstance(operator, Convolution) else "weight"
    return dataclasses.replace(operator, **{name: weight})  # type: ignore[type-var]
