"""What an image file of one's own holds: which bands, and what their numbers mean."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox

from eolab.core.errors import DataError
from eolab.data.bands import SENTINEL2
from eolab.data.indices import INDICES
from eolab.data.layouts import raster_names, safe
from eolab.data.layouts.geotiff import band_order
from eolab.data.layouts.raster_names import CONVENTIONS, Named
from eolab.data.layouts.series import Source

ENDINGS = (".tif", ".tiff", ".jp2")


def folder_of(path: Path, images: Mapping[str, Any] | None) -> Path:
    """Return the folder of the images: that of the entry's block ``images``, by default the data set's."""
    return path / str((images or {}).get("folder") or "")


def bands_in(
    file: Path, image: rasterio.DatasetReader, named: Named, given: tuple[str, ...]
) -> tuple[Sequence[str], Sequence[int]]:
    """Return the names of a file's bands, and their numbers in it."""
    natural = list(range(1, image.count + 1))
    known = raster_names.bands_of(named, image.count)
    if known is None and given:
        if image.count != len(given):
            raise DataError(
                f"has {image.count} bands, the entry names {len(given)}: correct its list of bands"
            )
        return given, band_order(file, image.descriptions, given)
    if known is None:
        texts = [(text or "").split(" ")[0] for text in image.descriptions]
        known = [raster_names.band_named(text) for text in texts]
        if not all(known) or len(set(known)) < len(known):
            raise DataError(
                f"does not name its {image.count} bands: write their names into the file, or "
                "`images: {bands: [B02, B03]}` into the entry"
            )
    return known, natural


def layer_of(name: str, named: Named, given: tuple[str, ...]) -> str:
    """Return what a band is: ``scl``, ``true_colour``, ``reflectance`` or ``indices``."""
    if name == raster_names.SCL:
        return "scl"
    if named.what == raster_names.TRUE_COLOUR:
        return "true_colour"
    if name in SENTINEL2 or (name in given and name not in INDICES):
        return "reflectance"
    return "indices"


def source_in(
    file: Path,
    image: rasterio.DatasetReader,
    number: int,
    layer: str,
    grid: GeoBox,
    named: Named,
    stated: Mapping[str, float],
) -> Source:
    """Return where a band stands and what its numbers mean."""
    kind, tag = image.dtypes[number - 1], image.nodatavals[number - 1]
    whole = kind.startswith(("int", "uint"))
    if not (whole or kind.startswith("float")):
        raise DataError(f"holds numbers of type {kind}, expected whole or real numbers")
    scale, offset = float(image.scales[number - 1]), float(image.offsets[number - 1])
    nodata = {value for value in (tag, stated.get("nodata")) if value is not None and np.isfinite(value)}
    convention = CONVENTIONS.get(named.convention)
    if layer == "scl":
        scale, offset, nodata = 1.0, 0.0, {0.0}
    elif layer == "true_colour":
        scale, offset, nodata = 1 / 255, 0.0, nodata | {0.0}
    else:
        if "scale" in stated or "offset" in stated:
            scale, offset = stated.get("scale", scale), stated.get("offset", 0.0)
        elif whole and (scale, offset) == (1, 0):
            if convention is None or convention.scale is None:
                raise DataError(
                    f"holds whole numbers ({kind}) and states no scale: write "
                    "`pixels: {scale: 0.0001, offset: 0}`, or what is right, into the entry"
                )
            scale, offset = convention.scale, _offset(named) if layer == "reflectance" else 0.0
        if whole and convention is not None and layer == "reflectance":
            nodata |= {0.0, 65535.0} if convention.raw else {0.0}
    block = max(image.block_shapes[number - 1])
    return Source(str(file), number, grid, block, tuple(sorted(nodata)), scale, offset)


def _offset(named: Named) -> float:
    """Return the offset of the agency's own numbers: -0.1 since baseline 04.00."""
    raw = CONVENTIONS[named.convention].raw
    return -0.1 if raw and named.time >= safe.OFFSET_SINCE else 0.0
