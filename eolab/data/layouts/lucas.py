"""Points of the European survey LUCAS (Land Use/Cover Area frame Survey) as an independent reference.

Reads the tables that Eurostat publishes for each survey (columns such as POINT_ID, TH_LAT, LC1) and the
harmonised one of all surveys (the same in lower case; d'Andrimont et al. 2020,
https://doi.org/10.1038/s41597-020-00675-z). The class is that of the theoretical point, where the surveyor
looked, not of the place from which it was seen.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import xarray as xr

from eolab.core.errors import DataError, reason_of
from eolab.data.reference_points import Interpreted, on_map
from eolab.data.schemes import ClassScheme

CLASSES = Path(__file__).parents[1] / "schemes" / "lucas.csv"
"""Class of the twelve of the land-cover study by LC1 code: our own reading of both names. A code without a
class mixes covers, or has none of these. Edit a copy for another reading or another class scheme."""

_NEEDED = ("point_id", "th_lat", "th_long", "gps_lat", "obs_dist", "lc1")
_WANTED = {*_NEEDED, "survey_date", "year"}
_NONE = 88.8  # latitude that stands where no position was taken: 88.888888
_AT_ONCE = 100_000  # rows


def classes(file: str | Path = "") -> dict[str, str]:
    """Return the name of the class of each LC1 code; "" where it has none.

    Args:
        file: CSV with the columns code and class, :data:`CLASSES` unless given.

    Raises:
        DataError: If the file cannot be read, or a column is missing.
    """
    try:
        table = pd.read_csv(file or CLASSES, keep_default_na=False, dtype=str)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{file} cannot be read ({reason_of(error)}): give a CSV file with the columns code and class."
        ) from None
    if not {"code", "class"} <= set(table):
        raise DataError(f"{file} has the columns {', '.join(map(str, table))}, expected code and class.")
    return dict(zip(table["code"].str.strip().str.upper(), table["class"].str.strip(), strict=True))


def read_lucas(
    file: str | Path,
    labels: xr.DataArray,
    scheme: ClassScheme,
    of_code: Mapping[str, str] | None = None,
    max_distance_m: float = 100.0,
    years: Sequence[int] = (),
) -> Interpreted:
    """Read the points of a LUCAS table that lie on a map.

    Args:
        file: CSV as it is published; read in parts.
        labels: The map, class indices (y, x).
        scheme: The classes of the map.
        of_code: Name of the class of each LC1 code; :func:`classes` unless given.
        max_distance_m: Points that were observed from further away are left out.
        years: Years of the survey; all unless given.

    Returns:
        Points with id, code, reference (class index), date (text), row, col, stratum, mapped and geometry,
        and those left out by reason; of points off the map only their number, in the last row.

    Raises:
        DataError: If the file is no such table.
    """
    file, of_code = Path(file), classes() if of_code is None else of_code
    kept, left_out, off = [], [], 0
    box = labels.odc.geobox.geographic_extent.boundingbox
    for part in _parts(file):
        found = _placed(part)
        inside = found.cx[box.left : box.right, box.bottom : box.top]
        off += len(found) - len(inside)
        if len(inside):
            judged = _judged(inside, scheme, of_code, max_distance_m, years)
            placed = on_map(judged, labels, scheme)
            kept.append(placed.table)
            left_out.append(placed.left_out)
    nothing = gpd.GeoDataFrame({"id": [], "reference": []}, geometry=[], crs="EPSG:4326")
    table = pd.concat(kept, ignore_index=True) if kept else nothing
    rows = pd.DataFrame({"id": [""], "reason": [f"{off:,} points lie outside of the map"]} if off else {})
    return Interpreted(gpd.GeoDataFrame(table), pd.concat([*left_out, rows], ignore_index=True))


def _parts(file: Path) -> pd.io.parsers.TextFileReader:
    """Return the table in parts, its columns in lower case."""
    try:
        with file.open(encoding="utf-8-sig", errors="replace") as text:
            header = text.readline()
        separator = ";" if header.count(";") > header.count(",") else ","
        names = [name.strip().strip('"').lower() for name in header.split(separator)]
    except OSError as error:
        raise DataError(f"{file} cannot be read ({reason_of(error)}): check its path.") from None
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise DataError(
            f"{file} has no column {', '.join(missing)}, expected a LUCAS table with "
            "point_id, th_lat, th_long, gps_lat, obs_dist and lc1: give the CSV as Eurostat publishes it."
        )
    return pd.read_csv(
        file,
        sep=separator,
        names=names,
        header=0,
        usecols=[name for name in names if name in _WANTED],
        dtype=str,
        chunksize=_AT_ONCE,
        encoding="utf-8-sig",
        encoding_errors="replace",
    )


def _placed(part: pd.DataFrame) -> gpd.GeoDataFrame:
    """Return rows at their theoretical points; a few of the harmonised table are in metres, not degrees."""
    lon, lat = (pd.to_numeric(part[name], errors="coerce") for name in ("th_long", "th_lat"))
    degrees = (lon.abs() <= 180) & (lat.abs() <= 90)
    shapes = gpd.points_from_xy(lon.where(degrees), lat.where(degrees))
    return gpd.GeoDataFrame(part, geometry=shapes, crs="EPSG:4326")


def _judged(
    points: gpd.GeoDataFrame,
    scheme: ClassScheme,
    of_code: Mapping[str, str],
    max_distance_m: float,
    years: Sequence[int],
) -> Interpreted:
    """Return the points that have a class of the map, and the others with the reason."""
    code = points["lc1"].fillna("").str.strip().str.upper()
    name = code.map(of_code).fillna("")
    index = {one: k for k, one in enumerate(scheme.names)}
    gps, distance = (pd.to_numeric(points[column], errors="coerce") for column in ("gps_lat", "obs_dist"))
    date = points.get("survey_date", pd.Series("", points.index)).fillna("")
    year = pd.to_numeric(points["year"]) if "year" in points else _years(date)
    reason = np.select(
        [
            ~year.isin(years) if years else np.zeros(len(points), bool),
            gps.isna() | (gps.abs() > _NONE),
            distance.isna() | (distance > max_distance_m),
            name == "",
            ~name.isin(index),
        ],
        [
            "is of another year",
            "was not visited (no GPS position)",
            f"was observed from more than {max_distance_m:g} m away, or from where is not known",
            "its land cover " + code.where(code != "", "(none)") + " belongs to no class",
            "its class " + name + " is not on the map",
        ],
        "",
    )
    table = gpd.GeoDataFrame(
        {"id": points["point_id"], "code": code, "date": date, "reference": name.map(index)},
        geometry=points.geometry,
    )
    kept = table[reason == ""].astype({"reference": np.int64})
    left_out = pd.DataFrame({"id": table["id"][reason != ""], "reason": reason[reason != ""]})
    return Interpreted(kept, left_out)


def _years(date: pd.Series) -> pd.Series:
    """Return the year of dates such as 21/09/18, 21-09-2018 or 2018-09-21; NaN of others."""
    first, last = (date.str.extract(form)[0].astype(float) for form in (r"^(\d{4})\D", r"\D(\d{2}|\d{4})$"))
    year = first.fillna(last)
    return year.where(year > 100, year + 2000)
