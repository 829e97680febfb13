"""The twin of the study beside real samples."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from eolab.data.schemes import IGNORE, scheme_of
from eolab.data.schemes.landcover import LANDCOVER
from eolab.synthetic import calibration


def twin_and_real(series: xr.Dataset) -> dict[str, pd.DataFrame]:
    """Put a twin's series beside the real samples that it was calibrated on, a table a quantity.

    Args:
        series: Result of ``open_series`` on a twin with all twelve bands at 10 m.

    Returns:
        By title: what the values are given over (band or month), ``simulated`` and ``real``, and, where a
        spread is known, the mean minus and plus one standard deviation of both.
    """
    tables = calibration.compare(series.assign(truth=_truth_of_the_twin(series)))
    panels: dict[str, pd.DataFrame] = {}
    for cover in tables["bands"]["cover"].unique():
        for name, over, title in (("bands", "band", "reflectance"), ("ndvi", "month", "NDVI by month")):
            rows = tables[name][tables[name]["cover"] == cover]
            panels[f"{title}, {cover}"] = _with_spread(rows, over)
    panels["neighbour correlation"] = _wide(tables["correlation"], "band", "correlation")
    panels["cloud share by month"] = _wide(tables["clouds"], "month", "share")
    return {title: table for title, table in panels.items() if table["simulated"].notna().any()}


def _truth_of_the_twin(series: xr.Dataset) -> xr.DataArray:
    """Return the truth as indices of all twelve classes; ``open_series`` numbers only those it keeps."""
    lookup = np.full(256, IGNORE, np.uint8)
    codes = scheme_of(series).codes
    lookup[: len(codes)] = [LANDCOVER.index_of(code) for code in codes]
    return series["truth"].copy(data=lookup[np.asarray(series["truth"])])


def _wide(rows: pd.DataFrame, over: str, value: str) -> pd.DataFrame:
    wide = rows.pivot_table(index=over, columns="source", values=value, sort=False)
    return wide.reindex(columns=["twin", "real"]).set_axis(["simulated", "real"], axis=1).reset_index()


def _with_spread(rows: pd.DataFrame, over: str) -> pd.DataFrame:
    mean, spread = (_wide(rows, over, value).set_index(over) for value in ("mean", "sd"))
    sides = {f"{side}_low": mean[side] - spread[side] for side in mean}
    sides |= {f"{side}_high": mean[side] + spread[side] for side in mean}
    return mean.assign(**sides).reset_index()
