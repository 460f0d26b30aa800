"""auto_LiRPA (Xu et al. 2020) on a current torch: imported and run with its missing symbols in place, and nothing left behind.

The newest release on PyPI, 0.3, was written for torch < 1.13 and numpy < 2. Four things are missing today; each is supplied
while a :func:`session` is open and taken away after it. A newer auto_LiRPA runs as it is.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import sys
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch

INSTALL = (
    "pip install appdirs tqdm setuptools && pip install --no-deps auto_LiRPA==0.3"
    " (--no-deps: its metadata demands torch < 1.13, which it does not need through this adapter)"
)


class Unavailable(ImportError):
    """auto_LiRPA cannot be used here; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Library:
    """What is used of auto_LiRPA.

    Attributes:
        version: of the distribution.
        dtype: in which it computes.
        module: (model, example inputs) -> its BoundedModule, by matrices (never patches).
        tensor: BoundedTensor.
        ball: PerturbationLpNorm.
    """

    version: str
    dtype: torch.dtype
    module: Any
    tensor: Any
    ball: Any


@contextlib.contextmanager
def session(dtype: torch.dtype = torch.float64) -> Iterator[Library]:
    """auto_LiRPA, usable until the block ends, in ``dtype``, silent, without gradients.

    Restores the warning filters, the root logger's handlers and level, torch's default dtype and its ONNX opset, every
    patched symbol and standard output. Not for several threads at once.

    Raises:
        Unavailable: where it is not installed or does not import.
    """
    try:
        found = version("auto_LiRPA")
    except PackageNotFoundError:
        raise Unavailable(f"auto_LiRPA is not installed: {INSTALL}") from None
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings(record=True))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(_logging_kept())
        stack.enter_context(torch.no_grad())
        if found.startswith("0.3"):
            stack.enter_context(_patches())
        try:
            library = importlib.import_module("auto_LiRPA")
        except Exception as error:
            raise Unavailable(f"auto_LiRPA {found} does not import ({error}); {INSTALL}") from error
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        torch.set_default_dtype(dtype)
        bounded = _bounded_module(library.BoundedModule) if found.startswith("0.3") else library.BoundedModule
        yield Library(found, dtype, bounded, library.BoundedTensor, library.PerturbationLpNorm)


def build(library: Library, model: torch.nn.Module, first: torch.Tensor, *others: torch.Tensor) -> Any:
    """The BoundedModule of a model, by matrices: patches are wrong on some maps of 0.3, sparse bounds need them."""
    options = {"conv_mode": "matrix", "sparse_intermediate_bounds": False, "verbosity": 0}
    model = model.to(library.dtype)
    return library.module(model, (first, *others) if others else first, bound_opts=options)


def _bounded_module(base: type) -> type:
    class Bounded(base):
        """Patch 4: torch passes ``remove_duplicate``, which the override of 0.3 does not know."""

        def _named_members(self, get_members_fn, prefix="", recurse=True, remove_duplicate=True, **kwargs):
            return super()._named_members(get_members_fn, prefix, recurse)

    return Bounded


@contextlib.contextmanager
def _patches() -> Iterator[None]:
    """Patches 1 to 3: numpy.lib.arraysetops, torch.onnx's opset setter, subscripts of graph nodes."""
    import torch.onnx.symbolic_helper as helper
    import torch.onnx.utils

    options = _onnx_options()
    opset = options.export_onnx_opset_version
    node: Any = torch._C.Node
    undo: list[tuple[Any, str]] = []
    stub = "numpy.lib.arraysetops" not in sys.modules and not hasattr(np.lib, "arraysetops")
    try:
        if stub:
            module: Any = types.ModuleType("numpy.lib.arraysetops")
            module.isin = np.isin
            sys.modules["numpy.lib.arraysetops"] = module
        if not hasattr(helper, "_set_opset_version"):
            helper._set_opset_version = lambda number: setattr(options, "export_onnx_opset_version", number)  # type: ignore
            undo.append((helper, "_set_opset_version"))
        if not hasattr(node, "__getitem__"):
            node.__getitem__ = lambda self, key: getattr(self, self.kindOf(key))(key)
            undo.append((node, "__getitem__"))
        yield
    finally:
        for owner, name in undo:
            delattr(owner, name)
        if stub:
            sys.modules.pop("numpy.lib.arraysetops", None)
        options.export_onnx_opset_version = opset


def _onnx_options() -> Any:
    """torch's record of ONNX export options, which has moved between releases.

    Raises:
        Unavailable: where this torch has none.
    """
    for place in ("torch.onnx._internal.torchscript_exporter._globals", "torch.onnx._globals"):
        with contextlib.suppress(ImportError):
            return importlib.import_module(place).GLOBALS
    raise Unavailable(f"auto_LiRPA 0.3 cannot run on torch {torch.__version__}: torch.onnx has no export options")


@contextlib.contextmanager
def _logging_kept() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, disabled = list(root.handlers), root.level, logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(disabled)
        for handler in list(root.handlers):
            if handler not in handlers:
                root.removeHandler(handler)
        root.setLevel(level)
