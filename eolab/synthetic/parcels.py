"""Field geometry: strips cut into rectangles of about 1 to 8 ha, in districts of different direction."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

Array = np.ndarray

_WIDTH_PX = (9.0, 24.0)
_LENGTH_PX = (12.0, 36.0)
_DISTRICT_PX = 170.0


def make_parcels(shape: tuple[int, int], rng: np.random.Generator, scale: float = 1.0) -> Array:
    """Return the parcel number of each pixel, from 0 without gaps.

    Args:
        shape: Height and width.
        rng: Random number generator.
        scale: Below 1 for smaller parcels, where the whole scene is small.

    Returns:
        int32 (y, x).
    """
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    count = max(3, round(shape[0] * shape[1] / (_DISTRICT_PX * scale) ** 2))
    centers = rng.uniform(0, shape, size=(count, 2))
    _, district = cKDTree(centers).query(np.column_stack([y.ravel(), x.ravel()]))
    district = district.reshape(shape)
    number = np.zeros(shape, np.int64)
    reach = float(np.hypot(*shape))
    for k in range(count):
        inside = district == k
        angle = rng.uniform(0, np.pi / 2)
        u = x[inside] * np.cos(angle) + y[inside] * np.sin(angle) + reach
        v = y[inside] * np.cos(angle) - x[inside] * np.sin(angle) + reach
        strip = np.searchsorted(_breaks(2 * reach, _WIDTH_PX, scale, rng), u)
        offset = rng.uniform(0, 200, 4096)[strip]  # fields of neighbouring strips do not line up
        field = np.searchsorted(_breaks(2 * reach + 200, _LENGTH_PX, scale, rng), v + offset)
        number[inside] = (k * 4096 + strip) * 4096 + field
    _, parcels = np.unique(number, return_inverse=True)
    return parcels.reshape(shape).astype(np.int32)


def _breaks(length: float, step: tuple[float, float], scale: float, rng: np.random.Generator) -> Array:
    """Return increasing positions with random steps between them."""
    low, high = max(3.0, step[0] * scale), max(5.0, step[1] * scale)
    return np.cumsum(rng.uniform(low, high, size=int(length / low) + 1))


def parcel_mean(parcels: Array, field: Array) -> Array:
    """Return the mean of a field over each parcel, one value a parcel."""
    return np.bincount(parcels.ravel(), field.ravel()) / np.bincount(parcels.ravel())
