"""Tables of patches and of pixels, gradient boosting on them, and what its features are worth.

A patch is described by the distribution of its bands, terrain and indices, a pixel by their values. The label
255 (not known) counts nowhere. Pixels are drawn by class, and ``weight`` restores the shares of the patches.

Example:
    >>> pixels = pixel_table(store, rows["train"], per_patch=64)
    >>> model = fit_boosting(pixels, "label")
    >>> permutation_importance(model, pixel_table(store, rows["validation"]), "label").head(3)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from eolab import evaluation
from eolab.core.errors import DataError, ParameterError, did_you_mean
from eolab.data.schemes import IGNORE
from eolab.data.store import Store
from eolab.studies.landslide.boosting import Boosting, fit_boosting, permutation_importance, probability
from eolab.studies.landslide.channels import GROUPS
from eolab.studies.landslide.columns import column_of, features_of, known_rows
from eolab.studies.landslide.stacking import Stacker, stack

__all__ = [
    "CHANNELS",
    "Boosting",
    "Stacker",
    "feature_distributions",
    "features_of",
    "fit_boosting",
    "patch_table",
    "permutation_importance",
    "pixel_table",
    "probability",
    "stack",
]

# Values of the pixel itself: no neighbourhood, no minimum or maximum of its patch
CHANNELS = (*GROUPS["bands"], *GROUPS["indices"])
PERCENTILES = (5, 50, 95)
CLASSES = ("elsewhere", "landslide")
AT_ONCE = 16  # patches in memory


# === Tables ===


def patch_table(store: Store, rows: Any, channels: Sequence[str] = CHANNELS) -> pd.DataFrame:
    """Describe patches by the distribution of each channel.

    Args:
        store: Patches with arrays ``image`` (H, W, C) and ``label`` (H, W): 1 landslide, 0 not, 255 not
            known.
        rows: Rows of the store.
        channels: Names of the stored channels to describe.

    Returns:
        A row a patch: id, ``<channel>_mean``, ``_std``, ``_p05``, ``_p50`` and ``_p95`` of each channel over
        all pixels (float32), landslide (1 if the patch has a landslide pixel, 0 if not, 255 if no pixel is
        known) and landslide_share (of the known pixels, NaN without any).

    Raises:
        DataError: If the store has no such channel.
    """
    rows = row_numbers(rows)
    taken = positions(store, channels)
    names = ["mean", "std", *(f"p{percent:02d}" for percent in PERCENTILES)]
    columns = [f"{channel}_{name}" for channel in channels for name in names]
    parts, found = [], []
    for _, data in chunks(store, rows):
        values = np.moveaxis(data["image"][..., taken], -1, 1)  # (n, C, H, W)
        values = np.ascontiguousarray(values).reshape(*values.shape[:2], -1)  # (n, C, H · W)
        low_to_high = np.percentile(values, PERCENTILES, axis=-1)  # (3, n, C)
        mean, deviation = values.mean(-1, dtype=np.float64), values.std(-1, dtype=np.float64)
        parts.append(np.stack([mean, deviation, *low_to_high], axis=-1).reshape(len(values), -1))  # (n, 5 C)
        found.append(_label_counts(data["label"]))
    known, hit = np.concatenate(found).T
    table = pd.DataFrame(np.concatenate(parts).astype(np.float32), columns=columns)
    table.insert(0, "id", _ids(store, rows))
    with np.errstate(invalid="ignore"):
        share = hit / known
    return table.assign(
        landslide=np.where(known == 0, IGNORE, hit > 0).astype(np.uint8), landslide_share=share
    )


def pixel_table(
    store: Store, rows: Any, per_patch: int = 64, seed: int = 0, channels: Sequence[str] = CHANNELS
) -> pd.DataFrame:
    """Draw pixels of patches, half of them landslide pixels where a patch has enough.

    The draw of a patch depends on the seed and on its row of the store alone, not on the other rows.

    Args:
        store: As in :func:`patch_table`.
        rows: Rows of the store.
        per_patch: Pixels drawn from each patch, or all known ones where it has fewer.
        seed: Of the draws.
        channels: Names of the stored channels to keep.

    Returns:
        id, row and col (place in the patch), a column a channel (float32), label (0 or 1) and weight: pixels
        of that class in the patch for each that was drawn, so that the weights of a patch sum to its known
        pixels and weighted shares are those of the patches.

    Raises:
        DataError: If the store has no such channel.
        ParameterError: If fewer than two pixels a patch are asked for.
    """
    if per_patch < 2:
        raise ParameterError(f"per_patch is {per_patch}: expected 2 or more, one for each class.")
    rows = row_numbers(rows)
    taken, ids = positions(store, channels), _ids(store, rows)
    side = store.arrays_spec["image"].shape[1]
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ("at", "pixel", "values", "label", "weight")}
    for start, data in chunks(store, rows):
        for offset, (image, label) in enumerate(zip(data["image"], data["label"], strict=True)):
            place = start + offset
            rng = np.random.default_rng((seed, int(rows[place])))
            pixel, weight = _draw(label.ravel(), per_patch, rng)
            parts["at"].append(np.full(len(pixel), place))
            parts["pixel"].append(pixel)
            parts["values"].append(image.reshape(-1, image.shape[-1])[pixel][:, taken])
            parts["label"].append(label.ravel()[pixel])
            parts["weight"].append(weight)
    joined = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    table = pd.DataFrame(joined["values"].astype(np.float32), columns=list(channels))
    table.insert(0, "id", ids[joined["at"]])
    table.insert(1, "row", (joined["pixel"] // side).astype(np.int16))
    table.insert(2, "col", (joined["pixel"] % side).astype(np.int16))
    return table.assign(label=joined["label"], weight=joined["weight"])


def positions(store: Store, channels: Sequence[str]) -> list[int]:
    """Return where channels lie in a store's images.

    Raises:
        DataError: If one is missing.
    """
    known = [str(name) for name in store.metadata.get("coords", {}).get("band", [])]
    for name in channels:
        if name not in known:
            raise DataError(
                f"The images of {store.path} have no channel {name!r}: {did_you_mean(name, known)}"
            )
    return [known.index(name) for name in channels]


def row_numbers(rows: Any) -> np.ndarray:
    """Return rows of a store, given as numbers or as a mask over all patches, as numbers.

    Raises:
        DataError: If there is none.
    """
    rows = np.asarray(rows)
    if not rows.size or (rows.dtype == bool and not rows.any()):
        raise DataError("No patch is given: expected one row of the store or more.")
    return np.flatnonzero(rows) if rows.dtype == bool else rows


def chunks(
    store: Store, rows: np.ndarray, arrays: Sequence[str] = ("image", "label")
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Yield the place of the first row and the arrays of a few rows at a time."""
    for start in range(0, len(rows), AT_ONCE):
        yield start, store.gather(rows[start : start + AT_ONCE], arrays)
    store.release()


