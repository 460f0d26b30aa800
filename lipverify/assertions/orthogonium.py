"""orthogonium: what the documentation of its layers asserts, by the full names of their classes."""

from __future__ import annotations

from fractions import Fraction

from torch import nn

from lipverify.claims import L2, LOGITS, NormPair

ONE = {
    f"orthogonium.layers.{name}": norms
    for norms, names in {
        L2: (
            "linear.ortho_linear.OrthoLinear",
            "conv.AOC.rko_conv.RKOConv2d",
            "conv.AOC.rko_conv.RkoConvTranspose2d",
            "conv.AOC.fast_block_ortho_conv.FastBlockConv2d",
            "conv.AOC.fast_block_ortho_conv.FastBlockConvTranspose2D",
            "conv.AOC.bcop_x_rko_conv.BcopRkoConv2d",
            "conv.AOC.bcop_x_rko_conv.BcopRkoConvTranspose2d",
            "conv.adaptiveSOC.fast_skew_ortho_conv.FastSOC",
            "conv.adaptiveSOC.fast_skew_ortho_conv.SOCTranspose",
            "conv.adaptiveSOC.soc_x_rko_conv.SOCRkoConv2d",
            "conv.adaptiveSOC.soc_x_rko_conv.SOCRkoConvTranspose2d",
            "conv.AOL.aol.AOLConv2D",
            "conv.AOL.aol.AOLConvTranspose2D",
            "conv.SLL.sll_layer.SLLxAOCLipschitzResBlock",
            "conv.SLL.sll_layer.SDPBasedLipschitzResBlock",
            "conv.SLL.sll_layer.SDPBasedLipschitzDense",
            "conv.SLL.sll_layer.AOCLipschitzResBlock",
        ),
        LOGITS: ("linear.ortho_linear.UnitNormLinear",),
    }.items()
    for name in names
}
"""Classes documented as orthogonal or 1-Lipschitz; a layer of unit rows is so in each output only, which is l2->linf."""


def orthogonium(module: nn.Module) -> tuple[Fraction, NormPair] | None:
    """1 for a module of one of these classes, or of a class derived from one."""
    for base in type(module).__mro__:
        norms = ONE.get(f"{base.__module__}.{base.__qualname__}")
        if norms is not None:
            return Fraction(1), norms
    return None
