"""SAFE products on disk: folders and zip files, and what the names of their images say."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from eolab.core.errors import DataError

_IMAGE = re.compile(
    r"^(?P<granule>(?:.*/)?GRANULE/[^/]+)/IMG_DATA/(?:R\d\dm/)?[^/]*_(?P<band>B\d\d|B8A|SCL)(?:_(?P<res>[126]0)m)?\.jp2$",
    re.IGNORECASE,
)
_TILE = re.compile(r"_T(\d{2}[A-Z]{3})(?:_|$)")


@dataclass(frozen=True)
class Image:
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


@dataclass(frozen=True)
class Product:
    """One SAFE product: a folder, or a zip file of one.

    Attributes:
        path: The ``.SAFE`` folder or the ``.zip`` file.
        files: Paths of all files inside it, relative to the SAFE folder.
        inside: For a zip, the SAFE folder's path in it with a slash at the end, or empty.
    """

    path: Path
    files: tuple[str, ...]
    inside: str = ""

    @property
    def name(self) -> str:
        """The product's name without ``.SAFE`` or ``.zip``."""
        return re.sub(r"\.(SAFE|zip)$", "", self.path.name, flags=re.IGNORECASE)

    @property
    def zipped(self) -> bool:
        """Whether the product is still in its zip file."""
        return self.path.suffix.lower() == ".zip"

    def gdal_path(self, name: str) -> str:
        """Return what GDAL opens for a file of the product."""
        if self.zipped:
            return f"/vsizip/{{{self.path}}}/{self.inside}{name}"
        return str(self.path / name)

    def open(self, name: str) -> IO[bytes]:
        """Open a file of the product for reading bytes."""
        if not self.zipped:
            return (self.path / name).open("rb")
        with zipfile.ZipFile(self.path) as archive:  # an open member keeps the file alive
            return archive.open(self.inside + name)

    def size(self, name: str) -> int:
        """Return the size of a file of the product in bytes."""
        if not self.zipped:
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
    try:
        with zipfile.ZipFile(path) as archive:
            members = [name for name in archive.namelist() if not name.endswith("/")]
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is no readable zip file ({error}): fetch it again.") from None
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
    found: list[Path] = []
    for child in sorted(folder.iterdir()):
        if _is_product(child):
            found.append(child)
        elif child.is_dir():
            found += sorted(filter(_is_product, child.iterdir()))
    return found


def _is_product(path: Path) -> bool:
    if path.suffix.lower() == ".safe":
        return path.is_dir()
    return path.suffix.lower() == ".zip" and re.match(r"S2[A-D]_", path.name) is not None and path.is_file()
