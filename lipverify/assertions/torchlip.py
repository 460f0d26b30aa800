"""deel-torchlip: a LipschitzModule asserts its coefficient, a Sequential of the library its k."""

from __future__ import annotations

from fractions import Fraction

from torch import nn


def torchlip(module: nn.Module) -> Fraction | None:
    """The coefficient of a module of deel.torchlip that has one, as its shortest decimal.

    Its Sequential asserts k only by the product of its layers' coefficients; both are read.
    """
    bases = {f"{base.__module__}.{base.__qualname__}" for base in type(module).__mro__}
    if "deel.torchlip.modules.module.LipschitzModule" not in bases:
        return None
    coefficient = getattr(module, "_coefficient_lip", None)
    return Fraction(repr(float(coefficient))) if isinstance(coefficient, int | float) else None
