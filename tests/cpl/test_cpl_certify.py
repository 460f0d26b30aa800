"""Certified accuracy: against every other class, never for ties or NaN, and sound against an attack."""

import math
from fractions import Fraction

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

import cpl

EYE = torch.eye(3, dtype=torch.float64)


@pytest.mark.parametrize(
    ("logits", "radius", "wanted"),
    [
        ([1.0, 0.0, 0.0], 0.0, True),
        ([1.0, 1.0, 0.0], 0.0, False),
        ([0.0, 1.0, 0.0], 0.0, False),
        ([math.nan, 0.0, 0.0], 0.0, False),
        ([1.0, math.nan, 0.0], 0.0, False),
        ([math.inf, 0.0, 0.0], 0.1, False),
        ([math.inf, math.inf, 0.0], 0.0, False),
        ([1.0, -math.inf, -math.inf], 0.1, False),
        ([math.sqrt(2), 0.0, 0.0], 0.999999, True),
        ([math.sqrt(2), 0.0, 0.0], 1.000001, False),
    ],
)
def test_margin_of_an_orthonormal_head(logits, radius, wanted):
    found = cpl.certified(torch.tensor([logits], dtype=torch.float64), torch.tensor([0]), EYE, radius)
    assert found.tolist() == [wanted]


def test_the_runner_up_does_not_suffice():
    """Class 1 is the runner-up but its row is close; class 2 has a lower logit, and a row far away."""
    head = torch.tensor([[1.0, 0.0], [0.99, 0.1], [-1.0, 0.0]])
    logits, label = torch.tensor([[1.0, 0.8, 0.5]]), torch.tensor([0])
    assert not bool(cpl.certified(logits, label, head, 0.3))
    assert bool(cpl.certified(logits[:, :2], label, head[:2], 0.3))


@given(
    logits=st.lists(st.floats(-5, 5), min_size=3, max_size=3), small=st.floats(0, 2), large=st.floats(0, 2),
    label=st.integers(0, 2),
)  # fmt: skip
def test_certified_shrinks_with_the_radius(logits, small, large, label):
    small, large = sorted((small, large))
    z, y = torch.tensor([logits], dtype=torch.float64), torch.tensor([label])
    if bool(cpl.certified(z, y, EYE, large)):
        assert bool(cpl.certified(z, y, EYE, small))
        assert max(range(3), key=lambda i: logits[i]) == label


