"""The recipe of a preparation: what is done to an image series before a model sees it, as one value."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

import numpy as np
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import rioxarray  # noqa: F401  (registers the .rio accessor)
import xarray as xr

from eolab.core.errors import ParameterError, check_all, check_known
from eolab.data import indices
from eolab.data.ground import pixel_size_m
from eolab.data.preprocess.acquisitions import CHOICES, choose_acquisitions
from eolab.data.preprocess.composites import REDUCERS, composite, day, periods
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
        period: Length of a composite: ``"MS"``, ``"10D"``, ``"QS"``…, see
            :func:`eolab.data.preprocess.periods`, or ``"none"`` to keep acquisitions as they are.
        reducer: ``"median"`` or ``"mean"`` of a period's clear observations.
        fill: How dates without observation are filled: ``"none"``, ``"linear"`` or ``"nearest"``. They are
            marked as not valid all the same.
        start: First day of the first composite, a date such as ``"2018-10-01"``, or ``"03-01"`` for that day
            of the series' first year; by default 1 January of that year.
        end: Last day, included, likewise in the series' last year; by default 31 December.
        resolution_m: Pixel size in metres that the series must have; None for any.
        acquisitions: How many acquisitions of each year are kept with period ``"none"``; 0 for all. A year
            that has fewer is filled up with dates that are not valid, so that all years are equally long.
        choose: Which ones: ``"even"`` or ``"clearest"``, see
            :func:`eolab.data.preprocess.choose_acquisitions`.
        dates: Times of the chosen acquisitions, set by :meth:`for_series`.
    """

    bands: tuple[str, ...] = ()
    indices: tuple[str, ...] = ()
    period: str = "MS"
    reducer: str = "median"
    fill: str = "none"
    start: str | None = None
    end: str | None = None
    resolution_m: float | None = None
    acquisitions: int = 0
    choose: str = "even"
    dates: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("bands", "indices", "dates"):
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))
        for name in self.indices:
            indices.index(name)
        for name, known in (("reducer", REDUCERS), ("fill", METHODS), ("choose", CHOICES)):
            value = getattr(self, name)
            check_known(value, known, f"Recipe: {name} cannot be {value!r}")
        for name in ("start", "end"):
            value = getattr(self, name)
            try:
                day(value or "01-01", 2020)
            except ParameterError as error:
                raise ParameterError(f"Recipe: {name} cannot be {value!r}: {error}") from None
        if self.period != "none":
            periods(np.array(["2020-01-01"], "datetime64[D]"), self.period)
        if self.acquisitions < 0 or (self.acquisitions and self.period != "none"):
            raise ParameterError(
                f"Recipe: acquisitions cannot be {self.acquisitions} with period {self.period!r}: choose "
                "some with period 'none', or give 0, which takes all there are."
            )

    def for_series(self, series: xr.Dataset) -> Self:
        """Return the recipe for a series and its windows, with the acquisitions chosen.

        They are chosen in each calendar year, or once between ``start`` and ``end`` where one of these is a
        date with its year. All years get as many as the one that has most.

        Args:
            series: The whole series of one or several years, as for :meth:`apply`.

        Returns:
            The recipe itself where it makes composites.

        Raises:
            ParameterError: If a year has no acquisition between start and end, or composites are not as many
                in every year.
        """
        years = series["time"].dt.year.to_numpy()
        dated = any(len(value or "") > 5 for value in (self.start, self.end))
        parts = [series] if dated else [series.isel(time=years == year) for year in np.unique(years)]
        if self.period != "none":
            sizes = [
                len(periods(part["time"].to_numpy(), self.period, self.start, self.end)[0]) for part in parts
            ]
            if len(set(sizes)) > 1:
                raise ParameterError(
                    f"Composites of {self.period!r} are {min(sizes)} in one year and {max(sizes)} in "
                    "another: take days such as '7D', which are as many in every year."
                )
            return self
        chosen = [
            choose_acquisitions(part, self.acquisitions, self.choose, self.start, self.end) for part in parts
        ]
        dates = tuple(np.datetime_as_string(np.concatenate(chosen), unit="s").tolist())
        return replace(self, dates=dates, acquisitions=max(map(len, chosen)))

    def apply(self, series: xr.Dataset) -> xr.Dataset:
        """Prepare a series, lazily where it is lazy.

        Args:
            series: ``image (time, band, y, x)`` float, NaN where missing, and ``clear (time, y, x)`` bool.

        Returns:
            ``image (time, band, y, x)`` float32, NaN where nothing was observed and nothing filled; ``valid
            (time, y, x)`` bool, True where observed, that is where every band is finite. An index that has
            no value there (its denominator is not positive) is NaN alone.

        Raises:
            ParameterError: If a band is missing, the pixel size is not the recipe's, no acquisition lies
                between start and end, or acquisitions were not chosen.
        """
        self._check(series)
        ordered = self._chosen(series[["image", "clear"]].sortby("time"))
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

    def _chosen(self, series: xr.Dataset) -> xr.Dataset:
        """Return the chosen acquisitions of a series, filled up by the last one where nothing is clear."""
        if not self.dates:
            if self.acquisitions:
                raise ParameterError(
                    f"The {self.acquisitions} acquisitions of a year are not chosen: choose them on the "
                    "whole series with recipe = recipe.for_series(series), before windows are prepared."
                )
            return series
        times = series["time"].to_numpy().astype("datetime64[s]")
        kept = np.flatnonzero(np.isin(times, np.array(self.dates, "datetime64[s]")))
        if not len(kept):
            raise ParameterError(
                f"None of the {len(self.dates)} chosen acquisitions is among the {len(times)} of the series: "
                "choose them on it with recipe.for_series(series)."
            )
        missing = max(0, self.acquisitions - len(kept))
        chosen = series.isel(time=np.append(kept, np.full(missing, kept[-1])))
        there = xr.DataArray(np.arange(chosen.sizes["time"]) < len(kept), dims="time")
        return chosen.assign(clear=chosen["clear"] & there) if missing else chosen

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
