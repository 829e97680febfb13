"""Baselines of the flood study, one image at a time: what a network that reads whole series must beat.

============ ======================================================================================
majority     the share of flooded images in training
water_index  share of the pixels whose water index is above 0, in the optical image
dark_radar   share of the pixels that lost more than 3 dB against the scene's usual backscatter
statistics   mean, spread and percentiles of each channel → logistic regression
============ ======================================================================================

Each gives a score from 0 to 1 an image; a threshold is chosen on validation images. The scene's usual
backscatter is the median over its whole series: no label is looked at, and most days are dry.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.ndimage import uniform_filter
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from eolab.errors import ParameterError, did_you_mean
from eolab.progress import track
from eolab.store import Store

NAMES = ("majority", "water_index", "dark_radar", "statistics")
DROP_DB = 3.0
SPECKLE_PX = 3  # side of the window that speckle is averaged in
PERCENTILES = (5, 25, 50, 75, 95)
WATER_INDICES = ("MNDWI", "NDWI")


def image_table(store: Store, progress: bool = True) -> pd.DataFrame:
    """Return a row an image with its numbers; images are read scene by scene.

    Args:
        store: Store of one sensor, see :func:`eolab.flood.store_arrays`.
        progress: Whether to show progress.

    Returns:
        Columns scene, date, flooded; of each channel c ``c_mean``, ``c_std`` and ``c_p5`` to ``c_p95``, NaN
        where an image has no value; ``water`` where a channel is a water index, and ``dark`` of a radar
        store: the shares that the baselines of these names score by.
    """
    table = store.table.reset_index(drop=True)
    names, parts = list(store.metadata["coords"]["band"]), []
    scenes = table.groupby("scene", sort=False).indices
    for rows in track(scenes.values(), "Images", total=len(scenes), unit="scene", progress=progress):
        images = store.gather(np.asarray(rows), ["image"])["image"]  # (T, H, W, C)
        part = _statistics(images, names)
        index = next((name for name in WATER_INDICES if name in names), None)
        if index:
            part["water"] = _share(images[..., names.index(index)] > 0, images[..., names.index(index)])
        if store.metadata.get("sensor") == "S1":
            part["dark"] = _dark(images[..., -1])
        parts.append(
            pd.concat([table.loc[rows, ["scene", "date", "flooded"]].reset_index(drop=True), part], axis=1)
        )
    return pd.concat(parts, ignore_index=True)


def _statistics(images: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Return mean, standard deviation and percentiles of each channel of images (T, H, W, C)."""
    columns: dict[str, np.ndarray] = {}
    for name, values in zip(names, np.moveaxis(images, -1, 0), strict=True):
        flat = values.reshape(len(values), -1)
        columns |= {f"{name}_mean": np.nanmean(flat, axis=1), f"{name}_std": np.nanstd(flat, axis=1)}
        for percent, found in zip(PERCENTILES, np.nanpercentile(flat, PERCENTILES, axis=1), strict=True):
            columns[f"{name}_p{percent}"] = found
    return pd.DataFrame(columns)


def _share(chosen: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the share of the pixels with a value that are chosen, of images (T, H, W)."""
    seen = np.isfinite(values)
    return (chosen & seen).sum((1, 2)) / np.maximum(seen.sum((1, 2)), 1)


def _dark(decibels: np.ndarray) -> np.ndarray:
    """Return the share of pixels that lost backscatter against the scene's median, of images (T, H, W)."""
    seen = np.isfinite(decibels)
    power = np.where(seen, 10 ** (decibels / 10), 0)
    window = (1, SPECKLE_PX, SPECKLE_PX)
    weight = uniform_filter(seen.astype(np.float64), window)
    mean = np.divide(
        uniform_filter(power, window), weight, out=np.full(power.shape, np.nan), where=weight > 0.1
    )
    smooth = 10 * np.log10(np.where(seen, mean, np.nan))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a pixel without a value on any day
        usual = np.nanmedian(smooth, axis=0)
    return _share(smooth < usual - DROP_DB, smooth)


@dataclass(frozen=True)
class Baseline:
    """A fitted baseline.

    Attributes:
        name: One of :data:`NAMES`.
        score: From rows of :func:`image_table` to a score from 0 to 1 each.
    """

    name: str
    score: Callable[[pd.DataFrame], np.ndarray]


def fit(name: str, train: pd.DataFrame, seed: int = 0) -> Baseline:
    """Fit a baseline on images to train on.

    Args:
        name: One of :data:`NAMES`.
        train: Rows of :func:`image_table`.
        seed: Of the logistic regression.

    Raises:
        ParameterError: If the name is unknown, or the table lacks what the baseline scores by.
    """
    if name not in NAMES:
        raise ParameterError(f"There is no baseline {name!r}: {did_you_mean(name, NAMES)}")
    if name == "majority":
        share = float(train["flooded"].mean())
        return Baseline(name, lambda rows: np.full(len(rows), share))
    if name == "statistics":
        return Baseline(name, _Statistics(train, seed))
    column, needed = {"water_index": ("water", "a water index"), "dark_radar": ("dark", "Sentinel-1")}[name]
    if column not in train:
        raise ParameterError(f"Baseline {name!r} needs a store with {needed}: choose channels that have it.")
    return Baseline(name, lambda rows: rows[column].to_numpy(np.float64))


class _Statistics:
    """Logistic regression of the flood on an image's statistics; a missing one counts as the mean."""

    def __init__(self, train: pd.DataFrame, seed: int) -> None:
        self.columns = [c for c in train if c not in ("scene", "date", "flooded", "water", "dark")]
        self.means = train[self.columns].mean()
        self.model: Any = make_pipeline(
            StandardScaler(), LogisticRegression(max_iter=2000, class_weight="balanced", random_state=seed)
        )
        self.model.fit(self._table(train), train["flooded"].to_numpy(bool))

    def __call__(self, rows: pd.DataFrame) -> np.ndarray:
        return np.asarray(self.model.predict_proba(self._table(rows))[:, 1])

    def _table(self, rows: pd.DataFrame) -> np.ndarray:
        return rows[self.columns].fillna(self.means).to_numpy(np.float64)
