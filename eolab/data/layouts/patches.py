"""Patches of one's own: small images of any size and bands, each a sample with labels or a mask.

An entry of layout ``rasters`` whose pattern of names has ``{sample}`` or ``{class}`` holds patches::

    images: {files: "{class}/*.tif"}                                   # a folder a class
    images: {files: "images/{sample}.tif"}                             # with a table of labels by file
    labels: {label: {file: labels.csv, column: label}}
    images: {files: "images/{sample}.tif"}                             # with a mask of each
    labels: {mask: {file: "masks/{sample}.tif"}}
    images: {files: "{sample}/*_{band}.tif"}                           # a file a band, of several pixel sizes

All patches of a data set have the bands and the size in pixels that most of them have; others are listed.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import rasterio
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError

from eolab.core.errors import DataError, check_all, did_you_mean
from eolab.core.progress import in_threads
from eolab.data.bands import SENTINEL2
from eolab.data.fingerprints import remembered
from eolab.data.layouts import raster_files, raster_names
from eolab.data.layouts.common import (
    Rejected,
    attempt,
    below,
    emptiness,
    is_clutter,
    lazy,
    lies_instead,
    reading,
    report,
)
from eolab.data.layouts.geotiff import check_size
from eolab.data.layouts.raster_names import Named
from eolab.data.layouts.series import Source

ENDINGS = (*raster_files.ENDINGS, ".png", ".jpg", ".jpeg")
FIELDS = ("{sample}", "{class}")
KEYS = ("file", "image", "sample", "patch", "name", "filename", "id")
"""Columns of a table of labels that may say which image a row is of, the first one there."""

LABEL_COLUMNS = ("label", "labels", "class", "classes", "category")
GROUP_M = 10_000.0
"""Side of the blocks of ground that patches with a place are grouped by."""

JOINT = "|"
"""Between the files of a patch of several."""


class Head(NamedTuple):
    """What the name and the header of a file say."""

    sample: str
    label: str
    group: str
    date: Any
    bands: tuple[str, ...]
    shape: tuple[int, int]
    crs: str
    place: tuple[float, ...]


def are_meant(images: Mapping[str, Any] | None) -> bool:
    """Return whether an entry's block ``images`` is of patches."""
    return any(field in str((images or {}).get("files", "")) for field in FIELDS)


