"""One-operation programs: ATen target -> cases, each the input's shape and the operator's arguments."""

from __future__ import annotations

from typing import Any

import torch

from lipverify.read.program import Operation, Program, Ref

X = Ref("x")
G = torch.Generator().manual_seed(7)


def w(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=G, dtype=torch.float64)


def positive(*shape: int) -> torch.Tensor:
    return 0.5 + torch.rand(shape, generator=G, dtype=torch.float64)


def program(target: str, shape: tuple[int, ...], args: tuple[Any, ...], kwargs: dict[str, Any], result: int) -> Program:
    """The operation as a program of float64; tensors among its arguments become weights."""
    weights: dict[str, torch.Tensor] = {}

    def named(arg: Any) -> Any:
        if isinstance(arg, torch.Tensor):
            weights[f"w{len(weights)}"] = arg
            return Ref(f"w{len(weights) - 1}")
        return tuple(named(a) for a in arg) if isinstance(arg, tuple) else arg

    operations = [Operation("y", target, named(args), {k: named(v) for k, v in kwargs.items()})]
    if result >= 0:
        operations.append(Operation("z", "getitem", (Ref("y"), result)))
    return Program({"x": shape}, torch.float64, weights, {}, tuple(operations), (operations[-1].name,))


V, M, IMAGE, S = (6,), (3, 6), (2, 4, 5, 7), (2, 4, 9)
T = torch.tensor

