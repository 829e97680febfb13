"""The degree to which a pixel needs clearing, from GPS points of the people who cleared it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from odc.geo.geobox import GeoBox

from eolab.core.errors import DataError, check_known
from eolab.data import tracks
from eolab.data.regions import Regions, in_several, label_map
from eolab.data.schemes import IGNORE
from eolab.data.store import ArraySpec, Store, open_store

PERCENTILE = 97.0
"""Percentile of the counts that Svensson (2020) took as upper threshold: 45 points in those data."""

FEWEST = 0.1
"""An object with fewer points than this share of the median object's was no clearing object."""

How = Literal["counts", "density", "time"]
HOWS = ("counts", "density", "time")
UNITS = {"counts": "points", "density": "points, smoothed", "time": "seconds"}


class Degree(NamedTuple):
    """The true degree of each pixel.

    Attributes:
        values: float32 (y, x), 0 to 1 inside of clearing objects, 0 in areas without need, NaN elsewhere.
        owner: int32 (y, x), the row of ``objects`` that a pixel belongs to, -1 outside of all, and -2 in
            several, which belongs to none.
        counts: Points of each pixel, or their weight or density, (y, x).
        threshold: Count from which on the degree is 1.
        objects: A row an object: id, label, points, per_hectare, used (False: it was no clearing object).
        report: What was counted: reason or kind of point → number.
    """

    values: np.ndarray
    owner: np.ndarray
    counts: np.ndarray
    threshold: float
    objects: pd.DataFrame
    report: dict[str, int]


def degree(
    points: Iterable[tracks.Points],
    objects: Regions,
    grid: GeoBox,
    how: How = "counts",
    percentile: float = PERCENTILE,
    bandwidth_m: float = 15.0,
    fewest: float = FEWEST,
) -> Degree:
    """Return the degree of each pixel: points in it, up to a threshold, on a scale of 0 to 1.

    Args:
        points: Chunks of points.
        objects: Clearing objects on the grid, see :func:`eolab.data.regions.on_grid`.
        grid: The pixel grid.
        how: "counts" of points, as in Svensson (2020); "density", a Gaussian kernel over them; or "time",
            where each point counts for the time until the next and a break counts once.
        percentile: Percentile of all pixels of the objects that is the upper threshold.
        bandwidth_m: Standard deviation of the kernel in metres.
        fewest: Objects with fewer points a hectare than this share of the median object's are left out.

    Raises:
        DataError: If no point lies in an object.
    """
    check_known(how, HOWS, f"There is no truth {how!r}")
    numbers, _ = label_map(objects.table, grid, np.arange(len(objects.table)), ignore=65535)
    torn = in_several(objects.table, grid)
    counts, plain = np.zeros(grid.shape), np.zeros(grid.shape)
    report = {"points": 0, "outside of the images": 0}
    for chunk in points:
        for reason, count in chunk.left_out.items():
            report[reason] = report.get(reason, 0) + count
        report["points"] += len(chunk.table)
        report["outside of the images"] += tracks.count_in(chunk, grid, plain)[1]
        if how == "time":
            still = tracks.still_time(chunk.table, chunk.crs)
            report["repeated at one place"] = report.get("repeated at one place", 0) + int(
                still["repeated"].sum()
            )
            spent = still["seconds"].where(~still["repeated"], 0.0)  # what is usual differs between chunks
            tracks.count_in(chunk._replace(table=still.assign(weight=spent)), grid, counts)
    found = numbers != 65535
    report["in several objects at once, counted in none"] = int(plain[torn].sum())
    report["in the images, outside of all objects"] = int(plain[~found & ~torn].sum())
    table = _objects(objects, numbers, plain, fewest)
    if not table["points"].sum():
        raise DataError(
            "No point lies in an object: check the reference systems and the order of coordinates."
        )
    if how == "counts":
        counts = plain
    elif how == "density":
        counts = tracks.kernel_density(np.where(found, plain, 0), grid, bandwidth_m)
    inside = np.isin(numbers, np.flatnonzero(table["used"]))
    scaled, threshold = tracks.share_of_highest(counts, inside, percentile)
    values = np.where(inside, scaled, np.float32(np.nan)).astype(np.float32)
    owner = np.where(inside, numbers.astype(np.int32), np.where(torn, -2, -1))
    report = {key: count for key, count in report.items() if count}
    return Degree(values, owner, counts, threshold, table, report)


def with_zero_areas(found: Degree, areas: Regions, grid: GeoBox) -> tuple[Degree, np.ndarray]:
    """Return the degree with areas where nothing needs clearing, and their owners.

    Args:
        found: The degree.
        areas: The areas on the grid: 0 inside of them, pixels that belong to others aside.
        grid: The pixel grid.
    """
    numbers, _ = label_map(areas.table, grid, np.arange(len(areas.table)), ignore=65535)
    free = (numbers != 65535) & (found.owner == -1)
    first = max(len(found.objects), int(found.owner.max()) + 1)
    owner = np.where(free, numbers.astype(np.int32) + first, found.owner)
    values = np.where(free, np.float32(0), found.values)
    return found._replace(values=values, owner=owner), first + np.arange(len(areas.table))


def _objects(objects: Regions, numbers: np.ndarray, counts: np.ndarray, fewest: float) -> pd.DataFrame:
    """Return points of each object, and whether it was a clearing object."""
    known = numbers < len(objects.table)
    totals = np.bincount(numbers[known], counts[known], len(objects.table))
    table = pd.DataFrame(objects.table[["id", "label", "area_ha"]]).reset_index(drop=True)
    table["points"] = totals.astype(int)
    table["per_hectare"] = totals / table["area_ha"].to_numpy()
    table["used"] = table["per_hectare"] >= max(fewest * float(table["per_hectare"].median()), 1e-9)
    return table


# === Zero and non-zero ===


def non_zero(degree: Any) -> np.ndarray:
    """Return classes of pixels: 1 where something needs clearing, 0 where nothing, 255 where not known."""
    values = np.asarray(degree)
    return np.where(np.isfinite(values), values > 0, IGNORE).astype(np.uint8)


def discrete(samples: Store, file: str | Path) -> Store:
    """Return a store whose labels are the classes zero and non-zero; the store's files stay unchanged.

    Args:
        samples: Store of the study, with the degree as label.
        file: Where the classes are written, an array of ``.npy``.
    """
    view, spec = open_store(samples.path), samples.arrays_spec["label"]
    shape = (len(samples), *spec.shape)
    labels = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape)
    for rows, data in samples.batches(np.arange(len(samples)), ["label"]):
        labels[rows] = non_zero(data["label"])
    view.arrays_spec = view.arrays_spec | {"label": ArraySpec(spec.dims, spec.shape, "uint8")}
    view.arrays = view.arrays | {"label": labels}
    return view
