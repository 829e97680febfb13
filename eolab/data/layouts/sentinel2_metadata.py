"""Metadata of Sentinel-2 products: what the XML of a product and of its granules says.

Values are numbers as they stand in the files; nothing is derived from dates or from the product's name.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Literal

from eolab.core.errors import DataError
from eolab.data.bands import SENTINEL2, Level

PRODUCT_FILE = re.compile(r"^(MTD_MSIL(1C|2A)|[^/]*_MTD_SAFL(1C|2A)_[^/]*)\.xml$", re.IGNORECASE)
TILE_FILE = re.compile(r"^(.*/)?GRANULE/[^/]+/(MTD_TL|[^/]*_MTD_L(1C|2A)_TL_[^/]*)\.xml$", re.IGNORECASE)

_QUANTIFICATION = {
    "L1C": ("QUANTIFICATION_VALUE",),
    "L2A": ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE"),
}
_OFFSET = {"L1C": "RADIO_ADD_OFFSET", "L2A": "BOA_ADD_OFFSET"}


@dataclass(frozen=True)
class ProductMetadata:
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


@dataclass(frozen=True)
class TileMetadata:
    """Facts of a granule: its identifier and its coordinate reference system (``EPSG:32631``)."""

    tile_id: str
    crs: str


def read_product_metadata(stream: IO[bytes]) -> ProductMetadata:
    """Read ``MTD_MSIL1C.xml``, ``MTD_MSIL2A.xml`` or their forerunners.

    Raises:
        DataError: If the file is no XML of a Sentinel-2 product or lacks a fact; the message is a reason
            without the file's name.
    """
    root = _parse(stream)
    level: Literal["L1C", "L2A"] = "L2A" if "Level-2A" in root.tag else "L1C"
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


def read_tile_metadata(stream: IO[bytes]) -> TileMetadata:
    """Read the head of ``MTD_TL.xml``; the long angle tables after it are not parsed.

    Raises:
        DataError: If the tile's identifier or coordinate reference system is missing.
    """
    texts: dict[str, str] = {}
    try:
        for _, element in ElementTree.iterparse(stream):
            texts.setdefault(_local(element), (element.text or "").strip())
            if "HORIZONTAL_CS_CODE" in texts and ("TILE_ID" in texts or "TILE_ID_2A" in texts):
                break
    except ElementTree.ParseError as error:
        raise DataError(f"its tile metadata are no XML ({error})") from None
    return TileMetadata(_text(texts, "TILE_ID", "TILE_ID_2A"), _text(texts, "HORIZONTAL_CS_CODE").upper())


def _parse(stream: IO[bytes]) -> ElementTree.Element:
    try:
        return ElementTree.parse(stream).getroot()
    except ElementTree.ParseError as error:
        raise DataError(f"its metadata are no XML ({error})") from None


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
