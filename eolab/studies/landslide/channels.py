"""Channels of the landslide study: the 14 bands and what Le et al. compute from them, in named groups.

Le, Pham, Lampert and Schlögl (AIT 2023; in part Le et al. 2023, Landslide Detection and Segmentation
Using Remote Sensing Images and Deep Neural Network, arXiv:2312.16717) name the features and give no details
of blur, gradients and edges. Our reading: all are of the gray image (B02 + B03 + B04) / 3 of the values as
published, and k = 10 is the side of the window in pixels.

- Indices (NDVI, VI, NBR): of reflectance, which published values become when they are multiplied by their
  bands' divisors. Le et al. took them of the values as they are, where each band was divided by another
  constant: dense vegetation then has an NDVI of 0.265 instead of 0.765. The channels ``NDVI_as_is`` and so
  on, group ``indices_as_is``, are these, to repeat their tables.
- Gaussian blur: standard deviation 0.3 ((k - 1) / 2 - 1) + 0.8 = 1.85 pixels, OpenCV's rule for a window of k
  pixels. The window is 11 pixels wide: with an even one the image would move by half a pixel.
- Median blur: window of 10 × 10 pixels, from 5 before the pixel to 4 after it; of its 100 values the 51st.
- Gradients: Sobel kernels, x to the right and y downward, not divided by their sum.
- Edges: Canny, 1 = edge, of the gray image in 8 bits between the patch's 1st and 99th percentile; see
  :func:`canny`.

Outside the patch its pixels are mirrored (d c b a | a b c d | d c b a); for edges the outermost is repeated.

The stored channels of a patch need no other patch. ``rgb_global`` needs the range of all training patches, so
:func:`select` makes it of the stored bands, with the range over the training rows alone.

Example:
    >>> stored = compute(image)  # (N, 128, 128, 14) → (N, 128, 128, 29)
    >>> chosen = select(["bands", "rgb_local", "indices", "blur"], store, rows["train"])
    >>> chosen.assemble(store.gather(rows["train"][:16])["image"]).shape
    (16, 128, 128, 23)
"""

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

from eolab import tasks
from eolab.core.errors import DataError, ParameterError, StoreError, check_all
from eolab.data import indices
from eolab.data.bands import SENTINEL2
from eolab.data.layouts.landslide4sense import BANDS
from eolab.data.store import Store
from eolab.studies.landslide.source import PUBLISHED
from eolab.tasks.baselines import Maker, pixel_boosting, threshold_rule
from eolab.tasks.channels import Channels, statistics

COLOURS = {"red": "B04", "green": "B03", "blue": "B02"}
LOCAL = tuple(f"rgb_local_{colour}" for colour in COLOURS)
GLOBAL = tuple(f"rgb_global_{colour}" for colour in COLOURS)
INDICES = ("NDVI", "VI", "NBR")  # of eolab.data.indices
AS_IS = tuple(f"{name}_as_is" for name in INDICES)
BLUR = ("blur_gaussian", "blur_median")
GRADIENT = ("gradient_x", "gradient_y")
EDGES = ("edges",)

STORED = (*BANDS, *LOCAL, *INDICES, *AS_IS, "gray", *BLUR, *GRADIENT, *EDGES)
"""Channels of a stored image, in its order."""

GROUPS: dict[str, tuple[str, ...]] = {
    "bands": BANDS,
    "rgb": tuple(COLOURS.values()),
    "sentinel": BANDS[:12],
    "terrain": BANDS[12:],
    "rgb_local": LOCAL,
    "rgb_global": GLOBAL,
    "indices": (*INDICES, "gray"),
    "indices_as_is": (*AS_IS, "gray"),
    "ndvi": ("NDVI",),
    "vi": ("VI",),
    "nbr": ("NBR",),
    "gray": ("gray",),
    "blur": BLUR,
    "gradient": GRADIENT,
    "edges": EDGES,
}
"""Channels of each group that a parameter can name."""

# Values of the pixel itself: no neighbourhood, no minimum or maximum of its patch
PIXEL_CHANNELS = (*BANDS, *INDICES, "gray")
BASELINES: dict[str, Maker] = {
    "slope_ndvi_rule": threshold_rule({"slope": ">=", "NDVI": "<="}),
    "pixel_boosting": partial(pixel_boosting, channels=PIXEL_CHANNELS),
}
"""Baselines that the study adds to those of every segmentation."""


def stored_channels(bands: Sequence[str] = BANDS) -> tuple[str, ...]:
    """Return the channels that are stored of images with some bands: these, and what can be made of them."""
    made = [name for name in (*INDICES, *AS_IS) if _can(name.removesuffix("_as_is"), bands)]
    grey = (*LOCAL, *made, "gray", *BLUR, *GRADIENT, *EDGES) if _can("GREY", bands) else made
    return (*bands, *grey)


