"""Samples of both tasks: a region on a date, cropped to the rectangle around it and padded to one size.

The true-colour image counts as three channels, an index as one; bands at the top of the atmosphere have names
such as ``TOA_B04``. What is missing or undefined is NaN in the image, which networks do not see, and so is
the padding, unless zeros are asked for, as in Svensson (2020).
"""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import pandas as pd
import xarray as xr

from eolab.core.errors import DataError, ParameterError, check_all, check_known, warn
from eolab.core.progress import track
from eolab.data import indices
from eolab.data.bands import L1C_BANDS, L2A_BANDS
from eolab.data.catalog import DataEntry
from eolab.data.ground import pixel_size_m
from eolab.data.layouts import raster_files, rasters
from eolab.data.layouts.raster_names import RGB
from eolab.data.regions import Regions, centres_m, in_several, label_map, of_entry, on_grid
from eolab.data.schemes import ClassScheme
from eolab.data.store import ArraySpec, Store, fingerprint_array, fingerprint_files, write_store
from eolab.studies.clearing.truth import Degree, with_zero_areas
from eolab.studies.protocol import Produce

CLOUDS = (8, 9, 10)
"""Scene classes that are ignored: clouds of medium and high probability, thin cirrus."""

VEGETATION = 4
"""Scene class that stands for all pixels with data where there is no scene classification."""

INDICES = ("BNDVI", "Chlred-edge", "EVI", "MIRBI", "MSAVI2", "MTVI2", "NBR", "NDRE", "NDSI", "SAVI")
"""The ten indices of Svensson (2020)."""

TRUE_COLOUR = tuple(f"TCI_{colour}" for colour in RGB)
TOP = "TOA_"
GROUPS = {
    "true_colour": TRUE_COLOUR,
    "indices": INDICES,
    "boa": L2A_BANDS,
    "toa": tuple(f"{TOP}{band}" for band in L1C_BANDS),
}
"""Channels by the name of their group."""

COLORS = ("#0072B2", "#D55E00", "#009E73", "#E69F00")
PLACES = ("upper_left", "centre")
PADDINGS = {"masked": np.nan, "zeros": 0.0}
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


def names_or_all(groups: Sequence[str], store: Store) -> list[str] | None:
    """Return the channels of some groups, None for all of a store where there is no group.

    Channels of a group that the store lacks are left out by name.

    Raises:
        ParameterError: If a name is unknown, the store lacks one that is named by itself, or has none.
    """
    if not groups:
        return None
    held = set(store.channel_names("image"))
    check_all([one for one in groups if one not in GROUPS], held, f"{store.path} has no channel")
    return list(_without([name for name in channel_names(groups) if name not in held], groups, store.path))


def _without(lost: Sequence[str], groups: Sequence[str], where: Path) -> tuple[str, ...]:
    """Return the channels of groups that are not lost, and say which are."""
    kept = tuple(name for name in channel_names(groups) if name not in lost)
    if not kept:
        raise ParameterError(f"{where} has none of the channels {', '.join(groups)}: name those there are.")
    if lost:
        warn(f"{where} has no {', '.join(lost)}: these channels are left out.")
    return kept


def _lost(entry: DataEntry, groups: Sequence[str], levels: set[str], **options: Any) -> list[str]:
    """Return the channels of groups whose bands no image has.

    Raises:
        ParameterError: If a channel that is named by itself is one of them.
    """
    if rasters.holds_products(raster_files.folder_of(entry.path, entry.images)):
        return []  # those have all bands, or are rejected by name
    names = channel_names(groups)
    held: set[str] = set()
    tops = "L1C" in levels and any(name.startswith(TOP) for name in names)
    for level in ["L2A" if any(levels) else None, *["L1C"] * tops]:
        found, before = entry.open(level=level, **options), TOP if level == "L1C" else ""
        if "reflectance" in found:
            held |= {f"{before}{band}" for band in found["reflectance"]["band"].values}
        if "true_colour" in found and not before:
            held |= {*TRUE_COLOUR}
    needs = {name: indices.index(name).bands if name in INDICES else (name,) for name in names}
    lost = {name: [band for band in needs[name] if band not in held] for name in names}
    for name in names:
        if lost[name] and name not in {one for group in groups for one in GROUPS.get(group, ())}:
            raise ParameterError(
                f"The channel {name} needs {', '.join(lost[name])}, which images of {entry.path} lack: "
                f"they have {', '.join(sorted(held))}."
            )
    return [name for name in names if lost[name]]


