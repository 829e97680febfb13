"""Twin of BigEarthNet: patches of Sentinel-2 and Sentinel-1 with the 43 classes of version 1 or 19 of 2.

The same ground stands under both versions: a map of CORINE classes, whose set of classes is the patch's label
and which version 2 publishes as its reference map. How many patches hold a class follows the published
numbers (:data:`eolab.data.schemes.bigearthnet.PUBLISHED_BY_CODE`), tiles and days are real ones, and whole
tiles are held out for validation and test. The traps of the published data are in it: names whose hour lacks
its zero or whose seconds exceed 59, CRLF, ``lly`` in the metadata of Sentinel-1, places padded in version 2
alone, patches under snow or clouds in lists of their own, and a few spoilt files.

Pixels are rounded to 10 digital numbers (5 where dark) and 1/4 dB, about the noise. A score on the twin says
whether code works, not how well a method maps land cover: spectra and patterns are set by hand
(:mod:`eolab.synthetic.materials`, ``tables/bigearthnet_classes.yaml``).
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile
from rasterio.crs import CRS

from eolab.core.errors import ParameterError
from eolab.data.bands import L2A_BANDS, SENTINEL2
from eolab.synthetic import writing
from eolab.synthetic.bigearthnet_image import make_map, make_materials, optical, to_numbers
from eolab.synthetic.bigearthnet_image import radar as backscatter
from eolab.synthetic.bigearthnet_plan import PATCH_M, Patch, make_plan
from eolab.synthetic.calendar import sentinel1_name
from eolab.synthetic.noise import block_mean
from eolab.synthetic.writing import stream

Array = np.ndarray

VERSION = 2
"""Version of the generator; another version gives other pixels from the same seed."""

FOLDERS_V1 = ("BigEarthNet-v1.0", "BigEarthNet-S1-v1.0")
FOLDERS_V2 = ("BigEarthNet-S2", "BigEarthNet-S1", "Reference_Maps")
FAULTS = {
    1: ("truncated_band", "no_labels", "listed_without_folder", "missing_band", "unknown_class"),
    2: ("truncated_band", "listed_without_folder", "missing_band", "unknown_class", "missing_reference"),
}
"""Kinds of damage by version, in the order they are made."""

_LISTS = {"train": "train.csv", "validation": "val.csv", "test": "test.csv"}
_SNOW_LIST = "patches_with_seasonal_snow.csv"
_CLOUD_LIST = "patches_with_cloud_and_shadow.csv"
_NO_CLASS_LIST = "patches_with_no_19_class_targets.csv"
_METADATA = "metadata.parquet"
_BAD_WEATHER = "metadata_for_patches_with_snow_cloud_or_shadow.parquet"

_MOST = 20_000
_FREQUENT = 8  # a spoilt patch holds no class that fewer patches than this have
_STRIP_BYTES = 8192
_PIXEL_SCALE, _TIE_POINT, _GEO_KEYS = 33550, 33922, 34735
_KEYS = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1)  # projected, pixels are areas, EPSG code


def write(
    folder: str | Path,
    *,
    version: int = 1,
    seed: int = 0,
    patches: int = 600,
    radar: bool = True,
    faults: int = 5,
    compress: bool = True,
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
        compress: Whether to deflate the GeoTIFFs. The published ones are not compressed: False gives files
            as slow or fast to read as those, and twice as large.
        progress: Whether to show progress.

    Returns:
        The folder.

    Raises:
        ParameterError: If the version is unknown or a number is out of range.
        DataError: If the folder exists already.
    """
    folder = Path(folder)
    if version not in FAULTS:
        raise ParameterError(f"version {version!r} is unknown: take 1 or 2.")
    writing.check_seed(seed)
    writing.check_range("patches", patches, 40, _MOST)
    writing.check_range("faults", faults, 0, len(FAULTS[version]))
    with writing.whole(folder) as building:
        kept = [patch for patch in make_plan(seed, patches) if version == 1 or patch.labels_19]
        layout = {1: _V1, 2: _V2}[version](building, compress, radar)
        writing.in_threads(partial(_write_patch, layout, seed), kept, "BigEarthNet twin", "patch", progress)
        spoilt = dict(zip(FAULTS[version][:faults], _victims(kept), strict=False))
        layout.write_tables(kept, spoilt)
        for kind, patch in spoilt.items():
            layout.spoil(kind, patch)
        _write_truth(building, kept, spoilt)
        parameters: dict[str, Any] = {"seed": seed, "patches": patches, "radar": radar}
        parameters |= {"faults": faults, "compress": compress}
        named = {k: _elsewhere(p) if k == "listed_without_folder" else p for k, p in spoilt.items()}
        facts = _facts(kept) | {"spoilt": {kind: layout.name(patch) for kind, patch in named.items()}}
        writing.mark(building, "bigearthnet", VERSION, version=version, **parameters, **facts)
    return folder


