"""From trained weights to stored ones: one rule per layer, each bounding the tensor that is stored and no other.

Blocks: V = fl(c W) with c such that upper(V)^2 <= 2 (1 - 2^-20), upper being Gram iteration *on the stored, rounded
V*, so the rounding to float32 is inside the bound and not beside it. Rows: w_i scaled to norm 1 - 2^-20, rounded, and
checked: the squares of float32 numbers are exact in float64 and `math.fsum` adds them with one rounding.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from cpl.errors import SealError
from cpl.layers import ConvexPotentialConv2d, ConvexPotentialLinear, NormalizedLinear
from cpl.norms import gram_upper_conv, gram_upper_dense
from cpl.scaling import scaled_to_one, shifted
from cpl.sealed import LayerSeal, SealedConv2d, SealedLinear, SealedNormalizedLinear, digest, dtype_name

SHRINK = 2.0**-20
BLOCK_LIMIT = math.sqrt(2 * (1 - SHRINK)) * (1 - 2.0**-50)

ROUNDING_ROOM = 1 - 2.0**-26  # for what storing in float32 moves the norm by; where it does not suffice, shrink again
Pair = tuple[Tensor, Tensor]
Stored = Mapping[str, Tensor] | None


@functools.singledispatch
def shrink(module: nn.Module, path: str, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    """The sealed layer that replaces a trained one; one rule per type.

    A block x - h W^T relu(W x + b) becomes x - V^T relu(V x + b'), with b' scaled as V is, and numbers such that

        upper(V)^2 <= 2 (1 - 2^-20),   upper(V) >= ||V||;

    rows w_i become numbers with ||w_i||^2 <= 1 - 2^-40. The bound is of the stored numbers, from above.

    A rule registered for the type of another layer is found by `cpl.seal`. It returns one of the layers of
    `cpl.sealed`, whose seal says truly what was bounded.

    Args:
        module: of exactly the registered type; finite weights.
        path: its module path.
        shape: of one input of this layer, without the batch.
        stored: tensors of a sealed model by name, to be used bit for bit if they keep the bound; None to compute them.

    Raises:
        SealError: no rule for this type; a weight is NaN or Inf, or a bias overflows when scaled as its weights are;
            a stored tensor is missing, of another shape or dtype, or violates its bound.
    """
    raise SealError(
        "no rule seals this layer",
        where=path,
        why=f"{type(module).__name__} is unknown",
        next_step="register a rule with cpl.shrink.shrink.register",
    )


def trainable() -> frozenset[type]:
    """The types that have a rule. Subclasses have none: they may compute something else."""
    return frozenset(kind for kind in shrink.registry if kind is not object)


def sealable(module: nn.Module) -> bool:
    """Whether a rule is registered for exactly this type."""
    return type(module) in trainable()


@shrink.register
def _(module: ConvexPotentialLinear, path: str, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    pair = given(stored, path, "V")
    tensor, bias, upper = _block(module.weight, module.bias, path, pair, gram_upper_dense)
    return SealedLinear(tensor, bias, seal=_record(path, "block", shape, upper, V=tensor, bias=bias))


@shrink.register
def _(module: ConvexPotentialConv2d, path: str, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    pair = given(stored, path, "V")
    upper_of = functools.partial(gram_upper_conv, size=(shape[1], shape[2]), padding_mode=module.padding_mode)
    tensor, bias, upper = _block(module.weight, module.bias, path, pair, upper_of)
    record = _record(path, "block", shape, upper, V=tensor, bias=bias)
    return SealedConv2d(tensor, bias, padding_mode=module.padding_mode, seal=record)


@shrink.register
def _(module: NormalizedLinear, path: str, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    pair = given(stored, path, "weight")
    weight, bias = _finite(module.weight, path), _finite(module.bias, path)
    if pair is None:
        rows = weight.double()
        largest = rows.abs().amax(dim=1, keepdim=True)
        rows = rows / torch.where(largest > 0, largest, 1.0)
        rows = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min(0.5) * (1 - SHRINK)
        weight = rows.to(weight.dtype)
    else:
        weight, bias = (_finite(tensor, path) for tensor in _like(pair, (weight, bias), path))
    square = max(math.fsum(entry * entry for entry in row) for row in weight.double().tolist())
    if square > 1 - 2.0**-40:
        raise _exceeds(path, f"a row has norm {math.sqrt(square):.17g} > 1")
    return SealedNormalizedLinear(
        weight, bias, seal=_record(path, "rows", shape, math.sqrt(square), weight=weight, bias=bias)
    )


def _block(
    weight: Tensor, bias: Tensor, path: str, stored: Pair | None, upper_of: Callable[[Tensor], float]
) -> tuple[Tensor, Tensor, float]:
    """(V, b', upper(V)): V = fl(c W), b' = fl(c b), upper(V) <= sqrt(2 (1 - 2^-20)); or the stored pair, if it does."""
    weight, bias = _finite(weight, path), _finite(bias, path)
    if stored is not None:
        tensor, offset = (_finite(item, path) for item in _like(stored, (weight, bias), path))
        upper = upper_of(tensor)
        if upper > BLOCK_LIMIT:
            raise _exceeds(path, f"||V|| may be {upper:.9g} > sqrt(2 (1 - 2^-20))")
        return tensor, offset, upper
    matrix, exponent = scaled_to_one(weight.double())
    upper = upper_of(matrix)
    if upper == 0.0:  # W = 0 is the identity whatever h
        return weight, bias, 0.0
    scale = BLOCK_LIMIT / upper * ROUNDING_ROOM
    while True:
        tensor = (matrix * scale).to(weight.dtype)
        upper = upper_of(tensor)
        if upper <= BLOCK_LIMIT:
            return tensor, _bias(bias, scale, exponent, path), upper
        scale *= BLOCK_LIMIT / upper * ROUNDING_ROOM


def _bias(bias: Tensor, scale: float, exponent: int, path: str) -> Tensor:
    """scale 2^-exponent b, as the weights were scaled."""
    offset, own = scaled_to_one(bias.double())
    scaled = shifted(offset * scale, max(-2000, min(own - exponent, 2000))).to(bias.dtype)
    if not bool(torch.isfinite(scaled).all()):
        raise SealError(
            "the bias overflows when it is scaled as its weights are",
            where=path,
            why=f"the weights are finite but tiny beside the bias: at most 2^{exponent}",
            next_step="set these weights to zero, or inspect the training run",
        )
    return scaled


def _record(path: str, kind: str, shape: tuple[int, ...], upper: float, **tensors: Tensor) -> LayerSeal:
    dtype = dtype_name(next(iter(tensors.values())).dtype)
    return LayerSeal(path, kind, shape, dtype, upper, digest(tensors))


def _exceeds(path: str, why: str) -> SealError:
    return SealError(
        "a stored tensor violates its bound",
        where=path,
        why=why,
        next_step="do not use this file; export the model again",
    )


def _like(stored: Pair, expected: Pair, path: str) -> tuple[Tensor, Tensor]:
    for found, wanted in zip(stored, expected, strict=True):
        if found.shape != wanted.shape or found.dtype != wanted.dtype:
            raise SealError(
                f"a stored tensor is {tuple(found.shape)} {found.dtype}, not {tuple(wanted.shape)} {wanted.dtype}",
                where=path,
                why="it belongs to another architecture",
                next_step="rebuild the model with the configuration stored beside it",
            )
    return stored


def _finite(tensor: Tensor, path: str) -> Tensor:
    if not bool(torch.isfinite(tensor).all()):
        raise SealError(
            "a weight is NaN or Inf",
            where=path,
            why="no bound holds for it",
            next_step="inspect the training run, or scale the weights",
        )
    return tensor.detach().clone()


def given(stored: Stored, path: str, first: str) -> Pair | None:
    """The tensors `path.first` and `path.bias` among the stored ones, as they are; None if nothing is stored.

    Raises:
        SealError: one of them is missing.
    """
    if stored is None:
        return None
    try:
        return stored[f"{path}.{first}".lstrip(".")], stored[f"{path}.bias".lstrip(".")]
    except KeyError as error:
        raise SealError(
            "a stored tensor is missing", where=path, why=f"no tensor {error}", next_step="export the model again"
        ) from error
