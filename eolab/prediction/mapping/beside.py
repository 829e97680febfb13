"""What stands beside a map where it is wanted: a STAC item, and polygons of its classes."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.features
from odc.geo.geobox import GeoBox
from rasterio.windows import Window as Part

from eolab.core.errors import DataError, ParameterError
from eolab.core.files import replacing, write_atomically
from eolab.data.ground import pixel_size_m

STAC = "1.1.0"
EXTENSIONS = [
    f"https://stac-extensions.github.io/{name}/v2.0.0/schema.json"
    for name in ("projection", "classification")
]
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
GEOPACKAGE = "application/geopackage+sqlite3"
SIDE = 2048
"""Polygons are made of squares of so many pixels, so that memory does not grow with the map."""


def write_item(path: str | Path, others: Mapping[str, str | Path] | None = None) -> Path:
    """Write a STAC item (1.1.0, https://github.com/radiantearth/stac-spec) of a map beside it.

    It has footprint, time and grid of the map, name, unit, number type and no-data value of each band, its
    classes with names and colours (extension classification), and the tags of the file as ``eolab:…``.

    Args:
        path: A map of :func:`eolab.prediction.mapping.predict_map` with the tag ``image_time``.
        others: Further files of the map by name, in its folder.

    Returns:
        The item's file, ``<name of the map>.json``.

    Raises:
        DataError: If the map has no place on the ground, or no time.
    """
    path = Path(path)
    with rasterio.open(path) as file:
        if file.crs is None:
            raise DataError(f"{path} has no reference system, which a STAC item needs: map a scene that has.")
        tags = file.tags()
        grid = GeoBox(file.shape, file.transform, file.crs)
        box = grid.boundingbox
        outline = grid.extent.to_crs("EPSG:4326", resolution=max(box.span_x, box.span_y) / 8)
        bands = [_band(file, number) for number in file.indexes]
        place = {
            "proj:code": ":".join(file.crs.to_authority() or ()) or None,
            "proj:shape": list(file.shape),
            "proj:transform": list(file.transform)[:6],
        }
        if place["proj:code"] is None:
            place["proj:wkt2"] = file.crs.to_wkt("WKT2_2019")
    own = {f"eolab:{name}": text for name, text in tags.items() if name.islower() and name != "image_time"}
    files = {"map": (path, COG), **{name: (Path(one), GEOPACKAGE) for name, one in (others or {}).items()}}
    assets: dict[str, Any] = {
        name: {"href": f"./{one.name}", "type": kind, "roles": ["data"]}
        for name, (one, kind) in files.items()
    }
    assets["map"] |= {"title": tags.get("TIFFTAG_IMAGEDESCRIPTION", path.stem), "bands": bands}
    item = {
        "type": "Feature",
        "stac_version": STAC,
        "stac_extensions": EXTENSIONS,
        "id": path.stem,
        "geometry": outline.json,
        "bbox": list(outline.boundingbox),
        "properties": _times(path, tags.get("image_time", "")) | place | own,
        "links": [],
        "assets": assets,
    }
    beside = path.with_suffix(".json")
    write_atomically(beside, json.dumps(item, indent=1, ensure_ascii=False) + "\n")
    return beside


def _band(file: rasterio.DatasetReader, number: int) -> dict[str, Any]:
    tags, nodata = file.tags(number), file.nodata
    facts: dict[str, Any] = {
        "name": file.descriptions[number - 1] or f"band {number}",
        "description": tags.get("long_name"),
        "data_type": file.dtypes[number - 1],
        "nodata": "nan" if nodata is not None and np.isnan(nodata) else nodata,
        "unit": file.units[number - 1],
    }
    if "classes" in tags:
        facts["classification:classes"] = [
            {
                "value": value,
                "name": re.sub(r"[^0-9A-Za-z_-]+", "-", one["name"]).strip("-") or f"class-{value}",
                "title": one["name"],
                "color_hint": one["color"].removeprefix("#").upper(),
            }
            for value, one in enumerate(json.loads(tags["classes"]))
        ]
    return {name: value for name, value in facts.items() if value is not None}


def _times(path: Path, text: str) -> dict[str, str | None]:
    """Return the properties of a STAC item that say when the images were taken, in UTC."""
    times = [f"{time}Z" if "T" in time else f"{time}T00:00:00Z" for time in text.split("/") if time]
    if not times:
        raise DataError(f"{path} does not say when its images were taken: map the scene again with a date.")
    if len(times) == 1:
        return {"datetime": times[0]}
    return {"datetime": None, "start_datetime": times[0], "end_datetime": times[1]}


def write_polygons(path: str | Path) -> Path:
    """Write the areas of one class of a map as polygons, a GeoPackage beside it.

    Pixels that share a side are together. A polygon ends at the border of squares of :data:`SIDE` pixels.

    Args:
        path: A map of classes of :func:`eolab.prediction.mapping.predict_map`.

    Returns:
        The file, ``<name of the map>.gpkg``, with the layer ``classes``: index of the class, code, name,
        color, and area_ha on the ground.

    Raises:
        ParameterError: If the map has no classes.
    """
    import geopandas as gpd
    import pandas as pd

    path = Path(path)
    with rasterio.open(path) as file, replacing(path.with_suffix(".gpkg"), ".tmp.gpkg") as temporary:
        text = file.tags(1).get("classes")
        if text is None:
            raise ParameterError(f"{path} holds no classes: polygons are made of maps of classes.")
        table, grid = pd.DataFrame(json.loads(text)), GeoBox(file.shape, file.transform, file.crs)
        for number, (rows, cols) in enumerate(
            (slice(row, row + SIDE), slice(col, col + SIDE))
            for row in range(0, file.height, SIDE)
            for col in range(0, file.width, SIDE)
        ):
            part = grid[rows, cols]
            classes = file.read(1, window=Part(cols.start, rows.start, part.width, part.height))
            frame = _areas(classes, part, int(file.nodata))
            facts = table.iloc[frame.pop("class").to_numpy(int)].rename_axis("class").reset_index()
            layer = gpd.GeoDataFrame(
                facts.join(frame.drop(columns="geometry")), geometry=frame["geometry"].array
            )
            layer.set_crs(file.crs).to_file(
                temporary, layer="classes", driver="GPKG", mode="a" if number else "w"
            )
    return path.with_suffix(".gpkg")


def _areas(classes: np.ndarray, grid: GeoBox, nodata: int) -> Any:
    """Return the areas of one class: class, area_ha and geometry."""
    import geopandas as gpd
    import shapely

    found = list(rasterio.features.shapes(classes, classes != nodata, 4, grid.transform))
    shapes = shapely.from_geojson([json.dumps(shape) for shape, _ in found])
    pixel_ha = np.prod(pixel_size_m(grid)) / 1e4
    pixels = shapely.area(shapes) / abs(grid.transform.determinant)
    columns = {"class": [value for _, value in found], "area_ha": pixels * pixel_ha}
    return gpd.GeoDataFrame(columns, geometry=list(shapes))
