"""What libraries assert of their layers is read by the names of classes, and becomes claims."""

from fractions import Fraction

import pytest
from torch import nn
from torch.nn.utils import parametrizations

from lipverify.assertions import asserted_claims


def test_torch_asserts_one_of_dense_layers_and_nothing_of_convolutions():
    model = nn.Sequential(
        parametrizations.orthogonal(nn.Linear(4, 4)),
        nn.ReLU(),
        parametrizations.spectral_norm(nn.Linear(4, 2)),
        parametrizations.spectral_norm(nn.Conv2d(2, 2, 3)),
        parametrizations.weight_norm(nn.Linear(2, 2)),
    )
    assert [(claim.layer, claim.bound) for claim in asserted_claims(model)] == [("0", 1), ("2", 1)]


def test_torchlip_asserts_its_coefficients():
    torchlip = pytest.importorskip("deel.torchlip")
    model = nn.Sequential(torchlip.SpectralLinear(4, 4, k_coef_lip=0.5), nn.Flatten())
    assert [(claim.layer, claim.bound) for claim in asserted_claims(model)] == [("0", Fraction(1, 2))]


def test_orthogonium_asserts_one_of_orthogonal_layers():
    layers = pytest.importorskip("orthogonium.layers")
    model = nn.Sequential(layers.AdaptiveOrthoConv2d(4, 4, 3, padding=1), layers.UnitNormLinear(4, 2))
    assert [(claim.layer, claim.bound) for claim in asserted_claims(model)] == [("0", 1)]
