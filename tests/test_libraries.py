"""Models of Lipschitz libraries: as they are, after vanilla export, with what they assert, and with weights scaled after."""

from __future__ import annotations

import json
import math
from fractions import Fraction

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize
from typer.testing import CliRunner

from lipverify import asserted_claims, audit, trace
from lipverify.cli import app
from lipverify.verdict import Verdict

torchlip = pytest.importorskip("deel.torchlip")
pytest.importorskip("orthogonium")

from deel.torchlip import modules as deel  # noqa: E402
from orthogonium import layers  # noqa: E402
from orthogonium.layers import residual  # noqa: E402
from orthogonium.layers.conv.adaptiveSOC.fast_skew_ortho_conv import FastSOC  # noqa: E402
from orthogonium.layers.conv.AOL.aol import AOLConv2D  # noqa: E402
from orthogonium.layers.conv.SLL.sll_layer import SDPBasedLipschitzDense, SDPBasedLipschitzResBlock  # noqa: E402
from orthogonium.layers.custom_activations import HouseHolder_Order_2  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")

VECTOR, IMAGE = (1, 6), (1, 4, 6, 6)

MODELS = {
    "torchlip dense": (
        lambda: nn.Sequential(
            torchlip.SpectralLinear(6, 4), torchlip.GroupSort(2), torchlip.SpectralLinear(4, 3, k_coef_lip=0.5)
        ),
        VECTOR,
    ),
    "torchlip sorted": (
        lambda: nn.Sequential(torchlip.FrobeniusLinear(6, 4, disjoint_neurons=False), deel.FullSort()),
        VECTOR,
    ),
    "torchlip neurons": (lambda: nn.Sequential(torchlip.FrobeniusLinear(6, 3)), VECTOR),
    "torchlip conv": (
        lambda: nn.Sequential(
            torchlip.SpectralConv2d(4, 3, 3, padding=1), deel.MaxMin(), torchlip.FrobeniusConv2d(6, 2, 3, padding=1)
        ),
        IMAGE,
    ),
    "torchlip pooled": (
        lambda: nn.Sequential(
            torchlip.SpectralConv2d(4, 2, 3, padding=1, padding_mode="circular"),
            torchlip.ScaledAvgPool2d(2),
            torchlip.ScaledAdaptiveAvgPool2d((1, 1)),
            nn.Flatten(),
        ),
        IMAGE,
    ),
    "torchlip rearranged": (
        lambda: nn.Sequential(
            torchlip.InvertibleDownSampling(2), torchlip.SpectralConv2d(16, 8, 1), torchlip.InvertibleUpSampling(2)
        ),
        IMAGE,
    ),
    "torchlip transposed": (lambda: deel.SpectralConvTranspose2d(4, 2, 2, stride=2), IMAGE),
    "torchlip length pooled": (lambda: deel.ScaledL2NormPool2d(2), IMAGE),
    "torchlip householder": (lambda: deel.HouseHolder(4), IMAGE),
    "orthogonium dense": (
        lambda: nn.Sequential(layers.OrthoLinear(6, 4), layers.MaxMin(), layers.UnitNormLinear(4, 3)),
        VECTOR,
    ),
    "orthogonium conv": (lambda: layers.AdaptiveOrthoConv2d(4, 4, 3, padding=1), IMAGE),
    "orthogonium strided": (lambda: layers.AdaptiveOrthoConv2d(4, 8, 3, stride=2, padding=1), IMAGE),
    "orthogonium patches": (lambda: layers.AdaptiveOrthoConv2d(4, 4, 2, stride=2, padding=0), IMAGE),
    "orthogonium transposed": (lambda: layers.AdaptiveOrthoConvTranspose2d(4, 4, 2, stride=2), IMAGE),
    "orthogonium AOL": (lambda: nn.Sequential(AOLConv2D(4, 4, 3, padding=1), nn.AvgPool2d(2)), IMAGE),
    "orthogonium SOC": (lambda: FastSOC(4, 4, 3), IMAGE),
    "orthogonium SLL": (lambda: SDPBasedLipschitzResBlock(4, 2), IMAGE),
    "orthogonium SLL dense": (lambda: SDPBasedLipschitzDense(6, 6, 8), VECTOR),
    "orthogonium concatenated": (
        lambda: residual.ConcatResidual(layers.AdaptiveOrthoConv2d(2, 2, 3, padding=1)),
        IMAGE,
    ),
    "orthogonium residual": (
        lambda: residual.PrescaledAdditiveResidual(layers.AdaptiveOrthoConv2d(4, 4, 3, padding=1)),
        IMAGE,
    ),
    "orthogonium householder": (lambda: layers.HouseHolder(4), IMAGE),
    "orthogonium householder of order 2": (lambda: HouseHolder_Order_2(4), IMAGE),
}
REFUSED = {
    "torchlip length pooled": "aten.pow",
    "orthogonium householder of order 2": "aten.atan2",
}
"""Models that get no bound, and the operation that is named."""


def built(name):
    torch.manual_seed(0)
    make, shape = MODELS[name]
    return make().eval(), torch.randn(*shape)


def vanilla(name):
    """The model by its libraries' own exports, and then without any parametrization that is left.

    Built anew: a copy shares the class that torch makes for a parametrized module, and removing one breaks the other.
    """
    plain = torchlip.vanilla_model(nn.Sequential(built(name)[0]).eval())[0]
    while True:
        module = next((m for m in plain.modules() if parametrize.is_parametrized(m)), None)
        if module is None:
            return plain.eval()
        for name in list(module.parametrizations):
            parametrize.remove_parametrizations(module, name)


