"""What the validation of a land-cover map needs beside the shared pieces: dates to look at, and tables."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import pandas as pd
import xarray as xr
from odc.geo.geobox import GeoBox

from eolab.core.errors import DataError, check_known
from eolab.data.ground import class_areas_m2
from eolab.data.reference_points import Interpreted, values_at
from eolab.data.schemes import IGNORE, ClassScheme
from eolab.evaluation import areas
from eolab.studies.landcover.series import overview

FEWEST = 30  # points of a survey below which nothing is estimated from it


def map_of_year(folder: Path, year: int = 0) -> tuple[Path, int]:
    """Return the file of the class map of a year, the consistent one where there are both, and the year.

    Args:
        folder: Run folder of ``06_map_years``.
        year: The year; 0 for the newest.

    Raises:
        DataError: If there is no map.
        ParameterError: If there is none of the year.
    """
    found = {}
    for path in sorted(folder.glob("land_cover_*.tif")):  # the consistent one comes last
        if named := re.fullmatch(r"land_cover_(\d{4})(_consistent)?", path.stem):
            found[int(named[1])] = path
    if not found:
        raise DataError(f"{folder} has no map land_cover_<year>.tif: give the folder of a 06_map_years run.")
    year = year or max(found)
    check_known(year, found, f"{folder} has no map of {year}")
    return found[year], year


def clearest_dates(series: xr.Dataset, count: int) -> list[int]:
    """Return the positions of the clearest date in each of so many equal parts of a series."""
    clear = overview(series, 50_000)["clear"].mean(("y", "x")).to_numpy()
    parts = np.array_split(np.arange(len(clear)), min(count, len(clear)))
    return [int(part[clear[part].argmax()]) for part in parts]


def simulated_answers(
    truth: xr.DataArray, points: pd.DataFrame, scheme: ClassScheme, error: float, seed: int
) -> list[str]:
    """Return what an interpreter answers who sees the truth, and names any class at a share of the points.

    Args:
        truth: True class indices (y, x).
        points: Points as they were drawn.
        scheme: The classes.
        error: Share of points whose answer is drawn from all classes.
        seed: Seed of the errors.

    Returns:
        The name of a class, or "" where none is true, in the order of the id.
    """
    rng, ordered = np.random.default_rng(seed), points.sort_values("id")
    found = values_at(truth, ordered)
    guessed = rng.random(len(found)) < error
    found = np.where(guessed & (found != IGNORE), rng.integers(0, len(scheme), len(found)), found)
    return [scheme.names[k] if k < len(scheme) else "" for k in found]


def area_table(
    found: areas.Assessment, sizes: pd.DataFrame, labels: xr.DataArray, truth: xr.DataArray | None = None
) -> pd.DataFrame:
    """Return mapped, estimated and, where known, true areas of the classes in hectares.

    Args:
        found: Result of :func:`eolab.evaluation.areas.assess`.
        sizes: Result of :func:`eolab.data.reference_points.sizes`.
        labels: The map; the truth is counted where it has a class.
        truth: True class indices (y, x).
    """
    whole = sizes["area_ha"].sum()
    table = pd.DataFrame({"class": sizes["class"], "mapped": sizes["area_ha"]})
    for name in ("", "_low", "_high"):
        table[f"area{name}"] = found.classes[f"area_share{name}"] * whole
    if truth is not None:
        true = np.where(np.asarray(labels) < len(table), np.asarray(truth), IGNORE).astype(np.uint8)
        table["true"] = class_areas_m2(true, labels.odc.geobox, len(table)) / 1e4
        table["within"] = table["true"].between(table["area_low"], table["area_high"])
    return table


def accuracy_table(found: areas.Assessment) -> pd.DataFrame:
    """Return user's and producer's accuracy of each class, and the overall accuracy, with their intervals."""
    columns = [f"{name}{end}" for name in ("users", "producers") for end in ("", "_low", "_high")]
    table = found.classes[["class", "n_mapped", "n_reference", *columns]]
    value, low, high = found.overall
    n = int(found.classes["n_mapped"].sum())
    last = {"class": "Overall", "n_mapped": n, "n_reference": n, "users": value}
    return pd.concat(
        [table, pd.DataFrame([last | {"users_low": low, "users_high": high}])], ignore_index=True
    )


def survey_table(points: Interpreted, pixels: float, scheme: ClassScheme) -> areas.Assessment | None:
    """Return what the points of a survey say of a map, taken as a simple random sample; None of too few."""
    table = points.table
    if len(table) < FEWEST:
        return None
    one = np.zeros(len(table), int)
    return areas.assess(table["stratum"], table["reference"], [pixels], scheme.names, stratum=one)


def needed_points(sizes: pd.DataFrame, accuracy: float, half_widths: Sequence[float]) -> pd.DataFrame:
    """Return how many points give intervals of the overall accuracy of some half-widths.

    Args:
        sizes: Result of :func:`eolab.data.reference_points.sizes`.
        accuracy: Expected user's accuracy of all classes.
        half_widths: Wanted half-widths of the 95 % interval.
    """
    pixels = sizes["pixels"].to_numpy()
    shares = {"in proportion to area": pixels, "equal": np.asarray(pixels > 0, float)}
    rows = [
        {"half_width": half_width}
        | {
            name: areas.sample_size(pixels, np.full(len(pixels), accuracy), half_width / areas.Z, share)
            for name, share in shares.items()
        }
        for half_width in half_widths
    ]
    return pd.DataFrame(rows)


def every_pixel(labels: xr.DataArray, truth: xr.DataArray, step: int = 4) -> pd.DataFrame:
    """Return row, col and whether the map is right of every ``step``-th pixel that both maps know."""
    height, width = (-(-labels.sizes[axis] // step) for axis in ("y", "x"))
    rows, cols = (one.ravel() * step for one in np.indices((height, width)))
    mapped, true = (np.asarray(one)[rows, cols] for one in (labels, truth))
    known = (mapped != IGNORE) & (true != IGNORE)
    return pd.DataFrame({"row": rows, "col": cols, "right": mapped == true})[known]


def local_errors(
    around: Mapping[str, np.ndarray], overall: float, every: pd.DataFrame, grid: GeoBox
) -> pd.DataFrame:
    """Compare an accuracy map from points, and one number for the whole map, with what all pixels say.

    Args:
        around: Two maps (y, x) of the local accuracy, the first from points, the second from all pixels.
        overall: Overall accuracy from the points.
        every: Result of :func:`every_pixel`.
        grid: The grid of the class map.

    Returns:
        A row each: what is taken as the local accuracy; rmse, against the map from all pixels; brier, the
        mean squared difference from whether each pixel is right.
    """
    drawn, true = around.values()
    at = [
        every[name].to_numpy() * cells // side
        for name, cells, side in zip(("row", "col"), drawn.shape, grid.shape, strict=True)
    ]
    rows = []
    taken = {"map from the points": drawn, "overall accuracy of the points": np.full_like(drawn, overall)}
    for name, share in taken.items():
        off = np.where(np.isfinite(drawn), share, np.nan)
        brier = np.nanmean((off[at[0], at[1]] - every["right"].to_numpy()) ** 2)
        rows.append((name, float(np.sqrt(np.nanmean((off - true) ** 2))), float(brier)))
    return pd.DataFrame(rows, columns=["taken as local accuracy", "rmse", "brier"])
