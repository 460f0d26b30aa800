"""Attacks judge certificates: what they find is checked, and a certificate they break is an error."""

import copy
import sys

import pytest
import torch

import cpl
import cpl.ensemble
from cpl.attacks import Attack, search
from cpl.ensemble import NAMES

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
    found = []
    for state in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(state)
            before = torch.get_rng_state()
            found.append(search(model, x, y, radii=(0.5,), attack=FAST).distance)
            assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(*found)
    assert not torch.equal(found[0], search(model, x, y, radii=(0.5,), attack=Attack(steps=5, seed=1)).distance)


def test_only_the_first_images_are_attacked(trained):
    model, x, y = trained
    accuracy = cpl.evaluate(model, x, y, attack=Attack(steps=2, images=10))
    assert accuracy.images == 32 and accuracy.empirical is not None and accuracy.empirical.images == 10


def test_a_certificate_that_an_attack_breaks_is_an_error(trained, monkeypatch):
    model, x, y = trained
    monkeypatch.setattr("cpl.certify.trunk_constant", lambda model: 0.1)
    with pytest.raises(
        cpl.Violation, match=r"image \d+ is certified at [\d.]+, broken by pgd at .* margin .* is [\d.]+;"
    ):
        cpl.evaluate(model, x, y, attack=FAST)


def test_a_certificate_of_an_image_that_the_model_gets_wrong_is_an_error(trained, monkeypatch):
    model, x, y = trained
    everything = lambda logits, labels, *rest, **more: torch.ones(len(labels), dtype=torch.bool)  # noqa: E731
    monkeypatch.setattr("cpl.certify.certified", everything)
    wrong = (y + 1) % 10
    with pytest.raises(
        cpl.Violation, match=r"image 0 is certified at 0.1, not classified correctly by the model itself"
    ):
        cpl.evaluate(model, x, wrong, radii=(0.1,), attack=FAST)


def test_certificates_that_grow_with_the_radius_are_an_error(trained, monkeypatch):
    model, x, y = trained
    sound = cpl.certified
    monkeypatch.setattr(
        "cpl.certify.certified", lambda z, y, head, r, **more: sound(z, y, head, 0.0 if r == 1.0 else 3 * r)
    )
    with pytest.raises(cpl.Violation, match=r"certified at 1, but not at 0\.5"):
        cpl.evaluate(model, x, y, radii=(0.5, 1.0))


def test_an_input_outside_the_ball_or_the_box_breaks_nothing(trained, monkeypatch):
    """A library that returns any image at all, or NaN, is not believed."""
    model, x, y = trained
    for far in (x.roll(1, 0), torch.full_like(x, float("nan")), x + 3):
        monkeypatch.setattr(
            "cpl.attacks.method_named", lambda name, far=far, **settings: lambda *rest: far[: len(rest[1])]
        )
        broken = search(model, x, y, radii=(1e-3,), attack=Attack())
        assert not bool((broken.distance.isfinite() & (broken.distance > 1e-3)).any())


def test_what_is_nearest_is_searched_once_for_all_radii(trained, monkeypatch):
    model, x, y = trained
    asked = []

    def named(name, **settings):
        method = cpl.ensemble.method_named(name, **settings)
        return lambda *rest: (asked.append(rest[-1]), method(*rest))[1]

    monkeypatch.setattr("cpl.attacks.method_named", named)
    broken = search(model, x, y, radii=(1.0, 0.2, 0.5), attack=Attack(steps=5, names=("fab",)))
    assert asked == [0.2]
    counts = [int(broken.at(radius).sum()) for radius in (0.2, 0.5, 1.0)]
    assert counts[0] < counts[1] < counts[2]


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_few_classes_and_many(classes):
    """The ratio of differences of logits takes four of them, and more than ten are not all tried."""
    config = cpl.CPLNetConfig(**{**CONFIG.to_dict(), "classes": classes})
    model = cpl.seal(cpl.CPLNet(config, generator=torch.Generator().manual_seed(0)), CONFIG.image_shape)
    x = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    y = model(x).argmax(dim=1)
    for name in NAMES:
        assert bool(search(model, x, y, radii=(0.5,), attack=Attack(steps=3, names=(name,))).at(0.5).any())


