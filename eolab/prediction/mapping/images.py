"""Maps by networks of images that answer every some pixels: windows with what their pixels depend on."""

from __future__ import annotations

import numpy as np
from odc.geo.geobox import GeoBox

from eolab.core.errors import DataError
from eolab.models.output_grid import OutputGrid, to_pixels
from eolab.prediction.mapping.grid import Window
from eolab.prediction.mapping.predicting import Inputs, Predict, ReadWindow

PLACE = "place"  # row and column of the window in what was read for it, height and width


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
        self.predictor, self.read_window, self.grid, self.output_grid = (
            predictor,
            read_window,
            grid,
            output_grid,
        )
        self.margin = output_grid.margin if margin is None else margin
        model = getattr(predictor, "fingerprint", None)
        self.fingerprint = model and f"{model} margin {self.margin}"

    def read(self, row: int, col: int, height: int, width: int) -> Inputs:
        """Read a window with its margin; ``nodata`` is that of the window alone."""
        window = Window(row, col, height, width)
        outer = self._outer(window)
        inputs = dict(self.read_window(*outer))
        if "nodata" in inputs:
            inputs["nodata"] = inputs["nodata"][window.within(outer)]
        return inputs | {PLACE: np.array([row - outer.row, col - outer.col, height, width])}

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
