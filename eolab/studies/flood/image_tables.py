"""Statistics of each image, for baselines and checks that need no pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.ndimage import uniform_filter

from eolab.core.progress import track
from eolab.data.sensors import dry_state
from eolab.data.store import Store
from eolab.data.tables import PERCENTILES, image_statistics

DROP_DB = 3.0
REFERENCE = 2  # first images whose median is the dry state, see dry_state
BRIGHT = 0.2  # reflectance of B02 above which ground is rarely that bright: clouds, snow
SPECKLE_PX = 3  # side of the window that speckle is averaged in
WATER_INDICES = ("MNDWI", "NDWI")
NO_STATISTIC = ("sequence", "date", "flooded", "split", "x", "y", "water", "dark", "bright")


def image_table(store: Store, progress: bool = True) -> pd.DataFrame:
    """Return a row an image with its numbers; images are read sequence by sequence.

    Args:
        store: Store of one sensor, see :func:`eolab.studies.flood.store_arrays`.
        progress: Whether to show progress.

    Returns:
        Columns sequence, date, flooded; of each channel c ``c_mean``, ``c_std`` and ``c_p5`` to ``c_p95``,
        NaN where an image has no value; ``water`` where a channel is a water index and ``dark`` of a radar
        store, the shares that baselines score by; ``bright``, the share of bright pixels, where B02 is there.
    """
    table = store.table.reset_index(drop=True)
    names, parts = list(store.metadata["coords"]["band"]), []
    sequences = table.groupby("sequence", sort=False).indices
    for rows in track(sequences.values(), "Images", total=len(sequences), unit="sequence", progress=progress):
        images = store.gather(np.asarray(rows), ["image"])["image"]  # (T, H, W, C)
        store.release()
        part = _statistics(images, names)
        index = next((name for name in WATER_INDICES if name in names), None)
        if index:
            part["water"] = _share(images[..., names.index(index)] > 0, images[..., names.index(index)])
        if store.metadata.get("sensor") == "S1":
            part["dark"] = _dark(images[..., names.index("VH" if "VH" in names else "VV")])
        if "B02" in names:
            part["bright"] = _share(images[..., names.index("B02")] > BRIGHT, images[..., names.index("B02")])
        parts.append(
            pd.concat([table.loc[rows, ["sequence", "date", "flooded"]].reset_index(drop=True), part], axis=1)
        )
    return pd.concat(parts, ignore_index=True)


def _statistics(images: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Return mean, standard deviation and percentiles of each channel of images (T, H, W, C)."""
    found = image_statistics(images).reshape(len(images), -1)
    kinds = ["mean", "std", *(f"p{percent}" for percent in PERCENTILES)]
    return pd.DataFrame(found, columns=[f"{name}_{kind}" for name in names for kind in kinds])


def statistic_columns(table: pd.DataFrame) -> list[str]:
    """Return the columns of :func:`image_table` that are statistics of channels."""
    return [str(name) for name in table if name not in NO_STATISTIC]


def features(table: pd.DataFrame) -> np.ndarray:
    """Return the statistics of each image (N, F), a missing one as the mean of the others."""
    found = table[statistic_columns(table)]
    return found.fillna(found.mean()).to_numpy(np.float64)


def _share(chosen: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the share of the pixels with a value that are chosen, of images (T, H, W)."""
    seen = np.isfinite(values)
    return (chosen & seen).sum((1, 2)) / np.maximum(seen.sum((1, 2)), 1)


def _dark(decibels: np.ndarray) -> np.ndarray:
    """Return the share of pixels that lost backscatter against the first images, of images (T, H, W)."""
    seen = np.isfinite(decibels)
    power = np.where(seen, 10 ** (decibels / 10), 0)
    window = (1, SPECKLE_PX, SPECKLE_PX)
    weight = uniform_filter(seen.astype(np.float64), window)
    mean = np.divide(
        uniform_filter(power, window), weight, out=np.full(power.shape, np.nan), where=weight > 0.1
    )
    smooth = 10 * np.log10(np.where(seen, mean, np.nan))
    return _share(smooth < dry_state(smooth, REFERENCE) - DROP_DB, smooth)
