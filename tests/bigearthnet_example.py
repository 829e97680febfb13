"""Tiny trees in the published layouts of BigEarthNet, to be damaged by tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from rasterio.crs import CRS
from rasterio.transform import from_origin

from eolab.data.bands import SENTINEL2
from eolab.data.layouts.bigearthnet import BANDS

EPSG = 32633
CORNER = (404_400, 5_342_400)
V1 = {
    "S2A_MSIL2A_20170613T101031_87_48": ("S1A_IW_GRDH_1SDV_20170613T165043_33UUP_87_48", ["Pastures"]),
    "S2B_MSIL2A_20180204T94161_5_38": (
        "S1A_IW_GRDH_1SDV_20180204T043253_35VPK_5_38",
        ["Mixed forest", "Peatbogs"],
    ),
    "S2B_MSIL2A_20180204T94161_6_38": (
        "S1A_IW_GRDH_1SDV_20180204T043253_35VPK_6_38",
        ["Transitional woodland/shrub", "Burnt areas"],
    ),
}
"""Sentinel-1 name and labels by Sentinel-2 name."""

TILE = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP"
PASS = "S1B_IW_GRDH_1SDV_20170612T165809"


def pixels_of(name: str, part: str) -> np.ndarray:
    """The image of a band (uint16) or polarisation (float32), the same for the same names."""
    rng = np.random.default_rng([ord(letter) for letter in name + part])
    if part in ("VV", "VH"):
        return rng.normal(-12, 3, (120, 120)).astype(np.float32)
    size = 1200 // SENTINEL2[part].resolution_m
    return rng.integers(1, 10_000, (size, size), dtype=np.uint16)


def write_tif(path: Path, pixels: np.ndarray, **options) -> None:
    """Write an image in strips, without compression, as the data set is published."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = 1200 / len(pixels)
    profile = {"driver": "GTiff", "crs": f"EPSG:{EPSG}", "transform": from_origin(*CORNER, size, size)}
    shape = {"height": pixels.shape[0], "width": pixels.shape[1], "count": 1, "dtype": pixels.dtype}
    with rasterio.open(path, "w", **(profile | shape | options)) as file:
        file.write(pixels, 1)


def write_images(folder: Path, parts: tuple[str, ...] = BANDS) -> None:
    for part in parts:
        write_tif(folder / f"{folder.name}_{part}.tif", pixels_of(folder.name, part))


def write_json(folder: Path, **facts) -> None:
    """Write the JSON file of a patch of version 1; a fact that is None is left out."""
    x, y = CORNER
    radar = folder.name.startswith("S1")
    whole = {
        "labels": V1[folder.name][1] if not radar else [],
        "coordinates": {"ulx": x, "uly": y, "lrx": x + 1200, "lly" if radar else "lry": y - 1200},
        "projection": CRS.from_epsg(EPSG).to_wkt(),
        "acquisition_time" if radar else "acquisition_date": "2017-06-13T16:50:43"
        if radar
        else "2017-06-13 10:10:31",
    } | facts
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{folder.name}_labels_metadata.json"
    file.write_text(json.dumps({key: value for key, value in whole.items() if value is not None}))


def write_v1(root: Path, columns: int = 1) -> Path:
    """Three patches with Sentinel-1, a split list each of one or two columns, and a list of snow."""
    for s2, (s1, _) in V1.items():
        write_images(root / "BigEarthNet-v1.0" / s2)
        write_json(root / "BigEarthNet-v1.0" / s2)
        write_images(root / "BigEarthNet-S1-v1.0" / s1, ("VV", "VH"))
        write_json(root / "BigEarthNet-S1-v1.0" / s1, corresponding_s2_patch=s2)
    for (s2, (s1, _)), name in zip(V1.items(), ("train", "val", "test"), strict=True):
        line = s2 if columns == 1 else f"{s2},{s1}"
        (root / f"{name}.csv").write_bytes(f"{line}\r\n".encode())
    (root / "patches_with_seasonal_snow.csv").write_bytes(f"{[*V1][1]}\r\n".encode())
    return root


def rows_v2() -> pd.DataFrame:
    """The metadata of three patches, the last with snow."""
    places = ("04_55", "26_57", "27_57")
    return pd.DataFrame(
        {
            "patch_id": [f"{TILE}_{place}" for place in places],
            "labels": [["Arable land", "Inland waters"], ["Pastures"], ["Mixed forest"]],
            "split": ["train", "validation", "test"],
            "country": ["Austria", "Austria", "Finland"],
            "s1_name": [f"{PASS}_33UUP_{place.lstrip('0')}" for place in places],
            "s2v1_name": [f"S2A_MSIL2A_20170613T101031_{place.lstrip('0')}" for place in places],
            "contains_seasonal_snow": [False, False, True],
            "contains_cloud_or_shadow": [False, False, False],
        }
    )


def map_of(name: str) -> np.ndarray:
    rng = np.random.default_rng([ord(letter) for letter in name])
    return rng.choice(np.array([211, 312, 122, 999], np.uint16), (120, 120))


def write_v2(root: Path) -> Path:
    """Three patches with Sentinel-1 and reference maps; one of them in the table of snow and cloud."""
    table = rows_v2()
    for s2, s1 in zip(table["patch_id"], table["s1_name"], strict=True):
        write_images(root / "BigEarthNet-S2" / TILE / s2)
        write_images(root / "BigEarthNet-S1" / PASS / s1, ("VV", "VH"))
        write_tif(root / "Reference_Maps" / TILE / s2 / f"{s2}_reference_map.tif", map_of(s2))
    write_tables(root, table)
    return root


def write_tables(root: Path, table: pd.DataFrame) -> None:
    marked = table["contains_seasonal_snow"] | table["contains_cloud_or_shadow"]
    table[~marked].to_parquet(root / "metadata.parquet")
    table[marked].to_parquet(root / "metadata_for_patches_with_snow_cloud_or_shadow.parquet")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
