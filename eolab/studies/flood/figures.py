"""Figures of floods: which images there are, one sequence over time, and how fast floods are detected."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from eolab.core.errors import DataError
from eolab.data import tables
from eolab.plots.maps import percentile_limits, robust_limits, shaded
from eolab.plots.series import date_axis
from eolab.plots.style import GREY, OKABE_ITO, axes_of, finish, name_rows, panels, side_by_side, styled
from eolab.studies.flood.sensors import Optical, Radar

SENSORS = {"S1": "Sentinel-1", "S2": "Sentinel-2"}
MARKERS = {"S1": "o", "S2": "s"}
SENSOR_COLORS = {"S1": OKABE_ITO[5], "S2": OKABE_ITO[2]}
LABEL_COLORS = {False: OKABE_ITO[1], True: OKABE_ITO[0]}  # dry orange, flooded blue
LINE_COLORS = (OKABE_ITO[5], OKABE_ITO[2], OKABE_ITO[3], OKABE_ITO[7])  # neither of the labels' colours
LABELS = {False: "Dry", True: "Flooded"}
SPLIT_MARKERS = {"train": "o", "test": "^"}
MOST_SEQUENCES = 40
MOST_PICTURES = 10
NEAR = 6  # regions with a colour and a picture of their own
EAST, NORTH = "Longitude (degrees east)", "Latitude (degrees north)"
SINCE = "Flooded by the labels"


# === What there is ===


@styled
def acquisition_calendar(images: pd.DataFrame) -> Figure:
    """Draw the images of each sequence by date, a line a sequence: marker by sensor, colour by label.

    Args:
        images: sequence, sensor, date, flooded; result of :func:`eolab.data.layouts.sen12flood.index`, or
            rows of it. Entries without a file are left out; of more than 40 sequences, 40 are chosen evenly.
    """
    table = images[images["filename"] != ""]
    known = table["sequence"].drop_duplicates().to_numpy()
    names = known[tables.evenly(len(known), MOST_SEQUENCES)]
    ax = axes_of(None, 8.6, 1.5 + 0.2 * len(names))
    table = table.assign(line=table["sequence"].map({name: k for k, name in enumerate(names)}))
    for (sensor, flooded), own in table.dropna(subset="line").groupby(["sensor", "flooded"]):
        look: dict[str, Any] = {"color": LABEL_COLORS[bool(flooded)], "markersize": 3.6, "markeredgewidth": 0}
        at = own["line"] + (-0.18 if sensor == "S1" else 0.18)
        ax.plot(own["date"].to_numpy(), at, MARKERS[str(sensor)], **look)
    name_rows(ax, names, 7.5)
    date_axis(ax, 8)
    handles: list[Any] = [
        Line2D([], [], color=GREY, marker=MARKERS[s], linestyle="", label=SENSORS[s]) for s in SENSORS
    ]
    handles += [Patch(color=LABEL_COLORS[flooded], label=LABELS[flooded]) for flooded in LABELS]
    return finish(ax, "both", "beside", handles, xlabel="Date of the image", ylabel="Sequence")


@styled
def images_per_sequence(images: pd.DataFrame) -> Figure:
    """Draw how many images a sequence has, and which share of images and sequences is flooded, by sensor.

    Args:
        images: Images of :func:`acquisition_calendar`.
    """
    table = images[images["filename"] != ""]
    sensors = [sensor for sensor in SENSORS if (table["sensor"] == sensor).any()]
    figure, (left, right) = panels(2, 2, 4.2, 3.4)
    for sensor, shift, width, _ in side_by_side(sensors, 0.84):
        own = table[table["sensor"] == sensor]
        counts = own.groupby("sequence").size().value_counts().sort_index()
        text = f"{SENSORS[sensor]}: {len(own):,} images of {own['sequence'].nunique():,} sequences"
        left.bar(counts.index + shift, counts, width, color=SENSOR_COLORS[sensor], label=text)
        shares = [own["flooded"].mean(), own.groupby("sequence")["flooded"].any().mean()]
        bars = right.bar(np.arange(2) + shift, 100 * np.array(shares), width, color=SENSOR_COLORS[sensor])
        right.bar_label(bars, fmt="%.1f", fontsize=8, padding=2)
    left.locator_params(axis="x", integer=True)
    right.set_xticks([0, 1], ["Images", "Sequences with a\nflooded image"])
    finish(left, "y", xlabel="Images of a sequence", ylabel="Sequences")
    finish(right, "y", ylabel="Flooded (%)", ylim=(0, 100))
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@styled
def sequence_map(sequences: pd.DataFrame, regions: pd.Series) -> Figure:
    """Draw where the sequences lie: all of them, and each of the six largest regions in detail.

    Args:
        sequences: Result of :func:`eolab.data.layouts.sen12flood.sequences`: longitude and latitude in
            degrees, published (the marker).
        regions: Region of each sequence (the colour), see :func:`eolab.studies.flood.explore.regions`; beyond
            the six largest they are grey.
    """
    own = regions.reindex(sequences.index)
    counts = own.value_counts()
    colors = {name: OKABE_ITO[k] for k, name in enumerate(counts.index[:NEAR])}
    rows = -(-len(colors) // 3)
    figure = plt.figure(figsize=(9.2, 4.0 + 2.3 * rows))
    grid = figure.add_gridspec(1 + rows, 3, height_ratios=[1.4] + [1] * rows)
    world = figure.add_subplot(grid[0, :])
    _places(world, sequences, own.map(colors).fillna(GREY), 42.0, 10.0)
    world.set_aspect("equal")
    world.set(title="All sequences", xlabel=EAST, ylabel=NORTH)
    for place, (name, color) in enumerate(colors.items()):
        ax = figure.add_subplot(grid[1 + place // 3, place % 3])
        near = sequences[own == name]
        _places(ax, near, pd.Series(color, index=near.index), 34.0, 0.02)
        ax.set(title=f"{name} ({counts[name]} sequences)", xlabel=EAST, ylabel="" if place % 3 else NORTH)
        ax.locator_params(axis="x", nbins=4)
        ax.ticklabel_format(useOffset=False)
    handles: list[Any] = [Patch(color=color, label=f"Region {name}") for name, color in colors.items()]
    if len(counts) > NEAR:
        rest = f"{len(counts) - NEAR} more regions ({counts.iloc[NEAR:].sum()} sequences)"
        handles.append(Patch(color=GREY, label=rest))
    for split, marker in SPLIT_MARKERS.items():
        text = f"Published {split} ({(sequences['published'] == split).sum()})"
        handles.append(Line2D([], [], color="black", marker=marker, linestyle="", label=text))
    figure.legend(handles=handles, loc="outside lower center", ncols=5)
    return figure


def _places(ax: Axes, sequences: pd.DataFrame, colors: pd.Series, size: float, margin_deg: float) -> None:
    """Draw the centres of sequences in their colours, with a margin around them."""
    for split, marker in SPLIT_MARKERS.items():
        own = sequences["published"] == split
        at = sequences.loc[own, "longitude"], sequences.loc[own, "latitude"]
        ax.scatter(*at, s=size, c=colors[own].tolist(), marker=marker, edgecolors="white", linewidths=0.5)
    places = sequences[["longitude", "latitude"]]
    margin = (0.08 * (places.max() - places.min())).clip(lower=margin_deg)
    west, south = places.min() - margin
    east, north = places.max() + margin
    finish(ax, "both", xlim=(west, east), ylim=(south, north))


# === One sequence over time ===


@styled
def sequence_over_time(
    series: Mapping[str, xr.Dataset],
    probabilities: Mapping[str, pd.DataFrame] | None = None,
    thresholds: Mapping[str, float] | None = None,
    clouds: pd.Series | None = None,
) -> Figure:
    """Draw one sequence: pictures by date, below them probability, label and clouds over the same dates.

    Ten pictures a sensor at most, evenly chosen, all of a sensor with the same limits; their frames have the
    colour of the label. Marks above the curves are the dates of all images, filled where one is drawn.

    Args:
        series: By sensor, "S1", "S2" or both, what :func:`eolab.data.layouts.sen12flood.read_series`
            returns: with VH in linear power, with B04, B03 and B02 in reflectance.
        probabilities: Table of predictions by name of the model; rows of other sequences are left out.
        thresholds: Probability from which an image is an alarm, by name.
        clouds: Share of each optical image under clouds, 0 to 1, by date.

    Raises:
        DataError: If the series have no image.
    """
    found = {sensor: series[sensor] for sensor in SENSORS if sensor in series}
    used = {sensor: one.sortby("time") for sensor, one in found.items() if one.sizes["time"]}
    if not used:
        raise DataError("The series have no image: choose a sequence with images that can be read.")
    shown = {sensor: tables.evenly(one.sizes["time"], MOST_PICTURES) for sensor, one in used.items()}
    columns = max(4, *(len(places) for places in shown.values()))
    heights = [1.12] * len(used) + [2.1] + [0.75] * (clouds is not None)
    figure = plt.figure(figsize=(0.95 * columns + 1.9, sum(heights) + 1.0))
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    for row, (sensor, one) in enumerate(used.items()):
        _pictures(figure, grid, row, one.isel(time=shown[sensor]), sensor)
    lower = [figure.add_subplot(grid[row, :]) for row in range(len(used), len(heights))]
    names = list(dict.fromkeys(str(one.attrs.get("sequence", "")) for one in used.values()))
    _curves(lower[0], probabilities or {}, names, thresholds or {})
    dates = pd.concat(_dates(sensor, one, shown[sensor]) for sensor, one in used.items())
    _marks(lower[0], dates)
    if clouds is not None:
        _clouds(lower[1], clouds)
    _share_dates(lower, [*dates["day"], *(() if clouds is None else clouds.index)])
    handles = lower[0].get_legend_handles_labels()[0]
    handles += [
        Patch(color=LABEL_COLORS[wet], label=f"Label of an image: {LABELS[wet].lower()}") for wet in LABELS
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    figure.suptitle(f"Sequence {', '.join(names)}", x=0.01, ha="left", fontsize=10.5, fontweight="bold")
    return figure


def _pictures(figure: Figure, grid: GridSpec, row: int, one: xr.Dataset, sensor: str) -> None:
    """Draw the images of a sensor in a row of the grid, with their dates and limits."""
    kind = Radar(("VH",)) if sensor == "S1" else Optical(("B04", "B03", "B02"))
    images = kind.compute(one["image"])  # (T, H, W, C)
    if sensor == "S1":
        limits = percentile_limits(images)
    else:  # those no brighter than the middle one: they have fewer clouds
        means = np.nanmean(images, axis=(1, 2, 3))
        limits = robust_limits(images[means <= np.median(means)])
    for column, (pixels, day) in enumerate(zip(images, one["time"].to_numpy(), strict=True)):
        ax = figure.add_subplot(grid[row, column])
        ax.imshow(shaded(pixels, limits))
        ax.set(xticks=[], yticks=[])
        ax.set_title(f"{pd.Timestamp(day):%Y-%m-%d}", fontsize=7.5, fontweight="normal", loc="center", pad=3)
        ax.spines[:].set(visible=True, linewidth=2, color=LABEL_COLORS[bool(one["flooded"][column])])
        if not column:
            unit = "dB" if sensor == "S1" else "reflectance"
            what = f"{SENSORS[sensor]} {'VH' if sensor == 'S1' else 'RGB'}"
            text = f"{what}\n{unit}: black {limits[0]:.3g},\nwhite {limits[1]:.3g}"
            ax.set_ylabel(text, fontsize=7.5, rotation=0, ha="right", va="center", labelpad=6)


def _curves(
    ax: Axes,
    predictions: Mapping[str, pd.DataFrame],
    sequences: Sequence[str],
    thresholds: Mapping[str, float],
) -> None:
    """Draw the probability of each model, and the thresholds."""
    for (name, table), color in zip(predictions.items(), cycle(LINE_COLORS), strict=False):
        own = table[table["sequence"].isin(sequences)].sort_values("date")
        at = own["date"].to_numpy()
        ax.plot(at, own["probability"], "o-", color=color, markersize=3.6, linewidth=1.3, label=name)
        if name in thresholds:
            text = f"Threshold of {name}: {thresholds[name]:.2f}"
            ax.axhline(thresholds[name], color=color, linestyle="--", linewidth=1.0, label=text)
    finish(ax, "both", ylim=(-0.03, 1.03), ylabel="Probability\nof a flood")


def _dates(sensor: str, one: xr.Dataset, shown: np.ndarray) -> pd.DataFrame:
    """Return the images of a sensor: day, whether it is labelled flooded, whether it is drawn above."""
    days = one["time"].to_numpy()
    drawn = np.isin(np.arange(len(days)), shown)
    columns = {"day": days, "flooded": one["flooded"].to_numpy().astype(bool), "drawn": drawn}
    return pd.DataFrame({"sensor": sensor, **columns})


def _marks(ax: Axes, dates: pd.DataFrame) -> None:
    """Mark the dates of all images above the axes, and shade the days since the onset."""
    across = ax.get_xaxis_transform()  # dates, and shares of the height
    for row, sensor in enumerate(dates["sensor"].unique()):
        own = dates[dates["sensor"] == sensor]
        for (flooded, drawn), some in own.groupby(["flooded", "drawn"]):
            color, at = LABEL_COLORS[bool(flooded)], np.full(len(some), 1.16 - 0.09 * row)
            look: dict[str, Any] = {"markersize": 4.5, "markerfacecolor": color if drawn else "white"}
            ax.plot(some["day"], at, MARKERS[sensor], color=color, transform=across, clip_on=False, **look)
        ax.plot([], [], MARKERS[sensor], color=GREY, label=f"{SENSORS[sensor]} (filled: drawn above)")
    if dates["flooded"].any():
        start = float(mdates.date2num(dates.loc[dates["flooded"], "day"].min()))
        shade = ax.axvspan(
            start, start + 4000, color=LABEL_COLORS[True], alpha=0.14, linewidth=0, label=SINCE
        )
        shade.set_in_layout(False)


def _clouds(ax: Axes, clouds: pd.Series) -> None:
    """Draw the share of each optical image under clouds."""
    at = mdates.date2num(pd.DatetimeIndex(clouds.index).to_numpy())
    ax.vlines(at, 0, 100, color="#dddddd", linewidth=3.5)
    ax.vlines(at, 0, 100 * clouds.to_numpy(float), color=GREY, linewidth=3.5)
    ax.set(ylim=(0, 100), ylabel="Bright pixels (%)")
    ax.set_yticks([0, 50, 100])


def _share_dates(lower: list[Axes], dates: list[Any]) -> None:
    """Give axes below each other the same dates, written below the last one."""
    days = mdates.date2num(dates)
    margin = max((days.max() - days.min()) / 50, 1.0)
    for ax in lower:
        ax.xaxis_date()
        ax.set_xlim(days.min() - margin, days.max() + margin)
        date_axis(ax, 8)
        ax.spines[["top", "right"]].set_visible(False)
        if ax is not lower[-1]:
            ax.tick_params(labelbottom=False)
            ax.xaxis.get_offset_text().set_visible(False)
    lower[-1].set_xlabel("Date of the image")


# === Scores ===


@styled
def delays(found: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw the share of all flooded sequences that are detected within so many days of the onset.

    Args:
        found: Results of :func:`eolab.studies.flood.delay.detections` by name; sequences that are never
            detected count in the share and keep its line below 100 %.
    """
    ax = axes_of(None, 6.0, 3.4 + 0.2 * len(found))
    longest = max([1.0, *(day for table in found.values() for day in table["days"].dropna())])
    for number, (name, table) in enumerate(found.items()):
        days = np.sort(table["days"].dropna().to_numpy(float))
        share = 100 * np.arange(1, len(days) + 1) / max(len(table), 1)
        x = np.concatenate([[0.0], days, [1.05 * longest]])
        y = np.concatenate([[0.0], share, share[-1:] if len(share) else [0.0]])
        text = f"{name}: {len(days)} of {len(table)} sequences detected"
        color, line = OKABE_ITO[number % len(OKABE_ITO)], ("-", "--", "-.", ":")[number % 4]
        ax.plot(x, y, drawstyle="steps-post", color=color, linestyle=line, label=text)
    ax.set(xlim=(-0.02 * longest, 1.05 * longest), ylim=(-2, 103))
    label = "Flooded sequences detected (%)"
    return finish(ax, "both", "stacked", xlabel="Days since the onset of the flood", ylabel=label)
