"""Which patches become samples, which fold they belong to, and how a file becomes a row of the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eolab import tasks
from eolab.core.errors import DataError, ParameterError, check_known
from eolab.core.progress import track
from eolab.data import own_labels
from eolab.data.catalog import DataEntry
from eolab.data.layouts import landslide4sense as reader
from eolab.data.layouts.common import below
from eolab.data.splits.dealing import SPLITS
from eolab.data.store import ArraySpec, Store
from eolab.studies.landslide import channels
from eolab.studies.landslide.source import PUBLISHED, Source
from eolab.studies.protocol import Produce

Rows = dict[str, np.ndarray]

KINDS = ("contiguous", "shuffled", "official")
CLASSES = ("background", "landslide")
FOLDS = 5  # as in Le et al. (2023): each scores a fifth of the published training patches
PART = 32  # patches that are read, computed and written at once


def sample_table(
    index: pd.DataFrame,
    root: str | Path,
    block: int = 10,
    seed: int = 0,
    progress: bool = True,
    source: Source = PUBLISHED,
) -> pd.DataFrame:
    """Return a row a labelled patch, with its folds.

    Args:
        index: Result of :func:`eolab.data.layouts.landslide4sense.index`; patches without a mask are left
            out.
        root: Folder of the data set; the table names files below it.
        block: Patches with neighbouring numbers that the bootstrap draws together: they lie near each other.
        seed: Seed of the shuffled folds.
        progress: Whether to show progress while masks are read.
        source: What reads the masks.

    Returns:
        Columns id, published (train, validation, test), number, image, mask (files), landslide_pixels,
        landslide, block, fold_contiguous and fold_shuffled (1 to 5; 0 where published is not train), part.
    """
    table = index.loc[index["mask"] != "", ["published", "number", "image", "mask"]].reset_index(drop=True)
    masks = track(table["mask"], "Masks", total=len(table), unit="mask", progress=progress)
    pixels = [int((source.mask(path) == 1).sum()) for path in masks]
    for column in ("image", "mask"):
        table[column] = [below(Path(root), path) for path in table[column]]
    table.insert(0, "id", np.arange(len(table)))
    table["landslide_pixels"] = pixels
    table["landslide"] = table["landslide_pixels"] > 0
    order = table.groupby("published", sort=False).cumcount()
    table["block"] = table["published"] + "-" + (order // block).astype(str)
    train = (table["published"] == "train").to_numpy()
    table["fold_contiguous"] = _folds(np.arange(train.sum()), train)
    table["fold_shuffled"] = _folds(np.random.default_rng(seed).permutation(train.sum()), train)
    table["part"] = table["published"] + "-" + (order // PART).astype(str)
    return table


def _folds(order: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return the fold 1 to 5 of each row; the training rows are dealt to equal folds in this order."""
    folds = np.zeros(len(train), np.int8)
    for number, rows in enumerate(np.array_split(np.flatnonzero(train)[order], FOLDS), start=1):
        folds[rows] = number
    return folds


def fold_rows(
    table: pd.DataFrame, split: str = "contiguous", fold: int = 1, validation: float = 0.15, seed: int = 0
) -> Rows:
    """Return the rows for training, for every choice, and for the score.

    Args:
        table: Result of :func:`sample_table`.
        split: "contiguous": fold k is the k-th fifth of the training patches by number, and so whole regions
            where the numbers follow them; "shuffled": a random fifth, of which patches with neighbouring
            numbers were seen; "official": the published training, validation and test patches.
        fold: The fold that is scored, 1 to 5; not used for "official".
        validation: Share of the other folds that is held back for choices (epoch, threshold): whole blocks
            of neighbours for contiguous folds, single patches for shuffled ones.
        seed: Seed of the choice of validation patches.

    Returns:
        Ascending rows by "train", "validation" and "test".

    Raises:
        ParameterError: If the split or the fold is unknown, or a part would be empty.
    """
    check_known(split, KINDS, f"There are no folds {split!r}")
    if split == "official":
        rows = {name: np.flatnonzero((table["published"] == name).to_numpy()) for name in SPLITS}
    else:
        rows = _fold(table, split, fold, validation, seed)
    for name, found in rows.items():
        if not len(found):
            raise ParameterError(
                f"Folds {split!r}, fold {fold}, leave no labelled patch for {name}: choose other folds."
            )
    return rows


def _fold(table: pd.DataFrame, split: str, fold: int, validation: float, seed: int) -> Rows:
    if not 1 <= fold <= FOLDS:
        raise ParameterError(f"fold is {fold}: expected 1 to {FOLDS}.")
    column = table[f"fold_{split}"].to_numpy()
    rest = np.flatnonzero((column != fold) & (column > 0))
    units = table["block"].to_numpy(str)[rest] if split == "contiguous" else rest
    names, counts = np.unique(units, return_counts=True)
    order = np.random.default_rng((seed, fold)).permutation(len(names))
    taken = order[np.cumsum(counts[order]) - counts[order] < validation * len(rest)]
    held = np.isin(units, names[taken])
    return {"train": rest[~held], "validation": rest[held], "test": np.flatnonzero(column == fold)}


