"""Networks that are audited by ``benchmarks/audit.py``: plain torch, random weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ConvBlock(nn.Module):
    """x - W^T relu(W x + b), W a 3x3 convolution with zero padding, ||W||^2 a little below 2."""

    def __init__(self, channels: int, inner: int, side: int) -> None:
        super().__init__()
        weight = torch.randn(inner, channels, 3, 3)
        x = torch.randn(1, channels, side, side)
        for _ in range(30):
            x = F.conv_transpose2d(F.conv2d(x / x.norm(), weight, padding=1), weight, padding=1)
        self.weight = nn.Parameter(weight * (1.98 / x.norm()) ** 0.5)
        self.bias = nn.Parameter(torch.randn(inner) / 8)

    def forward(self, x: Tensor) -> Tensor:
        """The residual block."""
        return x - F.conv_transpose2d(F.relu(F.conv2d(x, self.weight, self.bias, padding=1)), self.weight, padding=1)


class DenseBlock(nn.Module):
    """The same with a matrix."""

    def __init__(self, features: int, inner: int) -> None:
        super().__init__()
        weight = torch.randn(inner, features)
        self.weight = nn.Parameter(weight * (1.98**0.5 / torch.linalg.matrix_norm(weight, 2)))
        self.bias = nn.Parameter(torch.randn(inner) / 8)

    def forward(self, x: Tensor) -> Tensor:
        """The residual block."""
        return x - F.linear(F.relu(F.linear(x, self.weight, self.bias)), self.weight.t())


class CPLNet(nn.Module):
    """The shape of CPL-S (Meunier, Delattre, Araujo, Allauzen 2022): 20 convolutional and 7 dense blocks at 32x32."""

    def __init__(
        self,
        inner: int,
        *,
        channels: int = 45,
        conv_blocks: int = 20,
        dense_blocks: int = 7,
        dense_inner: int = 2048,
        side: int = 32,
    ) -> None:
        super().__init__()
        features = channels * (side // 4) ** 2
        self.more_channels = channels - 3
        self.conv = nn.Sequential(*(ConvBlock(channels, inner, side) for _ in range(conv_blocks)))
        self.pool = nn.AvgPool2d(4)
        self.dense = nn.Sequential(*(DenseBlock(features, dense_inner) for _ in range(dense_blocks)))
        self.head = nn.Linear(features, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = F.pad(x, (0, 0, 0, 0, 0, self.more_channels))
        return self.head(self.dense(torch.flatten(self.pool(self.conv(x)), 1)))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with BatchNorm around a skip (He, Zhang, Ren, Sun 2016)."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = nn.Identity()
        if stride != 1 or channels != width:
            self.downsample = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """The residual block."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.downsample(x))


class ResNet18(nn.Module):
    """ResNet18 with BatchNorm; running statistics as if it had been trained."""

    def __init__(self, widths: tuple[int, ...] = (64, 128, 256, 512), classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        ways = zip((widths[0], *widths[:-1]), widths, strict=True)
        self.layers = nn.Sequential(
            *(
                nn.Sequential(BasicBlock(c, w, 1 if stage == 0 else 2), BasicBlock(w, w, 1))
                for stage, (c, w) in enumerate(ways)
            )
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[-1], classes)
        for module in self.modules():
            if (
                isinstance(module, nn.BatchNorm2d)
                and module.running_mean is not None
                and module.running_var is not None
            ):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2.0)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        return self.fc(torch.flatten(self.avgpool(self.layers(x)), 1))
