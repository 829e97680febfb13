"""U-TAE (Garnot and Landrieu 2021) in plain PyTorch, written from the paper, to measure against.

Paper: Panoptic segmentation of satellite image time series with convolutional temporal attention networks,
ICCV 2021, https://arxiv.org/abs/2107.07933; the attention is that of Garnot and Landrieu 2020.
"""

# ruff: noqa: D102 (forward is that of PyTorch; the class documents it)

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn

FEATURES = (64, 64, 64, 128)  # of each scale, the finest first
HEADS, KEY, GROUPS, EPSILON = 16, 4, 4, 1e-3
LONGEST = 1000.0  # the longest period of the encoding of days is 2 π times this
Norm = Callable[[int], nn.Module]


def by_groups(features: int) -> nn.Module:
    return nn.GroupNorm(GROUPS, features, EPSILON)


def by_batch(features: int) -> nn.Module:
    return nn.BatchNorm2d(features, EPSILON)


def convolution(
    inputs: int, outputs: int, norm: type | object, kernel: int = 3, stride: int = 1
) -> nn.Module:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding=(kernel - 1) // 2)
    return nn.Sequential(layer, norm(outputs), nn.ReLU())


class Block(nn.Module):
    """A convolution and a residual one: (N, C, H, W) to (N, F, H, W)."""

    def __init__(self, inputs: int, outputs: int, norm: Norm) -> None:
        super().__init__()
        self.first = convolution(inputs, outputs, norm)
        self.second = convolution(outputs, outputs, norm)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        return x + self.second(x)


class Attention(nn.Module):
    """Sum maps (B, T, F, h, w) over time with a learnt query a head; and its weights (B G, T, h, w)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.units = 2 * features
        self.enter, self.enter_norm = nn.Linear(features, self.units), nn.LayerNorm(self.units, EPSILON)
        self.query = nn.Parameter(torch.randn(HEADS, KEY) * (2 / KEY) ** 0.5)
        self.key = nn.Linear(self.units, HEADS * KEY, bias=False)
        self.leave, self.leave_norm = nn.Linear(self.units, features), nn.LayerNorm(features, EPSILON)
        size = self.units // HEADS
        self.register_buffer("rate", LONGEST ** (-2 * (torch.arange(size) // 2) / size))
        self.register_buffer("phase", 0.5 * torch.pi * (torch.arange(size) % 2))

    def forward(self, x: torch.Tensor, day: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        dates = torch.sin(day[..., None] * self.rate + self.phase).repeat(1, 1, HEADS)  # (B, T, E)
        x = self.enter_norm(self.enter(x.permute(0, 3, 4, 1, 2))) + dates[:, None, None]  # (B, h, w, T, E)
        key = self.key(x).unflatten(-1, (HEADS, KEY))
        weights = ((key * self.query).sum(-1) * KEY**-0.5).softmax(3)  # (B, h, w, T, G)
        x = torch.einsum("bhwtg,bhwtgc->bhwgc", weights, x.unflatten(-1, (HEADS, -1))).flatten(3)
        x = self.leave_norm(torch.relu(self.leave(x)))
        return x.permute(0, 3, 1, 2), weights.permute(0, 4, 3, 1, 2).flatten(0, 1)


class Up(nn.Module):
    """Enlarge maps (B, C, h, w), put them beside those of the finer scale: (B, F, 2 h, 2 w)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        enlarge = nn.ConvTranspose2d(inputs, outputs, 4, 2, padding=1)
        self.enlarge = nn.Sequential(enlarge, by_batch(outputs), nn.ReLU())
        self.skip = convolution(outputs, outputs, by_batch, kernel=1)
        self.block = Block(2 * outputs, outputs, by_batch)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        return self.block(torch.cat([self.enlarge(x), self.skip(skip)], 1))


class UTAE(nn.Module):
    """Series (B, T, C, H, W) and days (B, T) to logits (B, K, H, W)."""

    def __init__(self, channels: int, classes: int, dropout: float = 0.1) -> None:
        super().__init__()
        first = FEATURES[0]
        self.enter = nn.Sequential(
            convolution(channels, first, by_groups), convolution(first, first, by_groups)
        )
        self.down = nn.ModuleList(
            nn.Sequential(convolution(a, a, by_groups, kernel=4, stride=2), Block(a, b, by_groups))
            for a, b in pairwise(FEATURES)
        )
        self.attention = Attention(FEATURES[-1])
        self.up = nn.ModuleList(Up(b, a) for a, b in reversed([*pairwise(FEATURES)]))
        self.dropout = nn.Dropout(dropout)
        self.logits = nn.Conv2d(first, classes, 1)

    def forward(self, x: torch.Tensor, day: torch.Tensor) -> torch.Tensor:
        batch, times = x.shape[:2]
        maps = [self.enter(x.flatten(0, 1))]
        for layer in self.down:
            maps.append(layer(maps[-1]))
        maps = [each.unflatten(0, (batch, times)) for each in maps]
        x, weights = self.attention(maps[-1], day)
        for layer, fine in zip(self.up, reversed(maps[:-1]), strict=True):
            x = layer(x, summed(fine, weights))
        return self.logits(self.dropout(x))


def summed(maps: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Sum maps (B, T, C, H, W) over time; weights (B G, T, h, w) are resized, each head has its channels."""
    fine = nn.functional.interpolate(weights, maps.shape[-2:], mode="bilinear", align_corners=False)
    fine = fine.unflatten(0, (-1, HEADS))  # (B, G, T, H, W)
    return torch.einsum("bgthw,btgchw->bgchw", fine, maps.unflatten(2, (HEADS, -1))).flatten(1, 2)
