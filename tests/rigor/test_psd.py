"""The semidefiniteness proof never says yes to an indefinite matrix: checked by exact LDL^T."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipverify.rigor import psd_shift
from tests.rigor.exact import definiteness, rational


def _shifted(m: np.ndarray, beta: Fraction) -> list[list[Fraction]]:
    rows = rational(m)
    for i, row in enumerate(rows):
        row[i] += beta
    return rows


SMALL = st.integers(1, 5).flatmap(
    lambda n: st.lists(st.integers(-3, 3), min_size=n * n, max_size=n * n).map(
        lambda x: np.array(x, float).reshape(n, n)
    )
)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(a=SMALL, nudge=st.sampled_from((0.0, 2.0**-52, 2.0**-45, 2.0**-30, -(2.0**-30), -(2.0**-45), 0.5)))
def test_gram_matrices_near_singularity(a, nudge):
    m = a @ a.T + nudge * np.eye(len(a))
    beta = psd_shift(m)
    if beta is not None:
        assert beta < 1e-10
        assert definiteness(_shifted(m, beta)) >= 0


@settings(derandomize=True, max_examples=200, deadline=None)
@given(a=SMALL)
def test_any_symmetric_matrix(a):
    m = a + a.T
    beta = psd_shift(m)
    if definiteness(rational(m)) == 1:
        assert beta is not None
    if beta is not None:
        assert definiteness(_shifted(m, beta)) >= 0


@settings(derandomize=True, max_examples=100, deadline=None)
@given(x=SMALL, seed=st.integers(0, 5))
def test_hermitian_stacks_agree_with_their_real_embedding(x, seed):
    y = np.random.default_rng(seed).integers(-3, 4, x.shape).astype(float)
    real, imaginary = x @ x.T + y @ y.T, y @ x.T - x @ y.T
    nudge = 2.0**-20 * np.eye(len(x))
    beta = psd_shift(np.stack([real + nudge, real + 1]), imaginary=np.stack([imaginary, imaginary]))
    if beta is not None:
        block = np.block([[real + nudge, -imaginary], [imaginary, real + nudge]])
        assert definiteness(_shifted(block, beta)) >= 0


def test_the_upper_triangle_counts():
    """LAPACK reads one triangle only; the proof reads the whole matrix."""
    m = np.array([[1.0, 100.0], [0.0, 1.0]])
    beta = psd_shift(m)
    assert beta is None or beta >= 49


def test_error_is_added_and_misuse_refused():
    assert psd_shift(np.eye(3), Fraction(1, 8)) >= Fraction(1, 8)
    assert psd_shift(np.zeros((0, 0)), Fraction(1, 8)) == Fraction(1, 8)
    assert psd_shift(np.array([[np.nan]])) is None
    with pytest.raises(TypeError, match="float64"):
        psd_shift(np.eye(2, dtype=np.float32))
    with pytest.raises(ValueError, match="negative"):
        psd_shift(np.eye(2), -1)
    with pytest.raises(ValueError, match="square"):
        psd_shift(np.zeros((2, 3)))
