"""The recipe of a preparation: what is done to an image series before a model sees it, as one value."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import rioxarray  # noqa: F401  (registers the .rio accessor)
import xarray as xr

from eolab.core.errors import ParameterError, check_all, check_known
from eolab.data import indices
from eolab.data.ground import pixel_size_m
from eolab.data.preprocess.composites import REDUCERS, composite, periods
from eolab.data.preprocess.gaps import METHODS, fill_gaps


@dataclass(frozen=True)
class Recipe:
    """What turns an image series into the input of a model.

    The same recipe prepares the samples that a model learns from and the scene that it maps: it is kept in
    the sample store and beside the model. It works pixel by pixel, so the result of a window is the window of
    the result.

    Attributes:
        bands: Bands to keep, in this order; empty for all of the series.
        indices: Spectral indices to append as bands, computed from the composites.
        period: Length of a composite: ``"MS"``, ``"30D"``…, or ``"none"`` to keep every acquisition.
        reducer: ``"median"`` or ``"mean"`` of a period's clear observations.
        fill: How dates without observation are filled: ``"none"``, ``"linear"`` or ``"nearest"``. They are
            marked as not valid all the same.
        start: First day of the first composite, for example ``"2020-01-01"``; by default 1 January of the
            series' first year.
        end: Last day; by default 31 December of the series' last year.
        resolution_m: Pixel size in metres that the series must have; None for any.
    """

    bands: tuple[str, ...] = ()
    indices: tuple[str, ...] = ()
    period: str = "MS"
    reducer: str = "median"
    fill: str = "none"
    start: str | None = None
    end: str | None = None
    resolution_m: float | None = None

    def __post_init__(self) -> None:
        for name in ("bands", "indices"):
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))
        for name in self.indices:
            indices.index(name)
        for name, known in (("reducer", REDUCERS), ("fill", METHODS)):
            value = getattr(self, name)
            check_known(value, known, f"Recipe: {name} cannot be {value!r}")
        for name in ("start", "end"):
            value = getattr(self, name)
            try:
                np.datetime64(value or "2020-01-01", "D")
            except ValueError:
                raise ParameterError(
                    f"Recipe: {name} cannot be {value!r}: give a date such as '2020-03-31'."
                ) from None
        if self.period != "none":
            periods(np.array(["2020-01-01"], "datetime64[D]"), self.period)

    def apply(self, series: xr.Dataset) -> xr.Dataset:
        """Prepare a series, lazily where it is lazy.

        Args:
            series: ``image (time, band, y, x)`` float, NaN where missing, and ``clear (time, y, x)`` bool.

        Returns:
            ``image (time, band, y, x)`` float32, NaN where nothing was observed and nothing filled; ``valid
            (time, y, x)`` bool, True where observed, that is where every band is finite. An index that has
            no value there (its denominator is not positive) is NaN alone.

        Raises:
            ParameterError: If a band is missing or the pixel size is not the recipe's.
        """
        self._check(series)
        ordered = series[["image", "clear"]].sortby("time")
        wanted = self.bands or tuple(map(str, series["band"].to_numpy()))
        needed = (*wanted, *(band for band in indices.bands_for(self.indices) if band not in wanted))
        image, valid = composite(
            ordered["image"].sel(band=list(needed)),
            ordered["clear"],
            self.period,
            self.reducer,
            self.start,
            self.end,
        )
        if self.indices:
            image = indices.append(image, self.indices).sel(band=[*wanted, *self.indices])
        if self.fill != "none":
            image, _ = fill_gaps(image, valid, self.fill)
        attrs = {**series.attrs, "recipe": json.dumps(self.to_dict())}
        return xr.Dataset({"image": image, "valid": valid}, attrs=attrs)

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as a dict that JSON can hold."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the recipe of a dict.

        Raises:
            ParameterError: If a key or a value is unknown.
        """
        known = [field.name for field in fields(cls)]
        check_all(values, known, "A recipe has no parameter")
        return cls(**values)

    def _check(self, series: xr.Dataset) -> None:
        """Refuse a series without the recipe's bands or with another pixel size."""
        indices.bands_of(series, (*self.bands, *indices.bands_for(self.indices)), "The recipe")
        if self.resolution_m is not None and series.sizes["x"] > 1:
            placed = series.rio.crs is not None
            step = float(series["x"][1] - series["x"][0])
            found = pixel_size_m(series.odc.geobox)[1] if placed else abs(step)
            if not np.isclose(found, self.resolution_m, rtol=1e-3):
                raise ParameterError(
                    f"The recipe is for pixels of {self.resolution_m:g} m, but those of the series are "
                    f"{found:g} m: open the series at the recipe's resolution."
                )
