"""Image series of a data set in the form of the study: as published, or images of one's own.

Images of one's own have the layout ``rasters``: a folder of dated GeoTIFFs a place, named by a pattern with
``{tile}`` for the place, and a table of labels::

    my_floods:
      uri: floods
      layout: rasters
      images: {files: "{tile}/*_{date}.tif"}
      pixels: {scale: 0.0001, offset: 0}
      labels: {flooded: {file: labels.csv}}     # place, flooded, and date and split where there are some

The sensor of a file is told by its bands: VV and VH are Sentinel-1 in linear power, bands of Sentinel-2 are
reflectance. ``pixels`` is of Sentinel-2 alone.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from eolab.core.errors import DataError, did_you_mean, warn
from eolab.data import splits
from eolab.data.catalog import DataEntry
from eolab.data.cutting import cut_table
from eolab.data.layouts import rasters, sen12flood
from eolab.data.layouts.common import below, reading
from eolab.data.layouts.raster_files import folder_of
from eolab.data.layouts.rasters import Acquisition
from eolab.data.layouts.sen12flood_index import CHANNELS, COLUMNS, SENSORS
from eolab.data.store import Store, open_store
from eolab.studies.flood.sensors import Optical, Radar, Sensor

PLACE = ("place", "sequence", "tile", "site", "location", "name")
DAY = ("date", "day", "time")
LABEL = ("flooded", "label", "flood", "class")
WORDS = {"1": True, "0": False, "true": True, "false": False, "yes": True, "no": False}
WORDS |= {"flooded": True, "dry": False, "flood": True, "1.0": True, "0.0": False}
TEST = 0.25  # share of the places of the test, where the table has no column split


def index(entry: DataEntry) -> pd.DataFrame:
    """Return the images of a data set; see :func:`eolab.data.layouts.sen12flood_index.index`.

    Of images of one's own the table has ``files`` (file of each channel, JSON) and ``ring`` (outline in
    degrees) too. The test has the places that the column ``split`` of the labels calls test, else a quarter
    of them, drawn by label.

    Raises:
        DataError: If the layout is another, or the images or their labels cannot be used.
    """
    if entry.layout == "sen12flood":
        return _cut(sen12flood.index(entry.path, entry.pixels), entry)
    if entry.layout != "rasters":
        raise DataError(
            f"Data set {entry.name} has the layout {entry.layout}, but the flood study reads sen12flood or "
            "rasters: choose another data set."
        )
    folder = folder_of(entry.path, entry.images)
    found, _ = rasters.scan(folder, entry.images, entry.pixels)
    rows = [row for one in found for sensor in SENSORS for row in _rows(entry, one, sensor)]
    if not rows:
        raise DataError(
            f"{folder} holds no image of a place with bands of Sentinel-1 or Sentinel-2: name the places "
            "with {tile} in the pattern `images: {files: …}`, and the bands in the files or the entry."
        )
    table = pd.DataFrame(rows).sort_values(["sequence", "sensor", "date"], ignore_index=True)
    table["number"] = table.groupby(["sequence", "sensor"]).cumcount() + 1
    table = _labelled(table, entry)
    table.attrs["rejected"] = []
    return _cut(table[[*COLUMNS, "stated", "files", "ring"]], entry)


def _cut(images: pd.DataFrame, entry: DataEntry) -> pd.DataFrame:
    """Return the images of places whose middle lies in the bounds of an entry, between its days."""
    if not (entry.bounds or entry.dates):
        return images
    places = sen12flood.sequences(entry.path, images).loc[images["sequence"]]
    return cut_table(images, entry, places["longitude"], places["latitude"], "EPSG:4326")


def _rows(entry: DataEntry, item: Acquisition, sensor: str) -> list[dict[str, object]]:
    """Return the row of a sensor's image on a day, none where the day has no band of it."""
    best = {band.name: band.source for band in reversed(item.bands)}  # the first is the best of a name
    channels = {name: best[name] for name in CHANNELS[sensor] if name in best}
    if not channels or not item.tile:
        return []
    files = {name: below(entry.path, one.path) for name, one in channels.items()}
    box = next(iter(channels.values())).grid.geographic_extent.boundingbox
    west, south, east, north = box.bbox
    corners = [(west, south), (east, south), (east, north), (west, north), (west, south)]
    stated = {**entry.pixels, "bands": {name: one.number for name, one in channels.items()}}
    return [
        {
            "sequence": item.tile,
            "sensor": sensor,
            "date": pd.Timestamp(item.time).normalize(),
            "orbit": item.orbit,
            "full_coverage": True,
            "filename": next(iter(files.values())),
            "channels": "+".join(channels),
            "stated": json.dumps(stated),
            "files": json.dumps(files),
            "ring": np.array(corners),
        }
    ]


