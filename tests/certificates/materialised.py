"""Arrays and linear maps of a certificate as float64 arrays and matrices: by their definitions, in numpy.

Where an array has radii, its entries are taken at the largest size that they allow: one array of those it may be.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np

Tree = Any
"""Parsed JSON."""
Stored = Mapping[str, tuple[str, tuple[int, ...], bytes]]
"""Weights: name -> (dtype as in safetensors, shape, little-endian bytes in C order)."""
Linear = Callable[[np.ndarray], np.ndarray]
"""What the linear part of a map does to a stack of arrays of its input shape."""

LARGEST = 1 << 20
"""Entries of the largest matrix that is materialised."""


class Untrue(Exception):
    """Something stated that is not so, or that says nothing."""


def demand(holds: object, what: str) -> None:
    if not holds:
        raise Untrue(what)


def canonical(value: Tree) -> bytes:
    """The canonical form."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def bound(text: str) -> float:
    """A bound: finite and with no sign."""
    demand(isinstance(text, str) and not text.startswith("-"), f"the bound {text!r}")
    number = float.fromhex(text)
    demand(np.isfinite(number), f"the bound {text}")
    return number


def entries(dtype: str, shape: Sequence[int], data: bytes) -> np.ndarray:
    """A tensor of a safetensors file in float64."""
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").astype(np.float64).reshape(shape)
    code = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8", "U8": "u1"}
    return np.frombuffer(data, code[dtype]).astype(np.float64).reshape(shape)


FOLDS: dict[str, Callable[..., np.ndarray]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "neg": np.negative,
    "sqrt": np.sqrt,
    "square": np.square,
    "abs": np.abs,
    "reciprocal": np.reciprocal,
}