def _ids(store: Store, rows: np.ndarray) -> np.ndarray:
    return store.table["id"].to_numpy()[rows] if "id" in store.table else rows


def _label_counts(label: np.ndarray) -> np.ndarray:
    """Return known pixels and landslide pixels of each patch, (n, 2)."""
    return np.stack([(label != IGNORE).sum((1, 2)), (label == 1).sum((1, 2))], axis=1)


def _draw(label: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels drawn without replacement, ascending, and the weight of each."""
    inside, outside = np.flatnonzero(label == 1), np.flatnonzero(label == 0)
    hits = min(len(inside), max(count // 2, count - len(outside)))
    pixels, weights = [], []
    for pool, number in ((inside, hits), (outside, min(len(outside), count - hits))):
        pixels.append(rng.choice(pool, number, replace=False))
        weights.append(np.full(number, len(pool) / max(number, 1)))
    order = np.argsort(drawn := np.concatenate(pixels))
    return drawn[order], np.concatenate(weights)[order]


# === Distributions ===


def feature_distributions(
    table: pd.DataFrame, label: str, features: Sequence[str] | None = None, weight: Any = None
) -> pd.DataFrame:
    """Compare the classes feature by feature.

    Args:
        table: Result of :func:`patch_table` or :func:`pixel_table`.
        label: Column of the class: 1 landslide, 0 not, 255 not known, which counts nowhere.
        features: Columns to compare; all features by default.
        weight: Of each row, a column or values; by default the column ``weight`` where there is one.

    Returns:
        See :func:`eolab.evaluation.distributions`; the classes are "elsewhere" and "landslide".
    """
    known, weights = known_rows(table, label, weight)
    chosen = pd.DataFrame({name: column_of(known, name) for name in features or features_of(table)})
    return evaluation.distributions(chosen, known[label].to_numpy() == 1, CLASSES, weights)
