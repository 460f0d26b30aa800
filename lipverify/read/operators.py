"""The operators that a model file may name: pure, functional ATen. Everything else is refused, and never run.

To be on the list says only that running it is harmless, not that a bound is known: what has no rule makes its own layer
UNSUPPORTED, while the other layers are still judged.
"""

from __future__ import annotations

_DEFAULT = """
_adaptive_avg_pool2d _adaptive_avg_pool3d _cdist_forward _log_softmax _native_batch_norm_legit_no_training
_prelu_kernel _softmax _to_copy _unsafe_view _weight_norm abs acos acosh adaptive_avg_pool1d adaptive_avg_pool2d
adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d addcdiv addcmul addmm alias alias_copy alpha_dropout amax
amin aminmax
any arange argmax argmin asin asinh atan atan2 atanh atleast_1d atleast_2d avg_pool1d avg_pool2d avg_pool3d baddbmm
batch_norm bitwise_not bmm broadcast_to cat ceil celu channel_shuffle chunk clamp clamp_max clamp_min clone col2im
column_stack concat concatenate constant_pad_nd contiguous conv1d conv2d conv3d conv_transpose1d convolution copy
cos cosh cosine_similarity cumprod cumsum detach detach_copy diagonal diagonal_copy dot dropout einsum elu embedding
erf erfc exp expand expand_as expand_copy expm1 eye feature_alpha_dropout
feature_dropout flip floor frac full full_like gather gelu glu grid_sampler_2d
group_norm hardshrink hardsigmoid hardswish hardtanh hstack hypot im2col index_put index_select instance_norm isclose isinf isnan
kthvalue layer_norm leaky_relu lift_fresh_copy linalg_householder_product linalg_matrix_exp linalg_matrix_norm
linalg_norm linalg_solve linalg_vector_norm linear log log10 log1p log2 log_sigmoid logaddexp logical_and
logical_not logical_or logical_xor logit logsumexp mH mT matmul matrix_exp max max_pool1d max_pool2d
max_pool2d_with_indices max_pool3d max_pool3d_with_indices maximum mean min minimum mish mm mul mv narrow
native_group_norm native_layer_norm neg new_full new_ones new_zeros numpy_T ones ones_like outer pad permute
permute_copy pixel_shuffle pixel_unshuffle prelu prod reciprocal reflection_pad1d reflection_pad2d reflection_pad3d
relu relu6 repeat replication_pad1d replication_pad2d replication_pad3d reshape reshape_as rms_norm roll rot90 round
rrelu rsqrt scalar_tensor scaled_dot_product_attention scatter_add select_scatter selu sgn sigmoid sign silu sin sinc sinh
slice_scatter softplus softshrink sort special_erf special_expit split_with_sizes split_with_sizes_copy sqrt square
squeeze squeeze_copy stack sum swapaxes t t_copy tan tanh threshold tile topk tril triu trunc unfold unsqueeze
unsqueeze_copy upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d vdot
view view_as view_copy vstack zeros zeros_like
"""

_OVERLOADS = """
_native_batch_norm_legit.no_stats _upsample_nearest_exact2d.vec add.Scalar add.Tensor any.dim any.dims arange.start
arange.start_step bitwise_and.Scalar bitwise_and.Tensor bitwise_or.Scalar bitwise_or.Tensor bitwise_xor.Scalar
bitwise_xor.Tensor clamp.Tensor clamp_max.Tensor clamp_min.Tensor conv1d.padding conv2d.padding conv3d.padding
conv_transpose2d.input conv_transpose3d.input div.Scalar div.Scalar_mode div.Tensor div.Tensor_mode
empty.memory_format eq.Scalar eq.Tensor fill.Scalar flatten.using_ints fmod.Scalar fmod.Tensor ge.Scalar ge.Tensor
gt.Scalar gt.Tensor index.Tensor le.Scalar le.Tensor lerp.Scalar lerp.Tensor log_softmax.int lt.Scalar lt.Tensor
masked_fill.Scalar masked_fill.Tensor max.dim max.other mean.dim min.dim min.other movedim.int movedim.intlist
mul.Scalar mul.Tensor ne.Scalar ne.Tensor norm.Scalar norm.ScalarOpt_dim pow.Scalar pow.Tensor_Scalar
pow.Tensor_Tensor prod.dim_int remainder.Scalar remainder.Tensor repeat_interleave.self_int rsub.Scalar rsub.Tensor
scatter.src scatter.value select.int select_copy.int slice.Tensor slice_copy.Tensor softmax.int sort.stable
split.Tensor split.sizes squeeze.dim squeeze.dims squeeze_copy.dim squeeze_copy.dims std.correction std.dim
std_mean.correction sub.Scalar sub.Tensor sum.dim_IntList tensor_split.sections to.dtype to.dtype_layout
transpose.int transpose_copy.int unbind.int unbind_copy.int unflatten.int upsample_bicubic2d.vec
upsample_bilinear2d.vec upsample_linear1d.vec upsample_nearest1d.vec upsample_nearest2d.vec upsample_nearest3d.vec
upsample_trilinear3d.vec var.correction var.dim var_mean.correction var_mean.dim where.Scalar where.ScalarOther
where.ScalarSelf where.self
"""

# empty.memory_format is here because circular padding decomposes into it and slice_scatter: without it no such export
# could be read. Its memory is uninitialised: a copy that overwrites all of it is followed, and what reads it is refused.
# Never here: operators that write (*_, set_, out=), draw (rand*, bernoulli) or open files (from_file). Those that do so in
# training only (dropout, batch norm) are read with the arguments of evaluation: nodes.py.
ALLOWED = frozenset(f"aten.{name}.default" for name in _DEFAULT.split()) | frozenset(
    f"aten.{name}" for name in _OVERLOADS.split()
)
"""Every ``aten.<operator>.<overload>`` that a file may contain."""

ASSERTIONS = "aten._assert_"
"""Operators that compute nothing: a node of theirs without results is left out, and never run."""
