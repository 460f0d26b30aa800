"""The framework: flows x' = -grad f(x) + A x, f convex, A skew, and the discretisations of them that stay 1-Lipschitz.

For two solutions of x' = F(x) with sym(grad F) <= 0, d/dt |x - y|^2 = 2 (x - y).(F(x) - F(y)) <= 0: the flow is
1-Lipschitz. Fields with that property are a convex potential's -grad f and a skew A, and sums of both; layers are steps
of a discretisation, one field after the other:

    step                                    is 1-Lipschitz                            layer
    explicit Euler   x - h grad f(x)        iff h ||W||^2 <= 2 (h L_f <= 2 suffices)  convex potential layer (CPL)
    implicit Euler   y = x - h grad f(y)    at every h, truncated as written below    proximal
    midpoint         (I - A/2)^-1 (I + A/2) always: it is orthogonal                  Cayley
    exact flow       exp(A)                 always; its series once divided by a
                                            bound of it                               SOC
    explicit Euler   x + A x                never for A != 0: |x + A x|^2 =
                                            |x|^2 + |A x|^2; refused                  -

Potentials are f(x) = sum_i phi(w_i.x + b_i) with phi' = sigma: grad f(x) = W^T sigma(W x + b), L_f <= ||W||^2.
A composition of such steps (a splitting of the flow) is a chain of layers: see `cpl.layers` and `cpl.orthogonal`.

Source: Meunier, Delattre, Araujo, Allauzen (2022), A dynamical system perspective for Lipschitz neural networks, section 3;
Trockman and Kolter (2021) for Cayley; Singla and Feizi (2021) for SOC.

The convex potential layer is one line:

>>> from cpl.operators import Dense
>>> W, x = torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 1.0]])
>>> explicit_euler(Potential(Dense(W)), x, 2 / 3.0**2)
tensor([[-1.0000,  0.7778]])
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from cpl.errors import ArgumentError
from cpl.operators import Convolution, Dense, Operator, Scale


@dataclass(frozen=True, slots=True, eq=False)
class Potential:
    """f(x) = sum_i phi(w_i.x + b_i) for a convex phi, given by A, b and sigma = phi'.

    Attributes:
        operator: A, whose rows are the w_i.
        bias: b, or None.
        sigma: monotone with slopes in [0, 1], entry by entry; `cpl.activations` lists some.
    """

    operator: Operator
    bias: Tensor | None = None
    sigma: Callable[[Tensor], Tensor] = F.relu

    def gradient(self, x: Tensor, scale: Scale = 1.0) -> Tensor:
        """scale grad f(x), grad f(x) = A^T sigma(A x + b) being ||A||^2-Lipschitz and monotone."""
        return self.operator.adjoint(self.sigma(self.operator.apply(x, self.bias)), scale)


@dataclass(frozen=True, slots=True, eq=False)
class Skew:
    """x -> A x with A = B - B^T, hence x.(A x) = 0.

    Attributes:
        operator: B, square.
    """

    operator: Operator

    def apply(self, x: Tensor) -> Tensor:
        """A x."""
        return self.operator.apply(x) - self.operator.adjoint(x)


def explicit_euler(field: Potential | Skew, x: Tensor, step: Scale) -> Tensor:
    """x - h grad f(x), with constant max(1, h ||A||^2 - 1) over all admissible sigma: 1-Lipschitz iff h ||A||^2 <= 2.

    Args:
        field: a potential.
        x: a batch.
        step: h >= 0; that h ||A||^2 <= 2 is for the caller to see to.

    Raises:
        ArgumentError: the field is skew.

    Source: Meunier et al. (2022), Proposition 1 and Corollary 1.
    """
    if isinstance(field, Skew):
        raise ArgumentError(
            "explicit Euler is no step for a skew field",
            where="explicit_euler",
            why="|x + h A x|^2 = |x|^2 + h^2 |A x|^2: it expands at every step size",
            next_step="use midpoint (Cayley) or exact_flow (the exponential)",
        )
    return x - field.gradient(x, step)


def implicit_euler(field: Potential, x: Tensor, step: Scale, *, smoothness: Scale, iterations: int) -> Tensor:
    """A truncated solution of y = x - h grad f(y) that is 1-Lipschitz in x whatever the number of iterations:

        y <- (1 - t) y + t (x - h grad f(y)),   y = x at first,   t (2 + h L) <= 2.

    With grad f(y) - grad f(y') = G (y - y'), 0 <= G <= L: |(1 - t) I - t h G| <= 1 - t, so |y - y'| <= |x - x'| stays true.
    As iterations grow, y tends to the proximal point of h f at x. Iterating to a residual instead is NOT Lipschitz.

    Args:
        field: the potential.
        x: a batch.
        step: h >= 0, any.
        smoothness: L >= L_f, from above; ||A||^2 serves.
        iterations: fixed, >= 0.
    """
    damping = 2 / (2 + step * smoothness)
    y = x
    for _ in range(iterations):
        y = (1 - damping) * y + damping * (x - field.gradient(y, step))
    return y


def midpoint(field: Skew, x: Tensor) -> Tensor:
    """y = x + A (x + y) / 2, that is (I - A/2)^-1 (I + A/2) x: an isometry.

    Args:
        field: skew; its operator dense, or a circular convolution without groups, solved frequency by frequency.
        x: (batch, features), or (batch, channels, n_h, n_w).

    Raises:
        ArgumentError: another operator.

    Source: Trockman and Kolter (2021), Orthogonalizing convolutional layers with the Cayley transform.
    """
    match field.operator:
        case Dense(weight=w):
            skew = w - w.t()
            unit = torch.eye(len(w), dtype=w.dtype, device=w.device)
            return F.linear(x, torch.linalg.solve(unit - skew / 2, unit + skew / 2))
        case Convolution(kernel=kernel, padding_mode="circular", groups=1):
            size = x.shape[-2], x.shape[-1]
            skew = _blocks(kernel, size)
            skew = skew - skew.mH
            unit = torch.eye(kernel.shape[0], dtype=skew.dtype, device=skew.device)
            spectrum = torch.fft.rfft2(x).permute(2, 3, 1, 0)  # (n_h, n_w / 2 + 1, channels, batch)
            image = torch.linalg.solve(unit - skew / 2, (unit + skew / 2) @ spectrum)
            return torch.fft.irfft2(image.permute(3, 2, 0, 1), s=size)
    raise ArgumentError(
        f"the midpoint rule has no solver for {field.operator!r:.80}",
        where="midpoint",
        why="(I - A/2)^-1 is computed for dense operators and for circular convolutions without groups",
        next_step="use one of these, or exact_flow",
    )


def exact_flow(field: Skew, x: Tensor, *, order: int, radius: Scale) -> Tensor:
    """T(A) x / bound, T the Taylor polynomial of exp of this order: 1-Lipschitz, and near the isometry exp(A).

    Args:
        field: skew.
        x: a batch.
        order: p >= 1, of the last power.
        radius: r >= ||A||, from above.
    """
    term = total = x
    for power in range(1, order + 1):
        term = field.apply(term) / power
        total = total + term
    return total / series_bound(order, radius)


def series_bound(order: int, radius: Scale) -> Scale:
    """A bound of |T(i t)| over |t| <= r, T the Taylor polynomial of exp: the norm of T(A) for every skew A with ||A|| <= r.

    |T(i t) - exp(i t)| <= r^(p + 1) / (p + 1)!, as for every Taylor polynomial on the imaginary axis. For p = 3, 4 the
    polynomial itself stays within the unit circle up to r = sqrt(3), sqrt(8): |T(i t)|^2 = 1 - t^4 (3 - t^2) / 36 and
    1 - t^6 (8 - t^2) / 576.

    >>> series_bound(4, 2.8), series_bound(1, 1.0)
    (1.0, 1.5)
    """
    if order in (3, 4) and float(radius) <= {3: 1.732, 4: 2.828}[order]:
        return 1.0
    return 1 + radius ** (order + 1) / math.factorial(order + 1)


def _blocks(kernel: Tensor, size: tuple[int, int]) -> Tensor:
    """The blocks of a circular convolution under the DFT of real inputs, shape (n_h, n_w // 2 + 1, o, c)."""
    impulses = torch.eye(kernel.shape[1], dtype=kernel.dtype, device=kernel.device)[:, :, None, None]
    impulses = F.pad(impulses, (0, size[1] - 1, 0, size[0] - 1))
    columns = Convolution(kernel, "circular").apply(impulses)  # (c, o, n_h, n_w): the image of each impulse
    return torch.fft.rfft2(columns).permute(2, 3, 1, 0)
