"""eo-learn patches: a folder of ``.npy`` features with their dates, extent and land-use polygons.

Feature folders and their axes: ``data``, ``mask`` (time, y, x, channel); ``data_timeless``, ``mask_timeless``
(y, x, channel); ``scalar``, ``label`` (time, channel). A feature of one channel loses that axis. Cloud-free
13-band scenes of the same place may stand beside the patch as ``REFERENCE_SCENES.npy``.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import rioxarray  # noqa: F401  (registers the .rio accessor)
import xarray as xr
from rasterio.transform import from_bounds

from eolab.core.errors import DataError
from eolab.data.bands import L1C_BANDS
from eolab.data.layouts.common import attempt, emptiness, reading, report

DIMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("data", "mask"), ("time", "y", "x")),
    **dict.fromkeys(("data_timeless", "mask_timeless"), ("y", "x")),
    **dict.fromkeys(("scalar", "label"), ("time",)),
}
REQUIRED = ("data/NDVI.npy", "mask/CLM.npy", "mask/IS_DATA.npy", "mask_timeless/LULC.npy")
PROBABILITIES = ("CLP",)  # features that may be 0 throughout
SCENES = "REFERENCE_SCENES.npy"
CLASSES_FILE = Path("vector_timeless", "LULC.gpkg")
_ATTRS = {
    "NDVI": {"units": "1", "long_name": "normalised difference vegetation index"},
    "CLP": {"units": "1", "long_name": "cloud probability"},
    "CLM": {"long_name": "cloud mask, 1 = cloud"},
    "DEM": {"units": "m", "long_name": "elevation"},
    "LULC": {"long_name": "land use"},
}


def open_layout(path: str | Path) -> xr.Dataset:
    """Open a patch.

    Args:
        path: The patch (the folder with ``bbox.geojson``), or the folder that holds this one patch.

    Returns:
        All features with their dims, e.g. ``NDVI`` (time, y, x), ``DEM`` (y, x); ``reference_scenes``
        (scene, band, y, x) reflectance where the file stands beside. Coordinates time, y, x; CRS through rio.
        ``LULC.attrs["classes"]`` is JSON, code to name, where the polygons are there; the name of code 0
        (nothing is known) is empty. Arrays are memory maps.

    Raises:
        DataError: If a part of the patch is missing, unreadable or of another shape than the rest.
    """
    patch = find_patch(Path(path))
    times = _times(patch)
    arrays = {name: (kind, _load(file)) for name, kind, file in _features(patch)}
    missing = [feature for feature in REQUIRED if Path(feature).stem not in arrays]
    if missing:
        raise DataError(f"{patch} lacks {', '.join(missing)}: fetch the patch again.")
    height, width = _shape(patch, arrays)
    sizes = {"time": len(times), "y": height, "x": width}
    variables = {
        name: _variable(patch / kind / f"{name}.npy", name, kind, array, sizes)
        for name, (kind, array) in arrays.items()
    }
    crs, bounds = _extent(patch)
    transform = from_bounds(*bounds, width, height)
    coords = {
        "time": times,
        "y": transform.f + transform.e * (np.arange(height) + 0.5),
        "x": transform.c + transform.a * (np.arange(width) + 0.5),
    }
    dataset = xr.Dataset(variables, coords=coords)
    for file in _scenes_files(patch):
        dataset = _with_scenes(dataset, file)
    if "LULC" in dataset and (patch / CLASSES_FILE).is_file():
        dataset["LULC"] = dataset["LULC"].assign_attrs(classes=json.dumps(land_use_names(patch)))
    return dataset.rio.write_crs(crs).rio.write_transform(transform)


def check_layout(path: Path, progress: bool = True) -> pd.DataFrame:
    """Read every feature of a patch; return one row a file: file, status, reason."""
    patch = find_patch(path)
    files = [*(file for _, _, file in _features(patch)), *_scenes_files(patch)]
    rows = [(file.name, attempt(_check, file)[1]) for file in files]
    _, reason = attempt(open_layout, patch)
    if reason and not any(fault for _, fault in rows):
        rows.append((patch.name, reason))
    return report(rows)


def _check(file: Path) -> None:
    """Read a whole feature."""
    values = np.array(_load(file))
    if values.size == 0:
        raise DataError(f"{file} is empty.")
    if file.parent.name == "data" and file.stem not in PROBABILITIES and values.ndim == 4:
        fault = emptiness(values.reshape(-1, *values.shape[2:]), gaps=True)  # rows of all dates
        if fault:
            raise DataError(f"{file} {fault}: fetch the patch again.")


def find_patch(folder: Path) -> Path:
    """Return the patch folder: the folder itself, or its only child that is one.

    Raises:
        DataError: If there is none or several.
    """
    if (folder / "bbox.geojson").is_file():
        return folder
    found = sorted(file.parent for file in folder.glob("*/bbox.geojson"))
    if len(found) != 1:
        names = ", ".join(patch.name for patch in found) or "none"
        raise DataError(f"{folder} should be an eo-learn patch or hold one (bbox.geojson), found: {names}.")
    return found[0]


def land_use_names(patch: Path) -> dict[int, str]:
    """Return the name of each land-use code in the patch's polygons; that of code 0 (not known) is empty."""
    file = patch / CLASSES_FILE
    with reading(file, "land-use polygons", errors=(OSError, KeyError, RuntimeError)):
        table = gpd.read_file(file, ignore_geometry=True)
        pairs = table[["LULC_ID", "LULC_NAME"]].drop_duplicates("LULC_ID").sort_values("LULC_ID")
    named = zip(pairs["LULC_ID"], pairs["LULC_NAME"].fillna(""), strict=True)
    return {int(code): str(name).strip() for code, name in named}