def _can(index: str, bands: Sequence[str]) -> bool:
    return set(indices.bands_for((index,))) <= set(bands)


def bands_of(stored: Sequence[str]) -> tuple[str, ...]:
    """Return the bands among the channels of a store: those before the first that is made of them."""
    made = {*STORED[len(BANDS) :]}
    return tuple(itertools.takewhile(lambda name: name not in made, stored))


def groups(stored: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the channels of each group that a store has; those of one's own have groups of other bands."""
    bands = bands_of(stored)
    optical = tuple(band for band in bands if band in SENTINEL2)
    own = {
        "bands": bands,
        "sentinel": optical,
        "terrain": tuple(band for band in bands if band not in optical),
    }
    made = {*stored, *(GLOBAL if set(COLOURS.values()) <= set(bands) else ())}
    found = {name: tuple(one for one in group if one in made) for name, group in (GROUPS | own).items()}
    return {name: group for name, group in found.items() if group}


def baselines_of(store: Store) -> dict[str, Maker]:
    """Return the baselines of the study whose channels a store has."""
    known = store.channel_names()
    pixel = tuple(name for name in known if name in (*bands_of(known), *INDICES, "gray"))
    found = {"pixel_boosting": partial(pixel_boosting, channels=pixel)}
    return found | (
        {"slope_ndvi_rule": BASELINES["slope_ndvi_rule"]} if {"slope", "NDVI"} <= set(known) else {}
    )


def possible_baselines(names: Sequence[str], store: Store) -> list[str]:
    """Return the baselines of some names that a store has the channels of; the others are said."""
    lacking = [name for name in names if name in BASELINES and name not in baselines_of(store)]
    if lacking:
        print(f"Left out, as the patches lack their channels: {', '.join(lacking)}.")
    return [name for name in names if name not in lacking]


K = 10
SIGMA_PX = 0.3 * ((K - 1) / 2 - 1) + 0.8
AT_ONCE = 8  # patches computed together: what they need meanwhile stays in the processor's cache
_WINDOWS = 2048  # medians computed together, for the same reason

EDGE_SIGMA_PX = 1.0
LOW, HIGH = 100.0, 200.0  # lengths of the Sobel gradient of an 8-bit image: a step of n grey levels is 4 n
TAILS = (1, 99)  # percentiles of a patch that become 0 and 255
_SECTOR = np.float32(np.tan(np.pi / 8))  # a direction counts as that of a neighbour within 22.5°
_EIGHT = np.zeros((3, 3, 3), bool)  # pixels touch their eight neighbours, patches do not touch each other
_EIGHT[1] = True


# === Computing ===


def compute(
    image: np.ndarray, bands: Sequence[str] = BANDS, units: Sequence[float] = PUBLISHED.units
) -> np.ndarray:
    """Compute the stored channels of patches; each depends on its own patch alone.

    Args:
        image: (N, H, W, C) patches as :func:`eolab.data.layouts.landslide4sense.read_image` gives them, or of
            one's own, without NaN. Spectral indices are only sensible for values that are never negative.
        bands: Names of the bands.
        units: What makes reflectance of the values of each band.

    Returns:
        float32 (N, H, W, K) in the order of :func:`stored_channels`, 29 of published patches. An index is 0
        where its denominator is 0 (absolutely less than 1e-6 of reflectance), a local colour is 0 in a patch
        that has only one value of it.

    Raises:
        DataError: If the image has another shape.
    """
    image = np.asarray(image, np.float32)
    if image.ndim != 4 or image.shape[-1] != len(bands) or 0 in image.shape[1:3]:
        raise DataError(
            f"The image has the shape {image.shape}, expected (patches, y, x, {len(bands)}): "
            "give whole patches."
        )
    names = stored_channels(bands)
    result = np.empty((*image.shape[:-1], len(names)), np.float32)  # (N, H, W, K)
    for start in range(0, len(image), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        _compute(image[part], result[part], list(bands), np.asarray(units, np.float32), names)
    return result


def _compute(
    image: np.ndarray, result: np.ndarray, bands: list[str], units: np.ndarray, names: Sequence[str]
) -> None:
    """Fill the channels (n, H, W, K) of a few patches (n, H, W, C)."""
    result[..., : len(bands)] = image
    made: dict[str, np.ndarray] = {}  # channel: (n, H, W)
    wanted = names[len(bands) :]
    if not wanted:
        return
    possible = [name for name in (*INDICES, "GREY") if _can(name, bands)]
    needed = indices.bands_for(tuple(possible))  # colours among them
    places = [bands.index(band) for band in needed]
    planes = np.moveaxis(image, -1, 0)[places]  # (bands, n, H, W)
    named = xr.DataArray(planes, dims=("band", "sample", "y", "x"), coords={"band": list(needed)})
    reflectance = named * units[places].reshape(-1, 1, 1, 1)
    for channel in wanted:
        if channel.removesuffix("_as_is") in INDICES:
            source = named if channel in AS_IS else reflectance
            made[channel] = indices.compute(channel.removesuffix("_as_is"), source).fillna(0).to_numpy()
    if "gray" in wanted:
        colours = own_range(planes[[needed.index(band) for band in COLOURS.values()]], axes=(2, 3))
        made |= dict(zip(LOCAL, colours, strict=True))
        made["gray"] = gray = indices.compute("GREY", named).to_numpy()
        made["blur_gaussian"] = ndimage.gaussian_filter(
            gray, (0, SIGMA_PX, SIGMA_PX), radius=(0, K // 2, K // 2)
        )
        made["blur_median"] = median_blur(gray)
        made["gradient_x"], made["gradient_y"] = sobel(gray, axis=2), sobel(gray, axis=1)
        made["edges"] = canny(gray).astype(np.float32)
    result[..., len(bands) :] = np.stack([made[name] for name in wanted], axis=-1)


def median_blur(gray: np.ndarray, k: int = K) -> np.ndarray:
    """Return the median of the k × k pixels around each pixel of patches (N, H, W).

    The window goes from k // 2 pixels before to (k - 1) // 2 after; of an even number of values the upper one
    of the two in the middle is taken. ``scipy.ndimage.median_filter`` gives the same in three times the time.
    """
    count, height, width = gray.shape
    margin = (k // 2, (k - 1) // 2)
    padded = np.pad(gray, ((0, 0), margin, margin), mode="symmetric")
    windows = sliding_window_view(padded, (k, k), axis=(1, 2))  # (N, H, W, k, k), no copy
    result = np.empty_like(gray)
    step = max(1, _WINDOWS // (count * width))
    for row in range(0, height, step):
        part = np.array(windows[:, row : row + step], order="C").reshape(-1, k * k)  # (N · rows · W, k²)
        part.partition(k * k // 2, axis=-1)
        result[:, row : row + step] = part[:, k * k // 2].reshape(count, -1, width)
    return result


# === Edges of many patches at once ===


def canny(gray: np.ndarray) -> np.ndarray:
    """Find edges (Canny 1986, https://doi.org/10.1109/TPAMI.1986.4767851).

    Each patch is scaled to 8 bits by its own percentiles and smoothed by a Gaussian. A pixel whose Sobel
    gradient is longer than those of both neighbours along the gradient is a candidate. Candidates above
    :data:`HIGH` are edges, and so are those above :data:`LOW` that hang together with one.

    scikit-image's ``canny`` is not used, because its edges are others: it interpolates the gradient between
    the neighbours of a pixel, where OpenCV takes the nearest of four directions, and finds no edge on the
    border. With the same smoothed image and thresholds, on 120 patches of the twin (version 0.25.2), 88 % of
    the edge pixels here are edges there and 92 % of those there are edges here; OpenCV's are all the same.

    Args:
        gray: (N, H, W) patches.

    Returns:
        bool (N, H, W). On the same smoothed 8-bit image it is what OpenCV's ``Canny`` gives with
        ``L2gradient=True``: gradients in four directions, the outermost pixels repeated outside the patch.
    """
    smooth = ndimage.gaussian_filter(eight_bits(gray), (0, EDGE_SIGMA_PX, EDGE_SIGMA_PX), mode="nearest")
    return trace(np.rint(smooth), LOW, HIGH)


def eight_bits(gray: np.ndarray) -> np.ndarray:
    """Return patches (N, H, W) as whole numbers 0 to 255, float32; 0 in a patch without contrast.

    The darkest and the brightest percent of a patch are cut off: with its full range a single roof or cloud
    would leave nothing of the contrast of the ground, and so no edge.
    """
    low, high = np.percentile(gray, TAILS, axis=(1, 2), keepdims=True).astype(np.float32)  # (N, 1, 1) each
    scale = np.divide(255, high - low, out=np.zeros_like(high), where=high > low)
    return np.rint(np.clip((gray - low) * scale, 0, 255))


def own_range(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Return (x - min) / (max - min) over some axes, 0 where all values are equal."""
    low, high = values.min(axes, keepdims=True), values.max(axes, keepdims=True)
    return (values - low) / np.where(high > low, high - low, 1)


def sobel(image: np.ndarray, axis: int, mode: str = "reflect") -> np.ndarray:
    """Return the Sobel gradient of patches (N, H, W) along axis 1 (y) or 2 (x).

    ``scipy.ndimage.sobel`` would smooth over all other axes, so from patch to patch too.
    """
    smooth = ndimage.correlate1d(image, (1, 2, 1), axis=3 - axis, mode=mode)
    return ndimage.correlate1d(smooth, (-1, 0, 1), axis=axis, mode=mode)


def trace(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return the edges (N, H, W) of smoothed 8-bit patches (N, H, W): all of Canny's steps but smoothing."""
    whole = image.astype(np.int32)
    dx, dy = (sobel(whole, axis, mode="nearest") for axis in (2, 1))
    strength = np.pad(dx * dx + dy * dy, ((0, 0), (1, 1), (1, 1)))  # (N, H + 2, W + 2), squared, 0 outside
    inside = np.s_[:, 1:-1, 1:-1]
    above = strength[inside] > low * low
    places = np.flatnonzero(np.pad(above, ((0, 0), (1, 1), (1, 1))))  # (candidates,) in the padded array
    kept = places[_is_ridge(strength, places, dx[above], dy[above])]
    ridge = np.zeros(strength.shape, bool)
    ridge.flat[kept] = True
    return _hysteresis(ridge[inside], strength[inside] > high * high)


def _is_ridge(strength: np.ndarray, places: np.ndarray, dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """Return whether places of the padded strength exceed both neighbours along their gradient.

    The first of two equal neighbours in a row or column stays.
    """
    row = strength.shape[2]
    flat = strength.ravel()
    x, y = np.abs(dx).astype(np.float32), np.abs(dy).astype(np.float32)
    across, along = y < _SECTOR * x, x < _SECTOR * y
    diagonal = np.where((dx < 0) == (dy < 0), row + 1, row - 1)
    step = np.where(across, 1, np.where(along, row, diagonal))
    own, after = flat[places], flat[places + step]
    return (own > flat[places - step]) & ((own > after) | ((own == after) & (across | along)))


def _hysteresis(ridge: np.ndarray, strong: np.ndarray) -> np.ndarray:
    """Return the ridges that hang together with a strong pixel of a ridge, patch by patch."""
    labels, count = ndimage.label(ridge, _EIGHT)
    kept = np.zeros(count + 1, bool)
    kept[labels[ridge & strong]] = True
    return kept[labels]


# === Selecting ===


def channel_names(names: Sequence[str], stored: Sequence[str] = STORED) -> tuple[str, ...]:
    """Return the channels of some groups, each once, in the order of the groups.

    Args:
        names: Names of groups.
        stored: Channels of the store.

    Raises:
        ParameterError: If there is no group, or an unknown one.
    """
    wanted, known = [names] if isinstance(names, str) else list(names), groups(stored)
    check_all(wanted, known, "There are no channels")
    if not wanted:
        raise ParameterError(f"No channels are chosen: name some of {', '.join(known)}.")
    return tuple(dict.fromkeys(channel for name in wanted for channel in known[name]))


def select(names_of_groups: Sequence[str], store: Store, train_rows: Any) -> Channels:
    """Choose the channels that a network reads, with statistics of the training patches alone.

    Args:
        names_of_groups: Names of :func:`groups`.
        store: Store whose ``image`` holds the channels of :data:`STORED`.
        train_rows: Rows of the training patches.

    Raises:
        ParameterError: If a group is unknown, or there is no training row.
        StoreError: If the store holds other channels.
    """
    known = store.channel_names()
    if known != stored_channels(bands_of(known)):
        raise StoreError(
            f"{store.path} holds the channels {', '.join(known)}, expected {', '.join(STORED)}: write it "
            "again with 02_preprocess."
        )
    names = channel_names(names_of_groups, known)
    if not set(GLOBAL) & set(names):
        return tasks.select(store, train_rows, names)
    sources = tuple(COLOURS[name.rsplit("_", 1)[1]] if name in GLOBAL else name for name in names)
    stored = statistics(store, train_rows).loc[list(sources)].astype(float).set_axis(list(names))
    derived, span = stored.index.isin(GLOBAL), stored["max"] - stored["min"]
    offset = stored["min"].where(derived, 0.0)
    scale = (1 / span).where(span > 0, 0.0).where(derived, 1.0)
    mean, low, high = (tuple((stored[column] - offset) * scale) for column in ("mean", "min", "max"))
    std = tuple(stored["std"] * scale)
    return Channels(names, mean, std, known, sources, tuple(offset), tuple(scale), low=low, high=high)
