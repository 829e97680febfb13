"""Patches of the image series, cut on a grid, for networks that see what is around a pixel.

They follow the split of the pixel samples: a patch is in a part where all samples in it are, and keeps the
distance that the samples keep.
"""

import contextlib
import zlib
from typing import Any

import numpy as np
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import pandas as pd
import xarray as xr
from scipy.spatial import cKDTree

from eolab.core.errors import DataError
from eolab.data.ground import pixel_size_m, positions_m
from eolab.data.preprocess import Recipe
from eolab.data.schemes import IGNORE
from eolab.data.splits import SPLITS
from eolab.data.store import ArraySpec, fingerprint_array
from eolab.studies.landcover.samples import connected_groups, window_reader
from eolab.studies.protocol import Produce

SIZES = (32, 24, 16, 12, 8, 6)  # sides of patches in pixels that are tried, the largest first
ENOUGH = 12  # patches of each part
SMALL: dict[str, dict[str, Any]] = {  # options of networks that learn from a hundred patches in a minute
    "utae_mask": {"width_multiplier": 0.25},
    "tsvit": {"units": 32, "temporal_layers": 2, "spatial_layers": 2, "expansion": 2},
    "convlstm_mask": {"filters": 16, "bidirectional": False},
    "unet_composites": {"levels": 3, "width_multiplier": 0.5},
}
AT_ONCE = 512  # about the side of the windows that are read at once, in pixels