def open_images(entry: DataEntry, channels: Sequence[str], **options: Any) -> Images:
    """Open the images that channels need.

    Args:
        entry: Data set of layout ``rasters``.
        channels: Groups or names, see :func:`channel_names`.
        **options: Arguments of the reader: ``dates``, ``bounds``, ``tile``; empty ones are left out.

    Warns where there is no scene classification: clouds are not known then. Channels of a group whose bands
    the images do not have are left out by name.

    Raises:
        DataError: If the images of the two levels are of other times.
        ParameterError: If the images lack what a channel needs that is named by itself, or have none.
    """
    given: dict[str, Any] = {name: value for name, value in options.items() if value}
    levels = set(rasters.index(entry.path, entry.images, entry.pixels)[0]["level"])
    lost = _lost(entry, channels, levels, **given)
    names = _without(lost, channels, entry.path)
    colour, above = bool({*names} & {*TRUE_COLOUR}), [name for name in names if name.startswith(TOP)]
    bands = [name for name in names if name in L2A_BANDS]
    bands = list(dict.fromkeys([*bands, *indices.bands_for(name for name in names if name in INDICES)]))
    level = "L2A" if any(levels) else None
    ground = entry.open(level=level, bands=bands or ["B04"], true_colour=colour, **given)
    if "scl" not in ground:
        warn(f"{entry.path} holds no scene classification (SCL): clouds are not known, and are left in.")
        known = np.isfinite(ground["reflectance"].isel(band=0, drop=True))
        ground = ground.assign(scl=xr.where(known, VEGETATION, 0).astype("uint8"))
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
        Columns id, region (its number in the file; without classes its label, where each has one of its
        own), date, part (date and block), row, column, height, width, missing and cloud (shares), x and y
        (middle in metres), and label, a number, where there are classes. ``attrs["left_out"]`` counts what
        was left out, by reason.

    Raises:
        ParameterError: If no region has one of the classes, there is one alone, or a class stands twice.
        DataError: If nothing is left.

    Warns where regions overlap: what is trained on is then tested too, whatever the split.
    """
    table = placed.table
    check_all(classes, sorted(set(table["label"])), "No region in the images has the class")
    if classes and (len(classes) < 2 or len(set(classes)) < len(classes)):
        raise ParameterError(f"classes is {list(classes)}: name two or more, each once.")
    kept = table[table["label"].isin(list(classes))] if classes else table
    shared = int(in_several(kept, images.ground.odc.geobox).sum()) if classes else 0
    if shared:
        warn(
            f"{shared:,} pixels lie in several regions: regions that are tested are then seen in training in "
            "part, also under a split by region; draw each region once."
        )
    left_out = {"of another class": (len(table) - len(kept)) * images.ground.sizes["time"]}
    x, y = centres_m(kept) if len(kept) else (np.zeros(0), np.zeros(0))
    names = kept["id"].astype(str).tolist() if classes else region_names(kept)
    rows = []
    times = images.ground["time"].to_numpy()
    for number, time in enumerate(track(times, "scene classifications", unit="date", progress=progress)):
        scl = images.ground["scl"][number].to_numpy()
        for place, region in enumerate(kept.itertuples()):
            codes = scl[window_of(region)]
            missing = float((codes == 0).mean())
            cloud = float(np.isin(codes, CLOUDS).sum() / max((codes != 0).sum(), 1))
            box = (region.row, region.column, region.height, region.width)
            rows.append((names[place], time, *box, missing, cloud, x[place], y[place], region.label))
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


def degree_table(
    images: Images,
    placed: Regions,
    degree: Degree,
    entry: DataEntry,
    zero_areas: Mapping[str, Sequence[str]],
    **limits: Any,
) -> tuple[pd.DataFrame, Degree]:
    """Return the samples of clearing objects and of areas without need, and the degree with these.

    Args:
        images: The images.
        placed: The objects on their grid.
        degree: The degree of their pixels.
        entry: The data set.
        zero_areas: Classes of areas without need by name of the entry's labels; empty for all of a file.
        **limits: Arguments of :func:`sample_table`.

    Returns:
        The columns of :func:`sample_table`; owner of the pixels that are a sample's own; and zero_area,
        whether it is an area without need.
    """
    grid, used = images.ground.odc.geobox, degree.objects["used"].to_numpy()
    groups = [("", placed.table[used].reset_index(drop=True), np.flatnonzero(used))]
    for name, kept in zero_areas.items():
        areas = on_grid(of_entry(entry, name), grid)
        check_all(kept, sorted(set(areas.table["label"])), f"{name} has no region of class")
        chosen = areas.table[areas.table["label"].isin(kept)] if kept else areas.table
        areas = areas._replace(table=chosen.reset_index(drop=True))
        degree, owners = with_zero_areas(degree, areas, grid)
        free = np.isin(owners, degree.owner)  # others lie within objects
        groups.append((name, areas.table[free].reset_index(drop=True), owners[free]))
    tables, left_out = [], dict.fromkeys(("with too little data", "under clouds"), 0)
    for name, table, owners in groups:
        if table.empty:
            continue
        found = sample_table(images, placed._replace(table=table), **limits)
        owner = dict(zip(region_names(table), owners.tolist(), strict=True))
        found["owner"], found["zero_area"] = found["region"].map(owner), bool(name)
        found["region"] = f"{name} ".lstrip() + found["region"]
        tables.append(found)
        left_out = {reason: left_out[reason] + found.attrs["left_out"].get(reason, 0) for reason in left_out}
    joined = pd.concat(tables, ignore_index=True).sort_values(["part", "region"], ignore_index=True)
    joined["id"] = np.arange(len(joined))
    joined.attrs["left_out"] = {reason: count for reason, count in left_out.items() if count}
    return joined, degree


def extra_store(
    folder: str | Path, entry: DataEntry, images: Images, placed: Regions, like: Store, **limits: Any
) -> Store:
    """Write the areas of an extra test as the samples of a store, one an area and date.

    Args:
        folder: Where the store goes.
        entry: The data set.
        images: The images, with the channels of the other store.
        placed: The areas on their grid; their label is their kind.
        like: Store that the network was trained on: size, place and padding are its own. Of larger areas the
            middle counts.
        **limits: Arguments of :func:`sample_table`.

    Warns of kinds of which no image is left.

    Returns:
        The store; its table has the column kind, and its label is 0 inside of an area and NaN elsewhere.
    """
    height, width = like.arrays_spec["image"].shape[:2]
    options = {key: like.metadata[key] for key in ("place", "padding")}
    kinds = dict(zip(placed.table["id"].astype(str), placed.table["label"], strict=True))
    plain = placed._replace(table=placed.table.assign(label=""))  # so that areas are named by their number
    table = sample_table(images, plain, **limits)
    lost = sorted(set(kinds.values()) - set(table["region"].map(kinds)))
    if lost:
        warn(f"No image of {', '.join(lost)} is left: allow more clouds or missing data, or go without.")
    for start, side, most in (("row", "height", height), ("column", "width", width)):
        table[start] += (table[side] - most).clip(lower=0) // 2
        table[side] = table[side].clip(upper=most)
    grid = images.ground.odc.geobox
    numbers, _ = label_map(placed.table, grid, np.arange(len(placed.table)), ignore=65535)
    owner = np.where(numbers == 65535, -1, numbers.astype(np.int32))
    places, size = dict(zip(kinds, range(len(kinds)), strict=True)), (height, width)
    table = table.assign(owner=table["region"].map(places), kind=table["region"].map(kinds))
    return write_store(
        folder,
        table,
        store_arrays(images, size, values=True),
        "part",
        produce=sample_producer(images, size, **options, degree=(np.zeros(grid.shape, np.float32), owner)),
        fingerprint={
            "data": fingerprint_files(entry.path),
            "channels": images.channels,
            "owner": fingerprint_array(owner),
            **options,
        },
        metadata=store_metadata(entry, images, **options),
    )


def pixels_trained_on(trained: Store, rows: Any, areas: Store) -> int:
    """Return how many pixels of the areas are also known to samples that are trained on; warn of them.

    Args:
        trained: Store of the study, with the degree as label.
        rows: Rows of the samples.
        areas: Result of :func:`extra_store`, on the same grid.
    """
    shared = np.intersect1d(_known_pixels(trained, rows), _known_pixels(areas, range(len(areas))))
    if len(shared):
        warn(f"{len(shared):,} pixels of the areas are trained on too: name other areas, or read less of it.")
    return len(shared)


def _known_pixels(store: Store, rows: Any) -> np.ndarray:
    """Return a number for each pixel of the grid whose label is known in some samples, ascending."""
    found: list[np.ndarray] = []
    size, place = store.arrays_spec["label"].shape, store.metadata["place"]
    chosen: Any = store.table.iloc[list(rows)].itertuples()
    for number, one in zip(rows, chosen, strict=True):
        at = placement(one.height, one.width, (size[0], size[1]), place)
        y, x = np.nonzero(np.isfinite(store.arrays["label"][number][at]))
        found.append(np.unique((one.row + y) * 2**32 + one.column + x))
    return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)


def region_names(table: pd.DataFrame) -> list[str]:
    """Return the label of each region where each has one of its own, else its number in the file."""
    own = table["label"].ne("").all() and table["label"].is_unique
    return [str(name) for name in table["label" if own else "id"]]


def window_of(region: Any) -> tuple[slice, slice]:
    """Return rows and columns of the rectangle around a region."""
    return slice(region.row, region.row + region.height), slice(region.column, region.column + region.width)


def common_size(table: pd.DataFrame, square: bool = False) -> tuple[int, int]:
    """Return the height and width that hold every sample; of a square, which can be rotated, if asked for."""
    height, width = int(table["height"].max()), int(table["width"].max())
    return (max(height, width),) * 2 if square else (height, width)


def placement(height: int, width: int, size: tuple[int, int], place: str) -> tuple[slice, slice]:
    """Return where a crop lies in its padded image: at the upper left (as Svensson 2020) or in the centre.

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
        "image": ArraySpec(("y", "x", "band"), (*size, channels), "float32", {"units": "1"}, nan="allow"),
        "label": label if values else ArraySpec((), (), "uint8"),
    }


