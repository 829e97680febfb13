"""Ground of a patch of the BigEarthNet twin, and what both sensors see of it.

A patch is a map of classes, each a pattern of materials. Images are reflectance of twelve bands and
backscatter in dB.

Tiles differ in the start and length of their seasons, in the dryness of summers, in relief, and by a factor
of a few per cent on each band; days differ in sun, haze and moisture. A tile that a network has not seen is
therefore new to it.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from eolab.synthetic import materials as m
from eolab.synthetic.bigearthnet_plan import CLASSES, TILES, Patch, Tile
from eolab.synthetic.patterns import PATTERNS, Array, curve, fractal, lowest, make_parcels, remoteness, turned
from eolab.synthetic.sky import Sun, cover_with, illumination, make_sky, shading, slopes, sun_at
from eolab.synthetic.writing import stream

SIZE = 120
"""Pixels of 10 m along a side of a patch."""

SHAPE = (SIZE, SIZE)
SMALLEST_PX = 120
"""Pixels that a class covers at least."""

_LINES = {511: (5.0, 0.14), 122: (4.0, 0.015), 522: (15.0, 0.08)}  # width in pixels, bend
_SEA = 523
_BLOBS = (512, 521, 131, 132, 133, 141, 142, 111, 121, 123, 124, 411, 422, 332, 334)
_ROUNDS = 14

DN_STEP, DARK_STEP, DARK, DB_STEP = 10, 5, 500, 0.25
"""Steps of the digital numbers, from :data:`DARK` on and below it, and of dB: no coarser than the noise, so
that compressed copies stay small."""

_CLIMATE = {  # days of delay of the seasons, loss of green in dry summers, relief in metres
    "boreal": (22.0, 0.0, 25.0),
    "baltic": (8.0, 0.0, 12.0),
    "atlantic": (-8.0, 0.0, 30.0),
    "alpine": (8.0, 0.0, 160.0),
    "continental": (-6.0, 0.25, 55.0),
    "iberian": (-42.0, 0.75, 60.0),
}
_DRIEST, _DRY_DAYS = 222.0, 48.0
_BLUR_PX = 0.65  # point spread of the 10 m bands
_SNOW_COVER = 0.93
_LIQUID = (m.LAKE, m.SEA)
_FIELDS = (m.CEREALS, m.ANNUAL, m.GRASS)
_BARE = (m.MINERAL, m.ASPHALT, m.SOIL)


def make_map(codes: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Draw a map that holds some classes, each of them somewhere.

    Fields and woods share the patch among them; the sea lies along a side; lakes, towns and quarries are
    blobs on that, and rivers and roads lines on top.

    Args:
        codes: CORINE codes, at least one.
        rng: Random numbers of the map.

    Returns:
        uint16 (120, 120): a CORINE code a pixel.
    """
    special = {code for code in codes if code in _LINES or code == _SEA or code in _BLOBS}
    areas = [code for code in codes if code not in special]
    if not areas:
        first = max(special, key=lambda code: (code == _SEA, code in _BLOBS, code))
        areas, special = [first], special - {first}
    cover = _shared(areas, rng)
    for code in [*sorted(special & {_SEA}), *(code for code in _BLOBS if code in special)]:
        share = rng.uniform(0.08, 0.3) / (1 + 0.15 * len(codes))
        cover[_shore(rng) if code == _SEA else _blob(share, rng)] = code
    for code in sorted(special & set(_LINES), reverse=True):
        width, bend = _LINES[code]
        cover[curve(SHAPE, rng, bend) < 0.5 * width * rng.uniform(0.8, 1.4)] = code
    _complete(cover, codes, rng)
    return cover


def make_materials(cover: Array, rng: np.random.Generator) -> Array:
    """Return the material of each pixel of a map, uint8 (y, x)."""
    materials = np.zeros(cover.shape, np.uint8)
    for code in np.unique(cover):
        recipe, inside = CLASSES[int(code)], cover == code
        own = np.full(cover.shape, m.INDEX[recipe["base"]], np.uint8)
        for pattern, material, share, size in recipe["layers"]:
            own[PATTERNS[pattern](cover.shape, share, size, rng)] = m.INDEX[material]
        materials[inside] = own[inside]
    return materials


