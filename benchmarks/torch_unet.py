"""The U-Nets of `eolab.models.images` in plain PyTorch, layer by layer, to measure against."""

# ruff: noqa: D102 (forward is that of PyTorch; the class documents it)

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

FEATURES = (64, 128, 256, 512, 1024)
EPSILON = 1e-3  # of the normalisations, that of Keras
KNOWN = {  # name of ours: residual blocks, attention after each block
    "unet": (False, False),
    "unet_multi_attention": (False, True),
    "unet_residual": (True, False),
    "rau_net_1": (True, True),
}


def convolution(inputs: int, outputs: int, kernel: int, active: bool = True) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    norm = nn.BatchNorm2d(outputs, EPSILON)
    return nn.Sequential(layer, norm, *([nn.ReLU(inplace=True)] if active else []))


class Residual(nn.Module):
    """A convolution and a residual unit: (B, C, H, W) to (B, F, H, W)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = convolution(inputs, outputs, 3)
        self.unit = nn.Sequential(
            convolution(outputs, outputs // 2, 1), convolution(outputs // 2, outputs, 3, active=False)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        return torch.relu(x + self.unit(x))


class MultiAttention(nn.Module):
    """Gates of rows and columns: (B, C, H, W) to the same."""

    def __init__(self, features: int, heads: int = 4, ratio: int = 16) -> None:
        super().__init__()
        self.heads = heads
        self.value = max(2, features // (ratio * heads))
        self.key = max(1, self.value // 2)
        self.project = nn.Linear(features, heads * (2 * self.key + self.value), bias=False)
        self.merge = nn.Linear(heads * self.value, features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height = x.shape[2]
        rows, columns = x.mean(3), x.mean(2)  # (B, C, H), (B, C, W)
        tokens = torch.cat([rows, columns, rows.mean(2, keepdim=True)], 2).transpose(1, 2)  # (B, N, C)
        tokens = nn.functional.layer_norm(tokens, tokens.shape[2:], eps=EPSILON)
        sizes = [self.heads * size for size in (self.key, self.key, self.value)]
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in self.project(tokens).split(sizes, dim=2)
        )
        seen = nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        seen = self.merge(seen).transpose(1, 2)  # (B, C, N)
        gates = 2 * torch.sigmoid(seen[:, :, :-1] + seen[:, :, -1:])
        return x * gates[:, :, :height, None] * gates[:, :, None, height:]


class UNet(nn.Module):
    """Image (B, C, H, W) to logits (B, K, H, W)."""

    def __init__(self, bands: int, classes: int, width: float, residual: bool, attention: bool) -> None:
        super().__init__()
        sizes = [max(4, 4 * round(features * width / 4)) for features in FEATURES]

        def block(inputs: int, outputs: int) -> nn.Sequential:
            plain = [convolution(inputs, outputs, 3), convolution(outputs, outputs, 3)]
            layers = [Residual(inputs, outputs)] if residual else plain
            return nn.Sequential(*layers, *([MultiAttention(outputs)] if attention else []))

        self.down = nn.ModuleList(block(a, b) for a, b in pairwise([bands, *sizes]))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, 2) for a, b in pairwise(sizes))
        self.up = nn.ModuleList(block(2 * a, a) for a in sizes[:-1])
        self.logits = nn.Conv2d(sizes[0], classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for level, block in enumerate(self.down):
            x = block(nn.functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for level in reversed(range(len(self.up))):
            x = self.up[level](torch.cat([skips[level], self.enlarge[level](x)], dim=1))
        return self.logits(x)
