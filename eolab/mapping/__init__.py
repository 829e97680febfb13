"""Maps of whole scenes: a model over a scene, window by window, to a GeoTIFF.

For a model of pixel series, with a scene that is read as it is needed::

    predictor = prediction.load(run_folder)
    read = landcover.window_reader(series, recipe)       # read(row, col, height, width) -> dict of arrays
    grid = Grid(series.sizes["y"], series.sizes["x"], series.rio.transform(), series.rio.crs)
    predict_map(per_pixel(predictor), read, grid, run.path("map.tif"), legend)
"""

from eolab.mapping.grid import Grid, Window, windows
from eolab.mapping.predicting import per_pixel, predict_map

__all__ = ["Grid", "Window", "per_pixel", "predict_map", "windows"]