def bounds(model, x, claims=()):
    return audit(model, x, claims=claims or None, bounds_only=not claims, verifiers=["spectral", "witness"]).regions


def norm(function, x):
    """Of the Jacobian at ``x``, in float64."""
    jacobian = torch.autograd.functional.jacobian(function, x.double())
    return float(torch.linalg.matrix_norm(jacobian.reshape(-1, x.numel()), 2))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_and_its_vanilla_export_have_the_same_constant(name):
    """The enclosure holds the norm of the Jacobian, no assertion below it is proved, and the export agrees to float32."""
    (model, x), plain = built(name), vanilla(name)
    program, claims = trace(model, x), asserted_claims(model)
    rows = bounds(program, x, claims)
    exported = next(row for row in bounds(plain, x) if row.path == "")
    mine = next(row for row in rows if row.path == "")
    if name in REFUSED:
        assert REFUSED[name] in mine.reason and REFUSED[name] in exported.reason
        return
    assert norm(program, x) <= float(mine.upper) * (1 + 1e-12)
    assert norm(plain.double(), x) <= float(exported.upper) * (1 + 1e-12)
    assert max(mine.lower or 0, exported.lower or 0) <= min(mine.upper, exported.upper) * Fraction(1 + 1e-5)
    assert sum(row.claim is not None for row in rows) == len(claims)
    for row in rows:
        if row.path == "" and row.claim is not None and str(row.claim.norms) == "l2->l2":
            above = norm(program, x) > float(row.claim.bound) * (1 + 1e-9)
            assert not (above and row.verdict is Verdict.PROVED)


class Scaled(nn.Module):
    def forward(self, weight):
        return 64 * weight


def scaled(model):
    """The model with every weight that a parametrization makes multiplied afterwards."""
    for module in list(model.modules()):
        for name in ("weight", "kernel"):
            if hasattr(module, name) and isinstance(getattr(module, name), torch.Tensor):
                own = name in getattr(module, "parametrizations", {}) or name in module._parameters
                if own and not isinstance(module, parametrize.ParametrizationList):
                    parametrize.register_parametrization(module, name, Scaled(), unsafe=True)
    return model.eval()


WEIGHED = [name for name in MODELS if "householder" not in name and "length" not in name and "SLL dense" not in name]


@pytest.mark.parametrize("name", WEIGHED)
def test_an_assertion_that_scaled_weights_make_false_is_never_proved(name):
    model, x = built(name)
    before = {claim.layer for claim in asserted_claims(model)}
    model = scaled(model)
    claims = asserted_claims(model)
    assert {claim.layer for claim in claims} == before
    weighed = {path for path, module in model.named_modules() if parametrize.is_parametrized(module)}
    rows = [row for row in bounds(model, x, claims) if row.claim is not None and row.path in weighed]
    assert {row.verdict for row in rows} <= {Verdict.REFUTED, Verdict.UNDECIDED}
    assert rows or not before


def test_a_flattened_spectral_norm_of_a_convolution_is_no_claim():
    """torch's normalises the kernel as a matrix, which is not the operator; deel-torchlip divides by a bound on top."""
    torch.manual_seed(0)
    flattened = nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 4, 3, padding=1)).eval()
    assert asserted_claims(flattened) == ()
    assert [claim.bound for claim in asserted_claims(torchlip.SpectralConv2d(4, 4, 3, padding=1))] == [1]


def test_a_torchlip_sequential_may_assert_what_its_children_do_not_keep():
    """Its k overwrites the coefficients of its children, whose weights keep the ones that they were made with."""
    torch.manual_seed(0)
    model = torchlip.Sequential(torchlip.SpectralLinear(6, 6, k_coef_lip=4.0), nn.ReLU(), k_coef_lip=1.0).eval()
    rows = {row.path: row for row in bounds(model, torch.randn(1, 6), asserted_claims(model))}
    assert rows["0"].claim.bound == 1 and rows["0"].verdict is Verdict.REFUTED
    assert math.isclose(float(rows["0"].upper), 4, rel_tol=1e-5) and rows[""].verdict is not Verdict.PROVED


def test_the_command_line_judges_what_a_torchlip_model_asserts(tmp_path, monkeypatch):
    """In eval mode these layers read the weights that they keep since training, which the state dict holds."""
    (tmp_path / "factory_of_torchlip.py").write_text(
        "from torch import nn\nfrom deel import torchlip\n\n"
        "def build():\n    return nn.Sequential(torchlip.SpectralLinear(4, 3, k_coef_lip=0.5), torchlip.GroupSort(1))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    torch.manual_seed(0)
    model = nn.Sequential(torchlip.SpectralLinear(4, 3, k_coef_lip=0.5), torchlip.GroupSort(1)).eval()
    torch.save(model.state_dict(), "m.pt")
    options = ["--factory", "factory_of_torchlip:build", "--shape", "1,4", "--verifiers", "spectral", "--asserted"]
    done = CliRunner().invoke(app, ["audit", "m.pt", *options, "--output", "report.json"])
    assert done.exit_code in (0, 1, 3), done.output
    rows = json.loads((tmp_path / "report.json").read_text())["regions"]
    assert {row["path"]: row["claim"] for row in rows if row["claim"]} == {"0": "1/2", "1": "1"}
    assert all(row["verdict"] in ("PROVED", "REFUTED", "UNDECIDED") for row in rows if row["claim"])
