"""Assertions: what Lipschitz libraries themselves say of the layers of a model, as claims to be judged."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from torch import nn

from lipverify.assertions.orthogonium import orthogonium
from lipverify.assertions.parametrizations import parametrizations
from lipverify.assertions.torchlip import torchlip
from lipverify.claims import Claim, NormPair

LIBRARIES: tuple[Callable[[nn.Module], tuple[Fraction, NormPair] | None], ...] = (
    torchlip,
    orthogonium,
    parametrizations,
)
"""Each says which constant between which norms its library asserts of a module, or None; by class names, importing nothing."""


def asserted_claims(model: nn.Module) -> tuple[Claim, ...]:
    """The claims that the libraries behind a model's modules make, one for each module at most.

    A claim read here is what the library asserts, in exact arithmetic; that it is true is for the audit to say.

    >>> layer = nn.utils.parametrizations.orthogonal(nn.Linear(3, 3))
    >>> [(claim.layer, claim.text) for claim in asserted_claims(nn.Sequential(layer))]
    [('0', '1')]
    """
    claims = []
    for path, module in model.named_modules():
        asserted = next((found for library in LIBRARIES if (found := library(module)) is not None), None)
        if asserted is not None:
            bound, norms = asserted
            claims.append(Claim(path, bound, str(bound), norms))
    return tuple(claims)
