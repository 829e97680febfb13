"""BigEarthNet's patches, 1.2 km of ground each: twelve Sentinel-2 bands, Sentinel-1, and the reference map.

A GeoTIFF a band: 120 × 120 pixels of 10 m, 60 × 60 of 20 m or 20 × 20 of 60 m, digital numbers uint16;
Sentinel-1 in dB, float32, 120 × 120; the reference map of version 2 in CORINE codes, uint16, 120 × 120. Which
patches there are is said by the index of either version: :mod:`eolab.data.layouts.bigearthnet_v1` and
:mod:`eolab.data.layouts.bigearthnet_v2`.

Example:
    >>> patches = bigearthnet_v1.index("data/BigEarthNet")
    >>> read_patch(patches.loc[0], ["B04", "B08"])["image"].shape
    (120, 120, 2)
"""

import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
import pandas as pd
import rasterio
import xarray as xr
from affine import Affine

from eolab.core.errors import DataError, ParameterError, check_known
from eolab.core.progress import in_threads
from eolab.data.bands import L2A_BANDS, RESOLUTIONS_M, SENTINEL2
from eolab.data.layouts.common import (
    attempt,
    below,
    distinct_bands,
    emptiness,
    lazy,
    of_splits,
    reading,
    report,
)
from eolab.data.layouts.geotiff import AGAIN, read_raster
from eolab.data.layouts.resample import Axis, Method, taps
from eolab.data.schemes import check_codes
from eolab.data.schemes.bigearthnet import class_set
from eolab.data.schemes.corine import CODINGS, NOTHING

BANDS = L2A_BANDS
RADAR = ("VV", "VH")
SIDE_M = 1200
PIXEL_M = 10
SIZE = SIDE_M // PIXEL_M
CHUNK = 32  # patches that are read at a time: one each would make half a million tasks

Resampling = Literal["nearest", "bilinear", "cubic", "native"]


def read_patch(
    row: Any,
    bands: Sequence[str] | None = None,
    resampling: Resampling = "nearest",
    with_radar: bool = False,
    with_reference: bool = False,
) -> dict[str, np.ndarray]:
    """Read the pixels of a patch.

    Args:
        row: A row of the index: ``s2`` and, where they are asked for, ``s1`` and ``reference``.
        bands: Sentinel-2 bands in the order wanted; all twelve by default.
        resampling: How bands of 20 and 60 m come to 10 m; ``native`` leaves each at its own pixel size.
        with_radar: Whether Sentinel-1 is read too.
        with_reference: Whether the reference map is read too.

    Returns:
        ``image`` (y 120, x 120, band) uint16, digital numbers; with ``native`` instead, for the pixel sizes
        that the bands have, ``image_10m`` (120, 120, band), ``image_20m`` (60, 60, band) and ``image_60m``
        (20, 20, band). Where asked for, ``radar`` (120, 120, 2) float32, VV and VH in dB, and ``reference``
        (120, 120) uint16, CORINE codes.

    Raises:
        DataError: If a file is missing or damaged, or not of the size and type that is published.
        ParameterError: If a band or the resampling is unknown.
    """
    names = check_bands(bands)
    check_known(resampling, get_args(Resampling), f"resampling is {resampling!r}")
    found = {name: _checked(file_of(row.s2, name), size_of(name), "uint16") for name in names}
    arrays = _native(found) if resampling == "native" else {"image": _at_10_m(found, resampling)}
    if with_radar:
        arrays["radar"] = read_radar(row)
    if with_reference:
        arrays["reference"] = read_reference(row)
    return arrays


def read_radar(row: Any) -> np.ndarray:
    """Read VV and VH of a patch, (120, 120, 2) float32 in dB.

    Raises:
        DataError: If the patch has no Sentinel-1 files, or they cannot be used.
    """
    if not row.s1:
        raise DataError(f"{row.s2} has no Sentinel-1 patch in the index: leave it out or read without radar.")
    images = [_checked(file_of(row.s1, name), SIZE, "float32") for name in RADAR]
    for name, image in zip(RADAR, images, strict=True):
        if not np.isfinite(image).all():
            wrong = image.size - np.count_nonzero(np.isfinite(image))
            raise DataError(f"{file_of(row.s1, name)} has no finite value in {wrong} pixels: leave it out.")
        if image.min() >= 0:
            raise DataError(
                f"{file_of(row.s1, name)} holds values of {image.min():g} to {image.max():g}, expected "
                "decibels, mostly -30 to 0: fetch it again, or write 10 log10 of sigma nought into the file."
            )
    return np.stack(images, axis=-1)  # (y, x, 2)


