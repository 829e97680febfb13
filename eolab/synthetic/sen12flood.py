"""Twin of SEN12-FLOOD: two lists and a folder a sequence with its images, faults and all, with their truth.

The layout is that of IEEE DataPort. The traps of the published data are in it: SAR in EPSG:4326 with another
shape beside optical images in UTM, bands of 60 m in files of their own size, index numbers out of order, two
slices of one pass, images without VH, entries without a file, files that are missing, cut short, all zero or
in no list, and series that end before the flood. Water follows the terrain and stays once it has come; clouds
hide the ground most of all while it floods, and just as much where the same storm brings no flood; wind
roughens the water, and wet fields look like it.

A region is one weather event: a storm comes over all of its sequences within a few days. They stand in groups
of a training sequence and, in some, test sequences that adjoin it; a group is seen on the same days and
floods or not as one. So it is in the published data: the nearest training sequence has the label of nearly
every test image, and no image is needed. Over a group Sentinel-1 passes every twelve days on one or two
orbits; Sentinel-2 every five days, under clouds most of all while the storm lasts, and nine of its images at
most have files. In some groups the Sentinel-1 series ends before the flood.
"""

import json
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from rasterio.warp import transform_bounds
from scipy.ndimage import uniform_filter, zoom

from eolab.data.bands import L2A_BANDS, SENTINEL2
from eolab.data.layouts.sen12flood_index import LISTS, SUFFIX
from eolab.synthetic import writing
from eolab.synthetic.materials import Array, read_table
from eolab.synthetic.sen12flood_image import DRY, Ground, backscatter, make_ground, reflectance, swath_edge

VERSION = 3
"""Version of the generator; another version gives other pixels from the same seed."""

_URL = "https://datapool.asf.alaska.edu/GRD_HD/{}/{}.zip"  # mission, product: of the published list
_LEAST_SIZE, _MOST_SIZE, _MOST_SEQUENCES = 48, 512, 2000

FIRST_DAY = date(2018, 12, 13)
_LAST_DAY = 158  # 20 May 2019
REGIONS = tuple(read_table("sen12flood_regions.csv").itertuples(name=None))
"""Name, longitude and latitude of the first sequence in degrees, day of the event after :data:`FIRST_DAY`."""

SIDE_DEG = (0.0489, 0.0466)
"""Width and height of a sequence as in the published lists."""

MOST_OPTICAL = 9  # published images of Sentinel-2 a sequence; later ones are listed without a file
_FLOODED = 0.62  # share of the groups that flood
_GROUPS_DEG = 0.35  # from group to group
_EARLY_END = 0.25  # share of these whose Sentinel-1 series ends before
_CLOUDY_DAYS = (-4, 16)  # around the day of the storm, whether the sequence floods or not
# share of the sequence: chance, at other times
_CLOUDS = {0.0: 0.35, 0.05: 0.2, 0.2: 0.2, 0.5: 0.1, 0.9: 0.15}
_FAULTS = {"": 0.93, "zero": 0.04, "truncated": 0.015, "missing": 0.015}


