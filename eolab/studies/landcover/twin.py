"""The twin of the study compared with real samples.

The samples (``real_samples.csv``) come from a patch of 1 km² in Slovenia (eo-learn's TestEOPatch, MIT
licence, Sinergise; contains Copernicus Sentinel data and Slovenian land-use data RABA): NDVI and cloud masks
of 68 dates from July 2015 to December 2017, and five cloud-free Level-1C images with 13 bands, of which the
three of the growing season are used. Cultivated land is 11 pixels only. Level-1C is reflectance at the top of
the atmosphere; the twin is converted to it with :func:`eolab.synthetic.materials.to_top_of_atmosphere`.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from eolab.data.schemes import scheme_of
from eolab.data.schemes.landcover import LANDCOVER
from eolab.studies.landcover.series import renumbered
from eolab.synthetic.materials import BANDS, Array, to_top_of_atmosphere

Row = tuple[str, str, Any, float, float]  # quantity, cover, band or month, value, standard deviation

REAL = pd.read_csv(
    Path(__file__).with_name("real_samples.csv"), keep_default_na=False, na_values={"sd": "", "dates": ""}
)
"""Real values by quantity, cover and key (band or month), with their spread between pixels, and dates."""
COVERS = {
    "cultivated land": ("Not irrigated crops", "Annual crops"),
    "forest": ("Broadleaves", "Conifers"),
    "grassland": ("Grass",),
    "shrubland": ("Shrub",),
    "artificial surface": ("Urban",),
}
"""Classes of the twin that each real land use is compared with."""

_INDICES = {cover: [LANDCOVER.names.index(name) for name in names] for cover, names in COVERS.items()}
_KNOWN = [index for indices in _INDICES.values() for index in indices]
_GROWING = (5, 6, 7, 8, 9)
_CLOUD_CODES = (8, 9, 10)
_CLEAR = 0.6  # share of the scene that a date must show to be compared
_MIN_PX = 50
_WINDOW_PX = 100  # side of the real patch


def twin_and_real(series: xr.Dataset) -> dict[str, pd.DataFrame]:
    """Compare a twin's series with the real samples that it was calibrated on, one table per quantity.

    Args:
        series: Result of ``open_series`` on a twin with all twelve bands at 10 m.

    Returns:
        By title: what the values are given over (band or month), ``simulated`` and ``real``, and, where a
        spread is known, the mean minus and plus one standard deviation of both.
    """
    table = compare(series.assign(truth=_truth_of_the_twin(series)))
    for end, sign in (("low", -1), ("high", 1)):
        for side in ("simulated", "real"):
            table[f"{side}_{end}"] = table[side] + sign * table[f"{side}_sd"]
    panels = {}
    for (quantity, cover), rows in table.groupby(["quantity", "cover"], sort=False):
        over = "month" if "month" in str(quantity) else "band"
        panel = rows.drop(columns=["quantity", "cover", "simulated_sd", "real_sd"])
        if panel["simulated"].notna().any():
            panel = panel.dropna(axis=1, how="all").rename(columns={"key": over})
            panel = panel.reset_index(drop=True).infer_objects()
            panels[f"{quantity}, {cover}" if cover else str(quantity)] = panel
    return panels


def compare(series: xr.Dataset) -> pd.DataFrame:
    """Compare a twin's series with the real samples.

    Args:
        series: ``image (time, band, y, x)`` with all twelve bands as surface reflectance at 10 m, ``clear
            (time, y, x)`` bool and ``truth (y, x)`` index of the class in ``LANDCOVER``, read one date at a
            time. With ``scl (time, y, x)`` clouds are its codes 8 to 10 as in the real cloud masks, else
            whatever is not clear.

    Returns:
        Columns quantity, cover, key (band or month), simulated, simulated_sd, real, real_sd. Reflectance and
        NDVI are at the top of the atmosphere.
    """
    truth = np.asarray(series["truth"])
    rows: list[Row] = []
    for k, time in enumerate(pd.DatetimeIndex(series["time"].values)):
        clear = np.asarray(series["clear"].isel(time=k))
        scl = np.asarray(series["scl"].isel(time=k)) if "scl" in series else np.where(clear, 4, 8)
        share = np.isin(scl, _CLOUD_CODES).sum() / max(1, (scl > 0).sum())
        rows.append(("cloud share by month", "", time.month, float(share), np.nan))
        if clear.mean() < _CLEAR:
            continue
        surface = np.asarray(series["image"].isel(time=k).sel(band=list(BANDS)), np.float32)
        image = to_top_of_atmosphere(surface)
        seen = clear & np.isfinite(image).all(axis=0)
        red, infrared = image[BANDS.index("B04")], image[BANDS.index("B08")]
        ndvi = (infrared - red) / np.maximum(infrared + red, 1e-6)
        rows += _by_cover("NDVI by month", {time.month: ndvi}, seen, truth)
        if time.month in _GROWING:
            rows += _by_cover("reflectance", dict(zip(BANDS, image, strict=True)), seen, truth)
            rows += _window_correlations(image, seen & np.isin(truth, _KNOWN))
    keys = ["quantity", "cover", "key"]
    real = REAL.assign(key=[int(key) if key.isdigit() else key for key in REAL["key"]])
    real = real.set_index(keys)[["value", "sd"]].set_axis(["real", "real_sd"], axis=1)
    twin = pd.DataFrame(rows, columns=[*keys, "simulated", "simulated_sd"]).groupby(keys, sort=False).mean()
    return real.join(twin).reset_index()[[*keys, "simulated", "simulated_sd", "real", "real_sd"]]


def _by_cover(quantity: str, fields: dict[Any, Array], seen: Array, truth: Array) -> list[Row]:
    """Return mean and standard deviation of fields (y, x) over the seen pixels of each land use."""
    rows: list[Row] = []
    for cover, classes in _INDICES.items():
        inside = seen & np.isin(truth, classes)
        if inside.sum() >= _MIN_PX:
            values = {key: field[inside] for key, field in fields.items()}
            rows += [(quantity, cover, key, value.mean(), value.std()) for key, value in values.items()]
    return rows


def _window_correlations(image: Array, known: Array) -> list[Row]:
    """Return lag-1 correlations of windows of 1 km² that hold the covers of the real patch, nearly clear."""
    height, width = known.shape
    step = min(_WINDOW_PX, height, width)
    rows: list[Row] = []
    for top in range(0, height - step + 1, step // 2):
        for left in range(0, width - step + 1, step // 2):
            window = (slice(top, top + step), slice(left, left + step))
            pair = known[window]
            if pair.mean() > 0.9:
                both = pair[:, 1:] & pair[:, :-1]
                for band, values in zip(BANDS, image, strict=True):
                    part = values[window]
                    value = np.corrcoef(part[:, :-1][both], part[:, 1:][both])[0, 1]
                    rows.append(("neighbour correlation", "", band, value, np.nan))
    return rows


def _truth_of_the_twin(series: xr.Dataset) -> xr.DataArray:
    """Return the truth as indices of all twelve classes; ``open_series`` numbers only those it keeps."""
    codes = enumerate(scheme_of(series).codes)
    return renumbered(series["truth"], {index: LANDCOVER.index_of(code) for index, code in codes})
