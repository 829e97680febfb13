"""Windows over the pixel grid of a map: how they cover it and blend, and how models predict them."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from odc.geo.geobox import GeoBox

from eolab.core.errors import DataError, ParameterError
from eolab.core.progress import duration
from eolab.models.output_grid import OutputGrid, to_pixels

Inputs = dict[str, np.ndarray]
Predict = Callable[[Inputs], np.ndarray]
ReadWindow = Callable[[int, int, int, int], Inputs]

WEIGHT_FLOOR = 1e-3  # of the blending weight at a window's rim, so that every pixel has a weight
WORTH_LOOKING = 0.9  # share of different pixels up to which equal ones are looked for
TILE_PIXELS = 10_980**2  # of a Sentinel-2 tile at 10 m
PLACE = "place"  # row and column of an image window in what was read for it, height and width


class Window(NamedTuple):
    """A rectangle of pixels: its first row and column, its height and width."""

    row: int
    col: int
    height: int
    width: int

    def intersect(self, other: Window) -> Window | None:
        """Return the pixels that both windows have, None if there are none."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        height = min(self.row + self.height, other.row + other.height) - row
        width = min(self.col + self.width, other.col + other.width) - col
        return Window(row, col, height, width) if height > 0 and width > 0 else None

    def within(self, outer: Window) -> tuple[slice, slice]:
        """Return this window as slices of an array that holds the pixels of `outer`."""
        row, col = self.row - outer.row, self.col - outer.col
        return slice(row, row + self.height), slice(col, col + self.width)


def windows(grid: GeoBox, window: int, overlap: int = 0) -> list[Window]:
    """Return the windows that cover a grid, row by row.

    They stand ``window - overlap`` apart; the last of each row and column is moved back so that it ends at
    the grid's edge, so all windows have one size. Where the grid is smaller than a window, they are too.

    Args:
        grid: What to cover; only its height and width matter.
        window: Side of a window in pixels.
        overlap: Pixels that neighbouring windows share.

    Raises:
        ParameterError: If the grid has no pixel, the window is not positive or the overlap is not within
            ``0 … window - 1``.
    """
    if min(grid.shape) < 1:
        raise ParameterError(
            f"A map needs at least one pixel: got a grid of height {grid.height}, width {grid.width}."
        )
    if window < 1 or not 0 <= overlap < window:
        raise ParameterError(
            f"Windows of {window} pixels cannot overlap by {overlap}: "
            "the window must be positive and the overlap between 0 and window - 1."
        )
    rows, cols = (_starts(size, window, window - overlap) for size in (grid.height, grid.width))
    height, width = min(window, grid.height), min(window, grid.width)
    return [Window(row, col, height, width) for row, col in itertools.product(rows, cols)]


def _starts(size: int, window: int, step: int) -> list[int]:
    last = max(size - window, 0)
    return [*range(0, last, step), last]


def weights(height: int, width: int, overlap: int) -> np.ndarray:
    """Return the blending weight of each pixel of a window, float32 (height, width).

    One in the middle, a raised cosine over the `overlap` pixels at each rim: the weights of two neighbours
    add up to one. Sums of weights divide the result all the same: rims of the scene have one window only.
    """
    rows, cols = (_ramp(size, overlap) for size in (height, width))
    return np.maximum(rows[:, None] * cols[None, :], WEIGHT_FLOOR).astype(np.float32)


def _ramp(size: int, overlap: int) -> np.ndarray:
    distance = np.minimum(np.arange(size), np.arange(size)[::-1]) + 0.5  # to the nearer rim, pixels
    if not overlap:
        return np.ones(size)
    return np.sin(np.pi / 2 * np.minimum(distance / overlap, 1.0)) ** 2


class Timed:
    """Base of what predicts windows and knows how long that took.

    Attributes:
        pixels: Pixels with data so far.
        seconds: What that took, without reading.
    """

    pixels, seconds = 0, 0.0

    @property
    def speed(self) -> float:
        """Pixels that were predicted a second, reading not counted; NaN where none was, in a resumed map."""
        return self.pixels / self.seconds if self.pixels else math.nan

    def rate(self, pixels: int = TILE_PIXELS) -> str:
        """Say how fast pixels were predicted, and how long a scene of so many would take."""
        if not self.pixels:
            return "No pixel was predicted: the map was resumed when it was finished."
        return (
            f"{self.pixels:,} pixels, {self._said()}: {self.speed:,.0f} pixels a second, reading not "
            f"counted. A tile of {pixels:,} pixels would take {duration(pixels / self.speed)} on this "
            "machine."
        )

    def _said(self) -> str:
        """Say how pixels were predicted."""
        raise NotImplementedError


