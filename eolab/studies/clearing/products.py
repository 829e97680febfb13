"""Maps of the degree to which the forest of a scene needs clearing."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from eolab import tasks
from eolab.data.layouts.series import of_day
from eolab.prediction import mapping
from eolab.prediction.serving import Form
from eolab.studies.clearing.samples import (
    PADDINGS,
    Images,
    as_learned,
    observed,
    open_images,
    read_window,
    scheme,
)
from eolab.studies.products import UNDATED, Trained, Wanted, check_pixels, scene_entry

NEED = ("zero", "need")
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


def content_of(trained: Trained) -> Any:
    """Return what a network of the study predicts: degrees, two classes of degree, or stands."""
    found: Any = {"regression": BAND, "segmentation": scheme(NEED)}.get(trained.task)
    return found or scheme(trained.samples.metadata["coords"]["class"])


def form_of(trained: Trained) -> Form:
    """Return how images are given to a network of the study, as its samples are where there is no value."""
    chosen, fill = trained.channels, PADDINGS[trained.option("padding", "masked")]

    def prepare(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"image": chosen.assemble(np.nan_to_num(inputs["image"], nan=fill))}

    return Form(chosen.stored, prepare, content_of(trained), fill=np.nan)


def scene_of(trained: Trained, wanted: Wanted) -> mapping.Scene:
    """Open a scene for a network of the study: of degrees, of two classes of degree, or of stands.

    It is read from a Sentinel-2 product of Level-2A (and Level-1C beside it where the network reads that), a
    folder of images, or a data set of the catalogue.

    Raises:
        ParameterError: If a day must be chosen.
        DataError: If the scene cannot be used.
    """
    chosen, entry = trained.channels, scene_entry(trained, wanted)
    images = open_images(entry, chosen.stored, tile=wanted.tile)
    number = of_day(images.ground, wanted.date, str(wanted.place))
    time = str(images.ground["time"].values[number])[:19]
    grid = images.ground.odc.geobox
    check_pixels(trained, grid, wanted.place)
    padding = trained.option("padding", "masked")
    return mapping.Scene(
        entry.name,
        grid,
        scene_reader(images, number, chosen, padding),
        content_of(trained),
        "" if time.startswith(UNDATED) else time,
        fill=PADDINGS[padding],
        depends={"scene": str(entry.path), "time": time, "channels": list(chosen.names)},
    )
