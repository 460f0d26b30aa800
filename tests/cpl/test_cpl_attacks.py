"""Attacks judge certificates: what they find is checked, and a certificate they break is an error."""

import sys

import pytest
import torch

import cpl
from cpl.attacks import Attack, search

CONFIG = cpl.CPLNetConfig(channels=4, conv_blocks=1, conv_inner=4, dense_blocks=1, dense_inner=16)
FAST = Attack(steps=5)


@pytest.fixture(scope="module")
def trained():
    """A sealed model after a few epochs on digits, and its images."""
    run = cpl.Run(cpl.TrainSettings(epochs=6), CONFIG)
    model = run.model.train()
    for _ in range(run.settings.epochs):
        for batch in torch.randperm(1400, generator=run.generator).split(128):
            run.step(run.split.train_x[batch], run.split.train_y[batch])
    return cpl.seal(model, CONFIG.image_shape), run.split.test_x[:32], run.split.test_y[:32]


def test_certified_is_below_empirical_is_below_clean(trained):
    model, x, y = trained
    accuracy = cpl.evaluate(model, x, y, radii=(0.1, 0.3, 1.0), attack=FAST)
    found = accuracy.empirical
    assert found is not None and found.images == 32 and accuracy.clean == found.clean > 0.5
    for (_, certified), (_, robust) in zip(found.certified, found.robust, strict=True):
        assert certified <= robust <= found.clean
    assert found.robust[-1][1] < found.robust[0][1]
    assert sum(number for _, number in found.broken_by) > 0


@pytest.mark.parametrize("name", ["pgd", "apgd-ce", "apgd-t", "fab"])
def test_each_attack_alone_finds_wrong_inputs_within_the_radius(trained, name):
    model, x, y = trained
    broken = search(model, x, y, radii=(1.0,), attack=Attack(steps=8, names=(name,)))
    assert 0 < float(broken.at(1.0).double().mean()) <= 1
    assert torch.equal(broken.by >= 0, (broken.distance > 0) & broken.distance.isfinite())
    assert not bool((broken.distance[broken.distance.isfinite()] > 1).any())


def test_a_seed_decides_what_is_found_and_the_global_generator_is_left_alone(trained):
    model, x, y = trained
    before = torch.get_rng_state()
    first, second = (search(model, x, y, radii=(0.5,), attack=FAST) for _ in range(2))
    assert torch.equal(first.distance, second.distance) and torch.equal(before, torch.get_rng_state())


def test_only_the_first_images_are_attacked(trained):
    model, x, y = trained
    accuracy = cpl.evaluate(model, x, y, attack=Attack(steps=2, images=10))
    assert accuracy.images == 32 and accuracy.empirical.images == 10


def test_a_certificate_that_an_attack_breaks_is_an_error(trained, monkeypatch):
    model, x, y = trained
    monkeypatch.setattr("cpl.certify.trunk_constant", lambda model: 0.1)
    with pytest.raises(cpl.Violation, match=r"certified at .*, broken by"):
        cpl.evaluate(model, x, y, attack=FAST)


def test_an_input_outside_the_ball_or_the_box_breaks_nothing(trained, monkeypatch):
    """A library that returns any image at all, or NaN, is not believed."""
    model, x, y = trained
    for far in (x.roll(1, 0), torch.full_like(x, float("nan")), x + 3):
        monkeypatch.setattr("cpl.attacks._attack", lambda name, settings, far=far: lambda *rest: far[: len(rest[1])])
        broken = search(model, x, y, radii=(1e-3,), attack=Attack())
        assert not bool((broken.distance.isfinite() & (broken.distance > 1e-3)).any())


def test_the_stand_in_for_a_package_is_taken_away_again(trained):
    model, x, y = trained
    search(model, x[:2], y[:2], radii=(0.1,), attack=Attack(steps=1, names=("fab",)))
    assert "visdom" not in sys.modules and "adv_lib.attacks" not in sys.modules


def test_a_missing_library_is_named_with_its_command(trained, monkeypatch):
    model, x, y = trained
    monkeypatch.setitem(sys.modules, "foolbox", None)
    with pytest.raises(cpl.CplError, match="pip install foolbox"):
        cpl.evaluate(model, x, y, attack=FAST)


@pytest.mark.parametrize("arguments", [{"steps": 0}, {"images": -1}, {"names": ("deepfool",)}, {"seed": -1}])
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(cpl.ArgumentError):
        Attack(**arguments)


def test_images_of_another_shape_name_the_expected_one(trained):
    model, _, y = trained
    with pytest.raises(cpl.ArgumentError, match=r"\(1, 8, 8\)"):
        cpl.evaluate(model, torch.zeros(3, 1, 9, 9), y[:3])


def test_standardisation_inside_the_network_divides_the_radius(trained):
    """Its constant 1 / min std enters every certificate."""
    _, x, y = trained
    config = cpl.CPLNetConfig(**{**CONFIG.to_dict(), "mean": (0.3,), "std": (0.25,)})
    model = cpl.seal(cpl.CPLNet(config, generator=torch.Generator().manual_seed(0)), CONFIG.image_shape)
    assert cpl.trunk_constant(model) == pytest.approx(4.0)
    shares = dict(cpl.evaluate(model, x, y, radii=(0.01, 0.04)).certified)
    again = dict(cpl.evaluate(model, x, y, radii=(0.01, 0.04)).certified)
    assert shares == again
    claims = {claim["layer"]: claim["bound"] for claim in cpl.claims_of(model)["claims"] if "norm" not in claim}
    assert float(claims["trunk"]) == pytest.approx(4.0) and claims["trunk.dense1"] == "1"
