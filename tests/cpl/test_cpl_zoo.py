"""Every trainable layer, sealed: the function it was trained to, a dense Jacobian within its constant, tensors that load."""

import math

import pytest
import torch
from torch import nn

import cpl
from cpl.activations import ACTIVATIONS


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


CASES = {
    **{
        f"dense {name}": (lambda name=name: cpl.ConvexPotentialLinear(6, 4, activation=name), (6,))
        for name in ACTIVATIONS
    },
    "dense learned step": (lambda: cpl.ConvexPotentialLinear(6, 4, learn_step=True), (6,)),
    "dense learned step tanh": (lambda: cpl.ConvexPotentialLinear(6, 4, learn_step=True, activation="tanh"), (6,)),
    "dense implicit": (lambda: cpl.ConvexPotentialLinear(6, 9, iterations=5, reach=8), (6,)),
    "dense implicit tanh": (lambda: cpl.ConvexPotentialLinear(6, 4, iterations=3, reach=2, activation="tanh"), (6,)),
    "dense implicit learned step": (
        lambda: cpl.ConvexPotentialLinear(6, 4, iterations=3, reach=4, learn_step=True),
        (6,),
    ),
    "implicit flow learned step": (
        lambda: cpl.ConvexPotentialFlow(
            cpl.ConvexPotentialLinear(6, 4, iterations=3, reach=4, learn_step=True, activation="tanh"), steps=2
        ),
        (6,),
    ),
    "conv": (lambda: cpl.ConvexPotentialConv2d(2, 3), (2, 4, 5)),
    "conv groups": (lambda: cpl.ConvexPotentialConv2d(4, 6, groups=2), (4, 4, 5)),
    "conv circular groups tanh": (
        lambda: cpl.ConvexPotentialConv2d(4, 2, groups=2, padding_mode="circular", activation="tanh"),
        (4, 4, 5),
    ),
    "conv implicit": (lambda: cpl.ConvexPotentialConv2d(2, 3, iterations=4, reach=3), (2, 4, 5)),
    "flow": (lambda: cpl.ConvexPotentialFlow(cpl.ConvexPotentialLinear(6, 4), steps=3, degree=2), (6,)),
    "conv flow": (lambda: cpl.ConvexPotentialFlow(cpl.ConvexPotentialConv2d(2, 3), steps=3), (2, 4, 5)),
    "spectral": (lambda: cpl.SpectralLinear(6, 4), (6,)),
    "spectral conv": (lambda: cpl.SpectralConv2d(4, 6, groups=2), (4, 4, 5)),
    "cayley": (lambda: cpl.CayleyLinear(6), (6,)),
    "cayley conv": (lambda: cpl.CayleyConv2d(2), (2, 4, 5)),
    "exponential": (lambda: cpl.ExponentialLinear(6), (6,)),
    "exponential conv": (lambda: cpl.ExponentialConv2d(2, order=5), (2, 13, 11)),
    "exponential conv on a small map": (lambda: cpl.ExponentialConv2d(2, order=5), (2, 4, 5)),
    "sll": (lambda: cpl.SLLLinear(6, 8), (6,)),
    "sll conv": (lambda: cpl.SLLConv2d(2, 3), (2, 4, 5)),
    "aol": (lambda: cpl.AOLLinear(6, 4), (6,)),
    "aol conv": (lambda: cpl.AOLConv2d(2, 3), (2, 4, 5)),
}
ORTHOGONAL = {name for name in CASES if name.startswith(("cayley", "exponential"))}


def trained(name):
    """The layer with random numbers in all its parameters, in float64, after enough steps of power iteration."""
    make, shape = CASES[name]
    layer = make().double().train()
    with torch.no_grad():
        for index, parameter in enumerate(layer.parameters()):
            noise = torch.randn(parameter.shape, dtype=torch.float64, generator=generator(index))
            parameter.copy_(noise if parameter.ndim < 2 else noise / math.sqrt(parameter[0].numel()))
        for _ in range(300):
            layer(torch.zeros(1, *shape, dtype=torch.float64))
    return layer, shape


