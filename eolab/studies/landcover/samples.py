"""Sampling of pixels, and preparation of windows as model inputs."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import pandas as pd
import xarray as xr

from eolab.core.errors import DataError
from eolab.data.catalog import DataEntry
from eolab.data.ground import pixel_size_m, positions_m
from eolab.data.preprocess import Recipe
from eolab.data.schemes import IGNORE
from eolab.data.store import ArraySpec, Store, days
from eolab.studies.landcover.series import in_year, years_of
from eolab.studies.protocol import Produce

Inputs = dict[str, np.ndarray]
BLOCK = 1024  # side of the squares, in pixels, around which distances to borders are measured


def sample_table(
    series: xr.Dataset, per_class: int = 1500, uniform: int = 8000, window: int = 256, seed: int = 0
) -> pd.DataFrame:
    """Return the samples: pixels drawn per class for training, and at random for validation and test.

    Args:
        series: Result of :func:`open_series`.
        per_class: Pixels drawn from each class for training (fewer where a class has fewer).
        uniform: Pixels drawn uniformly from all labelled ones for validation and test, so that scores
            have the class shares of the map.
        window: Side of the square windows, in pixels, in which the store is written (column ``part``).
        seed: Seed of the draw.

    Returns:
        A row a sample, sorted by part: id, row, col, y and x (pixel centre in metres, see
        :func:`eolab.data.ground.positions_m`), label (class index), draw ("per_class" or "uniform"), part.
        :func:`each_year` makes the samples of years of them.
    """
    rng = np.random.default_rng(seed)
    label = np.asarray(series["label"])
    labelled = label != IGNORE
    scored = _draw(labelled, min(uniform, int(np.count_nonzero(labelled)) // 2), rng)
    rest = np.ones(label.shape, bool)
    rest[scored] = False
    known = np.setdiff1d(np.unique(label), [IGNORE])
    learned = [_draw((label == index) & rest, per_class, rng) for index in known]
    row, col = np.concatenate([scored, *learned], axis=1)
    at = label[row, col]
    x, y = positions_m(series["x"].to_numpy()[col], series["y"].to_numpy()[row], series.rio.crs)
    table = pd.DataFrame(
        {
            "row": row.astype(np.int32),
            "col": col.astype(np.int32),
            "y": y,
            "x": x,
            "label": at,
            "draw": np.repeat(["uniform", "per_class"], [scored[0].size, row.size - scored[0].size]),
            "part": (row // window) * -(-series.sizes["x"] // window) + col // window,
        }
    )
    table = table.sort_values(["part", "row", "col"], ignore_index=True)
    table.insert(0, "id", np.arange(len(table)))
    return table


def _draw(pixels: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw some pixels of a mask (y, x), at most all; return rows and columns.

    The mask's pixels are counted row by row: their numbers alone would take 1 GB of a tile of Sentinel-2.
    """
    each = np.count_nonzero(pixels, axis=1)
    ends = np.cumsum(each)
    total = int(each.sum())
    nth = rng.choice(total, min(count, total), replace=False)
    row = np.searchsorted(ends, nth, side="right")
    col = np.empty_like(row)
    for one in np.unique(row):
        here = row == one
        col[here] = np.flatnonzero(pixels[one])[nth[here] - (ends[one] - each[one])]
    return row, col


def each_year(table: pd.DataFrame, series: xr.Dataset, years: Sequence[int] = ()) -> pd.DataFrame:
    """Return the samples of each year: the same pixels, labels and splits, with the truth of the year.

    Args:
        table: Result of :func:`sample_table`, with split columns where wanted.
        series: Result of :func:`open_series`.
        years: Years; empty for all that have images; 0 for one sample over all of them.

    Returns:
        A row a pixel and year, year by year: columns of `table`, ``pixel`` (its id there), ``year`` and,
        where known, ``truth`` (class index, 255 in a year without a true map); id and part count on over the
        years.

    Raises:
        ParameterError: If a year has no images.
    """
    joined = []
    for number, year in enumerate(years or years_of(series)):
        own = in_year(series, year)
        rows = table.assign(pixel=table["id"], year=np.int16(year))
        rows["part"] += number * (int(table["part"].max()) + 1)
        if "truth" in series:
            known = own["truth"].to_numpy() if "truth" in own else np.full(series["label"].shape, IGNORE)
            rows["truth"] = known[table["row"], table["col"]].astype(np.uint8)
        joined.append(rows)
    return pd.concat(joined, ignore_index=True).assign(id=lambda rows: np.arange(len(rows)))


