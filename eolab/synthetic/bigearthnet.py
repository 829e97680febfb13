"""Twin of BigEarthNet: patches of Sentinel-2 and Sentinel-1 with the 43 classes of version 1 or 19 of 2.

The same ground stands under both versions: a map of CORINE classes, whose set of classes is the patch's label
and which version 2 publishes as its reference map. How many patches hold a class follows the published
numbers (:data:`eolab.synthetic.bigearthnet_classes.KINDS`), tiles and days are real ones, and whole tiles are
held out for validation and test. The traps of the published data are in it: names whose hour lacks its zero
or whose seconds exceed 59, CRLF, ``lly`` in the metadata of Sentinel-1, places padded in version 2 alone,
patches under snow or clouds in lists of their own, and a few spoilt files.

Pixels are rounded to 10 digital numbers (5 where dark) and 1/4 dB, about the noise. A score on the twin says
whether code works, not how well a method maps land cover: spectra and patterns are set by hand
(:mod:`eolab.synthetic.bigearthnet_materials`).
"""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eolab.core.errors import ParameterError
from eolab.core.progress import track
from eolab.data.bands import L2A_BANDS, SENTINEL2
from eolab.synthetic import bigearthnet_files as files
from eolab.synthetic import folders
from eolab.synthetic.bigearthnet_ground import make_map, make_materials
from eolab.synthetic.bigearthnet_image import optical, to_numbers
from eolab.synthetic.bigearthnet_image import radar as backscatter
from eolab.synthetic.bigearthnet_places import radar_product
from eolab.synthetic.bigearthnet_plan import Patch, make_plan, stream
from eolab.synthetic.noise import block_mean

Array = np.ndarray

VERSION = 2
"""Of the generator; another version gives other pixels from the same seed."""

FOLDERS_V1 = ("BigEarthNet-v1.0", "BigEarthNet-S1-v1.0")
LISTS_FOLDER = "lists"
FOLDERS_V2 = ("BigEarthNet-S2", "BigEarthNet-S1", "Reference_Maps")
FAULTS = {
    1: ("truncated_band", "no_labels", "listed_without_folder", "missing_band", "unknown_class"),
    2: ("truncated_band", "listed_without_folder", "missing_band", "unknown_class", "missing_reference"),
}
"""Kinds of damage by version, in the order they are made."""

_THREADS = 2  # NumPy, SciPy and zlib release the GIL
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
    _check(version, seed, patches, faults)
    with folders.whole(folder) as building:
        plan = make_plan(seed, patches)
        kept = [patch for patch in plan if version == 1 or files.labels_v2(patch)]
        layout = {1: _V1, 2: _V2}[version](building, compress, radar)
        make = partial(_write_patch, layout, seed)
        with ThreadPoolExecutor(_THREADS) as pool:
            done = pool.map(make, kept)
            for _ in track(done, "Scenes twin", total=len(kept), unit="patch", progress=progress):
                pass
        spoilt = dict(zip(FAULTS[version][:faults], _victims(kept), strict=False))
        layout.write_tables(kept, spoilt)
        for kind, patch in spoilt.items():
            layout.spoil(kind, patch)
        _write_truth(building, kept, spoilt)
        parameters: dict[str, Any] = {"seed": seed, "patches": patches, "radar": radar}
        parameters |= {"faults": faults, "compress": compress}
        named = {k: _elsewhere(p) if k == "listed_without_folder" else p for k, p in spoilt.items()}
        facts = _facts(kept) | {"spoilt": {kind: layout.name(patch) for kind, patch in named.items()}}
        folders.mark(building, "bigearthnet", VERSION, version=version, **parameters, **facts)
    return folder


def _check(version: int, seed: int, patches: int, faults: int) -> None:
    if version not in FAULTS:
        raise ParameterError(f"version {version!r} is unknown: take 1 or 2.")
    if seed < 0:
        raise ParameterError(f"seed {seed} is not possible: take 0 or a positive whole number.")
    if not 40 <= patches <= _MOST:
        raise ParameterError(f"patches {patches} is not possible: take 40 to {_MOST:,}.")
    if not 0 <= faults <= len(FAULTS[version]):
        raise ParameterError(f"faults {faults} is not possible: take 0 to {len(FAULTS[version])}.")


class _V1:
    """Where version 1 puts what."""

    def __init__(self, root: Path, compress: bool, radar: bool) -> None:
        self.root, self.compress, self.radar = root, compress, radar

    def name(self, patch: Patch) -> str:
        """Return the name of a patch."""
        return files.names_v1(patch)[0]

    def optical_folder(self, patch: Patch) -> Path:
        """Return the folder of a patch's optical bands."""
        return self.root / FOLDERS_V1[0] / self.name(patch)

    def radar_folder(self, patch: Patch) -> Path:
        """Return the folder of a patch's radar bands."""
        return self.root / FOLDERS_V1[1] / files.names_v1(patch)[1]

    def write_rest(self, patch: Patch, cover: Array) -> None:
        """Write what belongs to a patch besides its bands."""
        files.write_optical_json(self.optical_folder(patch), patch)
        if self.radar:
            files.write_radar_json(self.radar_folder(patch), patch)

    def write_tables(self, patches: list[Patch], spoilt: dict[str, Patch]) -> None:
        """Write the lists: splits without snow, clouds and patches that the 19 classes do not know."""
        folder = self.root / LISTS_FOLDER
        folder.mkdir()
        fair = [p for p in patches if files.labels_v2(p) and not p.snow and not p.cloudy]
        for split, name in files.LISTS.items():
            rows: list[tuple[str, ...]] = [
                files.names_v1(patch) for patch in fair if patch.tile.split == split
            ]
            if split == "train" and "listed_without_folder" in spoilt:
                rows.append(files.names_v1(_elsewhere(spoilt["listed_without_folder"])))
            files.write_list(folder / name, rows if self.radar else [row[:1] for row in rows])
        for name, wanted in (
            (files.SNOW_LIST, lambda p: p.snow),
            (files.CLOUD_LIST, lambda p: p.cloudy),
            (files.NO_CLASS_LIST, lambda p: not files.labels_v2(p)),
        ):
            files.write_list(folder / name, [(self.name(patch),) for patch in patches if wanted(patch)])

    def spoil(self, kind: str, patch: Patch) -> None:
        """Damage a patch."""
        metadata = self.optical_folder(patch) / f"{self.name(patch)}_labels_metadata.json"
        content = json.loads(metadata.read_text())
        match kind:
            case "no_labels":
                del content["labels"]
                metadata.write_text(json.dumps(content))
            case "unknown_class":
                content["labels"][0] = _misspelt(content["labels"][0])
                metadata.write_text(json.dumps(content))
            case _:
                _spoil_band(kind, self.optical_folder(patch))


