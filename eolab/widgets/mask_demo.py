"""A demo of a segmentation network: choose or bring a patch, move the threshold, see mask and area."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
import numpy as np
from matplotlib.figure import Figure
from scipy import ndimage

from eolab import plots
from eolab.core.errors import DataError, EolabError, ParameterError, check_known
from eolab.core.progress import batch_run
from eolab.plots.galleries import PREDICTED, outline
from eolab.plots.maps import stretched
from eolab.plots.style import roomy
from eolab.widgets.panel import Panel, quiet_in_batch_runs

FILES = ".h5,.hdf5,.tif,.tiff"
SIZE_IN = (9.0, 4.2)
NEIGHBOURS = np.ones((3, 3), bool)  # pixels that touch at sides or corners are one object


@dataclass(frozen=True)
class Measured:
    """What a threshold makes of a probability.

    Attributes:
        pixels: Pixels at or above the threshold.
        share: Their share of the patch.
        area_m2: Their area.
        objects: How many there are, pixels that touch at sides or corners being one.
        name: What so many objects are called.
    """

    pixels: int
    share: float
    area_m2: float
    objects: int
    name: str

    def __str__(self) -> str:
        hectares = self.area_m2 / 10_000
        return (
            f"{self.area_m2:,.0f} m² ({hectares:,.2f} ha, {100 * self.share:.1f} % of the patch) in "
            f"{self.objects} {self.name}"
        )


@dataclass
class PatchReader:
    """Patches by name, those that a user brings too; each is predicted once.

    Attributes:
        predict: Function of an image (H, W, bands) that returns the probability of the class (H, W).
        patches: Images (H, W, bands) by name, or functions that return one.
        bands: Names of the bands of an image, in its order.
        open_file: Function of the content and the name of a file that returns a patch with ``image``
            (H, W, bands), ``pixel_area_m2`` and ``crs``, such as a layout's ``open_patch``.
        class_name: What one object of the class is called.
        plural: What several are called.
        pixel_area_m2: Area of a pixel; files with a CRS have their own.
        rgb_bands: Bands that are drawn red, green and blue.

    Raises:
        ParameterError: If there are no patches, or the area is not above 0.
    """

    predict: Callable[[np.ndarray], np.ndarray]
    patches: dict[str, np.ndarray | Callable[[], np.ndarray]]
    bands: Sequence[str]
    open_file: Callable[[bytes, str], Any]
    class_name: str = "object"
    plural: str = "objects"
    pixel_area_m2: float = 100.0
    rgb_bands: Sequence[str] = plots.TRUE_COLOUR

    def __post_init__(self) -> None:
        if not self.patches:
            raise ParameterError("The demo has no patches: give at least one image by its name.")
        if not self.pixel_area_m2 > 0:
            raise ParameterError(f"pixel_area_m2 is {self.pixel_area_m2}: expected square metres above 0.")
        self.patches, self.areas = dict(self.patches), dict.fromkeys(self.patches, self.pixel_area_m2)
        self._known: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    @property
    def names(self) -> list[str]:
        """Names of all patches."""
        return list(self.patches)

    def add(self, name: str, content: bytes) -> str:
        """Add the content of an h5 or GeoTIFF file, and predict it.

        Returns:
            Its name.

        Raises:
            DataError: If it is not a patch, or the model cannot take it; then nothing is added.
        """
        patch = self.open_file(content, name)
        self._known[name] = (patch.image, self._predicted(name, patch.image))
        self.patches[name] = patch.image
        self.areas[name] = patch.pixel_area_m2 if patch.crs else self.pixel_area_m2
        return name

    def read(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return image (H, W, bands) and probability (H, W) of a patch.

        Raises:
            ParameterError: If there is no such patch.
            DataError: If it is no image of these bands, or what is predicted is no probability.
        """
        check_known(name, self.patches, f"There is no patch {name!r}")
        if name not in self._known:
            given = self.patches[name]
            image = np.asarray(given() if callable(given) else given, np.float32)
            if image.ndim != 3 or image.shape[-1] != len(self.bands):
                raise DataError(
                    f"{name} has shape {image.shape}: expected (H, W, {len(self.bands)}) with the bands "
                    f"{', '.join(self.bands)}."
                )
            self._known[name] = (image, self._predicted(name, image))
        return self._known[name]

    def _predicted(self, name: str, image: np.ndarray) -> np.ndarray:
        probability = np.asarray(self.predict(image), np.float32)
        if probability.shape != image.shape[:2]:
            raise DataError(
                f"The prediction of {name} has shape {probability.shape}: expected {image.shape[:2]}, the "
                "probability of the class in each pixel."
            )
        if not (np.isfinite(probability).all() and probability.min() >= 0 and probability.max() <= 1.0001):
            raise DataError(
                f"The prediction of {name} is not a probability: it goes from {probability.min():.3g} to "
                f"{probability.max():.3g}, expected 0 to 1; is the patch scaled as the training patches?"
            )
        return probability

    def measure(self, name: str, threshold: float) -> Measured:
        """Return area and number of objects of a patch at a threshold."""
        mask = self.read(name)[1] >= threshold
        pixels, objects = int(mask.sum()), int(ndimage.label(mask, structure=NEIGHBOURS)[1])
        word = self.class_name if objects == 1 else self.plural
        return Measured(pixels, pixels / mask.size, pixels * self.areas[name], objects, word)

    def figure(self, name: str, threshold: float) -> Figure:
        """Return true colour with the outline of the mask, and the probability beside it."""
        image, probability = self.read(name)
        with plots.style():
            figure = Figure(figsize=SIZE_IN, dpi=100, layout="constrained")
            left, right = figure.subplots(1, 2)
            roomy(figure)
            left.imshow(stretched(plots.true_colour(image, self.bands, self.rgb_bands)))
            outline(left, probability >= threshold, PREDICTED)
            left.set_title(f"{name}: probability of at least {threshold:.2f}")
            drawn = right.imshow(probability, cmap="viridis", vmin=0, vmax=1)
            right.set_title(f"Probability of {self.class_name}")
            for ax in (left, right):
                ax.set(xticks=[], yticks=[])
                ax.spines[:].set_visible(False)
            bar = figure.colorbar(drawn, ax=right, shrink=0.9, pad=0.02)
            bar.ax.axhline(threshold, color="white", linewidth=2)
            left.set_xlabel(str(self.measure(name, threshold)))
        return figure


