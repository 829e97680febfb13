"""Reference points: where they lie, their image chips, and the accuracies and areas that they give."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread, imsave

from eolab.data.reference_points import BLOCK_PX
from eolab.data.schemes import ClassScheme
from eolab.plots.geometry import map_scale
from eolab.plots.maps import TRUE_COLOUR, class_map, robust_limits, shaded
from eolab.plots.style import GREY, OKABE_ITO, axes_of, figure_of, finish, name_rows, panels, styled

FAST: dict[str, Any] = {"compress_level": 3}  # of the PNG files
FRAME = (255, 230, 0)  # yellow: seen on green, brown and blue


@styled
def sample_map(labels: xr.DataArray, points: pd.DataFrame, scheme: ClassScheme, title: str = "") -> Figure:
    """Draw points on a class map.

    Args:
        labels: Class indices (y, x) with coordinates.
        points: Rows with a geometry in the reference system of the map.
        scheme: The classes.
        title: Title of the picture.
    """
    ax = axes_of(None, 7.0, 5.2)
    class_map(labels, scheme, ax, title or f"{len(points):,} points")
    scale = map_scale(labels)
    x, y = (np.array([getattr(point, axis) for point in points.geometry]) * scale for axis in ("x", "y"))
    ax.scatter(x, y, s=9, facecolors="white", edgecolors="black", linewidths=0.7)
    return figure_of(ax)


@styled
def class_areas(
    table: pd.DataFrame, columns: dict[str, str], unit: str = "ha", ax: Axes | None = None
) -> Figure:
    """Draw estimated class areas with their intervals beside other areas of the same classes.

    Args:
        table: Columns class, area, area_low, area_high and those of ``columns``.
        columns: What further columns of areas are, such as ``{"mapped": "Pixels of the map"}``.
        unit: Unit of the areas.
        ax: Where to draw.
    """
    ax = axes_of(ax, 7.0, 0.9 + 0.32 * len(table))
    rows = np.arange(len(table))
    ends = [(table["area"] - table["area_low"]).fillna(0), (table["area_high"] - table["area"]).fillna(0)]
    style: dict[str, Any] = {"fmt": "o", "color": OKABE_ITO[0], "capsize": 3, "markersize": 5}
    ax.errorbar(table["area"], rows, xerr=ends, label="Estimated, with 95 % interval", **style)
    marks = zip(columns.items(), ("|", "x", "+"), (OKABE_ITO[5], "black", GREY), strict=False)
    for (column, name), mark, color in marks:
        ax.scatter(table[column], rows, marker=mark, s=70, color=color, label=name, zorder=3)
    name_rows(ax, table["class"])
    return finish(ax, grid="x", legend="beside", xlabel=f"Area ({unit})")


@styled
def accuracy_by_bins(table: pd.DataFrame, xlabel: str, ax: Axes | None = None) -> Figure:
    """Draw the accuracy in classes of a quantity, with intervals and numbers of points.

    Args:
        table: Result of :func:`eolab.evaluation.areas.by_bins`.
        xlabel: The quantity, with its unit.
        ax: Where to draw.
    """
    ax = axes_of(ax, 6.2, 3.6)
    places = np.arange(len(table))
    ends = [(table["accuracy"] - table["low"]).fillna(0), (table["high"] - table["accuracy"]).fillna(0)]
    ax.errorbar(places, table["accuracy"], yerr=ends, fmt="o", color=OKABE_ITO[0], capsize=3)
    named = [
        f"from {low:g}" if np.isinf(high) else f"{low:g}–{high:g}"
        for low, high in zip(table["low_edge"], table["high_edge"], strict=True)
    ]
    ticks = [f"{name}\nn = {n:,}" for name, n in zip(named, table["n"], strict=True)]
    ax.set_xticks(places, ticks)
    return finish(ax, grid="y", xlabel=xlabel, ylabel="Share of the map that is right", ylim=(0, 1.02))


# === Image chips ===


def write_chips(
    image: xr.DataArray, points: pd.DataFrame, folder: str | Path, radius: int = 15, scale: int = 4
) -> list[str]:
    """Write one picture a point: its surroundings on each date side by side, with its pixel framed.

    The pictures of a date have the same limits, so that they can be compared. Images are read in squares of
    the scene, each once; in memory are the chips and one square.

    Args:
        image: (time, band, y, x) of the dates to show, lazy or not, in true colour where it has these bands,
            else its first band in grey.
        points: Rows with id, row and col.
        folder: Where to write ``<id>.png``; made if it is not there.
        radius: Pixels beside the point's own.
        scale: Side of a pixel in the picture.

    Returns:
        The names of the files, in the order of the points.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    bands = [str(band) for band in image["band"].to_numpy()]
    image = image.sel(band=list(TRUE_COLOUR) if set(TRUE_COLOUR) <= set(bands) else bands[:1])
    image = image.transpose("time", "y", "x", "band")
    names = [f"{number:05d}.png" for number in points["id"]]
    rows, cols = (points[name].to_numpy() for name in ("row", "col"))
    side = 2 * radius + 1
    shape = (len(points), image.sizes["time"], side, side, image.sizes["band"])
    chips = np.full(shape, np.nan, np.float32)
    for top, left in sorted(set(zip(rows // BLOCK_PX, cols // BLOCK_PX, strict=True))):
        own = np.flatnonzero((rows // BLOCK_PX == top) & (cols // BLOCK_PX == left))
        row, col = (max(0, int(axis[own].min()) - radius) for axis in (rows, cols))
        last_row, last_col = (int(axis[own].max()) + radius + 1 for axis in (rows, cols))
        part = np.asarray(image[:, row:last_row, col:last_col], np.float32)
        part = np.pad(part, ((0, 0), (radius, radius), (radius, radius), (0, 0)), constant_values=np.nan)
        for number in own:
            at_row, at_col = rows[number] - row, cols[number] - col
            chips[number] = part[:, at_row : at_row + side, at_col : at_col + side]
    limits = [robust_limits(chips[:, date]) for date in range(shape[1])]
    for name, chip in zip(names, chips, strict=True):
        colours = [shaded(one, ends) for one, ends in zip(chip, limits, strict=True)]
        imsave(folder / name, _framed(np.stack(colours), radius, scale), pil_kwargs=FAST)
    return names


def _framed(chip: np.ndarray, radius: int, scale: int) -> np.ndarray:
    """Return a chip (time, y, x, 3) as one picture, uint8, with a frame around the pixel in the middle."""
    pictures = np.round(255 * chip).astype(np.uint8).repeat(scale, axis=1).repeat(scale, axis=2)
    start, end = radius * scale - 1, (radius + 1) * scale
    for edge in (start, end):
        pictures[:, edge, start : end + 1] = FRAME
        pictures[:, start : end + 1, edge] = FRAME
    gap = np.full((pictures.shape[1], scale, 3), 255, np.uint8)
    return np.concatenate([part for one in pictures for part in (one, gap)][:-1], axis=1)


@styled
def contact_sheet(files: Sequence[str | Path], titles: Sequence[str], columns: int = 4) -> Figure:
    """Draw pictures of points on one page.

    Args:
        files: Pictures, as of :func:`write_chips`.
        titles: Title of each.
        columns: Pictures in a row.
    """
    pictures = [imread(file) for file in files]
    shape = pictures[0].shape
    width = 10.0 / min(columns, len(files))
    figure, axes = panels(len(files), columns, width, width * shape[0] / shape[1] + 0.25)
    for ax, pixels, title in zip(axes, pictures, titles, strict=True):
        ax.imshow(pixels)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        ax.set_title(title, fontsize=8.5, fontweight="normal")
    return figure
