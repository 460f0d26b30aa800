"""From an ordinary chain to a 1-Lipschitz one, or a refusal that names the module."""

import pytest
import torch
from torch import nn

import cpl


def chain():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(),
        nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.Tanh(), nn.Conv2d(8, 6, 3, stride=2, padding=1)),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 5, bias=False),
    )  # fmt: skip


@pytest.mark.parametrize("square", ["spectral", "cpl"])
def test_a_swapped_chain_keeps_its_shapes_and_is_sealed(square):
    model = chain()
    before = [parameter.clone() for parameter in model.parameters()]
    swapped = cpl.swap(model, square=square, generator=torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    assert swapped.train()(x).shape == model(x).shape
    assert isinstance(swapped[5], cpl.ConvexPotentialLinear if square == "cpl" else cpl.SpectralLinear)
    assert {tensor.dtype for tensor in cpl.swap(chain().double(), square=square).parameters()} == {torch.float64}
    sealed = cpl.seal(swapped.double(), (3, 8, 8))
    jacobian = torch.autograd.functional.jacobian(lambda y: sealed(y[None])[0], x[0].double()).flatten(1)
    assert float(torch.linalg.matrix_norm(jacobian, 2)) <= 1


def test_what_stands_twice_stands_twice_and_what_is_kept_is_a_copy():
    tied, act = nn.Linear(4, 4), nn.ReLU()
    block = cpl.ConvexPotentialLinear(4, 2)
    swapped = cpl.swap(nn.Sequential(tied, act, tied, act, block))
    assert len(swapped) == 5 and swapped[0] is swapped[2] and swapped[1] is swapped[3]
    assert swapped[4] is not block and torch.equal(swapped[4].weight, block.weight)
    x = torch.rand(3, 4)
    sealed = cpl.seal(swapped.double(), (4,))
    weight = tied.weight.detach().double() / torch.linalg.matrix_norm(tied.weight.detach().double(), 2)

    def layer(y):
        return torch.relu(y @ weight.T + tied.bias.detach().double())

    torch.testing.assert_close(sealed[:4](x.double()), layer(layer(x.double())), rtol=1e-5, atol=1e-6)


def test_spectral_layers_keep_the_direction_of_the_weights():
    model = nn.Sequential(nn.Linear(5, 3))
    sealed = cpl.seal(cpl.swap(model), (5,))
    norm = torch.linalg.matrix_norm(model[0].weight.detach(), 2)
    torch.testing.assert_close(sealed[0].weight.data, model[0].weight.detach() / norm, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("module", "where"),
    [
        (nn.BatchNorm2d(3), "1.0"),
        (nn.Conv2d(3, 3, 3), "1.0"),
        (nn.Conv2d(3, 3, 2, padding=1), "1.0"),
        (nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"), "1.0"),
        (nn.MaxPool2d(2), "1.0"),
        (nn.AvgPool2d(3, 2), "1.0"),
        (nn.AvgPool2d(2, divisor_override=1), "1.0"),
        (nn.SELU(), "1.0"),
    ],
    ids=str,
)
def test_what_has_no_counterpart_is_refused_by_its_path(module, where):
    with pytest.raises(cpl.ArgumentError) as caught:
        cpl.swap(nn.Sequential(nn.ReLU(), nn.Sequential(module)))
    assert caught.value.where == where and type(module).__name__ in caught.value.what


def test_only_a_chain_is_swapped():
    with pytest.raises(cpl.ArgumentError, match="Sequential"):
        cpl.swap(nn.Linear(3, 3))  # type: ignore[arg-type]