def index(
    path: str | Path,
    images: Mapping[str, Any],
    stated: Mapping[str, float] | None = None,
    labels: Mapping[str, Mapping[str, Any]] | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Return the patches of a folder; headers are read, pixels are not.

    The index is remembered while folders and files are unchanged.

    Args:
        path: The folder of the data set.
        images: Block ``images`` of its entry.
        stated: Block ``pixels``.
        labels: Block ``labels``: a table of labels, or masks by a pattern with ``{sample}``.
        progress: False to show no progress.

    Returns:
        A row a patch, by name: id, files (below the path, joined by "|"), mask (likewise, empty without one),
        labels (tuple of names), group (what is kept together in splits: ``{tile}``, a column ``group`` of the
        table, or the block of ground of 10 km), split (of the table; else empty), date (NaT where names have
        none), crs, x, y (upper left corner), pixel (its side). ``attrs``: bands, size (height, width), and
        rejected, file and reason of what was left out.

    Raises:
        DataError: If no patch can be used, or the table of labels cannot be read.
        ParameterError: If a pattern is wrong.
    """
    root = Path(path)
    folder = raster_files.folder_of(root, images)
    pattern = raster_names.compiled(str(images["files"]))
    files = _files(folder)
    every = files if folder == root else sorted({*files, *_files(root)})
    state = json.dumps([dict(images), dict(stated or {}), labels and {k: dict(v) for k, v in labels.items()}])
    depends = [*every, *(root / str(one.get("file")) for one in (labels or {}).values())]

    def make() -> pd.DataFrame:
        return _index(root, folder, files, every, pattern, images, stated or {}, labels or {}, progress)

    return remembered("patches", root, depends, make, state)


def _index(
    root: Path,
    folder: Path,
    files: list[Path],
    every: list[Path],
    pattern: re.Pattern[str],
    images: Mapping[str, Any],
    stated: Mapping[str, float],
    labels: Mapping[str, Mapping[str, Any]],
    progress: bool,
) -> pd.DataFrame:
    masks = {name: one for name, one in labels.items() if FIELDS[0] in str(one.get("file"))}
    of_masks = [raster_names.compiled(str(one["file"])) for one in masks.values()]
    named = [file for file in files if pattern.match(below(folder, file))]
    named = [file for file in named if not any(one.match(below(root, file)) for one in of_masks)]
    if not named:
        found = f"{below(folder, files[0])} and {len(files) - 1} more" if files else "no image"
        raise DataError(
            f"{folder} holds no image named as {images['files']}, but {found}: correct that pattern."
        )
    read = partial(_head, folder=folder, pattern=pattern, images=images, stated=stated)
    done = in_threads(partial(attempt, read), named, f"headers of {root.name}", "file", progress)
    rejected: Rejected = []
    heads: dict[str, list[tuple[str, Head]]] = {}
    for file, (head, reason) in zip(named, done, strict=True):
        if head is None:
            rejected.append({"file": below(root, file), "reason": reason})
        else:
            heads.setdefault(head.sample, []).append((below(root, file), head))
    rows = [_patch(sample, parts) for sample, parts in sorted(heads.items())]
    table = pd.DataFrame(rows, columns=[*_COLUMNS, "bands", "size"])
    table, attrs = _alike(table, images, rejected)
    table = _with_masks(table, root, every, of_masks, rejected)
    table = _with_table(table, root, labels, rejected)
    if table.empty:
        why = f"; {rejected[0]['file']} {rejected[0]['reason']}" if rejected else ""
        raise DataError(f"{folder} holds no patch that can be used{why}.")
    table.attrs = {str(key): value for key, value in (*attrs.items(), ("rejected", rejected))}
    return table.reset_index(drop=True)


_COLUMNS = ("id", "files", "mask", "labels", "group", "split", "date", "crs", "x", "y", "pixel")


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder: expected one with images, {lies_instead(folder)}.")
    return sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in ENDINGS and not any(map(is_clutter, file.relative_to(folder).parts))
    )


def _head(
    file: Path,
    folder: Path,
    pattern: re.Pattern[str],
    images: Mapping[str, Any],
    stated: Mapping[str, float],
) -> Head:
    """Return what the name and the header of a file say.

    Raises:
        DataError: If it cannot be used; the message is a reason without the file's name.
    """
    path = below(folder, file)
    match = pattern.match(path)
    texts = {key: text or "" for key, text in match.groupdict().items()} if match else {}
    date, _ = attempt(raster_names.read_name, path)
    with reading(file, errors=(RasterioError,)), _open(file) as image:
        names = [name for name, _, _ in _bands(file, image, texts.get("what", ""), images, stated)]
        placed = image.crs is not None and not image.transform.is_identity
        return Head(
            texts.get("sample") or path.rsplit(".", 1)[0],
            texts.get("label", ""),
            texts.get("tile", ""),
            date.time if date else pd.NaT,
            tuple(names),
            image.shape,
            image.crs.to_string() if placed else "",
            (image.transform.c, image.transform.f, image.transform.a) if placed else (),
        )


def _open(file: Path) -> Any:
    image = rasterio.open(file)
    check_size(file, (image.count, *image.shape))
    return image


def _bands(
    file: Path, image: Any, what: str, images: Mapping[str, Any], stated: Mapping[str, float]
) -> list[tuple[str, int, Source]]:
    """Return name, number and source of each band of a file."""
    given = tuple(images.get("bands") or ()) if not what else ()
    named = Named(pd.Timestamp.min, what=raster_names.band_named(what) if what else "")
    grid = GeoBox(image.shape, Affine.identity(), None)
    names, numbers = raster_files.bands_in(file, image, named, given)
    pairs = zip(names, numbers, strict=True)
    return [
        (name, number, raster_files.source_in(file, image, number, _layer(name), grid, named, stated))
        for name, number in pairs
    ]


def _layer(name: str) -> str:
    return "reflectance" if name in SENTINEL2 else "other"


def _patch(sample: str, parts: list[tuple[str, Head]]) -> tuple[Any, ...]:
    """Return the row of a patch, of one file or a file a band."""
    bands = [band for _, head in parts for band in head.bands]
    known = [name for name in SENTINEL2 if name in bands] + [name for name in bands if name not in SENTINEL2]
    size = max(head.shape for _, head in parts)
    head = next(head for _, head in parts if head.shape == size)
    x, y, pixel = head.place or (np.nan, np.nan, np.nan)
    group = head.group
    if not group and head.place:
        degrees = "4326" in head.crs
        side = GROUP_M / 111_320 if degrees else GROUP_M
        group = f"{head.crs} {int(x // side)} {int(y // side)}"
    labels = (head.label,) if head.label else ()
    files = JOINT.join(file for file, _ in parts)
    bands = known if len(parts) > 1 else bands
    return sample, files, "", labels, group, "", head.date, head.crs, x, y, pixel, tuple(bands), size


def _alike(
    table: pd.DataFrame, images: Mapping[str, Any], rejected: Rejected
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Leave out patches of other bands or another size than most have."""
    attrs = {}
    for column, unit in (("bands", "bands"), ("size", "pixels")):
        if table.empty:
            break
        most = Counter(table[column]).most_common(1)[0][0]
        for row in table[table[column] != most].to_dict("records"):
            found, expected = (" ".join(map(str, one)) for one in (row[column], most))
            rejected.append({"file": row["files"], "reason": f"has the {unit} {found}, most have {expected}"})
        table = table[table[column] == most]
        attrs[column] = list(most)
    return table.drop(columns=["bands", "size"]), attrs


def _with_masks(
    table: pd.DataFrame, root: Path, every: list[Path], patterns: list[re.Pattern[str]], rejected: Rejected
) -> pd.DataFrame:
    """Pair patches and masks by their samples; where there are masks, a patch without one is listed."""
    if not patterns:
        return table
    found = ((below(root, file), one.match(below(root, file))) for file in every for one in patterns)
    masks = {match["sample"]: file for file, match in found if match}
    table = table.assign(mask=table["id"].map(masks).fillna(""))
    rejected += [
        {"file": row["files"], "reason": "has no mask of its name"}
        for row in table[table["mask"] == ""].to_dict("records")
    ]
    known = set(table["id"])
    rejected += [
        {"file": file, "reason": "is a mask without an image of its name"}
        for sample, file in masks.items()
        if sample not in known
    ]
    return table[table["mask"] != ""]


def _with_table(
    table: pd.DataFrame, root: Path, labels: Mapping[str, Mapping[str, Any]], rejected: Rejected
) -> pd.DataFrame:
    """Give patches the labels, splits and groups of a table by file; those without a row are listed."""
    named = [one for one in labels.values() if str(one.get("file")).lower().endswith(".csv")]
    if not named:
        return table
    facts = read_table(root / str(named[0]["file"]), str(named[0].get("column") or ""))
    names = {
        Path(part).name: row["id"] for row in table.to_dict("records") for part in row["files"].split(JOINT)
    }
    known = {**names, **{Path(name).stem: one for name, one in names.items()}}
    known |= {part: row["id"] for row in table.to_dict("records") for part in row["files"].split(JOINT)}
    known |= {one: one for one in table["id"]}
    facts = facts.assign(id=facts["key"].map(known))
    rejected += [
        {"file": f"{named[0]['file']}: {row['key']}", "reason": "is the row of an image that is not there"}
        for row in facts[facts["id"].isna()].to_dict("records")
    ]
    facts = facts.dropna(subset="id").drop_duplicates("id").set_index("id")
    there = table["id"].isin(facts.index) & table["id"].map(facts["label"]).fillna("").ne("")
    reason = f"has no label in {named[0]['file']}"
    rejected += [{"file": row["files"], "reason": reason} for row in table[~there].to_dict("records")]
    table = table[there].copy()
    texts = table["id"].map(facts["label"])
    table["labels"] = [tuple(part.strip() for part in text.split(";") if part.strip()) for text in texts]
    for column in ("split", "group"):
        if column in facts:
            table[column] = table["id"].map(facts[column]).astype(str)
    return table


def read_table(file: Path, column: str = "") -> pd.DataFrame:
    """Read a table of labels by file: key, label and, where it has them, split and group, all text.

    Raises:
        DataError: If it cannot be read, or has no column that names images or labels.
    """
    with reading(file, "CSV", "give a table with a header", (OSError, ValueError, pd.errors.ParserError)):
        table = pd.read_csv(file, dtype=str, sep=None, engine="python", keep_default_na=False)
    lower = {str(name).strip().lower(): name for name in table}
    key = next((lower[name] for name in KEYS if name in lower), None)
    if key is None:
        raise DataError(
            f"{file} has the columns {', '.join(map(str, table))}: name the one of the images 'file'."
        )
    label = column or next((lower[name] for name in LABEL_COLUMNS if name in lower), "")
    if label not in table:
        raise DataError(f"{file} has no column {label!r} of labels: {did_you_mean(str(label), list(table))}")
    kept = {lower[name]: name for name in ("split", "group") if name in lower}
    chosen = table[[key, label, *(name for name in kept if name not in (key, label))]]
    return chosen.rename(columns={**kept, key: "key", label: "label"})


# === Pixels ===


def read_patch(
    files: str,
    root: Path,
    images: Mapping[str, Any],
    stated: Mapping[str, float],
    bands: Sequence[str],
    size: Sequence[int],
) -> np.ndarray:
    """Read a patch: float32 (y, x, band), NaN where there is no value.

    Args:
        files: Column ``files`` of :func:`index`.
        root: Folder of the data set.
        images: Block ``images`` of its entry.
        stated: Block ``pixels``.
        bands: Names of the bands.
        size: Height and width; bands of a larger pixel size are repeated.

    Raises:
        DataError: If a file cannot be decoded or lacks a band.
    """
    folder, pattern = raster_files.folder_of(root, images), raster_names.compiled(str(images["files"]))
    found: dict[str, np.ndarray] = {}
    for file in (root / part for part in files.split(JOINT)):
        match = pattern.match(below(folder, file))
        what = (match.groupdict().get("what") or "") if match else ""
        with reading(file, errors=(RasterioError,)), _open(file) as image:
            for name, number, source in _bands(file, image, what, images, stated):
                if name in bands:
                    found[name] = _sized(_values(image.read(number), source), size, file)
    check_all(bands, found, f"{root / files.split(JOINT)[0]} has no band", DataError)
    return np.stack([found[name] for name in bands], axis=-1)


def filled(values: np.ndarray, file: str | Path) -> np.ndarray:
    """Return a patch of :func:`read_patch` with 0 where there is no value.

    Raises:
        DataError: If it holds no value at all.
    """
    if not np.isfinite(values).any():
        raise DataError(f"{file} holds no value.")
    return np.nan_to_num(values, copy=False)


def _values(numbers: np.ndarray, source: Source) -> np.ndarray:
    values = (numbers * source.scale + source.offset).astype(np.float32)
    for nodata in source.nodata:
        values[numbers == nodata] = np.nan
    values[~np.isfinite(values)] = np.nan
    return values


def _sized(values: np.ndarray, size: Sequence[int], file: Path) -> np.ndarray:
    """Return an image (y, x) whose larger pixels are repeated."""
    steps = [new / old for old, new in zip(values.shape, size, strict=True)]
    if any(step != int(step) for step in steps):
        raise DataError(f"{file} has {values.shape} pixels, which do not divide {tuple(size)}: resample it.")
    return values.repeat(int(steps[0]), 0).repeat(int(steps[1]), 1)


def reader(path: Path, images: Mapping[str, Any], stated: Mapping[str, float], table: pd.DataFrame) -> Any:
    """Return the function that reads a patch of a table of :func:`index` by its column ``files``."""
    return partial(
        read_patch,
        root=Path(path),
        images=images,
        stated=stated,
        bands=tuple(table.attrs["bands"]),
        size=tuple(table.attrs["size"]),
    )


def colour_bands(bands: Sequence[str]) -> list[str]:
    """Return the bands that are drawn in red, green and blue: the colours, or the first ones."""
    red_green_blue, first = ["B04", "B03", "B02"], list(bands)
    return red_green_blue if set(red_green_blue) <= set(bands) else [*first, first[-1], first[-1]][:3]


def read_mask(path: Path, size: Sequence[int]) -> np.ndarray:
    """Read the mask of a patch: codes (y, x).

    Raises:
        DataError: If it cannot be read, has several bands, or another size than its patch.
    """
    with reading(path, errors=(RasterioError,)), _open(path) as image:
        if image.count != 1 or image.shape != tuple(size):
            raise DataError(
                f"{path} has {image.count} bands of {image.shape} pixels, expected one of {tuple(size)}."
            )
        return image.read(1)


def open_patches(
    path: Path, images: Mapping[str, Any], stated: Mapping[str, float], bands: Sequence[str] | None = None
) -> xr.Dataset:
    """Open the patches of a folder: ``image`` (sample, y, x, band) float32, lazy."""
    images = {key: value for key, value in images.items() if key != "folder"}
    table = index(path, images, stated, progress=False)
    known = table.attrs["bands"]
    chosen = list(bands or known)
    check_all(chosen, known, "The images have no band")
    read = partial(reader(path, images, stated, table), bands=tuple(chosen))
    array = lazy(read, table["files"].tolist(), (*table.attrs["size"], len(chosen)), "float32")
    coords = {"band": chosen, "sample": table["id"].to_numpy(str)}
    dataset = xr.Dataset({"image": (("sample", "y", "x", "band"), array)}, coords)
    return dataset.assign_attrs(rejected=json.dumps(table.attrs["rejected"]))


def check_patches(
    path: Path, images: Mapping[str, Any], stated: Mapping[str, float], progress: bool = True
) -> pd.DataFrame:
    """Decode every patch; return file, status and reason."""
    images = {key: value for key, value in images.items() if key != "folder"}
    table = index(path, images, stated, progress=progress)
    read = reader(path, images, stated, table)

    def fault(files: str) -> str:
        values, reason = attempt(read, files, path / files.split(JOINT)[0])
        return reason if values is None else emptiness(values, gaps=True)

    reasons = in_threads(fault, table["files"].tolist(), f"reading {path.name}", "patch", progress)
    return report(zip(table["files"], reasons, strict=True), table.attrs["rejected"])