class MaskDemo(Panel):
    """A panel with a choice of patches, a field for files, a threshold, the picture and the area.

    It works in JupyterLab and as a page of Voilà.

    Attributes:
        patch: Dropdown: names of the patches, those brought included.
        upload: Takes one h5 or GeoTIFF file.
        threshold: Slider: probability from which a pixel counts as the class.
        area: Label: area and number of objects.

    The other attributes are those of :class:`~eolab.widgets.panel.Panel`.

    Example:
        >>> reader = PatchReader(predict, {"patch 12": image}, bands, open_patch, "lake", "lakes")
        >>> demo = MaskDemo(reader)
        >>> demo.threshold.value = 0.7
        >>> demo.area.value
        '12,300 m² (1.23 ha, 0.8 % of the patch) in 2 lakes'
        >>> demo.figure("patch 12")  # the same as a static figure, for a report
    """

    css_class = "eolab-mask-demo"
    label_px = 70

    def __init__(self, reader: PatchReader, threshold: float = 0.5) -> None:
        """Make the panel and show the first patch.

        Args:
            reader: The patches to choose from, and what predicts them.
            threshold: Where the slider starts.

        Raises:
            DataError: If the first patch cannot be shown.
        """
        self.reader = reader
        self._shown = self.reader.names[0]
        with quiet_in_batch_runs():
            self._make_controls(threshold)
        self._draw()
        self._listen(self.patch, self._chosen)
        self._listen(self.threshold, self._draw)
        self._listen(self.upload, self._brought)

    def _make_controls(self, threshold: float) -> None:
        self.patch = self._control(widgets.Dropdown, "Patch", 340, options=self.reader.names)
        self.upload = widgets.FileUpload(
            accept=FILES, multiple=False, description="Your own .h5 or GeoTIFF", layout={"width": "220px"}
        )
        steps = {"value": threshold, "min": 0.0, "max": 1.0, "step": 0.01, "readout_format": ".2f"}
        slider = widgets.FloatSlider
        self.threshold = self._control(slider, "Threshold", 560, **steps, continuous_update=False)
        self.area = self._make_picture("area", width_px=900)
        self._lay_out([self.patch, self.upload], self.threshold, self.area, self.message, self.image)

    def _guarded(self, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        """Run a callback so that its error is seen: as a sentence, in the panel, or raised in batch runs."""

        @functools.wraps(callback)
        def told(change: Any) -> None:
            try:
                callback(change)
                self.message.value = ""
            except EolabError as error:
                if batch_run():
                    raise
                self.message.value = str(error)

        return super()._guarded(told)

    def _chosen(self, change: Any) -> None:
        self._show(str(change["new"]))

    def _brought(self, change: Any) -> None:
        if change["new"]:
            (file,) = change["new"]
            try:
                self.add(str(file["name"]), bytes(file["content"]))
            finally:
                self._quietly(self.upload, value=())  # the same file can be brought again

    def add(self, name: str, content: bytes) -> None:
        """Add the content of an h5 or GeoTIFF file to the choice, and show it.

        Args:
            name: Name of the file.
            content: Its bytes.

        Raises:
            DataError: If it is not a patch that the network takes; the patch shown stays.
        """
        self.reader.add(name, content)
        self._quietly(self.patch, options=self.reader.names)
        self._show(name)

    def _show(self, name: str) -> None:
        """Show a patch; where it cannot be read, the one shown stays."""
        before, self._shown = self._shown, name
        try:
            self._draw()
        except Exception:
            self._shown = before
            raise
        finally:
            self._quietly(self.patch, value=self._shown)

    def _draw(self, change: Any = None) -> None:
        self.area.value = str(self.measured)
        if batch_run():
            return  # nobody looks, and the report has the figure
        figure = self.figure()
        figure.axes[0].set_xlabel("")  # the label above says it
        self._show_picture(figure, dpi=150)

    @property
    def measured(self) -> Measured:
        """Area and number of objects of the patch shown, at the threshold shown."""
        return self.reader.measure(self._shown, float(self.threshold.value))

    def figure(self, name: str = "") -> Figure:
        """Return what the panel shows as a static figure, to stand in a report.

        Args:
            name: The patch; the one shown unless told.

        Raises:
            ParameterError: If there is no such patch.
        """
        return self.reader.figure(name or self._shown, float(self.threshold.value))
