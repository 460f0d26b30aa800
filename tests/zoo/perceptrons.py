"""Multilayer perceptrons: one for each activation, and for each way to hold a weight."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn.utils import parametrizations

from tests.networks import Lambda
from tests.zoo.network import Network


def perceptron(*between: nn.Module) -> nn.Module:
    """Two dense layers and what stands between them, and another activation of a slope of its own."""
    return nn.Sequential(nn.Linear(6, 10), *between, nn.Linear(10, 5))


def normalised() -> nn.Module:
    first, second = perceptron(nn.Linear(10, 10), nn.ReLU()), nn.Linear(5, 5)
    parametrizations.weight_norm(first[0])
    parametrizations.spectral_norm(first[1])
    parametrizations.orthogonal(second)
    return nn.Sequential(first, second)


ACTIVATIONS = {
    "relu": nn.ReLU(),
    "leaky relu": nn.LeakyReLU(0.1),
    "prelu": nn.PReLU(10, 0.3),
    "prelu of slope 2": nn.PReLU(1, 2.0),
    "abs": Lambda(lambda x, w: x.abs()),
    "relu6": nn.ReLU6(),
    "hardtanh": nn.Hardtanh(-0.5, 0.7),
    "clamp": Lambda(lambda x, w: x.clamp(min=-0.25)),
    "hardsigmoid": nn.Hardsigmoid(),
    "tanh": nn.Tanh(),
    "sigmoid": nn.Sigmoid(),
    "softplus": nn.Softplus(),
    "elu": nn.ELU(),
    "celu": nn.CELU(0.5),
    "selu": nn.SELU(),
    "silu": nn.SiLU(),
    "gelu": nn.GELU(),
    "gelu by tanh": nn.GELU(approximate="tanh"),
    "hardswish": nn.Hardswish(),
    "mish": nn.Mish(),
    "softsign": nn.Softsign(),
    "logsigmoid": nn.LogSigmoid(),
    "softmax": nn.Softmax(1),
    "log softmax": nn.LogSoftmax(1),
    "layer norm": nn.LayerNorm(10),
    "batch norm": nn.Sequential(nn.BatchNorm1d(10), nn.ReLU(), nn.Dropout(0.3)),
    "softshrink": nn.Softshrink(),
}
"""What stands in the middle of a perceptron."""

REFUSED = {
    "hardshrink": (nn.Hardshrink(), "aten."),
    "threshold that jumps": (nn.Threshold(0.1, 20), "aten."),
    "glu": (nn.Sequential(nn.GLU(1), nn.Linear(5, 10)), "aten."),
    "self gate": (Lambda(lambda x, w: x * torch.tanh(x)), "aten.mul.Tensor"),
    "square": (Lambda(lambda x, w: x**2), "aten.pow"),
    "exponential": (Lambda(lambda x, w: x.exp()), "aten.exp"),
    "l2 normalisation": (Lambda(lambda x, w: nn.functional.normalize(x)), "aten."),
}
"""No Lipschitz constant on the whole space, or none that is known here; and what the reason names."""

NETWORKS = {
    **{f"mlp {name}": Network(partial(perceptron, module), (1, 6)) for name, module in ACTIVATIONS.items()},
    **{
        f"mlp {name}": Network(partial(perceptron, module), (1, 6), unsupported)
        for name, (module, unsupported) in REFUSED.items()
    },
    "mlp with parametrized weights": Network(normalised, (1, 6)),
    "logistic regression": Network(lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 1), nn.Sigmoid()), (1, 1, 4, 4)),
}
