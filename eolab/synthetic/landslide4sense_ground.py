"""Land of the Landslide4Sense twin: regions with their climate, mountains, what covers them, and landslides.

A region is a run of consecutive patch numbers of one split. Its attributes are stratified: of five
consecutive regions each takes another fifth of every attribute's range, so that no two are alike and any five
span the range. Everything depends on seed, split and region alone, never on how many patches are written.

Valleys follow the zero line of a smooth random field: the ground rises from it on both sides over a flat
floor to rounded ridges, and gullies cut the flanks. Fields and settlements lie on the floors, forest and
pasture on the slopes, rock high up; clear-cuts, roads and eroded patches are the bare ground that is no
landslide.

A slide is a band around a path down the slope: a wide head where the ground broke away, a narrower track and
a run-out that widens again. Its outline is ragged, its edge soft, and it is bare in the middle and overgrown
in places. Slides are added until the patch's area is reached; the last one is trimmed to hit it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter

from eolab.data.layouts.landslide4sense import SPLITS
from eolab.synthetic import writing
from eolab.synthetic.patterns import Array, fractal, make_parcels, parcel_mean, smoothstep
from eolab.synthetic.sky import PIXEL_M, slopes

RUN = {"train": 20, "validation": 10, "test": 10}
"""Patches in a region, by split."""
_POSITIVE = 0.59  # share of patches with a landslide, in each split over whole groups of five regions
_GROUP = 5
_WOBBLE = (0, 2, -2, 1, -1)  # patches with landslides more or fewer than the mean, in a run of 20
_GOLDEN = (5**0.5 - 1) / 2
# Area of the landslides of a patch in pixels, by quantile among the patches that have any.
_QUANTILES = (0.020, 0.060, 0.25, 0.50, 0.75, 0.93, 0.985, 0.986, 1.0)
_AREAS_PX = (1.49, 6.0, 65.0, 240.0, 680.0, 1750.0, 3000.0, 6700.0, 7800.0)

WOOD, PASTURE, FIELD, CLEARING, ROCK, GRAVEL, WATER, ROAD, SETTLEMENT = range(9)
"""Codes of :attr:`Ground.cover`."""

_VALLEYS_PX = 340.0  # between two valleys, twice
_MEAN_SLOPE = (0.24, 0.46)  # metres per metre
_FLAT_DEG = 9.0

MARGIN_PX = 8
"""Ground around a patch that is simulated with it and not written."""
INNER = (slice(MARGIN_PX, -MARGIN_PX),) * 2
HEAD_DEG = 22.0
"""A slide starts on ground at least this steep."""
STOP_DEG = 13.0
"""No pixel of a landslide is flatter than this."""

_TRIES = 400
_MEDIAN_PX = (70.0, 190.0)  # area of one slide, shallow slides and long flows
_LENGTH_OVER_WIDTH = (3.5, 7.0)


class Climate(NamedTuple):
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


def stream(seed: int, split: str, *numbers: int) -> np.random.Generator:
    """Return the random numbers of one part of the twin."""
    return writing.stream(seed, SPLITS.index(split), *numbers)


def make_climate(seed: int, split: str, index: int) -> Climate:
    """Return the climate of a region: another fifth of each attribute's range in each region of a group.

    Args:
        seed: Seed of the twin.
        split: ``train``, ``validation`` or ``test``.
        index: Number of the region in its split, from 0.
    """
    rng = stream(seed, split, 0, index // _GROUP)
    strata = np.array([rng.permutation(_GROUP) for _ in Climate._fields])
    value = (strata + rng.random(strata.shape)) / _GROUP
    return Climate(*value[:, index % _GROUP].tolist())


def plan_areas(seed: int, split: str, index: int) -> Array:
    """Return the area of landslides in each patch of a region in pixels, 0 for none, int (patch,).

    The patches with landslides are spread evenly over the run, and their areas drawn by quantile.
    """
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
    even = round(_POSITIVE * size * (index + 1)) - round(_POSITIVE * size * index)
    wobble = stream(seed, split, 3, index // _GROUP).permutation(_WOBBLE)[index % _GROUP]
    return even + int(wobble * size / 20)


class Ground(NamedTuple):
    """The land of a region before it slides.

    Attributes:
        height_m: Elevation in metres, float32 (y, x).
        slope_deg: Steepness in degrees, float32 (y, x).
        south: Slope towards south in metres per metre, float32 (y, x).
        east: Slope towards east in metres per metre.
        cover: What the pixel is, uint8 (y, x).
        green: Share of the pixel under green plants, float32 (y, x).
    """

    height_m: Array
    slope_deg: Array
    south: Array
    east: Array
    cover: Array
    green: Array

    def part(self, top: int, left: int, size: int) -> Ground:
        """Return the ground of a square."""
        square = (slice(top, top + size), slice(left, left + size))
        return Ground(*(field[square] for field in self))


def make_ground(shape: tuple[int, int], climate: Climate, rng: np.random.Generator) -> Ground:
    """Make the terrain of a region and cover it.

    Args:
        shape: Height and width in pixels of 10 m.
        climate: The region's attributes.
        rng: Random number generator.
    """
    valley = _valleys(shape, rng)
    river = _distance_to_zero(valley)
    height = _height(valley, climate, rng)
    south, east = slopes(height, smooth_px=1.0)
    slope = np.degrees(np.arctan(np.hypot(south, east))).astype(np.float32)
    parcels = make_parcels(shape, rng)
    cover, green = _wild_land(height, slope, climate, rng)
    _parcels(cover, green, parcels, slope, climate, rng)
    _settlements(cover, green, slope, river, rng)
    _roads(cover, green, height, slope, river, rng)
    _river(cover, green, river, rng)
    return Ground(height.astype(np.float32), slope, south, east, cover, green.astype(np.float32))


def _valleys(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """Return a field whose zero lines are winding valleys, more or less parallel."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    angle, phase = rng.uniform(0, 2 * np.pi, 2)
    wave = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / _VALLEYS_PX + phase)
    return 1.2 * wave + 0.8 * fractal(shape, rng, 4.0, wavelength_px=0.8 * _VALLEYS_PX, smallest_px=20)


