"""Twin of BigEarthNet: patches of Sentinel-2 and Sentinel-1 with the 43 classes of version 1 or 19 of 2.

The same ground stands under both versions: a map of CORINE classes, whose set of classes is the patch's label
and which version 2 publishes as its reference map. How many patches hold a class follows the published
numbers (:data:`eolab.data.schemes.bigearthnet.PUBLISHED_BY_CODE`), tiles and days are real ones, and as in
version 1 the split divides the patches of each image. The traps of the published data are in it: names whose
hour lacks its zero or whose seconds exceed 59, CRLF, ``lly`` in the metadata of Sentinel-1, places padded in
version 2 alone, patches under snow or clouds in lists of their own, and a few spoilt files.

Pixels are rounded to 10 digital numbers (5 where dark) and 1/4 dB, about the noise. A score on the twin says
whether code works, not how well a method maps land cover: spectra and patterns are set by hand
(:mod:`eolab.synthetic.materials`, ``tables/bigearthnet_classes.yaml``).
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from rasterio.crs import CRS

from eolab.core.errors import check_known
from eolab.data.bands import L2A_BANDS, SENTINEL2
from eolab.data.catalog import TWIN_FILE
from eolab.data.schemes.bigearthnet import CLASSES_43
from eolab.synthetic import bigearthnet_image as ground
from eolab.synthetic import writing
from eolab.synthetic.bigearthnet_plan import PATCH_M, Patch, make_plan
from eolab.synthetic.patterns import Array, block_mean

VERSION = 3
"""Version of the generator; another version gives other pixels from the same seed."""

FOLDERS = {
    1: ("BigEarthNet-v1.0", "BigEarthNet-S1-v1.0"),
    2: ("BigEarthNet-S2", "BigEarthNet-S1", "Reference_Maps"),
}
"""Folders of Sentinel-2, Sentinel-1 and the maps, by version."""
FAULTS = {
    1: ("truncated_band", "no_labels", "listed_without_folder", "missing_band", "unknown_class"),
    2: ("truncated_band", "listed_without_folder", "missing_band", "unknown_class", "missing_reference"),
}
"""Kinds of damage by version, in the order they are made."""

Files = list[dict[str, bytes]]
"""Content by name: of the optical bands of a patch, of its radar bands, of its reference map."""

_MOST = 20_000
_FREQUENT = 8  # a spoilt patch holds no class that fewer patches than this have


def write(
    folder: str | Path,
    *,
    version: int = 1,
    seed: int = 0,
    patches: int = 600,
    radar: bool = True,
    faults: int = 5,
    pixels_from: str = "",
    progress: bool = True,
) -> Path:
    """Write the twin; a folder is there whole or not at all.

    Beside the published layout there are ``twin.json`` and ``truth/patches.csv``, a row a patch with its
    classes and its fault.

    Args:
        folder: Where to write; must not exist.
        version: 1 for BigEarthNet-v1.0, BigEarthNet-S1-v1.0 and lists; 2 for BigEarthNet-S2, BigEarthNet-S1,
            Reference_Maps and the two tables. Version 2 lacks the patches whose classes are all among those
            that its 19 classes drop.
        seed: Same seed and number of patches, same pixels, in both versions.
        patches: Number of patches, 40 or more.
        radar: Whether to write Sentinel-1.
        faults: How many of the kinds of damage in :data:`FAULTS` occur, each to one patch.
        pixels_from: Name of a twin of version 1 beside the folder. Where it is there, with the same seed and
            number of patches, and no radar is written, its bands are copied, which takes a quarter of the
            time and gives the same files.
        progress: Whether to show progress.

    Returns:
        The folder.

    Raises:
        ParameterError: If the version is unknown or a number is out of range.
        DataError: If the folder exists already.
    """
    folder = Path(folder)
    check_known(version, FAULTS, f"version {version!r} is unknown")
    writing.check_seed(seed)
    writing.check_range("patches", patches, 40, _MOST)
    writing.check_range("faults", faults, 0, len(FAULTS[version]))
    parameters = {"version": version, "seed": seed, "patches": patches, "radar": radar, "faults": faults}
    with writing.whole(folder) as building:
        kept = [patch for patch in make_plan(seed, patches) if version == 1 or patch.labels_19]
        spoilt = _choose(kept, FAULTS[version][:faults])
        faulty = {patch: kind for kind, patch in spoilt.items()}
        originals = {} if radar else _originals(folder.parent / pixels_from, kept, seed, patches)
        make = partial(_write_patch, building, version, partial(_simulate, seed, radar, originals), faulty)
        writing.in_threads(make, kept, "BigEarthNet twin", "patch", progress)
        absent = [patch for patch, kind in faulty.items() if kind == "listed_without_folder"]
        table = pd.DataFrame([_row(patch, faulty.get(patch, "")) for patch in [*kept, *absent]])
        if version == 1:
            _write_lists(building, table, radar)
        else:
            _write_tables(building, table)
        table = table[: len(kept)].drop(columns=["s1_name", "labels"])
        (building / "truth").mkdir()
        table.to_csv(building / "truth/patches.csv", index=False)
        names = {kind: _places(patch, version)[0].name for kind, patch in spoilt.items()}
        writing.mark(building, "bigearthnet", VERSION, **parameters, **_facts(table), spoilt=names)
    return folder


def _choose(patches: list[Patch], kinds: tuple[str, ...]) -> dict[str, Patch]:
    """Choose a patch for each kind of damage: of train, in fair weather, of frequent classes, last first.

    The one that is listed without a folder becomes a patch beside it, outside of the places of all others.
    """
    number = Counter(code for patch in patches for code in patch.codes)
    train = [p for p in patches if p.split == "train" and not p.snow and not p.cloudy and p.labels_19]
    order = sorted(
        train, key=lambda p: (min(number[code] for code in p.codes) <= _FREQUENT, len(p.codes), -p.number)
    )
    spoilt = dict(zip(kinds, order, strict=False))
    if "listed_without_folder" in spoilt:
        spoilt["listed_without_folder"] = replace(spoilt["listed_without_folder"], row=91)
    return spoilt


def _originals(twin: Path, kept: list[Patch], seed: int, patches: int) -> dict[Patch, Path]:
    """Return where a twin of version 1 holds sound bands of patches; nothing if its pixels are others."""
    marker = twin / TWIN_FILE
    facts = json.loads(marker.read_text()) if marker.is_file() else {}
    wanted = {"writer": "bigearthnet", "generator": VERSION, "version": 1, "seed": seed, "patches": patches}
    same = wanted.items() <= facts.items()
    return {p: twin / _places(p, 1)[0] for p in kept if same and p.name_v1 not in facts["spoilt"].values()}


def _places(patch: Patch, version: int) -> list[Path]:
    """Return the folders of a patch's optical bands, of its radar bands and in version 2 of its map.

    Version 2 has a folder a product around them.
    """
    if version == 1:
        names = [patch.name_v1, patch.radar_name]
    else:
        optical = f"{patch.product.name_v2(patch.tile.name)}/{patch.name_v2}"
        names = [optical, f"{patch.tile.radar_product(patch.product)}/{patch.radar_name}", optical]
    return [Path(home, name) for home, name in zip(FOLDERS[version], names, strict=True)]


def _write_patch(
    root: Path, version: int, simulate: Callable[[Patch], Files], faulty: dict[Patch, str], patch: Patch
) -> None:
    """Write a patch, damaged or not."""
    contents = simulate(patch)
    places, kind = [root / place for place in _places(patch, version)], faulty.get(patch, "")
    for folder, content in zip(places, contents, strict=False):
        for name, file in content.items():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{folder.name}_{name}.tif").write_bytes(file)
    if version == 1:
        _write_metadata(places, patch, kind)
    if kind == "truncated_band":
        writing.truncate(places[0] / f"{places[0].name}_B04.tif")
    elif kind == "missing_band":
        (places[0] / f"{places[0].name}_B8A.tif").unlink()
    elif kind == "missing_reference":
        (places[2] / f"{places[2].name}_reference_map.tif").unlink()


def _simulate(seed: int, radar: bool, originals: dict[Patch, Path], patch: Patch) -> Files:
    """Simulate or copy a patch; the pixels depend on seed and plan alone."""
    cover = ground.make_map(patch.codes, writing.stream(seed, 2, patch.number))
    reference = {"reference_map": _geotiff(cover, patch)}
    if original := originals.get(patch):
        return [{k: (original / f"{original.name}_{k}.tif").read_bytes() for k in L2A_BANDS}, {}, reference]
    materials = ground.make_materials(cover, writing.stream(seed, 3, patch.number))
    image = ground.optical(seed, patch, materials, writing.stream(seed, 5, patch.number))
    bands, channels = {}, {}
    for name, band in zip(L2A_BANDS, image, strict=True):
        bands[name] = ground.to_numbers(block_mean(band, SENTINEL2[name].resolution_m // 10))
    if radar:
        seen = ground.radar(seed, patch, materials, writing.stream(seed, 6, patch.number))
        channels = dict(zip(("VV", "VH"), seen, strict=True))
    found = [{name: _geotiff(one, patch) for name, one in each.items()} for each in (bands, channels)]
    return [*found, reference]


def _geotiff(values: Array, patch: Patch) -> bytes:
    """Return a band (y, x) of a patch as GeoTIFF in strips, without a nodata value, as published."""
    left, top = patch.corner
    return writing.geotiff(values, (left, top - PATCH_M, left + PATCH_M, top), patch.tile.epsg)


def _write_metadata(folders: list[Path], patch: Patch, kind: str) -> None:
    """Write the JSON of version 1 beside the bands; that of Sentinel-1 misnames its lower edge ``lly``."""
    tile, product, (left, top) = patch.tile, patch.product, patch.corner
    labels = [CLASSES_43.names[CLASSES_43.index_of(code)] for code in patch.codes]
    named = {"no_labels": {}, "unknown_class": {"labels": _misspelt(labels)}}.get(kind, {"labels": labels})
    time = tile.radar_time(product)
    orbit = 10_000 + time.timetuple().tm_yday
    numbers = f"{orbit:06d}_{orbit:06X}_{orbit * 7 % 65536:04X}"
    optical = {
        "tile_source": product.source(tile.name),
        "acquisition_date": f"{product.time:%Y-%m-%d %H:%M:%S}",
    }
    radar = {
        "corresponding_s2_patch": patch.name_v1,
        "scene_source": writing.sentinel1_name(patch.radar_name[:3], "1SDV", time, numbers),
        "acquisition_time": f"{time:%Y-%m-%dT%H:%M:%S}",
    }
    projection = CRS.from_epsg(tile.epsg).to_wkt()
    for folder, lower, said, own in (
        (folders[0], "lry", named, optical),
        (folders[1], "lly", {"labels": labels}, radar),
    ):
        edges = {"ulx": left, "uly": top, "lrx": left + PATCH_M, lower: top - PATCH_M}
        content = said | {"coordinates": edges, "projection": projection} | own
        if folder.is_dir():
            (folder / f"{folder.name}_labels_metadata.json").write_text(json.dumps(content))


def _misspelt(labels: list[str]) -> list[str]:
    """Return labels of which the first is no known name."""
    return [f"{labels[0].rstrip('s')} area", *labels[1:]]


def _row(patch: Patch, kind: str) -> dict[str, Any]:
    """Return what lists, tables and truth say of a patch."""
    return {
        "number": patch.number,
        "s2v1_name": patch.name_v1,
        "patch_id": patch.name_v2,
        "s1_name": patch.radar_name,
        "tile": patch.tile.name,
        "country": patch.tile.country,
        "split": patch.split,
        "date": f"{patch.product.time:%Y-%m-%d}",
        "codes": " ".join(map(str, patch.codes)),
        "labels": _misspelt(patch.labels_19) if kind == "unknown_class" else patch.labels_19,
        "snow": patch.snow,
        "cloudy": patch.cloudy,
        "fault": kind,
    }


def _write_lists(root: Path, table: pd.DataFrame, radar: bool) -> None:
    """Write the lists of version 1, without a header and with CRLF as published.

    Splits have no patch under snow or clouds and none that the 19 classes do not know.
    """
    (root / "lists").mkdir()
    known = table["labels"].map(bool)
    fair = known & ~table["snow"] & ~table["cloudy"]
    lists = {
        "train": fair & (table["split"] == "train"),
        "val": fair & (table["split"] == "validation"),
        "test": fair & (table["split"] == "test"),
        "patches_with_seasonal_snow": table["snow"],
        "patches_with_cloud_and_shadow": table["cloudy"],
        "patches_with_no_19_class_targets": ~known,
    }
    for name, rows in lists.items():
        columns = ["s2v1_name", "s1_name"] if radar and not name.startswith("patches") else ["s2v1_name"]
        listed, file = table.loc[rows, columns], root / "lists" / f"{name}.csv"
        listed.to_csv(file, header=False, index=False, lineterminator="\r\n")


def _write_tables(root: Path, table: pd.DataFrame) -> None:
    """Write the tables of version 2: that of fair patches, and that of patches under snow or clouds."""
    hidden = table["snow"] | table["cloudy"]
    names = {"snow": "contains_seasonal_snow", "cloudy": "contains_cloud_or_shadow"}
    columns = ["patch_id", "labels", "split", "country", "s1_name", "s2v1_name", *names]
    table = table[columns].rename(columns=names)
    for name, rows in (("metadata", ~hidden), ("metadata_for_patches_with_snow_cloud_or_shadow", hidden)):
        table[rows].sort_values("patch_id").reset_index(drop=True).to_parquet(root / f"{name}.parquet")


def _facts(table: pd.DataFrame) -> dict[str, Any]:
    """Return what twin.json says besides the parameters."""
    counts = Counter(code for codes in table["codes"] for code in codes.split())
    return {
        "patches_by_split": dict(Counter(table["split"])),
        "patches_by_country": dict(Counter(table["country"])),
        "patches_by_class": {code: counts[code] for code in sorted(counts)},
        "snow": int(table["snow"].sum()),
        "cloudy": int(table["cloudy"].sum()),
    }
