"""SAFE products on disk: folders and zip files, what names and XML say, and whether images are whole.

A product is a folder with product metadata (``MTD_MSIL2A.xml``), whatever it is called, or one in a zip file.
Values of the metadata are numbers as they stand in the files. Only where a product from baseline 04.00 on
states no offset, that of the baseline is taken.
"""

import os
import re
import struct
import xml.etree.ElementTree as ElementTree
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, NamedTuple

import tifffile

from eolab.core.errors import DataError
from eolab.data.bands import SENTINEL2, Level
from eolab.data.layouts.common import is_clutter, lies_instead, read_date, reading

PRODUCT_FILE = re.compile(r"^(MTD_MSIL(1C|2A)|[^/]*_MTD_SAFL(1C|2A)_[^/]*)\.xml$", re.IGNORECASE)
TILE_FILE = re.compile(r"^(.*/)?GRANULE/[^/]+/(MTD_TL|[^/]*_MTD_L(1C|2A)_TL_[^/]*)\.xml$", re.IGNORECASE)
_IMAGE = re.compile(
    r"^(?P<granule>(?:.*/)?GRANULE/[^/]+)/IMG_DATA/(?:R\d\dm/)?[^/]*_(?P<band>B\d\d|B8A|SCL|TCI)(?:_(?P<res>[126]0)m)?\.(?:jp2|tiff?)$",
    re.IGNORECASE,
)
_TILE = re.compile(r"_T(\d{2}[A-Z]{3})(?:_|$)")
_QUANTIFICATION = {
    "L1C": ("QUANTIFICATION_VALUE",),
    "L2A": ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE"),
}
_OFFSET = {"L1C": "RADIO_ADD_OFFSET", "L2A": "BOA_ADD_OFFSET"}
_SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_END = b"\xff\xd9"
_NAME = re.compile(r".*\.SAFE|S2[A-D]_(MSIL\d[A-C]|OPER_PRD)_.*", re.IGNORECASE)
_LOOSE = re.compile(r".*\.jp2|.*_(B\d\d|B8A|SCL)(_[126]0m)?\.tiff?", re.IGNORECASE)
_PACKED = re.compile(r"S2[A-D]_.*\.(tar|tgz|tar\.gz|tar\.zst|7z|rar|gz)", re.IGNORECASE)
_THEIA = re.compile(r"SENTINEL2[A-D]_\d{8}-.*")
DEPTH = 6
"""Levels of folders that are searched for products."""

OWN_BASELINE = 99.0
"""Baselines from here on (``99.99``, N9999 in names) are of products that somebody made with Sen2Cor."""

_OFFSET_FROM = 4.0
OFFSET_SINCE = datetime(2022, 1, 25)  # from this day on all products are made with baseline 04.00 or later
_ADD_OFFSET = -1000.0
BROKEN = (OSError, ValueError, LookupError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error)
"""What reading a damaged product raises; encrypted zip files and unknown ways to pack among them."""


class Image(NamedTuple):
    """One image file of a product.

    Attributes:
        name: Path inside the product.
        granule: Path of its granule's folder inside the product.
        band: ``B01`` to ``B12``, ``B8A``, ``SCL`` or ``TCI``.
        resolution_m: Pixel size in the name; None for Level-1C, whose names have none.
    """

    name: str
    granule: str
    band: str
    resolution_m: int | None


def image_of(name: str) -> Image | None:
    """Return which band a file of a product holds, from its path inside the product alone.

    Knows the compact names of all baselines (``T31WFN_..._B02_10m.jp2``, the ``L2A_`` prefix of 02.05 and
    02.06), the long names before 02.04 and Level-1C; previews and masks are no bands.
    """
    match = _IMAGE.match(name)
    if not match:
        return None
    size = match["res"]
    return Image(name, match["granule"], match["band"].upper(), int(size) if size else None)


def is_used(name: str) -> bool:
    """Return whether a file of a product is metadata or an image of a band, from its path inside it."""
    return any(pattern.match(name) for pattern in (PRODUCT_FILE, TILE_FILE, _IMAGE))


def native_images(names: Iterable[str]) -> dict[str, dict[str, Image]]:
    """Return the images of each granule by band: of each band the one with the finest pixels.

    Args:
        names: Paths of all files inside a product.
    """
    granules: dict[str, dict[str, Image]] = {}
    for image in filter(None, map(image_of, sorted(names))):
        bands = granules.setdefault(image.granule, {})
        held = bands.get(image.band)
        if held is None or (image.resolution_m or 0) < (held.resolution_m or 0):
            bands[image.band] = image
    return granules


