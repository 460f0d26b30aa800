"""A live program: the ATen operations of a traced network, their weights, and the module call each belongs to.

This is the *original*: verifiers that search or replay witnesses run it, never the graph that is derived from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from lipverify.errors import LipverifyError, quoted

REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""The dtypes of real weights."""


@dataclass(frozen=True, slots=True)
class Ref:
    """The value of that name, in the arguments of an operation."""

    name: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One ATen operation.

    Attributes:
        name: of the value that it computes, unique in the program.
        target: its ATen name with overload, e.g. ``aten.addmm.default``, or ``getitem`` for one of several results.
        args, kwargs: Python scalars, strings, None, (nested) tuples of them, and :class:`Ref` for tensors.
        calls: the module calls around it, outermost first: ``("", "features", "features.0")``; the second call of one
            module reads ``"conv@1"``.
        source: the source line, where known.
    """

    name: str
    target: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    calls: tuple[str, ...] = ("",)
    source: str = ""

    @property
    def references(self) -> tuple[str, ...]:
        """The names of the values that it reads, in order."""
        return tuple(ref.name for ref in _refs((self.args, tuple(self.kwargs.values()))))


@dataclass(frozen=True, slots=True)
class Program:
    """A straight-line program over ATen.

    Attributes:
        inputs: name -> shape of every input.
        dtype: of the inputs, except those that ``dtypes`` names.
        weights: value name -> tensor, parameters, buffers and constants.
        weight_names: value name -> the name in the model's state, e.g. ``features.0.weight``.
        operations: in an order in which every value is computed before it is read.
        outputs: names of the values returned.
        modules: every module path of the model, called or not, where known.
        extra: files that came with the model (``claims.json``, ``facts.json``).
        dtypes: of the inputs that are no real numbers (integers, masks). No constant is taken with respect to them; they
            can only be held (:func:`lipverify.read.focus.focus`).
        labels: the place of every output in what the model returns (``logits``, ``1.0``), where known.
        notes: what a reader of a report must know of how this program was made.
    """

    inputs: Mapping[str, tuple[int, ...]]
    dtype: torch.dtype
    weights: Mapping[str, torch.Tensor]
    weight_names: Mapping[str, str]
    operations: tuple[Operation, ...]
    outputs: tuple[str, ...]
    modules: tuple[str, ...] = ()
    extra: Mapping[str, bytes] = field(default_factory=dict)
    dtypes: Mapping[str, torch.dtype] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The (first) output, computed in the dtype and on the device of the inputs; differentiable."""
        return self.values(*inputs)[self.outputs[0]]

    def values(self, *inputs: torch.Tensor, override: Mapping[str, torch.Tensor] | None = None) -> dict[str, Any]:
        """Every value of the program by name; ``override`` replaces weights by others of the same shape."""
        real = [x for name, x in zip(self.inputs, inputs, strict=True) if name not in self.dtypes]
        like = real[0] if real else torch.empty(0, dtype=self.dtype)
        weights = self.weights if override is None else {**self.weights, **override}
        values: dict[str, Any] = {
            name: w.to(device=like.device, dtype=like.dtype if w.is_floating_point() else w.dtype)
            for name, w in weights.items()
        }
        values.update(zip(self.inputs, inputs, strict=True))
        for op in self.operations:
            values[op.name] = run(op, values, {self.dtype: like.dtype})
        return values

    def between(self, inputs: Mapping[str, tuple[int, ...]], outputs: Sequence[str]) -> Program:
        """The part of the program that computes ``outputs`` from the values ``inputs`` and the weights.

        Raises:
            KeyError: where an output depends on a program input that is not among ``inputs``.
        """
        by_name = {op.name: op for op in self.operations}
        needed: set[str] = set()
        stack = [name for name in outputs if name not in inputs]
        while stack:
            name = stack.pop()
            if name in needed or name in self.weights:
                continue
            if name not in by_name:
                raise KeyError(f"{name} is an input of the program, outside the part that was asked for")
            needed.add(name)
            stack.extend(r for r in by_name[name].references if r not in inputs)
        operations = tuple(op for op in self.operations if op.name in needed)
        read = {r for op in operations for r in op.references} | set(outputs)
        weights = {name: w for name, w in self.weights.items() if name in read}
        dtypes = {name: dtype for name, dtype in self.dtypes.items() if name in inputs}
        return replace(
            self,
            inputs=dict(inputs),
            outputs=tuple(outputs),
            operations=operations,
            weights=weights,
            dtypes=dtypes,
            labels=(),
        )


def run(op: Operation, values: Mapping[str, Any], dtypes: Mapping[Any, torch.dtype]) -> Any:
    """One operation on values; an explicit dtype among its arguments is replaced by ``dtypes`` of it."""
    args = substitute(op.args, lambda ref: values[ref.name])
    kwargs = {k: substitute(v, lambda ref: values[ref.name]) for k, v in op.kwargs.items()}
    if kwargs.get("dtype") in dtypes:
        kwargs["dtype"] = dtypes[kwargs["dtype"]]
    return args[0][args[1]] if op.target == "getitem" else aten(op.target)(*args, **kwargs)


def aten(target: str) -> Callable[..., Any]:
    """The ATen operator of a name such as ``aten.addmm.default``.

    Raises:
        ValueError: where the name is not of that form or torch has no such operator.
    """
    parts = target.split(".")
    if len(parts) == 3 and parts[0] == "aten" and all(p.isidentifier() for p in parts):
        packet = getattr(torch.ops.aten, parts[1], None)
        if packet is not None and hasattr(packet, parts[2]):
            return getattr(packet, parts[2])
    raise ValueError(f"{target!r} is not an ATen operator of this torch ({torch.__version__})")


def check_weights(program: Program) -> None:
    """Refuse weights that are not finite real numbers of a dtype that is computed with.

    Raises:
        LipverifyError: naming the first such tensor.
    """
    read = {r for op in program.operations for r in op.references} | set(program.outputs)
    for name, weight in program.weights.items():
        if name not in read:
            continue
        where = program.weight_names.get(name, name)
        if weight.is_complex():
            raise LipverifyError(
                f"the weight {quoted(where)} is complex ({weight.dtype})", step="Audit a real network."
            )
        if weight.is_floating_point() and weight.dtype not in REAL:
            raise LipverifyError(
                f"the weight {quoted(where)} is {weight.dtype}",
                why="such numbers are not computed with",
                step="Convert it: weight.to(torch.float32) holds the same numbers.",
            )
        if weight.is_floating_point() and not torch.isfinite(weight).all():
            raise LipverifyError(
                f"the weight {quoted(where)} contains NaN or infinity",
                why="no Lipschitz bound is true of such a network",
                step="Repair or retrain the model.",
            )


def substitute(arg: Any, value: Callable[[Ref], Any]) -> Any:
    """``arg`` with every :class:`Ref` in it replaced by ``value`` of it."""
    if isinstance(arg, Ref):
        return value(arg)
    return [substitute(a, value) for a in arg] if isinstance(arg, tuple | list) else arg


def _refs(arg: Any) -> Iterator[Ref]:
    if isinstance(arg, Ref):
        yield arg
    elif isinstance(arg, tuple | list):
        for a in arg:
            yield from _refs(a)
