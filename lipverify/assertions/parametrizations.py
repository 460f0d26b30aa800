"""torch.nn.utils.parametrizations: orthogonal and spectral_norm of a dense layer assert 1.

Of a convolution they speak of the kernel flattened to a matrix, which is not the operator: no claim is read from it.
"""

from __future__ import annotations

from fractions import Fraction

from torch import nn

from lipverify.claims import L2, NormPair

ASSERTING = {"_Orthogonal", "_SpectralNorm"}


def parametrizations(module: nn.Module) -> tuple[Fraction, NormPair] | None:
    """1 for an ``nn.Linear`` whose weight's last parametrization is orthogonal or spectral_norm of torch."""
    chain = getattr(getattr(module, "parametrizations", None), "weight", None)
    if not isinstance(module, nn.Linear) or not isinstance(chain, nn.ModuleList) or len(chain) == 0:
        return None
    last = type(chain[-1])
    own = last.__module__ == "torch.nn.utils.parametrizations" and last.__name__ in ASSERTING
    return (Fraction(1), L2) if own else None
