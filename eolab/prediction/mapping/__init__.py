"""Maps of whole scenes: a model over a scene, window by window, to a Cloud-Optimised GeoTIFF.

For a model of pixel series, with a scene that is read as it is needed::

    predictor = prediction.load(run_folder)
    read = landcover.window_reader(series, recipe)       # read(row, col, height, width) -> dict of arrays
    grid = series.odc.geobox                             # odc.geo.geobox.GeoBox, from CRS and transform
    predict_map(per_pixel(predictor), read, grid, run.path("map.tif"), scheme)

For a network of images that predicts at every few pixels (:mod:`eolab.models.images.dense`)::

    images = ImageWindows(predictor, read, grid, output_grid)
    predict_map(images, images.read, grid, run.path("map.tif"), scheme, window=1024)

For a network that gives a value of each pixel of images of one size::

    patches = PatchWindows(predictor, Squares(read, grid), grid, size)
    predict_map(patches, patches.read, grid, run.path("map.tif"), ValueBand("degree"), window=512)

For a model of series, of single pixels or of images::

    predict, reads = of_series(predictor, read, grid)
    predict_map(predict, reads, grid, run.path("map.tif"), scheme)

For all years of a scene, see :func:`predict_years`; for a network of any task, :func:`map_scene`.
"""

import odc.geo.xr  # registers the accessor .odc, which has the grid of a scene

from eolab.prediction.mapping.bands import ValueBand, in_words, probability_bands
from eolab.prediction.mapping.beside import write_item, write_polygons
from eolab.prediction.mapping.predicting import predict_map
from eolab.prediction.mapping.reading import Squares, check_scale
from eolab.prediction.mapping.scenes import Scene, map_scene
from eolab.prediction.mapping.windows import ImageWindows, PatchWindows, ReadWindow, of_series, per_pixel
from eolab.prediction.mapping.years import OldMap, consistent_maps, predict_years, sample_probabilities
