"""What the data set holds: facts and their published values, patches to show, pixels, values by number."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from eolab import plots
from eolab.data import tables
from eolab.data.layouts.common import below
from eolab.data.layouts.patches import colour_bands
from eolab.data.store import Store
from eolab.studies.landslide import channels
from eolab.studies.landslide.report import PUBLISHED
from eolab.studies.landslide.source import PUBLISHED as PUBLISHED_PATCHES
from eolab.studies.landslide.source import Source

EIGHT = np.ones((3, 3), bool)  # pixels that touch at a corner belong together
ALONG = ("B04", "B08", "B11", "dem")


def usable(index: pd.DataFrame, files: pd.DataFrame, root: str | Path) -> pd.DataFrame:
    """Return the patches of an index whose image and mask both passed the check.

    Args:
        index: Result of :func:`eolab.data.layouts.landslide4sense.index`.
        files: Table of the check: file, status, reason.
        root: Folder of the data set, which the check names files from.
    """
    bad = set(files.loc[files["status"] != "ok", "file"])
    names = index[["image", "mask"]].map(lambda path: path and below(Path(root), path))
    return index[~names.isin(bad).any(axis=1)].reset_index(drop=True)


def facts(table: pd.DataFrame, source: Source = PUBLISHED_PATCHES) -> pd.DataFrame:
    """Return the training patches in numbers: fact, here, published.

    Args:
        table: Result of :func:`eolab.studies.landslide.sample_table`.
        source: Where the patches come from.
    """
    train = table[table["published"] == "train"]
    pixels = train["landslide_pixels"]
    share = 100 * pixels / np.prod(source.size)
    here = [len(train), 100 * train["landslide"].mean(), share.mean(), share.max(), pixels[pixels > 0].min()]
    published = PUBLISHED["facts"]
    return pd.DataFrame({"fact": list(published), "here": np.round(here, 2), "published": published.values()})


def component_sizes(table: pd.DataFrame, root: str | Path, source: Source = PUBLISHED_PATCHES) -> np.ndarray:
    """Return the size in pixels of each connected landslide (eight neighbours) of the training patches."""
    hit = table[(table["published"] == "train") & table["landslide"]]
    areas = [ndimage.label(source.mask(mask) == 1, EIGHT)[0] for _, mask in _files(hit, root)]
    return np.concatenate([np.zeros(0, int), *(np.bincount(labels.ravel())[1:] for labels in areas)])


def describe_sizes(sizes: np.ndarray) -> str:
    """Say how large landslides are: the median, and the share of the area that the largest tenth holds."""
    if not len(sizes):
        return "No training patch has a landslide."
    largest = np.sort(sizes)[-max(1, len(sizes) // 10) :]
    return (
        f"Half of the {len(sizes):,} have at most {np.median(sizes):.0f} pixels, and the largest tenth holds "
        f"{largest.sum() / sizes.sum():.0%} of the area."
    )


def read_patches(
    table: pd.DataFrame, root: str | Path, source: Source = PUBLISHED_PATCHES
) -> tuple[np.ndarray, np.ndarray]:
    """Return images float32 (N, H, W, 14) and masks uint8 (N, H, W) of some rows of the sample table."""
    files = _files(table, root)
    images = np.empty((len(files), *source.size, len(source.bands)), np.float32)
    masks = np.empty(images.shape[:3], np.uint8)
    for place, (image, mask) in enumerate(files):
        images[place], masks[place] = source.image(image), source.mask(mask)
    return images, masks


def draw_pixels(
    table: pd.DataFrame,
    root: str | Path,
    per_patch: int = 200,
    seed: int = 0,
    source: Source = PUBLISHED_PATCHES,
) -> pd.DataFrame:
    """Draw pixels, half of them landslides where a patch has enough.

    Returns:
        A column a band, label (0 or 1), and weight, which restores the shares of the patches.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for image_file, mask_file in _files(table, root):
        image, mask = source.image(image_file), source.mask(mask_file)
        pixels, weight = tables.draw(mask.ravel(), per_patch, rng)
        part = pd.DataFrame(image.reshape(-1, image.shape[-1])[pixels], columns=list(source.bands))
        parts.append(part.assign(label=mask.ravel()[pixels], weight=weight))
    return pd.concat(parts, ignore_index=True)


