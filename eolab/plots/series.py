"""Time series: one pixel, classes with their spread, the dates of a series, twins beside real data."""

from collections.abc import Mapping
from typing import Any

import matplotlib.dates as mdates
import matplotlib.patheffects as effects
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eolab.data.schemes import IGNORE, ClassScheme
from eolab.data.tables import evenly
from eolab.plots.geometry import quantity
from eolab.plots.style import GREY, OKABE_ITO, axes_of, finish, name_rows, panels, styled


def date_axis(ax: Axes, ticks: int = 7) -> None:
    """Write dates short and without overlap."""
    locator = mdates.AutoDateLocator(minticks=3, maxticks=ticks)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))


@styled
def pixel_series(
    values: xr.DataArray,
    clear: Any | None = None,
    ax: Axes | None = None,
    label: str = "",
    current: Any | None = None,
    title: str = "",
) -> Figure:
    """Draw the series of one pixel: clear dates joined by a line, cloudy ones as hollow grey marks.

    Args:
        values: (time,) or (time, band) of one pixel; at most eight bands are drawn.
        clear: (time,) bool, True where the pixel was seen; all unless given.
        ax: Where to draw.
        label: What the values are; the array's ``long_name`` or name unless told.
        current: A date to mark by a vertical line.
        title: Title of the picture.
    """
    ax = axes_of(ax, 7.0, 3.4)
    times = values["time"].to_numpy()
    seen = np.ones(times.size, bool) if clear is None else np.asarray(clear, bool)
    table = values.expand_dims(band=[""]) if "band" not in values.dims else values
    table = table.transpose("band", "time")
    for number, name in enumerate(table["band"].to_numpy()[: len(OKABE_ITO)]):
        row = np.asarray(table[number], float)
        text = f"{name} clear".strip().capitalize()
        ax.plot(times[seen], row[seen], "o-", color=OKABE_ITO[number], markersize=4, label=text)
        if not seen.all():
            hollow: dict[str, Any] = {"color": GREY, "markersize": 4.5, "markerfacecolor": "white"}
            hollow["label"] = "Cloud or no data" if number == 0 else None
            ax.plot(times[~seen], row[~seen], "o", **hollow)
    if current is not None:
        day = float(mdates.date2num(np.datetime64(current)))
        ax.axvline(day, color="black", linestyle="--", linewidth=1.0, label="Date shown")
    date_axis(ax)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=4)
    return finish(ax, "both", ylabel=label or quantity(values), xlim=_room(times), title=title)