def keep_draws_apart(split: pd.Series, draw: pd.Series) -> pd.Series:
    """Keep only per-class samples for training and only uniform samples for validation and test.

    Args:
        split: "train", "validation", "test" or "none" of each sample.
        draw: Column ``draw`` of :func:`sample_table`.

    Returns:
        The split; uniform samples of the training part become "prior", as they give the class shares there
        (see :func:`prior_weights`), and per-class samples of the other parts become "none".
    """
    split = split.astype(str)
    split = split.mask((split == "train") & (draw == "uniform"), "prior")
    return split.mask(split.isin(["validation", "test"]) & (draw == "per_class"), "none")


def with_and_without_buffer(table: pd.DataFrame, seed: int = 0) -> dict[str, pd.Series]:
    """Return splits with the same test samples, which differ in what may be learned from.

    Args:
        table: Sample table with ``label`` and the columns ``split_buffered`` and ``split_block``.
        seed: Seed of the draw of as many samples.

    Returns:
        "buffer" and "no buffer", the two columns, and "no buffer, as many samples": as many training samples
        of each class of the second, drawn at random, as the first has (fewer where the second has fewer).
    """
    apart, beside = table["split_buffered"].astype(str), table["split_block"].astype(str)
    wanted = table.loc[apart == "train", "label"].value_counts()
    order = beside[beside == "train"].sample(frac=1, random_state=seed).index
    nth = table.loc[order].groupby("label").cumcount()
    extra = nth.index[nth >= table.loc[order, "label"].map(wanted).fillna(0)]
    return {
        "buffer": apart,
        "no buffer": beside,
        "no buffer, as many samples": beside.mask(beside.index.isin(extra), "none"),
    }


def map_shares(table: pd.DataFrame, column: str, classes: int) -> dict[int, float]:
    """Return the share of each class in the old map, from the uniform samples on training ground.

    Args:
        table: Sample table with a split column from :func:`keep_draws_apart`.
        column: That column.
        classes: Number of classes K.
    """
    counts = np.bincount(table.loc[table[column] == "prior", "label"], minlength=classes)[:classes] + 1.0
    return dict(enumerate((counts / counts.sum()).tolist()))  # + 1: a class that was not drawn is not 0


def prior_weights(table: pd.DataFrame, column: str, classes: int) -> np.ndarray:
    """Compute class weights that give training samples the class shares of the old map.

    Training samples are drawn in equal number per class; the shares are those of :func:`map_shares`.

    Args:
        table: Sample table with a split column from :func:`keep_draws_apart`.
        column: That column.
        classes: Number of classes K.

    Returns:
        Weight of each class (K,), mean 1 over the training samples; 0 for a class without any.
    """
    drawn = np.bincount(table.loc[table[column] == "train", "label"], minlength=classes)[:classes]
    shares = np.array(list(map_shares(table, column, classes).values()))
    weights = np.divide(shares, drawn, out=np.zeros(classes), where=drawn > 0)
    return weights * drawn.sum() / (weights * drawn).sum()


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
        np.add(areas, np.int32(last), out=groups, where=areas > 0)
        last += count
    return groups


