"""What is sent to the service, from strangers: nothing is unpickled, and no other file is followed or opened.

How large an array is stands in its file's header, and is looked at before memory is taken for it.
"""

import io
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.enums import MaskFlags
from rasterio.io import MemoryFile

from eolab.core.errors import DataError, errors_in_one_sentence
from eolab.data.layouts.geotiff import band_of, check_size
from eolab.data.layouts.hdf5 import read_arrays

# What NumPy says of headers as Python 2 wrote them; for the process: catch_warnings is not safe in threads.
warnings.filterwarnings("ignore", message="Reading `.npy` or `.npz` file required")

WHAT, AGAIN = "What was sent", "send a whole file"
NPY, HDF5, TIFF = b"\x93NUMPY", b"\x89HDF\r\n\x1a\n", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
IMAGE_KEYS = ("image", "img")
SERIES_KEYS = ("valid", "day")
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class UnknownKindError(DataError):
    """A file of a kind that is not read."""


class Upload(NamedTuple):
    """What was sent.

    Attributes:
        arrays: ``image`` (..., band) float32, NaN where there is no value; ``valid`` and ``day`` of series.
        names: Names of the bands; empty where the file has none.
        grid: Where the image lies; None where the file does not say.
    """

    arrays: dict[str, np.ndarray]
    names: tuple[str, ...] = ()
    grid: GeoBox | None = None


def read(content: bytes, most: int) -> Upload:
    """Read a GeoTIFF, HDF5 or npy file.

    Args:
        content: The file.
        most: Most values that an array may have.

    Raises:
        UnknownKindError: If it is of another kind.
        TooLargeError: If it declares a larger array.
        DataError: If it is damaged, or holds no numbers.
    """
    kinds = ((TIFF, "GeoTIFF", _tiff), (HDF5, "HDF5", _hdf5), (NPY, "npy", _npy))
    for begins, kind, reader in kinds:
        if content.startswith(begins):
            with errors_in_one_sentence(
                f"{WHAT} cannot be read as {kind}", AGAIN
            ):  # of any kind: it is damaged
                return reader(content, most)
    raise UnknownKindError(
        "What was sent is no GeoTIFF, HDF5 or npy file: send one of these as the body, such as with "
        "curl --data-binary @FILE."
    )


def _tiff(content: bytes, most: int) -> Upload:
    with (
        rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"),
        MemoryFile(content, ext=".tif") as memory,
        memory.open(driver="GTiff") as file,
    ):
        for height, width in (file.shape, *file.block_shapes):  # a block is unpacked whole
            check_size(WHAT, (height, width, file.count), most)
        if any(np.dtype(one).kind not in "uif" for one in file.dtypes):
            raise DataError(f"What was sent holds {file.dtypes[0]}, expected whole or real numbers.")
        values = _numbers("the image", file.read())
        for number, band in enumerate(values):
            if MaskFlags.all_valid not in file.mask_flag_enums[number]:
                band[file.read_masks(number + 1) == 0] = np.nan
            if (scale := (file.scales[number], file.offsets[number])) != (1, 0):
                band *= np.float32(scale[0])
                band += np.float32(scale[1])
        texts = [text or "" for text in file.descriptions]
        placed = file.crs is not None
        grid = GeoBox(file.shape, file.transform, file.crs) if placed else None
    return Upload({"image": np.moveaxis(values, 0, -1)}, tuple(texts) if any(texts) else (), grid)


def _hdf5(content: bytes, most: int) -> Upload:
    found = read_arrays(WHAT, io.BytesIO(content), IMAGE_KEYS, most, optional=SERIES_KEYS)
    key = next(iter(found))
    arrays = {name: _numbers(name, values) for name, (values, _) in found.items()}
    return Upload({"image": arrays.pop(key), **arrays}, found[key][1])


def _npy(content: bytes, most: int) -> Upload:
    file = io.BytesIO(content)
    shape, _, dtype = HEADERS[np.lib.format.read_magic(file)](file)
    if dtype.hasobject:
        raise DataError(f"{WHAT} holds Python objects, which are not read: send numbers.")
    check_size(WHAT, shape, most)
    return Upload({"image": _numbers("the array", np.load(io.BytesIO(content), allow_pickle=False))})


def _numbers(what: str, values: np.ndarray) -> np.ndarray:
    """Return an array as float32, NaN where a value is not finite.

    Raises:
        DataError: If it holds no numbers, or nothing.
    """
    if values.dtype.kind not in "uifb" or not values.size:
        raise DataError(f"{WHAT} has {values.dtype} {values.shape} as {what}, expected numbers.")
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.array(values, np.float32)
    found[~np.isfinite(found)] = np.nan
    return found


def in_order(upload: Upload, bands: Sequence[str], stated: Sequence[str] = ()) -> np.ndarray:
    """Return the image (..., C) with the bands that a network reads, in its order.

    Args:
        upload: What was sent; more bands than the network reads may be there.
        bands: Names of the bands.
        stated: Names of the bands that were sent, instead of those in the file.

    Raises:
        DataError: If a band is missing, or bands are not named and their number is another.
    """
    image, names = upload.arrays["image"], tuple(stated) or upload.names
    count = image.shape[-1] if image.ndim else 0
    expected = f"the network reads {len(bands)} bands: {', '.join(bands)}"
    if not names:
        if count != len(bands):
            raise DataError(
                f"{WHAT} has the shape {image.shape}, {count} bands without names, and {expected}; send "
                "these as the last axis in this order, or name yours with ?bands=NAME,NAME."
            )
        return image
    if len(names) != count:
        raise DataError(f"{len(names)} names were given of {count} bands; {expected}.")
    found = [band_of(name, bands) for name in names]
    lacking = [band for band in bands if found.count(band) != 1]
    if lacking:
        raise DataError(
            f"{WHAT} has the bands {', '.join(names)[:300]}, without {', '.join(lacking)} or with it several "
            f"times; {expected}."
        )
    places = [found.index(band) for band in bands]
    return image if places == list(range(count)) else image[..., places]
