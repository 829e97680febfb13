"""Which Sentinel-2 acquisitions a folder holds, which of them can be used, and why the others cannot."""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple, TypeVar

import numpy as np
import odc.geo
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError

from eolab.core.errors import DataError, printable
from eolab.core.progress import in_threads
from eolab.data import sources
from eolab.data.bands import L1C_BANDS, L2A_BANDS, SENTINEL2
from eolab.data.fingerprints import remembered
from eolab.data.layouts import safe
from eolab.data.layouts.common import Rejected, below, constant, reading
from eolab.data.layouts.geotiff import check_size, one_scale
from eolab.data.layouts.series import GDAL_OPTIONS

T = TypeVar("T")
Rejection = tuple[str, str]
"""A product or image file that cannot be used, and the reason."""

LEVEL_BANDS = {"L1C": L1C_BANDS, "L2A": L2A_BANDS}
"""Bands that a complete product of a level holds."""

PROJ = ("PROJ_DATA", "PROJ_LIB")  # variables that name the tables of coordinate reference systems
_ZERO_BITS = 0.05  # an image with fewer bits per pixel is decoded to see whether it is empty
_HEADER_BYTES = 4096
_MOST_PIXELS = 21_960**2  # four times a whole tile
_MOST_XML = 64 << 20  # bytes; real ones have less than a hundredth
_GROUND = 512  # pixels of a side on which the ground of two products is compared
_NEW_GROUND = 0.005  # share of the tile that a product must add to be laid under another


class Header(NamedTuple):
    """Grid of an image file, the size of the blocks it is best read in, and the nodata value it states."""

    grid: GeoBox
    block: int
    nodata: float | None = None


class Acquisition(NamedTuple):
    """One granule: a tile at a time.

    Attributes:
        product: The product that it is part of.
        metadata: Facts of the product.
        tile: MGRS tile, for example ``31UFT``.
        crs: Coordinate reference system as the tile's metadata say.
        images: The finest image of each band, SCL among them.
        headers: Grids of the images that were checked.
        under: Acquisitions of the same tile and datatake that cover other ground, the next best first: what
            this one has no value for is theirs.
    """

    product: safe.Product
    metadata: safe.ProductMetadata
    tile: str
    crs: str
    images: dict[str, safe.Image]
    headers: dict[str, Header]
    under: tuple["Acquisition", ...] = ()

    @property
    def parts(self) -> tuple["Acquisition", ...]:
        """The acquisition itself and those under it."""
        return (self, *self.under)

    @property
    def level(self) -> str:
        """``L1C`` or ``L2A``."""
        return self.metadata.level

    @property
    def bands(self) -> tuple[str, ...]:
        """The spectral bands it holds, in band order."""
        return tuple(name for name in SENTINEL2 if name in self.images)


def relative(rejections: Iterable[Rejection], folder: Path) -> Rejected:
    """Return rejections with the names of their files below the folder."""
    found: Rejected = []
    for path, reason in rejections:
        file = Path(path)
        inside = file.is_relative_to(folder) and file != folder
        found.append({"file": below(folder, file) if inside else file.name, "reason": reason})
    return found


def scan(
    folder: Path, bands: Sequence[str] | None = None, scl: bool = True, true_colour: bool = False
) -> tuple[list[Acquisition], list[Rejection]]:
    """Return the usable acquisitions below a folder, by time, and all rejections, from file headers alone.

    Each tile, level and datatake has one acquisition: the highest baseline of the agency, then one's own
    (N9999), then the newest. Others of the same datatake are laid under it where they cover other ground, as
    the halves of two datastrips do, and are superseded where they do not. An acquisition is left out as a
    whole if one of its files is missing, truncated, unreadable, all zero, or in another coordinate reference
    system than its tile. The headers of sound products are remembered while the files are unchanged.

    Args:
        folder: A product's folder or zip file, or a folder with such, see
            :func:`eolab.data.layouts.safe.find_products`.
        bands: Bands that must be usable; by default all that the level has.
        scl: Whether the scene classification of Level-2A must be usable too.
        true_colour: Whether the true-colour image must be.

    Raises:
        DataError: If the folder does not exist.
    """
    paths, others = safe.find_products(folder)
    layers = (*(["SCL"] if scl else []), *(["TCI"] if true_colour else []))
    found: dict[Path, list[Acquisition | Rejection]] = {}

    def scan_paths(some: Sequence[Path]) -> None:
        read = partial(_scan_path, bands=bands, layers=layers)
        found.update(zip(some, in_threads(read, some, "headers", progress=False), strict=True))

    def sound() -> dict[Path, list[Acquisition | Rejection]]:
        scan_paths(paths)
        return {
            path: items for path, items in found.items() if all(isinstance(i, Acquisition) for i in items)
        }

    inside = [(path, Path(at, name)) for path in paths for at, _, names in os.walk(path) for name in names]
    used = sorted(file for path, file in inside if safe.is_used(file.relative_to(path).as_posix()))
    versions = [rasterio.__gdal_version__, odc.geo.__version__, *map(os.environ.get, PROJ)]
    state = f"{versions} {sorted(str(file) for _, file in inside)} {sources.digests()}"
    kind = "-".join(["sentinel2", *(bands or ["all"]), *layers])
    found |= remembered(kind, folder, [*paths, *used], sound, state)
    scan_paths([path for path in paths if path not in found])  # what failed may have been mended meanwhile
    good = [item for path in paths for item in found[path] if isinstance(item, Acquisition)]
    bad = [item for path in paths for item in found[path] if not isinstance(item, Acquisition)]
    kept, superseded = _laid_together(good)
    return kept, sorted([*bad, *others, *superseded])


