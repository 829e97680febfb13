"""Baselines for landslide masks: what a network that sees whole patches must beat.

================== ==================================================================================
majority           the share of landslide pixels in the training patches, whatever the pixel
slope_ndvi_rule    landslide where the slope is at least, and the NDVI at most, a threshold
pixel_boosting     gradient-boosted trees on the bands, terrain and indices of the pixel alone
================== ==================================================================================

Example:
    >>> baseline = fit("slope_ndvi_rule", store, rows["train"])
    >>> print(baseline)
    landslide where slope ≥ 1.42 and NDVI ≤ 0.287
    >>> baseline.predict(image).shape  # image (n, H, W, all channels)
    (16, 128, 128)
"""

from __future__ import annotations

import inspect
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from scipy.special import expit

from eolab.core.errors import DataError, ParameterError, did_you_mean
from eolab.data.schemes import IGNORE
from eolab.data.store import Store
from eolab.studies.landslide import tabular

A_CORE = 2  # patches that a core predicts at once
SLOPE, NDVI = "slope", "NDVI"
BELOW = 0.499  # most that a pixel outside of the rule gets: below 0.5 in half precision too


@dataclass(frozen=True)
class Baseline(ABC):
    """A fitted baseline.

    Attributes:
        channels: Names of all channels of a stored image, in their order.
    """

    channels: tuple[str, ...]

    def predict(self, image: np.ndarray) -> np.ndarray:
        """Return the landslide probability of every pixel.

        Args:
            image: (n, H, W, C) with the channels of the store, raw.

        Returns:
            float32 (n, H, W).

        Raises:
            DataError: If the image has another number of channels.
        """
        image = np.asanyarray(image)
        if image.ndim != 4 or image.shape[-1] != len(self.channels):
            raise DataError(
                f"The image has shape {image.shape}: expected (patches, y, x, {len(self.channels)}), the "
                "channels of the store that the baseline was fitted on."
            )
        result = np.empty(image.shape[:3], np.float32)

        def fill(start: int) -> None:
            result[start : start + A_CORE] = self._probability(np.asarray(image[start : start + A_CORE]))

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(fill, range(0, len(image), A_CORE)))
        return result

    @abstractmethod
    def _probability(self, image: np.ndarray) -> np.ndarray:
        """Return the probability (n, H, W) of a few images (n, H, W, C)."""

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the baseline to a ``.joblib`` file; an unfinished file never bears the name."""
        path = Path(path)
        part = path.with_name(f"{path.name}.part")
        joblib.dump(self, part, compress=3)
        return part.replace(path)


@dataclass(frozen=True)
class Majority(Baseline):
    """The same probability everywhere.

    Attributes:
        share: Landslide pixels of the training patches, as a share of the known ones.
    """

    share: float

    def _probability(self, image: np.ndarray) -> np.ndarray:
        return np.full(image.shape[:3], self.share)

    def __str__(self) -> str:
        return f"landslide with probability {self.share:.3g} everywhere"


@dataclass(frozen=True)
class SlopeNdviRule(Baseline):
    """Landslide where the ground is steep and bare.

    Both thresholds are those with the best F1 over all known training pixels. The probability is a margin,
    σ(min((slope − threshold) / std, (threshold − NDVI) / std)), which ranks the pixels for other thresholds:
    0.5 or more is the rule. It is not calibrated.

    Attributes:
        slope: Least slope, in the units of the data.
        ndvi: Largest NDVI.
        scales: Standard deviation of slope and NDVI, each class counting half.
        f1: F1 of the rule on the training pixels.
    """

    slope: float
    ndvi: float
    scales: tuple[float, float]
    f1: float

    def _probability(self, image: np.ndarray) -> np.ndarray:
        slope, ndvi = (image[..., self.channels.index(name)].astype(float) for name in (SLOPE, NDVI))
        margin = np.minimum((slope - self.slope) / self.scales[0], (self.ndvi - ndvi) / self.scales[1])
        margin = np.where(np.isnan(margin), -np.inf, margin)
        return np.where(margin >= 0, expit(margin), np.minimum(expit(margin), BELOW))

    def __str__(self) -> str:
        return f"landslide where slope ≥ {self.slope:.3g} and NDVI ≤ {self.ndvi:.3g}"


@dataclass(frozen=True)
class PixelBoosting(Baseline):
    """Gradient-boosted trees on the values of a pixel.

    Attributes:
        model: The fitted model; its features are channels of the store.
    """

    model: tabular.Boosting

    def _probability(self, image: np.ndarray) -> np.ndarray:
        names = list(self.model.feature_names_in_)
        values = image[..., [self.channels.index(name) for name in names]].reshape(-1, len(names))
        found = tabular.probability(self.model, pd.DataFrame(values, columns=names))
        return found.reshape(image.shape[:3])

    def __str__(self) -> str:
        return (
            f"{self.model.iterations} boosted trees on {len(self.model.feature_names_in_)} values of a pixel"
        )


def names() -> tuple[str, ...]:
    """Return the names of the baselines, the most trivial first."""
    return tuple(BASELINES)


def fit(name: str, store: Store, rows: Any, seed: int = 0, **options: Any) -> Baseline:
    """Fit a baseline on some patches; labels of 255 count nowhere.

    Args:
        name: One of :func:`names`.
        store: Patches with arrays ``image`` (H, W, C) and ``label`` (H, W).
        rows: Rows of the store for training.
        seed: Of everything random in it.
        **options: ``steps`` (thresholds tried for each channel) of ``slope_ndvi_rule``; ``per_patch`` (pixels
            drawn from a patch) and ``iterations`` (trees) of ``pixel_boosting``.

    Raises:
        ParameterError: If a name or an option is unknown.
        DataError: If the patches show no landslide pixel, or no other, and the baseline needs both.
    """
    if name not in BASELINES:
        raise ParameterError(f"There is no baseline {name!r}; {did_you_mean(name, BASELINES)}")
    make = BASELINES[name]
    known = set(inspect.signature(make).parameters) - {"store", "rows", "seed"}
    for option in set(options) - known:
        raise ParameterError(f"Baseline {name!r} has no option {option!r}; {did_you_mean(option, known)}")
    return make(store, tabular.row_numbers(rows), seed, **options)


def load(path: str | os.PathLike[str]) -> Baseline:
    """Read a baseline that :meth:`Baseline.save` wrote. The format runs code: open only files you trust.

    Raises:
        DataError: The file is missing, unreadable or holds something else.
    """
    remedy = "fit the baseline again, or name another run"
    if not Path(path).is_file():
        raise DataError(f"{path}: expected a saved baseline, found no file; {remedy}.")
    try:
        loaded = joblib.load(path)
    except Exception as error:  # a damaged pickle raises nearly anything
        raise DataError(
            f"{path}: expected a saved baseline, found an unreadable file ({error}); {remedy}."
        ) from error
    if not isinstance(loaded, Baseline):
        raise DataError(f"{path}: expected a saved baseline, found a {type(loaded).__name__}; {remedy}.")
    return loaded


# === Fitting ===


def _majority(store: Store, rows: np.ndarray, seed: int) -> Baseline:
    known = hits = 0
    for _, data in tabular.chunks(store, rows, ["label"]):
        known += int((data["label"] != IGNORE).sum())
        hits += int((data["label"] == 1).sum())
    if not known:
        raise DataError(f"The {len(rows)} training patches have no labelled pixel: nothing to learn from.")
    return Majority(_channels(store), hits / known)


def _slope_ndvi_rule(store: Store, rows: np.ndarray, seed: int, steps: int = 256) -> Baseline:
    drawn = tabular.pixel_table(store, rows, 128, seed, (SLOPE, NDVI))
    _check_classes(drawn["label"].to_numpy(), len(rows))
    values = _balanced(drawn)
    quantiles = np.linspace(0, 1, steps)
    edges = [np.unique(np.quantile(values[name], quantiles, method="nearest")) for name in (SLOPE, NDVI)]
    scores = _rule_scores(_pairs(store, rows, *edges))
    slope, ndvi = np.unravel_index(np.argmax(scores), scores.shape)
    return SlopeNdviRule(
        _channels(store),
        slope=float(edges[0][slope]),
        ndvi=float(edges[1][ndvi]),
        scales=(float(values[SLOPE].std()) or 1.0, float(values[NDVI].std()) or 1.0),
        f1=float(scores[slope, ndvi]),
    )


def _balanced(drawn: pd.DataFrame) -> pd.DataFrame:
    """Return as many drawn pixels of either class, evenly spread over the patches."""
    count = int(drawn["label"].value_counts().min())
    parts = [drawn[drawn["label"] == kind] for kind in (0, 1)]
    return pd.concat([part.iloc[np.linspace(0, len(part) - 1, count).round().astype(int)] for part in parts])


def _pairs(store: Store, rows: np.ndarray, slopes: np.ndarray, ndvis: np.ndarray) -> np.ndarray:
    """Count all known pixels by class and by how many thresholds their slope reaches and their NDVI exceeds.

    Returns:
        int64 (2, S + 1, V + 1).
    """
    taken = tabular.positions(store, (SLOPE, NDVI))
    shape = (2, len(slopes) + 1, len(ndvis) + 1)
    counts = np.zeros(np.prod(shape), np.int64)
    for _, data in tabular.chunks(store, rows):
        known = data["label"] != IGNORE
        slope, ndvi = data["image"][..., taken][known].T
        reached = np.searchsorted(slopes, slope, side="right")
        exceeded = np.searchsorted(ndvis, ndvi, side="left")
        reached[np.isnan(slope) | np.isnan(ndvi)] = 0  # outside of every rule, as in the prediction
        cell = np.ravel_multi_index(((data["label"][known] == 1).astype(int), reached, exceeded), shape)
        counts += np.bincount(cell, minlength=counts.size)
    return counts.reshape(shape)


def _rule_scores(counts: np.ndarray) -> np.ndarray:
    """Return F1 of the rule for every pair of thresholds, (S, V)."""
    steep = counts[:, ::-1].cumsum(axis=1)[:, ::-1]  # slope reaches at least so many thresholds
    inside = steep.cumsum(axis=2)[:, 1:, :-1]  # and NDVI exceeds at most so many: (2, S, V)
    return 2 * inside[1] / np.maximum(inside.sum(axis=0) + counts[1].sum(), 1)


def _pixel_boosting(
    store: Store, rows: np.ndarray, seed: int, per_patch: int = 256, iterations: int = 100
) -> Baseline:
    drawn = tabular.pixel_table(store, rows, per_patch, seed)
    _check_classes(drawn["label"].to_numpy(), len(rows))
    model = tabular.fit_boosting(drawn, "label", seed=seed, iterations=iterations)
    return PixelBoosting(_channels(store), model)


def _check_classes(label: np.ndarray, patches: int) -> None:
    for kind, text in ((1, "landslide"), (0, "other")):
        if not (label == kind).any():
            raise DataError(
                f"The {patches} training patches have no {text} pixel: a rule and a model need pixels with "
                "and without landslides."
            )


def _channels(store: Store) -> tuple[str, ...]:
    return tuple(str(name) for name in store.metadata["coords"]["band"])


BASELINES: dict[str, Callable[..., Baseline]] = {
    "majority": _majority,
    "slope_ndvi_rule": _slope_ndvi_rule,
    "pixel_boosting": _pixel_boosting,
}
