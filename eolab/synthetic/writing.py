"""What every writer of a twin needs: folder, marker, random streams, threads, rasters, names, refusals."""

import filecmp
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import rasterio
import tifffile
from rasterio.shutil import copy
from threadpoolctl import threadpool_limits

from eolab.core.errors import DataError, ParameterError
from eolab.core.files import names_digest
from eolab.core.progress import in_threads as progress_in_threads
from eolab.data.catalog import TWIN_FILE

Job = TypeVar("Job")
Result = TypeVar("Result")

_THREADS = 2  # NumPy, SciPy, GDAL and zlib release the GIL; memory grows by one job a thread
_SLICE = timedelta(seconds=25)


@contextmanager
def whole(folder: str | Path) -> Iterator[Path]:
    """Give a folder to write in, which gets its name at the end; after a failure nothing is left.

    Where another process has written the same twin meanwhile, that one stays.

    Args:
        folder: Must not exist.

    Raises:
        DataError: If it exists.
    """
    folder = Path(folder)
    if folder.exists():
        raise DataError(f"{folder} exists already: remove it or write the twin somewhere else.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield building
        building.chmod(0o755)
        try:
            building.rename(folder)
        except OSError:
            ours, theirs = building / TWIN_FILE, folder / TWIN_FILE
            if not theirs.is_file() or not filecmp.cmp(ours, theirs, shallow=False):
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)


def mark(folder: Path, writer: str, generator: int, **facts: Any) -> None:
    """Write the marker file of a twin, the last of its files: writer, version, parameters, what it holds."""
    marker = {"simulated": True, "writer": writer, "generator": generator, **facts}
    marker["files"] = names_digest(folder)
    (folder / TWIN_FILE).write_text(json.dumps(marker, indent=2) + "\n")


def check_seed(seed: int) -> None:
    """Raise a ParameterError if a seed is negative."""
    if seed < 0:
        raise ParameterError(f"seed {seed} is not possible: take 0 or a positive whole number.")


def check_range(name: str, value: int, low: int, high: int, unit: str = "") -> None:
    """Raise a ParameterError if a parameter lies outside of its range; the unit begins with a space."""
    if not low <= value <= high:
        raise ParameterError(f"{name} {value} is not possible: take {low:,} to {high:,}{unit}.")


def stream(seed: int, *numbers: int) -> np.random.Generator:
    """Return the random numbers of one part of a twin, independent of those of all other parts."""
    return np.random.default_rng([seed, *numbers])


def in_threads(
    make: Callable[[Job], Result], jobs: Sequence[Job], title: str, unit: str, progress: bool
) -> list[Result]:
    """Return the results of a function for some jobs, in their order, with a progress bar."""
    with threadpool_limits(1):  # the last digits of a matrix product depend on the number of its threads
        return list(progress_in_threads(make, jobs, title, unit, progress, _THREADS))


def stamp(time: datetime) -> str:
    """Return a time as product names write it."""
    return time.strftime("%Y%m%dT%H%M%S")


def sentinel1_name(mission: str, mode: str, begin: datetime, numbers: str) -> str:
    """Return the name of a ground-range detected Sentinel-1 product, which is a slice of 25 s."""
    return f"{mission}_IW_GRDH_{mode}_{stamp(begin)}_{stamp(begin + _SLICE)}_{numbers}"


def truncate(path: Path, share: float = 0.5) -> None:
    """Cut a file short: only a share of its bytes, from the start, is left."""
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def geotiff(values: np.ndarray, bounds: tuple[float, ...], epsg: int) -> bytes:
    """Return a band (y, x) as an uncompressed GeoTIFF in strips, several times as fast as rasterio.

    Args:
        values: Its pixels.
        bounds: Western, southern, eastern and northern edge.
        epsg: Code of a projected reference system in metres, or 4326.
    """
    return _header(values.shape, values.dtype, bounds, epsg) + values.tobytes()


@lru_cache(maxsize=16)
def _header(shape: tuple[int, ...], dtype: np.dtype, bounds: tuple[float, ...], epsg: int) -> bytes:
    """Return what stands before the pixels in each GeoTIFF of a shape and type at a place."""
    values, file, (west, south, east, north) = np.zeros(shape, dtype), BytesIO(), bounds
    model, code = (2, 2048) if epsg == 4326 else (1, 3072)  # geographic or projected, pixels are areas
    keys = (1, 1, 0, 3, 1024, 0, 1, model, 1025, 0, 1, 1, code, 0, 1, epsg)
    tags = [
        (33550, "d", 3, ((east - west) / shape[1], (north - south) / shape[0], 0.0), True),  # pixel scale
        (33922, "d", 6, (0.0, 0.0, 0.0, float(west), float(north), 0.0), True),  # tie point
        (34735, "H", len(keys), keys, True),  # GeoKeys
    ]
    rows = 8192 // (shape[1] * dtype.itemsize)  # bytes of a strip, as published
    options: dict[str, Any] = {"photometric": "minisblack", "metadata": None, "software": False}
    tifffile.imwrite(file, values, rowsperstrip=rows, extratags=tags, **options)
    return file.getvalue()[: -values.nbytes]


def write_raster(
    path: Path,
    image: np.ndarray,
    profile: dict[str, Any],
    colors: dict[int, tuple[int, int, int, int]] | None = None,
) -> None:
    """Write an image (y, x) or (band, y, x) with rasterio.

    Args:
        path: File to write.
        image: Its pixels.
        profile: crs, transform, creation options, and the driver where it is not GTiff.
        colors: Red, green, blue and opacity by value, each 0 to 255.
    """
    stack = image if image.ndim == 3 else image[None]
    count, height, width = stack.shape
    profile = {"driver": "GTiff", "dtype": stack.dtype.name, **profile}
    shape = {"count": count, "height": height, "width": width}
    if profile["driver"] == "JP2OpenJPEG":  # rasterio holds the GIL while it encodes, a copy releases it
        place = {key: profile.pop(key) for key in ("crs", "transform", "dtype")}
        with rasterio.open("memory", "w", driver="MEM", **shape, **place) as file:
            file.write(stack)
            copy(file, path, **profile)
        return
    with rasterio.open(path, "w", **shape, **profile) as file:
        file.write(stack)
        if colors:
            file.write_colormap(1, colors)
