"""Where patches come from: files of Landslide4Sense, or images and masks of one's own of any size."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eolab.core.errors import DataError
from eolab.data import own_labels
from eolab.data.catalog import DataEntry
from eolab.data.layouts import landslide4sense as reader
from eolab.data.layouts import patches
from eolab.data.schemes import IGNORE, check_codes, lookup


@dataclass(frozen=True)
class Source:
    """What reads patches, and what they have in common.

    Attributes:
        bands: Their bands.
        size: Height and width in pixels.
        pixel_area_m2: Ground of a pixel in square metres.
        units: What makes reflectance of the values of each band.
        image: Returns the image of a file, float32 (y, x, band).
        mask: Returns the mask of a file, uint8 (y, x): 1 = landslide, 0 = elsewhere, 255 = not known.
        open: Returns the image of a file that somebody brings.
    """

    bands: tuple[str, ...] = reader.BANDS
    size: tuple[int, int] = (reader.SIZE, reader.SIZE)
    pixel_area_m2: float = reader.PIXEL_AREA_M2
    units: tuple[float, ...] = tuple((reader.DIVISORS / reader.QUANTIFICATION).tolist())
    image: Callable[[str | Path], np.ndarray] = reader.read_image
    mask: Callable[[str | Path], np.ndarray] = reader.read_mask
    open: Callable[..., Any] = reader.open_patch


PUBLISHED = Source()


def of_entry(entry: DataEntry) -> tuple[pd.DataFrame, Source]:
    """Return the index of a data set's patches, and what reads them.

    Args:
        entry: Data set of layout ``landslide4sense``, or ``rasters`` with a mask of each image.

    Raises:
        DataError: If the layout is another, there are no masks, or these have other classes than two.
    """
    if entry.bounds or entry.dates:
        raise DataError(
            f"The patches of data set {entry.name} of {entry.file} have no places and dates that this study "
            "knows: leave 'bounds' and 'dates' out of its entry."
        )
    if entry.layout == "landslide4sense":
        return reader.index(entry.path), PUBLISHED
    if not patches.are_meant(entry.images):
        raise DataError(
            f"Data set {entry.name} has the layout {entry.layout}: this study reads landslide4sense, or "
            "rasters with patterns of images and masks, see docs/own_data.md."
        )
    found = patches.index(entry.path, entry.images, entry.pixels, entry.labels)
    attrs = found.attrs
    if (found["mask"] == "").all():
        raise DataError(
            f"The patches of {entry.name} have no masks: name them in its entry, such as "
            '`labels: {mask: {file: "masks/{sample}.tif"}}`.'
        )
    if entry.classes and len(entry.classes) != 2:
        raise DataError(
            f"The entry of {entry.name} names {len(entry.classes)} classes, expected two: what is elsewhere, "
            "then what is sought."
        )
    found = found.sort_values(["group", "id"], kind="stable")  # neighbours stand side by side
    root, published = entry.path, found["split"].where(found["split"] != "", "train")
    table = pd.DataFrame(
        {
            "published": published.to_numpy(str),
            "number": np.arange(1, len(found) + 1),
            "image": [f"{root}/{files}" for files in found["files"]],
            "mask": [f"{root}/{file}" for file in found["mask"]],
        }
    )
    table.attrs["rejected"] = attrs["rejected"]
    read = patches.reader(root, entry.images, entry.pixels, found)
    pixel = float(found["pixel"].median())
    bands, size = tuple(attrs["bands"]), tuple(attrs["size"])
    return table, Source(
        bands,
        size,
        pixel**2 if np.isfinite(pixel) else reader.PIXEL_AREA_M2,
        (1.0,) * len(bands),
        partial(_image, read=read, root=root),
        partial(_mask, entry=entry, size=size),
        _refuse,
    )


def _refuse(*_: Any) -> Any:
    raise DataError("Patches of one's own are read from their folder alone: put the file there.")


def _image(path: str | Path, read: Callable[[str], np.ndarray], root: Path) -> np.ndarray:
    """Return the bands of a patch of one's own, 0 where there is no value."""
    return patches.filled(read(str(path).removeprefix(f"{root}/")), path)


def _mask(path: str | Path, entry: DataEntry, size: tuple[int, int]) -> np.ndarray:
    """Return the mask of a patch of one's own; without classes in the entry, all but 0 is sought."""
    codes = patches.read_mask(Path(path), size)
    if not entry.classes:
        return (codes != 0).astype(np.uint8)
    scheme = own_labels.scheme_of(entry)
    known = ", ".join(map(str, scheme.codes))
    check_codes(codes, scheme.codes, [IGNORE], path, f"the codes that the entry names, {known}")
    return lookup(codes, {code: index for index, code in enumerate(scheme.codes)})