def sample_producer(
    images: Images,
    size: tuple[int, int],
    place: str = "upper_left",
    padding: str = "masked",
    mask_clouds: bool = True,
    degree: tuple[np.ndarray, np.ndarray] | None = None,
) -> Produce:
    """Return the function that crops and pads the samples of one part.

    Args:
        images: The images.
        size: Height and width of a sample.
        place: Where crops lie in it, one of :data:`PLACES`.
        padding: "masked": NaN beside the crop and where nothing is known; or "zeros", as in Svensson (2020).
        mask_clouds: Whether nothing is known under clouds.
        degree: Value and owner of each pixel of the grid (y, x), see
            :class:`eolab.studies.clearing.truth.Degree`; None where labels are classes. The label of a sample
            has the pixels of its own region, those under clouds and without data aside.
    """
    check_known(padding, PADDINGS, f"There is no padding {padding!r}")
    times = images.ground["time"].to_numpy()

    def produce(rows: pd.DataFrame) -> Mapping[str, np.ndarray]:
        number = int(np.flatnonzero(times == rows["date"].iloc[0])[0])
        top, left = int(rows["row"].min()), int(rows["column"].min())
        bottom, right = (rows["row"] + rows["height"]).max(), (rows["column"] + rows["width"]).max()
        values, clear = read_window(images, number, (slice(top, int(bottom)), slice(left, int(right))))
        image = np.full((len(rows), *size, len(images.channels)), PADDINGS[padding], np.float32)
        known = np.full((len(rows), *size), np.nan, np.float32)
        samples: Any = rows.itertuples()
        for k, region in enumerate(samples):
            y, x = window_of(region)
            inside = (slice(y.start - top, y.stop - top), slice(x.start - left, x.stop - left))
            at = placement(region.height, region.width, size, place)
            image[(k, *at)] = as_learned(values[inside], clear[inside], padding, mask_clouds)
            if degree is not None:
                whole = observed(values[inside], images.channels)
                own = degree[1][y, x] == region.owner
                known[(k, *at)] = np.where(whole & clear[inside] & own, degree[0][y, x], np.nan)
        return {"image": image, "label": rows["label"].to_numpy(np.uint8) if degree is None else known}

    return produce


