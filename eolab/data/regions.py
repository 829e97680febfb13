"""Regions: polygons of any vector file, checked, repaired and laid on a pixel grid.

Each feature becomes a region, or is listed with the reason why not. Shapefiles, GeoPackage, GeoJSON, KML and
whatever else GDAL reads; reference systems are taken from the file and may differ from that of the images.

Example:
    >>> regions = read_regions("stands.gpkg", column="need")
    >>> placed = on_grid(regions, series.odc.geobox)
    >>> placed.table[["id", "label", "row", "column", "height", "width"]], placed.left_out
"""

import re
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import rasterio
import shapely
from odc.geo.geobox import GeoBox
from pyogrio.errors import DataSourceError
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import CRSError
from rasterio.enums import MergeAlg
from rasterio.features import rasterize

from eolab.core.errors import DataError, ParameterError, check_known, reason_of, warn
from eolab.data.catalog import DataEntry
from eolab.data.ground import positions_m
from eolab.data.layouts.resample import touched

_EPSG_IN_NAME = re.compile(r"(?:epsg|srid)[ _:-]?(\d{4,5})(?!\d)", re.IGNORECASE)
OUTSIDE = "lies outside of the images"
_OUTSIDE = 20.0  # degrees of longitude that coordinates may lie beside a reference system's area of use


class Regions(NamedTuple):
    """Polygons and what was left out.

    Attributes:
        table: A row a region: id (its number in the file), label (text, empty where the file has no class
            column), geometry (polygons), area_ha, note (``repaired``, ``several parts``, ``partly outside``).
        left_out: A row a feature that is no region: id, reason.
    """

    table: gpd.GeoDataFrame
    left_out: pd.DataFrame


def read_regions(
    file: str | Path, column: str = "", layer: str = "", crs: Any = None, keep_unlabelled: bool = False
) -> Regions:
    """Read the polygons of a vector file.

    Args:
        file: The file.
        column: Column of the class; without one all regions have the label "".
        layer: Layer of a file with several; by default the only one that holds polygons.
        crs: Reference system where the file states none, or a wrong one.
        keep_unlabelled: Whether features without a class are regions too.

    Raises:
        DataError: If the file cannot be read, holds no polygon or no reference system, or its coordinates
            cannot be of that system.
        ParameterError: If there is no such layer or column, or one must be chosen.
    """
    frame = _read(Path(file), layer)
    frame = _placed(frame, Path(file), crs)
    if column:
        check_known(column, frame.columns.drop("geometry"), f"{file} has no column {column!r}")
    labels = frame[column] if column else pd.Series("", index=frame.index)
    rows, left_out = [], []
    for number, (shape, label) in enumerate(zip(frame.geometry, labels, strict=True)):
        polygon, note = _polygon(shape)
        text = "" if pd.isna(label) else as_text(label)
        if column and not text and not keep_unlabelled and polygon is not None:
            polygon, note = None, f"has no class in the column {column}"
        if polygon is None:
            left_out.append((number, note))
        else:
            rows.append((number, text, note, polygon))
    if not rows:
        why = f"; feature {left_out[0][0]} {left_out[0][1]}" if left_out else ""
        raise DataError(f"{file} holds no polygon that can be used{why}: give a file with polygons.")
    table = gpd.GeoDataFrame(rows, columns=["id", "label", "note", "geometry"], crs=frame.crs)
    table["area_ha"] = areas_ha(table)
    return Regions(table, pd.DataFrame(left_out, columns=["id", "reason"]))


def of_entry(entry: DataEntry, name: str, **options: Any) -> Regions:
    """Read the polygons that an entry of the catalogue names; see :func:`read_regions`.

    Args:
        entry: The entry, with a block ``labels``.
        name: Name of the labels there.
        **options: Arguments that go before what the entry states.
    """
    file, facts = entry.label_file(name)
    return read_regions(file, **{**facts, **options})


def as_text(label: Any) -> str:
    """Return a class as text: 3.0, as tables with gaps hold whole numbers, is 3."""
    whole = isinstance(label, float) and label.is_integer()
    return str(int(label) if whole else label).strip()


