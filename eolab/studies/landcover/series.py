"""One labelled image series from any of the study's layouts."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import cycle, islice
from typing import Any

import numpy as np
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import xarray as xr

from eolab.core.errors import DataError, ParameterError, check_known
from eolab.data import own_labels
from eolab.data.catalog import DataEntry
from eolab.data.ground import pixel_size_m
from eolab.data.layouts import rasters
from eolab.data.preprocess import clear_mask, dilated
from eolab.data.schemes import COLORS, ClassScheme, lookup
from eolab.data.schemes.landcover import (
    CLASSES,
    Rows,
    between,
    classes_of,
    from_corine,
    read_classes,  # noqa: F401  (the notebooks use it)
)

SCL_PIXEL_M = 20
LAYERS = ("reflectance", "indices")
"""Variables of images of one's own that are read."""


def open_series(
    entry: DataEntry,
    bands: Sequence[str] = (),
    resolution_m: int = 10,
    keep_scl: Sequence[int] = (4, 5, 6, 7, 11),
    min_pixels: int = 50,
    cloud_buffer: int = 0,
    class_table: Rows = CLASSES,
    tile: str = "",
    classes: Sequence[str] = (),
) -> xr.Dataset:
    """Open a data set of the study as one labelled image series, lazily.

    Args:
        entry: Catalogue entry of layout ``sentinel2_corine``, ``eolearn_patch`` or, with labels, ``rasters``.
        bands: Bands to read; empty for all that the data set has.
        resolution_m: Grid in metres (Sentinel-2: 10, 20 or 60; an eo-learn patch keeps its own, and so do
            images of one's own with 10).
        keep_scl: Scene-classification codes that count as clear (Sentinel-2, and eo-learn patches with SCL).
        min_pixels: A class with fewer labelled pixels is ignored; ``attrs["dropped"]`` names it.
        cloud_buffer: Pixels of 20 m, those of the scene classification, that are not clear around clouds,
            cirrus and shadows; see :func:`eolab.data.preprocess.clear_mask`.
        class_table: Classes that CORINE is brought to, see :func:`eolab.data.schemes.landcover.read_classes`.
        tile: The tile of Sentinel-2, such as 31TGL, or of images of one's own; may be empty where there is
            one.
        classes: Names of the classes that are kept, in this order, as those of a model of another tile;
            empty for those with ``min_pixels``.

    Returns:
        Dataset with ``image (time, band, y, x)`` float32 (NaN where nodata), ``clear (time, y, x)`` bool,
        ``label (y, x)`` uint8 class index (255 = ignore), ``scl (time, y, x)`` where Sentinel-2 has it and,
        for twins, ``truth (year, y, x)``. ``attrs`` hold the class scheme (see :func:`scheme_of`), the side
        of the old map's cells in metres and what was rejected.

    Raises:
        DataError: If the layout is not one of the study's, no scene classification is there, or fewer than
            two classes are frequent enough.
        ParameterError: If the data set does not have a band, class or tile, several tiles and none is chosen,
            or no CORINE for a table of classes.
    """
    openers: dict[str, Callable[[], tuple[xr.Dataset, ClassScheme]]] = {
        "sentinel2_corine": lambda: _from_sentinel2(
            entry, bands, resolution_m, keep_scl, cloud_buffer, class_table, tile
        ),
        "eolearn_patch": lambda: _from_eolearn(entry, bands, keep_scl, cloud_buffer),
        "rasters": lambda: _from_rasters(entry, bands, resolution_m, keep_scl, cloud_buffer, tile),
    }
    if entry.layout not in openers:
        raise DataError(
            f"Data set {entry.name} has the layout {entry.layout}, but the land-cover study reads "
            f"{' or '.join(openers)}: choose another data set, or add a case to {__name__}."
        )
    if entry.layout != "sentinel2_corine" and class_table is not CLASSES:
        raise ParameterError(
            f"Data set {entry.name} has classes of its own, a table of classes is for those of CORINE: "
            "leave class_table empty."
        )
    if entry.layout == "eolearn_patch" and tile:
        raise ParameterError(f"Data set {entry.name} has no tiles of Sentinel-2: leave tile empty.")
    series, scheme = openers[entry.layout]()
    return _drop_rare(series, scheme, min_pixels, classes)


