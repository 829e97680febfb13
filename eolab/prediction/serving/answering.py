"""From what was sent to predictions, and from these to a GeoTIFF or JSON."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from eolab.core.errors import DataError, ParameterError
from eolab.data.schemes import ClassScheme
from eolab.prediction.engines import Inputs, Shape
from eolab.prediction.mapping import geotiff
from eolab.prediction.mapping.bands import Bands, Content, ValueBand, bands_of
from eolab.prediction.mapping.windows import PatchWindows, windows
from eolab.prediction.ranges import TrainedRange
from eolab.prediction.serving import reading
from eolab.prediction.serving.reading import Upload

WINDOW = 512
YEARLY = "yearly_classification"  # a task whose series are of several years
DIGITS = 4  # of probabilities in JSON
Predict = Callable[[Inputs], np.ndarray]


@dataclass(frozen=True)
class Form:
    """How images are given to a network.

    Attributes:
        bands: Bands of the images that are sent, in this order where they have no names.
        prepare: From ``image`` (N, …, bands), NaN where there is no value, and what else was sent, to the
            network's inputs.
        content: What the network predicts.
        margin: See :class:`eolab.prediction.mapping.PatchWindows`, as overlap and fill.
        overlap: See there.
        fill: See there.
    """

    bands: tuple[str, ...]
    prepare: Callable[[Inputs], Inputs]
    content: Content
    margin: int | None = None
    overlap: int | None = None
    fill: float = 0.0


class Answer(NamedTuple):
    """What was predicted.

    Attributes:
        values: Predictions (N, K), (N, Y, K) of years or (N, H, W, K) of images.
        seen: Pixels with data, bool (N, H, W); None of whole samples.
        grid: Where the image lies; None where that is not known.
        warnings: What the user should know, in sentences.
    """

    values: np.ndarray
    seen: np.ndarray | None
    grid: GeoBox | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Model:
    """A trained network as it is served.

    Attributes:
        name: Name of the run.
        task: What it has learned.
        dense: Whether each pixel of an image has a prediction of its own.
        shapes: Shape of a sample of each input by name, None for axes that are open; empty if all are.
        ranges: What it has seen in training, by name of the input.
        form: How images are given to it.
        facts: What else the service says of it.
    """

    name: str
    task: str
    dense: bool
    shapes: Mapping[str, Shape]
    ranges: Mapping[str, TrainedRange]
    form: Form
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> Shape:
        """Shape of a sample, (…, bands); None for open axes. Baselines read series of pixels."""
        inner = next(iter(self.shapes.values()), (None, None))
        return (*self.shapes.get("image", inner)[:-1], len(self.form.bands))

    @property
    def series(self) -> bool:
        """Whether it reads series, of which each date may be valid or not."""
        return "valid" in self.shapes or not self.shapes

    def check(self, predict: Predict) -> None:
        """Predict a sample of zeros where all axes are known, which the first request need not wait for.

        Raises:
            ParameterError: If the network gives another number of classes or values than its samples have.
        """
        if None in self.shape:
            return
        arrays = {"image": np.zeros([1, *(side or 1 for side in self.shape)], np.float32)}
        if "day" in self.shapes:
            arrays["day"] = np.zeros([1, *(side or 1 for side in self.shapes["day"])], np.float32)
        sample = Upload(arrays)
        given, _ = self._arrays(sample, ())
        found, expected = predict(self.form.prepare(given)).shape[-1], bands_of(self.form.content)
        if found != expected.outputs:
            raise ParameterError(f"The model gives {found} {expected.expected}")

    def answer(self, upload: Upload, stated: tuple[str, ...], predict: Predict) -> Answer:
        """Predict what was sent.

        Args:
            upload: What was sent.
            stated: Names of its bands, instead of those in the file.
            predict: From the network's inputs to predictions.

        Raises:
            DataError: If it has other bands, another shape or another unit than is read, or no value.
        """
        arrays, seen = self._arrays(upload, stated)
        inputs = self.form.prepare(arrays)
        warnings = tuple(
            text
            for name, one in self.ranges.items()
            if name in inputs and (text := one.judge(inputs[name], inputs.get("valid"), whole=True))
        )
        size = arrays["image"].shape[1:]
        if all(side in (None, found) for side, found in zip(self.shape, size, strict=True)):
            values = predict(inputs)
        elif self.dense and len(size) == len("HWC") and len(arrays["image"]) == 1 and seen is not None:
            values = self._by_patches(arrays["image"][0], seen[0], predict)[None]
        else:
            raise DataError(
                f"{reading.WHAT} has samples of shape {size}, the network reads {self._said()}: cut or "
                "resample them."
            )
        if not np.isfinite(values if seen is None else values[seen]).all():
            raise DataError("A prediction is not a number: see the values that are sent.")
        return Answer(values, seen, upload.grid, warnings)

    def _said(self) -> str:
        return " × ".join("any" if side is None else str(side) for side in self.shape)

    def _arrays(
        self, upload: Upload, stated: tuple[str, ...]
    ) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
        """Return arrays (N, …), and which pixels of images have data."""
        image = reading.in_order(upload, self.form.bands, stated)
        shape, axes = image.shape, len(self.shape)
        image = image[None] if image.ndim == axes else image
        if image.ndim != axes + 1:
            raise DataError(
                f"{reading.WHAT} has the shape {shape}, expected (N, {self._said().replace(' ×', ',')}), or "
                "one such sample alone."
            )
        finite = np.isfinite(image)  # (N, …, C)
        if self.series:
            sent = upload.arrays.get("valid", finite.any(-1)) != 0
            arrays = {"image": image, "valid": _broadcast("valid", sent, image.shape[:-1])}
            if "day" in upload.arrays:
                days = image.shape[: 3 if self.task == YEARLY else 2]
                arrays["day"] = _broadcast("day", upload.arrays["day"], days)
            seen = np.asarray(arrays["valid"].any(1)) if self.dense else None
            known = arrays["valid"].reshape(len(image), -1).any(-1)
        else:
            arrays, seen = {"image": image}, np.asarray(finite.all(-1)) if self.dense else None
            known = (finite.all(-1) if self.dense else finite).reshape(len(image), -1).any(-1)
        if not known.all():
            which = f"sample {int(np.argmin(known))} of {len(image)}" if len(image) > 1 else "the image"
            raise DataError(f"No pixel of {which} has a value in every band: see its nodata and its values.")
        return arrays, seen

    def _by_patches(self, image: np.ndarray, seen: np.ndarray, predict: Predict) -> np.ndarray:
        """Return predictions (H, W, K) of an image of any size, by patches as a map is made."""
        form, grid = self.form, GeoBox(seen.shape, Affine.identity(), None)
        height, width = self.shape[:2]
        assert height is not None
        assert width is not None

        def read(row: int, col: int, height: int, width: int) -> dict[str, np.ndarray]:
            here = np.s_[row : row + height, col : col + width]
            return {"image": image[here], "nodata": ~seen[here]}

        patches = PatchWindows(
            lambda given: predict(form.prepare(given)),
            read,
            grid,
            (height, width),
            form.margin,
            form.overlap,
            form.fill,
        )
        result = np.zeros((*seen.shape, bands_of(form.content).outputs), np.float32)
        for window in windows(grid, WINDOW):
            here = window.within(window._replace(row=0, col=0))
            if seen[here].any():
                result[here] = patches(patches.read(*window))
        return result


def _broadcast(name: str, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    try:
        return np.broadcast_to(values, shape)
    except ValueError:
        raise DataError(f"{name} has the shape {values.shape}, expected {shape}.") from None


# === Answers ===


def to_json(model: Model, answer: Answer) -> dict[str, Any]:
    """Return an answer as JSON values; of one sample without the axis of samples."""
    content, values = model.form.content, answer.values
    found: dict[str, Any] = {"run": model.name, "warnings": list(answer.warnings)}
    if answer.seen is None:
        found["classes"] = list(_names(content))
        shares = np.round(values.astype(np.float64), DIGITS)
        if isinstance(content, ClassScheme):
            found["class"] = _one(values.argmax(-1).tolist())
        return found | {"probability": _one(shares.tolist())}
    if isinstance(content, ValueBand):
        shown = np.where(answer.seen, np.round(values[..., 0].astype(np.float64), DIGITS), np.nan)
        cells = shown.astype(object)
        cells[~answer.seen] = None  # JSON has no NaN
        return found | {"value": content.name, "unit": content.unit or "1", "values": _one(cells.tolist())}
    bands = bands_of(content)
    masks = np.stack([_encoded(bands, *pair)[0] for pair in zip(values, answer.seen, strict=True)])
    names = _names(content)
    counts = np.bincount(masks.ravel(), minlength=256)
    found |= {"classes": list(names), "nodata": int(bands.nodata)}
    found["pixels"] = {name: int(counts[number]) for number, name in enumerate(names)}
    return found | {"mask": _one(masks.tolist())}


def _one(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


def _names(content: Content) -> tuple[str, ...]:
    return content.names if isinstance(content, ClassScheme | Bands) else ()


def _encoded(bands: Bands, values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return the bands of a file, (band, H, W)."""
    return bands.encode(np.where(seen[..., None], values, 0), seen.astype(np.float32))


def to_geotiff(model: Model, answer: Answer) -> bytes:
    """Return an answer as a GeoTIFF, with the bands of a map: class and its probability, or a value.

    Raises:
        DataError: If there are several samples, or predictions are of whole samples.
    """
    if answer.seen is None or len(answer.values) != 1:
        raise DataError("A GeoTIFF holds the mask of one image; ask for JSON, with Accept: application/json.")
    bands = bands_of(model.form.content)
    pixels = _encoded(bands, answer.values[0], answer.seen[0])
    grid = answer.grid or GeoBox(answer.seen.shape[1:], Affine.identity(), None)
    tags = {"run": model.name, "software": "eolab"}
    tags |= {"warnings": " ".join(answer.warnings)} if answer.warnings else {}
    return geotiff.content(grid, bands, pixels, tags)
