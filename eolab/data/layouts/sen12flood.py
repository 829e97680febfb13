"""SEN12-FLOOD: series of Sentinel-1 and Sentinel-2 images of places where it flooded, or did not.

335 sequences of about 5 km with their images from December 2018 to May 2019, and for each image whether a
flood has been seen there (Rambour et al. 2020, Flood Detection in Time Series of Optical and SAR Images,
https://doi.org/10.5194/isprs-archives-XLIII-B2-2020-1343-2020), in either tree they are published in: the
lists of IEEE DataPort, or the collections of Radiant MLHub and Source Cooperative; see
:mod:`eolab.data.layouts.sen12flood_index`. An image is a GeoTIFF a polarisation or band.

Public users of the data set found files that do not open, thousands that are all zero, and SAR images that
the edge of a swath cuts. None of them stops a sequence: each is listed with its reason.

Example:
    >>> images = index("data/sen12flood")
    >>> radar = of_sequence(images, "0063", "S1")
    >>> series, rejected = read_series("data/sen12flood", radar, ["VH"], (522, 544))
    >>> series["image"].dims
    ('time', 'band', 'y', 'x')
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from eolab.core.errors import DataError, ParameterError, check_all, check_known
from eolab.core.progress import in_threads
from eolab.data.layouts.common import attempt, below, emptiness, report
from eolab.data.layouts.geotiff import read_raster
from eolab.data.layouts.resample import Axis, resample, taps
from eolab.data.layouts.sen12flood_index import OPTICAL_BANDS, SENSORS, files_of, index, stem_of, strays
from eolab.data.layouts.sen12flood_index import sequences as sequences  # who reads series wants them too

Size = tuple[int, int]
SIZE: Size = (512, 512)
CHECKED_SIZE: Size = (128, 128)  # the share of pixels with a value is judged on it
MIN_VALID = 0.75
"""Share of pixels with a value below which an image is left out, as users of the data set do."""

UNITS = {"S1": "linear", "S2": "reflectance"}
QUANTIFICATION = 10_000.0  # digital numbers of reflectance 1
SATURATED = 65535  # special value of Sentinel-2's products
LOWEST_MEDIAN = 1e-4  # of sigma nought, -40 dB: far below the noise of Sentinel-1
LOWEST = {"S1": 0.0, "S2": -0.5}  # what is not above it is no value


def of_sequence(images: pd.DataFrame, sequence: str, sensor: str) -> pd.DataFrame:
    """Return the images of a sequence and sensor.

    Args:
        images: Result of :func:`index`.
        sequence: Name of its folder.
        sensor: "S1" or "S2".

    Raises:
        ParameterError: If there is no such sequence or sensor, or no image of this sensor.
    """
    check_known(sensor, SENSORS, f"There is no sensor {sensor!r}")
    check_known(sequence, images["sequence"].unique().tolist(), f"There is no sequence {sequence!r}")
    found = images[(images["sequence"] == sequence) & (images["sensor"] == sensor)]
    if found.empty:
        raise ParameterError(
            f"Sequence {sequence} has no images of {sensor} in the index: take the other sensor."
        )
    return found


def passes(images: pd.DataFrame) -> pd.DataFrame:
    """Return a row a pass over a sequence: an image, or the slices of one date and orbit laid together.

    Args:
        images: Rows of :func:`index`; those without a file are left out.

    Returns:
        The columns of the first slice, and ``rows``: labels of the slices in `images`, joined by "+".
    """
    listed = images[images["filename"] != ""]
    groups = listed.groupby(["sequence", "sensor", "date", "orbit"], sort=False)
    found = listed.loc[groups.head(1).index].copy()
    found["rows"] = ["+".join(str(row) for row in rows) for rows in groups.groups.values()]
    return found.reset_index(drop=True)


def slices_of(images: pd.DataFrame, rows: Iterable[str]) -> pd.DataFrame:
    """Return the images that some passes are made of; `rows` is the column of :func:`passes`."""
    return images.loc[[int(label) for labels in rows for label in labels.split("+")]]


def slices_by_pass(images: pd.DataFrame, rows: Iterable[str]) -> list[list[Any]]:
    """Return the rows of the images that each of some passes is made of, as :func:`slices_of` all at once."""
    named = {image.Index: image for image in images.itertuples()}
    return [[named[int(label)] for label in labels.split("+")] for labels in rows]


def read_series(
    root: str | Path,
    images: pd.DataFrame,
    channels: Sequence[str],
    size: Size = SIZE,
    min_valid: float = MIN_VALID,
) -> tuple[xr.Dataset, list[dict[str, str]]]:
    """Read the images of one sequence and sensor; those that cannot be used are left out and listed.

    Slices of one Sentinel-1 pass, two images of one date and orbit, become one image: each covers a part of
    the sequence.

    Args:
        root: The folder that :func:`index` was given.
        images: Result of :func:`of_sequence`.
        channels: Polarisations or bands.
        size: Height and width that each image is brought to, by area where they are fewer and by bilinear
            interpolation where they are more; files of one sequence have several sizes.
        min_valid: Smallest share of pixels of an image that must have a value.

    Returns:
        ``image`` (time, band, y, x) float32, NaN where there is no value: linear sigma nought of Sentinel-1,
        reflectance of Sentinel-2; ``flooded`` (time), ``orbit`` (time) and ``full_coverage`` (time). And file
        and reason of each file that was not used.
    """
    listed, sensor = passes(images), str(images["sensor"].iloc[0])
    slices = slices_by_pass(images, listed["rows"])
    found = [_read_pass(root, one, channels, size, min_valid) for one in slices]
    taken = listed.loc[[values is not None for values, _ in found]]
    values = [values for values, _ in found if values is not None]
    stacked = np.stack(values) if values else np.empty((0, len(channels), *size), np.float32)
    dataset = xr.Dataset(
        {
            "image": (("time", "band", "y", "x"), stacked, {"units": UNITS[sensor]}),
            "flooded": ("time", taken["flooded"].to_numpy(bool)),
            "orbit": ("time", taken["orbit"].to_numpy(str)),
            "full_coverage": ("time", taken["full_coverage"].to_numpy(bool)),
        },
        coords={"time": taken["date"].to_numpy("datetime64[ns]"), "band": list(channels)},
        attrs={"sequence": str(images["sequence"].iloc[0]), "sensor": sensor},
    )
    rejected = [{"file": file, "reason": reason} for _, files in found for file, reason in files if reason]
    return dataset, rejected


def open_layout(
    path: str | Path,
    sequence: str,
    sensor: str = "S1",
    channels: Sequence[str] | None = None,
    size: Size = SIZE,
    min_valid: float = MIN_VALID,
    stated: Mapping[str, float] | None = None,
) -> xr.Dataset:
    """Read the series of one sequence and sensor: what :func:`read_series` says, all channels by default.

    `stated` is that of :func:`index`.

    ``attrs["rejected"]`` is a JSON table of the files that were left out and why.

    Raises:
        DataError: If the lists or the collections cannot be read.
        ParameterError: If there is no such sequence, sensor or channel.
    """
    images = of_sequence(index(path, stated), sequence, sensor)
    known = OPTICAL_BANDS if sensor == "S2" else ("VV", "VH")
    check_all(channels or (), known, f"{sensor} has no channel")
    dataset, rejected = read_series(path, images, list(channels or known), size, min_valid)
    return dataset.assign_attrs(rejected=json.dumps(rejected))


def check_layout(
    path: str | Path, progress: bool = True, stated: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Read every file that the lists or the collections name; nothing stops at a bad one.

    Returns:
        One row a file or entry: file (below the folder), status (``ok`` or ``rejected``), reason. Entries
        that name no file, and files that no entry names, are rejected too.
    """
    root = Path(path)
    images = index(root, stated)
    named = images["filename"] != ""
    series = [part for _, part in images[named].groupby(["sequence", "sensor"], sort=False)]

    def read(part: pd.DataFrame) -> list[tuple[str, str]]:
        slices = slices_by_pass(part, passes(part)["rows"])
        return [file for one in slices for file in _read_pass(root, one, None, CHECKED_SIZE, MIN_VALID)[1]]

    found = in_threads(read, series, f"reading {root.name}", "series", progress)
    rows = [file for files in found for file in files]
    missed = strays(root, {file for file, _ in rows})
    rows += [
        (f"{row.sequence}/{row.sensor} entry {row.number}", f"names no file for {row.date:%Y-%m-%d}")
        for row in images[~named].itertuples()
    ]
    rows += [
        (f"{row['sequence']}/{row['sensor']} entry {row['number']}", row["reason"])
        for row in images.attrs["rejected"]
    ]
    return report([*rows, *missed])