@pytest.mark.parametrize("name", CASES)
def test_a_sealed_layer_is_the_trained_one_and_keeps_its_constant(name):
    layer, shape = trained(name)
    sealed = cpl.seal(layer, shape)
    x = 2 * torch.randn(5, *shape, dtype=torch.float64, generator=generator(7))
    torch.testing.assert_close(sealed(x), layer(x).detach(), rtol=2e-3, atol=2e-3)
    for point in x:
        jacobian = torch.autograd.functional.jacobian(lambda y: sealed(y[None])[0], point)
        matrix = jacobian.reshape(-1, point.numel())
        singular = torch.linalg.svdvals(matrix)
        assert float(singular[0]) <= 1 + 1e-12
        if name in ORTHOGONAL:
            assert float(singular[-1]) >= 0.995


@pytest.mark.parametrize("name", CASES)
def test_a_sealed_layer_is_rebuilt_from_its_tensors_and_refuses_larger_ones(name):
    layer, shape = trained(name)
    first = cpl.seal(nn.Sequential(layer.float()), shape)
    tensors = first.state_dict()
    again = cpl.seal(nn.Sequential(CASES[name][0]()), shape, stored=tensors)
    assert cpl.seal_of(again).digest == cpl.seal_of(first).digest
    for key in tensors:
        if key.endswith(("V", "weight", "step")):
            with pytest.raises(cpl.SealError, match="violates"):
                cpl.seal(nn.Sequential(CASES[name][0]()), shape, stored={**tensors, key: tensors[key] * 40})


def test_recomputing_changes_no_number():
    def gradients(on):
        model = cpl.CPLNet(generator=generator())
        model.recompute(on)
        for _ in range(2):
            model(torch.rand(3, 1, 8, 8, generator=generator(1))).square().sum().backward()
        return [*(parameter.grad for parameter in model.parameters()), *model.buffers()]

    assert all(torch.equal(a, b) for a, b in zip(gradients(True), gradients(False), strict=True))


def test_maxmin_permutes_and_refuses_odd_channels():
    x = torch.randn(3, 6, 2, 2, generator=generator())
    y = cpl.MaxMin()(x)
    assert torch.equal(y.sort(dim=1).values, x.sort(dim=1).values) and bool((y[:, :3] >= y[:, 3:]).all())
    with pytest.raises(cpl.ArgumentError, match="pairs"):
        cpl.MaxMin()(torch.zeros(1, 3))


def test_a_standardisation_used_twice_counts_twice():
    model = cpl.CPLNet(cpl.CPLNetConfig(conv_blocks=1, dense_blocks=1, mean=(0.5,), std=(0.5,)))
    first = next(module for module in model.trunk if isinstance(module, cpl.Standardize))
    model.trunk = torch.nn.Sequential(first, *model.trunk)
    assert cpl.trunk_constant(cpl.seal(model, model.config.image_shape)) >= 4


@pytest.mark.parametrize("std", [-torch.inf, torch.inf, torch.nan, 0.0, -1.0])
def test_an_edited_standardisation_has_no_constant(std):
    model = cpl.CPLNet(cpl.CPLNetConfig(conv_blocks=1, dense_blocks=1, mean=(0.5,), std=(0.5,)))
    next(module for module in model.trunk if isinstance(module, cpl.Standardize)).std.fill_(std)
    with pytest.raises(cpl.SealError, match="not finite and positive"):
        cpl.trunk_constant(cpl.seal(model, model.config.image_shape))


def test_a_head_that_stands_in_the_trunk_too_is_refused():
    model = cpl.CPLNet(cpl.CPLNetConfig(conv_blocks=0, features=10, channels=1, pool=8, dense_blocks=1))
    model._modules = {"head": model.head, "trunk": model.trunk}  # so that `head` is the path under which it is sealed
    model.trunk.append(model.head)
    with pytest.raises(cpl.SealError, match="no trunk with a linear head"):
        cpl.evaluate(cpl.seal(model, model.config.image_shape), torch.zeros(1, 1, 8, 8), torch.zeros(1).long())


