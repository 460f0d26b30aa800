"""A rounding in folding cannot turn into a wrong PROVED: claims one unit in the last place below the truth, and above it.

Of one normalised channel the constant is |gamma| / sqrt(var + eps), of a weight-normalised row |g|. The square of such a
constant is a rational of the stored numbers, so that rationals decide which claims are true. A false one is never PROVED. What
is proved is an enclosure, so that not every true one is: the tests state how many units above the truth always suffice.
"""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from functools import cache
from math import inf, nextafter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations

import lipverify
from lipverify.evidence import Evidence
from lipverify.graph import regions, trace
from lipverify.graph.held import scalar
from lipverify.graph.intervals import interval
from lipverify.rigor.rounding import sqrt_down
from lipverify.verdict import Verdict
from lipverify.verifiers.problem import Problem
from lipverify.verifiers.spectral import Spectral

CHANNEL = 8
"""Units of float64 that suffice for one channel or row: a sum, a root and a quotient of at most one each, and the radius of
an enclosure, whose ends are rounded up again."""
EPS = (1e-5, 1e-3, 0.1, 2.0**-10, 0.0)
DTYPES = (torch.float32, torch.float64)
SEEDS = st.integers(0, 2**32 - 1)


def conv(channels: int, groups: int) -> nn.Module:
    return nn.Conv2d(groups, channels, 1, groups=groups, bias=False)


MODULES = {
    "dense": lambda eps, n: (nn.BatchNorm1d(n, eps=eps), (1, n)),
    "image": lambda eps, n: (nn.BatchNorm2d(n, eps=eps), (1, n, 2, 2)),
    "after a convolution": lambda eps, n: (
        nn.Sequential(conv(n, n), nn.BatchNorm2d(n, eps=eps)),
        (1, n, 2, 2),
    ),
    "after a convolution that mixes": lambda eps, n: (
        nn.Sequential(conv(n, 1), nn.BatchNorm2d(n, eps=eps)),
        (1, 1, 2, 2),
    ),
    "weight": lambda eps, n: (parametrizations.weight_norm(nn.Linear(n, 1)), (1, n)),
}


@cache
def program(kind: str, dtype: torch.dtype, eps: float, n: int):
    module, shape = MODULES[kind](eps, n)
    return trace(module.eval().to(dtype), torch.zeros(*shape, dtype=dtype))


def bounds(
    kind: str, dtype: torch.dtype, eps: float, **numbers: np.ndarray
) -> tuple[Evidence, dict[str, list[Fraction]]]:
    """The spectral evidence on a module with these stored numbers, and the numbers as stored, as rationals."""
    found = program(kind, dtype, eps, max(v.size for v in numbers.values()))
    weights, stored = dict(found.weights), {}
    for name, weight in found.weights.items():
        for end, value in numbers.items():
            if name.endswith(end):
                weights[name] = torch.from_numpy(np.resize(value, weight.shape)).to(dtype)
                stored[end] = [Fraction(v) for v in weights[name].reshape(-1).tolist()]
    assert set(stored) == set(numbers)
    return Spectral().verify(Problem(regions(replace(found, weights=weights))[""])), stored


def epsilons(eps: float, dtype: torch.dtype) -> list[Fraction]:
    """The scalar as written, and as the dtype rounds it: the audit must hold for both."""
    return [Fraction(eps), Fraction(float(torch.tensor(eps, dtype=torch.float64).to(dtype)))]


def below(square: Fraction) -> Fraction:
    """The largest float64 below the root."""
    x = float(sqrt_down(square))
    while Fraction(x) ** 2 >= square:
        x = nextafter(x, 0.0)
    while Fraction(nextafter(x, inf)) ** 2 < square:
        x = nextafter(x, inf)
    return Fraction(x)


def above(square: Fraction, units: int) -> Fraction:
    """That many float64 above ``below``, of which the first is at or above the root."""
    x = float(below(square))
    for _ in range(units):
        x = nextafter(x, inf)
    return Fraction(x)


def drawn(seed: int, n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "weight": rng.standard_normal(n) * 10.0 ** rng.integers(-4, 5),
        "running_var": rng.random(n) * 10.0 ** rng.integers(-6, 7, n) + 1e-6,
        "running_mean": rng.standard_normal(n),
        "bias": rng.standard_normal(n),
    }