def test_no_step_of_a_certified_radius_changes_the_answer():
    config = cpl.CPLNetConfig(
        image_shape=(1, 4, 4), channels=4, conv_blocks=1, dense_blocks=1, dense_inner=6, classes=4
    )
    model = cpl.seal(cpl.CPLNet(config, generator=torch.Generator().manual_seed(0)), (1, 4, 4))
    x = torch.randn(200, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        labels = model(x).argmax(dim=1)
    radius = 0.05
    safe = cpl.certified(model(x).detach(), labels, model.head.weight.detach(), radius)
    assert 0 < int(safe.sum()) < 200
    for target in range(4):
        moved = x.clone().requires_grad_()
        gap = model(moved).gather(1, labels[:, None])[:, 0] - model(moved)[:, target]
        (gradient,) = torch.autograd.grad(gap.sum(), moved)
        norms = gradient.flatten(1).norm(dim=1).clamp_min(1e-9)[:, None, None, None]
        attacked = model(x - radius * gradient / norms).argmax(dim=1)
        assert torch.equal(attacked[safe], labels[safe])


@pytest.mark.parametrize(("margin", "wanted"), [(1.5 * 2.0**-40, False), (2.5 * 2.0**-40, True)])
def test_the_rounding_of_both_logits_is_taken_from_the_margin(margin, wanted):
    logits = torch.tensor([[1 + margin, 1.0, 0.0]], dtype=torch.float64)
    errors = torch.full_like(logits, 2.0**-40)
    assert cpl.certified(logits, torch.tensor([0]), EYE, 0.0, errors=errors).tolist() == [wanted]
    assert cpl.certified(logits, torch.tensor([0]), EYE, 0.0).tolist() == [True]


@pytest.mark.parametrize("rounded", [False, True])
def test_what_is_certified_holds_in_exact_arithmetic_at_the_last_bit(rounded):
    """Radii one step of floating point around margin / ||w_0 - w_1||, compared as squares of fractions."""
    generator = torch.Generator().manual_seed(0)
    logits, label = torch.tensor([[1.0, 0.0]], dtype=torch.float64), torch.tensor([0])
    errors = torch.zeros_like(logits) if rounded else None
    for _ in range(200):
        head = torch.randn(2, 8, generator=generator).double()
        square = sum((Fraction(a) - Fraction(b)) ** 2 for a, b in zip(*head.tolist(), strict=True))
        middle = 1 / math.sqrt(square)
        for radius in (math.nextafter(middle, 0), middle, math.nextafter(middle, math.inf)):
            held = bool(cpl.certified(logits, label, head, radius, errors=errors))
            assert not held or square * Fraction(radius) ** 2 < 1
        assert bool(cpl.certified(logits, label, head, middle * (1 - 2**-40), errors=errors))


def test_a_constant_before_the_head_multiplies_the_radius():
    logits = torch.tensor([[1.0, 0.0, 0.0]])
    for constant, wanted in ((1.0, True), (1.41, True), (1.42, False), (4.0, False)):
        assert bool(cpl.certified(logits, torch.tensor([0]), EYE, 0.5, constant=constant)) is wanted
    with pytest.raises(cpl.ArgumentError, match="constant"):
        cpl.certified(logits, torch.tensor([0]), EYE, 0.5, constant=-1.0)


def test_accuracy_needs_a_seal():
    with pytest.raises(cpl.SealError, match="not sealed"):
        cpl.evaluate(cpl.CPLNet(), torch.zeros(1, 1, 8, 8), torch.zeros(1, dtype=torch.int64))


@pytest.mark.parametrize("radius", [-1e-9, -math.inf, math.inf, math.nan, "0.1", None])
def test_radii_that_are_none(radius):
    with pytest.raises(cpl.ArgumentError, match="radius"):
        cpl.certified(torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([0]), EYE, radius)


@pytest.mark.parametrize(
    ("logits", "labels", "match"),
    [
        (torch.zeros(1, 3), torch.tensor([-1]), "no classes"),
        (torch.zeros(1, 3), torch.tensor([3]), "no classes"),
        (torch.zeros(1, 3), torch.tensor([0.0]), "no classes"),
        (torch.zeros(2, 3), torch.tensor([0]), r"labels \(1,\)"),
        (torch.zeros(1, 4), torch.tensor([0]), r"logits \(1, 4\)"),
        (torch.zeros(3), torch.tensor([0, 0, 0]), r"logits \(3,\)"),
    ],
)
def test_labels_that_do_not_fit(logits, labels, match):
    with pytest.raises(cpl.ArgumentError, match=match):
        cpl.certified(logits, labels, EYE, 0.1)


@pytest.mark.parametrize(("images", "labels"), [(0, 0), (2, 1)])
def test_accuracy_needs_images(images, labels):
    config = cpl.CPLNetConfig(channels=4, conv_blocks=1, conv_inner=4, dense_blocks=1, dense_inner=4)
    model = cpl.seal(cpl.CPLNet(config), (1, 8, 8))
    with pytest.raises(cpl.ArgumentError, match="nothing can be measured"):
        cpl.evaluate(model, torch.zeros(images, 1, 8, 8), torch.zeros(labels, dtype=torch.int64))
    with pytest.raises(cpl.ArgumentError, match="radius"):
        cpl.evaluate(model, torch.zeros(1, 1, 8, 8), torch.zeros(1, dtype=torch.int64), radii=(-100.0,))
