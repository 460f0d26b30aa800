"""A seal is void after any change of what a model computes, also of one that no tensor shows."""

import copy
import json
import pickle

import pytest
import torch
from torch import nn

import cpl
from cpl.rules import sealed_layer
from cpl.sealed import SealedLinear

CONFIG = cpl.CPLNetConfig(channels=4, conv_inner=3, conv_blocks=2, dense_blocks=2, dense_inner=6, image_shape=(1, 4, 4))
IMAGES, LABELS = torch.zeros(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64)


class Tenfold(nn.Module):
    def forward(self, x):
        return 10 * x


class Louder(cpl.SealedLinear):
    def forward(self, x):
        return 5 * super().forward(x)


class LouderLinear(cpl.ConvexPotentialLinear):
    def forward(self, x):
        return 5 * super().forward(x)


class LouderNet(cpl.CPLNet):
    def forward(self, x):
        return 5 * super().forward(x)


def network():
    return cpl.CPLNet(CONFIG, generator=torch.Generator().manual_seed(0))


def sealed():
    return cpl.seal(network(), CONFIG.image_shape)


def tenfold(*arguments):
    return 10 * arguments[-1]


def swap(model):
    convs = model.trunk.conv1, model.trunk.conv2
    model.trunk._modules["conv1"], model.trunk._modules["conv2"] = reversed(convs)


def reorder(model):
    model.trunk._modules["widen"] = model.trunk._modules.pop("pad")


CHANGES = {
    "padding": (lambda m: setattr(m.trunk.conv1, "padding_mode", "circular"), "trunk.conv1", "'zeros' to 'circular'"),
    "pool": (lambda m: setattr(m.trunk.pool, "kernel_size", 1), "trunk.pool", "kernel_size"),
    "pad": (lambda m: setattr(m.trunk.pad, "padded", 5), "trunk.pad", "padded"),
    "flatten": (lambda m: setattr(m.trunk.flatten, "start_dim", 2), "trunk.flatten", "start_dim"),
    "config": (lambda m: setattr(m, "config", cpl.CPLNetConfig()), "the model", "config"),
    "foreign": (lambda m: m.trunk.set_submodule("flatten", nn.Sequential(nn.Flatten(), Tenfold())), "trunk.flatten.1", "Tenfold"),
    "nested": (lambda m: m.trunk.set_submodule("flatten", nn.Sequential(nn.Flatten())), "trunk.flatten", "type has changed"),
    "append": (lambda m: m.trunk.append(Tenfold()), "trunk.7", "Tenfold"),
    "append known": (lambda m: m.trunk.append(nn.Identity()), "trunk.7", "added"),
    "remove": (lambda m: m.trunk._modules.pop("pool"), "trunk.pool", "removed"),
    "swap": (swap, "trunk.conv1", "replaced"),
    "reorder": (reorder, "trunk.widen", "added"),
    "pre-hook": (lambda m: m.trunk.register_forward_pre_hook(tenfold), "trunk", "hook"),
    "hook": (lambda m: m.trunk.pool.register_forward_hook(tenfold), "trunk.pool", "hook"),
    "backward hook": (lambda m: m.trunk.pool.register_full_backward_hook(tenfold), "trunk.pool", "hook"),
    "state_dict hook": (lambda m: m.register_state_dict_post_hook(tenfold), "the model", "hook"),
    "forward": (lambda m: setattr(m.trunk.dense1, "forward", tenfold), "trunk.dense1", "'forward'"),
    "root forward": (lambda m: setattr(m, "forward", tenfold), "the model", "'forward'"),
    "call": (lambda m: setattr(m.trunk, "_call_impl", tenfold), "trunk", "'_call_impl'"),
    "compiled": (lambda m: setattr(m.trunk, "_compiled_call_impl", tenfold), "trunk", "'_compiled_call_impl'"),
    "shadow": (lambda m: m.__dict__.update(trunk=Tenfold()), "the model", "'trunk'"),
    "class": (lambda m: setattr(m.trunk.dense1, "__class__", Louder), "trunk.dense1", "Louder"),
    "root class": (lambda m: setattr(m, "__class__", LouderNet), "the model", "LouderNet"),
    "buffer": (lambda m: m.trunk.pool.register_buffer("b", torch.ones(1), persistent=False), "the model", "outside"),
    "bound": (lambda m: setattr(m.trunk.dense1, "seal", m.trunk.dense2.seal), "trunk.dense1", "replaced"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "where", "match"), CHANGES.values(), ids=CHANGES)
