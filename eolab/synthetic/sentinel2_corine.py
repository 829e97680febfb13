"""Twin of a Sentinel-2 year over a CORINE map, with the true land cover (layout ``sentinel2_corine``)."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine

from eolab.core.errors import ParameterError
from eolab.data.schemes import IGNORE
from eolab.data.schemes.landcover import LANDCOVER
from eolab.synthetic import writing
from eolab.synthetic.calendar import CRS, LATITUDE, LONGITUDE, ORIGIN, Pass, plan
from eolab.synthetic.clouds import classify, cover_with, make_sky
from eolab.synthetic.corine import MMU_CELLS, make_corine, on_scene, write_corine
from eolab.synthetic.landscape import Landscape, make_landscape
from eolab.synthetic.materials import BANDS
from eolab.synthetic.noise import block_mean, fractal
from eolab.synthetic.safe import Picture, write_product
from eolab.synthetic.sun import sun_at
from eolab.synthetic.surface import Surface, make_surface, observe

Array = np.ndarray

VERSION = 1
"""Version of the generator; another version gives other pixels from the same seed."""
_SIDE = {"smallest": 96, "step": 12, "largest": 4800}
_MOST_DATES = 60


def write(
    folder: str | Path,
    *,
    seed: int = 0,
    size: int = 480,
    dates: int = 20,
    year: int = 2020,
    progress: bool = True,
    traps: bool = True,
) -> Path:
    """Write the twin; a folder is there whole or not at all.

    Beside ``twin.json`` the folder holds ``sentinel2/*.SAFE``, ``corine/`` with the map of two years before
    and ``truth/`` with the land cover of the year and of two years before.

    Args:
        folder: Where to write; must not exist.
        seed: Same seed and size, same pixels.
        size: Pixels of 10 m along a side, a multiple of 12 from 96 on. A scene below 400 pixels shrinks its
            fields and villages, and CORINE's smallest patch of 25 ha, in proportion. Cells of 100 m are
            coarse there: its CORINE is right for 30 to 60 % of the pixels instead of 65 to 75 %.
        dates: Good dates in the year.
        year: The year.
        progress: Whether to show progress.
        traps: Whether to add what real archives hold besides: an older, wrong version of one product and a
            further date with a truncated image.

    Returns:
        The folder.

    Raises:
        ParameterError: If size or dates are out of range.
        DataError: If the folder exists already.
    """
    folder = Path(folder)
    _check_size(size)
    writing.check_range("dates", dates, 1, _MOST_DATES)
    with writing.whole(folder) as building:
        streams = np.random.SeedSequence(seed).spawn(4)
        land = make_landscape(size, np.random.default_rng(streams[0]))
        surface = make_surface(land, np.random.default_rng(streams[1]))
        passes = plan(dates, year, np.random.default_rng(streams[2]), traps)
        facts = _write_maps(building, land)
        make = partial(_make_product, building / "sentinel2", surface, seed)
        with rasterio.Env(GDAL_NUM_THREADS="1", GDAL_CACHEMAX=64):
            writing.in_threads(make, passes, "Sentinel-2 twin", "product", progress)
        parameters = {"seed": seed, "size": size, "dates": dates, "year": year, "traps": traps}
        writing.mark(building, "sentinel2_corine", VERSION, **parameters, **facts)
    return folder


def _check_size(size: int) -> None:
    if size < _SIDE["smallest"] or size > _SIDE["largest"] or size % _SIDE["step"]:
        raise ParameterError(
            f"size {size} is not possible: take a multiple of {_SIDE['step']} between "
            f"{_SIDE['smallest']} and {_SIDE['largest']}, so that the 10, 20 and 60 m grids fit."
        )


def _write_maps(folder: Path, land: Landscape) -> dict[str, Any]:
    """Write truth and CORINE, and return what twin.json says of them."""
    now, before = land.scene(land.now), land.scene(land.before)
    size = now.shape[0]
    truth = folder / "truth"
    truth.mkdir()
    _write_classes(truth / "land_cover_10m.tif", now)
    _write_classes(truth / "land_cover_10m_before.tif", before)
    mmu_cells = max(2, round(MMU_CELLS * min(1.0, land.terrain.cell_px / 100) ** 2))
    corine = make_corine(land, ORIGIN, CRS, mmu_cells)
    write_corine(folder / "corine", corine)
    old = on_scene(corine, size, ORIGIN, CRS)
    labelled = old != IGNORE
    shares = np.bincount(now.ravel(), minlength=len(LANDCOVER)) / now.size
    return {
        "class_shares": dict(zip(LANDCOVER.names, shares.round(4).tolist(), strict=True)),
        "changed_share": round(float((now != before).mean()), 4),
        "corine_labelled_share": round(float(labelled.mean()), 4),
        "corine_right_share": round(float((old == now)[labelled].mean()), 4),
        "corine_mmu_ha": mmu_cells,
    }


def _write_classes(path: Path, cover: Array) -> None:
    """Write class indices as GeoTIFF with the colours of the class scheme."""
    colors = {
        index: (int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16), 255)
        for index, color in enumerate(LANDCOVER.colors)
    }
    place = Affine(10, 0, ORIGIN[0], 0, -10, ORIGIN[1])
    profile = {"crs": CRS, "transform": place, "nodata": IGNORE, "compress": "DEFLATE"}
    writing.write_raster(path, cover, profile, colors)


def _make_product(folder: Path, surface: Surface, seed: int, item: Pass) -> None:
    """Simulate one acquisition and write it; the pixels depend on seed and number alone."""
    rng = np.random.default_rng([seed, 1000 + item.number])
    sun = sun_at(item.crossing, LONGITUDE, LATITUDE)
    ground = observe(surface, item.day, sun, rng)
    shape = surface.cover.shape
    sky = make_sky(shape, item.clouds, sun, rng)
    image = cover_with(sky, ground.reflectance, rng)
    image *= 1 + rng.normal(0, 0.015, (len(BANDS), 1, 1)) + 0.01 * fractal(shape, rng, 3.0)
    image += 0.0012 * rng.standard_normal(image.shape, dtype=np.float32) + rng.normal(0, 0.002)
    if item.trap == "duplicate":  # an atmosphere that was not taken out
        image = 0.75 * image + 0.10
    seen = _swath(shape) if item.edge else np.ones(shape, bool)
    coarse = block_mean(np.where(seen, image, 0), 2)
    low_sky = sky.coarser()
    cover = surface.cover[::2, ::2]
    scl = classify(low_sky, coarse, cover, block_mean(ground.snow, 2), block_mean(ground.light, 2), rng)
    scl[block_mean(seen.astype(np.float32), 2) < 1] = 0
    chance = np.clip(100 * np.maximum(low_sky.opacity, 2 * low_sky.cirrus), 0, 100).astype(np.uint8)
    write_product(folder, item, Picture(image, scl, chance, seen, sun))


def _swath(shape: tuple[int, int]) -> Array:
    """Return which pixels lie inside a swath whose western edge crosses the scene."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return x > 0.42 * shape[1] - 0.22 * y
