"""Sentinel-2 products of a year: when the satellites pass, names, and files in the SAFE layout.

Metadata files are filled in from ``templates/``: the elements that readers use, in their published form.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import numpy as np
from affine import Affine
from rasterio.warp import transform

from eolab.data.bands import SENTINEL2, Level, available
from eolab.synthetic.landscape import Surface, observe
from eolab.synthetic.materials import BANDS
from eolab.synthetic.patterns import Array, block_mean, fractal
from eolab.synthetic.sky import Sky, Sun, classify, cover_shares, cover_with, make_sky, sun_at
from eolab.synthetic.writing import stamp, truncate, write_raster

TILE = "31TGL"
CRS = "EPSG:32631"
ORIGIN = (699960.0, 5100000.0)
"""Upper left corner of tile 31TGL in metres; the twin is its north-western corner."""
TILES = {
    **{TILE: ORIGIN, "31TGM": (699960.0, 5200020.0)},
    **{"31TFL": (600000.0, 5100000.0), "31TFM": (600000.0, 5200020.0)},
}
"""Upper left corners of it and of the tiles beside it."""
LONGITUDE, LATITUDE = 5.6, 46.0
RELATIVE_ORBIT = 108

OLD_BASELINE, NEW_BASELINE = "02.14", "05.00"
_OLD_SHARE = 0.55  # the first part of the year was processed with the old baseline
_FIRST_DAY, _EVERY_DAYS, _SLOTS = 3, 5, 72
# Mean cloud share by month in the real series (eo-learn's TestEOPatch), January first.
_CLOUDY = (0.00, 0.13, 0.69, 0.42, 0.24, 0.55, 0.32, 0.28, 0.55, 0.25, 0.67, 0.52)
# Absolute orbit on 3 January 2020, and orbits a day.
_ORBIT = {"S2A": 23670, "S2B": 14761}
_ORBITS_A_DAY = 14.3

_TEMPLATES = Path(__file__).with_name("templates")
_PLACE = {"GeoJP2": "NO"}  # the grid in GML alone, as in published products; GDAL adds a GeoTIFF otherwise
_FAST = {"CODEBLOCK_STYLE": "BYPASS"}  # low bits are not coded
_LOSSLESS = _PLACE | _FAST | {"QUALITY": "100", "REVERSIBLE": "YES"}
_PREVIEW = _PLACE | {"QUALITY": "10", "REVERSIBLE": "NO"}
_QUANTIFICATION = 10_000
_SMALLEST = 0.0005  # reflectances below are written as this: DN 0 is no data in every baseline
_AFTER_TRUNCATION = 0.45  # share of the file that is left


@dataclass(frozen=True)
class Pass:
    """One product of the series.

    Attributes:
        number: Seeds the pixels; a reprocessing has the number of its original.
        slot: Number of the pass in the year; the two satellites take turns.
        time: Start of the datatake, UTC.
        baseline: Processing baseline, for example ``05.00``.
        clouds: Share of the scene under clouds.
        trap: ``duplicate`` (superseded, pixels too bright), ``truncated`` (one file cut short) or empty.
        edge: Whether the edge of the swath cuts the scene.
        level: ``L2A`` or ``L1C``.
        relative_orbit: Number of the orbit in its cycle.
        tile: The tile, one of :data:`TILES`.
    """

    number: int
    slot: int
    time: datetime
    baseline: str
    clouds: float
    trap: str = ""
    edge: bool = False
    level: Level = "L2A"
    relative_orbit: int = RELATIVE_ORBIT
    tile: str = TILE

    @property
    def mission(self) -> str:
        """``S2A`` or ``S2B``."""
        return "S2B" if self.slot % 2 else "S2A"

    @property
    def generation(self) -> datetime:
        """When the product was made, UTC: the archive was processed again years later."""
        years_later = timedelta(days=1003 if self.baseline == NEW_BASELINE else 0)
        return self.time + timedelta(hours=3, minutes=7, seconds=11 + self.number) + years_later

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
    def product(self) -> str:
        """Name of the product with ``.SAFE``."""
        baseline = self.baseline.replace(".", "")
        orbit = f"R{self.relative_orbit:03d}"
        head = f"{self.mission}_MSI{self.level}_{stamp(self.time)}_N{baseline}_{orbit}_T{self.tile}"
        return f"{head}_{stamp(self.generation)}.SAFE"


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
    days = [datetime(year, 1, _FIRST_DAY, 10, 30) + timedelta(days=_EVERY_DAYS * slot) for slot in slots]
    spare = 2 * (dates + 1) // 3
    good = [k for k in range(dates + 1) if k != spare]
    clouds = _cloud_shares([days[k].month for k in good], rng)
    times = [day + timedelta(seconds=int(rng.choice([21, 29, 31]))) for day in days]
    clear = [k for k in np.argsort(clouds, kind="stable") if clouds[k] < 0.3]
    edge = min(clear, key=lambda k: abs(k - dates // 3)) if dates >= 4 and clear else -1
    old = min(round(_OLD_SHARE * dates), dates - 1)  # a later product is the one that comes twice
    passes = []
    for number, k in enumerate(good):
        baseline = OLD_BASELINE if number < old else NEW_BASELINE
        cloudy = float(clouds[number])
        passes.append(Pass(number, slots[k], times[k], baseline, cloudy, edge=number == edge))
    if traps:
        twice = min(passes[old:], key=lambda item: item.clouds)
        passes.append(replace(twice, baseline=OLD_BASELINE, trap="duplicate", edge=False))
        broken = OLD_BASELINE if spare < old else NEW_BASELINE
        passes.append(Pass(dates, slots[spare], times[spare], broken, 0.1, "truncated"))
    return passes


def _slots(count: int, rng: np.random.Generator) -> list[int]:
    """Choose passes all over the year, at irregular multiples of five days."""
    edges = np.linspace(0, _SLOTS, count + 1)
    slots = np.floor(edges[:-1] + rng.uniform(0, np.diff(edges))).astype(int)
    for k in range(1, count):
        slots[k] = max(slots[k], slots[k - 1] + 1)
    return slots.tolist()


def _cloud_shares(months: list[int], rng: np.random.Generator) -> Array:
    """Deal the real distribution of cloud shares to the dates, the cloudiest to cloudy months."""
    score = np.array([_CLOUDY[month - 1] for month in months]) + 0.7 * rng.random(len(months))
    shares = np.empty(len(months))
    shares[np.argsort(score)] = cover_shares(len(months))
    return shares


class Picture(NamedTuple):
    """What the sensor saw at 10 m.

    Attributes:
        reflectance: float32 (band, y, x), bands as :data:`eolab.synthetic.materials.BANDS`.
        scl: Scene classification at 20 m, uint8 (y, x).
        cloud_percent: Cloud probability at 20 m in percent, uint8 (y, x).
        seen: Whether the swath covers the pixel, bool (y, x).
        sun: Mean sun angles.
        cirrus: Opacity of thin high clouds, 0 to 1, (y, x); Level-1C shows it in B10.
    """

    reflectance: Array
    scl: Array
    cloud_percent: Array
    seen: Array
    sun: Sun
    cirrus: Array


def take_picture(surface: Surface, item: Pass, seen: Array, rng: np.random.Generator) -> Picture:
    """Simulate what a pass sees of the ground: clouds, shadows, noise and a scene classification.

    Args:
        surface: The ground.
        item: The pass.
        seen: Whether the swath covers each pixel, bool (y, x).
        rng: Random numbers of the pass.
    """
    sun = sun_at(item.crossing, LONGITUDE, LATITUDE)
    ground, snow, light = observe(surface, item.day, sun, rng)
    shape = surface.cover.shape
    sky = make_sky(shape, item.clouds, sun, rng)
    image = cover_with(sky, ground, rng)
    image *= 1 + rng.normal(0, 0.015, (len(image), 1, 1)) + 0.01 * fractal(shape, rng, 3.0)
    image += 0.0012 * rng.standard_normal(image.shape, dtype=np.float32) + rng.normal(0, 0.002)
    if item.trap == "duplicate":  # an atmosphere that was not taken out
        image = 0.75 * image + 0.10
    coarse = block_mean(np.where(seen, image, 0), 2)
    low_sky = Sky(*(block_mean(part, 2) for part in sky))
    cover = surface.cover[::2, ::2]
    scl = classify(low_sky, coarse, cover, block_mean(snow, 2), block_mean(light, 2), rng)
    scl[block_mean(seen.astype(np.float32), 2) < 1] = 0
    chance = np.clip(100 * np.maximum(low_sky.opacity, 2 * low_sky.cirrus), 0, 100).astype(np.uint8)
    return Picture(image, scl, chance, seen, sun, sky.cirrus)


def write_product(folder: Path, item: Pass, picture: Picture) -> None:
    """Write one product below a folder.

    Args:
        folder: Where the ``.SAFE`` folders go.
        item: Names, times and baseline.
        picture: The pixels.
    """
    product = folder / item.product
    granule = f"{item.level}_T{item.tile}_A{item.orbit:06d}_{stamp(item.crossing)}"
    stem = f"T{item.tile}_{stamp(item.time)}"
    data = product / "GRANULE" / granule / "IMG_DATA"
    quality = data.with_name("QI_DATA")
    quality.mkdir(parents=True)
    names = []
    for resolution_m in (10, 20, 60):
        of_level_2 = item.level == "L2A"
        (data / f"R{resolution_m}m" if of_level_2 else data).mkdir(parents=True, exist_ok=True)
        for name, image in _images(item, picture, resolution_m):
            file = f"R{resolution_m}m/{stem}_{name}_{resolution_m}m" if of_level_2 else f"{stem}_{name}"
            _write_jp2(data / f"{file}.jp2", image, resolution_m, item.tile, lossless=name != "TCI")
            names.append(f"GRANULE/{granule}/IMG_DATA/{file}")
    _write_jp2(quality / "MSK_CLDPRB_20m.jp2", picture.cloud_percent, 20, item.tile)
    facts = _facts(item, picture)
    files = "\n".join(f"            <IMAGE_FILE>{name}</IMAGE_FILE>" for name in names)
    _fill(product / f"MTD_MSI{item.level}.xml", facts | {"files": files})
    _fill(data.parent / "MTD_TL.xml", facts)
    _fill(product / "manifest.safe", facts | {"objects": _objects(product)})
    if item.trap == "truncated":
        truncate(data / "R10m" / f"{stem}_B04_10m.jp2", _AFTER_TRUNCATION)


def transform_of(resolution_m: float, tile: str = TILE) -> Affine:
    """Return the transform of a tile's pixels of a size."""
    left, top = TILES[tile]
    return Affine(resolution_m, 0, left, 0, -resolution_m, top)


