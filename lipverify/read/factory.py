"""A state dict and the user's own code that builds its network -> the module, with every number checked.

A state dict says nothing of the program that uses it. ``package.module:function`` names code that does: the function is
imported and called without arguments, so it runs. It is the user's choice, never the file's.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from lipverify.errors import LipverifyError, quoted
from lipverify.read.state import State

PREFIXES = {"module.": "DataParallel", "_orig_mod.": "torch.compile", "model.": "a wrapper module"}
"""What wrappers put before the names of a state dict."""


class FactoryError(LipverifyError):
    """The factory builds no module, or not the one whose state dict this is."""


def build(spec: str) -> nn.Module:
    """What ``package.module:function`` returns, called without arguments. Naming it runs it.

    The current folder is searched too, as ``python -m`` does.

    Raises:
        FactoryError: where it cannot be imported or called, or returns something else than a module.
    """
    module, colon, name = spec.partition(":")
    if not (module and colon and name):
        raise FactoryError(f"{quoted(spec)} names no factory", step="Write package.module:function.")
    here = os.getcwd()
    added = here not in sys.path and "" not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        with redirect_stdout(sys.stderr):  # stdout is the report's
            model = importlib.import_module(module)
            for part in name.split("."):
                model = getattr(model, part)
            model = model()  # type: ignore[operator]
    except (Exception, SystemExit) as error:  # the user's code may raise anything, or end the process
        raise FactoryError(
            f"the factory {quoted(spec)} cannot be run",
            why=f"{type(error).__name__}: {quoted(error, 300)}",
            step="It is called without arguments; its module must be importable from here or through PYTHONPATH.",
        ) from error
    finally:
        if added and here in sys.path:
            sys.path.remove(here)
    if not isinstance(model, nn.Module):
        raise FactoryError(
            f"the factory {quoted(spec)} returns {type(model).__name__}", step="Return a torch.nn.Module."
        )
    return model


def load(model: nn.Module, state: State) -> tuple[str, ...]:
    """Put every tensor of ``state`` into ``model``, exactly, and set it to eval mode; what to note of it.

    Raises:
        FactoryError: naming the keys that are missing, unexpected or of another shape, or a number that the model's dtype
            does not hold; for a model on the device meta or of lazy modules. Nothing is loaded in part without being said:
            a model that keeps numbers of its own beside those of the file is not the file's model.
    """
    own = model.state_dict()
    _check_memory(own)
    tensors, notes = _unprefixed(state.tensors, own)
    missing = [name for name in own if name not in tensors]
    unexpected = [name for name in tensors if name not in own]
    other = [n for n, t in tensors.items() if isinstance(own.get(n), torch.Tensor) and own[n].shape != t.shape]
    if missing or unexpected or other:
        shapes = [f"{n} {tuple(tensors[n].shape)} for {tuple(own[n].shape)}" for n in other]
        named = (("missing from the file", missing), ("unexpected", unexpected), ("of another shape", shapes))
        raise FactoryError(
            "the state dict does not fit what the factory builds",
            why="; ".join(f"{len(names)} {what}: {_some(names)}" for what, names in named if names),
            step="Build the network with the arguments that it was trained with, under the names of its state dict.",
        )
    try:
        with redirect_stdout(sys.stderr):
            model.load_state_dict(dict(tensors), strict=True)
            model.eval()
    except (Exception, SystemExit) as error:  # a module's own hooks may raise anything, or end the process
        raise FactoryError(
            "the state dict cannot be loaded into what the factory builds",
            why=f"{type(error).__name__}: {quoted(error, 300)}",
        ) from error
    loaded = model.state_dict()  # after eval(), which some modules change their weights in
    for name, tensor in tensors.items():
        if not torch.equal(loaded[name].detach().cpu().double(), tensor.double()):
            raise FactoryError(
                f"the tensor {quoted(name)} is not kept as the file holds it",
                why=f"the file has {tensor.dtype}, what the factory builds {loaded[name].dtype}; or the module changes it",
                step="Build the network in the file's dtype: model.to(torch.float64), for one.",
            )
    return (*state.notes, *notes)


def _check_memory(own: Mapping[str, object]) -> None:
    for name, tensor in own.items():
        if not isinstance(tensor, torch.Tensor):
            continue
        if is_lazy(tensor):
            why, step = (
                "a lazy module has no shape before its first call",
                "Build it with its sizes: Linear, not LazyLinear.",
            )
        elif tensor.is_meta:
            why, step = (
                "a meta tensor holds no numbers",
                "Build the network on the CPU, or call model.to_empty(device='cpu').",
            )
        else:
            continue
        raise FactoryError(f"the tensor {quoted(name)} of what the factory builds has no memory", why=why, step=step)


def _unprefixed(
    tensors: Mapping[str, torch.Tensor], own: Mapping[str, object]
) -> tuple[Mapping[str, torch.Tensor], tuple[str, ...]]:
    """The tensors without a wrapper's prefix, where all have it and the model's own names do not."""
    for prefix, wrapper in PREFIXES.items():
        if tensors and all(n.startswith(prefix) for n in tensors) and not any(n.startswith(prefix) for n in own):
            stripped = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
            return stripped, (f"the prefix {quoted(prefix)} of {wrapper} was taken off every name of the state dict",)
    return tensors, ()


def _some(names: list[str]) -> str:
    return ", ".join(quoted(name) for name in names[:5]) + (", ..." if len(names) > 5 else "")
