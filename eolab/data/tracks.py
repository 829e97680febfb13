"""GPS points: positions of workers or machines over time, read in chunks and counted in pixels.

Points come as CSV (longitude and latitude in columns, or WKT in one), GPX, GeoPackage or any vector file of
points. Times may have an offset or none, and are kept in UTC. A file is read a chunk at a time, so that
memory does not grow with it.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
from odc.geo.geobox import GeoBox
from pandas.api.types import is_numeric_dtype
from pyogrio.errors import DataSourceError
from pyproj import CRS, Transformer
from scipy.ndimage import gaussian_filter

from eolab.core.errors import DataError, ParameterError, check_known, reason_of
from eolab.data.catalog import DataEntry
from eolab.data.ground import pixel_size_m, positions_m
from eolab.data.regions import as_text, check_extent

CHUNK = 500_000
_LONGITUDE = ("longitude", "lon", "long", "lng", "x", "easting", "east", "coord_x", "point_x")
_LATITUDE = ("latitude", "lat", "y", "northing", "north", "coord_y", "point_y")
_TIME = ("time", "timestamp", "datetime", "date_time", "utc", "gpstime", "gps_time", "date", "start_date")
_TRACK = ("track", "track_id", "track_fid", "worker", "device", "user", "user_id", "id")
_WKT = re.compile(r"\s*POINT\s*(?:Z|M|ZM)?\s*\(\s*([-+\d.eE]+)[\s,]+([-+\d.eE]+)", re.IGNORECASE)
TABLES = (".csv", ".txt", ".tsv")


class Points(NamedTuple):
    """A chunk of points and what of it could not be used.

    Attributes:
        table: A row a point: x and y in :attr:`crs`, time (UTC, NaT where none is known), track (text); where
            a column of classes is asked for, label (text, empty where there is none) and number (in the
            file, from 0) in place of time.
        crs: Reference system of x and y.
        left_out: Reason → number of points.
    """

    table: pd.DataFrame
    crs: CRS
    left_out: dict[str, int]


def read_points(
    file: str | Path,
    crs: Any = None,
    timezone: str = "UTC",
    near: tuple[float, float, float, float] | None = None,
    chunk: int = CHUNK,
    column: str = "",
    layer: str = "",
) -> Iterator[Points]:
    """Read a file of points, a chunk at a time.

    Args:
        file: CSV, GPX, GeoPackage or another vector file of points.
        crs: Reference system of a CSV's coordinates, or of a file that states a wrong one; by default degrees
            (EPSG:4326).
        timezone: Zone of times without an offset, for example ``"Europe/Stockholm"``.
        near: (west, south, east, north) in degrees of where points should be. WKT whose order of longitude
            and latitude is not known is turned where only that way it lies there.
        chunk: Points at a time.
        column: Column of the class of each point, which of a GPX file are its waypoints.
        layer: Layer of a file with several; by default the first of points.

    Raises:
        DataError: If the file cannot be read, or holds no coordinates.
        ParameterError: If there is no such time zone, column or layer.
    """
    path = Path(file)
    zone = _zone(timezone)
    if not path.is_file():
        raise DataError(f"{path} is no file: give one of points (CSV, GPX, GeoPackage).")
    if path.suffix.lower() in TABLES:
        frames = _csv_frames(path, chunk, column)
    else:
        frames = _vector_frames(path, chunk, column, layer)
    turned: bool | None = None
    for frame, own in frames:
        system = CRS.from_user_input(crs if crs is not None else own or 4326)
        table, left_out = _checked(frame, zone, system)
        if turned is None and len(table):
            turned = _is_turned(table, system, near)
        if turned:
            table = table.rename(columns={"x": "y", "y": "x"})[[*table.columns]]
        if len(table):
            bounds = (table["x"].min(), table["y"].min(), table["x"].max(), table["y"].max())
            check_extent(bounds, system, str(path))
        yield Points(table, system, left_out)


def of_entry(entry: DataEntry, name: str, **options: Any) -> Iterator[Points]:
    """Read the points that an entry of the catalogue names; see :func:`read_points`."""
    file, facts = entry.label_file(name)
    return read_points(file, **{**facts, **options})


def holds_points(file: Path, layer: str = "") -> bool:
    """Return whether a file is a table of coordinates, or a vector file (its layer) of points alone."""
    if file.suffix.lower() in (*TABLES, ".gpx"):
        return True
    try:
        kinds = {str(name): str(kind) for name, kind in pyogrio.list_layers(file)}
    except DataSourceError:
        return False
    shapes = [kind for name, kind in kinds.items() if kind != "None" and layer in ("", name)]
    return bool(shapes) and all("Point" in kind for kind in shapes)


def _zone(timezone: str) -> ZoneInfo:
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, TypeError):
        raise ParameterError(
            f"timezone is {timezone!r}: give a name such as 'UTC' or 'Europe/Stockholm'."
        ) from None


def columns_of(file: Path, layer: str = "") -> list[str]:
    """Return the names of a table's or a layer's columns."""
    if file.suffix.lower() in TABLES:
        return _head(file)[0]
    return [str(name) for name in pyogrio.read_info(file, layer=layer or None)["fields"]]


def _head(path: Path) -> tuple[list[str], str, str]:
    """Return the names of a table's columns, its separator and its decimal sign."""
    with path.open("rb") as content:
        head = content.read(1 << 16).decode("utf-8-sig", "replace").splitlines()
    if not head or not head[0].strip():
        raise DataError(f"{path} is empty: expected a line of column names and points below it.")
    first, second = head[0], (head[1:] or [""])[0]
    separator = max(";\t,", key=first.count) if re.search(r"[;\t,]", first) else ","
    decimal = "," if separator != "," and any(re.search(r"\d,\d", line) for line in head[1:3]) else "."
    names, fields = (
        next(csv.reader([line.rstrip(separator)], delimiter=separator), []) for line in (first, second)
    )
    if len(fields) > len(names):
        raise DataError(
            f"{path} has {len(fields)} fields below {len(names)} names of columns: correct its first line."
        )
    return names, separator, decimal


