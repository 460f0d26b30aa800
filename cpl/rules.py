"""Which sealed layer replaces which trained one: one rule per type, in one place."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from cpl.activations import ACTIVATIONS
from cpl.comparison import AOL, AOLConv2d, AOLLinear, SLLConv2d, SLLLinear
from cpl.errors import SealError
from cpl.layers import ConvexPotential, ConvexPotentialConv2d, ConvexPotentialLinear
from cpl.normalized import NormalizedLinear, SpectralConv2d, SpectralLinear
from cpl.norms import gram_upper_conv, gram_upper_dense
from cpl.orthogonal import CayleyConv2d, CayleyLinear, ExponentialConv2d, ExponentialLinear, kernel_of, matrix_of
from cpl.sealed import SealedConv2d, SealedLinear, SealedMap, SealedMapConv2d
from cpl.shrink import Site, Upper, shrunk_block, shrunk_map, shrunk_rows, step_of
from cpl.timedependent import ConvexPotentialFlow


@functools.singledispatch
def sealed_layer(module: nn.Module, site: Site) -> nn.Module:
    """The sealed layer that replaces a trained one; one rule per type.

    A rule registered for the type of another layer is found by `cpl.seal`. It returns one of the layers of
    `cpl.sealed`, whose seal says truly what was bounded.

    Args:
        module: of exactly the registered type; finite weights.
        site: where it stands, the shape of its input, and the stored tensors, if there are any.

    Raises:
        SealError: no rule for this type; a weight is NaN or Inf, or a bias overflows when scaled as its weights are;
            a stored tensor is missing, of another shape or dtype, or violates its bound.
    """
    raise SealError(
        "no rule seals this layer",
        where=site.path,
        why=f"{type(module).__name__} is unknown",
        next_step="register a rule with cpl.rules.sealed_layer.register",
    )


def trainable() -> frozenset[type]:
    """The types that have a rule. Subclasses have none: they may compute something else."""
    return frozenset(kind for kind in sealed_layer.registry if kind is not object)


def sealable(module: nn.Module) -> bool:
    """Whether a rule is registered for exactly this type."""
    return type(module) in trainable()


@sealed_layer.register
def _(module: ConvexPotentialLinear, site: Site) -> nn.Module:
    return _potential(module, module.weight, module.bias, site)


@sealed_layer.register
def _(module: ConvexPotentialConv2d, site: Site) -> nn.Module:
    return _potential(module, module.weight, module.bias, site)


@sealed_layer.register
def _(module: ConvexPotentialFlow, site: Site) -> nn.Module:
    steps = [Site(f"{site.path}.{i}".lstrip("."), site.shape, site.stored) for i in range(module.steps)]
    return nn.Sequential(*(_potential(module.template, *module.field(i), step) for i, step in enumerate(steps)))


@sealed_layer.register
def _(module: NormalizedLinear, site: Site) -> nn.Module:
    weight, bias, upper = shrunk_rows(site, module.weight, module.bias)
    return SealedMap(weight, bias, seal=site.record("rows", upper, weight=weight, bias=bias))


@sealed_layer.register
def _(module: SpectralLinear, site: Site) -> nn.Module:
    return _dense(site, module.weight, module.bias, enlarge=True)


@sealed_layer.register
def _(module: SpectralConv2d, site: Site) -> nn.Module:
    return _conv(site, module.weight, module.bias, module.padding_mode, module.groups, enlarge=True)


@sealed_layer.register(CayleyLinear)
@sealed_layer.register(ExponentialLinear)
def _(module, site: Site) -> nn.Module:
    return _dense(site, matrix_of(module).to(module.weight.dtype), module.bias, enlarge=True)


@sealed_layer.register(CayleyConv2d)
@sealed_layer.register(ExponentialConv2d)
def _(module, site: Site) -> nn.Module:
    kernel = kernel_of(module, (site.shape[1], site.shape[2])).to(module.weight.dtype)
    return _conv(site, kernel, module.bias, "circular", 1, enlarge=True)


@sealed_layer.register
def _(module: AOLLinear, site: Site) -> nn.Module:
    return _dense(site, _rescaled(module), module.bias, enlarge=False)


@sealed_layer.register
def _(module: AOLConv2d, site: Site) -> nn.Module:
    return _conv(site, _rescaled(module), module.bias, "zeros", 1, enlarge=False)


@sealed_layer.register
def _(module: SLLLinear, site: Site) -> nn.Module:
    weight, bias, upper = shrunk_block(
        site, _rescaled(module), module.bias * module.scales(), gram_upper_dense, enlarge=False
    )
    return SealedLinear(weight, bias, seal=site.record("block", upper, V=weight, bias=bias))


@sealed_layer.register
def _(module: SLLConv2d, site: Site) -> nn.Module:
    upper_of = _upper_conv(site, "zeros", 1)
    weight, bias, upper = shrunk_block(site, _rescaled(module), module.bias * module.scales(), upper_of, enlarge=False)
    return SealedConv2d(weight, bias, padding_mode="zeros", seal=site.record("block", upper, V=weight, bias=bias))


def _potential(module: ConvexPotential, weight: Tensor, bias: Tensor, site: Site) -> nn.Module:
    conv = module if isinstance(module, ConvexPotentialConv2d) else None
    upper_of = _upper_conv(site, conv.padding_mode, conv.groups) if conv else gram_upper_dense
    with torch.no_grad():
        share = float(module.share())
    if ACTIVATIONS[module.activation].homogeneous:
        weight, bias, upper = shrunk_block(site, weight, bias, upper_of, share=share, reach=module.reach)
        step = None
    else:
        weight, bias, step, upper = step_of(site, weight, bias, upper_of, share=share, reach=module.reach)
    record = site.record("block", upper, V=weight, bias=bias, step=step)
    rest = {"step": step, "activation": module.activation, "iterations": module.iterations, "reach": module.reach}
    if conv is None:
        return SealedLinear(weight, bias, **rest, seal=record)
    return SealedConv2d(weight, bias, padding_mode=conv.padding_mode, groups=conv.groups, **rest, seal=record)


def _dense(site: Site, weight: Tensor, bias: Tensor, *, enlarge: bool) -> nn.Module:
    weight, bias, upper = shrunk_map(site, weight, bias, gram_upper_dense, enlarge=enlarge)
    return SealedMap(weight, bias, seal=site.record("map", upper, weight=weight, bias=bias))


def _conv(site: Site, weight: Tensor, bias: Tensor, padding_mode: str, groups: int, *, enlarge: bool) -> nn.Module:
    weight, bias, upper = shrunk_map(site, weight, bias, _upper_conv(site, padding_mode, groups), enlarge=enlarge)
    record = site.record("map", upper, weight=weight, bias=bias)
    return SealedMapConv2d(weight, bias, padding_mode=padding_mode, groups=groups, seal=record)


def _upper_conv(site: Site, padding_mode: str, groups: int) -> Upper:
    size = site.shape[1], site.shape[2]
    return functools.partial(gram_upper_conv, size=size, padding_mode=padding_mode, groups=groups)


def _rescaled(module: AOL | SLLLinear | SLLConv2d) -> Tensor:
    return module.rescaled().detach()
