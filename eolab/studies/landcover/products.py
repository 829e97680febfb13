"""Maps of a year of a scene that has no labels, with a model of the study."""

from dataclasses import replace

import numpy as np
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import xarray as xr

from eolab.core.errors import ParameterError
from eolab.data import catalog, indices
from eolab.data.preprocess import Recipe
from eolab.prediction import mapping
from eolab.prediction.mapping.years import read_together
from eolab.studies.landcover.samples import window_reader
from eolab.studies.landcover.series import in_year, open_series, unlabelled, years_of
from eolab.studies.products import Trained, Wanted, check_pixels, level_of, scene_entry

LABELLED = "eolearn_patch"  # layout that is opened with its labels


def scene_of(trained: Trained, wanted: Wanted) -> mapping.Scene:
    """Open the images of a year for a model of the study, with the recipe of its samples.

    ``wanted.date`` is the year, or begins with it. A model that reads several years together reads the last
    ones of the scene up to that year, or the first ones where these are too few.

    Raises:
        ParameterError: If a year must be chosen, or there are fewer than the model reads together.
    """
    recipe = Recipe.from_dict(trained.samples.metadata["recipe"])
    series, name = _opened(trained, wanted, recipe)
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
        tags={"year": str(year)},
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
