"""A CORINE-like map of a land cover: 100 m cells of the majority, generalised to patches of 25 ha."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from affine import Affine
from rasterio.warp import transform as warp
from scipy.ndimage import distance_transform_edt, gaussian_filter, label

from eolab.data.schemes import IGNORE
from eolab.data.schemes.corine import CORINE
from eolab.data.schemes.landcover import CORINE_TO_UPDATE
from eolab.synthetic import materials as m
from eolab.synthetic.landscape import Landscape
from eolab.synthetic.sun import PIXEL_M
from eolab.synthetic.terrain import MARGIN_PX
from eolab.synthetic.writing import write_raster

Array = np.ndarray

FOLDER = "u2018_clc2018_v2020_20u1_raster100m/DATA"
FILE = "U2018_CLC2018_V2020_20u1.tif"
CELL_M = 100
NODATA = -128
MMU_CELLS = 25
_HAND = 0.8  # how far, in cells, the mapper looks beside a cell
# Level-3 code of each class where nothing else is said, in the order of the class scheme.
_CODES = (112, 231, 211, 212, 131, 332, 331, 311, 312, 324, 512, 335)
_MIXED_FOREST, _CULTIVATION_PATTERNS, _FARMLAND_NATURAL = 313, 242, 243
_DOMINANT = 0.60  # share of a patch that its class must cover, else the patch is mixed
_ALPINE = 0.30  # relative height above which grass is natural grassland and shrub is heath


@dataclass(frozen=True)
class Corine:
    """A map on the European 100 m grid.

    Attributes:
        grid_code: int8 (y, x), 1 to 44, :data:`NODATA` outside.
        transform: Affine transform of the grid, EPSG:3035.
    """

    grid_code: Array
    transform: Affine


def make_corine(land: Landscape, origin: tuple[float, float], crs: str, mmu_cells: int = MMU_CELLS) -> Corine:
    """Generalise the land cover of two years before.

    Args:
        land: The land with its margin.
        origin: Upper left corner of the scene in metres.
        crs: Coordinate reference system of the scene.
        mmu_cells: Smallest patch in cells; smaller ones go to their largest neighbour.
    """
    rows, columns = np.indices(land.before.shape)
    x = origin[0] + (columns - MARGIN_PX + 0.5) * PIXEL_M
    y = origin[1] - (rows - MARGIN_PX + 0.5) * PIXEL_M
    east, north = (np.asarray(v) for v in warp(crs, "EPSG:3035", x.ravel(), y.ravel()))
    column, row = (east // CELL_M).astype(int), (-north // CELL_M).astype(int)
    left, top = int(column.min()), int(row.min())
    shape = (int(row.max()) - top + 1, int(column.max()) - left + 1)
    cell = (row - top) * shape[1] + column - left
    count = np.bincount(cell, minlength=shape[0] * shape[1])
    share = np.stack(
        [np.bincount(cell[(land.before == k).ravel()], minlength=count.size) for k in range(len(_CODES))]
    ) / np.maximum(count, 1)
    height = np.bincount(cell, land.terrain.relative.ravel(), minlength=count.size) / np.maximum(count, 1)
    smooth = gaussian_filter(share.reshape(-1, *shape), (0, _HAND, _HAND))
    codes = _cell_codes(smooth, height.reshape(shape))
    full = (count >= 50).reshape(shape)
    grid = _mixed(_generalise(codes, full, mmu_cells), share.reshape(-1, *shape))
    table = np.full(524, NODATA, np.int8)
    table[CORINE["code"].to_numpy()] = CORINE["grid_code"].to_numpy()
    return Corine(table[grid], Affine(CELL_M, 0, left * CELL_M, 0, -CELL_M, -top * CELL_M))


def _cell_codes(share: Array, height: Array) -> Array:
    """Return the level-3 code of each cell from the share of each class, (class, y, x)."""
    codes = np.array(_CODES)[share.argmax(axis=0)]
    codes[(codes == 231) & (height > _ALPINE)] = 321
    codes[(codes == 324) & (height > _ALPINE)] = 322
    return codes


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


def write_corine(folder: Path, corine: Corine) -> Path:
    """Write the map under its published name below a folder."""
    path = folder / FOLDER / FILE
    path.parent.mkdir(parents=True)
    profile = {"crs": "EPSG:3035", "transform": corine.transform, "nodata": NODATA, "compress": "LZW"}
    write_raster(path, corine.grid_code, profile)
    return path


def on_scene(corine: Corine, size: int, origin: tuple[float, float], crs: str) -> Array:
    """Return the update class, or ``IGNORE``, that the map gives each pixel of a scene (nearest cell)."""
    rows, columns = np.indices((size, size))
    x, y = origin[0] + (columns + 0.5) * PIXEL_M, origin[1] - (rows + 0.5) * PIXEL_M
    east, north = (np.asarray(v) for v in warp(crs, "EPSG:3035", x.ravel(), y.ravel()))
    column = (east - corine.transform.c) // CELL_M
    row = (corine.transform.f - north) // CELL_M
    code = corine.grid_code[row.astype(int), column.astype(int)].reshape(size, size)
    table = np.full(256, IGNORE, np.uint8)
    codes = dict(zip(CORINE["code"], CORINE["grid_code"], strict=True))
    for level3, index in CORINE_TO_UPDATE.items():
        table[codes[level3]] = index
    return table[code.astype(np.uint8)]
