"""Maps: images, indices, classes, confidence and change, in kilometres and north up."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from eolab.core.errors import DataError, check_known
from eolab.data.schemes import IGNORE, ClassScheme
from eolab.evaluation.change import CASES, case_table
from eolab.plots.geometry import as_map, quantity, show, thin
from eolab.plots.style import LEGENDS, OKABE_ITO, axes_of, finish, panels, roomy, short, styled

TRUE_COLOUR = ("B04", "B03", "B02")
NODATA_COLOR = "#c9c9c9"
NO_LABEL = "No label or no data"
SPLITS = {"train": OKABE_ITO[0], "validation": OKABE_ITO[1], "test": OKABE_ITO[2]}


def _bands(image: xr.DataArray, bands: Sequence[str]) -> xr.DataArray:
    """Return the thinned bands of one date, (band, y, x) float in memory."""
    image = image.squeeze(drop=True) if "time" in image.dims and image.sizes["time"] == 1 else image
    if set(image.dims) != {"band", "y", "x"}:
        raise DataError(
            f"Expected an image (band, y, x) of one date, found {image.dims}: select a date first."
        )
    known = [str(name) for name in image["band"].to_numpy()]
    for band in bands:
        check_known(band, known, f"The image has no band {band}", DataError)
    return thin(image.sel(band=list(bands)).transpose("band", "y", "x")).astype("float32").compute()


def percentile_limits(values: np.ndarray) -> tuple[float, float]:
    """Return the 2nd and the 98th percentile of the values that are known, or 0 and 1 where none is."""
    known = values[np.isfinite(values)]
    if not known.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(known, (2, 98)))
    return low, high if high > low else low + 1.0


def shaded(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Return colours (..., 3) from 0 to 1 of values (..., 3) or (..., 1) between two limits; NaN is grey."""
    low, high = limits
    grey, seen = int(NODATA_COLOR[1:3], 16) / 255, np.isfinite(values).all(axis=-1, keepdims=True)
    pixels = np.where(seen, np.clip((values - low) / (high - low), 0, 1), grey)
    return np.broadcast_to(pixels, (*pixels.shape[:-1], 3))


def stretched(rgb: np.ndarray, alike: bool = False) -> np.ndarray:
    """Return colours (…, 3) scaled to 0 to 1 by robust limits over all pixels given.

    Args:
        rgb: Red, green and blue in any unit; NaN is grey.
        alike: Whether all channels have the same limits; otherwise each channel has its own.
    """
    rgb = np.asarray(rgb, np.float32)
    channels = [rgb] if alike else np.moveaxis(rgb, -1, 0)
    low, high = np.array([robust_limits(channel) for channel in channels], np.float32).T
    pixels = np.clip((rgb - low) / (high - low), 0, 1)
    return np.where(np.isfinite(pixels), pixels, int(NODATA_COLOR[1:3], 16) / 255)


def robust_limits(values: np.ndarray) -> tuple[float, float]:
    """Return values to draw black and white that snow and clouds do not spoil.

    The 2nd percentile, and the 98th or four times the median, whichever is less: a few very bright pixels
    come out white instead of darkening all the others.

    Args:
        values: Reflectance of any shape, NaN left out.
    """
    found = values[np.isfinite(values)]
    if not found.size:
        return 0.0, 1.0
    low, middle, high = (float(value) for value in np.percentile(found, (2, 50, 98)))
    high = min(high, 4 * middle) if middle > 0 else high
    return low, high if high > low else low + 1.0


