"""Layers that are 1-Lipschitz by a theorem, written here from the formulas of their papers and audited as live modules.

Each is claimed at what the mathematics promises. Their weights are made of stored ones by arithmetic that rounds, which
lipverify encloses: where the constant is exactly 1 the bound is about 1e-12 above it, so that 1.000001 is what is claimed.
Beside every form stand variants with a mistake in them: never PROVED, and REFUTED by two inputs.
"""

from fractions import Fraction
from math import exp, factorial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lipverify.auditing import audit
from lipverify.verdict import Verdict
from tests.networks import jacobian

pytest.importorskip("flint", reason="python-flint, which folds matrix products of weights, is not installed")

PROMISE = "1.000001"


def gram(v: torch.Tensor) -> torch.Tensor:
    """|V V^T| of a matrix; of a kernel, for each pair of its first axis, the sum over all offsets of |correlation|."""
    if v.ndim == 2:
        return (v @ v.t()).abs()
    return F.conv2d(v, v, padding=(v.shape[2] - 1, v.shape[3] - 1)).abs().sum((2, 3))


class SLL(nn.Module):
    """x - 2 W T^-1 relu(W^T x + b), T_ii = sum_j |W^T W|_ij q_j / q_i, q > 0 (Araujo et al. 2023, theorem 3).

    ``v`` is W^T, a matrix or a kernel.
    """

    def __init__(self, v: torch.Tensor) -> None:
        super().__init__()
        self.v, self.bias, self.q = (nn.Parameter(z) for z in (v, torch.rand(len(v)), torch.randn(len(v))))

    def diagonal(self):
        q = torch.exp(self.q)
        return (gram(self.v) * q[None] / q[:, None]).sum(1)

    def forward(self, x):
        t, v = self.diagonal(), self.used()
        if v.ndim == 2:
            return x - 2 * F.linear(F.relu(F.linear(x, v, self.bias)) / t, v.t())
        y = F.relu(F.conv2d(x, v, padding=v.shape[2] // 2) + self.bias[:, None, None])
        return x - 2 * F.conv_transpose2d(y / t[:, None, None], v, padding=v.shape[2] // 2)

    def used(self):
        return self.v


class EpsilonSLL(SLL):
    """An epsilon that keeps 1 / q finite, in one of the two places only."""

    def diagonal(self):
        q = torch.exp(self.q)
        return (gram(self.v) * q[None] / (q[:, None] + 0.1)).sum(1)


class TransposedSLL(SLL):
    """The Gram matrix of the columns instead of that of the rows, of a square W."""

    def diagonal(self):
        q = torch.exp(self.q)
        return (gram(self.v.t()) * q[None] / q[:, None]).sum(1)


class ScaledSLL(SLL):
    """The weight changed after T was taken."""

    def used(self):
        return 1.0625 * self.v


class AOL(nn.Module):
    """W diag(sum_j |W^T W|_ij)^{-1/2}, for kernels with the sum over offsets, too (Prach, Lampert 2022, theorems 1, 2)."""

    def __init__(self, w: torch.Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(w)

    def scale(self):
        return gram(self.w.transpose(0, 1)).sum(1).rsqrt()

    def forward(self, x):
        d = self.scale()
        if self.w.ndim == 2:
            return F.linear(x, self.w * d)
        return F.conv2d(x, self.w * d[:, None, None], padding=self.w.shape[2] // 2)


class HalfAOL(AOL):
    """The row sum of the matrix itself instead of that of its Gram matrix."""

    def scale(self):
        return self.w.abs().flatten(2).sum(2).sum(0).rsqrt() if self.w.ndim > 2 else self.w.abs().sum(0).rsqrt()


class Sandwich(nn.Module):
    """sqrt(2) A^T Psi relu(sqrt(2) Psi^-1 B x + b), (A^T, B^T) of orthonormal columns (Wang, Manchester 2023, theorem 3.2).

    With Z = X - X^T + Y^T Y: A^T = (I + Z)^-1 (I - Z), B^T = -2 Y (I + Z)^-1.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.x, self.y = nn.Parameter(torch.randn(outputs, outputs)), nn.Parameter(torch.randn(inputs, outputs))
        self.psi, self.bias = nn.Parameter(torch.randn(outputs)), nn.Parameter(torch.rand(outputs))

    def first(self):
        return torch.exp(-self.psi)

    def forward(self, x):
        eye = torch.eye(len(self.x), dtype=self.x.dtype)
        z = self.x - self.x.t() + self.y.t() @ self.y
        inverse = torch.linalg.inv(eye + z)
        a, b, psi = inverse @ (eye - z), -2 * self.y @ inverse, torch.exp(self.psi)
        inner = F.relu(F.linear(x, 2**0.5 * self.first()[:, None] * b.t(), self.bias))
        return F.linear(inner, 2**0.5 * a * psi)


class HalfSandwich(Sandwich):
    """Psi = e^2 I on one side only: e^2 times a sandwich layer."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.psi.data.fill_(2.0)

    def first(self):
        return torch.ones_like(self.psi)


class Cayley(nn.Module):
    """(I + A)^-1 (I - A), A = W - W^T (Trockman, Kolter 2021)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(features, features))

    def skew(self):
        return self.w - self.w.t()

    def forward(self, x):
        eye = torch.eye(len(self.w), dtype=self.w.dtype)
        return F.linear(x, torch.linalg.solve(eye + self.skew(), eye - self.skew()))


class LopsidedCayley(Cayley):
    """Of a matrix that is not skew."""

    def skew(self):
        return self.w - 0.9 * self.w.t()


class CayleyConvolution(nn.Module):
    """The Cayley transform of every frequency's block of a circular convolution (Trockman, Kolter 2021, section 4)."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(side, side // 2 + 1, channels, channels))

    def forward(self, x):
        eye, a = torch.eye(self.w.shape[2]), self.w - self.w.mT
        spectrum = torch.fft.rfft2(x).permute(2, 3, 1, 0)
        y = torch.linalg.solve((eye + a).to(spectrum.dtype), (eye - a).to(spectrum.dtype) @ spectrum)
        return torch.fft.irfft2(y.permute(3, 2, 0, 1), s=x.shape[2:])


class Exponential(nn.Module):
    """exp(A), A = W - W^T: the dense layer of skew-orthogonal networks (Singla, Feizi 2021)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(features, features) / features)

    def forward(self, x):
        return F.linear(x, torch.linalg.matrix_exp(self.w - self.w.t()))


class SOC(nn.Module):
    """sum_{k <= order} L^k x / k! with L the circular convolution by a skew kernel (Singla, Feizi 2021)."""

    def __init__(self, channels: int, order: int, size: float, turned: float = -1.0) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(channels, channels, 3, 3) * size)
        self.order, self.turned = order, turned

    def kernel(self):
        return self.w + self.turned * self.w.transpose(0, 1).flip(2, 3)

    def forward(self, x):
        kernel, total, term = self.kernel(), x, x
        for k in range(1, self.order + 1):
            term = F.conv2d(F.pad(term, (1, 1, 1, 1), mode="circular"), kernel) / k
            total = total + term
        return total


class FoldedSOC(SOC):
    """The same as one convolution: the powers of the kernel by convolution of kernels."""

    def forward(self, x):
        kernel, side = self.kernel(), 2 * self.order + 1
        term = torch.eye(len(kernel), dtype=x.dtype)[:, :, None, None]
        total = F.pad(term, (self.order,) * 4)
        for k in range(1, self.order + 1):
            term = F.conv2d(term.transpose(0, 1), kernel.flip(2, 3), padding=2).transpose(0, 1) / k
            total = total + F.pad(term, ((side - term.shape[2]) // 2,) * 4)
        return F.conv2d(F.pad(x, (self.order,) * 4, mode="circular"), total)


def truncated(soc: SOC, x: torch.Tensor) -> Fraction:
    """1 + |L|^(k+1) / (k+1)! e^|L|: above the norm of the truncated exponential of a skew L, which is known in float64."""
    conv = SOC(soc.w.shape[0], 1, 1.0).double()
    conv.w.data.copy_(soc.w.data)
    size = float(torch.linalg.matrix_norm(jacobian(conv, x) - torch.eye(x.numel()), 2)) * (1 + 1e-9)
    return 1 + Fraction(size ** (soc.order + 1) / factorial(soc.order + 1) * exp(size))


def row(layer: nn.Module, x: torch.Tensor, bound: object = PROMISE, verifiers=("spectral", "witness")):
    claims = [{"layer": "", "bound": str(bound)}]
    return audit(layer.eval(), x, claims=claims, verifiers=list(verifiers)).regions[0]


def form(make, *shape, seed=0):
    torch.manual_seed(seed)
    return make().eval(), torch.zeros(*shape)


PROVED = {
    "SLL": (lambda: SLL(torch.randn(7, 5)), (1, 5)),
    "SLL, positive weights: T is attained": (lambda: SLL(torch.rand(4, 5)), (1, 5)),
    "SLL, convolution": (lambda: SLL(torch.randn(3, 2, 3, 3)), (1, 2, 6, 5)),
    "SLL, convolution, positive weights": (lambda: SLL(torch.rand(3, 2, 3, 3)), (1, 2, 6, 5)),
    "AOL": (lambda: AOL(torch.randn(6, 5)), (1, 5)),
    "AOL, positive weights": (lambda: AOL(torch.rand(6, 5)), (1, 5)),
    "AOL, convolution": (lambda: AOL(torch.randn(3, 2, 3, 3)), (1, 2, 6, 5)),
    "Cayley": (lambda: Cayley(6), (1, 6)),
    "exponential": (lambda: Exponential(6), (1, 6)),
}


@pytest.mark.parametrize("case", PROVED)
def test_the_promise_of_the_paper_is_proved(case):
    make, shape = PROVED[case]
    layer, x = form(make, *shape)
    found = row(layer, x, verifiers=["spectral"])
    assert found.verdict is Verdict.PROVED and found.upper <= 1 + Fraction(1, 10**11)
    ones = torch.linalg.matrix_norm(jacobian(layer, torch.ones_like(x)), 2)
    assert float(ones) <= float(found.upper) + 1e-12
    if ("positive" in case and "conv" not in case) or case in ("Cayley", "exponential"):
        assert float(ones) > 1 - 1e-9


def test_sll_below_its_diagonal_is_proved_at_1_without_any_slack():
    layer, x = form(lambda: SLL(torch.randn(7, 5)), 1, 5)
    found = row(layer, x, 1, ["spectral"])
    assert found.verdict is Verdict.PROVED and found.upper == 1 and found.rule == "cpl"


def test_sandwich_is_proved_by_the_matrix_inequality_and_not_by_products():
    """Its proof couples the two matrices through Psi: T = Psi^2 in LipSDP. At constant 1 the inequality is singular, so that
    floating point proves it from 1e-5 above; the product of the two norms says nothing of the coupling."""
    layer, x = form(lambda: Sandwich(5, 4), 1, 5)
    assert row(layer, x, PROMISE, ["spectral"]).verdict is Verdict.UNDECIDED
    found = row(layer, x, "1.00005", ["spectral", "sdp"])
    assert found.verdict is Verdict.PROVED and found.rule.startswith("lmi") and found.upper >= 1


@pytest.mark.parametrize(("order", "size", "bound"), [(3, 0.06, "1"), (4, 0.1, "1"), (6, 0.1, None)])
def test_soc_as_one_convolution_is_proved_and_its_series_on_the_input_is_not(order, size, bound):
    """The truncation after an even or odd order may exceed 1 by |L|^(k+1) / (k+1)! e^|L|, and stays within 1 for orders 3 and
    4 where |L| <= 1.732 and 2.828. A series of convolutions of the input gets the sum rule, sum_k |L|^k / k! = e^|L|, which
    does not know that L is skew: an honest bound that proves nothing."""
    layer, x = form(lambda: FoldedSOC(2, order, size), 1, 2, 6, 6)
    series, _ = form(lambda: SOC(2, order, size), 1, 2, 6, 6)
    claim = bound or str(truncated(layer, x).limit_denominator(10**9).__float__() + 1e-6)
    found = row(layer, x, claim, ["spectral"])
    assert found.verdict is Verdict.PROVED and found.upper <= truncated(layer, x)
    loose = row(series, x, claim)
    assert loose.verdict is Verdict.UNDECIDED and 2 < loose.upper < 13
    difference = jacobian(layer, x) - jacobian(series, x)
    assert float(difference.abs().max()) < 1e-12


def test_the_cayley_transform_of_frequencies_is_unsupported_by_name():
    """A Fourier transform of the input has no rule; nor have complex weights."""
    layer, x = form(lambda: CayleyConvolution(2, 6), 1, 2, 6, 6)
    found = row(layer, x)
    assert found.verdict is Verdict.UNSUPPORTED and "fft" in found.reason


REFUTED = {
    "SLL, epsilon in one place": (lambda: EpsilonSLL(torch.rand(4, 5)), (1, 5)),
    "SLL, sum over another axis": (lambda: TransposedSLL(torch.rand(5, 5)), (1, 5)),
    "SLL, scaled afterwards": (lambda: ScaledSLL(torch.rand(4, 5)), (1, 5)),
    "AOL of the matrix itself": (lambda: HalfAOL(3 * torch.randn(6, 5)), (1, 5)),
    "AOL of the kernel itself": (lambda: HalfAOL(3 * torch.randn(3, 2, 3, 3)), (1, 2, 6, 5)),
    "SOC of a symmetric kernel": (lambda: SOC(2, 4, 0.1, turned=1.0), (1, 2, 6, 6)),
    "SOC of a symmetric kernel, one convolution": (lambda: FoldedSOC(2, 4, 0.1, turned=1.0), (1, 2, 6, 6)),
}


@pytest.mark.parametrize("case", REFUTED)
def test_a_mistake_in_the_formula_is_refuted(case):
    make, shape = REFUTED[case]
    layer, x = form(make, *shape)
    found = row(layer, x)
    assert found.verdict is Verdict.REFUTED and found.upper > found.lower > Fraction(PROMISE)


@pytest.mark.parametrize("make", [lambda: LopsidedCayley(5), lambda: HalfSandwich(5, 4)])
def test_a_mistake_behind_a_matrix_inverse_is_not_proved(make):
    """The inverse of a matrix has no ball arithmetic on the program, so that two inputs cannot be proved to refute."""
    layer, x = form(make, 1, 5)
    found = row(layer, x, PROMISE, ["spectral", "sdp", "witness"])
    assert found.verdict is Verdict.UNDECIDED and found.upper > Fraction("1.01")


def test_a_stack_of_layers_keeps_the_product_of_their_constants():
    torch.manual_seed(3)
    model = nn.Sequential(SLL(torch.randn(4, 5)), AOL(torch.randn(6, 5)), nn.ReLU(), Cayley(6), SLL(torch.randn(3, 6)))
    claims = [{"layer": layer, "bound": PROMISE} for layer in ("", "0", "1", "3", "4")]
    report = audit(model.eval(), torch.zeros(1, 5), claims=claims, verifiers=["spectral"])
    assert [region.verdict for region in report.regions] == [Verdict.PROVED] * 5
