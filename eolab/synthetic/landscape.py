"""Land of the Sentinel-2 twin: terrain, land cover year by year, and its reflectance on a day.

The scene is divided into square cells. Each group of 2 × 2 cells gets a peak and three of lake, village,
quarry and gravel plain, so that every kind occurs in several places however the scene is cut into blocks. The
vertical zones of a mountain range are squeezed into a few kilometres; classes depend on relative height.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter, label

from eolab.synthetic import materials as m
from eolab.synthetic.patterns import Array, fractal, lowest, make_parcels, parcel_mean, remoteness, smoothstep
from eolab.synthetic.sky import Sun, illumination, shading, slopes

MARGIN_PX = 60
BASE_M = 420.0
RELIEF_M = 800.0
_KINDS = ("gravel", "lake", "village", "quarry")
_RIVER_EVERY = 4  # cells between two rivers

# Vertical zones from the top: upper and lower class, and the share of the scene of each.
_ZONES = (
    ((m.SNOW, 0.054), (m.SNOW, 0.0)),
    ((m.ROCKS, 0.068), (m.SHRUB, 0.052)),
    ((m.CONIFERS, 0.13), (m.BROADLEAVES, 0.135)),
)
_SITES = {  # class of a site, its area in the last year as a share of its cell, and how much a year adds
    "lake": (m.LAKE, 0.25, -0.01),
    "village": (m.URBAN, 0.29, 0.0275),
    "quarry": (m.MINERAL, 0.255, 0.0225),
    "gravel": (m.SAND, 0.25, 0.0),
}
_ROTATED = 0.055  # share of the crop parcels that change between winter and summer crops in a year
_PLOUGHED = 0.015  # share of the grass parcels that become cropland in a year
_MELTED = 0.003  # share of the scene that the ice loses in a year
_FELLED, _OVERGROWN = 0.045, 0.03  # share of the conifers that are felled and of the shrub that grows up
_OTHER_CROP = 0.04  # share of the parcels that do not follow their district

# Relative height of the snow line by day of the year; below 0 even the valley is white.
_SNOW_DAYS = (1, 25, 50, 75, 105, 135, 165, 255, 285, 315, 340, 366)
_SNOW_LINE = (0.22, 0.02, 0.28, 0.45, 0.64, 0.82, 1.20, 1.20, 0.80, 0.55, 0.34, 0.22)
_BLUR_PX = 0.65  # point spread of the 10 m bands
_FALLOW = 0.06  # share of the crop parcels that are mostly grass this year
_BETWEEN = 0.16  # share of the parcels whose crop grows between the two seasons
_TEXTURE, _SNOW_HELD = (m.COVERS[name].to_numpy() for name in ("texture", "snow_held"))


class Site(NamedTuple):
    """A place: ``peak``, ``lake``, ``village``, ``quarry`` or ``gravel``; row and column in pixels."""

    kind: str
    row: float
    column: float


class Landscape(NamedTuple):
    """The land with a margin of :data:`MARGIN_PX` around the scene.

    Attributes:
        cell_px: Side of a site's cell in pixels.
        sites: All sites.
        height_m: Elevation in metres, float32 (y, x).
        relative: Height between valley floor (0) and highest peak (1).
        river: Distance to the nearest river's middle in pixels, float32 (y, x).
        parcels: Parcel number of each pixel, int32 (y, x).
        covers: Class index of each pixel, uint8 (y, x), for each year.
    """

    cell_px: float
    sites: tuple[Site, ...]
    height_m: Array
    relative: Array
    river: Array
    parcels: Array
    covers: tuple[Array, ...]

    @property
    def now(self) -> Array:
        """Class index of each pixel in the last year."""
        return self.covers[-1]

    @property
    def before(self) -> Array:
        """Class index of each pixel in the first year."""
        return self.covers[0]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width with the margin."""
        return self.now.shape[0], self.now.shape[1]

    def scene(self, field: Array) -> Array:
        """Return a field without the margin."""
        return field[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]