class PixelWindows(Timed):
    """Makes a model of single pixels predict windows.

    The pixels of a window become a batch; pixels of ``nodata`` (of all years where it is (h, w, Y)) are left
    out, and pixels with the same values
    on all dates are predicted once. Looking for those costs a sort of the pixels: after a window with few of
    them no more are looked for. Arrays (T,) that are the same for all pixels, such as ``day``, are repeated.

    Args:
        predictor: From arrays (N, …) to class probabilities (N, K), or (N, Y, K) of Y years.

    Attributes:
        predicted: Pixels that the model has seen, fewer where some are the same.
        fingerprint: That of the predictor.
    """

    def __init__(self, predictor: Predict) -> None:
        self.predictor, self.fingerprint = predictor, getattr(predictor, "fingerprint", None)
        self.predicted, self._looks = 0, True

    def __call__(self, inputs: Inputs) -> np.ndarray:
        """Return class probabilities (h, w, K) or (h, w, Y, K) from arrays (h, w, …), NaN at nodata."""
        nodata, started = inputs.get("nodata"), time.perf_counter()
        arrays = {name: values for name, values in inputs.items() if name != "nodata"}
        height, width = next(values.shape[:2] for values in arrays.values() if values.ndim > 1)
        unseen = np.zeros((height, width), bool) if nodata is None else np.asarray(nodata)
        keep = ~unseen.reshape(height, width, -1).all(axis=-1)
        if not keep.any():
            return np.full((height, width, 1), np.nan, np.float32)
        own = {
            name: values[keep]
            for name, values in arrays.items()
            if values.ndim > 1 and any(values.strides[:2])
        }
        first, back = self._different(own, count := int(keep.sum()))
        batch = {name: values[first] for name, values in own.items()}
        for name in arrays.keys() - own.keys():  # the same for all pixels
            one = arrays[name][0, 0] if arrays[name].ndim > 1 else arrays[name]
            batch[name] = np.broadcast_to(one, (len(first), *one.shape))
        found = self.predictor(batch)  # (N, K), (N, Y, K)
        result = np.full((height, width, *found.shape[1:]), np.nan, np.float32)  # (h, w, K), (h, w, Y, K)
        result[keep] = found[back]
        self.pixels, self.predicted = self.pixels + count, self.predicted + len(first)
        self.seconds += time.perf_counter() - started
        return result

    def _different(self, arrays: Inputs, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the first of each kind of pixel, and the number of its kind for each pixel."""
        if self._looks and arrays:
            rows = [
                np.ascontiguousarray(values).view(np.uint8).reshape(count, -1) for values in arrays.values()
            ]
            rows.append(np.zeros((count, -sum(row.shape[1] for row in rows) % 8), np.uint8))
            together = np.concatenate(rows, axis=1).view(np.uint64)
            numbers = pd.util.hash_pandas_object(pd.DataFrame(together), index=False)
            _, first, back = np.unique(numbers, return_index=True, return_inverse=True)
            self._looks = len(first) <= WORTH_LOOKING * count
            if np.array_equal(together, together[first[back]]):  # else two kinds have one number
                return first, back
        return np.arange(count), np.arange(count)

    def _said(self) -> str:
        """Return how many pixels were predicted, and how many of them by the model."""
        share = self.predicted / self.pixels
        return f"{share:.0%} of them by the model, the rest copied from a pixel with the same values"


def per_pixel(predictor: Predict) -> PixelWindows:
    """Return what makes a model of single pixels predict windows, for ``predict_map``."""
    return PixelWindows(predictor)


def of_image_series(predictor: Predict) -> Predict:
    """Make a network of image series take what is read for networks of pixel series.

    Args:
        predictor: From ``image`` (N, T, H, W, C), ``valid`` (N, T, H, W) and ``day`` (N, T) to class
            probabilities (N, H, W, K).

    Returns:
        The same from ``image`` (N, H, W, T, C), ``valid`` and ``day`` (N, H, W, T), such as
        :class:`PatchWindows` gives. It has the predictor's ``fingerprint``.
    """

    def predict(inputs: Inputs) -> np.ndarray:
        arrays = {name: np.moveaxis(inputs[name], 3, 1) for name in ("image", "valid")}
        return predictor(arrays | {"day": inputs["day"][:, 0, 0]})

    predict.fingerprint = getattr(predictor, "fingerprint", None)  # type: ignore[attr-defined]
    return predict


def of_series(
    predictor: Any, read_window: ReadWindow, grid: GeoBox
) -> tuple[PixelWindows | PatchWindows, ReadWindow]:
    """Return what predicts and what reads the windows of a scene, for a model of series of any kind.

    A model of pixel series predicts pixel by pixel, one of image series by overlapping patches of its size,
    see :class:`PatchWindows`.

    Args:
        predictor: Result of :func:`eolab.prediction.load`.
        read_window: Reads the series of each pixel of a window: ``image`` (h, w, T, C), ``valid`` and ``day``
            (h, w, T).
        grid: GeoBox of the scene.
    """
    shape = predictor.shapes.get("image", ())
    if len(shape) != 4:
        return per_pixel(predictor), read_window
    patches = PatchWindows(of_image_series(predictor), read_window, grid, tuple(shape[1:3]))
    return patches, patches.read


def _read_around(read_window: ReadWindow, window: Window, outer: Window) -> dict[str, np.ndarray]:
    """Read the arrays of a rectangle around a window; ``nodata`` is that of the window alone."""
    inputs = dict(read_window(*outer))
    if "nodata" in inputs:
        inputs["nodata"] = inputs["nodata"][window.within(outer)]
    return inputs


class ImageWindows:
    """Makes a network of images predict windows without seams; for :func:`mapping.predict_map`.

    Each window is read with a margin, whose first pixel stands where the network's output grid over
    the whole scene has a prediction, and predictions are interpolated between. With the margin of
    ``output_grid``, which is the default, every pixel gets what the network would predict on the scene as a
    whole. A smaller one saves time, since what lies far away counts little: then let windows overlap.

    Memory and time of a window grow with ``(window + 2 * margin)²``, whatever the size of the scene: take
    large windows. The whole margin is 245 pixels for a ResNet-50, 517 for a ResNet-101, 876 for ConvNeXt-T.

    Example:
        >>> images = ImageWindows(prediction.load(network, output="probabilities"), read, grid, output_grid)
        >>> predict_map(images, images.read, grid, "map.tif", scheme, window=1024)

    Args:
        predictor: From arrays (1, H, W, …) to predictions (1, h, w, K).
        read_window: Reads arrays (height, width, …), as for ``predict_map``.
        grid: GeoBox of the scene.
        output_grid: Where the predictions stand.
        margin: Pixels read around each window.
    """

    def __init__(
        self,
        predictor: Predict,
        read_window: ReadWindow,
        grid: GeoBox,
        output_grid: OutputGrid,
        margin: int | None = None,
    ) -> None:
        self.predictor, self.read_window = predictor, read_window
        self.grid, self.output_grid = grid, output_grid
        self.margin = output_grid.margin if margin is None else margin
        model = getattr(predictor, "fingerprint", None)
        self.fingerprint = model and f"{model} margin {self.margin}"

    def read(self, row: int, col: int, height: int, width: int) -> Inputs:
        """Read a window with its margin; ``nodata`` is that of the window alone."""
        window = Window(row, col, height, width)
        outer = self._outer(window)
        place = np.array([row - outer.row, col - outer.col, height, width])
        return _read_around(self.read_window, window, outer) | {PLACE: place}

    def __call__(self, inputs: Inputs) -> np.ndarray:
        """Return predictions (height, width, K) for each pixel of a window that :meth:`read` has read.

        Raises:
            DataError: If the network gives no maps.
        """
        row, col, height, width = (int(number) for number in inputs[PLACE])
        batch = {name: values[None] for name, values in inputs.items() if name not in (PLACE, "nodata")}
        predicted = np.asarray(self.predictor(batch))
        if predicted.ndim != 4:
            raise DataError(
                f"The network gave an array of shape {predicted.shape}: expected predictions on its output "
                "grid, (1, h, w, classes); make it dense."
            )
        return to_pixels(predicted[0], self.output_grid, height, width, row, col)

    def _outer(self, window: Window) -> Window:
        """Return a window with its margin, as far as the scene goes."""
        step = self.output_grid.stride
        row, col = (max(0, start - self.margin) // step * step for start in (window.row, window.col))
        bottom = min(self.grid.height, window.row + window.height + self.margin)
        right = min(self.grid.width, window.col + window.width + self.margin)
        return Window(row, col, bottom - row, right - col)


class PatchWindows(Timed):
    """Makes a network of images of one size predict windows of a scene; for :func:`mapping.predict_map`.

    Patches of the network's own size cover the scene. The outermost predictions of each are dropped because
    they see little of what is around them, and the rest overlap and are averaged with weights that fall off
    towards the rim. Where patches stand depends on the scene alone, so windows need no overlap. Patches at
    the scene's edge lie inside of it, and their predictions count up to there. A scene that is smaller than a
    patch is filled at the bottom and on the right.

    Example:
        >>> patches = PatchWindows(prediction.load(run, output="values"), read, grid, (64, 64))
        >>> predict_map(patches, patches.read, grid, "map.tif", ValueBand("degree"), window=512)

    Args:
        predictor: From arrays (N, H, W, …) to predictions (N, H, W, K).
        read_window: Reads arrays (height, width, …), as for ``predict_map``.
        grid: GeoBox of the scene.
        size: Height and width of the network's images.
        margin: Pixels dropped on each side; an eighth of the shorter side by default.
        overlap: Pixels of the rest that neighbours share; half of them by default, so that four patches are
            averaged. The root mean square difference to patches at every fourth pixel, of which only the
            middle counts, was then 0.064, without margin and overlap 0.149 (one network of 35 × 35 pixels,
            values of 0 to 1 with a standard deviation of 0.173).
        fill: Value of a patch where the scene has ended.

    Raises:
        ParameterError: If margin and overlap leave nothing of a patch.
    """

    def __init__(
        self,
        predictor: Predict,
        read_window: ReadWindow,
        grid: GeoBox,
        size: tuple[int, int],
        margin: int | None = None,
        overlap: int | None = None,
        fill: float = 0.0,
    ) -> None:
        self.predictor, self.read_window = predictor, read_window
        self.margin = min(size) // 8 if margin is None else margin
        kept = [side - 2 * self.margin for side in size]
        self.overlap = min(kept) // 2 if overlap is None else overlap
        if self.margin < 0 or not 0 <= self.overlap < min(kept):
            raise ParameterError(
                f"margin is {self.margin}, overlap {self.overlap}: patches of {size} pixels have none left."
            )
        self.grid, self.size, self.fill = grid, size, fill
        sides = list(zip(grid.shape, kept, strict=True))
        self._kept = [min(pair) for pair in sides]
        self._first = [_starts(whole, side, side - self.overlap) for whole, side in sides]
        model = getattr(predictor, "fingerprint", None)
        self.fingerprint = model and f"{model} margin {self.margin} overlap {self.overlap}"

    def read(self, row: int, col: int, height: int, width: int) -> Inputs:
        """Read the patches of a window; ``nodata`` is that of the window alone."""
        window = Window(row, col, height, width)
        return _read_around(self.read_window, window, self._outer(window)) | {PLACE: np.array(window)}

    def __call__(self, inputs: Inputs) -> np.ndarray:
        """Return predictions (height, width, K) for each pixel of a window that :meth:`read` has read."""
        window, started = Window(*inputs[PLACE].tolist()), time.perf_counter()
        outer, nodata = self._outer(window), inputs.get("nodata", np.zeros(window[2:], bool))
        parts = [(part, common) for part in self._parts(window) if (common := part.intersect(window))]
        parts = [pair for pair in parts if not nodata[pair[1].within(window)].all()]
        places = [self._patch(part) for part, _ in parts]
        batch = {
            name: np.stack([self._filled(values[place.within(outer)]) for place in places])
            for name, values in inputs.items()
            if name not in (PLACE, "nodata")
        }
        predicted = self.predictor(batch)  # (N, H, W, K)
        share = weights(self._kept[0], self._kept[1], self.overlap)[..., None]
        total = np.zeros((window.height, window.width, predicted.shape[-1]), np.float32)
        weight = np.full(
            (window.height, window.width, 1), np.finfo(np.float32).tiny
        )  # 0 / tiny = 0 at no data
        for (part, common), place, found in zip(parts, places, predicted, strict=True):
            here, shares = common.within(window), share[common.within(part)]
            total[here] += shares * found[common.within(place)]
            weight[here] += shares
        self.pixels += int((~nodata).sum())
        self.seconds += time.perf_counter() - started
        return total / weight

    def _said(self) -> str:
        """Say how patches cover the scene."""
        sides = " × ".join(map(str, self.size))
        return f"by patches of {sides} pixels that overlap by {2 * self.margin + self.overlap}"

    def _parts(self, window: Window) -> list[Window]:
        """Return what counts of each patch that touches a window."""
        rows, cols = (
            [first for first in starts if start - side < first < start + size]
            for starts, side, start, size in zip(self._first, self._kept, window[:2], window[2:], strict=True)
        )
        return [Window(row, col, *self._kept) for row, col in itertools.product(rows, cols)]

    def _patch(self, part: Window) -> Window:
        """Return a patch from what counts of it, inside of the scene as far as that is possible."""
        row, col = (
            min(max(0, first - self.margin), max(0, whole - side))
            for first, whole, side in zip(part[:2], self.grid.shape, self.size, strict=True)
        )
        height, width = (min(pair) for pair in zip(self.grid.shape, self.size, strict=True))
        return Window(row, col, height, width)

    def _outer(self, window: Window) -> Window:
        """Return the rectangle of all patches that touch a window."""
        parts = self._parts(window)
        first, last = self._patch(parts[0]), self._patch(parts[-1])
        height, width = last.row + last.height - first.row, last.col + last.width - first.col
        return Window(first.row, first.col, height, width)

    def _filled(self, values: np.ndarray) -> np.ndarray:
        """Return arrays (H, W, …) of a patch's size."""
        short = [(0, side - there) for side, there in zip(self.size, values.shape[:2], strict=True)]
        if not np.any(short):
            return values
        return np.pad(values, [*short, *[(0, 0)] * (values.ndim - 2)], constant_values=self.fill)
