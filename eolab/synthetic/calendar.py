"""When the satellites pass: dates, product names and processing baselines of a twin's series."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from eolab.synthetic.clouds import cover_shares

TILE = "31TGL"
CRS = "EPSG:32631"
ORIGIN = (699960.0, 5100000.0)
"""Upper left corner of tile 31TGL in metres; the twin is its north-western corner."""
LONGITUDE, LATITUDE = 5.6, 46.0
RELATIVE_ORBIT = 108

OLD_BASELINE, NEW_BASELINE = "02.14", "05.00"
_OLD_SHARE = 0.55  # the first part of the year was processed with the old baseline
_FIRST_DAY, _EVERY_DAYS, _SLOTS = 3, 5, 72
# Mean cloud share by month in the real series (eo-learn's TestEOPatch), January first.
_CLOUDY = (0.00, 0.13, 0.69, 0.42, 0.24, 0.55, 0.32, 0.28, 0.55, 0.25, 0.67, 0.52)
_SLICE = timedelta(seconds=25)
# Absolute orbit on 3 January 2020, and orbits a day.
_ORBIT = {"S2A": 23670, "S2B": 14761}
_ORBITS_A_DAY = 14.3


@dataclass(frozen=True)
class Pass:
    """One product of the series.

    Attributes:
        number: Seeds the pixels; a reprocessing has the number of its original.
        mission: ``S2A`` or ``S2B``.
        time: Start of the datatake, UTC.
        generation: When the product was made, UTC.
        baseline: Processing baseline, for example ``05.00``.
        clouds: Share of the scene under clouds.
        trap: ``duplicate`` (superseded, pixels too bright), ``truncated`` (one file cut short) or empty.
        edge: Whether the edge of the swath cuts the scene.
    """

    number: int
    mission: str
    time: datetime
    generation: datetime
    baseline: str
    clouds: float
    trap: str = ""
    edge: bool = False

    @property
    def offset(self) -> int:
        """DN that the product's metadata say to add; 0 before baseline 04.00."""
        return -1000 if self.baseline >= "04.00" else 0

    @property
    def day(self) -> int:
        """Day of the year."""
        return self.time.timetuple().tm_yday

    @property
    def orbit(self) -> int:
        """Absolute orbit number."""
        days = (self.time - datetime(2020, 1, _FIRST_DAY)).days
        return _ORBIT[self.mission] + round(days * _ORBITS_A_DAY)

    @property
    def crossing(self) -> datetime:
        """When the satellite passed the tile, a few minutes after the datatake's start."""
        return self.time + timedelta(minutes=4, seconds=3)

    @property
    def stem(self) -> str:
        """What the names of all images begin with."""
        return f"T{TILE}_{stamp(self.time)}"

    @property
    def granule(self) -> str:
        """Name of the granule's folder."""
        return f"L2A_T{TILE}_A{self.orbit:06d}_{stamp(self.crossing)}"

    @property
    def product(self) -> str:
        """Name of the product with ``.SAFE``."""
        baseline = self.baseline.replace(".", "")
        head = f"{self.mission}_MSIL2A_{stamp(self.time)}_N{baseline}_R{RELATIVE_ORBIT:03d}_T{TILE}"
        return f"{head}_{stamp(self.generation)}.SAFE"


def stamp(time: datetime) -> str:
    """Return a time as product names write it."""
    return time.strftime("%Y%m%dT%H%M%S")


def sentinel1_name(mission: str, mode: str, begin: datetime, numbers: str) -> str:
    """Return the name of a ground-range detected Sentinel-1 product, which is a slice of 25 s."""
    return f"{mission}_IW_GRDH_{mode}_{stamp(begin)}_{stamp(begin + _SLICE)}_{numbers}"


def plan(dates: int, year: int, rng: np.random.Generator, traps: bool) -> list[Pass]:
    """Plan the products of a year.

    Args:
        dates: Number of good dates.
        year: The year.
        rng: Random number generator.
        traps: Whether to add an older, wrong version of one product and a broken product at a further date.

    Returns:
        Good products by time, then the traps.
    """
    slots = _slots(dates + 1, rng)
    spare = 2 * (dates + 1) // 3
    chosen = [slot for k, slot in enumerate(slots) if k != spare]
    clouds = _cloud_shares(chosen, year, rng)
    times = {slot: _time(slot, year, rng) for slot in slots}
    clear = [k for k in np.argsort(clouds, kind="stable") if clouds[k] < 0.3]
    edge = min(clear, key=lambda k: abs(k - dates // 3)) if dates >= 4 and clear else -1
    old = min(round(_OLD_SHARE * dates), dates - 1)  # a later product is the one that comes twice
    passes = []
    for k, slot in enumerate(chosen):
        baseline = OLD_BASELINE if k < old else NEW_BASELINE
        passes.append(_pass(k, slot, times[slot], baseline, float(clouds[k]), edge=k == edge))
    if traps:
        twice = min(range(old, dates), key=lambda k: clouds[k])
        origin = chosen[twice]
        passes.append(_pass(twice, origin, times[origin], OLD_BASELINE, float(clouds[twice]), "duplicate"))
        broken = OLD_BASELINE if spare < old else NEW_BASELINE
        passes.append(_pass(dates, slots[spare], times[slots[spare]], broken, 0.1, "truncated"))
    return passes


def _slots(count: int, rng: np.random.Generator) -> list[int]:
    """Choose passes all over the year, at irregular multiples of five days."""
    edges = np.linspace(0, _SLOTS, count + 1)
    slots = np.floor(edges[:-1] + rng.uniform(0, np.diff(edges))).astype(int)
    for k in range(1, count):
        slots[k] = max(slots[k], slots[k - 1] + 1)
    return [int(slot) for slot in slots]


def _time(slot: int, year: int, rng: np.random.Generator) -> datetime:
    days = timedelta(days=_EVERY_DAYS * slot)
    return datetime(year, 1, _FIRST_DAY, 10, 30, int(rng.choice([21, 29, 31]))) + days


def _cloud_shares(slots: list[int], year: int, rng: np.random.Generator) -> np.ndarray:
    """Deal the real distribution of cloud shares to the dates, the cloudiest to cloudy months."""
    day = timedelta(days=_EVERY_DAYS)
    months = [(datetime(year, 1, _FIRST_DAY) + day * slot).month for slot in slots]
    score = np.array([_CLOUDY[month - 1] for month in months]) + 0.7 * rng.random(len(slots))
    shares = np.empty(len(slots))
    shares[np.argsort(score)] = cover_shares(len(slots))
    return shares


def _pass(
    number: int, slot: int, time: datetime, baseline: str, clouds: float, trap: str = "", edge: bool = False
) -> Pass:
    generation = time + timedelta(hours=3, minutes=7, seconds=11 + number)
    if baseline == NEW_BASELINE:  # the archive was processed again years later
        generation += timedelta(days=1003)
    return Pass(number, "S2B" if slot % 2 else "S2A", time, generation, baseline, clouds, trap, edge)
