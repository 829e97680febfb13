"""Land cover of the twin: the true class of each pixel now and two years before."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from eolab.synthetic import materials as m
from eolab.synthetic.noise import fractal, lowest, remoteness
from eolab.synthetic.parcels import make_parcels, parcel_mean
from eolab.synthetic.terrain import MARGIN_PX, Site, Terrain, make_terrain

Array = np.ndarray

# Vertical zones from the top: upper and lower class, and the share of the scene of each.
_ZONES = (
    ((m.SNOW, 0.054), (m.SNOW, 0.0)),
    ((m.ROCKS, 0.068), (m.SHRUB, 0.052)),
    ((m.CONIFERS, 0.13), (m.BROADLEAVES, 0.135)),
)
# Area of a site now and before, as a share of its cell.
_AREA = {"lake": (0.25, 0.27), "village": (0.29, 0.235), "quarry": (0.255, 0.21), "gravel": (0.25, 0.25)}
_ROTATED = 0.11  # share of the crop parcels that changed between winter and summer crops
_PLOUGHED = 0.03  # share of the grass parcels that became cropland
_OTHER_CROP = 0.04  # share of the parcels that do not follow their district


@dataclass(frozen=True)
class Landscape:
    """The land with its margin.

    Attributes:
        terrain: Elevation, sites and rivers.
        parcels: Parcel number of each pixel, int32 (y, x).
        now: Class index of each pixel, uint8 (y, x).
        before: Class index two years before.
    """

    terrain: Terrain
    parcels: Array
    now: Array
    before: Array

    def scene(self, field: Array) -> Array:
        """Return a field without the margin."""
        return field[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]


def make_landscape(size: int, rng: np.random.Generator) -> Landscape:
    """Make terrain, parcels and both class maps for a scene of ``size`` × ``size`` pixels of 10 m."""
    terrain = make_terrain(size, rng)
    parcels = make_parcels(terrain.shape, rng, min(1.0, terrain.cell_px / 120))
    now, before = _farmland(terrain, parcels, rng)
    _slopes(terrain, now, before, rng)
    _river_woods(terrain, now, before, rng)
    _logging(terrain, now, before, rng)
    for site in terrain.sites:
        if site.kind != "peak":
            _paint(site, terrain, now, before, rng)
    _roads(terrain, now, before)
    for cover in (now, before):
        cover[(terrain.river < 1.8) & (terrain.relative < 0.5)] = m.LAKE
    return Landscape(terrain, parcels, now, before)


def _farmland(terrain: Terrain, parcels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Give each parcel grass, winter cereals or summer crops, by district; return it now and before."""
    field = fractal(
        terrain.shape, rng, 3.0, wavelength_px=2.0 * terrain.cell_px, smallest_px=0.35 * terrain.cell_px
    )
    preference = parcel_mean(parcels, field)
    kinds = np.array([m.GRASS, m.CEREALS, m.ANNUAL], np.uint8)
    before = kinds[np.searchsorted(np.quantile(preference, (0.34, 0.69)), preference)]
    other = rng.random(before.size) < _OTHER_CROP
    before[other] = rng.choice(kinds, other.sum())
    now = before.copy()
    chance = rng.random(before.size)
    turned = (before != m.GRASS) & (chance < _ROTATED)
    now[turned] = m.CEREALS + m.ANNUAL - before[turned]
    now[(before == m.GRASS) & (chance < _PLOUGHED)] = m.ANNUAL
    scrub = fractal(
        terrain.shape, rng, 3.2, wavelength_px=1.3 * terrain.cell_px, smallest_px=0.3 * terrain.cell_px
    )
    idle = parcel_mean(parcels, scrub)
    idle = idle > np.quantile(idle, 0.93)  # land left to shrub
    now[idle] = before[idle] = m.SHRUB
    return now[parcels], before[parcels]