@styled
def rgb(
    image: xr.DataArray,
    bands: Sequence[str] = TRUE_COLOUR,
    ax: Axes | None = None,
    limits: tuple[float, float] | None = None,
    title: str = "",
) -> Figure:
    """Draw three bands as red, green and blue, and say below how they were scaled.

    Args:
        image: (band, y, x), one date; NaN is drawn grey.
        bands: The bands for red, green and blue.
        ax: Where to draw; a new figure without it.
        limits: Values drawn black and white, the same for all three bands. Give those of
            :func:`robust_limits` to compare pictures; without them they are the 2nd and the 98th percentile
            of this image alone.
        title: Title of the picture.
    """
    chosen = _bands(image, bands)
    low, high = limits or percentile_limits(chosen.to_numpy())
    ax = axes_of(ax, 5.6, 5.2)
    show(ax, image, shaded(np.moveaxis(chosen.to_numpy(), 0, -1), (low, high)))
    unit = str(image.attrs.get("units", "")).replace("1", "")
    source = "given limits" if limits else "percentiles 2–98 of this image"
    note = (
        f"R, G, B = {', '.join(bands)}; black {low:.3g}, white {high:.3g} {unit}".rstrip() + f"\n({source})"
    )
    ax.set_xlabel(f"{ax.get_xlabel()}\n{note}", fontsize=8)
    return finish(ax, title=title)


@styled
def index_map(
    values: Any,
    ax: Axes | None = None,
    label: str = "",
    unit: str = "",
    limits: tuple[float, float] | None = None,
    cmap: str = "viridis",
    title: str = "",
) -> Figure:
    """Draw one quantity with its colour bar.

    Args:
        values: Map (y, x), for example of an index; NaN is drawn grey.
        ax: Where to draw.
        label: What the quantity is; the array's ``long_name`` or name unless told.
        unit: Its unit; the array's ``units`` unless told.
        limits: Ends of the colour bar; percentiles 2 and 98 unless told.
        cmap: matplotlib's name of the colours.
        title: Title of the picture.
    """
    values = as_map(values)
    small = thin(values).astype("float32").compute()
    low, high = limits or percentile_limits(small.to_numpy())
    ax = axes_of(ax, 6.0, 5.0)
    ax.set_facecolor(NODATA_COLOR)
    drawn = show(ax, values, np.ma.masked_invalid(small.to_numpy()), cmap=cmap, vmin=low, vmax=high)
    outside = (bool((small < low).any()), bool((small > high).any()))
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get(outside, "neither")
    bar = ax.figure.colorbar(drawn, cax=ax.inset_axes((1.02, 0, 0.04, 1)), extend=extend)
    bar.set_label(quantity(values, label, unit))
    return finish(ax, title=title)


@styled
def confidence_map(confidence: Any, ax: Axes | None = None, title: str = "Confidence") -> Figure:
    """Draw how sure a map is of its class.

    Args:
        confidence: (y, x) highest class probability: floats are fractions (NaN = nodata), integers are
            percent as the second band of a written map has them (255 = nodata).
        ax: Where to draw.
        title: Title of the picture.
    """
    values = as_map(confidence)
    if np.issubdtype(values.dtype, np.integer):
        percent = values.where(values != IGNORE).astype("float32")
    else:
        percent = values * 100
    label = "Probability of the class"
    return index_map(percent, ax, label, "%", limits=(0, 100), cmap="cividis", title=title)


def legend_handles(labels: np.ndarray, scheme: ClassScheme) -> list[Patch]:
    """Return a legend entry for each class that a map has, and one for ignored pixels where there are any."""
    present = np.unique(np.asarray(labels))
    drawn = [(scheme.colors[k], short(scheme.names[k])) for k in present if k < len(scheme)]
    if (present >= len(scheme)).any():
        drawn.append((NODATA_COLOR, NO_LABEL))
    return [Patch(facecolor=color, edgecolor="#555555", linewidth=0.5, label=name) for color, name in drawn]


def draw_classes(ax: Axes, labels: xr.DataArray, scheme: ClassScheme) -> np.ndarray:
    """Draw a class map; return the pixels drawn."""
    pixels = np.asarray(thin(labels))
    colors, norm = scheme.colormap()
    ax.set_facecolor(NODATA_COLOR)
    show(ax, labels, np.ma.masked_greater_equal(pixels, len(scheme)), cmap=colors, norm=norm)
    return pixels


