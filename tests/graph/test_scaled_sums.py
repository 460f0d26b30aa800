"""Sums that scale what they add: left + alpha right, of values and of constants, in both rooms."""

import numpy as np
import pytest
import torch

from lipverify.graph import regions, trace
from lipverify.graph.evaluation import act
from lipverify.rigor.enclose import enclose
from tests.networks import Lambda

SUMS = {
    "two values": lambda x, w: torch.add(x, x[:, :1], alpha=3),
    "two values, rounded": lambda x, w: torch.sub(x, x.flip(1), alpha=0.1),
    "a constant": lambda x, w: torch.add(x, w, alpha=-2),
    "a constant taken away": lambda x, w: torch.sub(x, w, alpha=0.1),
    "from a constant": lambda x, w: torch.sub(w, x, alpha=2.5),
    "to a constant": lambda x, w: torch.add(w, x, alpha=0.1),
    "rsub": lambda x, w: torch.rsub(x, w, alpha=3),
    "rsub of a scalar": lambda x, w: torch.rsub(x, 2.0, alpha=3),
    "plain": lambda x, w: 1 - (w - x) + w,
}


@pytest.mark.parametrize("name", SUMS)
def test_scaled_sums_are_what_torch_computes(name):
    model = Lambda(SUMS[name], torch.randn(6, generator=torch.Generator().manual_seed(3))).eval()
    program = trace(model, torch.zeros(1, 6))
    region = regions(program)[""]
    assert region.unsupported is None
    x = torch.randn(1, 6, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    truth = program(x)
    ball = enclose(program, x)
    assert ((ball.midpoint - truth).abs() <= ball.radius + 1e-14).all()
    values = {program_input: x.numpy() for program_input in program.inputs}
    for node in region.graph.nodes.values():
        values[node.name] = act(node.map, [values[name] for name in node.inputs])
    assert np.abs(values[program.outputs[0]] - truth.numpy()).max() <= 1e-7
