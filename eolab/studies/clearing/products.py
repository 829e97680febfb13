"""Maps of the degree to which the forest of a scene needs clearing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from eolab import prediction, runs, tasks
from eolab.core.errors import DataError, ParameterError
from eolab.data import catalog
from eolab.data.layouts.series import of_day
from eolab.prediction import mapping
from eolab.studies.clearing.samples import PADDINGS, Images, as_learned, observed, open_images, read_window

MAPPED = (
    "the degree to which each pixel needs clearing, 0 to 100 percent, 255 under clouds and where there are "
    "no data"
)
WINDOW = 512
BAND = mapping.ValueBand("degree of need for clearing")


def scene_reader(
    images: Images, number: int, chosen: tasks.Channels, padding: str = "masked"
) -> mapping.ReadWindow:
    """Return the function that reads a window of a date for :func:`eolab.prediction.mapping.predict_map`.

    Args:
        images: The images.
        number: Number of the date.
        chosen: Channels of the network, of those that the images have.
        padding: That of the samples which the network learned from, one of :data:`PADDINGS`.

    Returns:
        From (row, col, height, width) to ``image`` (height, width, C) float32, as the samples are where a
        channel is missing or under clouds, and ``nodata`` (height, width): pixels under clouds or without
        a band; where an index alone has no value they are mapped.
    """

    def read(row: int, col: int, height: int, width: int) -> dict[str, np.ndarray]:
        window = slice(row, row + height), slice(col, col + width)
        values, clear = read_window(images, number, window)
        seen = observed(values, images.channels) & clear
        return {"image": chosen.assemble(as_learned(values, clear, padding)), "nodata": ~seen}

    return read


def predict_scene(
    run: str | Path, scene: str | Path, path: str | Path, date: str = "", engine: Any = "keras"
) -> Path:
    """Map the degree of a scene with the network of a run, as a GeoTIFF.

    It is predicted on patches of the size of the network's samples, see
    :class:`eolab.prediction.mapping.PatchWindows`.

    Args:
        run: Folder of a run of ``05_train_degree`` that has learned degrees, not classes.
        scene: Sentinel-2 product of Level-2A (and Level-1C beside it where the network reads that), folder of
            images of layout ``rasters``, or data set of the catalogue.
        path: The file to write: percent, 255 for no data; see :class:`eolab.prediction.mapping.ValueBand`.
        date: Day of the image where there are several.
        engine: What computes, see :func:`eolab.prediction.load`.

    Raises:
        ParameterError: If the run has learned something else, or a day must be chosen.
        DataError: If the scene cannot be used, or is in another unit than the network's training samples.
    """
    record = runs.load(run)
    fitted = tasks.load(record.folder)
    if fitted.task.name != "regression":
        raise ParameterError(
            f"{run} has learned {fitted.task.name}: the degree is mapped with a run that has learned "
            "regression, give its folder."
        )
    chosen = fitted.channels["image"]
    chosen = replace(chosen, stored=chosen.sources or chosen.names)  # no other channel is read
    entry = catalog.of_place(scene, "rasters")
    images = open_images(entry, chosen.stored)
    number = of_day(images.ground, date, str(scene))
    time = str(images.ground["time"].values[number])[:19]
    grid = images.ground.odc.geobox
    padding = runs.load(record.upstream["preprocessed"]).params["padding"]
    read = mapping.Squares(scene_reader(images, number, chosen, padding), grid)
    predictor = prediction.load(record.folder, engine=engine, output="values")
    try:
        if chosen.trained and mapping.check_scale(chosen.trained, read, grid):
            predictor.ranges = {}  # a window may be of another landscape
    except DataError as error:
        raise DataError(f"{scene}: {error}") from None
    size = fitted.network.input["image"].shape[1:3]
    patches = mapping.PatchWindows(predictor, read, grid, size, fill=PADDINGS[padding])
    return mapping.predict_map(
        patches,
        patches.read,
        grid,
        path,
        BAND,
        window=WINDOW,
        fingerprint={"scene": str(entry.path), "time": time, "channels": list(chosen.names)},
        tags=_tags(record, fitted, entry, time),
    )


def _tags(
    record: runs.RunRecord, fitted: tasks.Fitted, entry: catalog.DataEntry, time: str
) -> dict[str, str]:
    """Return what a map says of itself: the run and network, the image, whether data were simulated."""
    made_by = "/".join(str(record.record.get(key)) for key in ("study", "notebook", "run"))
    return {
        "TIFFTAG_IMAGEDESCRIPTION": f"{BAND.name.capitalize()} by {fitted.name} of run {made_by}, from the "
        f"image of {time}",
        "run": made_by,
        "network": str(fitted),
        "channels": ", ".join(fitted.channels["image"].names),
        "scene": entry.name,
        "image_time": time,
        "simulated": str(entry.simulated or record.simulated).lower(),
    }
