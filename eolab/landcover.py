"""Domain functions of the land-cover study: one labelled series from any of its layouts, and its samples.

The study brings a CORINE map up to date by classifying Sentinel-2 time series pixel by pixel, following
Paris, Bruzzone and Fernández-Prieto (2019, https://doi.org/10.1109/TGRS.2018.2890404): the old map gives the
labels, the series gives the features, and the learned map replaces the old one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from eolab import legends
from eolab.errors import DataError, ParameterError, did_you_mean
from eolab.legends import IGNORE, Legend
from eolab.legends.landcover import CORINE_TO_UPDATE, LANDCOVER

if TYPE_CHECKING:
    from eolab.catalog import DataEntry
    from eolab.preprocess import Recipe

Inputs = dict[str, np.ndarray]

LULC_COLORS = ("#e69f00", "#117733", "#ccf24d", "#88ccaa", "#cc79a7", "#56b4e9", "#332288", "#d55e00", "#999999")


def open_series(
    entry: DataEntry,
    bands: Sequence[str] = (),
    resolution_m: int = 10,
    keep_scl: Sequence[int] = (4, 5, 6, 7),
    min_pixels: int = 50,
) -> xr.Dataset:
    """Open a data set of the study as one labelled image series, lazily.

    Args:
        entry: Catalogue entry of layout ``sentinel2_corine`` or ``eolearn_patch``.
        bands: Bands to read; empty for all that the data set has.
        resolution_m: Grid in metres (Sentinel-2: 10, 20 or 60; an eo-learn patch keeps its own).
        keep_scl: Scene-classification codes that count as clear (Sentinel-2 only).
        min_pixels: A class with fewer labelled pixels is ignored; ``attrs["dropped"]`` names it.

    Returns:
        Dataset with ``image (time, band, y, x)`` float32 (NaN where nodata), ``clear (time, y, x)`` bool,
        ``label (y, x)`` uint8 class index (255 = ignore) and, for twins, ``truth`` and ``truth_before``
        ``(y, x)``. ``attrs`` hold the legend (see :func:`legend_of`) and what was rejected.

    Raises:
        DataError: If the layout is not one of the study's.
    """
    openers: dict[str, Callable[[], tuple[xr.Dataset, Legend]]] = {
        "sentinel2_corine": lambda: _from_sentinel2(entry, bands, resolution_m, keep_scl),
        "eolearn_patch": lambda: _from_eolearn(entry, bands),
    }
    if entry.layout not in openers:
        raise DataError(
            f"Data set {entry.name} has the layout {entry.layout}, but the land-cover study reads "
            f"{' or '.join(openers)}: choose another data set, or add a case to eolab/landcover.py."
        )
    series, legend = openers[entry.layout]()
    return _drop_rare(series, legend, min_pixels)


def _from_sentinel2(
    entry: DataEntry, bands: Sequence[str], resolution_m: int, keep_scl: Sequence[int]
) -> tuple[xr.Dataset, Legend]:
    """Sentinel-2 reflectance with CORINE labels recoded to the study's twelve classes."""
    from eolab.preprocess import clear_mask

    options: dict[str, Any] = {"bands": list(bands)} if bands else {}
    source = entry.open(resolution_m=resolution_m, **options)
    lookup = np.full(1000, IGNORE, np.uint8)
    for code, index in CORINE_TO_UPDATE.items():
        lookup[code] = index
    series = xr.Dataset(
        {
            "image": source["reflectance"],
            "clear": clear_mask(source["scl"], keep=tuple(keep_scl)),
            "label": source["corine"].copy(data=lookup[np.asarray(source["corine"])]),
        },
        attrs={"rejected": source.attrs.get("rejected", "[]")},
    )
    for name in ("truth", "truth_before"):
        if name in source:
            series[name] = source[name]
    return series, LANDCOVER


def _from_eolearn(entry: DataEntry, bands: Sequence[str]) -> tuple[xr.Dataset, Legend]:
    """The NDVI series of an eo-learn patch with its land-use classes."""
    unknown = [band for band in bands if band != "NDVI"]
    if unknown:
        raise ParameterError(
            f"Data set {entry.name} has no band {unknown[0]!r} in its series: {did_you_mean(unknown[0], ['NDVI'])}"
        )
    source = entry.open()
    ndvi = source["NDVI"].expand_dims(band=["NDVI"], axis=1).astype("float32")
    ndvi.attrs.update(units="1", long_name="normalised difference vegetation index")
    codes = {int(code): name for code, name in json.loads(source["LULC"].attrs["legend"]).items() if name}
    legend = Legend(
        name=f"land use of {entry.name}",
        codes=tuple(codes),
        names=tuple(codes.values()),
        colors=LULC_COLORS[: len(codes)],
    )
    lookup = np.full(256, IGNORE, np.uint8)
    lookup[list(codes)] = np.arange(len(codes))
    series = xr.Dataset(
        {
            "image": ndvi,
            "clear": source["IS_DATA"].astype(bool) & ~source["CLM"].astype(bool),
            "label": source["LULC"].copy(data=lookup[np.asarray(source["LULC"])]),
        },
        attrs={"rejected": source.attrs.get("rejected", "[]")},
    )
    return series, legend