@dataclass(frozen=True)
class _V1:
    """Places and contents of version 1."""

    root: Path
    compress: bool
    radar: bool

    def name(self, patch: Patch) -> str:
        """Return the name of a patch."""
        return patch.name_v1

    def optical_folder(self, patch: Patch) -> Path:
        """Return the folder of a patch's optical bands."""
        return self.root / FOLDERS_V1[0] / patch.name_v1

    def radar_folder(self, patch: Patch) -> Path:
        """Return the folder of a patch's radar bands."""
        return self.root / FOLDERS_V1[1] / patch.radar_name

    def write_rest(self, patch: Patch, cover: Array) -> None:
        """Write the metadata beside the bands; the lower edge in those of Sentinel-1 is misnamed ``lly``."""
        tile, time = patch.tile, patch.product.time
        own = {
            "tile_source": patch.product.source(tile.name),
            "acquisition_date": f"{time:%Y-%m-%d %H:%M:%S}",
        }
        _write_json(self.optical_folder(patch), patch, "lry", own)
        if self.radar:
            time = tile.radar_time(patch.product)
            orbit = 10_000 + time.timetuple().tm_yday
            numbers = f"{orbit:06d}_{orbit:06X}_{orbit * 7 % 65536:04X}"
            own = {
                "corresponding_s2_patch": patch.name_v1,
                "scene_source": sentinel1_name(patch.radar_name[:3], "1SDV", time, numbers),
                "acquisition_time": f"{time:%Y-%m-%dT%H:%M:%S}",
            }
            _write_json(self.radar_folder(patch), patch, "lly", own)

    def write_tables(self, patches: list[Patch], spoilt: dict[str, Patch]) -> None:
        """Write the lists: splits without snow, clouds and patches that the 19 classes do not know."""
        (self.root / "lists").mkdir()
        fair = [p for p in patches if p.labels_19 and not p.snow and not p.cloudy]
        for split, name in _LISTS.items():
            listed = [patch for patch in fair if patch.tile.split == split]
            if split == "train" and "listed_without_folder" in spoilt:
                listed.append(_elsewhere(spoilt["listed_without_folder"]))
            self._write_list(name, listed, radar=self.radar)
        self._write_list(_SNOW_LIST, [patch for patch in patches if patch.snow])
        self._write_list(_CLOUD_LIST, [patch for patch in patches if patch.cloudy])
        self._write_list(_NO_CLASS_LIST, [patch for patch in patches if not patch.labels_19])

    def _write_list(self, name: str, patches: list[Patch], radar: bool = False) -> None:
        """Write names of Sentinel-2 and Sentinel-1 without a header, with CRLF as published."""
        rows = [f"{p.name_v1},{p.radar_name}\r\n" if radar else f"{p.name_v1}\r\n" for p in patches]
        (self.root / "lists" / name).write_bytes("".join(rows).encode())

    def spoil(self, kind: str, patch: Patch) -> None:
        """Damage a patch."""
        if kind not in ("no_labels", "unknown_class"):
            _spoil_band(kind, self.optical_folder(patch))
            return
        metadata = self.optical_folder(patch) / f"{patch.name_v1}_labels_metadata.json"
        content = json.loads(metadata.read_text())
        if kind == "no_labels":
            del content["labels"]
        else:
            content["labels"][0] = _misspelt(content["labels"][0])
        metadata.write_text(json.dumps(content))


