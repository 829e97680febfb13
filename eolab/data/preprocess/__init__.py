"""Preprocessing of image series: clear pixels, composites, gaps, indices.

Everything here works pixel by pixel and lazily on dask, so a window of the result equals the result of the
window.

Example:
    >>> recipe = Recipe(bands=("B04", "B08"), indices=("NDVI",), period="MS")
    >>> prepared = recipe.apply(series)  # image (time, band, y, x), valid (time, y, x)
"""

from eolab.data.preprocess.composites import clear_mask, composite, periods
from eolab.data.preprocess.gaps import fill_gaps
from eolab.data.preprocess.recipe import Recipe
