"""Twin of SEN12-FLOOD: two lists and a folder a sequence with its images, faults and all, with their truth.

The layout is that of IEEE DataPort, or on request that of Radiant MLHub. The traps of the published data
are in it: SAR in EPSG:4326 with another shape beside optical images in UTM, bands of 60 m in files of their
own size, index numbers out of order, two slices of one pass, images without VH, entries without a file,
files that are missing, cut short, all zero or in no list, and series that end before the flood. Water
follows the terrain and stays once it has come; clouds hide the ground most of all while it floods, and just
as much where the same storm brings no flood; wind roughens the water, and wet fields look like it.
"""

from __future__ import annotations

import json
from datetime import datetime, time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rasterio.crs import CRS
from rasterio.transform import from_bounds
from rasterio.warp import transform_bounds

from eolab.core.errors import ParameterError, did_you_mean
from eolab.data.bands import L2A_BANDS
from eolab.synthetic import sen12flood_collections, writing
from eolab.synthetic.calendar import sentinel1_name
from eolab.synthetic.sen12flood_image import (
    Ground,
    backscatter,
    coarser,
    make_ground,
    on_grid,
    reflectance,
    slices,
    swath_edge,
)
from eolab.synthetic.sen12flood_plan import DRY, REGIONS, FloodSequence, Pass, make_plan
from eolab.synthetic.writing import stream

VERSION = 2
"""Version of the generator; another version gives other pixels from the same seed."""

TREES = ("lists", "collections")
"""The published trees: that of IEEE DataPort, and that of Radiant MLHub and Source Cooperative."""

_COARSE = {"B01": 6, "B09": 6}  # bands of 60 m, in every third sequence stored as such
_URL = "https://datapool.asf.alaska.edu/GRD_HD/{}/{}.zip"  # mission, product: of the published list
_LEAST_SIZE, _MOST_SIZE, _MOST_SEQUENCES = 48, 512, 2000


def write(
    folder: str | Path,
    *,
    seed: int = 0,
    train: int = 36,
    test: int = 18,
    size: int = 64,
    tree: str = "lists",
    progress: bool = True,
) -> Path:
    """Write the twin; a folder is there whole or not at all.

    Beside the lists and the sequences there is ``twin.json``, ``truth/sequences.csv``, a row a sequence, and
    ``truth/images.csv``, a row an image with its share of water, its clouds and its fault.

    Args:
        folder: Where to write; must not exist.
        seed: Same seed, same pixels.
        train: Sequences with names of four digits.
        test: Sequences with names of one or two digits.
        size: Side of the optical images in pixels; 512 is that of the published ones.
        tree: ``lists`` for S1list.json and S2list.json beside a folder a sequence, ``collections`` for
            sen12floods_s1_source and so on, with the same pixels, as far as they hold them: see
            :func:`eolab.synthetic.sen12flood_collections.rearrange`. The truth names images as the lists do.
        progress: Whether to show progress.

    Returns:
        The folder.

    Raises:
        ParameterError: If a number is out of range, or the tree is unknown.
        DataError: If the folder exists already.
    """
    folder = Path(folder)
    _check(seed, train, test, size, tree)
    with writing.whole(folder) as building:
        plan = make_plan(seed, train, test)
        make = partial(_write_sequence, building, seed, size)
        rows = writing.in_threads(make, plan, "SEN12-FLOOD twin", "sequence", progress)
        images = pd.DataFrame([row for part in rows for row in part])
        _write_lists(building, seed, plan, images)
        if tree == "collections":
            sen12flood_collections.rearrange(building)
        _write_truth(building, plan, images)
        parameters = {"seed": seed, "train": train, "test": test, "size": size, "tree": tree}
        writing.mark(building, "sen12flood", VERSION, **parameters, **_facts(images))
    return folder


