"""Explore sequences of SEN12-FLOOD: an image of one sensor, the other sensor's nearest one, and the place."""

import textwrap
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from eolab import plots
from eolab.core.errors import EolabError, ParameterError, check_known
from eolab.core.progress import batch_run
from eolab.data.layouts import sen12flood as reader
from eolab.plots.maps import NODATA_COLOR, shaded
from eolab.plots.style import GREY, OKABE_ITO, figure_of, roomy
from eolab.studies.flood.sensors import Optical, Radar
from eolab.widgets.panel import Panel, quiet_in_batch_runs

SIZE_IN = (12.0, 4.3)
REMEMBERED = 16
NAMES = {"S1": "Sentinel-1", "S2": "Sentinel-2"}
BANDS = {"S1": ("VH", "VV"), "S2": ("RGB", *reader.OPTICAL_BANDS)}
LIMITS = {"VH": (-30.0, -5.0), "VV": (-25.0, 0.0), "RGB": (0.0, 0.3)}
REFLECTANCE = (0.0, 0.5)  # of a single band
KM_PER_DEGREE = 111.32
NEIGHBOURS = 12  # sequences that the map shows around one
NO_PLACE = -1


@dataclass(frozen=True)
class Picture:
    """What reading an image gave.

    Attributes:
        band: Polarisation, band or "RGB".
        values: (y, x) in dB or reflectance, (y, x, 3) for RGB, NaN without a value; None where it cannot be
            shown.
        reason: Which files cannot be used and why, empty where all can.
    """

    band: str
    values: np.ndarray | None
    reason: str = ""

    @property
    def complaint(self) -> str:
        """What to say of an image that cannot be shown, or not wholly; empty otherwise."""
        if not self.reason:
            return ""
        return f"{self.band} is {'not shown' if self.values is None else 'shown in part'}: {self.reason}"


class SequenceReader:
    """The images of each sequence by date; the last few that were read are kept.

    Args:
        root: Folder of the data set.
        images: Result of :func:`eolab.data.layouts.sen12flood.index`, or rows of it; those without a file
            are left out.
        size: Height and width that images are read at.

    Raises:
        DataError: If a list is missing or damaged, or a sequence has no polygon.
        ParameterError: If no image has a file.
    """

    def __init__(self, root: str | Path, images: pd.DataFrame, size: tuple[int, int] = (256, 256)) -> None:
        self.root, self.images, self.size = Path(root), images, size
        self.passes = reader.passes(images).sort_values("date", kind="stable", ignore_index=True)
        if self.passes.empty:
            raise ParameterError("No image of the table has a file: give the whole index of the data set.")
        with_files = set(self.passes["sequence"])
        self.sequences = [str(sequence) for sequence in images["sequence"].unique() if sequence in with_files]
        rings = reader.sequences(root, images)["ring"]
        self.rings: dict[str, np.ndarray] = {str(sequence): ring for sequence, ring in rings.items()}
        self._remembered = lru_cache(REMEMBERED)(self._read)

    def of(self, sequence: str, sensor: str) -> pd.DataFrame:
        """Return the images of a sequence and sensor by date: date, flooded, orbit, rows and others."""
        own = (self.passes["sequence"] == sequence) & (self.passes["sensor"] == sensor)
        return self.passes[own].reset_index(drop=True)

    def read(self, image: Any, band: str) -> Picture:
        """Return a band of an image, a row of :meth:`of`, or "RGB"."""
        return self._remembered(str(image.rows), str(image.sensor), band)

    def _read(self, rows: str, sensor: str, band: str) -> Picture:
        kind = Radar((band,)) if sensor == "S1" else Optical(plots.TRUE_COLOUR if band == "RGB" else (band,))
        slices = reader.slices_of(self.images, [rows])
        try:
            series, rejected = reader.read_series(self.root, slices, kind.read, self.size, 0.0)
        except (EolabError, OSError) as error:
            return Picture(band, None, str(error))
        if not series.sizes["time"]:
            return Picture(band, None, _together(rejected) or "no file could be read")
        values = kind.compute(series["image"])[0]  # (H, W, C)
        return Picture(band, values if band == "RGB" else values[..., 0], _together(rejected))


def _together(rejected: list[dict[str, str]]) -> str:
    """Return files and reasons, files with one reason counted together."""
    files: dict[str, list[str]] = {}
    for one in rejected:
        reason = one["reason"].replace(Path(one["file"]).name, "the file")  # GDAL names it again
        files.setdefault(reason, []).append(one["file"])
    return "; ".join(
        f"{names[0]}{f' (and {len(names) - 1} more)' if len(names) > 1 else ''} {reason}"
        for reason, names in files.items()
    )