def read_reference(row: Any) -> np.ndarray:
    """Read the reference map of a patch of version 2, (120, 120) uint16: CORINE codes, 999 where none.

    Raises:
        DataError: If the patch has none, or it cannot be used, or holds codes of another map.
    """
    if not row.reference:
        raise DataError(f"{row.s2} has no reference map in the index: only version 2 has them.")
    codes = _checked(row.reference, SIZE, "uint16", measured=False)
    check_codes(codes, CODINGS["level3"], NOTHING, row.reference, "CORINE's level-3 codes 111 to 523")
    return codes


def place_of(folder: str) -> tuple[str, Affine]:
    """Return the CRS of a patch and the transform of its pixels of 10 m.

    Args:
        folder: Folder of its Sentinel-2 bands.

    Raises:
        DataError: If the file cannot be read or has no CRS.
    """
    file = file_of(folder, "B02")
    with reading(file, remedy=AGAIN), rasterio.open(file) as raster:
        crs, corner = raster.crs, raster.transform
    if crs is None:
        raise DataError(f"{file} has no CRS, expected a UTM zone: {AGAIN}.")
    return crs.to_string(), Affine(PIXEL_M, 0, corner.c, 0, -PIXEL_M, corner.f)


def file_of(folder: str, part: str) -> str:
    """Return the file of a band or polarisation: a patch's files are named as its folder."""
    return f"{folder}/{os.path.basename(folder)}_{part}.tif"


