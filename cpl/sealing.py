"""Sealing: from a trained model, whose step sizes are proxies, to one whose layers are bounded from above.

    sealed = cpl.seal(model, (1, 8, 8))

The copy keeps the module paths. Its record holds for these weights, these modules, this input size and this dtype;
after any change the seal is void, and evaluation and export refuse.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from cpl import checks
from cpl.errors import SealError, reason
from cpl.fixed import Standardize
from cpl.models import CPLNet
from cpl.rules import sealable, sealed_layer, trainable
from cpl.sealed import SEALED, LayerSeal, SealedMap, digest, dtype_name
from cpl.shrink import Site
from cpl.structure import PLAIN, RECORD, Part, canonical, difference, structure_of, tensors_of

DTYPES = (torch.float32, torch.float64)
Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Seal:
    """What a model was sealed for.

    Attributes:
        input_shape: of one input, without the batch.
        dtype: of weights and inputs.
        digest: sha256 over all parameters and buffers of the model and over its structure.
        layers: one entry per sealed layer, in module order.
        structure: one entry per module, in module order.
    """

    input_shape: tuple[int, ...]
    dtype: str
    digest: str
    layers: tuple[LayerSeal, ...]
    structure: tuple[Part, ...]


def seal(model: Model, input_shape: tuple[int, ...], *, stored: Mapping[str, Tensor] | None = None) -> Model:
    """Returns a sealed copy of the model in eval mode; module paths stay the same and the model itself is not changed.

    Args:
        model: at least one cpl layer with weights, and otherwise modules without weights that are 1-Lipschitz in l2:
            Sequential, Flatten, Unflatten, Identity, PixelUnshuffle, some activations, and those of cpl. Subclasses,
            hooks and attributes of other than simple types are refused. Parameters all float32 or all float64, on CPU.
        input_shape: shape of one input, without the batch.
        stored: tensors of an already sealed model by name (e.g. 'trunk.conv1.V'), to be used bit for bit instead of
            those that the model's weights would give. Their bounds are computed again, never believed.

    Returns:
        The copy; `seal_of` gives its record.

    Raises:
        SealError: nothing to seal, a module of unknown type or with a hook, mixed or unsupported dtypes, NaN or Inf,
            a layer not reached or called with several sizes, or stored tensors that violate their bound.
        ArgumentError: if the shape is not one.
    """
    input_shape = checks.int_shape(input_shape, name="input_shape", where="seal")
    structure_of(model, PLAIN | trainable())
    dtype = _dtype(model)
    shapes = _input_shapes(model, input_shape, dtype)
    sealed = copy.deepcopy(model)
    if isinstance(sealed, CPLNet):
        sealed.recompute(False)  # of training; the seal is of what is computed
    made: dict[nn.Module, nn.Module] = {}
    for path, module in _layers(model, remove_duplicate=False):
        if module not in made:  # a module that stands at several paths is sealed once and stays shared
            made[module] = sealed_layer(module, Site(path, shapes[path], stored))
        if not path:
            sealed = cast(Model, made[module])
        else:
            sealed.set_submodule(path, made[module])
    sealed.eval()
    layers = tuple(module.seal for module in sealed.modules() if isinstance(module, SEALED))
    parts = structure_of(sealed)
    record = Seal(input_shape, dtype_name(dtype), _digest(tensors_of(sealed), parts), layers, parts)
    object.__setattr__(sealed, RECORD, record)
    return sealed


def seal_of(model: nn.Module) -> Seal:
    """Returns the record of a sealed model after checking that it still holds.

    Raises:
        SealError: the model was never sealed, or a weight, a module (its type, an attribute, a hook, the order) or
            the dtype has changed since; `where` is the path of the module.
    """
    record = vars(model).get(RECORD)
    if not isinstance(record, Seal):
        raise SealError(
            "the model is not sealed",
            where=type(model).__name__,
            why="its step sizes are training proxies",
            next_step="call cpl.seal(model, input_shape)",
        )
    found = {module.seal.path: module for module in model.modules() if isinstance(module, SEALED)}
    for layer in record.layers:
        module = found.pop(layer.path, None)
        if module is None or module.seal != layer:
            raise _void(layer.path, "the sealed layer was replaced or removed")
        state = module.state_dict()
        if any(dtype_name(tensor.dtype) != layer.dtype for tensor in state.values()):
            raise _void(layer.path, f"the dtype is no longer {layer.dtype}")
        if digest(state) != layer.digest:
            raise _void(layer.path, "its weights have changed")
    parts = structure_of(model)
    changed = difference(record.structure, parts)
    if changed is not None:
        raise _void(*changed)
    if found or _digest(tensors_of(model), parts) != record.digest:
        raise _void(next(iter(found), ""), "weights or layers outside the sealed layers have changed")
    return record


def sealed_head(model: CPLNet) -> SealedMap:
    """The head of a CPLNet, after checking that the seal holds and that what comes before it is 1-Lipschitz in l2, up to
    `trunk_constant`.

    Raises:
        SealError: the seal is missing or void, the model is no CPLNet, or rows of norm 1 stand elsewhere than at the
            head: their spectral norm may exceed 1.
    """
    record = seal_of(model)
    rows = [layer.path for layer in record.layers if layer.kind == "rows"]
    head = model.head if type(model) is CPLNet else None
    inside = type(model) is CPLNet and any(module is head for module in model.trunk.modules())
    if not isinstance(head, SealedMap) or inside or rows not in ([], ["head"]):
        raise SealError(
            "the model is no trunk with a linear head",
            where=next((path for path in rows if path != "head"), "head"),
            why="its margins are turned into radii by the rows of `head`, and by a trunk without such rows",
            next_step="build the model with cpl.CPLNet(config), train and seal it",
        )
    return head


def trunk_constant(model: CPLNet) -> float:
    """The constant of the trunk of a sealed CPLNet in l2: the product of its standardisations', 1 without any."""
    modules = (module for _, module in model.trunk.named_modules(remove_duplicate=False))  # used twice, counted twice
    return math.prod(module.constant for module in modules if isinstance(module, Standardize))