@settings(max_examples=20, deadline=None)
@given(
    SEEDS, st.sampled_from(["dense", "image"]), st.sampled_from(DTYPES), st.sampled_from(EPS), st.sampled_from([1, 3])
)
def test_batch_norm_encloses_its_constant_within_units_of_the_truth(seed, kind, dtype, eps, n):
    evidence, stored = bounds(kind, dtype, eps, **drawn(seed, n))
    channels = list(zip(stored["weight"], stored["running_var"], strict=True))
    squares = [max(g * g / (v + e) for g, v in channels) for e in epsilons(eps, dtype)]
    assert evidence.upper > below(max(squares)), "a claim below the truth would be PROVED"
    assert evidence.lower**2 <= min(squares)
    if n == 1:  # of several channels the largest magnitude and the largest radius are added
        assert evidence.upper <= above(max(squares), CHANNEL)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.sampled_from(DTYPES), st.sampled_from(EPS), st.sampled_from([1, 3]), st.booleans())
def test_batch_norm_after_a_convolution_is_never_proved_below_the_truth(seed, dtype, eps, n, mixes):
    """One channel for each: max |w gamma| / sqrt(var + eps). One channel to all: the root of the sum of squares."""
    kind = "after a convolution" + " that mixes" * mixes
    numbers = drawn(seed, n)
    kernel = np.random.default_rng(seed + 1).standard_normal(n)
    evidence, stored = bounds(kind, dtype, eps, **{"1_" + k: v for k, v in numbers.items()}, **{"0_weight": kernel})
    channels = list(zip(stored["0_weight"], stored["1_weight"], stored["1_running_var"], strict=True))
    gather = sum if mixes else max
    squares = [gather((w * g) ** 2 / (v + e) for w, g, v in channels) for e in epsilons(eps, dtype)]
    assert evidence.upper > below(max(squares))
    if n == 1:
        assert evidence.upper <= above(max(squares), CHANNEL)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.sampled_from(DTYPES), st.sampled_from([1, 4]))
def test_a_weight_normalised_row_is_enclosed_within_units_of_its_length(seed, dtype, n):
    """g v / |v| has norm |g| exactly, which is a stored number: below it nothing is proved."""
    rng = np.random.default_rng(seed)
    direction, g = rng.standard_normal(n) * 10.0 ** rng.integers(-8, 9), rng.standard_normal(1)
    evidence, stored = bounds("weight", dtype, 0.0, original1=direction, original0=g)
    truth = abs(stored["original0"][0])
    assert evidence.lower <= truth <= evidence.upper
    assert evidence.upper <= above(truth**2, CHANNEL)


@settings(max_examples=15, deadline=None)
@given(st.integers(-20, 20), st.integers(1, 2**20), st.integers(-4, 4), st.sampled_from(DTYPES))
def test_a_truth_that_is_a_float_is_proved_at_the_truth(mean, gamma, half, dtype):
    """var + eps = 4^k without rounding: root and quotient are exact, and so is the bound."""
    numbers = {"weight": gamma, "running_var": 4.0**half - 2.0**-10, "running_mean": mean, "bias": 1}
    evidence, stored = bounds("dense", dtype, 2.0**-10, **{k: np.array([float(v)]) for k, v in numbers.items()})
    assert evidence.lower == evidence.upper == stored["weight"][0] / Fraction(2) ** half


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["image", "after a convolution", "weight"])
def test_the_audit_judges_claims_around_the_truth(kind, dtype):
    """The same with claims in decimals, read by the audit of a live module; also one unit of the module's own dtype below."""
    for seed in range(2):
        torch.manual_seed(seed)
        module, shape = MODULES[kind](1e-3, 1)
        module = module.to(dtype).eval()
        state = {name: Fraction(float(tensor)) for name, tensor in module.state_dict().items() if tensor.numel() == 1}
        if kind == "weight":
            square = state["parametrizations.weight.original0"] ** 2
        else:
            norm = next(m for m in module.modules() if isinstance(m, nn.BatchNorm2d))
            for tensor in (norm.weight, norm.running_var):
                torch.nn.init.uniform_(tensor, 0.1, 3.0)
            kernel = Fraction(1) if kind == "image" else Fraction(float(module[0].weight.detach()))
            gamma, var = Fraction(float(norm.weight.detach())), Fraction(float(norm.running_var))
            square = (kernel * gamma) ** 2 / (var + min(epsilons(1e-3, dtype)))
        coarse = float(below(square)) * (1 - torch.finfo(dtype).eps)
        claims = [Fraction(coarse), below(square), above(square, CHANNEL)]
        for bound in claims:
            text = [{"layer": "", "bound": str(Decimal(float(bound)))}]
            (row,) = lipverify.audit(
                module, torch.zeros(*shape, dtype=dtype), claims=text, verifiers=["spectral"]
            ).regions
            assert (row.verdict is Verdict.PROVED) == (bound == claims[-1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("eps", EPS)
def test_the_interval_of_an_epsilon_holds_it_as_written_and_as_rounded(eps, dtype):
    low, high = interval(scalar(eps, dtype))
    for number in epsilons(eps, dtype):
        assert Fraction(float(low)) <= number <= Fraction(float(high))
