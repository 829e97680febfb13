"""Random fields: fractal noise by its spectrum, smooth steps and blobs of a given area."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy.fft

Array = np.ndarray

_CACHED_PX = 2**19  # spectra of larger fields are not kept in memory


def fractal(
    shape: tuple[int, int],
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
    white = scipy.fft.rfft2(rng.standard_normal(shape))
    field = scipy.fft.irfft2(white * amplitude, s=shape)
    return ((field - field.mean()) / field.std()).astype(np.float32)


@lru_cache(maxsize=32)
def _amplitude(shape: tuple[int, int], exponent: float, longest_px: float, smallest_px: float) -> Array:
    """Return the amplitude of each frequency of a field, (y, x) of its real Fourier transform."""
    frequency = np.hypot(scipy.fft.fftfreq(shape[0])[:, None], scipy.fft.rfftfreq(shape[1])[None, :])
    amplitude = np.maximum(frequency, 1.0 / longest_px) ** (-exponent / 2)
    amplitude[0, 0] = 0
    return amplitude * np.exp(-((frequency * smallest_px) ** 2)) if smallest_px else amplitude


def smoothstep(value: Array, low: float, high: float) -> Array:
    """Return 0 below ``low``, 1 above ``high`` and a smooth rise between them."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def remoteness(
    shape: tuple[int, int],
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
    angle = rng.uniform(0, np.pi)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    y, x = y - center[0], x - center[1]
    u = (x * np.cos(angle) + y * np.sin(angle)) / np.sqrt(stretch)
    v = (y * np.cos(angle) - x * np.sin(angle)) * np.sqrt(stretch)
    bend = fractal(shape, rng, 3.0, wavelength_px=feature_px, smallest_px=0.1 * feature_px)
    return np.hypot(u, v) * np.exp(roughness * np.clip(bend, -2, 2))


def lowest(field: Array, count: float) -> Array:
    """Return a mask of the ``count`` lowest values."""
    count = int(np.clip(round(count), 1, field.size - 1))
    return field <= np.partition(field, count - 1, axis=None)[count - 1]


def block_mean(image: Array, factor: int) -> Array:
    """Return means over blocks of ``factor`` × ``factor`` pixels of the last two axes."""
    *front, height, width = image.shape
    blocks = image.reshape(*front, height // factor, factor, width // factor, factor)
    return blocks.mean(axis=(-3, -1), dtype=np.float32)
