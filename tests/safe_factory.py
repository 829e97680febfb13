"""Tiny Sentinel-2 products in SAFE format with chosen pixels, for tests and benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin

from eolab.data.bands import L1C_BANDS, L2A_BANDS, SENTINEL2

PRODUCT_XML = """<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-{digit}_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-{digit}.xsd">
  <n1:General_Info>
    <Product_Info>
      <PRODUCT_START_TIME>{time}.024Z</PRODUCT_START_TIME>
      <PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
      <GENERATION_TIME>{generation}.000000Z</GENERATION_TIME>
      <Datatake><DATATAKE_SENSING_START>{time}.024Z</DATATAKE_SENSING_START></Datatake>
    </Product_Info>
    <Product_Image_Characteristics>
      <QUANTIFICATION_VALUES_LIST>
        <{quantification_tag} unit="none">{quantification}</{quantification_tag}>
      </QUANTIFICATION_VALUES_LIST>
      {offsets}
    </Product_Image_Characteristics>
  </n1:General_Info>
</n1:Level-{digit}_User_Product>
"""
TILE_XML = """<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-{digit}_Tile_ID xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/S2_PDI_Level-{digit}_Tile_Metadata.xsd">
  <n1:General_Info>
    <TILE_ID>S2A_OPER_MSI_L{digit}_TL_VGS2_20200101T000000_A000001_T{tile}_N{baseline}</TILE_ID>
    <SENSING_TIME>{time}.161Z</SENSING_TIME>
  </n1:General_Info>
  <n1:Geometric_Info><Tile_Geocoding>
    <HORIZONTAL_CS_CODE>{crs}</HORIZONTAL_CS_CODE>
  </Tile_Geocoding></n1:Geometric_Info>
</n1:Level-{digit}_Tile_ID>
"""
WEST, NORTH = 600000, 5700000


def write_jp2(path: Path, values: np.ndarray, step: float, crs: str = "EPSG:32631") -> None:
    """Write a lossless JPEG 2000 image of (y, x) numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="JP2OpenJPEG",
        height=values.shape[0],
        width=values.shape[1],
        count=1,
        dtype=values.dtype,
        crs=crs,
        transform=from_origin(WEST, NORTH, step, step),
        QUALITY="100",
        REVERSIBLE="YES",
    ) as image:
        image.write(values, 1)


def pixels(band: str, size: int, seed: int = 0) -> np.ndarray:
    """Return DN of a band at its native pixel size for a tile of ``size`` 10 m pixels."""
    step = 20 if band == "SCL" else SENTINEL2[band].resolution_m
    rng = np.random.default_rng([seed, list(SENTINEL2).index(band) if band != "SCL" else 99])
    shape = (size * 10 // step,) * 2
    if band == "SCL":
        return rng.choice(np.array([4, 5, 6, 8, 9, 3], np.uint8), shape)
    return rng.integers(1100, 4000, shape).astype(np.uint16)


def write_safe(
    folder: Path,
    time: str = "2020-05-06T10:40:31",
    tile: str = "31UFT",
    baseline: str = "02.14",
    level: str = "L2A",
    size: int = 48,
    seed: int = 0,
    generation: str = "2020-05-06T15:00:00",
    offset: float | None = None,
    quantification: float = 10000,
    crs: str = "EPSG:32631",
    values: Mapping[str, np.ndarray] | None = None,
    leave_out: tuple[str, ...] = (),
) -> Path:
    """Write one product and return its ``.SAFE`` folder.

    Args:
        folder: Where the product's folder is made.
        size: Pixels of a side at 10 m, a multiple of 6.
        offset: DN offset of all bands in the metadata; None for none, as before baseline 04.00.
        values: Pixels of some bands; the others are noise of :func:`pixels`.
        leave_out: Bands that get no file.
    """
    digit, compact = level[1:], time.replace("-", "").replace(":", "")
    made = generation.replace("-", "").replace(":", "")
    name = f"S2A_MSI{level}_{compact}_N{baseline.replace('.', '')}_R008_T{tile}_{made}.SAFE"
    granule = folder / name / "GRANULE" / f"{level}_T{tile}_A025000_{compact}"
    tag = "BOA_ADD_OFFSET" if level == "L2A" else "RADIO_ADD_OFFSET"
    listed = "" if offset is None else "".join(f'<{tag} band_id="{k}">{offset}</{tag}>' for k in range(13))
    facts = {
        "digit": digit,
        "time": time,
        "baseline": baseline,
        "generation": generation,
        "tile": tile,
        "crs": crs,
        "quantification": quantification,
        "quantification_tag": "BOA_QUANTIFICATION_VALUE" if level == "L2A" else "QUANTIFICATION_VALUE",
        "offsets": listed and f"<{tag}_VALUES_LIST>{listed}</{tag}_VALUES_LIST>",
    }
    granule.mkdir(parents=True)
    (folder / name / f"MTD_MSI{level}.xml").write_text(PRODUCT_XML.format(**facts))
    (granule / "MTD_TL.xml").write_text(TILE_XML.format(**facts))
    for band in (*L2A_BANDS, "SCL") if level == "L2A" else L1C_BANDS:
        if band not in leave_out:
            array = (values or {}).get(band)
            array = pixels(band, size, seed) if array is None else array
            write_jp2(image_path(folder / name, band), array, size * 10 / array.shape[0], crs)
    return folder / name


def image_path(product: Path, band: str) -> Path:
    """Return where a band's image belongs in a product."""
    (granule,) = (product / "GRANULE").iterdir()
    level, tile, _, time = granule.name.split("_")
    stem = f"{tile}_{time}_{band}"
    if level == "L1C":
        return granule / "IMG_DATA" / f"{stem}.jp2"
    step = 20 if band == "SCL" else SENTINEL2[band].resolution_m
    return granule / "IMG_DATA" / f"R{step}m" / f"{stem}_{step}m.jp2"
