"""Explore an image series: a date as a picture, and the series of the pixel that is clicked."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets
import matplotlib.patheffects as effects
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eolab import plots
from eolab.core.errors import ParameterError, did_you_mean
from eolab.data.schemes import ClassScheme, scheme_of
from eolab.plots.geometry import extent
from eolab.plots.style import roomy
from eolab.widgets.canvas import headless, interactive_canvas, quiet_when_headless
from eolab.widgets.panel import Panel
from eolab.widgets.views import SeriesReader, View

CSS_CLASS = "eolab-series-explorer"
SIZE_IN = (9.8, 4.3)


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
        out: Shows errors of the panel's own code.
        panel: All of it, with the CSS class ``eolab-series-explorer``.

    Example:
        >>> explorer = SeriesExplorer(series)
        >>> explorer.date.value = 3
        >>> explorer.select_pixel(120, 48)
        >>> explorer.figure()  # the same as a static figure, for a report
    """

    def __init__(
        self, series: xr.Dataset, scheme: ClassScheme | None = None, date: int | None = None, view: str = ""
    ) -> None:
        """Make the panel.

        Args:
            series: ``image (time, band, y, x)``, lazy or not, ``clear (time, y, x)`` bool and, where known,
                ``label (y, x)`` class indices.
            scheme: The classes of ``label``; those that the series' attributes hold unless given.
            date: Number of the first date shown; the clearest one unless told.
            view: Title of the first view; the first that the series has unless told.

        Raises:
            DataError: If the series has not these variables.
            ParameterError: If there is no such view.
        """
        self.reader = SeriesReader(series)
        self.scheme = scheme or (scheme_of(series) if "class_scheme" in series.attrs else None)
        self.label = np.asarray(series["label"]) if "label" in series else None
        if view and view not in self.reader.views:
            raise ParameterError(f"The series has no view {view!r}: {did_you_mean(view, self.reader.views)}")
        start = int(np.argmax(self.reader.clear_shares)) if date is None else date
        self._figure = _new_figure()
        with quiet_when_headless():
            self._make_controls(start, view)
            self._lay_out()
        for control in (self.date, self.view, self.curve, self.row, self.col):
            control.observe(self._guarded(self._changed), names="value")
        self._draw()

    def _make_controls(self, date: int, view: str) -> None:
        times = np.datetime_as_string(self.reader.image["time"].to_numpy(), unit="D")
        shares = self.reader.clear_shares
        names = [f"{time} · {100 * share:.0f} % clear" for time, share in zip(times, shares, strict=True)]
        dates = [(name, number) for number, name in enumerate(names)]
        titles = list(self.reader.views)
        curves = [title for title, v in self.reader.views.items() if v.kind != "rgb"]
        height, width = self.reader.image.sizes["y"], self.reader.image.sizes["x"]
        style = {"description_width": "52px"}
        wide = {"style": style, "layout": {"width": "270px"}}
        small = {"style": style, "layout": {"width": "140px"}, "continuous_update": False}
        self.date = widgets.SelectionSlider(
            options=dates,
            value=date,
            description="Date",
            continuous_update=False,
            style=style,
            readout=False,
            layout={"width": "540px"},
        )
        self.view = widgets.Dropdown(options=titles, value=view or titles[0], description="Picture", **wide)
        self.curve = widgets.Dropdown(options=curves, value=curves[0], description="Curve", **wide)
        self.row = widgets.BoundedIntText(height // 2, 0, height - 1, description="Row", **small)
        self.col = widgets.BoundedIntText(width // 2, 0, width - 1, description="Column", **small)
        self.date_shown = widgets.Label()
        self.status = widgets.Label()
        self.out = widgets.Output()

    def _lay_out(self) -> None:
        parts: list[Any] = [
            widgets.HBox([self.date, self.date_shown]),
            widgets.HBox([self.view, self.curve, self.row, self.col], layout={"flex_flow": "row wrap"}),
        ]
        self.canvas: Any = None
        if not headless():
            self.canvas = interactive_canvas(self._figure)
            self.canvas.mpl_connect("button_press_event", self._guarded(self._clicked))
            parts.append(self.canvas)
        self.panel = widgets.VBox([*parts, self.status, self.out])
        self.panel.add_class(CSS_CLASS)

    def _changed(self, change: Any) -> None:
        self._draw()

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

    def _draw(self) -> None:
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
        column = self.reader.column(row, col, curve)
        plots.pixel_series(
            column,
            self.reader.clear_column(row, col),
            ax=right,
            label=curve.title if curve.kind == "index" else "",
            current=time,
            title=f"{curve.title} of row {row}, column {col}",
        )
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
