"""What the SEN12-FLOOD twin holds: regions, sequences, the days of the floods and of the satellites' passes.

A region is one weather event: a storm comes over all of its sequences within a few days, and they flood with
it or not at all. Over a sequence Sentinel-1 passes every twelve days on one or two orbits; Sentinel-2 every
five days, under clouds most of all while the storm lasts, and nine of its images at most have files. In some
sequences the Sentinel-1 series ends before the flood.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np

from eolab.synthetic.writing import stream

FIRST_DAY = date(2018, 12, 13)
_LAST_DAY = 158  # 20 May 2019
REGIONS: tuple[tuple[str, float, float, int], ...] = (
    ("coast", 34.80, -19.80, 70),
    ("delta", 90.40, 23.70, 118),
    ("plain", 48.40, 31.30, 108),
    ("basin", -57.60, -27.40, 38),
    ("valley", 146.70, -19.30, 52),
    ("lowland", -95.90, 41.20, 94),
)
"""Name, longitude and latitude of the first sequence in degrees, day of the event after :data:`FIRST_DAY`."""

SIDE_DEG = (0.0489, 0.0466)
"""Width and height of a sequence as in the published lists."""

DRY = -1  # day of the onset of a sequence that never floods
MOST_OPTICAL = 9  # published images of Sentinel-2 a sequence; later ones are listed without a file
_FLOODED = 0.62  # share of the sequences that flood
_EARLY_END = 0.25  # share of these whose Sentinel-1 series ends before
_CLOUDY_DAYS = (-4, 16)  # around the day of the storm, whether the sequence floods or not
# share of the sequence: chance, at other times
_CLOUDS = {0.0: 0.35, 0.05: 0.2, 0.2: 0.2, 0.5: 0.1, 0.9: 0.15}
_FAULTS = {"": 0.93, "zero": 0.04, "truncated": 0.015, "missing": 0.015}


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


@dataclass(frozen=True)
class FloodSequence:
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

    @property
    def ring(self) -> list[list[float]]:
        """Corners in degrees of longitude and latitude, closed."""
        west, south, east, north = self.bounds
        return [[west, north], [west, south], [east, south], [east, north], [west, north]]


def make_plan(seed: int, train: int, test: int) -> list[FloodSequence]:
    """Return the sequences of a twin, regions in turn, so that both splits have all of them.

    Args:
        seed: Seed of the twin.
        train: Sequences to train on.
        test: Sequences to test on.
    """
    names = [f"{4 * k + 1:04d}" for k in range(train)] + [str(k) for k in range(test)]
    return [_sequence(seed, name, place) for place, name in enumerate(names)]


def _sequence(seed: int, name: str, place: int) -> FloodSequence:
    region, rank = place % len(REGIONS), place // len(REGIONS)
    _, longitude, latitude, event = REGIONS[region]
    rng = stream(seed, 1, place)
    floods = (rank * 0.618 + region / len(REGIONS)) % 1 < _FLOODED
    storm = event + int(rng.integers(-6, 7))
    onset = storm if floods else DRY
    passes = [*_radar(rng, onset, storm), *_optical(rng, storm)]
    order = sorted(passes, key=lambda one: (one.sensor, one.day, one.orbit, one.part))
    west = longitude + 0.06 * (rank % 8) + float(rng.uniform(-0.004, 0.004))
    south = latitude + 0.06 * (rank // 8) + float(rng.uniform(-0.004, 0.004))
    return FloodSequence(
        name, region, round(west, 6), round(south, 6), onset, tuple(_with_faults(order, rng))
    )


def _radar(rng: np.random.Generator, onset: int, storm: int) -> list[Pass]:
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


def _optical(rng: np.random.Generator, storm: int) -> list[Pass]:
    """Passes of Sentinel-2; clouds hide the ground while a storm lasts, and now and then at other times."""
    start = max(storm - int(rng.integers(22, 36)), 0)
    days = [start + 5 * k for k in range(int(rng.integers(7, 15))) if rng.random() > 0.08]
    passes = []
    for place, day in enumerate(d for d in days if d <= _LAST_DAY):
        stormy = _CLOUDY_DAYS[0] <= day - storm <= _CLOUDY_DAYS[1]
        other = rng.choice(list(_CLOUDS), p=list(_CLOUDS.values()))
        clouds = rng.uniform(0.75, 1.0) if stormy else other
        named, covers = place < MOST_OPTICAL, rng.random() > 0.12
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