def write(
    folder: str | Path,
    *,
    seed: int = 0,
    train: int = 36,
    test: int = 18,
    size: int = 64,
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
        progress: Whether to show progress.

    Returns:
        The folder.

    Raises:
        ParameterError: If a number is out of range.
        DataError: If the folder exists already.
    """
    writing.check_seed(seed)
    writing.check_range("train", train, 1, _MOST_SEQUENCES, " sequences")
    writing.check_range("test", test, 0, 100, " sequences")
    writing.check_range("size", size, _LEAST_SIZE, _MOST_SIZE, " pixels")
    with writing.whole(folder) as building:
        plan = make_plan(seed, train, test)
        make = partial(_write_sequence, building, seed, size)
        rows = writing.in_threads(make, plan, "SEN12-FLOOD twin", "sequence", progress)
        images = pd.DataFrame([row for part in rows for row in part])
        for sensor, blocks in _lists(seed, plan, images).items():
            (building / LISTS[sensor]).write_text(json.dumps(blocks))
        _write_truth(building, plan, images)
        parameters = {"seed": seed, "train": train, "test": test, "size": size, "tree": "lists"}
        writing.mark(building, "sen12flood", VERSION, **parameters, **_facts(images))
    return Path(folder)


@dataclass(frozen=True)
class Pass:
    """One image of a sequence.

    Attributes:
        sensor: "S1" or "S2".
        day: Days after :data:`FIRST_DAY`.
        orbit: "ASCENDING" or "DESCENDING" for S1, else empty.
        part: "whole", or of two slices of a pass "first" or "second".
        single: Whether it has VV alone.
        clouds: Share of the sequence under clouds, S2.
        has_file: Whether the list names a file.
        covers: Whether it covers the whole sequence.
        fault: "", "zero" (all 0), "truncated", "missing" (listed, not there).
    """

    sensor: str
    day: int
    orbit: str = ""
    part: str = "whole"
    single: bool = False
    clouds: float = 0.0
    has_file: bool = True
    covers: bool = True
    fault: str = ""

    @property
    def date(self) -> date:
        """Day of acquisition."""
        return FIRST_DAY + timedelta(days=self.day)


class FloodSequence(NamedTuple):
    """A place with its passes.

    Attributes:
        name: Name of its folder: four digits for training, one or two for the test.
        region: Number of its region in :data:`REGIONS`.
        west: Western edge in degrees.
        south: Southern edge in degrees.
        onset: Day of the flood after :data:`FIRST_DAY`, or :data:`DRY`.
        passes: Its images in the order of the dates.
    """

    name: str
    region: int
    west: float
    south: float
    onset: int
    passes: tuple[Pass, ...]

    @property
    def number(self) -> int:
        """Number that seeds its pixels; training and test sequences of one number differ."""
        return int(self.name) + (10_000 if len(self.name) < 4 else 0)

    def flooded(self, one: Pass) -> bool:
        """Return whether the flood has begun by an image's day."""
        return self.onset != DRY and one.day >= self.onset

    @property
    def bounds(self) -> tuple[float, ...]:
        """Western, southern, eastern and northern edge in degrees."""
        width, height = SIDE_DEG
        edges = (self.west, self.south, self.west + width, self.south + height)
        return tuple(round(edge, 6) for edge in edges)


def make_plan(seed: int, train: int, test: int) -> list[FloodSequence]:
    """Return the sequences of a twin, regions in turn, so that both splits have all of them.

    Args:
        seed: Seed of the twin.
        train: Sequences to train on.
        test: Sequences to test on; each stands in the group of a training sequence.
    """
    count = len(REGIONS)
    places = [(f"{4 * k + 1:04d}", k % count, k // count, 0) for k in range(train)]
    for k in range(test):
        region = k % min(count, train)
        first = len(range(region, train, count))  # training sequences of the region
        rank = k // min(count, train)
        places.append((str(k), region, rank % first, 1 + rank // first))
    return [_sequence(seed, *place) for place in places]


def _sequence(seed: int, name: str, region: int, group: int, row: int) -> FloodSequence:
    """Return a sequence of a group; in `row` 0 stands the one of training, north of it those of the test."""
    _, longitude, latitude, event = REGIONS[region]
    rng = writing.stream(
        seed, 1, region, group
    )  # all of a group are seen on the same days, and flood together
    own = writing.stream(seed, 6, int(name), len(name))
    floods = (group * 0.618 + region / len(REGIONS)) % 1 < _FLOODED
    storm = event + int(rng.integers(-6, 7))
    onset = storm if floods else DRY
    passes = [*_radar_passes(rng, onset, storm), *_optical_passes(rng, own, storm)]
    order = sorted(passes, key=lambda one: (one.sensor, one.day, one.orbit, one.part))
    west = longitude + _GROUPS_DEG * (group % 8)
    south = latitude + _GROUPS_DEG * (group // 8) + SIDE_DEG[1] * row
    return FloodSequence(
        name, region, round(west, 6), round(south, 6), onset, tuple(_with_faults(order, own))
    )


def _radar_passes(rng: np.random.Generator, onset: int, storm: int) -> list[Pass]:
    """Passes of Sentinel-1 from some weeks before the storm until some weeks after it."""
    first, last = storm - int(rng.integers(35, 60)), storm + int(rng.integers(45, 70))
    if onset != DRY and rng.random() < _EARLY_END:
        last = onset - 1
    passes: list[Pass] = []
    sliced = rng.random() < 0.17
    for orbit in ("ASCENDING", "DESCENDING")[: 1 + (rng.random() < 0.5)]:
        start = max(first, 0) + int(rng.integers(12))
        for day in range(start, min(last, _LAST_DAY) + 1, 12):
            if rng.random() < 0.08 and len(passes) > 1:
                continue  # not every pass was acquired
            parts = ("first", "second") if sliced and orbit == "ASCENDING" else ("whole",)
            single = rng.random() < 0.01
            passes += [Pass("S1", day, orbit, part, single) for part in parts]
    return passes


def _optical_passes(rng: np.random.Generator, own: np.random.Generator, storm: int) -> list[Pass]:
    """Passes of Sentinel-2; clouds hide the ground while a storm lasts, and now and then at other times.

    Args:
        rng: Random numbers of the group, for the days.
        own: Those of the sequence, for its clouds and what the image covers.
        storm: Day of the storm.
    """
    start = max(storm - int(rng.integers(22, 36)), 0)
    days = [start + 5 * k for k in range(int(rng.integers(7, 15))) if rng.random() > 0.08]
    passes = []
    for place, day in enumerate(d for d in days if d <= _LAST_DAY):
        stormy = _CLOUDY_DAYS[0] <= day - storm <= _CLOUDY_DAYS[1]
        other = own.choice(list(_CLOUDS), p=list(_CLOUDS.values()))
        clouds = own.uniform(0.75, 1.0) if stormy else other
        named, covers = place < MOST_OPTICAL, own.random() > 0.12
        passes.append(Pass("S2", day, clouds=float(clouds), has_file=named, covers=covers))
    return passes


def _with_faults(passes: list[Pass], rng: np.random.Generator) -> list[Pass]:
    """Spoil a few files, as in the published data set; an image of each sensor always stays."""
    found = []
    for k, one in enumerate(passes):
        safe = not one.has_file or k in (0, len(passes) - 1)
        fault = "" if safe else str(rng.choice(list(_FAULTS), p=list(_FAULTS.values())))
        found.append(replace(one, fault=fault))
    return found


def _write_sequence(folder: Path, seed: int, size: int, sequence: FloodSequence) -> list[dict[str, Any]]:
    """Write the images of a sequence; return a row an image."""
    (folder / sequence.name).mkdir()
    ground = make_ground(size, writing.stream(seed, 2, sequence.number))
    rows = []
    for place, one in enumerate(sequence.passes):
        rng = writing.stream(seed, 3, sequence.number, place)
        water = ground.water(one.day, sequence.onset)
        write_one = _write_radar if one.sensor == "S1" else _write_optical
        name, clouds = write_one(folder / sequence.name, sequence, one, ground, water, rng)
        facts = {"sequence": sequence.name, "sensor": one.sensor, "date": one.date, "orbit": one.orbit}
        facts |= {"filename": name, "flooded": sequence.flooded(one), "water": float(water.mean())}
        rows.append(facts | {"clouds": clouds, "part": one.part, "covers": one.covers, "fault": one.fault})
    return rows


def _write_radar(
    folder: Path, sequence: FloodSequence, one: Pass, ground: Ground, water: Array, rng: np.random.Generator
) -> tuple[str, float]:
    """Write VV and VH of an image in EPSG:4326, whose shape is not that of the optical images."""
    soaked = rng.uniform(0.0, 0.5) + 0.5 * sequence.flooded(one)
    sigma = backscatter(ground, water, one.day, soaked, one.orbit == "DESCENDING", rng)
    own = writing.stream(sequence.number, 4)
    height, width = (int(side * own.uniform(0.92, 1.12)) for side in water.shape)
    sigma = zoom(sigma, (1, height / water.shape[0], width / water.shape[1]), order=0)  # nearest neighbour
    down = np.arange(height, dtype=np.float32)[:, None] / height
    cut = own.uniform(0.35, 0.65)  # the two slices of a pass overlap by some rows
    seen = {"whole": down >= 0, "first": down < cut + 0.03, "second": down > cut - 0.03}[one.part]
    if one.part == "whole" and rng.random() < 0.06:
        seen = swath_edge((height, width), rng)
    name = _radar_name(one, sequence)
    files = {}
    for channel, values in zip(("VV",) if one.single else ("VV", "VH"), sigma, strict=False):
        files[folder / f"{name}{SUFFIX['S1'].format(channel)}"] = values * seen
    _write_tiffs(files, 4326, sequence.bounds, one.fault)
    return name, 0.0


def _write_optical(
    folder: Path, sequence: FloodSequence, one: Pass, ground: Ground, water: Array, rng: np.random.Generator
) -> tuple[str, float]:
    """Write the twelve bands of an image in UTM."""
    south = sequence.south < 0
    # one season for the image: materials.greenness, pixel by pixel, would change every file of this twin
    season = np.cos(2 * np.pi * (one.date.timetuple().tm_yday - (20 if south else 200)) / 365)
    bands, clouds = reflectance(ground, water, 0.5 + 0.3 * float(season), one.clouds, rng)
    if not one.has_file:
        return "", clouds
    seen = np.ones(water.shape, bool) if one.covers else swath_edge(water.shape, rng)
    epsg = (32700 if south else 32600) + int((sequence.west + 180) // 6) + 1
    bounds = transform_bounds("EPSG:4326", f"EPSG:{epsg}", *sequence.bounds)
    name = f"S2_{one.date:%Y-%m-%d}"
    files = {}
    for band, values in zip(L2A_BANDS, bands, strict=True):
        digital = np.clip(np.rint(1e4 * values * seen), 0, 65535).astype(np.uint16)
        if SENTINEL2[band].resolution_m == 60 and sequence.number % 3 == 0:  # in every third as such
            digital = uniform_filter(digital, 6, mode="nearest")[3::6, 3::6]
        files[folder / f"{name}{SUFFIX['S2'].format(band)}"] = digital
    _write_tiffs(files, epsg, bounds, one.fault)
    return name, clouds


def _write_tiffs(files: dict[Path, Array], epsg: int, bounds: tuple[float, ...], fault: str) -> None:
    """Write the uncompressed GeoTIFFs of one image, or what its fault leaves of them."""
    if fault != "missing":
        for path, values in files.items():
            path.write_bytes(writing.geotiff(values * (fault != "zero"), bounds, epsg))
            if fault == "truncated":
                writing.truncate(path)


def _radar_name(one: Pass, sequence: FloodSequence) -> str:
    """Return a name as Sentinel-1 products have it."""
    mission = "S1A" if (one.day // 12 + sequence.number) % 2 else "S1B"
    hour, second = 3 if one.orbit == "ASCENDING" else 15, 40 if one.part == "second" else 15
    begin = datetime.combine(one.date, time(hour, 8, second))
    numbers = f"{26_000 + one.day:06d}_{sequence.number:06X}_{(7 * sequence.number + one.day) % 65536:04X}"
    return writing.sentinel1_name(mission, "1SSV" if one.single else "1SDV", begin, numbers)


def _lists(seed: int, plan: list[FloodSequence], images: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return both lists, by sensor and sequence."""
    lists: dict[str, dict[str, Any]] = {"S1": {}, "S2": {}}
    for sensor, blocks in lists.items():
        for one in plan:
            own = images[(images["sequence"] == one.name) & (images["sensor"] == sensor)]
            blocks[one.name] = _block(one, sensor, [_entry(row) for row in own.itertuples()], seed)
    return lists


def _entry(row: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {"date": f"{row.date:%Y-%m-%d}", "FLOODING": bool(row.flooded)}
    entry |= {"orbit": row.orbit} if row.sensor == "S1" else {"FULL-DATA-COVERAGE": bool(row.covers)}
    return entry | ({"filename": row.filename} if row.filename else {})


def _block(sequence: FloodSequence, sensor: str, entries: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    """Return what a list says of a sequence; every twelfth image of Sentinel-1 is in no list."""
    if sensor == "S1":
        rng = writing.stream(seed, 5, sequence.number)
        entries = [e for k, e in enumerate(entries) if k == 0 or (k + sequence.number) % 12]
        if rng.random() < 0.15:
            rng.shuffle(entries)  # numbers out of order
    block: dict[str, Any] = {str(k + 1): entries[k] for k in reversed(range(len(entries)))}
    block["count"] = sum("filename" in entry for entry in entries)
    block["folder"] = sequence.name
    west, south, east, north = sequence.bounds
    ring = [[west, north], [west, south], [east, south], [east, north], [west, north]]
    block["geo"] = {"type": "Polygon", "coordinates": [ring]}
    if sensor == "S1":
        names = [entry["filename"] for entry in entries]
        block["urls"] = [_URL.format(f"S{name[2]}", name) for name in names]
    return block


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
