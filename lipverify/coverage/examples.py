"""One small program for every ATen operation that has a lowering rule, and for some that have none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from lipverify.read.program import Operation, Program, Ref

X = Ref("x")
ROW, MATRIX, SQUARE, SIGNAL, IMAGE = (1, 4), (2, 3), (3, 3), (1, 2, 6), (1, 2, 4, 4)


@dataclass(frozen=True, slots=True)
class Example:
    """One operation on an input x.

    Attributes:
        target: its ATen name; a pattern of several operations has a name without dots.
        shape: of x.
        args, kwargs: with :data:`X` for x and tensors for weights.
        result: which of several results is read; None where there is one.
        steps: the operations of a pattern, as (ATen name, arguments); each is read as ``Ref`` of its number.
    """

    target: str
    shape: tuple[int, ...]
    args: tuple[Any, ...] = (X,)
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    result: int | None = None
    steps: tuple[tuple[str, tuple[Any, ...]], ...] = ()

    def program(self) -> Program:
        """The example as a program of its own, in float32."""
        weights: dict[str, torch.Tensor] = {}
        steps = self.steps or ((self.target, self.args),)
        operations = []
        for i, (target, args) in enumerate(steps):
            kwargs = self.kwargs if i + 1 == len(steps) else {}
            operations.append(Operation(str(i), target, _named(args, weights), dict(kwargs)))
        if self.result is not None:
            operations.append(Operation("result", "getitem", (Ref(operations[-1].name), self.result)))
        names = {name: name for name in weights}
        return Program({"x": self.shape}, torch.float32, weights, names, tuple(operations), (operations[-1].name,))


def _named(args: Any, weights: dict[str, torch.Tensor]) -> Any:
    """The arguments with every tensor among them replaced by the name of a weight."""
    if isinstance(args, torch.Tensor):
        name = f"w{len(weights)}"
        weights[name] = args
        return Ref(name)
    return tuple(_named(a, weights) for a in args) if isinstance(args, tuple) else args


def _of(names: str, shape: tuple[int, ...], *args: Any, result: int | None = None, **kwargs: Any) -> list[Example]:
    """The same example for each of some operators; without an overload the name means ``default``."""
    return [Example(_full(name), shape, args or (X,), kwargs, result) for name in names.split()]


def _full(name: str) -> str:
    return f"aten.{name}" if "." in name else f"aten.{name}.default"


def _w(*shape: int) -> torch.Tensor:
    return torch.ones(shape)


def _in(target: str, shape: tuple[int, ...], *steps: tuple[str, tuple[Any, ...]]) -> Example:
    """An operation among others: a pattern, or one that exports write only behind another."""
    return Example(target, shape, steps=tuple((_full(name), args) for name, args in steps))


KERNEL, TAPS = _w(3, 2, 3, 3), _w(3, 2, 3)
PICK = torch.tensor([0, 2])
STATISTICS = (_w(2), _w(2), _w(2), _w(2))

FIRST, SECOND, ANGLES, HALVES = (Ref(str(i)) for i in range(4))
HOUSEHOLDER = (
    *(("slice.Tensor", (X, 1, start, start + 2)) for start in (0, 2)),
    ("unsqueeze", (torch.full((2,), 0.75), 0)),
    ("mul.Tensor", (ANGLES, 0.5)),
    *((function, (angle,)) for angle in (HALVES, ANGLES) for function in ("sin", "cos")),
    *(("mul.Tensor", (x, Ref(factor))) for x, factor in ((FIRST, "4"), (SECOND, "5"))),
    *(("mul.Tensor", (x, Ref(factor))) for x, factor in ((FIRST, "7"), (SECOND, "6"), (FIRST, "6"), (SECOND, "7"))),
    ("sub.Tensor", (Ref("8"), Ref("9"))),
    ("add.Tensor", (Ref("10"), Ref("11"))),
    ("sub.Tensor", (Ref("12"), Ref("13"))),
    ("le.Scalar", (Ref("14"), 0)),
    *(("where.self", (Ref("17"), x, Ref(turned))) for x, turned in ((FIRST, "15"), (SECOND, "16"))),
    ("cat", ((Ref("18"), Ref("19")), 1)),
)
"""Of order 1, with two angles."""

EXAMPLES: tuple[Example, ...] = (
    *_of("linear", ROW, X, _w(3, 4)),
    *_of("mm matmul", ROW, X, _w(4, 3)),
    _in("aten.bmm.default", (2, 2, 3), ("expand", (_w(3, 3), (2, 3, 3))), ("bmm", (X, Ref("0")))),
    *_of("mv", MATRIX, X, _w(3)),
    *_of("addmm", ROW, _w(3), X, _w(4, 3)),
    *_of("convolution", IMAGE, X, KERNEL, None, (1, 1), (1, 1), (1, 1), False, (0, 0), 1),
    *_of("conv1d", SIGNAL, X, TAPS),
    *_of("conv1d.padding", SIGNAL, X, TAPS, None, (1,), "same"),
    *_of("conv2d", IMAGE, X, KERNEL),
    *_of("conv2d.padding", IMAGE, X, KERNEL, None, (1, 1), "same"),
    *_of("conv_transpose1d", SIGNAL, X, _w(2, 3, 3)),
    *_of("conv_transpose2d.input", IMAGE, X, _w(2, 3, 3, 3)),
    *_of("add.Tensor sub.Tensor rsub.Tensor", ROW, X, X),
    *_of("add.Scalar sub.Scalar rsub.Scalar mul.Scalar div.Scalar", ROW, X, 2.0),
    *_of("mul.Tensor div.Tensor", ROW, X, _w(4)),
    *_of("maximum minimum max.other min.other", ROW, X, X),
    *_of("cat concat concatenate stack", ROW, (X, X), 1),
    *_of("scaled_dot_product_attention", (1, 2, 4), X, X, X),
    *_of("view view_copy reshape _unsafe_view", ROW, X, (2, 2)),
    *_of("view_as reshape_as expand_as", ROW, X, X),
    *_of("unflatten.int", ROW, X, 1, (2, 2)),
    *_of(
        "squeeze squeeze_copy flatten.using_ints atleast_1d atleast_2d clone detach detach_copy alias alias_copy", ROW
    ),
    *_of("lift_fresh_copy contiguous", ROW),
    *_of("squeeze.dim squeeze_copy.dim unsqueeze unsqueeze_copy", ROW, X, 0),
    *_of("squeeze.dims squeeze_copy.dims", ROW, X, (0,)),
    *_of("_to_copy", ROW, X, dtype=torch.float32),
    *_of("to.dtype", ROW, X, torch.float32),
    *_of("dropout feature_dropout alpha_dropout feature_alpha_dropout", ROW, X, 0.5, False),
    *_of("permute permute_copy", MATRIX, X, (1, 0)),
    *_of("transpose.int transpose_copy.int swapaxes movedim.int", MATRIX, X, 0, 1),
    *_of("t t_copy numpy_T mT", MATRIX),
    *_of("movedim.intlist", MATRIX, X, (0,), (1,)),
    *_of("slice.Tensor slice_copy.Tensor narrow", ROW, X, 1, 0, 2),
    *_of("select.int select_copy.int", ROW, X, 1, 0),
    *_of("index_select", ROW, X, 1, PICK),
    *_of("index.Tensor", ROW, X, (None, PICK)),
    *_of("flip", ROW, X, (1,)),
    *_of("roll", ROW, X, (1,), (1,)),
    *_of("rot90", MATRIX, X, 1, (0, 1)),
    *_of("expand expand_copy broadcast_to", ROW, X, (3, 4)),
    *_of("repeat tile", ROW, X, (2, 1)),
    *_of("repeat_interleave.self_int", ROW, X, 2, 1),
    *_of("pixel_shuffle channel_shuffle", (1, 4, 2, 2), X, 2),
    *_of("pixel_unshuffle", IMAGE, X, 2),
    *_of("im2col", IMAGE, X, (2, 2), (1, 1), (0, 0), (1, 1)),
    *_of("unfold", ROW, X, 1, 2, 1),
    *_of("diagonal diagonal_copy tril triu", SQUARE),
    *_of("upsample_nearest1d", SIGNAL, X, (12,)),
    *_of("upsample_nearest1d.vec", SIGNAL, X, None, (2.0,)),
    *_of("upsample_nearest2d", IMAGE, X, (8, 8)),
    *_of("upsample_nearest2d.vec _upsample_nearest_exact2d.vec", IMAGE, X, None, (2.0, 2.0)),
    *_of("reflection_pad1d replication_pad1d", SIGNAL, X, (1, 1)),
    *_of("reflection_pad2d replication_pad2d", IMAGE, X, (1, 1, 1, 1)),
    *_of("pad constant_pad_nd", ROW, X, (1, 1)),
    _in(
        "aten.slice_scatter.default",
        ROW,
        ("empty.memory_format", ((1, 4),)),
        ("slice_scatter", (Ref("0"), X, 1, 0, 4)),
    ),
    *_of("avg_pool1d adaptive_avg_pool1d max_pool1d", SIGNAL, X, (2,)),
    *_of("avg_pool2d adaptive_avg_pool2d _adaptive_avg_pool2d max_pool2d", IMAGE, X, (2, 2)),
    *_of("mean sum max min neg", ROW),
    *_of("mean.dim sum.dim_IntList amax amin logsumexp", ROW, X, (1,)),
    *_of("upsample_linear1d", SIGNAL, X, (12,), False),
    *_of("upsample_linear1d.vec", SIGNAL, X, None, False, (2.0,)),
    *_of("upsample_bilinear2d", IMAGE, X, (8, 8), False),
    *_of("upsample_bilinear2d.vec", IMAGE, X, None, False, (2.0, 2.0)),
    *_of("batch_norm", IMAGE, X, *STATISTICS, False, 0.1, 1e-5, False),
    *_of("instance_norm", IMAGE, X, *STATISTICS[:2], None, None, True, 0.1, 1e-5, False),
    *_of("layer_norm", ROW, X, (4,), _w(4), _w(4)),
    *_of("group_norm", IMAGE, X, 2, _w(2), _w(2)),
    *_of("rms_norm", ROW, X, (4,), _w(4), 1e-5),
    *_of("softmax.int log_softmax.int", ROW, X, 1),
    *_of("_softmax _log_softmax", ROW, X, 1, False),
    *_of("linalg_vector_norm norm.ScalarOpt_dim", ROW, X, 2, (1,)),
    # several results, of which one is read
    *_of("adaptive_max_pool1d", SIGNAL, X, (2,), result=0),
    *_of("max_pool2d_with_indices adaptive_max_pool2d", IMAGE, X, (2, 2), result=0),
    *_of("max.dim min.dim", ROW, X, 1, result=0),
    *_of("sort", ROW, result=0),
    *_of("sort.stable", ROW, X, stable=True, dim=1, result=0),
    *_of("topk", ROW, X, 2, result=0),
    *_of("_native_batch_norm_legit_no_training", IMAGE, X, *STATISTICS, 0.1, 1e-5, result=0),
    *_of("_native_batch_norm_legit.no_stats", IMAGE, X, *STATISTICS[:2], True, 0.1, 1e-5, result=0),
    *_of("native_layer_norm", ROW, X, (4,), _w(4), _w(4), 1e-5, result=0),
    *_of("native_group_norm", IMAGE, X, *STATISTICS[:2], 1, 2, 16, 2, 1e-5, result=0),
    *_of("split.Tensor tensor_split.sections chunk", ROW, X, 2, 1, result=0),
    *_of("split.sizes split_with_sizes split_with_sizes_copy", ROW, X, (2, 2), 1, result=0),
    *_of("unbind.int unbind_copy.int", ROW, X, 1, result=0),
    # activations
    *_of("relu relu6 abs leaky_relu rrelu hardtanh hardsigmoid hardswish tanh sigmoid special_expit log_sigmoid", ROW),
    *_of("softplus elu celu selu silu gelu mish softshrink sin cos atan asinh erf special_erf erfc", ROW),
    *_of("prelu", ROW, X, torch.full((4,), 0.25)),
    *_of("_prelu_kernel", ROW, X, torch.full((1, 4), 0.25)),
    *_of("clamp", ROW, X, 0, 1),
    *_of("clamp_min", ROW, X, 0),
    *_of("clamp_max", ROW, X, 1),
    _in("softsign", ROW, ("abs", (X,)), ("add.Tensor", (Ref("0"), 1)), ("div.Tensor", (X, Ref("1")))),
    _in("tanhshrink", ROW, ("tanh", (X,)), ("sub.Tensor", (X, Ref("0")))),
    _in("householder", ROW, *HOUSEHOLDER),
    # refused: no constant on the whole space, or none known here
    *_of("exp expm1 exp2 square sqrt rsqrt reciprocal log log2 log10 log1p sinh cosh tan asin acos atanh acosh", ROW),
    *_of("logit hardshrink sign sgn floor ceil round trunc frac", ROW),
    *_of("pow.Tensor_Scalar", ROW, X, 2),
    *_of("threshold", ROW, X, 0.1, 20),
    *_of("eq.Scalar ge.Scalar gt.Scalar le.Scalar lt.Scalar ne.Scalar", ROW, X, 0.5),
    *_of("eq.Tensor ge.Tensor gt.Tensor le.Tensor lt.Tensor ne.Tensor", ROW, X, _w(4)),
)
"""An example for every operation with a rule."""

REFUSED: tuple[Example, ...] = (
    *_of("mul.Tensor div.Tensor", ROW, X, X),
    *_of("matmul mm", SQUARE, X, X),
    *_of("bmm", (1, 3, 3), X, X),
    *_of("prod", ROW),
)
"""Further forms that have no rule, on purpose or so far."""