def _read_pass(
    root: str | Path, images: list[Any], channels: Sequence[str] | None, size: Size, min_valid: float
) -> tuple[np.ndarray | None, list[tuple[str, str]]]:
    """Lay the slices of one pass together.

    Args:
        root: The data set's folder.
        images: Rows of the index.
        channels: Polarisations or bands; None reads those that there should be.
        size: Height and width of the image.
        min_valid: Smallest share of pixels that must have a value.

    Returns:
        (channel, y, x) float32, NaN where there is no value, None where the pass cannot be used; and file and
        reason of each file, with an empty reason where it was read.
    """
    named = [(stem_of(one), files_of(root, one)) for one in images]
    stated = json.loads(images[0].stated)
    numbers = stated.pop("bands", {})
    read = partial(read_channel, sensor=images[0].sensor, stated=stated)
    wanted = list(channels or dict.fromkeys(c for one in images for c in one.channels.split("+")))
    merged, complete = np.full((len(wanted), *size), np.nan, np.float32), True
    every: list[tuple[str, str]] = []
    for place, channel in zip(merged, wanted, strict=True):
        lacking = f"was taken without {channel}"
        files = [
            _lay(place, Path(root), there[channel], partial(read, band=numbers.get(channel, 0)))
            if channel in there
            else (stem, lacking)
            for stem, there in named
        ]
        share = np.isfinite(place).mean()
        if share == 0 or share < min_valid:
            complete = False
            lacking = f"has values in {share:.0%} of the pixels of its date, expected {min_valid:.0%} or more"
            files = [(file, reason or lacking) for file, reason in files]
        every += files
    return (merged if complete else None), every


