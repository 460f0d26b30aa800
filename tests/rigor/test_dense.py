"""Dense norms: lower <= true <= upper, decided exactly or against 60 digits."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lipverify.evidence import Rigor
from lipverify.maps import Enclosure
from lipverify.rigor import dense_norm, row_norm
from tests.rigor.exact import at_least, at_most

SCALES = (1.0, 1e-30, 1e30, 1e-170, 1e150, 2.0**-1060, 2.0**1000)
SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 5))


def _encloses(found, w: np.ndarray) -> None:
    assert at_most(w, found.upper)
    assert at_least(w, found.lower)


def _tight(found, relative=1e-11) -> None:
    assert found.upper <= found.lower * (1 + Fraction(relative))


@settings(derandomize=True, max_examples=120, deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 10**6), scale=st.sampled_from(SCALES), sparse=st.booleans())
def test_random_matrices_at_every_scale(shape, seed, scale, sparse):
    rng = np.random.default_rng(seed)
    w = rng.standard_normal(shape) * scale
    if sparse:
        w *= rng.integers(0, 2, shape)
    found = dense_norm(w)
    _encloses(found, w)
    _tight(found)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(
    entries=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=12, max_size=12),
    shape=st.sampled_from(((3, 4), (4, 3), (2, 6), (12, 1), (1, 12))),
)
def test_any_floats(entries, shape):
    """Entries of wildly different exponents, subnormals and the largest floats included."""
    w = np.array(entries).reshape(shape)
    _encloses(dense_norm(w), w)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 10**6), scale=st.sampled_from(SCALES))
def test_rank_one(shape, seed, scale):
    rng = np.random.default_rng(seed)
    w = np.outer(rng.integers(-9, 10, shape[0]), rng.integers(-9, 10, shape[1])) * 2.0 ** np.round(np.log2(scale))
    found = dense_norm(w)
    _encloses(found, w)
    _tight(found)


@settings(derandomize=True, max_examples=40, deadline=None)
@given(n=st.integers(2, 5), seed=st.integers(0, 10**6), scale=st.sampled_from((1.0, 1e-170, 1e150)))
def test_orthogonal_and_repeated_singular_values(n, seed, scale):
    q = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0] * scale
    found = dense_norm(q)
    _encloses(found, q)
    _tight(found)


@pytest.mark.parametrize("n", [150, 200])
def test_lanczos_sizes_with_repeated_singular_values(n):
    """Beyond the size of a direct eigendecomposition; the truth by construction and by 60-digit Rayleigh quotients."""
    rng = np.random.default_rng(0)
    q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    r = np.linalg.qr(rng.standard_normal((n, n)))[0]
    w = (q * np.r_[np.full(n // 2, 3.0), rng.random(n - n // 2)]) @ r
    found = dense_norm(w)
    _tight(found, 1e-10)
    with mpmath.workdps(60):
        matrix, v = mpmath.matrix(w.tolist()), mpmath.matrix(found.vector.tolist())
        ratio = mpmath.norm(matrix * v) / mpmath.norm(v)
        assert mpmath.mpf(found.upper.numerator) / found.upper.denominator >= ratio
        assert mpmath.mpf(found.lower.numerator) / found.lower.denominator <= ratio * (1 + mpmath.mpf(10) ** -55)


@pytest.mark.parametrize("seed", range(5))
def test_against_sixty_digits(seed):
    w = np.random.default_rng(seed).standard_normal((5, 4))
    with mpmath.workdps(60):
        truth = mpmath.svd_r(mpmath.matrix(w.tolist()), compute_uv=False)[0]
        found = dense_norm(w)
        assert mpmath.mpf(found.lower.numerator) / found.lower.denominator <= truth
        assert truth <= mpmath.mpf(found.upper.numerator) / found.upper.denominator


@pytest.mark.parametrize(
    ("w", "norm"),
    [
        (np.eye(7), Fraction(1)),
        (np.zeros((3, 4)), Fraction(0)),
        (np.zeros((0, 4)), Fraction(0)),
        (np.zeros((4, 0)), Fraction(0)),
        (np.array([[3.0, 4.0]]), Fraction(5)),
        (np.array([[3.0], [4.0]]), Fraction(5)),
        (np.diag([0.5, -2.0, 1.0]), Fraction(2)),
        (np.eye(5)[:, [3, 0, 4, 1, 2]] * 0.25, Fraction(1, 4)),
        (np.kron(np.eye(3), np.full((1, 4), 0.25)), Fraction(1, 2)),
        (np.eye(2) * 2.0**-1074, Fraction(1, 2**1074)),
        (np.eye(2, dtype=np.float32), Fraction(1)),
    ],
)
def test_exact_shortcuts(w, norm):
    found = dense_norm(w)
    assert (found.lower, found.upper, found.rigor) == (norm, norm, Rigor.EXACT)


@settings(derandomize=True, max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), shape=SHAPES)
def test_invariance(seed, shape):
    """Permutation, transposition and power-of-two scaling leave enclosures overlapping; scaling moves them exactly."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal(shape)
    found = dense_norm(w)
    for other in (w.T, w[rng.permutation(shape[0])], w[:, rng.permutation(shape[1])], -w):
        again = dense_norm(other)
        assert again.lower <= found.upper and found.lower <= again.upper
    scaled = dense_norm(w * 2.0**-40)
    assert (scaled.lower, scaled.upper) == (found.lower / 2**40, found.upper / 2**40)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), shape=SHAPES, size=st.sampled_from((0.0, 1e-16, 1e-3, 1.0)))
