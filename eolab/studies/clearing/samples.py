"""Samples of both tasks: a region on a date, cropped to the rectangle around it and padded to one size.

The true-colour image counts as three channels, an index as one; bands at the top of the atmosphere have names
such as ``TOA_B04``. What is missing or undefined is 0 in the image and 0 in ``seen``, as the padding is.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import pandas as pd
import xarray as xr

from eolab.core.errors import DataError, ParameterError, check_known
from eolab.core.progress import track
from eolab.data import indices
from eolab.data.bands import L1C_BANDS, L2A_BANDS
from eolab.data.catalog import DataEntry
from eolab.data.layouts.raster_names import RGB
from eolab.data.regions import Regions, centres_m
from eolab.data.store import ArraySpec
from eolab.studies.protocol import Produce

CLOUDS = (8, 9, 10)
"""Scene classes that are ignored: clouds of medium and high probability, thin cirrus."""

INDICES = ("BNDVI", "Chlred-edge", "EVI", "MIRBI", "MSAVI2", "MTVI2", "NBR", "NDRE", "NDSI", "SAVI")
"""The ten indices of the report."""

TRUE_COLOUR = tuple(f"TCI_{colour}" for colour in RGB)
TOP = "TOA_"
GROUPS = {
    "true_colour": TRUE_COLOUR,
    "indices": INDICES,
    "boa": L2A_BANDS,
    "toa": tuple(f"{TOP}{band}" for band in L1C_BANDS),
}
"""Channels by the name of their group."""

PLACES = ("upper_left", "centre")
BLOCK_PX = 1024
"""Samples of one date are read together where they lie in one square of this side."""


class Images(NamedTuple):
    """The images of a data set on one pixel grid.

    Attributes:
        ground: Series of Level-2A: reflectance, scl and, where it was asked for, true_colour.
        top: Series of Level-1C at the same times, None where no channel needs it.
        channels: Names of the channels of a sample, in order.
    """

    ground: xr.Dataset
    top: xr.Dataset | None
    channels: tuple[str, ...]


def channel_names(groups: Sequence[str]) -> tuple[str, ...]:
    """Return the channels of some groups of :data:`GROUPS`, in their order; names of single ones stay.

    Raises:
        ParameterError: If a name is unknown, a channel stands twice, or there is none.
    """
    single = {name for names in GROUPS.values() for name in names}
    found: list[str] = []
    for name in groups:
        check_known(name, {*GROUPS, *single}, f"There are no channels {name!r}")
        found += GROUPS.get(name, (name,))
    if not found or len(set(found)) < len(found):
        raise ParameterError(f"channels is {list(groups)}: name one or more, each once.")
    return tuple(found)


def open_images(
    entry: DataEntry, channels: Sequence[str], dates: Sequence[str] | None = None, **options: Any
) -> Images:
    """Open the images that channels need.

    Args:
        entry: Data set of layout ``rasters``.
        channels: Groups or names, see :func:`channel_names`.
        dates: First and last day; by default all.
        **options: Further arguments of the reader, for example ``bounds`` or ``tile``.

    Raises:
        DataError: If the images of the two levels are of other times, or a channel's are not there.
    """
    names = channel_names(channels)
    colour, above = bool({*names} & {*TRUE_COLOUR}), [name for name in names if name.startswith(TOP)]
    bands = [name for name in names if name in L2A_BANDS]
    bands = list(dict.fromkeys([*bands, *indices.bands_for(name for name in names if name in INDICES)]))
    given = {"dates": dates, "resolution": 10, **options}
    ground = entry.open(level="L2A", bands=bands or ["B04"], true_colour=colour, **given)
    if not above:
        return Images(ground, None, names)
    top = entry.open(level="L1C", bands=[name.removeprefix(TOP) for name in above], **given)
    shared = np.intersect1d(ground["time"], top["time"])
    if not len(shared):
        raise DataError(f"{entry.path} holds no image of both levels at one time, which {above[0]} needs.")
    return Images(ground.sel(time=shared), top.sel(time=shared), names)


def sample_table(
    images: Images,
    placed: Regions,
    classes: Sequence[str] = (),
    most_missing: float = 0.5,
    most_cloud: float = 0.9,
    progress: bool = True,
) -> pd.DataFrame:
    """Return a row a region and date.

    Args:
        images: The images.
        placed: Regions on their grid, see :func:`eolab.data.regions.on_grid`.
        classes: Labels in the order of their numbers; regions of others are left out. Without them regions
            have no label.
        most_missing: Largest share of a region's pixels without a value.
        most_cloud: Largest share of its pixels with a value that are clouds.
        progress: Whether to show progress.

    Returns:
        Columns id, region, date, part (date and block), row, column, height, width, missing and cloud
        (shares), x and y (middle in metres), and label, a number, where there are classes.
        ``attrs["left_out"]`` counts what was left out, by reason.

    Raises:
        DataError: If nothing is left.
    """
    table = placed.table
    kept = table[table["label"].isin(list(classes))] if classes else table
    left_out = {"of another class": (len(table) - len(kept)) * images.ground.sizes["time"]}
    x, y = centres_m(kept) if len(kept) else (np.zeros(0), np.zeros(0))
    rows = []
    times = images.ground["time"].to_numpy()
    for number, time in enumerate(track(times, "scene classifications", unit="date", progress=progress)):
        scl = images.ground["scl"][number].to_numpy()
        for place, region in enumerate(kept.itertuples()):
            codes = scl[_window(region)]
            missing = float((codes == 0).mean())
            cloud = float(np.isin(codes, CLOUDS).sum() / max((codes != 0).sum(), 1))
            box = (region.row, region.column, region.height, region.width)
            rows.append((region.id, time, *box, missing, cloud, x[place], y[place], region.label))
    columns = ["region", "date", "row", "column", "height", "width", "missing", "cloud", "x", "y", "label"]
    found = pd.DataFrame(rows, columns=columns)
    empty, cloudy = found["missing"] > most_missing, found["cloud"] > most_cloud
    left_out |= {"with too little data": int(empty.sum()), "under clouds": int((cloudy & ~empty).sum())}
    found = found[~(empty | cloudy)].reset_index(drop=True)
    if found.empty:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items() if count)
        raise DataError(
            f"No sample is left ({reasons or 'there is no region'}): allow more, or give more dates."
        )
    blocks = (found[axis] // BLOCK_PX for axis in ("row", "column"))
    down, right = (block.astype(str) for block in blocks)
    found["part"] = found["date"].dt.strftime("%Y-%m-%dT%H:%M") + "-" + down + "-" + right
    found = found.sort_values(["part", "region"], ignore_index=True)
    found.insert(0, "id", np.arange(len(found)))
    numbers = {name: k for k, name in enumerate(classes)}
    found["label"] = found["label"].map(numbers) if classes else 0
    found.attrs["left_out"] = {reason: count for reason, count in left_out.items() if count}
    return found.drop(columns=[] if classes else ["label"])


def _window(region: Any) -> tuple[slice, slice]:
    return slice(region.row, region.row + region.height), slice(region.column, region.column + region.width)


def common_size(table: pd.DataFrame) -> tuple[int, int]:
    """Return the height and width that hold every sample."""
    return int(table["height"].max()), int(table["width"].max())


def placement(height: int, width: int, size: tuple[int, int], place: str) -> tuple[slice, slice]:
    """Return where a crop lies in its padded image: at the upper left (the report) or in the centre.

    Raises:
        ParameterError: If there is no such place.
    """
    check_known(place, PLACES, f"There is no place {place!r}")
    top, left = ((size[0] - height) // 2, (size[1] - width) // 2) if place == "centre" else (0, 0)
    return slice(top, top + height), slice(left, left + width)


def store_arrays(images: Images, size: tuple[int, int], values: bool) -> dict[str, ArraySpec]:
    """Return what is stored of a sample.

    Args:
        images: The images.
        size: Height and width, see :func:`common_size`.
        values: Whether the label is a value of each pixel, NaN where none is known, or one class.
    """
    channels = len(images.channels)
    plane: Any = {"dims": ("y", "x"), "shape": size}
    label = ArraySpec(**plane, dtype="float32", attrs={"units": "1"}, nan="allow")
    return {
        "image": ArraySpec(("y", "x", "band"), (*size, channels), "float32", {"units": "1"}, "forbid"),
        "seen": ArraySpec(**plane, dtype="uint8", attrs={"long_name": "1 = pixel with all channels"}),
        "label": label if values else ArraySpec((), (), "uint8"),
    }


def sample_producer(
    images: Images, size: tuple[int, int], place: str = "upper_left", degree: np.ndarray | None = None
) -> Produce:
    """Return the function that crops and pads the samples of one part.

    Args:
        images: The images.
        size: Height and width of a sample.
        place: Where crops lie in it, one of :data:`PLACES`.
        degree: Value of each pixel of the grid (y, x), NaN where none is known; None where labels are
            classes. Pixels under clouds and without data have none.
    """
    times = images.ground["time"].to_numpy()

    def produce(rows: pd.DataFrame) -> Mapping[str, np.ndarray]:
        number = int(np.flatnonzero(times == rows["date"].iloc[0])[0])
        top, left = int(rows["row"].min()), int(rows["column"].min())
        bottom, right = (rows["row"] + rows["height"]).max(), (rows["column"] + rows["width"]).max()
        values, clear = read_window(images, number, (slice(top, int(bottom)), slice(left, int(right))))
        image = np.zeros((len(rows), *size, len(images.channels)), np.float32)
        seen = np.zeros((len(rows), *size), np.uint8)
        known = np.full((len(rows), *size), np.nan, np.float32)
        samples: Any = rows.itertuples()
        for k, region in enumerate(samples):
            y, x = _window(region)
            inside = (slice(y.start - top, y.stop - top), slice(x.start - left, x.stop - left))
            at = placement(region.height, region.width, size, place)
            whole = np.isfinite(values[inside]).all(axis=-1)
            image[(k, *at)], seen[(k, *at)] = np.nan_to_num(values[inside], nan=0.0), whole
            if degree is not None:
                known[(k, *at)] = np.where(whole & clear[inside], degree[y, x], np.nan)
        label = rows["label"].to_numpy(np.uint8) if degree is None else known
        return {"image": image, "seen": seen, "label": label}

    return produce


def read_window(images: Images, number: int, window: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
    """Return the channels of a window on a date, and where there are no clouds.

    Args:
        images: The images.
        number: Number of the date.
        window: Rows and columns.

    Returns:
        float32 (y, x, channel), NaN where a channel is missing or undefined; bool (y, x), False too where
        the scene classification has no data.

    Raises:
        DataError: If the images lack a channel.
    """
    at = {"time": number, "y": window[0], "x": window[1]}
    ground = images.ground["reflectance"].isel(at).compute()
    planes: dict[str, Any] = {str(band): ground.sel(band=band).to_numpy() for band in ground["band"].values}
    for name in INDICES:
        if name in images.channels:
            planes[name] = indices.compute(name, ground).to_numpy()
    if "true_colour" in images.ground:
        planes |= dict(zip(TRUE_COLOUR, images.ground["true_colour"].isel(at).to_numpy(), strict=True))
    if images.top is not None:
        above = images.top["reflectance"].isel(at).compute()
        planes |= {f"{TOP}{band}": above.sel(band=band).to_numpy() for band in above["band"].values}
    lacking = [name for name in images.channels if name not in planes]
    if lacking:
        raise DataError(f"The images have no {', '.join(lacking)}: leave these channels out.")
    codes = images.ground["scl"].isel(at).to_numpy()
    values = np.stack([planes[name] for name in images.channels], axis=-1).astype(np.float32)
    return values, (codes != 0) & ~np.isin(codes, CLOUDS)


def store_metadata(
    entry: DataEntry, images: Images, classes: Sequence[str] = (), **facts: Any
) -> dict[str, Any]:
    """Return what a store of the study says of itself."""
    coords: dict[str, Any] = {"band": list(images.channels)}
    if classes:
        coords["class"] = list(classes)
    return {"coords": coords, "dataset": entry.name, **entry.origin, **facts}


# === Splits ===


def split_by_date(table: pd.DataFrame, validation: float = 0.1, test: float = 0.1) -> pd.Series:
    """Return the report's split: of each region the last dates are the test, those before them validation.

    Args:
        table: Result of :func:`sample_table`.
        validation: Share of each region's samples, at least one where a region has three or more.
        test: Share of each region's samples, likewise.
    """
    split = pd.Series("train", index=table.index)
    for rows in table.sort_values("date").groupby("region").groups.values():
        ordered = table.loc[rows].sort_values("date").index
        if len(ordered) < 3:
            continue
        n_test = max(1, round(test * len(ordered)))
        n_validation = max(1, round(validation * len(ordered)))
        split[ordered[-n_test:]] = "test"
        split[ordered[-n_test - n_validation : -n_test]] = "validation"
    return split
