"""Domain functions of the land-cover study.

The study brings a CORINE map up to date by classifying Sentinel-2 time series pixel by pixel, following
Paris, Bruzzone and Fernández-Prieto (2019, https://doi.org/10.1109/TGRS.2018.2890404): the old map gives the
labels, the series gives the features, and the learned map replaces the old one.
"""

from eolab.data.schemes import scheme_of
from eolab.studies.landcover.maps import area_table, change_table, map_scores, unseen_blocks
from eolab.studies.landcover.samples import (
    connected_groups,
    default_block_m,
    keep_draws_apart,
    prior_weights,
    sample_producer,
    sample_table,
    store_arrays,
    store_metadata,
    window_reader,
)
from eolab.studies.landcover.series import open_series, overview, reopen_series
from eolab.studies.landcover.twin import twin_and_real

__all__ = [
    "area_table",
    "change_table",
    "connected_groups",
    "default_block_m",
    "keep_draws_apart",
    "map_scores",
    "open_series",
    "overview",
    "prior_weights",
    "reopen_series",
    "sample_producer",
    "sample_table",
    "scheme_of",
    "store_arrays",
    "store_metadata",
    "twin_and_real",
    "unseen_blocks",
    "window_reader",
]