def test_every_member_of_an_enclosure(seed, shape, size):
    rng = np.random.default_rng(seed)
    midpoint, radius = rng.integers(-4, 5, shape) / 4, np.abs(rng.integers(0, 5, shape) / 4) * size
    found = dense_norm(Enclosure(midpoint, radius))
    rows = row_norm(Enclosure(midpoint, radius))
    for corner in (rng.choice((-1.0, 0.0, 1.0), shape) for _ in range(4)):
        member = midpoint + corner * radius
        if size == 1e-16:
            continue  # the sum itself rounds: not an exact member
        _encloses(found, member)
        largest = max(sum(Fraction(x) ** 2 for x in row) for row in member.tolist())
        assert rows.lower**2 <= largest <= rows.upper**2


@settings(derandomize=True, max_examples=80, deadline=None)
@given(seed=st.integers(0, 10**6), shape=SHAPES, scale=st.sampled_from(SCALES))
def test_row_norm(seed, shape, scale):
    w = np.random.default_rng(seed).standard_normal(shape) * scale
    found = row_norm(w)
    largest = max(sum((Fraction(x) ** 2 for x in row), Fraction(0)) for row in w.tolist())
    assert found.lower**2 <= largest <= found.upper**2


def test_gloro_tiny_weights_do_not_vanish():
    """gloro's float32 power iteration underflows to the constant 0; 1e-170 I has a float64 Gram matrix of 0."""
    assert dense_norm(np.eye(4) * 1e-170).upper == Fraction(1e-170)
    w = np.random.default_rng(0).standard_normal((4, 4)) * 1e-170
    assert not (w.T @ w).any()
    _encloses(dense_norm(w), w)
    tiny = (np.arange(1, 17).astype(np.uint32) * 1000).reshape(4, 4).view(np.float32)
    found = dense_norm(tiny)
    assert found.lower > 0
    _encloses(found, tiny.astype(np.float64))


def test_flush_to_zero_does_not_lower_the_bound():
    """With subnormals flushed (as torch.set_flush_denormal does) the enclosure still holds."""
    w = np.random.default_rng(1).integers(-(2**40), 2**40, (4, 3)) * 2.0**-1074
    single = (np.arange(1, 13).astype(np.uint32) * 1001).reshape(4, 3).view(np.float32)
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush subnormals")
    try:
        found, row, narrow = dense_norm(w), row_norm(w), dense_norm(single)
        diagonal = dense_norm(np.diag([5e-324, 5e-324]))
    finally:
        torch.set_flush_denormal(False)
    _encloses(found, w)
    _encloses(narrow, single.astype(np.float64))
    assert row.lower**2 <= max(sum(Fraction(x) ** 2 for x in r) for r in w.tolist()) <= row.upper**2
    assert diagonal.upper == Fraction(1, 2**1074)


def test_float32_numpy_norm_is_not_trusted():
    """numpy's float32 norm falls below the true norm; the enclosure of the same weights does not."""
    seen = 0
    for seed in range(20):
        w = np.random.default_rng(seed).standard_normal((64, 64)).astype(np.float32)
        found = dense_norm(w)
        seen += Fraction(float(np.linalg.norm(w, 2))) < found.lower
    assert seen > 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_errors(bad):
    w = np.eye(3)
    w[1, 2] = bad
    for call in (dense_norm, row_norm):
        with pytest.raises(ValueError, match=r"\(1, 2\)"):
            call(w)
    with pytest.raises(ValueError, match="radius"):
        dense_norm(Enclosure(np.eye(2), -np.eye(2)))
    with pytest.raises(ValueError, match="matrix"):
        dense_norm(np.zeros(3))
