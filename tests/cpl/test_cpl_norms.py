"""Lower <= exact <= upper, against dense float64 references and closed forms."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import example, given, settings

import cpl
from cpl.convolution import convolve, convolve_adjoint

ROUNDING = 1e-13  # of the reference's own SVD, relative


def exact(matrix):
    return float(torch.linalg.matrix_norm(matrix.double(), 2))


def operator(kernel, size, padding_mode):
    """The materialised matrix of the convolution, by its action on the basis."""
    basis = torch.eye(kernel.shape[1] * size[0] * size[1], dtype=torch.float64).view(-1, kernel.shape[1], *size)
    return convolve(basis, kernel.double(), None, padding_mode=padding_mode).flatten(1).t()


def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


DENSE = {
    "wide": random(5, 40),
    "tall": random(40, 5),
    "row": random(1, 9),
    "column": random(9, 1),
    "orthogonal": torch.linalg.qr(random(30, 30, dtype=torch.float64))[0],
    "rank one": random(7, 1) @ random(1, 8, seed=1),
    "repeated singular values": torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0])),
    "tiny": random(6, 6) * 1e-30,
    "float32 denormal": torch.ones(3, 4) * 1e-43,
    "huge": random(6, 6, dtype=torch.float64) * 1e200,
    "float64 tiny": random(6, 6, dtype=torch.float64) * 1e-280,
    "mixed scales": torch.diag(torch.tensor([1e20, 1.0, 1e-20])),
}


@pytest.mark.parametrize("matrix", DENSE.values(), ids=DENSE)
def test_dense_upper_is_above_and_tight(matrix):
    upper, truth = cpl.gram_upper_dense(matrix), exact(matrix)
    assert truth * (1 - ROUNDING) <= upper <= truth * (1 + 1e-9)


@pytest.mark.parametrize("sides", [(3, 4), (5, 12)], ids=str)
def test_dense_upper_of_a_single_row_is_above_the_exact_root(sides):
    assert sum(side**2 for side in sides) <= cpl.gram_upper_dense(torch.tensor([sides], dtype=torch.float32)) ** 2


@settings(deadline=None, max_examples=60)
@given(rows=st.integers(1, 12), columns=st.integers(1, 12), seed=st.integers(0, 2**31), exponent=st.integers(-40, 30))
@example(rows=12, columns=12, seed=0, exponent=-40)
def test_dense_lower_exact_upper(rows, columns, seed, exponent):
    matrix = random(rows, columns, seed=seed, dtype=torch.float64) * 2.0**exponent
    lower = iterated(cpl.Dense(matrix), random(columns, dtype=torch.float64), 3)
    upper, truth = cpl.gram_upper_dense(matrix), exact(matrix)
    assert float(lower) <= truth * (1 + ROUNDING)
    assert truth * (1 - ROUNDING) <= upper <= truth * (1 + 1e-9)
    assert cpl.gram_upper_dense(matrix.t()) == pytest.approx(upper, rel=1e-9)
    assert cpl.gram_upper_dense(matrix * 2) == 2 * upper


def iterated(operator, iterate, count):
    """The lower bound after `count` steps of power iteration from any tensor."""
    lower, iterate = None, iterate / torch.linalg.vector_norm(iterate)
    for _ in range(count):
        lower, iterate = cpl.power_lower(operator, iterate)
    return lower


@pytest.mark.parametrize("padding_mode", ["zeros", "circular"])
def test_conv_upper_of_groups_is_the_largest_of_theirs(padding_mode):
    kernel = random(6, 2, 3, 3, dtype=torch.float64) * torch.tensor([1, 1, 5, 1, 1, 2.0]).view(-1, 1, 1, 1)
    convolution = cpl.Convolution(kernel, padding_mode, groups=3)
    basis = torch.eye(6 * 20, dtype=torch.float64).view(-1, 6, 4, 5)
    matrix = convolution.apply(basis).flatten(1)
    torch.testing.assert_close(convolution.adjoint(basis).flatten(1), matrix.t())
    truth, upper = exact(matrix), convolution.upper((6, 4, 5))
    assert truth * (1 - ROUNDING) <= upper <= truth * (1 + 1e-9)


def kernel_of(name, outputs, channels, side):
    if name == "box":
        return torch.ones(outputs, channels, side, side)
    return random(outputs, channels, side, side)


@pytest.mark.parametrize("size", [(4, 4), (5, 3), (8, 8)], ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 3), (3, 2, 5), (1, 1, 3), (2, 2, 1), (1, 2, 7)], ids=str)
@pytest.mark.parametrize("name", ["random", "box"])
@pytest.mark.parametrize("dense", [True, False], ids=["unrolled", "tori"])
def test_conv_upper_zero_padding(name, shape, size, dense, monkeypatch):
    if not dense:
        monkeypatch.setattr("cpl.norms.DENSE_ROWS", 0)
    outputs, channels, side = shape
    kernel = kernel_of(name, outputs, channels, side)
    truth = exact(operator(kernel, size, "zeros"))
    upper = cpl.gram_upper_conv(kernel, size, padding_mode="zeros")
    assert truth * (1 - ROUNDING) <= upper
    # tori are loose where the kernel is as large as the map, which is where the matrix is small
    assert upper <= truth * (1 + 1e-9 if dense else 1.25 if side <= 3 else 2)


@pytest.mark.parametrize("size", [(4, 4), (5, 3), (8, 8)], ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 3), (3, 2, 5), (1, 1, 1)], ids=str)
def test_conv_upper_circular_is_exact(shape, size):
    kernel = kernel_of("random", shape[0], shape[1], shape[2])
    truth = exact(operator(kernel, size, "circular"))
    assert truth * (1 - ROUNDING) <= cpl.gram_upper_conv(kernel, size, padding_mode="circular") <= truth * (1 + 1e-9)


def test_antiperiodic_torus_beats_the_periodic_one_on_a_box_kernel(monkeypatch):
    """A box on the periodic torus always has frequency 0 and norm 9; zero padding never reaches it."""
    monkeypatch.setattr("cpl.norms.DENSE_ROWS", 0)
    box = torch.ones(1, 1, 3, 3)
    truth = exact(operator(box, (8, 8), "zeros"))
    assert truth == pytest.approx((1 + 2 * math.cos(math.pi / 9)) ** 2)
    assert truth * (1 - ROUNDING) <= cpl.gram_upper_conv(box, (8, 8), padding_mode="zeros") <= truth * (1 + 1e-9)
    assert cpl.gram_upper_conv(box, (8, 8), padding_mode="circular") == pytest.approx(9)


@pytest.mark.parametrize("padding_mode", ["zeros", "circular"])
@pytest.mark.parametrize("side", [1, 3, 5])
def test_conv_power_iteration_is_below_and_converges(side, padding_mode):
    kernel = random(3, 2, side, side, dtype=torch.float64)
    truth = exact(operator(kernel, (6, 5), padding_mode))
    operator_ = cpl.Convolution(kernel, padding_mode)
    once, many = (iterated(operator_, random(1, 2, 6, 5, seed=1, dtype=torch.float64), n) for n in (1, 500))
    assert float(once) <= float(many) <= truth * (1 + ROUNDING)
    assert float(many) == pytest.approx(truth, rel=1e-3)


def test_gradient_of_the_lower_bound_is_that_of_the_norm():
    matrix = random(4, 6, dtype=torch.float64).requires_grad_()
    lower = iterated(cpl.Dense(matrix), random(6, seed=1, dtype=torch.float64), 3000)
    (found,) = torch.autograd.grad(lower, matrix)
    (wanted,) = torch.autograd.grad(torch.linalg.matrix_norm(matrix, 2), matrix)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**31), side=st.sampled_from([1, 3, 5]), height=st.integers(3, 6), width=st.integers(3, 6),
    padding_mode=st.sampled_from(["zeros", "circular"]),
)  # fmt: skip
def test_adjoint(seed, side, height, width, padding_mode):
    """<A x, y> = <x, A^T y> for both uses of one kernel."""
    kernel = random(3, 2, side, side, seed=seed, dtype=torch.float64)
    x = random(1, 2, height, width, seed=seed + 1, dtype=torch.float64)
    y = random(1, 3, height, width, seed=seed + 2, dtype=torch.float64)
    left = (convolve(x, kernel, None, padding_mode=padding_mode) * y).sum()
    right = (x * convolve_adjoint(y, kernel, padding_mode=padding_mode)).sum()
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-11)


def test_zero_maps_have_norm_zero():
    assert cpl.gram_upper_dense(torch.zeros(3, 4)) == 0.0
    assert cpl.gram_upper_conv(torch.zeros(2, 2, 3, 3), (4, 4), padding_mode="zeros") == 0.0
    assert cpl.gram_upper_conv(torch.zeros(2, 2, 3, 3), (4, 4), padding_mode="circular") == 0.0


@pytest.mark.parametrize(
    "bad", [torch.tensor([[math.nan]]), torch.tensor([[math.inf]]), torch.ones(3), torch.ones(0, 2)]
)
def test_what_has_no_norm_is_refused(bad):
    with pytest.raises(cpl.ArgumentError):
        cpl.gram_upper_dense(bad)


def test_even_kernels_are_refused():
    with pytest.raises(cpl.ArgumentError, match="not odd"):
        cpl.gram_upper_conv(torch.ones(1, 1, 2, 2), (4, 4), padding_mode="zeros")


HUGE_AND_TINY = [0.0, 5e-324, 1e-310, 1e-200, 1e-45, 1e38, 1e150, 1e200, 1e290, 1e307]


@pytest.mark.parametrize("scale", HUGE_AND_TINY, ids=str)
@pytest.mark.parametrize(
    ("kernel", "size", "padding_mode"),
    [
        ((2, 2, 7, 7), (3, 4), "zeros"), ((2, 3, 3, 3), (4, 4), "circular"), ((2, 2, 3, 3), (24, 24), "zeros"),
        ((3, 2, 1, 1), (3, 3), "zeros"),
    ],
    ids=str,
)  # fmt: skip
def test_uppers_at_the_ends_of_the_range(kernel, size, padding_mode, scale):
    """Scaling by a power of two scales the bound; the truth may exceed all floats, and then the bound is Inf."""
    unit = torch.ones(kernel, dtype=torch.float64)
    upper = cpl.gram_upper_conv(unit * scale, size, padding_mode=padding_mode)
    wanted = cpl.gram_upper_conv(unit, size, padding_mode=padding_mode) * scale
    assert upper >= wanted * (1 - 1e-12)
    assert upper <= wanted * (1 + 1e-9) + 1e-323 * (scale > 0)
    dense = cpl.gram_upper_dense(unit.flatten(1) * scale)
    assert dense == pytest.approx(math.sqrt(unit.numel()) * scale, rel=1e-9, abs=1e-322) and (dense == 0) == (
        scale == 0
    )


@pytest.mark.parametrize("mode", ["reflect", "", None])
def test_unknown_padding_has_no_bound(mode):
    with pytest.raises(cpl.ArgumentError, match="unknown"):
        cpl.gram_upper_conv(torch.ones(1, 1, 3, 3), (4, 4), padding_mode=mode)