def test_float64_models_and_short_labels_are_attacked_like_others():
    model = cpl.CPLNet(CONFIG, generator=torch.Generator().manual_seed(0))
    single, double = (cpl.seal(each, CONFIG.image_shape) for each in (model, copy.deepcopy(model).double()))
    x = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    y = single(x).argmax(dim=1)
    first = cpl.evaluate(single, x, y, radii=(0.02, 1.0), attack=FAST)
    second = cpl.evaluate(double, x, y.to(torch.uint8), radii=(0.02, 1.0), attack=FAST)
    assert first.certified == second.certified and first.empirical is not None and second.empirical is not None
    assert first.empirical.robust == second.empirical.robust and first.empirical.robust[1][1] < 1


def test_lazy_images_are_taken_by_the_batch(trained):
    model, x, y = trained

    class Lazy:
        shape = tuple(x.shape)
        longest = 0

        def __len__(self):
            return len(x)

        def __getitem__(self, index):
            taken = x[index]
            self.longest = max(self.longest, len(taken))
            return taken

    lazy, attack = Lazy(), Attack(steps=2, batch_size=8, images=20)
    assert cpl.evaluate(model, lazy, y, batch_size=8, attack=attack) == cpl.evaluate(model, x, y, attack=attack)
    assert lazy.longest == 8


def test_progress_is_reported(trained):
    model, x, y = trained
    seen = []
    attack = Attack(steps=1, batch_size=8, images=20, names=("pgd",))
    cpl.evaluate(model, x, y, attack=attack, report=lambda done, count: seen.append((done, count)))
    assert seen == [(8, 20), (16, 20), (20, 20)]


def test_the_stand_in_for_a_package_is_taken_away_again(trained):
    model, x, y = trained
    search(model, x[:2], y[:2], radii=(0.1,), attack=Attack(steps=1, names=("fab",)))
    assert "visdom" not in sys.modules and "adv_lib.attacks" not in sys.modules


def test_a_missing_library_is_named_with_its_command(trained, monkeypatch):
    model, x, y = trained
    monkeypatch.setitem(sys.modules, "foolbox", None)
    with pytest.raises(cpl.CplError, match="pip install foolbox"):
        cpl.evaluate(model, x, y, attack=FAST)


@pytest.mark.parametrize(
    "arguments", [{"steps": 0}, {"images": -1}, {"names": ("deepfool",)}, {"seed": -1}, {"names": ()}]
)
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(cpl.ArgumentError):
        Attack(**arguments)


def test_images_of_another_shape_name_the_expected_one(trained):
    model, _, y = trained
    with pytest.raises(cpl.ArgumentError, match=r"\(1, 8, 8\)"):
        cpl.evaluate(model, torch.zeros(3, 1, 9, 9), y[:3])


def test_standardisation_inside_the_network_divides_the_radius(trained):
    """Its constant 1 / min std enters every certificate."""
    _, x, _ = trained
    config = cpl.CPLNetConfig(**{**CONFIG.to_dict(), "mean": (0.3,), "std": (0.25,)})
    model = cpl.seal(cpl.CPLNet(config, generator=torch.Generator().manual_seed(0)), CONFIG.image_shape)
    assert cpl.trunk_constant(model) == pytest.approx(4.0)
    logits = model(x).detach()
    y = logits.argmax(dim=1)

    def share(radius):
        return float(cpl.certified(logits, y, model.head.weight.detach(), radius).double().mean())

    assert cpl.evaluate(model, x, y, radii=(0.02,)).certified == ((0.02, share(0.08)),)
    assert 0 < share(0.08) < share(0.02)
    claims = {claim["layer"]: claim["bound"] for claim in cpl.claims_of(model)["claims"] if "norm" not in claim}
    assert float(claims["trunk"]) == pytest.approx(4.0) and claims["trunk.dense1"] == "1"