def _from_sentinel2(
    entry: DataEntry,
    bands: Sequence[str],
    resolution_m: int,
    keep_scl: Sequence[int],
    cloud_buffer: int,
    class_table: Rows,
    tile: str,
) -> tuple[xr.Dataset, ClassScheme]:
    """Sentinel-2 reflectance with CORINE labels recoded to the classes of a table."""
    scheme, indices = classes_of(class_table)
    options: dict[str, Any] = {"bands": list(bands)} if bands else {}
    source = entry.open(resolution_m=resolution_m, tile=tile, **options)
    if "scl" not in source:
        raise DataError(
            f"Data set {entry.name} has no scene classification, which tells clear pixels from clouds: "
            "expected Level-2A products (MSIL2A), found others; fetch those."
        )
    series = xr.Dataset(
        {
            "image": source["reflectance"],
            "scl": source["scl"],
            "clear": clear_mask(source["scl"], tuple(keep_scl), _pixels(cloud_buffer, source)),
            "label": source["corine"].copy(data=from_corine(source["corine"], indices)),
        },
        attrs={
            "rejected": source.attrs.get("rejected", "[]"),
            "label_cell_m": source["corine"].attrs["cell_m"],
        },
    )
    if "truth" in source:
        series["truth"] = renumbered(source["truth"], between(class_table))
    return series, scheme


def _from_rasters(
    entry: DataEntry,
    bands: Sequence[str],
    resolution_m: int,
    keep_scl: Sequence[int],
    cloud_buffer: int,
    tile: str,
) -> tuple[xr.Dataset, ClassScheme]:
    """Images of one's own with a mask or polygons of one's own."""
    series, source = unlabelled(entry, bands, resolution_m, keep_scl, cloud_buffer, tile)
    labels = own_labels.on_grid(entry, source)
    rejected = [*json.loads(source.attrs.get("rejected", "[]")), *labels.left_out.to_dict("records")]
    series["label"] = labels.label
    facts = {"label_cell_m": labels.cell_m, "label_points": int(labels.points)}
    return series.assign_attrs(rejected=json.dumps(rejected), **facts), labels.scheme


def unlabelled(
    entry: DataEntry,
    bands: Sequence[str] = (),
    resolution_m: int = 10,
    keep_scl: Sequence[int] = (4, 5, 6, 7, 11),
    cloud_buffer: int = 0,
    tile: str = "",
    level: str | None = None,
) -> tuple[xr.Dataset, xr.Dataset]:
    """Open images of layout ``rasters`` without labels; without SCL, what has a value is clear.

    Args:
        entry: The images.
        bands: Bands to read, see :func:`open_series`.
        resolution_m: Pixel size, see there.
        keep_scl: Codes that count as clear, see there.
        cloud_buffer: Pixels around clouds, see there.
        tile: The tile, where there are several.
        level: ``L1C`` or ``L2A``, where there are products of both.

    Returns:
        Dataset with ``image``, ``clear`` and, where there is one, ``scl``; and what was opened.
    """
    resolution = None if resolution_m == 10 else float(resolution_m)
    source = entry.open(tile=tile or None, resolution=resolution, level=level)
    layers = rasters.layers(source, LAYERS)
    if not layers:
        raise DataError(f"Data set {entry.name} has no bands of reflectance and no indices: name its bands.")
    image = xr.concat(layers, "band") if len(layers) > 1 else layers[0]
    for band in bands:
        check_known(band, image["band"].values, f"Data set {entry.name} has no band {band!r}")
    image = image.sel(band=list(bands)) if bands else image
    if "scl" in source:
        clear = clear_mask(source["scl"], tuple(keep_scl), _pixels(cloud_buffer, source))
    else:
        clear = image.notnull().any("band")
    series = xr.Dataset({"image": image, "clear": clear})
    return (series.assign(scl=source["scl"]) if "scl" in source else series), source


def _from_eolearn(
    entry: DataEntry, bands: Sequence[str], keep_scl: Sequence[int], cloud_buffer: int
) -> tuple[xr.Dataset, ClassScheme]:
    """The NDVI series of an eo-learn patch with its land-use classes.

    Classes are the codes of the map but 0, with the names of the polygons, or "land use 3" without one.
    """
    for band in bands:
        check_known(band, ["NDVI"], f"Data set {entry.name} has no band {band!r} in its series")
    source = entry.open()
    ndvi = source["NDVI"].expand_dims(band=["NDVI"], axis=1).astype("float32")
    ndvi = ndvi.where(np.isfinite(ndvi))
    ndvi.attrs.update(units="1", long_name="normalised difference vegetation index")
    land_use = np.asarray(source["LULC"])
    there = np.unique(land_use[np.isfinite(land_use)])
    known = {int(code): name for code, name in json.loads(source["LULC"].attrs.get("classes", "{}")).items()}
    codes = {**{code: f"land use {code}" for code in there.astype(int).tolist() if code > 0}, **known}
    codes = {code: codes[code] for code in sorted(codes) if codes[code]}
    colors = tuple(islice(cycle(COLORS), len(codes)))
    scheme = ClassScheme(f"land use of {entry.name}", tuple(codes), tuple(codes.values()), colors)
    seen = ndvi.notnull().isel(band=0, drop=True)
    if "IS_DATA" in source:
        seen &= source["IS_DATA"].astype(bool)
    buffer_px = _pixels(cloud_buffer, source)
    if "CLM" in source:
        clear = ~dilated(source["CLM"].astype(bool), buffer_px)
    else:
        clear = clear_mask(source["SCL"], tuple(keep_scl), buffer_px)
    series = xr.Dataset(
        {
            "image": ndvi,
            "clear": seen & clear,
            "label": renumbered(source["LULC"], {code: index for index, code in enumerate(codes)}),
        },
        attrs={"rejected": source.attrs.get("rejected", "[]")},
    )
    series.attrs["label_cell_m"] = min(pixel_size_m(series.odc.geobox))
    return series, scheme


