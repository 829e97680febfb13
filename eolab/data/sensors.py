"""What a network reads of each sensor: backscatter in decibels, bands and water indices of optical images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xarray as xr

from eolab.core.errors import ParameterError, did_you_mean
from eolab.data import indices
from eolab.data.layouts.sen12flood import OPTICAL_BANDS

RADAR_FLOOR_DB = -35.0
"""Backscatter below it is noise: the noise equivalent sigma zero of Sentinel-1 IW is -22 dB or better, and
speckle goes below."""


@dataclass(frozen=True)
class Radar:
    """Channels of Sentinel-1.

    Args:
        channels: Polarisations, "VH" alone or "VV" too.
        floor_db: What is below becomes this.
        reference: How many of a scene's first images its dry state is the median of, see
            :func:`dry_state`; 0 for no channels of change against it.

    Raises:
        ParameterError: If a polarisation is unknown, or `reference` is negative.
    """

    channels: tuple[str, ...] = ("VH",)
    floor_db: float = RADAR_FLOOR_DB
    reference: int = 0
    sensor: ClassVar[str] = "S1"
    units: ClassVar[str] = "dB"

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", _checked(self.channels, ("VV", "VH"), "polarisation"))
        _check_reference(self.reference)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the computed channels: the polarisations, and with a reference ``VH_change`` and so on."""
        return _layers(self.channels, self.reference)

    @property
    def read(self) -> tuple[str, ...]:
        """Polarisations that are read from files."""
        return self.channels

    def compute(self, image: xr.DataArray) -> np.ndarray:
        """Return the layers of one scene, float32 (time, y, x, layer), NaN kept.

        Args:
            image: Linear sigma nought (time, band, y, x) in the order of the dates.
        """
        linear = image.sel(band=list(self.channels)).transpose("time", "y", "x", "band").values
        with np.errstate(divide="ignore", invalid="ignore"):
            decibels = 10 * np.log10(linear)
        values = np.maximum(decibels, self.floor_db, dtype=np.float32)  # NaN stays NaN
        return _with_change(values, self.reference)


@dataclass(frozen=True)
class Optical:
    """Channels of Sentinel-2.

    Args:
        channels: Bands, and spectral indices of :data:`eolab.data.indices.INDICES` such as "NDWI" and
            "MNDWI"; red, green and blue by default, as in the report.
        reference: Number of first images that make the dry state; see :class:`Radar`.

    Raises:
        ParameterError: If a channel is neither, an index needs a band that the data set has not, or
            `reference` is negative.
    """

    channels: tuple[str, ...] = ("B04", "B03", "B02")
    reference: int = 0
    sensor: ClassVar[str] = "S2"
    units: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        known = [*OPTICAL_BANDS, *_indices()]
        object.__setattr__(self, "channels", _checked(self.channels, known, "band or index"))
        _check_reference(self.reference)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the computed channels: bands, indices, and with a reference their changes."""
        return _layers(self.channels, self.reference)

    @property
    def read(self) -> tuple[str, ...]:
        """Bands that are read from files, those of the indices too."""
        needed = (
            band
            for channel in self.channels
            for band in ((channel,) if channel in OPTICAL_BANDS else indices.INDICES[channel].bands)
        )
        return tuple(dict.fromkeys(needed))

    def compute(self, image: xr.DataArray) -> np.ndarray:
        """Return the layers of one scene, float32 (time, y, x, layer), NaN kept.

        Args:
            image: Reflectance (time, band, y, x) in the order of the dates.
        """
        layers = [
            image.sel(band=channel, drop=True)
            if channel in OPTICAL_BANDS
            else indices.compute(channel, image)
            for channel in self.channels
        ]
        arrays = [layer.transpose("time", "y", "x").values for layer in layers]
        return _with_change(np.stack(arrays, axis=-1).astype(np.float32), self.reference)


def _layers(channels: tuple[str, ...], reference: int) -> tuple[str, ...]:
    return channels + tuple(f"{channel}_change" for channel in channels if reference)


def _check_reference(reference: int) -> None:
    if reference < 0:
        raise ParameterError(f"reference is {reference}: expected a number of images, 0 for no change.")


def _with_change(values: np.ndarray, reference: int) -> np.ndarray:
    """Append to images (T, H, W, C) of a scene what they differ by from its dry state."""
    if not reference:
        return values
    return np.concatenate([values, values - dry_state(values, reference)], axis=-1, dtype=np.float32)


def dry_state(values: np.ndarray, reference: int) -> np.ndarray:
    """Return what each image of a scene is compared with: the median of the first images up to its own date.

    No label is looked at and no later image. In the published lists no scene is flooded in its first image,
    but 42 are in their second: a longer reference has less noise, and some flood in it.

    Args:
        values: Images (T, …) of a scene in the order of the dates, NaN where there is no value.
        reference: How many first images count, 1 or more.

    Returns:
        As `values`; NaN where none of these images has a value.
    """
    dry = np.empty_like(values)
    for time in range(min(reference, len(values))):
        first = values[: time + 1]
        empty = np.isnan(first).all(axis=0)  # NumPy warns of these; to hide that is not safe in threads
        dry[time:] = np.where(empty, np.nan, np.nanmedian(np.where(empty, 0, first), axis=0))
    return dry


def _indices() -> list[str]:
    """Return the names of the indices that the bands of the data set allow."""
    return [name for name, index in indices.INDICES.items() if set(index.bands) <= set(OPTICAL_BANDS)]


def _checked(channels: Sequence[str], known: Sequence[str], what: str) -> tuple[str, ...]:
    if not channels or len(set(channels)) != len(channels):
        raise ParameterError(f"Channels are {list(channels)}: name one {what} or more, each once.")
    for channel in channels:
        if channel not in known:
            raise ParameterError(f"There is no {what} {channel!r}: {did_you_mean(channel, known)}")
    return tuple(channels)
