"""What the bands of a map hold: a class with its probability, or a value of each pixel."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from eolab.data.schemes import IGNORE, ClassScheme

NO_DATA = {IGNORE: (0, 0, 0, 0)}  # has no colour
ONE_VALUE = "values a pixel, a map of values has 1: give a network with one output."


def in_words(classes: Any, confidence: Any, scheme: ClassScheme, most: int = 3) -> str:
    """Return the largest classes of a map with their shares, and its median confidence, in a sentence.

    Args:
        classes: Class indices of any shape, 255 without data.
        confidence: Probability of each pixel's class in percent.
        scheme: The classes.
        most: How many classes are named, one more where that is the last.
    """
    found = np.asarray(classes)
    known = found != IGNORE
    if not known.any():
        return "The map has no pixel with data."
    shares = 100 * np.bincount(found[known], minlength=len(scheme))[: len(scheme)] / known.sum()
    order = [k for k in np.argsort(-shares, kind="stable") if shares[k] > 0]
    most = most if len(order) > most + 1 else len(order)
    named = ", ".join(f"{scheme.names[k]} {shares[k]:.0f} %" for k in order[:most])
    more = f" and {len(order) - most} more classes" if order[most:] else ""
    return f"{named}{more}; median confidence {np.median(np.asarray(confidence)[known]):.0f} %."


@dataclass(frozen=True)
class ValueBand:
    """A value of each pixel: of 0 to 1 in whole percent with a colour table, or in a unit of its own.

    Only whole numbers have colours of their own in a GeoTIFF, which GDAL and QGIS show at once. The file
    states no scale of 0.01: QGIS would make real numbers of them, for which a colour table has no entries.

    Attributes:
        name: What the value is, such as "degree of damage".
        ramp: matplotlib's name of the colours from 0 to 100.
        unit: Unit of a value that is written as it is, a real number; empty for percent.
    """

    name: str
    ramp: str = "viridis"
    unit: str = ""


@dataclass(frozen=True)
class Bands:
    """How predictions become the bands of a file.

    Attributes:
        names: Name of each band.
        units: Unit of each band.
        tags: Further tags of each band.
        colors: Colours (red, green, blue, alpha) of the numbers in band 1.
        beside: Files beside the map, by the pattern of their names: GDAL's names of classes, and a style that
            QGIS reads when it opens the map.
        outputs: Outputs K of the network.
        expected: What is said of a network with another number of outputs.
        settings: What a map of these bands depends on, as JSON values.
        encode: From weighted sums (H, W, K) and weights (H, W), 0 where there are no data, to pixels
            (band, H, W).
        classes: Whether the numbers of band 1 are classes, of which there is no mean.
        dtype: Number type of the pixels: uint8, with 255 for no data, or float32, with NaN.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    tags: tuple[dict[str, str], ...]
    colors: dict[int, tuple[int, ...]]
    beside: dict[str, str]
    outputs: int
    expected: str
    settings: dict[str, Any]
    encode: Callable[[np.ndarray, np.ndarray], np.ndarray]
    classes: bool = False
    dtype: str = "uint8"

    @property
    def nodata(self) -> float:
        """What stands where there are no data."""
        return IGNORE if self.dtype == "uint8" else np.nan


Content = ClassScheme | ValueBand | Bands


def bands_of(content: Content) -> Bands:
    """Return the bands of a map: class and its probability in percent, or one value in percent."""
    if isinstance(content, Bands):
        return content
    if isinstance(content, ValueBand) and content.unit:
        return Bands(
            names=(content.name,),
            units=(content.unit,),
            tags=({"long_name": f"{content.name} ({content.unit})"},),
            colors={},
            beside={},
            outputs=1,
            expected=ONE_VALUE,
            settings={"value": [content.name, content.unit]},
            encode=_values,
            dtype="float32",
        )
    if isinstance(content, ValueBand):
        from matplotlib import colormaps

        ramp = colormaps[content.ramp](np.linspace(0, 1, 101), bytes=True).tolist()
        return Bands(
            names=(content.name,),
            units=("percent",),
            tags=({"long_name": f"{content.name}, 0 to 100 for 0 to 1"},),
            colors={number: tuple(color) for number, color in enumerate(ramp)} | NO_DATA,
            beside={},
            outputs=1,
            expected=ONE_VALUE,
            settings={"value": [content.name, content.ramp]},
            encode=lambda total, weight: _percent(total[..., 0], weight)[None],
        )
    table = content.table().reset_index().to_dict("records")
    known = {"codes": content.codes, "names": content.names, "colors": content.colors}
    return Bands(
        names=("class", "confidence"),
        units=("class index", "percent"),
        tags=({"class_scheme": content.name, "classes": json.dumps(table)}, {}),
        colors={number: (*bytes.fromhex(color[1:]), 255) for number, color in enumerate(content.colors)}
        | NO_DATA,
        beside={"{name}.aux.xml": _category_names(content), "{stem}.qml": _style(content)},
        outputs=len(content),
        expected=f"classes, the class scheme {content.name!r} has {len(content)}: use the scheme that the "
        "model was trained with.",
        settings={"class_scheme": {name: list(values) for name, values in known.items()}},
        encode=_classes,
        classes=True,
    )


def probability_bands(scheme: ClassScheme) -> Bands:
    """Return the bands of a file with the probability of each class in percent."""
    return Bands(
        names=scheme.names,
        units=("percent",) * len(scheme),
        tags=tuple({"long_name": f"probability of {name}"} for name in scheme.names),
        colors={},
        beside={},
        outputs=len(scheme),
        expected=f"classes, the class scheme {scheme.name!r} has {len(scheme)}: use the scheme that the "
        "model was trained with.",
        settings={"probabilities": list(scheme.names)},
        encode=lambda total, weight: _percent(np.moveaxis(total, -1, 0), weight),
    )


def _category_names(scheme: ClassScheme) -> str:
    names = "".join(f"<Category>{escape(name)}</Category>" for name in scheme.names)
    band = f'<PAMRasterBand band="1"><CategoryNames>{names}</CategoryNames></PAMRasterBand>'
    return f"<PAMDataset>{band}</PAMDataset>\n"


def _style(scheme: ClassScheme) -> str:
    """Return QGIS's style of a map of classes: without it, QGIS draws two bands as if they were colours."""
    entries = "".join(
        f'<paletteEntry value="{number}" color="{color}" alpha="255" label={quoteattr(name)}/>'
        for number, (name, color) in enumerate(zip(scheme.names, scheme.colors, strict=True))
    )
    renderer = f'type="paletted" band="1" opacity="1" alphaBand="-1"><colorPalette>{entries}</colorPalette>'
    return f'<qgis version="3.22"><pipe><rasterrenderer {renderer}</rasterrenderer></pipe></qgis>\n'


def _classes(total: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return class index and probability in percent, uint8 (2, H, W)."""
    best = total.argmax(-1)  # (H, W)
    top = np.take_along_axis(total, best[..., None], -1)[..., 0]
    return np.stack([np.where(weight > 0, best, IGNORE).astype(np.uint8), _percent(top, weight)])


def _values(total: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return weighted means as they are, float32 (1, H, W)."""
    seen = weight > 0
    return np.where(seen, total[..., 0] / np.where(seen, weight, 1), np.nan).astype(np.float32)[None]


def _percent(total: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return weighted means in percent, uint8 (…, H, W), what is below 0 or above 1 as these."""
    seen = weight > 0
    percent = np.clip(np.rint(100 * total / np.where(seen, weight, 1)), 0, 100)
    return np.where(seen, percent, IGNORE).astype(np.uint8)
