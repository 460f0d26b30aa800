"""Weights made to mislead: at the ends of a format, narrowed, wrapped, drawn. Each once gave a wrong verdict or a crash."""

import pytest
import torch
from torch import nn

import lipverify
from lipverify.errors import LipverifyError
from lipverify.graph import trace
from lipverify.rigor.enclose import NotEnclosed, enclose
from lipverify.verdict import Verdict
from tests.hostile import FAST, verdict
from tests.networks import Lambda


@pytest.fixture
def flush():
    torch.set_flush_denormal(True)
    yield
    torch.set_flush_denormal(False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_subnormal_weights_where_the_process_reads_them_as_zero(flush, dtype):
    weight = torch.tensor([2], dtype=torch.int16).view(torch.bfloat16).to(dtype) if dtype is torch.bfloat16 else None
    weight = torch.tensor([1 << 9], dtype=torch.int32).view(torch.float32) if weight is None else weight
    model = Lambda(lambda x, w: x * 2.0**60 * w * 2.0**60, weight)
    assert verdict(model, "0", torch.ones(1, 1, dtype=dtype)) is Verdict.REFUTED
    with pytest.raises(LipverifyError, match="subnormal"):
        enclose(trace(model, torch.ones(1, 1, dtype=dtype)), torch.ones(1, 1).double())


def test_products_of_weights_that_underflow_where_the_process_flushes(flush):
    class Tiny(nn.Module):
        def __init__(self):
            super().__init__()
            self.v = nn.Parameter(torch.tensor([2.0**-600], dtype=torch.float64))
            self.w = nn.Parameter(torch.tensor([1.5 * 2.0**-424], dtype=torch.float64))

        def forward(self, x):
            return x * (self.w * self.v) * 2.0**900

    assert verdict(Tiny(), "1e-50", torch.ones(1, 1).double()) is not Verdict.PROVED


@pytest.mark.parametrize("cast", [lambda w: w.half().float(), lambda w: w.to(torch.bfloat16).to(torch.float32)])
def test_weights_that_pass_through_a_narrower_dtype_are_not_taken_as_exact(cast):
    model = Lambda(lambda x, w: x * cast(w), torch.tensor([1 + 2.0**-20]))
    assert verdict(model, "1") is Verdict.UNSUPPORTED
    with pytest.raises(NotEnclosed, match="conversion"):
        enclose(trace(model.eval(), torch.ones(1, 3)), torch.ones(1, 3).double())


def test_a_float64_buffer_narrowed_to_the_programs_dtype_is_not_taken_as_exact():
    model = nn.Module()
    model.register_buffer("a", torch.tensor([1 - 2.0**-40], dtype=torch.float64))
    model.forward = lambda x: x * model.a.float()
    assert verdict(model, "0.9999999999999") is Verdict.UNSUPPORTED


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.bool])
def test_integer_arithmetic_wraps_as_the_program_does(dtype):
    model = nn.Module()
    model.register_buffer("a", torch.tensor([1, 100, 100]).to(dtype))
    model.forward = lambda x: x * (model.a * model.a)
    largest = int((model.a * model.a).max())
    (row,) = lipverify.audit(model.eval(), torch.ones(1, 3), verifiers=FAST).regions
    assert row.lower == row.upper == largest


def test_integers_that_are_drawn_are_not_folded():
    model = buffered(lambda x, n: x * torch.randint_like(n, 5), n=torch.tensor([3, 4, 5]))
    assert verdict(model, "5") is Verdict.UNSUPPORTED


def buffered(function, dtype=torch.float32, **buffers):
    model = nn.Module()
    for name, value in buffers.items():
        model.register_buffer(name, value)
    model.forward = lambda x: function(x, *(getattr(model, name) for name in buffers))
    return model


@pytest.mark.parametrize(
    ("model", "dtype"),
    [
        (buffered(lambda x, a: x * a, a=torch.tensor(1 - 2.0**-40, dtype=torch.float64)), torch.float32),
        (
            buffered(
                lambda x, a, w: x * ((a - w) * 2.0**24),
                a=torch.tensor(1 + 2.0**-24 + 2.0**-40, dtype=torch.float64),
                w=torch.ones(3),
            ),
            torch.float32,
        ),
        (buffered(lambda x, n: x * n, n=torch.tensor([2051] * 3)), torch.float16),
        (buffered(lambda x, n: x * n, n=torch.tensor(259)), torch.bfloat16),
        (buffered(lambda x, n: x * n, n=torch.tensor(16777219)), torch.float32),
    ],
)
def test_weights_that_meet_a_narrower_dtype_are_not_taken_as_exact(model, dtype):
    assert verdict(model, "0.9", torch.ones(1, 3, dtype=dtype)) is Verdict.UNSUPPORTED
    assert verdict(model, "1e9", torch.ones(1, 3, dtype=dtype)) is Verdict.UNSUPPORTED


def test_small_integers_are_kept():
    model = buffered(lambda x, n: x * n, n=torch.tensor([3, 4, 5]))
    assert verdict(model, "5") is Verdict.PROVED


@pytest.mark.parametrize(
    "function",
    [
        lambda x, w: x * torch.lgamma(w),
        lambda x, w: x * (w.to(torch.uint8) ** 2),
        lambda x, w: x * torch.special.i0(w),
    ],
)
def test_arithmetic_on_weights_beyond_the_rules_is_unsupported(function):
    assert verdict(Lambda(function, torch.tensor([16.0])), "1") is Verdict.UNSUPPORTED


def test_a_buffer_that_nothing_reads_may_hold_anything():
    model = buffered(lambda x, mask: 2 * x, mask=torch.tensor([-float("inf")]))
    assert verdict(model, "2") is Verdict.PROVED


class Truncated(nn.Module):
    """The value, through an array of integers."""

    def forward(self, x):
        i = torch.empty(1, 4, dtype=torch.int64)
        i.copy_(x)
        e = torch.empty(1, 6)
        e[:, :4] = i
        e[:, 4:] = i[:, :2]
        return e


class Rounded(nn.Module):
    """0.9 I minus what an array of another dtype keeps of it."""

    def __init__(self, dtype, select):
        super().__init__()
        self.register_buffer("v", 0.9 * torch.eye(4))
        self.dtype, self.select = dtype, select

    def forward(self, x):
        zero = torch.zeros(4, 4, dtype=self.dtype)
        if self.select:  # noqa: SIM108
            kept = torch.select_scatter(zero, self.v[0], 0, 0)
        else:
            kept = torch.slice_scatter(zero, self.v, 0, 0, 4)
        return torch.nn.functional.linear(x, self.v - kept)


@pytest.mark.parametrize("select", [False, True])
@pytest.mark.parametrize("dtype", [torch.int64, torch.float16])
def test_a_copy_of_weights_into_another_dtype_rounds(dtype, select):
    try:
        assert verdict(Rounded(dtype, select), "0.5", torch.ones(1, 4)) is not Verdict.PROVED
    except LipverifyError as error:  # torch decomposes a select_scatter into integers to another function
        assert "the traced program is not the model" in str(error) and select and dtype is torch.int64


def test_a_copy_of_the_value_into_another_dtype_rounds():
    assert verdict(Truncated(), "2", torch.ones(1, 4)) is Verdict.UNSUPPORTED
