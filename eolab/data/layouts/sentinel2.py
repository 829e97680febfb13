"""Sentinel-2 series from SAFE products, Level-1C and Level-2A of all baselines.

Reflectance = (DN + offset) / quantification, both from the product's own XML: the offset (-1000 from baseline
04.00 on) is decided by what the metadata list and never by the date. DN 0 (no data) and 65535 (saturated) are
masked before the offset is added; what is negative after it becomes 0.

Each band is read from its finest image. Onto a coarser grid the valid pixels are averaged, onto a finer one
they are repeated (or interpolated). The pixel grids are those of the images themselves: the 10 m grid is that
of B02, 20 m of B05, 60 m of B01, whatever the sizes in the tile's metadata.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import dask.array as da
import numpy as np
import pandas as pd
import rioxarray  # noqa: F401  (registers the .rio accessor)
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from eolab.core.errors import DataError, ParameterError, did_you_mean
from eolab.core.progress import track
from eolab.data.bands import RESOLUTIONS_M, SENTINEL2, normalise_band
from eolab.data.layouts.common import report
from eolab.data.layouts.resample import touched
from eolab.data.layouts.sentinel2_index import (
    Acquisition,
    Header,
    Rejection,
    index,
    level_bands,
    read_header,
    rejection_table,
    scan,
)
from eolab.data.layouts.sentinel2_window import SeriesReader, first_unreadable, source_of

__all__ = ["check_layout", "index", "open_layout", "open_series"]

Bounds = tuple[float, float, float, float]
_CHUNK = 1024


def open_series(
    folder: str | Path,
    bands: Sequence[str] | None = None,
    resolution_m: int = 10,
    bounds: Bounds | None = None,
    tile: str | None = None,
    level: Literal["L1C", "L2A"] | None = None,
    resampling: Literal["nearest", "bilinear"] = "nearest",
    scl: bool = True,
    as_dn: bool = False,
) -> xr.Dataset:
    """Open all acquisitions of one tile as a lazy series.

    Args:
        folder: Where the products are, see :func:`index`.
        bands: Bands to read, for example ``["B04", "B8A"]``; by default all that the level has.
        resolution_m: Nominal pixel size of the series: 10, 20 or 60.
        bounds: (xmin, ymin, xmax, ymax) in the tile's CRS; all pixels that it touches are read. By default
            the whole tile.
        tile: MGRS tile, needed where the folder holds several.
        level: ``L1C`` or ``L2A``, needed where the folder holds both.
        resampling: How bands with larger pixels than ``resolution_m`` are brought to it. Bands with smaller
            pixels are averaged over valid pixels, the scene classification is always nearest.
        scl: Whether to read the scene classification (Level-2A only).
        as_dn: Give integers: variable ``dn`` (uint16, 0 = no data or saturated) with the coordinates
            ``offset`` (time, band) and ``quantification`` (time), for which
            reflectance = (dn + offset) / quantification.

    Returns:
        ``reflectance`` (time, band, y, x) float32, NaN where there is no data, and for Level-2A ``scl``
        (time, y, x) uint8, 0 where there is none; coordinates product and baseline (time).
        ``attrs["rejected"]`` is a JSON table of the files that were left out and why.

    Raises:
        DataError: If nothing can be used, or the bounds lie outside the tile.
        ParameterError: If a parameter is wrong, or several tiles or levels are there and none is chosen.
    """
    folder = Path(folder)
    wanted = None if bands is None else _names(bands)
    if resolution_m not in RESOLUTIONS_M:
        raise ParameterError(f"resolution_m is {resolution_m!r}: give 10, 20 or 60.")
    if resampling not in ("nearest", "bilinear"):
        raise ParameterError(f"resampling is {resampling!r}: give 'nearest' or 'bilinear'.")
    acquisitions, rejections = scan(folder, wanted, scl)
    chosen = _choose(acquisitions, rejections, folder, tile, level)
    chosen, shifted = _same_extent(chosen)
    names = wanted or list(level_bands(chosen[0].metadata.level))
    target = _target(chosen[0], resolution_m)
    window = _window(target.grid, bounds)
    dataset = _dataset(chosen, names, target, window, resampling, as_dn)
    if scl and chosen[0].metadata.level == "L2A":
        classes = _lazy(chosen, ["SCL"], target, window, "nearest", "scl")[:, 0]
        attrs = {"long_name": "scene classification", "nodata": 0}
        dataset["scl"] = (("time", "y", "x"), classes, attrs)
    table = rejection_table([*rejections, *shifted], folder)
    return dataset.assign_attrs(
        tile=chosen[0].tile,
        level=chosen[0].metadata.level,
        resolution_m=resolution_m,
        rejected=table.to_json(orient="records"),
    )


def open_layout(path: Path, **options: Any) -> xr.Dataset:
    """Open the layout ``sentinel2_safe``; the options are those of :func:`open_series`."""
    return open_series(path, **options)


def check_layout(path: Path, progress: bool = True) -> pd.DataFrame:
    """Decode every band image of every product.

    Returns:
        One row an image or rejected product: file, status (``ok`` or ``rejected``), reason.
    """
    acquisitions, rejections = scan(path)
    found = [
        Rejection(str(item.product.path / image.name), first_unreadable(item.product.gdal_path(image.name)))
        for item, image in track(
            [(item, image) for item in acquisitions for image in item.images.values()],
            f"reading {path.name}",
            unit="image",
            progress=progress,
        )
    ]
    table = rejection_table([*found, *rejections], path)
    return report(zip(table["file"], table["reason"], strict=True))


def _names(bands: Sequence[str]) -> list[str]:
    names = [normalise_band(name) for name in ([bands] if isinstance(bands, str) else bands)]
    if not names or len(set(names)) != len(names):
        raise ParameterError(f"bands is {list(bands)}: give one or more bands, each once.")
    return names


def _choose(
    acquisitions: list[Acquisition],
    rejections: list[Rejection],
    folder: Path,
    tile: str | None,
    level: str | None,
) -> list[Acquisition]:
    """Return the acquisitions of the one tile and level that is asked for."""
    if not acquisitions:
        first = rejections and f"; {Path(rejections[0].file).name}: {rejections[0].reason}"
        raise DataError(f"{folder} holds no Sentinel-2 product that can be used{first or ''}.")
    facts: tuple[tuple[str, str | None, Callable[[Acquisition], str]], ...] = (
        ("tile", tile.upper().removeprefix("T") if tile else None, lambda item: item.tile),
        ("level", level, lambda item: item.metadata.level),
    )
    for name, value, fact in facts:
        known = sorted({fact(item) for item in acquisitions})
        if value is None and len(known) > 1:
            raise ParameterError(f"{folder} holds the {name}s {', '.join(known)}: choose one with {name}=.")
        if value is not None and value not in known:
            raise ParameterError(f"{folder} holds no {name} {value!r}; {did_you_mean(value, known)}")
        chosen = value or known[0]
        acquisitions = [item for item in acquisitions if fact(item) == chosen]
    return acquisitions


def _same_extent(acquisitions: list[Acquisition]) -> tuple[list[Acquisition], list[Rejection]]:
    """Return the acquisitions whose images all lie on their tile's extent, and the others."""
    votes = Counter(_extent(header) for item in acquisitions for header in item.headers.values())
    usual = votes.most_common(1)[0][0]
    kept, shifted = [], []
    for item in acquisitions:
        odd = [band for band, header in item.headers.items() if not _near(header, usual)]
        if odd:
            reason = f"{odd[0]} covers {_extent(item.headers[odd[0]])}, the tile's other images cover {usual}"
            shifted.append(Rejection(str(item.product.path / item.images[odd[0]].name), reason))
        else:
            kept.append(item)
    return kept, shifted