def make_landscape(size: int, rng: np.random.Generator, years: int = 3) -> Landscape:
    """Make terrain, parcels and the land cover of each year.

    Parcels are sown with another crop, meadows ploughed and woods felled one whole patch in one year;
    villages and quarries grow, and lakes and ice shrink, a strip a year.

    Args:
        size: Side of the scene in pixels of 10 m.
        rng: Random number generator.
        years: Number of years.
    """
    count = max(4, 2 * round(size / 240))
    cell = size / count
    shape = (size + 2 * MARGIN_PX, size + 2 * MARGIN_PX)
    sites = _sites(count, cell, rng)
    river = _rivers(shape, count, cell, rng)
    height_m = (BASE_M + RELIEF_M * _height(sites, river, cell, rng)).astype(np.float32)
    relative = np.clip((height_m - BASE_M) / RELIEF_M, 0.0, 1.0)
    parcels = make_parcels(shape, rng, min(1.0, cell / 120))
    covers = _farmland(parcels, cell, rng, years)
    land = Landscape(cell, sites, height_m, relative, river, parcels, covers)
    _slopes(land, rng)
    _river_woods(land, rng)
    _logging(land, rng)
    for site in sites:
        if site.kind != "peak":
            _paint(site, land, rng)
    _roads(land)
    for cover in covers:
        cover[(river < 1.8) & (relative < 0.5)] = m.LAKE
    return land


