"""A demo of a segmentation network: choose or bring a patch, move the threshold, see mask and area."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets
import numpy as np
from matplotlib.figure import Figure

from eolab.core.errors import EolabError
from eolab.widgets.canvas import headless, quiet_when_headless
from eolab.widgets.mask_view import Measured, PatchReader, PatchSource, Predict
from eolab.widgets.panel import Panel

CSS_CLASS = "eolab-mask-demo"
FILES = ".h5,.hdf5,.tif,.tiff"


class MaskDemo(Panel):
    """A panel with a choice of patches, a field for files, a threshold, the picture and the area.

    It works in JupyterLab and as a page of Voilà.

    Attributes:
        patch: Dropdown: names of the patches, those brought included.
        upload: Takes one h5 or GeoTIFF file.
        threshold: Slider: probability from which a pixel counts as the class.
        area: Label: area and number of objects.
        message: Label: why a file or patch cannot be shown, empty otherwise.
        image: The picture, PNG.
        out: Shows errors of the panel's own code.
        panel: All of it, with the CSS class ``eolab-mask-demo``.

    Example:
        >>> demo = MaskDemo(predict, {"patch 12": image}, source)
        >>> demo.threshold.value = 0.7
        >>> demo.area.value
        '12,300 m² (1.23 ha, 0.8 % of the patch) in 2 landslides'
        >>> demo.figure("patch 12")  # the same as a static figure, for a report
    """

    def __init__(
        self,
        predict: Predict,
        patches: Mapping[str, np.ndarray | Callable[[], np.ndarray]],
        source: PatchSource,
        *,
        prepare: Callable[[np.ndarray], Any] | None = None,
        pixel_area_m2: float = 100.0,
        threshold: float = 0.5,
    ) -> None:
        """Make the panel and show the first patch.

        Args:
            predict: Function of what `prepare` returns; gives the probability of the class (H, W).
            patches: Images (H, W, bands) by name, or functions that return one.
            source: Bands of the images, the reader of files that a user brings, and the name of the class.
            prepare: Function of an image (H, W, bands) that returns what `predict` takes; the image itself
                unless given.
            pixel_area_m2: Area of a pixel; files with a CRS have their own.
            threshold: Where the slider starts.

        Raises:
            ParameterError: If there are no patches, or the area is not above 0.
            DataError: If the first patch cannot be shown.
        """
        self.reader = PatchReader(predict, patches, source, prepare, pixel_area_m2)
        self._shown = self.reader.names[0]
        with quiet_when_headless():
            self._make_controls(threshold)
            self._lay_out()
        self._draw()
        self.patch.observe(self._guarded(self._chosen), names="value")
        self.threshold.observe(self._guarded(self._moved), names="value")
        self.upload.observe(self._guarded(self._brought), names="value")

    def _make_controls(self, threshold: float) -> None:
        style = {"description_width": "70px"}
        self.patch = widgets.Dropdown(
            options=self.reader.names, description="Patch", style=style, layout={"width": "340px"}
        )
        self.upload = widgets.FileUpload(
            accept=FILES, multiple=False, description="Your own .h5 or GeoTIFF", layout={"width": "220px"}
        )
        self.threshold = widgets.FloatSlider(
            value=threshold,
            min=0.0,
            max=1.0,
            step=0.01,
            description="Threshold",
            readout_format=".2f",
            continuous_update=False,
            style=style,
            layout={"width": "560px"},
        )
        self.area, self.message = widgets.Label(), widgets.Label()
        self.area.add_class(f"{CSS_CLASS}-area")
        self.message.add_class(f"{CSS_CLASS}-message")
        self.message.style.text_color = "#b00020"
        self.image = widgets.Image(format="png", layout={"width": "900px"})
        self.out = widgets.Output()

    def _lay_out(self) -> None:
        choice = widgets.HBox([self.patch, self.upload], layout={"flex_flow": "row wrap"})
        parts = [choice, self.threshold, self.area, self.message, self.image, self.out]
        self.panel = widgets.VBox(parts)
        self.panel.add_class(CSS_CLASS)

    def _guarded(self, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        """Run a callback so that its error is seen: as a sentence, in the panel, or raised in batch runs."""

        @functools.wraps(callback)
        def told(change: Any) -> None:
            try:
                callback(change)
                self.message.value = ""
            except EolabError as error:
                if headless():
                    raise
                self.message.value = str(error)

        return super()._guarded(told)

    def _chosen(self, change: Any) -> None:
        self._show(str(change["new"]))

    def _moved(self, change: Any) -> None:
        self._draw()

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

    def _draw(self) -> None:
        self.area.value = str(self.measured)
        if headless():
            return  # nobody looks, and the report has the figure
        figure, content = self.figure(), io.BytesIO()
        figure.axes[0].set_xlabel("")  # the label above says it
        figure.savefig(content, format="png", dpi=150)
        self.image.value = content.getvalue()

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
