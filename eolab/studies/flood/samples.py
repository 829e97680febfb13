"""Which images become samples, which split they belong to, how files become rows, and the numbers of each.

A store holds the images of one sensor, a row an image, sequence by sequence in the order of the dates: series
of any length and two sensors are put together in batches, and no row is padding.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.ndimage import uniform_filter
from scipy.spatial import cKDTree

from eolab.core.errors import ParameterError, check_known
from eolab.core.progress import track
from eolab.data import splits
from eolab.data.catalog import DataEntry
from eolab.data.layouts import sen12flood as reader
from eolab.data.layouts.sen12flood_index import files_of
from eolab.data.splits.dealing import SPLITS
from eolab.data.store import ArraySpec, Store
from eolab.data.tables import PERCENTILES, image_statistics
from eolab.studies.flood import explore
from eolab.studies.flood.sensors import Optical, Radar, dry_state
from eolab.studies.protocol import Produce

Sensor = Radar | Optical
Size = tuple[int, int]
COLUMNS = ["sequence", "published", "sensor", "date", "flooded", "orbit", "full_coverage"]
PLACE = ["lon", "lat", "x", "y"]
EARTH_RADIUS_M = 6_371_000.0
SIDE_M = 5_120.0

DROP_DB = 3.0
REFERENCE = 2  # first images whose median is the dry state, see dry_state
BRIGHT = 0.2  # reflectance of B02 above which ground is rarely that bright: clouds, snow
SPECKLE_PX = 3  # side of the window that speckle is averaged in
SPLIT_KINDS = ("published", "regions")
APART_DEG = 4.0
"""Gap in degrees between regions of a split. In the published lists, sequences that one cyclone flooded lie
up to 3 degrees from each other: with smaller gaps, some of them are in training and some in the test."""
WATER_INDICES = ("MNDWI", "NDWI")
NO_STATISTIC = ("sequence", "date", "flooded", "split", "x", "y", "water", "dark", "bright")


def sample_table(images: pd.DataFrame, files: pd.DataFrame, root: str | Path, sensor: Sensor) -> pd.DataFrame:
    """Return a row an image of a sensor that can be used.

    Args:
        images: Result of :func:`eolab.data.layouts.sen12flood.index`.
        files: Table of the check: file, status, reason.
        root: Folder of the data set, which the check names files from.
        sensor: Which channels are wanted: an image is left out where a file of one of them is bad.

    Returns:
        Columns id, sequence, published, sensor, date, flooded, orbit, full_coverage, rows: labels of its
        slices in `images`, joined by "+"; and lon, lat, x, y of the sequence's centre, see
        :func:`sequence_places`.
    """
    good = set(files.loc[files["status"] == "ok", "file"])
    table = reader.passes(images[images["sensor"] == sensor.sensor])

    def usable(slices: list[Any]) -> bool:
        named = [files_of("", part) for part in slices]
        there = [[name for name, file in one.items() if file.as_posix() in good] for one in named]
        return all(any(name in some for some in there) for name in sensor.read)

    kept = [usable(slices) for slices in reader.slices_by_pass(images, table["rows"])]
    table = table.loc[kept, [*COLUMNS, "rows"]].reset_index(drop=True)
    table.insert(0, "id", np.arange(len(table)))
    return table.join(sequence_places(reader.sequences(root, images)), on="sequence")


def sequence_places(sequences: pd.DataFrame) -> pd.DataFrame:
    """Return where the centre of each sequence is: lon and lat in degrees, x and y in metres, by sequence.

    Metres are those of a local equirectangular projection: each region
    (:func:`eolab.studies.flood.explore.regions`)
    is drawn in the scale of its own middle latitude. Distances are right to 1 % or so within a region, and
    too long between regions.

    Args:
        sequences: Result of :func:`eolab.data.layouts.sen12flood.sequences`.
    """
    lon, lat = sequences["longitude"], sequences["latitude"]
    region = explore.regions(sequences)
    middle = {name: places.groupby(region).transform("mean") for name, places in (("lon", lon), ("lat", lat))}
    east = middle["lon"] + (lon - middle["lon"]) * np.cos(np.radians(middle["lat"]))
    metres = EARTH_RADIUS_M * np.pi / 180  # a degree
    return pd.DataFrame({"lon": lon, "lat": lat, "x": metres * east, "y": metres * lat})


def nearest_training(sequences: pd.DataFrame, split: pd.Series) -> pd.DataFrame:
    """Return how near each test sequence is to a training sequence, nearest first.

    Args:
        sequences: Result of :func:`eolab.data.layouts.sen12flood.sequences`.
        split: "train", "test" or another word, by sequence.

    Returns:
        By test sequence: nearest, the training sequence; distance_m and distance_deg between the centres, the
        latter in the plane of longitude and latitude; adjoins: whether they share an edge, their centres a
        sequence's width of 5,120 m apart (5 % more at most), or overlap.
    """
    places, split = sequence_places(sequences), split.reindex(sequences.index)
    train, test = (places[split == part] for part in ("train", "test"))
    distance, found = cKDTree(train[["x", "y"]].to_numpy()).query(test[["x", "y"]].to_numpy())
    apart = test[["lon", "lat"]].to_numpy() - train[["lon", "lat"]].to_numpy()[found]
    table = {"nearest": train.index[found], "distance_m": distance, "distance_deg": np.hypot(*apart.T)}
    table["adjoins"] = distance <= 1.05 * SIDE_M
    return pd.DataFrame(table, index=test.index).sort_values("distance_m")


def sequence_splits(
    tables: Iterable[pd.DataFrame],
    validation: float = 1 / 3,
    seed: int = 0,
    regions: pd.Series | None = None,
    test: float = 0.25,
) -> pd.Series:
    """Return train, validation or test by sequence: whole sequences, the test as published or whole regions.

    Args:
        tables: Results of :func:`sample_table`, of one sensor or both.
        validation: Share of the published training sequences that is held out for validation, stratified by
            whether they flood; with regions, the share of all sequences.
        seed: Seed of the split.
        regions: Region by sequence, see :func:`eolab.studies.flood.explore.regions`; each is then in one
            split. None for the published test.
        test: With regions, the share of the sequences that is held out for the test.

    Raises:
        ParameterError: If a split gets no sequence.
    """
    images = pd.concat(list(tables), ignore_index=True)
    sequences = images.groupby("sequence").agg(published=("published", "first"), flooded=("flooded", "any"))
    if regions is None:
        known = sequences[sequences["published"] == "train"].reset_index()
        held = splits.by_group(known, "sequence", validation, 0.0, label="flooded", seed=seed)
    else:
        known = sequences.reset_index().assign(region=regions.reindex(sequences.index).to_numpy())
        held = splits.by_group(known, "region", validation, test, label="flooded", seed=seed)
    found = pd.Series(held.astype(str).to_numpy(), index=known["sequence"])
    found = found.reindex(sequences.index, fill_value="test").rename("split")
    empty = [name for name in SPLITS if not (found == name).any()]
    if empty:
        raise ParameterError(
            f"None of {len(found)} sequences is left for {' and '.join(empty)}: choose another split, larger "
            "shares or more sequences."
        )
    return found


def possible_splits(
    tables: Sequence[pd.DataFrame],
    sequences: pd.DataFrame,
    chosen: str,
    validation: float,
    test: float,
    seed: int,
) -> dict[str, pd.Series]:
    """Return the splits by name, "published" and "regions", the chosen one first.

    Args:
        tables: Results of :func:`sample_table`.
        sequences: Result of :func:`eolab.data.layouts.sen12flood.sequences`; regions are chains of them with
            gaps of :data:`APART_DEG` between.
        chosen: Name of the split that must be possible; the other is left out where it is not.
        validation: Share of the validation, see :func:`sequence_splits`.
        test: Share of the test where regions are held out.
        seed: Seed of the splits.

    Raises:
        ParameterError: If the chosen split is unknown or not possible.
    """
    check_known(chosen, SPLIT_KINDS, f"There is no split {chosen!r}")
    found, regions = {}, explore.regions(sequences, APART_DEG)
    for kind in sorted(SPLIT_KINDS, key=lambda name: name != chosen):
        try:
            found[kind] = sequence_splits(
                tables, validation, seed, regions if kind == "regions" else None, test
            )
        except ParameterError:
            if kind == chosen:
                raise
    return found


def store_arrays(sensor: Sensor, size: Size) -> dict[str, ArraySpec]:
    """Return the arrays of a sensor's store: the image, NaN where there is no value, and its label."""
    shape, attrs = (*size, len(sensor.layers)), {"units": sensor.units}
    return {
        "image": ArraySpec(("y", "x", "band"), shape, "float32", attrs, "allow"),
        "label": ArraySpec((), (), "uint8", {"long_name": "1 = a flood has been seen"}),
    }


