"""Modules that change their own state at every call: the next call is judged, and the state is left alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from lipverify import audit, trace
from lipverify.graph.trace import TraceError


class Stored(nn.Module):
    """Keeps what is assigned to it as it is."""

    def forward(self, x):
        return x

    def right_inverse(self, x):
        return x


class Power(nn.Module):
    """One step of a power iteration at every call, kept in a parametrized tensor; ``after`` is done to what was stored."""

    def __init__(self, after=lambda v: None) -> None:
        super().__init__()
        self.u, self.after = nn.Parameter(torch.tensor([1.0, 1.0]), requires_grad=False), after
        parametrize.register_parametrization(self, "u", Stored())

    def forward(self, weight):
        v = weight @ self.u
        self.u = v
        self.after(v)
        return weight * self.u.sum()


class Counter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.tensor(1.0))

    def forward(self, x):
        self.calls.mul_(2)
        return x * self.calls


class Remembering(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("last", torch.zeros(1, 2))

    def forward(self, x):
        y = x + self.last
        self.last.copy_(x)
        return y


def powered(**options):
    layer = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.diag(torch.tensor([2.0, 1.0])))
    parametrize.register_parametrization(layer, "weight", Power(**options))
    with torch.no_grad():
        layer.parametrizations.weight[0].u = torch.tensor([1.0, 1.0])
    return layer.eval()


@pytest.mark.parametrize(("make", "constant"), [(powered, 6), (lambda: Counter().eval(), 2)], ids=["power", "counter"])
def test_the_next_call_is_judged_with_a_note_and_the_state_stays(make, constant):
    """The layer diag(2, 1) has u = (2, 1) after its next call, of sum 3: it is diag(6, 3) then, and diag(10, 5) later."""
    model = make()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    claims = [{"layer": "", "bound": str(constant)}]
    report = audit(model, torch.zeros(1, 2), claims=claims, verifiers=["spectral", "witness"])
    row = report.regions[0]
    assert row.verdict.name == "PROVED" and row.upper == constant
    assert any("judged is the next call" in note for note in report.notes)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    program, x = trace(model, torch.zeros(1, 2)), torch.randn(1, 2)
    assert torch.allclose(program(x), model(x)) and not torch.allclose(program(x), model(x))


def test_a_module_that_remembers_its_input_is_refused():
    with pytest.raises(TraceError, match=r"(?s)changes 'last'.* one input"):
        trace(Remembering().eval(), torch.zeros(1, 2))


@pytest.mark.parametrize("write", [lambda v: v.mul_(3), lambda v: v[0].add_(1)])
def test_a_write_into_what_was_stored_is_refused(write):
    """In eager torch it changes the stored tensor as well, in a traced program it does not."""
    with pytest.raises(TraceError, match="writes into a tensor"):
        trace(powered(after=write), torch.zeros(1, 2))
