"""SAFE products on disk: folders and zip files, what names and XML say, and whether images are whole.

Values of the metadata are numbers as they stand in the files; nothing is derived from dates or from the
product's name.
"""

import os
import re
import struct
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import IO, NamedTuple

from eolab.core.errors import DataError
from eolab.data.bands import SENTINEL2, Level
from eolab.data.layouts.common import reading

PRODUCT_FILE = re.compile(r"^(MTD_MSIL(1C|2A)|[^/]*_MTD_SAFL(1C|2A)_[^/]*)\.xml$", re.IGNORECASE)
TILE_FILE = re.compile(r"^(.*/)?GRANULE/[^/]+/(MTD_TL|[^/]*_MTD_L(1C|2A)_TL_[^/]*)\.xml$", re.IGNORECASE)
_IMAGE = re.compile(
    r"^(?P<granule>(?:.*/)?GRANULE/[^/]+)/IMG_DATA/(?:R\d\dm/)?[^/]*_(?P<band>B\d\d|B8A|SCL)(?:_(?P<res>[126]0)m)?\.jp2$",
    re.IGNORECASE,
)
_TILE = re.compile(r"_T(\d{2}[A-Z]{3})(?:_|$)")
_QUANTIFICATION = {
    "L1C": ("QUANTIFICATION_VALUE",),
    "L2A": ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE"),
}
_OFFSET = {"L1C": "RADIO_ADD_OFFSET", "L2A": "BOA_ADD_OFFSET"}
_SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_END = b"\xff\xd9"


class Image(NamedTuple):
    """One image file of a product.

    Attributes:
        name: Path inside the product.
        granule: Path of its granule's folder inside the product.
        band: ``B01`` to ``B12``, ``B8A`` or ``SCL``.
        resolution_m: Pixel size in the name; None for Level-1C, whose names have none.
    """

    name: str
    granule: str
    band: str
    resolution_m: int | None


def image_of(name: str) -> Image | None:
    """Return which band a file of a product holds, from its path inside the product alone.

    Knows the compact names of all baselines (``T31WFN_..._B02_10m.jp2``, the ``L2A_`` prefix of 02.05 and
    02.06), the long names before 02.04 and Level-1C; previews, masks and true-colour images are no bands.
    """
    match = _IMAGE.match(name)
    if not match:
        return None
    size = match["res"]
    return Image(name, match["granule"], match["band"].upper(), int(size) if size else None)


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
        inside: For a zip, the SAFE folder's path in it with a slash at the end; empty for a folder.
    """

    path: Path
    files: tuple[str, ...]
    inside: str = ""

    @property
    def name(self) -> str:
        """The product's name without ``.SAFE`` or ``.zip``."""
        return re.sub(r"\.(SAFE|zip)$", "", self.path.name, flags=re.IGNORECASE)

    def gdal_path(self, name: str) -> str:
        """Return what GDAL opens for a file of the product."""
        if self.inside:
            return f"/vsizip/{{{self.path}}}/{self.inside}{name}"
        return str(self.path / name)

    def open(self, name: str) -> IO[bytes]:
        """Open a file of the product for reading bytes."""
        if not self.inside:
            return (self.path / name).open("rb")
        with zipfile.ZipFile(self.path) as archive:  # an open member keeps the file alive
            return archive.open(self.inside + name)

    def size(self, name: str) -> int:
        """Return the size of a file of the product in bytes."""
        if not self.inside:
            return (self.path / name).stat().st_size
        with zipfile.ZipFile(self.path) as archive:
            return archive.getinfo(self.inside + name).file_size


def read_product(path: Path) -> Product:
    """List the files of a SAFE folder or zip file.

    Raises:
        DataError: If it is a broken zip, or a zip without exactly one SAFE folder.
    """
    if path.suffix.lower() != ".zip":
        files = [
            Path(folder, file).relative_to(path).as_posix()
            for folder, _, names in os.walk(path)
            for file in names
        ]
        return Product(path, tuple(sorted(files)))
    errors = (OSError, zipfile.BadZipFile)
    with reading(path, "a zip file", errors=errors), zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if not name.endswith("/")]
    roots = {name[: name.index(".SAFE/") + 6] for name in members if ".SAFE/" in name}
    if len(roots) != 1:
        raise DataError(f"{path} holds {len(roots)} SAFE folders, expected one: unzip it and open that.")
    (inside,) = roots
    files = [name.removeprefix(inside) for name in members if name.startswith(inside)]
    return Product(path, tuple(sorted(files)), inside)


def find_products(folder: Path) -> list[Path]:
    """Return the SAFE folders and zip files at or below a folder, two levels down at most, by name.

    Raises:
        DataError: If the folder does not exist.
    """
    if _is_product(folder):
        return [folder]
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder: give the one that holds the .SAFE folders or zip files.")
    return sorted(filter(_is_product, [*folder.iterdir(), *folder.glob("*/*")]))


def _is_product(path: Path) -> bool:
    if path.suffix.lower() == ".safe":
        return path.is_dir()
    return path.suffix.lower() == ".zip" and re.match(r"S2[A-D]_", path.name) is not None and path.is_file()


# === Metadata ===


class ProductMetadata(NamedTuple):
    """Facts of a product.

    Attributes:
        level: ``L1C`` or ``L2A``.
        baseline: Processing baseline, for example ``"04.00"``.
        time: Start of the datatake (UTC), as in the product's name; all reprocessings share it.
        generation: When the product was made (UTC).
        quantification: DN per unit of reflectance.
        offsets: DN to add per band; empty where the product states none (baselines before 04.00).
    """

    level: Level
    baseline: str
    time: datetime
    generation: datetime
    quantification: float
    offsets: dict[str, float]

    def offset(self, band: str) -> float:
        """Return the DN to add to a band before the division, 0 where the product states no offsets at all.

        Raises:
            DataError: If the product states offsets but none for this band.
        """
        if not self.offsets:
            return 0.0
        if band not in self.offsets:
            raise DataError(f"its metadata state offsets but none for {band}")
        return self.offsets[band]


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
            offsets[names[int(element.attrib["band_id"])]] = float(text)
        elif text:
            texts.setdefault(tag, text)
    return ProductMetadata(
        level=level,
        baseline=_text(texts, "PROCESSING_BASELINE"),
        time=_time(_text(texts, "DATATAKE_SENSING_START", "PRODUCT_START_TIME")),
        generation=_time(_text(texts, "GENERATION_TIME")),
        quantification=float(_text(texts, *_QUANTIFICATION[level])),
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


def _time(text: str) -> datetime:
    """Parse ``2020-07-17T22:19:41.024Z``, with any number of decimals, to whole seconds."""
    try:
        return datetime.fromisoformat(text[:19])
    except ValueError:
        raise DataError(f"its metadata have the time {text!r}, expected YYYY-MM-DDThh:mm:ss") from None


# === Images ===


def defect(stream: IO[bytes], size: int) -> str:
    """Return why a JPEG 2000 file cannot be complete; empty where it looks complete.

    A truncated file often still opens, because everything GDAL needs to open it stands at its beginning. The
    boxes say how long the code stream should be, and a complete code stream ends with the marker FF D9
    (ISO/IEC 15444-1, annexes A and I). Reads a few dozen bytes.

    Args:
        stream: The file, seekable, at its beginning.
        size: Its size in bytes.
    """
    if size == 0:
        return "is empty"
    if stream.read(len(_SIGNATURE)) != _SIGNATURE:
        return "is no JPEG 2000 file"
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
