"""Image classifiers: the common families, a few channels wide."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from tests.zoo.network import Concatenated, Network, Residual


def conv_bn(inputs: int, outputs: int, k: int = 3, stride: int = 1, groups: int = 1, act=nn.ReLU) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, k, stride, k // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), *([act()] if act else []))


def lenet() -> nn.Module:
    features = nn.Sequential(nn.Conv2d(1, 3, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(3, 4, 3), nn.Tanh())
    return nn.Sequential(features, nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 4))


def vgg() -> nn.Module:
    stages = [conv_bn(2, 4), conv_bn(4, 4), nn.MaxPool2d(2), conv_bn(4, 6), nn.MaxPool2d(2, ceil_mode=True)]
    head = nn.Sequential(nn.Flatten(), nn.Linear(24, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 4))
    return nn.Sequential(*stages, head)


def basic(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    shortcut = conv_bn(inputs, outputs, 1, stride, act=None) if stride > 1 or inputs != outputs else None
    branch = conv_bn(inputs, outputs, 3, stride), conv_bn(outputs, outputs, act=None)
    return Residual(*branch, shortcut=shortcut, after=nn.ReLU())


def bottleneck(inputs: int, inner: int, outputs: int, stride: int = 1, groups: int = 1) -> nn.Module:
    branch = conv_bn(inputs, inner, 1), conv_bn(inner, inner, 3, stride, groups), conv_bn(inner, outputs, 1, act=None)
    return Residual(*branch, shortcut=conv_bn(inputs, outputs, 1, stride, act=None), after=nn.ReLU())


def resnet(stem: nn.Module, widths: tuple[int, ...], depth: int, classes: int) -> nn.Module:
    stages, inputs = [], widths[0]
    for i, width in enumerate(widths):
        blocks = [basic(inputs if j == 0 else width, width, 2 if i and j == 0 else 1) for j in range(depth)]
        stages.append(nn.Sequential(*blocks))
        inputs = width
    return nn.Sequential(stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


def resnet18() -> nn.Module:
    """The network of He, Zhang, Ren, Sun (2016): 11.7 million weights, images of 3x224x224."""
    stem = nn.Sequential(conv_bn(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1))
    return resnet(stem, (64, 128, 256, 512), 2, 1000)


def preactivation() -> nn.Module:
    """BatchNorm before its convolution: nothing to fold it into."""
    branch = nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU()
    return nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), Residual(*branch, nn.Conv2d(3, 3, 3, padding=1)))


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1), nn.Hardsigmoid())

    def forward(self, x):
        return x * self.gate(x)


def inverted(channels: int, act, excite: bool = False) -> nn.Module:
    inner = 3 * channels
    middle = [SqueezeExcite(inner)] if excite else []
    branch = conv_bn(channels, inner, 1, act=act), conv_bn(inner, inner, 3, groups=inner, act=act)
    return Residual(*branch, *middle, conv_bn(inner, channels, 1, act=None))


def mobilenet(act, excite: bool = False) -> nn.Module:
    down = conv_bn(3, 3, 3, 2, 3, act), conv_bn(3, 4, 1, act=None)
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    return nn.Sequential(conv_bn(2, 3, 3, act=act), inverted(3, act, excite), *down, *head)


def densenet() -> nn.Module:
    def layer(inputs: int) -> nn.Module:
        return nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, 2, 3, padding=1))

    grown = [Concatenated(nn.Identity(), layer(n)) for n in (2, 4, 6)]
    transition = nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 3, 1), nn.AvgPool2d(2)
    return nn.Sequential(*grown, *transition, nn.Flatten(), nn.Linear(48, 3))


def inception() -> nn.Module:
    one, three = nn.Conv2d(3, 2, 1), nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 3, padding=1))
    mean = nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False), nn.Conv2d(3, 1, 1))
    reduce = Concatenated(nn.MaxPool2d(3, 2), nn.AvgPool2d(3, 2), nn.Conv2d(8, 2, 3, 2))
    block = Concatenated(one, three, nn.MaxPool2d(3, 1, 1), mean)
    return nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), block, nn.ReLU(), reduce, nn.AdaptiveAvgPool2d(1))


def fire() -> nn.Module:
    """SqueezeNet: squeeze, then two expansions side by side; no dense head."""
    expand = Concatenated(nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 3, padding=1))
    return nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), expand, nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(6, 4, 1))


class Shuffle(nn.Module):
    """ShuffleNet v2: half of the channels pass, the others are convolved, then both are interleaved."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(conv_bn(2, 2, 1), conv_bn(2, 2, 3, groups=2, act=None), conv_bn(2, 2, 1))

    def forward(self, x):
        left, right = x.chunk(2, dim=1)
        n, c, h, w = x.shape
        return torch.cat((left, self.branch(right)), 1).view(n, 2, c // 2, h, w).transpose(1, 2).reshape(x.shape)


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of every pixel."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class LayerScale(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.rand(channels, 1, 1))

    def forward(self, x):
        return self.gain * x


def convnext() -> nn.Module:
    branch = nn.Conv2d(3, 3, 7, padding=3, groups=3), ChannelNorm(3), nn.Conv2d(3, 6, 1), nn.GELU(), nn.Conv2d(6, 3, 1)
    return nn.Sequential(nn.Conv2d(2, 3, 2, 2), ChannelNorm(3), Residual(*branch, LayerScale(3)))


def convmixer() -> nn.Module:
    depthwise = nn.Conv2d(4, 4, 4, padding="same", groups=4)
    block = Residual(depthwise, nn.GELU(), nn.BatchNorm2d(4)), nn.Conv2d(4, 4, 1), nn.GELU(), nn.BatchNorm2d(4)
    return nn.Sequential(nn.Conv2d(2, 4, 2, 2), nn.GELU(), *block, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Pyramid(nn.Module):
    """Spatial pyramid pooling: adaptive means and maxima of several sizes, side by side."""

    def forward(self, x):
        means = [F.adaptive_avg_pool2d(x, n).flatten(1) for n in (1, 2, 3)]
        return torch.cat((*means, F.adaptive_max_pool2d(x, 2).flatten(1), x.amax((2, 3)), x.mean((2, 3))), 1)


class GlobalMaximum(nn.Module):
    def forward(self, x):
        return x.flatten(2).max(2)[0]


def normalised(norm: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), norm, nn.ReLU(), nn.Conv2d(4, 2, 3, 2))


IMAGE = (1, 2, 8, 8)
NETWORKS = {
    "lenet": Network(lenet, (1, 1, 8, 8)),
    "vgg": Network(vgg, IMAGE),
    "resnet": Network(lambda: resnet(conv_bn(2, 3), (3, 4), 1, 4), IMAGE),
    "resnet 32x32": Network(lambda: resnet(conv_bn(3, 8), (8, 16, 32), 2, 10), (1, 3, 32, 32), large=True),
    "resnet18 224x224": Network(resnet18, (1, 3, 224, 224), large=True),
    "bottlenecks in groups": Network(lambda: nn.Sequential(bottleneck(2, 4, 4, 2, 2), bottleneck(4, 2, 4)), IMAGE),
    "preactivation residual": Network(preactivation, IMAGE),
    "mobilenet relu6": Network(partial(mobilenet, nn.ReLU6), IMAGE),
    "mobilenet hardswish": Network(partial(mobilenet, nn.Hardswish), IMAGE),
    "mobilenet squeeze-excite": Network(partial(mobilenet, nn.Hardswish, True), IMAGE, "aten.mul.Tensor"),
    "densenet": Network(densenet, IMAGE),
    "inception": Network(inception, IMAGE),
    "squeezenet": Network(fire, (1, 3, 7, 7)),
    "shufflenet": Network(lambda: nn.Sequential(conv_bn(2, 4), Shuffle(), Shuffle()), IMAGE),
    "convnext": Network(convnext, IMAGE),
    "convmixer": Network(convmixer, IMAGE),
    "pyramid pooling": Network(lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), Pyramid()), IMAGE),
    "global maximum": Network(lambda: nn.Sequential(nn.Conv2d(2, 3, 3), GlobalMaximum(), nn.Linear(3, 2)), IMAGE),
    "group norm": Network(lambda: normalised(nn.GroupNorm(2, 4)), IMAGE),
    "instance norm": Network(lambda: normalised(nn.InstanceNorm2d(4, affine=True)), IMAGE),
    "instance norm with statistics": Network(
        lambda: normalised(nn.InstanceNorm2d(4, affine=True, track_running_stats=True)),
        IMAGE,
    ),
    "local response norm": Network(lambda: normalised(nn.LocalResponseNorm(2)), IMAGE, "aten."),
}
