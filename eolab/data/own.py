"""Data of one's own: what a folder holds, and the entry of a catalogue that opens it.

Names and headers of all images are read, the pixels of a few. What cannot be seen is assumed, and said.
"""

import contextlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyogrio
import rasterio
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError

from eolab.core import workspace, yamls
from eolab.core.errors import CatalogError, DataError, ParameterError
from eolab.data import catalog, layouts, tracks
from eolab.data.layouts import patches, raster_names, rasters, safe
from eolab.data.layouts.common import attempt, below, is_clutter, lies_instead
from eolab.data.schemes import IGNORE

VECTORS = (".gpkg", ".shp", ".geojson", ".kml", ".fgb", ".gpx")
MOST_CODES = 254
_MASK_WORDS = r"(?:mask|label|annotation|segmentation|gt|target|reference)s?"
_IMAGE_WORDS = r"(?:image|img|patch|tile)(?:e?s)?"
_AFFIX = re.compile(
    rf"^(?:{_MASK_WORDS}|{_IMAGE_WORDS})[_\-. ]|[_\-. ](?:{_MASK_WORDS}|{_IMAGE_WORDS})$", re.I
)
_IS_MASK = re.compile(rf"(?:^|[_\-. /])(?:{_MASK_WORDS})(?:[_\-. /]|$)", re.I)
_COLOUR_BANDS = {ColorInterp.red: "B04", ColorInterp.green: "B03", ColorInterp.blue: "B02"}
YES_OR_NO = {"0", "1", "0.0", "1.0", "yes", "no", "true", "false"}
SERIES_NAMES = ("*_{date}_{band}", "{date}_{band}", "*_{date}", "{date}", "{date}_*")
_CLASS_COLUMN = re.compile(r"class|label|category|cover|crop|code|type|kind|name|species|use", re.I)


class Found(NamedTuple):
    """What a folder holds.

    Attributes:
        entry: The entry of the catalogue, without its uri.
        said: What was recognised and what is assumed, a sentence each.
    """

    entry: dict[str, Any]
    said: list[str]


def own_file() -> Path:
    """Return the user's own catalogue, that of the working directory where there is none yet."""
    return catalog.own_file() or Path.cwd() / catalog.OWN_FILE


def add(folder: str | Path, file: Path, name: str = "", layout: str = "") -> tuple[list[str], str]:
    """Write an entry for a folder into a catalogue.

    Args:
        folder: The folder, or one image.
        file: The catalogue, which is made where it is missing.
        name: Name of the data set; by default that of the folder.
        layout: Its layout; by default the one that is recognised.

    Returns:
        What was recognised and written, a sentence each; and the name.

    Raises:
        DataError: If the folder holds nothing that can be used.
        ParameterError: If a catalogue has the name, or it is none.
    """
    place = Path(folder).expanduser().resolve()
    name = name or re.sub(r"\W+", "_", place.stem).strip("_").lower()
    if not re.fullmatch(r"[A-Za-z]\w*", name):
        raise ParameterError(f"The name {name!r} has other signs than letters, digits and _: give --name.")
    known = {workspace.root() / workspace.CATALOG_FILE, catalog.own_file(), file}
    others = [catalog.load(one) for one in known if one and one.is_file()]
    if any(name in {*one, *one.faults} for one in others):
        raise ParameterError(f"There is a data set {name!r} already: give another --name, or edit its entry.")
    found = recognise(place, layout)
    file = file.expanduser().resolve()
    inside = place.is_relative_to(file.parent)
    uri = place.relative_to(file.parent).as_posix() if inside else place.as_posix()
    facts = {"license": "proprietary", "citation": f"Data of one's own: {name}."}
    block = yamls.dumps({name: {"uri": uri, **found.entry, "metadata": facts}})
    before = file.read_text(encoding="utf-8").rstrip() + "\n\n" if file.is_file() else ""
    try:
        file.write_text(before + block, encoding="utf-8")
    except OSError as error:
        raise CatalogError(f"{file} cannot be written ({error.strerror}): give --catalog FILE.") from None
    return [*found.said, f"Entry {name} of {file}:", *(f"  {line}" for line in block.splitlines())], name


