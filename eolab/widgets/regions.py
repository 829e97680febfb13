"""Explore regions on an image series, and how points counted in them become a value from 0 to 1."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from eolab import plots
from eolab.core.errors import EolabError
from eolab.core.progress import batch_run
from eolab.data.tracks import share_of_highest
from eolab.plots.geometry import thin
from eolab.plots.style import roomy
from eolab.widgets.explorer import REMEMBERED, SeriesReader, View
from eolab.widgets.panel import Panel, quiet_in_batch_runs

ALL = "all"
AROUND_PX = 20
"""Pixels that are shown around one region."""
MOST_MAPS = 10


class RegionExplorer(Panel):
    """A panel with a date slider, a choice of channels and of a region, and the threshold of counts.

    It shows the regions by class on the image of a date, the histogram of the counts of points with a
    percentile as upper threshold, and the value of each pixel that follows from it. The whole image is read
    at the resolution of a screen, a single region at its own.

    Attributes:
        date: Slider over the acquisitions; its value is the number of the date.
        channels: Dropdown: composites, indices and bands that the series has.
        region: Dropdown: all regions, or one of them.
        percentile: Slider: percentile of the counts from which on the value is 1; None without counts.
        title: Label: the date, and what is known of it.
        message: Label: why the values cannot be shown, empty otherwise.
        image: The pictures, PNG.

    Example:
        >>> explorer = RegionExplorer(series, table, {"clear": "#56B4E9", "need": "#D55E00"}, counts=counts)
        >>> explorer.date.value = 3
        >>> explorer.percentile.value = 90
        >>> explorer.figure()  # the same as a static figure, for a report
    """

    css_class = "eolab-region-explorer"
    label_px = 70

    def __init__(
        self,
        series: xr.Dataset,
        table: pd.DataFrame,
        colors: Mapping[str, str],
        notes: Sequence[str] = (),
        counts: Mapping[str, np.ndarray] | None = None,
        percentile: float = 97.0,
        value_name: str = "Value",
    ) -> None:
        """Make the panel and show the clearest date.

        Args:
            series: Lazy ``image (time, band, y, x)`` and ``clear (time, y, x)``.
            table: Regions on its grid, result of :func:`eolab.data.regions.on_grid`.
            colors: Colour of each label.
            notes: What is written of each date; by default the date.
            counts: Points in each pixel (H, W) of some regions by name, NaN outside of them.
            percentile: Where the slider of the percentile starts.
            value_name: What points up to the threshold become on a scale of 0 to 1.

        Raises:
            DataError: If the series has not these variables.
        """
        self.series, self.table, self.colors = series, table, dict(colors)
        self.reader = SeriesReader(thin(series))
        self.counts, self.value_name = dict(counts or {}), value_name
        self._known = np.concatenate([np.zeros(0), *(one[np.isfinite(one)] for one in self.counts.values())])
        dates = np.datetime_as_string(series["time"].to_numpy(), unit="D")
        self.notes = list(notes) or [str(date) for date in dates]
        self._near = lru_cache(REMEMBERED)(self._read_near)
        with quiet_in_batch_runs():
            self._make_controls(percentile)
        for control in (self.date, self.channels, self.region, self.percentile):
            if control is not None:
                self._listen(control, self._draw)
        self._draw()

    def _make_controls(self, percentile: float) -> None:
        names = [f"{row.label} (region {row.id})" for row in self.table.itertuples()]
        regions = [("all regions", ALL), *zip(names, range(len(names)), strict=True)]
        dates = [(note, number) for number, note in enumerate(self.notes)]
        on_release: dict[str, Any] = {"readout": False, "continuous_update": False}
        start = int(np.argmax(self.reader.clear_shares))
        slider, dropdown = widgets.SelectionSlider, widgets.Dropdown
        self.date = self._control(slider, "Date", 560, options=dates, value=start, **on_release)
        self.channels = self._control(dropdown, "Channels", 300, options=list(self.reader.views))
        self.region = self._control(dropdown, "Region", 300, options=regions)
        self.percentile = None
        if self.counts:
            steps = {"value": percentile, "min": min(50.0, percentile), "max": 100.0, "step": 0.5}
            self.percentile = self._control(
                widgets.FloatSlider, "Percentile", 560, **steps, continuous_update=False
            )
        self.title = self._make_picture("title", width_px=1000)
        shown = [self.title, self.message, self.image]
        thresholds = [] if self.percentile is None else [self.percentile]
        self._lay_out(self.date, [self.channels, self.region], *thresholds, *shown)

    def _read_near(self, place: int, date: int, view: View) -> xr.DataArray:
        """Return a view of one region and what is around it, at the resolution of the series."""
        row = self.table.iloc[place]
        begin = (max(int(row[name]) - AROUND_PX, 0) for name in ("row", "column"))
        end = (int(row[a] + row[b]) + AROUND_PX for a, b in (("row", "height"), ("column", "width")))
        y, x = (slice(first, last) for first, last in zip(begin, end, strict=True))
        image = self.series["image"].isel(time=date, y=y, x=x).sel(band=list(view.bands))
        return view.of(thin(image).compute())

    @property
    def threshold(self) -> float:
        """Count from which on the value is 1.

        Raises:
            DataError: If fewer pixels than the percentile says hold a point.
        """
        return share_of_highest(self._known, np.ones(len(self._known), bool), self._percentile)[1]

    @property
    def _percentile(self) -> float:
        return 100.0 if self.percentile is None else float(self.percentile.value)

    def values(self) -> dict[str, np.ndarray]:
        """Return the value of each pixel, 0 to 1, of the regions with most points."""
        order = sorted(self.counts, key=lambda name: -float(np.nansum(self.counts[name])))[:MOST_MAPS]
        limit = self.threshold
        return {
            name: np.minimum(found, limit) / limit for name, found in self.counts.items() if name in order
        }

    def _draw(self, change: Any = None) -> None:
        self.title.value = self.notes[int(self.date.value)]
        if batch_run():
            return  # nobody looks, and the report has the figure
        try:
            figure = self.figure()
            figure.suptitle("")  # the label above says it
            self._show_picture(figure, dpi=110)
            self.message.value = ""
        except EolabError as error:
            self.message.value = str(error)

    def figure(self) -> Figure:
        """Return what the panel shows as a static figure for a report.

        Raises:
            DataError: If the counts have no such threshold.
        """
        date, view = int(self.date.value), self.reader.views[self.channels.value]
        whole = self.region.value == ALL
        picture = self.reader.picture(date, view) if whole else self._near(self.region.value, date, view)
        with plots.style():
            figure = Figure(figsize=(10.0, 7.4) if self.counts else (6.4, 5.4), dpi=100, layout="constrained")
            upper, lower = figure, None
            if self.counts:
                parts: Any = figure.subfigures(2, 1, height_ratios=(2.4, 1))
                upper, lower = parts
            axes = upper.subplots(1, 2 if self.counts else 1, squeeze=False)[0]
            roomy(figure)
            limits = self.reader.limits(view)
            day = np.datetime_as_string(self.series["time"].to_numpy()[date], unit="D")
            title = f"{view.title}, {day}"
            plots.region_map(picture, self.table, self.colors, axes[0], limits, title)
            if self.counts:
                text = f"Percentile {self._percentile:g}"
                plots.count_histogram(self._known, self.threshold, text, axes[1], title="Points in pixels")
                plots.map_gallery(self.values(), self.value_name, columns=MOST_MAPS, within=lower)
        figure.suptitle(self.notes[date], fontsize=9)
        return figure