class _V2(_V1):
    """Places and contents of version 2, which has a folder a product."""

    def name(self, patch: Patch) -> str:
        """Return the name of a patch."""
        return patch.name_v2

    def optical_folder(self, patch: Patch) -> Path:
        """Return the folder of a patch's optical bands, inside that of its product."""
        return self.root / FOLDERS_V2[0] / self._product(patch) / patch.name_v2

    def radar_folder(self, patch: Patch) -> Path:
        """Return the folder of a patch's radar bands, inside that of its product."""
        return self.root / FOLDERS_V2[1] / patch.tile.radar_product(patch.product) / patch.radar_name

    def write_rest(self, patch: Patch, cover: Array) -> None:
        """Write the reference map of a patch."""
        path = self._reference(patch)
        path.parent.mkdir(parents=True)
        _write_band(path, cover, patch, self.compress)

    def write_tables(self, patches: list[Patch], spoilt: dict[str, Patch]) -> None:
        """Write the table of fair patches, and that of patches under snow or clouds."""
        table = pd.DataFrame([_metadata_row(patch) for patch in patches])
        if "unknown_class" in spoilt:
            labels = table["labels"][patches.index(spoilt["unknown_class"])]
            labels[0] = _misspelt(labels[0])
        if "listed_without_folder" in spoilt:
            extra = _metadata_row(_elsewhere(spoilt["listed_without_folder"]))
            table = pd.concat([table, pd.DataFrame([extra])])
        hidden = table["contains_seasonal_snow"] | table["contains_cloud_or_shadow"]
        for rows, name in ((table[~hidden], _METADATA), (table[hidden], _BAD_WEATHER)):
            rows.sort_values("patch_id").reset_index(drop=True).to_parquet(self.root / name)

    def spoil(self, kind: str, patch: Patch) -> None:
        """Damage a patch."""
        if kind == "missing_reference":
            self._reference(patch).unlink()
        else:
            _spoil_band(kind, self.optical_folder(patch))

    def _product(self, patch: Patch) -> str:
        return patch.product.name_v2(patch.tile.name)

    def _reference(self, patch: Patch) -> Path:
        name = patch.name_v2
        return self.root / FOLDERS_V2[2] / self._product(patch) / name / f"{name}_reference_map.tif"


