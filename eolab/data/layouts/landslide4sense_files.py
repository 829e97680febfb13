"""Landslide4Sense's HDF5 files: one image or one mask each, checked as it is read."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Literal

import h5py
import numpy as np

from eolab.core.errors import DataError, check_known

BANDS = (
    *("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12"),
    *("slope", "dem"),
)
"""Bands in the order of the files: Sentinel-2 without B8A, then slope and elevation from ALOS PALSAR."""

SIZE = 128
PIXEL_AREA_M2 = 100.0
IMAGE_KEY, MASK_KEY = "img", "mask"
AGAIN = "fetch it again or leave the patch out"

Normalise = Literal["none", "official"]
NORMALISE = ("none", "official")

OFFICIAL_MEAN = np.array(
    (
        *(-0.4914, -0.3074, -0.1277, -0.0625, 0.0439, 0.0803, 0.0644),
        *(0.0802, 0.3000, 0.4082, 0.0823, 0.0516, 0.3338, 0.7819),
    )
)
OFFICIAL_STD = np.array(
    (
        *(0.9325, 0.8775, 0.8860, 0.8869, 0.8857, 0.8418, 0.8354),
        *(0.8491, 0.9061, 1.6072, 0.8848, 0.9232, 0.9018, 1.2913),
    )
)


def read_image(path: str | Path, normalise: Normalise = "none") -> np.ndarray:
    """Read the image of a patch.

    Args:
        path: An ``image_N.h5``.
        normalise: ``"none"`` gives the values of the file; ``"official"`` gives (x - mean) / std with the
            constants of the official loader (https://github.com/iarai/Landslide4Sense-2022), to reproduce its
            baseline. They are off by default because they do not fit the files: the values there are never
            negative, yet four of the constants for the means are. A model is better served by statistics of
            its own training patches, and spectral indices are only defined on values as published.

    Returns:
        float32 (y, x, band) = (128, 128, 14) in the order of :data:`BANDS`: scaled values without a unit,
        neither reflectance nor digital numbers.

    Raises:
        DataError: If the file is damaged, has another key, shape or number type, or holds only zeros or
            values that are not finite.
        ParameterError: If ``normalise`` is unknown.
    """
    check_normalise(normalise)
    image = read_array(path, Path(path), IMAGE_KEY)
    if image.shape != (SIZE, SIZE, len(BANDS)):
        raise DataError(
            f"{path} holds an image of shape {image.shape}, expected {(SIZE, SIZE, len(BANDS))}: {AGAIN}."
        )
    return normalised(checked_image(image, path), normalise)


def read_mask(path: str | Path) -> np.ndarray:
    """Read the mask of a patch.

    Args:
        path: A ``mask_N.h5``.

    Returns:
        uint8 (y, x) = (128, 128): 1 = landslide, 0 = elsewhere.

    Raises:
        DataError: If the file is damaged, has another key, shape or number type, or other values.
    """
    mask = read_array(path, Path(path), MASK_KEY)
    if mask.shape != (SIZE, SIZE):
        raise DataError(f"{path} holds a mask of shape {mask.shape}, expected {(SIZE, SIZE)}: {AGAIN}.")
    if mask.dtype.kind not in "uib":
        raise DataError(f"{path} holds a mask of {mask.dtype}, expected uint8 with 0 and 1: {AGAIN}.")
    other = np.setdiff1d(mask, (0, 1))
    if other.size:
        found = ", ".join(str(value) for value in other[:3])
        raise DataError(f"{path} holds the value {found} in its mask, expected 0 and 1 alone: {AGAIN}.")
    return mask.astype(np.uint8, copy=False)


def read_array(name: str | Path, source: Path | IO[bytes], key: str) -> np.ndarray:
    """Read one data set of an HDF5 file.

    Args:
        name: What the file is called in an error.
        source: The file, or its content.
        key: Name of the data set.

    Raises:
        DataError: If the file cannot be read or has no such data set of its own: one that points to other
            files is not followed, since files may come from strangers.
    """
    try:
        with h5py.File(source, "r") as file:
            found = file.get(key) if isinstance(file.get(key, getlink=True), h5py.HardLink) else None
            if isinstance(found, h5py.Dataset) and not (found.external or found.is_virtual):
                return np.asarray(found[()])
            keys = ", ".join(sorted(file)) or "none"
    except FileNotFoundError:
        raise DataError(f"{name} does not exist: {AGAIN}.") from None
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(f"{name} cannot be read as HDF5 ({reason}): {AGAIN}.") from None
    raise DataError(f"{name} has no data set {key!r} of its own, it has: {keys}; {AGAIN}.")


def checked_image(image: np.ndarray, name: str | Path) -> np.ndarray:
    """Return an image as float32 after a check of its values.

    Raises:
        DataError: If they are integers, all zero, or not all finite.
    """
    if image.dtype.kind != "f":
        raise DataError(
            f"{name} holds {image.dtype}, expected the scaled floating point values of Landslide4Sense: "
            "digital numbers or reflectance must be brought to that scale first."
        )
    with np.errstate(over="ignore"):
        image = image.astype(np.float32)  # what is too large for it becomes infinite
    wrong = image.size - np.count_nonzero(np.isfinite(image))
    if wrong:
        raise DataError(
            f"{name} is NaN or infinite in {wrong} of {image.size} values, expected in none: {AGAIN}."
        )
    if not image.any():
        raise DataError(f"{name} holds only zeros: {AGAIN}.")
    return image


def normalised(image: np.ndarray, normalise: Normalise) -> np.ndarray:
    """Return an image (..., band) float32 as published or with the official constants."""
    if normalise == "none":
        return image
    return ((image - OFFICIAL_MEAN) / OFFICIAL_STD).astype(np.float32)


def check_normalise(normalise: str) -> None:
    """Check the name of a normalisation.

    Raises:
        ParameterError: If it is unknown.
    """
    check_known(normalise, NORMALISE, f"normalise is {normalise!r}")
