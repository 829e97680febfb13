"""eo-learn patches: a folder of ``.npy`` features with their dates, extent and land-use polygons.

All files may be compressed (``.npy.gz``); features in pickles are not read. Feature folders and their axes:
``data``, ``mask`` (time, y, x, channel); ``data_timeless``, ``mask_timeless`` (y, x, channel); ``scalar``,
``label`` (time, channel). A feature of one channel loses that axis. Cloud-free 13-band scenes of the same
place may stand beside the patch as ``REFERENCE_SCENES.npy``.
"""

import gzip
import io
import json
import tokenize
import zlib
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import rioxarray  # noqa: F401  (registers the .rio accessor)
import xarray as xr
from pyproj import CRS
from pyproj.exceptions import CRSError
from rasterio.transform import from_bounds

from eolab.core import yamls
from eolab.core.errors import DataError
from eolab.data.bands import L1C_BANDS
from eolab.data.layouts.common import (
    attempt,
    below,
    emptiness,
    files_in,
    lies_instead,
    read_date,
    reading,
    report,
    scene_classes,
)
from eolab.data.layouts.geotiff import Raster

DIMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("data", "mask"), ("time", "y", "x")),
    **dict.fromkeys(("data_timeless", "mask_timeless"), ("y", "x")),
    **dict.fromkeys(("scalar", "label"), ("time",)),
}
REQUIRED = ("data/NDVI", "mask/CLM", "mask_timeless/LULC")
INSTEAD = {"mask/CLM": "mask/SCL"}  # either of two
_CODES = ("mask/CLM", "mask/SCL", "mask/IS_DATA", "mask_timeless/LULC")
USED = (*REQUIRED, *INSTEAD.values(), "mask/IS_DATA")
PROBABILITIES = ("CLP",)  # features that may be 0 throughout
SCENES = "REFERENCE_SCENES.npy"
CLASSES_FILES = ("vector_timeless/LULC.gpkg", "vector_timeless/LULC.geojson")
_DAMAGE = (OSError, ValueError, EOFError, MemoryError, zlib.error, tokenize.TokenError)
_ATTRS = {
    "NDVI": {"units": "1", "long_name": "normalised difference vegetation index"},
    "CLP": {"units": "1", "long_name": "cloud probability"},
    "CLM": {"long_name": "cloud mask, 1 = cloud"},
    "SCL": {"long_name": "scene classification"},
    "DEM": {"units": "m", "long_name": "elevation"},
    "LULC": {"long_name": "land use"},
}


def open_layout(path: str | Path, stated: Mapping[str, float] | None = None) -> xr.Dataset:
    """Open a patch.

    Args:
        path: The patch (the folder with ``bbox.geojson``), or the folder that holds this one patch.
        stated: What the catalogue states of the feature NDVI, which may be stored as whole numbers: scale,
            offset and nodata.

    Returns:
        All features with their dims, e.g. ``NDVI`` (time, y, x), ``DEM`` (y, x); ``reference_scenes``
        (scene, band, y, x) reflectance where the file stands beside. Coordinates time, in order, y, x; CRS
        through rio.
        ``LULC.attrs["classes"]`` is JSON, code to name, where the polygons are there; the name of code 0
        (nothing is known) is empty. ``attrs["rejected"]`` lists features that cannot be used and are not
        needed. Arrays are memory maps unless they are compressed.

    Raises:
        DataError: If a part of the patch that is needed is missing, unreadable, of another shape, or holds
            values that it cannot have.
    """
    patch = find_patch(Path(path))
    times = _times(patch)
    files = {f"{file.parent.name}/{_name(file)}": file for file in _features(patch)}
    _need(patch, files)
    height, width = _size_of_map(files["mask_timeless/LULC"])
    sizes = {"time": len(times), "y": height, "x": width}
    variables, rejected = {}, []
    for feature, file in files.items():
        variable, reason = attempt(partial(_variable, sizes=sizes, stated=stated), file)
        if variable is not None:
            variables[_name(file)] = variable
        elif feature in USED:
            raise DataError(f"{file} {reason}.")
        else:
            rejected.append({"file": below(patch, file), "reason": reason})
        if feature in USED and len(variables[_name(file)][0]) > len(DIMS[file.parent.name]):
            raise DataError(f"{file} has several channels, expected one: save the feature with that alone.")
    crs, bounds = _extent(patch)
    transform = from_bounds(*bounds, width, height)
    coords = {
        "time": times,
        "y": transform.f + transform.e * (np.arange(height) + 0.5),
        "x": transform.c + transform.a * (np.arange(width) + 0.5),
    }
    dataset = xr.Dataset(variables, coords=coords, attrs={"rejected": json.dumps(rejected)})
    for file in _scenes_files(patch):
        dataset = _with_scenes(dataset, file)
    names = land_use_names(patch)
    if names:
        dataset["LULC"] = dataset["LULC"].assign_attrs(classes=json.dumps(names))
    if not times.is_monotonic_increasing:
        dataset = dataset.sortby("time")
    return dataset.rio.write_crs(crs).rio.write_transform(transform)


