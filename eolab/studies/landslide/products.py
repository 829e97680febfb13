"""Sentinel-2 products with an elevation model as images of Landslide4Sense, and maps of them.

The data set was made of Level-1C, top-of-atmosphere reflectance with the cirrus band B10, and of the slope in
degrees and the height in metres. :func:`open_scene` gives these 14 channels on the 10 m grid of a product,
each divided by its constant as in the published files.

Example:
    >>> scene = open_scene("S2A_MSIL1C_20170613T101031_….SAFE", "dem.tif")
    >>> scene.patch(9.18, 45.46).shape
    (128, 128, 14)
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import xarray as xr
from odc.geo.geobox import GeoBox
from pyproj import CRS
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform as to_crs
from rasterio.windows import Window

from eolab.core.errors import DataError, ParameterError
from eolab.data.layouts import landslide4sense as reader
from eolab.data.layouts import sentinel2
from eolab.data.layouts.common import reading
from eolab.data.layouts.series import of_day
from eolab.data.schemes import ClassScheme
from eolab.prediction import mapping
from eolab.prediction.serving import Form
from eolab.studies.landslide import channels
from eolab.studies.landslide.samples import CLASSES, stored_images
from eolab.studies.landslide.source import Source
from eolab.studies.products import Trained, Wanted, scene_of_bands

PIXEL_M = 10
HEIGHTS_M = (-500.0, 9000.0)
METRES = ("m", "metre", "metres", "meter", "meters")
OVERLAP = 32
SCHEME = ClassScheme.numbered("landslides", zip(CLASSES, ("#f7f4e9", "#d7301f"), strict=True))


@dataclass(frozen=True)
class Scene:
    """A product and an elevation model on one grid.

    Attributes:
        reflectance: The twelve bands (band, y, x), NaN where there are no data.
        grid: Their grid.
        dem: File of the elevation model.
    """

    reflectance: xr.DataArray
    grid: GeoBox
    dem: Path

    def read(self, row: int, col: int, height: int, width: int) -> dict[str, np.ndarray]:
        """Read a window.

        Returns:
            ``image`` (height, width, 14) float32 on the scale of the published files, where there are no data
            the window's mean; ``nodata`` (height, width) bool.
        """
        found = self.measured(row, col, height, width)
        return found | {"image": filled(found["image"][None])[0]}

    def measured(self, row: int, col: int, height: int, width: int) -> dict[str, np.ndarray]:
        """Read a window as :meth:`read` does, but with NaN where there are no data."""
        place = {"y": slice(row, row + height), "x": slice(col, col + width)}
        bands = self.reflectance.isel(place).transpose("y", "x", "band").to_numpy()
        terrain = read_terrain(self.dem, self.grid, row, col, height, width)
        image = reader.published(np.concatenate([bands, terrain], axis=-1).astype(np.float32))
        nodata = ~np.isfinite(image).all(axis=-1)
        image[nodata] = np.nan
        return {"image": image, "nodata": nodata}

    def patch(self, longitude: float, latitude: float, size: int = reader.SIZE) -> np.ndarray:
        """Return the patch (size, size, 14) around a place, on the scale of the published files.

        Raises:
            DataError: If the scene does not cover it.
        """
        (x,), (y,) = to_crs("EPSG:4326", self.grid.crs, [longitude], [latitude])
        col, row = ~self.grid.transform @ (x, y)
        first, second = (int(middle) - size // 2 for middle in (row, col))
        inside = 0 <= first <= self.grid.height - size and 0 <= second <= self.grid.width - size
        found = self.read(first, second, size, size) if inside else {"nodata": np.ones(1, bool)}
        if found["nodata"].any():
            raise DataError(
                f"The scene has no {size} × {size} pixels with data around longitude {longitude}, latitude "
                f"{latitude}: choose a place inside the product and the elevation model."
            )
        return found["image"]


def open_scene(product: str | Path, dem: str | Path, date: str = "") -> Scene:
    """Open a product of Level-1C and an elevation model.

    Args:
        product: A ``.SAFE`` folder or zip, or a folder with products of one tile.
        dem: Raster of one band with heights in metres, in any CRS; it is brought to 10 m linearly.
        date: Day of the image, such as 2017-06-13, where there are several.

    Raises:
        DataError: If one of them cannot be used, the product is no Level-1C, or they do not overlap.
        ParameterError: If there are several days and none is chosen, or there is no image of that day.
    """
    names = reader.BANDS[: reader.OPTICAL]
    options = {"resolution_m": PIXEL_M, "resampling": "bilinear", "level": "L1C"}
    try:
        series = sentinel2.open_layout(product, names, **options)  # type: ignore[arg-type]
    except DataError as error:
        raise DataError(
            f"{str(error).rstrip('.')}; a Level-1C product is needed, which Landslide4Sense was made of: its "
            "bands are top-of-atmosphere reflectance, B10 among them."
        ) from None
    image = series["reflectance"].isel(time=of_day(series, date, str(product)))
    scene = Scene(image, series.odc.geobox, Path(dem))
    _check_dem(scene)
    return scene


def _check_dem(scene: Scene) -> None:
    """Look at every 50th pixel of the elevation model on the scene.

    Raises:
        DataError: If it cannot be read, has no CRS or several bands, or no height on the scene.
    """
    coarse = scene.grid.zoom_out(min(50, *scene.grid.shape))
    heights = _heights(scene.dem, coarse, Window(0, 0, *coarse.shape[::-1]))
    if not np.isfinite(heights).any():
        raise DataError(f"{scene.dem} has no height on the scene: give an elevation model of the same place.")


def read_terrain(dem: Path, grid: GeoBox, row: int, col: int, height: int, width: int) -> np.ndarray:
    """Return slope in degrees and height in metres of a window, (height, width, 2), NaN where not known.

    The slope is that of central differences over two pixels of the grid, which is in metres.
    """
    heights = _heights(dem, grid.pad(1), Window(col, row, width + 2, height + 2))
    rise, run = np.gradient(heights, abs(grid.resolution.y), abs(grid.resolution.x))
    slope = np.degrees(np.arctan(np.hypot(rise, run)))
    return np.stack([slope, heights], axis=-1)[1:-1, 1:-1]


def _heights(dem: Path, grid: GeoBox, window: Window) -> np.ndarray:
    """Return heights (y, x) float64 of a window of a grid, NaN where there are none.

    Raises:
        DataError: If they cannot be read, or are not those of the Earth in metres.
    """
    with reading(dem, "an elevation model", "give a GeoTIFF of heights"), rasterio.open(dem) as raster:
        if raster.count != 1 or raster.crs is None:
            found = "no CRS" if raster.crs is None else f"{raster.count} bands"
            raise DataError(f"{dem} has {found}, expected one band of heights with a CRS.")
        _check_heights(dem, raster)
        options = {"crs": str(grid.crs), "transform": grid.transform, "width": grid.width}
        options |= {"height": grid.height, "resampling": Resampling.bilinear, "nodata": np.nan}
        options |= {"src_nodata": raster.nodata, "dtype": "float64"}
        with WarpedVRT(raster, **options) as warped:
            heights = warped.read(1, window=window) * raster.scales[0] + raster.offsets[0]
    low, high = np.fmin.reduce(heights, axis=None), np.fmax.reduce(heights, axis=None)
    if low < HEIGHTS_M[0] or high > HEIGHTS_M[1]:
        raise DataError(
            f"{dem} has heights of {low:.0f} to {high:.0f}, expected metres: convert it, or state the "
            "value that means no data in the file, with gdal_edit -a_nodata VALUE."
        )
    return heights


def _check_heights(dem: Path, raster: rasterio.DatasetReader) -> None:
    """Refuse a raster whose numbers cannot be heights in metres, by its unit and its number type.

    Raises:
        DataError: If it states another unit, or holds 8-bit numbers as pictures do.
    """
    unit = next(iter(filter(None, (raster.units[0], vertical_unit(raster.crs)))), "metre")
    if unit.strip().lower() not in METRES:
        raise DataError(f"{dem} states heights in {unit}, expected metres: bring them to metres, and say so.")
    if np.dtype(raster.dtypes[0]).itemsize == 1:
        raise DataError(
            f"{dem} holds {raster.dtypes[0]}, as pictures have (a hillshade), expected heights in metres: "
            "give the elevation model that it was made of, or bring heights to gdal_translate -ot Int16."
        )


def vertical_unit(crs: Any) -> str:
    """Return the unit of the heights of a reference system; empty where it has none."""
    axes = CRS.from_user_input(crs).axis_info
    return next((axis.unit_name for axis in axes if axis.direction == "up"), "")


# === Maps ===


def filled(images: np.ndarray) -> np.ndarray:
    """Return images (N, H, W, C) with the mean of each image in place of NaN; of all NaN they stay."""
    known = np.isfinite(images)
    count = np.maximum(known.sum(axis=(1, 2), keepdims=True), 1)
    mean = np.where(known, images, 0).sum(axis=(1, 2), keepdims=True, dtype=np.float64) / count
    return np.where(known | ~known.any(axis=(1, 2, 3), keepdims=True), images, mean).astype(np.float32)


def form_of(trained: Trained) -> Form:
    """Return how images are given to a network of the study: by the bands of its patches alone."""
    chosen, normalise = trained.described[2]["image"], trained.option("normalise", "none")
    bands = channels.bands_of(chosen.stored)
    if bands == reader.BANDS:
        source, content = Source(), SCHEME
    else:
        source = Source(bands, units=(1.0,) * len(bands))
        content = trained.scheme() if "class_scheme" in trained.facts else SCHEME
    alone = {*(chosen.sources or chosen.names)} <= {*bands}
    read = replace(chosen, stored=bands) if alone else chosen

    def prepare(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        image = filled(inputs["image"])
        return {"image": read.assemble(stored_images(image, normalise, source, alone))}

    return Form(bands, prepare, content, margin=0, overlap=OVERLAP, fill=np.nan)


def scene_of(trained: Trained, wanted: Wanted) -> mapping.Scene:
    """Open a scene for a network of the study.

    Patches have the size of those that it has learned from, since local colours and edges depend on it, and
    are blended. A network of published patches reads a product of Level-1C and heights, one of patches of
    one's own a scene with their bands.

    Raises:
        ParameterError: If a network of published patches is given no heights.
    """
    chosen, form = trained.described[2]["image"], form_of(trained)
    options: dict[str, Any] = {"prepare": form.prepare, "margin": form.margin, "overlap": form.overlap}
    if form.bands != reader.BANDS:
        return scene_of_bands(
            trained, wanted, replace(chosen, stored=form.bands), content=form.content, **options
        )
    if not wanted.dem:
        raise ParameterError("Networks of study landslide read heights: give --dem FILE, a GeoTIFF.")
    scene = open_scene(wanted.place, wanted.dem, wanted.date)
    time = str(scene.reflectance["time"].values)[:19]
    depends = {
        "product": str(wanted.place),
        "dem": str(wanted.dem),
        "time": time,
        "channels": list(chosen.names),
    }
    return mapping.Scene(
        Path(wanted.place).name,
        scene.grid,
        scene.measured,
        form.content,
        time,
        fill=form.fill,
        depends=depends,
        **options,
    )
