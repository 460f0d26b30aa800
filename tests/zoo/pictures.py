"""Networks from images to images: encoders and decoders, upsampling, padding."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from tests.zoo.network import Network, Residual


class UNet(nn.Module):
    """Down by pooling, up by a transposed convolution or by interpolation, concatenated with what was there before."""

    def __init__(self, upsample: nn.Module) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU())
        self.bottom = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), upsample)
        self.up = nn.Sequential(nn.Conv2d(7, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 1, 1))

    def forward(self, x):
        kept = self.down(x)
        return self.up(torch.cat((kept, self.bottom(kept)), 1))


class TiedAutoencoder(nn.Module):
    """The decoder's weights are the encoder's, transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(9, 4)
        self.kernel = nn.Parameter(torch.randn(3, 1, 3, 3) / 3)

    def forward(self, x):
        y = F.relu(F.conv2d(x, self.kernel)).flatten(2)
        y = F.linear(F.relu(self.encoder(y)), self.encoder.weight.t())
        return F.conv_transpose2d(y.reshape(1, 3, 3, 3), self.kernel)


def generator() -> nn.Module:
    """DCGAN: transposed convolutions of stride 2, with and without output padding."""
    first = nn.ConvTranspose2d(5, 4, 3), nn.BatchNorm2d(4), nn.ReLU()
    second = nn.ConvTranspose2d(4, 4, 4, 2, 1, groups=2), nn.BatchNorm2d(4), nn.LeakyReLU(0.2)
    return nn.Sequential(*first, *second, nn.ConvTranspose2d(4, 1, 3, 2, 1, output_padding=1), nn.Tanh())


def autoencoder() -> nn.Module:
    down = nn.Conv2d(1, 3, 3, 2, 1), nn.ELU(), nn.Conv2d(3, 4, 3, 2, 1), nn.Flatten(), nn.Linear(16, 5)
    up = nn.Linear(5, 16), nn.Unflatten(1, (4, 2, 2)), nn.ConvTranspose2d(4, 3, 2, 2), nn.ELU()
    return nn.Sequential(*down, *up, nn.ConvTranspose2d(3, 1, 2, 2), nn.Sigmoid())


def padded(*mode: str) -> nn.Module:
    layers = [nn.Sequential(nn.Conv2d(2, 2, 3, padding=(1, 2), padding_mode=m), nn.ReLU()) for m in mode]
    return nn.Sequential(*layers)


class Cropped(nn.Module):
    """Convolutions without padding, and a skip that is cropped to fit."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3))

    def forward(self, x):
        return self.branch(x) + x[:, :, 2:-2, 2:-2]


def dilated() -> nn.Module:
    """Atrous context aggregation: the field doubles, the image stays."""
    layers = [(nn.Conv2d(2, 2, 3, padding=d, dilation=d), nn.ReLU()) for d in (1, 2, 4)]
    return nn.Sequential(*[module for pair in layers for module in pair])


def explicit_pads() -> nn.Module:
    pads = nn.ReflectionPad2d((1, 2, 0, 1)), nn.ReplicationPad2d((0, 1, 2, 0)), nn.CircularPad2d((1, 1, 0, 2))
    return nn.Sequential(*[m for pad in pads for m in (pad, nn.Conv2d(2, 2, 3), nn.ReLU())], nn.ZeroPad2d((2, 0, 1, 3)))


def superresolution() -> nn.Module:
    body = nn.Conv2d(1, 3, 3, padding=1), nn.PReLU(), nn.Conv2d(3, 4, 3, padding=1), nn.PixelShuffle(2)
    return nn.Sequential(Residual(*body, shortcut=nn.Upsample(scale_factor=2, mode="nearest")), nn.PixelUnshuffle(2))


IMAGE = (1, 2, 8, 8)
NETWORKS = {
    "u-net, transposed convolution": Network(lambda: UNet(nn.ConvTranspose2d(4, 4, 2, 2)), IMAGE),
    "u-net, bilinear": Network(lambda: UNet(nn.Upsample(scale_factor=2, mode="bilinear")), IMAGE),
    "u-net, aligned corners": Network(lambda: UNet(nn.UpsamplingBilinear2d(scale_factor=2)), IMAGE),
    "cropped skip": Network(Cropped, IMAGE),
    "tied autoencoder": Network(TiedAutoencoder, (1, 1, 5, 5)),
    "autoencoder": Network(autoencoder, (1, 1, 8, 8)),
    "generator": Network(generator, (1, 5, 1, 1)),
    "dilated context": Network(dilated, IMAGE),
    "superresolution": Network(superresolution, (1, 1, 5, 5)),
    "circular padding": Network(lambda: padded("circular", "circular"), (1, 2, 5, 6)),
    "reflect and replicate padding": Network(lambda: padded("reflect", "replicate"), (1, 2, 5, 6)),
    "explicit, asymmetric padding": Network(explicit_pads, (1, 2, 6, 5)),
    "same padding, even kernels": Network(
        lambda: nn.Sequential(nn.Conv2d(2, 3, (2, 4), padding="same"), nn.ReLU(), nn.Conv2d(3, 2, 4, padding="same")),
        (1, 2, 6, 5),
    ),
}
