"""Labels of one's own on the grid of one's images: a mask raster, or polygons or points with their classes.

What the classes mean stands in the entry of the catalogue; without it they are what the labels hold::

    labels: {land_cover: {file: map_2015.tif}}   # or {file: fields.gpkg, column: crop}, or points.csv
    classes:
    - {code: 1, name: forest, color: "#117733"}
    - {code: 2, name: water}

Masks are brought to the grid by the nearest pixel. Points (CSV, GPX or another vector file) are the label of
the pixel that they lie in; a CSV is in degrees unless ``crs`` says otherwise. Pixels of no class are
:data:`eolab.data.schemes.IGNORE`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import pandas as pd
import pyogrio
import rasterio
import xarray as xr

from eolab.core.errors import DataError, warn
from eolab.data import regions, tracks
from eolab.data.catalog import DataEntry
from eolab.data.ground import pixel_size_m
from eolab.data.layouts import maps
from eolab.data.layouts.common import reading
from eolab.data.schemes import COLORS, IGNORE, ClassScheme, check_codes, lookup

RASTERS = (".tif", ".tiff", ".jp2", ".img", ".vrt")


class Labels(NamedTuple):
    """Labels on a grid.

    Attributes:
        label: Class index (y, x) uint8, 255 where there is none.
        scheme: The classes.
        cell_m: Side of what has one label at least: the mask's pixels in metres, of polygons and points the
            grid's.
        left_out: What could not be used: file and reason.
        points: Whether the labels are points, each of a pixel of its own.
    """

    label: xr.DataArray
    scheme: ClassScheme
    cell_m: float
    left_out: pd.DataFrame
    points: bool = False


def on_grid(entry: DataEntry, like: xr.Dataset, name: str = "") -> Labels:
    """Bring the labels that an entry names to the grid of its images.

    Args:
        entry: Entry of the catalogue with a block ``labels``.
        like: The images (…, y, x) with a reference system.
        name: Name of the labels; empty for the only one, or that of the name ``map``.

    Raises:
        DataError: If the entry names no labels, or several and none is chosen; the file cannot be used, lies
            elsewhere, or holds other classes than the entry names.
        CatalogError: If the entry names no such labels.
    """
    name = name or ("map" if "map" in entry.labels else "")
    if not name and len(entry.labels) != 1:
        found = (
            f"names the labels {', '.join(entry.labels)}: call one of them map"
            if entry.labels
            else "names no labels"
        )
        raise DataError(
            f"Data set {entry.name} of {entry.file} {found}; write a mask, polygons or points into it, "
            "such as `labels: {land_cover: {file: map.tif}}`."
        )
    name = name or next(iter(entry.labels))
    file, facts = entry.label_file(name)
    if file.suffix.lower() in RASTERS:
        return _of_mask(entry, name, file, like, facts)
    facts["column"] = _column_of(entry, name, file, facts)
    points = tracks.holds_points(file, facts.get("layer", ""))
    labels = (_of_points if points else _of_polygons)(entry, name, file, like, facts)
    return labels._replace(points=points)


def scheme_of(entry: DataEntry, codes: Iterable[int] = (), names: Sequence[str] = ()) -> ClassScheme:
    """Return the classes of an entry; where it names none, those with the codes or names that were found.

    Raises:
        DataError: If there is no class, or there are more than 254.
    """
    stated = [dict(one) for one in entry.classes]
    found = [{"code": code, "name": f"class {code}"} for code in codes] or [{"name": one} for one in names]
    classes = stated or found
    if not 0 < len(classes) < IGNORE:
        raise DataError(
            f"The labels of {entry.name} hold {len(classes)} classes, expected 1 to {IGNORE - 1}: name those "
            "that count in the block 'classes' of its entry."
        )
    columns = zip(
        *((one.get("code", number), one["name"], one.get("color")) for number, one in enumerate(classes)),
        strict=True,
    )
    numbers, titles, colors = columns
    shown = tuple(given or color for given, color in zip(colors, cycle(COLORS), strict=False))
    return ClassScheme(f"classes of {entry.name}", tuple(numbers), tuple(titles), shown)


def indices_of(entry: DataEntry, scheme: ClassScheme) -> dict[str, int]:
    """Return the class index of each label: the name of a class, or its code where the entry states codes."""
    codes = map(str, scheme.codes) if entry.classes else ()
    return {label: index for labels in (codes, scheme.names) for index, label in enumerate(labels)}


def _of_mask(entry: DataEntry, name: str, file: Path, like: xr.Dataset, facts: Mapping[str, Any]) -> Labels:
    """Return the classes of a raster of codes."""
    remedy = "give a raster of class codes, one band of whole numbers"
    with reading(file, remedy=remedy, errors=(rasterio.errors.RasterioError,)), rasterio.open(file) as raster:
        maps.need_map(file, raster)
        codes, grid = maps.around(file, raster, like)
        nothing = {raster.nodata} if raster.nodata is not None else set()
    if codes.dtype.kind == "f":  # as QGIS writes them
        codes = np.where(np.isfinite(codes), codes, 0)
        if (codes != np.rint(codes)).any():
            raise DataError(
                f"{file} holds fractions such as {codes[codes != np.rint(codes)][0]:g}: {remedy}."
            )
        codes = codes.astype(np.int64)
    there = np.unique(codes).tolist()
    scheme = scheme_of(entry, [code for code in there if code not in nothing and code != 0])
    nothing |= {0} - set(scheme.codes)
    known = ", ".join(map(str, scheme.codes))
    check_codes(
        codes, scheme.codes, nothing, file, f"the codes that the entry of {entry.name} names, {known}"
    )
    classes = lookup(codes, {code: index for index, code in enumerate(scheme.codes)})
    return _labels(maps.onto(classes, grid, like, IGNORE), scheme, min(pixel_size_m(grid)), name, [])


def _column_of(entry: DataEntry, name: str, file: Path, facts: Mapping[str, Any]) -> str:
    """Return the column of the classes; of waypoints without one their type, else their name."""
    if facts.get("column"):
        return str(facts["column"])
    if file.suffix.lower() == ".gpx":
        kinds = pyogrio.read_dataframe(file, layer="waypoints", columns=["type"], read_geometry=False)
        return "type" if kinds["type"].notna().any() else "name"
    columns = tracks.columns_of(file, facts.get("layer", ""))
    raise DataError(
        f"{file} has the columns {', '.join(columns)}, and the entry of {entry.name} does not say which "
        f"holds the classes: write `{name}: {{file: {file.name}, column: …}}`."
    )


def _of_points(entry: DataEntry, name: str, file: Path, like: xr.Dataset, facts: Mapping[str, Any]) -> Labels:
    """Return the classes of points, each the label of its pixel; those that cannot be used are left out."""
    grid = like.odc.geobox
    near = grid.geographic_extent.boundingbox.bbox
    parts, uncounted = [], Counter[str]()
    for points in tracks.of_entry(entry, name, column=facts["column"], near=near):
        row, col = tracks.pixels_at(points, grid)
        parts.append(points.table.assign(row=row, col=col))
        uncounted.update(points.left_out)
    table = pd.concat(parts, ignore_index=True)
    inside = (table["row"] >= 0).to_numpy()
    _need_inside(file, "points", int(inside.sum()), len(table), grid)
    found = sorted(set(table["label"][inside]) - {""})
    scheme = scheme_of(entry, names=() if entry.classes else found)
    _need_named(entry, scheme, file, "point", set(table["label"]) - {""})
    number = table["label"].map(indices_of(entry, scheme))
    row, col = (table[axis].to_numpy().clip(0) for axis in ("row", "col"))
    reasons = {
        regions.OUTSIDE: ~inside,
        f"has no class in the column {facts['column']}": table["label"] == "",
        "has a class that the entry does not name": number.isna(),
        "lies where the images have no data": ~_has_data(like, row, col),
    }
    reason = np.select([np.asarray(one) for one in reasons.values()], list(reasons), "").astype(object)
    pixel = row * grid.width + col
    several = number[reason == ""].groupby(pixel[reason == ""]).transform("nunique") > 1
    reason[several.index[several]] = "lies in the pixel of a point of another class"
    used = np.asarray(reason == "", bool)
    left_out = [
        (f"{file.name} {_point(file, at)}", why + (f": {label!r}" if "does not name" in why else ""))
        for at, label, why in zip(table["number"], table["label"], reason, strict=True)
        if why
    ]
    left_out += [(f"{file.name} {count} points", f"are {why}") for why, count in uncounted.items()]
    if not used.any():
        why = f"; {left_out[0][0]} {left_out[0][1]}" if left_out else ""
        raise DataError(f"{file} has no point that can be used on the images of {entry.name}{why}.")
    values = np.full(grid.shape, IGNORE, np.uint8)
    values[row[used], col[used]] = number[used]
    return _labels(maps.onto(values, grid, like, IGNORE), scheme, min(pixel_size_m(grid)), name, left_out)


def _need_inside(file: Path, kind: str, inside: int, count: int, grid: Any) -> None:
    """Refuse a file of which nothing lies in the images."""
    if not inside:
        bounds = ", ".join(f"{edge:.10g}" for edge in grid.boundingbox.bbox)
        epsg = grid.crs.to_epsg()
        raise DataError(
            f"0 of {count} {kind} of {file} lie in the images (bounds {bounds}, CRS "
            f"{f'EPSG:{epsg}' if epsg else grid.crs}): check the columns and the `crs` of the entry."
        )


def _need_named(entry: DataEntry, scheme: ClassScheme, file: Path, kind: str, labels: set[str]) -> None:
    """Say which classes of the entry a file lacks; refuse where names differ and one is left at most."""
    index = indices_of(entry, scheme)
    there = {index[label] for label in labels if label in index}
    missing = [name for number, name in enumerate(scheme.names) if number not in there]
    if not entry.classes or not missing:
        return
    said = (
        f"No {kind} of {file} has the class {', '.join(missing)}; the file has "
        f"{', '.join(sorted(labels)[:12]) or 'none'}: correct the block 'classes' of the entry {entry.name}."
    )
    if len(there) < 2 and labels - set(index):
        raise DataError(said)
    warn(said)


def _point(file: Path, number: int) -> str:
    return f"line {number + 2}" if file.suffix.lower() in tracks.TABLES else f"point {number}"


def _has_data(like: xr.Dataset, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """Return whether the first band has a value at pixels in any image; images are read until all have."""
    image = next(one for one in like.values() if {"y", "x"} <= set(one.dims) and one.dtype.kind == "f")
    band = image.isel({axis: 0 for axis in image.dims if axis not in ("time", "y", "x")})
    left = np.arange(len(row))
    for number in range(band.sizes.get("time", 1)):
        if len(left):
            one = band.isel(time=number) if "time" in band.dims else band
            at = {axis: xr.DataArray(places[left], dims="point") for axis, places in (("y", row), ("x", col))}
            left = left[np.isnan(one.isel(at).to_numpy())]
    found = np.ones(len(row), bool)
    found[left] = False
    return found


def _of_polygons(
    entry: DataEntry, name: str, file: Path, like: xr.Dataset, facts: Mapping[str, Any]
) -> Labels:
    """Return the classes of polygons; those of a class that the entry does not name are left out."""
    grid = like.odc.geobox
    read = regions.of_entry(entry, name)
    found = regions.on_grid(read, grid)
    table = found.table
    outside = int((found.left_out["reason"] == regions.OUTSIDE).sum())
    _need_inside(file, "polygons", len(read.table) - outside, len(read.table), grid)
    scheme = scheme_of(entry, names=sorted(set(table["label"])) if not entry.classes else ())
    _need_named(entry, scheme, file, "polygon", set(read.table["label"]))
    index = indices_of(entry, scheme)
    known = table["label"].isin(list(index))
    left_out = [
        (f"{file.name} polygon {row['id']}", row["reason"]) for row in found.left_out.to_dict("records")
    ]
    left_out += [
        (f"{file.name} polygon {row['id']}", f"has the class {row['label']!r}, which the entry does not name")
        for row in table[~known].to_dict("records")
    ]
    table = table[known]
    if table.empty:
        why = f"; {left_out[0][0]} {left_out[0][1]}" if left_out else ""
        raise DataError(f"{file} has no polygon that can be used on the images of {entry.name}{why}.")
    values, torn = regions.label_map(table, grid, table["label"].map(index))
    if torn:
        warn(f"{torn:,} pixels lie in polygons of {file.name} of different classes: they have no label.")
    blank = maps.onto(values, grid, like, IGNORE)
    return _labels(blank, scheme, min(pixel_size_m(grid)), name, left_out)


def _labels(
    label: xr.DataArray, scheme: ClassScheme, cell_m: float, name: str, left_out: list[tuple[str, str]]
) -> Labels:
    label.attrs = {"long_name": name, "nodata": IGNORE}
    return Labels(label, scheme, float(cell_m), pd.DataFrame(left_out, columns=["file", "reason"]))