def _csv_frames(path: Path, chunk: int, column: str = "") -> Iterator[tuple[pd.DataFrame, None]]:
    """Yield x, y, time and track of a CSV as they stand there."""
    names, separator, decimal = _head(path)
    if column:
        check_known(column, names, f"{path} has no column {column!r}")
    texts = {name: str for name in names if _plain(name) not in _LONGITUDE + _LATITUDE or name == column}
    given: dict[str, Any] = {
        "sep": separator,
        "decimal": decimal,
        "chunksize": chunk,
        "dtype": texts,
        "index_col": False,
        "low_memory": False,
    }
    try:
        for frame in pd.read_csv(path, encoding="utf-8-sig", encoding_errors="replace", **given):
            yield _columns(frame, path, decimal, column), None
    except (ValueError, OSError) as error:  # pandas's ParserError is a ValueError
        raise DataError(
            f"{path} cannot be read as a table ({reason_of(error)}): correct that line."
        ) from None


def _plain(name: Any) -> str:
    """Return the name of a column without its units, spaces and capitals."""
    return re.sub(r"[^a-z_]", "", str(name).lower().replace(" ", "_"))


def is_known(name: Any) -> bool:
    """Return whether a column's name is one of coordinates, times or tracks."""
    return _plain(name) in (*_LONGITUDE, *_LATITUDE, *_TIME, *_TRACK)


def has_times(frame: pd.DataFrame) -> bool:
    """Return whether a column is named as the times of a track; a day alone is that of a survey too."""
    return any(_plain(name) in _TIME and _plain(name) != "date" for name in frame)


