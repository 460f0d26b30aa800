"""Sealed models: bounded in real semantics by a dense float64 oracle, and void after any change."""

import copy
import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

import cpl
from cpl.convolution import convolve

SMALL = cpl.CPLNetConfig(channels=4, conv_inner=3, conv_blocks=1, dense_blocks=2, dense_inner=6, image_shape=(1, 4, 4))
CIRCULAR = cpl.CPLNetConfig(
    channels=3, conv_inner=4, conv_blocks=2, dense_blocks=1, dense_inner=5, image_shape=(2, 5, 4), pool=1,
    kernel_size=3, padding_mode="circular", features=70,
)  # fmt: skip
CONFIGS = {"zeros": SMALL, "circular": CIRCULAR}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def network(config=SMALL, *, dtype=torch.float32, seed=0):
    model = cpl.CPLNet(config, generator=generator(seed))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(generator=generator(seed + 1))
    return model.to(dtype)


def sealed_network(config=SMALL, **kwargs):
    return cpl.seal(network(config, **kwargs), config.image_shape)


def matrix_of(block):
    """The dense float64 matrix of A_V on the size that the block was sealed for."""
    if isinstance(block, cpl.SealedLinear):
        return block.V.double()
    shape = block.seal.input_shape
    basis = torch.eye(math.prod(shape), dtype=torch.float64).view(-1, *shape)
    return convolve(basis, block.V.double(), None, padding_mode=block.padding_mode).flatten(1).t()


def blocks_of(model):
    return [module for module in model.modules() if isinstance(module, cpl.SealedLinear | cpl.SealedConv2d)]


def refuses(model, match, *, where=None):
    with pytest.raises(cpl.SealError, match=match) as caught:
        cpl.seal_of(model)
    assert where is None or caught.value.where == where


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_norms_of_stored_tensors(config, dtype):
    model = sealed_network(config, dtype=dtype)
    assert len(blocks_of(model)) == config.conv_blocks + config.dense_blocks
    for block in blocks_of(model):
        square = float(torch.linalg.matrix_norm(matrix_of(block), 2)) ** 2
        assert 2 * (1 - 2.0**-18) <= square <= 2 * (1 - 2.0**-21)
        assert square <= block.seal.upper**2 * (1 + 1e-13)
    rows = model.head.weight.double().square().sum(dim=1)
    assert bool((rows < 1).all()) and bool((rows > 1 - 2.0**-18).all())


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), padding_mode=st.sampled_from(["zeros", "circular"]), scale=st.integers(-60, 40))
def test_any_weights_are_sealed_within_the_bound(seed, padding_mode, scale):
    layer = cpl.ConvexPotentialConv2d(2, 3, padding_mode=padding_mode, generator=generator(seed))
    with torch.no_grad():
        layer.weight.mul_(2.0**scale)
    sealed = cpl.seal(layer, (2, 4, 3))
    assert float(torch.linalg.matrix_norm(matrix_of(sealed), 2)) ** 2 <= 2 * (1 - 2.0**-21)


def test_zero_weights_seal_to_the_identity():
    layer = cpl.ConvexPotentialLinear(4, 3)
    with torch.no_grad():
        layer.weight.zero_()
    x = torch.randn(2, 4, generator=generator())
    assert torch.equal(cpl.seal(layer, (4,))(x), x)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_jacobians_stay_within_the_constants(config):
    model = sealed_network(config, dtype=torch.float64)
    points = 2 * torch.randn(20, *config.image_shape, dtype=torch.float64, generator=generator(5))
    for point in points:
        trunk = torch.autograd.functional.jacobian(lambda x: model.trunk(x[None])[0], point).flatten(1)
        whole = torch.autograd.functional.jacobian(lambda x: model(x[None])[0], point).flatten(1)
        assert float(torch.linalg.matrix_norm(trunk, 2)) <= 1 + 1e-12
        assert float(torch.linalg.vector_norm(whole, dim=1).max()) <= 1 + 1e-12


