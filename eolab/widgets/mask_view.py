"""What a demo of masks shows of one patch: its probability, the area above a threshold, a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy import ndimage

from eolab import plots
from eolab.core.errors import DataError, ParameterError, did_you_mean
from eolab.plots.galleries import PREDICTED, outline, stretched
from eolab.plots.style import roomy

SIZE_IN = (9.0, 4.2)
NEIGHBOURS = np.ones((3, 3), bool)  # pixels that touch at sides or corners are one object

Predict = Callable[[Any], np.ndarray]


@dataclass(frozen=True)
class Measured:
    """What a threshold makes of a probability.

    Attributes:
        pixels: Pixels at or above the threshold.
        share: Their share of the patch.
        area_m2: Their area.
        objects: How many there are, pixels that touch at sides or corners being one.
        name: What one object is called.
        plural: What several are called.
    """

    pixels: int
    share: float
    area_m2: float
    objects: int
    name: str = "object"
    plural: str = "objects"

    def __str__(self) -> str:
        count = f"{self.objects} {self.name if self.objects == 1 else self.plural}"
        hectares = self.area_m2 / 10_000
        return (
            f"{self.area_m2:,.0f} m² ({hectares:,.2f} ha, {100 * self.share:.1f} % of the patch) in {count}"
        )


def measure(
    probability: np.ndarray,
    threshold: float,
    pixel_area_m2: float,
    names: tuple[str, str] = ("object", "objects"),
) -> Measured:
    """Return area and number of objects above a threshold.

    Args:
        probability: (H, W) from 0 to 1.
        threshold: Probability from which a pixel counts.
        pixel_area_m2: Area of a pixel.
        names: What one object and several objects are called.
    """
    mask = probability >= threshold
    pixels = int(mask.sum())
    objects = int(ndimage.label(mask, structure=NEIGHBOURS)[1])
    return Measured(pixels, pixels / mask.size, pixels * pixel_area_m2, objects, *names)


@dataclass(frozen=True)
class PatchSource:
    """Where the patches of a demo come from, and what they show.

    Attributes:
        bands: Names of the bands of an image, in its order.
        open_file: Function of the content and the name of a file that returns a patch with ``image``
            (H, W, bands), ``pixel_area_m2`` and ``crs``; see
            :func:`eolab.data.layouts.landslide4sense.open_patch`.
        class_name: What one object of the class is called.
        plural: What several are called.
        colours: Bands that are drawn red, green and blue.
    """

    bands: Sequence[str]
    open_file: Callable[[bytes, str], Any]
    class_name: str = "object"
    plural: str = "objects"
    colours: Sequence[str] = ("B04", "B03", "B02")


class PatchReader:
    """Patches by name, those that a user brings too; each is predicted once.

    Args:
        predict: Function of what `prepare` returns; gives the probability of the class (H, W).
        patches: Images (H, W, bands) by name, or functions that return one.
        source: What the images are.
        prepare: Function of an image (H, W, bands) that returns what `predict` takes; the image itself unless
            given.
        pixel_area_m2: Area of a pixel, of patches that do not know their own.

    Raises:
        ParameterError: If there are no patches.
    """

    def __init__(
        self,
        predict: Predict,
        patches: Mapping[str, np.ndarray | Callable[[], np.ndarray]],
        source: PatchSource,
        prepare: Callable[[np.ndarray], Any] | None,
        pixel_area_m2: float,
    ) -> None:
        if not patches:
            raise ParameterError("The demo has no patches: give at least one image by its name.")
        if not pixel_area_m2 > 0:
            raise ParameterError(f"pixel_area_m2 is {pixel_area_m2}: expected square metres above 0.")
        self.predict, self.prepare, self.source = predict, prepare, source
        self.patches = dict(patches)
        self.areas = dict.fromkeys(self.patches, float(pixel_area_m2))
        self.default_area = float(pixel_area_m2)
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
        patch = self.source.open_file(content, name)
        self._known[name] = (patch.image, self._predicted(name, patch.image))
        self.patches[name] = patch.image
        self.areas[name] = patch.pixel_area_m2 if patch.crs else self.default_area
        return name

    def read(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return image (H, W, bands) and probability (H, W) of a patch.

        Raises:
            ParameterError: If there is no such patch.
            DataError: If it is no image of these bands, or what is predicted is no probability.
        """
        if name not in self.patches:
            raise ParameterError(f"There is no patch {name!r}: {did_you_mean(name, self.patches)}")
        if name not in self._known:
            given, bands = self.patches[name], self.source.bands
            image = np.asarray(given() if callable(given) else given, np.float32)
            if image.ndim != 3 or image.shape[-1] != len(bands):
                raise DataError(
                    f"{name} has shape {image.shape}: expected (H, W, {len(bands)}) with the bands "
                    f"{', '.join(bands)}."
                )
            self._known[name] = (image, self._predicted(name, image))
        return self._known[name]

    def _predicted(self, name: str, image: np.ndarray) -> np.ndarray:
        given = image if self.prepare is None else self.prepare(image)
        probability = np.asarray(self.predict(given), np.float32)
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
        names = (self.source.class_name, self.source.plural)
        return measure(self.read(name)[1], threshold, self.areas[name], names)

    def figure(self, name: str, threshold: float) -> Figure:
        """Return true colour with the outline of the mask, and the probability beside it."""
        image, probability = self.read(name)
        with plots.style():
            figure = Figure(figsize=SIZE_IN, dpi=100, layout="constrained")
            left, right = figure.subplots(1, 2)
            roomy(figure)
            shown = [list(self.source.bands).index(band) for band in self.source.colours]
            left.imshow(stretched(image[..., shown]))
            outline(left, probability >= threshold, PREDICTED)
            left.set_title(f"{name}: probability of at least {threshold:.2f}")
            drawn = right.imshow(probability, cmap="viridis", vmin=0, vmax=1)
            right.set_title(f"Probability of {self.source.class_name}")
            for ax in (left, right):
                ax.set_xticks([])
                ax.set_yticks([])
                ax.spines[:].set_visible(False)
            bar = figure.colorbar(drawn, ax=right, shrink=0.9, pad=0.02)
            bar.ax.axhline(threshold, color="white", linewidth=2)
            left.set_xlabel(str(self.measure(name, threshold)))
        return figure
