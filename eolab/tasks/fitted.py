"""What fitted networks of images share: the channels they read of a store, what they say of themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd

Rows = Mapping[str, np.ndarray]


class Channels(Protocol):
    """Which channels of a stored image a network reads."""

    @property
    def names(self) -> Sequence[str]:
        """Name of each of C channels."""

    @property
    def mean(self) -> Sequence[float]:
        """Mean of each over the training patches."""

    @property
    def std(self) -> Sequence[float]:
        """Standard deviation of each over the training patches."""

    def assemble(self, image: np.ndarray) -> np.ndarray:
        """Return the channels (..., C) of stored images (..., all channels)."""


class Fitted:
    """A fitted network.

    Attributes:
        name: Name of the architecture.
        network: The Keras model, with the weights of its best epoch.
        history: A row an epoch; empty where the network was loaded.
    """

    name: str
    network: Any
    history: pd.DataFrame

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return int(self.network.count_params())

    def __str__(self) -> str:
        text = f"{self.name}: {self.parameters:,} weights"
        if self.history.empty:
            return text
        return f"{text}, best of {len(self.history)} epochs is number {self.history.attrs['best_epoch']}"


class Prepare:
    """Takes a network's channels out of stored images; its name tells a stopped training which they were."""

    def __init__(self, channels: Channels) -> None:
        self.channels, self.name = channels, "+".join(channels.names)

    def __call__(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return inputs with the channels (B, H, W, C) in place of the stored image."""
        return inputs | {"image": self.channels.assemble(inputs["image"])}
