"""Patches of the image series, cut on a grid in each block, for networks that see what is around a pixel.

They follow a split by blocks of the pixel samples: a patch lies in one block, is in the part of its samples,
and keeps the distance that the samples keep.
"""

import contextlib
import zlib
from collections.abc import Sequence
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import pandas as pd
import xarray as xr
from scipy.spatial import cKDTree

from eolab.core.errors import DataError, check_known
from eolab.data.ground import pixel_size_m, positions_m
from eolab.data.preprocess import Recipe
from eolab.data.schemes import IGNORE
from eolab.data.splits import SPLITS
from eolab.data.splits.blocks import block_cells
from eolab.data.store import ArraySpec, Store, fingerprint_array, write_store
from eolab.studies.landcover.samples import connected_groups, window_reader
from eolab.studies.landcover.series import in_year
from eolab.studies.protocol import Produce

SIZES = (32, 24, 16, 12, 8, 6)  # sides of patches in pixels that are tried, the largest first
ENOUGH = 12  # patches of each part
SMALL: dict[str, dict[str, Any]] = {  # options of networks that learn from a hundred patches in a minute
    "utae_mask": {"width_multiplier": 0.25},
    "tsvit": {"units": 32, "temporal_layers": 2, "spatial_layers": 2, "expansion": 2},
    "convlstm_mask": {"filters": 16, "bidirectional": False},
    "unet_composites": {"levels": 3, "width_multiplier": 0.5},
}
BY_BLOCKS = ("split_buffered", "split_block")
AT_ONCE = 512  # side of the windows that are read at once, in pixels


