"""Reading a scene for its map: parts of its files kept a while, its units checked before hours are spent."""

import itertools
from functools import lru_cache

import numpy as np
from odc.geo.geobox import GeoBox

from eolab.prediction.mapping.windows import Inputs, ReadWindow, Window
from eolab.prediction.ranges import TrainedRange

SQUARE_PX = 1024  # as large as the blocks of the agency's images, which are decoded as a whole
KEPT = 9  # squares that the windows of a block of a map touch: its own and those around it


class Squares:
    """Reads windows out of the last few squares of a scene.

    Files are decoded in blocks, which are larger than the images of most networks.

    Args:
        read_window: Reads arrays (height, width, …), as for ``predict_map``; each pixel as it would in any
            other window.
        grid: GeoBox of the scene.
        side: Side of the squares in pixels.
        kept: Squares in memory.
    """

    def __init__(
        self, read_window: ReadWindow, grid: GeoBox, side: int = SQUARE_PX, kept: int = KEPT
    ) -> None:
        self.read_window, self.grid, self.side = read_window, grid, side
        self._square = lru_cache(kept)(lambda square: read_window(*square))

    def __call__(self, row: int, col: int, height: int, width: int) -> Inputs:
        """Return the arrays of a window."""
        window = Window(row, col, height, width)
        found: Inputs = {}
        for square in self._touched(window):
            common = square.intersect(window)
            assert common is not None
            for name, values in self._square(square).items():
                if name not in found:
                    found[name] = np.empty((height, width, *values.shape[2:]), values.dtype)
                found[name][common.within(window)] = values[common.within(square)]
        return found

    def _touched(self, window: Window) -> list[Window]:
        """Return the squares that hold pixels of a window."""
        rows, cols = (
            range(start // self.side * self.side, start + size, self.side)
            for start, size in ((window.row, window.height), (window.col, window.width))
        )
        return [
            Window(row, col, min(self.side, self.grid.height - row), min(self.side, self.grid.width - col))
            for row, col in itertools.product(rows, cols)
        ]


def check_scale(
    trained: TrainedRange, read_window: ReadWindow, grid: GeoBox, side: int = 64, places: int = 3
) -> bool:
    """Compare pixels from all over a scene with what a network has seen in training.

    A window of its own may hold another landscape, such as a lake, and is no reason to stop; pixels in
    another unit are so everywhere.

    Args:
        trained: What the network has seen.
        read_window: Reads ``image`` (height, width, C) and ``nodata`` (height, width).
        grid: GeoBox of the scene.
        side: Side of the places that are read, in pixels.
        places: Number of places a side of the scene.

    Returns:
        Whether there was any pixel with data.

    Raises:
        DataError: If the images are in another unit.
    """
    height, width = (min(side, size) for size in grid.shape)
    rows, cols = (
        sorted({int(start) for start in np.linspace(0, whole - size, places)})
        for whole, size in zip(grid.shape, (height, width), strict=True)
    )
    found = [read_window(row, col, height, width) for row, col in itertools.product(rows, cols)]
    pixels = np.concatenate([one["image"][~one["nodata"]] for one in found])  # (n, C)
    trained.check(pixels, whole=True)
    return len(pixels) > 0