def as_learned(
    values: np.ndarray, clear: np.ndarray, padding: str = "masked", mask_clouds: bool = True
) -> np.ndarray:
    """Return what :func:`read_window` has read as networks learn from it; see :func:`sample_producer`."""
    known = np.where(clear[..., None], values, np.nan) if mask_clouds else values
    return np.nan_to_num(known, nan=PADDINGS[padding])


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
        raise DataError(f"The images have no {', '.join(lacking)}: leave these channels out, or give others.")
    codes = images.ground["scl"].isel(at).to_numpy()
    values = np.stack([planes[name] for name in images.channels], axis=-1).astype(np.float32)
    return values, (codes != 0) & ~np.isin(codes, CLOUDS)


def observed(values: np.ndarray, channels: Sequence[str]) -> np.ndarray:
    """Return where pixels have all their bands, bool (y, x): an index without a value is missing alone.

    Args:
        values: Channels (y, x, channel), NaN where missing or undefined.
        channels: Their names; where all are indices, one that has a value is enough.
    """
    finite = np.isfinite(values)
    bands = [k for k, name in enumerate(channels) if name not in INDICES]
    return finite[..., bands].all(axis=-1) if bands else finite.any(axis=-1)


def store_metadata(
    entry: DataEntry, images: Images, classes: Sequence[str] = (), **facts: Any
) -> dict[str, Any]:
    """Return what a store of the study says of itself."""
    coords: dict[str, Any] = {"band": list(images.channels)}
    if classes:
        coords["class"] = list(classes)
    pixel_m = pixel_size_m(images.ground.odc.geobox)[1]
    return {
        "coords": coords,
        "dataset": entry.name,
        **entry.origin,
        "study": "clearing",
        "pixel_m": pixel_m,
        **facts,
    }


# === Views ===


def count_classes(table: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Return a row a class: class, samples, regions, and the fewest and most samples of a region."""
    counts = table.groupby(["label", "region"]).size().groupby("label")
    found = counts.agg(samples="sum", regions="size", fewest="min", most="max").reset_index()
    found.insert(0, "class", [classes[label] for label in found.pop("label")])
    return found


def scheme(classes: Sequence[str]) -> ClassScheme:
    """Return the class scheme of the labels, for figures."""
    return ClassScheme.numbered("clearing", zip(classes, itertools.cycle(COLORS), strict=False))


def pictures(samples: Store, rows: Any) -> np.ndarray:
    """Return red, green and blue (n, y, x, 3) of some samples, NaN in the padding.

    Taken are the true-colour channels, or bands B04, B03 and B02; where a store has neither, its first
    channel is shown in grey.
    """
    names = list(samples.channel_names("image"))
    image = np.asarray(samples.gather(np.asarray(rows), ["image"])["image"], np.float32)
    for triple in (TRUE_COLOUR, ("B04", "B03", "B02"), ("TOA_B04", "TOA_B03", "TOA_B02")):
        if {*triple} <= {*names}:
            return image[..., [names.index(name) for name in triple]]
    return image[..., [0, 0, 0]]