def _read(file: Path, layer: str) -> gpd.GeoDataFrame:
    """Return the features of the layer that is meant."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of GDAL, on what it repairs in reading
            kinds = {str(name): str(kind) for name, kind in pyogrio.list_layers(file)}
            polygons = [
                name for name, kind in kinds.items() if "Polygon" in kind or kind in ("Unknown", "None")
            ]
            polygons = [name for name in polygons if kinds[name] != "None"]
            if layer:
                check_known(layer, kinds, f"{file} has no layer {layer!r}")
            elif len(polygons) > 1:
                raise ParameterError(f"{file} has the layers {', '.join(polygons)}: choose one with layer=.")
            chosen = layer or (polygons or list(kinds))[0]
            frame = gpd.read_file(file, layer=chosen, use_arrow=False)
    except (DataSourceError, OSError, ValueError, IndexError, RuntimeError) as error:
        why = "does not exist: check its path"
        if file.exists():
            why = f"is no vector file ({reason_of(error)}): give a GeoPackage, Shapefile, GeoJSON or KML"
        raise DataError(f"{file} {why}.") from None
    if not isinstance(frame, gpd.GeoDataFrame):
        raise DataError(f"{file} is a table without geometry: give a file with polygons.")
    return frame.rename_geometry("geometry") if frame.geometry.name != "geometry" else frame


def _placed(frame: gpd.GeoDataFrame, file: Path, crs: Any) -> gpd.GeoDataFrame:
    """Return features with a reference system that their coordinates can be in."""
    try:
        given = CRS.from_user_input(crs) if crs is not None else None
    except CRSError as error:
        raise ParameterError(f"crs is {crs!r}, which is no reference system ({reason_of(error)}).") from None
    if given is None and frame.crs is None:
        raise DataError(f"{file} states no reference system (a .prj is missing?): give it with crs=.")
    system = given or CRS.from_user_input(frame.crs)
    named = _EPSG_IN_NAME.search(file.name)
    if given is None and named and system.to_epsg() not in (None, int(named[1])):
        warn(
            f"{file.name} names EPSG:{named[1]} but states {system.name} (EPSG:{system.to_epsg()}), which is "
            "taken: give crs= if that is wrong."
        )
    frame = frame.set_crs(system, allow_override=True)
    check_extent(frame.total_bounds, system, str(file))
    return frame


def check_extent(bounds: Any, system: CRS, name: str) -> None:
    """Refuse coordinates that cannot be in a reference system.

    Args:
        bounds: (west, south, east, north); NaN where there is nothing.
        system: The reference system.
        name: What they are of, for the error.

    Raises:
        DataError: If they are metres in a system of degrees, degrees in one of metres, or far outside.
    """
    edges = np.array(bounds, float)
    if not np.isfinite(edges).all():
        return
    low, high = edges[:2], edges[2:]
    like_degrees = bool((np.abs(edges) <= (360, 90, 360, 90)).all())
    wrong = not like_degrees if system.is_geographic else like_degrees
    if not wrong and not system.is_geographic and system.area_of_use is not None:
        to_degrees = Transformer.from_crs(system, system.geodetic_crs, always_xy=True)
        lon, _ = to_degrees.transform(*((low + high) / 2))
        west, _, east, _ = system.area_of_use.bounds  # north of the equator is used for south of it too
        beside = (
            min(abs((lon - edge + 180) % 360 - 180) for edge in (west, east)) if np.isfinite(lon) else 999
        )
        wrong = not (west <= lon <= east or west > east) and beside > _OUTSIDE
    if wrong:
        unit = "degrees" if system.is_geographic else "units"
        raise DataError(
            f"{name} has coordinates of {low[0]:g} to {high[0]:g} and {low[1]:g} to {high[1]:g}, which are "
            f"no {unit} of {system.name}: give its true reference system with crs=."
        )


def _polygon(shape: Any) -> tuple[Any, str]:
    """Return a shape as polygons and a note, or None and the reason why it is no region."""
    if shape is None or shape.is_empty:
        return None, "has no geometry"
    if shape.geom_type not in ("Polygon", "MultiPolygon", "GeometryCollection"):
        return None, f"is a {shape.geom_type}, expected a polygon"
    shape, notes = shapely.force_2d(shape), []
    if not shape.is_valid:
        shape = shapely.make_valid(shape)
        notes.append("repaired")
    parts = [part for part in shapely.get_parts(shape) if part.geom_type in ("Polygon", "MultiPolygon")]
    parts = [part for whole in parts for part in shapely.get_parts(whole) if part.area > 0]
    if not parts:
        return None, "encloses no area"
    if len(parts) > 1:
        notes.append("several parts")
    return (shapely.MultiPolygon(parts) if len(parts) > 1 else parts[0]), ", ".join(notes)


def areas_ha(table: gpd.GeoDataFrame) -> np.ndarray:
    """Return the area of each polygon in hectares on the ground."""
    geod = Geod(ellps="WGS84")  # whose areas differ from those of other ellipsoids by less than a thousandth
    shapes = table.geometry.to_crs(CRS.from_user_input(table.crs).geodetic_crs).segmentize(0.05)
    return np.array([abs(geod.geometry_area_perimeter(shape)[0]) / 1e4 for shape in shapes])


# === On a pixel grid ===


def on_grid(regions: Regions, grid: GeoBox, all_touched: bool = False) -> Regions:
    """Bring regions to a pixel grid.

    Args:
        regions: The regions.
        grid: The grid; regions are brought to its reference system.
        all_touched: Whether pixels that a region only touches are its pixels too; by default those whose
            centres lie in it.

    Returns:
        The regions that have pixels, with the columns row, column, height, width of the rectangle of pixels
        around each, and pixels, their number. Those outside of the grid or smaller than a pixel are left out.
    """
    table = regions.table.to_crs(grid.crs).copy()
    frame = shapely.box(*grid.boundingbox.bbox)
    rows, left_out, notes = [], [], []
    with rasterio.Env():  # one for all: entering it takes a fifth of the time of a small region
        for number, shape, note in zip(table["id"], table.geometry, table["note"], strict=True):
            box, reason = _rectangle(shape, frame, grid, all_touched)
            if reason:
                left_out.append((number, reason))
            outside = "" if reason or frame.covers(shape) else "partly outside"
            notes.append(", ".join(part for part in (note, outside) if part))
            rows.append(box)
    columns = ["row", "column", "height", "width", "pixels"]
    table[columns] = np.array(rows, np.int64).reshape(-1, len(columns))
    table["note"] = notes
    more = pd.DataFrame(left_out, columns=["id", "reason"])
    kept = table[table["pixels"] > 0].reset_index(drop=True)
    return Regions(kept, pd.concat([regions.left_out, more], ignore_index=True))


def _rectangle(shape: Any, frame: Any, grid: GeoBox, all_touched: bool) -> tuple[tuple[int, ...], str]:
    """Return row, column, height, width and number of pixels of a polygon, and why it has none."""
    if not shape.intersects(frame):
        return (0, 0, 0, 0, 0), OUTSIDE
    rows, columns = touched(grid, shape.bounds)
    part = grid[rows, columns]
    if 0 in part.shape:
        return (0, 0, 0, 0, 0), OUTSIDE
    inside = pixels_of(shape, part, all_touched)
    if not inside.any():
        return (0, 0, 0, 0, 0), "holds the centre of no pixel"
    return (rows.start, columns.start, *part.shape, int(inside.sum())), ""


def pixels_of(shape: Any, grid: GeoBox, all_touched: bool = False) -> np.ndarray:
    """Return which pixels of a grid lie in a polygon of its reference system, bool (y, x)."""
    burnt = rasterize(
        [(shape, 1)], grid.shape, transform=grid.transform, all_touched=all_touched, dtype="uint8"
    )
    return burnt.astype(bool)


def label_map(
    table: gpd.GeoDataFrame, grid: GeoBox, values: Any, ignore: int = 255, all_touched: bool = False
) -> tuple[np.ndarray, int]:
    """Return the value of the region at each pixel.

    Args:
        table: Regions in any reference system.
        grid: The grid.
        values: Whole number of each region, 0 to 65,535.
        ignore: Value of pixels in no region, and of those where regions of different values overlap.
        all_touched: Whether pixels that a region only touches count.

    Returns:
        uint8 or uint16 (y, x), and how many pixels lie in regions of different values.
    """
    shapes = list(zip(table.geometry.to_crs(grid.crs), np.asarray(values).tolist(), strict=True))
    dtype = "uint8" if max([ignore, *(value for _, value in shapes)]) < 256 else "uint16"
    given: dict[str, Any] = {"transform": grid.transform, "all_touched": all_touched, "dtype": dtype}
    shapes = [(shape, value) for shape, value in shapes if shape is not None and not shape.is_empty]
    if not shapes:
        return np.full(grid.shape, ignore, dtype), 0
    shapes.sort(key=lambda pair: pair[1])
    highest = rasterize(shapes, grid.shape, fill=ignore, **given)
    lowest = rasterize(shapes[::-1], grid.shape, fill=ignore, **given)
    torn = highest != lowest
    return np.where(torn, np.array(ignore, dtype), highest), int(torn.sum())


def in_several(table: gpd.GeoDataFrame, grid: GeoBox) -> np.ndarray:
    """Return which pixels (y, x) of a grid lie in several regions, however many regions there are."""
    shapes = [
        (shape, 1) for shape in table.geometry.to_crs(grid.crs) if shape is not None and not shape.is_empty
    ]
    if not shapes:
        return np.zeros(grid.shape, bool)
    options: dict[str, Any] = {"transform": grid.transform, "merge_alg": MergeAlg.add, "dtype": "uint16"}
    return np.asarray(rasterize(shapes, grid.shape, **options) > 1)


def centres_m(table: gpd.GeoDataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the middle of each region in metres, see :func:`eolab.data.ground.positions_m`."""
    middle = table.geometry.representative_point()
    return positions_m(middle.x.to_numpy(), middle.y.to_numpy(), table.crs)
