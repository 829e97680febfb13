"""Files of the scenes twin: GeoTIFFs of one band, metadata of patches, lists and tables of both versions."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile
from rasterio.crs import CRS

from eolab.data.schemes.bigearthnet import CLASSES_43, class_set
from eolab.synthetic.bigearthnet_places import PATCH_M, radar_product, radar_time
from eolab.synthetic.bigearthnet_plan import Patch

Array = np.ndarray

LISTS = {"train": "train.csv", "validation": "val.csv", "test": "test.csv"}
"""Version 1's list of each split: names of Sentinel-2 and Sentinel-1, no header, CRLF."""
SNOW_LIST = "patches_with_seasonal_snow.csv"
CLOUD_LIST = "patches_with_cloud_and_shadow.csv"
NO_CLASS_LIST = "patches_with_no_19_class_targets.csv"
METADATA = "metadata.parquet"
BAD_WEATHER = "metadata_for_patches_with_snow_cloud_or_shadow.parquet"

_STRIP_BYTES = 8192
_PIXEL_SCALE, _TIE_POINT, _GEO_KEYS = 33550, 33922, 34735
_KEYS = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1)  # projected, pixels are areas, EPSG code


def names_v1(patch: Patch) -> tuple[str, str]:
    """Return the names of a patch in version 1, of Sentinel-2 and of Sentinel-1."""
    place = f"{patch.column}_{patch.row}"
    radar = radar_product(patch.tile, patch.product)
    return f"{patch.product.name_v1}_{place}", f"{radar}_{patch.tile.name}_{place}"


def name_v2(patch: Patch) -> str:
    """Return the name of a patch in version 2, whose place has two digits each."""
    return f"{patch.product.name_v2(patch.tile.name)}_{patch.column:02d}_{patch.row:02d}"


def labels_v1(patch: Patch) -> list[str]:
    """Return the names of a patch's classes among the 43."""
    return [CLASSES_43.names[CLASSES_43.index_of(code)] for code in patch.codes]


def labels_v2(patch: Patch) -> list[str]:
    """Return the names of a patch's classes among the 19, sorted; empty where all of them are dropped."""
    classes = class_set("19")
    return sorted(classes.names_of(classes.encode(patch.codes)))


def write_band(path: Path, values: Array, corner: tuple[int, int], epsg: int, compress: bool) -> None:
    """Write a GeoTIFF in strips, without a nodata value.

    Args:
        path: The file.
        values: (y, x).
        corner: Left and upper edge in metres.
        epsg: Code of the projection.
        compress: Whether to deflate it.
    """
    pixel = PATCH_M / values.shape[0]
    tags = [
        (_PIXEL_SCALE, "d", 3, (pixel, pixel, 0.0), True),
        (_TIE_POINT, "d", 6, (0.0, 0.0, 0.0, float(corner[0]), float(corner[1]), 0.0), True),
        (_GEO_KEYS, "H", len(_KEYS) + 1, (*_KEYS, epsg), True),
    ]
    rows = max(1, _STRIP_BYTES // (values.shape[1] * values.itemsize))
    options: dict[str, Any] = (
        {"compression": "zlib", "predictor": values.dtype.kind == "u"} if compress else {}
    )
    tifffile.imwrite(
        path, values, photometric="minisblack", metadata=None, software=False,
        rowsperstrip=min(rows, values.shape[0]), extratags=tags, **options,
    )  # fmt: skip


def write_optical_json(folder: Path, patch: Patch) -> None:
    """Write the metadata that version 1 puts beside the bands of Sentinel-2."""
    left, top = patch.tile.corner(patch.column, patch.row)
    content = {
        "labels": labels_v1(patch),
        "coordinates": {"ulx": left, "uly": top, "lrx": left + PATCH_M, "lry": top - PATCH_M},
        "projection": projection(patch.tile.epsg),
        "tile_source": patch.product.source(patch.tile.name),
        "acquisition_date": f"{patch.product.time:%Y-%m-%d %H:%M:%S}",
    }
    (folder / f"{folder.name}_labels_metadata.json").write_text(json.dumps(content))


def write_radar_json(folder: Path, patch: Patch) -> None:
    """Write the metadata beside the bands of Sentinel-1, whose lower edge is misnamed ``lly``."""
    left, top = patch.tile.corner(patch.column, patch.row)
    time = radar_time(patch.tile, patch.product)
    begin, end = f"{time:%Y%m%dT%H%M%S}", f"{time + pd.Timedelta(seconds=25):%Y%m%dT%H%M%S}"
    mission = folder.name[:3]
    orbit = 10_000 + time.timetuple().tm_yday
    numbers = f"{orbit:06d}_{orbit:06X}_{orbit * 7 % 65536:04X}"
    content = {
        "labels": labels_v1(patch),
        "coordinates": {"ulx": left, "uly": top, "lrx": left + PATCH_M, "lly": top - PATCH_M},
        "projection": projection(patch.tile.epsg),
        "corresponding_s2_patch": names_v1(patch)[0],
        "scene_source": f"{mission}_IW_GRDH_1SDV_{begin}_{end}_{numbers}",
        "acquisition_time": f"{time:%Y-%m-%dT%H:%M:%S}",
    }
    (folder / f"{folder.name}_labels_metadata.json").write_text(json.dumps(content))


@lru_cache(maxsize=16)
def projection(epsg: int) -> str:
    """Return a projection as WKT, as version 1 writes it."""
    return str(CRS.from_epsg(epsg).to_wkt())


def write_list(path: Path, rows: list[tuple[str, ...]]) -> None:
    """Write a list without a header, with CRLF line ends as published."""
    path.write_bytes("".join(",".join(row) + "\r\n" for row in rows).encode())


def metadata_row(patch: Patch) -> dict[str, Any]:
    """Return what the tables of version 2 say of a patch."""
    optical, radar = names_v1(patch)
    return {
        "patch_id": name_v2(patch),
        "labels": labels_v2(patch),
        "split": patch.tile.split,
        "country": patch.tile.country,
        "s1_name": radar,
        "s2v1_name": optical,
        "contains_seasonal_snow": patch.snow,
        "contains_cloud_or_shadow": patch.cloudy,
    }
