"""One call from an ordinary `nn.Sequential` to one whose layers are 1-Lipschitz once sealed.

    Linear(n, m)                        SpectralLinear with the same weights; with square='cpl' and n = m a
                                        ConvexPotentialLinear with new ones
    Conv2d, stride 1, padding (k-1)/2   SpectralConv2d with the same weights; with square='cpl' and as many channels out as in
                                        a ConvexPotentialConv2d with new ones
    Conv2d, stride s                    PixelUnshuffle(s), an isometry, and a SpectralConv2d on s^2 times the channels with new
                                        weights
    AvgPool2d(k)                        UnitNormAvgPool2d(k)
    nested Sequential                   the same, inside
    Flatten, Identity, PixelUnshuffle, the activations of torch without parameters that are 1-Lipschitz: copied

A module that stands twice stands twice in the new chain, as one. Everything else is refused by name: batch norm,
overlapping pooling and attention have no constant of 1.
"""

from __future__ import annotations

import copy
from collections import OrderedDict

import torch
from torch import nn

from cpl import checks
from cpl.errors import ArgumentError
from cpl.fixed import UnitNormAvgPool2d
from cpl.layers import ConvexPotentialConv2d, ConvexPotentialLinear
from cpl.normalized import SpectralConv2d, SpectralLinear
from cpl.rules import sealable
from cpl.structure import PLAIN

SQUARE = ("spectral", "cpl")


def swap(model: nn.Sequential, *, square: str = "spectral", generator: torch.Generator | None = None) -> nn.Sequential:
    """A new chain in which every `nn.Linear` and `nn.Conv2d` is 1-Lipschitz once sealed; the model itself is not changed.

    Args:
        model: a chain.
        square: what layers with as many outputs as inputs become: 'spectral' (the same weights, divided by their norm) or
            'cpl' (a convex potential block, new weights).
        generator: source of new weights; torch's global one if None.

    Raises:
        ArgumentError: a module cannot be swapped; `where` is its path.

    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10))
    >>> [type(module).__name__ for module in swap(model)]
    ['Sequential', 'ReLU', 'Flatten', 'SpectralLinear']
    """
    checks.one_of(square, SQUARE, name="square", where="swap")
    if type(model) is not nn.Sequential:
        raise _refusal("", model, "only a Sequential says in which order its modules are called")
    return _chain(model, "", square, generator, {})


def _chain(
    model: nn.Sequential, path: str, square: str, generator: torch.Generator | None, made: dict[nn.Module, nn.Module]
) -> nn.Sequential:
    """The chain of new modules; `made` holds those there are already, by the module that each replaces."""
    chain = OrderedDict[str, nn.Module]()
    for name, module in model._modules.items():  # named_children would leave out what stands twice
        here = f"{path}.{name}".lstrip(".")
        if module is None:
            raise _refusal(here, model, "a module of it is None")
        if module not in made and type(module) is nn.Sequential:
            made[module] = _chain(module, here, square, generator, made)
        elif module not in made:
            made[module] = _swapped(module, here, square, generator)
        chain[name] = made[module]
    return nn.Sequential(chain)


def _swapped(module: nn.Module, path: str, square: str, generator: torch.Generator | None) -> nn.Module:
    kind = type(module)
    if kind is nn.Linear:
        return _linear(module, square, generator)  # type: ignore[arg-type]
    if kind is nn.Conv2d:
        return _conv(module, path, square, generator)  # type: ignore[arg-type]
    if kind is nn.AvgPool2d:
        return _pool(module, path)  # type: ignore[arg-type]
    if kind in PLAIN or sealable(module):
        return copy.deepcopy(module)
    raise _refusal(path, module, "it has no 1-Lipschitz counterpart here")


def _linear(module: nn.Linear, square: str, generator: torch.Generator | None) -> nn.Module:
    if square == "cpl" and module.in_features == module.out_features:
        block = ConvexPotentialLinear(module.in_features, module.out_features, generator=generator)
        return block.to(module.weight.dtype)
    return _with_weights(SpectralLinear(module.in_features, module.out_features, generator=generator), module)


def _conv(module: nn.Conv2d, path: str, square: str, generator: torch.Generator | None) -> nn.Module:
    kernel, stride = module.kernel_size, module.stride
    if module.padding_mode not in checks.PADDING_MODES or module.dilation != (1, 1):
        raise _refusal(path, module, "only zero and circular padding without dilation are implemented")
    if kernel[0] != kernel[1] or kernel[0] % 2 == 0 or stride[0] != stride[1]:
        raise _refusal(path, module, "kernels are square with odd sides, strides the same on both axes")
    if module.padding not in ("same", (kernel[0] // 2, kernel[0] // 2)):
        raise _refusal(path, module, f"the size of the map is kept: padding={kernel[0] // 2} is needed")
    rest = {
        "kernel_size": kernel[0],
        "padding_mode": module.padding_mode,
        "groups": module.groups,
        "generator": generator,
    }
    if stride[0] > 1:
        if module.groups > 1:
            raise _refusal(path, module, "down-sampling mixes the channels of groups")
        rest["kernel_size"] = 1 + 2 * (kernel[0] // (2 * stride[0]))
        inner = SpectralConv2d(module.in_channels * stride[0] ** 2, module.out_channels, **rest)
        return nn.Sequential(nn.PixelUnshuffle(stride[0]), inner.to(module.weight.dtype))
    if square == "cpl" and module.in_channels == module.out_channels:
        block = ConvexPotentialConv2d(module.in_channels, module.out_channels, **rest)
        return block.to(module.weight.dtype)
    return _with_weights(SpectralConv2d(module.in_channels, module.out_channels, **rest), module)


def _pool(module: nn.AvgPool2d, path: str) -> nn.Module:
    size, stride = module.kernel_size, module.stride
    if (
        not isinstance(size, int)
        or stride != size
        or module.padding != 0
        or module.ceil_mode
        or module.divisor_override
    ):
        raise _refusal(path, module, "windows are square, disjoint and whole, and divided by their size")
    return UnitNormAvgPool2d(size)


def _with_weights(layer: SpectralLinear | SpectralConv2d, module: nn.Linear | nn.Conv2d) -> nn.Module:
    with torch.no_grad():
        layer.weight.copy_(module.weight)
        if module.bias is not None:
            layer.bias.copy_(module.bias)
    return layer.to(module.weight.dtype)


def _refusal(path: str, module: nn.Module, why: str) -> ArgumentError:
    return ArgumentError(
        f"{type(module).__name__} cannot be swapped",
        where=path or "the model",
        why=why,
        next_step="replace it by a layer of cpl, or take it out",
    )
