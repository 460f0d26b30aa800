"""What cpl seals, lipverify proves: every kind of layer in two networks, and a thousand blocks in one."""

import math

import torch
from torch import nn

import cpl
import lipverify

UNDECIDED = {"implicit", "circular groups"}  # no rule of the audit covers them; their docstrings say so


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def verdicts(layers, shape):
    """The verdict on the claim 1 for each named layer of a sealed chain."""
    model = nn.Sequential()
    for name, layer in layers.items():
        for index, parameter in enumerate(layer.parameters()):
            with torch.no_grad():
                noise = torch.randn(parameter.shape, generator=generator(index))
                parameter.copy_(noise if parameter.ndim < 2 else noise / math.sqrt(parameter[0].numel()))
        model.add_module(name, layer)
    claims = [{"layer": name, "bound": "1"} for name in layers]
    sealed = cpl.seal(model, shape)
    report = lipverify.audit(sealed, torch.zeros(1, *shape), claims=claims, verifiers=["spectral"])
    return {row.path: str(row.verdict) for row in report.regions if row.claim is not None}


def test_every_dense_layer():
    layers = {name: cpl.ConvexPotentialLinear(6, 4, activation=name) for name in cpl.ACTIVATIONS}
    layers |= {
        "learned step": cpl.ConvexPotentialLinear(6, 4, learn_step=True, activation="tanh"),
        "implicit": cpl.ConvexPotentialLinear(6, 4, iterations=3, reach=2),
        "flow": cpl.ConvexPotentialFlow(cpl.ConvexPotentialLinear(6, 4), steps=3),
        "maxmin": cpl.MaxMin(),
        "cayley": cpl.CayleyLinear(6),
        "exponential": cpl.ExponentialLinear(6),
        "sll": cpl.SLLLinear(6, 8),
        "aol": cpl.AOLLinear(6, 6),
        "spectral": cpl.SpectralLinear(6, 4),
    }
    found = verdicts(layers, (6,))
    assert {name for name, verdict in found.items() if verdict != "PROVED"} == {"implicit"} & UNDECIDED
    assert found["implicit"] == "UNDECIDED"


def test_every_convolutional_layer():
    layers = {
        "zeros": cpl.ConvexPotentialConv2d(2, 3),
        "circular": cpl.ConvexPotentialConv2d(2, 3, padding_mode="circular", activation="elu"),
        "flow": cpl.ConvexPotentialFlow(cpl.ConvexPotentialConv2d(2, 3), steps=2),
        "cayley": cpl.CayleyConv2d(2),
        "exponential": cpl.ExponentialConv2d(2),
        "sll": cpl.SLLConv2d(2, 3),
        "aol": cpl.AOLConv2d(2, 2),
        "spectral": cpl.SpectralConv2d(2, 4, groups=2),
        "groups": cpl.ConvexPotentialConv2d(4, 2, groups=2),
        "circular groups": cpl.ConvexPotentialConv2d(4, 2, groups=2, padding_mode="circular"),
        "maxmin": cpl.MaxMin(),
        "down": nn.PixelUnshuffle(2),
        "pool": cpl.UnitNormAvgPool2d(2),
    }
    found = verdicts(layers, (2, 4, 4))
    assert {name for name, verdict in found.items() if verdict != "PROVED"} == {"circular groups"} & UNDECIDED
    assert found["circular groups"] == "UNDECIDED"


def test_a_standardised_network_with_stages_is_proved_in_all_its_claims():
    config = cpl.CPLNetConfig(
        image_shape=(3, 8, 8), mean=(0.4, 0.5, 0.6), std=(0.25, 0.5, 0.3), downsample=2, channels=16, conv_blocks=1,
        conv_inner=4, deeper=((1, 8),), pool=1, dense_blocks=1, dense_inner=8, maxmin=True, head="spectral",
    )  # fmt: skip
    model = cpl.seal(cpl.CPLNet(config, generator=generator()), config.image_shape)
    claims = cpl.claims_of(model)["claims"]
    report = lipverify.audit(model, torch.zeros(1, 3, 8, 8), claims=claims, verifiers=["spectral"])
    rows = [row for row in report.regions if row.claim is not None]
    assert len(rows) == len(claims) and {str(row.verdict) for row in rows} == {"PROVED"}
    assert float(next(row.upper for row in rows if row.path == "trunk")) <= 4 * (1 + 1e-6)


def test_a_thousand_blocks_train_and_are_proved():
    config = cpl.CPLNetConfig(
        image_shape=(1, 8, 8),
        channels=1,
        conv_blocks=0,
        pool=2,
        features=16,
        dense_blocks=1000,
        dense_inner=4,
        reach=0.01,
    )
    run = cpl.Run(cpl.TrainSettings(rate=1e-2), config)
    losses = [
        run.step(run.split.train_x[batch], run.split.train_y[batch]) for batch in torch.arange(512).split(128) * 2
    ]
    assert all(map(math.isfinite, losses)) and losses[-1] < 0.9 * losses[0]
    model = cpl.seal(run.model, config.image_shape)
    report = lipverify.audit(
        model, torch.zeros(1, 1, 8, 8), claims=[{"layer": "trunk", "bound": "1"}], verifiers=["spectral"]
    )
    assert [str(row.verdict) for row in report.regions if row.path == "trunk"] == ["PROVED"]