def _columns(frame: pd.DataFrame, path: Path, decimal: str, label: str) -> pd.DataFrame:
    """Return x, y, time, track of a table, found by the names of its columns, or label and number."""
    names = {_plain(name): name for name in frame.columns}

    def column(known: tuple[str, ...]) -> Any:
        return next((frame[names[name]] for name in known if name in names), None)

    x, y, time, track = (column(known) for known in (_LONGITUDE, _LATITUDE, _TIME, _TRACK))
    if x is None or y is None:
        wkt = next((name for name in frame.columns if frame[name].astype(str).str.match(_WKT).any()), None)
        if wkt is None:
            raise DataError(
                f"{path} has the columns {', '.join(map(str, frame.columns))}, expected longitude and "
                "latitude, or one of WKT points: rename them."
            )
        both = frame[wkt].astype(str).str.extract(_WKT)
        x, y = both[0], both[1]
    if decimal == ",":
        x, y = (
            one if is_numeric_dtype(one) else one.astype(str).str.replace(",", ".", regex=False)
            for one in (x, y)
        )
    if label:
        return _labelled(x, y, frame[label], frame.index)
    empty = pd.Series(pd.NA, index=frame.index)
    return pd.DataFrame(
        {"x": x, "y": y, "time": empty if time is None else time, "track": empty if track is None else track}
    )


def _labelled(x: Any, y: Any, label: pd.Series, number: Any) -> pd.DataFrame:
    words = ["" if pd.isna(one) else as_text(one) for one in label]
    return pd.DataFrame({"x": x, "y": y, "label": words, "number": number})


def _vector_frames(
    path: Path, chunk: int, column: str = "", wanted: str = ""
) -> Iterator[tuple[pd.DataFrame, Any]]:
    """Yield the points of a vector file's layer of points."""
    try:
        kinds = {str(name): str(kind) for name, kind in pyogrio.list_layers(path)}
        points = [name for name, kind in kinds.items() if "Point" in kind]
        if wanted:
            check_known(wanted, kinds, f"{path} has no layer {wanted!r}")
        of_gpx = ("waypoints",) if column else ("track_points", "route_points", "waypoints")
        order = [name for name in of_gpx if name in points]
        for layer in [wanted] if wanted else order or points[:1] or list(kinds)[:1]:
            count = pyogrio.read_info(path, layer=layer, force_feature_count=True)["features"]
            if count:
                break
        for start in range(0, max(count, 1), chunk):
            frame = gpd.read_file(path, layer=layer, rows=slice(start, start + chunk))
            shapes = frame.geometry
            if not shapes.geom_type.dropna().isin(["Point"]).all():
                kind = shapes.geom_type.dropna().mode()[0]
                raise DataError(f"{path} holds shapes of type {kind}, expected points.")
            if column:
                check_known(column, frame.columns.drop(shapes.name), f"{path} has no column {column!r}")
                yield _labelled(shapes.x, shapes.y, frame[column], start + np.arange(len(frame))), frame.crs
                continue
            text = {str(name).lower(): name for name in frame.columns}
            time, track = (
                next(
                    (frame[text[name]] for name in known if name in text), pd.Series(pd.NA, index=frame.index)
                )
                for known in (_TIME, _TRACK)
            )
            yield pd.DataFrame({"x": shapes.x, "y": shapes.y, "time": time, "track": track}), frame.crs
    except (DataSourceError, OSError, ValueError, IndexError, RuntimeError, AttributeError) as error:
        raise DataError(
            f"{path} cannot be read as a file of points ({reason_of(error)}): give CSV, GPX or GeoPackage."
        ) from None


