"""The operators that a model file may name: pure, deterministic, functional ATen. Everything else is refused unread."""

from __future__ import annotations

_DEFAULT = """
_adaptive_avg_pool2d _adaptive_avg_pool3d _log_softmax _native_batch_norm_legit_no_training _softmax _to_copy
_unsafe_view abs acos acosh adaptive_avg_pool1d adaptive_avg_pool2d addmm alias amax amin asin asinh atan atan2 atanh
avg_pool1d avg_pool2d avg_pool3d baddbmm batch_norm bmm bitwise_not cat ceil celu chunk clamp clamp_max clamp_min
clone concat concatenate constant_pad_nd contiguous convolution cos cosh cumsum detach diagonal_copy dropout elu erf
erfc exp expand expand_as expm1 eye flip floor full full_like gather gelu glu group_norm hardsigmoid hardswish
hardtanh index_select isinf isnan kthvalue layer_norm leaky_relu lift_fresh_copy linalg_vector_norm linear log log10
log1p log2 log_sigmoid logical_not matmul max max_pool1d max_pool2d max_pool2d_with_indices max_pool3d maximum mean
min minimum mish mm mul native_group_norm native_layer_norm neg ones ones_like pad permute pixel_shuffle
pixel_unshuffle prelu _prelu_kernel prod reciprocal reflection_pad1d reflection_pad2d relu relu6 repeat
replication_pad1d replication_pad2d reshape roll round rsqrt scaled_dot_product_attention selu sigmoid sign silu sin
sinh softplus sort sqrt square squeeze stack sum t tan tanh threshold topk tril triu trunc unsqueeze
upsample_bilinear2d upsample_nearest1d upsample_nearest2d view zeros zeros_like
"""

_OVERLOADS = """
add.Tensor add.Scalar sub.Tensor sub.Scalar mul.Tensor mul.Scalar div.Tensor div.Scalar div.Tensor_mode
div.Scalar_mode rsub.Tensor rsub.Scalar pow.Tensor_Scalar pow.Tensor_Tensor pow.Scalar maximum.default minimum.default
flatten.using_ints unflatten.int squeeze.dim squeeze.dims transpose.int slice.Tensor select.int narrow.default
split.Tensor split.sizes split_with_sizes.default split_with_sizes_copy.default unbind.int chunk.default to.dtype
to.dtype_layout mean.dim sum.dim_IntList max.dim min.dim max.other min.other prod.dim_int var.correction var.dim
std.correction norm.Scalar norm.ScalarOpt_dim softmax.int log_softmax.int where.self where.ScalarOther
where.ScalarSelf where.Scalar gt.Scalar ge.Scalar lt.Scalar le.Scalar eq.Scalar ne.Scalar gt.Tensor ge.Tensor
lt.Tensor le.Tensor eq.Tensor ne.Tensor clamp.Tensor clamp_min.Tensor clamp_max.Tensor arange.default arange.start
arange.start_step conv1d.default conv2d.default conv3d.default conv1d.padding conv2d.padding conv3d.padding
conv_transpose1d.default conv_transpose2d.input conv_transpose3d.input sort.stable sort.default index_select.default
movedim.int movedim.intlist bitwise_and.Tensor bitwise_or.Tensor logical_and.default logical_or.default
masked_fill.Scalar masked_fill.Tensor upsample_nearest1d.vec upsample_nearest2d.vec upsample_bilinear2d.vec
cosine_similarity.default linalg_norm.default group_norm.default scalar_tensor.default index.Tensor select_copy.int
swapaxes.default
"""

# Never here: operators that write (*_, set_, out=), draw (rand*, bernoulli) or open files (from_file).
ALLOWED = frozenset(f"aten.{name}.default" for name in _DEFAULT.split()) | frozenset(
    f"aten.{name}" for name in _OVERLOADS.split()
)
"""Every ``aten.<operator>.<overload>`` that a file may contain."""