def _check(seed: int, train: int, test: int, size: int, tree: str) -> None:
    if tree not in TREES:
        raise ParameterError(f"tree {tree!r} is unknown: {did_you_mean(tree, TREES)}")
    writing.check_seed(seed)
    writing.check_range("train", train, 1, _MOST_SEQUENCES, " sequences")
    writing.check_range("test", test, 0, 100, " sequences")
    writing.check_range("size", size, _LEAST_SIZE, _MOST_SIZE, " pixels")


def _write_sequence(folder: Path, seed: int, size: int, sequence: FloodSequence) -> list[dict[str, Any]]:
    """Write the images of a sequence; return a row an image."""
    (folder / sequence.name).mkdir()
    ground = make_ground(size, stream(seed, 2, sequence.number))
    rows = []
    for place, one in enumerate(sequence.passes):
        rng = stream(seed, 3, sequence.number, place)
        water = ground.water(one.day, sequence.onset)
        write_one = _write_radar if one.sensor == "S1" else _write_optical
        name, clouds = write_one(folder / sequence.name, sequence, one, ground, water, rng)
        facts = {"sequence": sequence.name, "sensor": one.sensor, "date": one.date, "orbit": one.orbit}
        facts |= {"filename": name, "flooded": sequence.flooded(one), "water": float(water.mean())}
        rows.append(facts | {"clouds": clouds, "part": one.part, "covers": one.covers, "fault": one.fault})
    return rows


def _write_radar(
    folder: Path,
    sequence: FloodSequence,
    one: Pass,
    ground: Ground,
    water: np.ndarray,
    rng: np.random.Generator,
) -> tuple[str, float]:
    """Write VV and VH of an image in EPSG:4326, whose shape is not that of the optical images."""
    soaked = rng.uniform(0.0, 0.5) + 0.5 * sequence.flooded(one)
    sigma = backscatter(ground, water, one.day, soaked, one.orbit == "DESCENDING", rng)
    own = stream(sequence.number, 4)
    shape = tuple(int(side * own.uniform(0.92, 1.12)) for side in water.shape)
    sigma = on_grid(sigma, (shape[0], shape[1]))
    upper, lower = slices(sigma.shape[1:], own)
    seen = {"whole": np.ones(upper.shape, bool), "first": upper, "second": lower}[one.part]
    if one.part == "whole" and rng.random() < 0.06:
        seen = swath_edge(upper.shape, rng)
    name = _radar_name(one, sequence)
    bounds = (sequence.ring[0][0], sequence.ring[1][1], sequence.ring[2][0], sequence.ring[0][1])
    for channel, values in zip(("VV",) if one.single else ("VV", "VH"), sigma, strict=False):
        path = folder / f"{name}_corrected_{channel}.tif"
        _tiff(path, values * seen, CRS.from_epsg(4326), bounds, one.fault)
    return name, 0.0