def recognise(place: Path, layout: str = "") -> Found:
    """Look at a folder and return an entry for it.

    Args:
        place: The folder, or one image.
        layout: Its layout; by default the one that is recognised.

    Raises:
        DataError: If it holds nothing that can be used.
    """
    if not place.exists():
        raise DataError(f"{place} does not exist: give a folder with images.")
    if not layout:
        marks = layouts.MARKS.items()
        layout = next((one for one, names in marks if all((place / name).exists() for name in names)), "")
    if layout and layout != "rasters":
        return Found({"layout": layout}, [f"{place.name} has the published layout {layout}."])
    every = [place] if place.is_file() else sorted(place.rglob("*"))
    root = place.parent if place.is_file() else place
    every = [one for one in every if one.is_file() and not any(map(is_clutter, one.relative_to(root).parts))]
    products, _ = attempt(safe.find_products, place)
    if products and products[0]:
        entry: dict[str, Any] = {"layout": "rasters"}
        table, left_out = rasters.index(root)
        said = [f"{len(table)} acquisitions of Sentinel-2 products, {len(left_out)} left out."]
        return _with_vectors(entry, said, root, every)
    images = [one for one in every if one.suffix.lower() in patches.ENDINGS]
    if not images:
        raise DataError(f"{place} holds no image (.tif, .jp2, .png, .jpg), {lies_instead(root)}.")
    for look in (_class_folders, _pairs, _places, _by_table):
        found = look(root, images, every)
        if found is not None:
            return found
    return _series(root, images, every)


# === Patches ===


def _class_folders(root: Path, images: Sequence[Path], every: Sequence[Path]) -> Found | None:
    """Recognise a folder a class: several side by side, whose images have no dates and names of their own."""
    parents = Counter(one.parent for one in images)
    above = {one.parent for one in parents}
    names = {one.name for one in parents}
    stems = {(one.stem, one.suffix) for one in images}
    if len(parents) < 2 or len(above) != 1 or any(map(_is_layer, names)) or len(stems) < len(images) * 0.9:
        return None
    if len(_dated(root, images)) * 2 > len(images):
        return None
    pattern = f"{_prefix(root, above.pop())}{{class}}/*{_suffix(images)}"
    said = [f"{len(images)} patches in {len(parents)} folders, a class each: {', '.join(sorted(names))}."]
    entry = {"layout": "rasters", "images": {"files": pattern}, **_numbers(images, said)}
    entry["images"] |= entry.pop("bands", {})
    return Found(entry, said)


def _dated(root: Path, images: Sequence[Path]) -> list[Path]:
    """Return the images whose names have a date."""
    return [one for one in images if attempt(raster_names.read_name, below(root, one))[0] is not None]


def _is_layer(name: str) -> bool:
    """Return whether a folder's name says that it holds images or masks rather than a class."""
    return re.fullmatch(rf"{_MASK_WORDS}|{_IMAGE_WORDS}|train\w*|val\w*|test\w*", name, re.I) is not None


def _pairs(root: Path, images: Sequence[Path], every: Sequence[Path]) -> Found | None:
    """Recognise images with a mask each, told by words such as mask in folders or names."""
    masks = [one for one in images if _IS_MASK.search(below(root, one).rsplit(".", 1)[0])]
    others = [one for one in images if one not in set(masks)]
    known = {_AFFIX.sub("", one.stem): one for one in others}
    paired = [one for one in masks if _AFFIX.sub("", one.stem) in known]
    if len(paired) < 2:
        return None
    of_images, of_masks = (_sample_pattern(root, files) for files in (list(known.values()), paired))
    said = [f"{len(known)} patches, {len(paired)} with a mask of their name."]
    entry: dict[str, Any] = {"layout": "rasters", "images": {"files": of_images}, **_numbers(others, said)}
    entry["images"] |= entry.pop("bands", {})
    entry["labels"] = {"mask": {"file": of_masks}}
    return Found(entry | _classes_of(paired[:50], said), said)


def _sample_pattern(root: Path, files: Sequence[Path]) -> str:
    """Return the pattern that names of files follow, ``images/image_{sample}.tif``."""
    first = files[0]
    sample = _AFFIX.sub("", first.stem)
    name = first.name.replace(sample, "{sample}", 1)
    return f"{_folder_pattern(root, files)}{name}"


def _by_table(root: Path, images: Sequence[Path], every: Sequence[Path]) -> Found | None:
    """Recognise images with labels in a table by file or folder."""
    for file in (one for one in every if one.suffix.lower() == ".csv"):
        table, _ = attempt(patches.read_table, file)
        if table is None:
            continue
        keys = {Path(one).name.rsplit(".", 1)[0] for one in table["key"]}
        of_files, of_folders = {one.stem for one in images}, {one.parent.name for one in images}
        if len(keys & of_files) * 2 >= len(keys):
            pattern = f"{_folder_pattern(root, images)}{{sample}}{_suffix(images)}"
        elif len(keys & of_folders) * 2 >= len(keys):
            pattern = f"{_prefix(root, images[0].parent.parent)}{{sample}}/*_{{band}}{_suffix(images)}"
        else:
            continue
        names = sorted({part.strip() for text in table["label"] for part in text.split(";") if part.strip()})
        said = [
            f"{len(table)} rows of {file.name} label images; {len(names)} classes: {', '.join(names[:12])}."
        ]
        entry: dict[str, Any] = {"layout": "rasters", "images": {"files": pattern}, **_numbers(images, said)}
        bands = entry.pop("bands", {})
        entry["images"] |= {} if "{band}" in pattern else bands
        return Found(entry | {"labels": {"label": {"file": below(root, file)}}}, said)
    return None