def _rank(item: Acquisition) -> tuple:
    facts = item.metadata
    own = float(facts.baseline) >= safe.OWN_BASELINE
    return not own, float(facts.baseline), facts.generation, item.product.name


def _laid_together(acquisitions: list[Acquisition]) -> tuple[list[Acquisition], list[Rejection]]:
    """Return one acquisition of each tile, level and datatake, and those that add nothing as rejections."""
    groups: dict[tuple, list[Acquisition]] = {}
    for item in sorted(acquisitions, key=_rank, reverse=True):
        groups.setdefault((item.tile, item.level, item.metadata.time), []).append(item)
    kept, rejections = [], []
    for best, *others in groups.values():
        covered = ground(best) if others else np.zeros(0, bool)
        under = []
        for item in others:
            own = ground(item)
            if own.shape != covered.shape or (own & ~covered).mean() > _NEW_GROUND:
                under.append(item)
                covered = own if own.shape != covered.shape else covered | own
            else:
                newer = f"{best.product.name} (same tile and time, baseline {best.metadata.baseline})"
                rejections.append((str(item.product.path), f"superseded by {newer}, which covers its ground"))
        kept.append(best._replace(under=tuple(under)))
    return sorted(kept, key=lambda a: (a.metadata.time, a.tile, a.level)), rejections


def ground(item: Acquisition) -> np.ndarray:
    """Return where an acquisition has values, bool (y, x), on a coarse grid of its tile.

    Only asked where several products share tile and datatake, as an image is decoded for it.
    """
    band = max(item.headers, key=lambda name: item.headers[name].grid.transform.a)
    grid = item.headers[band].grid
    shape = min(_GROUND, grid.height), min(_GROUND, grid.width)
    try:
        with (
            rasterio.Env(**GDAL_OPTIONS),
            rasterio.open(item.product.gdal_path(item.images[band].name)) as image,
        ):
            return image.read(1, out_shape=shape) > 0
    except RasterioError:
        return np.zeros(shape, bool)  # reading it later says why


def _scan_path(
    path: Path, bands: Sequence[str] | None, layers: Sequence[str]
) -> list[Acquisition | Rejection]:
    """Return the acquisitions of a product's folder or zip file, usable or not; never raises."""
    try:
        if printable(str(path)) != str(path):
            raise DataError("has a name that is no UTF-8, which GDAL cannot open: rename it")
        products = safe.read_products(path)
    except (DataError, *safe.BROKEN) as error:
        return [(str(path), str(error).removeprefix(f"{path} ").rstrip("."))]
    return [item for product in products for item in _scan_product(product, bands, layers)]


def _scan_product(
    product: safe.Product, bands: Sequence[str] | None, layers: Sequence[str]
) -> list[Acquisition | Rejection]:
    """Return the acquisitions of one product, usable or not; never raises."""
    try:
        missing = "it has no product metadata (MTD_MSIL1C.xml or MTD_MSIL2A.xml)"
        metadata = _read(product, "", safe.PRODUCT_FILE, safe.read_product_metadata, missing)
        granules = safe.native_images(product.files)
        if not granules:
            raise DataError("it holds no band images")
    except (DataError, *safe.BROKEN) as error:
        return [(str(product.path), str(error).rstrip("."))]
    needed = list(bands or LEVEL_BANDS[metadata.level])
    needed += [layer for layer in layers if layer != "SCL" or metadata.level == "L2A"]
    return [_scan_granule(product, metadata, granule, images, needed) for granule, images in granules.items()]


