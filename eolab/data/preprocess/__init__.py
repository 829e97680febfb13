"""Preprocessing of image series: clear pixels, chosen acquisitions, composites, gaps, indices.

Recipes work pixel by pixel and lazily on dask, so a window of the result equals the result of the window.
What looks beyond the pixel is done before, on the whole series: the buffer around clouds (:func:`clear_mask`)
and the choice of acquisitions (:meth:`Recipe.for_series`).

Example:
    >>> recipe = Recipe(bands=("B04", "B08"), indices=("NDVI",), period="MS")
    >>> prepared = recipe.apply(series)  # image (time, band, y, x), valid (time, y, x)
"""

from eolab.data.preprocess.acquisitions import choose_acquisitions
from eolab.data.preprocess.composites import clear_mask, composite, dilated, periods, span
from eolab.data.preprocess.gaps import fill_gaps
from eolab.data.preprocess.recipe import Recipe