class SequenceExplorer(Panel):
    """A panel with a choice of sequence, sensor and band, a date slider, and three pictures.

    They are the image chosen, the other sensor's image of the nearest date, and a map of the sequences
    around. Colours mean the same at every date and sequence. A message says why an image cannot be read.

    Attributes:
        sequence: Dropdown over the sequences.
        sensor: Buttons: Sentinel-1 or Sentinel-2.
        band: Dropdown: polarisations in dB, or RGB and bands in reflectance.
        date: Slider over the images of the sequence and sensor by date.
        title: Label: sequence, sensor, band, date and label of the image.
        message: Label: why an image cannot be shown, empty otherwise.
        image: The pictures, PNG.

    Example:
        >>> explorer = SequenceExplorer("data/sen12flood", images, sequence="0063")
        >>> explorer.date.value = 3
        >>> explorer.title.value
        'Sequence 0063 · Sentinel-1 VH, 2019-02-21 · label: flooded'
        >>> explorer.figure()  # the same as a static figure, for a report
    """

    css_class = "eolab-sequence-explorer"

    def __init__(
        self, root: str | Path, images: pd.DataFrame, sequence: str = "", size: tuple[int, int] = (256, 256)
    ) -> None:
        """Make the panel and show the first image of the first sequence.

        Args:
            root: Folder of the data set.
            images: Result of :func:`eolab.data.layouts.sen12flood.index`.
            sequence: Name of the sequence to begin with.
            size: Height and width that images are read at.

        Raises:
            DataError: If a list cannot be read.
            ParameterError: If there is no such sequence, or no image has a file.
        """
        self.reader = SequenceReader(root, images, size)
        if sequence:
            check_known(sequence, self.reader.sequences, f"There is no sequence {sequence!r}")
        self._chosen_bands = {sensor: bands[0] for sensor, bands in BANDS.items()}
        with quiet_in_batch_runs():
            self._make_controls(sequence or self.reader.sequences[0])
        self._fill_dates(None)
        self._listen(self.sequence, self._other_sequence)
        self._listen(self.sensor, self._other_sensor)
        self._listen(self.band, self._other_band)
        self._listen(self.date, self._draw)
        self._draw()

    # === Panel ===

    def _make_controls(self, sequence: str) -> None:
        dropdown, sensors = widgets.Dropdown, [(name, sensor) for sensor, name in NAMES.items()]
        self.sequence = self._control(
            dropdown, "Sequence", 200, options=self.reader.sequences, value=sequence
        )
        self.sensor = widgets.ToggleButtons(options=sensors, style={"button_width": "100px"})
        self.band = self._control(dropdown, "Band", 160, options=BANDS["S1"])
        empty = {"options": [("", NO_PLACE)], "continuous_update": False}
        self.date = self._control(widgets.SelectionSlider, "Date", 620, **empty)
        self.title = self._make_picture("title", width_px=1100)
        choice = [self.sequence, self.sensor, self.band]
        self._lay_out(choice, self.date, self.title, self.message, self.image)

    def _other_sequence(self, change: Any) -> None:
        self._fill_dates(None)
        self._draw()

    def _other_sensor(self, change: Any) -> None:
        before = self.reader.of(str(self.sequence.value), str(change["old"]))
        place = self._place
        sensor = str(change["new"])
        self._quietly(self.band, options=BANDS[sensor], value=self._chosen_bands[sensor])
        self._fill_dates(before["date"].iloc[place] if place != NO_PLACE else None)
        self._draw()

    def _other_band(self, change: Any) -> None:
        self._chosen_bands[str(self.sensor.value)] = str(change["new"])
        self._draw()

    def _fill_dates(self, near: Any) -> None:
        """Give the slider the images of the sequence and sensor; begin with that nearest to a day."""
        images = self.reader.of(str(self.sequence.value), str(self.sensor.value))
        names = [f"{one.date:%Y-%m-%d} {str(one.orbit).lower()}".strip() for one in images.itertuples()]
        options = [(name, place) for place, name in enumerate(names)] or [("no image", NO_PLACE)]
        start = _nearest(images, near) if near is not None else options[0][1]
        self._quietly(self.date, options=options, value=start)

    @property
    def _place(self) -> int:
        return int(self.date.value)

    # === What is shown ===

    def _shown(self) -> list[tuple[str, Picture]]:
        """Return title and picture of the image chosen and of the other sensor's nearest one."""
        sequence, sensor = str(self.sequence.value), str(self.sensor.value)
        other = "S2" if sensor == "S1" else "S1"
        images, others = self.reader.of(sequence, sensor), self.reader.of(sequence, other)
        if self._place == NO_PLACE:
            return [self._absent(sensor), self._pictured(others.iloc[0])]
        image = images.iloc[self._place]
        if others.empty:
            return [self._pictured(image), self._absent(other)]
        nearest = others.iloc[_nearest(others, image.date)]
        return [self._pictured(image), self._pictured(nearest, _apart((nearest.date - image.date).days))]

    def _pictured(self, image: Any, apart: str = "") -> tuple[str, Picture]:
        band = self._chosen_bands[image.sensor]
        label = "label: flooded" if image.flooded else "label: dry"
        facts = " · ".join(filter(None, (apart, label)))
        title = f"{NAMES[image.sensor]} {band}, {image.date:%Y-%m-%d}\n{facts}"
        return title, self.reader.read(image, band)

    def _absent(self, sensor: str) -> tuple[str, Picture]:
        band = self._chosen_bands[sensor]
        reason = f"sequence {self.sequence.value} has no image of {NAMES[sensor]} with a file"
        return f"{NAMES[sensor]} {band}", Picture(band, None, reason)

    def _draw(self, change: Any = None) -> None:
        shown = self._shown()
        self.title.value = f"Sequence {self.sequence.value} · {shown[0][0]}".replace("\n", " · ")
        self.message.value = "; ".join(filter(None, (picture.complaint for _, picture in shown)))
        if batch_run():
            return  # nobody looks, and the report has the figure
        self._show_picture(self.figure(), dpi=110)

    def figure(self) -> Figure:
        """Return what the panel shows as a static figure for a report."""
        sequence = str(self.sequence.value)
        extent = _extent_km(self.reader.rings[sequence])
        with plots.style():
            figure = Figure(figsize=SIZE_IN, dpi=100, layout="constrained")
            axes = figure.subplots(1, 3)
            roomy(figure)
            for ax, (title, picture) in zip(axes, self._shown(), strict=False):
                _draw_picture(ax, title, picture, extent)
            _draw_map(axes[2], self.reader.rings, sequence)
        return figure


