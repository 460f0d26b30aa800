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


@pytest.mark.parametrize(
    "make",
    [
        lambda: cpl.ConvexPotentialLinear(4, 2, activation="gelu"),
        lambda: cpl.ConvexPotentialLinear(4, 2, reach=1.5),
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