def _distance_to_zero(field: Array) -> Array:
    """Return roughly how many pixels away the field's zero line is; far from it more than that."""
    rise = np.hypot(*np.gradient(field))
    return np.abs(field) / np.maximum(rise, 0.5 * rise.mean())


def _height(valley: Array, climate: Climate, rng: np.random.Generator) -> Array:
    """Return the elevation in metres."""
    shape = valley.shape
    rise = np.sqrt(valley**2 + 0.01) - 0.1
    rise = np.where(rise < 0.2, 0.15 * rise, rise - 0.17)  # the flat floor
    flank = smoothstep(rise, 0.02, 0.6)
    gully = np.abs(fractal(shape, rng, 3.2, wavelength_px=60, smallest_px=6))
    detail = fractal(shape, rng, 2.6, wavelength_px=30, smallest_px=3)
    tilt = fractal(shape, rng, 4.0, wavelength_px=max(shape), smallest_px=60)
    shaped = gaussian_filter(rise, 2) + flank * (0.17 * gully + 0.012 * detail) + 0.15 * tilt
    mean_slope = _between(_MEAN_SLOPE, climate.relief)
    shaped *= PIXEL_M * mean_slope / np.hypot(*np.gradient(gaussian_filter(shaped, 1))).mean()
    return 100 + 1500 * climate.altitude**1.5 + shaped - shaped.min()


