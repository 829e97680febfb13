"""What items of STAC catalogues say of Sentinel-2 and harmonised Landsat–Sentinel images, in their own ways.

Items are dictionaries, as their JSON has them. Catalogues known here: Earth Search (Element 84), Planetary
Computer, Copernicus Data Space and LP DAAC. Sources: https://github.com/stac-extensions/raster; ESA,
Sentinel-2 products specification (BOA_ADD_OFFSET); NASA, HLS User Guide 2.0 (bands and Fmask).
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from eolab.core.errors import DataError
from eolab.data.bands import SENTINEL2
from eolab.data.layouts.raster_names import SCL, band_named

OFFSET = -1000.0
"""What the agency adds to its numbers' meaning since baseline 04.00: value = (number + OFFSET) * scale."""

_FLAGS = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
_BASELINES = ("s2:processing_baseline", "processing:version", "sentinel:processing_baseline")
_HLS = re.compile(r"hls.*?([ls]30)", re.IGNORECASE)
_KEY = re.compile(r"([A-Za-z]+\d*A?)(?:_(\d\d)m)?")
_TILE = re.compile(r"(?:^|[_.])T?(\d{1,2}[C-X][A-Z]{2})(?=[_.]|$)")
_L30 = {  # OLI's bands by those of MSI that the harmonisation pairs them with
    **{"B01": "B01", "B02": "B02", "B03": "B03", "B04": "B04"},
    **{"B05": "B8A", "B06": "B11", "B07": "B12", "B09": "B10", "Fmask": SCL},
}
_S30 = {**{name: name for name in SENTINEL2}, "Fmask": SCL}


class Numbers(NamedTuple):
    """What the numbers of a file mean: reflectance = number * scale + offset.

    Attributes:
        scale: Factor of the numbers.
        offset: Added after that.
        nodata: The number that stands for no value.
        said: What was done about the offset, and why, in a few words.
    """

    scale: float
    offset: float
    nodata: float
    said: str


def harmonised(collection: str) -> str:
    """Return the sensor of a harmonised Landsat–Sentinel collection, ``L30`` or ``S30``; else empty."""
    found = _HLS.search(collection)
    return found[1].upper() if found else ""


def numbers_of(item: Mapping[str, Any], asset: Mapping[str, Any]) -> Numbers:
    """Return what the numbers of an image of reflectance mean.

    Sentinel-2: since baseline 04.00 the agency's numbers are 1000 too high, unless the catalogue says that it
    has taken that off again. Earth Search says so in a property, and still states the offset beside the band;
    the property goes first. Dates tell nothing, for old images are processed again.

    Args:
        item: A STAC item.
        asset: One of its assets.

    Raises:
        DataError: If neither baseline nor offset is stated.
    """
    scale, stated, nodata = (_of_band(asset, name) for name in ("scale", "offset", "nodata"))
    scale = 1e-4 if scale is None else float(scale)
    if harmonised(str(item.get("collection"))):
        said = (
            "harmonised reflectance has no offset" if not stated else "the offset that the catalogue states"
        )
        return Numbers(scale, float(stated or 0), -9999.0 if nodata is None else float(nodata), said)
    nodata, baseline, facts = float(nodata or 0), baseline_of(item), item["properties"]
    removed = next((facts[name] for name in _FLAGS if facts.get(name) is not None), None)
    if removed:
        return Numbers(
            scale, 0.0, nodata, f"baseline {baseline or 'unknown'}, the catalogue took the offset off"
        )
    if not baseline and stated is None:
        raise DataError(
            f"Item {item['id']} states neither processing baseline nor offset, so reflectance may be 0.1 too "
            "high: take it from another catalogue."
        )
    if baseline and baseline < "04.00":
        return Numbers(scale, 0.0, nodata, f"baseline {baseline}, which has no offset")
    if stated is not None and not float(stated):
        said = f"baseline {baseline or 'unknown'}, the catalogue states an offset of 0"
        return Numbers(scale, 0.0, nodata, said)
    offset = OFFSET * scale if stated is None else float(stated)
    said = f"baseline {baseline or 'unknown'}, the offset of {offset:g} is still in the numbers and is stated"
    return Numbers(scale, offset, nodata, said)


def _of_band(asset: Mapping[str, Any], name: str) -> Any:
    """Return scale, offset or nodata of an asset's first band, by either version of the raster extension."""
    bands = [*(asset.get("raster:bands") or [{}])[:1], *(asset.get("bands") or [{}])[:1], asset]
    found = (place[key] for place in bands for key in (f"raster:{name}", name) if place.get(key) is not None)
    return next(found, None)


