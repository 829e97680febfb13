"""What of a series can be shown, and reading just that: one date's picture, one pixel's column."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import xarray as xr

from eolab import plots
from eolab.core.errors import DataError
from eolab.data import indices

T = TypeVar("T")

COMPOSITES = {
    "True colour": (("B04", "B03", "B02"),),
    "False colour (near infrared)": (("B08", "B04", "B03"), ("B8A", "B04", "B03")),
    "Short-wave infrared": (
        ("B12", "B8A", "B04"),
        ("B11", "B8A", "B04"),
        ("B12", "B08", "B04"),
        ("B11", "B08", "B04"),
    ),
}
"""Composites by title: bands for red, green and blue, the first choice that the series has."""
REMEMBERED = 12


@dataclass(frozen=True)
class View:
    """One way to look at a date.

    Attributes:
        title: What it is called.
        bands: Bands to read.
        kind: ``"rgb"`` (three bands), ``"index"`` (computed from the bands) or ``"band"`` (one band).
    """

    title: str
    bands: tuple[str, ...]
    kind: str

    def of(self, image: xr.DataArray) -> xr.DataArray:
        """Return what is drawn from an image that has the bands: three bands, or one quantity."""
        if self.kind == "index":
            return indices.compute(self.title, image)
        if self.kind == "band":
            quantity = image.sel(band=self.bands[0], drop=True).rename(self.title)
            quantity.attrs = dict(image.attrs)
            return quantity
        return image


def views(bands: Sequence[str]) -> dict[str, View]:
    """Return the views that a series with these bands has: composites, then indices, then single bands."""
    found: dict[str, View] = {}
    for title, choices in COMPOSITES.items():
        for choice in choices:
            if set(choice) <= set(bands):
                found.setdefault(title, View(title, choice, "rgb"))
    for name, index in indices.INDICES.items():
        if set(index.bands) <= set(bands) and name not in bands:
            found[name] = View(name, index.bands, "index")
    return found | {band: View(band, (band,), "band") for band in bands}


class SeriesReader:
    """Reads what a view needs of a lazy series, a date or a pixel at a time, and remembers the last few.

    Args:
        series: ``image (time, band, y, x)`` and ``clear (time, y, x)``.

    Raises:
        DataError: If a variable or dim is missing.
    """

    def __init__(self, series: xr.Dataset) -> None:
        for name, dims in (("image", ("time", "band", "y", "x")), ("clear", ("time", "y", "x"))):
            if name not in series or set(series[name].dims) != set(dims):
                found = tuple(series[name].dims) if name in series else "no such variable"
                raise DataError(
                    f"A series needs {name} with the dims {dims}, found {found}: prepare it first."
                )
        self.series = series
        self.image = series["image"].transpose("time", "band", "y", "x")
        self.clear = series["clear"].transpose("time", "y", "x")
        self.bands = tuple(str(band) for band in series["band"].to_numpy())
        self.views = views(self.bands)
        self._memory: OrderedDict[Hashable, object] = OrderedDict()
        self._limits_of: dict[View, tuple[float, float]] = {}

    def _remember(self, key: Hashable, read: Callable[[], T]) -> T:
        if key not in self._memory:
            self._memory[key] = read()
            while len(self._memory) > REMEMBERED:
                self._memory.popitem(last=False)
        self._memory.move_to_end(key)
        return self._memory[key]  # type: ignore[return-value]

    @cached_property
    def clear_shares(self) -> np.ndarray:
        """The clear share of each date (time,), read date by date."""
        return np.array([float(self.clear[date].mean()) for date in range(self.clear.sizes["time"])])

    def picture(self, date: int, view: View) -> xr.DataArray:
        """Return a date in a view, (band, y, x) or (y, x), in memory."""
        image = self.image.isel(time=date).sel(band=list(view.bands))
        return self._remember(("picture", date, view), lambda: view.of(image.compute()))

    def limits(self, view: View) -> tuple[float, float]:
        """Return the values at both ends of the colours, the same for every date.

        They are percentiles 2 and 98 of the clear pixels of the clearest date of each third of the series,
        for composites :func:`eolab.plots.robust_limits` of these.
        """
        if view not in self._limits_of:
            self._limits_of[view] = self._limits(view)
        return self._limits_of[view]

    def _limits(self, view: View) -> tuple[float, float]:
        shares = self.clear_shares
        thirds = [part for part in np.array_split(np.arange(shares.size), 3) if part.size]
        values = []
        for date in (int(part[np.argmax(shares[part])]) for part in thirds):
            picture = self.picture(date, view)
            seen = picture.where(self.clear[date].compute()).to_numpy()
            values.append(seen[np.isfinite(seen)])
        found = np.concatenate(values)
        if not found.size:
            return 0.0, 1.0
        if view.kind == "rgb":
            return plots.robust_limits(found)
        low, high = (float(value) for value in np.percentile(found, (2, 98)))
        return low, high if high > low else low + 1.0

    def column(self, row: int, col: int, view: View) -> xr.DataArray:
        """Return one pixel's series in a view, (time,) or (time, band), in memory."""
        column = self.image.isel(y=row, x=col).sel(band=list(view.bands))
        return self._remember(("column", row, col, view), lambda: view.of(column.compute()))

    def clear_column(self, row: int, col: int) -> np.ndarray:
        """Return at which dates a pixel was seen, (time,) bool."""
        column = self.clear.isel(y=row, x=col)
        return self._remember(("clear", row, col), lambda: column.to_numpy().astype(bool))