def check_landslides(
    table: pd.DataFrame, rows: Rows | None = None, size: tuple[int, ...] = PUBLISHED.size
) -> None:
    """Refuse patches that nothing can be learned of, chosen by or scored on.

    Args:
        table: Result of :func:`sample_table`.
        rows: Rows by part; by default all training patches.
        size: Height and width of a patch.

    Raises:
        DataError: If a part has no landslide at all, or nothing else.
    """
    train = np.flatnonzero((table["published"] == "train").to_numpy())
    for part, chosen in ({"train": train} if rows is None else rows).items():
        pixels = table["landslide_pixels"].to_numpy()[chosen]
        if not pixels.any() or (pixels == np.prod(size)).all():
            found = "every pixel is a landslide" if pixels.any() else "no pixel is a landslide"
            raise DataError(
                f"In the {len(chosen)} patches for {part} {found}, expected both: take more patches"
                f"{'' if rows is None else ', or another fold or split'}."
            )


def rows_of(params: Mapping[str, Any], store: Store) -> Rows:
    """Return the rows that a run of ``03_train_segmentation`` used, from its parameters and its store."""
    return fold_rows(
        store.table, params["split"], params["fold"], store.metadata["validation"], params["seed"]
    )


def split_column(table: pd.DataFrame, split: str, fold: int, validation: float, seed: int) -> pd.Series:
    """Return "train", "validation", "test" or "none" of each row of the sample table."""
    column = pd.Series("none", index=table.index, name="split")
    for name, rows in fold_rows(table, split, fold, validation, seed).items():
        column.iloc[rows] = name
    return column


def store_arrays(source: Source = PUBLISHED) -> dict[str, ArraySpec]:
    """Return the arrays of the study's store: all channels of a patch, and its mask."""
    size, names = source.size, channels.stored_channels(source.bands)
    return {
        "image": ArraySpec(("y", "x", "band"), (*size, len(names)), "float32", {"units": "1"}, "forbid"),
        "label": ArraySpec(("y", "x"), size, "uint8", {"long_name": "1 = landslide"}),
    }


def stored_images(
    images: np.ndarray,
    normalise: reader.Normalise = "none",
    source: Source = PUBLISHED,
    bands_alone: bool = False,
) -> np.ndarray:
    """Return what the store holds of patches: (N, H, W, 14) as published → (N, H, W, 29) float32.

    Indices, blur and edges are computed before the bands are scaled: an index of values below 0 means
    nothing. With `bands_alone` they are left out, which take ten times as long as a small network.
    """
    stored = (
        np.array(images, np.float32) if bands_alone else channels.compute(images, source.bands, source.units)
    )
    if normalise == "none":
        return stored
    if source.bands != reader.BANDS:
        raise ParameterError(
            f"normalise is {normalise!r}, whose constants are of the published bands: take none."
        )
    stored[..., : len(reader.BANDS)] = reader.normalised(stored[..., : len(reader.BANDS)], normalise)
    return stored


def sample_producer(
    root: str | Path, normalise: reader.Normalise = "none", source: Source = PUBLISHED
) -> Produce:
    """Return the function that reads and computes one part of the store.

    Args:
        root: Folder of the data set.
        normalise: Scaling of the bands, see :func:`eolab.data.layouts.landslide4sense.normalised`.
        source: What reads the files.
    """
    folder = Path(root)

    def produce(rows: pd.DataFrame) -> dict[str, np.ndarray]:
        images = np.stack([source.image(folder / name) for name in rows["image"]])
        masks = np.stack([source.mask(folder / name) for name in rows["mask"]])  # (n, H, W)
        return {"image": stored_images(images, normalise, source), "label": masks}

    return produce


def demo_predict(
    predictor: Callable[[Mapping[str, np.ndarray]], np.ndarray],
    chosen: tasks.Channels,
    normalise: reader.Normalise = "none",
    source: Source = PUBLISHED,
) -> Callable[[np.ndarray], np.ndarray]:
    """Return ``predict(image (H, W, 14)) -> probability (H, W)`` of a patch.

    Images on another scale than the training patches are refused even where that may be another landscape;
    see :mod:`eolab.prediction.ranges`.

    Args:
        predictor: Probabilities of images as the network takes them.
        chosen: Channels of the network.
        normalise: That of the store which the network was trained on.
        source: Bands and units of the images.
    """

    def predict(image: np.ndarray) -> np.ndarray:
        seen = chosen.assemble(stored_images(np.asarray(image, np.float32)[None], normalise, source))
        if chosen.trained:
            chosen.trained.check(seen, strict=True)
        return predictor({"image": seen})[0][..., 1]

    return predict


def store_metadata(entry: DataEntry, normalise: str, source: Source = PUBLISHED) -> dict[str, Any]:
    """Return what a store of the study says of itself."""
    return {
        "coords": {"band": list(channels.stored_channels(source.bands))},
        "dataset": entry.name,
        **entry.origin,
        "study": "landslide",
        "normalise": normalise,
        "pixel_area_m2": source.pixel_area_m2,
        "pixel_m": source.pixel_area_m2**0.5,
        **({"class_scheme": asdict(own_labels.scheme_of(entry))} if entry.classes else {}),
    }


def labels(store: Store, rows: np.ndarray) -> np.ndarray:
    """Return the masks of some rows, uint8 (N, H, W): 0 background, 1 landslide, 255 not known."""
    return store.gather(rows, ["label"])["label"]