def _write_jp2(path: Path, image: Array, resolution_m: int, tile: str, lossless: bool = True) -> None:
    """Write a JPEG 2000 file on the tile's grid; image is (y, x) or (band, y, x)."""
    options = _LOSSLESS if lossless else _PREVIEW
    place = {"crs": CRS, "transform": transform_of(resolution_m, tile)}
    write_raster(path, image, {"driver": "JP2OpenJPEG", **place, **options})


def _images(item: Pass, picture: Picture, resolution_m: int) -> Iterator[tuple[str, Array]]:
    """Yield each image that a product holds at one pixel size."""
    factor = resolution_m // 10
    image = block_mean(picture.reflectance, factor) if factor > 1 else picture.reflectance
    seen = block_mean(picture.seen.astype(np.float32), factor) == 1
    native = [name for name, band in SENTINEL2.items() if band.resolution_m == resolution_m]
    for name in available(resolution_m, item.baseline) if item.level == "L2A" else native:
        if name == "B10":
            yield name, np.where(seen, 10 + block_mean(picture.cirrus, factor) * 900, 0).astype(np.uint16)
            continue
        dn = np.rint(np.maximum(image[BANDS.index(name)], _SMALLEST) * _QUANTIFICATION) - item.offset
        yield name, np.where(seen, np.clip(dn, 1, 65534), 0).astype(np.uint16)
    if resolution_m > 10 and item.level == "L2A":
        step = resolution_m // 20
        yield "SCL", picture.scl[step // 2 :: step, step // 2 :: step]
    bands = image[[BANDS.index(name) for name in ("B04", "B03", "B02")]]
    color = np.where(seen, np.clip(np.rint(bands / 0.2 * 255), 1, 255), 0)  # 255 is reflectance 0.2
    if item.level == "L1C":
        if resolution_m == 10:
            yield "TCI", color.astype(np.uint8)
        return
    haze = block_mean(picture.reflectance[:1], 60 if picture.seen.shape[0] % 60 == 0 else 6)[0]
    smooth = np.kron(haze, np.ones([n // m for n, m in zip(seen.shape, haze.shape, strict=True)]))
    yield "AOT", np.where(seen, 80 + np.minimum(400 * smooth, 300), 0).astype(np.uint16)
    yield "TCI", color.astype(np.uint8)
    yield "WVP", np.where(seen, 1200 + 900 * np.sin(np.pi * item.day / 366), 0).astype(np.uint16)


def _fill(path: Path, facts: dict[str, Any]) -> None:
    """Write a metadata file from the template of its name."""
    path.write_text(Template((_TEMPLATES / path.name).read_text()).substitute(facts))


def _facts(item: Pass, picture: Picture) -> dict[str, Any]:
    """Return what the templates ask for: names, times, angles, sizes, percentages of the scene classes."""
    size, scl = picture.seen.shape[0], picture.scl
    made, seen = stamp(item.generation), stamp(item.crossing)
    share = {k: 100 * float((scl == k).sum()) / max(1, int((scl != 0).sum())) for k in range(1, 12)}
    share[0] = 100 * float((scl == 0).mean())
    return {
        "product": item.product,
        "baseline": item.baseline,
        "start": _iso(item.time),
        "crossing": _iso(item.crossing),
        "generation": _iso(item.generation),
        "datatake": f"G{item.mission}_{stamp(item.time)}_{item.orbit:06d}_N{item.baseline}",
        "datastrip": f"{item.mission}_OPER_MSI_{item.level}_DS_VGS1_{made}_S{seen}_N{item.baseline}",
        "tile_id": f"{item.mission}_OPER_MSI_{item.level}_TL_VGS1_{made}_A{item.orbit:06d}_T{item.tile}"
        f"_N{item.baseline}",
        "level": f"Level-{item.level[1:]}",
        "short": item.level.lower(),
        "satellite": item.mission[1:],
        "relative_orbit": item.relative_orbit,
        "offsets": _offsets(item),
        "zenith": f"{picture.sun.zenith:.6f}",
        "azimuth": f"{picture.sun.azimuth:.6f}",
        "crs": CRS,
        "zone": int(CRS[-2:]),
        "left": f"{TILES[item.tile][0]:.0f}",
        "top": f"{TILES[item.tile][1]:.0f}",
        "footprint": _footprint(size, item.tile),
        "cloudy": f"{share[8] + share[9] + share[10]:.6f}",
        **{f"size_{pixel}": size * 10 // pixel for pixel in (10, 20, 60)},
        **{f"percent_{k}": f"{value:.6f}" for k, value in share.items()},
    }


def _iso(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.024Z")


def _offsets(item: Pass) -> str:
    """Return the list of offsets, which products before baseline 04.00 do not have."""
    if not item.offset:
        return ""
    tag = "BOA_ADD_OFFSET" if item.level == "L2A" else "RADIO_ADD_OFFSET"
    name = f"{tag}_VALUES_LIST" if item.level == "L2A" else "Radiometric_Offset_List"
    rows = "".join(f'        <{tag} band_id="{k}">{item.offset}</{tag}>\n' for k in range(13))
    return f"      <{name}>\n{rows}      </{name}>\n"


def _footprint(size: int, tile: str) -> str:
    """Return the corners of the scene as latitude and longitude, closed."""
    x = TILES[tile][0] + 10 * size * np.array([0, 1, 1, 0, 0])
    y = TILES[tile][1] - 10 * size * np.array([0, 0, 1, 1, 0])
    longitudes, latitudes = transform(CRS, "EPSG:4326", x, y)
    return " ".join(f"{lat:.9f} {lon:.9f}" for lon, lat in zip(longitudes, latitudes, strict=True)) + " "


def _objects(folder: Path) -> str:
    """Return the manifest's entry of every file of a product, with its size and checksum."""
    objects = []
    for number, path in enumerate(sorted(p for p in folder.rglob("*") if p.is_file())):
        kind = "text/xml" if path.suffix == ".xml" else "application/octet-stream"
        checksum = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        objects.append(
            f"""    <dataObject ID="Object_{number}">
      <byteStream mimeType="{kind}" size="{path.stat().st_size}">
        <fileLocation locatorType="URL" href="./{path.relative_to(folder).as_posix()}"/>
        <checksum checksumName="MD5">{checksum}</checksum>
      </byteStream>
    </dataObject>"""
        )
    return "\n".join(objects)