def border_m(series: xr.Dataset, row: Any, col: Any) -> np.ndarray:
    """Measure how far some pixels lie from the border of their polygon of the old map.

    Only the ground around them is looked at, as far as the next border: a tile of Sentinel-2 as a whole takes
    4 GB.

    Args:
        series: Result of :func:`open_series`.
        row: Rows of the pixels (N,).
        col: Their columns (N,).

    Returns:
        Metres from the pixel's centre to the nearest side it shares, or a pixel nearby shares, with another
        label, (N,) float32; 0 where the label is ignored, infinite without any border. The edge of the scene
        is no border.
    """
    from scipy import ndimage

    label = np.asarray(series["label"])
    beside = np.zeros(label.shape, bool)
    for here, there in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differs = label[here] != label[there]
        beside[here] |= differs
        beside[there] |= differs
    size = pixel_size_m(series.odc.geobox)
    row, col = np.asarray(row), np.asarray(col)
    found = np.full(row.shape, np.inf, np.float32)
    place = np.stack([row // BLOCK, col // BLOCK])
    for block in np.unique(place, axis=1).T if beside.any() else ():
        here, reach, whole = (place == block[:, None]).all(axis=0), BLOCK // 4, False
        while not whole:
            around = tuple(slice(max(0, at * BLOCK - reach), (at + 1) * BLOCK + reach) for at in block)
            window = beside[around]
            whole = window.shape == beside.shape
            if window.any():
                distance = ndimage.distance_transform_edt(~window, sampling=size).astype(np.float32)
                found[here] = distance[row[here] - around[0].start, col[here] - around[1].start]
                if (found[here] <= reach * min(size)).all():  # what lies further out is further away
                    break
            reach *= 4
    return np.where(label[row, col] == IGNORE, 0, found + min(size) / 2).astype(np.float32)


def default_block_m(series: xr.Dataset) -> float:
    """Return a tenth of the scene's shorter side in metres: about a hundred blocks."""
    sizes = zip((series.sizes["y"], series.sizes["x"]), pixel_size_m(series.odc.geobox), strict=True)
    return min(pixels * size_m for pixels, size_m in sizes) / 10


def default_buffer_m(series: xr.Dataset, groups: np.ndarray, points_m: float = 0.0) -> float:
    """Return the size of a polygon of the old map in metres: the side of a square of the mean area.

    A point has no size, and says nothing of that of its field: of points it is `points_m`.

    The mean, not the median: where a map has many slivers of single pixels, these are no measure of how far
    its polygons reach.

    Args:
        series: Result of :func:`open_series`.
        groups: Result of :func:`connected_groups`.
        points_m: What it is where the labels are points; 0 for :func:`default_block_m`.
    """
    if series.attrs.get("label_points"):
        return points_m or default_block_m(series)
    return float(np.sqrt((groups > 0).sum() / groups.max() * np.prod(pixel_size_m(series.odc.geobox))))


def said_of_groups(series: xr.Dataset, groups: np.ndarray, size_m: float) -> str:
    """Return what the groups of samples are, in words.

    Args:
        series: Result of :func:`open_series`.
        groups: Result of :func:`connected_groups`.
        size_m: Result of :func:`default_buffer_m`.
    """
    if series.attrs.get("label_points"):
        return (
            "The labels are points, and groups are single points: the splits random and group may divide a "
            f"field; trust buffered, and block except at its borders (wanted distance {size_m:,.0f} m)."
        )
    return f"{groups.max():,} polygons, {size_m:,.0f} m wide in the mean."


def pixel_series(window: xr.Dataset) -> Inputs:
    """Turn a prepared window into model inputs.

    Days are whole numbers, as in the store that a model is trained on (:func:`store_metadata`).

    Args:
        window: Result of ``Recipe.apply`` with ``image (time, band, y, x)`` and ``valid (time, y, x)``.

    Returns:
        ``image (y, x, time, band)`` float32, ``valid (y, x, time)`` bool, ``day (y, x, time)`` float32.
    """
    loaded = window[["image", "valid"]].compute()
    image = loaded["image"].transpose("y", "x", "time", "band").to_numpy().astype(np.float32, copy=False)
    valid = loaded["valid"].transpose("y", "x", "time").to_numpy()
    day = np.broadcast_to(days(_dates(loaded)), valid.shape)
    return {"image": image, "valid": valid, "day": day}


def _dates(prepared: xr.Dataset) -> list[str]:
    """Return the time axis as ISO dates, without the time of day."""
    return np.datetime_as_string(prepared["time"].to_numpy(), unit="D").tolist()


def window_reader(series: xr.Dataset, recipe: Recipe) -> Callable[[int, int, int, int], Inputs]:
    """Return ``read(row, col, height, width)`` that prepares one window of the scene for a model.

    The result has the arrays of :func:`pixel_series` and ``nodata (y, x)``: True where no date was observed.
    """

    def read(row: int, col: int, height: int, width: int) -> Inputs:
        window = series[["image", "clear"]].isel(y=slice(row, row + height), x=slice(col, col + width))
        inputs = pixel_series(recipe.apply(window))
        return {**inputs, "nodata": np.asarray(~inputs["valid"].any(axis=-1))}

    return read


def sample_producer(series: xr.Dataset, recipe: Recipe, window: int = 256) -> Produce:
    """Return the function that produces one part of the store from one window of the scene in one year.

    Args:
        series: Result of :func:`open_series`.
        recipe: Preprocessing of the window in a year.
        window: Side of the windows in pixels, the same as for :func:`sample_table`.

    Returns:
        ``produce(rows)`` giving ``image (n, time, band)``, ``valid (n, time)``, ``day (n, time)`` and
        ``label (n,)``.
    """
    reader = cache(lambda year: window_reader(in_year(series, year), recipe))

    def produce(rows: pd.DataFrame) -> dict[str, np.ndarray]:
        read = reader(int(rows["year"].iloc[0]))
        top, left = (int(rows[axis].min()) // window * window for axis in ("row", "col"))
        height = min(window, series.sizes["y"] - top)
        width = min(window, series.sizes["x"] - left)
        inputs = read(top, left, height, width)
        at = (rows["row"].to_numpy() - top, rows["col"].to_numpy() - left)
        label = rows["label"].to_numpy(np.uint8)
        return {name: inputs[name][at] for name in ("image", "valid", "day")} | {"label": label}

    return produce


def store_arrays(prepared: xr.Dataset) -> dict[str, ArraySpec]:
    """Return the arrays of a store of pixel series: what :func:`sample_producer` yields for one sample."""
    times, bands = prepared.sizes["time"], prepared.sizes["band"]
    units = {"units": prepared["image"].attrs.get("units", "")}
    return {
        "image": ArraySpec(("time", "band"), (times, bands), "float32", units, nan="allow"),  # in indices
        "valid": ArraySpec(("time",), (times,), "bool", {"long_name": "observed"}),
        "day": ArraySpec(("time",), (times,), "float32", {"units": "days since 1 January"}),
        "label": ArraySpec((), (), "uint8", {"long_name": "class index"}),
    }


def observed_share(store: Store) -> pd.Series:
    """Return the share of the uniform samples that are observed in each period, by its day.

    Raises:
        DataError: If no sample is observed at all.
    """
    rows = np.flatnonzero(store.table["draw"] == "uniform")
    share = store.gather(rows, ["valid"])["valid"].mean(axis=0)
    if not share.any():
        raise DataError(
            "No sample is observed on any date: no pixel has one of the codes in keep_scl, or a band is "
            "missing everywhere. Choose other codes, such as the default [4, 5, 6, 7, 11], or other bands."
        )
    return pd.Series(share, store.time)


def store_metadata(
    entry: DataEntry, series: xr.Dataset, prepared: xr.Dataset, recipe: Recipe, options: dict[str, Any]
) -> dict[str, Any]:
    """Return the metadata of a store of the study.

    Args:
        entry: Data set that the samples come from.
        series: Result of ``open_series``.
        prepared: ``recipe.apply`` of the first year's series; its dates name the steps of all years.
        recipe: Preprocessing.
        options: Keyword arguments of ``open_series``, with which the map opens the series again.
    """
    return {
        "coords": {"time": _dates(prepared), "band": [str(band) for band in prepared["band"].values]},
        "dataset": entry.name,
        **entry.origin,
        "study": "landcover",
        "class_scheme": series.attrs["class_scheme"],
        "label_cell_m": series.attrs["label_cell_m"],
        "pixel_m": pixel_size_m(series.odc.geobox)[1],
        "recipe": recipe.to_dict(),
        "open_series": options,
    }