def _pixels(cloud_buffer: int, source: xr.Dataset) -> int:
    """Return how many pixels of the series the buffer's pixels of 20 m are, rounded up."""
    pixels = cloud_buffer * SCL_PIXEL_M / pixel_size_m(source.odc.geobox)[0]
    return int(np.ceil(np.round(pixels, 1)))  # on the ground they are not exactly of 10 m


def _drop_rare(
    series: xr.Dataset, scheme: ClassScheme, min_pixels: int, classes: Sequence[str] = ()
) -> xr.Dataset:
    """Number the classes that are asked for or frequent enough 0…K-1; set others to the ignore label."""
    label = np.asarray(series["label"])
    counts = np.bincount(label.ravel(), minlength=256)[: len(scheme)]
    kept = np.flatnonzero(counts >= max(min_pixels, 1)).tolist()
    if classes:
        for name in classes:
            check_known(name, scheme.names, f"The class scheme '{scheme.name}' has no class {name!r}")
        kept = [scheme.names.index(name) for name in classes]
    if len(kept) < 2:
        raise DataError(
            f"Only {len(kept)} class of the class scheme '{scheme.name}' has {min_pixels} labelled pixels or "
            "more: choose a larger area or a smaller min_pixels."
        )
    for name in ("label", "truth"):
        if name in series:
            series[name] = renumbered(series[name], {old: new for new, old in enumerate(kept)})
            series[name].attrs = {"long_name": name, "class_scheme": scheme.name}
    columns: Any = (scheme.codes, scheme.names, scheme.colors)
    chosen = ClassScheme(scheme.name, *(tuple(column[i] for i in kept) for column in columns))
    dropped = {scheme.names[i]: int(counts[i]) for i in range(len(scheme)) if i not in kept}
    series.attrs.update(class_scheme=json.dumps(asdict(chosen)), dropped=json.dumps(dropped))
    return series


def years_of(series: xr.Dataset) -> list[int]:
    """Return the calendar years that have images, in order."""
    return np.unique(series["time"].dt.year).tolist()


def in_year(series: xr.Dataset, year: int) -> xr.Dataset:
    """Return one year of a series.

    Args:
        series: Result of :func:`open_series`.
        year: A year that has images; 0 for all years together, which end with the last one.

    Returns:
        The images of the year; where true maps are known, ``truth`` (y, x) of the year, if there is one, and
        ``truth_before`` (y, x) of the old map's year.

    Raises:
        ParameterError: If the year has no images.
    """
    years = years_of(series)
    if year:
        check_known(year, years, f"There are no images of {year}")
    one = series.isel(time=np.flatnonzero(series["time"].dt.year == year)) if year else series
    if "truth" not in series or "year" not in series["truth"].dims:
        return one
    known, one = series["truth"], one.drop_vars("truth")
    if (last := year or years[-1]) in known["year"]:
        one["truth"] = known.sel(year=last, drop=True)
    one["truth_before"] = known.isel(year=0, drop=True)
    return one.drop_vars("year", errors="ignore")


def renumbered(labels: xr.DataArray, indices: Mapping[int, int]) -> xr.DataArray:
    """Return the class index of each code, uint8; 255 where there is none."""
    return labels.copy(data=lookup(labels, indices))


def overview(series: xr.Dataset, max_pixels: int = 500_000) -> xr.Dataset:
    """Return every n-th row and column, so that a whole tile fits into memory for figures and statistics.

    Args:
        series: Result of :func:`open_series`.
        max_pixels: Most pixels of one date in the result; a smaller scene is returned unchanged.
    """
    step = int(np.ceil(np.sqrt(series.sizes["y"] * series.sizes["x"] / max_pixels)))
    return series.isel(y=slice(None, None, step), x=slice(None, None, step)) if step > 1 else series
