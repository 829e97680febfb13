"""DeepLabV3 of `eolab.models.images` in plain PyTorch, layer by layer, to measure against."""

# ruff: noqa: D102 (forward is that of PyTorch; the class documents it)

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import interpolate, pad
from torch_resnet import Bottleneck

BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
STRIDES = (1, 2, 1, 1)  # of the stages: the last maps have an eighth of the resolution
DILATIONS = ((1,), (1,), (2,), (4, 8, 4))  # of their blocks; the last of several is that of further blocks
RATES = (3, 6, 9)
EPSILON = 1e-3  # of the batch normalisation, that of Keras


class PaddedBehind(nn.Conv2d):
    """A strided convolution that pads at the bottom and on the right first, as TensorFlow does."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sides = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size, self.stride, strict=True):
            missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            sides += [missing // 2, missing - missing // 2]
        return super().forward(pad(x, sides))


def convolution(inputs: int, outputs: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    around = kernel // 2 * dilation
    layer = nn.Conv2d(inputs, outputs, kernel, padding=around, dilation=dilation, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs, EPSILON), nn.ReLU(inplace=True))


def encoder(bands: int, backbone: str) -> nn.Sequential:
    """Return a ResNet: (B, C, H, W) to (B, 2048, H/8, W/8), its parts in timm's names."""
    network = nn.Sequential()
    network.add_module("conv1", nn.Conv2d(bands, 64, 7, 2, 3, bias=False))
    network.add_module("bn1", nn.BatchNorm2d(64))
    network.append(nn.ReLU(inplace=True)).append(nn.MaxPool2d(3, 2, 1))
    inputs = 64
    for stage, blocks in enumerate(BLOCKS[backbone]):
        layers, features, rates = nn.Sequential(), 64 * 2**stage, DILATIONS[stage]
        for block in range(blocks):
            stride = 1 if block else STRIDES[stage]
            layers.append(Bottleneck(inputs, features, stride, rates[min(block, len(rates) - 1)]))
            if stride > 1:
                layers[0].conv2 = PaddedBehind(features, features, 3, stride, bias=False)
            inputs = 4 * features
        network.add_module(f"layer{stage + 1}", layers)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = EPSILON
    return network


class DeepLabV3(nn.Module):
    """Values (B, H, W) of images (B, C, H, W)."""

    def __init__(self, bands: int, backbone: str = "resnet50", dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder = encoder(bands, backbone)
        self.atrous = nn.ModuleList([convolution(2048, 256, 1)])
        self.atrous.extend(convolution(2048, 256, 3, rate) for rate in RATES)
        self.mean = convolution(2048, 256, 1)
        self.join = convolution(5 * 256, 256, 1)
        self.dropout = nn.Dropout(dropout)
        self.last = convolution(256, 64, 3)
        self.values = nn.Conv2d(64, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        deep = self.encoder(x)  # (B, 2048, H/8, W/8)
        branches = [branch(deep) for branch in self.atrous]
        mean = self.mean(deep.mean((2, 3), keepdim=True))  # (B, 256, 1, 1)
        joined = self.join(torch.cat([*branches, mean.expand_as(branches[0])], 1))
        y = self.last(self.dropout(joined))  # (B, 64, H/8, W/8)
        y = interpolate(y, x.shape[2:], mode="bilinear", align_corners=False)
        return self.values(y).squeeze(1)
