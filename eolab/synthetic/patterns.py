"""Random fields and shapes: fractal noise, blobs, parcels of fields, patterns of materials within a class.

Parcels are strips cut into rectangles of about 1 to 8 ha, in districts of different direction. Patterns are
rows, orchards, blocks of houses, mosaics, creeks; all of 10 m pixels.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pandas as pd
import scipy.fft
from scipy.ndimage import distance_transform_edt

Array = np.ndarray
Shape = tuple[int, int]

_WIDTH_PX = (9.0, 24.0)
_LENGTH_PX = (12.0, 36.0)
_DISTRICT_PX = 170.0
_CACHED_PX = 2**19  # spectra of larger fields are not kept in memory


def fractal(
    shape: Shape,
    rng: np.random.Generator,
    exponent: float = 2.0,
    wavelength_px: float | None = None,
    smallest_px: float = 0.0,
) -> Array:
    """Return a periodic random field whose power falls with frequency.

    Args:
        shape: Height and width.
        rng: Random number generator.
        exponent: Power is proportional to ``frequency ** -exponent``: 0 is white, 2 to 3 clouds and terrain.
        wavelength_px: Waves longer than this are flattened to the power at this length.
        smallest_px: Waves shorter than this are taken out.

    Returns:
        float32 with mean 0 and standard deviation 1.
    """
    amplitude_of = _amplitude if shape[0] * shape[1] <= _CACHED_PX else _amplitude.__wrapped__
    amplitude = amplitude_of(shape, exponent, wavelength_px or max(shape), smallest_px)
    waves = scipy.fft.rfft2(rng.standard_normal(shape), overwrite_x=True)
    waves *= amplitude
    field = scipy.fft.irfft2(waves, s=shape, overwrite_x=True)
    field -= field.mean()
    field /= np.sqrt(np.square(field).mean())
    return field.astype(np.float32)


@lru_cache(maxsize=32)
def _amplitude(shape: Shape, exponent: float, longest_px: float, smallest_px: float) -> Array:
    """Return the amplitude of each frequency of a field, (y, x) of its real Fourier transform."""
    frequency = np.hypot(scipy.fft.fftfreq(shape[0])[:, None], scipy.fft.rfftfreq(shape[1])[None, :])
    amplitude = np.maximum(frequency, 1.0 / longest_px) ** (-exponent / 2)
    amplitude[0, 0] = 0
    return amplitude * np.exp(-((frequency * smallest_px) ** 2)) if smallest_px else amplitude


def smoothstep(value: Array, low: float, high: float) -> Array:
    """Return 0 below ``low``, 1 above ``high`` and a smooth rise between them."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def turned(shape: Shape, angle: float, center: tuple[float, float] = (0.0, 0.0)) -> tuple[Array, Array]:
    """Return the coordinates of each pixel along a direction and across it, both (y, x).

    Args:
        shape: Height and width.
        angle: The direction, from the rows towards the columns.
        center: Row and column where both are 0.
    """
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    y, x = y - center[0], x - center[1]
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def remoteness(
    shape: Shape,
    center: tuple[float, float],
    rng: np.random.Generator,
    roughness: float = 0.35,
    stretch: float = 1.4,
    feature_px: float = 40.0,
) -> Array:
    """Return a distance to a point, stretched and bent by noise: its lowest values form one ragged blob.

    Args:
        shape: Height and width.
        center: Row and column of the blob's middle.
        rng: Random number generator.
        roughness: How much the outline is bent.
        stretch: Length over width.
        feature_px: Size of the largest bends.
    """
    along, across = turned(shape, rng.uniform(0, np.pi), center)
    bend = fractal(shape, rng, 3.0, wavelength_px=feature_px, smallest_px=0.1 * feature_px)
    distance = np.hypot(along / np.sqrt(stretch), across * np.sqrt(stretch))
    return distance * np.exp(roughness * np.clip(bend, -2, 2))


def lowest(field: Array, count: float) -> Array:
    """Return a mask of the ``count`` lowest values."""
    count = int(np.clip(round(count), 1, field.size - 1))
    return field <= np.partition(field, count - 1, axis=None)[count - 1]


def block_mean(image: Array, factor: int) -> Array:
    """Return means over blocks of ``factor`` × ``factor`` pixels of the last two axes."""
    if factor < 8:  # several times as fast as NumPy's mean, and the same to the last digit
        image = image.astype(np.float32, copy=False)
        rows = sum((image[..., k::factor] for k in range(1, factor)), start=image[..., ::factor])
        blocks = sum((rows[..., k::factor, :] for k in range(1, factor)), start=rows[..., ::factor, :])
        return blocks / np.float32(factor**2)
    *front, height, width = image.shape
    blocks = image.reshape(*front, height // factor, factor, width // factor, factor)
    return blocks.mean(axis=(-3, -1), dtype=np.float32)


def make_parcels(shape: Shape, rng: np.random.Generator, scale: float = 1.0) -> Array:
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
    district, nearest = np.zeros(shape, np.int32), np.full(shape, np.inf)
    for k, (row, column) in enumerate(centers):
        distance = (y[:, :1] - row) ** 2 + (x[:1] - column) ** 2  # (y, x)
        district[distance < nearest] = k
        nearest = np.minimum(nearest, distance)
    number = np.zeros(shape[0] * shape[1], np.int64)
    reach = float(np.hypot(*shape))
    for k in range(count):
        inside = np.nonzero(district.ravel() == k)
        angle, row, column = rng.uniform(0, np.pi / 2), y.ravel()[inside], x.ravel()[inside]
        u = column * np.cos(angle) + row * np.sin(angle) + reach
        v = row * np.cos(angle) - column * np.sin(angle) + reach
        strip = np.searchsorted(_breaks(2 * reach, _WIDTH_PX, scale, rng), u)
        offset = rng.uniform(0, 200, 4096)[strip]  # fields of neighbouring strips do not line up
        field = np.searchsorted(_breaks(2 * reach + 200, _LENGTH_PX, scale, rng), v + offset)
        number[inside] = (k * 4096 + strip) * 4096 + field
    parcels, _ = pd.factorize(number, sort=True)
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
    along, across = turned(shape, rng.uniform(0, np.pi))
    offset = rng.uniform(0, 1000, 2)
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


PATTERNS: dict[str, Callable[[Shape, float, float, np.random.Generator], Array]] = {
    pattern.__name__.removeprefix("_"): pattern
    for pattern in (
        _mottle, _dots, _rows, _grid, _blocks, _fields, _circles, _strings, _creeks, _rings, _runway,
    )
}  # fmt: skip
"""Functions of shape, share of the area, wavelength in pixels and random numbers; they return where a
material lies, bool (y, x)."""
