"""One visible table from ATen operations to lowering rules."""

from __future__ import annotations

from collections.abc import Callable

from lipverify.graph import averages, maxima
from lipverify.graph.activations import ACTIVATIONS, activation
from lipverify.graph.convolutions import convolution
from lipverify.graph.copies import copies, evaluated, kept, pad, permutation, several
from lipverify.graph.householder import reflection
from lipverify.graph.normalisation import (
    euclidean,
    instance,
    log_softmax,
    logsumexp,
    own_statistics,
    softmax,
    stored_statistics,
)
from lipverify.graph.products import (
    attention,
    linear,
    matrix_product,
    matrix_product_and_sum,
    negation,
    product,
    quotient,
)
from lipverify.graph.scattered import scattered
from lipverify.graph.scope import Lowered, NotLowered, Scope
from lipverify.graph.sums import concatenation, extremum, stack, total
from lipverify.read.program import Operation

Rule = Callable[[Operation, Scope], Lowered]


def _refusal(op: Operation, scope: Scope) -> Lowered:
    raise NotLowered(REFUSED[op.target])


def _each(rule: Callable[..., Lowered], names: str) -> dict[str, Callable[..., Lowered]]:
    """The rule for each of some operators; without an overload the name means ``default``."""
    return {f"aten.{name}" if "." in name else f"aten.{name}.default": rule for name in names.split()}


STEEP = "its slope is unbounded: it has no Lipschitz constant on the whole space"
JUMPS = "it is not continuous: it has no Lipschitz constant"

REFUSED: dict[str, str] = {
    f"aten.{name}" if "." in name else f"aten.{name}.default": reason
    for names, reason in (
        ("exp expm1 exp2 square pow.Tensor_Scalar sqrt rsqrt reciprocal log log2 log10 log1p", STEEP),
        ("sinh cosh tan asin acos atanh acosh logit", STEEP),
        ("gt.Scalar ge.Scalar lt.Scalar le.Scalar eq.Scalar ne.Scalar", JUMPS),
        ("gt.Tensor ge.Tensor lt.Tensor le.Tensor eq.Tensor ne.Tensor", JUMPS),
        ("hardshrink threshold sign sgn floor ceil round trunc frac", JUMPS),
    )
    for name in names.split()
}
"""ATen operation -> why it has no map, whatever its values are."""

RULES: dict[str, Rule] = {
    **_each(linear, "linear"),
    **_each(matrix_product, "mm bmm mv matmul"),
    **_each(matrix_product_and_sum, "addmm"),
    **_each(convolution, "convolution conv1d conv1d.padding conv2d conv2d.padding conv_transpose1d"),
    **_each(convolution, "conv_transpose2d.input"),
    **_each(total(1), "add.Tensor add.Scalar"),
    **_each(total(-1), "sub.Tensor sub.Scalar rsub.Tensor rsub.Scalar"),
    **_each(product, "mul.Tensor mul.Scalar"),
    **_each(quotient, "div.Tensor div.Scalar"),
    **_each(negation, "neg"),
    **_each(extremum, "maximum minimum max.other min.other"),
    **_each(concatenation, "cat concat concatenate"),
    **_each(stack, "stack"),
    **_each(attention, "scaled_dot_product_attention"),
    # copies
    **_each(kept, "view view_copy view_as reshape reshape_as _unsafe_view flatten.using_ints unflatten.int"),
    **_each(kept, "squeeze squeeze.dim squeeze.dims squeeze_copy squeeze_copy.dim squeeze_copy.dims"),
    **_each(kept, "unsqueeze unsqueeze_copy atleast_1d atleast_2d clone detach detach_copy alias alias_copy"),
    **_each(kept, "lift_fresh_copy contiguous _to_copy to.dtype"),
    **_each(evaluated, "dropout feature_dropout alpha_dropout feature_alpha_dropout"),
    **_each(permutation, "permute permute_copy transpose.int transpose_copy.int t t_copy numpy_T mT swapaxes"),
    **_each(permutation, "movedim.int movedim.intlist"),
    **_each(copies, "slice.Tensor slice_copy.Tensor select.int select_copy.int narrow index_select index.Tensor"),
    **_each(copies, "flip roll rot90 expand expand_as expand_copy broadcast_to repeat repeat_interleave.self_int tile"),
    **_each(copies, "pixel_shuffle pixel_unshuffle channel_shuffle im2col unfold diagonal diagonal_copy tril triu"),
    **_each(copies, "upsample_nearest1d upsample_nearest1d.vec upsample_nearest2d upsample_nearest2d.vec"),
    **_each(copies, "_upsample_nearest_exact2d.vec"),
    **_each(copies, "reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d"),
    **_each(pad, "pad constant_pad_nd"),
    **_each(scattered, "slice_scatter"),
    # pooling
    **_each(averages.pooling(1), "avg_pool1d adaptive_avg_pool1d"),
    **_each(averages.pooling(2), "avg_pool2d adaptive_avg_pool2d _adaptive_avg_pool2d"),
    **_each(averages.reduction, "mean mean.dim sum sum.dim_IntList"),
    **_each(averages.interpolation(1), "upsample_linear1d upsample_linear1d.vec"),
    **_each(averages.interpolation(2), "upsample_bilinear2d upsample_bilinear2d.vec"),
    **_each(maxima.pooling(1), "max_pool1d"),
    **_each(maxima.pooling(2), "max_pool2d"),
    **_each(maxima.extreme, "amax amin max min"),
    # normalisation
    **_each(stored_statistics, "batch_norm"),
    **_each(instance, "instance_norm"),
    **_each(own_statistics, "layer_norm group_norm rms_norm"),
    **_each(softmax, "softmax.int _softmax"),
    **_each(log_softmax, "log_softmax.int _log_softmax"),
    **_each(logsumexp, "logsumexp"),
    **_each(euclidean, "linalg_vector_norm norm.ScalarOpt_dim"),
    # activations
    **dict.fromkeys(ACTIVATIONS, activation),
    "householder": reflection,
    **dict.fromkeys(REFUSED, _refusal),
}
"""ATen operation -> its lowering rule."""

FIRST_RESULT: dict[str, Rule] = {
    **_each(maxima.pooling(1), "adaptive_max_pool1d"),
    **_each(maxima.pooling(2), "max_pool2d_with_indices adaptive_max_pool2d"),
    **_each(maxima.extreme, "max.dim min.dim"),
    **_each(maxima.ordered, "sort sort.stable topk"),
    **_each(stored_statistics, "_native_batch_norm_legit_no_training"),
    **_each(own_statistics, "native_layer_norm native_group_norm _native_batch_norm_legit.no_stats"),
}
"""Operation with several results -> the rule of its first, which a getitem takes. The others are indices and statistics."""

PARTS: dict[str, Callable[..., Lowered]] = _each(
    several, "split.Tensor split.sizes split_with_sizes split_with_sizes_copy chunk unbind.int unbind_copy.int"
) | _each(several, "tensor_split.sections")
"""Operation with several results, each a copy of entries of its argument -> the rule of the getitem that takes one."""
