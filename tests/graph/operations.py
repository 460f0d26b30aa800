"""Operations that are lowered, one small network each; and those that are refused, with a part of the reason."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.networks import ConvBlock, DenseBlock, Lambda
from tests.zoo.constrained import Householder

torch.manual_seed(1)
IMAGE = torch.zeros(1, 2, 5, 6)
WIDE = torch.zeros(1, 4, 8, 7)
VECTOR = torch.zeros(1, 6)
SIGNAL = torch.zeros(1, 4, 9)
ROWS = torch.zeros(2, 3, 4)


def of(function, weight=None):
    return Lambda(lambda x, w: function(x), weight)


def normalised(module):
    """With statistics and weights that are not the ones it starts with."""
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape) + 0.5 if "var" in name else torch.randn(tensor.shape))
    return module


LINEAR = {
    "linear": (nn.Linear(6, 3), VECTOR),
    "no bias": (nn.Linear(6, 3, bias=False), VECTOR),
    "matmul": (Lambda(lambda x, w: x @ w, torch.randn(6, 3)), VECTOR),
    "matmul with a vector": (Lambda(lambda x, w: x @ w, torch.randn(6)), VECTOR),
    "a weight from the left": (Lambda(lambda x, w: w @ x, torch.randn(5, 3)), ROWS),
    "a row from the left": (Lambda(lambda x, w: w @ x, torch.randn(3)), ROWS),
    "bmm with equal matrices": (Lambda(lambda x, w: torch.bmm(x, w.expand(2, 4, 5)), torch.randn(4, 5)), ROWS),
    "einsum": (Lambda(lambda x, w: torch.einsum("bij,kj->bik", x, w), torch.randn(5, 4)), ROWS),
    "addmm": (Lambda(lambda x, w: torch.addmm(w[0], x, w.t()), torch.randn(6, 6)), VECTOR),
    "linear on images": (nn.Linear(6, 3), IMAGE),
    "convolution": (nn.Conv2d(2, 3, 3, padding=1), IMAGE),
    "even kernel, no padding": (nn.Conv2d(2, 3, (2, 4)), IMAGE),
    "kernel larger than the image": (nn.Conv2d(2, 3, 7, padding=3), IMAGE),
    "strided": (nn.Conv2d(2, 3, 3, stride=(2, 3), padding=1), IMAGE),
    "dilated": (nn.Conv2d(2, 3, 2, dilation=2), IMAGE),
    "groups": (nn.Conv2d(4, 6, 3, groups=2, stride=2, dilation=2, padding=(2, 1)), WIDE),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4, padding=1), WIDE),
    "same": (nn.Conv2d(2, 3, (4, 3), padding="same", dilation=(1, 2)), IMAGE),
    "valid": (nn.Conv2d(2, 3, 3, padding="valid"), IMAGE),
    "one-dimensional": (nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), SIGNAL),
    "one-dimensional, same": (nn.Conv1d(4, 2, 4, padding="same"), SIGNAL),
    "transposed": (nn.ConvTranspose2d(2, 3, 3, padding=1), IMAGE),
    "transposed, strided": (
        nn.ConvTranspose2d(4, 6, 3, stride=(2, 3), padding=1, output_padding=(1, 2), groups=2, dilation=(2, 1)),
        WIDE,
    ),
    "transposed, one-dimensional": (nn.ConvTranspose1d(4, 3, 4, stride=2, padding=1), SIGNAL),
    "transposed, more output padding than stride": (
        nn.ConvTranspose2d(2, 3, 3, stride=1, dilation=2, output_padding=1),
        IMAGE,
    ),
    "dense block": (DenseBlock(6, 4, h=0.5), VECTOR),
    "convolutional block": (ConvBlock(2, 3), IMAGE),
    "circular block": (ConvBlock(2, 3, circular=True), IMAGE),
    "scales": (Lambda(lambda x, w: -2 * x / 3 - x * w, torch.tensor([1.0, 2, 3, 4, 5, 6])), VECTOR),
    "weight minus value": (Lambda(lambda x, w: 1 - (w - x)), VECTOR),
    "weights computed": (Lambda(lambda x, w: F.linear(x, (w * w + 1).sqrt() / 3), torch.randn(4, 6)), VECTOR),
    "value times a larger weight": (Lambda(lambda x, w: x * w, torch.randn(3, 6)), VECTOR),
    "value plus a larger weight": (Lambda(lambda x, w: w - x, torch.randn(3, 6)), VECTOR),
    "batch norm": (normalised(nn.BatchNorm2d(2)), IMAGE),
    "batch norm of vectors": (normalised(nn.BatchNorm1d(6)), VECTOR),
    "batch norm without weights": (normalised(nn.BatchNorm1d(4, affine=False)), SIGNAL),
    "instance norm by stored statistics": (normalised(nn.InstanceNorm2d(2, track_running_stats=True)), IMAGE),
}

PADDING = {
    "circular": (nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), IMAGE),
    "circular, more than the kernel needs": (nn.Conv2d(2, 3, 3, padding=2, padding_mode="circular"), IMAGE),
    "circular, strided": (nn.Conv2d(2, 3, 3, padding=1, stride=2, padding_mode="circular"), IMAGE),
    "circular, one-dimensional": (nn.Conv1d(4, 3, 3, padding=1, padding_mode="circular", groups=1), SIGNAL),
    "circular pad": (nn.CircularPad2d((1, 2, 0, 3)), IMAGE),
    "reflect": (nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), IMAGE),
    "reflect, one-dimensional": (nn.ReflectionPad1d((2, 1)), SIGNAL),
    "replicate": (nn.ReplicationPad2d((1, 0, 3, 2)), IMAGE),
    "explicit padding": (nn.Sequential(nn.ZeroPad2d((1, 0, 2, 1)), nn.Conv2d(2, 3, 3, padding=1)), IMAGE),
    "explicit padding, strided": (
        nn.Sequential(nn.ZeroPad2d((1, 0, 2, 1)), nn.Conv2d(2, 4, 3, stride=2, groups=2, dilation=(1, 2))),
        IMAGE,
    ),
    "explicit padding, one-dimensional": (nn.Sequential(nn.ConstantPad1d((2, 1), 0.0), nn.Conv1d(4, 3, 3)), SIGNAL),
    "constant": (nn.ConstantPad2d((1, 2, 0, 1), 2.5), IMAGE),
    "constant and cropped": (nn.ConstantPad2d((-1, 2, 1, -2), -1.5), IMAGE),
    "cropped": (nn.ZeroPad2d((-1, -2, 1, 0)), IMAGE),
}

COPIES = {
    "shapes": (of(lambda x: x.permute(0, 2, 3, 1).flatten(1).unsqueeze(0).transpose(0, 1)), IMAGE),
    "axes": (of(lambda x: x.movedim(1, 3).swapaxes(1, 2).mT), IMAGE),
    "selection": (of(lambda x: x[:, ::2]), VECTOR),
    "one entry": (of(lambda x: x[:, 1].narrow(1, 1, 3)), IMAGE),
    "index": (Lambda(lambda x, w: x[:, torch.tensor([0, 3, 3, 5])]), VECTOR),
    "index select": (of(lambda x: x.index_select(3, torch.tensor([2, 2, 0]))), IMAGE),
    "flip and roll": (of(lambda x: x.flip(2).roll(2, 3)), IMAGE),
    "expand": (of(lambda x: x.unsqueeze(1).expand(1, 3, 6)), VECTOR),
    "repeat": (of(lambda x: x.repeat(2, 3).repeat_interleave(2, 1)), VECTOR),
    "pixel shuffle": (nn.PixelShuffle(2), WIDE),
    "pixel unshuffle": (nn.PixelUnshuffle(2), torch.zeros(1, 2, 4, 6)),
    "channel shuffle": (nn.ChannelShuffle(2), WIDE),
    "nearest": (nn.Upsample(scale_factor=2), IMAGE),
    "nearest, one-dimensional": (nn.Upsample(size=13), SIGNAL),
    "patches": (nn.Unfold(2, stride=2, padding=1), IMAGE),
    "triangle": (of(lambda x: x.tril()), ROWS),
    "split": (of(lambda x: x.split([2, 4], 1)[1]), VECTOR),
    "chunk": (of(lambda x: x.chunk(2, 1)[1]), VECTOR),
    "unbind": (of(lambda x: x.unbind(1)[2]), ROWS),
    "dropout": (nn.Sequential(nn.Dropout(), nn.Linear(6, 2)), VECTOR),
    "dropout of every kind": (nn.Sequential(nn.Dropout2d(), nn.AlphaDropout(), nn.FeatureAlphaDropout()), IMAGE),
}

POOLING = {
    "average pooling": (nn.AvgPool2d(2), IMAGE),
    "overlapping": (nn.AvgPool2d(3, stride=(1, 2), padding=1), IMAGE),
    "padding not counted": (nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False), IMAGE),
    "clipped": (nn.AvgPool2d(2, ceil_mode=True), IMAGE),
    "clipped padding": (nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True), WIDE),
    "divisor": (nn.AvgPool2d(3, stride=2, padding=1, divisor_override=5), IMAGE),
    "average pooling, one-dimensional": (nn.AvgPool1d(3, 2, 1), SIGNAL),
    "adaptive": (nn.AdaptiveAvgPool2d((3, 4)), IMAGE),
    "global": (nn.AdaptiveAvgPool2d(1), IMAGE),
    "adaptive, one-dimensional": (nn.AdaptiveAvgPool1d(4), SIGNAL),
    "mean": (of(lambda x: x.mean((1, 3))), IMAGE),
    "mean of all": (of(lambda x: x.mean()), IMAGE),
    "sum": (of(lambda x: x.sum(2, keepdim=True)), IMAGE),
    "bilinear": (nn.Upsample(scale_factor=(2, 1.5), mode="bilinear"), IMAGE),
    "bilinear, corners aligned": (nn.Upsample(size=(11, 3), mode="bilinear", align_corners=True), IMAGE),
    "linear interpolation": (nn.Upsample(scale_factor=3, mode="linear"), SIGNAL),
    "max pooling": (nn.MaxPool2d(2), IMAGE),
    "max pooling, overlapping": (nn.MaxPool2d(3, 2, 1), WIDE),
    "max pooling, dilated": (nn.MaxPool2d(2, 1, dilation=(2, 3), ceil_mode=True), WIDE),
    "max pooling, one-dimensional": (nn.MaxPool1d(3, 1, 1), SIGNAL),
    "max pooling, adaptive": (nn.AdaptiveMaxPool2d((3, 4)), IMAGE),
    "max pooling, adaptive, one-dimensional": (nn.AdaptiveMaxPool1d(4), SIGNAL),
    "amax": (of(lambda x: x.amax((1, 2)) - x.amin((1, 2), keepdim=True)[:, 0, 0]), IMAGE),
    "max of an axis": (of(lambda x: x.max(2)[0] + x.min(2)[0]), IMAGE),
    "sort": (of(lambda x: x.sort(1)[0]), VECTOR),
    "topk": (of(lambda x: x.topk(2, 1)[0]), VECTOR),
}

JOINT = {
    "concatenation": (of(lambda x: torch.cat([x, 2 * x, x[:, :1]], 1)), IMAGE),
    "concatenation with a constant": (Lambda(lambda x, w: torch.cat([w, x], 1), torch.randn(1, 2)), VECTOR),
    "concatenation around a constant": (Lambda(lambda x, w: torch.cat([x, w, -x], 1), torch.randn(1, 2)), VECTOR),
    "stack": (of(lambda x: torch.stack([x, x.relu()], 1)), VECTOR),
    "maximum": (of(lambda x: torch.maximum(x[:, :3], x[:, 3:])), VECTOR),
    "minimum with a constant": (Lambda(lambda x, w: torch.minimum(x, w), torch.randn(6)), VECTOR),
    "maxmin": (of(lambda x: torch.cat([torch.maximum(*x.chunk(2, 1)), torch.minimum(*x.chunk(2, 1))], 1)), VECTOR),
    "householder": (Householder(3), VECTOR),
    "maxmin over an axis": (of(lambda x: torch.cat([x.view(1, 3, 2).max(2)[0], x.view(1, 3, 2).min(2)[0]], 1)), VECTOR),
    "groupsort": (of(lambda x: x.view(1, 2, 3).sort(2)[0].flatten(1)), VECTOR),
    "sum, one broadcast": (of(lambda x: x + x[:, :1]), VECTOR),
    "centred": (of(lambda x: x - x.mean(1, keepdim=True)), VECTOR),
}

ACTIVATIONS = {
    "activations": (nn.Sequential(nn.Tanh(), nn.Sigmoid(), nn.LeakyReLU(0.2), nn.ReLU(), nn.Hardtanh(-2, 1)), VECTOR),
    "abs": (Lambda(lambda x, w: x.abs() + w), VECTOR),
    "prelu": (normalised(nn.PReLU(2)), IMAGE),
    "prelu of one weight": (nn.PReLU(), VECTOR),
    "rrelu": (nn.RReLU(), VECTOR),
    "relu6": (nn.ReLU6(), VECTOR),
    "clamp": (of(lambda x: x.clamp(0, 1)), VECTOR),
    "clamp from below": (of(lambda x: x.clamp(min=-0.5)), VECTOR),
    "hardsigmoid": (nn.Hardsigmoid(), VECTOR),
    "hardswish": (nn.Hardswish(), VECTOR),
    "log sigmoid": (nn.LogSigmoid(), VECTOR),
    "softplus": (nn.Softplus(2.0, 30.0), VECTOR),
    "elu": (nn.ELU(1.5), VECTOR),
    "celu": (nn.CELU(1.5), VECTOR),
    "selu": (nn.SELU(), VECTOR),
    "silu": (nn.SiLU(), VECTOR),
    "gelu": (nn.GELU(), VECTOR),
    "gelu, tanh": (nn.GELU("tanh"), VECTOR),
    "mish": (nn.Mish(), VECTOR),
    "softsign": (nn.Softsign(), VECTOR),
    "tanhshrink": (nn.Tanhshrink(), VECTOR),
    "softshrink": (nn.Softshrink(0.5), VECTOR),
    "sin and cos": (of(lambda x: x.sin() + x.cos()), VECTOR),
    "arctangent": (of(lambda x: x.atan()), VECTOR),
    "error function": (of(lambda x: x.erf()), VECTOR),
    "a choice by sign": (of(lambda x: torch.where(x > 0, x, x * 0.25)), VECTOR),
}

NORMALISATION = {
    "softmax": (nn.Softmax(1), VECTOR),
    "log softmax": (nn.LogSoftmax(1), IMAGE),
    "layer norm": (normalised(nn.LayerNorm(6)), VECTOR),
    "layer norm of images": (nn.LayerNorm((5, 6), elementwise_affine=False, eps=0.25), IMAGE),
    "group norm": (normalised(nn.GroupNorm(2, 4)), WIDE),
    "instance norm": (normalised(nn.InstanceNorm2d(2, affine=True)), IMAGE),
    "length": (of(lambda x: x.norm(dim=1)), IMAGE),
    "logsumexp": (of(lambda x: x.logsumexp(1)), VECTOR),
}

SUPPORTED = LINEAR | PADDING | COPIES | POOLING | JOINT | ACTIVATIONS | NORMALISATION

UNSUPPORTED = {
    "product of values": (of(lambda x: x * x), VECTOR, "two values"),
    "matrix product of values": (of(lambda x: x @ x.mT), ROWS, "Kim, Papamakarios, Mnih 2021"),
    "attention": (of(lambda x: F.scaled_dot_product_attention(x, x, x)), ROWS, "Kim, Papamakarios, Mnih 2021"),
    "gated": (nn.GLU(1), VECTOR, "two values"),
    "quotient": (of(lambda x: 1 / x), VECTOR, "no Lipschitz constant"),
    "quotient of values": (of(lambda x: x / x.norm(dim=1, keepdim=True)), VECTOR, "a quotient by a value"),
    "different matrices": (Lambda(lambda x, w: torch.bmm(x, w), torch.randn(2, 4, 5)), ROWS, "different matrices"),
    "three-dimensional": (nn.Conv3d(1, 2, 2), torch.zeros(1, 1, 3, 3, 3), "aten.convolution"),
    "no batch axis": (nn.Conv2d(2, 3, 3), IMAGE[0], ""),
    "bicubic": (nn.Upsample(scale_factor=2, mode="bicubic"), IMAGE, "aten."),
    "indices": (of(lambda x: x + x.sort(1)[1]), VECTOR, "result 1"),
    "instances of a batch": (Lambda(lambda x, w: F.batch_norm(x, None, None, training=True)), ROWS, "its batch"),
    "no epsilon": (nn.LayerNorm(6, eps=0.0), VECTOR, "epsilon 0"),
    "division by zero": (Lambda(lambda x, w: x / w), VECTOR, "zero"),
    "softplus that jumps": (nn.Softplus(1.0, 2.0), VECTOR, "jumps by"),
    "softplus in float64": (nn.Softplus().double(), VECTOR.double(), "jumps by"),
    "exp": (of(lambda x: x.exp()), VECTOR, "aten.exp.default in the model: its slope is unbounded"),
    "square": (of(lambda x: x**2), VECTOR, "aten.pow"),
    "square root": (of(lambda x: x.sqrt()), VECTOR, "aten.sqrt"),
    "hardshrink": (nn.Hardshrink(), VECTOR, "not continuous"),
    "threshold": (nn.Threshold(0.5, 0.0), VECTOR, "not continuous"),
    "sign": (of(lambda x: x.sign()), VECTOR, "not continuous"),
    "comparison": (of(lambda x: torch.where(x > 1, x, 2 * x)), VECTOR, "aten."),
    "variance": (of(lambda x: x.var(1)), VECTOR, "aten.var"),
    "product of entries": (of(lambda x: x.prod(1)), VECTOR, "aten.prod"),
    "cumulative sum": (of(lambda x: x.cumsum(1)), VECTOR, "aten.cumsum"),
    "another dtype": (of(lambda x: x.double() * 2), VECTOR, "dtype"),
}