def _shared(codes: list[int], rng: np.random.Generator) -> Array:
    """Divide the patch among some classes by the highest of one random field a class."""
    if len(codes) == 1:
        return np.full(SHAPE, codes[0], np.uint16)
    share = rng.dirichlet(np.full(len(codes), 2.0)) * 0.8 + 0.2 / len(codes)
    fields = np.stack([fractal(SHAPE, rng, 3.2, wavelength_px=90, smallest_px=5) for _ in codes], axis=-1)
    level = np.log(share)
    for _ in range(_ROUNDS):
        winner = (fields + level).argmax(axis=-1)  # twice as fast as over the first axis
        found = np.bincount(winner.ravel(), minlength=len(codes)) / winner.size
        level += 0.5 * (np.log(share) - np.log(found + 0.01))
    return np.array(codes, np.uint16)[winner]


def _blob(share: float, rng: np.random.Generator) -> Array:
    middle = rng.uniform(0.2, 0.8, 2) * SIZE
    field = remoteness(SHAPE, (middle[0], middle[1]), rng, 0.3, 1.5, 0.4 * SIZE)
    return lowest(field, share * SIZE**2)


def _shore(rng: np.random.Generator) -> Array:
    """Return the part of a patch beyond a bent shore."""
    along, _ = turned(SHAPE, rng.uniform(0, 2 * np.pi))
    bend = 9 * fractal(SHAPE, rng, 3.0, wavelength_px=70, smallest_px=6)
    return lowest(along + bend, rng.uniform(0.25, 0.7) * SIZE**2)


def _complete(cover: Array, codes: tuple[int, ...], rng: np.random.Generator) -> None:
    """Put classes that others have covered back, on ground of classes with much of it."""
    for _ in range(20):
        count = {code: int((cover == code).sum()) for code in codes}
        missing = [code for code in codes if count[code] < SMALLEST_PX]
        if not missing:
            return
        for code in missing:
            most = max(codes, key=lambda other: int((cover == other).sum()))
            rows, columns = np.nonzero(cover == most)
            place = int(rng.integers(len(rows)))
            y, x = np.mgrid[:SIZE, :SIZE]
            distance = np.hypot(y - rows[place], x - columns[place]) + 1e6 * (cover != most)
            cover[lowest(distance, min(2 * SMALLEST_PX, int(0.5 * len(rows))))] = code


@dataclass(frozen=True)
class Traits:
    """What the patches of a tile have in common.

    Attributes:
        delay: Days that its seasons come later than usual.
        dry: Share of green that grass loses in summer.
        relief_m: Standard deviation of the height within a patch.
        gain: Factor on each band, float32 (band,).
        soil: Factor on each band of bare ground, float32 (band,).
    """

    delay: float
    dry: float
    relief_m: float
    gain: Array
    soil: Array


def traits_of(seed: int, tile: Tile) -> Traits:
    """Return the traits of a tile."""
    rng = stream(seed, 4, TILES.index(tile))
    delay, dry, relief = _CLIMATE[tile.biome]
    gain = 1 + rng.normal(0, 0.04) + rng.normal(0, 0.05) * m.SPECTRUM + rng.normal(0, 0.015, len(m.BANDS))
    soil = 1 + rng.normal(0, 0.12) + rng.normal(0, 0.25) * m.SPECTRUM
    return Traits(
        delay + rng.normal(0, 7),
        dry * rng.uniform(0.7, 1.1),
        relief * rng.uniform(0.6, 1.4),
        gain.astype(np.float32),
        soil.astype(np.float32),
    )


def optical(seed: int, patch: Patch, materials: Array, rng: np.random.Generator) -> Array:
    """Return the reflectance that Sentinel-2 shows, float32 (band, y, x), all bands at 10 m.

    Args:
        seed: Seed of the twin, for the traits of the tile.
        patch: Place, day and weather.
        materials: Material of each pixel, uint8 (y, x).
        rng: Random numbers of the patch.
    """
    tile = patch.tile
    sun = sun_at(patch.product.time, 6 * tile.zone - 183, tile.top / 111_000)  # over the middle of the zone
    traits, parcels, green = _grown(seed, patch, materials, rng)
    image = m.DORMANT.T[:, materials] + green * (m.GREEN - m.DORMANT).T[:, materials]  # (band, y, x)
    image *= _factors(materials, traits, green, parcels, rng)
    if patch.snow:
        held = m.SNOW_HELD[materials] * np.clip(_SNOW_COVER + 0.15 * fractal(SHAPE, rng, 2.0), 0, 1)
        image += held * ((m.DORMANT[m.SNOW] * rng.uniform(0.75, 1.0))[:, None, None] - image)
    image *= _shade(traits, sun, rng)
    seen = gaussian_filter(image, (0, _BLUR_PX, _BLUR_PX))
    seen += np.abs(rng.normal(0, 0.005)) * np.clip(0.4 - m.SPECTRUM, 0, None)[:, None, None]  # haze
    if patch.cloudy:
        seen = cover_with(make_sky(SHAPE, rng.uniform(0.3, 0.9), sun, rng), seen, rng)
    noise = rng.standard_normal(seen.shape, np.float32)
    return np.maximum(seen * (1 + 0.01 * noise) + rng.normal(0, 0.0015), 0.0004).astype(np.float32)


