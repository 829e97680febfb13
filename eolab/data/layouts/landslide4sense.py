"""Landslide4Sense 2022: patches of Sentinel-2 bands, slope and elevation with masks of landslides.

Globally distributed patches of 128 × 128 pixels of about 10 m (Ghorbanzadeh et al. 2022, Landslide4Sense:
Reference Benchmark Data and Deep Learning Models for Landslide Detection,
https://doi.org/10.1109/TGRS.2022.3215209). The files have no date, place or CRS.

Two trees are published. One is ``TrainData/img/image_N.h5`` with ``TrainData/mask/mask_N.h5``, likewise
``ValidData`` and ``TestData``, at first without masks. The other is ``images/train/image_N.h5`` with
``annotations/train/mask_N.h5``, likewise ``validation`` and ``test``. Images and masks are paired by their
number. Besides, one patch is read from a file that somebody brings: HDF5 as published, or a GeoTIFF of the
same 14 bands.

Example:
    >>> patches = index("data/landslide4sense")
    >>> read_image(patches["image"][0]).shape
    (128, 128, 14)
"""

import io
import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
import xarray as xr
from rasterio.io import DatasetReader, MemoryFile
from rasterio.warp import transform as to_crs

from eolab.core.errors import DataError, check_known
from eolab.core.progress import track
from eolab.data.bands import L1C_BANDS
from eolab.data.layouts.common import (
    attempt,
    below,
    emptiness,
    files_in,
    lazy,
    lies_instead,
    of_splits,
    reading,
    report,
)
from eolab.data.layouts.geotiff import band_order, check_size
from eolab.data.layouts.hdf5 import read_array
from eolab.data.schemes import IGNORE

BANDS = (*(name for name in L1C_BANDS if name != "B8A"), "slope", "dem")
"""Bands in the order of the files: Sentinel-2 without B8A, then slope and elevation from ALOS PALSAR."""

MEASURED = tuple(band for band in BANDS if band not in ("B10", "slope", "dem"))
"""Bands that are never empty or constant over a patch: cirrus, a plain and the sea may be."""

SIZE = 128
PIXEL_AREA_M2 = 100.0
IMAGE_KEY, MASK_KEY = "img", "mask"
AGAIN = "fetch it again or leave the patch out"
OTHER = "choose another file"
EQUAL_AREA = "EPSG:6933"

SPLITS = ("train", "validation", "test")
_NAMES = dict(zip(SPLITS, ("TrainData", "ValidData", "TestData"), strict=True))
TREES: dict[str, dict[str, tuple[str, str]]] = {
    "train_data": {split: (f"{name}/img", f"{name}/mask") for split, name in _NAMES.items()},
    "images_annotations": {split: (f"images/{split}", f"annotations/{split}") for split in SPLITS},
}
"""Folders of the images and the masks of each split, by tree."""

Normalise = Literal["none", "official"]
_CONSTANTS = pd.read_csv(Path(__file__).with_name("landslide4sense.csv"), index_col="band")  # of BANDS

DIVISORS = _CONSTANTS["divisor"].to_numpy(np.float32)
"""What each band was divided by, as the data set's author states it: digital numbers (reflectance is a
ten-thousandth of them), degrees of slope and metres (https://github.com/iarai/Landslide4Sense-2022/issues/4)."""

QUANTIFICATION = 10_000.0  # digital numbers of reflectance 1
OPTICAL = len(L1C_BANDS) - 1
HIGHEST = np.array([90.0, 9000.0]) / DIVISORS[OPTICAL:]
"""Largest values of slope and elevation in published files."""
UNITS = ("as published", "digital numbers, degrees and metres", "reflectance, degrees and metres")

MOST_VALUES = 1024 * 1024 * len(BANDS)
"""Values of the largest array that is read: what a file declares may be anything."""

Source = str | Path | bytes | bytearray | memoryview

_FILE = re.compile(r"(image|mask)_(\d+)\.h5")
_HDF5 = b"\x89HDF\r\n\x1a\n"
_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")