def _digest(tensors: Mapping[str, Tensor], parts: tuple[Part, ...]) -> str:
    return hashlib.sha256(f"{digest(tensors)}\0{canonical(parts)}".encode()).hexdigest()


def _void(path: str, why: str) -> SealError:
    return SealError(
        "the seal is void",
        where=path or "the model",
        why=why,
        next_step="seal the trained model again: cpl.seal(model, input_shape)",
    )


def _dtype(model: nn.Module) -> torch.dtype:
    dtypes = {parameter.dtype for parameter in model.parameters()}
    if len(dtypes) != 1 or not dtypes <= set(DTYPES) or not any(map(sealable, model.modules())):
        raise SealError(
            "the model cannot be sealed",
            where=type(model).__name__,
            why=f"it needs cpl layers and weights of one dtype, float32 or float64; found {sorted(map(str, dtypes))}",
            next_step="build it from cpl layers, and convert it with .float() or .double()",
        )
    return dtypes.pop()


def _input_shapes(model: nn.Module, input_shape: tuple[int, ...], dtype: torch.dtype) -> dict[str, tuple[int, ...]]:
    """The input shape of every cpl layer, from one forward pass of a copy."""
    probe = copy.deepcopy(model).train()
    seen: dict[str, set[tuple[int, ...]]] = {}
    for path, module in _layers(probe):
        seen[path] = set()
        module.register_forward_pre_hook(functools.partial(_note, seen[path]))
    try:
        with torch.no_grad():
            probe(torch.zeros(1, *input_shape, dtype=dtype))
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise SealError(
            "the model does not accept this input shape",
            where=str(input_shape),
            why=reason(error),
            next_step="pass the shape of one input as the model was trained on, without the batch",
        ) from error
    for path, shapes in seen.items():
        if len(shapes) != 1:
            raise SealError(
                f"the layer is called with {len(shapes)} input shapes",
                where=path,
                why="a seal holds for exactly one",
                next_step="use one module per size, and remove layers that are never called",
            )
    return {path: shapes.pop() for path, shapes in seen.items()}


def _layers(model: nn.Module, *, remove_duplicate: bool = True) -> Iterator[tuple[str, nn.Module]]:
    """The cpl layers with their paths; what is part of such a layer is not one of its own."""
    inside: tuple[str, ...] = ()
    for path, module in model.named_modules(remove_duplicate=remove_duplicate):
        if sealable(module) and not path.startswith(inside or ("\0",)):
            inside = (*inside, f"{path}." if path else "")
            yield path, module


def _note(seen: set[tuple[int, ...]], _module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
    seen.add(tuple(arguments[0].shape[1:]))