def _labelled(table: pd.DataFrame, entry: DataEntry) -> pd.DataFrame:
    """Return the images that have a label, with the columns flooded and published."""
    name = "flooded" if "flooded" in entry.labels else next(iter(entry.labels), "")
    if not name:
        raise DataError(
            f"Data set {entry.name} of {entry.file} names no labels: write "
            "`labels: {flooded: {file: labels.csv}}`, a table of place, flooded and, where known, date."
        )
    file, facts = entry.label_file(name)
    labels = _read(file, facts.get("column", ""))
    keys = ["sequence", "date"] if "date" in labels else ["sequence"]
    if labels.duplicated(keys).any():
        twice = labels[labels.duplicated(keys)].iloc[0]
        raise DataError(f"{file} has two labels of {twice['sequence']}: one a place, or one a place and day.")
    joined = table.merge(labels, on=keys, how="left")
    missing = joined["flooded"].isna()
    if missing.any():
        one = joined[missing].iloc[0]
        warn(
            f"{int(missing.sum())} of {len(joined)} images have no label in {file.name} and are left out, "
            f"such as that of {one['sequence']} on {one['date']:%Y-%m-%d}."
        )
    joined = joined[~missing].astype({"flooded": bool}).reset_index(drop=True)
    if joined.empty:
        raise DataError(f"{file} labels none of the places {', '.join(table['sequence'].unique()[:5])}.")
    if "split" not in joined:
        places = joined.groupby("sequence")["flooded"].any().reset_index()
        drawn = splits.by_group(places, "sequence", validation=0.0, test=TEST, label="flooded")
        joined["split"] = joined["sequence"].map(dict(zip(places["sequence"], drawn, strict=True)))
    return joined.assign(published=np.where(joined["split"].astype(str) == "test", "test", "train"))


def _read(file: Path, column: str) -> pd.DataFrame:
    """Return a table of labels: sequence, flooded and, where it has them, date and split."""
    with reading(file, "CSV", "give a table with a header", (OSError, ValueError)):
        table = pd.read_csv(file, dtype=str, sep=None, engine="python", keep_default_na=False)
    lower = {str(name).strip().lower(): name for name in table}
    wanted = {"sequence": PLACE, "flooded": (column.lower(), *LABEL), "date": DAY, "split": ("split",)}
    found = {key: next((lower[name] for name in names if name in lower), "") for key, names in wanted.items()}
    for key, what in (("sequence", "'place'"), ("flooded", "'flooded'")):
        if not found[key]:
            raise DataError(f"{file} has the columns {', '.join(map(str, table))}: call one of them {what}.")
    chosen = pd.DataFrame({key: table[name] for key, name in found.items() if name})
    words = chosen["flooded"].str.strip().str.lower()
    unknown = words[~words.isin(list(WORDS))]
    if len(unknown):
        word = str(unknown.iloc[0])
        raise DataError(f"{file} has the label {word!r}: {did_you_mean(word, list(WORDS))}")
    chosen["flooded"] = words.map(WORDS)
    if "date" in chosen:
        days = pd.to_datetime(chosen["date"], errors="coerce", format="ISO8601")
        if days.isna().any():
            raise DataError(f"{file} has the date {chosen['date'][days.isna()].iloc[0]!r}: write 2020-03-01.")
        chosen["date"] = days.dt.normalize().astype("datetime64[ns]")
    return chosen


def sensors_of(
    images: pd.DataFrame,
    polarisations: Sequence[str],
    bands: Sequence[str],
    floor_db: float,
    reference_images: int,
) -> dict[str, Sensor]:
    """Return what is read of each sensor that has images; channels that no image has are left out by name.

    Raises:
        DataError: If no sensor has a channel left.
    """
    found: dict[str, Sensor] = {}
    for name, channels in {"S1": polarisations, "S2": bands}.items():
        named = images.loc[images["sensor"] == name, "channels"].unique()
        there = {channel for one in named for channel in one.split("+")}

        def of(some: Sequence[str], name: str = name) -> Sensor:
            given = tuple(some), floor_db, reference_images
            return Radar(*given) if name == "S1" else Optical(given[0], reference_images)

        kept = [one for one in channels if {*of([one]).read} <= there]
        lost = [one for one in channels if one not in kept]
        if lost and there:
            warn(f"Images of {name} have no {', '.join(lost)}: these channels are left out.")
        if kept:
            found[name] = of(kept)
    if not found:
        raise DataError(
            f"No image has one of the channels {', '.join([*polarisations, *bands])}: name those there are."
        )
    return found


def open_stores(folder: Path) -> dict[str, Store]:
    """Return the stores of a run of 02_preprocess by sensor: of both, or of the one that has images."""
    return {name: open_store(folder / name) for name in SENSORS if (folder / name).is_dir()}


def held(stores: Mapping[str, Store], channels: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the channels by sensor that the stores hold; the others are left out by name."""
    found = {}
    for sensor, store in stores.items():
        there = store.metadata["coords"]["band"]
        found[sensor] = [one for one in channels[sensor] if one in there]
        if lost := [one for one in channels[sensor] if one not in there]:
            warn(f"The store of {sensor} has no {', '.join(lost)}: these channels are left out.")
    return found