def _extent(header: Header) -> tuple[int, ...]:
    return tuple(round(edge) for edge in header.grid.boundingbox)


def _near(header: Header, extent: tuple[int, ...]) -> bool:
    return all(abs(a - b) <= header.grid.transform.a for a, b in zip(_extent(header), extent, strict=True))


def _target(item: Acquisition, resolution_m: int) -> Header:
    """Return the tile's grid at a nominal pixel size: that of an image with it, else a multiple of B02's."""

    def nominal(band: str) -> int:
        named = item.images[band].resolution_m
        return named or SENTINEL2[band].resolution_m

    for band in item.bands:
        if nominal(band) == resolution_m:
            try:
                return item.headers.get(band) or read_header(item, band)
            except (DataError, OSError):
                continue
    band = min((name for name in item.headers if name != "SCL"), key=nominal)
    grid, factor = item.headers[band].grid, resolution_m / nominal(band)
    shape = (round(grid.height / factor), round(grid.width / factor))
    a, b, c, d, e, f, *_ = grid.transform
    place = Affine(a * factor, b, c, d, e * factor, f)
    return Header(GeoBox(shape, place, grid.crs), _CHUNK)


def _window(grid: GeoBox, bounds: Bounds | None) -> tuple[slice, slice]:
    """Return the rows and columns that bounds touch, all of them without bounds."""
    if bounds is None:
        return slice(0, grid.height), slice(0, grid.width)
    if len(bounds) != 4 or bounds[0] >= bounds[2] or bounds[1] >= bounds[3]:
        raise ParameterError(
            f"bounds is {bounds}: give (xmin, ymin, xmax, ymax) with xmin < xmax, ymin < ymax."
        )
    rows, columns = touched(grid, bounds)
    if rows.start == rows.stop or columns.start == columns.stop:
        extent = ", ".join(f"{edge:.0f}" for edge in grid.boundingbox)
        raise DataError(f"The bounds {bounds} lie outside the tile, which covers ({extent}) in {grid.crs}.")
    return rows, columns


