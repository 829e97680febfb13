"""Tables of areas and scores of maps of the whole scene."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import pandas as pd
import rioxarray
import xarray as xr

from eolab.core.errors import ParameterError
from eolab.data import store
from eolab.data.ground import class_areas_m2, positions_m
from eolab.data.schemes import IGNORE, ClassScheme, scheme_of
from eolab.data.splits import SPLITS
from eolab.data.splits.blocks import block_numbers
from eolab.prediction.mapping import OldMap
from eolab.runs.history import RunRecord
from eolab.studies.landcover.samples import default_block_m

COVERED = 0.99  # share of a map with labels from which on their areas are those of the whole map


def area_table(maps: Mapping[str, xr.DataArray], scheme: ClassScheme) -> pd.DataFrame:
    """Count the area of each class in each map.

    Args:
        maps: Class indices (y, x) by the map's name, in any reference system.
        scheme: Classes of the maps.

    Returns:
        A row a class, its name and its area on the ground in hectares in each map.
    """
    table = pd.DataFrame({"class": scheme.names})
    for name, values in maps.items():
        areas = class_areas_m2(np.asarray(values).astype(np.uint8), values.odc.geobox, len(scheme))
        table[f"{name} (ha)"] = areas / 10_000
    return table


def labelled_part(label: xr.DataArray, map_: xr.DataArray, name: str) -> tuple[dict[str, xr.DataArray], str]:
    """Return what of a map has labels, as areas of labels and of a whole map are no growth or loss.

    Args:
        label: Labels (y, x), 255 where there are none.
        map_: Class indices (y, x), 255 without data.
        name: Name of the map.

    Returns:
        The map, 255 outside of the labels, by its name, and a sentence; nothing where labels cover all of it.
    """
    mapped, labelled = np.asarray(map_) != IGNORE, np.asarray(label) != IGNORE
    share = (mapped & labelled).sum() / max(mapped.sum(), 1)
    if share > COVERED:
        return {}, ""
    part = f"{name} where labelled"
    said = (
        f"The labels cover {100 * share:.3g} % of the map of {name}: compare their areas with '{part}' alone."
    )
    return {part: map_.where(labelled, IGNORE)}, said


def check_classes(trained: RunRecord, scheme: ClassScheme) -> None:
    """Refuse a model that was trained on other samples, such as those of another tile, with other classes.

    Args:
        trained: The run that trained it.
        scheme: Classes of the data set that is mapped.

    Raises:
        ParameterError: If its classes, whose numbers it predicts, are not these.
    """
    samples = store.open_store(trained.upstream["preprocessed"] / "store")
    known = list(scheme_of(samples.metadata).names)
    if known != list(scheme.names):
        names = ", ".join(known)
        raise ParameterError(
            f"The model of {trained.folder.name} knows the classes {names}, this data set has "
            f"{', '.join(scheme.names)}: make its samples with `--set 02_preprocess.classes='[{names}]'`."
        )


def open_maps(folder: Path, years: Sequence[int], ending: str = "") -> xr.DataArray:
    """Open the class maps of several years.

    Args:
        folder: Folder with ``land_cover_<year><ending>.tif``.
        years: The years.
        ending: "" for maps of each year alone, "_consistent" for consistent ones.

    Returns:
        Class indices uint8 (year, y, x) with the coordinate ``year``, 255 without data.
    """
    found = [rioxarray.open_rasterio(folder / f"land_cover_{year}{ending}.tif") for year in years]
    maps = [one.isel(band=0, drop=True) for one in found if isinstance(one, xr.DataArray)]
    return xr.concat(maps, pd.Index(years, name="year"))


def old_map(series: xr.Dataset, years: Sequence[int], trust: float, year: int = 0) -> OldMap | None:
    """Return the labels as evidence for the maps of some years; None where they are not trusted at all.

    Args:
        series: Result of :func:`eolab.studies.landcover.series.open_series`.
        years: Years that are mapped, ascending.
        trust: Share of the labels that is believed right, at least 0, below 1.
        year: Year of the labels, 0 for the first that is mapped; the nearest one counts.
    """
    place = int(np.abs(np.asarray(years) - (year or years[0])).argmin())
    return OldMap(np.asarray(series["label"]), trust, place) if trust else None


def map_scores(maps: Mapping[str, xr.DataArray], truth: xr.DataArray, held_out: np.ndarray) -> pd.DataFrame:
    """Compute the share of correct pixels of each map, of all pixels and of those in held-out blocks.

    A pixel where a map has no class (255) counts as wrong. Two of the columns leave out, for every map, the
    pixels without a label.

    Args:
        maps: Class indices (y, x) by name; the first one is the labels.
        truth: True class indices (y, x), 255 where unknown.
        held_out: Array (y, x) of bool, True in blocks without training samples, see :func:`unseen_blocks`.

    Returns:
        A row a map; NaN where no pixel is left to count.
    """
    true = np.asarray(truth)
    known = true != IGNORE
    labelled = known & (np.asarray(next(iter(maps.values()))) != IGNORE)
    areas = {
        "all pixels": known,
        "labelled pixels": labelled,
        "held-out blocks": known & held_out,
        "held-out blocks, labelled pixels": labelled & held_out,
    }
    rows = []
    for name, values in maps.items():
        right = np.asarray(values) == true
        shares = {area: right[where].mean() if where.any() else np.nan for area, where in areas.items()}
        rows.append({"map": name} | shares)
    return pd.DataFrame(rows)


def block_map(series: xr.Dataset, kept: np.ndarray) -> np.ndarray:
    """Number the square blocks of ground that intervals of a map's scores are drawn from.

    Args:
        series: Result of ``open_series``.
        kept: Array (y, x) of bool, see :func:`unseen_blocks`; other pixels do not count.

    Returns:
        Array (y, x) of the number of each pixel's block, -1 where it does not count; blocks are
        :func:`eolab.studies.landcover.samples.default_block_m` wide.
    """
    x, y = positions_m(*np.meshgrid(series["x"], series["y"]), series.rio.crs)
    places = pd.DataFrame({"x": x.ravel(), "y": y.ravel()})
    numbers = block_numbers(places, default_block_m(series)).reshape(kept.shape)
    return np.where(kept, numbers, -1)


def scored_ground(held_out: np.ndarray) -> tuple[np.ndarray, str]:
    """Return where change is scored, and that in words: in held-out blocks, or all over where there are none.

    Args:
        held_out: Result of :func:`unseen_blocks`.
    """
    if held_out.any():
        return held_out, "ground without training samples"
    return np.ones_like(held_out), "all ground, as this split leaves no block without training samples"


def unseen_blocks(series: xr.Dataset, table: pd.DataFrame, column: str, part: str = "test") -> np.ndarray:
    """Mark the blocks that hold samples of one part of a split, and none of the other parts.

    Args:
        series: Result of ``open_series``.
        table: Sample table with ``row``, ``col`` and ``block``.
        column: Split column. Blocks of a buffer, without any sample of "train", "validation" or "test", are
            not marked.
        part: The part.

    Returns:
        Array (y, x) of bool, True in the bounding boxes of the samples of the marked blocks.
    """
    parts = table[table[column].isin(SPLITS)].groupby("block")[column].agg(set)
    marked = parts.index[parts == {part}]
    unseen = np.zeros((series.sizes["y"], series.sizes["x"]), bool)
    for _, rows in table[table["block"].isin(marked)].groupby("block"):
        unseen[rows["row"].min() : rows["row"].max() + 1, rows["col"].min() : rows["col"].max() + 1] = True
    return unseen
