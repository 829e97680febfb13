"""How the ground is divided: parcels of fields, and patterns of materials within a class; all of 10 m pixels.

Parcels are strips cut into rectangles of about 1 to 8 ha, in districts of different direction. Patterns are
rows, orchards, blocks of houses, mosaics, creeks.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from eolab.synthetic.noise import fractal

Array = np.ndarray
Shape = tuple[int, int]
Pattern = Callable[[Shape, float, float, np.random.Generator], Array]

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


def curve(shape: Shape, rng: np.random.Generator, bend: float = 0.12) -> Array:
    """Return the distance in pixels to a line that crosses the patch.

    Args:
        shape: Height and width.
        rng: Random number generator.
        bend: How far it swings, as a share of the patch; 0 for a straight line.
    """
    side = max(shape)
    along = np.linspace(-0.8, 0.8, 4 * side) * side
    swing = np.zeros_like(along)
    for wave in (0.9, 0.45, 0.2):
        swing += bend * side * wave * np.sin(2 * np.pi * (along / (wave * side) + rng.uniform()))
    angle, middle = rng.uniform(0, np.pi), rng.uniform(0.3, 0.7, 2) * np.array(shape)
    rows = np.rint(middle[0] + along * np.sin(angle) + swing * np.cos(angle)).astype(int)
    columns = np.rint(middle[1] + along * np.cos(angle) - swing * np.sin(angle)).astype(int)
    inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    line = np.ones(shape, bool)
    line[rows[inside], columns[inside]] = False
    return distance_transform_edt(line)


def _rotated(shape: Shape, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return the coordinates of each pixel along two perpendicular directions at a random angle."""
    angle = rng.uniform(0, np.pi)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    offset = rng.uniform(0, 1000, 2)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return along + offset[0], across + offset[1]


def _top(field: Array, share: float) -> Array:
    return field > np.quantile(field, 1 - share)


def _mottle(shape: Shape, share: float, size: float, rng: np.random.Generator) -> Array:
    return _top(fractal(shape, rng, 2.2, wavelength_px=4 * size, smallest_px=0.6 * size), share)


def _dots(shape: Shape, share: float, size: float, rng: np.random.Generator) -> Array:
    return _top(fractal(shape, rng, 0.0, smallest_px=0.6 * size), share)


def _rows(shape: Shape, share: float, size: float, rng: np.random.Generator) -> Array:
    along, across = _rotated(shape, rng)
    parcels = make_parcels(shape, rng, 0.9)
    rotated = (rng.random(int(parcels.max()) + 1) < 0.4)[parcels]
    return np.where(rotated, along, across) % size < share * size


def _grid(shape: Shape, share: float, size: float, rng: np.random.Generator) -> Array:
    along, across = _rotated(shape, rng)
    width = np.sqrt(share) * size
    return (along % size < width) & (across % size < width)


def _blocks(shape: Shape, share: float, size: float, rng: np.random.Generator) -> Array:
    along, across = _rotated(shape, rng)
    cells = rng.random((64, 64)) < min(1.0, share / 0.64)
    filled = cells[(along // size).astype(int) % 64, (across // size).astype(int) % 64]
    return filled & (along % size < 0.8 * size) & (across % size < 0.8 * size)


def _fields(shape: Shape, share: float, size: float, rng: np.random.Generator) -> Array:
    parcels = make_parcels(shape, rng, size / 20)
    return (rng.random(int(parcels.max()) + 1) < share)[parcels]


def _circles(shape: Shape, share: float, size: float, rng: np.random.Generator) -> Array:
    along, across = _rotated(shape, rng)
    distance = np.hypot(along % size - size / 2, across % size - size / 2)
    return distance < size * np.sqrt(share / np.pi)


def _strings(shape: Shape, share: float, size: float, rng: np.random.Generator) -> Array:
    along, _ = _rotated(shape, rng)
    bent = along + size * fractal(shape, rng, 3.0, wavelength_px=8 * size, smallest_px=2 * size)
    return bent % size < share * size


def _creeks(shape: Shape, share: float, size: float, rng: np.random.Generator) -> Array:
    field = np.abs(fractal(shape, rng, 2.6, wavelength_px=4 * size, smallest_px=0.25 * size))
    return field < np.quantile(field, share)


def _rings(shape: Shape, share: float, size: float, rng: np.random.Generator) -> Array:
    y, x = np.mgrid[: shape[0], : shape[1]]
    middle = rng.uniform(0.2, 0.8, 2) * np.array(shape)
    distance = np.hypot(y - middle[0], x - middle[1]) * (1 + 0.1 * fractal(shape, rng, 3.0))
    return distance % size < share * size


def _runway(shape: Shape, share: float, size: float, rng: np.random.Generator) -> Array:
    along, across = _rotated(shape, rng)
    return (across % (size / share) < size) | (along % (3 * size / share) < size)


PATTERNS: dict[str, Pattern] = {
    pattern.__name__.removeprefix("_"): pattern
    for pattern in (
        _mottle, _dots, _rows, _grid, _blocks, _fields, _circles, _strings, _creeks, _rings, _runway,
    )
}  # fmt: skip
"""Functions of shape, share of the area, wavelength in pixels and random numbers; they return where a
material lies, bool (y, x)."""
