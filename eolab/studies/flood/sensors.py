"""What a network reads of each sensor: backscatter in decibels, bands and water indices of optical images."""

import itertools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xarray as xr

from eolab.core.errors import ParameterError, check_all
from eolab.data import indices
from eolab.data.layouts.sen12flood import OPTICAL_BANDS

RADAR_FLOOR_DB = -35.0
"""Backscatter below it is noise: the noise equivalent sigma zero of Sentinel-1 IW is -22 dB or better, and
speckle goes below."""


class Sensor:
    """What the sensors share: checked channels, and their change against a sequence's dry state."""

    channels: tuple[str, ...]
    reference_images: int
    what: ClassVar[str]  # a channel is called so
    known: ClassVar[tuple[str, ...]]  # channels that there are

    def __post_init__(self) -> None:
        channels = tuple(self.channels)
        if not channels or len(set(channels)) != len(channels):
            raise ParameterError(f"Channels are {list(channels)}: name one {self.what} or more, each once.")
        check_all(channels, self.known, f"There is no {self.what}")
        if self.reference_images < 0:
            raise ParameterError(
                f"reference_images is {self.reference_images}: expected a number of images, 0 for no change."
            )
        object.__setattr__(self, "channels", channels)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the computed channels: the chosen ones, and with reference images ``VH_change`` too."""
        return self.channels + tuple(f"{name}_change" for name in self.channels if self.reference_images)

    @property
    def read(self) -> tuple[str, ...]:
        """Polarisations or bands that are read from files."""
        return self.channels

    def compute(self, image: xr.DataArray) -> np.ndarray:
        """Return the layers of one sequence, float32 (time, y, x, layer), NaN kept.

        Args:
            image: Linear sigma nought or reflectance (time, band, y, x) in the order of the dates.
        """
        values = self._values(image)
        if not self.reference_images:
            return values
        change = values - dry_state(values, self.reference_images)
        return np.concatenate([values, change], axis=-1, dtype=np.float32)

    def _values(self, image: xr.DataArray) -> np.ndarray:
        """Return the chosen channels, float32 (time, y, x, channel)."""
        raise NotImplementedError


@dataclass(frozen=True)
class Radar(Sensor):
    """Channels of Sentinel-1.

    Args:
        channels: Polarisations, "VH" alone or "VV" too.
        floor_db: What is below becomes this.
        reference_images: How many of a sequence's first images its dry state is the median of, see
            :func:`dry_state`; 0 for no channels of change against it.

    Raises:
        ParameterError: If a polarisation is unknown, or `reference_images` is negative.
    """

    channels: tuple[str, ...] = ("VH",)
    floor_db: float = RADAR_FLOOR_DB
    reference_images: int = 0
    sensor: ClassVar[str] = "S1"
    units: ClassVar[str] = "dB"
    what: ClassVar[str] = "polarisation"
    known: ClassVar[tuple[str, ...]] = ("VV", "VH")

    def _values(self, image: xr.DataArray) -> np.ndarray:
        linear = image.sel(band=list(self.channels)).transpose("time", "y", "x", "band").values
        with np.errstate(divide="ignore", invalid="ignore"):
            decibels = 10 * np.log10(linear)
        return np.maximum(decibels, self.floor_db, dtype=np.float32)  # NaN stays NaN


@dataclass(frozen=True)
class Optical(Sensor):
    """Channels of Sentinel-2.

    Args:
        channels: Bands, and spectral indices of :data:`eolab.data.indices.INDICES` such as "NDWI" and
            "MNDWI"; red, green and blue by default, as Wiesniakowski et al. 2024 read.
        reference_images: Number of first images, see :class:`Radar`.

    Raises:
        ParameterError: If a channel is neither, an index needs a band that the data set has not, or
            `reference_images` is negative.
    """

    channels: tuple[str, ...] = ("B04", "B03", "B02")
    reference_images: int = 0
    sensor: ClassVar[str] = "S2"
    units: ClassVar[str] = "1"
    what: ClassVar[str] = "band or index"
    known: ClassVar[tuple[str, ...]] = (
        *OPTICAL_BANDS,
        *(name for name, index in indices.INDICES.items() if set(index.bands) <= set(OPTICAL_BANDS)),
    )

    @property
    def read(self) -> tuple[str, ...]:
        """Bands that are read from files, those of the indices too."""
        needed = [
            (channel,) if channel in OPTICAL_BANDS else indices.INDICES[channel].bands
            for channel in self.channels
        ]
        return tuple(dict.fromkeys(itertools.chain(*needed)))

    def _values(self, image: xr.DataArray) -> np.ndarray:
        extra = [channel for channel in self.channels if channel not in OPTICAL_BANDS]
        chosen = indices.append(image, extra).sel(band=list(self.channels))
        return chosen.transpose("time", "y", "x", "band").values


def dry_state(values: np.ndarray, reference_images: int) -> np.ndarray:
    """Return what each image of a sequence is compared with: the median of the first images up to its date.

    No label is looked at and no later image. In the published lists no sequence is flooded in its first
    image, but 42 are in their second: the median of more images has less noise, and some flood in it.

    Args:
        values: Images (T, …) of a sequence in the order of the dates, NaN where there is no value.
        reference_images: How many first images count, 1 or more.

    Returns:
        An array of the shape of `values`, NaN where none of these images has a value.
    """
    dry = np.empty_like(values)
    for time in range(min(reference_images, len(values))):
        first = values[: time + 1]
        empty = np.isnan(first).all(axis=0)  # NumPy warns of these; to hide that is not safe in threads
        dry[time:] = np.where(empty, np.nan, np.nanmedian(np.where(empty, 0, first), axis=0))
    return dry
