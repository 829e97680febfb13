"""Landslide4Sense (Ghorbanzadeh et al. 2022): patches of Sentinel-2 bands, slope and elevation with masks.

Two published trees hold the same files::

    TrainData/img/image_1.h5      TrainData/mask/mask_1.h5       ValidData/…  TestData/…
    images/train/image_1.h5       annotations/train/mask_1.h5    …/validation …/test

An image is the dataset ``img`` (128, 128, 14) float64, a mask the dataset ``mask`` (128, 128) with 1 where
there is a landslide. Values are scaled already (each band divided by its mean, as far as is known): they are
read as they are. The files hold neither place nor date. Validation and test masks came with later copies.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import xarray as xr

from eolab.errors import DataError, ParameterError, did_you_mean
from eolab.progress import track

BANDS = (
    *(f"B{number:02d}" for number in range(1, 13)),  # Sentinel-2 without B8A
    "slope",
    "dem",
)
SIZE = 128  # pixels along a side
PIXEL_AREA_M2 = 100.0
SPLITS = ("train", "validation", "test")
TREES = {  # folder of images and of masks by split
    "TrainData": {
        split: (f"{name}/img", f"{name}/mask")
        for split, name in zip(SPLITS, ("TrainData", "ValidData", "TestData"), strict=True)
    },
    "images": {split: (f"images/{split}", f"annotations/{split}") for split in SPLITS},
}
NORMALISE = ("none", "official")

# Constants of the data set's own loader. Files are non-negative, so these are no statistics of the files:
# that loader computed them from values it had normalised already. Only for reproducing its baseline.
OFFICIAL_MEAN = (
    *(-0.4914, -0.3074, -0.1277, -0.0625, 0.0439, 0.0803, 0.0644, 0.0802, 0.3000, 0.4082, 0.0823, 0.0516),
    *(0.3338, 0.7819),
)
OFFICIAL_STD = (
    *(0.9325, 0.8775, 0.8860, 0.8869, 0.8857, 0.8418, 0.8354, 0.8491, 0.9061, 1.6072, 0.8848, 0.9232),
    *(0.9018, 1.2913),
)


def index(path: str | Path) -> pd.DataFrame:
    """List the patches of a data set, paired by number, in numeric order; no file is opened.

    Args:
        path: Folder of the data set, either tree.

    Returns:
        A row an image: published ("train", "validation", "test"), number, image and mask (paths; mask is ""
        where there is none).

    Raises:
        DataError: If the folder holds neither tree, or no image.
    """
    root = Path(path)
    tree = next((tree for name, tree in TREES.items() if (root / name).is_dir()), None)
    if tree is None:
        raise DataError(
            f"{root} holds no Landslide4Sense data: expected TrainData/img/image_1.h5 or "
            "images/train/image_1.h5; give the folder above."
        )
    rows = []
    for split, (images, masks) in tree.items():
        found = _numbered(root / images, "image")
        labels = _numbered(root / masks, "mask")
        rows += [(split, n, str(found[n]), str(labels.get(n, ""))) for n in sorted(found)]
    if not rows:
        raise DataError(f"{root} has the folders of Landslide4Sense but no image_<number>.h5 in them.")
    return pd.DataFrame(rows, columns=["published", "number", "image", "mask"])


def read_image(path: str | Path, normalise: str = "none") -> np.ndarray:
    """Read an image.

    Args:
        path: The ``.h5`` file.
        normalise: "none" for the values as published, "official" to subtract the constants of the data set's
            own loader and divide by them, which do not fit the files; to reproduce its baseline only.

    Returns:
        float32 (128, 128, 14), unitless.

    Raises:
        DataError: If the file is missing, damaged, or not an image of the data set.
        ParameterError: If the normalisation is unknown.
    """
    if normalise not in NORMALISE:
        raise ParameterError(f"There is no normalisation {normalise!r}: {did_you_mean(normalise, NORMALISE)}")
    image = _read(path, "img", (SIZE, SIZE, len(BANDS))).astype(np.float32)
    if not np.isfinite(image).all():
        raise DataError(f"{path} holds values that are no numbers: fetch the file again.")
    if not image.any():
        raise DataError(f"{path} is zero everywhere: fetch the file again.")
    if normalise == "official":
        return (image - np.float32(OFFICIAL_MEAN)) / np.float32(OFFICIAL_STD)
    return image


def read_mask(path: str | Path) -> np.ndarray:
    """Read a mask: uint8 (128, 128), 1 where there is a landslide.

    Raises:
        DataError: If the file is missing, damaged, or holds anything but 0 and 1.
    """
    mask = _read(path, "mask", (SIZE, SIZE))
    if not np.isin(mask, (0, 1)).all():
        found = ", ".join(f"{value:g}" for value in np.unique(mask)[:5])
        raise DataError(f"{path} holds the values {found}: a mask has 0 and 1 only.")
    return mask.astype(np.uint8)


def open_layout(path: Path, splits: Iterable[str] | None = None, normalise: str = "none") -> xr.Dataset:
    """Open a data set; pixels are read when they are computed on, a file a chunk.

    Args:
        path: Folder of the data set.
        splits: Published splits to take; all by default.
        normalise: As in :func:`read_image`.

    Returns:
        ``image`` (sample, y, x, band) float32 and, where every patch has one, ``mask`` (sample, y, x) uint8,
        with the coordinates number, published and band.

    Raises:
        DataError: If there is no patch of these splits.
    """
    table = index(path)
    wanted = list(SPLITS if splits is None else splits)
    for split in wanted:
        if split not in SPLITS:
            raise ParameterError(f"There is no published split {split!r}: {did_you_mean(split, SPLITS)}")
    table = table[table["published"].isin(wanted)].reset_index(drop=True)
    if table.empty:
        raise DataError(f"{path} has no image of {' or '.join(wanted)}.")
    shape = (SIZE, SIZE, len(BANDS))
    image = _lazy(table["image"], read_image, shape, np.float32, normalise=normalise)
    variables: dict[str, Any] = {"image": (("sample", "y", "x", "band"), image, {"units": "1"})}
    if (table["mask"] != "").all():
        mask = _lazy(table["mask"], read_mask, shape[:2], np.uint8)
        variables["mask"] = (("sample", "y", "x"), mask, {"long_name": "1 = landslide"})
    coords = {
        "band": list(BANDS),
        "number": ("sample", table["number"].to_numpy()),
        "published": ("sample", table["published"].to_numpy(object)),
    }
    return xr.Dataset(variables, coords, {"pixel_area_m2": PIXEL_AREA_M2})


def check_layout(path: Path, progress: bool = True) -> pd.DataFrame:
    """Read every image and mask; return file (below the folder), status and reason."""
    table = index(path)
    rows = []
    for row in track(
        list(table.itertuples()), "Landslide4Sense", total=len(table), unit="patch", progress=progress
    ):
        rows.append((row.image, _fault(read_image, row.image)))
        if row.mask:
            rows.append((row.mask, _fault(read_mask, row.mask)))
        elif row.published == "train":
            rows[-1] = (row.image, rows[-1][1] or f"has no mask_{row.number}.h5")
    rows += [(str(file), f"has no image_{number}.h5") for number, file in _orphans(Path(path), table)]
    return pd.DataFrame(
        {
            "file": [Path(file).relative_to(path).as_posix() for file, _ in rows],
            "status": ["rejected" if fault else "ok" for _, fault in rows],
            "reason": [fault for _, fault in rows],
        }
    )


def read_patch(source: str | Path | bytes) -> np.ndarray:
    """Read one patch of any origin: an ``.h5`` file of the data set, or a GeoTIFF with its 14 bands.

    Args:
        source: Path, or the content of the file.

    Returns:
        float32 (H, W, 14).

    Raises:
        DataError: If it is neither, or has other bands.
    """
    name = "The file" if isinstance(source, bytes) else str(source)
    content = source if isinstance(source, bytes) else _content(Path(source))
    if content[:8] == b"\x89HDF\r\n\x1a\n":
        image = _read(io.BytesIO(content), "img", None, name)
    elif content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        image = _geotiff(content, name)
    else:
        raise DataError(
            f"{name} is neither HDF5 nor GeoTIFF: give an image_<number>.h5 or a .tif of 14 bands."
        )
    if image.ndim != 3 or image.shape[-1] != len(BANDS):
        raise DataError(
            f"{name} has shape {image.shape}: expected (height, width, 14) with the bands {', '.join(BANDS)}."
        )
    if not np.isfinite(image).all() or not image.any():
        raise DataError(
            f"{name} is zero everywhere or holds values that are no numbers: choose another patch."
        )
    return image.astype(np.float32)


def _numbered(folder: Path, stem: str) -> dict[int, Path]:
    """Return the files ``<stem>_<number>.h5`` of a folder by number."""
    if not folder.is_dir():
        return {}
    names = ((file, file.stem.removeprefix(f"{stem}_")) for file in folder.glob(f"{stem}_*.h5"))
    return {int(number): file for file, number in names if number.isdigit()}


def _orphans(root: Path, table: pd.DataFrame) -> list[tuple[int, Path]]:
    """Return masks without an image, with their numbers."""
    tree = next(tree for name, tree in TREES.items() if (root / name).is_dir())
    found = []
    for split, (_, masks) in tree.items():
        known = set(table.loc[table["published"] == split, "number"])
        found += [(n, file) for n, file in sorted(_numbered(root / masks, "mask").items()) if n not in known]
    return found


def _read(
    source: str | Path | io.BytesIO, key: str, shape: tuple[int, ...] | None, name: str = ""
) -> np.ndarray:
    """Return one dataset of an HDF5 file, its shape checked."""
    name = name or str(source)
    if isinstance(source, str | Path) and not Path(source).is_file():
        raise DataError(f"{source} does not exist: put the file there, or leave the patch out.")
    try:
        with h5py.File(source, "r") as file:
            if key not in file:
                raise DataError(f"{name} has no dataset {key!r} (it has {', '.join(file) or 'none'}).")
            values = np.asarray(file[key])
    except OSError as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{name} cannot be read as HDF5 ({reason}): fetch the file again.") from None
    if shape is not None and values.shape != shape:
        raise DataError(f"{name} holds {key} of shape {values.shape}: expected {shape}.")
    if values.dtype.kind not in "fiub":
        raise DataError(f"{name} holds {key} of type {values.dtype}: expected numbers.")
    return values


def _geotiff(content: bytes, name: str) -> np.ndarray:
    """Return the pixels of a GeoTIFF, bands last."""
    import rasterio
    from rasterio.errors import RasterioError

    try:
        with rasterio.MemoryFile(content) as file, file.open() as raster:
            return np.moveaxis(raster.read(), 0, -1)
    except RasterioError as error:
        raise DataError(f"{name} cannot be read as GeoTIFF ({error}): write it again.") from None


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): give the path of a file.") from None


def _lazy(paths: Iterable[str], read: Any, shape: tuple[int, ...], dtype: Any, **options: Any) -> Any:
    """Return a dask array (N, *shape) that reads a file a chunk."""
    import dask.array as da
    from dask import delayed

    reader = delayed(read, pure=True)
    parts = [da.from_delayed(reader(path, **options), shape, dtype)[None] for path in paths]
    return da.concatenate(parts)


def _fault(read: Any, path: str) -> str:
    """Return why a file cannot be used, without its name; empty where it can."""
    try:
        read(path)
    except DataError as error:
        return str(error).removeprefix(f"{path} ")
    return ""