def _lay(place: np.ndarray, root: Path, file: Path, read: Callable[[Path], np.ndarray]) -> tuple[str, str]:
    """Fill the gaps of an image (y, x) from a file; return its name and the reason why it cannot be read."""
    values, reason = attempt(read, file)
    if values is not None:
        np.copyto(place, fitted(values, (place.shape[0], place.shape[1])), where=np.isnan(place))
    return below(root, file), reason


def read_channel(
    path: str | Path, sensor: str = "S1", stated: Mapping[str, float] | None = None, band: int = 0
) -> np.ndarray:
    """Read one polarisation or band.

    A scale and an offset that the file states are applied. Without them, numbers in floating point are the
    values themselves, and integers of Sentinel-2 are reflectance times 10,000.

    Units are told by the median, and some overlap: amplitude instead of power, and linear numbers that were
    multiplied by up to ten, lie in the range of sigma nought and go unnoticed.

    Args:
        path: The file.
        sensor: "S1" or "S2".
        stated: What the catalogue states of the pixels, see :func:`index`.
        band: Number of the band in a file of several; 0 for the only one.

    Returns:
        float32 (y, x), NaN where there is no value: sigma nought in linear power for Sentinel-1, reflectance
        for Sentinel-2, which may be a little below 0. Pixels of 0, of the file's nodata value and, of
        Sentinel-2, of 65535 (saturated) have no value.

    Raises:
        DataError: If the file is missing, cannot be read, is no single image, holds no value, or holds other
            units.
    """
    kept = {name: one for name, one in (stated or {}).items() if sensor == "S2" or name == "nodata"}
    raster = read_raster(path, stated=kept, sidecars=True, band=band)
    found = raster.pixels
    if found.ndim != 2 or not found.size or found.dtype.kind not in "uif":
        raise DataError(
            f"{path} holds {found.dtype} of shape {found.shape}, expected one image (y, x): leave it out."
        )
    plain = found.dtype.kind != "f" and (raster.scale, raster.offset) == (1, 0)
    values = raster.values()
    if sensor == "S2" and plain:
        values /= QUANTIFICATION
    values[(found == 0) | ((found == SATURATED) if sensor == "S2" else False)] = np.nan
    seen = values[np.isfinite(values)]
    if not seen.size:
        raise DataError(f"{path} has no value in any pixel, all are 0, nodata or not finite: leave it out.")
    fault = emptiness(found, gaps=True)
    if not fault:
        middle, units = (
            float(np.median(seen[:: 1 + seen.size // 5000])),
            f"of {seen.min():g} to {seen.max():g}",
        )
        fault = _optical_fault(found.dtype, plain, middle) if sensor == "S2" else _radar_fault(plain, middle)
        fault = fault and f"holds values {units}, {fault}"
    if fault:
        raise DataError(f"{path} {fault}; leave it out.")
    values[values <= LOWEST[sensor]] = np.nan
    return values


def _radar_fault(plain: bool, middle: float) -> str:
    """Return why an image is not sigma nought in linear power, by its type and its median."""
    expected = "expected sigma nought in linear power, mostly 0.001 to 1"
    if middle < 0:
        return f"which are decibels, {expected}: write 10 ** (dB / 10) into the file"
    if middle < LOWEST_MEDIAN:
        return f"as of another scale, {expected}: state the right scale in the file"
    if plain or middle > 10:
        return f"as the amplitudes of a product that is not calibrated, {expected}: calibrate it"
    return ""


def _optical_fault(kind: np.dtype, plain: bool, middle: float) -> str:
    """Return why an image is no reflectance, by its type and its median."""
    expected = "expected reflectance in floating point, or times 10,000 as integers of 16 bits"
    if plain and kind.itemsize == 1:
        return f"in 8 bits, as pictures have, {expected}"
    if middle > 2:
        return f"{expected}: state their scale in the file, for digital numbers 0.0001"
    return ""


def fitted(values: np.ndarray, size: Size) -> np.ndarray:
    """Return an image (y, x) brought to a size, pixels without a value left out of the means.

    Averaged by area along an axis that becomes shorter, bilinear along one that becomes longer.
    """
    axes = [
        taps(Axis(0, 1 / new, new), Axis(0, 1 / old, old), "average" if new < old else "bilinear")
        for old, new in zip(values.shape, size, strict=True)
    ]
    window = tuple(slice(axis.first, axis.last) for axis in axes)
    return resample(values[window], np.isfinite(values[window]), *axes)