def _checked(frame: pd.DataFrame, zone: ZoneInfo, system: CRS) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return points whose coordinates are numbers, with times in UTC, and what was left out."""
    x, y = (pd.to_numeric(frame[name], errors="coerce").to_numpy(float) for name in ("x", "y"))
    sound = np.isfinite(x) & np.isfinite(y)
    at_null = sound & (x == 0) & (y == 0)
    left_out = {"without coordinates": int((~sound).sum()), "at 0, 0 (no fix)": int(at_null.sum())}
    keep = sound & ~at_null
    if "label" in frame:
        table = pd.DataFrame({"x": x, "y": y, "label": frame["label"], "number": frame["number"]})
        return table[keep].reset_index(drop=True), {key: count for key, count in left_out.items() if count}
    time, bad = _times(frame["time"], zone)
    left_out["whose time is none"] = int(bad.sum())
    keep &= ~bad
    track = frame["track"].astype("string").fillna("").astype(str)
    table = pd.DataFrame({"x": x, "y": y, "time": time, "track": track})
    return table[keep].reset_index(drop=True), {key: count for key, count in left_out.items() if count}


def _times(given: pd.Series, zone: ZoneInfo) -> tuple[pd.DatetimeIndex, np.ndarray]:
    """Return times in UTC without a zone, NaT where none is given, and which texts are no times."""
    if pd.api.types.is_datetime64_any_dtype(given):
        zoned = given.dt.tz is not None
        found = pd.DatetimeIndex(given)
        found = found.tz_convert("UTC") if zoned else _localised(found, zone)
        return found.tz_localize(None).as_unit("ns"), np.zeros(len(given), bool)
    words = given.astype("string").str.strip()
    there = (words.fillna("") != "").to_numpy(bool)
    with_offset = words.str.contains(r"(?:Z|[+-]\d\d:?\d\d)$", na=False).to_numpy(bool)
    times = np.full(len(words), np.datetime64("NaT", "ns"))
    for part, aware in ((with_offset, True), (there & ~with_offset, False)):
        if part.any():
            read = pd.to_datetime(words[part], utc=aware, errors="coerce", format="ISO8601")
            utc = pd.DatetimeIndex(read) if aware else _localised(pd.DatetimeIndex(read), zone)
            times[part] = utc.tz_localize(None).to_numpy("datetime64[ns]")
    found = pd.DatetimeIndex(times)
    return found, np.asarray(found.isna() & there)


def _localised(times: pd.DatetimeIndex, zone: ZoneInfo) -> pd.DatetimeIndex:
    """Return local times in UTC; an hour that clocks show twice is the first of them."""
    ambiguous = np.ones(len(times), bool)
    return times.tz_localize(zone, ambiguous=ambiguous, nonexistent="shift_forward").tz_convert("UTC")


def _is_turned(table: pd.DataFrame, system: CRS, near: Any) -> bool:
    """Return whether x and y of points in degrees stand the wrong way round."""
    if not system.is_geographic:
        return False
    x, y = table["x"].to_numpy(), table["y"].to_numpy()
    if (np.abs(y) > 90).any() and (np.abs(x) <= 90).all():
        return True
    if near is None:
        return False
    west, south, east, north = near

    def inside(lon: np.ndarray, lat: np.ndarray) -> int:
        return int(((lon >= west) & (lon <= east) & (lat >= south) & (lat <= north)).sum())

    return inside(x, y) == 0 < inside(y, x)


# === Counts in pixels ===


def still_time(table: pd.DataFrame, crs: Any, within_m: float = 5.0, longest_s: float = 60.0) -> pd.DataFrame:
    """Return points with the columns seconds, weight and repeated, track by track in order of time.

    A phone reports every so many seconds, also while its worker has a break. The weight of a point is the
    time until the next one in units of the usual interval, at most `longest_s` seconds; where the worker did
    not move, only the first point counts, so that a break counts once.

    Args:
        table: Points with x, y, time and track.
        crs: Reference system of x and y.
        within_m: Distance in metres below which a worker has not moved.
        longest_s: Longest time in seconds that a point stands for.

    Raises:
        DataError: If points have no time.
    """
    if table["time"].isna().all():
        raise DataError("The points have no times: count them, or give a file with times.")
    table = table.sort_values(["track", "time"], kind="stable", ignore_index=True)
    x, y = positions_m(table["x"], table["y"], crs)
    same = (table["track"] == table["track"].shift()).to_numpy()
    step = np.hypot(np.diff(x, prepend=x[:1]), np.diff(y, prepend=y[:1]))
    repeated = same & (step < within_m)
    seconds = (table["time"].shift(-1) - table["time"]).dt.total_seconds().to_numpy()
    ends = (table["track"] != table["track"].shift(-1)).to_numpy() | ~np.isfinite(seconds)
    steps = seconds[~ends & (seconds > 0)]  # of times to the minute many are the same
    usual = float(np.median(steps)) if len(steps) else 1.0
    seconds = np.where(ends, usual, np.minimum(seconds, longest_s))
    weight = np.where(repeated, 0.0, seconds / usual)
    return table.assign(seconds=seconds, repeated=repeated, weight=weight)


def pixels_at(points: Points, grid: GeoBox) -> tuple[np.ndarray, np.ndarray]:
    """Return row and column, int64, of the pixel that each point lies in; -1 outside of the grid."""
    to_grid = Transformer.from_crs(points.crs, CRS.from_user_input(str(grid.crs)), always_xy=True)
    x, y = to_grid.transform(points.table["x"].to_numpy(), points.table["y"].to_numpy())
    place = ~grid.transform
    x, y = np.asarray(x), np.asarray(y)
    column, row = place.a * x + place.b * y + place.c, place.d * x + place.e * y + place.f
    inside = (column >= 0) & (column < grid.width) & (row >= 0) & (row < grid.height)
    row, column = (np.where(inside, axis, -1).astype(np.int64) for axis in (row, column))
    return row, column


def count_in(points: Points, grid: GeoBox, into: np.ndarray | None = None) -> tuple[np.ndarray, int]:
    """Count points in the pixels of a grid.

    Args:
        points: A chunk of points; with a column ``weight`` its sum is counted.
        grid: The grid, of any reference system and orientation.
        into: Counts of chunks before, to which these are added.

    Returns:
        float64 (y, x), and the number of points outside of the grid.
    """
    counts = np.zeros(grid.shape) if into is None else np.ascontiguousarray(into)
    row, column = pixels_at(points, grid)
    inside = row >= 0
    flat = row[inside] * grid.width + column[inside]
    weight = points.table["weight"].to_numpy()[inside] if "weight" in points.table else 1.0
    np.add.at(counts.reshape(-1), flat, weight)  # bincount would take an array of the whole grid each time
    return counts, int((~inside).sum())


def kernel_density(counts: np.ndarray, grid: GeoBox, bandwidth_m: float) -> np.ndarray:
    """Return counts smoothed by a Gaussian kernel, in points a pixel; their sum stays.

    Args:
        counts: Points in each pixel (y, x).
        grid: Their grid.
        bandwidth_m: Standard deviation of the kernel in metres, above 0.
    """
    if not bandwidth_m > 0:
        raise ParameterError(f"bandwidth_m is {bandwidth_m!r}: give a distance above 0 in metres.")
    height_m, width_m = pixel_size_m(grid)
    return gaussian_filter(counts, (bandwidth_m / height_m, bandwidth_m / width_m), mode="constant")


def share_of_highest(
    counts: np.ndarray, mask: np.ndarray, percentile: float = 97.0
) -> tuple[np.ndarray, float]:
    """Scale counts to 0 to 1, with all from an upper threshold on as 1.

    Args:
        counts: Points in each pixel, any shape.
        mask: Which pixels the percentile is taken over, the same shape.
        percentile: Percentile of their counts that is the upper threshold, above 0 and up to 100.

    Returns:
        float32 of the same shape, and the threshold.

    Raises:
        DataError: If the threshold is 0, as no pixel has points.
    """
    if not 0 < percentile <= 100:
        raise ParameterError(f"percentile is {percentile!r}: give one above 0 and up to 100.")
    threshold = float(np.percentile(counts[mask], percentile))
    if threshold <= 0:
        raise DataError(
            f"The {percentile:g}th percentile of the counts is 0: fewer pixels than that hold a point; take "
            "a higher percentile, or a mask of pixels with points."
        )
    return (np.minimum(counts, threshold) / threshold).astype(np.float32), threshold
