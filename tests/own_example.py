"""Small folders of one's own data: GeoTIFF images, maps, polygons and tables, as people bring them."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from affine import Affine

from eolab.data import catalog

CORNER = (500_000.0, 4_900_000.0)
CRS = "EPSG:32633"
BANDS = ("B02", "B03", "B04", "B08")


def image(file: Path, array: np.ndarray, pixel: float = 10.0, names=BANDS, place=CORNER, crs=CRS, **options):
    """Write an image (band, y, x), or a map (y, x) whose bands have no names."""
    bands = array if array.ndim == 3 else array[None]
    file.parent.mkdir(parents=True, exist_ok=True)
    transform = Affine(pixel, 0, place[0], 0, -pixel, place[1])
    facts = {"driver": "GTiff", "height": bands.shape[1], "width": bands.shape[2], "count": len(bands)}
    with rasterio.open(
        file, "w", dtype=bands.dtype.name, crs=crs, transform=transform, **facts, **options
    ) as raster:
        raster.write(bands)
        for number, name in enumerate(names if array.ndim == 3 else (), start=1):
            raster.set_band_description(number, name)
    return file


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    """Return digital numbers of reflectance."""
    return np.random.default_rng(seed).integers(200, 4000, shape).astype("uint16")


def series(folder: Path, days=("2020-03-05", "2020-06-11", "2020-09-02"), size: int = 24) -> Path:
    """Write images of several days into ``images/``."""
    for number, day in enumerate(days):
        image(folder / f"images/fields_{day}.tif", numbers(4, size, size, seed=number), nodata=0)
    return folder


def polygons(file: Path, rows: list[tuple[str, tuple[float, float, float, float]]], crs: str = CRS) -> Path:
    """Write rectangles, given in pixels of 10 m (column, row, column, row) from the corner, with a class."""
    shapes = [
        shapely.box(
            CORNER[0] + 10 * west, CORNER[1] - 10 * south, CORNER[0] + 10 * east, CORNER[1] - 10 * north
        )
        for _, (west, north, east, south) in rows
    ]
    frame = gpd.GeoDataFrame({"crop": [name for name, _ in rows], "geometry": shapes}, crs=CRS)
    frame.to_crs(crs).to_file(file)
    return file


def entry(folder: Path, text: str) -> catalog.DataEntry:
    """Return the entry ``mine`` of a catalogue in a folder whose block is given."""
    (folder / "mine.yaml").write_text("mine:\n  uri: .\n  layout: rasters\n" + text)
    return catalog.load(folder / "mine.yaml")["mine"]