def _need(patch: Path, files: Collection[str]) -> None:
    """Refuse a patch without the features that the reader needs."""
    lacking = [one for one in REQUIRED if one not in files and INSTEAD.get(one) not in files]
    if not lacking:
        return
    pickles = sorted(below(patch, file) for file in patch.rglob("*.pkl*"))
    if pickles:
        raise DataError(
            f"{patch} holds {pickles[0]}: pickles of old versions of eo-learn can run code and are not read; "
            "save the patch anew with eo-learn 1.4, which reads both: EOPatch.load(old).save(new)."
        )
    wanted = " and ".join(f"{one} or {INSTEAD[one]}" if one in INSTEAD else one for one in lacking)
    raise DataError(
        f"{patch} lacks the feature {wanted} (.npy or .npy.gz): save it with the patch, or fetch that again."
    )


def check_layout(
    path: Path, progress: bool = True, stated: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Read every feature of a patch; return one row a file: file, status, reason."""
    patch = find_patch(path)
    files = [*_features(patch), *_scenes_files(patch)]
    faults = {file: attempt(partial(_check, stated=stated), file)[1] for file in files}
    dataset, reason = attempt(partial(open_layout, stated=stated), patch)
    if dataset is not None:
        for one in json.loads(dataset.attrs["rejected"]):
            faults[patch / one["file"]] = one["reason"]
    elif not any(faults.values()):
        faults[patch] = reason
    return report((file.name, fault) for file, fault in faults.items())


def _check(file: Path, stated: Mapping[str, float] | None = None) -> None:
    """Read a whole feature."""
    values = np.array(_numbers(file, stated))
    if values.size == 0:
        raise DataError(f"{file} is empty.")
    _check_values(file, values)
    if file.parent.name == "data" and _name(file) not in PROBABILITIES and values.ndim == 4:
        fault = emptiness(values.reshape(-1, *values.shape[2:]), gaps=True)  # rows of all dates
        if fault:
            raise DataError(f"{file} {fault}: fetch the patch again.")


def find_patch(folder: Path) -> Path:
    """Return the patch folder: the folder itself, or its only child that is one.

    Raises:
        DataError: If there is none or several.
    """
    marks = ("bbox.geojson", "bbox.geojson.gz", "bbox.pkl")
    if any((folder / mark).is_file() for mark in marks):
        return folder
    found = sorted({file.parent for mark in marks for file in folder.glob(f"*/{mark}")})
    if len(found) > 1:
        names = ", ".join(patch.name for patch in found)
        raise DataError(f"{folder} holds several eo-learn patches ({names}): give the folder of one of them.")
    if not found:
        raise DataError(
            f"{folder} should be an eo-learn patch or hold one (bbox.geojson), "
            f"{lies_instead(folder, 'bbox.geojson')}."
        )
    return found[0]


def land_use_names(patch: Path) -> dict[int, str]:
    """Return the name of each land-use code in the patch's polygons; that of code 0 (not known) is empty.

    Without polygons there are no names.
    """
    for name in CLASSES_FILES:
        file = _plain_or_packed(patch / name)
        if not file.is_file():
            continue
        with reading(file, "land-use polygons", errors=(*_DAMAGE, KeyError, RuntimeError)):
            source = io.BytesIO(_bytes(file)) if file.suffix == ".gz" else file
            table = gpd.read_file(source, ignore_geometry=True)
            pairs = table[["LULC_ID", "LULC_NAME"]].drop_duplicates("LULC_ID").sort_values("LULC_ID")
            named = zip(pairs["LULC_ID"], pairs["LULC_NAME"].fillna(""), strict=True)
            return {int(code): str(name).strip() for code, name in named}
    return {}


def _features(patch: Path) -> Iterator[Path]:
    """Yield the files of all features; of two with one name the one that is not compressed."""
    for kind in DIMS:
        plain, packed = (files_in(patch / kind, ending)[0] for ending in (".npy", ".npy.gz"))
        yield from {_name(file): file for file in (*packed, *plain)}.values()


def _name(file: Path) -> str:
    """Return the name of a feature."""
    return file.name.partition(".")[0]


def _plain_or_packed(file: Path) -> Path:
    packed = file.with_name(f"{file.name}.gz")
    return packed if packed.is_file() and not file.is_file() else file


def _bytes(file: Path) -> bytes:
    return gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()


def _load(file: Path) -> np.ndarray:
    with reading(file, "a NumPy array", errors=_DAMAGE):
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as content:
            if content.read(6) not in (b"\x93NUMPY", b""):
                raise ValueError("it does not begin as one")
        if file.suffix != ".gz":
            return np.load(file, mmap_mode="r", allow_pickle=False)
        with gzip.open(file) as content:
            return np.load(content, allow_pickle=False)


def _numbers(file: Path, stated: Mapping[str, float] | None) -> np.ndarray:
    """Return a feature; NDVI in the unit that the catalogue states."""
    array = _load(file)
    return Raster(array, **stated).values() if stated and _name(file) == "NDVI" else array


def _size_of_map(file: Path) -> tuple[int, int]:
    """Return height and width of a feature (y, x, channel)."""
    shape = _load(file).shape
    if len(shape) != 3:
        raise DataError(f"{file} has the shape {shape}, expected y, x and channels: save the feature anew.")
    return int(shape[0]), int(shape[1])


def _variable(
    file: Path, sizes: dict[str, int], stated: Mapping[str, float] | None
) -> tuple[tuple[str, ...], np.ndarray, dict[str, str]]:
    """Return dims, values and attrs of a feature after checking its shape."""
    array, name, dims = _numbers(file, stated), _name(file), DIMS[file.parent.name]
    expected = tuple(sizes[dim] for dim in dims)
    if array.shape[:-1] != expected:
        raise DataError(
            f"{file} has the shape {array.shape}, expected {', '.join(dims)} = {expected} and channels: "
            "it belongs to another patch or is damaged; fetch it again."
        )
    _check_values(file, array)
    attrs, channel = _ATTRS.get(name, {}), f"{name}_channel"
    if array.shape[-1] == 1:
        return dims, array[..., 0], attrs
    if "x" in dims:
        return (*dims[:-2], channel, "y", "x"), np.moveaxis(array, -1, -3), attrs
    return (*dims, channel), array, attrs


def _check_values(file: Path, array: np.ndarray) -> None:
    """Refuse values that are no numbers, an NDVI on another scale, and fractions instead of codes.

    Looks at some dates of a feature that has many.

    Raises:
        DataError: If there are any.
    """
    if array.dtype.kind not in "buif":
        raise DataError(f"{file} holds {array.dtype}, expected numbers: save the feature anew.")
    some = array[:: 1 + len(array) // 20] if array.ndim == 4 else array
    some = some[np.isfinite(some)]
    if _name(file) == "NDVI" and (array.dtype.kind != "f" or (some.size and np.median(np.abs(some)) > 1)):
        found = f"{array.dtype} of {some.min():g} to {some.max():g}" if some.size else array.dtype
        raise DataError(
            f"{file} holds {found}, expected floating point of -1 to 1: state the scale in the entry of the "
            "data catalogue, such as `pixels: {scale: 0.0001}`, or save the feature anew."
        )
    fractions = some[some != np.round(some)] if f"{file.parent.name}/{_name(file)}" in _CODES else some[:0]
    if _name(file) == "SCL":
        scene_classes(some, file)
    if fractions.size:
        raise DataError(
            f"{file} holds fractions such as {fractions[0]:g}, expected codes: save it by nearest neighbour."
        )


def _times(patch: Path) -> pd.DatetimeIndex:
    file = _plain_or_packed(patch / "timestamps.json")
    with reading(file, "a list of dates", errors=(*_DAMAGE, TypeError, DataError)):
        return pd.DatetimeIndex([read_date(text) for text in yamls.loads_json(_bytes(file))]).as_unit("ns")


def _extent(patch: Path) -> tuple[str, tuple[float, float, float, float]]:
    """Return CRS and (west, south, east, north) of the patch."""
    file = _plain_or_packed(patch / "bbox.geojson")
    errors = (*_DAMAGE, LookupError, TypeError, CRSError)
    with reading(file, "a box with a CRS", errors=errors):
        box = yamls.loads_json(_bytes(file))
        crs = CRS.from_user_input(box["crs"]["properties"]["name"])
        ring = np.array(box["coordinates"][0], float)[:, :2]
        (west, south), (east, north) = ring.min(axis=0), ring.max(axis=0)
    farthest = (360, 90) if crs.is_geographic else (1e8, 1e8)
    if not (west < east and south < north and (np.abs(ring) <= farthest).all()):
        raise DataError(
            f"{file} has the extent ({west:g}, {south:g}, {east:g}, {north:g}), expected west < east and "
            f"south < north in {crs.to_string()}: save the patch anew with its extent and reference system."
        )
    return crs.to_string(), (west, south, east, north)


def _scenes_files(patch: Path) -> list[Path]:
    """Return the file of the reference scenes, in the patch or beside it, if there is one."""
    return [file for file in (patch / SCENES, patch.parent / SCENES) if file.is_file()][:1]


def _with_scenes(dataset: xr.Dataset, file: Path) -> xr.Dataset:
    """Add the reference scenes, which are (scene, y, x, band) in their file."""
    scenes = _load(file)
    expected = (dataset.sizes["y"], dataset.sizes["x"], len(L1C_BANDS))
    if scenes.ndim != 4 or scenes.shape[1:] != expected:
        raise DataError(
            f"{file} has the shape {scenes.shape}, expected (scenes, {', '.join(map(str, expected))})."
        )
    attrs = {"units": "reflectance", "long_name": "cloud-free scenes, top of atmosphere"}
    dataset["reference_scenes"] = (("scene", "band", "y", "x"), np.moveaxis(scenes, -1, 1), attrs)
    return dataset.assign_coords(band=list(L1C_BANDS))