def _wild_land(
    height: Array, slope: Array, climate: Climate, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Cover the land with forest, pasture and rock; return cover and share of green."""
    shape = height.shape
    relative = (height - height.min()) / np.ptp(height)
    woods = fractal(shape, rng, 2.4, wavelength_px=90, smallest_px=2) + 0.04 * (slope - 20)
    cover = np.where(woods > np.quantile(woods, 0.70 - 0.5 * climate.woods), WOOD, PASTURE).astype(np.uint8)
    density = fractal(shape, rng, 1.8, wavelength_px=60)
    green = np.where(cover == WOOD, 0.88, 0.68 + 0.18 * climate.woods) + 0.07 * density
    worn = fractal(shape, rng, 2.2, wavelength_px=14, smallest_px=2)
    eroded = (cover == PASTURE) & (worn > 2.5 - 0.5 * climate.clearings)
    green = np.where(eroded, green * 0.25, green)
    crag = fractal(shape, rng, 2.0, wavelength_px=26, smallest_px=2) + 2.2 * relative + 0.05 * (slope - 25)
    rock = crag > np.quantile(crag, 0.995 - 0.05 * climate.rock)
    _lay(ROCK, rock, 0.15 + 0.08 * density[rock], cover, green)
    return cover, green


def _lay(kind: int, here: Array, share: Array | float, cover: Array, green: Array) -> None:
    """Cover some pixels with something, and set the share of green of each of them."""
    cover[here] = kind
    green[here] = share


def _parcels(
    cover: Array, green: Array, parcels: Array, slope: Array, climate: Climate, rng: np.random.Generator
) -> None:
    """Lay fields on flat land and clear-cuts into forest slopes, parcel by parcel."""
    count = int(parcels.max()) + 1
    steepness = parcel_mean(parcels, gaussian_filter(slope, 2))
    wooded = parcel_mean(parcels, cover == WOOD)
    draw, growth = rng.random((2, count))
    farmed = (steepness < _FLAT_DEG) & (draw < 0.35 + 0.6 * climate.farms)
    crop = np.where(growth < 0.35, 0.3 * growth, 0.45 + 0.5 * growth)
    cut = (steepness > 11) & (wooded > 0.5) & (draw < 0.02 + 0.08 * climate.clearings)
    field = farmed[parcels]
    _lay(FIELD, field, crop[parcels][field], cover, green)
    clearing = cut[parcels] & (cover == WOOD)
    _lay(CLEARING, clearing, (0.08 + 0.4 * growth**2)[parcels][clearing], cover, green)


def _settlements(cover: Array, green: Array, slope: Array, river: Array, rng: np.random.Generator) -> None:
    """Put villages on flat ground, with gardens between the roofs."""
    site = fractal(cover.shape, rng, 2.6, wavelength_px=70, smallest_px=6) - 0.06 * slope - 0.004 * river
    here = (site > np.quantile(site, 0.985)) & (slope < 14)
    gardens = np.clip(0.35 + 0.3 * rng.standard_normal(int(here.sum())), 0, 0.9)
    _lay(SETTLEMENT, here, gardens, cover, green)


def _roads(
    cover: Array, green: Array, height: Array, slope: Array, river: Array, rng: np.random.Generator
) -> None:
    """Draw roads of one or two pixels: along the river, along contours, and winding across the land."""
    shape = cover.shape
    wander = fractal(shape, rng, 3.0, wavelength_px=150, smallest_px=10)
    smooth = gaussian_filter(height, 8)
    bend = 12 * fractal(shape, rng, 3.4, wavelength_px=160, smallest_px=14)
    across = fractal(shape, rng, 3.6, wavelength_px=300, smallest_px=16)
    for field in (river - 9 - 2.5 * wander, across, smooth + bend - np.quantile(smooth, 0.5)):
        here = (_distance_to_zero(field) < rng.uniform(0.40, 0.60)) & (slope < 42)
        _lay(ROAD, here, 0.12, cover, green)


def _river(cover: Array, green: Array, river: Array, rng: np.random.Generator) -> None:
    """Let the river run between gravel banks."""
    width = 0.9 + 0.5 * np.clip(fractal(cover.shape, rng, 3.0, wavelength_px=120, smallest_px=8), -1, 2)
    banks = width + np.clip(1.6 * fractal(cover.shape, rng, 2.4, wavelength_px=60, smallest_px=5), 0, 5)
    _lay(GRAVEL, river < banks, 0.08, cover, green)
    _lay(WATER, river < width, 0.0, cover, green)


class Scars(NamedTuple):
    """The landslides of a patch and its margin.

    Attributes:
        mask: Which pixels slid, bool (y, x).
        bare: Share of the plants that are gone, float32 (y, x).
        debris: Share of rubble in the bare ground, higher in the run-out, float32 (y, x).
        light: Factor on the brightness: a shaded crown, fresh bright ground below it, float32 (y, x).
    """

    mask: Array
    bare: Array
    debris: Array
    light: Array


def no_scars(shape: tuple[int, int]) -> Scars:
    """Return the scars of a patch without landslides."""
    bare, debris = np.zeros((2, *shape), np.float32)
    return Scars(np.zeros(shape, bool), bare, debris, np.ones(shape, np.float32))


def can_slide(ground: Ground) -> Array:
    """Return which pixels a landslide may cover."""
    return (ground.slope_deg >= STOP_DEG) & ~np.isin(ground.cover, (WATER, FIELD, SETTLEMENT))


def make_scars(ground: Ground, target_px: int, climate: Climate, rng: np.random.Generator) -> Scars:
    """Let slides go until their area inside the margin is reached, or no more ground can slide.

    Args:
        ground: The patch with its margin.
        target_px: Pixels of landslide inside the margin.
        climate: Form and freshness of the slides.
        rng: Random number generator.
    """
    shape = ground.cover.shape
    painter = _Painter(ground, climate, rng)
    median = _between(_MEDIAN_PX, climate.length) * max(1.0, (target_px / 900) ** 0.7)
    down = [gaussian_filter(slope, 3.0) for slope in (ground.south, ground.east)]
    rough = fractal(shape, rng, 1.8, wavelength_px=16)
    for _ in range(_TRIES):
        missing = target_px - int((painter.scars.mask & painter.inner).sum())
        head = painter.head() if missing > 0 else None
        if head is None:
            break
        area = min(median * np.exp(0.7 * rng.standard_normal()), 1.3 * missing + 2)
        ratio = _between(_LENGTH_OVER_WIDTH, climate.length) * np.exp(0.2 * rng.standard_normal())
        path = _path(head, down, max(2, round(2 * np.sqrt(area * ratio))))
        painter.paint(*_slide(path, area, rough), missing)
    return painter.scars


class _Painter:
    """Slides on one patch, one after the other."""

    def __init__(self, ground: Ground, climate: Climate, rng: np.random.Generator) -> None:
        shape = ground.cover.shape
        self.rng, self.climate = rng, climate
        self.allowed = can_slide(ground)
        self.inner = np.zeros(shape, bool)
        self.inner[INNER] = True
        swarm = fractal(shape, rng, 3.0, wavelength_px=60, smallest_px=8)
        steep = self.allowed & self.inner & (ground.slope_deg >= HEAD_DEG)
        self.weight = np.where(steep, np.exp(0.9 * swarm), 0.0)
        self.scars = no_scars(shape)
        self.patchy = fractal(shape, rng, 1.4, wavelength_px=20)

    def head(self) -> tuple[float, float] | None:
        """Draw where the next slide starts; None where no ground is left."""
        weight = np.where(self.scars.mask, 0, self.weight).ravel()
        total = weight.sum()
        if total <= 0:
            return None
        k = np.searchsorted(np.cumsum(weight), self.rng.random() * total)
        row, column = np.unravel_index(min(int(k), weight.size - 1), self.inner.shape)
        return float(row), float(column)

    def paint(self, box: tuple[slice, slice], inside: Array, along: Array, missing: int) -> None:
        """Add a slide, trimmed to the pixels that are missing."""
        scars = self.scars
        new = (inside > 0) & self.allowed[box] & ~scars.mask[box]
        counted = new & self.inner[box]
        if counted.sum() > missing:
            depth = np.where(counted, inside, -np.inf)
            new &= depth >= np.partition(depth, -missing, axis=None)[-missing]
        if not new.any():
            return
        fresh = 1 - self.rng.uniform(0.0, 0.4) * (1 - self.climate.fresh)
        soft = np.maximum(smoothstep(inside, -0.8, 1.0), 0.7)
        grown = np.clip(0.14 * self.patchy[box] + 0.1 * (1 - fresh), 0, 0.7)
        scars.mask[box] |= new
        scars.bare[box] = np.where(new, fresh * soft * (1 - grown), scars.bare[box])
        scars.debris[box] = np.where(new, 0.15 + 0.6 * along, scars.debris[box])
        crown = np.exp(-((along / 0.06) ** 2))
        scars.light[box] = np.where(new, 1.5 - 0.55 * crown - 0.25 * along, scars.light[box])


def _between(limits: tuple[float, float], share: float) -> float:
    return limits[0] + share * (limits[1] - limits[0])


def _path(head: tuple[float, float], down: list[Array], steps: int) -> Array:
    """Follow the fall line from the head in steps of half a pixel; return rows and columns, (step, 2)."""
    south, east = down
    last_row, last_column = np.array(south.shape) - 1
    (row, column), south_step, east_step = head, 0.0, 0.0
    path = [head]
    for _ in range(steps):  # number by number: arrays of two cost several times as much
        at = round(row), round(column)
        steepness = np.hypot(south[at], east[at]) + 1e-6
        south_step = 0.6 * south_step + float(-0.4 * south[at] / steepness)
        east_step = 0.6 * east_step + float(-0.4 * east[at] / steepness)
        length = np.hypot(south_step, east_step) + 1e-6
        row, column = row + 0.5 * south_step / length, column + 0.5 * east_step / length
        if not (0 <= row <= last_row and 0 <= column <= last_column):
            break
        path.append((row, column))
    return np.array(path)


def _slide(path: Array, area: float, rough: Array) -> tuple[tuple[slice, slice], Array, Array]:
    """Return the band around a path: wide head, narrower track, widening run-out.

    Returns:
        A box of the patch, slices of y and x; the distance to the outline in pixels, positive inside, and the
        way from the head (0) to the toe (1), both (y, x) of the box.
    """
    length = 0.5 * len(path)
    along = np.linspace(0, 1, len(path))
    half = 0.5 * max(area / length, 1.0)
    form = np.interp(along, (0, 0.08, 0.25, 0.45, 0.75, 0.93, 1), (0.5, 1.15, 1.2, 0.8, 0.8, 1.25, 0.7))
    reach = int(np.ceil(1.6 * half + 2))
    low = np.maximum(np.floor(path.min(0)).astype(int) - reach, 0)
    high = np.minimum(np.ceil(path.max(0)).astype(int) + reach + 1, rough.shape)
    box = (slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1])))
    thin = 2 if len(path) > 12 else 1  # points a pixel apart are near enough
    path, along, form = path[::thin], along[::thin], form[::thin]
    y, x = np.ogrid[box]
    square = (y[..., None] - path[:, 0]) ** 2 + (x[..., None] - path[:, 1]) ** 2  # (y, x, step)
    distance = np.sqrt(square, dtype=np.float32)
    inside = half * form - distance
    nearest = inside.argmax(-1)
    inside = inside.max(-1) + 0.2 * half * rough[box]
    return box, inside, along[nearest]