def test_changes_that_no_tensor_shows_void_the_seal(change, where, match, tmp_path):
    model = sealed()
    change(model)
    for use in (
        cpl.seal_of,
        cpl.claims_of,
        lambda model: cpl.evaluate(model, IMAGES, LABELS),
        lambda model: cpl.export_model(model, tmp_path / "out", inputs=IMAGES),
    ):
        with pytest.raises(cpl.SealError, match=match) as caught:
            use(model)
        assert caught.value.where == where
    assert not (tmp_path / "out").exists()


def test_a_hook_for_all_modules_voids_the_seal():
    model = sealed()
    handle = nn.modules.module.register_module_forward_hook(tenfold)
    try:
        with pytest.raises(cpl.SealError, match="all modules"):
            cpl.seal_of(model)
    finally:
        handle.remove()
    cpl.seal_of(model)


def test_what_changes_nothing_keeps_the_seal(tmp_path):
    model = sealed()
    record = cpl.seal_of(model)
    cpl.export_model(model, tmp_path, inputs=IMAGES)
    model(IMAGES)
    for same in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), model.train(), model.eval(), model):
        assert cpl.seal_of(same) == record
    assert cpl.seal_of(cpl.load_sealed(tmp_path)).structure == record.structure
    assert json.loads(json.dumps(cpl.read_facts(tmp_path)))["seal"]["digest"] == record.digest


def changed(change):
    model = network()
    change(model)
    return model


UNFIT = {
    "subclass": (nn.Sequential(LouderLinear(4, 3)), (4,), "LouderLinear is unknown"),
    "root subclass": (LouderNet(CONFIG), (1, 4, 4), "LouderNet is unknown"),
    "foreign": (nn.Sequential(cpl.ConvexPotentialLinear(4, 3), Tenfold()), (4,), "Tenfold is unknown"),
    "linear": (nn.Sequential(cpl.ConvexPotentialLinear(4, 3), nn.Linear(4, 4)), (4,), "Linear is unknown"),
    "hook": (changed(lambda m: m.trunk.conv1.register_forward_hook(tenfold)), (1, 4, 4), "hook"),
    "forward": (changed(lambda m: setattr(m.trunk.conv1, "forward", tenfold)), (1, 4, 4), "forward"),
    "sealed": (nn.Sequential(cpl.ConvexPotentialLinear(4, 3), sealed().trunk.dense1), (4,), "sealed already"),
}


@pytest.mark.parametrize(("model", "shape", "match"), UNFIT.values(), ids=UNFIT)
def test_unknown_modules_are_not_sealed(model, shape, match):
    with pytest.raises(cpl.SealError, match=match):
        cpl.seal(model, shape)


def test_an_unknown_padding_mode_is_not_sealed():
    model = changed(lambda m: setattr(m.trunk.conv1, "padding_mode", "reflect"))
    with pytest.raises(cpl.ArgumentError, match="reflect"):
        cpl.seal(model, CONFIG.image_shape)


def test_normalised_rows_inside_the_trunk_are_no_trunk_of_constant_one():
    model = network()
    model.trunk.append(cpl.NormalizedLinear(16, 16))
    model = cpl.seal(model, CONFIG.image_shape)
    for use in (cpl.claims_of, lambda model: cpl.evaluate(model, IMAGES, LABELS)):
        with pytest.raises(cpl.SealError, match="no trunk") as caught:
            use(model)
        assert caught.value.where == "trunk.7"


class Custom(nn.Module):
    """The identity as a trainable layer of a user: sealed as a block with V = 0."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 4))
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x):
        return x


def test_a_registered_rule_is_found():
    """What the error says of a layer without a rule: register one."""
    with pytest.raises(cpl.SealError, match="register"):
        cpl.seal(nn.Sequential(Custom()), (4,))

    @sealed_layer.register
    def _(module: Custom, site):
        block = cpl.ConvexPotentialLinear(4, 3)
        with torch.no_grad():
            block.weight.zero_()
        return sealed_layer(block, site)

    model = cpl.seal(nn.Sequential(Custom()), (4,))
    assert type(model[0]) is SealedLinear and cpl.seal_of(model).layers[0].path == "0"
