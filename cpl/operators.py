"""Linear operators A with their exact adjoint: what potentials and skew fields are made of.

An operator holds one tensor and uses the same numbers for A and for A^T. Its norm is bounded from below while training
(one product with A and one with A^T a step) and from above when it ships; see `cpl.norms`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from cpl.convolution import convolve, convolve_adjoint
from cpl.norms import gram_upper_conv, gram_upper_dense

Scale = float | Tensor


class Operator(Protocol):
    """A linear map A between spaces of tensors with a leading batch axis."""

    def apply(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """A x + bias."""
        ...

    def adjoint(self, y: Tensor, scale: Scale = 1.0) -> Tensor:
        """scale A^T y, the factor applied where the fewest numbers are."""
        ...

    def upper(self, shape: tuple[int, ...]) -> float:
        """An UPPER bound of ||A||_2 on inputs of this shape (without the batch)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """x -> W x on the last axis; W of shape (inner, features)."""

    weight: Tensor

    def apply(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.linear(x, self.weight, bias)

    def adjoint(self, y: Tensor, scale: Scale = 1.0) -> Tensor:
        return F.linear(_scaled(y, scale), self.weight.t())

    def upper(self, shape: tuple[int, ...]) -> float:
        return gram_upper_dense(self.weight)


@dataclass(frozen=True, slots=True, eq=False)
class Convolution:
    """x -> A_K x, stride 1, output size = input size; K of shape (inner, channels / groups, k, k) with k odd."""

    kernel: Tensor
    padding_mode: str = "zeros"
    groups: int = 1

    def apply(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        return convolve(x, self.kernel, bias, padding_mode=self.padding_mode, groups=self.groups)

    def adjoint(self, y: Tensor, scale: Scale = 1.0) -> Tensor:
        kernel = _scaled(self.kernel, scale)
        return convolve_adjoint(y, kernel, padding_mode=self.padding_mode, groups=self.groups)

    def upper(self, shape: tuple[int, ...]) -> float:
        size = shape[-2], shape[-1]
        return gram_upper_conv(self.kernel, size, padding_mode=self.padding_mode, groups=self.groups)


def power_lower(operator: Operator, iterate: Tensor) -> tuple[Tensor, Tensor]:
    """One step of power iteration on A^T A: a LOWER bound of ||A||, a training proxy.

    Args:
        operator: A.
        iterate: the last iterate v, a unit tensor in the shape of one input (a batch of one for convolutions).

    Returns:
        (lower, next): lower = ||A v|| as a scalar tensor, differentiable in A with v held fixed, which at the top
        singular vector is the gradient of ||A||; next = A^T A v / ||A^T A v||, without gradient. Both products of the
        step are needed for `next`, so `lower` costs nothing more; it lags one step behind it.
    """
    image = operator.apply(iterate)
    lower = torch.linalg.vector_norm(image)
    with torch.no_grad():
        raw = operator.adjoint(image)
        norm = torch.linalg.vector_norm(raw)
        following = torch.where(norm > 0, raw / norm, iterate)
    return lower, following


def _scaled(tensor: Tensor, scale: Scale) -> Tensor:
    return tensor if isinstance(scale, float) and scale == 1.0 else scale * tensor


def start(*shape: int) -> Tensor:
    """A fixed pseudo-random unit tensor: generic, hence not orthogonal to the top singular vector."""
    vector = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return vector / torch.linalg.vector_norm(vector)
