"""From trained weights to stored ones: each rule bounds the tensor that is stored and no other.

Blocks: V = fl(c W) with c such that upper(V)^2 <= 2 s (1 - 2^-20), s the share of the largest step, upper being Gram
iteration *on the stored, rounded V*, so the rounding to float32 is inside the bound and not beside it; where sigma is not
homogeneous V = W and the stored h has h upper(V)^2 <= 2 s (1 - 2^-20). Maps: fl(c A) with upper <= 1 - 2^-20. Rows: w_i
scaled to norm 1 - 2^-20, rounded, and checked: the squares of float32 numbers are exact in float64 and `math.fsum` adds
them with one rounding. `cpl.rules` says which layer takes which.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from cpl.errors import SealError
from cpl.scaling import scaled_to_one, shifted
from cpl.sealed import LayerSeal, digest, dtype_name

SHRINK = 2.0**-20
BLOCK_SQUARE = 2 * (1 - Fraction(SHRINK))
MAP_LIMIT = 1 - SHRINK
ROUNDING_ROOM = 1 - 2.0**-26  # for what storing in float32 moves the norm by; where it does not suffice, shrink again

Stored = Mapping[str, Tensor] | None
Upper = Callable[[Tensor], float]


@dataclass(frozen=True, slots=True)
class Site:
    """Where a layer stands.

    Attributes:
        path: its module path.
        shape: of one input of it, without the batch.
        stored: tensors of a sealed model by name, to be used bit for bit if they keep the bound; None to compute them.
    """

    path: str
    shape: tuple[int, ...]
    stored: Stored = None

    def record(self, kind: str, upper: float, **tensors: Tensor | None) -> LayerSeal:
        """The seal of the layer that holds these tensors."""
        held = {name: tensor for name, tensor in tensors.items() if tensor is not None}
        dtype = dtype_name(next(iter(held.values())).dtype)
        return LayerSeal(self.path, kind, self.shape, dtype, upper, digest(held))

    def given(self, **expected: Tensor) -> tuple[Tensor, ...] | None:
        """The stored tensors with these names below the path, as they are; None if nothing is stored.

        Raises:
            SealError: one of them is missing, not finite, or of another shape or dtype than expected.
        """
        if self.stored is None:
            return None
        found = []
        for name, wanted in expected.items():
            tensor = self.stored.get(f"{self.path}.{name}".lstrip("."))
            if tensor is None:
                raise SealError(
                    "a stored tensor is missing",
                    where=self.path,
                    why=f"no tensor {name!r}",
                    next_step="export the model again",
                )
            if tensor.shape != wanted.shape or tensor.dtype != wanted.dtype:
                raise SealError(
                    f"a stored tensor is {tuple(tensor.shape)} {tensor.dtype}, "
                    f"not {tuple(wanted.shape)} {wanted.dtype}",
                    where=self.path,
                    why="it belongs to another architecture",
                    next_step="rebuild the model with the configuration stored beside it",
                )
            found.append(self.finite(tensor))
        return tuple(found)

    def finite(self, tensor: Tensor) -> Tensor:
        """A copy, without gradient.

        Raises:
            SealError: an entry is NaN or Inf.
        """
        if not bool(torch.isfinite(tensor).all()):
            raise SealError(
                "a weight is NaN or Inf",
                where=self.path,
                why="no bound holds for it",
                next_step="inspect the training run, or scale the weights",
            )
        return tensor.detach().clone(memory_format=torch.contiguous_format)

    def exceeds(self, why: str) -> SealError:
        """The error for a stored tensor that is too large."""
        return SealError(
            "a stored tensor violates its bound",
            where=self.path,
            why=why,
            next_step="do not use this file; export the model again",
        )


def shrunk_block(
    site: Site,
    weight: Tensor,
    bias: Tensor,
    upper_of: Upper,
    *,
    share: float = 1.0,
    reach: float = 1.0,
    enlarge: bool = True,
) -> tuple[Tensor, Tensor, float]:
    """(V, b', upper(V)) for a homogeneous sigma: V = fl(c W), b' = fl(c b), upper(V)^2 <= 2 s reach (1 - 2^-20).

    Args:
        site: of the layer.
        weight, bias: W and b.
        upper_of: an upper bound of the norm of the map that a tensor stands for.
        share, reach: s in (0, 1], and the largest h ||W||^2 / 2.
        enlarge: whether c may exceed 1 - 2^-20: so that the step is the share of the largest one.

    Raises:
        SealError: NaN or Inf, a bias that overflows, or stored tensors that are unfit or too large.
    """
    weight, bias = site.finite(weight), site.finite(bias)
    most = BLOCK_SQUARE * Fraction(reach)
    stored = site.given(V=weight, bias=bias)
    if stored is not None:
        upper = upper_of(stored[0])
        # the share itself is not stored with the tensors: its square root may be rounded either way
        if Fraction(upper) ** 2 > most:
            raise site.exceeds(f"||V|| may be {upper:.9g} > {float(most) ** 0.5:.9g}")
        return stored[0], stored[1], upper
    limit = _root(most * Fraction(share))
    tensor, scale, exponent, upper = _scaled(weight, upper_of, limit, enlarge=enlarge)
    return tensor, _bias(site, bias, scale, exponent), upper


def step_of(
    site: Site, weight: Tensor, bias: Tensor, upper_of: Upper, *, share: float = 1.0, reach: float = 1.0
) -> tuple[Tensor, Tensor, Tensor, float]:
    """(W, b, h, sqrt(h) upper(W)) for any sigma: h ||W||^2 <= 2 s reach (1 - 2^-20), h rounded down to the dtype of W.

    Raises:
        SealError: as `shrunk_block`.
    """
    weight, bias = site.finite(weight), site.finite(bias)
    limit = BLOCK_SQUARE * Fraction(reach)
    stored = site.given(V=weight, bias=bias, step=weight.new_zeros(()))
    if stored is not None:
        weight, bias, step = stored
        square = Fraction(upper_of(weight)) ** 2 * Fraction(float(step))
        if not 0 <= square <= limit:
            raise site.exceeds(f"h ||V||^2 may be {float(square):.9g}, not in [0, {float(limit):.9g}]")
        return weight, bias, step, _root(square)
    upper = upper_of(weight)
    most = torch.finfo(weight.dtype).max
    wanted = limit * Fraction(share) / Fraction(upper) ** 2 if upper else Fraction(most)
    step = torch.tensor(min(float(wanted), most), dtype=weight.dtype)
    while Fraction(float(step)) > wanted:
        step = torch.nextafter(step, step.new_zeros(()))
    return weight, bias, step, _root(Fraction(upper) ** 2 * Fraction(float(step)))


def shrunk_map(
    site: Site, weight: Tensor, bias: Tensor, upper_of: Upper, *, enlarge: bool
) -> tuple[Tensor, Tensor, float]:
    """(W', b, upper(W')) with W' = fl(c W) and upper(W') <= 1 - 2^-20; the bias stays as it is.

    Args:
        enlarge: whether W is divided by its norm even if that is below 1.

    Raises:
        SealError: as `shrunk_block`.
    """
    weight, bias = site.finite(weight), site.finite(bias)
    stored = site.given(weight=weight, bias=bias)
    if stored is not None:
        upper = upper_of(stored[0])
        if upper > MAP_LIMIT:
            raise site.exceeds(f"its norm may be {upper:.9g} > 1 - 2^-20")
        return stored[0], stored[1], upper
    tensor, _, _, upper = _scaled(weight, upper_of, MAP_LIMIT, enlarge=enlarge)
    return tensor, bias, upper


def shrunk_rows(site: Site, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, float]:
    """(W', b, largest row norm) with rows scaled to norm 1 - 2^-20 and rounded: ||w_i||^2 <= 1 - 2^-40.

    Raises:
        SealError: as `shrunk_block`.
    """
    weight, bias = site.finite(weight), site.finite(bias)
    stored = site.given(weight=weight, bias=bias)
    if stored is None:
        rows = weight.double()
        largest = rows.abs().amax(dim=1, keepdim=True)
        rows = rows / torch.where(largest > 0, largest, 1.0)
        rows = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min(0.5) * (1 - SHRINK)
        weight = rows.to(weight.dtype)
    else:
        weight, bias = stored
    square = max(math.fsum(entry * entry for entry in row) for row in weight.double().tolist())
    if square > 1 - 2.0**-40:
        raise site.exceeds(f"a row has norm {math.sqrt(square):.17g} > 1")
    return weight, bias, math.sqrt(square)


def _scaled(weight: Tensor, upper_of: Upper, limit: float, *, enlarge: bool) -> tuple[Tensor, float, int, float]:
    """(fl(c W), scale, exponent, upper) with c = scale 2^-exponent and upper(fl(c W)) <= limit."""
    matrix, exponent = scaled_to_one(weight.double())
    upper = upper_of(matrix)
    if upper == 0.0:
        return weight, math.ldexp(1.0, exponent), exponent, 0.0
    scale = limit / upper * ROUNDING_ROOM
    if not enlarge and math.ldexp(upper, min(exponent, 1000)) <= limit and (own := upper_of(weight)) <= limit:
        return weight, math.ldexp(1.0, exponent), exponent, own
    while True:
        tensor = (matrix * scale).to(weight.dtype)
        upper = upper_of(tensor)
        if upper <= limit:
            return tensor, scale, exponent, upper
        scale *= limit / upper * ROUNDING_ROOM


def _bias(site: Site, bias: Tensor, scale: float, exponent: int) -> Tensor:
    """scale 2^-exponent b, as the weights were scaled."""
    offset, own = scaled_to_one(bias.double())
    scaled = shifted(offset * scale, max(-2000, min(own - exponent, 2000))).to(bias.dtype)
    if not bool(torch.isfinite(scaled).all()):
        raise SealError(
            "the bias overflows when it is scaled as its weights are",
            where=site.path,
            why=f"the weights are finite but tiny beside the bias: at most 2^{exponent}",
            next_step="set these weights to zero, or inspect the training run",
        )
    return scaled


def _root(square: Fraction) -> float:
    """sqrt rounded down by a relative 2^-50."""
    return math.sqrt(square) * (1 - 2.0**-50)