def tile_of(granule: str) -> str | None:
    """Return the MGRS tile in a granule's folder name, for example ``31UFT``."""
    match = _TILE.search(granule.rsplit("/", 1)[-1])
    return match[1] if match else None


class Product(NamedTuple):
    """One SAFE product: a folder, or a zip file of one.

    Attributes:
        path: The ``.SAFE`` folder or the ``.zip`` file.
        files: Paths of all files inside it, relative to the SAFE folder.
        inside: For a zip, the SAFE folder's path in it with a slash at the end, empty where the zip itself is
            the folder; None for a folder.
    """

    path: Path
    files: tuple[str, ...]
    inside: str | None = None

    @property
    def name(self) -> str:
        """The product's name without ``.SAFE`` or ``.zip``."""
        folder = (self.inside or "").rstrip("/").rpartition("/")[2]
        return re.sub(r"\.(SAFE|zip)$", "", folder or self.path.name, flags=re.IGNORECASE)

    def gdal_path(self, name: str) -> str:
        """Return what GDAL opens for a file of the product."""
        if self.inside is not None:
            return f"/vsizip/{{{self.path}}}/{self.inside}{name}"
        return str(self.path / name)

    def open(self, name: str) -> IO[bytes]:
        """Open a file of the product for reading bytes."""
        if self.inside is None:
            return (self.path / name).open("rb")
        with zipfile.ZipFile(self.path) as archive:  # an open member keeps the file alive
            return archive.open(self.inside + name)

    def size(self, name: str) -> int:
        """Return the size of a file of the product in bytes."""
        if self.inside is None:
            return (self.path / name).stat().st_size
        with zipfile.ZipFile(self.path) as archive:
            return archive.getinfo(self.inside + name).file_size


def read_products(path: Path) -> list[Product]:
    """List the files of a product's folder, or of all products in a zip file; hidden files are left out.

    Raises:
        DataError: If it is a broken zip, or a zip without a product.
    """
    if path.is_dir():
        files = [
            Path(folder, file).relative_to(path).as_posix()
            for folder, _, names in os.walk(path)
            for file in names
        ]
        return [Product(path, tuple(sorted(file for file in files if _counts(file))))]
    with reading(path, "a zip file", errors=BROKEN), zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if not name.endswith("/") and _counts(name)]
    split = [name.rpartition("/") for name in members]
    roots = {folder + slash for folder, slash, file in split if PRODUCT_FILE.match(file)}
    if not roots:
        raise DataError(
            f"{path} holds no Sentinel-2 product, expected MTD_MSIL1C.xml or MTD_MSIL2A.xml in it: unpack it "
            "if it holds other archives, or fetch the product again."
        )
    return [
        Product(path, tuple(sorted(name[len(root) :] for name in members if name.startswith(root))), root)
        for root in sorted(roots)
    ]


def _counts(name: str) -> bool:
    return not any(map(is_clutter, name.split("/")))


def find_products(folder: Path) -> tuple[list[Path], list[tuple[str, str]]]:
    """Return the product folders and zip files at or below a folder, by name, and what only looks like one.

    Args:
        folder: A product, or a folder with products in it or in its folders, :data:`DEPTH` levels down.

    Returns:
        Paths of products; and file and reason of images outside of any product, of archives that are no zip
        files and of products of other makers.

    Raises:
        DataError: If the folder does not exist, or is a part of a product.
    """
    if (folder.is_file() and zipfile.is_zipfile(folder)) or (folder.is_dir() and _is_product(folder)):
        return [folder], []
    if not folder.is_dir():
        expected = "expected one with products or their zip files"
        raise DataError(f"{folder} is no folder: {expected}, {lies_instead(folder)}.")
    for parent in list(folder.absolute().parents)[:4]:
        if _is_product(parent):
            raise DataError(f"{folder} is a part of the product {parent}: give that folder.")
    paths = {os.path.realpath(path): path for path in _walk(folder, DEPTH)}.values()  # links may repeat one
    reasons = {path: _other(path) for path in paths}
    others = [(str(path), reason) for path, reason in reasons.items() if reason]
    images = [path for path in paths if _LOOSE.fullmatch(path.name) and path.is_file()]
    if images:
        more = f" ({len(images):,} such files)" if len(images) > 1 else ""
        reason = f"is an image outside of a product{more}: fetch the whole product with its MTD_MSI….xml"
        others.append((str(images[0]), reason))
    products = [path for path, reason in reasons.items() if not reason and _may_be_product(path)]
    return products, others