def _features(patch: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield name, kind and file of all features."""
    for kind in DIMS:
        for file in sorted((patch / kind).glob("*.npy")):
            yield file.stem, kind, file


def _load(file: Path) -> np.ndarray:
    with reading(file, "a NumPy array", errors=(OSError, ValueError, EOFError)):
        return np.load(file, mmap_mode="r", allow_pickle=False)


def _shape(patch: Path, arrays: dict[str, tuple[str, np.ndarray]]) -> tuple[int, int]:
    """Return height and width of the patch: those of its first feature that has them."""
    for kind, array in arrays.values():
        if DIMS[kind][-1] == "x" and array.ndim == len(DIMS[kind]) + 1:
            height, width = array.shape[-3:-1]
            return int(height), int(width)
    raise DataError(f"{patch} holds no feature with height and width.")


def _variable(
    file: Path, name: str, kind: str, array: np.ndarray, sizes: dict[str, int]
) -> tuple[tuple[str, ...], np.ndarray, dict[str, str]]:
    """Return dims, values and attrs of a feature after checking its shape."""
    dims = DIMS[kind]
    expected = tuple(sizes[dim] for dim in dims)
    if array.shape[:-1] != expected:
        raise DataError(
            f"{file} has the shape {array.shape}, expected {', '.join(dims)} = {expected} and channels: "
            "it belongs to another patch or is damaged; fetch it again."
        )
    attrs, channel = _ATTRS.get(name, {}), f"{name}_channel"
    if array.shape[-1] == 1:
        return dims, array[..., 0], attrs
    if "x" in dims:
        return (*dims[:-2], channel, "y", "x"), np.moveaxis(array, -1, -3), attrs
    return (*dims, channel), array, attrs


def _times(patch: Path) -> pd.DatetimeIndex:
    file = patch / "timestamps.json"
    with reading(file, "a list of dates", errors=(OSError, ValueError, TypeError)):
        return pd.DatetimeIndex(json.loads(file.read_text())).as_unit("ns")


def _extent(patch: Path) -> tuple[str, tuple[float, float, float, float]]:
    """Return CRS and (west, south, east, north) of the patch."""
    file = patch / "bbox.geojson"
    errors = (OSError, ValueError, LookupError, TypeError)
    with reading(file, "a box with a CRS", errors=errors):
        box = json.loads(file.read_text())
        code = box["crs"]["properties"]["name"].rsplit(":", 1)[-1]
        ring = np.array(box["coordinates"][0], float)
        (west, south), (east, north) = ring.min(axis=0), ring.max(axis=0)
    return f"EPSG:{code}", (west, south, east, north)


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
