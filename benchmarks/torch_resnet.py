"""ResNet-50 in plain PyTorch, its parts in timm's names, to measure against and to convert from."""

# ruff: noqa: D102 (forward is that of PyTorch; the class documents it)

from __future__ import annotations

import torch
from torch import nn

BLOCKS = (3, 4, 6, 3)


class Bottleneck(nn.Module):
    """Three convolutions beside a shortcut: (B, C, H, W) to (B, 4 F, H/stride, W/stride)."""

    def __init__(self, inputs: int, features: int, stride: int, dilation: int = 1) -> None:
        super().__init__()
        wide = 4 * features
        self.conv1, self.bn1 = nn.Conv2d(inputs, features, 1, bias=False), nn.BatchNorm2d(features)
        self.conv2 = nn.Conv2d(features, features, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(features)
        self.conv3, self.bn3 = nn.Conv2d(features, wide, 1, bias=False), nn.BatchNorm2d(wide)
        self.relu, self.downsample = nn.ReLU(inplace=True), None
        if stride > 1 or inputs != wide:
            shortcut = nn.Conv2d(inputs, wide, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(wide))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(y)))))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet50(nn.Module):
    """Logits (B, K) of images (B, C, H, W)."""

    def __init__(self, bands: int, classes: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(bands, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        inputs = 64
        for stage, blocks in enumerate(BLOCKS):
            layers, features = [], 64 * 2**stage
            for block in range(blocks):
                layers.append(Bottleneck(inputs, features, 2 if stage and not block else 1))
                inputs = 4 * features
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        self.fc = nn.Linear(inputs, classes)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return averages of the last maps (B, 2048)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.features(x))