def _read(
    product: safe.Product, start: str, pattern: re.Pattern[str], read: Callable[[IO[bytes]], T], missing: str
) -> T:
    """Return what a function reads of the first file of a product whose path begins and is named so."""
    for name in product.files:
        if name.startswith(start) and pattern.match(name):
            if product.size(name) > _MOST_XML:
                raise DataError(f"{name} has {product.size(name):,} bytes, expected metadata of a product")
            with product.open(name) as stream:
                return read(stream)
    raise DataError(missing)


def _scan_granule(
    product: safe.Product,
    metadata: safe.ProductMetadata,
    granule: str,
    images: dict[str, safe.Image],
    needed: Sequence[str],
) -> Acquisition | Rejection:
    """Return the acquisition with its headers, or why it cannot be used."""
    file = str(product.path / granule)
    try:
        tile, crs = _tile(product, granule)
        item = Acquisition(product, metadata, tile, crs, images, {})
        lacking = [band for band in needed if band not in images]
        if lacking:
            raise DataError(f"lacks {', '.join(lacking)}")
        for band in needed:
            if band in SENTINEL2:
                metadata.offset(band)
            file = str(product.path / images[band].name)
            item.headers[band] = read_header(item, band)
        return item
    except (DataError, *safe.BROKEN) as error:
        return file, str(error).rstrip(".")


def _tile(product: safe.Product, granule: str) -> tuple[str, str]:
    """Return the tile and its coordinate reference system."""
    missing = "it has no tile metadata (MTD_TL.xml)"
    name, crs = _read(product, f"{granule}/", safe.TILE_FILE, safe.read_tile_metadata, missing)
    tile = safe.tile_of(name) or safe.tile_of(granule)
    if tile is None:
        raise DataError(f"no tile in the name {name}")
    return tile, crs


def read_header(item: Acquisition, band: str) -> Header:
    """Return an image's grid after cheap checks: complete, right number type and CRS, not all zero.

    Raises:
        DataError: With the reason why the image cannot be used.
    """
    name = item.images[band].name
    size = item.product.size(name)
    with item.product.open(name) as stream:
        fault = safe.defect(stream, size)
    if fault:
        raise DataError(f"{band} {fault}")
    path, dtype = item.product.gdal_path(name), "uint16" if band in SENTINEL2 else "uint8"
    with reading(band, errors=(RasterioError,)), rasterio.Env(**GDAL_OPTIONS), rasterio.open(path) as image:
        count = 3 if band == "TCI" else 1
        if image.count != count or image.dtypes[0] != dtype:
            raise DataError(f"{band} has {image.count} × {image.dtypes[0]}, expected {count} × {dtype}")
        check_size(band, image.shape, _MOST_PIXELS)
        stated = one_scale(band, image.scales, image.offsets)
        spectral = band in SENTINEL2
        if spectral and stated != (1, 0) and not np.allclose(stated, item.metadata.calibration(band)):
            scales = "scale {} and offset {}, its metadata say {} and {}"
            said = scales.format(*stated, *item.metadata.calibration(band))
            raise DataError(f"{band} states the {said}: fetch the product again, or remove those of the file")
        found = f"EPSG:{image.crs.to_epsg()}" if image.crs else "no CRS"
        if found != item.crs:
            other = set(PROJ) & set(os.environ) if found == "EPSG:None" else ()
            hint = f": {' and '.join(sorted(other))} may name another installation, unset it" if other else ""
            raise DataError(f"{band} is in {found}, its tile's metadata say {item.crs}{hint}")
        if size < _HEADER_BYTES + _ZERO_BITS / 8 * image.width * image.height:
            fault = emptiness_of(image, classes=band == "SCL")
            if fault:
                raise DataError(f"{band} {fault}")
        return _header(image, item.crs)


def emptiness_of(image: rasterio.DatasetReader, classes: bool = False, number: int = 1) -> str:
    """Decode a whole image block by block; return why it holds no measurement, "" where it does.

    Args:
        image: An open image.
        classes: Whether it holds classes: then one class throughout is no fault.
        number: Number of the band, from 1.
    """
    blocks = (image.read(number, window=window) for _, window in image.block_windows(number))
    lows, highs = zip(*((block.min(), block.max()) for block in blocks), strict=True)
    return "" if classes and max(highs) else constant(min(lows), max(highs))


def _header(image: rasterio.DatasetReader, crs: str) -> Header:
    transform = image.transform
    if transform.b or transform.d or transform.a <= 0 or transform.e >= 0:
        raise DataError(f"its grid {tuple(transform)[:6]} is not north-up")
    return Header(GeoBox(image.shape, transform, crs), max(image.block_shapes[0]), image.nodata)
