"""deel-torchlip: a LipschitzModule asserts its coefficient, a Sequential of the library its k.

The coefficient is read from the module as it is now. A Sequential of the library overwrites those of its children, whose
weights were scaled when they were made: what they assert then may be false, and the audit says so.
"""

from __future__ import annotations

from fractions import Fraction

from torch import nn

from lipverify.claims import L2, LOGITS, NormPair


def torchlip(module: nn.Module) -> tuple[Fraction, NormPair] | None:
    """The coefficient of a module of deel.torchlip that has one, as its shortest decimal.

    A FrobeniusLinear of several disjoint neurons is documented as a stack of such neurons: l2->linf.
    """
    bases = {f"{base.__module__}.{base.__qualname__}" for base in type(module).__mro__}
    if "deel.torchlip.modules.module.LipschitzModule" not in bases:
        return None
    coefficient = getattr(module, "_coefficient_lip", None)
    if isinstance(coefficient, bool) or not isinstance(coefficient, int | float):
        return None
    stacked = "deel.torchlip.modules.linear.FrobeniusLinear" in bases and _disjoint(module)
    return Fraction(repr(float(coefficient))), LOGITS if stacked else L2


def _disjoint(module: nn.Module) -> bool:
    chain = getattr(getattr(module, "parametrizations", None), "weight", ())
    disjoint = any(getattr(step, "dim_norm", None) == 1 for step in chain)  # each row by its own norm
    return disjoint and getattr(module, "out_features", 2) > 1
