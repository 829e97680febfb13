"""Features of an image that nobody trained: responses to small pieces of other images, averaged.

Rolf, Proctor, Carleton, Bolliger, Shankar, Ishihara, Recht and Hsiang (2021), A generalizable and accessible
approach to machine learning with global satellite imagery (MOSAIKS): pieces of 3 × 3 pixels are drawn from
training images, whitened, and slid over each image as filters; what passes a threshold is averaged over the
image. Whitening after Coates and Ng (2012), Learning Feature Representations with K-means.

With a piece x (bands standardised over the pieces) and its mean m, whitening matrix W and filter f of unit
length, the response r = f · W (x − m) is divided by its standard deviation s over the pieces, and each filter
gives two features: the means of max(r / s − bias, 0) and of max(−r / s − bias, 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from eolab.core.errors import ParameterError
from eolab.data.store import Store

PIECES = 10_000  # that whitening and scale are estimated from
_IMAGES = 1024  # most images that pieces are drawn from
_SHRINK = 0.01  # of the mean variance, added to each direction before it is whitened
_AT_ONCE = 32  # images read at once
_EPSILON = 1e-6


@dataclass(frozen=True)
class Filters:
    """Filters with everything that stands before them, as one matrix.

    Attributes:
        weights: (F, C · size²) float32, on raw values.
        offset: (F,) float32.
        size: Side of a filter in pixels.
        stride: Step between two places of a filter in pixels.
        bias: What a response must pass, in its standard deviations.
    """

    weights: np.ndarray
    offset: np.ndarray
    size: int
    stride: int
    bias: float

    def features(self, images: np.ndarray) -> np.ndarray:
        """Return the features of images (N, H, W, C), float32 (N, 2 F); one image at a time is unfolded."""
        count = len(self.weights)
        found = np.empty((len(images), 2 * count), np.float32)
        for row, image in enumerate(images):
            pieces = windows(image, self.size, self.stride).reshape(-1, self.weights.shape[1])
            response = pieces.astype(np.float32) @ self.weights.T  # (places, F)
            response += self.offset
            found[row, :count] = np.maximum(response - self.bias, 0).mean(axis=0)
            found[row, count:] = np.maximum(-response - self.bias, 0).mean(axis=0)
        return found


def windows(image: np.ndarray, size: int, stride: int = 1) -> np.ndarray:
    """Return all pieces (h, w, C, size, size) of an image (H, W, C), a view."""
    return sliding_window_view(image, (size, size), axis=(0, 1))[::stride, ::stride]


def draw(
    store: Store,
    rows: Any,
    *,
    positions: Sequence[int] | None = None,
    filters: int = 256,
    size: int = 3,
    stride: int = 2,
    bias: float = 1.0,
    seed: int = 0,
) -> Filters:
    """Draw filters from the images of a store.

    Args:
        store: Images (H, W, C) in the array ``image``.
        rows: Rows of training images.
        positions: Places of the channels that are read; None for all.
        filters: Number of filters F.
        size: Side of a filter in pixels.
        stride: Step between two places of a filter; 2 costs a quarter of 1.
        bias: What a response must pass, in its standard deviations.
        seed: Seed of the draw.

    Raises:
        ParameterError: If there are no rows, or an option cannot be.
    """
    side = min(store.arrays_spec["image"].shape[:2])
    given = np.asarray(rows, np.int64)
    if not len(given) or min(filters, size, stride) < 1 or size > side:
        raise ParameterError(
            f"Random convolutions need training images, and filters, size (up to {side}) and stride from 1: "
            f"got {len(given)} images, {filters}, {size} and {stride}."
        )
    pieces = _pieces(store, given, positions, max(PIECES, filters), size, seed)  # (P, C, size, size)
    centre = np.repeat(pieces.mean(axis=(0, 2, 3)), size * size)  # (C · size²,)
    spread = pieces.std(axis=(0, 2, 3))
    scale = np.repeat(np.where(spread > _EPSILON, spread, np.inf), size * size)  # a constant says nothing
    flat = (pieces.reshape(len(pieces), -1) - centre) / scale
    middle = flat.mean(axis=0)
    variance, axes = np.linalg.eigh(np.cov(flat, rowvar=False).reshape(flat.shape[1], -1))
    whitening = (axes / np.sqrt(np.maximum(variance, 0) + _SHRINK * variance.mean() + _EPSILON)) @ axes.T
    chosen = (flat[:filters] - middle) @ whitening  # the order of the pieces is random
    chosen /= np.linalg.norm(chosen, axis=1, keepdims=True) + _EPSILON
    weights = chosen @ whitening  # (F, C · size²), on standardised pieces
    weights /= ((flat - middle) @ weights.T).std(axis=0)[:, None] + _EPSILON
    offset = -(weights @ middle) - (weights / scale) @ centre
    return Filters((weights / scale).astype(np.float32), offset.astype(np.float32), size, stride, bias)


def _pieces(
    store: Store, rows: np.ndarray, positions: Sequence[int] | None, count: int, size: int, seed: int
) -> np.ndarray:
    """Return pieces of random images at random places, in random order, float64 (count, C, size, size)."""
    rng = np.random.default_rng(seed)
    images = rng.permutation(rows)[: min(count, _IMAGES)]
    source = np.sort(rng.integers(0, len(images), count))
    found = []
    for part, data in store.batches(images, ["image"], _AT_ONCE):
        read = data["image"] if positions is None else data["image"][..., positions]
        for place, image in enumerate(read, start=part.start):
            views = windows(image, size)
            wanted = int(np.count_nonzero(source == place))
            y, x = (rng.integers(0, length, wanted) for length in views.shape[:2])
            found.append(views[y, x])
    return rng.permutation(np.concatenate(found).astype(np.float64))
