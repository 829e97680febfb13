"""Twin of Sentinel-2 years over a CORINE map, with the true land cover (layout ``sentinel2_corine``).

The map is CORINE-like: 100 m cells of the majority of the first year, generalised to patches of 25 ha. Land
cover changes from year to year (:func:`eolab.synthetic.landscape.make_landscape`); seasons come some days
early or late, and the middle one of three or more years has a drought, which changes no land cover.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from affine import Affine
from rasterio.warp import transform
from scipy.ndimage import distance_transform_edt, gaussian_filter, label

from eolab.core.errors import ParameterError
from eolab.data.layouts.corine import FILE
from eolab.data.schemes import IGNORE
from eolab.data.schemes.corine import CORINE
from eolab.data.schemes.landcover import LANDCOVER, from_corine
from eolab.synthetic import materials as m
from eolab.synthetic import writing
from eolab.synthetic.landscape import (
    MARGIN_PX,
    Landscape,
    Surface,
    Weather,
    make_landscape,
    make_surface,
)
from eolab.synthetic.patterns import Array
from eolab.synthetic.safe import (
    CRS,
    TILE,
    TILES,
    Pass,
    plan,
    take_picture,
    transform_of,
    write_product,
)
from eolab.synthetic.sky import PIXEL_M

VERSION = 2
"""Version of the generator; another version gives other pixels from the same seed."""
_LEAST_SIZE, _MOST_SIZE = 96, 4800
_MOST_DATES, _MOST_YEARS = 60, 5
_LATE_DAYS = 8.0  # most days by which a season comes early or late

_CORINE_FOLDER = "u2018_clc2018_v2020_20u1_raster100m"
_CELL_M = 100
_NODATA = -128
_MMU_CELLS = 25
_HAND = 0.8  # how far, in cells, the mapper looks beside a cell
# Level-3 code of each class where nothing else is said, in the order of the class scheme.
_CODES = (112, 231, 211, 212, 131, 332, 331, 311, 312, 324, 512, 335)
_MIXED_FOREST, _CULTIVATION_PATTERNS, _FARMLAND_NATURAL = 313, 242, 243
_DOMINANT = 0.60  # share of a patch that its class must cover, else the patch is mixed
_ALPINE = 0.30  # relative height above which grass is natural grassland and shrub is heath


def write(
    folder: str | Path,
    *,
    seed: int = 0,
    size: int = 480,
    dates: int = 20,
    year: int = 2018,
    years: int = 3,
    tiles: int = 1,
    progress: bool = True,
    traps: bool = True,
) -> Path:
    """Write the twin; a folder is there whole or not at all.

    Beside ``twin.json`` the folder holds ``sentinel2/*.SAFE`` of all years, ``corine/`` with the map of the
    first year and ``truth/land_cover_10m_<year>.tif`` with the land cover of each year. Several
    tiles have a land each, one map together, and their truth in ``truth/<tile>/``.

    Args:
        folder: Where to write; must not exist.
        seed: Same seed and size, same pixels.
        size: Pixels of 10 m along a side, a multiple of 12 from 96 on. A scene below 400 pixels shrinks its
            fields and villages, and CORINE's smallest patch of 25 ha, in proportion. Cells of 100 m are
            coarse there: its CORINE is right for 30 to 60 % of the pixels instead of 65 to 75 %.
        dates: Good dates in each year.
        year: The first year.
        years: Number of years, 1 to 5.
        tiles: Number of tiles, the first ones of :data:`eolab.synthetic.safe.TILES`; the first one has the
            same pixels whatever their number.
        progress: Whether to show progress.
        traps: Whether to add what real archives hold besides, to the last year: an older, wrong version of
            one product and a further date with a truncated image.

    Returns:
        The folder.

    Raises:
        ParameterError: If size, dates, years or tiles are out of range.
        DataError: If the folder exists already.
    """
    if not _LEAST_SIZE <= size <= _MOST_SIZE or size % 12:
        raise ParameterError(
            f"size {size} is not possible: take a multiple of 12 between {_LEAST_SIZE} and {_MOST_SIZE}, so "
            f"that the 10, 20 and 60 m grids fit."
        )
    writing.check_range("dates", dates, 1, _MOST_DATES)
    writing.check_range("years", years, 1, _MOST_YEARS)
    writing.check_range("tiles", tiles, 1, len(TILES))
    chosen = list(TILES)[:tiles]
    drought = years // 2 if years > 2 else None
    with writing.whole(folder) as building:
        maps: list[Corine] = []
        facts: dict[str, dict[str, Any]] = {}
        for number, tile in enumerate(chosen):
            streams = np.random.SeedSequence([seed, number] if number else seed).spawn(4)
            land = make_landscape(size, np.random.default_rng(streams[0]), years)
            for k, rng in enumerate(np.random.default_rng(one) for one in streams[2].spawn(years)):
                weather = Weather(rng.uniform(-_LATE_DAYS, _LATE_DAYS), float(k == drought))
                passes = plan(dates, year + k, rng, traps and k == years - 1)
                first = (number * _MOST_YEARS + k) * (_MOST_DATES + 1)
                passes = [replace(one, number=one.number + first, tile=tile) for one in passes]
                surface = make_surface(land, np.random.default_rng(streams[1]), k, weather, rng)
                make = partial(_make_product, building / "sentinel2", surface, seed)
                what = f"Sentinel-2 twin, {year + k}" + (f", {tile}" if tiles > 1 else "")
                with rasterio.Env(GDAL_NUM_THREADS="1", GDAL_CACHEMAX=64):
                    writing.in_threads(make, passes, what, "product", progress)
            maps.append(make_corine(land, _mmu_cells(land), tile))
            truth = building / "truth" / (tile if tiles > 1 else "")
            facts[tile] = _write_truths(truth, land, year, maps[-1], tile)
        _write_corine(building / "corine" / _CORINE_FOLDER / FILE, _joined(maps))
        parameters = {"seed": seed, "size": size, "dates": dates, "year": year, "years": years}
        parameters |= {"traps": traps} | ({"tiles": tiles} if tiles > 1 else {})
        said = facts[TILE] if tiles == 1 else {"of_tiles": facts}
        dry = None if drought is None else year + drought
        writing.mark(building, "sentinel2_corine", VERSION, **parameters, **said, drought_year=dry)
    return Path(folder)


def _mmu_cells(land: Landscape) -> int:
    """Return the smallest patch of the map in cells."""
    return max(2, round(_MMU_CELLS * min(1.0, land.cell_px / 100) ** 2))


def _write_truths(folder: Path, land: Landscape, first: int, corine: "Corine", tile: str) -> dict[str, Any]:
    """Write the truth and return what twin.json says of it and the map; the land begins in the first year."""
    truths = {first + k: land.scene(cover) for k, cover in enumerate(land.covers)}
    folder.mkdir(parents=True)
    colors = {index: (*bytes.fromhex(color[1:]), 255) for index, color in enumerate(LANDCOVER.colors)}
    place = transform_of(PIXEL_M, tile)
    profile = {"crs": CRS, "transform": place, "nodata": IGNORE, "compress": "DEFLATE"}
    for year, truth in truths.items():
        writing.write_raster(folder / f"land_cover_10m_{year}.tif", truth, profile, colors)
    last = land.scene(land.now)
    old = on_scene(corine, len(last), tile)
    labelled = old != IGNORE
    shares = np.bincount(last.ravel(), minlength=len(LANDCOVER)) / last.size
    changed = {year + 1: truth != truths[year + 1] for year, truth in truths.items() if year + 1 in truths}
    right = {year: (old == truth)[labelled] for year, truth in truths.items()}
    return {
        "class_shares": dict(zip(LANDCOVER.names, shares.round(4).tolist(), strict=True)),
        "changed_share": {str(year): round(float(one.mean()), 4) for year, one in changed.items()},
        "corine_labelled_share": round(float(labelled.mean()), 4),
        "corine_right_share": {str(year): round(float(one.mean()), 4) for year, one in right.items()},
        "corine_mmu_ha": _mmu_cells(land),
    }


def _make_product(folder: Path, surface: Surface, seed: int, item: Pass) -> None:
    """Simulate one acquisition and write it; the pixels depend on seed and number alone."""
    y, x = np.indices(surface.cover.shape)
    seen = (x > 0.42 * surface.cover.shape[1] - 0.22 * y) | (not item.edge)  # the western edge of the swath
    rng = np.random.default_rng([seed, 1000 + item.number])
    write_product(folder, item, take_picture(surface, item, seen, rng))


class Corine(NamedTuple):
    """A map on the European 100 m grid: level-3 codes (y, x), 0 outside, and place of its first cell."""

    code: Array
    left: int
    top: int


def make_corine(land: Landscape, mmu_cells: int = _MMU_CELLS, tile: str = TILE) -> Corine:
    """Generalise the land cover of the first year.

    Args:
        land: The land with its margin.
        mmu_cells: Smallest patch in cells; smaller ones go to their largest neighbour.
        tile: Where the land lies.
    """
    column, row = _cells(len(land.before), tile, MARGIN_PX)
    left, top = int(column.min()), int(row.min())
    shape = (int(row.max()) - top + 1, int(column.max()) - left + 1)
    cell = (row - top) * shape[1] + column - left
    count = np.bincount(cell, minlength=shape[0] * shape[1])
    found = [np.bincount(cell, land.before.ravel() == k, count.size) for k in range(len(_CODES))]
    share = (np.stack(found) / np.maximum(count, 1)).reshape(-1, *shape)  # (class, y, x)
    height = np.bincount(cell, land.relative.ravel(), count.size) / np.maximum(count, 1)
    high = height.reshape(shape) > _ALPINE
    codes = np.array(_CODES)[gaussian_filter(share, (0, _HAND, _HAND)).argmax(axis=0)]
    codes[(codes == 231) & high] = 321
    codes[(codes == 324) & high] = 322
    grid = _generalise(codes, (count >= 50).reshape(shape), mmu_cells)
    return Corine(_mixed(grid, share), left, top)


def _joined(maps: list[Corine]) -> Corine:
    """Return one map of several that lie apart, 0 between them."""
    left, top = min(one.left for one in maps), min(one.top for one in maps)
    width = max(one.left + one.code.shape[1] for one in maps) - left
    code = np.zeros((max(one.top + len(one.code) for one in maps) - top, width), maps[0].code.dtype)
    for one in maps:
        part = code[one.top - top :, one.left - left :][: len(one.code), : one.code.shape[1]]
        np.copyto(part, one.code, where=one.code > 0)
    return Corine(code, left, top)


def _cells(size: int, tile: str, margin_px: int = 0) -> tuple[Array, Array]:
    """Return column and row on the European grid of each pixel of a scene; its side includes a margin."""
    rows, columns = np.indices((size, size)).reshape(2, -1) - margin_px + 0.5
    left, top = TILES[tile]
    x, y = left + columns * PIXEL_M, top - rows * PIXEL_M
    east, north = (np.asarray(v) for v in transform(CRS, "EPSG:3035", x, y))
    return (east // _CELL_M).astype(int), (-north // _CELL_M).astype(int)


def _mixed(grid: Array, share: Array) -> Array:
    """Return the map with a mixed class for each patch that no single cover dominates."""
    grid = grid.copy()
    for code in np.unique(grid[grid > 0]):
        patches, count = label(grid == code)
        for patch in range(1, count + 1):
            inside = patches == patch
            part = share[:, inside].mean(axis=1)
            farmed = part[[m.GRASS, m.CEREALS, m.ANNUAL]].sum()
            natural = part[[m.BROADLEAVES, m.CONIFERS, m.SHRUB]].sum()
            if part.max() >= _DOMINANT:
                continue
            if part[m.BROADLEAVES] + part[m.CONIFERS] > 0.65:
                grid[inside] = _MIXED_FOREST
            elif farmed > 0.75:
                grid[inside] = _CULTIVATION_PATTERNS
            elif farmed + natural > 0.75 and min(farmed, natural) > 0.25:
                grid[inside] = _FARMLAND_NATURAL
    return grid


def _generalise(codes: Array, full: Array, mmu_cells: int) -> Array:
    """Return codes in patches of the minimum size, 0 outside; smaller patches go to those beside them."""
    grid = np.where(full, codes, 0)
    for cells in sorted({3, max(3, mmu_cells // 3), mmu_cells}):  # small patches first, as a mapper would
        while (small := _small_patches(grid, cells)).any() and not small[full].all():
            nearest = distance_transform_edt(small | ~full, return_distances=False, return_indices=True)
            grid = np.where(full, grid[tuple(nearest)], 0)
    return grid


def _small_patches(grid: Array, cells: int) -> Array:
    """Return which cells belong to a patch of fewer than ``cells`` cells, joined by their sides."""
    small = np.zeros(grid.shape, bool)
    for code in np.unique(grid[grid > 0]):
        patches, _ = label(grid == code)
        sizes = np.bincount(patches.ravel())
        sizes[0] = cells
        small |= sizes[patches] < cells
    return small


def _write_corine(path: Path, corine: Corine) -> None:
    """Write the map with its grid codes."""
    path.parent.mkdir(parents=True)
    grid_code = np.full(524, _NODATA, np.int8)
    grid_code[CORINE["code"]] = CORINE["grid_code"]
    place = Affine(_CELL_M, 0, corine.left * _CELL_M, 0, -_CELL_M, -corine.top * _CELL_M)
    profile = {"crs": "EPSG:3035", "transform": place, "nodata": _NODATA, "compress": "LZW"}
    writing.write_raster(path, grid_code[corine.code], profile)


def on_scene(corine: Corine, size: int, tile: str = TILE) -> Array:
    """Return the update class, or ``IGNORE``, that the map gives each pixel of a scene (nearest cell)."""
    column, row = _cells(size, tile)
    return from_corine(corine.code[row - corine.top, column - corine.left]).reshape(size, size)