def _slopes(terrain: Terrain, now: Array, before: Array, rng: np.random.Generator) -> None:
    """Paint the vertical zones, each shared by two classes; the ice was larger two years before."""
    size = terrain.cell_px
    height = terrain.relative + 0.02 * fractal(
        terrain.shape, rng, 2.6, wavelength_px=0.6 * size, smallest_px=0.08 * size
    )
    side = 0.20 * fractal(terrain.shape, rng, 3.0, wavelength_px=1.4 * size, smallest_px=0.35 * size)
    mix = fractal(terrain.shape, rng, 2.2, wavelength_px=0.25 * size, smallest_px=4)
    inner = (slice(MARGIN_PX, -MARGIN_PX),) * 2
    ranked = np.sort(height[inner], axis=None)
    for cover, more_snow in ((now, 0.0), (before, 0.006)):
        ceiling, share = np.inf, more_snow  # the zones below the ice keep their lower limits
        for (upper, first), (lower, second) in _ZONES:
            share += first + second
            floor = ranked[int((1 - share) * ranked.size)]
            zone = (height >= floor) & (height < ceiling)
            score = (height + side)[inner][zone[inner]]
            high = height + side > np.quantile(score, second / (first + second)) if second else zone
            cover[zone] = np.where(high, upper, lower)[zone]
            ceiling = floor
        cover[(cover == m.SHRUB) & (height >= ceiling) & (mix > 1.7)] = m.GRASS  # alpine meadows
        conifers, broadleaves = cover == m.CONIFERS, cover == m.BROADLEAVES
        cover[conifers & (mix > 1.9)] = m.BROADLEAVES
        cover[broadleaves & (mix < -1.9)] = m.CONIFERS
        cover[broadleaves & (mix > 2.2)] = m.SHRUB


def _river_woods(terrain: Terrain, now: Array, before: Array, rng: np.random.Generator) -> None:
    """Line the rivers with broadleaved trees here and there, and put copses on the valley floor."""
    mix = fractal(terrain.shape, rng, 2.2, wavelength_px=0.5 * terrain.cell_px, smallest_px=4)
    valley = terrain.relative < np.quantile(terrain.relative, 0.5)
    woods = valley & ((terrain.river < 4 + 4 * mix) | (mix > 2.2))
    brush = valley & (mix < -2.1)
    for cover in (now, before):
        cover[woods] = m.BROADLEAVES
        cover[brush] = m.SHRUB


def _logging(terrain: Terrain, now: Array, before: Array, rng: np.random.Generator) -> None:
    """Fell a part of the conifers in clear-cuts, and let some shrub grow up to trees."""
    cuts = fractal(terrain.shape, rng, 2.5, wavelength_px=0.35 * terrain.cell_px, smallest_px=6)
    conifers = before == m.CONIFERS
    if conifers.any():
        now[conifers & (cuts > np.quantile(cuts[conifers], 0.91))] = m.SHRUB
    shrub = before == m.SHRUB
    if shrub.any():
        now[shrub & (cuts < np.quantile(cuts[shrub], 0.06))] = m.BROADLEAVES


def _paint(site: Site, terrain: Terrain, now: Array, before: Array, rng: np.random.Generator) -> None:
    """Paint a lake, village, quarry or gravel plain with what surrounds it."""
    cell = terrain.cell_px
    stretch = 2.2 if site.kind == "gravel" else 1.3
    field = remoteness(terrain.shape, (site.row, site.column), rng, 0.17, stretch, 0.6 * cell)
    kind = {"lake": m.LAKE, "village": m.URBAN, "quarry": m.MINERAL, "gravel": m.SAND}[site.kind]
    area_now, area_before = (share * cell**2 for share in _AREA[site.kind])
    if site.kind == "quarry":
        wood = m.BROADLEAVES if rng.random() < 0.5 else m.CONIFERS
        now[lowest(field, 1.3 * area_now)] = wood
        before[lowest(field, 1.3 * area_now)] = wood
    if site.kind == "lake":  # the shore that fell dry
        now[lowest(field, area_before)] = m.SAND
    now[lowest(field, area_now)] = kind
    before[lowest(field, area_before)] = kind
    if site.kind == "village":  # greens inside
        green = fractal(terrain.shape, rng, 2.0, wavelength_px=20, smallest_px=4) > 1.9
        for cover in (now, before):
            cover[green & (cover == m.URBAN) & lowest(field, area_now)] = m.GRASS


def _roads(terrain: Terrain, now: Array, before: Array) -> None:
    """Join each village to the next with a road two pixels wide, where there is farmland to cross."""
    villages = [site for site in terrain.sites if site.kind == "village"]
    farmland = (m.GRASS, m.CEREALS, m.ANNUAL, m.SHRUB, m.BROADLEAVES)
    for start, end in pairwise(villages):
        steps = int(3 * np.hypot(start.row - end.row, start.column - end.column))
        t = np.linspace(0, 1, steps)
        bend = 0.12 * terrain.cell_px * np.sin(2 * np.pi * t)
        rows = (start.row + t * (end.row - start.row) + bend).astype(int)
        columns = (start.column + t * (end.column - start.column) - bend).astype(int)
        for cover in (now, before):
            for i, j in ((0, 0), (0, 1)):
                passable = np.isin(cover[rows + i, columns + j], farmland)
                cover[rows[passable] + i, columns[passable] + j] = m.URBAN