def index(path: str | Path) -> pd.DataFrame:
    """Return the patches of a copy of the data set; names are read, files are not opened.

    Args:
        path: The folder with ``TrainData`` or with ``images``.

    Returns:
        A row a patch, by split and by number (image_10 after image_2): published (train, validation or test),
        number, image, mask (files; mask is empty in a split that was published without masks).
        ``attrs["rejected"]`` lists file and reason of what was left out: an image without its mask where
        others of its split have one (or in the training split, which was always published with masks), a mask
        without its image, a name that holds no number, a number that stands twice.

    Raises:
        DataError: If the folder holds neither tree, or both, or no patch that can be used.
    """
    patches = _scan(Path(path))
    if patches.empty:
        first = [f"; {Path(one['file']).name} {one['reason']}" for one in patches.attrs["rejected"][:1]]
        raise DataError(f"{path} holds no patch of Landslide4Sense that can be used{''.join(first)}.")
    return patches


def _scan(root: Path) -> pd.DataFrame:
    """List and pair the files of all splits; the result is that of :func:`index`, or has no row.

    Raises:
        DataError: If the folder holds neither tree, or both.
    """
    rows: list[tuple[str, int, str, str]] = []
    rejected: list[tuple[Path, str]] = []
    for split, folders in _folders(root).items():
        images, wrong_images = _numbered(root / folders[0], "image")
        masks, wrong_masks = _numbered(root / folders[1], "mask")
        rejected += [*wrong_images, *wrong_masks]
        labelled = bool(masks) or split == "train"
        for number in sorted(images | masks):
            if number not in images:
                rejected.append((masks[number], f"has no image_{number}.h5 beside it"))
            elif labelled and number not in masks:
                reason = f"has no mask_{number}.h5, which its split is published with"
                rejected.append((images[number], reason))
            else:
                rows.append((split, number, str(images[number]), str(masks.get(number, ""))))
    patches = pd.DataFrame(rows, columns=["published", "number", "image", "mask"]).astype({"number": "int64"})
    patches.attrs["rejected"] = [{"file": below(root, file), "reason": reason} for file, reason in rejected]
    return patches


def _folders(root: Path) -> dict[str, tuple[str, str]]:
    """Return the folders of the images and masks of each split.

    Raises:
        DataError: If the folder holds neither published tree or both.
    """
    found = [tree for tree in TREES.values() if any((root / image).is_dir() for image, _ in tree.values())]
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(f"{root} holds both published trees, TrainData/… and images/…: move one away.")
    raise DataError(
        f"{root} holds no Landslide4Sense patches: expected TrainData/img/image_1.h5 … or "
        f"images/train/image_1.h5 …, {lies_instead(root, 'TrainData', 'images')}."
    )


def _numbered(folder: Path, stem: str) -> tuple[dict[int, Path], list[tuple[Path, str]]]:
    """Return the files ``<stem>_N.h5`` of a folder by number, and those whose name is another.

    Only ``.h5`` files count, in capitals too; hidden ones, which macOS leaves beside others, are listed.
    """
    found: dict[int, Path] = {}
    files, wrong = files_in(folder, ".h5")
    for file in files:
        match = _FILE.fullmatch(file.name.lower())
        if match is None or match[1] != stem:
            wrong.append((file, f"is not named {stem}_N.h5 with a number N"))
        elif (number := int(match[2])) in found:
            wrong.append((file, f"has the number {number} of {found[number].name} again"))
        else:
            found[number] = file
    return found, wrong


