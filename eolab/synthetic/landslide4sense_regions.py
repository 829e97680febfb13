"""Regions of the Landslide4Sense twin: relief, climate and season, and how much slides in which patch.

A region is a run of consecutive patch numbers of one split. Its attributes are stratified: of five
consecutive regions each takes another fifth of every attribute's range, so that no two are alike and any five
span the range. Everything depends on seed, split and region alone, never on how many patches are written.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from eolab.synthetic import writing

Array = np.ndarray

SPLITS = ("train", "validation", "test")
RUN = {"train": 20, "validation": 10, "test": 10}
"""Patches in a region, by split."""
POSITIVE = 0.59
"""Share of patches with a landslide, in each split over whole groups of five regions."""

_GROUP = 5
_WOBBLE = (0, 2, -2, 1, -1)  # patches with landslides more or fewer than the mean, in a run of 20
_GOLDEN = (5**0.5 - 1) / 2
# Area of the landslides of a patch in pixels, by quantile among the patches that have any.
_QUANTILES = (0.020, 0.060, 0.25, 0.50, 0.75, 0.93, 0.985, 0.986, 1.0)
_AREAS_PX = (1.49, 6.0, 65.0, 240.0, 680.0, 1750.0, 3000.0, 6700.0, 7800.0)


@dataclass(frozen=True)
class Climate:
    """What the patches of a region share; each attribute from 0 to 1 within its range of the twin.

    Attributes:
        relief: Height and steepness of the mountains.
        altitude: Elevation of the valleys.
        woods: Share of the wild land that is forest, and density of all vegetation.
        conifers: Share of the trees that are conifers.
        season: Greenness of grass, crops and broadleaves.
        soil: Brightness of bare soil.
        red: Colour of bare soil, from grey to red.
        sun: Height of the sun.
        direction: Azimuth of the sun.
        haze: Path radiance.
        farms: Share of the flat land that is fields.
        clearings: Share of wooded slopes that is cut.
        rock: Share of steep high ground that is rock.
        length: Form of the slides, from shallow and short to long flows.
        fresh: Bareness of the scars, from partly overgrown to fresh.
    """

    relief: float
    altitude: float
    woods: float
    conifers: float
    season: float
    soil: float
    red: float
    sun: float
    direction: float
    haze: float
    farms: float
    clearings: float
    rock: float
    length: float
    fresh: float


@dataclass(frozen=True)
class Plan:
    """What a region is to hold.

    Attributes:
        split: ``train``, ``validation`` or ``test``.
        index: Number of the region in its split, from 0.
        climate: Its attributes.
        targets_px: Area of landslides in each of its patches, 0 for none, int (patch,).
    """

    split: str
    index: int
    climate: Climate
    targets_px: Array


def make_plan(seed: int, split: str, index: int) -> Plan:
    """Return climate and landslide areas of a region.

    Args:
        seed: Seed of the twin.
        split: ``train``, ``validation`` or ``test``.
        index: Number of the region in its split, from 0.
    """
    return Plan(split, index, _climate(seed, split, index), _targets(seed, split, index))


def stream(seed: int, split: str, *numbers: int) -> np.random.Generator:
    """Return the random numbers of one part of the twin."""
    return writing.stream(seed, SPLITS.index(split), *numbers)


def _climate(seed: int, split: str, index: int) -> Climate:
    """Take another fifth of each attribute's range in each region of a group."""
    rng = stream(seed, split, 0, index // _GROUP)
    names = [field.name for field in fields(Climate)]
    strata = np.array([rng.permutation(_GROUP) for _ in names])
    value = (strata + rng.random(strata.shape)) / _GROUP
    return Climate(**dict(zip(names, value[:, index % _GROUP].tolist(), strict=True)))


def _targets(seed: int, split: str, index: int) -> Array:
    """Spread the patches with landslides evenly over the run and draw their areas by quantile."""
    counts = [_positives(seed, split, k) for k in range(index + 1)]
    count, size = counts[-1], RUN[split]
    rng = stream(seed, split, 1, index)
    steps = (np.arange(size + 1) * count + int(rng.integers(size))) // size
    positive = np.diff(steps) > 0
    start = float(stream(seed, split, 2).random())
    quantile = (start + _GOLDEN * (sum(counts[:-1]) + np.arange(count))) % 1.0
    area = np.exp(np.interp(quantile, _QUANTILES, np.log(_AREAS_PX)))
    targets = np.zeros(size, np.int64)
    targets[positive] = np.rint(area)
    return targets


def _positives(seed: int, split: str, index: int) -> int:
    """Return how many patches of a region have landslides."""
    size = RUN[split]
    even = round(POSITIVE * size * (index + 1)) - round(POSITIVE * size * index)
    wobble = stream(seed, split, 3, index // _GROUP).permutation(_WOBBLE)[index % _GROUP]
    return even + int(wobble) * size // 20 if wobble > 0 else even - (-int(wobble) * size // 20)