def baseline_of(item: Mapping[str, Any]) -> str:
    """Return an item's processing baseline, such as ``05.09``; empty where it states none."""
    facts = item["properties"]
    stated = next((str(facts[name]) for name in _BASELINES if facts.get(name)), "")
    named = re.search(r"_N(\d\d)(\d\d)_", f"{item['id']} {facts.get('s2:product_uri', '')}")
    match = re.match(r"(\d{1,2})\.(\d\d)", stated) or named
    return f"{int(match[1]):02d}.{match[2]}" if match else ""


def tile_of(item: Mapping[str, Any]) -> str:
    """Return an item's tile, such as ``33TVM``; empty where it says none."""
    facts = item["properties"]
    parts = [facts.get(f"mgrs:{name}", "") for name in ("utm_zone", "latitude_band", "grid_square")]
    texts = (facts.get("s2:mgrs_tile"), facts.get("grid:code"), "".join(map(str, parts)), item["id"])
    found = (_TILE.search(str(text).replace("MGRS-", "")) for text in texts if text)
    return next((normalise_tile(match[1]) for match in found if match), "")


def normalise_tile(tile: str) -> str:
    """Return a tile's name with two digits and without a T: ``T5VNG`` becomes ``05VNG``."""
    return tile.strip().upper().removeprefix("T").zfill(5)


def orbit_of(item: Mapping[str, Any]) -> str:
    """Return the relative orbit, such as ``022``; else the satellite, ``S2A``; ``L30`` or ``S30`` of HLS."""
    facts, sensor = item["properties"], harmonised(str(item.get("collection")))
    named = re.search(r"_R(\d{3})_", item["id"])
    number = facts.get("sat:relative_orbit") or (named and named[1])
    platform = re.sub(r"[^A-Z0-9]", "", str(facts.get("platform", "")).upper().replace("SENTINEL-", "S"))
    return sensor or (f"{int(number):03d}" if number else platform or "unknown")


def assets_of(item: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the assets of an item that are bands, or the scene classification, by the names of them here.

    Bands of harmonised images have the names of the bands of Sentinel-2 that they are like; their thermal
    bands are left out. Fmask counts as SCL, see :func:`scene_classes_of`. The finest pixel size that
    a band has is taken.
    """
    sensor = harmonised(str(item.get("collection")))
    found: dict[str, list[tuple[int, str, dict[str, Any]]]] = {}
    for key, asset in item["assets"].items():
        match = _KEY.fullmatch(key)
        if not match:
            continue
        known = {"L30": _L30, "S30": _S30}.get(sensor)
        name = band_named(match[1]) if known is None else known.get(key, "")
        if name in SENTINEL2 or name == SCL:
            found.setdefault(name, []).append((int(match[2] or 0), key, asset))
    order = [name for name in (*SENTINEL2, SCL) if name in found]
    return {name: min(found[name], key=lambda one: one[:2])[2] for name in order}


def href_of(asset: Mapping[str, Any]) -> str:
    """Return the web address of an asset, its alternate where the first one is a bucket.

    Raises:
        DataError: If there is none; the message is a reason.
    """
    others = [one.get("href", "") for one in (asset.get("alternate") or {}).values()]
    for href in (asset["href"], *others):
        if str(href).startswith(("http://", "https://")):
            return str(href)
    raise DataError(f"lies at {asset['href']}, which is no web address: take it from another catalogue")


_FMASK = ((4, 11), (5, 6), (2, 8), (3, 3), (1, 9))  # bit and code; a later one goes before those above it


def scene_classes_of(fmask: np.ndarray) -> np.ndarray:
    """Return the scene classification of Sentinel-2 that Fmask stands for.

    Args:
        fmask: Numbers of Fmask, uint8 of any shape: bit 1 cloud, 2 beside cloud or shadow, 3 shadow, 4 snow,
            5 water; 255 is no data. Aerosol (6, 7) and cirrus (0), which version 2 does not set, are left.

    Returns:
        uint8: 0 no data, 3 shadow, 6 water, 7 clear land, of which Fmask says no more, 8 beside a cloud,
        9 cloud, 11 snow.
    """
    codes = np.full(fmask.shape, 7, np.uint8)
    for bit, code in _FMASK:
        codes[(fmask >> bit) & 1 == 1] = code
    codes[fmask == 255] = 0
    return codes
