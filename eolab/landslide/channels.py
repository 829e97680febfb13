"""The channels a network can read: the 14 bands and what the report derives from them, in named groups.

============ ======================================================================================
bands        the 14 bands as published
rgb          B04, B03, B02
sentinel     the 12 bands of Sentinel-2
terrain      slope and elevation
rgb_local    (x − min) / (max − min) of red, green and blue, over the patch
rgb_global   the same with minimum and maximum over the training patches; a network that standardises
             its channels sees in it what it sees in ``rgb``
ndvi         (B08 − B04) / (B08 + B04)
vi           (B08 − B11) / (B08 + B11), the report's vegetation index
nbr          (B08 − B12) / (B08 + B12)
gray         (B02 + B03 + B04) / 3
indices      ndvi, vi, nbr and gray
blur         Gaussian and median filter of gray, kernels of 10 pixels
gradient     Sobel derivative of gray along x and y
edges        Canny edges of gray, 0 or 1
============ ======================================================================================

The report names the filters and the kernel of 10 but not what is filtered nor how: the gray image is our
reading. The Gaussian has the standard deviation that OpenCV takes for a kernel of 10 pixels, 1.85 pixels; the
median of an even kernel is that of 5 pixels before and 4 behind. Borders are mirrored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from eolab.errors import ParameterError, did_you_mean
from eolab.landslide.edges import canny, sobel
from eolab.readers.landslide4sense import BANDS
from eolab.store import Store

KERNEL = 10  # pixels
SIGMA = 0.3 * ((KERNEL - 1) * 0.5 - 1) + 0.8  # OpenCV's rule for a kernel without a given deviation
COLOURS = ("red", "green", "blue")
RGB = ("B04", "B03", "B02")
INDICES = {"NDVI": ("B08", "B04"), "VI": ("B08", "B11"), "NBR": ("B08", "B12")}

LOCAL = tuple(f"rgb_local_{colour}" for colour in COLOURS)
GLOBAL = tuple(f"rgb_global_{colour}" for colour in COLOURS)
STORED = (
    *BANDS,
    *LOCAL,
    *INDICES,
    "gray",
    "blur_gaussian",
    "blur_median",
    "gradient_x",
    "gradient_y",
    "edges",
)
GROUPS: dict[str, tuple[str, ...]] = {
    "bands": BANDS,
    "rgb": RGB,
    "sentinel": BANDS[:12],
    "terrain": BANDS[12:],
    "rgb_local": LOCAL,
    "rgb_global": GLOBAL,
    "ndvi": ("NDVI",),
    "vi": ("VI",),
    "nbr": ("NBR",),
    "gray": ("gray",),
    "indices": (*INDICES, "gray"),
    "blur": ("blur_gaussian", "blur_median"),
    "gradient": ("gradient_x", "gradient_y"),
    "edges": ("edges",),
}
SETS: dict[str, list[str]] = {  # the report's sets by their number of channels
    "9": ["rgb", "rgb_local", "rgb_global"],
    "14": ["bands"],
    "17": ["bands", "rgb_local"],
    "21": ["bands", "rgb_local", "indices"],
    "23": ["bands", "rgb_local", "indices", "blur"],
    "25": ["bands", "rgb_local", "indices", "blur", "gradient"],
    "26": ["bands", "rgb_local", "indices", "blur", "gradient", "edges"],
    "22": ["bands", "rgb_local", "blur", "gradient", "edges"],
    "21_sentinel": ["sentinel", "rgb_local", "indices", "blur"],
}


def compute(image: np.ndarray) -> np.ndarray:
    """Compute every stored channel of many patches at once; no patch influences another.

    Args:
        image: (N, H, W, 14) in the order of the data set's bands.

    Returns:
        float32 (N, H, W, 26) in the order of :data:`STORED`.
    """
    image = np.asarray(image, np.float32)
    colours = _of(image, *RGB)  # (N, H, W, 3)
    gray = colours.mean(axis=-1)  # (N, H, W)
    parts = [
        image,
        local_range(colours),
        *(ratio(*np.moveaxis(_of(image, *pair), -1, 0))[..., None] for pair in INDICES.values()),
        gray[..., None],
        *(filtered[..., None] for filtered in (*blur(gray), *sobel(gray), canny(gray))),
    ]
    return np.concatenate(parts, axis=-1, dtype=np.float32)


def local_range(values: np.ndarray) -> np.ndarray:
    """Scale each channel of each patch to 0 to 1; (N, H, W, C) → same; 0 where a channel is constant."""
    low = values.min(axis=(1, 2), keepdims=True)
    extent = values.max(axis=(1, 2), keepdims=True) - low
    return (values - low) / np.where(extent > 0, extent, 1)


def ratio(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return (first − second) / (first + second), 0 where the sum is 0."""
    total = first + second
    return np.divide(first - second, total, out=np.zeros_like(total), where=total != 0)