# === Series ===


def _places(root: Path, images: Sequence[Path], every: Sequence[Path]) -> Found | None:
    """Recognise a folder of dated images a place, with a table that says yes or no of each place.

    Raises:
        DataError: If the names of the images follow no pattern that is known.
    """
    places = {one.parent.name for one in images}
    above = {one.parent.parent for one in images}
    if len(places) < 2 or len(above) != 1 or len(_dated(root, images)) * 2 < len(images):
        return None
    named = {file: _yes_or_no(file, places) for file in every if file.suffix.lower() == ".csv"}
    file = next((one for one, column in named.items() if column), None)
    if file is None:
        return None
    folder = above.pop()
    label, names = below(root, file), [below(folder, one) for one in images]
    for pattern in (f"{{tile}}/{name}{_suffix(images)}" for name in SERIES_NAMES):
        read = partial(raster_names.read_name, pattern=raster_names.compiled(pattern))
        if sum(attempt(read, name)[0] is not None for name in names) * 2 > len(names):
            break
    else:
        raise DataError(
            f"{root} holds images of places that {label} labels, with names such as {names[0]} that no known "
            "pattern fits: write `images: {files: …}` with {tile} for the place and {date} for the day, and "
            f"`labels: {{{named[file]}: {{file: {label}}}}}` into your catalogue, see docs/own_data.md."
        )
    said = [
        f"{len(images)} images of {len(places)} places, {file.name} says of each whether it is {named[file]}."
    ]
    optical = [one for one in images if _is_whole(one)] or list(images)  # radar is in real numbers
    entry: dict[str, Any] = {"layout": "rasters", "images": {"files": pattern}, **_numbers(optical, said)}
    if folder != root:
        entry["images"]["folder"] = below(root, folder)
    bands = entry.pop("bands", {})
    entry["images"] |= {} if "{band}" in pattern else bands
    return Found(entry | {"labels": {named[file]: {"file": label}}}, said)


def _yes_or_no(file: Path, places: set[str]) -> str:
    """Return the column of a table that says yes or no, beside one of places; "" where it has none.

    Raises:
        DataError: If there is none, but one of two other words, such as ja and nein.
    """
    table = pd.DataFrame()
    with contextlib.suppress(OSError, ValueError):
        table = pd.read_csv(file, dtype=str, sep=None, engine="python", keep_default_na=False)
    if not any(len(places & set(table[name])) * 2 >= len(places) for name in table):
        return ""
    words = {str(name).strip().lower(): {*table[name].str.strip().str.lower()} for name in table}
    if found := next((name for name, said in words.items() if said <= YES_OR_NO), ""):
        return found
    for name, said in words.items():
        if (
            len(said) == 2
            and "".join(said).isalpha()
            and not said & {"train", "test", *map(str.lower, places)}
        ):
            one, other = sorted(said)
            raise DataError(
                f"{file} has {one!r} and {other!r} in the column {name}: write yes or no, or 1 or 0."
            )
    return ""


def _is_whole(file: Path) -> bool:
    """Return whether an image is one of whole numbers."""
    with contextlib.suppress(RasterioError), rasterio.open(file) as image:
        return str(image.dtypes[0]).startswith(("int", "uint"))
    return False