def sample_producer(root: str | Path, images: pd.DataFrame, sensor: Sensor, size: Size) -> Produce:
    """Return the function that reads and computes the images of one sequence.

    Args:
        root: Folder of the data set.
        images: Result of :func:`eolab.data.layouts.sen12flood.index`.
        sensor: Which channels are wanted.
        size: Height and width.
    """

    def produce(rows: pd.DataFrame) -> dict[str, np.ndarray]:
        chosen = reader.slices_of(images, rows["rows"])
        series, _ = reader.read_series(root, chosen, sensor.read, size, min_valid=0.0)  # the check has judged
        return {"image": sensor.compute(series["image"]), "label": rows["flooded"].to_numpy(np.uint8)}

    return produce


def store_metadata(entry: DataEntry, sensor: Sensor) -> dict[str, Any]:
    """Return what a store of the study says of itself."""
    coords = {"band": list(sensor.layers)}
    return {"coords": coords, "dataset": entry.name, "sensor": sensor.sensor, **entry.origin}


# === Numbers of each image ===


def image_table(store: Store, progress: bool = True) -> pd.DataFrame:
    """Return a row an image with its numbers; images are read sequence by sequence.

    Args:
        store: Store of one sensor, see :func:`eolab.studies.flood.store_arrays`.
        progress: Whether to show progress.

    Returns:
        Columns sequence, date, flooded; of each channel c ``c_mean``, ``c_std`` and ``c_p5`` to ``c_p95``,
        NaN where an image has no value; ``water`` where a channel is a water index and ``dark`` of a radar
        store, the shares that baselines score by; ``bright``, the share of bright pixels, where B02 is there.
    """
    table = store.table.reset_index(drop=True)
    names, parts = list(store.metadata["coords"]["band"]), []
    sequences = table.groupby("sequence", sort=False).indices
    for rows in track(sequences.values(), "Images", total=len(sequences), unit="sequence", progress=progress):
        images = store.gather(np.asarray(rows), ["image"])["image"]  # (T, H, W, C)
        store.release()
        part = _statistics(images, names)
        layers = dict(zip(names, np.moveaxis(images, -1, 0), strict=True))  # (T, H, W) each
        index = next((name for name in WATER_INDICES if name in layers), None)
        if index:
            part["water"] = _share(layers[index] > 0, layers[index])
        if store.metadata.get("sensor") == "S1":
            part["dark"] = _dark(layers["VH"] if "VH" in layers else layers["VV"])
        if "B02" in layers:
            part["bright"] = _share(layers["B02"] > BRIGHT, layers["B02"])
        known = table.loc[rows, ["sequence", "date", "flooded"]].reset_index(drop=True)
        parts.append(known.join(part))
    return pd.concat(parts, ignore_index=True)


