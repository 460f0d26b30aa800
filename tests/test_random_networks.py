"""300 random small networks of known constants: no rigorous interval excludes the truth, and none is in conflict.

One hidden layer with linearly independent rows realises every pattern of its ReLUs whatever the biases, so the constant
is the largest norm over all patterns. Of two such layers in sequence the largest norm over all pairs of patterns is
above the constant and the largest over sampled inputs below it.
"""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from lipverify.actions import apply
from lipverify.auditing import audit
from lipverify.graph import trace
from lipverify.maps import Convolution, Enclosure
from lipverify.verdict import Verdict
from lipverify.verifiers.sdp import SDP
from tests.networks import ConvBlock, DenseBlock

DRAWS = 30


def patterns(n: int):
    return product((0.0, 1.0), repeat=n)


def norm(matrix: np.ndarray) -> float:
    return float(np.linalg.norm(matrix, 2)) if matrix.size else 0.0


def hidden(first: np.ndarray, last: np.ndarray) -> float:
    return max(norm(last @ np.diag(d) @ first) for d in patterns(len(first)))


def block(v: np.ndarray, h: float = 1.0) -> float:
    return max(norm(np.eye(v.shape[1]) - h * v.T @ np.diag(d) @ v) for d in patterns(len(v)))


def unrolled(kernel: np.ndarray, shape, pads: int, circular: bool = False) -> np.ndarray:
    conv = Convolution(Enclosure(kernel), shape, ((pads, pads), (pads, pads)), circular)
    size = int(np.prod(shape))
    return np.stack([apply(conv, e.reshape(shape)).reshape(-1) for e in np.eye(size)], axis=1)


IMAGE = (1, 3, 2, 2)
NETWORKS = {
    "dense": (nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)), (1, 6), lambda w: hidden(*w)),
    "dense to one": (nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 1)), (1, 5), lambda w: hidden(*w)),
    "linear": (nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4)), (1, 6), lambda w: norm(w[1] @ w[0])),
    "abs": (None, (1, 6), lambda w: max(norm(w[1] @ np.diag(s) @ w[0]) for s in product((-1.0, 1.0), repeat=5))),
    "cpl dense": (DenseBlock(6, 4), (1, 6), lambda w: block(w[0])),
    "cpl dense with step": (DenseBlock(6, 4, h=0.7), (1, 6), lambda w: block(w[0], 0.7)),
    "cpl convolution": (ConvBlock(3, 1), IMAGE, lambda w: block(unrolled(w[0], IMAGE, 1))),
    "cpl circular": (ConvBlock(3, 1, circular=True), IMAGE, lambda w: block(unrolled(w[0], IMAGE, 1, True))),
    "convolution": (nn.Conv2d(3, 2, 3, padding=1), IMAGE, lambda w: norm(unrolled(w[0], IMAGE, 1))),
    "convolution, relu, dense": (
        nn.Sequential(nn.Conv2d(3, 1, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4, 3)),
        IMAGE,
        lambda w: hidden(unrolled(w[0], IMAGE, 1), w[1]),
    ),
}


class Absolute(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 5), nn.Linear(5, 4)

    def forward(self, x):
        return self.last(self.first(x).abs())


@pytest.mark.parametrize("name", NETWORKS)
def test_no_rigorous_interval_excludes_the_truth(name):
    model, shape, truth = NETWORKS[name]
    program = trace((model or Absolute()).eval(), torch.zeros(shape))
    generator = torch.Generator().manual_seed(7)
    for draw in range(DRAWS):
        scale = 2.0 ** (draw % 7 - 3)
        weights = {k: scale * torch.randn(w.shape, generator=generator) for k, w in program.weights.items()}
        matrices = [w.double().numpy() for k, w in weights.items() if w.ndim > 1]
        known = truth(matrices)
        report = audit(replace(program, weights=weights), verifiers=["spectral", SDP(), "witness"])
        row = report.regions[0]
        assert row.path == "" and row.upper is not None and row.lower is not None
        for evidence in row.evidence:
            if evidence.lower is not None:
                assert float(evidence.lower) <= known * (1 + 1e-9), (evidence.verifier, draw)
            if evidence.upper is not None:
                assert float(evidence.upper) >= known * (1 - 1e-9), (evidence.verifier, draw)
        assert not report.mismatches and row.verdict is not Verdict.CONFLICT


def test_two_blocks_in_sequence_stay_between_sampled_and_enumerated_constants():
    program = trace(nn.Sequential(DenseBlock(5, 3), DenseBlock(5, 3)).eval(), torch.zeros(1, 5))
    generator = torch.Generator().manual_seed(8)
    for _ in range(10):
        weights = {k: torch.randn(w.shape, generator=generator) for k, w in program.weights.items()}
        drawn = replace(program, weights=weights)
        v, w = (m.double().numpy() for m in weights.values() if m.ndim > 1)
        eye = np.eye(5)
        most = max(
            norm((eye - w.T @ np.diag(e) @ w) @ (eye - v.T @ np.diag(d) @ v)) for d in patterns(3) for e in patterns(3)
        )
        least = 0.0
        for _ in range(50):
            x = 3 * torch.randn(1, 5, generator=generator, dtype=torch.float64)
            j = torch.autograd.functional.jacobian(drawn, x).reshape(5, 5)
            least = max(least, float(torch.linalg.matrix_norm(j, 2)))
        report = audit(drawn, verifiers=["spectral", SDP(), "witness"])
        row = report.regions[0]
        assert float(row.upper) >= least * (1 - 1e-9) and float(row.lower) <= most * (1 + 1e-9)
        assert not report.mismatches