def _dataset(
    acquisitions: list[Acquisition],
    bands: list[str],
    target: Header,
    window: tuple[slice, slice],
    resampling: Literal["nearest", "bilinear"],
    as_dn: bool,
) -> xr.Dataset:
    """Return the lazy bands with their coordinates."""
    grid = target.grid[window]
    times = [item.metadata.time for item in acquisitions]
    coords = {
        "time": pd.DatetimeIndex(times).as_unit("ns"),
        "band": bands,
        "y": grid.coordinates["y"].values,
        "x": grid.coordinates["x"].values,
        "product": ("time", [item.product.name for item in acquisitions]),
        "baseline": ("time", [item.metadata.baseline for item in acquisitions]),
    }
    if as_dn:
        offsets = [[item.metadata.offset(band) for band in bands] for item in acquisitions]
        coords["offset"] = (("time", "band"), np.array(offsets, np.float32))
        coords["quantification"] = ("time", [item.metadata.quantification for item in acquisitions])
    name: Literal["dn", "reflectance"] = "dn" if as_dn else "reflectance"
    image = _lazy(acquisitions, bands, target, window, resampling, name)
    attrs = {"units": "DN", "nodata": 0} if as_dn else {"units": "reflectance"}
    dataset = xr.Dataset({name: (("time", "band", "y", "x"), image, attrs)}, coords=coords)
    return dataset.rio.write_crs(str(grid.crs)).rio.write_transform()


def _lazy(
    acquisitions: list[Acquisition],
    bands: list[str],
    target: Header,
    window: tuple[slice, slice],
    resampling: Literal["nearest", "bilinear"],
    kind: Literal["reflectance", "dn", "scl"],
) -> da.Array:
    """Return the (time, band, y, x) array whose chunks are read when they are computed."""
    sources = tuple(tuple(source_of(item, band) for band in bands) for item in acquisitions)
    reader = SeriesReader(sources, target.grid[window], resampling, kind)
    step = _CHUNK if target.block > _CHUNK else _CHUNK // target.block * target.block
    chunks = ((1,) * len(acquisitions), (1,) * len(bands), *(_chunks(part, step) for part in window))
    return da.map_blocks(reader, chunks=chunks, dtype=reader.dtype, meta=np.empty((0,) * 4, reader.dtype))


def _chunks(window: slice, step: int) -> tuple[int, ...]:
    """Return chunk lengths that end on the file's own blocks, so that no block is decoded twice."""
    edges = [window.start, *range((window.start // step + 1) * step, window.stop, step), window.stop]
    return tuple(np.diff(edges).tolist())