def _room(times: np.ndarray) -> tuple[np.datetime64, np.datetime64]:
    """Return the first and last date with a margin that keeps markers whole."""
    times = times.astype("datetime64[ns]")
    margin = max((times.max() - times.min()) // 40, np.timedelta64(1, "D"))
    return times.min() - margin, times.max() + margin


def class_statistics(values: xr.DataArray, valid: Any, labels: Any, scheme: ClassScheme) -> pd.DataFrame:
    """Return median and quartiles of each class at each date.

    Args:
        values: One quantity with a time and any other dims, such as (time, y, x) or (sample, time).
        valid: bool with the same dims (a DataArray) or in the order (…, time): True where observed.
        labels: Class indices over the other dims in their order; 255 is left out.
        scheme: The classes.

    Returns:
        Columns class (name), time, q25, median, q75, count; a row a class and date with observations.
    """
    others = [str(dim) for dim in values.dims if dim != "time"]
    table = np.asarray(values.transpose(*others, "time"), float).reshape(-1, values.sizes["time"])
    valid = valid.transpose(*others, "time") if isinstance(valid, xr.DataArray) else valid
    seen = np.asarray(valid, bool).reshape(table.shape) & np.isfinite(table)
    classes = np.asarray(labels).ravel()
    rows = []
    for index in np.unique(classes[(classes != IGNORE) & (classes < len(scheme))]):
        of_class = classes == index
        for column, time in enumerate(values["time"].to_numpy()):
            found = table[of_class & seen[:, column], column]
            if found.size:
                quartiles = np.percentile(found, (25, 50, 75))
                rows.append((scheme.names[index], pd.Timestamp(time), *quartiles, found.size))
    return pd.DataFrame(rows, columns=["class", "time", "q25", "median", "q75", "count"])


@styled
def class_curves(table: pd.DataFrame, scheme: ClassScheme, label: str, columns: int = 4) -> Figure:
    """Draw the median and interquartile band of each class by date, a panel a class.

    Args:
        table: Result of :func:`class_statistics`.
        scheme: The classes.
        label: What the values are, with their unit.
        columns: Panels in a row.
    """
    names = [name for name in scheme.names if name in set(table["class"])]
    outline = [effects.Stroke(linewidth=3.2, foreground="#444444"), effects.Normal()]  # light colours show
    figure, axes = panels(len(names), columns, 2.75, 2.0, sharex=True, sharey=True)
    for ax, name in zip(axes, names, strict=True):
        for other in names:
            rows = table[table["class"] == other]
            ax.plot(rows["time"], rows["median"], color="#d0d0d0", linewidth=0.7, zorder=1)
        rows, color = table[table["class"] == name], scheme.colors[scheme.names.index(name)]
        ax.fill_between(rows["time"], rows["q25"], rows["q75"], color=color, alpha=0.35, linewidth=0)
        ax.plot(rows["time"], rows["median"], color=color, linewidth=2.0, path_effects=outline)
        date_axis(ax, 5)
        finish(ax, "both", title=name)
    figure.supylabel(label, fontsize=9.5)
    figure.supxlabel("Line: median; band: middle half of the pixels; grey: the other classes", fontsize=8.5)
    return figure


@styled
def example_series(
    values: xr.DataArray,
    valid: Any,
    labels: Any,
    groups: Mapping[str, Any],
    scheme: ClassScheme,
    examples: int = 4,
    columns: int = 4,
) -> Figure:
    """Draw the series of groups of samples, such as kept and refused ones, a panel a class.

    Args:
        values: Series (sample, time) of one quantity.
        valid: Where they are observed (sample, time), bool.
        labels: Class index of each sample.
        groups: By name, which samples are in the group, bool (sample,).
        scheme: The classes.
        examples: Series of each class and group that are drawn as thin lines, evenly spread over the table.
        columns: Panels in a row.
    """
    labels, seen = np.asarray(labels), np.asarray(valid, bool) & np.isfinite(values.to_numpy())
    names = [index for index in range(len(scheme)) if (labels == index).any()]
    figure, axes = panels(len(names), columns, 2.75, 2.0, sharex=True, sharey=True)
    times = values["time"].to_numpy()
    for number, (group, chosen) in enumerate(groups.items()):
        color = OKABE_ITO[number]
        for ax, index in zip(axes, names, strict=True):
            rows = np.flatnonzero((labels == index) & np.asarray(chosen, bool))
            for row in rows[evenly(len(rows), examples)] if len(rows) else []:
                at = seen[row]
                ax.plot(times[at], values.to_numpy()[row, at], color=color, linewidth=0.6, alpha=0.7)
            table = class_statistics(values[rows], seen[rows], labels[rows], scheme)
            ax.plot(table["time"], table["median"], color=color, linewidth=2.4, label=group)
            date_axis(ax, 5)
            finish(ax, "both", title=scheme.names[index])
    handles, titles = axes[0].get_legend_handles_labels()
    heading = "Thick: median; thin: examples"
    figure.legend(handles, titles, title=heading, loc="outside lower center", ncols=len(groups))
    figure.supylabel(quantity(values), fontsize=9.5)
    return figure


@styled
def season_curves(tables: Mapping[str, pd.DataFrame], scheme: ClassScheme, columns: int = 4) -> Figure:
    """Draw median and interquartile band of all classes by date, a panel a quantity.

    Args:
        tables: By name of the quantity, with its unit: result of :func:`class_statistics`.
        scheme: The classes.
        columns: Panels in a row.
    """
    figure, axes = panels(len(tables), columns, 2.75, 2.0, sharex=True)
    for ax, (name, table) in zip(axes, tables.items(), strict=True):
        for label, color in zip(scheme.names, scheme.colors, strict=True):
            rows = table[table["class"] == label]
            ax.fill_between(rows["time"], rows["q25"], rows["q75"], color=color, alpha=0.25, linewidth=0)
            ax.plot(rows["time"], rows["median"], "o-", color=color, markersize=2.5, label=label)
        date_axis(ax, 5)
        finish(ax, "both", title=name)
    handles, names = axes[0].get_legend_handles_labels()
    heading = "Line: median; band: middle half of the pixels"
    figure.legend(handles, names, title=heading, loc="outside lower center", ncols=4)
    return figure


@styled
def acquisitions(table: pd.DataFrame, most: int = 40) -> Figure:
    """Draw what each image of a series shows, a row a date: ground, clouds, nothing.

    Args:
        table: A row an image: name, and the shares clear, cloud and missing; cloud is NaN where clouds are
            not known.
        most: Most images that are drawn, chosen evenly.
    """
    rows = table.iloc[evenly(len(table), most)]
    ax = axes_of(None, 7.6, 1.2 + 0.22 * len(rows))
    known = bool(rows["cloud"].notna().any())
    kinds = {
        "clear": ("Clear" if known else "With a value", OKABE_ITO[0]),
        "cloud": ("Clouds", "#b8b8b8"),
        "missing": ("No data", "#ececec"),
    }
    begun = np.zeros(len(rows))
    for name, (label, color) in kinds.items():
        if name != "cloud" or known:
            share = 100 * rows[name].fillna(0).to_numpy()
            ax.barh(range(len(rows)), share, 0.75, begun, color=color, label=label)
            begun += share
    name_rows(ax, rows["name"], 8)
    return finish(ax, "x", "beside", xlabel="Share of the pixels (%)", xlim=(0, 100))


@styled
def dates_overview(shares: pd.Series, ax: Axes | None = None, title: str = "") -> Figure:
    """Draw which share of the pixels each acquisition shows, a bar a date.

    Args:
        shares: Clear share of the pixels, 0 to 1, by date.
        ax: Where to draw.
        title: Title of the picture.
    """
    ax = axes_of(ax, 8.0, 2.8)
    days = pd.DatetimeIndex(shares.index)
    span = max((days.max() - days.min()).days, 1)
    width = max(min(0.6 * span / len(days), 6.0), span / 250)
    percent = 100 * shares.to_numpy().astype(float)
    at = mdates.date2num(days.to_numpy())
    ax.xaxis_date()
    ax.bar(at, np.full(len(days), 100.0), width, color="#dddddd", label="Cloud, shadow or no data")
    ax.bar(at, percent, width, color=OKABE_ITO[0], label="Clear")
    ax.set(ylim=(0, 100), ylabel="Share of the pixels (%)", xlim=_room(days.to_numpy()))
    date_axis(ax, 10)
    summary = f"{len(days)} dates, {percent.mean():.0f} % clear on average"
    return finish(ax, legend="below", title=f"{title}: {summary}" if title else summary)


@styled
def twin_vs_real(tables: Mapping[str, pd.DataFrame], columns: int = 3) -> Figure:
    """Draw what was measured on a twin (lines or blue dots) and on real data (orange marks), a panel a table.

    Args:
        tables: By title: the first column is what the values are drawn over (a name, a number or a date);
            then the columns ``simulated`` and ``real``, and where known their ranges as ``simulated_low``,
            ``simulated_high``, ``real_low`` and ``real_high``.
        columns: Panels in a row.
    """
    figure, axes = panels(len(tables), columns, 4.2, 3.2)
    for ax, (title, table) in zip(axes, tables.items(), strict=True):
        over = table.iloc[:, 0]
        named = not (pd.api.types.is_numeric_dtype(over) or pd.api.types.is_datetime64_any_dtype(over))
        at = np.arange(len(over)) if named else over.to_numpy()
        _ranges(ax, at, table, named)
        if named:
            ax.set_xticks(at, [str(name) for name in over], rotation=45, ha="right", rotation_mode="anchor")
        elif pd.api.types.is_datetime64_any_dtype(over):
            date_axis(ax, 6)
        text = str(over.name).replace("_", " ").capitalize()
        finish(ax, "y", xlabel=text, title=(title[:1].upper() + title[1:]).replace("_", " "))
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2)
    return figure


def _ranges(ax: Axes, at: np.ndarray, table: pd.DataFrame, named: bool) -> None:
    """Draw both sides of a table with their ranges; names get dots beside each other, numbers a line."""
    for name, color, shift in (("simulated", OKABE_ITO[0], -0.12), ("real", OKABE_ITO[1], 0.12)):
        rows = table.dropna(subset=[name])
        x = at[table[name].notna().to_numpy()] + (shift if named else 0)
        label = "Simulated" if name == "simulated" else "Real"
        mark = "o-" if name == "simulated" and not named else "D" if name == "real" else "o"
        ax.plot(x, rows[name], mark, color=color, markersize=4.5, label=label)
        if {f"{name}_low", f"{name}_high"} <= set(table):
            ax.vlines(x, rows[f"{name}_low"], rows[f"{name}_high"], color=color, alpha=0.5, linewidth=2)
