"""Copies: operations that move, repeat, drop or join entries, or put zeros beside them, and compute nothing.

They act on midpoints and on radii alike: torch's own operator is run on both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import torch

from lipverify.read.program import aten
from lipverify.rigor.aten_balls.ball import Ball, NotEnclosed, constant

COPIES = frozenset(
    f"aten.{name}.default"
    for name in """
    permute permute_copy t t_copy numpy_T mT mH view view_copy view_as reshape reshape_as _unsafe_view squeeze
    squeeze_copy unsqueeze unsqueeze_copy atleast_1d atleast_2d clone detach detach_copy alias alias_copy lift_fresh_copy
    contiguous swapaxes flip roll rot90 expand expand_as expand_copy broadcast_to repeat tile narrow index_select
    gather embedding pixel_shuffle pixel_unshuffle channel_shuffle reflection_pad1d reflection_pad2d replication_pad1d
    replication_pad2d upsample_nearest1d upsample_nearest2d _upsample_nearest_exact1d _upsample_nearest_exact2d
    split_with_sizes split_with_sizes_copy chunk im2col unfold diagonal diagonal_copy tril triu slice_scatter
    select_scatter copy cat concat concatenate stack hstack vstack column_stack
    """.split()
) | frozenset(
    f"aten.{name}"
    for name in """
    transpose.int transpose_copy.int flatten.using_ints unflatten.int squeeze.dim squeeze.dims squeeze_copy.dim
    squeeze_copy.dims movedim.int movedim.intlist slice.Tensor slice_copy.Tensor select.int select_copy.int index.Tensor
    repeat_interleave.self_int upsample_nearest1d.vec upsample_nearest2d.vec _upsample_nearest_exact1d.vec
    _upsample_nearest_exact2d.vec split.Tensor split.sizes unbind.int unbind_copy.int tensor_split.sections
    """.split()
)
"""Operations that copy entries, by their ATen names."""

VIEWS = frozenset(f"aten.{name}.default" for name in ("view", "view_copy", "_unsafe_view"))
"""Views, which depend on how entries are stored: midpoints and radii are stored in their own way, so they are reshaped."""


def copied(target: str) -> Callable[..., Any]:
    """The rule of an operation that copies entries: a ball, or a list of balls where it has several results."""

    operator = aten("aten.reshape.default" if target in VIEWS else target)

    def rule(*args: Any, **kwargs: Any) -> Any:
        parts = []
        for side in (0, 1):
            own = [_side(arg, side) for arg in args]
            parts.append(operator(*own, **{k: _side(v, side) for k, v in kwargs.items()}))
        middle, radius = parts
        if isinstance(middle, torch.Tensor):
            return Ball(middle, radius)
        return [Ball(m, r) for m, r in zip(middle, radius, strict=True)]

    return rule


def nearest(target: str) -> Callable[..., Ball]:
    """The rule of nearest interpolation, whose kernels round the position of a source in float32 or in float64.

    Raises:
        NotEnclosed: where the two copy other entries, or an image is too large to count in float32.
    """
    operator, rule = aten(target), copied(target)

    def agreed(x: Ball, *settings: Any) -> Ball:
        channels, *image = x.midpoint.shape[1:]
        if prod(image) > 1 << 24:
            raise NotEnclosed(f"nearest interpolation of {prod(image)} entries, more than float32 counts")
        count = (
            torch.arange(prod(image), dtype=torch.float64).reshape(1, 1, *image).repeat(1, channels, *[1] * len(image))
        )
        layouts = [torch.contiguous_format, *([torch.channels_last] if len(image) == 2 else [])]
        kinds = [(dtype, layout) for dtype in (torch.float64, torch.float32) for layout in layouts]
        found = [operator(count.to(dtype).contiguous(memory_format=layout), *settings) for dtype, layout in kinds]
        if any(not torch.equal(found[0], other.double()) for other in found):
            raise NotEnclosed("which entries nearest interpolation copies here depends on the precision of the machine")
        return rule(x, *settings)

    return agreed


def _side(arg: Any, side: int) -> Any:
    """The midpoint (0) or the radius (1) of every ball in an argument; index tensors and numbers as they are."""
    if isinstance(arg, Ball):
        return arg[side]
    return [_side(a, side) for a in arg] if isinstance(arg, list) else arg


def pad(x: Ball, pads: list[int], mode: str, value: Ball | None) -> Ball:
    """Padding with copies of entries, or with a constant."""
    if mode != "constant":
        return copied("aten.pad.default")(x, pads, mode)
    return constant_pad(x, pads, constant(0.0) if value is None else value)


def constant_pad(x: Ball, pads: list[int], value: Ball) -> Ball:
    """Padding with a constant; negative pads crop."""
    return Ball(*(aten("aten.constant_pad_nd.default")(part, pads, float(v)) for part, v in zip(x, value, strict=True)))


def shuffled(x: Ball, groups: int) -> Ball:
    """Channels (groups, C / groups) become (C / groups, groups): by views, so that no kernel need support float64."""
    n, channels, *image = x.midpoint.shape
    if channels % groups:
        raise NotEnclosed(f"{channels} channels in {groups} groups")
    return Ball(*(part.reshape(n, groups, -1, *image).transpose(1, 2).reshape(part.shape) for part in x))


RULES: Mapping[str, Callable[..., Any]] = {
    **{target: copied(target) for target in COPIES},
    **{target: nearest(target) for target in COPIES if "upsample" in target},
    "aten.pad.default": pad,
    "aten.constant_pad_nd.default": constant_pad,
    "aten.channel_shuffle.default": shuffled,
}

INDEXED = frozenset(
    f"aten.{name}" for name in ("index_select.default", "index.Tensor", "gather.default", "embedding.default")
)
"""Operations that read integer tensors as positions."""

PARAMETERS = frozenset(target for target in COPIES if "upsample" in target)
"""Operations that take their Python scalars as they are, not as balls."""