def patch_table(series: xr.Dataset, table: pd.DataFrame, column: str, size: int = 24) -> pd.DataFrame:
    """Return the patches of a scene that lie in one part of a split of its pixel samples.

    Patches of which samples are in several parts, or left out, are left out; so are patches for training and
    validation that are nearer to a patch of another part than their samples are to samples of that part.

    Args:
        series: Result of :func:`eolab.studies.landcover.series.open_series`, of one year.
        table: Table of the pixel samples, with ``row``, ``col``, ``draw``, ``block`` and the split.
        column: The split by blocks.
        size: Side of a patch in pixels.

    Returns:
        A row a patch, by part of the store: id, patch (its number on the grid, the same in every year), year,
        row and col of its first pixel, y and x of its centre in metres, block of most of its samples, split
        and part.

    Raises:
        DataError: If a part has no patch.
    """
    rows, cols = series.sizes["y"] // size, series.sizes["x"] // size
    samples = table.drop_duplicates(["row", "col"])
    samples = samples[(samples["row"] < rows * size) & (samples["col"] < cols * size)]
    samples = samples[(samples["draw"] == "uniform") | (samples[column] == "train")]
    patch = samples["row"] // size * cols + samples["col"] // size
    split = samples[column].astype(str).replace("prior", "train")
    counts = split.groupby(patch).agg(["nunique", "first"])
    parts = counts.loc[(counts["nunique"] == 1) & counts["first"].isin(SPLITS), "first"]
    most = pd.DataFrame({"patch": patch, "block": samples["block"]}).value_counts().reset_index()
    row, col = parts.index.to_numpy() // cols * size, parts.index.to_numpy() % cols * size
    per_window = max(1, AT_ONCE // size) * size
    x, y = (
        (series[axis].to_numpy()[first] + series[axis].to_numpy()[first + size - 1]) / 2
        for axis, first in (("x", col), ("y", row))
    )
    x, y = positions_m(x, y, series.rio.crs)
    found = pd.DataFrame(
        {
            "patch": parts.index.to_numpy(np.int32),
            "year": pd.Timestamp(series["time"].to_numpy()[0]).year,
            "row": row.astype(np.int32),
            "col": col.astype(np.int32),
            "y": y,
            "x": x,
            "block": most.drop_duplicates("patch").set_index("patch")["block"].loc[parts.index].to_numpy(),
            "split": parts.to_numpy(),
            "part": row // per_window * -(-series.sizes["x"] // per_window) + col // per_window,
        }
    )
    pixel_m = max(pixel_size_m(series.odc.geobox))
    for one, other in (("validation", "test"), ("train", "test"), ("train", "validation")):
        far = _distance(samples.assign(split=split), one, other, 2)
        near = _distance(found, one, other, np.inf) - (size - 1) * pixel_m < far.min(initial=np.inf) - 0.5
        found = found.drop(found.index[found["split"] == one][near])
    for part in SPLITS:
        if not (found["split"] == part).any():
            raise DataError(
                f"No patch of {size} × {size} pixels lies in {part} ground alone, at the distance that "
                f"samples of {column} keep: take smaller patches, or larger blocks in 02_preprocess."
            )
    found = found.sort_values(["part", "row", "col"], ignore_index=True)
    found.insert(0, "id", np.arange(len(found)))
    return found


def default_size(series: xr.Dataset, table: pd.DataFrame, column: str) -> int:
    """Return the largest of some sides of patches, in pixels, that fits into the blocks of a split.

    A side fits if each part has a dozen patches or more, which hold two thirds of its ground.

    Args:
        series: Result of ``open_series``.
        table: Table of the pixel samples.
        column: The split by blocks.
    """
    split = table.loc[table["draw"] == "uniform", column].astype(str).replace("prior", "train")
    ground = split.value_counts(normalize=True) * series.sizes["y"] * series.sizes["x"]
    for size in SIZES:
        with contextlib.suppress(DataError):
            count = patch_table(series, table, column, size)["split"].value_counts()
            if count.min() >= ENOUGH and (count * size**2 >= ground[count.index] * 2 / 3).all():
                return size
    return SIZES[-1]


def _distance(table: pd.DataFrame, one: str, other: str, norm: float) -> np.ndarray:
    """Return the distance of each sample of one part to the nearest of another part, in metres."""
    places, others = (table.loc[table["split"] == part, ["x", "y"]].to_numpy(float) for part in (one, other))
    return cKDTree(others).query(places, p=norm)[0] if len(others) else np.full(len(places), np.inf)


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
        prepared: ``recipe.apply(series)``.
        size: Side of a patch in pixels.
    """
    dims, shape, bands = ("time", "y", "x"), (prepared.sizes["time"], size, size), prepared.sizes["band"]
    units = {"units": prepared["image"].attrs.get("units", "")}
    found = {
        "image": ArraySpec((*dims, "band"), (*shape, bands), "float32", units, nan="allow"),  # in indices
        "valid": ArraySpec(dims, shape, "bool", {"long_name": "observed"}),
    }
    for name, title in (("label", "class of the old map"), ("truth", "true class")):
        if name in series:
            found[name] = ArraySpec(dims[1:], shape[1:], "uint8", {"long_name": title})
    return found


def patch_producer(series: xr.Dataset, recipe: Recipe, size: int, labels: dict[str, np.ndarray]) -> Produce:
    """Return the function that produces the patches of one window of the scene.

    Args:
        series: Result of ``open_series``, of one year.
        recipe: Preprocessing of the window.
        size: Side of a patch in pixels.
        labels: Result of :func:`patch_labels`.
    """
    read = window_reader(series, recipe)
    truth = np.asarray(series["truth"]) if "truth" in series else None

    def produce(rows: pd.DataFrame) -> dict[str, np.ndarray]:
        first = rows[["row", "col"]].min()
        height, width = rows[["row", "col"]].max() - first + size
        window = read(int(first["row"]), int(first["col"]), int(height), int(width))
        found = []
        for row, col, part in rows[["row", "col", "split"]].itertuples(index=False):
            inside = np.s_[row - first["row"] :, col - first["col"] :]
            one = {name: np.moveaxis(window[name][inside][:size, :size], 2, 0) for name in ("image", "valid")}
            place = np.s_[row : row + size, col : col + size]
            one["label"] = labels[part][place]
            found.append(one if truth is None else one | {"truth": truth[place]})
        return {name: np.stack([one[name] for one in found]) for name in found[0]}

    return produce


def patch_fingerprint(samples: Any, column: str, size: int, labels: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return what a store of patches depends on: the pixel samples and their split, size and labels."""
    split = zlib.crc32("".join(samples.table[column].astype(str)).encode())
    known = {part: fingerprint_array(values) for part, values in labels.items()}
    return {"samples": samples.fingerprint, "split": [column, split], "size": size, "labels": known}
