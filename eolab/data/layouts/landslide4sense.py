"""Landslide4Sense 2022: patches of Sentinel-2 bands, slope and elevation with masks of landslides.

Globally distributed patches of 128 × 128 pixels of about 10 m (Ghorbanzadeh et al. 2022, Landslide4Sense:
Reference Benchmark Data and Deep Learning Models for Landslide Detection,
https://doi.org/10.1109/TGRS.2022.3215209), in either tree they are published in; see
:mod:`eolab.data.layouts.landslide4sense_index`. The files have no date, place or CRS.

Example:
    >>> patches = index("data/landslide4sense")
    >>> read_image(patches["image"][0]).shape
    (128, 128, 14)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from eolab.core.progress import track
from eolab.data.layouts.common import below, lazy, of_splits, report, why
from eolab.data.layouts.landslide4sense_files import (
    BANDS,
    PIXEL_AREA_M2,
    SIZE,
    Normalise,
    check_normalise,
    normalised,
    read_image,
    read_mask,
)
from eolab.data.layouts.landslide4sense_index import index, scan
from eolab.data.layouts.landslide4sense_patch import Patch, open_patch, read_patch
from eolab.data.schemes import IGNORE

__all__ = [
    "BANDS",
    "PIXEL_AREA_M2",
    "SIZE",
    "Patch",
    "check_layout",
    "index",
    "normalised",
    "open_layout",
    "open_patch",
    "read_image",
    "read_mask",
    "read_patch",
]


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
    check_normalise(normalise)
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
    root, patches = Path(path), scan(path)
    readers: dict[str, Callable[[str], np.ndarray]] = {"image": read_image, "mask": read_mask}
    files = [
        (kind, file)
        for image, mask in zip(patches["image"], patches["mask"], strict=True)
        for kind, file in (("image", image), ("mask", mask))
        if file
    ]
    rows = [
        (below(root, file), why(readers[kind], file, file))
        for kind, file in track(files, f"reading {root.name}", unit="file", progress=progress)
    ]
    return report([*rows, *((one["file"], one["reason"]) for one in patches.attrs["rejected"])])


def _mask_or_unknown(path: str) -> np.ndarray:
    return read_mask(path) if path else np.full((SIZE, SIZE), IGNORE, np.uint8)
