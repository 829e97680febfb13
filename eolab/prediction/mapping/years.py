"""Maps of several years, and consistent ones from the probabilities of each, block by block."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

from eolab.core import progress as progress_lines
from eolab.core.errors import DataError, ParameterError
from eolab.core.files import FULL
from eolab.data.schemes import IGNORE, ClassScheme
from eolab.prediction.consistency import FLOOR, Consistency
from eolab.prediction.mapping import geotiff
from eolab.prediction.mapping.bands import bands_of
from eolab.prediction.mapping.predicting import Parts, predict_map, windows_of_blocks, write_files
from eolab.prediction.mapping.windows import Inputs, ReadWindow, Timed, Window, of_series, per_pixel


def predict_years(
    predictor: Any,
    readers: Sequence[ReadWindow],
    grid: GeoBox,
    paths: Sequence[Path],
    scheme: ClassScheme,
    *,
    probabilities: Sequence[Path],
    tags: Sequence[Mapping[str, str]],
    **options: Any,
) -> Timed:
    """Map a scene in several years.

    A model of one year maps year after year; one that reads the years of a pixel together reads the windows
    of all of them and writes all maps at once, so that memory holds Y windows in place of one.

    Args:
        predictor: Result of :func:`eolab.prediction.load`.
        readers: What reads the series of each pixel in each year, see :func:`of_series`; in order.
        grid: GeoBox of the scene.
        paths: The map of each year to write.
        scheme: The classes.
        probabilities: The file of probabilities of each year to write.
        tags: Further tags of the files of each year.
        **options: Options of :func:`eolab.prediction.mapping.predict_map`.

    Returns:
        What predicted (the last year), with its rate.

    Raises:
        ParameterError: If the model reads another number of years.
    """
    shape = predictor.shapes.get("image", ())
    if len(shape) != 3:  # (T, C) of pixels, (T, H, W, C) of patches
        for reader, *files, own in zip(readers, paths, probabilities, tags, strict=True):
            predict, read = of_series(predictor, reader, grid)
            predict_map(predict, read, grid, files[0], scheme, probabilities=files[1], tags=own, **options)
        return predict
    if len(readers) != shape[0]:
        raise ParameterError(
            f"The model reads {shape[0]} years of a pixel together, and {len(readers)} are to be mapped: "
            f"name {shape[0]} years."
        )
    together = per_pixel(predictor)
    options |= {"probabilities": list(probabilities), "tags": list(tags)}
    predict_map(together, read_together(readers), grid, list(paths), scheme, **options)
    return together


def read_together(readers: Sequence[ReadWindow]) -> ReadWindow:
    """Return what reads the windows of all years: arrays (h, w, Y, …), what a window repeats kept once."""

    def read(row: int, col: int, height: int, width: int) -> Inputs:
        years = [reader(row, col, height, width) for reader in readers]
        found = {name: np.stack([one[name] for one in years], axis=2) for name in years[0] if name != "day"}
        day = np.stack([one["day"][0, 0] for one in years])  # (Y, T)
        return found | {"day": np.broadcast_to(day, (height, width, *day.shape))}

    return read


class OldMap(NamedTuple):
    """A map of one of the years as evidence beside the images.

    Attributes:
        label: Class indices (y, x) of the whole scene, 255 where the map says nothing.
        trust: Probability that a pixel of the map is right, above 0, below 1; a wrong one is of each other
            class with the same probability. Take less where the probabilities come from a model that learned
            from the map.
        place: Place of the map's year among the years.
    """

    label: np.ndarray
    trust: float
    place: int = 0

    def in_words(self, years: Sequence[int]) -> str:
        """Return what counts, in one sentence."""
        said = f"The labels count in {years[self.place]}, taken to be right with a probability of"
        return f"{said} {self.trust:.0%}."

    def added(self, probability: np.ndarray, window: Window) -> np.ndarray:
        """Return probabilities (year, K, height, width) that count the map in its year (rule of Bayes)."""
        if not 0 < self.trust < 1:
            raise ParameterError(f"The trust in a map is {self.trust:g}: give a probability between 0 and 1.")
        label = self.label[window.within(Window(0, 0, *self.label.shape))]
        K, own = probability.shape[1], np.maximum(probability[self.place], FLOOR)  # NaN without data
        same = label == np.arange(K).reshape(-1, 1, 1)
        likelihood = np.where(same, self.trust, (1 - self.trust) / max(K - 1, 1))
        own = own * np.where(label == IGNORE, 1, likelihood)
        counted = probability.copy()
        counted[self.place] = own / own.sum(axis=0)
        return counted


def consistent_maps(
    probabilities: Sequence[Path],
    paths: Sequence[Path],
    scheme: ClassScheme,
    method: Consistency,
    *,
    old_map: OldMap | None = None,
    block: int = 512,
    tags: Mapping[str, str] | None = None,
    progress: bool = True,
) -> list[Path]:
    """Write the class maps that a method makes of the probabilities of several years.

    Memory holds one block of all years with its rim, whatever the size of the scene.

    Args:
        probabilities: Files of :func:`eolab.prediction.mapping.predict_map`, a year each, ascending.
        paths: The map of each year to write, with the class and the probability of that class in percent.
        scheme: The classes.
        method: Result of :func:`eolab.prediction.consistency.consistency`.
        old_map: A map of one of the years that counts too.
        block: Side of a block in pixels, a multiple of 16.
        tags: Further tags of the files.
        progress: Whether to show progress.

    Returns:
        The paths.

    Raises:
        DataError: If the files differ in their grids or classes, or the disk is full.
    """
    grid = _common_grid(probabilities, scheme)
    files = {Path(path): bands_of(scheme) for path in paths}
    blocks = windows_of_blocks(grid, block)
    try:
        parts = Parts(Path(paths[0]), {}, resume=False)
        for area in progress_lines.track(
            blocks, f"consistent maps ({method.name})", unit="block", progress=progress
        ):
            top, left = max(area.row - method.radius, 0), max(area.col - method.radius, 0)
            bottom, right = area.row + area.height + method.radius, area.col + area.width + method.radius
            outer = Window(top, left, min(bottom, grid.height) - top, min(right, grid.width) - left)
            classes, confidence = method(read_probabilities(probabilities, outer, old_map))
            own = (slice(None), *area.within(outer))
            percent = np.nan_to_num(np.rint(100 * confidence[own]), nan=IGNORE).astype(np.uint8)
            pixels = np.stack([classes[own], percent], axis=1)  # (year, 2, height, width)
            parts.save(area, pixels.reshape(-1, area.height, area.width))
        own_tags = {"consistency": method.name, "old_map_trust": f"{old_map.trust if old_map else 0:g}"}
        write_files(files, grid, parts, blocks, block, {file: {**(tags or {}), **own_tags} for file in files})
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise DataError(f"No space left for the maps beside {paths[0]}: make room and run again.") from None
    return list(files)


def _common_grid(probabilities: Sequence[Path], scheme: ClassScheme) -> GeoBox:
    """Return the grid of all files, once their classes are those of the scheme."""
    found = []
    for path in probabilities:
        with rasterio.open(path) as file:
            if file.descriptions != scheme.names:
                names = ", ".join(map(str, file.descriptions))
                raise DataError(
                    f"{path} has the bands {names}: expected the probabilities of {', '.join(scheme.names)}; "
                    "map the year again."
                )
            found.append(GeoBox(file.shape, file.transform, file.crs))
    for path, grid in zip(probabilities, found, strict=True):
        if grid != found[0]:
            raise DataError(f"{path} has another grid than {probabilities[0]}: map all years on one grid.")
    return found[0]


def read_probabilities(paths: Sequence[Path], window: Window, old_map: OldMap | None = None) -> np.ndarray:
    """Return the probabilities of a window, float32 (year, K, height, width), NaN without data."""
    values = []
    for path in paths:
        with rasterio.open(path) as file:
            values.append(file.read(window=geotiff.rasterio_window(window)))
    percent = np.stack(values)
    found = np.where(percent == IGNORE, np.nan, percent / np.float32(100)).astype(np.float32)
    total = found.sum(axis=1, keepdims=True)  # of rounded percent
    found = np.divide(found, total, out=found, where=total > 0)
    return found if old_map is None else old_map.added(found, window)


def sample_probabilities(
    paths: Sequence[Path],
    keep: np.ndarray,
    n: int = 50_000,
    block: int = 512,
    seed: int = 0,
    old_map: OldMap | None = None,
) -> np.ndarray:
    """Return the probabilities of pixels drawn at random.

    Args:
        paths: Files of probabilities, a year each.
        keep: Where pixels may be drawn (y, x), such as in blocks with training samples.
        n: Pixels to draw, all where there are fewer.
        block: Side of the blocks that are read, pixels.
        seed: Seed of the draw.
        old_map: A map of one of the years that counts too.

    Returns:
        float32 (year, K, n).
    """
    candidates = np.flatnonzero(keep)
    chosen = np.random.default_rng(seed).choice(candidates, min(n, len(candidates)), replace=False)
    rows, cols = np.divmod(np.sort(chosen), keep.shape[1])
    found = []
    for area in windows_of_blocks(GeoBox(keep.shape, Affine.identity(), None), block):
        inside = (rows // block == area.row // block) & (cols // block == area.col // block)
        if inside.any():
            values = read_probabilities(paths, area, old_map)
            found.append(values[:, :, rows[inside] - area.row, cols[inside] - area.col])
    return np.concatenate(found, axis=2)
