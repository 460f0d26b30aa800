"""What a trace cannot see is found by running the module beside its program: such models are refused, others left alone."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn

from lipverify.graph import trace
from lipverify.graph.trace import TraceError

X = torch.ones(1, 4)


class Scaled(nn.Module):
    """W x times whatever ``factor`` says at this call."""

    def __init__(self, factor) -> None:
        super().__init__()
        self.linear, self.factor, self.calls = nn.Linear(4, 4, bias=False), factor, 0

    def forward(self, x):
        self.calls += 1
        return self.linear(x) * self.factor(self, x)


ANOTHER = {
    "exporting": lambda m, x: 0.1 if torch.compiler.is_exporting() else 10,
    "compiling": lambda m, x: 0.1 if torch.compiler.is_compiling() else 10,
    "fake": lambda m, x: 10 if type(x.detach()) is torch.Tensor else 0.1,
    "late": lambda m, x: 0.1 if m.calls < 3 else 10,
}
NONE = {
    "gradients": lambda m, x: 10 if torch.is_grad_enabled() else 0.1,
    "counter": lambda m, x: 1 / m.calls,
    "random": lambda m, x: random.random(),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ANOTHER)
@pytest.mark.parametrize("x", [X, torch.zeros(1, 4)], ids=["ones", "zeros"])
def test_a_program_that_is_not_the_model_is_refused(name, x, dtype):
    with pytest.raises(TraceError, match="is not the model" if name != "late" else "is not"):
        trace(Scaled(ANOTHER[name]).eval().to(dtype), x.to(dtype))


@pytest.mark.parametrize("name", NONE)
def test_a_model_of_different_outputs_for_one_input_is_refused(name):
    with pytest.raises(TraceError, match="the model is not a function"):
        trace(Scaled(NONE[name]).eval(), X)


class Choosing(nn.Module):
    """A model of a token, of keyword arguments in another order, and of positive inputs alone."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(3, 4)

    def forward(self, x, token, factor):
        if not torch.compiler.is_exporting() and bool((x < 0).any()):
            raise ValueError("negative")
        return self.table(token) * x, factor


@pytest.mark.parametrize("example", [{"token": torch.tensor([2]), "factor": torch.ones(2), "x": X}])
def test_held_integers_keep_their_values_and_a_model_may_refuse_random_numbers(example):
    model = Choosing().eval()
    before = torch.random.get_rng_state()
    program = trace(model, example)
    assert set(program.inputs) == {"x", "token", "factor"} and torch.equal(torch.random.get_rng_state(), before)
    inputs = [example[name] for name in program.inputs]
    assert torch.equal(program(*inputs), model(**example)[0])


def test_what_is_not_finite_cancels_or_is_random_by_name_is_no_difference():
    for function in (lambda m, x: 1 / (x * 0), lambda m, x: x - x, lambda m, x: torch.rand(()), lambda m, x: x.log()):
        assert trace(Scaled(function).eval(), X).outputs


def test_a_model_that_writes_into_its_parameters_runs_without_gradients_alone():
    def write(model, x):
        model.linear.weight.mul_(1)
        return 2

    with pytest.raises(TraceError, match=r"linear\.weight|PARAMETER"):
        trace(Scaled(lambda m, x: (m.linear.weight.add_(x.mean() * 0), 2)[1]).eval(), X)
    assert any("changes its state" in note for note in trace(Scaled(write).eval(), X).notes)


def test_a_buffer_that_is_replaced_is_put_back():
    class Replacing(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("n", torch.ones(()))

        def forward(self, x):
            self.n = self.n * 2
            return x * self.n

    model = Replacing().eval()
    program = trace(model, X)
    assert float(model.n) == 1 and torch.equal(program(X), 2 * X)


def test_operators_that_are_not_aten_are_compared_as_torch_runs_them():
    with torch.library._scoped_library("lipverify_test", "DEF") as library:
        library.define("double(Tensor x) -> Tensor")
        library.impl("double", lambda x: 2 * x, "CompositeExplicitAutograd")
        operator = torch.ops.lipverify_test.double
        assert trace(Scaled(lambda m, x: operator(x)).eval(), X).outputs
        with pytest.raises(TraceError, match="not the model"):
            trace(Scaled(lambda m, x: operator(x) * (1 if torch.compiler.is_exporting() else 3)).eval(), X)
