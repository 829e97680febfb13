"""Maps of a year of a scene that has no labels, with a model of the study."""

from dataclasses import replace

import numpy as np
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import xarray as xr

from eolab.core.errors import DataError, ParameterError, warn
from eolab.data import catalog, indices
from eolab.data.preprocess import Recipe, periods
from eolab.prediction import mapping
from eolab.prediction.mapping.years import read_together
from eolab.studies.landcover.samples import window_reader
from eolab.studies.landcover.series import in_year, open_series, unlabelled, years_of
from eolab.studies.products import UNDATED, Trained, Wanted, check_pixels, level_of, scene_entry

ENOUGH = 0.5  # of the dates that a sample had in training; with fewer a map is doubtful
LABELLED = "eolearn_patch"  # layout that is opened with its labels


def scene_of(trained: Trained, wanted: Wanted) -> mapping.Scene:
    """Open the images of a year for a model of the study, with the recipe of its samples.

    ``wanted.date`` is the year; of far fewer dates than in training there is a warning. A model that reads
    several years together reads the last ones of the scene up to that year, or the first ones where these are
    too few.

    Raises:
        ParameterError: If a year must be chosen, a day is, or there are fewer than the model reads together.
        DataError: If the images have no date.
    """
    if len(wanted.date) > len("2020") and wanted.date[:4].isdigit():
        raise ParameterError(
            f"The network reads the images of a year, not those of {wanted.date} alone: give --date "
            f"{wanted.date[:4]}, or date= in a notebook."
        )
    recipe = Recipe.from_dict(trained.samples.metadata["recipe"])
    series, name = _opened(trained, wanted, recipe)
    if (series["time"].to_numpy() == np.datetime64(UNDATED)).any():
        raise DataError(
            f"{wanted.place} has no date, and images without one cannot be read by a network of series: put "
            "the date into the file's name, as in field_2020-06-11.tif, or give a folder of dated images."
        )
    check_pixels(trained, series.odc.geobox, wanted.place)
    years = years_of(series)
    year = int(wanted.date[:4]) if wanted.date[:4].isdigit() else years[-1] if len(years) == 1 else 0
    if year not in years:
        raise ParameterError(
            f"{wanted.place} has images of {', '.join(map(str, years))}: choose one of these years with "
            "date=, or --date."
        )
    if recipe.dates:
        recipe = replace(replace(recipe, dates=()).for_series(series), acquisitions=recipe.acquisitions)
    chosen = in_year(series, year)
    _check_dates(trained, chosen, recipe, f"{wanted.place} in {year}")
    place, read = None, window_reader(chosen, recipe)
    if trained.task == "yearly_classification":
        count = trained.samples.table["year"].nunique()
        if count > len(years):
            raise ParameterError(
                f"The model reads {count} years of a pixel together, and {wanted.place} has images of "
                f"{len(years)}: give images of more years."
            )
        first = max(0, years.index(year) + 1 - count)
        together = years[first : first + count]
        place = together.index(year)
        read = _of_year(
            read_together([window_reader(in_year(series, one), recipe) for one in together]), place
        )
    times = np.datetime_as_string(chosen["time"].to_numpy()[[0, -1]], unit="s").tolist()
    return mapping.Scene(
        name,
        series.odc.geobox,
        read,
        trained.scheme(),
        "/".join(times),
        year=place,
        depends={"scene": str(wanted.place), "year": year, "recipe": recipe.to_dict()},
        tags={"year": str(year), "images": str(chosen.sizes["time"])},
    )


def _check_dates(trained: Trained, series: xr.Dataset, recipe: Recipe, what: str) -> None:
    """Warn of a series with images in far fewer dates than the samples of a network were observed in."""
    if "valid" not in trained.samples.arrays_spec:
        return
    rows = np.linspace(0, len(trained.samples) - 1, 500).astype(int)
    valid = trained.samples.gather(np.unique(rows), ["valid"])["valid"]  # (n, T)
    learned, found = int(np.median(valid.sum(axis=1))), series.sizes["time"]
    if recipe.period != "none":
        numbers = periods(series["time"].to_numpy(), recipe.period, recipe.start, recipe.end)[1]
        found = len(np.unique(numbers[numbers >= 0]))
    if found < ENOUGH * learned:
        warn(
            f"{what} has images in {found} of {valid.shape[1]} dates, and the network has learned from "
            f"samples observed in {learned} of them: the map is doubtful, give more images of the year."
        )


def _of_year(read: mapping.ReadWindow, place: int) -> mapping.ReadWindow:
    """Return what reads the years together, and where one of them has no data."""

    def of_year(row: int, col: int, height: int, width: int) -> dict[str, np.ndarray]:
        found = read(row, col, height, width)
        return found | {"nodata": found["nodata"][..., place]}

    return of_year


def _opened(trained: Trained, wanted: Wanted, recipe: Recipe) -> tuple[xr.Dataset, str]:
    """Return the images with the bands that the recipe needs, and the name of the scene."""
    facts = trained.samples.metadata
    options = dict(facts["open_series"])
    if str(wanted.place) in (known := catalog.load()) and known[str(wanted.place)].layout == LABELLED:
        return open_series(known[str(wanted.place)], **options), str(wanted.place)
    entry = scene_entry(trained, wanted)
    bands = [band for band in facts["coords"]["band"] if band not in recipe.indices]
    bands = list(dict.fromkeys([*bands, *indices.bands_for(recipe.indices)]))
    kept = {key: options[key] for key in ("resolution_m", "keep_scl", "cloud_buffer") if key in options}
    series, _ = unlabelled(entry, bands, **kept, tile=wanted.tile, level=level_of(entry))
    return series, entry.name