class _V2(_V1):
    """Where version 2 puts what."""

    def name(self, patch: Patch) -> str:
        """Return the name of a patch."""
        return files.name_v2(patch)

    def optical_folder(self, patch: Patch) -> Path:
        """Return the folder of a patch's optical bands, inside that of its product."""
        return self.root / FOLDERS_V2[0] / self._product(patch) / self.name(patch)

    def radar_folder(self, patch: Patch) -> Path:
        """Return the folder of a patch's radar bands, inside that of its product."""
        product = radar_product(patch.tile, patch.product)
        return self.root / FOLDERS_V2[1] / product / files.names_v1(patch)[1]

    def write_rest(self, patch: Patch, cover: Array) -> None:
        """Write the reference map of a patch."""
        path = self._reference(patch)
        path.parent.mkdir(parents=True)
        corner = patch.tile.corner(patch.column, patch.row)
        files.write_band(path, cover, corner, patch.tile.epsg, self.compress)

    def write_tables(self, patches: list[Patch], spoilt: dict[str, Patch]) -> None:
        """Write the table of fair patches, and that of patches under snow or clouds."""
        rows = []
        for patch in patches:
            row = files.metadata_row(patch)
            if spoilt.get("unknown_class") == patch:
                row["labels"] = [_misspelt(row["labels"][0]), *row["labels"][1:]]
            rows.append((patch.snow or patch.cloudy, row))
        if "listed_without_folder" in spoilt:
            rows.append((False, files.metadata_row(_elsewhere(spoilt["listed_without_folder"]))))
        for hidden, name in ((False, files.METADATA), (True, files.BAD_WEATHER)):
            table = pd.DataFrame([row for bad, row in rows if bad == hidden], columns=list(rows[0][1]))
            table.sort_values("patch_id").reset_index(drop=True).to_parquet(self.root / name)

    def spoil(self, kind: str, patch: Patch) -> None:
        """Damage a patch."""
        if kind == "missing_reference":
            self._reference(patch).unlink()
        else:
            _spoil_band(kind, self.optical_folder(patch))

    def _product(self, patch: Patch) -> str:
        return patch.product.name_v2(patch.tile.name)

    def _reference(self, patch: Patch) -> Path:
        name = self.name(patch)
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
    _write_bands(layout, layout.optical_folder(patch), patch, bands)
    if layout.radar:
        seen = backscatter(seed, patch, materials, stream(seed, 6, patch.number))
        _write_bands(layout, layout.radar_folder(patch), patch, dict(zip(("VV", "VH"), seen, strict=True)))
    layout.write_rest(patch, cover)


def _write_bands(layout: _V1, folder: Path, patch: Patch, bands: dict[str, Array]) -> None:
    folder.mkdir(parents=True)
    corner = patch.tile.corner(patch.column, patch.row)
    for name, values in bands.items():
        files.write_band(
            folder / f"{folder.name}_{name}.tif", values, corner, patch.tile.epsg, layout.compress
        )


def _victims(patches: list[Patch]) -> list[Patch]:
    """Return patches of train to spoil: in fair weather, of frequent classes, those numbered last first."""
    number = Counter(code for patch in patches for code in patch.codes)
    train = [p for p in patches if p.tile.split == "train" and not p.snow and not p.cloudy]
    train = [p for p in train if files.labels_v2(p)]
    order = sorted(
        train, key=lambda p: (min(number[code] for code in p.codes) <= _FREQUENT, len(p.codes), -p.number)
    )
    return order[: max(len(kinds) for kinds in FAULTS.values())]


def _elsewhere(patch: Patch) -> Patch:
    """Return a patch beside another one, outside of the places that patches are put at."""
    return Patch(**{**vars(patch), "row": 91})


def _misspelt(name: str) -> str:
    return f"{name.rstrip('s')} area"


def _spoil_band(kind: str, folder: Path) -> None:
    if kind == "truncated_band":
        path = folder / f"{folder.name}_B04.tif"
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
    elif kind == "missing_band":
        (folder / f"{folder.name}_B8A.tif").unlink()


def _write_truth(folder: Path, patches: list[Patch], spoilt: dict[str, Patch]) -> None:
    kinds: dict[int, str] = {patch.number: kind for kind, patch in spoilt.items()}
    kinds = {number: kind for number, kind in kinds.items() if kind != "listed_without_folder"}
    rows = [
        {
            "number": patch.number,
            "s2v1_name": files.names_v1(patch)[0],
            "patch_id": files.name_v2(patch),
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