@pytest.mark.parametrize("place", ["", "trunk.standardize", "trunk.pad"])
def test_a_module_that_is_never_called_is_refused(place):
    model = cpl.CPLNet(cpl.CPLNetConfig(conv_blocks=1, dense_blocks=1, mean=(0.5,), std=(0.5,)))
    model.get_submodule(place).add_module("unused", cpl.Standardize((0.0,), (100.0,)))
    with pytest.raises(cpl.SealError, match="never calls"):
        cpl.seal(model, model.config.image_shape)


@pytest.mark.parametrize(
    "make",
    [
        lambda: cpl.ConvexPotentialLinear(4, 2, activation="gelu"),
        lambda: cpl.ConvexPotentialLinear(4, 2, reach=1.5),
        lambda: cpl.ConvexPotentialLinear(4, 2, learn_step="False"),  # type: ignore[arg-type]
        lambda: cpl.CPLNetConfig(maxmin="False"),  # type: ignore[arg-type]
        lambda: cpl.CPLNetConfig(mean=(0.5,)),
        lambda: cpl.CPLNetConfig(block="sll", learn_step=True),
        lambda: cpl.CPLNetConfig(block="sll", reach=0.5),
        lambda: cpl.ConvexPotentialConv2d(4, 3, groups=2),
        lambda: cpl.ConvexPotentialConv2d(3, 4, groups=2),
        lambda: cpl.Standardize((0.5,), (0.0,)),
        lambda: cpl.Standardize((0.5,), (1.0, 1.0)),
        lambda: cpl.CPLNetConfig(block="sll", activation="tanh"),
        lambda: cpl.CPLNetConfig(image_shape=(3, 9, 9), downsample=2),
        lambda: cpl.CPLNetConfig(deeper=((2,),)),  # type: ignore[arg-type]
        lambda: cpl.CPLNetConfig(head="softmax"),
        lambda: cpl.CPLNetConfig(std=(0.2, 0.2)),
    ],
)
def test_bad_arguments_are_refused_where_they_are_given(make):
    with pytest.raises(cpl.ArgumentError, match=r"where: .*why: .*next: "):
        make()


@pytest.mark.parametrize("side", [8, 28, 32, 64, 224])
@pytest.mark.parametrize("name", cpl.PRESETS)
def test_presets_fit_images_of_any_size(name, side):
    config = cpl.preset(name, image_shape=(3, side, side), classes=7, conv_inner=3)
    assert config.classes == 7 and config.conv_inner == 3
    if name != "digits" and side >= 16:
        assert config.width == config.channels * (side // config.pool) ** 2 <= config.channels * 15**2


EVERYTHING = {
    "image_shape": (3, 8, 8), "mean": (0.4, 0.5, 0.6), "std": (0.25, 0.5, 0.3), "downsample": 2, "channels": 12,
    "conv_blocks": 1, "conv_inner": 4, "deeper": ((1, 8),), "pool": 1, "dense_blocks": 1, "dense_inner": 8, "maxmin": True,
}  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"activation": "elu", "learn_step": True, "head": "spectral"},
        {"activation": "leaky_relu", "reach": 0.1, "groups": 2},
        {"block": "sll"},
    ],
    ids=str,
)
def test_every_architecture_survives_its_file(tmp_path, changes):
    config = cpl.CPLNetConfig(**EVERYTHING, **changes)
    assert cpl.CPLNetConfig.from_dict(config.to_dict()) == config
    model = cpl.seal(cpl.CPLNet(config, generator=generator()), config.image_shape)
    assert config.weights == sum(tensor.numel() for tensor in model.state_dict().values())
    cpl.export_model(model, tmp_path, inputs=torch.zeros(1, *config.image_shape))
    again = cpl.load_sealed(tmp_path)
    assert cpl.seal_of(again).digest == cpl.seal_of(model).digest
    x = torch.rand(2, *config.image_shape, generator=generator(1))
    assert torch.equal(again(x), model(x))
    program = torch.export.load(tmp_path / "model.pt2").module()
    torch.testing.assert_close(program(x[:1]), model(x[:1]))