def _write_patch(layout: _V1, seed: int, patch: Patch) -> None:
    """Simulate and write a patch; the pixels depend on seed and plan alone, not on the version."""
    cover = make_map(patch.codes, stream(seed, 2, patch.number))
    materials = make_materials(cover, stream(seed, 3, patch.number))
    image = optical(seed, patch, materials, stream(seed, 5, patch.number))
    bands = {
        name: to_numbers(image[k] if step == 1 else block_mean(image[k], step))
        for k, name in enumerate(L2A_BANDS)
        for step in (SENTINEL2[name].resolution_m // 10,)
    }
    _write_bands(layout.optical_folder(patch), patch, bands, layout.compress)
    if layout.radar:
        seen = backscatter(seed, patch, materials, stream(seed, 6, patch.number))
        channels = dict(zip(("VV", "VH"), seen, strict=True))
        _write_bands(layout.radar_folder(patch), patch, channels, layout.compress)
    layout.write_rest(patch, cover)


def _write_bands(folder: Path, patch: Patch, bands: dict[str, Array], compress: bool) -> None:
    folder.mkdir(parents=True)
    for name, values in bands.items():
        _write_band(folder / f"{folder.name}_{name}.tif", values, patch, compress)


def _write_band(path: Path, values: Array, patch: Patch, compress: bool) -> None:
    """Write a band (y, x) of a patch as GeoTIFF in strips, without a nodata value, deflated or not."""
    pixel, (left, top) = PATCH_M / values.shape[0], patch.corner
    tags = [
        (_PIXEL_SCALE, "d", 3, (pixel, pixel, 0.0), True),
        (_TIE_POINT, "d", 6, (0.0, 0.0, 0.0, float(left), float(top), 0.0), True),
        (_GEO_KEYS, "H", len(_KEYS) + 1, (*_KEYS, patch.tile.epsg), True),
    ]
    rows = max(1, _STRIP_BYTES // (values.shape[1] * values.itemsize))
    options: dict[str, Any] = (
        {"compression": "zlib", "predictor": values.dtype.kind == "u"} if compress else {}
    )
    tifffile.imwrite(
        path, values, photometric="minisblack", metadata=None, software=False,
        rowsperstrip=min(rows, values.shape[0]), extratags=tags, **options,
    )  # fmt: skip


def _write_json(folder: Path, patch: Patch, lower: str, own: dict[str, str]) -> None:
    """Write the metadata that version 1 puts beside the bands of a sensor; ``lower`` names the lower edge."""
    left, top = patch.corner
    content = {
        "labels": patch.labels_43,
        "coordinates": {"ulx": left, "uly": top, "lrx": left + PATCH_M, lower: top - PATCH_M},
        "projection": _projection(patch.tile.epsg),
        **own,
    }
    (folder / f"{folder.name}_labels_metadata.json").write_text(json.dumps(content))


@lru_cache(maxsize=16)
def _projection(epsg: int) -> str:
    """Return a projection as WKT, as version 1 writes it."""
    return str(CRS.from_epsg(epsg).to_wkt())


def _metadata_row(patch: Patch) -> dict[str, Any]:
    """Return what the tables of version 2 say of a patch."""
    return {
        "patch_id": patch.name_v2,
        "labels": patch.labels_19,
        "split": patch.tile.split,
        "country": patch.tile.country,
        "s1_name": patch.radar_name,
        "s2v1_name": patch.name_v1,
        "contains_seasonal_snow": patch.snow,
        "contains_cloud_or_shadow": patch.cloudy,
    }


def _victims(patches: list[Patch]) -> list[Patch]:
    """Return patches of train to spoil: in fair weather, of frequent classes, those numbered last first."""
    number = Counter(code for patch in patches for code in patch.codes)
    train = [p for p in patches if p.tile.split == "train" and not p.snow and not p.cloudy and p.labels_19]
    order = sorted(
        train, key=lambda p: (min(number[code] for code in p.codes) <= _FREQUENT, len(p.codes), -p.number)
    )
    return order[: max(len(kinds) for kinds in FAULTS.values())]


def _elsewhere(patch: Patch) -> Patch:
    """Return a patch beside another one, outside of the places that patches are put at."""
    return replace(patch, row=91)


def _misspelt(name: str) -> str:
    return f"{name.rstrip('s')} area"


def _spoil_band(kind: str, folder: Path) -> None:
    if kind == "truncated_band":
        writing.truncate(folder / f"{folder.name}_B04.tif")
    elif kind == "missing_band":
        (folder / f"{folder.name}_B8A.tif").unlink()


def _write_truth(folder: Path, patches: list[Patch], spoilt: dict[str, Patch]) -> None:
    kinds = {patch.number: kind for kind, patch in spoilt.items() if kind != "listed_without_folder"}
    rows = [
        {
            "number": patch.number,
            "s2v1_name": patch.name_v1,
            "patch_id": patch.name_v2,
            "tile": patch.tile.name,
            "country": patch.tile.country,
            "split": patch.tile.split,
            "date": f"{patch.product.time:%Y-%m-%d}",
            "codes": " ".join(map(str, patch.codes)),
            "snow": patch.snow,
            "cloudy": patch.cloudy,
            "fault": kinds.get(patch.number, ""),
        }
        for patch in patches
    ]
    (folder / "truth").mkdir()
    pd.DataFrame(rows).to_csv(folder / "truth/patches.csv", index=False)


def _facts(patches: list[Patch]) -> dict[str, Any]:
    """Return what twin.json says besides the parameters."""
    counts = Counter(code for patch in patches for code in patch.codes)
    return {
        "patches_by_split": dict(Counter(patch.tile.split for patch in patches)),
        "patches_by_country": dict(Counter(patch.tile.country for patch in patches)),
        "patches_by_class": {str(code): counts[code] for code in sorted(counts)},
        "snow": sum(patch.snow for patch in patches),
        "cloudy": sum(patch.cloudy for patch in patches),
    }