def patch_table(
    series: xr.Dataset, samples: Store, column: str, size: int = 24, years: Sequence[int] = ()
) -> pd.DataFrame:
    """Return the patches of a scene that lie in one part of a split of its pixel samples.

    Patches for training and validation that are nearer to a patch of another part than their samples are to
    samples of that part are left out.

    Args:
        series: Result of :func:`eolab.studies.landcover.series.open_series`.
        samples: Store of the pixel samples, with ``row``, ``col``, ``x``, ``y``, ``block`` and the split in
            its table and ``block_m`` in its metadata.
        column: The split by blocks.
        size: Side of a patch in pixels.
        years: Years, as for :func:`eolab.studies.landcover.samples.each_year`; the first of the samples
            where empty.

    Returns:
        A row a patch and year, by part of the store: id, patch (the same in every year), year, row and col of
        its first pixel, y and x of its centre in metres, block, split and part.

    Raises:
        DataError: If a part of the split has no patch.
    """
    table, width = samples.table.drop_duplicates(["row", "col"]), series.sizes["x"]
    table = table.assign(split=table[column].astype(str).replace("prior", "train"))
    corner, block_m = table[["y", "x"]].to_numpy(float).min(axis=0), float(samples.metadata["block_m"])

    def places(row: np.ndarray, col: np.ndarray) -> np.ndarray:
        x, y = positions_m(series["x"].to_numpy()[col], series["y"].to_numpy()[row], series.rio.crs)
        return np.stack([y, x], axis=1)

    cells = partial(block_cells, corner=corner, block_m=block_m)
    middle = [series.sizes[axis] // 2 for axis in ("y", "x")]
    down, across = np.arange(series.sizes["y"]), np.arange(width)
    rows = _starts(cells(places(down, np.full(len(down), middle[1])))[:, 0], size)
    cols = _starts(cells(places(np.full(width, middle[0]), across))[:, 1], size)
    if not (len(rows) and len(cols)):
        raise _none(size, f"a block of {block_m:,.0f} m")
    row, col = (one.ravel() for one in np.meshgrid(rows, cols, indexing="ij"))
    ends = [(row + down, col + right) for down in (0, size - 1) for right in (0, size - 1)]
    corners = [places(*end) for end in ends]
    inside = np.all([cells(one) == cells(corners[0]) for one in corners], axis=(0, 2))
    per_window = max(1, AT_ONCE // size) * size
    found = pd.DataFrame(cells(corners[0]), columns=["i", "j"]).assign(
        patch=row * width + col,
        row=row.astype(np.int32),
        col=col.astype(np.int32),
        y=np.mean(corners, axis=0)[:, 0],
        x=np.mean(corners, axis=0)[:, 1],
        part=row // per_window * -(-width // per_window) + col // per_window,
    )
    blocks = pd.DataFrame(cells(table[["y", "x"]].to_numpy(float)), columns=["i", "j"])
    blocks = blocks.assign(block=table["block"].to_numpy(), split=table["split"].to_numpy())
    blocks = blocks[blocks["split"].isin(SPLITS)].drop_duplicates(["i", "j"])  # a block is in one part
    found = found[inside].merge(blocks, on=["i", "j"]).drop(columns=["i", "j"])
    rim = (size - 1) * max(pixel_size_m(series.odc.geobox))
    for one, other in (("validation", "test"), ("train", "test"), ("train", "validation")):
        kept = _distance(table, one, other, 2).min(initial=np.inf)
        near = _distance(found, one, other, np.inf) - rim < kept - 0.5
        found = found.drop(found.index[found["split"] == one][near])
    for part in SPLITS:
        if not (found["split"] == part).any():
            raise _none(size, f"{part} blocks at the distance that samples of {column} keep")
    found = found.sort_values(["part", "row", "col"], ignore_index=True)
    every = years or [int(samples.table["year"].min())]
    joined = [
        found.assign(year=np.int16(year), part=found["part"] + number * (found["part"].max() + 1))
        for number, year in enumerate(every)
    ]
    found = pd.concat(joined, ignore_index=True)
    found.insert(0, "id", np.arange(len(found)))
    return found


def _none(size: int, ground: str) -> DataError:
    """Return the error that there is no patch in some ground."""
    return DataError(
        f"No patch of {size} × {size} pixels lies in {ground}: take smaller patches, or larger blocks in "
        "02_preprocess."
    )


def _starts(cells: np.ndarray, size: int) -> np.ndarray:
    """Return the first pixels of patches along an axis, side by side in each run of pixels of one cell."""
    edges = [0, *(np.flatnonzero(np.diff(cells)) + 1), len(cells)]
    return np.concatenate([np.arange(first, end - size + 1, size) for first, end in pairwise(edges)])


def _distance(table: pd.DataFrame, one: str, other: str, norm: float) -> np.ndarray:
    """Return the distance of each sample of one part to the nearest of another part, in metres."""
    places, others = (table.loc[table["split"] == part, ["x", "y"]].to_numpy(float) for part in (one, other))
    return cKDTree(others).query(places, p=norm)[0] if len(others) else np.full(len(places), np.inf)


def default_size(series: xr.Dataset, samples: Store, column: str) -> int:
    """Return the largest of some sides of patches, in pixels, that fits into the blocks of a split.

    A side fits if each part has a dozen patches, and all together two thirds of the ground that the smallest
    ones have.

    Args:
        series: Result of ``open_series``.
        samples: Store of the pixel samples.
        column: The split by blocks.
    """
    found = {}
    for size in SIZES:
        with contextlib.suppress(DataError):
            found[size] = patch_table(series, samples, column, size)["split"].value_counts()
    most = max((count.sum() * size**2 for size, count in found.items()), default=0)
    fitting = [size for size, n in found.items() if n.min() >= ENOUGH and n.sum() * size**2 >= 2 / 3 * most]
    return next(iter([*fitting, *found, SIZES[-1]]))


def patch_labels(series: xr.Dataset, table: pd.DataFrame, column: str) -> dict[str, np.ndarray]:
    """Return the labels of the patches of each part, class indices (y, x), 255 = not known.

    Patches for training and validation have labels in polygons of the old map that samples of their part lie
    in, so that no polygon is on two sides where none is among the samples; test patches have all labels.

    Args:
        series: Result of ``open_series``.
        table: Table of the pixel samples.
        column: The split.
    """
    label, groups = np.asarray(series["label"]), connected_groups(series)
    own = groups[table["row"], table["col"]]
    found = {"test": label}
    for part, names in (("train", ("train", "prior")), ("validation", ("validation",))):
        inside = np.isin(groups, own[table[column].isin(names).to_numpy()])
        found[part] = np.where(inside, label, IGNORE).astype(np.uint8)
    return found


def patch_arrays(series: xr.Dataset, prepared: xr.Dataset, size: int) -> dict[str, ArraySpec]:
    """Return the arrays of a store of patches: what :func:`patch_producer` yields for one patch.

    Args:
        series: Result of ``open_series``.
        prepared: ``recipe.apply`` of one year.
        size: Side of a patch in pixels.
    """
    dims, shape, bands = ("time", "y", "x"), (prepared.sizes["time"], size, size), prepared.sizes["band"]
    units = {"units": prepared["image"].attrs.get("units", "")}
    found = {
        "image": ArraySpec((*dims, "band"), (*shape, bands), "float32", units, nan="allow"),  # in indices
        "valid": ArraySpec(dims, shape, "bool", {"long_name": "observed"}),
        "day": ArraySpec(dims[:1], shape[:1], "float32", {"units": "days since 1 January"}),
    }
    for name, title in (("label", "labelled class"), ("truth", "true class")):
        if name in series:
            found[name] = ArraySpec(dims[1:], shape[1:], "uint8", {"long_name": title})
    return found


def patch_producer(series: xr.Dataset, recipe: Recipe, size: int, labels: dict[str, np.ndarray]) -> Produce:
    """Return the function that produces the patches of one window of the scene in one year.

    Args:
        series: Result of ``open_series``.
        recipe: Preprocessing of the window in a year.
        size: Side of a patch in pixels.
        labels: Result of :func:`patch_labels`.
    """
    reader = cache(lambda year: window_reader(in_year(series, year), recipe))

    @cache
    def truth(year: int) -> np.ndarray:
        own = in_year(series, year)
        return np.asarray(own["truth"]) if "truth" in own else np.full_like(labels["test"], IGNORE)

    def produce(rows: pd.DataFrame) -> dict[str, np.ndarray]:
        year = int(rows["year"].iloc[0])
        top, left = rows[["row", "col"]].min()
        height, width = rows[["row", "col"]].max() - (top, left) + size
        window = reader(year)(int(top), int(left), int(height), int(width))
        found = []
        for row, col, part in rows[["row", "col", "split"]].itertuples(index=False):
            inside, place = (
                np.s_[y : y + size, x : x + size] for y, x in ((row - top, col - left), (row, col))
            )
            one = {name: np.moveaxis(window[name][inside], 2, 0) for name in ("image", "valid")}
            one |= {"day": window["day"][0, 0], "label": labels[part][place]}
            found.append(one | ({"truth": truth(year)[place]} if "truth" in series else {}))
        return {name: np.stack([one[name] for one in found]) for name in found[0]}

    return produce


def write_patches(
    folder: str | Path,
    series: xr.Dataset,
    samples: Store,
    column: str,
    size: int = 0,
    years: Sequence[int] = (),
) -> Store:
    """Write the patches of a scene, prepared by the recipe of its pixel samples; an interrupted run resumes.

    Args:
        folder: Where the store goes.
        series: Result of ``open_series``.
        samples: Store of the pixel samples.
        column: The split by blocks.
        size: Side of a patch in pixels; 0 for that of :func:`default_size`.
        years: Years of the patches, the first of the samples where empty.

    Raises:
        DataError: If a part of the split has no patch.
        ParameterError: If the split is not one by blocks.
    """
    check_known(column, BY_BLOCKS, f"Patches follow no {column}, for a patch lies in one block")
    size = size or default_size(series, samples, column)
    table = patch_table(series, samples, column, size, years)
    labels = patch_labels(series, samples.table, column)
    recipe = Recipe.from_dict(samples.metadata["recipe"])
    prepared = recipe.apply(in_year(series, int(table["year"].iloc[0])))
    return write_store(
        folder,
        table,
        patch_arrays(series, prepared, size),
        "part",
        patch_producer(series, recipe, size, labels),
        fingerprint=patch_fingerprint(samples, column, size, labels),
        metadata={**samples.metadata, "coords": samples.coords},
    )


def patch_fingerprint(
    samples: Store, column: str, size: int, labels: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Return what a store of patches depends on: the pixel samples and their split, size and labels."""
    split = zlib.crc32("".join(samples.table[column].astype(str)).encode())
    known = {part: fingerprint_array(values) for part, values in labels.items()}
    return {"samples": samples.fingerprint, "split": [column, split], "size": size, "labels": known}