def open_layout(
    path: str | Path, splits: str | Sequence[str] | None = None, normalise: Normalise = "none"
) -> xr.Dataset:
    """Open the patches; a file is read when its pixels are computed on.

    Args:
        path: The folder with ``TrainData`` or with ``images``.
        splits: Which of train, validation and test; all that are there by default.
        normalise: Scaling of the values; see :func:`read_image`.

    Returns:
        ``image`` (sample, y, x, band) float32, lazy, a patch a chunk, and, where a patch has a mask, ``mask``
        (sample, y, x) uint8: 1 = landslide, 0 = elsewhere, 255 in patches without a mask. Coordinates band,
        number and published (sample). ``attrs["rejected"]`` is a JSON table of the files that were left out
        and why, ``attrs["unlabelled"]`` the number of patches without a mask.

    Raises:
        DataError: If the folder holds no patch that can be used; when computed, if a file is damaged.
        ParameterError: If a split or the normalisation is unknown.
    """
    check_known(normalise, get_args(Normalise), f"normalise is {normalise!r}")
    found = index(path)
    patches = of_splits(found, splits, "published")
    has_mask = (patches["mask"] != "").to_numpy()
    read = partial(read_image, normalise=normalise)
    images = lazy(read, patches["image"].tolist(), (SIZE, SIZE, len(BANDS)), "float32")
    attrs = {"units": "1", "long_name": "scaled bands", "pixel_area_m2": PIXEL_AREA_M2}
    dataset = xr.Dataset(
        {"image": (("sample", "y", "x", "band"), images, attrs)},
        coords={
            "band": list(BANDS),
            "number": ("sample", patches["number"].to_numpy()),
            "published": ("sample", patches["published"].to_numpy(str)),
        },
    )
    if has_mask.any():
        masks = lazy(_mask_or_unknown, patches["mask"].tolist(), (SIZE, SIZE), "uint8")
        dataset["mask"] = (("sample", "y", "x"), masks, {"long_name": "1 = landslide"})
    rejected = json.dumps(found.attrs["rejected"])
    return dataset.assign_attrs(rejected=rejected, unlabelled=int((~has_mask).sum()), normalise=normalise)


def check_layout(path: str | Path, progress: bool = True) -> pd.DataFrame:
    """Read every image and mask; nothing stops at a bad one.

    Returns:
        One row a file: file (below the folder), status (``ok`` or ``rejected``), reason.
    """
    root, patches = Path(path), _scan(Path(path))
    readers: dict[str, Callable[[str], np.ndarray]] = {"image": read_image, "mask": read_mask}
    files = [
        (kind, file)
        for image, mask in zip(patches["image"], patches["mask"], strict=True)
        for kind, file in (("image", image), ("mask", mask))
        if file
    ]
    rows = [
        (below(root, file), attempt(readers[kind], file)[1])
        for kind, file in track(files, f"reading {root.name}", unit="file", progress=progress)
    ]
    return report(rows, patches.attrs["rejected"])


def _mask_or_unknown(path: str) -> np.ndarray:
    return read_mask(path) if path else np.full((SIZE, SIZE), IGNORE, np.uint8)


# === Files ===


def read_image(path: str | Path, normalise: Normalise = "none") -> np.ndarray:
    """Read the image of a patch.

    Args:
        path: An ``image_N.h5``.
        normalise: ``"none"`` gives the values of the file; ``"official"`` gives (x - mean) / std with the
            constants of the official loader (https://github.com/iarai/Landslide4Sense-2022), to reproduce its
            baseline. They are off by default because they do not fit the files: the values there are never
            negative, yet four of the constants for the means are. A model is better served by statistics of
            its own training patches.

    Returns:
        float32 (y, x, band) = (128, 128, 14) in the order of :data:`BANDS`: scaled values without a unit,
        neither reflectance nor digital numbers.

    Raises:
        DataError: If the file is damaged, has another key, shape or number type, or holds only zeros, values
            that are not finite or in another unit.
        ParameterError: If ``normalise`` is unknown.
    """
    check_known(normalise, get_args(Normalise), f"normalise is {normalise!r}")
    image = read_array(path, Path(path), IMAGE_KEY, MOST_VALUES)
    if image.shape != (SIZE, SIZE, len(BANDS)):
        raise DataError(
            f"{path} holds an image of shape {image.shape}, expected {(SIZE, SIZE, len(BANDS))}: {AGAIN}."
        )
    return normalised(checked_unit(checked_image(image, path), path), normalise)


def read_mask(path: str | Path) -> np.ndarray:
    """Read the mask of a patch.

    Args:
        path: A ``mask_N.h5``.

    Returns:
        uint8 (y, x) = (128, 128): 1 = landslide, 0 = elsewhere.

    Raises:
        DataError: If the file is damaged, has another key, shape or number type, or other values.
    """
    mask = read_array(path, Path(path), MASK_KEY, MOST_VALUES)
    if mask.shape != (SIZE, SIZE):
        raise DataError(f"{path} holds a mask of shape {mask.shape}, expected {(SIZE, SIZE)}: {AGAIN}.")
    if mask.dtype.kind not in "uib":
        raise DataError(f"{path} holds a mask of {mask.dtype}, expected uint8 with 0 and 1: {AGAIN}.")
    other = np.setdiff1d(mask, (0, 1))
    if other.size:
        found = ", ".join(str(value) for value in other[:3])
        raise DataError(f"{path} holds the value {found} in its mask, expected 0 and 1 alone: {AGAIN}.")
    return mask.astype(np.uint8, copy=False)