def radar(seed: int, patch: Patch, materials: Array, rng: np.random.Generator) -> Array:
    """Return the backscatter in dB that Sentinel-1 shows, float32 (2, y, x): VV, VH, with speckle."""
    _, parcels, green = _grown(seed, patch, materials, rng)
    sigma = np.moveaxis(m.SIGMA_DB[materials], -1, 0).copy()  # (2, y, x)
    fields, liquid = np.isin(materials, _FIELDS), np.isin(materials, _LIQUID)
    rough = rng.normal(0, 1.3, int(parcels.max()) + 1)[parcels]
    sigma += fields * (np.array([1.0, 2.5], np.float32)[:, None, None] * (green - 0.5) + rough)
    sigma += liquid * (np.array([1.0, 0.7])[:, None, None] * m.waves_db(rng, 2.0, 8.0))
    sigma += rng.normal(0, 0.5, (2, 1, 1)) + 0.6 * fractal(SHAPE, rng, 1.2)
    sigma -= 2.0 * patch.snow * (1 - liquid)
    power = m.speckled(sigma, rng, blur_px=0.5)
    return (np.rint(10 * np.log10(power) / DB_STEP) * DB_STEP).astype(np.float32)


def to_numbers(band: Array) -> Array:
    """Return reflectance as digital numbers of Level-2A, uint16: reflectance times 10,000, no offset."""
    numbers = np.clip(1e4 * band, DARK_STEP, 65_530)
    step = np.where(numbers < DARK, DARK_STEP, DN_STEP)
    return (np.rint(numbers / step) * step).astype(np.uint16)


def _grown(
    seed: int, patch: Patch, materials: Array, rng: np.random.Generator
) -> tuple[Traits, Array, Array]:
    """Return the tile's traits, the parcels and the share of green of each pixel on the day, both (y, x)."""
    traits = traits_of(seed, patch.tile)
    day = patch.product.time.timetuple().tm_yday
    parcels = make_parcels(SHAPE, rng, 0.9)
    count = int(parcels.max()) + 1
    shift = rng.normal(0, 0.5) + 0.9 * rng.standard_normal(count)[parcels] + 0.2 * fractal(SHAPE, rng)
    vigour = 1 + rng.normal(0, 0.05) + 0.08 * rng.standard_normal(count)[parcels] + 0.05 * fractal(SHAPE, rng)
    height = np.full(SHAPE, min(traits.relief_m / 400, 1.0) * rng.uniform(0, 1), np.float32)
    growth = m.Growth(shift, np.clip(vigour, 0.6, 1.2), height)
    green = m.greenness(growth, m.SEASON[materials], day - traits.delay)
    drought = traits.dry * np.exp(-0.5 * ((day - _DRIEST) / _DRY_DAYS) ** 2)
    return traits, parcels, green * np.where(m.DRIES[materials], 1 - drought, 1).astype(np.float32)


def _factors(
    materials: Array, traits: Traits, green: Array, parcels: Array, rng: np.random.Generator
) -> Array:
    """Return the factor on the reflectance of each pixel and band, (band, y, x)."""
    grain = 0.08 * fractal(SHAPE, rng, 1.6, wavelength_px=40) + 0.06 * fractal(SHAPE, rng, 0.4)
    fields = 0.1 * rng.standard_normal(int(parcels.max()) + 1)[parcels] * np.isin(materials, _FIELDS)
    bright = np.exp(grain + fields).astype(np.float32)
    tint = 1 + m.SPECTRUM[:, None, None] * (0.06 * fractal(SHAPE, rng, 1.5, wavelength_px=60))
    damp = rng.normal(0, 0.08) * (1 - 0.8 * np.minimum(green, 1)) * ~np.isin(materials, _LIQUID)
    soil = np.where(np.isin(materials, _BARE), traits.soil[:, None, None], 1)
    return bright * tint * traits.gain[:, None, None] * (1 - m.WETNESS[:, None, None] * damp) * soil


def _shade(traits: Traits, sun: Sun, rng: np.random.Generator) -> Array:
    """Return sunlight on slopes relative to level ground, (y, x)."""
    height = traits.relief_m * fractal(SHAPE, rng, 3.4, wavelength_px=110, smallest_px=6)
    low = Sun(min(sun.zenith, 75.0), sun.azimuth)  # at the polar night's edge the cosine gives no light
    return shading(illumination(*slopes(height), low))
