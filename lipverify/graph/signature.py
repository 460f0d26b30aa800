"""What a model takes and returns: arguments from an example, and places in what it returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """The arguments of one call of a model."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def tensors(self) -> list[torch.Tensor]:
        """Every tensor in them, in order."""
        return [leaf for leaf in pytree.tree_leaves((self.args, self.kwargs)) if isinstance(leaf, torch.Tensor)]

    @property
    def shapes(self) -> str:
        return ", ".join(str(tuple(t.shape)) for t in self.tensors)

    @property
    def kind(self) -> str:
        """The types of the arguments, in words."""
        return ", ".join(type(a).__name__ for a in (*self.args, *self.kwargs.values())) or "empty"

    def copy(self) -> Example:
        """The same arguments with tensors of their own: a model may write into what it is given."""
        args, kwargs = pytree.tree_map_only(torch.Tensor, lambda t: t.detach().clone(), (self.args, self.kwargs))
        return Example(args, kwargs)

    def random(self) -> Example:
        """Normal numbers of the same shapes and dtypes, the same ones every time; what is no real number stays."""
        generator = torch.Generator().manual_seed(0)

        def draw(t: torch.Tensor) -> torch.Tensor:
            if not t.is_floating_point():
                return t
            return torch.randn(t.shape, generator=generator, dtype=torch.float64, device="cpu").to(t)

        args, kwargs = pytree.tree_map_only(torch.Tensor, draw, (self.args, self.kwargs))
        return Example(args, kwargs)


def as_example(example: Any) -> Example:
    """A tensor is the only argument, a tuple or list all of them, a mapping the keyword arguments."""
    if isinstance(example, Mapping):
        found = Example((), {str(name): value for name, value in example.items()})
    elif isinstance(example, tuple | list):
        found = Example(tuple(example), {})
    else:
        found = Example((example,), {})
    return found.copy()


@contextmanager
def plain_outputs(model: nn.Module) -> Iterator[None]:
    """While this lasts, ``model`` returns mappings where it returned dataclasses that torch does not know.

    torch.export knows tuples, lists, dicts, named tuples and registered dataclasses. Registering one would outlast the
    audit; a hook on the model does not.
    """
    handle = model.register_forward_hook(lambda module, args, output: _plain(output))
    try:
        yield
    finally:
        handle.remove()


def places(spec: Any) -> list[str]:
    """The place of every leaf of a returned value: ``logits``, ``1.0``; ``""`` for a single tensor."""
    leaves, _ = pytree.tree_flatten_with_path(pytree.tree_unflatten([0] * spec.num_leaves, spec))
    return [".".join(_step(key) for key in path) for path, _ in leaves]


def _plain(value: Any) -> Any:
    kind: Any = type(value)
    if kind in (list, tuple):
        return kind(_plain(item) for item in value)
    if kind is dict or (isinstance(value, Mapping) and kind not in pytree.SUPPORTED_NODES):  # ModelOutput, for one
        return {key: _plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(kind) and kind not in pytree.SUPPORTED_NODES:
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(kind)}
    return value


def _step(key: Any) -> str:
    return str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", key))))