class Maps:
    """The linear maps of one certificate.

    Attributes:
        stated: the names of the weights that the certificate has digests of.
    """

    def __init__(self, stated: Tree, weights: Stored) -> None:
        self.stated, self._weights = stated, weights
        self._matrices: dict[bytes, np.ndarray] = {}

    def array(self, value: Tree) -> np.ndarray:
        """An array, or an expression of a fold."""
        if isinstance(value, list):
            operation, *operands = value
            if operation == "sum":
                return self.array(operands[0]).sum(axis=tuple(operands[1]), keepdims=True)
            with np.errstate(all="ignore"):  # what is not finite is refused below
                return FOLDS[operation](*(self.array(operand) for operand in operands))
        shape = value["shape"]
        if "weight" in value:
            demand(value["weight"] in self.stated, f"{value['weight']} has no digest")
            found = entries(*self._weights[value["weight"]])
            if value.get("transposed"):  # of a kernel, the kernel of the adjoint
                found = np.flip(found.swapaxes(0, 1), tuple(range(2, found.ndim)))
        elif "numbers" in value:
            runs = [(n, 1) if isinstance(n, str) else n for n in value["numbers"]]
            demand(all(type(count) is int and 0 < count <= LARGEST for _, count in runs), "the runs of numbers")
            found = np.concatenate([np.full(count, float.fromhex(n)) for n, count in runs])
            if value.get("radii") is not None:
                found = found + np.where(found < 0, -1, 1) * [bound(n) for n in value["radii"]]
        else:
            found = self.array(value["fold"])
        demand(np.isfinite(found).all() and min(shape, default=0) >= 0, "numbers that are not finite")
        return np.ascontiguousarray(found).reshape(shape)

    def matrix(self, map_: Tree, shape: tuple[int, ...]) -> np.ndarray:
        """The matrix (outputs, inputs) of the linear part of a map."""
        key = canonical([{k: v for k, v in map_.items() if k != "bias"}, shape])
        if key not in self._matrices:
            demand(prod(shape) ** 2 <= LARGEST, "a map that is too large to be looked at")
            count = prod(shape)
            made = self.action(map_, shape)(np.eye(count).reshape(count, *shape))
            self._matrices[key] = made.reshape(count, prod(made.shape[1:])).T
        return self._matrices[key]

    def action(self, map_: Tree, shape: tuple[int, ...]) -> Linear:
        """
        Raises:
            Untrue, or what numpy raises: where it is no linear map of values of that shape.
        """
        match map_["kind"]:
            case "dense":
                weight = self.array(map_["weight"])
                demand(weight.ndim == 2, "a weight that is no matrix")
                return lambda x: x @ weight.T
            case "convolution":
                return self._convolution(map_, shape)
            case "adjoint":
                inside = tuple(map_["of"]["input"])
                matrix = self.matrix(map_["of"], inside)
                outer = self.action(map_["of"], inside)(np.zeros((1, *inside))).shape[1:]
                demand(outer == shape, "the adjoint of a map to another shape")
                return lambda x: (x.reshape(len(x), -1) @ matrix).reshape(len(x), *inside)
            case "diagonal":
                factor = self.array(map_["factor"])
                demand(np.broadcast_shapes(factor.shape, shape) == shape, "a diagonal")
                return lambda x: x * factor
            case "separable":
                return self._separable(map_)
            case "gather":
                runs = [first + step * np.arange(count) for first, step, count in map_["runs"]]
                index = np.concatenate(runs) if runs else np.zeros(0, int)
                demand(((index >= -1) & (index < prod(shape))).all(), "a gather beyond its input")

                def gathered(x: np.ndarray) -> np.ndarray:
                    flat = np.append(x.reshape(len(x), -1), np.zeros((len(x), 1)), 1)
                    return flat[:, index].reshape(len(x), *map_["output"])

                return gathered
            case "rearrange":
                axes = range(len(shape)) if map_["axes"] is None else map_["axes"]
                return lambda x: x.transpose(0, *(a + 1 for a in axes)).reshape(len(x), *map_["output"])
            case "pad":
                return lambda x: np.pad(x, [(0, 0), *map_["pads"]], mode="wrap" if map_["circular"] else "constant")
        raise Untrue(f"the kind {map_['kind']!r}")

    def _separable(self, map_: Tree) -> Linear:
        factors = [(axis, self.array(matrix)) for axis, matrix in map_["factors"]]
        demand(len({axis for axis, _ in factors}) == len(factors), "an axis twice")
        demand(min((axis for axis, _ in factors), default=0) >= 0, "an axis below 0")
        scale = float(Fraction(*map_["scale"]))

        def along(x: np.ndarray) -> np.ndarray:
            for axis, matrix in factors:
                x = np.moveaxis(np.tensordot(x, matrix, (axis + 1, 1)), -1, axis + 1)
            return scale * x.reshape(len(x), *map_["output"])

        return along

    def _convolution(self, map_: Tree, shape: tuple[int, ...]) -> Linear:
        """Tap by tap."""
        kernel, axes = self.array(map_["kernel"]), range(len(shape) - 2)
        pads, stride, dilation, groups = (map_[key] for key in ("pads", "stride", "dilation", "groups"))
        demand(len(pads) == len(stride) == len(dilation) == len(axes) == kernel.ndim - 2, "the image axes")
        demand(len(axes) in (1, 2) and min(*stride, *dilation, groups) >= 1, "no convolution")
        demand(kernel.shape[1] * groups == shape[1] and kernel.shape[0] % groups == 0, "the channels")
        mode = "wrap" if map_["circular"] else "constant"
        sides = [shape[2 + a] + sum(pads[a]) - dilation[a] * (kernel.shape[2 + a] - 1) for a in axes]
        demand(min(sides) >= 1, "a kernel that is larger than the image")
        image = [(side - 1) // s + 1 for side, s in zip(sides, stride, strict=True)]
        split = kernel.reshape(groups, -1, *kernel.shape[1:])

        def correlate(x: np.ndarray) -> np.ndarray:
            x = np.pad(x, [(0, 0)] * 3 + list(pads), mode=mode)
            made = np.zeros((*x.shape[:2], groups, split.shape[1], prod(image)))
            for tap in np.ndindex(*kernel.shape[2:]):
                first = [t * d for t, d in zip(tap, dilation, strict=True)]
                parts = [slice(f, f + s * (m - 1) + 1, s) for f, s, m in zip(first, stride, image, strict=True)]
                made += split[(..., *tap)] @ x[(..., *parts)].reshape(*x.shape[:2], groups, -1, prod(image))
            return made.reshape(*x.shape[:2], kernel.shape[0], *image)

        return correlate
