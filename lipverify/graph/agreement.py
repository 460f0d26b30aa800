"""Whether a traced program is the module that it was traced from: both are run on the same inputs and compared.

Agreement on a few inputs proves no equality. It finds what a trace cannot see: code that asks whether it is traced or whether
gradients are recorded, and state outside of parameters and buffers.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout

import torch
from torch import nn
from torch.utils import _pytree as pytree

from lipverify.errors import quoted
from lipverify.graph.signature import Example, plain_outputs
from lipverify.graph.state_changes import TraceError, restored
from lipverify.read.program import Program

TOLERANCES = {torch.float64: 1e-8, torch.float32: 1e-3, torch.bfloat16: 1e-1, torch.float16: 1e-1}
"""By the coarsest dtype computed in, relative to the largest output: far above rounding, far below another function."""
ROUNDINGS = 4
"""How many units in the last place of the largest input are nothing, where outputs cancel."""
STEP = "Give the model one behaviour: no branch on tracing or gradient mode, no state but buffers."


def called(model: nn.Module, example: Example, *, grad: bool = False) -> list[torch.Tensor]:
    """The tensors that the model returns, with its parameters and buffers put back to what they were.

    What it prints goes to stderr: stdout is the report's. Random numbers are the same in every call, for an operation that
    draws some is part of the program, and no bound is known of it.

    Raises:
        TraceError: where the model fails.
    """
    fresh = example.copy()
    try:
        with (
            restored(model),
            plain_outputs(model),
            _seeded(),
            redirect_stdout(sys.stderr),
            torch.set_grad_enabled(grad),
        ):
            output = model(*fresh.args, **fresh.kwargs)
            return [t.detach().clone() for t in pytree.tree_leaves(output) if isinstance(t, torch.Tensor)]
    except (Exception, SystemExit) as error:  # the model's own code may raise anything, or end the process
        raise TraceError(
            f"the model itself fails on an input of shape {example.shapes}",
            why=f"{type(error).__name__}: {quoted(error, 300)}",
            step="Pass inputs as the model takes them, batch axis first; a tuple of them where it takes several.",
        ) from error


def agree(
    model: nn.Module,
    program: Program,
    exported: torch.export.ExportedProgram,
    example: Example,
    first: Sequence[torch.Tensor],
) -> None:
    """Compare the module, called twice, with the program on a random input, and on the example.

    The two calls start from the same parameters and buffers, with gradients recorded and without. Held inputs that are no
    real numbers keep their values; outputs that are not finite are not compared.

    Args:
        model: the module.
        program: what was traced of it.
        exported: the same as torch has it, run where ``program`` mixes dtypes or has operators that are not ATen.
        example: the arguments of the trace.
        first: what the module returned for them before it was traced.

    Raises:
        TraceError: where two calls of the module differ, or the module and the program.
    """
    trial = example.random()
    try:
        runs = _twice(model, trial)
    except TraceError:  # random numbers may be no input of this model
        trial = example
        runs = _twice(model, trial)
    if _differ(runs[1], runs[0], _scales(runs[0], runs[1]), program.dtype, trial):
        raise TraceError(
            "the model is not a function: it gives different outputs for the same input",
            why="two calls differ that start from the same parameters and buffers",
            step=STEP,
        )
    scales = _scales(runs[0], first)
    for inputs, expected in ((trial, runs[0]), (example, first)):
        found, dtype = _of_program(program, exported, inputs)
        if _differ(found, expected, scales, dtype, inputs):
            raise TraceError(
                "the traced program is not the model: their outputs differ for the same input",
                why="code that runs in a trace only, or only outside of one, is no part of what would be judged",
                step=STEP,
            )


def _twice(model: nn.Module, example: Example) -> list[list[torch.Tensor]]:
    try:
        recorded = called(model, example, grad=True)
    except TraceError:  # some models write into parameters, which only works without gradients
        recorded = called(model, example)
    return [recorded, called(model, example)]


def _of_program(
    program: Program, exported: torch.export.ExportedProgram, example: Example
) -> tuple[list[torch.Tensor], torch.dtype]:
    """The outputs of the program, and the coarsest real dtype among its values."""
    fresh = example.copy()
    with torch.no_grad(), _seeded():
        if all(w.dtype == program.dtype for w in program.weights.values() if w.is_floating_point()):
            try:
                values = program.values(*fresh.tensors)
            except (ArithmeticError, KeyError, RuntimeError, TypeError, ValueError):  # operators that are not ATen
                fresh = example.copy()
            else:
                dtypes = [v.dtype for v in values.values() if isinstance(v, torch.Tensor) and v.dtype in TOLERANCES]
                return [values[name] for name in program.outputs], max(dtypes, key=lambda d: torch.finfo(d).eps)
        try:
            output = exported.module()(*fresh.args, **fresh.kwargs)
        except Exception as error:  # operators may raise anything
            raise TraceError(
                "the traced program cannot be run, so it cannot be compared with the model",
                why=f"{type(error).__name__}: {quoted(error, 300)}",
            ) from error
    found = [t for t in pytree.tree_leaves(output) if isinstance(t, torch.Tensor)]
    dtypes = [program.dtype, *(w.dtype for w in program.weights.values() if w.dtype in TOLERANCES)]
    return found, max(dtypes, key=lambda d: torch.finfo(d).eps)


def _scales(*runs: Sequence[torch.Tensor]) -> list[float]:
    """The largest finite size of every output, over all runs."""
    sizes = [[float(t.double().nan_to_num(0, 0, 0).abs().max()) if _real(t) else 0.0 for t in run] for run in runs]
    return [max(each) for each in zip(*sizes, strict=False)]


def _differ(
    found: Sequence[torch.Tensor],
    expected: Sequence[torch.Tensor],
    scales: Sequence[float],
    dtype: torch.dtype,
    example: Example,
) -> bool:
    largest = max(_scales([t for t in example.tensors if t.is_floating_point()]), default=0.0)
    floor = ROUNDINGS * torch.finfo(dtype).eps * largest
    if len(found) != len(expected) or any(f.shape != e.shape for f, e in zip(found, expected, strict=True)):
        return True
    for f, e, scale in zip(found, expected, scales, strict=True):
        if _real(e) and bool(torch.isfinite(e).all()):
            error = (f.double() - e.double()).abs()
            tolerance = max(TOLERANCES[dtype], TOLERANCES.get(e.dtype, 0.0)) * scale + floor
            if not bool((error <= tolerance).all()):  # NaN differs
                return True
    return False


def _real(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point() and tensor.numel() > 0


@contextmanager
def _seeded() -> Iterator[None]:
    """Without warnings, and with random numbers that are the same every time; those of the caller are left alone."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.default_generator.manual_seed(0)
        yield
