"""What the bands of a map hold: a class with its probability, or a value of each pixel."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from eolab.data.schemes import IGNORE, ClassScheme

NO_DATA = {IGNORE: (0, 0, 0, 0)}  # has no colour


@dataclass(frozen=True)
class ValueBand:
    """A value of 0 to 1 of each pixel, written in whole percent with a colour table.

    Only whole numbers have colours of their own in a GeoTIFF, which GDAL and QGIS show at once. The file
    states no scale of 0.01: QGIS would make real numbers of them, for which a colour table has no entries.

    Attributes:
        name: What the value is, such as "degree of damage".
        ramp: matplotlib's name of the colours from 0 to 100.
    """

    name: str
    ramp: str = "viridis"


@dataclass(frozen=True)
class Bands:
    """How predictions become the bands of a file.

    Attributes:
        names: Name of each band.
        units: Unit of each band.
        tags: Further tags of each band.
        colors: Colours (red, green, blue, alpha) of the numbers in band 1.
        category_names: GDAL's side-car file with the names of classes, empty where there are none.
        outputs: Outputs K of the network.
        expected: What is said of a network with another number of outputs.
        settings: What a map of these bands depends on, as JSON values.
        encode: From weighted sums (H, W, K) and weights (H, W), 0 where there are no data, to pixels uint8
            (band, H, W).
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    tags: tuple[dict[str, str], ...]
    colors: dict[int, tuple[int, ...]]
    category_names: str
    outputs: int
    expected: str
    settings: dict[str, Any]
    encode: Callable[[np.ndarray, np.ndarray], np.ndarray]


def bands_of(content: ClassScheme | ValueBand) -> Bands:
    """Return the bands of a map: class and its probability in percent, or one value in percent."""
    if isinstance(content, ValueBand):
        from matplotlib import colormaps

        ramp = colormaps[content.ramp](np.linspace(0, 1, 101), bytes=True).tolist()
        return Bands(
            names=(content.name,),
            units=("percent",),
            tags=({"long_name": f"{content.name}, 0 to 100 for 0 to 1"},),
            colors={number: tuple(color) for number, color in enumerate(ramp)} | NO_DATA,
            category_names="",
            outputs=1,
            expected="values a pixel, a map of values has 1: give a network with one output.",
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
        category_names=_category_names(content),
        outputs=len(content),
        expected=f"classes, the class scheme {content.name!r} has {len(content)}: use the scheme that the "
        "model was trained with.",
        settings={"class_scheme": {name: list(values) for name, values in known.items()}},
        encode=_classes,
    )


def probability_bands(scheme: ClassScheme) -> Bands:
    """Return the bands of a file with the probability of each class in percent."""
    return Bands(
        names=scheme.names,
        units=("percent",) * len(scheme),
        tags=({},) * len(scheme),
        colors={},
        category_names="",
        outputs=len(scheme),
        expected="",
        settings={"probabilities": list(scheme.names)},
        encode=lambda total, weight: _percent(np.moveaxis(total, -1, 0), weight),
    )


def _category_names(scheme: ClassScheme) -> str:
    names = "".join(f"<Category>{escape(name)}</Category>" for name in scheme.names)
    band = f'<PAMRasterBand band="1"><CategoryNames>{names}</CategoryNames></PAMRasterBand>'
    return f"<PAMDataset>{band}</PAMDataset>\n"


def _classes(total: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return class index and probability in percent, uint8 (2, H, W)."""
    best = total.argmax(-1)  # (H, W)
    top = np.take_along_axis(total, best[..., None], -1)[..., 0]
    return np.stack([np.where(weight > 0, best, IGNORE).astype(np.uint8), _percent(top, weight)])


def _percent(total: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return weighted means in percent, uint8 (…, H, W), what is below 0 or above 1 as these."""
    seen = weight > 0
    percent = np.clip(np.rint(100 * total / np.where(seen, weight, 1)), 0, 100)
    return np.where(seen, percent, IGNORE).astype(np.uint8)
