"""Ball arithmetic holds every exact outcome."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipverify.rigor import BallMatrix

SCALES = (1.0, 1e-160, 1e-30, 1e30, 1e150, 2.0**-1070)


def _random(rng, shape, scale, fuzz):
    midpoint = rng.standard_normal(shape) * scale
    return BallMatrix(midpoint, np.abs(rng.standard_normal(shape)) * fuzz * scale)


def _member(rng, ball):
    """An exact member: a convex combination of the ball's corners."""
    weight = rng.integers(-8, 9, ball.shape)
    return [
        [Fraction(m) + Fraction(r) * Fraction(int(w), 8) for m, r, w in zip(*rows, strict=True)]
        for rows in zip(ball.midpoint.tolist(), ball.radius.tolist(), weight, strict=True)
    ]


def _holds(ball, exact):
    for i, row in enumerate(exact):
        for j, x in enumerate(row):
            assert abs(x - Fraction(ball.midpoint[i, j])) <= Fraction(ball.radius[i, j]), (i, j)


@settings(derandomize=True, max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    scales=st.tuples(st.sampled_from(SCALES), st.sampled_from(SCALES)),
    fuzz=st.sampled_from((0.0, 1e-16, 0.1)),
)
def test_members_stay_members(seed, scales, fuzz):
    rng = np.random.default_rng(seed)
    m, k, n = rng.integers(1, 5, 3)
    a, b = _random(rng, (m, k), scales[0], fuzz), _random(rng, (k, n), scales[1], fuzz)
    c = _random(rng, (m, k), scales[1], fuzz)
    x, y, z = _member(rng, a), _member(rng, b), _member(rng, c)
    _holds(a.T, [list(column) for column in zip(*x, strict=True)])
    _holds(a + c, [[p + q for p, q in zip(*rows, strict=True)] for rows in zip(x, z, strict=True)])
    _holds(a - c, [[p - q for p, q in zip(*rows, strict=True)] for rows in zip(x, z, strict=True)])
    if max(scales) ** 2 < 1e290:
        product = [[sum((p * y[t][j] for t, p in enumerate(row)), Fraction(0)) for j in range(n)] for row in x]
        _holds(a.matmul(b), product)
    left, right = rng.standard_normal(m), 2.0 ** rng.integers(-40, 40, k)
    scaled = [
        [Fraction(float(p)) * v * Fraction(float(q)) for v, q in zip(row, right, strict=True)]
        for p, row in zip(left, x, strict=True)
    ]
    _holds(a.scaled(left, right), scaled)
    _holds(
        a.scaled(2.0 ** np.round(left), right),
        [
            [Fraction(float(p)) * v * Fraction(float(q)) for v, q in zip(row, right, strict=True)]
            for p, row in zip(2.0 ** np.round(left), x, strict=True)
        ],
    )


def test_exact_operations_stay_exact():
    a = BallMatrix.exact(np.array([[1.0, 2.0], [3.0, 5.0]]))
    zero = BallMatrix.exact(np.zeros((2, 2)))
    assert not (a + zero).radius.any()
    assert not a.scaled(np.array([0.5, 4.0]), np.ones(2)).radius.any()
    block = BallMatrix.block([[a, zero], [zero, a.T]])
    assert block.shape == (4, 4) and block.norm_error() == 0
    assert a.matmul(a).norm_error() < 1e-13


def test_overflow_and_shapes_are_errors():
    big = BallMatrix.exact(np.full((1, 1), 1e200))
    with pytest.raises(ValueError, match="infinity"):
        big.matmul(big)
    with pytest.raises(ValueError, match="broadcast"):
        _ = big + BallMatrix.exact(np.ones((1, 2)))
    with pytest.raises(ValueError, match="fit"):
        big.matmul(BallMatrix.exact(np.ones((2, 1))))
    with pytest.raises(ValueError, match="negative"):
        BallMatrix(np.zeros((1, 1)), np.full((1, 1), -1.0))
