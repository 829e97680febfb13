"""Tables of patches and of pixels: what scikit-learn learns from, read from a store in bounded memory.

A patch is described by the distribution of its channels, a pixel by their values. The label 255 (NaN for
values) is not known and counts nowhere. Pixels are drawn by class, and ``weight`` restores the shares of the
patches.

Example:
    >>> pixels = pixel_table(store, rows["train"], per_patch=64)
    >>> pixels.columns.tolist()[:4]
    ['id', 'row', 'col', 'B02']
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from eolab.core.errors import DataError, ParameterError, check_all
from eolab.data.schemes import IGNORE
from eolab.data.splits.dealing import column_of
from eolab.data.store import Store
from eolab.data.store.reading import row_numbers

PERCENTILES = (5, 25, 50, 75, 95)
FACTS = ("id", "row", "col", "label", "weight", "share")  # columns that are no features
AT_ONCE = 16  # patches in memory


def patch_table(store: Store, rows: Any, channels: Sequence[str] | None = None) -> pd.DataFrame:
    """Describe patches by the distribution of each channel.

    Args:
        store: Patches with arrays ``image`` (H, W, C) and ``label`` (H, W): 1 for the class that is looked
            for, 0 for others, 255 not known.
        rows: Rows of the store.
        channels: Names of the stored channels to describe; None for all.

    Returns:
        A row a patch: id, ``<channel>_mean``, ``_std``, ``_p05``, ``_p50`` and ``_p95`` of each channel over
        all pixels (float32), label (1 if the patch has a pixel of the class, 0 if not, 255 if no pixel is
        known) and share (of the class among the known pixels, NaN without any).

    Raises:
        DataError: If the store has no such channel.
    """
    rows, chosen = some_rows(rows), list(store.channel_names() if channels is None else channels)
    taken, percentiles = positions(store, chosen), (5, 50, 95)
    names = ["mean", "std", *(f"p{percent:02d}" for percent in percentiles)]
    parts, found = [], []
    for _, data in store.batches(rows, ["image", "label"], AT_ONCE):
        parts.append(image_statistics(data["image"][..., taken], percentiles))
        found.append([(data["label"] != IGNORE).sum((1, 2)), (data["label"] == 1).sum((1, 2))])
    known, hit = np.concatenate(found, axis=1)
    columns = [f"{channel}_{name}" for channel in chosen for name in names]
    table = pd.DataFrame(np.concatenate(parts).reshape(len(rows), -1), columns=columns)
    table.insert(0, "id", _ids(store, rows))
    with np.errstate(invalid="ignore"):
        share = hit / known
    return table.assign(label=np.where(known == 0, IGNORE, hit > 0).astype(np.uint8), share=share)


def pixel_table(
    store: Store, rows: Any, per_patch: int = 64, seed: int = 0, channels: Sequence[str] | None = None
) -> pd.DataFrame:
    """Draw pixels of patches, as many of each class where a patch has enough.

    The draw of a patch depends on the seed and on its row of the store alone, not on the other rows.

    Args:
        store: Patches with arrays ``image`` (H, W, C) and ``label`` (H, W): class indices, 255 not known; or
            values, NaN not known.
        rows: Rows of the store.
        per_patch: Pixels drawn from each patch, or all known ones where it has fewer.
        seed: Seed of the draws.
        channels: Names of the stored channels to keep; None for all.

    Returns:
        id, row and col (place in the patch), a column a channel (float32), label and weight: pixels of that
        class in the patch for each that was drawn, so that the weights of a patch sum to its known pixels and
        weighted shares are those of the patches.

    Raises:
        DataError: If the store has no such channel.
        ParameterError: If fewer than two pixels a patch are asked for.
    """
    if per_patch < 2:
        raise ParameterError(f"per_patch is {per_patch}: expected 2 or more, one for each class.")
    rows, names = some_rows(rows), list(store.channel_names() if channels is None else channels)
    taken, ids = positions(store, names), _ids(store, rows)
    width = store.arrays_spec["label"].shape[1]
    arrays = ["image", "label"] if names else ["label"]
    parts = []
    for part, data in store.batches(rows, arrays, AT_ONCE):
        images = data["image"] if names else data["label"][..., None]
        labels = data["label"].reshape(len(images), -1)  # (n, P)
        for place, label, image in zip(range(part.start, part.stop), labels, images, strict=True):
            pixel, weight = draw(label, per_patch, np.random.default_rng((seed, int(rows[place]))))
            values = image.reshape(-1, image.shape[-1])[pixel][:, taken]
            parts.append((np.full(len(pixel), place), pixel, values, label[pixel], weight))
    at, pixel, values, label, weight = (np.concatenate(one) for one in zip(*parts, strict=True))
    table = pd.DataFrame(values.astype(np.float32), columns=names)
    table.insert(0, "id", ids[at])
    table.insert(1, "row", (pixel // width).astype(np.int16))
    table.insert(2, "col", (pixel % width).astype(np.int16))
    return table.assign(label=label, weight=weight)


def draw(label: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw known pixels without replacement, as many of each class as there are.

    Args:
        label: Class indices (P,), 255 not known; or values (P,), NaN not known, which are one class.
        count: Pixels drawn, or all known ones where there are fewer.
        rng: Generator of the draw.

    Returns:
        Pixels, ascending, and the weight of each: pixels of its class for each that was drawn.
    """
    if label.dtype.kind == "f":
        pools = [np.flatnonzero(np.isfinite(label))]
    else:
        classes = np.unique(label[label != IGNORE])[::-1]
        pools = [np.flatnonzero(label == kind) for kind in classes]
    left, numbers = count, dict.fromkeys(range(len(pools)), 0)
    for done, place in enumerate(sorted(numbers, key=lambda place: len(pools[place]))):
        numbers[place] = min(len(pools[place]), left // (len(pools) - done))  # the rarest class first
        left -= numbers[place]
    drawn = [rng.choice(pool, numbers[place], replace=False) for place, pool in enumerate(pools)]
    weights = [np.full(n, len(pools[place]) / max(n, 1)) for place, n in numbers.items()]
    pixels = np.concatenate([np.empty(0, np.int64), *drawn])
    order = np.argsort(pixels)
    return pixels[order], np.concatenate([np.empty(0), *weights])[order]


def image_statistics(
    images: np.ndarray, percentiles: Sequence[int] = PERCENTILES, method: Any = "linear"
) -> np.ndarray:
    """Return mean, standard deviation and percentiles of each channel of images.

    Args:
        images: (N, H, W, C); NaN counts nowhere.
        percentiles: Percentiles, in percent.
        method: How percentiles between two values are taken, see :func:`numpy.percentile`; "lower" is several
            times as fast on whole numbers.

    Returns:
        float32 (N, C, 2 + percentiles), NaN where a channel of an image has no value.
    """
    flat = np.ascontiguousarray(np.moveaxis(images, -1, 1)).reshape(len(images), images.shape[-1], -1)
    if flat.dtype.kind == "f" and np.isnan(flat).any():
        empty = np.isnan(flat).all(-1, keepdims=True)  # (N, C, 1)
        flat = np.where(empty, np.float32(0), flat)
        values = [np.nanmean(flat, -1, np.float64), np.nanstd(flat, -1, np.float64)]
        values += list(np.nanpercentile(flat, percentiles, axis=-1, method=method))
        return np.where(empty, np.nan, np.stack(values, axis=-1)).astype(np.float32)
    values = [flat.mean(-1, dtype=np.float64), flat.std(-1, dtype=np.float64)]
    values += list(np.percentile(flat, percentiles, axis=-1, method=method))
    return np.stack(values, axis=-1).astype(np.float32)  # (N, C, S)


# === Rows and channels ===


def features_of(table: pd.DataFrame) -> list[str]:
    """Return the feature columns of a table of patches or pixels."""
    return [str(column) for column in table if column not in FACTS]


def known_rows(table: pd.DataFrame, label: str, weight: Any) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the rows whose label is known, and their weights.

    Args:
        table: The table.
        label: Column of the class, 255 = not known.
        weight: Weight of each row, a column or values; None takes the column ``weight``, or 1 where there is
            none.

    Raises:
        DataError: If there is not one weight for each row.
        ParameterError: If there is no such column.
    """
    if weight is None and "weight" in table:
        weight = "weight"
    if isinstance(weight, str):
        weight = column_of(table, weight)
    weights = np.ones(len(table)) if weight is None else np.asarray(weight, float)
    if weights.shape != (len(table),):
        raise DataError(
            f"The weights have shape {weights.shape}: expected one for each of {len(table)} rows."
        )
    known = column_of(table, label).to_numpy() != IGNORE
    return table[known], weights[known]


def positions(store: Store, channels: Sequence[str]) -> list[int]:
    """Return where channels lie in a store's images.

    Raises:
        DataError: If one is missing.
    """
    known = store.channel_names()
    check_all(channels, known, f"The images of {store.path} have no channel", DataError)
    return [known.index(name) for name in channels]


def some_rows(rows: Any) -> np.ndarray:
    """Return rows of a store, given as numbers or as a mask over all samples, as numbers.

    Raises:
        DataError: If there is none.
    """
    numbers = row_numbers(rows)
    if not len(numbers):
        raise DataError("No sample is given: expected one row of the store or more.")
    return numbers


def evenly(count: int, most: int) -> np.ndarray:
    """Return evenly spaced positions of `count`, at most `most`, the first and the last included."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def _ids(store: Store, rows: np.ndarray) -> np.ndarray:
    return store.table["id"].to_numpy()[rows] if "id" in store.table else rows


def channel_table(samples: Store) -> pd.DataFrame:
    """Return a row a channel of a store: mean, std, min, max, and the share of the crops' pixels without it.

    Pixels outside of crops, where all channels are missing or zero, are left out.
    """
    names = samples.channel_names("image")
    sums, squares, counts = (np.zeros(len(names)) for _ in range(3))
    low, high, inside = np.full(len(names), np.inf), np.full(len(names), -np.inf), 0
    for _, data in samples.batches(np.arange(len(samples)), ["image"]):
        image = np.asarray(data["image"], np.float64).reshape(-1, len(names))
        pixels = image[(np.isfinite(image) & (image != 0)).any(axis=1)]
        inside += len(pixels)
        known = np.isfinite(pixels)
        filled = np.where(known, pixels, 0)
        sums, squares, counts = sums + filled.sum(0), squares + (filled**2).sum(0), counts + known.sum(0)
        low = np.minimum(low, np.min(pixels, axis=0, where=known, initial=np.inf))
        high = np.maximum(high, np.max(pixels, axis=0, where=known, initial=-np.inf))
    mean = sums / np.maximum(counts, 1)
    spread = np.sqrt(np.maximum(squares / np.maximum(counts, 1) - mean**2, 0))
    columns = {"mean": mean, "std": spread, "min": low, "max": high, "missing": 1 - counts / max(inside, 1)}
    return pd.DataFrame({"channel": names, **columns})
