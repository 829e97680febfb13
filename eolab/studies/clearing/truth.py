"""The degree to which a pixel needs clearing, from GPS points of the people who cleared it."""

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from odc.geo.geobox import GeoBox

from eolab.core.errors import DataError, check_known
from eolab.data import tracks
from eolab.data.regions import Regions, label_map

PERCENTILE = 97.0
"""Percentile of the counts that the report took as upper threshold: 45 points in its data."""

FEWEST = 0.1
"""An object with fewer points than this share of the median object's was no clearing object."""

How = Literal["counts", "density", "time"]
HOWS = ("counts", "density", "time")


class Degree(NamedTuple):
    """The true degree of each pixel.

    Attributes:
        values: float32 (y, x), 0 to 1 inside of clearing objects, NaN outside.
        counts: Points of each pixel, or their weight or density, (y, x).
        threshold: Count from which on the degree is 1.
        objects: A row an object: id, points, per_hectare, used (False: it was no clearing object).
        report: What was counted: reason or kind of point → number.
    """

    values: np.ndarray
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
        how: "counts" of points, as in the report; "density", a Gaussian kernel over them; or "time", where
            each point counts for the time until the next and a break counts once.
        percentile: Percentile of all pixels of the objects that is the upper threshold.
        bandwidth_m: Standard deviation of the kernel in metres.
        fewest: Objects with fewer points a hectare than this share of the median object's are left out.

    Raises:
        DataError: If no point lies in an object.
    """
    check_known(how, HOWS, f"There is no truth {how!r}")
    numbers, _ = label_map(objects.table, grid, np.arange(len(objects.table)), ignore=65535)
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
            tracks.count_in(chunk._replace(table=still), grid, counts)
    found = numbers != 65535
    report["in the images, outside of all objects"] = int(plain[~found].sum())
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
    return Degree(values, counts, threshold, table, {key: count for key, count in report.items() if count})


def _objects(objects: Regions, numbers: np.ndarray, counts: np.ndarray, fewest: float) -> pd.DataFrame:
    """Return points of each object, and whether it was a clearing object."""
    known = numbers < len(objects.table)
    totals = np.bincount(numbers[known], counts[known], len(objects.table))
    table = objects.table[["id", "area_ha"]].reset_index(drop=True)
    table["points"] = totals.astype(int)
    table["per_hectare"] = totals / table["area_ha"].to_numpy()
    table["used"] = table["per_hectare"] >= max(fewest * float(table["per_hectare"].median()), 1e-9)
    return table


def histogram(found: Degree, inside: Any = None, bins: int = 60) -> pd.DataFrame:
    """Return how many pixels of the objects have how many points: columns points (upper edge), pixels."""
    mask = np.isfinite(found.values) if inside is None else np.asarray(inside)
    pixels, edges = np.histogram(found.counts[mask], bins=bins)
    return pd.DataFrame({"points": edges[1:], "pixels": pixels})