def _statistics(images: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Return mean, standard deviation and percentiles of each channel of images (T, H, W, C)."""
    found = image_statistics(images).reshape(len(images), -1)
    kinds = ["mean", "std", *(f"p{percent}" for percent in PERCENTILES)]
    return pd.DataFrame(found, columns=[f"{name}_{kind}" for name in names for kind in kinds])


def statistic_columns(table: pd.DataFrame) -> list[str]:
    """Return the columns of :func:`image_table` that are statistics of channels."""
    return [str(name) for name in table if name not in NO_STATISTIC]


def features(table: pd.DataFrame) -> np.ndarray:
    """Return the statistics of each image (N, F), a missing one as the mean of the others."""
    found = table[statistic_columns(table)]
    return found.fillna(found.mean()).to_numpy(np.float64)


def _share(chosen: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the share of the pixels with a value that are chosen, of images (T, H, W)."""
    seen = np.isfinite(values)
    return (chosen & seen).sum((1, 2)) / np.maximum(seen.sum((1, 2)), 1)


def _dark(decibels: np.ndarray) -> np.ndarray:
    """Return the share of pixels that lost backscatter against the first images, of images (T, H, W)."""
    seen = np.isfinite(decibels)
    power = np.where(seen, 10 ** (decibels / 10), 0)
    window = (1, SPECKLE_PX, SPECKLE_PX)
    weight = uniform_filter(seen.astype(np.float64), window)
    mean = np.divide(
        uniform_filter(power, window), weight, out=np.full(power.shape, np.nan), where=weight > 0.1
    )
    smooth = 10 * np.log10(np.where(seen, mean, np.nan))
    return _share(smooth < dry_state(smooth, REFERENCE) - DROP_DB, smooth)
