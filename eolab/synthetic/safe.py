"""Writer of Sentinel-2 Level-2A products in their published SAFE layout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

from eolab.data.bands import available
from eolab.synthetic import safe_xml
from eolab.synthetic.calendar import CRS, ORIGIN, Pass
from eolab.synthetic.materials import BANDS
from eolab.synthetic.noise import block_mean
from eolab.synthetic.sun import Sun

Array = np.ndarray

_LOSSLESS = {"QUALITY": "100", "REVERSIBLE": "YES"}
_PREVIEW = {"QUALITY": "10", "REVERSIBLE": "NO"}
_QUANTIFICATION = 10_000
_SMALLEST = 0.0005  # reflectances below are written as this: DN 0 is no data in every baseline
_EXTRAS = ("AOT", "TCI", "WVP")
_AFTER_TRUNCATION = 0.45  # share of the file that is left


@dataclass(frozen=True)
class Picture:
    """What the sensor saw at 10 m.

    Attributes:
        reflectance: float32 (band, y, x), bands as :data:`eolab.synthetic.materials.BANDS`.
        scl: Scene classification at 20 m, uint8 (y, x).
        cloud_percent: Cloud probability at 20 m in percent, uint8 (y, x).
        seen: Whether the swath covers the pixel, bool (y, x).
        sun: Mean sun angles.
    """

    reflectance: Array
    scl: Array
    cloud_percent: Array
    seen: Array
    sun: Sun


def write_product(folder: Path, item: Pass, picture: Picture) -> Path:
    """Write one product below a folder and return its path.

    Args:
        folder: Where the ``.SAFE`` folders go.
        item: Names, times and baseline.
        picture: The pixels.
    """
    product = folder / item.product
    data = product / "GRANULE" / item.granule / "IMG_DATA"
    quality = data.with_name("QI_DATA")
    quality.mkdir(parents=True)
    names = []
    for resolution_m in (10, 20, 60):
        (data / f"R{resolution_m}m").mkdir(parents=True)
        for name, image in _images(item, picture, resolution_m):
            file = f"R{resolution_m}m/{item.stem}_{name}_{resolution_m}m"
            write_jp2(data / f"{file}.jp2", image, resolution_m, lossless=name != "TCI")
            names.append(f"GRANULE/{item.granule}/IMG_DATA/{file}")
    write_jp2(quality / "MSK_CLDPRB_20m.jp2", picture.cloud_percent, 20)
    size = picture.seen.shape[0]
    (product / "MTD_MSIL2A.xml").write_text(safe_xml.product(item, names, picture.scl, size))
    (data.parent / "MTD_TL.xml").write_text(safe_xml.tile(item, picture.sun, picture.scl, size))
    (product / "manifest.safe").write_text(safe_xml.manifest(item, product))
    if item.trap == "truncated":
        broken = data / "R10m" / f"{item.stem}_B04_10m.jp2"
        content = broken.read_bytes()
        broken.write_bytes(content[: int(_AFTER_TRUNCATION * len(content))])
    return product


def write_jp2(path: Path, image: Array, resolution_m: int, lossless: bool = True) -> None:
    """Write a JPEG 2000 file on the tile's grid; image is (y, x) or (band, y, x)."""
    stack = image if image.ndim == 3 else image[None]
    transform = Affine(resolution_m, 0, ORIGIN[0], 0, -resolution_m, ORIGIN[1])
    options = _LOSSLESS if lossless else _PREVIEW
    with rasterio.open(
        path,
        "w",
        driver="JP2OpenJPEG",
        dtype=stack.dtype.name,
        count=stack.shape[0],
        height=stack.shape[1],
        width=stack.shape[2],
        crs=CRS,
        transform=transform,
        **options,
    ) as file:
        file.write(stack)


def encode(reflectance: Array, seen: Array, offset: int) -> Array:
    """Return DN: reflectance × 10 000 less the offset, 0 where nothing was seen."""
    dn = np.rint(np.maximum(reflectance, _SMALLEST) * _QUANTIFICATION) - offset
    return np.where(seen, np.clip(dn, 1, 65534), 0).astype(np.uint16)


def _images(item: Pass, picture: Picture, resolution_m: int) -> Iterator[tuple[str, Array]]:
    """Yield each image that a Level-2A product holds at one pixel size."""
    factor = resolution_m // 10
    image = block_mean(picture.reflectance, factor) if factor > 1 else picture.reflectance
    seen = block_mean(picture.seen.astype(np.float32), factor) == 1
    for name in available("L2A", resolution_m, item.baseline):
        yield name, encode(image[BANDS.index(name)], seen, item.offset)
    if resolution_m > 10:
        step = resolution_m // 20
        yield "SCL", picture.scl[step // 2 :: step, step // 2 :: step]
    bands = image[[BANDS.index(name) for name in ("B04", "B03", "B02")]]
    color = np.where(seen, np.clip(np.rint(bands / 0.2 * 255), 1, 255), 0)  # 255 is reflectance 0.2
    haze = block_mean(picture.reflectance[:1], 60 if picture.seen.shape[0] % 60 == 0 else 6)[0]
    smooth = np.kron(haze, np.ones([n // m for n, m in zip(seen.shape, haze.shape, strict=True)]))
    yield "AOT", np.where(seen, 80 + np.minimum(400 * smooth, 300), 0).astype(np.uint16)
    yield "TCI", color.astype(np.uint8)
    yield "WVP", np.where(seen, 1200 + 900 * np.sin(np.pi * item.day / 366), 0).astype(np.uint16)
