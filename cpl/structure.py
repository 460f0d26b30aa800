"""What a model is apart from its numbers: the part of a seal that a digest of tensors cannot see.

A bound of a network is a statement on its forward. Besides the tensors, the forward depends on the module at each
path, its exact type, its attributes ('zeros' or 'circular'), the order of modules, and on what torch lets anyone hang
on a module: hooks, and attributes of the instance that shadow its methods. So every module has to be of a type known
here, and hold nothing but simple attributes, which are recorded. What is changed in a *class* is not seen.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cpl.activations import MaxMin
from cpl.config import CPLNetConfig
from cpl.errors import SealError
from cpl.fixed import Standardize, UnitNormAvgPool2d, ZeroChannelPad
from cpl.models import CPLNet
from cpl.sealed import SEALED, LayerSeal

# all of them without weights, and 1-Lipschitz in l2 whatever their attributes (a standardisation: with a constant of its
# own, which is counted); a chain of such modules stays so
PLAIN = frozenset(
    (
        *(CPLNet, MaxMin, Standardize, UnitNormAvgPool2d, ZeroChannelPad),
        *(nn.Sequential, nn.Flatten, nn.Unflatten, nn.Identity, nn.PixelUnshuffle),
        *(nn.ReLU, nn.ReLU6, nn.Tanh, nn.Sigmoid, nn.Hardsigmoid, nn.LogSigmoid, nn.Softsign),
    )
)
SHIPPED = PLAIN.union(SEALED)
RECORD = "cpl_seal"
SCALARS = (int, float, str, bool, type(None))


@dataclass(frozen=True, slots=True)
class Part:
    """One module.

    Attributes:
        path: module path.
        type: module and qualified name of its class.
        attributes: pairs (name, repr), sorted by name.
    """

    path: str
    type: str
    attributes: tuple[tuple[str, str], ...]


def structure_of(model: nn.Module, known: Collection[type[nn.Module]] = SHIPPED) -> tuple[Part, ...]:
    """The parts of a model in module order, a shared module at each of its paths.

    Args:
        model: any.
        known: the exact types that its modules may have; subclasses are other types.

    Raises:
        SealError: a module has another type, a hook, or an attribute that cannot be recorded; `where` is its path.
    """
    if torch.nn.modules.module._has_any_global_hook():
        raise _unfit("the model", "a hook is registered for all modules", "remove it")
    return tuple(_part(path, module, known) for path, module in model.named_modules(remove_duplicate=False))


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers by name, shared ones at each of their paths; buffers that a state_dict leaves out too."""
    return {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }


def canonical(parts: tuple[Part, ...]) -> str:
    """The parts as JSON, for a digest."""
    return json.dumps([asdict(part) for part in parts], sort_keys=True)


def difference(wanted: tuple[Part, ...], found: tuple[Part, ...]) -> tuple[str, str] | None:
    """(path, what changed) of the first module that differs, or None."""
    before, after = {part.path: part for part in wanted}, {part.path: part for part in found}
    for path, part in after.items():
        if path not in before:
            return path, f"a module was added: {part.type}"
        if part.type != before[path].type:
            return path, f"its type has changed from {before[path].type} to {part.type}"
        old, new = dict(before[path].attributes), dict(part.attributes)
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                if name == "seal":
                    return path, "the sealed layer was replaced or moved"
                return path, f"its {name} has changed from {old.get(name, 'none')} to {new.get(name, 'none')}"
    for path in before:
        if path not in after:
            return path, "the module was removed"
    for one, other in zip(wanted, found, strict=True):
        if one.path != other.path:
            return other.path, "the order of modules has changed"
    return None


def _part(path: str, module: nn.Module, known: Collection[type[nn.Module]]) -> Part:
    kind = type(module)
    where = path or "the model"
    if kind not in known and kind in SEALED:
        raise _unfit(where, "it holds a layer that is sealed already", "seal the trained model, not a sealed one")
    if kind not in known:
        raise _unfit(
            where,
            f"{_name(kind)} is unknown, so its constant and what it depends on are",
            "build the model from cpl layers, Sequential and Flatten, subclassing none; "
            "a rule registered with cpl.rules.sealed_layer makes another trainable layer known",
        )
    called = module._modules if kind is nn.Sequential else ("trunk", "head") if kind is CPLNet else ()
    if kind in PLAIN and not set(module._modules) <= set(called):
        raise _unfit(where, f"it holds modules which {_name(kind)} never calls", "put them into a Sequential")
    for tensor in (*module._parameters.values(), *module._buffers.values()):
        if tensor is not None and type(tensor) not in (Tensor, nn.Parameter):
            raise _unfit(where, f"it holds a {_name(type(tensor))}, not a plain tensor", "convert it to a plain tensor")
    standard = _standard()
    attributes = []
    for name, content in vars(module).items():
        if name in standard:
            if name.endswith("_hooks") and content:
                raise _unfit(where, "it has a hook, which may change what it computes", "remove the hook")
        elif name != RECORD or path:
            attributes.append((name, _recorded(content, name, where)))
    return Part(path, _name(kind), tuple(sorted(attributes)))


def _recorded(content: Any, name: str, where: str) -> str:
    simple = type(content) in SCALARS or (
        type(content) in (tuple, torch.Size) and all(type(entry) in SCALARS for entry in content)
    )
    if name.startswith("_") or not (simple or type(content) in (CPLNetConfig, LayerSeal)):
        raise _unfit(
            where,
            f"its attribute {name!r} is of {_name(type(content))}, which may change what it computes",
            "remove it from the module",
        )
    # of a layer's seal all but its bound, which is recomputed when a file is read, with the rounding of that machine
    return repr(dataclasses.replace(content, upper=0.0) if isinstance(content, LayerSeal) else content)


@functools.cache
def _standard() -> frozenset[str]:
    """What every module holds. `training` is among it: a sealed model computes the same in both modes."""
    return frozenset(vars(nn.Module()))


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _unfit(where: str, why: str, next_step: str) -> SealError:
    return SealError("the model cannot be sealed, nor a seal hold", where=where, why=why, next_step=next_step)