def published(image: np.ndarray) -> np.ndarray:
    """Return reflectance, degrees of slope and metres (..., band) on the scale of the published files."""
    if image.shape[-1] != len(BANDS):
        raise DataError(f"The image has the shape {image.shape}, expected (..., {len(BANDS)}): {OTHER}.")
    units = np.array([QUANTIFICATION] * OPTICAL + [1.0] * (len(BANDS) - OPTICAL), np.float32)
    return image / (DIVISORS / units)


def unit_of(image: np.ndarray) -> str:
    """Return which of :data:`UNITS` an image is in, by the means of its bands.

    Published values have a mean near 1 in every band, the others near the band's divisor: the unit is the one
    whose means are closest, as ratios. B01 to B03 decide: the sky is in them, even over dark water. Values of
    slope and elevation that no published file can hold tell bright reflectance, as of snow.

    Args:
        image: (y, x, band).
    """
    terrain = bool((image[..., OPTICAL:].max((0, 1)) > HIGHEST).any())
    kept = slice(3)
    found = np.log(np.maximum(image[..., kept].mean((0, 1), dtype=np.float64), 1e-9))
    numbers = np.log(DIVISORS[kept])
    expected = (0 * numbers + (np.inf if terrain else 0), numbers, numbers - np.log(QUANTIFICATION))
    return UNITS[int(np.argmin([np.abs(found - one).mean() for one in expected]))]


def checked_unit(image: np.ndarray, name: str | Path) -> np.ndarray:
    """Return an image.

    Raises:
        DataError: If it is not on the scale of the published files.
    """
    unit = unit_of(image)
    if unit != UNITS[0]:
        sky, slope, dem = image[..., :3].mean(), image[..., OPTICAL].max(), image[..., -1].max()
        raise DataError(
            f"{name} looks like {unit}: B01 to B03 have a mean of {sky:.3g}, expected about 1, slope and dem "
            f"go up to {slope:.3g} and {dem:.3g}, expected {HIGHEST[0]:.1f} and {HIGHEST[1]:.1f} at most, as "
            "each band of Landslide4Sense was divided by a constant; bring it to that scale with "
            "landslide4sense.published, which takes reflectance, degrees and metres."
        )
    return image


def checked_image(image: np.ndarray, name: str | Path) -> np.ndarray:
    """Return an image as float32 after a check of its values.

    Raises:
        DataError: If they are integers, all zero, or not all finite.
    """
    if image.dtype.kind != "f":
        raise DataError(
            f"{name} holds {image.dtype}, expected the scaled floating point values of Landslide4Sense: "
            "divide digital numbers by 10,000, and bring reflectance to that scale with "
            "landslide4sense.published."
        )
    with np.errstate(over="ignore"):
        image = image.astype(np.float32)  # what is too large for it becomes infinite
    wrong = image.size - np.count_nonzero(np.isfinite(image))
    if wrong:
        raise DataError(
            f"{name} is NaN or infinite in {wrong} of {image.size} values, expected in none: {AGAIN}."
        )
    bands = {f"{band} of ": image[..., BANDS.index(band)] for band in MEASURED}
    for part, pixels in ({"": image} | bands).items():
        fault = emptiness(pixels)
        if fault:
            raise DataError(f"{part}{name} {fault}: {AGAIN}.")
    return image


def normalised(image: np.ndarray, normalise: Normalise) -> np.ndarray:
    """Return an image (..., band) float32 as published or with the official constants."""
    if normalise == "none":
        return image
    mean, std = _CONSTANTS[["official_mean", "official_std"]].to_numpy().T
    return ((image - mean) / std).astype(np.float32)


# === Single patches ===