@styled
def class_map(labels: Any, scheme: ClassScheme, ax: Axes | None = None, title: str = "") -> Figure:
    """Draw a map of classes with the legend of those that it has, beside it.

    Args:
        labels: (y, x) uint8 class indices; 255 is drawn grey.
        scheme: The classes.
        ax: Where to draw.
        title: Title of the picture.
    """
    ax = axes_of(ax, 6.6, 4.8)
    pixels = draw_classes(ax, as_map(labels), scheme)
    return finish(ax, legend="beside", handles=legend_handles(pixels, scheme), title=title)


@styled
def compare_maps(maps: Sequence[tuple[str, Any]], scheme: ClassScheme, columns: int = 3) -> Figure:
    """Draw maps of the same classes side by side with one legend.

    Args:
        maps: Titles and class maps (y, x).
        scheme: The classes.
        columns: Panels in a row.
    """
    figure, axes = panels(len(maps), columns, 3.5, 3.5, sharex=True, sharey=True)
    seen = []
    for ax, (title, labels) in zip(axes, maps, strict=True):
        seen.append(np.unique(draw_classes(ax, as_map(labels), scheme)))
        ax.set_title(title)
        ax.label_outer()
    roomy(figure)
    handles = legend_handles(np.concatenate(seen), scheme)
    longest = max(len(str(handle.get_label())) for handle in handles)
    fitting = int(figure.get_figwidth() / (0.45 + 0.07 * longest))  # inches of a mark and of a letter
    columns = max(1, min(len(handles), 6, fitting))
    further = max(0, -(-len(handles) // columns) - 2)
    figure.set_figheight(figure.get_figheight() + 0.21 * further)  # so that no panel shrinks
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)
    return figure


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
    limits = (robust_limits if colour else percentile_limits)(shown.to_numpy())
    for one, ax in zip(chosen, axes, strict=True):
        title = f"{pd.Timestamp(one['time'].item()):%d %B %Y}"
        if colour:
            rgb(one, ax=ax, limits=limits, title=title)
        else:
            index_map(one.isel(band=0), ax=ax, label=bands[0], limits=limits, title=title)
    return figure


@styled
def split_map(table: pd.DataFrame, column: str = "split", ax: Axes | None = None, title: str = "") -> Axes:
    """Draw the samples of each split where they lie.

    Args:
        table: A row a sample with ``x`` and ``y`` in metres.
        column: Column with "train", "validation" and "test"; other values are left out.
        ax: Where to draw.
        title: Title of the picture.
    """
    ax = axes_of(ax, 4.6, 4.8)
    left, bottom = table["x"].min(), table["y"].min()
    for split, color in SPLITS.items():
        rows = table[table[column].astype(str) == split]
        at = ((rows["x"] - left) / 1000, (rows["y"] - bottom) / 1000)
        ax.scatter(*at, s=3, color=color, linewidths=0, label=f"{split} ({len(rows):,})")
    ax.set(xlabel="East (km)", ylabel="North (km)", aspect="equal", title=title or column)
    ax.legend(**LEGENDS["stacked"], markerscale=3)
    return ax


@styled
def change_map(cases: Any, title: str = "Change against the labels") -> Figure:
    """Draw what a new map made of an old one, with the share of the map of each case in the legend.

    Args:
        cases: (y, x) indices of :data:`eolab.evaluation.change.CASES`.
        title: Title of the picture.
    """
    ax = axes_of(None, 7.4, 4.8)
    draw_classes(ax, as_map(cases), CASES)
    table = case_table(cases)
    handles = legend_handles(cases, CASES)
    for handle, name, share in zip(handles, table["case"], table["share"], strict=True):
        handle.set_label(f"{100 * share:.1f} %  {name}")
    return finish(ax, legend="beside", handles=handles, heading="Share of the map", title=title)