def along_numbers(
    table: pd.DataFrame, root: str | Path, every: int = 1, source: Source = PUBLISHED_PATCHES
) -> pd.DataFrame:
    """Return the mean of some bands of every n-th patch: number, fold (contiguous), a column a band."""
    some = table.iloc[::every]
    means = [source.image(image).mean((0, 1)) for image, _ in _files(some, root)]  # (14,) each
    bands = pd.DataFrame(np.stack(means).astype(float), columns=list(source.bands))
    known = [band for band in ALONG if band in bands]
    bands = bands[known or list(bands)[: len(ALONG)]]
    facts = {"number": some["number"].to_numpy(), "fold": some["fold_contiguous"].to_numpy()}
    return pd.DataFrame(facts).join(bands)


def example_patches(truth: np.ndarray, count: int = 5) -> np.ndarray:
    """Return positions of patches to show: from the largest landslide area to the smallest, then one without.

    Args:
        truth: (N, H, W) masks.
        count: Number of patches.
    """
    pixels = (truth == 1).sum((1, 2))
    order = np.argsort(-pixels, kind="stable")
    positive, negative = order[pixels[order] > 0], order[pixels[order] == 0]
    wanted = min(len(positive), max(1, count - (len(negative) > 0)))
    spread = np.linspace(0, max(len(positive) * 0.9 - 1, 0), wanted).round().astype(int)
    return np.concatenate([positive[spread], negative[: count - wanted]]).astype(int)


def augmented(
    store: Store, rows: np.ndarray, augment: Callable[..., Any] | None, batch_size: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return bands (2 n, H, W, 14) and masks (2 n, H, W) of a batch: as stored, then as augmented."""
    chosen = rows[tables.evenly(len(rows), batch_size)]
    data = store.gather(chosen, ["image", "label"])
    image, label = data["image"][..., : len(bands_of(store))], data["label"]
    if augment is None:
        return image, label
    changed, mask = augment({"image": image}, label, np.random.default_rng(seed))
    return np.concatenate([image, changed["image"]]), np.concatenate([label, mask])


def bands_of(store: Store) -> tuple[str, ...]:
    """Return the bands of a store of the study, without the channels that are made of them."""
    return channels.bands_of(store.channel_names())


def colours(images: np.ndarray, store: Store) -> np.ndarray:
    """Return red, green and blue (..., 3) of images (..., C) of a store, or their first bands."""
    bands = bands_of(store)
    return plots.true_colour(images, bands, colour_bands(bands))


def channel_table(stored: Sequence[str] = channels.STORED) -> pd.DataFrame:
    """Return the channel groups of a store with some channels: group, channels, number."""
    rows = [(name, ", ".join(found), len(found)) for name, found in channels.groups(stored).items()]
    return pd.DataFrame(rows, columns=["group", "channels", "number"])


def patch_features(store: Store) -> np.ndarray:
    """Return mean and standard deviation of the 14 bands of each patch, float32 (N, 28)."""
    parts = store.batches(names=["image"], size=tables.AT_ONCE)
    found = [tables.image_statistics(data["image"][..., : len(bands_of(store))], ()) for _, data in parts]
    return np.concatenate(found).reshape(len(store), -1)


def _files(table: pd.DataFrame, root: str | Path) -> list[tuple[Path, Path]]:
    """Return image and mask of each row of the sample table."""
    return [(Path(root) / i, Path(root) / m) for i, m in zip(table["image"], table["mask"], strict=True)]
