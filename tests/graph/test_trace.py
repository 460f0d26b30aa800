"""What a live model takes and returns: several inputs, containers, effects, and what has no program."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from lipverify.errors import LipverifyError
from lipverify.graph import regions, trace
from lipverify.read.focus import focus

Pair = namedtuple("Pair", "left right")


@dataclass
class Unregistered:
    logits: torch.Tensor
    hidden: tuple[torch.Tensor, ...] | None = None
    loss: torch.Tensor | None = None


class Returns(nn.Module):
    """A linear layer and whatever ``wrap`` makes of its result."""

    def __init__(self, wrap) -> None:
        super().__init__()
        self.linear, self.wrap = nn.Linear(3, 2), wrap

    def forward(self, x):
        return self.wrap(self.linear(x))


class Conditioned(nn.Module):
    """x and a float condition are added; an embedded token scales; a flag is part of the program."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.table = nn.Linear(3, 3, bias=False), nn.Embedding(5, 3)

    def forward(self, x, time=None, token=None, *, double=False):
        y = self.linear(x)
        y = y if time is None else y + 2 * time
        y = y if token is None else y * self.table(token)
        return {"y": 2 * y if double else y, "norm": x.sum()}


X = torch.ones(1, 3)

OUTPUTS = {
    "tensor": (lambda y: y, ("",)),
    "list": (lambda y: [y, None, 3, y + 1], ("0", "3")),
    "dict": (lambda y: {"logits": y, "aux": [y * 2]}, ("logits", "aux.0")),
    "namedtuple": (lambda y: Pair(y, 2 * y), ("left", "right")),
    "dataclass": (lambda y: Unregistered(y, (y + 1,)), ("logits", "hidden.0")),
    "nested": (lambda y: [Unregistered(y)], ("0.logits",)),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs_are_named_by_their_place(name):
    wrap, labels = OUTPUTS[name]
    model = Returns(wrap).eval()
    program = trace(model, X)
    assert program.labels == labels and len(program.outputs) == len(labels)
    assert torch.equal(program(X), model.linear(X)) and not model._forward_hooks
    assert "linear" in regions(program)


def test_arguments_may_be_several_named_left_out_or_plain_values():
    model = Conditioned().eval()
    for example, names in [
        (X, ["x"]),
        ((X, torch.ones(1, 3)), ["x", "time"]),
        ((X, None, torch.tensor([1])), ["x", "token"]),
        ({"x": X, "time": torch.ones(1), "double": True}, ["x", "time"]),
    ]:
        program = trace(model, example)
        assert list(program.inputs) == names
    assert program.labels == ("y", "norm")
    assert torch.equal(program(X, torch.ones(1)), 2 * (model.linear(X) + 2))


def test_focus_holds_the_other_inputs_and_picks_an_output():
    model = Conditioned().eval()
    program = trace(model, (X, torch.ones(1, 3), torch.tensor([1])))
    assert program.dtypes == {"token": torch.int64}
    part = focus(program, "x", "y", {"time": 0.5, "token": torch.tensor([2])})
    x = torch.rand(1, 3)
    assert torch.equal(part(x), model(x, torch.full((1, 3), 0.5), torch.tensor([2]))["y"])
    assert list(part.inputs) == ["x"] and len(part.outputs) == 1 and len(part.notes) == 3
    by_time = focus(program, output=0, held={"x": X, "token": [1]})
    assert list(by_time.inputs) == ["time"]
    whole = regions(part)[""]
    assert whole.program is not None and torch.equal(whole.program(x), part(x))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ["2 real inputs", "'x'", "'token'", "--hold"]),
        ({"input": "x", "output": "y"}, ["'time' has no value"]),
        ({"input": "z"}, ["no input 'z'"]),
        ({"input": "token"}, ["only be held"]),
        ({"input": "x", "held": {"x": 0}}, ["both"]),
        ({"input": "x", "held": {"time": 0, "token": 1}}, ["2 outputs", "--of"]),
        ({"input": "x", "output": "z", "held": {"time": 0, "token": 1}}, ["no output 'z'", "'norm'"]),
        ({"input": "x", "output": 2, "held": {"time": 0, "token": 1}}, ["no output '2'"]),
        ({"input": "x", "output": "y", "held": {"time": torch.ones(2), "token": 1}}, ["shape is (2,)"]),
        (
            {"input": "x", "output": "y", "held": {"time": torch.full((1, 3), 0.1).double() + 1e-12, "token": 1}},
            ["exactly"],
        ),
        ({"input": "x", "output": "y", "held": {"time": float("nan"), "token": 1}}, ["no number"]),
        ({"input": "x", "output": "y", "held": {"time": 0, "token": 1.5}}, ["exactly"]),
    ],
)
def test_a_focus_that_is_not_clear_is_refused(options, words):
    program = trace(Conditioned().eval(), (X, torch.ones(1, 3), torch.tensor([1])))
    with pytest.raises(LipverifyError) as error:
        focus(program, **options)
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize("map_", ["cayley", "matrix_exp", "householder"])
def test_orthogonal_parametrizations_have_a_program(map_):
    model = parametrizations.orthogonal(nn.Linear(4, 4), orthogonal_map=map_).eval()
    program = trace(model, torch.ones(1, 4))
    assert list(program.inputs) == ["input"] and len(program.outputs) == 1
    assert torch.allclose(program(torch.ones(1, 4)), model(torch.ones(1, 4)), atol=1e-6)


def test_a_model_that_prints_has_effects_that_are_refused_or_no_part_of_it():
    class Asserts(nn.Module):
        def forward(self, x):
            torch._check(x.shape[0] == 1)
            return 2 * x

    assert [op.target for op in trace(Asserts().eval(), X).operations] == ["aten.mul.Tensor"]


@pytest.mark.parametrize(
    ("example", "word"),
    [
        (torch.ones(1, 3, dtype=torch.int64), "int64"),
        (None, "NoneType"),
        ((), "empty"),
        ((X, torch.ones(1, 3, dtype=torch.float64)), "dtypes"),
        (torch.ones(0, 3), "empty shape"),
        (torch.tensor(1.0), "empty shape"),
        (torch.ones(1, 3, dtype=torch.complex64), "complex"),
        ("x", "str"),
    ],
)
def test_unsuitable_examples_are_refused(example, word):
    with pytest.raises(LipverifyError, match=word):
        trace(nn.Linear(3, 2).eval(), example)


def test_a_model_that_returns_no_tensor_is_refused():
    with pytest.raises(LipverifyError, match="returns nothing"):
        trace(Returns(lambda y: 3).eval(), X)
