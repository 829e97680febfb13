"""Crop types of parcels from a series of images: GeoTIFFs by date and polygons, a study of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import rioxarray
import xarray as xr
from rasterio.features import rasterize

from eolab.core.errors import DataError
from eolab.data.schemes import IGNORE, ClassScheme
from eolab.data.store import ArraySpec

CROPS = ClassScheme("Crops", (1, 2, 3), ("Barley", "Maize", "Grass"), ("#ccb974", "#55a868", "#8172b2"))
BANDS = ("B04", "B08")


def open_layout(path: Path) -> xr.Dataset:
    """Open images by date with the crop and the number of the parcel of each pixel.

    Returns:
        ``image (time, band, y, x)`` reflectance, NaN where a date has no value; ``label`` and ``parcel``
        (y, x), 255 and -1 outside parcels.
    """
    files = sorted(path.glob("????-??-??.tif"))
    if not files:
        raise DataError(f"{path} has no images: expected GeoTIFFs such as 2020-04-01.tif.")
    dates = pd.DatetimeIndex([file.stem for file in files], name="time")
    images = [rioxarray.open_rasterio(file, masked=True) for file in files]
    image = xr.concat(images, dates).assign_coords(band=list(BANDS)) / 10_000
    parcels = gpd.read_file(path / "parcels.gpkg").to_crs(image.rio.crs)
    codes = parcels["crop"].map(CROPS.names.index)
    grid: dict[str, Any] = {"out_shape": image.shape[-2:], "transform": image.rio.transform()}
    label = rasterize(zip(parcels.geometry, codes, strict=True), fill=IGNORE, dtype="uint8", **grid)
    number = rasterize(zip(parcels.geometry, parcels.index, strict=True), fill=-1, dtype="int32", **grid)
    return xr.Dataset({"image": image, "label": (("y", "x"), label), "parcel": (("y", "x"), number)})


def check_layout(path: Path, progress: bool = True) -> pd.DataFrame:
    """Return one row a file: file, status, reason."""
    names = [file.name for file in sorted(path.glob("*.tif"))]
    return pd.DataFrame({"file": names, "status": "ok", "reason": ""})


def sample_table(series: xr.Dataset, per_parcel: int, seed: int) -> pd.DataFrame:
    """Draw pixels of each parcel; a row a pixel: id, row, col, parcel, label, part."""
    rng = np.random.default_rng(seed)
    label, parcel = series["label"].to_numpy().ravel(), series["parcel"].to_numpy().ravel()
    pixels = [np.flatnonzero(parcel == number) for number in np.unique(parcel[parcel >= 0])]
    flat = np.sort(np.concatenate([rng.permutation(found)[:per_parcel] for found in pixels]))
    row, col = np.divmod(flat, series.sizes["x"])
    table = pd.DataFrame({"id": np.arange(len(flat)), "row": row, "col": col, "part": row // 64})
    return table.assign(parcel=parcel[flat], label=label[flat])


def store_arrays(series: xr.Dataset) -> dict[str, ArraySpec]:
    """Return what the store holds of one pixel."""
    shape = (series.sizes["time"], series.sizes["band"])
    return {
        "image": ArraySpec(("time", "band"), shape, "float32", {"units": "reflectance"}),
        "valid": ArraySpec(("time",), shape[:1], "bool", {}),
        "label": ArraySpec((), (), "uint8", {}),
    }


def sample_producer(series: xr.Dataset) -> Callable[[pd.DataFrame], dict[str, np.ndarray]]:
    """Return the function that fills a part of the store: a band of 64 rows of pixels."""

    def part(rows: pd.DataFrame) -> dict[str, np.ndarray]:
        top = int(rows["row"].min()) // 64 * 64
        window = series["image"].isel(y=slice(top, top + 64)).transpose("y", "x", "time", "band").to_numpy()
        image = window[rows["row"].to_numpy() - top, rows["col"].to_numpy()].astype(np.float32)
        return {
            "image": image,
            "valid": np.isfinite(image).all(axis=-1),
            "label": rows["label"].to_numpy(np.uint8),
        }

    return part


def store_metadata(series: xr.Dataset, dataset: str) -> dict[str, Any]:
    """Return what the store says of itself."""
    dates = np.datetime_as_string(series["time"].to_numpy(), unit="D").tolist()
    return {"coords": {"time": dates, "band": list(BANDS), "class": list(CROPS.names)}, "dataset": dataset}