class Patch(NamedTuple):
    """An image and what is known of its place.

    Attributes:
        image: float32 (y, x, band) in the order of :data:`BANDS`.
        name: Name of the file.
        pixel_area_m2: Area of its centre pixel on the ground.
        crs: Its CRS as text; empty where the file has none (then the area is that of a published patch).
    """

    image: np.ndarray
    name: str
    pixel_area_m2: float
    crs: str


def open_patch(source: Source, name: str = "") -> Patch:
    """Read a patch of any size.

    Args:
        source: A file, or the content of one: HDF5 with ``img`` (y, x, 14), or a GeoTIFF of 14 bands. A
            GeoTIFF's bands are put in order by their descriptions (``B2`` or ``B02``, ``slope``, ``dem``),
            without any they are taken in the order of :data:`BANDS`; scale and offset of its bands count.
        name: What to call it; by default the name of the file.

    Raises:
        DataError: If it is neither, is damaged or too large, has other bands, or its values are not on the
            scale of the published files.
    """
    if isinstance(source, str | Path):
        with reading(source, remedy=OTHER):
            content = Path(source).read_bytes()
        name = name or Path(source).name
    else:
        content, name = bytes(source), name or "The file"
    if content.startswith(_HDF5):
        image = read_array(name, io.BytesIO(content), IMAGE_KEY, MOST_VALUES)
        if image.ndim != 3 or image.shape[-1] != len(BANDS) or 0 in image.shape:
            raise DataError(
                f"{name} holds an image of shape {image.shape}, expected (y, x, {len(BANDS)}) with the bands "
                f"{', '.join(BANDS)}: {OTHER}."
            )
        return Patch(checked_unit(checked_image(image, name), name), name, PIXEL_AREA_M2, "")
    if content.startswith(_TIFF):
        with reading(name, "a GeoTIFF", OTHER), MemoryFile(content) as file, file.open() as raster:
            return _geotiff(raster, name)
    raise DataError(
        f"{name} is neither HDF5 nor GeoTIFF: choose an image_N.h5 of Landslide4Sense or a GeoTIFF of its "
        f"{len(BANDS)} bands."
    )


def _geotiff(raster: DatasetReader, name: str) -> Patch:
    """Read an open GeoTIFF."""
    if raster.count != len(BANDS):
        expected = f"{len(BANDS)} in the order {', '.join(BANDS)}"
        raise DataError(f"{name} has {raster.count} bands, expected {expected}: {OTHER}.")
    check_size(name, (raster.height, raster.width, raster.count), MOST_VALUES)
    order = band_order(name, raster.descriptions, BANDS)
    pixels = raster.read(order, masked=True)  # (band, y, x)
    scales, offsets = ([values[band - 1] for band in order] for values in (raster.scales, raster.offsets))
    if any(scale != 1 for scale in scales) or any(offsets):
        pixels = pixels * np.reshape(scales, (-1, 1, 1)) + np.reshape(offsets, (-1, 1, 1))
    empty = np.ma.getmaskarray(pixels).any(axis=0)  # (y, x)
    if empty.any():
        raise DataError(
            f"{name} has no data in {empty.sum()} of {empty.size} pixels, expected in none: choose a covered "
            "window."
        )
    image = np.ascontiguousarray(np.moveaxis(pixels.data, 0, -1))  # (y, x, band)
    crs = raster.crs.to_string() if raster.crs else ""
    return Patch(checked_unit(checked_image(image, name), name), name, _pixel_area_m2(raster), crs)


def _pixel_area_m2(raster: DatasetReader) -> float:
    """Return the area of the centre pixel on the ground, that of a published patch without a CRS.

    Corners are brought to the equal-area projection EPSG:6933, so that degrees and Mercator count right too.
    """
    if not raster.crs:
        return PIXEL_AREA_M2
    row, col = raster.height // 2, raster.width // 2
    corners = [raster.xy(row, col, offset=corner) for corner in ("ul", "ur", "lr", "ll")]
    x, y = (np.array(axis) for axis in to_crs(raster.crs, EQUAL_AREA, *zip(*corners, strict=True)))
    x, y = x - x[0], y - y[0]  # small numbers, so that rounding does not count
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)  # shoelace formula
