"""norm() of every linear map of the vocabulary against its materialised matrix, decided exactly."""

from fractions import Fraction

import numpy as np
import pytest

from lipverify.actions import apply
from lipverify.claims import L2, LOGITS, NormPair
from lipverify.evidence import Contradiction, Rigor
from lipverify.maps import (
    Adjoint,
    Convolution,
    Dense,
    Diagonal,
    Enclosure,
    Pad,
    Pointwise,
    Rearrange,
    size,
)
from lipverify.rigor import NormEnclosure, norm
from tests.networks import pooling
from tests.rigor.exact import at_least, at_most


def _integers(*shape: int) -> Enclosure:
    return Enclosure(np.random.default_rng(sum(shape)).integers(-5, 6, shape) / 8)


MAPS = {
    "dense": Dense(_integers(3, 4), (4,)),
    "dense, leading axes": Dense(_integers(2, 3), (2, 2, 3)),
    "dense, one row": Dense(_integers(1, 5), (1, 5)),
    "convolution": Convolution(_integers(2, 1, 2, 2), (1, 1, 3, 2), ((1, 0), (0, 1))),
    "convolution, kernel larger than the image": Convolution(_integers(1, 2, 4, 3), (1, 2, 2, 2), ((1, 2), (1, 1))),
    "convolution, circular": Convolution(_integers(1, 1, 3, 3), (1, 1, 3, 2), ((1, 1), (1, 1)), True),
    "convolution, circular, wide": Convolution(_integers(1, 1, 2, 2), (1, 1, 2, 3), ((1, 2), (1, 1)), True),
    "convolution, strided": Convolution(_integers(2, 1, 3, 2), (1, 1, 4, 3), ((1, 0), (0, 1)), stride=(2, 3)),
    "convolution, dilated": Convolution(_integers(1, 1, 2, 3), (1, 1, 3, 2), ((1, 1), (2, 2)), dilation=(2, 2)),
    "convolution, grouped": Convolution(_integers(4, 1, 2, 1), (1, 2, 2, 2), ((1, 0), (0, 0)), groups=2),
    "convolution, depthwise, one axis": Convolution(_integers(3, 1, 2), (1, 3, 3), ((1, 1),), stride=(2,), groups=3),
    "convolution, circular, strided": Convolution(_integers(1, 2, 3), (1, 2, 4), ((1, 1),), True, stride=(2,)),
    "convolution, circular, grouped": Convolution(_integers(2, 1, 3), (1, 2, 3), ((1, 1),), True, groups=2),
    "diagonal": Diagonal(_integers(1, 3, 1), (2, 3, 2)),
    "average pooling": pooling((1, 1, 4, 4), (2, 2)),
    "average pooling, clipped": pooling((1, 1, 3, 5), (2, 3)),
    "rearrange": Rearrange((2, 3), (3, 2), (1, 0)),
    "pad": Pad((2, 2), ((1, 0), (0, 2))),
    "pad, circular": Pad((2, 3), ((1, 2), (0, 1)), True),
}
MAPS |= {f"adjoint of {name}": Adjoint(map_) for name, map_ in MAPS.items()}
MAPS["adjoint of adjoint"] = Adjoint(Adjoint(MAPS["dense"]))


def materialise(linear_map) -> np.ndarray:
    """The matrix of a map whose entries are exact in float64."""
    basis = np.eye(size(linear_map.input_shape))
    return np.stack([apply(linear_map, e.reshape(linear_map.input_shape)).ravel() for e in basis], 1)


@pytest.mark.parametrize("name", MAPS)
def test_l2_norm_encloses(name):
    linear_map = MAPS[name]
    found, matrix = norm(linear_map), materialise(linear_map)
    if "clipped" in name:  # 1 / 6 is no float: the materialised matrix is rounded
        assert found.lower**2 <= Fraction(1, 6) <= found.upper**2
        assert found.upper - found.lower < Fraction(1, 10**30)
        return
    assert at_most(matrix, found.upper)
    assert at_least(matrix, found.lower)
    assert found.upper <= found.lower * (1 + Fraction(1, 10**10))


@pytest.mark.parametrize("name", MAPS)
def test_linf_output_norm_encloses(name):
    linear_map = MAPS[name]
    found, matrix = norm(linear_map, LOGITS), materialise(linear_map)
    squares = (
        [Fraction(1, 6)]
        if "clipped" in name and "adjoint" not in name
        else [sum((Fraction(x) ** 2 for x in row), Fraction(0)) for row in matrix.tolist()]
    )
    assert found.lower**2 <= max(squares) <= found.upper**2 * (1 + Fraction(1, 10**14) * ("clipped" in name))