def _series(root: Path, images: Sequence[Path], every: Sequence[Path]) -> Found:
    """Recognise images of one or several dates, with a map of classes or polygons where there are some."""
    maps = [one for one in images if _is_map(root, one)]
    kept = [one for one in images if one not in set(maps)]
    if not kept:
        raise DataError(
            f"{root} holds class maps alone, {', '.join(one.name for one in maps[:3])}: add images."
        )
    said: list[str] = []
    parents = {one.parent for one in kept}
    entry: dict[str, Any] = {"layout": "rasters", "images": {}, **_numbers(kept, said)}
    folder = below(root, parents.pop()) if len(parents) == 1 else "."
    entry["images"] = ({} if folder == "." else {"folder": folder}) | entry.pop("bands", {})
    if not _dated(root, kept):
        day = datetime.fromtimestamp(kept[0].stat().st_mtime, UTC).date().isoformat()
        entry["images"]["date"] = day
        said.append(f"No name has a date: {day}, when the first file was written, is taken; correct it.")
    found, left_out = rasters.scan(root / folder, entry["images"], entry.get("pixels"))
    grid = found[0].bands[0].source.grid
    bands = dict.fromkeys(band.name for item in found for band in item.bands)
    days = sorted({item.time.date().isoformat() for item in found})
    said.append(
        f"{len(found)} images of {len(days)} days, {days[0]} to {days[-1]}, of {grid.width} × {grid.height} "
        f"pixels of {grid.transform.a:g} in {grid.crs}; bands {', '.join(bands)}; {len(left_out)} left out."
    )
    if maps:
        entry["labels"] = {"map": {"file": below(root, maps[0])}}
        said.append(f"{maps[0].name} is a map of classes.")
        entry |= _classes_of(maps[:1], said)
    return _with_vectors(entry, said, root, every, str(grid.crs))


def _with_vectors(
    entry: dict[str, Any], said: list[str], root: Path, every: Iterable[Path], crs: str = ""
) -> Found:
    """Add the files of polygons and points; tables that are not in degrees are in the images' system."""
    for file in (one for one in every if one.suffix.lower() in (*VECTORS, ".csv")):
        stated: dict[str, Any] = {}
        if file.suffix.lower() == ".csv" and (why := _fault_of_points(file)):
            if not crs or _fault_of_points(file, crs):
                said.append(f"{file.name} is left out, as it {why}.")
                continue
            stated = {"crs": crs}
            said.append(f"{file.name} is not in degrees: the images' {crs} is taken; correct it.")
        facts, sentence = _vector(file)
        facts |= stated
        said.append(sentence)
        labels = entry.setdefault("labels", {})
        labels[file.stem if file.stem not in labels else file.name] = {"file": below(root, file), **facts}
    if not entry.get("images"):
        entry.pop("images", None)
    return Found(entry, said)


def _fault_of_points(file: Path, crs: str | None = None) -> str:
    """Return why a table cannot be read as points, "" where it can."""
    return attempt(lambda path: next(tracks.read_points(path, crs)), file)[1]


