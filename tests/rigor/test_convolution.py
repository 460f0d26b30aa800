"""Convolutions against the operator that torch computes, materialised and enclosed exactly."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lipverify.actions import adjoint_apply, apply
from lipverify.maps import Convolution, Enclosure
from lipverify.rigor import convolution as module
from lipverify.rigor import convolution_norm, dense_norm, finite
from lipverify.rigor.candidates import Spectrum
from lipverify.rigor.matrices import matrix
from lipverify.rigor.torus import Torus, between, half_turns, torus_upper
from tests.rigor.exact import at_least, at_most


def materialise(convolution: Convolution) -> np.ndarray:
    """The matrix of the map by torch, from small-integer kernels: every entry is exact."""
    shape = (1, *convolution.input_shape[1:])
    basis = torch.eye(int(np.prod(shape)), dtype=torch.float64).reshape(-1, *shape[1:])
    for axis, (n, pads) in enumerate(zip(shape[2:], convolution.pads, strict=True)):
        places = torch.arange(-pads[0], n + pads[1])
        inside = torch.ones(len(places)) if convolution.circular else ((places >= 0) & (places < n)).double()
        basis = basis.index_select(2 + axis, places % n)
        basis = basis * inside.double().reshape([-1 if a == 2 + axis else 1 for a in range(len(shape))])
    kernel = torch.from_numpy(convolution.kernel.midpoint)
    conv = torch.nn.functional.conv2d if len(shape) == 4 else torch.nn.functional.conv1d
    out = conv(basis, kernel, None, convolution.stride, 0, convolution.dilation, convolution.groups)
    return out.reshape(len(basis), -1).T.numpy().copy()


@st.composite
def convolutions(draw, most=4, axes=(1, 2, 2)):
    """One or two axes; strides, dilations, groups; pads larger than needed, asymmetric; kernels larger than the image."""
    side, count = st.integers(1, most), draw(st.sampled_from(axes))
    groups = draw(st.sampled_from((1, 1, 2, 3)))
    ci, co = draw(side), draw(side)
    taps, image, stride, dilation = (
        tuple(draw(st.integers(1, top)) for _ in range(count)) for top in (most, most + 3, 4, 3)
    )
    circular = draw(st.booleans())
    pads = [draw(st.tuples(st.integers(0, 5), st.integers(0, 5))) for _ in range(count)]
    if circular:
        pads = [tuple(min(p, n) for p in pair) for pair, n in zip(pads, image, strict=True)]
    if draw(st.booleans()):
        stride = dilation = (1,) * count
    seed, scale = draw(st.integers(0, 10**6)), draw(st.sampled_from((1.0, 2.0**-600, 2.0**500, 2.0**-1070)))
    kernel = np.random.default_rng(seed).integers(-5, 6, (groups * co, ci, *taps)) * scale
    shape = (draw(st.integers(1, 2)), groups * ci, *image)
    return Convolution(Enclosure(kernel), shape, tuple(pads), circular, stride, dilation, groups)


def fits(convolution: Convolution) -> bool:
    """Whether the kernel fits into the padded image."""
    image = zip(convolution.input_shape[2:], convolution.pads, convolution.reach, strict=True)
    return all(n + sum(p) > r for n, p, r in image)


def check(convolution: Convolution, found) -> np.ndarray:
    """Exact on tiny operators; else float64 singular values with a margin far above their error."""
    matrix = materialise(convolution)
    if min(matrix.shape) <= 6:
        assert at_most(matrix, found.upper) and at_least(matrix, found.lower)
    else:
        peak = np.abs(matrix).max() or 1.0
        truth = Fraction(float(np.linalg.svd(matrix / peak, compute_uv=False)[0])) * Fraction(float(peak))
        margin = 1 + Fraction(1, 10**12)
        assert found.lower <= truth * margin and truth <= found.upper * margin
    return matrix


@settings(derandomize=True, max_examples=300, deadline=None)
@given(convolution=convolutions())
def test_small_maps(convolution):
    """All forms and sizes; those that are unrolled are tight."""
    if not fits(convolution):
        return
    found = convolution_norm(convolution)
    check(convolution, found)
    if "unrolled" in found.method:
        assert found.upper <= found.lower * (1 + Fraction(1, 10**9))


WAYS = {
    "torus": {"FINITE_BUDGET": 0.0},
    "grid": {"FINITE_BUDGET": 0.0, "TORUS_BUDGET": 0.0, "_GRID": 4},
    "unrolled": {"TOLERANCE": Fraction(0)},
    "circle": {"TOLERANCE": Fraction(0)},
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_holds_on_random_forms(monkeypatch, way):
    """The same, with the small-map shortcut off, so that tori, grids and banded proofs are exercised."""
    monkeypatch.setattr(module, "_SMALL_MATRIX", 0)
    for name, value in WAYS[way].items():
        monkeypatch.setattr(module, name, value)
    if way == "circle":
        monkeypatch.setattr(finite, "_unrolled_cost", lambda *_: float("inf"))
    methods = set()

    @settings(derandomize=True, max_examples=120, deadline=None)
    @given(convolution=convolutions())
    def holds(convolution):
        if fits(convolution):
            found = convolution_norm(convolution)
            check(convolution, found)
            methods.update(found.method.replace(",", "").split(" "))

    holds()
    assert way in methods


@settings(derandomize=True, max_examples=150, deadline=None)
@given(convolution=convolutions(), seed=st.integers(0, 10**6))
def test_the_adjoint_is_the_adjoint_and_the_matrix_the_map(convolution, seed):
    if not fits(convolution):
        return
    convolution = replace(convolution, kernel=Enclosure(np.sign(convolution.kernel.midpoint)))
    rng = np.random.default_rng(seed)
    x = rng.integers(-3, 4, convolution.input_shape).astype(float)
    y = rng.integers(-3, 4, convolution.output_shape).astype(float)
    image, back = apply(convolution, x), adjoint_apply(convolution, y)
    assert image.shape == y.shape and back.shape == x.shape and (image * y).sum() == (x * back).sum()
    expected = materialise(convolution)
    for image_, x_ in zip(image, x, strict=True):
        assert np.array_equal(image_.ravel(), expected @ x_.ravel())
    if convolution.circular and any(
        r >= n for r, n in zip(convolution.reach, convolution.input_shape[2:], strict=True)
    ):
        with pytest.raises(TypeError, match="circular"):
            matrix(convolution)
    else:
        found = matrix(convolution)
        assert np.array_equal(found.midpoint, np.kron(np.eye(len(x)), expected)) and not found.radius.any()


def one(kernel, image, pads, **form) -> Convolution:
    kernel = np.asarray(kernel, float)
    channels = kernel.shape[1] * form.get("groups", 1)
    return Convolution(Enclosure(kernel), (1, channels, *image), tuple(pads), **form)


def test_patches_are_orthogonal_blocks(monkeypatch):
    """Stride equal to the kernel: the norm of the kernel as a matrix, by the torus too."""
    kernel = np.random.default_rng(0).standard_normal((6, 3, 4, 4))
    truth = np.linalg.norm(kernel.reshape(6, -1), 2)
    for small in (module._SMALL_MATRIX, 0):
        monkeypatch.setattr(module, "_SMALL_MATRIX", small)
        for circular in (False, True):
            found = convolution_norm(one(kernel, (8, 12), ((0, 0), (0, 0)), stride=(4, 4), circular=circular))
            assert abs(float(found.upper) / truth - 1) < 1e-9 and abs(float(found.lower) / truth - 1) < 1e-9


def test_a_strided_pointwise_convolution_has_the_norm_of_its_matrix():
    kernel = np.random.default_rng(0).standard_normal((9, 7, 1, 1))
    found = convolution_norm(one(kernel, (65, 64), ((0, 0), (0, 0)), stride=(2, 2)))
    assert abs(float(found.upper) / np.linalg.norm(kernel[..., 0, 0], 2) - 1) < 1e-9


def test_groups_take_the_largest_norm_and_not_the_product():
    """Depthwise box kernels of heights 1, 2, 3 on 40 x 40, zero padding: 3 (1 + 2 cos(pi / 41))^2."""
    kernel = np.ones((3, 1, 3, 3)) * np.array([1.0, 3.0, 2.0])[:, None, None, None]
    found = convolution_norm(one(kernel, (40, 40), ((1, 1), (1, 1)), groups=3))
    truth = 3 * (1 + 2 * np.cos(np.pi / 41)) ** 2
    assert float(found.lower) <= truth * (1 + 1e-12) and truth <= float(found.upper) * (1 + 1e-12)
    assert found.upper <= found.lower * (1 + Fraction(1, 10**5))


def test_dilation_only_separates_phases():
    """A dilated box kernel on 2 n entries is two plain ones on n: (1 + 2 cos(pi / (n + 1)))."""
    for image, d in (((24,), 2), ((37,), 3), ((80,), 2)):
        found = convolution_norm(one(np.ones((1, 1, 3)), image, ((d, d),), dilation=(d,)))
        truth = 1 + 2 * np.cos(np.pi / (-(-image[0] // d) + 1))
        assert abs(float(found.upper) / truth - 1) < 1e-6 and abs(float(found.lower) / truth - 1) < 1e-6


def test_circular_stride_that_does_not_divide_the_image(monkeypatch):
    """Taken from the coarser of the strides that divide both: on 9 points stride 6 is a permuted stride 3."""
    monkeypatch.setattr(module, "_SMALL_MATRIX", 0)
    kernel = np.random.default_rng(1).integers(-4, 5, (2, 3, 4))
    for n, s in ((9, 6), (10, 4), (7, 3), (8, 3)):
        convolution = one(kernel, (n,), ((2, n),), circular=True, stride=(s,))
        check(convolution, convolution_norm(convolution))


def test_between_frequencies_is_nearly_attained():
    """cos(u / 2) is |B| of (1, 1) / 2; with its zero between grid points moved by a twist the factor is attained."""
    kernel = np.full((1, 1, 1, 2), 0.5)[:, :, None]
    for points in (2, 3, 5, 8):
        bound = torus_upper(kernel, Torus((1, points), (0, 1)), 0.0)
        assert bound is not None
        whole = bound * between(kernel, 1, points)
        assert 1 <= whole <= 1 + Fraction(1, 10**9)
    with pytest.raises(ValueError, match="taps"):
        between(kernel, 1, 1)


def test_a_large_image_costs_no_more_than_a_small_one(monkeypatch):
    """A grid is used, and its bound holds on every larger image."""
    kernel = np.random.default_rng(5).standard_normal((5, 4, 3, 3))
    monkeypatch.setattr(module, "TORUS_BUDGET", 1e7)
    monkeypatch.setattr(module, "FINITE_BUDGET", 0.0)
    coarse = convolution_norm(one(kernel, (300, 300), ((1, 1), (1, 1))))
    monkeypatch.undo()
    fine = convolution_norm(one(kernel, (40, 40), ((1, 1), (1, 1))))
    assert "grid" in coarse.method and fine.lower <= coarse.upper <= fine.upper * Fraction(103, 100)


@pytest.mark.parametrize("shape", [(6, 5, 3, 3, 12, 12), (3, 8, 4, 2, 10, 14), (8, 3, 5, 5, 9, 9), (4, 4, 1, 1, 9, 9)])
def test_medium_maps_are_tight(monkeypatch, shape):
    monkeypatch.setattr(module, "_SMALL_MATRIX", 0)
    monkeypatch.setattr(module, "TOLERANCE", Fraction(1, 2**16))
    co, ci, kh, kw, h, w = shape
    kernel = np.random.default_rng(3).standard_normal((co, ci, kh, kw))
    convolution = Convolution(Enclosure(kernel), (1, ci, h, w), ((kh // 2, kh // 2), (kw // 2, kw // 2)))
    found = convolution_norm(convolution)
    check(convolution, found)
    assert found.upper <= found.lower * (1 + Fraction(2, 10**5))


def test_the_best_torus_is_no_worse_than_any_near_square_one():
    # The largest of a few waves: a spectrum with corners, whose interpolation ranks the best torus too low.
    channels, g = 12, np.random.default_rng(250)
    kernel = 0.02 * g.standard_normal((1, channels, channels, 3, 3))
    for _ in range(7):
        left, right = g.standard_normal(channels), g.standard_normal(channels)
        angles = zip(g.uniform(0, 3.14, 2), g.uniform(0, 6.28, 2), strict=True)
        rows, columns = (np.cos(speed * np.arange(3) + phase) for speed, phase in angles)
        kernel += np.einsum("i,j,h,w->ijhw", left, right, rows, columns)[None] * g.uniform(0.3, 1) / 3

    def top(torus):
        points = [
            np.exp(-1j * np.pi * np.outer((2 * np.arange(n) + s) / n, np.arange(3)))
            for n, s in zip(torus.sizes, torus.twists, strict=True)
        ]
        blocks = np.einsum("ijhw,ah,bw->abij", kernel[0], *points, optimize=True)
        return np.linalg.norm(blocks, 2, axis=(2, 3)).max()

    torus, _ = Spectrum.of(kernel, (33, 33)).best_torus(module.TORUS_BUDGET)
    square = [Torus((33 + more, 33 + more), (s, t)) for more in range(3) for s in (0, 1) for t in (0, 1)]
    assert top(torus) <= min(map(top, square)) * (1 + 1e-9)


def test_box_kernel_is_exact_on_the_antiperiodic_torus(monkeypatch):
    """On 8 x 8 the periodic torus is 8.6 % off; the truth is (1 + 2 cos(pi / 9))^2."""
    monkeypatch.setattr(module, "FINITE_BUDGET", 0.0)
    monkeypatch.setattr(module, "_SMALL_MATRIX", 0)
    convolution = Convolution(Enclosure(np.ones((1, 1, 3, 3))), (1, 1, 8, 8), ((1, 1), (1, 1)))
    found = convolution_norm(convolution)
    assert abs(float(found.upper) - (1 + 2 * np.cos(np.pi / 9)) ** 2) < 1e-9
    assert found.upper <= found.lower * (1 + Fraction(1, 10**9))


def test_circular_padding_beyond_the_need_repeats_rows():
    """Outputs repeated by wide circular padding raise the norm above the torus operator's."""
    kernel = np.ones((1, 1, 3, 3))
    wide = Convolution(Enclosure(kernel), (1, 1, 4, 4), ((3, 3), (3, 3)), True)
    found = convolution_norm(wide)
    check(wide, found)
    assert found.lower > convolution_norm(Convolution(Enclosure(kernel), (1, 1, 4, 4), ((1, 1), (1, 1)), True)).upper