CASES: list[tuple[Any, ...]] = [
    # target without "aten.", input shape, arguments, keyword arguments, which result
    ("linear.default", M, (X, w(4, 6), w(4))),
    ("addmm.default", M, (w(4), X, w(6, 4)), {"beta": 0.5, "alpha": 3}),
    ("mm.default", M, (X, w(6, 2))),
    ("mm.default", M, (w(5, 3), X)),
    ("bmm.default", (2, 3, 4), (X, w(2, 4, 5))),
    ("bmm.default", (2, 4, 4), (X, X)),
    ("baddbmm.default", (2, 3, 4), (w(2, 3, 5), X, w(2, 4, 5)), {"beta": 2, "alpha": 0.25}),
    ("matmul.default", (2, 3, 4), (X, w(4))),
    ("mv.default", M, (X, w(6))),
    ("dot.default", V, (X, w(6))),
    ("vdot.default", V, (X, X)),
    ("outer.default", V, (X, w(3))),
    ("einsum.default", (2, 3, 4), ("bij,jk->bki", (X, w(4, 5)))),
    ("einsum.default", (2, 3, 4), ("bij->ji", (X,))),
    ("convolution.default", IMAGE, (X, w(6, 2, 3, 2), w(6), (2, 1), (1, 2), (2, 1), False, (0, 0), 2)),
    ("convolution.default", IMAGE, (X, w(4, 3, 3, 2), w(6), (2, 3), (1, 0), (1, 2), True, (1, 2), 2)),
    ("convolution.default", IMAGE, (X, w(4, 3, 3, 2), None, (2, 1), (2, 1), (3, 2), True, (2, 1), 1)),
    ("conv1d.default", S, (X, w(6, 2, 3), w(6), (2,), (1,), (2,), 2)),
    ("conv1d.default", (4, 9), (X, w(6, 4, 3), w(6))),
    ("conv1d.padding", S, (X, w(3, 4, 4), None, (1,), "same")),
    ("conv2d.default", IMAGE, (X, w(3, 4, 3, 3))),
    ("conv2d.padding", IMAGE, (X, w(3, 4, 3, 2), w(3), (1, 1), "same", (1, 2))),
    ("conv2d.padding", IMAGE, (X, w(3, 4, 3, 2), None, (2, 2), "valid")),
    ("conv_transpose1d.default", S, (X, w(4, 3, 3), w(6), (2,), (1,), (1,), 2, (2,))),
    ("conv_transpose2d.input", IMAGE, (X, w(4, 3, 3, 3), None, (2, 2), (1, 1), (1, 1))),
    ("add.Tensor", M, (X, w(6)), {"alpha": -2}),
    ("add.Scalar", M, (X, 0.3, 2)),
    ("sub.Tensor", M, (X, X), {"alpha": 0.5}),
    ("sub.Scalar", M, (X, 3)),
    ("rsub.Scalar", M, (X, 1, 3)),
    ("rsub.Tensor", M, (X, w(6)), {"alpha": 2}),
    ("mul.Tensor", M, (X, X)),
    ("mul.Tensor", M, (X, T([1, -2, 3, 0, 5, 6]))),
    ("mul.Scalar", M, (X, -0.1)),
    ("div.Tensor", M, (X, positive(3, 1))),
    ("div.Tensor", M, (w(3, 6), X), {}, -1, 5.0),
    ("div.Scalar", M, (X, 3)),
    ("neg.default", M, (X,)),
    ("sqrt.default", M, (X,), {}, -1, 5.0),
    ("rsqrt.default", M, (X,), {}, -1, 5.0),
    ("reciprocal.default", M, (X,), {}, -1, 5.0),
    ("square.default", M, (X,)),
    *(("pow.Tensor_Scalar", M, (X, n), {}, -1, 5.0) for n in (0, 1, 2, 3, -2, 0.5, -0.5)),
    ("sign.default", M, (X,)),
    ("addcmul.default", M, (X, X, w(6)), {"value": 0.5}),
    ("addcdiv.default", M, (X, X, positive(6)), {"value": 2}),
    *((f"{kind}.default", M, (X, 0.5, False)) for kind in ("dropout", "feature_dropout", "alpha_dropout")),
    ("native_dropout.default", M, (X, 0.5, False), {}, 0),
    ("pad.default", IMAGE, (X, (1, 2, 0, 1))),
    ("pad.default", IMAGE, (X, (1, -2), "constant", 0.3)),
    ("pad.default", IMAGE, (X, (1, 2, 1, 3), "circular")),
    ("pad.default", IMAGE, (X, (1, 2, 1, 3), "reflect")),
    ("pad.default", IMAGE, (X, (1, 2, 1, 3), "replicate")),
    ("constant_pad_nd.default", IMAGE, (X, (1, 2), 0.1)),
    ("reflection_pad1d.default", S, (X, (2, 3))),
    ("reflection_pad2d.default", IMAGE, (X, (1, 2, 3, 0))),
    ("replication_pad1d.default", S, (X, (2, 3))),
    ("replication_pad2d.default", IMAGE, (X, (1, 2, 3, 0))),
    ("avg_pool1d.default", S, (X, (3,), (2,), (1,), True, False)),
    ("avg_pool1d.default", S, (X, (2,))),
    ("avg_pool2d.default", IMAGE, (X, (3, 2), (2, 2), (1, 1), True, False)),
    ("avg_pool2d.default", IMAGE, (X, (3, 2), (2, 2), (1, 1), True, True)),
    ("avg_pool2d.default", IMAGE, (X, (3,), (), (1,), False, True, 5)),
    ("adaptive_avg_pool1d.default", S, (X, (4,))),
    ("adaptive_avg_pool2d.default", IMAGE, (X, (3, 9))),
    ("_adaptive_avg_pool2d.default", IMAGE, (X, (1, 1))),
    ("mean.dim", IMAGE, (X, (-1, 1), True)),
    ("mean.default", IMAGE, (X,)),
    ("sum.dim_IntList", IMAGE, (X, (0, 2))),
    ("sum.default", IMAGE, (X,)),
    ("cumsum.default", M, (X, 1)),
    ("col2im.default", (2, 12, 20), (X, (5, 6), (2, 2), (1, 1), (0, 0), (1, 1))),
    ("upsample_linear1d.vec", S, (X, None, False, (1.5,))),
    ("upsample_linear1d.vec", S, (X, (4,), True, None)),
    ("upsample_linear1d.default", S, (X, (20,), False, 2.25)),
    ("upsample_bilinear2d.vec", IMAGE, (X, (3, 11), False, None)),
    ("upsample_bilinear2d.vec", IMAGE, (X, None, True, (2.0, 3.0))),
    ("upsample_bilinear2d.default", IMAGE, (X, (1, 9), True)),
    ("upsample_bicubic2d.vec", IMAGE, (X, (7, 5), False, None)),
    ("upsample_bicubic2d.vec", IMAGE, (X, None, True, (2.0, 1.5))),
    ("upsample_bicubic2d.default", IMAGE, (X, (8, 8), False, 1.6, 1.2)),
    ("max_pool1d.default", S, (X, (3,), (2,), (1,), (1,), True)),
    ("max_pool2d.default", IMAGE, (X, (2, 3), (2, 1), (1, 1), (2, 1), True)),
    ("max_pool2d_with_indices.default", IMAGE, (X, (2, 2)), {}, 0),
    ("adaptive_max_pool1d.default", S, (X, (4,)), {}, 0),
    ("adaptive_max_pool2d.default", IMAGE, (X, (3, 2)), {}, 0),
    ("amax.default", IMAGE, (X, (1, 3), True)),
    ("amin.default", IMAGE, (X,)),
    ("aminmax.default", IMAGE, (X,), {"dim": 1}, 1),
    ("max.default", IMAGE, (X,)),
    ("min.default", IMAGE, (X,)),
    ("max.dim", IMAGE, (X, 1), {}, 0),
    ("min.dim", IMAGE, (X, -1, True), {}, 0),
    ("topk.default", M, (X, 3, 1), {}, 0),
    ("topk.default", M, (X, 2, 0, False), {}, 0),
    ("sort.default", M, (X, 0, True), {}, 0),
    ("sort.stable", M, (X,), {"stable": True, "dim": 1}, 0),
    ("maximum.default", M, (X, w(6))),
    ("minimum.default", M, (X, w(6))),
    ("max.other", M, (X, w(6))),
    ("min.other", M, (X, w(6))),
    ("clamp.default", M, (X, -0.3, 0.7)),
    ("clamp.default", M, (X, None, 0)),
    ("clamp.default", M, (X, 1, -1)),
    ("clamp.Tensor", M, (X, w(6), w(6))),
    ("clamp_min.default", M, (X, 0.1)),
    ("clamp_max.default", M, (X, 0.1)),
    ("clamp_min.Tensor", M, (X, w(6))),
    ("clamp_max.Tensor", M, (X, w(6))),
    ("slice.Tensor", IMAGE, (X, 2, 1, 5, 2)),
    ("slice_copy.Tensor", IMAGE, (X, 2, 1)),
    ("select.int", IMAGE, (X, 1, -1)),
    ("select_copy.int", IMAGE, (X, 1, 2)),
    ("narrow.default", IMAGE, (X, 3, 2, 4)),
    ("index_select.default", IMAGE, (X, 1, T([3, 0, 0]))),
    ("index.Tensor", IMAGE, (X, (None, T([3, 0, 0])))),
    ("gather.default", M, (X, 1, T([[0, 5], [1, 1], [2, 0]]))),
    ("embedding.default", M, (X, T([2, 0, 2]))),
    ("flip.default", IMAGE, (X, (1, 3))),
    ("roll.default", IMAGE, (X, (1, -2), (1, 3))),
    ("rot90.default", IMAGE, (X, 1, (2, 3))),
    ("expand.default", (3, 1), (X, (2, 3, 4))),
    ("expand_as.default", (3, 1), (X, w(3, 4))),
    ("expand_copy.default", (3, 1), (X, (3, 4))),
    ("broadcast_to.default", (3, 1), (X, (3, 4))),
    ("repeat.default", M, (X, (2, 1, 3))),
    ("repeat_interleave.self_int", M, (X, 2, 1)),
    ("tile.default", M, (X, (2,))),
    ("pixel_shuffle.default", IMAGE, (X, 2)),
    ("pixel_unshuffle.default", (1, 2, 4, 6), (X, 2)),
    ("channel_shuffle.default", IMAGE, (X, 2)),
    ("upsample_nearest1d.vec", S, (X, None, (1.5,))),
    ("upsample_nearest2d.vec", IMAGE, (X, (7, 3), None)),
    ("upsample_nearest1d.default", S, (X, (20,), 2.3)),
    ("upsample_nearest2d.default", IMAGE, (X, (10, 14))),
    ("_upsample_nearest_exact2d.vec", IMAGE, (X, (7, 3), None)),
    ("im2col.default", IMAGE, (X, (2, 3), (1, 1), (1, 0), (2, 1))),
    ("unfold.default", S, (X, 2, 3, 2)),
    ("diagonal.default", M, (X, 1)),
    ("tril.default", M, (X, 1)),
    ("triu.default", M, (X,)),
    ("split.Tensor", IMAGE, (X, 2, 1), {}, 1),
    ("split.sizes", IMAGE, (X, (1, 3), 1), {}, 1),
    ("split_with_sizes.default", IMAGE, (X, (1, 3), 1), {}, 0),
    ("split_with_sizes_copy.default", IMAGE, (X, (1, 3), 1), {}, 0),
    ("chunk.default", IMAGE, (X, 3, 3), {}, 2),
    ("unbind.int", IMAGE, (X, 1), {}, 3),
    ("unbind_copy.int", IMAGE, (X, 1), {}, 3),
    ("tensor_split.sections", IMAGE, (X, 3, 3), {}, 1),
    ("slice_scatter.default", M, (w(3, 6), X, 1, 0, 6)),
    ("slice_scatter.default", M, (X, w(3, 2), 1, 1, 5, 2)),
    ("select_scatter.default", V, (w(3, 6), X, 0, 1)),
    ("copy.default", V, (w(3, 6), X)),
    ("view.default", M, (X, (2, 9))),
    ("view_copy.default", M, (X, (-1,))),
    ("view_as.default", M, (X, w(9, 2))),
    ("reshape.default", M, (X, (2, 9))),
    ("reshape_as.default", M, (X, w(9, 2))),
    ("_unsafe_view.default", M, (X, (2, 9))),
    ("flatten.using_ints", IMAGE, (X, 1, 2)),
    ("unflatten.int", IMAGE, (X, 1, (2, 2))),
    ("squeeze.default", (1, 3, 1), (X,)),
    ("squeeze.dim", (1, 3, 1), (X, 0)),
    ("squeeze.dims", (1, 3, 1), (X, (0, 2))),
    ("squeeze_copy.default", (1, 3, 1), (X,)),
    ("squeeze_copy.dim", (1, 3, 1), (X, 0)),
    ("squeeze_copy.dims", (1, 3, 1), (X, (0, 2))),
    ("unsqueeze.default", M, (X, 1)),
    ("unsqueeze_copy.default", M, (X, 1)),
    *(
        (f"{name}.default", M, (X,))
        for name in """atleast_1d atleast_2d clone detach detach_copy alias alias_copy lift_fresh_copy contiguous _to_copy t
        t_copy numpy_T mT""".split()
    ),
    ("to.dtype", M, (X, torch.float64)),
    ("permute.default", IMAGE, (X, (2, 0, 3, 1))),
    ("permute_copy.default", IMAGE, (X, (2, 0, 3, 1))),
    ("transpose.int", IMAGE, (X, 1, -1)),
    ("transpose_copy.int", IMAGE, (X, 1, -1)),
    ("swapaxes.default", IMAGE, (X, 1, -1)),
    ("movedim.int", IMAGE, (X, 0, 2)),
    ("movedim.intlist", IMAGE, (X, (0, 1), (2, 3))),
    ("cat.default", M, ((X, w(3, 2), X), 1)),
    ("concat.default", M, ((X, w(3, 2)), 1)),
    ("concatenate.default", M, ((X, w(3, 2)), 1)),
    ("stack.default", M, ((X, w(3, 6)), 1)),
    ("batch_norm.default", IMAGE, (X, w(4), w(4), w(4), positive(4), False, 0.1, 1e-5, True)),
    ("batch_norm.default", M, (X, None, None, w(6), positive(6), False, 0.1, 1e-3, False)),
    ("_native_batch_norm_legit_no_training.default", S, (X, w(4), w(4), w(4), positive(4), 0.1, 1e-5), {}, 0),
    ("_native_batch_norm_legit.no_stats", IMAGE, (X, w(4), w(4), True, 0.1, 1e-5), {}, 0),
    ("instance_norm.default", IMAGE, (X, w(4), w(4), None, None, True, 0.1, 1e-5, True)),
    ("instance_norm.default", IMAGE, (X, None, None, w(4), positive(4), False, 0.1, 1e-5, True)),
    ("layer_norm.default", IMAGE, (X, (5, 7), w(5, 7), w(5, 7), 1e-5, True)),
    ("native_layer_norm.default", M, (X, (6,), None, None, 1e-5), {}, 0),
    ("group_norm.default", IMAGE, (X, 2, w(4), w(4), 1e-5, True)),
    ("native_group_norm.default", IMAGE, (X, w(4), None, 2, 4, 35, 2, 1e-5), {}, 0),
    ("rms_norm.default", M, (X, (6,), w(6), None)),
    ("softmax.int", IMAGE, (X, 1)),
    ("_softmax.default", M, (X, -1, False)),
    ("log_softmax.int", IMAGE, (X, 1)),
    ("_log_softmax.default", M, (X, 0, False)),
    ("logsumexp.default", M, (X, (1,), True)),
    ("linalg_vector_norm.default", IMAGE, (X, 2, (1, 2))),
    ("linalg_vector_norm.default", IMAGE, (X, 1, (1, 2), True)),
    ("linalg_vector_norm.default", IMAGE, (X, float("inf"))),
    ("norm.ScalarOpt_dim", M, (X, None, (1,), True)),
    ("norm.Scalar", M, (X, 2)),
    ("_weight_norm.default", M, (X, w(3, 1), 0)),
    ("_weight_norm_interface.default", M, (X, w(3, 1), 0), {}, 0),
    ("var.correction", M, (X, (1,)), {"correction": 0, "keepdim": True}),
    ("scaled_dot_product_attention.default", (2, 3, 4), (X, X, X)),
    *(
        (f"{name}.default", M, (X,), {}, -1, shift)
        for name in """relu relu6 abs hardsigmoid hardswish tanh sigmoid special_expit log_sigmoid selu silu gelu mish sin
        cos atan asinh erf special_erf erfc exp expm1""".split()
        for shift in (0.0, -4.0, 4.0)
    ),
    *((f"{name}.default", M, (X,), {}, -1, 5.0) for name in ("log", "log1p", "log2")),
    ("log_sigmoid_forward.default", M, (X,), {}, 0),
    ("leaky_relu.default", M, (X,)),
    ("leaky_relu.default", M, (X, -1.5)),
    ("prelu.default", IMAGE, (X, w(4))),
    ("_prelu_kernel.default", M, (X, w(1, 1))),
    ("rrelu.default", M, (X, 0.1, 0.3, False)),
    ("hardtanh.default", M, (X,)),
    ("hardtanh.default", M, (X, 0, 0.4)),
    ("softplus.default", M, (X,)),
    ("softplus.default", M, (X, 2, 1)),
    ("softplus.default", M, (X, 0.5, -30), {}, -1, -10.0),
    ("elu.default", M, (X, 1.3, 0.7, 2)),
    ("celu.default", M, (X, 0.4)),
    ("gelu.default", M, (X,), {"approximate": "tanh"}),
    ("softshrink.default", M, (X, 0.4)),
]


def cases() -> dict[str, tuple[Program, float]]:
    """name -> the program, and what is added to a standard normal input."""
    table = {}
    defaults: tuple[Any, ...] = ({}, -1, 0.0)
    for target, shape, args, *rest in CASES:
        kwargs, result, shift = (*rest, *defaults[len(rest) :])
        name = f"{target} {len(table)}"
        table[name] = (program(f"aten.{target}", shape, args, kwargs, result), shift)
    return table
