"""A weighted sum of losses that knows its parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from eolab.core.errors import ParameterError
from eolab.training.losses.base import PixelLoss, Pixels, number, serializable


@serializable
class WeightedSum(PixelLoss):
    """Weighted sum of losses; printed, it is the text that :func:`eolab.training.losses.build` reads.

    Args:
        parts: Pairs of a weight, more than 0, and a loss.
        name: Name of the loss.

    Raises:
        ParameterError: If there are no parts, a weight is not positive, or the parts ignore different labels.
    """

    NAME = "sum"

    def __init__(self, parts: Sequence[tuple[float, PixelLoss]], name: str | None = None) -> None:
        ignored = {part.ignore for _, part in parts}
        if len(ignored) != 1:
            raise ParameterError(
                f"A sum of losses needs parts that ignore one label: got {len(parts)} parts that ignore "
                f"{sorted(ignored) or 'nothing'}."
            )
        super().__init__(ignored.pop(), name)
        self.parts = [(number("weight", weight, open_low=True), part) for weight, part in parts]

    def of(self, pixels: Pixels) -> Any:
        """Return the loss of labelled pixels."""
        return sum(weight * part.of(pixels) for weight, part in self.parts)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        parts = [[weight, keras.saving.serialize_keras_object(part)] for weight, part in self.parts]
        return {"name": self.name, "parts": parts}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> WeightedSum:
        """Return the loss of saved arguments."""
        parts = [(weight, keras.saving.deserialize_keras_object(part)) for weight, part in config["parts"]]
        return cls(parts, config["name"])

    def __str__(self) -> str:
        return " + ".join(f"{weight:g}*{part}" for weight, part in self.parts)

    __repr__ = __str__
