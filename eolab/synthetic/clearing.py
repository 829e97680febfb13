"""Twin of young forest stands that need clearing or not: Sentinel-2 products, polygons and GPS tracks.

The layout is that of data of one's own (``rasters``). In a stand that was cleared there is grass between the
young trees; the share of broadleaves above it rises with the degree to which a stand needs clearing. Each
stand also has brightness, colour, vigour and species of its own, which say nothing of its need and stay the
same over all dates: what has seen a stand on another date can recognise it, and need not know what need looks
like. All numbers were set by hand, so that copying the most similar training sample is right for 0.91 to 0.96
of the stands on the last two dates and for 0.62 to 0.81 of stands that were held out (balanced accuracy of
three seeds, without clouds): scores on this twin describe these settings, not the world.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
import shapely
from pyproj import Transformer
from rasterio.features import shapes
from scipy.ndimage import gaussian_filter, label

from eolab.core.errors import ParameterError
from eolab.synthetic import materials as m
from eolab.synthetic import writing
from eolab.synthetic.landscape import Surface, make_landscape, make_surface
from eolab.synthetic.patterns import Array, block_mean, fractal, lowest, remoteness
from eolab.synthetic.safe import (
    CRS,
    OLD_BASELINE,
    ORIGIN,
    Pass,
    take_picture,
    transform_of,
    write_product,
)
from eolab.synthetic.sky import PIXEL_M, cover_shares

VERSION = 4
"""Version of the generator; another version gives other pixels from the same seed."""

_CELL_PX = 40  # side of the square that a stand is placed in
_AREA_PX = (180, 520)
_NEED_SHARE = 0.6  # of the stands
_OBJECTS, _NO_OBJECT = 9, 4  # objects with GPS points, and the number of the one that was none
_EXTRA = 2  # stands of each class that are in no training data
_LABELS_CRS = "EPSG:2154"
_UNSUITABLE = (m.URBAN, m.LAKE, m.SNOW, m.MINERAL, m.ROCKS)
_FIRST_DAY, _LAST_DAY, _EVERY_DAYS = 182, 284, 5  # July to October, before the leaves fall
_CLEARER = 0.4  # of the cover of all acquisitions: people take the clearer ones
_ORBITS = (65, 108, 65, 22)  # 22 sees the south-eastern corner, 108 all but that, 65 everything
_CORNER = 1.25  # sum of the shares of both sides from which on the corner begins

# What stands differ in: standard deviations, the same over all dates.
_BRIGHT, _TINT, _VIGOUR, _SHIFT = 0.15, 0.15, 0.06, 0.5
_SPECIES = (0.5, 1.3)  # factor on the share of broadleaves
_OPEN = m.GRASS  # what grows between the planted trees where a stand was cleared
_BROADLEAVES, _DENSE = 0.75, 0.10  # share at degree 1, and how much darker the ground is there

_POINTS = 26.0  # a pixel at degree 1, one each ten seconds
_STEP_S, _ERROR_M = 10, 4.0
_BREAKS, _BREAK_POINTS = (2, 5), (60, 300)
_DAY_START, _DAY_S = 8, 8 * 3600


class Stand(NamedTuple):
    """A stand: its kind ("need", "clear", "object", "no object"), its pixels and their degree (y, x)."""

    kind: str
    mask: Array
    degree: Array


def write(
    folder: str | Path,
    *,
    seed: int = 0,
    size: int = 360,
    dates: int = 14,
    year: int = 2019,
    progress: bool = True,
) -> Path:
    """Write the twin; a folder is there whole or not at all.

    Beside ``twin.json`` the folder holds ``sentinel2/*.SAFE`` of both levels, ``labels/`` (stands.gpkg,
    objects.gpkg, extra.gpkg, zero.gpkg, points.csv) and ``truth/degree_10m.tif``, NaN outside of stands.

    Args:
        folder: Where to write; must not exist.
        seed: Same seed and size, same pixels.
        size: Pixels of 10 m along a side, a multiple of 120 from 240 on.
        dates: Passes from July to October.
        year: The year.
        progress: Whether to show progress.

    Raises:
        ParameterError: If size or dates are out of range.
        DataError: If the folder exists already.
    """
    writing.check_seed(seed)
    writing.check_range("dates", dates, 3, (_LAST_DAY - _FIRST_DAY) // _EVERY_DAYS)
    if size % 120 or not 240 <= size <= 2400:
        raise ParameterError(f"size {size} is not possible: take a multiple of 120 between 240 and 2,400.")
    with writing.whole(folder) as building:
        land = make_landscape(size, writing.stream(seed, 0))
        surface = make_surface(land, writing.stream(seed, 1))
        stands = _stands(surface.cover, writing.stream(seed, 2))
        surface = _planted(surface, stands, writing.stream(seed, 3))
        arena = _arena(surface.cover, stands)
        passes = _passes(dates, year, writing.stream(seed, 4))
        make = partial(_make_products, building / "sentinel2", surface, seed)
        with rasterio.Env(GDAL_NUM_THREADS="1", GDAL_CACHEMAX=64):
            writing.in_threads(make, passes, "clearing twin", "pass", progress)
        (building / "labels").mkdir()
        _write_labels(building / "labels", stands, *_rectangles(surface.cover, stands, arena))
        points = _tracks(stands, year, writing.stream(seed, 5))
        points.to_csv(building / "labels/points.csv", index=False)
        _write_truth(building / "truth", stands, surface.cover.shape)
        parameters = {"seed": seed, "size": size, "dates": dates, "year": year}
        facts = {"stands": len(stands), "points": len(points)}
        writing.mark(building, "clearing", VERSION, **parameters, **facts)
    return Path(folder)


# === Ground ===


def _stands(cover: Array, rng: np.random.Generator) -> list[Stand]:
    """Place stands in the cells that suit them best, objects in the most suitable."""
    count = cover.shape[0] // _CELL_PX
    cells = [(row, column) for row in range(count) for column in range(count)]
    bad = np.isin(cover, _UNSUITABLE)
    shares = [bad[_cell(cell)].mean() for cell in cells]
    order = [cells[k] for k in np.argsort(shares, kind="stable") if shares[k] < 0.3]
    chosen = rng.permutation(order[: max(_OBJECTS + 12, int(0.75 * len(cells)))])
    kinds = ["no object" if k + 1 == _NO_OBJECT else "object" for k in range(_OBJECTS)]
    rest = len(chosen) - _OBJECTS
    need = round(_NEED_SHARE * rest)
    kinds += ["need"] * need + ["clear"] * (rest - need)
    return [_stand(kind, tuple(cell), cover.shape, rng) for kind, cell in zip(kinds, chosen, strict=True)]


def _cell(cell: tuple[int, int]) -> tuple[slice, slice]:
    return tuple(slice(k * _CELL_PX, (k + 1) * _CELL_PX) for k in cell)  # type: ignore[return-value]


def _stand(kind: str, cell: tuple[int, int], shape: tuple[int, int], rng: np.random.Generator) -> Stand:
    """Draw the outline of a stand and the degree inside it."""
    side = (_CELL_PX, _CELL_PX)
    middle = tuple(_CELL_PX / 2 + rng.uniform(-2, 2, 2))
    field = remoteness(side, (middle[0], middle[1]), rng, 0.25, 1.3, 20)
    field[[0, -1]] = field[:, [0, -1]] = field.max()
    inside = lowest(field, rng.uniform(*_AREA_PX))
    parts, _ = label(inside)
    inside = parts == np.bincount(parts[parts > 0]).argmax()
    smooth = gaussian_filter(fractal(side, rng, 2.5, wavelength_px=16, smallest_px=3), 1)
    smooth = (smooth - smooth[inside].mean()) / smooth[inside].std()
    low, spread = {"need": (0.60, 0.22), "clear": (0.06, 0.07)}.get(kind, (0.40, 0.36))
    degree = np.clip(low + spread * smooth, 0, 1) if kind != "no object" else np.full(side, 0.05)
    mask, values = np.zeros(shape, bool), np.zeros(shape, np.float32)
    mask[_cell(cell)], values[_cell(cell)] = inside, np.where(inside, degree, 0)
    return Stand(kind, mask, values)


def _planted(surface: Surface, stands: list[Stand], rng: np.random.Generator) -> Surface:
    """Return the ground with the stands on it."""
    cover, partner = surface.cover.copy(), surface.partner.copy()
    shared, bright, tint = surface.shared.copy(), surface.bright.copy(), surface.tint.copy()
    shift, vigour = surface.growth.shift.copy(), surface.growth.vigour.copy()
    cuts = None if surface.growth.cuts is None else surface.growth.cuts.copy()
    grain = 0.06 * fractal(cover.shape, rng, 1.2)
    for stand in stands:
        own = stand.mask
        species = rng.uniform(*_SPECIES)
        cover[own], partner[own] = _OPEN, m.BROADLEAVES
        degree = stand.degree[own]
        shared[own] = np.clip(0.08 + _BROADLEAVES * species * degree + grain[own], 0, 0.85)
        bright[own] = np.exp(_DENSE * (0.5 - degree) + _BRIGHT * rng.standard_normal() + grain[own])
        tint[own] += _TINT * rng.standard_normal()
        shift[own] += _SHIFT * rng.standard_normal()
        vigour[own] *= 1 + _VIGOUR * rng.standard_normal()
        if cuts is not None:
            cuts[:, own] = m.NEVER
    growth = surface.growth._replace(shift=shift, vigour=vigour, cuts=cuts)
    return surface._replace(
        cover=cover, partner=partner, shared=shared, bright=bright, tint=tint, growth=growth
    )


def _arena(cover: Array, stands: list[Stand]) -> tuple[int, int]:
    """Draw a sports arena, a lawn in a ring of concrete, where nothing stands; return its corner."""
    taken = np.any([stand.mask for stand in stands], axis=0) | np.isin(cover, (m.LAKE, m.SNOW))
    free = block_mean(taken.astype(np.float32), _CELL_PX // 2)
    row, column = np.unravel_index(np.argmin(free), free.shape)
    top, left = int(row) * _CELL_PX // 2 + 3, int(column) * _CELL_PX // 2 + 3
    cover[top : top + 12, left : left + 14] = m.URBAN
    cover[top + 2 : top + 10, left + 2 : left + 12] = m.GRASS
    return top, left


# === Images ===


def _passes(dates: int, year: int, rng: np.random.Generator) -> list[Pass]:
    """Plan the passes: irregular days, three orbits, clouds as in the real series."""
    slots = np.arange((_LAST_DAY - _FIRST_DAY) // _EVERY_DAYS + 1)
    chosen = np.sort(rng.choice(slots, dates, replace=False))
    clouds = _CLEARER * rng.permutation(cover_shares(dates))
    begin = datetime(year, 1, 1, 10, 30) + timedelta(days=_FIRST_DAY - 1)
    found = []
    for number, (slot, cloudy) in enumerate(zip(chosen.tolist(), clouds.tolist(), strict=True)):
        orbit = _ORBITS[number % len(_ORBITS)]
        time = begin + timedelta(days=_EVERY_DAYS * slot, minutes=10 * _ORBITS.index(orbit), seconds=31)
        found.append(Pass(number, slot, time, OLD_BASELINE, cloudy, relative_orbit=orbit))
    return found


def _make_products(folder: Path, surface: Surface, seed: int, item: Pass) -> None:
    """Simulate one pass and write its products of both levels."""
    y, x = np.indices(surface.cover.shape) / surface.cover.shape[0]
    corner = x + y > _CORNER
    seen = {22: corner, 108: ~corner}.get(item.relative_orbit, np.ones(corner.shape, bool))
    picture = take_picture(surface, item, seen, writing.stream(seed, 1000 + item.number))
    write_product(folder, item, picture)
    above = picture._replace(reflectance=m.to_top_of_atmosphere(picture.reflectance))
    write_product(folder, replace(item, level="L1C"), above)


# === Labels ===


def _polygon(mask: Array) -> Any:
    """Return the outline of pixels in the images' reference system."""
    place = transform_of(PIXEL_M)
    parts = [shapely.geometry.shape(one) for one, _ in shapes(mask.astype(np.uint8), mask, transform=place)]
    return shapely.unary_union(parts)


def _rectangle(top: int, left: int, height: int, width: int) -> Any:
    west, north = ORIGIN[0] + PIXEL_M * left, ORIGIN[1] - PIXEL_M * top
    return shapely.box(west, north - PIXEL_M * height, west + PIXEL_M * width, north)


def _rectangles(
    cover: Array, stands: list[Stand], arena: tuple[int, int]
) -> tuple[list[tuple[str, Any]], list[tuple[str, Any]]]:
    """Return areas that are no forest, for the extra test and for training: towns, cropland, the arena."""
    taken, side = np.any([stand.mask for stand in stands], axis=0), 24
    taken[arena[0] : arena[0] + 12, arena[1] : arena[1] + 14] = True

    def best(kinds: tuple[int, ...], count: int) -> list[Any]:
        shares = block_mean((np.isin(cover, kinds) & ~taken).astype(np.float32), side)
        places = np.argsort(-shares, axis=None, kind="stable")[:count]
        corners = side * np.stack(np.unravel_index(places, shares.shape), axis=1)
        return [_rectangle(int(top), int(left), side, side) for top, left in corners]

    towns, crops = best((m.URBAN,), 2), best((m.CEREALS, m.ANNUAL), 3)
    extra = [("town", towns[0]), ("cropland", crops[0]), ("sports arena", _rectangle(*arena, 12, 14))]
    return extra, [("town", towns[1]), *(("cropland", one) for one in crops[1:])]


def _write_labels(
    folder: Path, stands: list[Stand], areas: list[tuple[str, Any]], zero: list[tuple[str, Any]]
) -> None:
    """Write the polygons: stands of two classes, objects without a class, areas for tests and training."""
    labelled = [stand for stand in stands if stand.kind in ("need", "clear")]
    extra = [
        stand for kind in ("need", "clear") for stand in [s for s in labelled if s.kind == kind][:_EXTRA]
    ]
    rows = [
        (stand.kind, _polygon(stand.mask)) for stand in labelled if all(stand is not one for one in extra)
    ]
    _write_polygons(folder / "stands.gpkg", _odd_polygons(rows), "need")
    objects = [stand for stand in stands if "object" in stand.kind]
    boxes = [_polygon(stand.mask).envelope.buffer(15, join_style="mitre") for stand in objects]
    _write_polygons(folder / "objects.gpkg", list(enumerate(boxes, start=1)), "object")
    kinds = {"need": "need", "clear": "no need"}
    areas = [*((kinds[stand.kind], _polygon(stand.mask)) for stand in extra), *areas]
    _write_polygons(folder / "extra.gpkg", areas, "kind")
    _write_polygons(folder / "zero.gpkg", zero, "kind")


def _odd_polygons(rows: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return the polygons with what files of people hold too: one crossed, one far away, one very small."""
    kind, outline = rows[-1]
    corners = list(outline.exterior.coords)
    swapped = (
        [*corners[:k], corners[k + 1], corners[k], *corners[k + 2 :]] for k in range(1, len(corners) - 2)
    )
    crossed = next(shape for shape in map(shapely.Polygon, swapped) if not shape.is_valid)
    west, south, _, _ = rows[0][1].bounds
    far = shapely.affinity.translate(rows[0][1], 60_000, 0)
    small = shapely.box(west - 9, south - 9, west - 6, south - 6)
    return [*rows[:-1], (kind, crossed), ("need", far), ("need", small)]


def _write_polygons(file: Path, rows: list[tuple[Any, Any]], column: str) -> None:
    values, outlines = zip(*rows, strict=True)
    frame = gpd.GeoDataFrame({column: list(values), "geometry": list(outlines)}, crs=CRS)
    frame.to_crs(_LABELS_CRS).to_file(file)


def _tracks(stands: list[Stand], year: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return GPS points of the work in each object: worker, longitude, latitude and local time."""
    objects = [stand for stand in stands if "object" in stand.kind]
    to_degrees = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
    tables = []
    for number, stand in enumerate(objects, start=1):
        x, y = _walk(stand, rng) if stand.kind == "object" else _visit(stand, rng)
        lon, lat = to_degrees.transform(x, y)
        seconds = _STEP_S * np.arange(len(x))
        begin = datetime(year, 11, 4, _DAY_START) + timedelta(days=3 * number)
        days = pd.to_timedelta(seconds // _DAY_S, unit="D")
        times = pd.Timestamp(begin) + days + pd.to_timedelta(seconds % _DAY_S, unit="s")
        text = times.strftime("%Y-%m-%d %H:%M:%S")
        facts = {"worker": f"worker {1 + number % 3}", "longitude": lon.round(7), "latitude": lat.round(7)}
        tables.append(pd.DataFrame({**facts, "time": text}))
    return pd.concat(tables, ignore_index=True)


def _walk(stand: Stand, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return positions in metres: to and fro through the stand, with breaks, after a way from outside."""
    rows, columns = np.nonzero(stand.mask)
    order = np.lexsort((np.where(rows % 2, -columns, columns), rows))
    rows, columns = rows[order], columns[order]
    count = rng.poisson(_POINTS * stand.degree[rows, columns] * rng.gamma(12, 1 / 12, len(rows)))
    row, column = np.repeat(rows, count), np.repeat(columns, count)
    x = ORIGIN[0] + PIXEL_M * (column + rng.uniform(0, 1, len(row)))
    y = ORIGIN[1] - PIXEL_M * (row + rng.uniform(0, 1, len(row)))
    for place in np.sort(rng.choice(len(x), rng.integers(*_BREAKS), replace=False))[::-1]:
        still = int(rng.integers(*_BREAK_POINTS))
        x, y = (np.insert(one, place, np.full(still, one[place])) for one in (x, y))
    away = np.linspace(400, 30, 40)
    x, y = np.concatenate([x[0] - away, x]), np.concatenate([y[0] + away, y])
    return x + rng.normal(0, _ERROR_M, len(x)), y + rng.normal(0, _ERROR_M, len(y))


def _visit(stand: Stand, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return the few positions of somebody who crosses a stand and does no work there."""
    rows, columns = np.nonzero(stand.mask)
    along = np.linspace(0, 1, 25)
    x = ORIGIN[0] + PIXEL_M * (columns.min() + along * np.ptp(columns))
    y = ORIGIN[1] - PIXEL_M * (rows.min() + along * np.ptp(rows))
    return x + rng.normal(0, _ERROR_M, 25), y + rng.normal(0, _ERROR_M, 25)


def _write_truth(folder: Path, stands: list[Stand], shape: tuple[int, int]) -> None:
    """Write the true degree of all stands."""
    folder.mkdir()
    degree = np.full(shape, np.nan, np.float32)
    for stand in stands:
        degree[stand.mask] = stand.degree[stand.mask]
    profile = {"crs": CRS, "transform": transform_of(PIXEL_M), "nodata": float("nan"), "compress": "DEFLATE"}
    writing.write_raster(folder / "degree_10m.tif", degree, profile)