def _may_be_product(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() in (".zip", ".safe")


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    """Yield files and product folders below a folder, by name; hidden ones are left out."""
    try:
        paths = sorted(path for path in folder.iterdir() if not is_clutter(path.name))
    except OSError:
        yield folder
        return
    for path in paths:
        if not path.is_dir() or _is_product(path) or _THEIA.match(path.name):
            yield path
        elif depth > 1:
            yield from _walk(path, depth - 1)


def _is_product(folder: Path) -> bool:
    """Return whether a folder has product metadata, or the name of a product and no product in it.

    Windows unpacks ``X.SAFE.zip`` to ``X.SAFE/X.SAFE``: there the inner folder is the product.
    """
    try:
        names = os.listdir(folder)
    except OSError:
        return _NAME.fullmatch(folder.name) is not None  # the reason is found where it is read
    if any(map(PRODUCT_FILE.match, names)):
        return True
    nested = any(_NAME.fullmatch(name) and (folder / name).is_dir() for name in names)
    return _NAME.fullmatch(folder.name) is not None and not nested


def _other(path: Path) -> str:
    """Return why something that looks like a product is none that can be read; empty for all else."""
    if path.is_dir() and not os.access(path, os.R_OK | os.X_OK):
        return "cannot be read: allow reading the folder"
    if _PACKED.fullmatch(path.name):
        return "is an archive that is not read: unpack it"
    if _THEIA.match(path.name):
        return "is a product of THEIA: fetch the same as SAFE product, only these are read"
    return ""


# === Metadata ===


class ProductMetadata(NamedTuple):
    """Facts of a product.

    Attributes:
        level: ``L1C`` or ``L2A``.
        baseline: Processing baseline, for example ``"04.00"``.
        time: Start of the datatake (UTC), as in the product's name; all reprocessings share it.
        generation: When the product was made (UTC).
        quantification: DN per unit of reflectance.
        offsets: DN to add per band; empty where the product states none.
    """

    level: Level
    baseline: str
    time: datetime
    generation: datetime
    quantification: float
    offsets: dict[str, float]

    @property
    def offset_assumed(self) -> bool:
        """Whether the offset is that of the baseline, since the product states none though it should."""
        number = float(self.baseline)
        recent = self.time >= OFFSET_SINCE if number >= OWN_BASELINE else number >= _OFFSET_FROM
        return recent and not self.offsets

    def offset(self, band: str) -> float:
        """Return the DN to add to a band before the division.

        Where the product states no offsets at all, it is -1000 from baseline 04.00 on and 0 before. The
        baseline of one's own products, 99.99, does not tell; for them the day decides since when all have it.

        Raises:
            DataError: If the product states offsets but none for this band.
        """
        if not self.offsets:
            return _ADD_OFFSET if self.offset_assumed else 0.0
        if band not in self.offsets:
            raise DataError(f"its metadata state offsets but none for {band}")
        return self.offsets[band]

    def calibration(self, band: str) -> tuple[float, float]:
        """Return the scale and the offset that make reflectance of a band's DN: DN * scale + offset."""
        return 1 / self.quantification, self.offset(band) / self.quantification


def read_product_metadata(stream: IO[bytes]) -> ProductMetadata:
    """Read ``MTD_MSIL1C.xml``, ``MTD_MSIL2A.xml`` or their forerunners.

    Raises:
        DataError: If the file is no XML of a Sentinel-2 product or lacks a fact; the message is a reason
            without the file's name.
    """
    with reading("its metadata", "XML", errors=(ElementTree.ParseError,)):
        root = ElementTree.parse(stream).getroot()
    level: Level = "L2A" if "Level-2A" in root.tag else "L1C"
    if "Level-" not in root.tag:
        raise DataError(f"its metadata start with {_local(root)}, expected a Sentinel-2 user product")
    texts: dict[str, str] = {}
    offsets: dict[str, float] = {}
    names = list(SENTINEL2)
    for element in root.iter():
        tag = _local(element)
        text = (element.text or "").strip()
        if tag == _OFFSET[level]:
            place = element.get("band_id", "")
            if not (place.isascii() and place.isdecimal() and int(place) < len(names)):
                raise DataError(f"its metadata state an offset for band_id {place!r}, expected 0 to 12")
            offsets[names[int(place)]] = _number(text, tag)
        elif text:
            texts.setdefault(tag, text)
    baseline = _text(texts, "PROCESSING_BASELINE")
    _number(baseline, "PROCESSING_BASELINE")
    quantification = _number(_text(texts, *_QUANTIFICATION[level]), _QUANTIFICATION[level][0])
    if not 1000 <= quantification <= 100_000:
        raise DataError(f"its metadata have the quantification value {quantification}, expected 10000")
    return ProductMetadata(
        level=level,
        baseline=baseline,
        time=_time(_text(texts, "DATATAKE_SENSING_START", "PRODUCT_START_TIME")),
        generation=_time(_text(texts, "GENERATION_TIME")),
        quantification=quantification,
        offsets=offsets,
    )


def read_tile_metadata(stream: IO[bytes]) -> tuple[str, str]:
    """Read the head of ``MTD_TL.xml``; the long angle tables after it are not parsed.

    Returns:
        The granule's identifier and its coordinate reference system (``EPSG:32631``).

    Raises:
        DataError: If one of them is missing.
    """
    texts: dict[str, str] = {}
    with reading("its tile metadata", "XML", errors=(ElementTree.ParseError,)):
        for _, element in ElementTree.iterparse(stream):
            texts.setdefault(_local(element), (element.text or "").strip())
            if "HORIZONTAL_CS_CODE" in texts and ("TILE_ID" in texts or "TILE_ID_2A" in texts):
                break
    return _text(texts, "TILE_ID", "TILE_ID_2A"), _text(texts, "HORIZONTAL_CS_CODE").upper()


def _local(element: ElementTree.Element) -> str:
    return element.tag.rsplit("}", 1)[-1]


def _text(texts: dict[str, str], *tags: str) -> str:
    for tag in tags:
        if texts.get(tag):
            return texts[tag]
    raise DataError(f"its metadata have no {tags[0]}")


def _number(text: str, tag: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if abs(number) < 1e9:
        return number
    raise DataError(f"its metadata have {text!r:.40} as {tag}, expected a number")


def _time(text: str) -> datetime:
    """Parse ``2020-07-17T22:19:41.024Z``, with any number of decimals, to whole seconds (UTC)."""
    try:
        return read_date(text).replace(microsecond=0)
    except DataError:
        raise DataError(f"its metadata have the time {text!r:.60}, expected YYYY-MM-DDThh:mm:ss") from None


# === Images ===


def defect(stream: IO[bytes], size: int) -> str:
    """Return why a JPEG 2000 file (or TIFF) cannot be complete; empty where it looks complete.

    A truncated file often still opens, because everything GDAL needs to open it stands at its beginning. The
    boxes say how long the code stream should be, and a complete code stream ends with the marker FF D9
    (ISO/IEC 15444-1, annexes A and I). Reads a few dozen bytes.

    Args:
        stream: The file, seekable, at its beginning.
        size: Its size in bytes.
    """
    if size == 0:
        return "is empty"
    start = stream.read(len(_SIGNATURE))
    if start.startswith(_TIFF):
        return _tiff_defect(stream, size)
    if start != _SIGNATURE:
        return "is no JPEG 2000 file and no TIFF"
    position = len(_SIGNATURE)
    while position + 8 <= size:
        stream.seek(position)
        header = stream.read(16)
        length, kind = struct.unpack(">I4s", header[:8])
        if length == 1 and len(header) == 16:
            (length,) = struct.unpack(">Q", header[8:])
        end = size if length == 0 else position + length
        if end > size:
            return f"is truncated ({size} bytes, expected at least {end})"
        if kind == b"jp2c":
            stream.seek(end - len(_END))
            whole = stream.read(len(_END)) == _END
            return "" if whole else f"is truncated ({size} bytes, end marker missing)"
        if end <= position:
            break
        position = end
    return f"is truncated ({size} bytes, no image data)"


def _tiff_defect(stream: IO[bytes], size: int) -> str:
    """Return why a TIFF cannot be complete: its first image ends behind the end of the file."""
    stream.seek(0)
    try:
        with tifffile.TiffFile(stream) as file:
            page = file.pages.first
            pieces = zip(page.dataoffsets, page.databytecounts, strict=True)
            end = max((offset + count for offset, count in pieces), default=0)
    except Exception:  # tifffile raises ValueError, struct.error and others
        return f"is truncated or damaged ({size} bytes)"
    return f"is truncated ({size} bytes, expected at least {end})" if end > size else ""
