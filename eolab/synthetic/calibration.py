"""The twin beside real data: what was measured on real scenes, and tables that put both side by side.

The numbers come from a patch of 1 km² in Slovenia (eo-learn's TestEOPatch, MIT licence, Copernicus Sentinel
data, Slovenian land use RABA): NDVI and cloud masks of 68 dates from July 2015 to December 2017, and five
cloud-free Level-1C scenes with 13 bands, of which the three of the growing season are used here. Level-1C is
reflectance at the top of the atmosphere; the twin is therefore brought there with
:func:`eolab.synthetic.materials.to_top_of_atmosphere` before it is compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from eolab.synthetic import materials as m
from eolab.synthetic.materials import BANDS, to_top_of_atmosphere

Array = np.ndarray

PROVENANCE = (
    "eo-learn TestEOPatch (Slovenia, 1 km², 2015-07 to 2017-12, Sentinel-2 Level-1C; MIT, Sinergise; "
    "contains Copernicus Sentinel data and Slovenian land-use data RABA)"
)


@dataclass(frozen=True)
class Cover:
    """What was measured of one land use, and which classes of the twin it is compared with.

    Attributes:
        classes: Indices of the twin's classes.
        mean: Reflectance of each band in the growing season, in 1/1000.
        sd: Its standard deviation between pixels.
        ndvi: Mean NDVI of cloud-free dates by month, January first.
        ndvi_sd: Standard deviation between the pixels of a date.
    """

    classes: tuple[int, ...]
    mean: tuple[int, ...]
    sd: tuple[int, ...]
    ndvi: tuple[float, ...]
    ndvi_sd: tuple[float, ...]


REAL: dict[str, Cover] = {
    "cultivated land": Cover(
        (m.CEREALS, m.ANNUAL),
        (112, 91, 90, 66, 109, 261, 313, 304, 346, 86, 183, 92),
        (2, 7, 10, 15, 15, 24, 27, 27, 30, 6, 20, 14),
        (0.113, 0.152, 0.333, 0.410, 0.535, 0.491, 0.660, 0.602, 0.640, 0.580, 0.081, 0.213),
        (0.041, 0.048, 0.074, 0.106, 0.096, 0.066, 0.049, 0.088, 0.073, 0.050, 0.066, 0.090),
    ),
    "forest": Cover(
        (m.BROADLEAVES, m.CONIFERS),
        (108, 76, 61, 37, 63, 184, 236, 229, 262, 78, 106, 45),
        (2, 3, 4, 4, 8, 30, 41, 47, 47, 12, 26, 12),
        (0.300, 0.296, 0.304, 0.522, 0.623, 0.698, 0.652, 0.704, 0.634, 0.546, 0.247, 0.393),
        (0.086, 0.059, 0.150, 0.066, 0.063, 0.062, 0.073, 0.054, 0.069, 0.065, 0.082, 0.113),
    ),
    "grassland": Cover(
        (m.GRASS,),
        (113, 87, 83, 57, 103, 248, 302, 299, 338, 97, 189, 90),
        (3, 8, 11, 14, 17, 37, 44, 48, 47, 11, 38, 23),
        (0.138, 0.167, 0.266, 0.487, 0.644, 0.675, 0.627, 0.648, 0.653, 0.610, 0.062, 0.295),
        (0.077, 0.073, 0.078, 0.078, 0.074, 0.073, 0.077, 0.071, 0.069, 0.090, 0.089, 0.107),
    ),
    "shrubland": Cover(
        (m.SHRUB,),
        (111, 79, 69, 43, 80, 216, 272, 265, 303, 88, 144, 64),
        (3, 4, 7, 8, 14, 28, 34, 39, 38, 11, 33, 18),
        (0.234, 0.239, 0.214, 0.482, 0.627, 0.697, 0.668, 0.711, 0.644, 0.578, 0.202, 0.298),
        (0.092, 0.063, 0.090, 0.069, 0.048, 0.050, 0.065, 0.045, 0.059, 0.059, 0.106, 0.112),
    ),
    "artificial surface": Cover(
        (m.URBAN,),
        (116, 95, 87, 68, 102, 220, 266, 256, 293, 86, 171, 92),
        (4, 13, 16, 21, 18, 32, 39, 46, 43, 12, 33, 21),
        (0.156, 0.179, 0.270, 0.400, 0.506, 0.533, 0.519, 0.557, 0.539, 0.475, 0.115, 0.263),
        (0.080, 0.064, 0.137, 0.096, 0.094, 0.095, 0.098, 0.102, 0.091, 0.093, 0.096, 0.106),
    ),
}
"""Real land uses at the top of the atmosphere; cultivated land is 11 pixels only."""

CORRELATION = (0.946, 0.782, 0.870, 0.840, 0.938, 0.918, 0.912, 0.849, 0.920, 0.961, 0.957, 0.946)
"""Correlation of neighbours in a row on the 10 m grid by band, mean of the three scenes."""

CLOUDS = (0.00, 0.13, 0.69, 0.42, 0.24, 0.55, 0.32, 0.28, 0.55, 0.25, 0.67, 0.52)
"""Mean cloud share by month, January first."""
CLOUD_DATES = (4, 2, 4, 4, 6, 5, 9, 9, 9, 4, 3, 9)
"""Number of dates behind each mean."""
CLOUD_LEVELS = {"below 5 %": 30, "5 to 20 %": 6, "20 to 50 %": 5, "50 to 80 %": 6, "above 80 %": 21}
"""Number of the 68 real dates by cloud share."""
_LEVEL_EDGES = (-0.01, 0.05, 0.2, 0.5, 0.8, 1.01)

_GROWING = (5, 6, 7, 8, 9)
_CLOUD_CODES = (8, 9, 10)
_CLEAR = 0.6  # share of the scene that a date must show to be compared
_WINDOW_PX = 100  # side of the real patch


def compare(series: xr.Dataset) -> dict[str, pd.DataFrame]:
    """Put a twin's series beside the real measurements.

    Args:
        series: ``image (time, band, y, x)`` with all twelve bands as surface reflectance at 10 m, ``clear
            (time, y, x)`` bool and ``truth (y, x)`` class index, read one date at a time. With ``scl (time,
            y, x)`` clouds are its codes 8 to 10 as in the real cloud masks, else whatever is not clear.

    Returns:
        Tidy tables, each with a column ``source`` of "real" or "twin": ``bands`` (cover, band, mean, sd),
        ``correlation`` (band, correlation), ``ndvi`` (cover, month, mean, sd, dates), ``clouds`` (month,
        share, dates), ``cloud_levels`` (level, share of the dates). Reflectance and NDVI are at the top of
        the atmosphere.
    """
    truth = np.asarray(series["truth"])
    spectra, curves, neighbours, clouds = [], [], [], []
    for k, time in enumerate(pd.DatetimeIndex(series["time"].values)):
        clear = np.asarray(series["clear"].isel(time=k))
        scl = np.asarray(series["scl"].isel(time=k)) if "scl" in series else np.where(clear, 4, 8)
        clouds.append((time.month, float(np.isin(scl, _CLOUD_CODES).sum() / max(1, (scl > 0).sum()))))
        if clear.mean() < _CLEAR:
            continue
        surface = np.asarray(series["image"].isel(time=k).sel(band=list(BANDS)), np.float32)
        image = to_top_of_atmosphere(surface)
        seen = clear & np.isfinite(image).all(axis=0)
        curves += _ndvi_rows(image, seen, truth, time.month)
        if time.month in _GROWING:
            spectra += _band_rows(image, seen, truth)
            neighbours += _window_correlations(image, seen, truth)
    return {
        "bands": pd.concat([_real_bands(), _mean_of(spectra, ["cover", "band"])], ignore_index=True),
        "correlation": pd.concat([_real_correlation(), _mean_of(neighbours, ["band"])], ignore_index=True),
        "ndvi": pd.concat([_real_ndvi(), _mean_of(curves, ["cover", "month"], "dates")], ignore_index=True),
        "clouds": pd.concat([_real_clouds(), _twin_clouds(clouds)], ignore_index=True),
        "cloud_levels": _cloud_levels([share for _, share in clouds]),
    }


def side_by_side(table: pd.DataFrame, value: str = "mean") -> pd.DataFrame:
    """Return a table of :func:`compare` with real and twin in columns, and their difference.

    Args:
        table: One of the tidy tables.
        value: The column to compare, for example ``mean``, ``sd``, ``correlation`` or ``share``.
    """
    known = ("source", "mean", "sd", "dates", "share", "correlation")
    keys = [name for name in table.columns if name not in known]
    wide = table.pivot_table(index=keys, columns="source", values=value, sort=False)
    wide = wide.reindex(columns=["real", "twin"])
    wide["difference"] = wide["twin"] - wide["real"]
    return wide.reset_index().rename_axis(columns=None)


def _ndvi_rows(image: Array, seen: Array, truth: Array, month: int) -> list[dict]:
    red, infrared = image[BANDS.index("B04")], image[BANDS.index("B08")]
    ndvi = (infrared - red) / np.maximum(infrared + red, 1e-6)
    rows = []
    for name, real in REAL.items():
        inside = seen & np.isin(truth, real.classes)
        if inside.sum() >= 50:
            value = ndvi[inside]
            rows.append({"cover": name, "month": month, "mean": value.mean(), "sd": value.std()})
    return rows


def _band_rows(image: Array, seen: Array, truth: Array) -> list[dict]:
    rows = []
    for name, real in REAL.items():
        inside = seen & np.isin(truth, real.classes)
        if inside.sum() >= 50:
            for band, values in zip(BANDS, image, strict=True):
                value = values[inside]
                rows.append({"cover": name, "band": band, "mean": value.mean(), "sd": value.std()})
    return rows


def _window_correlations(image: Array, seen: Array, truth: Array) -> list[dict]:
    """Return lag-1 correlations of windows of 1 km² that hold the covers of the real patch, nearly clear."""
    known = np.isin(truth, [k for real in REAL.values() for k in real.classes])
    height, width = truth.shape
    step = min(_WINDOW_PX, height, width)
    rows = []
    for top in range(0, height - step + 1, step // 2):
        for left in range(0, width - step + 1, step // 2):
            window = (slice(top, top + step), slice(left, left + step))
            if (seen & known)[window].mean() > 0.9:
                pair = (seen & known)[window]
                both = pair[:, 1:] & pair[:, :-1]
                for band, values in zip(BANDS, image, strict=True):
                    part = values[window]
                    value = np.corrcoef(part[:, :-1][both], part[:, 1:][both])[0, 1]
                    rows.append({"band": band, "correlation": value})
    return rows


def _mean_of(rows: list[dict], keys: list[str], count: str = "") -> pd.DataFrame:
    """Return the means of rows with the same keys as table of the twin."""
    if not rows:
        return pd.DataFrame(columns=["source", *keys])
    groups = pd.DataFrame(rows).groupby(keys, sort=False)
    table = groups.mean()
    if count:
        table[count] = groups.size()
    table = table.reset_index()
    table.insert(0, "source", "twin")
    return table


def _real_bands() -> pd.DataFrame:
    rows = [
        {"source": "real", "cover": name, "band": band, "mean": mean / 1000, "sd": sd / 1000}
        for name, real in REAL.items()
        for band, mean, sd in zip(BANDS, real.mean, real.sd, strict=True)
    ]
    return pd.DataFrame(rows)


def _real_correlation() -> pd.DataFrame:
    return pd.DataFrame({"source": "real", "band": BANDS, "correlation": CORRELATION})


def _real_ndvi() -> pd.DataFrame:
    rows = [
        {"source": "real", "cover": name, "month": month, "mean": mean, "sd": sd}
        for name, real in REAL.items()
        for month, (mean, sd) in enumerate(zip(real.ndvi, real.ndvi_sd, strict=True), 1)
    ]
    return pd.DataFrame(rows)


def _real_clouds() -> pd.DataFrame:
    months = range(1, 13)
    return pd.DataFrame({"source": "real", "month": months, "share": CLOUDS, "dates": CLOUD_DATES})


def _twin_clouds(rows: list[tuple[int, float]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["month", "share"]).groupby("month")["share"]
    result = table.agg(share="mean", dates="size").reset_index()
    result.insert(0, "source", "twin")
    return result


def _cloud_levels(shares: list[float]) -> pd.DataFrame:
    """Return the share of the dates at each level of cloudiness."""
    levels = pd.cut(shares, _LEVEL_EDGES, labels=list(CLOUD_LEVELS))
    twin = pd.Series(levels).value_counts(normalize=True).reindex(list(CLOUD_LEVELS))
    real = pd.Series(CLOUD_LEVELS) / sum(CLOUD_LEVELS.values())
    tables = [
        pd.DataFrame({"source": source, "level": list(CLOUD_LEVELS), "share": values.to_numpy()})
        for source, values in (("real", real), ("twin", twin))
    ]
    return pd.concat(tables, ignore_index=True)
