"""Lowering rules of normalisation: by stored statistics (affine), by the value's own (Lipschitz), softmax and norms."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np

from lipverify.graph.convolutions import reshaped
from lipverify.graph.intervals import enclose, interval
from lipverify.graph.scope import Lowered, NotLowered, Scope, affine, arguments, dimensions
from lipverify.maps import Array, Diagonal, Enclosure, Lipschitz, Shape, size
from lipverify.read.program import Operation

WITHIN = "y / sqrt(|y|^2 / n + eps) has a symmetric Jacobian with eigenvalues in [0, 1 / sqrt(eps)]; centring projects"


def stored_statistics(op: Operation, scope: Scope) -> Lowered:
    """Batch norm outside training: x -> gamma (x - mean) / sqrt(var + eps) + beta, by intervals rounded outward."""
    given = arguments(op)
    if given.get("training", False) or given.get("use_input_stats", False):
        raise NotLowered("normalisation by the statistics of its batch")
    if given["running_mean"] is None or given["running_var"] is None:
        raise NotLowered("normalisation without stored statistics")
    value = scope.value(given["input"])
    shape = scope.shapes[value]
    if len(shape) < 2:
        raise NotLowered(f"batch norm of a value of shape {shape}")
    mean, variance, eps = (scope.weight(given[key]) for key in ("running_mean", "running_var", "eps"))
    gamma = Enclosure(np.ones(1)) if given["weight"] is None else scope.weight(given["weight"])
    beta = Enclosure(np.zeros(1)) if given["bias"] is None else scope.weight(given["bias"])
    with np.errstate(all="ignore"):
        factor = interval(gamma) / (interval(variance) + interval(eps)).sqrt()
        offset = interval(beta) - interval(mean) * factor
    channels = (-1,) + (1,) * (len(shape) - 2)
    return affine(Diagonal(reshaped(enclose(factor), channels), shape), reshaped(enclose(offset), channels), value)


def own_statistics(op: Operation, scope: Scope) -> Lowered:
    """Layer, group, instance and root-mean-square norm: max |gamma| / sqrt(eps).

    For each group of n entries y / s with s = sqrt(|y|^2 / n + eps) has the Jacobian (I - y y^T / (n s^2)) / s, symmetric,
    with eigenvalues 1 / s and eps / s^3, both at most 1 / sqrt(eps).
    """
    given = arguments(op)
    shape = scope.shape(given["input"])
    groups, centred = _groups(op, given, shape)
    eps = given["eps"]
    if eps is None:
        raise NotLowered("a normalisation whose epsilon is left to the machine")
    least = Fraction(float(interval(scope.weight(eps))[0]))
    if least <= 0:
        raise NotLowered("a normalisation with epsilon 0 has no Lipschitz constant")
    gamma = None if given.get("weight") is None else _of_channels(scope.weight(given["weight"]), op, shape)
    beta = None if given.get("bias") is None else _of_channels(scope.weight(given["bias"]), op, shape)
    largest = Fraction(1) if gamma is None else max(abs(Fraction(float(end.flat[i]))) for end, i in _largest(gamma))

    def function(x: Array) -> Array:
        y = x.reshape(groups)
        y = y - y.mean(-1, keepdims=True) if centred else y
        y = (y / np.sqrt((y * y).mean(-1, keepdims=True) + float(eps))).reshape(shape)
        y = y if gamma is None else y * gamma.midpoint
        return y if beta is None else y + beta.midpoint

    name = op.target.split(".")[1].removeprefix("native_").replace("_", " ").strip()
    return Lipschitz(name, shape, scope.shapes[op.name], largest**2 / least, WITHIN, function), (
        scope.value(given["input"]),
    )


def _groups(op: Operation, given: dict[str, Any], shape: Shape) -> tuple[Shape, bool]:
    """The shape (groups, entries of each) in which each group is normalised, and whether it is centred."""
    name = op.target.split(".")[1]
    if name in ("layer_norm", "native_layer_norm", "rms_norm"):
        n = prod(given["normalized_shape"])
        return (size(shape) // n, n), name != "rms_norm"
    if len(shape) < 2 or not size(shape):
        raise NotLowered(f"normalisation of a value of shape {shape}")
    if name in ("group_norm", "native_group_norm"):
        groups = (given["num_groups"] if name == "group_norm" else given["group"]) * shape[0]
        return (groups, size(shape) // groups), True
    if name == "instance_norm" and given["use_input_stats"]:
        return (shape[0] * shape[1], prod(shape[2:])), True
    if name == "_native_batch_norm_legit" and given["training"] and shape[0] == 1:
        return (shape[1], prod(shape[2:])), True
    raise NotLowered("normalisation by the statistics of its batch")


def _of_channels(x: Enclosure, op: Operation, shape: Shape) -> Enclosure:
    """A weight of the last axes (layer norm) as it is; one of the channels along axis 1."""
    if op.target.split(".")[1] in ("layer_norm", "native_layer_norm", "rms_norm"):
        return x
    return reshaped(x, (-1,) + (1,) * (len(shape) - 2))


def _largest(gamma: Enclosure) -> list[tuple[Array, int]]:
    """The ends of the interval, each with the index of its largest magnitude."""
    return [(end, int(np.abs(end).argmax())) for end in interval(gamma)]


def instance(op: Operation, scope: Scope) -> Lowered:
    """Instance norm, by its own statistics or by stored ones."""
    return (own_statistics if arguments(op)["use_input_stats"] else stored_statistics)(op, scope)


def softmax(op: Operation, scope: Scope) -> Lowered:
    """The Jacobian diag(p) - p p^T is symmetric, its rows sum to 2 p_i (1 - p_i) in magnitude: at most 1/2."""
    why = "the rows of diag(p) - p p^T sum to 2 p (1 - p) <= 1/2 in magnitude"

    def function(x: Array, axis: int) -> Array:
        e = np.exp(x - x.max(axis, keepdims=True))
        return e / e.sum(axis, keepdims=True)

    return _along(op, scope, "softmax", lambda n: Fraction(1, 4), why, function)


def log_softmax(op: Operation, scope: Scope) -> Lowered:
    """The Jacobian is I - 1 p^T, |I - 1 p^T|^2 convex in p and n or less where p is a vertex."""
    why = "the norm of I - 1 p^T is convex in p, and sqrt(n) at the vertices of the simplex"

    def function(x: Array, axis: int) -> Array:
        shifted = x - x.max(axis, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))

    return _along(op, scope, "log softmax", Fraction, why, function)


def _along(
    op: Operation,
    scope: Scope,
    name: str,
    square: Callable[[int], Fraction],
    why: str,
    function: Callable[[Array, int], Array],
) -> Lowered:
    given = arguments(op)
    shape = scope.shape(given["self"])
    if given.get("dtype") not in (None, scope.dtype) or given.get("half_to_float", False):
        raise NotLowered(f"{name} in another dtype")
    if not shape:
        raise NotLowered(f"{name} of a single number")
    axis = given["dim"] % len(shape)
    map_ = Lipschitz(name, shape, shape, square(shape[axis]), why, lambda x: function(x, axis))
    return map_, (scope.value(given["self"]),)


def euclidean(op: Operation, scope: Scope) -> Lowered:
    """The l2 norm over axes: 1-Lipschitz by the triangle inequality, on each of the disjoint parts."""
    given = arguments(op)
    order = given["ord"] if "ord" in given else given["p"]
    if order not in (2, 2.0, None) or given.get("dtype") not in (None, scope.dtype):
        raise NotLowered(f"a norm of order {order}")
    shape, output = scope.shape(given["self"]), scope.shapes[op.name]
    axes = dimensions(given["dim"], len(shape))
    map_ = Lipschitz(
        "l2 norm",
        shape,
        output,
        Fraction(1),
        "the triangle inequality",
        lambda x: np.sqrt((x * x).sum(axis=axes)).reshape(output),
    )
    return map_, (scope.value(given["self"]),)


def logsumexp(op: Operation, scope: Scope) -> Lowered:
    """The gradient is a softmax, of length at most its sum, 1."""
    given = arguments(op)
    shape, output = scope.shape(given["self"]), scope.shapes[op.name]
    axes = dimensions(given["dim"], len(shape))

    def function(x: Array) -> Array:
        largest = x.max(axis=axes, keepdims=True)
        return (largest + np.log(np.exp(x - largest).sum(axis=axes, keepdims=True))).reshape(output)

    why = "its gradient is a softmax, whose length is at most its sum"
    return Lipschitz("logsumexp", shape, output, Fraction(1), why, function), (scope.value(given["self"]),)
