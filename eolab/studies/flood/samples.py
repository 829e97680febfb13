"""Which images become samples, which split they belong to, and how files become rows of a store.

A store holds the images of one sensor, a row an image, sequence by sequence in the order of the dates: series
of any length and two sensors are put together in batches, and no row is padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from eolab.data import splits
from eolab.data.layouts import sen12flood as reader
from eolab.data.layouts.sen12flood_files import files_of
from eolab.data.sensors import Optical, Radar
from eolab.data.store import ArraySpec, fingerprint_files
from eolab.studies.flood import explore

if TYPE_CHECKING:
    from eolab.data.catalog import DataEntry

Sensor = Radar | Optical
Size = tuple[int, int]
COLUMNS = ["sequence", "published", "sensor", "date", "flooded", "orbit", "full_coverage"]
PLACE = ["lon", "lat", "x", "y"]
EARTH_RADIUS_M = 6_371_000.0
SIDE_M = 5_120.0


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

    def usable(rows: str) -> bool:
        slices = list(reader.slices_of(images, [rows]).itertuples())
        return all(any(_name(root, part, name) in good for part in slices) for name in sensor.read)

    kept = [usable(rows) for rows in table["rows"]]
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


def sequence_splits(tables: Iterable[pd.DataFrame], validation: float = 1 / 3, seed: int = 0) -> pd.Series:
    """Return train, validation or test by sequence: whole sequences, the test as published.

    Args:
        tables: Results of :func:`sample_table`, of one sensor or both.
        validation: Share of the published training sequences that is held out for validation, stratified by
            whether they flood.
        seed: Seed of the split.
    """
    images = pd.concat(list(tables), ignore_index=True)
    sequences = images.groupby("sequence").agg(published=("published", "first"), flooded=("flooded", "any"))
    known = sequences[sequences["published"] == "train"].reset_index()
    held = splits.by_group(known, "sequence", validation, 0.0, label="flooded", seed=seed)
    found = pd.Series(held.astype(str).to_numpy(), index=known["sequence"])
    return found.reindex(sequences.index, fill_value="test").rename("split")


def store_arrays(sensor: Sensor, size: Size) -> dict[str, ArraySpec]:
    """Return the arrays of a sensor's store: the image, NaN where there is no value, and its label."""
    shape, attrs = (*size, len(sensor.layers)), {"units": sensor.units}
    return {
        "image": ArraySpec(("y", "x", "band"), shape, "float32", attrs, "allow"),
        "label": ArraySpec((), (), "uint8", {"long_name": "1 = a flood has been seen"}),
    }


def sample_producer(
    root: str | Path, images: pd.DataFrame, sensor: Sensor, size: Size
) -> Callable[[pd.DataFrame], dict[str, np.ndarray]]:
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


def fingerprint(root: str | Path, sensor: Sensor) -> dict[str, Any]:
    """Return what the images of a store depend on, besides their table and size."""
    return {"data": fingerprint_files(root), "channels": repr(sensor)}


def store_metadata(entry: DataEntry, sensor: Sensor) -> dict[str, Any]:
    """Return what a store of the study says of itself."""
    return {
        "coords": {"band": list(sensor.layers)},
        "dataset": entry.name,
        "sensor": sensor.sensor,
        **entry.origin,
    }


def _name(root: str | Path, image: Any, channel: str) -> str:
    """Return the file of a channel below the root; empty where the image was taken without it."""
    file = files_of(root, image).get(channel)
    return file.relative_to(root).as_posix() if file else ""
