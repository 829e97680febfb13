"""The networks of `eolab.models.series` in plain PyTorch, layer by layer, to measure against."""

# ruff: noqa: D102 (forward is that of PyTorch; the class documents it)

from __future__ import annotations

import torch
from torch import nn

EPSILON = 1e-3  # of the normalisations, that of Keras
LONGEST = 1000.0  # the longest period of the encoding of days is 2 π times this


class LSTM(nn.Module):
    """Logits (B, K) of series (B, T, C); it has no mask, and so less to do than ours."""

    def __init__(self, bands: int, classes: int, units: int = 64) -> None:
        super().__init__()
        self.recurrent, self.dense = nn.LSTM(bands, units, batch_first=True), nn.Linear(units, classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.dense(self.recurrent(image)[0][:, -1])


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


class Days(nn.Module):
    """Sines and cosines (B, T, E) of days (B, T)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("rate", LONGEST ** (-2 * (torch.arange(size) // 2) / size))
        self.register_buffer("phase", 0.5 * torch.pi * (torch.arange(size) % 2))

    def forward(self, day: torch.Tensor) -> torch.Tensor:
        return torch.sin(day[..., None] * self.rate + self.phase)


class Transformer(nn.Module):
    """Logits (B, K) of series (B, T, C), ``valid`` and days (B, T), by PyTorch's own encoder layers."""

    def __init__(
        self, bands: int, classes: int, units: int = 64, heads: int = 4, layers: int = 2, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.enter, self.days = nn.Linear(bands, units), Days(units)
        given = {"layer_norm_eps": EPSILON, "batch_first": True, "norm_first": True}
        layer = nn.TransformerEncoderLayer(units, heads, 2 * units, dropout, **given)
        self.encoder = nn.TransformerEncoder(
            layer, layers, nn.LayerNorm(units, EPSILON), enable_nested_tensor=False
        )
        self.leave = nn.Linear(units, classes)

    def forward(self, image: torch.Tensor, valid: torch.Tensor, day: torch.Tensor) -> torch.Tensor:
        seen = valid > 0.5
        x = self.enter(image * valid[..., None]) + self.days(day)  # (B, T, D)
        x = self.encoder(x, src_key_padding_mask=~seen)
        weight = seen[..., None].to(x.dtype)
        return self.leave((x * weight).sum(1) / weight.sum(1).clamp(min=1))


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
        self.days = Days(size)
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
        x = (x + self.days(day)[:, :, None]).transpose(1, 2)  # (B, H, T, E/H)
        logits = (x @ self.key @ self.query).squeeze(-1) * self.key.shape[-1] ** -0.5  # (B, H, T)
        seen = (valid > 0.5)[:, None]
        weights = torch.where(seen, logits.float(), -1e9).softmax(-1)
        weights = self.drop(torch.where(seen, weights, 0.0).to(x.dtype))
        return self.leave((weights[:, :, None] @ x).flatten(1))
