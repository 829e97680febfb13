"""The ConvLSTM of `eolab.models.sequences` in plain PyTorch, as a user would write it, to measure against."""

# ruff: noqa: D102 (forward is that of PyTorch; the class documents it)

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

FILTERS, HIDDEN, DROPOUT, L2 = 2, 2, 0.2, 1e-4  # the defaults of ours


class Cell(nn.Module):
    """A convolutional LSTM with both kernels in one convolution: a loop over the dates."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.bands = bands
        self.gates = nn.Conv2d(bands + FILTERS, 4 * FILTERS, 3, padding=1)

    def step(self, x: torch.Tensor, hidden: torch.Tensor, carry: torch.Tensor) -> tuple[torch.Tensor, ...]:
        write, keep, new, read = self.gates(torch.cat([x, hidden], 1)).chunk(4, 1)  # (B, F, H, W) each
        carry = torch.sigmoid(keep) * carry + torch.sigmoid(write) * torch.tanh(new)
        return torch.sigmoid(read) * torch.tanh(carry), carry

    def forward(self, images: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """Return maps (B, T, F, H, W); a step without an image passes the state on."""
        state = images.new_zeros(len(images), FILTERS, *images.shape[3:])
        states, maps = (state, state), []
        for step in range(images.shape[1]):
            there = seen[:, step, None, None, None]
            found = self.step(images[:, step], *states)
            states = tuple(torch.where(there, new, old) for new, old in zip(found, states, strict=True))
            maps.append(states[0])
        return torch.stack(maps, 1)


class SeenNorm(nn.BatchNorm2d):
    """Batch normalisation of maps (B, T, F, H, W) over the steps with an image; others become 0.

    Steps are not picked: an array of the images that there are could not be compiled.
    """

    def forward(self, x: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        mean, variance = self.running_mean, self.running_var
        if self.training:
            x, axes = x.float(), (0, 1, 3, 4)
            count = seen.sum() * x.shape[3] * x.shape[4]
            mean = (x * seen).sum(axes) / count
            variance = (x.square() * seen).sum(axes) / count - mean.square()
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance, self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shape = (1, 1, -1, 1, 1)
        return (x * scale.view(shape) + (self.bias - mean * scale).view(shape)) * seen


class Branch(nn.Module):
    """Features (B, T, F H W) of the images (B, T, C, H, W) of a sensor and ``valid`` (B, T)."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.first, self.second = Cell(bands), Cell(FILTERS)
        self.norm = SeenNorm(FILTERS, eps=1e-3, momentum=0.01)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, images: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        seen = valid > 0.5
        there = seen[:, :, None, None, None]
        x = self.norm(self.first(torch.where(there, images, 0), seen), there)
        return self.dropout(self.second(self.dropout(x), seen)).flatten(2)


class ConvLSTM(nn.Module):
    """Logits (B, T) of images (B, T, C, H, W) and ``valid`` (B, T) of each sensor, by name."""

    def __init__(self, bands: Mapping[str, int], height: int, width: int) -> None:
        super().__init__()
        self.branches = nn.ModuleDict({sensor: Branch(count) for sensor, count in bands.items()})
        self.dense = nn.Linear(len(bands) * FILTERS * height * width, HIDDEN)
        self.answer = nn.Linear(HIDDEN, 1)

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        maps = [branch(inputs[name], inputs[f"{name}_valid"]) for name, branch in self.branches.items()]
        return self.answer(torch.relu(self.dense(torch.cat(maps, -1)))).squeeze(-1)

    def penalty(self) -> torch.Tensor:
        """Return the weight decay of the kernels that read images."""
        cells = [cell for cell in self.modules() if isinstance(cell, Cell)]
        return L2 * sum(cell.gates.weight[:, : cell.bands].square().sum() for cell in cells)