def test_sealed_block_computes_the_trained_function():
    """With h = 2 / ||W||^2 both forms agree, up to the shrink."""
    layer = cpl.ConvexPotentialLinear(6, 4, generator=generator()).double()
    with torch.no_grad():
        layer.bias.normal_(generator=generator(1))
    x = torch.randn(3, 6, dtype=torch.float64, generator=generator(2))
    w, b = layer.weight.detach(), layer.bias.detach()
    step = 2 / float(torch.linalg.matrix_norm(w, 2)) ** 2
    wanted = x - step * torch.relu(x @ w.t() + b) @ w
    torch.testing.assert_close(cpl.seal(layer, (6,))(x), wanted, rtol=1e-5, atol=1e-5)


def test_paths_stay_and_the_model_is_not_changed():
    model = network()
    before = copy.deepcopy(model.state_dict())
    sealed = cpl.seal(model, (1, 4, 4))
    assert [path for path, _ in sealed.named_modules()] == [path for path, _ in model.named_modules()]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    record = cpl.seal_of(sealed)
    assert (record.input_shape, record.dtype) == ((1, 4, 4), "float32")
    assert not any(parameter.requires_grad for parameter in sealed.parameters())


def test_seal_is_void_after_a_weight_changes():
    model = sealed_network()
    with torch.no_grad():
        model.trunk.dense2.V[0, 0] += 1e-6
    refuses(model, "weights have changed", where="trunk.dense2")
    with pytest.raises(cpl.SealError, match="void"):
        cpl.evaluate(model, torch.zeros(1, 1, 4, 4), torch.zeros(1, dtype=torch.int64))


def test_seal_is_void_after_weights_are_loaded():
    model = sealed_network()
    model.load_state_dict(sealed_network(seed=7).state_dict())
    refuses(model, "weights have changed", where="trunk.conv1")


def test_seal_is_void_after_the_dtype_changes():
    model = sealed_network().double()
    refuses(model, "no longer float32", where="trunk.conv1")
    with pytest.raises(cpl.SealError, match="float64"):
        model(torch.zeros(1, 1, 4, 4, dtype=torch.float64))
    refuses(sealed_network().bfloat16(), "no longer float32")


def test_sealed_layers_refuse_another_input_size():
    conv = cpl.seal(cpl.ConvexPotentialConv2d(2, 2, generator=generator()), (2, 4, 4))
    conv(torch.zeros(3, 2, 4, 4))
    for shape in [(1, 2, 5, 5), (1, 2, 4, 3)]:
        with pytest.raises(cpl.SealError, match=r"inputs \(2, 4, 4\)"):
            conv(torch.zeros(shape))


def test_sealed_layers_refuse_another_dtype():
    with pytest.raises(cpl.SealError, match="float64"):
        sealed_network()(torch.zeros(1, 1, 4, 4, dtype=torch.float64))


def test_seal_is_void_after_a_layer_is_replaced_or_added():
    model = sealed_network()
    model.trunk.dense1 = torch.nn.Identity()
    refuses(model, "replaced or removed", where="trunk.dense1")
    model = sealed_network()
    model.trunk.append(torch.nn.Linear(16, 16))
    refuses(model, "torch.nn.modules.linear.Linear is unknown", where="trunk.6")
    model = sealed_network()
    model.trunk.append(sealed_network(seed=3).trunk.dense1)
    refuses(model, "void")


def test_unsealed_models_have_no_record():
    refuses(network(), "not sealed")


def broken(change):
    model = network()
    with torch.no_grad():
        change(model)
    return model