def _drop_rare(series: xr.Dataset, legend: Legend, min_pixels: int) -> xr.Dataset:
    """Number the classes that are frequent enough 0…K-1 and set the others to the ignore label."""
    label = np.asarray(series["label"])
    counts = np.bincount(label.ravel(), minlength=256)[: len(legend)]
    kept = np.flatnonzero(counts >= max(min_pixels, 1))
    if len(kept) < 2:
        raise DataError(
            f"Only {len(kept)} class of the legend '{legend.name}' has {min_pixels} labelled pixels or more: "
            "choose a larger area or a smaller min_pixels."
        )
    lookup = np.full(256, IGNORE, np.uint8)
    lookup[kept] = np.arange(len(kept))
    for name in ("label", "truth", "truth_before"):
        if name in series:
            series[name] = series[name].copy(data=lookup[np.asarray(series[name]).astype(np.uint8)])
            series[name].attrs = {"long_name": name.replace("_", " "), "legend": legend.name}
    chosen = Legend(
        name=legend.name,
        codes=tuple(legend.codes[i] for i in kept),
        names=tuple(legend.names[i] for i in kept),
        colors=tuple(legend.colors[i] for i in kept),
    )
    dropped = {legend.names[i]: int(counts[i]) for i in range(len(legend)) if i not in kept}
    series.attrs.update(legend=json.dumps(legends.to_dict(chosen)), dropped=json.dumps(dropped))
    return series


def legend_of(source: xr.Dataset | dict[str, Any]) -> Legend:
    """Return the legend that a series, or the metadata of a store made from it, carries."""
    attrs = source.attrs if isinstance(source, xr.Dataset) else source
    text = attrs["legend"]
    return legends.from_dict(json.loads(text) if isinstance(text, str) else text)


