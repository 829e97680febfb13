"""Several dates of one series side by side, with the same limits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from eolab.plots.maps import TRUE_COLOUR, index_map, rgb, robust_limits
from eolab.plots.style import panels, styled


@styled
def dates(image: xr.DataArray, positions: Sequence[int], columns: int = 2) -> Figure:
    """Draw dates of a series in true colour, or its first band where it has no colour bands.

    Args:
        image: (time, band, y, x), lazy or not; only the dates drawn are read.
        positions: Which dates; the first one sets the limits of all.
        columns: Panels in a row.
    """
    figure, axes = panels(len(positions), columns, 4.6, 4.6)
    bands = [str(band) for band in image["band"].to_numpy()]
    chosen = [image.isel(time=position).compute() for position in positions]
    colour = set(TRUE_COLOUR) <= set(bands)
    shown = chosen[0].sel(band=list(TRUE_COLOUR)) if colour else chosen[0].isel(band=0)
    limits = robust_limits(shown.to_numpy()) if colour else _limits(shown)
    for one, ax in zip(chosen, axes, strict=True):
        title = f"{pd.Timestamp(one['time'].item()):%d %B %Y}"
        if colour:
            rgb(one, ax=ax, limits=limits, title=title)
        else:
            index_map(one.isel(band=0), ax=ax, label=bands[0], limits=limits, title=title)
    return figure


def _limits(values: xr.DataArray) -> tuple[float, float]:
    low, high = np.nanpercentile(values.to_numpy(), (2, 98))
    return float(low), float(high)