def blur(gray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the Gaussian and the median filter of gray patches (N, H, W)."""
    radius = KERNEL // 2
    smooth = ndimage.gaussian_filter(gray, (0, SIGMA, SIGMA), radius=(0, radius, radius))
    return smooth, ndimage.median_filter(gray, (1, KERNEL, KERNEL))


@dataclass(frozen=True)
class ChannelSet:
    """The channels that a network reads, and their statistics over its training patches.

    Attributes:
        names: Name of each of C channels.
        mean: Mean of each.
        std: Standard deviation of each.
        columns: Position of each in a stored image.
        low: What is subtracted from each (0 but for ``rgb_global``).
        extent: What each is divided by then (1 but for ``rgb_global``).
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    columns: tuple[int, ...]
    low: tuple[float, ...]
    extent: tuple[float, ...]

    def assemble(self, image: np.ndarray) -> np.ndarray:
        """Return the channels float32 (..., C) of stored images (..., 26)."""
        chosen = image[..., list(self.columns)]
        if any(self.low) or any(extent != 1 for extent in self.extent):
            return (chosen - np.float32(self.low)) / np.float32(self.extent)
        return chosen


def select(groups: Sequence[str], store: Store, rows: np.ndarray) -> ChannelSet:
    """Return a set of channels with the statistics of some rows.

    Args:
        groups: Names of :data:`GROUPS`, in the order that the network reads them.
        store: Store of the study, with an array ``image`` (H, W, 26).
        rows: The training patches.

    Raises:
        ParameterError: If there is no such group, none is given, or a channel comes twice.
    """
    names = channel_names(groups)
    table = store.statistics_over(rows)
    sources = [RGB[GLOBAL.index(name)] if name in GLOBAL else name for name in names]
    known = table.loc[sources]
    scaled = np.array([name in GLOBAL for name in names])
    low = np.where(scaled, known["min"], 0.0)
    extent = np.where(scaled, known["max"] - known["min"], 1.0)
    extent[extent == 0] = 1.0
    return ChannelSet(
        names=names,
        mean=_numbers((known["mean"] - low) / extent),
        std=_numbers(known["std"] / extent),
        columns=tuple(STORED.index(name) for name in sources),
        low=_numbers(low),
        extent=_numbers(extent),
    )


def channel_names(groups: Sequence[str]) -> tuple[str, ...]:
    """Return the channels of some groups, in order.

    Raises:
        ParameterError: If there is no such group, none is given, or a channel comes twice.
    """
    names: list[str] = []
    for group in groups:
        if group not in GROUPS:
            raise ParameterError(f"There is no channel group {group!r}: {did_you_mean(group, GROUPS)}")
        for name in GROUPS[group]:
            if name in names:
                raise ParameterError(
                    f"Channel {name} comes twice in the groups {', '.join(groups)}: drop one."
                )
            names.append(name)
    if not names:
        raise ParameterError(f"No channels are chosen: name one or more of {', '.join(GROUPS)}.")
    return tuple(names)


def _of(image: np.ndarray, *bands: str) -> np.ndarray:
    return image[..., [BANDS.index(band) for band in bands]]


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