def _write_optical(
    folder: Path,
    sequence: FloodSequence,
    one: Pass,
    ground: Ground,
    water: np.ndarray,
    rng: np.random.Generator,
) -> tuple[str, float]:
    """Write the twelve bands of an image in UTM."""
    south = sequence.south < 0
    season = np.cos(2 * np.pi * (one.date.timetuple().tm_yday - (20 if south else 200)) / 365)
    bands, clouds = reflectance(ground, water, 0.5 + 0.3 * float(season), one.clouds, rng)
    if not one.has_file:
        return "", clouds
    seen = np.ones(water.shape, bool) if one.covers else swath_edge(water.shape, rng)
    zone = int((sequence.west + 180) // 6) + 1
    crs = CRS.from_epsg((32700 if south else 32600) + zone)
    box = (sequence.ring[1][0], sequence.ring[1][1], sequence.ring[2][0], sequence.ring[3][1])
    bounds = transform_bounds(CRS.from_epsg(4326), crs, *box)
    name = f"S2_{one.date:%Y-%m-%d}"
    for band, values in zip(L2A_BANDS, bands, strict=True):
        digital = np.clip(np.rint(1e4 * values * seen), 0, 65535).astype(np.uint16)
        if band in _COARSE and sequence.number % 3 == 0:
            digital = coarser(digital, _COARSE[band])
        _tiff(folder / f"{name}_{band}.tif", digital, crs, bounds, one.fault)
    return name, clouds


def _tiff(
    path: Path, values: np.ndarray, crs: CRS, bounds: tuple[float, float, float, float], fault: str
) -> None:
    """Write an uncompressed GeoTIFF, or what its fault leaves of it."""
    if fault == "missing":
        return
    height, width = values.shape
    image = np.zeros_like(values) if fault == "zero" else values
    writing.write_raster(path, image, {"crs": crs, "transform": from_bounds(*bounds, width, height)})
    if fault == "truncated":
        writing.truncate(path)


def _radar_name(one: Pass, sequence: FloodSequence) -> str:
    """Return a name as Sentinel-1 products have it."""
    mission = "S1A" if (one.day // 12 + sequence.number) % 2 else "S1B"
    hour, second = 3 if one.orbit == "ASCENDING" else 15, 40 if one.part == "second" else 15
    begin = datetime.combine(one.date, time(hour, 8, second))
    numbers = f"{26_000 + one.day:06d}_{sequence.number:06X}_{(7 * sequence.number + one.day) % 65536:04X}"
    return sentinel1_name(mission, "1SSV" if one.single else "1SDV", begin, numbers)


def _write_lists(folder: Path, seed: int, plan: list[FloodSequence], images: pd.DataFrame) -> None:
    """Write both lists; every twelfth image of Sentinel-1 lies in its folder but in no list."""
    lists: dict[str, dict[str, Any]] = {"S1": {}, "S2": {}}
    for sequence in plan:
        rng = stream(seed, 5, sequence.number)
        for sensor, blocks in lists.items():
            own = images[(images["sequence"] == sequence.name) & (images["sensor"] == sensor)]
            entries = [_entry(row) for row in own.itertuples()]
            if sensor == "S1":
                entries = [e for k, e in enumerate(entries) if k == 0 or (k + sequence.number) % 12]
                if rng.random() < 0.15:
                    rng.shuffle(entries)  # numbers out of order
            numbered = reversed(list(enumerate(entries, start=1)))
            block: dict[str, Any] = {str(k): entry for k, entry in numbered}
            block["count"] = sum("filename" in entry for entry in entries)
            block["folder"] = sequence.name
            block["geo"] = {"type": "Polygon", "coordinates": [sequence.ring]}
            if sensor == "S1":
                names = [entry["filename"] for entry in entries]
                block["urls"] = [_URL.format(f"S{name[2]}", name) for name in names]
            blocks[sequence.name] = block
    for sensor, blocks in lists.items():
        (folder / f"{sensor}list.json").write_text(json.dumps(blocks))


def _entry(row: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {"date": f"{row.date:%Y-%m-%d}", "FLOODING": bool(row.flooded)}
    entry |= {"orbit": row.orbit} if row.sensor == "S1" else {"FULL-DATA-COVERAGE": bool(row.covers)}
    return entry | ({"filename": row.filename} if row.filename else {})


def _write_truth(folder: Path, plan: list[FloodSequence], images: pd.DataFrame) -> None:
    (folder / "truth").mkdir()
    images.to_csv(folder / "truth/images.csv", index=False, float_format="%.4f")
    sequences = [
        {"sequence": one.name, "region": REGIONS[one.region][0], "floods": one.onset != DRY,
         "onset_day": one.onset, "images": len(one.passes)}
        for one in plan
    ]  # fmt: skip
    pd.DataFrame(sequences).to_csv(folder / "truth/sequences.csv", index=False)


def _facts(images: pd.DataFrame) -> dict[str, Any]:
    """Return what twin.json says besides the parameters."""
    return {
        "images": images["sensor"].value_counts().to_dict(),
        "flooded_share": images.groupby("sensor")["flooded"].mean().round(4).to_dict(),
        "faults": images.loc[images["fault"] != "", "fault"].value_counts().to_dict(),
        "regions": [name for name, *_ in REGIONS],
    }