def test_torch_spectral_norm_on_a_convolution_is_not_the_operator_norm():
    """torch normalises the flattened kernel; the operator's norm is then still well above 1, and proved to be."""
    torch.manual_seed(0)
    layer = torch.nn.utils.parametrizations.spectral_norm(
        torch.nn.Conv2d(4, 4, 3, padding=1, bias=False), n_power_iterations=50
    ).eval()
    kernel = layer.weight.detach().double().numpy()
    assert dense_norm(kernel.reshape(4, -1)).upper < Fraction(1001, 1000)
    found = convolution_norm(Convolution(Enclosure(kernel), (1, 4, 8, 8), ((1, 1), (1, 1))))
    assert found.lower > Fraction(11, 10)


def test_tiny_and_flushed_kernels():
    kernel = np.random.default_rng(0).standard_normal((2, 3, 3, 3))
    one = convolution_norm(Convolution(Enclosure(kernel), (1, 3, 5, 5), ((1, 1), (1, 1))))
    tiny = convolution_norm(Convolution(Enclosure(kernel * 2.0**-1000), (1, 3, 5, 5), ((1, 1), (1, 1))))
    assert (tiny.lower * 2**1000, tiny.upper * 2**1000) == (one.lower, one.upper)


@pytest.mark.parametrize("small", [0, 1024])
def test_radius_is_added(monkeypatch, small):
    monkeypatch.setattr(module, "_SMALL_MATRIX", small)
    rng = np.random.default_rng(2)
    kernel, radius = rng.integers(-4, 5, (3, 2, 3, 3)) / 1.0, rng.integers(0, 2, (3, 2, 3, 3)) / 64
    for circular in (False, True):
        convolution = Convolution(Enclosure(kernel, radius), (1, 2, 6, 6), ((1, 1), (1, 1)), circular)
        found = convolution_norm(convolution)
        for sign in (1, -1):
            member = Convolution(Enclosure(kernel + sign * radius), (1, 2, 6, 6), ((1, 1), (1, 1)), circular)
            check(member, found)


