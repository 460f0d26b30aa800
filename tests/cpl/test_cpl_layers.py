"""Layers: exact norms, eager validation, and no claim without a seal."""

import pytest
import torch

import cpl


def jacobian(function, x):
    return torch.autograd.functional.jacobian(function, x).reshape(function(x).numel(), x.numel())


@pytest.mark.parametrize("size", [(4, 4), (6, 4), (5, 7)], ids=str)
@pytest.mark.parametrize("window", [1, 2, 3])
def test_pooling_has_norm_exactly_one(window, size):
    matrix = jacobian(cpl.UnitNormAvgPool2d(window), torch.zeros(1, 2, *size, dtype=torch.float64))
    torch.testing.assert_close(matrix @ matrix.t(), torch.eye(len(matrix), dtype=torch.float64), rtol=0, atol=1e-15)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4, 5)], ids=str)
def test_zero_channel_padding_is_an_isometry(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    padded = cpl.ZeroChannelPad(3, 7)(x)
    assert padded.shape == (shape[0], 7, *shape[2:])
    assert torch.equal(padded[:, :3], x)
    assert not padded[:, 3:].any()


@pytest.mark.parametrize(
    "make",
    [
        lambda: cpl.ConvexPotentialLinear(0, 3),
        lambda: cpl.ConvexPotentialLinear(3, 2.0),  # type: ignore[arg-type]
        lambda: cpl.ConvexPotentialLinear(True, 2),
        lambda: cpl.ConvexPotentialConv2d(3, 2, kernel_size=4),
        lambda: cpl.ConvexPotentialConv2d(3, 2, padding_mode="reflect"),
        lambda: cpl.ConvexPotentialConv2d(-1, 2),
        lambda: cpl.NormalizedLinear(3, 0),
        lambda: cpl.ZeroChannelPad(4, 3),
        lambda: cpl.UnitNormAvgPool2d(0),
        lambda: cpl.CPLNetConfig(image_shape=(8, 8)),  # type: ignore[arg-type]
        lambda: cpl.CPLNetConfig(features=3),
        lambda: cpl.CPLNetConfig(channels=1, image_shape=(3, 8, 8)),
        lambda: cpl.TrainSettings(epochs=0),
        lambda: cpl.TrainSettings(rate=float("nan")),
    ],
)
def test_bad_arguments_are_refused_where_they_are_given(make):
    with pytest.raises(cpl.ArgumentError, match=r"where: .*why: .*next: "):
        make()


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (cpl.ConvexPotentialLinear(4, 2), (1, 4)),
        (cpl.ConvexPotentialConv2d(2, 3), (1, 2, 4, 4)),
        (cpl.NormalizedLinear(4, 2), (1, 4)),
    ],
    ids=["linear", "conv", "rows"],
)
def test_unsealed_layers_refuse_eval_mode(layer, shape):
    layer.train()(torch.zeros(shape))
    with pytest.raises(cpl.SealError, match="unsealed"):
        layer.eval()(torch.zeros(shape))


def test_training_iterate_follows_the_image_size_and_survives_a_state_dict():
    layer = cpl.ConvexPotentialConv2d(2, 3, generator=torch.Generator().manual_seed(0))
    layer(torch.zeros(1, 2, 4, 4))
    layer(torch.zeros(1, 2, 6, 5))
    copy = cpl.ConvexPotentialConv2d(2, 3)
    copy.load_state_dict(layer.state_dict())
    assert copy.iterate.shape == (1, 2, 6, 5)
    assert torch.equal(copy.iterate, layer.iterate)


def test_a_generator_decides_the_weights_and_the_global_one_is_left_alone():
    before = torch.get_rng_state()
    first, second = (cpl.CPLNet(generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert torch.equal(before, torch.get_rng_state())


def test_config_survives_plain_types():
    config = cpl.CPLNetConfig(features=300, padding_mode="circular")
    assert cpl.CPLNetConfig.from_dict(config.to_dict()) == config
    with pytest.raises(cpl.CheckpointError):
        cpl.CPLNetConfig.from_dict({"width": 3})


def test_margin_loss_tends_to_the_hinge():
    logits = torch.tensor([[1.0, 0.8, -1.0]], dtype=torch.float64)
    loss = cpl.margin_cross_entropy(logits, torch.tensor([0]), offset=0.5, temperature=1e-3)
    assert float(loss) == pytest.approx(0.3, abs=1e-9)
