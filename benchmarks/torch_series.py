"""TempCNN and L-TAE of `eolab.models.series` in plain PyTorch, layer by layer, to measure against."""

# ruff: noqa: D102 (forward is that of PyTorch; the class documents it)

from __future__ import annotations

import torch
from torch import nn

EPSILON = 1e-3  # of the normalisations, that of Keras
LONGEST = 1000.0  # the longest period of the encoding of days is 2 π times this


class TempCNN(nn.Module):
    """Logits (B, K) of series (B, T, C) and ``valid`` (B, T), which is one band more."""

    def __init__(
        self, times: int, bands: int, classes: int, filters: int = 64, dense: int = 256, dropout: float = 0.5
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs in (bands + 1, filters, filters):
            layers += [nn.Conv1d(inputs, filters, 5, padding=2), nn.BatchNorm1d(filters, EPSILON)]
            layers += [nn.ReLU(inplace=True), nn.Dropout(dropout)]
        layers += [nn.Flatten(), nn.Linear(filters * times, dense), nn.BatchNorm1d(dense, EPSILON)]
        layers += [nn.ReLU(inplace=True), nn.Dropout(dropout), nn.Linear(dense, classes)]
        self.layers = nn.Sequential(*layers)

    def forward(self, image: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        x = torch.cat([image * valid[..., None], valid[..., None]], -1)  # (B, T, C + 1)
        return self.layers(x.transpose(1, 2))


class LTAE(nn.Module):
    """Logits (B, K) of series (B, T, C), ``valid`` (B, T) and days (B, T); no date without valid counts."""

    def __init__(
        self, bands: int, classes: int, units: int = 128, heads: int = 16, key: int = 8, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.heads, size = heads, units // heads
        self.enter = nn.Sequential(
            nn.Linear(bands, units // 2),
            nn.ReLU(inplace=True),
            nn.Linear(units // 2, units),
            nn.LayerNorm(units, EPSILON),
        )
        self.query = nn.Parameter(torch.randn(heads, key, 1) * (2 / key) ** 0.5)
        self.key = nn.Parameter(torch.randn(heads, size, key) * size**-0.5)
        self.drop = nn.Dropout(0.1)
        self.register_buffer("rate", LONGEST ** (-2 * (torch.arange(size) // 2) / size))
        self.register_buffer("phase", 0.5 * torch.pi * (torch.arange(size) % 2))
        self.leave = nn.Sequential(
            *self.dense(units, units),
            nn.Dropout(dropout),
            nn.LayerNorm(units, EPSILON),
            *self.dense(units, 64),
            *self.dense(64, 32),
            nn.Linear(32, classes),
        )

    @staticmethod
    def dense(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs, EPSILON), nn.ReLU(inplace=True)]

    def forward(self, image: torch.Tensor, valid: torch.Tensor, day: torch.Tensor) -> torch.Tensor:
        x = self.enter(image * valid[..., None]).unflatten(-1, (self.heads, -1))  # (B, T, H, E/H)
        dates = torch.sin(day[..., None] * self.rate + self.phase)  # (B, T, E/H)
        x = (x + dates[:, :, None]).transpose(1, 2)  # (B, H, T, E/H)
        logits = (x @ self.key @ self.query).squeeze(-1) * self.key.shape[-1] ** -0.5  # (B, H, T)
        seen = (valid > 0.5)[:, None]
        weights = torch.where(seen, logits.float(), -1e9).softmax(-1)
        weights = self.drop(torch.where(seen, weights, 0.0).to(x.dtype))
        return self.leave((weights[:, :, None] @ x).flatten(1))