def test_vector_attains_the_lower_bound():
    kernel = np.random.default_rng(0).standard_normal((4, 3, 3, 3))
    convolution = Convolution(Enclosure(kernel), (2, 3, 7, 7), ((1, 1), (0, 2)))
    found = convolution_norm(convolution)
    assert found.vector.shape == convolution.input_shape
    image = materialise(convolution) @ found.vector[0].ravel()
    assert np.linalg.norm(image) >= float(found.lower) * np.linalg.norm(found.vector) * (1 - 1e-12)


def test_zero_and_empty():
    pads = ((1, 1), (1, 1))
    assert convolution_norm(Convolution(Enclosure(np.zeros((2, 2, 3, 3))), (1, 2, 4, 4), pads)).upper == 0
    assert convolution_norm(Convolution(Enclosure(np.ones((2, 2, 3, 3))), (0, 2, 4, 4), pads)).upper == 0
    assert convolution_norm(Convolution(Enclosure(np.ones((0, 2, 3, 3))), (1, 2, 4, 4), pads)).upper == 0
    one = convolution_norm(Convolution(Enclosure(np.eye(3)[:, :, None, None]), (1, 3, 4, 4), ((0, 0), (0, 0))))
    assert one.upper == one.lower == 1


def test_misuse_is_refused():
    kernel = np.ones((2, 2, 3, 3))
    for shape, pads, circular in (
        ((1, 3, 4, 4), ((1, 1), (1, 1)), False),
        ((1, 2, 4, 4), ((-1, 1), (1, 1)), False),
        ((1, 2, 1, 1), ((0, 0), (0, 0)), False),
        ((1, 2, 2, 2), ((3, 3), (1, 1)), True),
        ((1, 2, 4), ((1, 1),), False),
    ):
        with pytest.raises(ValueError, match="convolution"):
            convolution_norm(Convolution(Enclosure(kernel), shape, pads, circular))
    pads = ((1, 1), (1, 1))
    forms: list[dict[str, Any]] = [{"groups": 2}, {"stride": (0, 1)}, {"dilation": (4, 4)}, {"stride": (1,)}]
    for form in forms:
        with pytest.raises(ValueError, match="convolution"):
            convolution_norm(Convolution(Enclosure(kernel), (1, 2, 4, 4), pads, **form))
    with pytest.raises(NotImplementedError, match="3 image axes"):
        convolution_norm(Convolution(Enclosure(np.ones((1, 1, 1, 1, 1))), (1, 1, 2, 2, 2), ((0, 0),) * 3))
    kernel[0, 1, 2, 0] = np.nan
    with pytest.raises(ValueError, match=r"\(0, 1, 2, 0\) is nan"):
        convolution_norm(Convolution(Enclosure(kernel), (1, 2, 4, 4), ((1, 1), (1, 1))))


@pytest.mark.parametrize("n", [1, 2, 3, 7, 33, 100])
def test_twiddles(n):
    import mpmath

    cosine, sine = half_turns(n)
    with mpmath.workdps(40):
        for j in range(2 * n):
            assert abs(mpmath.mpf(cosine[j]) - mpmath.cospi(mpmath.mpf(j) / n)) <= mpmath.mpf(2) ** -53
            assert abs(mpmath.mpf(sine[j]) - mpmath.sinpi(mpmath.mpf(j) / n)) <= mpmath.mpf(2) ** -53