def test_rows_of_grouped_maps_are_those_of_one_group():
    """The largest row of a convolution, of its adjoint too: never the sum over the groups."""
    kernel = Enclosure(np.array([3.0, 4.0, 1.0, 1.0]).reshape(4, 1, 1))
    grouped = Convolution(kernel, (1, 2, 5), ((0, 0),), groups=2)
    assert norm(grouped, LOGITS).upper == 4 and norm(grouped, LOGITS).lower == 4
    assert norm(Adjoint(grouped), LOGITS).upper == 5


def test_tight_reaches_through_adjoints():
    kernel = Enclosure(np.random.default_rng(0).standard_normal((8, 8, 3, 3)))
    convolution = Convolution(kernel, (1, 8, 24, 24), ((1, 1), (1, 1)))
    loose, found = norm(Adjoint(convolution)), norm(Adjoint(convolution), tight=True)
    assert loose.lower <= found.upper <= min(loose.upper, found.lower * (1 + Fraction(1, 2000)))


@pytest.mark.parametrize("name", MAPS)
def test_vector_has_the_input_shape_and_nearly_attains(name):
    linear_map = MAPS[name]
    found = norm(linear_map)
    if found.vector is not None:
        assert found.vector.shape == linear_map.input_shape
        ratio = np.linalg.norm(apply(linear_map, found.vector)) / np.linalg.norm(found.vector)
        assert ratio >= float(found.lower) * (1 - 1e-6)


@pytest.mark.parametrize(
    ("linear_map", "truth"),
    [
        (Dense(Enclosure(np.eye(4)), (3, 4)), 1),
        (pooling((1, 2, 5, 4), (2, 2)), Fraction(1, 2)),
        (pooling((1, 2, 1, 4), (2, 2)), 0),
        (Rearrange((2, 3), (6,)), 1),
        (Pad((2, 3), ((0, 0), (1, 1))), 1),
        (Pad((2, 3), ((2, 0), (3, 6)), True), None),
        (Diagonal(Enclosure(np.array([0.5, -0.75])), (3, 2)), Fraction(3, 4)),
        (Diagonal(Enclosure(np.array(2.0**-1074)), (3, 2)), Fraction(1, 2**1074)),
    ],
)
def test_exact_norms(linear_map, truth):
    found = norm(linear_map)
    assert found.rigor is Rigor.EXACT
    assert truth is None or found.lower == found.upper == truth


@pytest.mark.parametrize(
    "linear_map",
    [
        Dense(Enclosure(np.ones((2, 3))), (0, 3)),
        Dense(Enclosure(np.ones((0, 3))), (3,)),
        Diagonal(Enclosure(np.ones(3)), (0, 3)),
        Rearrange((0, 3), (3, 0)),
        Pad((0, 3), ((0, 0), (0, 0))),
        pooling((0, 1, 2, 2), (1, 1)),
        Adjoint(Dense(Enclosure(np.ones((2, 3))), (0, 3))),
    ],
)
@pytest.mark.parametrize("norms", [L2, LOGITS])
def test_empty_maps_have_norm_zero(linear_map, norms):
    assert norm(linear_map, norms).upper == 0


def test_radius_of_a_diagonal_is_added():
    found = norm(Diagonal(Enclosure(np.array([0.5, -0.75]), np.array([0.5, 0.125])), (2,)))
    assert found.lower <= Fraction(5, 8) and found.upper >= Fraction(1)


def test_what_is_not_covered_is_refused():
    with pytest.raises(NotImplementedError, match="linf->l2"):
        norm(MAPS["dense"], NormPair("linf", "l2"))
    relu = Pointwise("relu", (2,), (Fraction(0), Fraction(1)), (0.0,), lambda x: np.maximum(x, 0))
    for norms in (L2, LOGITS):
        with pytest.raises(TypeError, match="Pointwise"):
            norm(relu, norms)
    with pytest.raises(ValueError, match="nan"):
        norm(Diagonal(Enclosure(np.array([np.nan])), (1,)))
    with pytest.raises(ValueError, match="crop"):
        norm(Pad((4,), ((-1, 0),)))


def test_an_empty_enclosure_cannot_be_made():
    with pytest.raises(Contradiction, match="above"):
        NormEnclosure(Fraction(2), Fraction(1), "test")


def test_the_norm_of_an_enclosed_diagonal_is_that_of_its_largest_entry_and_not_of_the_largest_radius():
    found = norm(Diagonal(Enclosure(np.array([4.0, 0.5]), np.array([0.0, 0.25])), (2,)))
    assert found.lower == found.upper == 4
    found = norm(Diagonal(Enclosure(np.array([-4.0, 0.5]), np.array([2.0**-60, 3.0])), (2,)))
    assert 4 - Fraction(1, 2**49) <= found.lower <= 4 - Fraction(1, 2**60)
    assert 4 + Fraction(1, 2**60) <= found.upper <= 4 + Fraction(1, 2**49)
    tiny = norm(Diagonal(Enclosure(np.array(2.0**-1074), np.array(2.0**-1074)), (2,)))
    assert tiny.lower == 0 and tiny.upper >= Fraction(1, 2**1073)
