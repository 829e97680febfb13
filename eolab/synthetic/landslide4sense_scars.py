"""Landslides of a patch: scars that start on steep ground, follow the fall line and run out below.

A slide is a band around a path down the slope: a wide head where the ground broke away, a narrower track and
a run-out that widens again. Its outline is ragged, its edge soft, and it is bare in the middle and overgrown
in places. Slides are added until the patch's area is reached; the last one is trimmed to hit it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from eolab.synthetic.landslide4sense_ground import FIELD, SETTLEMENT, WATER, Ground
from eolab.synthetic.landslide4sense_regions import Climate
from eolab.synthetic.noise import fractal, smoothstep

Array = np.ndarray

HEAD_DEG = 22.0
"""A slide starts on ground at least this steep."""
STOP_DEG = 13.0
"""No pixel of a landslide is flatter than this."""

_TRIES = 400
_MEDIAN_PX = (70.0, 190.0)  # area of one slide, shallow slides and long flows
_LENGTH_OVER_WIDTH = (3.5, 7.0)


@dataclass(frozen=True)
class Scars:
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


@dataclass(frozen=True)
class _Slide:
    """One slide in a box of the patch.

    Attributes:
        box: Slices of y and x.
        inside: Distance to the outline in pixels, positive inside, (y, x) of the box.
        along: 0 at the head to 1 at the toe, (y, x) of the box.
    """

    box: tuple[slice, slice]
    inside: Array
    along: Array


def no_scars(shape: tuple[int, int]) -> Scars:
    """Return the scars of a patch without landslides."""
    bare, debris = np.zeros((2, *shape), np.float32)
    return Scars(np.zeros(shape, bool), bare, debris, np.ones(shape, np.float32))


def can_slide(ground: Ground) -> Array:
    """Return which pixels a landslide may cover."""
    return (ground.slope_deg >= STOP_DEG) & ~np.isin(ground.cover, (WATER, FIELD, SETTLEMENT))


def make_scars(
    ground: Ground, target_px: int, margin_px: int, climate: Climate, rng: np.random.Generator
) -> Scars:
    """Let slides go until their area inside the margin is reached, or no more ground can slide.

    Args:
        ground: The patch with its margin.
        target_px: Pixels of landslide inside the margin.
        margin_px: Width of the margin.
        climate: Form and freshness of the slides.
        rng: Random number generator.
    """
    shape = ground.cover.shape
    painter = _Painter(ground, margin_px, climate, rng)
    median = _between(_MEDIAN_PX, climate.length) * max(1.0, (target_px / 900) ** 0.7)
    down = [gaussian_filter(slope, 3.0) for slope in (ground.south, ground.east)]
    rough = fractal(shape, rng, 1.8, wavelength_px=16)
    for _ in range(_TRIES):
        missing = target_px - painter.area_px
        head = painter.head() if missing > 0 else None
        if head is None:
            break
        area = min(median * np.exp(0.7 * rng.standard_normal()), 1.3 * missing + 2)
        path = _path(head, down, area, climate, rng)
        painter.paint(_slide(path, area, rough), missing)
    return painter.scars


class _Painter:
    """Slides on one patch, one after the other."""

    def __init__(self, ground: Ground, margin_px: int, climate: Climate, rng: np.random.Generator) -> None:
        shape = ground.cover.shape
        self.rng, self.climate = rng, climate
        self.allowed = can_slide(ground)
        self.inner = np.zeros(shape, bool)
        self.inner[margin_px:-margin_px, margin_px:-margin_px] = True
        swarm = fractal(shape, rng, 3.0, wavelength_px=60, smallest_px=8)
        steep = self.allowed & self.inner & (ground.slope_deg >= HEAD_DEG)
        self.weight = np.where(steep, np.exp(0.9 * swarm), 0.0)
        self.scars = no_scars(shape)
        self.patchy = fractal(shape, rng, 1.4, wavelength_px=20)

    @property
    def area_px(self) -> int:
        """Pixels of landslide inside the margin."""
        return int((self.scars.mask & self.inner).sum())

    def head(self) -> tuple[float, float] | None:
        """Draw where the next slide starts; None where no ground is left."""
        weight = np.where(self.scars.mask, 0, self.weight).ravel()
        total = weight.sum()
        if total <= 0:
            return None
        k = np.searchsorted(np.cumsum(weight), self.rng.random() * total)
        row, column = np.unravel_index(min(int(k), weight.size - 1), self.inner.shape)
        return float(row), float(column)

    def paint(self, slide: _Slide, missing: int) -> None:
        """Add a slide, trimmed to the pixels that are missing."""
        box, scars = slide.box, self.scars
        new = (slide.inside > 0) & self.allowed[box] & ~scars.mask[box]
        counted = new & self.inner[box]
        if counted.sum() > missing:
            depth = np.where(counted, slide.inside, -np.inf)
            new &= depth >= np.partition(depth, -missing, axis=None)[-missing]
        if not new.any():
            return
        fresh = 1 - self.rng.uniform(0.0, 0.4) * (1 - self.climate.fresh)
        reach = np.where(new, slide.inside, -1.0)
        soft = np.where(new, np.maximum(smoothstep(reach, -0.8, 1.0), 0.7), 0.0)
        grown = np.clip(0.14 * self.patchy[box] + 0.1 * (1 - fresh), 0, 0.7)
        scars.mask[box] |= new
        scars.bare[box] = np.where(new, fresh * soft * (1 - grown), scars.bare[box])
        scars.debris[box] = np.where(new, 0.15 + 0.6 * slide.along, scars.debris[box])
        crown = np.exp(-((slide.along / 0.06) ** 2))
        light = 1.5 - 0.55 * crown - 0.25 * slide.along
        scars.light[box] = np.where(new, light, scars.light[box])


def _between(limits: tuple[float, float], share: float) -> float:
    return limits[0] + share * (limits[1] - limits[0])


def _path(
    head: tuple[float, float],
    down: list[Array],
    area: float,
    climate: Climate,
    rng: np.random.Generator,
) -> Array:
    """Follow the fall line from the head in steps of half a pixel; return rows and columns, (step, 2)."""
    ratio = _between(_LENGTH_OVER_WIDTH, climate.length) * np.exp(0.2 * rng.standard_normal())
    steps = max(2, round(2 * np.sqrt(area * ratio)))
    south, east = down
    last = np.array(south.shape) - 1
    place, step = np.array(head), np.zeros(2)
    path = [place]
    for _ in range(steps):
        row, column = np.rint(place).astype(int)
        fall = np.array((-south[row, column], -east[row, column]))
        step = 0.6 * step + 0.4 * fall / (np.hypot(*fall) + 1e-6)
        place = place + 0.5 * step / (np.hypot(*step) + 1e-6)
        if (place < 0).any() or (place > last).any():
            break
        path.append(place)
    return np.array(path)


def _slide(path: Array, area: float, rough: Array) -> _Slide:
    """Return the band around a path: wide head, narrower track, widening run-out."""
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
    return _Slide(box, inside, along[nearest])
