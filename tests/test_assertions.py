"""What libraries assert of their layers is read by the names of classes, and becomes claims."""

from fractions import Fraction

import pytest
from torch import nn
from torch.nn.utils import parametrizations

from lipverify import asserted_claims


def read(model):
    return [(claim.layer, claim.bound, str(claim.norms)) for claim in asserted_claims(model)]


def test_torch_asserts_one_of_dense_layers_and_nothing_of_convolutions():
    model = nn.Sequential(
        parametrizations.orthogonal(nn.Linear(4, 4)),
        nn.ReLU(),
        parametrizations.spectral_norm(nn.Linear(4, 2)),
        parametrizations.spectral_norm(nn.Conv2d(2, 2, 3)),
        parametrizations.weight_norm(nn.Linear(2, 2)),
    )
    assert read(model) == [("0", 1, "l2->l2"), ("2", 1, "l2->l2")]


def test_torchlip_asserts_its_coefficients():
    torchlip = pytest.importorskip("deel.torchlip")
    model = nn.Sequential(
        torchlip.SpectralLinear(4, 4, k_coef_lip=0.5),
        nn.Flatten(),
        torchlip.FrobeniusLinear(4, 1, k_coef_lip=0.3),
        torchlip.FrobeniusLinear(4, 2, disjoint_neurons=False),
        torchlip.SpectralConv2d(1, 1, 3, k_coef_lip=2),
    )
    whole = [Fraction(1, 2), Fraction(3, 10), 1, 2]
    assert read(model) == [(at, bound, "l2->l2") for at, bound in zip("0234", whole, strict=True)]


def test_disjoint_neurons_of_torchlip_are_asserted_each():
    torchlip = pytest.importorskip("deel.torchlip")
    assert read(torchlip.FrobeniusLinear(4, 3)) == [("", 1, "l2->linf")]


@pytest.mark.filterwarnings("ignore:Sequential model contains")
def test_a_torchlip_sequential_asserts_the_coefficients_that_it_gave_its_children():
    torchlip = pytest.importorskip("deel.torchlip")
    model = torchlip.Sequential(torchlip.SpectralLinear(4, 4, k_coef_lip=9), torchlip.GroupSort2(), k_coef_lip=4.0)
    assert read(model) == [("", 4, "l2->l2"), ("0", 2, "l2->l2"), ("1", 2, "l2->l2")]


def test_orthogonium_asserts_one_of_its_layers_and_of_each_output_of_unit_rows():
    layers = pytest.importorskip("orthogonium.layers")
    from orthogonium.layers.conv.SLL.sll_layer import SDPBasedLipschitzResBlock

    model = nn.Sequential(
        layers.AdaptiveOrthoConv2d(4, 4, 3, padding=1),
        SDPBasedLipschitzResBlock(4, 2),
        layers.MaxMin(),
        layers.UnitNormLinear(4, 2),
    )
    assert read(model) == [("0", 1, "l2->l2"), ("1", 1, "l2->l2"), ("3", 1, "l2->linf")]


def test_the_classes_that_assert_exist_in_orthogonium():
    pytest.importorskip("orthogonium")
    from importlib import import_module

    from lipverify.assertions.orthogonium import ONE

    for name in ONE:
        room, _, kind = name.rpartition(".")
        assert issubclass(getattr(import_module(room), kind), nn.Module)


def test_classes_that_are_only_named_alike_assert_nothing():
    class OrthoLinear(nn.Linear):
        pass

    class FastBlockConv2dMixin(nn.Module):
        pass

    FastBlockConv2dMixin.__module__ = "orthogonium.layers.conv.AOC.fast_block_ortho_conv"
    assert read(nn.Sequential(OrthoLinear(2, 2), FastBlockConv2dMixin())) == []