def _vector(file: Path) -> tuple[dict[str, Any], str]:
    """Return the column of classes of a file of polygons or points, where there is one, and a sentence."""
    kind = "points" if tracks.holds_points(file) else "polygons"
    if file.suffix.lower() == ".gpx":
        return {}, f"{file.name}: waypoints, whose type or name is their class, or the points of a track."
    if file.suffix.lower() == ".csv":
        frame = pd.read_csv(file, sep=None, engine="python")
    else:
        frame = pyogrio.read_dataframe(file, read_geometry=False)
    count, counts = len(frame), {name: frame[name].nunique() for name in frame}
    named = {name: frame[name].dtype.kind == "O" and _CLASS_COLUMN.search(str(name)) for name in frame}
    good = [name for name, n in counts.items() if 2 <= n <= MOST_CODES and (named[name] or n <= count // 2)]
    if kind == "points":  # tracks have other columns of few values
        good = [name for name in good if _CLASS_COLUMN.search(str(name))] or _alone(frame)
    good.sort(key=lambda name: (not named[name], frame[name].dtype.kind in "if"))
    if not good:
        names = ", ".join(map(str, frame))
        return {}, (
            f"{file.name}: {count} {kind} without a column that is surely one of classes, of {names}: write "
            "`column:` into the entry to use them as labels."
        )
    names = ", ".join(sorted(map(str, frame[good[0]].dropna().unique()))[:12])
    return {"column": str(good[0])}, f"{file.name}: {count} {kind}, the column {good[0]} holds {names}."


def _alone(frame: pd.DataFrame) -> list[Any]:
    """Return the only column of text, else of few whole numbers, that can be classes; none of a track."""
    if tracks.has_times(frame):
        return []
    counts = {name: frame[name].nunique() for name in frame if not tracks.is_known(name)}
    few = [name for name, n in counts.items() if 2 <= n <= min(MOST_CODES, len(frame) // 2)]
    for kinds in ("O", "iub"):
        if found := [name for name in few if frame[name].dtype.kind in kinds]:
            return found if len(found) == 1 else []
    return []


def _is_map(root: Path, file: Path) -> bool:
    """Return whether an image is a map of classes: one band of few whole numbers, and no band by its name."""
    name, _ = attempt(raster_names.read_name, below(root, file))
    if raster_names.last_band(file.stem) or (name is not None and name.what):
        return False
    with rasterio.open(file) as image:
        if image.count != 1:
            return False
        values = np.unique(_thumbnail(image))
    named = _IS_MASK.search(below(root, file)) is not None
    whole = bool((values == np.rint(values)).all())  # of NaN too it is not so
    return whole and len(values) <= (MOST_CODES if named else 64)


# === Numbers ===


def _numbers(images: Sequence[Path], said: list[str]) -> dict[str, Any]:
    """Return the blocks ``pixels`` and ``bands`` that files need, from the first image that can be read."""
    for file in images:
        with contextlib.suppress(RasterioError), rasterio.open(file) as image:
            return {**_named_bands(file, image, said), **_scale(file, image, said)}
    raise DataError(f"{images[0]} and {len(images) - 1} more are no images: give GeoTIFF or PNG files.")


def _named_bands(file: Path, image: Any, said: list[str]) -> dict[str, Any]:
    """Return names of bands where neither the file nor its name has them."""
    texts = [raster_names.band_named((text or "").split(" ")[0]) for text in image.descriptions]
    named, _ = attempt(raster_names.read_name, file.name)
    by_name = raster_names.bands_of(named, image.count) if named else None
    alone = image.count == 1 and raster_names.last_band(file.stem)
    if by_name or alone or (all(texts) and len(set(texts)) == len(texts)):
        return {}
    names, why = [f"b{number + 1}" for number in range(image.count)], "as no name is given: correct them"
    if image.count == 3 and set(image.colorinterp) == set(_COLOUR_BANDS):
        names, why = (
            [_COLOUR_BANDS[one] for one in image.colorinterp],
            "as it has colours",
        )
    said.append(f"{file.name} gets the bands {', '.join(names)}, {why}.")
    return {"bands": {"bands": names}}


def _scale(file: Path, image: Any, said: list[str]) -> dict[str, Any]:
    """Return scale and offset where whole numbers come without any."""
    named, _ = attempt(raster_names.read_name, file.name)
    whole = image.dtypes[0].startswith(("int", "uint"))
    stated = set(zip(image.scales, image.offsets, strict=True)) != {(1.0, 0.0)}
    if not whole or stated or (named is not None and named.convention):
        return {}
    scale = 1 / 255 if image.dtypes[0] == "uint8" else 0.0001
    said.append(
        f"{file.name} holds whole numbers to {_thumbnail(image).max()} and states no scale: {scale:.4g} is "
        "taken, correct it where that gives no reflectance."
    )
    return {"pixels": {"scale": round(scale, 8), "offset": 0}}


def _thumbnail(image: Any) -> np.ndarray:
    """Return every n-th pixel of an image, a thousand along a side at most."""
    step = max(1, max(image.shape) // 1000)
    return image.read(out_shape=(image.count, -(-image.height // step), -(-image.width // step)))


def _classes_of(masks: Sequence[Path], said: list[str]) -> dict[str, Any]:
    """Return the block ``classes`` of masks: the codes in them, with the colours that the first states."""
    codes: set[int] = set()
    colors: dict[int, Any] = {}
    nothing: set[float] = set()
    for file in masks:
        with rasterio.open(file) as image:
            codes |= {int(value) for value in np.unique(_thumbnail(image)[0]) if np.isfinite(value)}
            nothing |= {image.nodata} if image.nodata is not None else set()
            if image.colorinterp[0] == ColorInterp.palette and not colors:
                colors = image.colormap(1)
    codes -= nothing
    if len(masks) == 1:  # a map: 0 is no class
        codes -= {0}
    elif IGNORE in codes:
        codes -= {IGNORE}
        said.append(f"Code {IGNORE} of masks is ground that is not known.")
    said.append(f"Codes {', '.join(map(str, sorted(codes)))}: give the classes their names.")
    classes: list[dict[str, Any]] = [{"code": code, "name": f"class {code}"} for code in sorted(codes)]
    for one in classes:
        if one["code"] in colors:
            one["color"] = "#{:02x}{:02x}{:02x}".format(*colors[one["code"]][:3])
    return {"classes": classes}


def _prefix(root: Path, folder: Path) -> str:
    return "" if folder == root else f"{below(root, folder)}/"


def _folder_pattern(root: Path, files: Sequence[Path]) -> str:
    """Return the folder that files lie in, with a slash; a pattern where there are several."""
    parents = {one.parent for one in files}
    return _prefix(root, parents.pop()) if len(parents) == 1 else "*/"


def _suffix(files: Sequence[Path]) -> str:
    return Counter(one.suffix for one in files).most_common(1)[0][0]