# === Drawing ===


def _nearest(images: pd.DataFrame, day: Any) -> int:
    """Return the place of the image nearest in time, -1 where there is none."""
    if images.empty:
        return NO_PLACE
    return int((images["date"] - day).abs().to_numpy().argmin())


def _apart(days: int) -> str:
    """Return how many days another image was taken after one."""
    if not days:
        return "the same day"
    unit = "day" if abs(days) == 1 else "days"
    return f"{abs(days)} {unit} {'later' if days > 0 else 'earlier'}"


def _extent_km(ring: np.ndarray) -> tuple[float, float, float, float]:
    """Return left, right, bottom and top of a sequence in kilometres from its south-west corner."""
    (west, south), (east, north) = ring.min(axis=0), ring.max(axis=0)
    width = (east - west) * KM_PER_DEGREE * np.cos(np.deg2rad((south + north) / 2))
    return 0.0, float(width), 0.0, float((north - south) * KM_PER_DEGREE)


def _draw_picture(ax: Axes, title: str, picture: Picture, extent: tuple[float, float, float, float]) -> None:
    """Draw an image, or why there is none."""
    ax.set_title(title)
    if picture.values is None:
        text = textwrap.fill(picture.complaint, 42)
        ax.text(0.5, 0.5, text, ha="center", va="center", transform=ax.transAxes, fontsize=8)
        ax.set_axis_off()
        return
    low, high = LIMITS.get(picture.band, REFLECTANCE)
    values = picture.values
    ax.set_facecolor(NODATA_COLOR)
    ax.set(xlabel="East (km)", ylabel="North (km)")
    ax.spines[:].set_visible(True)
    if values.ndim == 3:
        ax.imshow(shaded(values, (low, high)), extent=extent)
        ax.set_xlabel(f"East (km)\nblack {low:g}, white {high:g} reflectance")
        return
    drawn = ax.imshow(np.ma.masked_invalid(values), cmap="gray", vmin=low, vmax=high, extent=extent)
    bar = figure_of(ax).colorbar(drawn, cax=ax.inset_axes((1.02, 0, 0.04, 1)), extend="both")
    bar.set_label(f"{picture.band} (dB)" if picture.band in BANDS["S1"] else f"Reflectance {picture.band}")


def _draw_map(ax: Axes, rings: dict[str, np.ndarray], sequence: str) -> None:
    """Draw the outlines of the sequences around one, its own highlighted."""
    centres = {name: (ring.min(axis=0) + ring.max(axis=0)) / 2 for name, ring in rings.items()}
    middle = centres[sequence]
    distance = np.sort([float(np.abs(centre - middle).max()) for centre in centres.values()])
    near = distance[distance < 3.0][:NEIGHBOURS]
    half = max(0.1, 1.1 * float(near.max()))
    ax.add_collection(
        PolyCollection(list(rings.values()), facecolors="none", edgecolors=GREY, linewidths=0.9)
    )
    ax.add_collection(
        PolyCollection([rings[sequence]], facecolors=OKABE_ITO[1], edgecolors=OKABE_ITO[5], linewidths=1.8)
    )
    ax.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half))
    ax.set_aspect(1 / np.cos(np.deg2rad(middle[1])))
    ax.set(xlabel="Longitude (degrees east)", ylabel="Latitude (degrees north)")
    ax.set_title(f"Sequence {sequence} and those around\n{_degrees(*middle)}")
    ax.locator_params(nbins=4)
    ax.grid(True)


def _degrees(longitude: float, latitude: float) -> str:
    """Return a place as people write it."""
    longitude = (longitude + 180) % 360 - 180
    east, north = "E" if longitude >= 0 else "W", "N" if latitude >= 0 else "S"
    return f"{abs(latitude):.2f}° {north}, {abs(longitude):.2f}° {east}"