def check_bands(bands: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of bands as published, all twelve for None.

    Raises:
        ParameterError: If one is unknown, is B10, or none is given.
    """
    names = BANDS if bands is None else tuple(distinct_bands(bands))
    for name in names:
        check_known(name, BANDS, f"BigEarthNet has no band {name}")
    return names


def size_of(band: str) -> int:
    """Return height and width, which are equal, of a band as published."""
    return SIDE_M // SENTINEL2[band].resolution_m


def _checked(file: str, size: int, kind: str, measured: bool = True) -> np.ndarray:
    """Read a file and check what it holds; a map, which is not `measured`, may hold one class."""
    raster, shape = read_raster(file, most=16 * SIZE * SIZE), (size, size)
    pixels = raster.pixels
    if pixels.shape != shape or pixels.dtype != kind:
        raise DataError(
            f"{file} holds {pixels.dtype} of shape {pixels.shape}, expected {kind} of {shape}: {AGAIN}."
        )
    fault = emptiness(pixels) if measured else ""
    if measured and (raster.scale, raster.offset) not in ((1, 0), (1e-4, 0)):
        fault = f"states the scale {raster.scale:g} and the offset {raster.offset:g}, expected none"
    elif measured and not fault and raster.nodata is not None and (pixels == raster.nodata).any():
        fault = f"has no data in {np.count_nonzero(pixels == raster.nodata)} of its pixels"
    if fault:
        raise DataError(f"{file} {fault}: {AGAIN}.")
    return pixels


def _native(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the bands stacked by pixel size, in their order."""
    arrays = {}
    for metres in RESOLUTIONS_M:
        group = [image for name, image in found.items() if SENTINEL2[name].resolution_m == metres]
        if group:
            arrays[f"image_{metres}m"] = np.stack(group, axis=-1)
    return arrays


def _at_10_m(found: dict[str, np.ndarray], resampling: str) -> np.ndarray:
    """Return the bands at 10 m, uint16 (y, x, band)."""
    image = np.empty((len(found), SIZE, SIZE), np.uint16)
    for place, pixels in zip(image, found.values(), strict=True):
        size = len(pixels)
        if size == SIZE:
            place[:] = pixels
        elif resampling == "nearest":
            place[:] = pixels.repeat(SIZE // size, axis=1).repeat(SIZE // size, axis=0)
        else:
            axis = taps(Axis(0, PIXEL_M, SIZE), Axis(0, SIDE_M / size, size), cast("Method", resampling))
            half = (axis.weights @ pixels.astype(np.float32)).T  # sparse matrices start no threads of BLAS
            values = (axis.weights @ half).T
            place[:] = np.clip(np.rint(values), 0, np.iinfo(np.uint16).max)
    return image.transpose(1, 2, 0)  # a view (y, x, band)


def open_patches(
    patches: pd.DataFrame,
    splits: str | Sequence[str] | None = None,
    bands: Sequence[str] | None = None,
    resampling: Resampling = "nearest",
    with_radar: bool = False,
    classes: str = "19",
) -> xr.Dataset:
    """Return the patches of an index as a data set; files are read when their pixels are computed on.

    Args:
        patches: Index of either version.
        splits: Which of train, validation and test; all patches by default, those without a split too.
        bands: Names of the bands; see :func:`read_patch`.
        resampling: Rule of :func:`read_patch` for bands of 20 and 60 m; ``native`` is not possible here.
        with_radar: Whether Sentinel-1 is there too; patches without it are left out.
        classes: Name of the set of classes of ``label``.

    Returns:
        ``image`` (sample, y, x, band) uint16, lazy; ``label`` (sample, class) uint8, 1 where the patch has
        the class; where asked for, ``radar`` (sample, y, x, polarisation) float32 dB, lazy. Coordinates band,
        class, id and split. ``attrs["rejected"]`` is a JSON table of what was left out and why.

    Raises:
        DataError: If a label does not fit the set of classes; when computed, if a file is damaged.
        ParameterError: If a split, band, resampling or set of classes is unknown.
    """
    names = check_bands(bands)
    check_known(resampling, get_args(Resampling), f"resampling is {resampling!r}")
    if resampling == "native":
        raise ParameterError(
            "Bands of three pixel sizes have no grid in common, and an image has one pixel size: choose "
            "nearest, bilinear or cubic, or read each patch with read_patch."
        )
    taken = of_splits(patches, splits, "split")
    if with_radar:
        taken = taken[taken["s1"] != ""].reset_index(drop=True)
    chosen_set = class_set(classes)
    rows = list(taken[["s2", "s1"]].itertuples(index=False, name="Row"))
    read = partial(_image, bands=names, resampling=resampling)
    images = lazy(read, rows, (SIZE, SIZE, len(names)), "uint16", CHUNK)
    attrs = {"units": "1", "long_name": "digital numbers"}
    dataset = xr.Dataset(
        {
            "image": (("sample", "y", "x", "band"), images, attrs),
            "label": (("sample", "class"), chosen_set.encode_all(taken["labels"])),
        },
        coords={
            "band": list(names),
            "class": list(chosen_set.scheme.names),
            "id": ("sample", taken["id"].to_numpy(str)),
            "split": ("sample", taken["split"].to_numpy(str)),
        },
        attrs={"rejected": json.dumps(patches.attrs.get("rejected", [])), "resampling": resampling},
    )
    if with_radar:
        values = lazy(read_radar, rows, (SIZE, SIZE, len(RADAR)), "float32", CHUNK)
        dataset["radar"] = (("sample", "y", "x", "polarisation"), values, {"units": "dB"})
        dataset = dataset.assign_coords(polarisation=list(RADAR))
    return dataset


def check_patches(patches: pd.DataFrame, root: Path, progress: bool = True) -> pd.DataFrame:
    """Read every image of an index; nothing stops at a bad one.

    Returns:
        One row a patch of a satellite and a reference map: file (its folder, below the data set's), status
        (``ok`` or ``rejected``), reason, which names the file of a band; and what the index left out.
    """
    rows = list(patches[["s2", "s1", "reference"]].itertuples(index=False))
    found = in_threads(_check, rows, f"reading {root.name}", "patch", progress)
    read = [(below(root, file), reason) for parts in found for file, reason in parts]
    return report(read, patches.attrs.get("rejected", []))


def _check(row: Any) -> list[tuple[str, str]]:
    """Return file and reason of the parts of a patch."""
    parts: list[tuple[str, Callable[[Any], Any]]] = [
        (row.s2, lambda one: read_patch(one, resampling="native")),
        (row.s1, read_radar),
        (row.reference, read_reference),
    ]
    return [(file, attempt(read, row, file)[1]) for file, read in parts if file]


def _image(row: Any, bands: tuple[str, ...], resampling: Resampling) -> np.ndarray:
    """Return the bands of a patch (y, x, band)."""
    return read_patch(row, bands, resampling)["image"]