def _sites(count: int, cell: float, rng: np.random.Generator) -> tuple[Site, ...]:
    """Give each group of 2 × 2 cells a peak and three other kinds; gravel plains go beside a river."""
    missing = [_KINDS[k % 4] for k in range((count // 2) ** 2)]
    rng.shuffle(missing)
    sites = []
    for group, absent in enumerate(missing):
        top, left = 2 * (group // (count // 2)), 2 * (group % (count // 2))
        corners = [(top + i, left + j) for i in (0, 1) for j in (0, 1)]
        rng.shuffle(corners)
        kinds = [kind for kind in _KINDS if kind != absent]
        inner = left + 1 if left % _RIVER_EVERY == 0 else left
        if "gravel" in kinds:  # the first kind takes the first corner: one beside the river
            corners.sort(key=lambda corner: corner[1] != inner)
        for kind, (i, j) in zip([*kinds, "peak"], corners, strict=True):
            dy, dx = rng.uniform(-0.12, 0.12, 2)
            if kind == "gravel":
                dx = 0.22 if j < inner or left % _RIVER_EVERY == 0 else -0.22
            row = MARGIN_PX + (i + 0.5 + dy) * cell
            sites.append(Site(kind, row, MARGIN_PX + (j + 0.5 + dx) * cell))
    return tuple(sites)


def _rivers(shape: tuple[int, int], count: int, cell: float, rng: np.random.Generator) -> Array:
    """Return the distance to the nearest of the rivers, which wind from north to south."""
    rows = np.arange(shape[0])
    columns = np.arange(shape[1], dtype=np.float32)[None, :]
    distance = np.full(shape, np.inf, np.float32)
    for k in range(2, count, _RIVER_EVERY):
        middle = np.full(shape[0], MARGIN_PX + k * cell)
        for wave, swing in ((2.3, 0.10), (0.9, 0.05)):
            middle += swing * cell * np.sin(2 * np.pi * (rows / (wave * cell) + rng.uniform()))
        slope = np.hypot(1.0, np.gradient(middle))
        distance = np.minimum(distance, np.abs(columns - middle[:, None]) / slope[:, None])
    return distance.astype(np.float32)


def _height(sites: tuple[Site, ...], river: Array, cell: float, rng: np.random.Generator) -> Array:
    """Return the elevation, 0 to 1: peaks at their sites, the rivers' valleys and a flattened floor."""
    shape = river.shape
    height = 0.08 * fractal(shape, rng, 3.4, wavelength_px=2 * cell)
    for site in sites:
        if site.kind == "peak":
            distance = remoteness(shape, (site.row, site.column), rng, 0.15, 1.25, 0.8 * cell)
            height += rng.uniform(0.94, 1.06) * np.exp(-0.5 * (distance / (0.46 * cell)) ** 2)
    height -= 0.15 * np.exp(-((river / (0.25 * cell)) ** 2))
    detail = 0.006 * fractal(shape, rng, 2.4, wavelength_px=0.3 * cell, smallest_px=4)
    floor = np.quantile(height, 0.3)
    height = np.where(height < floor, floor + 0.25 * (height - floor), height) + detail
    return (height - height.min()) / (height.max() - height.min())


def _farmland(parcels: Array, cell: float, rng: np.random.Generator, years: int) -> tuple[Array, ...]:
    """Give each parcel grass, winter cereals or summer crops, by district; return them year by year."""
    field = fractal(parcels.shape, rng, 3.0, wavelength_px=2.0 * cell, smallest_px=0.35 * cell)
    preference = parcel_mean(parcels, field)
    kinds = np.array([m.GRASS, m.CEREALS, m.ANNUAL], np.uint8)
    before = kinds[np.searchsorted(np.quantile(preference, (0.34, 0.69)), preference)]
    other = rng.random(before.size) < _OTHER_CROP
    before[other] = rng.choice(kinds, other.sum())
    chance = rng.random(before.size)
    scrub = fractal(parcels.shape, rng, 3.2, wavelength_px=1.3 * cell, smallest_px=0.3 * cell)
    idle = parcel_mean(parcels, scrub)
    idle = idle > np.quantile(idle, 0.93)  # land left to shrub
    covers = []
    for year in range(years):
        kind = before.copy()
        turned = (before != m.GRASS) & (chance < year * _ROTATED)
        kind[turned] = m.CEREALS + m.ANNUAL - before[turned]
        kind[(before == m.GRASS) & (chance < year * _PLOUGHED)] = m.ANNUAL
        kind[idle] = m.SHRUB
        covers.append(kind[parcels])
    return tuple(covers)


def _slopes(land: Landscape, rng: np.random.Generator) -> None:
    """Paint the vertical zones, each shared by two classes; the ice melts from year to year."""
    shape, size = land.shape, land.cell_px
    rough = fractal(shape, rng, 2.6, wavelength_px=0.6 * size, smallest_px=0.08 * size)
    height = land.relative + 0.02 * rough
    side = 0.20 * fractal(shape, rng, 3.0, wavelength_px=1.4 * size, smallest_px=0.35 * size)
    mix = fractal(shape, rng, 2.2, wavelength_px=0.25 * size, smallest_px=4)
    ranked = np.sort(land.scene(height), axis=None)
    for left, cover in enumerate(reversed(land.covers)):
        ceiling, share = np.inf, left * _MELTED  # the zones below the ice keep their lower limits
        for (upper, first), (lower, second) in _ZONES:
            share += first + second
            floor = ranked[int((1 - share) * ranked.size)]
            zone = (height >= floor) & (height < ceiling)
            score = land.scene(height + side)[land.scene(zone)]
            high = height + side > np.quantile(score, second / (first + second)) if second else zone
            cover[zone] = np.where(high, upper, lower)[zone]
            ceiling = floor
        cover[(cover == m.SHRUB) & (height >= ceiling) & (mix > 1.7)] = m.GRASS  # alpine meadows
        conifers, broadleaves = cover == m.CONIFERS, cover == m.BROADLEAVES
        cover[conifers & (mix > 1.9)] = m.BROADLEAVES
        cover[broadleaves & (mix < -1.9)] = m.CONIFERS
        cover[broadleaves & (mix > 2.2)] = m.SHRUB


def _river_woods(land: Landscape, rng: np.random.Generator) -> None:
    """Line the rivers with broadleaved trees here and there, and put copses on the valley floor."""
    mix = fractal(land.shape, rng, 2.2, wavelength_px=0.5 * land.cell_px, smallest_px=4)
    valley = land.relative < np.quantile(land.relative, 0.5)
    woods = valley & ((land.river < 4 + 4 * mix) | (mix > 2.2))
    for cover in land.covers:
        cover[woods] = m.BROADLEAVES
        cover[valley & (mix < -2.1)] = m.SHRUB


def _logging(land: Landscape, rng: np.random.Generator) -> None:
    """Fell a part of the conifers in clear-cuts, and let some shrub grow up to trees."""
    cuts = fractal(land.shape, rng, 2.5, wavelength_px=0.35 * land.cell_px, smallest_px=6)
    later = land.covers[1:]
    cases = ((m.CONIFERS, m.SHRUB, cuts, _FELLED), (m.SHRUB, m.BROADLEAVES, -cuts, _OVERGROWN))
    before = land.before.copy()
    for old, new, field, share in cases if later else ():
        if (grown := before == old).any():
            patches, _ = label(grown & (field > np.quantile(field[grown], 1 - share * len(later))))
            for year, cover in enumerate(later):
                cover[(patches > 0) & (patches % len(later) <= year)] = new


def _paint(site: Site, land: Landscape, rng: np.random.Generator) -> None:
    """Paint a lake, village, quarry or gravel plain with what surrounds it."""
    stretch = 2.2 if site.kind == "gravel" else 1.3
    field = remoteness(land.shape, (site.row, site.column), rng, 0.17, stretch, 0.6 * land.cell_px)
    kind, last, growth = _SITES[site.kind]
    areas = [(last - left * growth) * land.cell_px**2 for left in reversed(range(len(land.covers)))]
    around: list[tuple[int, float]] = []
    if site.kind == "quarry":
        around = [(m.BROADLEAVES if rng.random() < 0.5 else m.CONIFERS, 1.3 * areas[-1])]
    if site.kind == "lake":  # the shore that fell dry
        around = [(m.SAND, areas[0])]
    for cover, area in zip(land.covers, areas, strict=True):
        for other, wide in (*around, (kind, area)):
            cover[lowest(field, wide)] = other
    if site.kind == "village":  # greens inside
        green = fractal(land.shape, rng, 2.0, wavelength_px=20, smallest_px=4) > 1.9
        green &= lowest(field, areas[-1])
        for cover in land.covers:
            cover[green & (cover == m.URBAN)] = m.GRASS


def _roads(land: Landscape) -> None:
    """Join each village to the next with a road two pixels wide, where there is farmland to cross."""
    farmland = (m.GRASS, m.CEREALS, m.ANNUAL, m.SHRUB, m.BROADLEAVES)
    for start, end in pairwise(site for site in land.sites if site.kind == "village"):
        t = np.linspace(0, 1, int(3 * np.hypot(start.row - end.row, start.column - end.column)))
        bend = 0.12 * land.cell_px * np.sin(2 * np.pi * t)
        rows = (start.row + t * (end.row - start.row) + bend).astype(int)
        columns = (start.column + t * (end.column - start.column) - bend).astype(int)
        for cover in land.covers:
            for right in (0, 1):
                passable = np.isin(cover[rows, columns + right], farmland)
                cover[rows[passable], columns[passable] + right] = m.URBAN


class Weather(NamedTuple):
    """How a year differs from the usual one.

    Attributes:
        late_days: Days by which its season comes later.
        drought: Strength of its summer drought: 0 none, 1 one that turns meadows brown.
    """

    late_days: float = 0.0
    drought: float = 0.0


_USUAL = Weather()


class Surface(NamedTuple):
    """Everything about the land that does not change within the year.

    Attributes:
        cover: Class index, uint8 (y, x).
        growth: What varies in the season.
        partner: Class that shares the pixel, uint8 (y, x).
        shared: Share of the partner, (y, x).
        bright: Factor on all reflectances, (y, x).
        tint: Slope of brightness over wavelength, (y, x).
        south: Slope towards south, (y, x).
        east: Slope towards east, (y, x).
    """

    cover: Array
    growth: m.Growth
    partner: Array
    shared: Array
    bright: Array
    tint: Array
    south: Array
    east: Array


def make_surface(
    land: Landscape,
    rng: np.random.Generator,
    year: int = -1,
    weather: Weather = _USUAL,
    season: np.random.Generator | None = None,
) -> Surface:
    """Draw the texture of the land, and how plants grow on it in a year.

    Args:
        land: The land.
        rng: Random numbers of the texture.
        year: Position of the year in ``land.covers``.
        weather: Weather of the year.
        season: Random numbers of sowing, vigour and mowing; those of the texture by default.
    """
    season = season or rng
    cover = land.scene(land.covers[year])
    shape = cover.shape
    parcels = land.scene(land.parcels)
    count = int(land.parcels.max()) + 1
    grain = 0.7 * fractal(shape, rng, 1.6, wavelength_px=40) + 0.7 * fractal(shape, rng, 0.6)
    bright = np.exp(_TEXTURE[cover] * grain)
    crops = (cover == m.CEREALS) | (cover == m.ANNUAL)
    soil = 0.10 * rng.standard_normal(count)[parcels]
    bright = np.where(crops | (cover == m.GRASS), bright * np.exp(soil), bright)
    tint = 0.06 * fractal(shape, rng, 1.5, wavelength_px=60)
    mix = 0.75 * fractal(shape, rng, 1.6, wavelength_px=30) + 0.65 * fractal(shape, rng, 0.5)
    shared = np.clip(np.abs(mix) * m.SHARED[cover], 0, 0.75)
    fallow = (season.random(count) < _FALLOW)[parcels]
    shared = np.where(fallow & crops, 0.55 + 0.5 * shared, shared)
    texture = (field.astype(np.float32) for field in (shared, bright, tint))
    tilt = (land.scene(slope) for slope in slopes(land.height_m, smooth_px=2.0))
    return Surface(cover, _growth(land, cover, weather, season), m.PARTNER[cover], *texture, *tilt)


def _growth(land: Landscape, cover: Array, weather: Weather, rng: np.random.Generator) -> m.Growth:
    """Draw each parcel's sowing, vigour and mowing, and add what varies inside parcels."""
    parcels = land.scene(land.parcels)
    shape = parcels.shape
    count = int(land.parcels.max()) + 1
    shift = 0.9 * rng.standard_normal(count)[parcels] + 0.4 * fractal(shape, rng, 2.0, wavelength_px=60)
    between = (rng.random(count) < _BETWEEN)[parcels]  # spring cereals, early maize: near to each other
    shift = shift + between * (1.7 * (cover == m.CEREALS) - 1.7 * (cover == m.ANNUAL))
    vigour = 1 + 0.06 * rng.standard_normal(count)[parcels] + 0.07 * fractal(shape, rng, 0.9)
    days = [rng.normal(152, 10, count), rng.normal(212, 12, count)]
    pasture = rng.random(count) < 0.35
    cuts = np.stack([np.where(pasture, m.NEVER, day)[parcels] for day in days])
    catch = np.where(rng.random(count) < 0.4, rng.uniform(0.3, 0.6, count), 0.0)[parcels]
    fields = (shift, np.clip(vigour, 0.6, 1.2), land.scene(land.relative), cuts, catch)
    dryness = None
    if weather.drought:
        deep = 0.15 * rng.standard_normal(count)[parcels] + 0.25 * fractal(shape, rng, 2.0, wavelength_px=120)
        dryness = (weather.drought * np.clip(1 - deep, 0.2, 1.6)).astype(np.float32)
    shift, vigour, height, cuts, catch = (field.astype(np.float32) for field in fields)
    return m.Growth(shift, vigour, height, cuts, catch, weather.late_days, dryness)


def observe(surface: Surface, day: float, sun: Sun, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Return what a day without clouds shows.

    Args:
        surface: The land.
        day: Day of the year.
        sun: Where the sun stands.
        rng: Random numbers of the day: snow and moisture.

    Returns:
        Surface reflectance at 10 m, float32 (band, y, x); share of snow, float32 (y, x); direct sunlight
        relative to level ground, (y, x).
    """
    cover, shape = surface.cover, surface.cover.shape
    green = m.greenness(surface.growth, cover, day)
    other = m.greenness(surface.growth, surface.partner, day)
    snow = _snow(surface, day, rng)
    light = illumination(surface.south, surface.east, sun)
    shade = shading(light)
    moisture = rng.normal(0, 0.07) + 0.05 * fractal(shape, rng, 2.2, wavelength_px=200)
    moisture = np.where((cover == m.LAKE) | (cover == m.SNOW), 0, moisture) * (1 - 0.8 * green)
    wavelength = np.linspace(-0.5, 0.5, len(m.BANDS))
    gain = m.GREEN - m.DORMANT
    image = np.empty((len(m.BANDS), *shape), np.float32)
    for k in range(len(m.BANDS)):  # a band at a time, so that memory stays small
        own = m.DORMANT[cover, k] + green * gain[cover, k]
        mixed = m.DORMANT[surface.partner, k] + other * gain[surface.partner, k]
        value = own + surface.shared * (mixed - own)
        value *= surface.bright * (1 + wavelength[k] * surface.tint) * (1 - m.WETNESS[k] * moisture)
        value += snow * (m.DORMANT[m.SNOW, k] * (0.93 + 0.4 * (surface.bright - 1)) - value)
        image[k] = gaussian_filter(value * shade, _BLUR_PX)
    return image, snow.astype(np.float32), light


def _snow(surface: Surface, day: float, rng: np.random.Generator) -> Array:
    """Return the share of seasonal snow; trees, roofs and water hold less of it."""
    line = np.interp(day, _SNOW_DAYS, _SNOW_LINE) + rng.normal(0, 0.03)
    patchy = 0.05 * fractal(surface.cover.shape, rng, 1.8, wavelength_px=80)
    snow = smoothstep(surface.growth.height + patchy, line - 0.06, line + 0.06)
    return snow * _SNOW_HELD[surface.cover]
