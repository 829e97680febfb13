"""A map of a scene with a network of any task: the one way from a scene to files that are shared."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from odc.geo.geobox import GeoBox

from eolab.core.errors import DataError, ParameterError
from eolab.data.schemes import ClassScheme
from eolab.prediction.mapping.bands import Content
from eolab.prediction.mapping.beside import write_item, write_polygons
from eolab.prediction.mapping.predicting import NoPixelError, predict_map
from eolab.prediction.mapping.reading import Squares, check_scale
from eolab.prediction.mapping.windows import Inputs, PatchWindows, Predict, ReadWindow, of_series, per_pixel
from eolab.prediction.ranges import TrainedRange

WINDOW = 512
LABELS_BLOCK = 64  # patches on the side of a block of a map of labels


class Predictor(Protocol):
    """What :func:`eolab.prediction.load` returns."""

    ranges: dict[str, TrainedRange]

    @property
    def shapes(self) -> Mapping[str, Any]:
        """Shape of a sample of each input by name."""

    def __call__(self, inputs: Inputs) -> np.ndarray:
        """Return predictions (N, …, K)."""


@dataclass(frozen=True)
class Scene:
    """A scene as a network reads it.

    Attributes:
        name: What it is called, for errors.
        grid: Its grid.
        read: Reads a window: ``image`` (height, width, …) and what else the network reads, and ``nodata``
            (height, width).
        content: What the map holds: classes, a value, or the probabilities of labels.
        times: When the images were taken, ISO 8601: one, or first and last joined by "/"; may be empty.
        prepare: Makes inputs of the network of a batch of patches as they were read.
        fill: Value of a patch where the scene has ended.
        margin: Pixels dropped of each patch, see :class:`eolab.prediction.mapping.PatchWindows`.
        overlap: Pixels that patches share, see there.
        year: Which of the years is mapped that a network predicts together; None for networks of one.
        depends: What else the map depends on, as JSON values; parts of a stopped map of another are not used.
        tags: What the file says of itself.
    """

    name: str
    grid: GeoBox
    read: ReadWindow
    content: Content
    times: str = ""
    prepare: Callable[[Inputs], Inputs] | None = None
    fill: float = 0.0
    margin: int | None = None
    overlap: int | None = None
    year: int | None = None
    depends: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    def prepared(self, row: int, col: int, height: int, width: int) -> Inputs:
        """Read a window as the network takes it, with ``nodata``."""
        found = self.read(row, col, height, width)
        if self.prepare is None or found["nodata"].all():
            return found
        batch = self.prepare({key: values[None] for key, values in found.items() if key != "nodata"})
        return {key: values[0] for key, values in batch.items()} | {"nodata": found["nodata"]}


def map_scene(
    predictor: Predictor,
    scene: Scene,
    path: str | Path,
    *,
    whole: bool = False,
    trained: TrainedRange | None = None,
    stac: bool = False,
    polygons: bool = False,
    **options: Any,
) -> Path:
    """Map a scene with a network of pixel series, image series or images.

    Series of pixels are predicted pixel by pixel, images by overlapping patches of the network's size, see
    :class:`eolab.prediction.mapping.PatchWindows`; where a network gives one label or several to a whole
    image, a pixel of the map is a patch of the scene. Memory does not grow with the scene.

    Args:
        predictor: The network.
        scene: The scene.
        path: GeoTIFF to write.
        whole: Whether the network gives labels of whole images.
        trained: What the network has seen in training; images in another unit are refused beforehand.
        stac: Whether to write a STAC item beside it, see :func:`eolab.prediction.mapping.write_item`.
        polygons: Whether to write polygons, see :func:`eolab.prediction.mapping.write_polygons`.
        **options: Options of :func:`eolab.prediction.mapping.predict_map`.

    Returns:
        The path.

    Raises:
        DataError: If the scene is in another unit than the network's training samples, smaller than a patch
            of a network of whole images, has no pixel with data, or no time, which a STAC item needs.
        ParameterError: If polygons are wanted of a map without classes.
    """
    if polygons and not isinstance(scene.content, ClassScheme):
        raise ParameterError("The map holds values, polygons are of classes: leave them out.")
    if stac and not scene.times:
        raise DataError(
            f"{scene.name} says no day of its images, which a STAC item needs: name it, or --date."
        )
    try:
        if trained is not None and check_scale(trained, scene.prepared, scene.grid):
            predictor.ranges = {}  # a window may be of another landscape
    except DataError as error:
        raise DataError(f"{scene.name}: {error}") from None
    read, predict, grid = _windows(predictor, scene, whole)
    given: dict[str, Any] = {"window": WINDOW, "tags": {"image_time": scene.times, **scene.tags}}
    given |= {"fingerprint": dict(scene.depends), **options}
    if whole:
        given |= {"window": max(1, WINDOW // max(predict.size)), "block": LABELS_BLOCK}
    try:
        path = predict_map(predict, read, grid, path, scene.content, **given)
    except NoPixelError:
        raise DataError(
            f"{scene.name} has no pixel with data (all are nodata, under clouds or without a band that the "
            "network reads), so no map is written: see its values, or give another scene."
        ) from None
    asked = [write_polygons(path)] if polygons else []
    if stac:
        write_item(path, {"polygons": asked[0]} if asked else {})
    return path


def _windows(predictor: Predictor, scene: Scene, whole: bool) -> tuple[ReadWindow, Any, GeoBox]:
    """Return what reads and what predicts windows of a map, and its grid."""
    shape: tuple[int, ...] = predictor.shapes.get("image") or ()
    if scene.year is not None:
        return (
            scene.read,
            per_pixel(_named(lambda inputs: predictor(inputs)[:, scene.year], predictor)),
            scene.grid,
        )
    if len(shape) != 3:  # not (H, W, C) of single images
        predict, read = of_series(predictor, scene.read, scene.grid)
        return read, predict, scene.grid
    prepare = scene.prepare or (lambda inputs: inputs)
    prepared = _named(lambda inputs: predictor(prepare(inputs)), predictor)
    if whole:
        labels = PatchLabels(prepared, scene.read, scene.grid, (shape[0], shape[1]))
        return labels.read, labels, labels.grid
    patches = PatchWindows(
        prepared,
        Squares(scene.read, scene.grid),
        scene.grid,
        (shape[0], shape[1]),
        scene.margin,
        scene.overlap,
        scene.fill,
    )
    return patches.read, patches, scene.grid


def _named(predict: Any, predictor: Predictor) -> Predict:
    """Return a function that has the fingerprint of a predictor."""
    predict.fingerprint = getattr(predictor, "fingerprint", None)
    return predict


class PatchLabels:
    """Makes a network that labels whole images predict a scene, a pixel of the map for each patch of it.

    Patches stand side by side; what is left at the right and at the bottom, less than a patch, is not mapped.
    A patch without data in more than half of its pixels has none in the map.

    Args:
        predictor: From arrays (N, H, W, …) to predictions (N, K).
        read_window: Reads arrays (height, width, …) of the scene, among them ``nodata``.
        grid: GeoBox of the scene.
        size: Height and width of the network's images.

    Attributes:
        grid: GeoBox of the map.

    Raises:
        DataError: If the scene is smaller than a patch.
    """

    def __init__(
        self, predictor: Predict, read_window: ReadWindow, grid: GeoBox, size: tuple[int, int]
    ) -> None:
        height, width = (whole // side for whole, side in zip(grid.shape, size, strict=True))
        if not height or not width:
            raise DataError(
                f"The scene has {grid.height} × {grid.width} pixels, a patch of the network "
                f"{size[0]} × {size[1]}: give a larger scene."
            )
        self.predictor, self.read_window, self.size = predictor, read_window, size
        place = grid.transform @ type(grid.transform).scale(size[1], size[0])
        self.grid = GeoBox((height, width), place, grid.crs)
        self.fingerprint = getattr(predictor, "fingerprint", None)

    def read(self, row: int, col: int, height: int, width: int) -> Inputs:
        """Read patches: arrays (height, width, H, W, …) and ``nodata`` (height, width)."""
        H, W = self.size
        found = self.read_window(row * H, col * W, height * H, width * W)
        cut = {
            name: np.moveaxis(values.reshape(height, H, width, W, *values.shape[2:]), 2, 1)
            for name, values in found.items()
        }
        return cut | {"nodata": cut["nodata"].mean(axis=(2, 3)) > 0.5}

    def __call__(self, inputs: Inputs) -> np.ndarray:
        """Return predictions (height, width, K) of what :meth:`read` has read."""
        seen = ~inputs["nodata"]
        found = self.predictor({name: one[seen] for name, one in inputs.items() if name != "nodata"})
        result = np.zeros((*seen.shape, found.shape[-1]), np.float32)
        result[seen] = found
        return result