@pytest.mark.parametrize(
    ("model", "shape", "match"),
    [
        (broken(lambda m: m.trunk.dense1.weight.fill_(math.nan)), (1, 4, 4), "NaN or Inf"),
        (broken(lambda m: m.trunk.conv1.bias.fill_(math.inf)), (1, 4, 4), "NaN or Inf"),
        (broken(lambda m: m.head.double()), (1, 4, 4), "one dtype"),
        (broken(lambda m: m.half()), (1, 4, 4), "one dtype"),
        (network(), (1, 6, 6), "does not accept"),
        (torch.nn.Linear(3, 3), (3,), "cpl layers"),
    ],
    ids=["nan", "inf", "mixed", "half", "size", "foreign"],
)
def test_what_cannot_be_sealed(model, shape, match):
    with pytest.raises(cpl.SealError, match=match):
        cpl.seal(model, shape)


def test_a_layer_called_with_two_sizes_cannot_be_sealed():
    layer = cpl.ConvexPotentialConv2d(2, 2, generator=generator())
    model = torch.nn.Sequential(layer, cpl.UnitNormAvgPool2d(2), layer)
    with pytest.raises(cpl.SealError, match="2 input shapes"):
        cpl.seal(model, (2, 4, 4))


def test_empty_input_shape_is_refused():
    with pytest.raises(cpl.ArgumentError, match="empty"):
        cpl.seal(network(), ())


def test_a_shared_layer_is_sealed_once_and_stays_shared():
    layer = cpl.ConvexPotentialLinear(4, 3, generator=generator())
    sealed = cpl.seal(torch.nn.Sequential(layer, layer), (4,))
    assert sealed[0] is sealed[1]
    cpl.seal_of(sealed)


@pytest.mark.parametrize("scale", [5e-324, 1e-310, 1e-200, 1e-44, 1e37, 1e200, 1e307])
@pytest.mark.parametrize("rows", [1024, 0], ids=["unrolled", "torus"])
@pytest.mark.parametrize("kind", ["zeros", "circular", "large kernel", "dense"])
def test_weights_at_the_ends_of_the_range(kind, rows, scale, monkeypatch):
    """A layer has the same block whatever its weights are multiplied by; none becomes the identity."""
    monkeypatch.setattr("cpl.norms.DENSE_ROWS", rows)
    double = scale < 1e-44 or scale > 1e37
    mode, side = ("circular" if kind == "circular" else "zeros"), (7 if kind == "large kernel" else 3)
    if kind == "dense":
        layer, shape = cpl.ConvexPotentialLinear(5, 3), (5,)
    else:
        layer, shape = cpl.ConvexPotentialConv2d(2, 2, kernel_size=side, padding_mode=mode), (2, 3, 4)
    layer = layer.to(torch.float64 if double else torch.float32)
    with torch.no_grad():
        signs = torch.randn(layer.weight.shape, generator=generator(), dtype=torch.float64).sign()
        layer.weight.copy_(signs * scale)
    block = cpl.seal(layer, shape)
    square = float(torch.linalg.matrix_norm(matrix_of(block), 2)) ** 2
    assert 0.5 < square <= 2  # a torus is larger than this map: its norm, by which V is shrunk, is too


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_tiny_weights_beside_a_large_bias_are_refused_for_what_they_are(dtype):
    layer = cpl.ConvexPotentialLinear(3, 2).to(dtype)
    with torch.no_grad():
        layer.weight.fill_(torch.finfo(dtype).smallest_normal / 4)
        layer.bias.fill_(1e3)
    with pytest.raises(cpl.SealError, match=r"bias overflows.*weights are finite"):
        cpl.seal(layer, (3,))
    with torch.no_grad():
        layer.bias.zero_()
    assert float(torch.linalg.matrix_norm(cpl.seal(layer, (3,)).V.double(), 2)) == pytest.approx(math.sqrt(2), rel=1e-5)


@pytest.mark.parametrize("scale", [5e-324, 1e-310, 1e307])
def test_rows_at_the_ends_of_the_range(scale):
    rows = cpl.NormalizedLinear(3, 2).double()
    with torch.no_grad():
        rows.weight.fill_(scale)
    norms = cpl.seal(rows, (3,)).weight.norm(dim=1)
    assert bool((norms <= 1).all() and (norms > 0.999).all())