def pixel_table(
    series: xr.Dataset,
    per_class: int = 1500,
    uniform: int = 8000,
    window: int = 256,
    seed: int = 0,
) -> pd.DataFrame:
    """Draw the pixels that become samples: some per class to learn from, some uniformly to score on.

    Args:
        series: Result of :func:`open_series`.
        per_class: Pixels drawn from each class for training (fewer where a class has fewer).
        uniform: Pixels drawn uniformly from all labelled ones for validation and test, so that scores
            have the class shares of the map.
        window: Side of the square windows, in pixels, in which the store is written (column ``part``).
        seed: Seed of the draw.

    Returns:
        A row a sample, sorted by part: id, row, col, y and x (pixel centre in metres), label and, where known,
        truth (class index), draw ("per_class" or "uniform"), part.
    """
    rng = np.random.default_rng(seed)
    label = np.asarray(series["label"]).ravel()
    labelled = np.flatnonzero(label != IGNORE)
    scored = rng.choice(labelled, min(uniform, len(labelled)), replace=False)
    rest = np.ones(label.size, bool)
    rest[scored] = False
    learned = []
    for index in np.unique(label[labelled]):
        pixels = np.flatnonzero((label == index) & rest)
        learned.append(rng.choice(pixels, min(per_class, len(pixels)), replace=False))
    flat = np.concatenate([scored, *learned])
    row, col = np.divmod(flat, series.sizes["x"])
    table = pd.DataFrame(
        {
            "row": row.astype(np.int32),
            "col": col.astype(np.int32),
            "y": series["y"].to_numpy()[row],
            "x": series["x"].to_numpy()[col],
            "label": label[flat],
            "draw": np.repeat(["uniform", "per_class"], [len(scored), len(flat) - len(scored)]),
            "part": (row // window) * -(-series.sizes["x"] // window) + col // window,
        }
    )
    if "truth" in series:
        table["truth"] = np.asarray(series["truth"]).ravel()[flat]
    table = table.sort_values(["part", "row", "col"], ignore_index=True)
    table.insert(0, "id", np.arange(len(table)))
    return table


def keep_draws_apart(split: pd.Series, draw: pd.Series) -> pd.Series:
    """Learn from the samples drawn per class only, score on the uniformly drawn ones only.

    Args:
        split: "train", "validation", "test" or "none" of each sample.
        draw: Column ``draw`` of :func:`pixel_table`.

    Returns:
        The split, with "none" where a sample's draw does not fit it.
    """
    fits = (split.astype(str) == "train") == (draw == "per_class")
    return split.astype(str).where(fits, "none")


def connected_groups(series: xr.Dataset) -> np.ndarray:
    """Number the connected areas of equal label (polygons of the old map).

    Returns:
        Array (y, x) int32; neighbouring pixels of one label share a number; 0 where the label is ignored.
    """
    from scipy import ndimage

    label = np.asarray(series["label"])
    groups = np.zeros(label.shape, np.int32)
    last = 0
    for index in np.unique(label[label != IGNORE]):
        areas, count = ndimage.label(label == index)
        groups[areas > 0] = areas[areas > 0] + last
        last += count
    return groups


def default_block_m(series: xr.Dataset) -> float:
    """Return a tenth of the scene's shorter side in metres: about a hundred blocks."""
    height, width = (series.sizes[axis] * abs(series.rio.resolution()[i]) for i, axis in ((1, "y"), (0, "x")))
    return min(height, width) / 10


def days(times: np.ndarray) -> np.ndarray:
    """Return days since 1 January of the series' first year, float32, for times (T,) of datetime64."""
    times = np.asarray(times, "datetime64[D]")
    return (times - times.min().astype("datetime64[Y]").astype("datetime64[D]")).astype(np.float32)


def pixel_series(window: xr.Dataset) -> Inputs:
    """Turn a prepared window into model inputs.

    Args:
        window: Result of ``Recipe.apply`` with ``image (time, band, y, x)`` and ``valid (time, y, x)``.

    Returns:
        ``image (y, x, time, band)`` float32, ``valid (y, x, time)`` bool, ``day (y, x, time)`` float32.
    """
    loaded = window[["image", "valid"]].compute()
    image = loaded["image"].transpose("y", "x", "time", "band").to_numpy().astype(np.float32, copy=False)
    valid = loaded["valid"].transpose("y", "x", "time").to_numpy()
    day = np.broadcast_to(days(loaded["time"].to_numpy()), valid.shape)
    return {"image": image, "valid": valid, "day": day}


def window_reader(series: xr.Dataset, recipe: Recipe) -> Callable[[int, int, int, int], Inputs]:
    """Return ``read(row, col, height, width)`` that prepares one window of the scene for a model.

    The result has the arrays of :func:`pixel_series` and ``nodata (y, x)``: True where no date was observed.
    """

    def read(row: int, col: int, height: int, width: int) -> Inputs:
        window = series[["image", "clear"]].isel(y=slice(row, row + height), x=slice(col, col + width))
        inputs = pixel_series(recipe.apply(window))
        return {**inputs, "nodata": ~inputs["valid"].any(axis=-1)}

    return read


def sample_producer(
    series: xr.Dataset, recipe: Recipe, window: int = 256
) -> Callable[[pd.DataFrame], dict[str, np.ndarray]]:
    """Return the function that fills one part of the store: reads its window, keeps its pixels.

    Args:
        series: Result of :func:`open_series`.
        recipe: Preprocessing of the window.
        window: As in :func:`pixel_table`.

    Returns:
        ``produce(rows)`` giving ``image (n, time, band)``, ``valid (n, time)`` and ``label (n,)``.
    """
    read = window_reader(series, recipe)

    def produce(rows: pd.DataFrame) -> dict[str, np.ndarray]:
        top, left = (int(rows[axis].min()) // window * window for axis in ("row", "col"))
        height = min(window, series.sizes["y"] - top)
        width = min(window, series.sizes["x"] - left)
        inputs = read(top, left, height, width)
        at = (rows["row"].to_numpy() - top, rows["col"].to_numpy() - left)
        return {
            "image": inputs["image"][at],
            "valid": inputs["valid"][at],
            "label": rows["label"].to_numpy(np.uint8),
        }

    return produce


def change_table(
    old: np.ndarray, new: np.ndarray, truth: np.ndarray, truth_before: np.ndarray | None = None
) -> pd.DataFrame:
    """Say what a new map changed in the old one, and how much of that is real.

    Args:
        old: Old map, class indices (y, x), 255 = unknown (left out).
        new: New map, likewise.
        truth: True map now.
        truth_before: True map when the old map was made, where known: tells change on the ground from
            errors of the old map.

    Returns:
        A row a case with pixels, share of the pixels compared and, with ``truth_before``, how many of them
        changed on the ground.
    """
    known = (old != IGNORE) & (new != IGNORE) & (truth != IGNORE)
    changed, was_right, is_right = old != new, old == truth, new == truth
    cases = {
        "kept, correct": ~changed & is_right,
        "kept, wrong in both": ~changed & ~is_right,
        "changed, now correct": changed & is_right,
        "changed, was correct before": changed & was_right,
        "changed, wrong in both": changed & ~was_right & ~is_right,
    }
    rows = []
    for case, where in cases.items():
        where = where & known
        row = {"case": case, "pixels": int(where.sum()), "share": where.sum() / max(known.sum(), 1)}
        if truth_before is not None:
            row["of these changed on the ground"] = int((where & (truth_before != truth)).sum())
        rows.append(row)
    return pd.DataFrame(rows)
