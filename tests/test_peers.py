"""Published defects of other tools, each built here and caught by the audit (DESIGN 6)."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lipverify.auditing import audit
from lipverify.evidence import Evidence, Rigor
from lipverify.verdict import MismatchKind, Verdict
from lipverify.verifiers.sdp import SDP
from tests.networks import Lambda, jacobian

FAST = ["spectral", "witness"]


class ReferenceBlock(nn.Module):
    """The reference recipe: h = 2 / sigma^2 with sigma from power iterations, kept in a buffer in eval mode."""

    def __init__(self, weight: torch.Tensor, iterations: int, conv: bool) -> None:
        super().__init__()
        self.weight, self.conv = nn.Parameter(weight), conv
        with torch.no_grad():
            u = torch.randn(1, weight.shape[1], 8, 8) if conv else torch.randn(1, weight.shape[1])
            for _ in range(iterations):
                u = self.adjoint(self.linear(u))
                u = u / u.norm()
            self.register_buffer("sigma", self.linear(u).norm())

    def linear(self, x):
        return F.conv2d(x, self.weight, padding=1) if self.conv else F.linear(x, self.weight)

    def adjoint(self, y):
        return F.conv_transpose2d(y, self.weight, padding=1) if self.conv else F.linear(y, self.weight.t())

    def forward(self, x):
        return x - 2 / self.sigma**2 * self.adjoint(F.relu(self.linear(x)))


def close_spectrum(rows: int, columns: int, gap: float) -> torch.Tensor:
    """A matrix whose singular values lie within a relative ``gap`` of 1: power iteration hardly moves."""
    q, _ = torch.linalg.qr(torch.randn(columns, rows, dtype=torch.float64))
    return (torch.linspace(1 - gap, 1, rows, dtype=torch.float64)[:, None] * q.T).float()


def block_report(block, x):
    return audit(nn.Sequential(block).eval(), x, claims=[{"layer": "0", "bound": "1"}], verifiers=FAST)


def test_reference_cpl_recipe_is_refuted_where_power_iteration_stopped_below_the_norm():
    torch.manual_seed(2)
    block = ReferenceBlock(close_spectrum(16, 32, 0.05), 1, conv=False)
    (row, _) = block_report(block, torch.zeros(1, 32)).regions
    assert row.verdict is Verdict.REFUTED and row.lower > Fraction("1.001")


def test_reference_cpl_recipe_with_100_iterations_is_never_proved_and_refuted_where_it_exceeds_1():
    """h >= 2 / ||W||^2 always: sigma is a lower bound. The audit proves 1 for none, and refutes what it can show."""
    torch.manual_seed(5)
    verdicts = []
    for gap in (1e-3, 2e-3, 0.02):
        block = ReferenceBlock(close_spectrum(64, 96, gap), 100, conv=False)
        (row, _) = block_report(block, torch.zeros(1, 96)).regions
        verdicts.append(row.verdict)
        assert row.verdict in (Verdict.REFUTED, Verdict.UNDECIDED)
        assert (row.lower > 1) == (row.verdict is Verdict.REFUTED)
    assert Verdict.REFUTED in verdicts


def test_reference_cpl_recipe_on_convolutions():
    torch.manual_seed(3)
    block = ReferenceBlock(torch.randn(8, 8, 3, 3), 3, conv=True)
    (row, _) = block_report(block, torch.zeros(1, 8, 8, 8)).regions
    assert row.verdict in (Verdict.REFUTED, Verdict.UNDECIDED) and row.upper > 1


def test_cached_sigma_weights_times_two_after_eval():
    """The cached sigma is trusted by the reference; with the weights doubled the block has constant 7."""
    block = ReferenceBlock(close_spectrum(8, 12, 0.5), 2000, conv=False)
    with torch.no_grad():
        block.weight.mul_(2)
    (row, _) = block_report(block, torch.zeros(1, 12)).regions
    assert row.verdict is Verdict.REFUTED
    assert float(row.lower) == pytest.approx(7, rel=1e-3) and float(row.upper) == pytest.approx(7, rel=1e-3)


def coupled_lipsdp(first: np.ndarray, last: np.ndarray) -> float:
    """LipSDP-Network as published: multipliers that couple two neurons."""
    cp = pytest.importorskip("cvxpy")
    rho, t, coupling = cp.Variable(nonneg=True), cp.Variable(2, nonneg=True), cp.Variable(nonneg=True)
    apart = np.array([[1.0], [-1.0]])
    multipliers = cp.diag(t) + coupling * (apart @ apart.T)
    lmi = cp.bmat([[rho * np.eye(2), -first.T @ multipliers], [-multipliers @ first, 2 * multipliers - last.T @ last]])
    cp.Problem(cp.Minimize(rho), [(lmi + lmi.T) / 2 >> 0]).solve(solver=cp.CLARABEL)
    return float(rho.value) ** 0.5


def test_lipsdp_network_2_2_1_counterexample():
    """Coupled multipliers give 0.273 on a network of constant 0.702; multipliers of single neurons stay above it."""
    first, last = np.array([[0.9765271, -0.35529123], [0.74808321, -0.68616859]]), np.array([[-0.67600173, 0.59624428]])
    truth = max(np.linalg.norm(last @ np.diag(p) @ first, 2) for p in ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0)))
    assert coupled_lipsdp(first, last) < 0.28 < 0.702 < truth
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).eval().double()
    with torch.no_grad():
        model[0].weight.copy_(torch.from_numpy(first))
        model[2].weight.copy_(torch.from_numpy(last))
    row = audit(model, torch.zeros(1, 2).double(), verifiers=["spectral", SDP(), "witness"]).regions[0]
    by_name = {e.verifier: e for e in row.evidence}
    assert truth <= by_name["sdp"].upper <= by_name["spectral"].upper
    assert truth * (1 - 1e-3) < by_name["witness"].lower <= truth * (1 + 1e-12)


@pytest.mark.parametrize("scale", [1e-20, 1e-30, 1e-42])
def test_gloro_tiny_weights_do_not_underflow_to_constant_zero(scale):
    model = nn.Linear(4, 4, bias=False).eval()
    with torch.no_grad():
        model.weight.copy_(torch.eye(4) * scale)
    stored = float(model.weight[0, 0].detach())
    (row,) = audit(model, torch.zeros(1, 4), claims=[{"layer": "", "bound": "0"}], verifiers=FAST).regions
    assert row.verdict is Verdict.REFUTED and Fraction(stored) == row.upper


def test_torch_spectral_norm_of_a_convolution_is_not_its_operator_norm():
    torch.manual_seed(1)
    conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)
    flat = torch.linalg.matrix_norm(conv.weight.detach().reshape(4, -1).double(), 2)
    with torch.no_grad():
        conv.weight.div_(flat.float())
    (row, _) = audit(
        nn.Sequential(conv).eval(),
        torch.zeros(1, 4, 8, 8),
        claims=[{"layer": "0", "bound": "1.001"}],
        verifiers=FAST,
    ).regions
    assert row.verdict is Verdict.REFUTED and row.lower > 1


def test_convolution_and_batch_norm_count_and_unknown_layers_are_not_dropped():
    """eclipse-nn leaves out all but nn.Linear without a word: here a normalisation that multiplies by 1000."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2)).eval()
    with torch.no_grad():
        model[1].weight.fill_(1000.0)
    x = torch.zeros(1, 1, 4, 4)
    truth = float(torch.linalg.matrix_norm(jacobian(model, x), 2))
    linear = float(torch.linalg.matrix_norm(model[3].weight.detach(), 2))
    (row,) = audit(model.float(), x, claims=[{"layer": "", "bound": str(linear)}], verifiers=FAST).regions
    assert linear < 1 < 100 < truth <= float(row.upper) and row.verdict is Verdict.REFUTED
    unknown = nn.Sequential(nn.Linear(8, 8), Lambda(lambda x, w: torch.fft.fft(x).real), nn.Linear(8, 2)).eval()
    report = audit(unknown, torch.zeros(1, 8), claims=[{"layer": "", "bound": "1e9"}], verifiers=FAST)
    assert report.verdict is Verdict.UNSUPPORTED and "fft" in report.regions[0].reason and report.exit_code == 3


class Sampling:
    """deel-torchlip's evaluate_lip_const: a sampled lower bound, here even named an exact constant."""

    name = "sampling"

    def verify(self, problem):
        return Evidence(self.name, Fraction(1, 10), Fraction(1, 10), Rigor.EXACT, "sampling")


def test_a_third_party_that_calls_a_sample_the_constant_proves_nothing_and_is_flagged():
    model = nn.Linear(2, 2, bias=False).eval()
    with torch.no_grad():
        model.weight.copy_(torch.eye(2))
    claims = [{"layer": "", "bound": "0.5"}]
    (row,) = audit(model, torch.zeros(1, 2), claims=claims, verifiers=[*FAST, Sampling()]).regions
    assert row.verdict is Verdict.REFUTED
    assert {m.kind for m in row.mismatches} == {MismatchKind.CLAIM, MismatchKind.NUMERIC}
    trusting = audit(model, torch.zeros(1, 2), claims=claims, verifiers=[*FAST, Sampling()], trusted=["sampling"])
    assert trusting.regions[0].verdict is Verdict.CONFLICT
