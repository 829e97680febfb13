"""Whether new images are on the scale that a model was trained on.

A wrong unit is the most frequent silent fault of predictions: digital numbers for reflectance, dB for linear
power. The model answers all the same, and what it says means nothing.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from eolab.core.errors import DataError, warn

TASK_FILE = "task.json"
LOOKED_AT = 5_000  # pixels
FAR = 5.0  # times the largest magnitude in training: no scene is that bright, a wrong unit is
SPREADS = 10.0
SMALL = 0.005
FILLED = 0.01  # share of values that far off from which fill values are taken for measured ones
DIGITAL_NUMBERS = (3_000.0, 30_000.0)  # values times so much look like digital numbers, which are × 10,000


@dataclass
class TrainedRange:
    """What a model has seen of each channel in training.

    Attributes:
        names: Name of each channel.
        low: Smallest value of each.
        high: Largest value of each.
        mean: Mean of each.
        std: Standard deviation of each.
    """

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    _told: bool = field(default=False, init=False, repr=False)

    @classmethod
    def of(cls, channels: Mapping[str, Any]) -> Self | None:
        """Return the ranges that saved channels state; None where they were saved before there were any."""
        if not channels.get("low"):
            return None
        return cls(*(tuple(channels[key]) for key in ("names", "low", "high", "mean", "std")))

    def check(
        self,
        values: np.ndarray,
        valid: np.ndarray | None = None,
        strict: bool = False,
        whole: bool = False,
    ) -> None:
        """Compare images with the training samples: refuse another unit, warn once of another landscape.

        Arguments as of :meth:`judge`.

        Raises:
            DataError: If the values are in another unit.
        """
        text = self.judge(values, valid, strict, whole)
        if text and not self._told:
            self._told = True
            warn(text)

    def judge(
        self,
        values: np.ndarray,
        valid: np.ndarray | None = None,
        strict: bool = False,
        whole: bool = False,
    ) -> str:
        """Compare images with the training samples and say what does not fit; NaN does not count.

        A channel does not fit if most of its values lie outside the range of training, if its median lies
        ten standard deviations from the mean of training, or if its values are hundreds of times as small.
        That may be another landscape, and is said. A value five times as large as any in training, or below
        -1 and minus three means where none was negative, is of another unit, or it fills gaps: it is said
        from 1 % of them on, and refused if they are most.

        Args:
            values: Images (..., C).
            valid: Which of them count, an array over the first axes.
            strict: Whether to refuse too where a quarter of the channels do not fit.
            whole: Whether the values are from all over a scene, which is refused where all channels are
                hundreds of times as small: no scene is that dark.

        Returns:
            A sentence; empty where all fits.

        Raises:
            DataError: If the values are in another unit.
        """
        pixels = self._some(values, valid)
        if not len(pixels):
            return ""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a channel without a value
            gaps = np.isnan(pixels).any()
            median, quantile = (np.nanmedian, np.nanquantile) if gaps else (np.median, np.quantile)
            middle, top = median(pixels, axis=0), quantile(np.abs(pixels), 0.99, axis=0)
        low, high, mean, std = map(np.asarray, (self.low, self.high, self.mean, self.std))
        most = np.maximum(np.abs(low), np.abs(high))
        known = np.maximum((~np.isnan(pixels)).sum(0), 1)
        share = ((pixels < low) | (pixels > high)).sum(0) / known
        beyond = (np.abs(pixels) > FAR * most) | ((low >= 0) & (pixels < -np.maximum(1, 3 * mean)))
        small = (low >= 0) & (top < SMALL * mean)
        other = (share > 0.5) | (np.abs(middle - mean) > SPREADS * std) | small.all()
        other = (high > low) & (other | (beyond.sum(0) > FILLED * known))
        far = other & (beyond.sum(0) > known / 2)
        if not other.any():
            return ""
        wrong = far if far.any() else other
        text = self._sentence(wrong, middle, share) + self._unit(wrong, middle, pixels[beyond & wrong])
        if far.any() or (whole and small.all()) or (strict and other.mean() >= 0.25):
            raise DataError(text)
        return text

    def _some(self, values: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
        """Return some pixels (n, C)."""
        if valid is not None and np.shape(valid) == values.shape[: np.ndim(valid)]:
            values = values[np.asarray(valid, bool)]
        pixels = values.reshape(-1, values.shape[-1])
        return pixels[:: len(pixels) // LOOKED_AT + 1].astype(np.float64)

    def _sentence(self, wrong: np.ndarray, middle: np.ndarray, share: np.ndarray) -> str:
        """Return what was found and what was expected of the channels that do not fit."""
        places = np.flatnonzero(wrong)
        found = [
            f"{self.names[k]} is {middle[k]:.4g} (median; {share[k]:.0%} of the values lie outside), in "
            f"training it was {self.low[k]:.4g} to {self.high[k]:.4g}"
            for k in places[:3]
        ]
        more = f"; {len(places)} of {len(wrong)} channels in all" if len(places) > 3 else ""
        return f"The images are not like those that the model was trained on: {'; '.join(found)}{more}. "

    def _unit(self, wrong: np.ndarray, middle: np.ndarray, beyond: np.ndarray) -> str:
        """Return what the values look like, and the remedy; `beyond` are those far off (n,)."""
        if len(beyond) and (beyond == beyond[0]).all():
            return (
                f"All that are far off are {beyond[0]:g}, which looks like a fill value: state it as nodata."
            )
        middle, mean, std = middle[wrong], np.asarray(self.mean)[wrong], np.asarray(self.std)[wrong]
        with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)  # means around 0 alone
            ratio = float(np.nanmedian(middle / np.where(np.abs(mean) > 0.1 * std, mean, np.nan)))
        least, greatest = DIGITAL_NUMBERS
        remedy = "bring them to the scale of the training data"
        if least < ratio < greatest:
            return f"They look like digital numbers (× 10,000): {remedy}."
        if least < 1 / ratio < greatest if ratio else False:
            return f"They look like reflectance where digital numbers (× 10,000) were learned from: {remedy}."
        if ratio < 0 and len(beyond):
            return f"Their sign differs, as that of values in dB: {remedy}."
        if not (ratio > 10 or 0 < ratio < 0.1):
            return "That may be another landscape, of which predictions are extrapolated, or another unit."
        times = f"{ratio:,.0f}" if ratio > 10 else f"{ratio:.2g}"
        return f"They are about {times} times as large as in training: {remedy}, or check the unit."


def beside(model: Path | None) -> dict[str, TrainedRange]:
    """Return the ranges by name of the input that ``task.json`` beside a saved model states; none without."""
    file = None if model is None else model.with_name(TASK_FILE)
    if file is None or not file.is_file():
        return {}
    channels = json.loads(file.read_text())["channels"]
    return {name.lower(): one for name in channels if (one := TrainedRange.of(channels[name]))}


def check_inputs(ranges: Mapping[str, TrainedRange | None], arrays: Mapping[str, np.ndarray]) -> None:
    """Compare the inputs of a model with what it was trained on; see :meth:`TrainedRange.check`.

    Args:
        ranges: Ranges by name of the input, in small letters.
        arrays: Inputs by name; ``valid``, or ``<name>_valid``, says which images count.
    """
    for name, one in ranges.items():
        if one and name in arrays:
            valid = arrays.get(f"{name}_valid", arrays.get("valid"))
            one.check(np.asarray(arrays[name]), valid)
