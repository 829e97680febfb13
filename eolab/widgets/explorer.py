"""Explore an image series: a date as a picture, and the series of the pixel that is clicked."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any

import ipywidgets as widgets
import matplotlib.patheffects as effects
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eolab import plots
from eolab.core.errors import DataError
from eolab.core.progress import batch_run
from eolab.data import indices
from eolab.data.schemes import ClassScheme, scheme_of
from eolab.plots.geometry import extent
from eolab.plots.maps import percentile_limits
from eolab.plots.style import roomy
from eolab.widgets.panel import Panel, interactive_canvas, quiet_in_batch_runs

SIZE_IN = (9.8, 4.3)
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

    Attributes:
        picture: Function of the number of a date and a view that returns what is drawn, (band, y, x) or
            (y, x), in memory.
        column: Function of row, column and a view that returns one pixel's series, (time,) or (time, band),
            in memory.
        clear_column: Function of row and column that returns at which dates a pixel was seen, (time,) bool.
        limits: Function of a view that returns the values at both ends of the colours, the same for every
            date.

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
        self.picture = lru_cache(REMEMBERED)(self._picture)
        self.column = lru_cache(REMEMBERED)(self._column)
        self.clear_column = lru_cache(REMEMBERED)(self._clear_column)
        self.limits = cache(self._limits)

    @cached_property
    def clear_shares(self) -> np.ndarray:
        """The clear share of each date (time,), read date by date."""
        return np.array([float(self.clear[date].mean()) for date in range(self.clear.sizes["time"])])

    def _picture(self, date: int, view: View) -> xr.DataArray:
        return view.of(self.image.isel(time=date).sel(band=list(view.bands)).compute())

    def _column(self, row: int, col: int, view: View) -> xr.DataArray:
        return view.of(self.image.isel(y=row, x=col).sel(band=list(view.bands)).compute())

    def _limits(self, view: View) -> tuple[float, float]:
        """Return percentiles 2 and 98 of the clear pixels of the clearest date of each third of the series.

        For composites they are :func:`eolab.plots.robust_limits` of these.
        """
        shares = self.clear_shares
        thirds = [part for part in np.array_split(np.arange(shares.size), 3) if part.size]
        values = []
        for date in (int(part[np.argmax(shares[part])]) for part in thirds):
            picture = self.picture(date, view)
            values.append(picture.where(self.clear[date].compute()).to_numpy().ravel())
        found = np.concatenate(values)
        return plots.robust_limits(found) if view.kind == "rgb" else percentile_limits(found)

    def _clear_column(self, row: int, col: int) -> np.ndarray:
        return self.clear.isel(y=row, x=col).to_numpy().astype(bool)


def _new_figure() -> Figure:
    return Figure(figsize=SIZE_IN, dpi=100, layout="constrained")


def _mark(ax: Axes, x: float, y: float) -> None:
    """Mark a pixel so that it is seen on light and dark ground."""
    outline = [effects.Stroke(linewidth=3.5, foreground="black"), effects.Normal()]
    ax.plot([x], [y], "+", color="white", markersize=13, markeredgewidth=1.6, path_effects=outline)


class SeriesExplorer(Panel):
    """A panel with a date slider, a choice of views, the picture and the series of one pixel.

    Attributes:
        date: Slider over the acquisitions; its value is the number of the date.
        date_shown: Label: the date and its clear share.
        view: Dropdown: composites, indices and bands that the series has.
        curve: Dropdown: which index or band the pixel's series shows.
        row: Row of the pixel (0 at the top).
        col: Column of the pixel (0 at the left).
        status: Label: where the pixel lies, its class, on how many dates it was seen.
        canvas: The picture, which takes clicks; None in batch runs.

    Example:
        >>> explorer = SeriesExplorer(series)
        >>> explorer.date.value = 3
        >>> explorer.select_pixel(120, 48)
        >>> explorer.figure()  # the same as a static figure, for a report
    """

    css_class = "eolab-series-explorer"

    def __init__(self, series: xr.Dataset, scheme: ClassScheme | None = None) -> None:
        """Make the panel and show the clearest date.

        Args:
            series: ``image (time, band, y, x)``, lazy or not, ``clear (time, y, x)`` bool and, where known,
                ``label (y, x)`` class indices.
            scheme: The classes of ``label``; those that the series' attributes hold unless given.

        Raises:
            DataError: If the series has not these variables.
        """
        self.reader = SeriesReader(series)
        self.scheme = scheme or (scheme_of(series) if "class_scheme" in series.attrs else None)
        self.label = np.asarray(series["label"]) if "label" in series else None
        self._figure = _new_figure()
        with quiet_in_batch_runs():
            self._make_controls()
        for control in (self.date, self.view, self.curve, self.row, self.col):
            self._listen(control, self._draw)
        self._draw()

    def _make_controls(self) -> None:
        times = np.datetime_as_string(self.reader.image["time"].to_numpy(), unit="D")
        shares = self.reader.clear_shares
        clearest = int(np.argmax(shares))
        names = [f"{time} · {100 * share:.0f} % clear" for time, share in zip(times, shares, strict=True)]
        dates = [(name, number) for number, name in enumerate(names)]
        curves = [title for title, v in self.reader.views.items() if v.kind != "rgb"]
        height, width = self.reader.image.sizes["y"], self.reader.image.sizes["x"]
        dropdown, slider, number = widgets.Dropdown, widgets.SelectionSlider, widgets.BoundedIntText
        on_release = {"continuous_update": False}
        self.date = self._control(
            slider, "Date", 540, options=dates, value=clearest, readout=False, **on_release
        )
        self.view = self._control(dropdown, "Picture", 270, options=list(self.reader.views))
        self.curve = self._control(dropdown, "Curve", 270, options=curves)
        self.row = self._control(number, "Row", 140, value=height // 2, max=height - 1, **on_release)
        self.col = self._control(number, "Column", 140, value=width // 2, max=width - 1, **on_release)
        self.date_shown, self.status = widgets.Label(), widgets.Label()
        self.canvas: Any = None if batch_run() else interactive_canvas(self._figure)
        picture = [] if self.canvas is None else [self.canvas]
        controls = [self.view, self.curve, self.row, self.col]
        self._lay_out(widgets.HBox([self.date, self.date_shown]), controls, *picture, self.status)
        if self.canvas is not None:
            self.canvas.mpl_connect("button_press_event", self._guarded(self._clicked))

    def _clicked(self, event: Any) -> None:
        if event.inaxes is None or event.inaxes is not self._map_axes:
            return
        left, right, bottom, top = extent(self.reader.image)
        row = int((event.ydata - top) / (bottom - top) * self.reader.image.sizes["y"])
        col = int((event.xdata - left) / (right - left) * self.reader.image.sizes["x"])
        self.select_pixel(row, col)

    def select_pixel(self, row: int, col: int) -> None:
        """Show the series of another pixel; a place outside the image becomes the nearest inside.

        Args:
            row: 0 at the top.
            col: 0 at the left.
        """
        row, col = (min(max(int(v), 0), c.max) for v, c in ((row, self.row), (col, self.col)))
        if (row, col) == (self.row.value, self.col.value):
            return
        self._quietly(self.row, value=row)
        self._quietly(self.col, value=col)
        self._draw()

    def _draw(self, change: Any = None) -> None:
        self._figure.clear()
        with plots.style():
            self._map_axes = self._draw_into(self._figure)
        self.date_shown.value = self.date.options[self.date.value][0]
        self.status.value = self.describe_pixel()
        if self.canvas is not None:
            self.canvas.draw_idle()

    def _draw_into(self, figure: Figure) -> Axes:
        """Draw the picture and the pixel's series; return the axes of the picture."""
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.2))
        roomy(figure)
        date, row, col = int(self.date.value), int(self.row.value), int(self.col.value)
        time = self.reader.image["time"].to_numpy()[date]
        self._draw_picture(left, self.reader.views[self.view.value], date)
        _mark(left, *self._place(row, col))
        curve = self.reader.views[self.curve.value]
        column, seen = self.reader.column(row, col, curve), self.reader.clear_column(row, col)
        label = curve.title if curve.kind == "index" else ""
        title = f"{curve.title} of row {row}, column {col}"
        plots.pixel_series(column, seen, ax=right, label=label, current=time, title=title)
        return left

    def _draw_picture(self, ax: Axes, view: View, date: int) -> None:
        picture, limits = self.reader.picture(date, view), self.reader.limits(view)
        time = np.datetime_as_string(self.reader.image["time"].to_numpy()[date], unit="D")
        title = f"{view.title}, {time}"
        if view.kind == "rgb":
            plots.rgb(picture, view.bands, ax=ax, limits=limits, title=title)
        else:
            plots.index_map(picture, ax=ax, label=view.title, limits=limits, title=title)

    def _place(self, row: int, col: int) -> tuple[float, float]:
        """Return x and y of a pixel's centre in the units of the axes."""
        left, right, bottom, top = extent(self.reader.image)
        height, width = self.reader.image.sizes["y"], self.reader.image.sizes["x"]
        return left + (col + 0.5) / width * (right - left), top + (row + 0.5) / height * (bottom - top)

    def class_name(self) -> str:
        """Return the class of the pixel, empty where the series has no labels."""
        if self.label is None:
            return ""
        index = int(self.label[int(self.row.value), int(self.col.value)])
        if self.scheme is None:
            return f"class {index}"
        return self.scheme.names[index] if index < len(self.scheme) else "no label"

    def describe_pixel(self) -> str:
        """Return where the pixel lies, its class, and on how many dates it was seen."""
        row, col = int(self.row.value), int(self.col.value)
        parts = [f"Pixel: row {row}, column {col}"]
        if "x" in self.reader.image.coords:
            x, y = self._place(row, col)
            parts.append(f"x {x:.3f}, y {y:.3f}")
        if self.class_name():
            parts.append(self.class_name())
        seen = self.reader.clear_column(row, col)
        parts.append(f"clear on {int(seen.sum())} of {seen.size} dates")
        return " · ".join(parts)

    def figure(self) -> Figure:
        """Return what the panel shows as a static figure, to stand beside it in a report."""
        figure = _new_figure()
        with plots.style():
            self._draw_into(figure)
        figure.suptitle(self.describe_pixel(), fontsize=9)
        return figure
