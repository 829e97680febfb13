"""Baselines that the study adds to those of every segmentation: a rule on slope and NDVI, pixel boosting."""

from __future__ import annotations

from functools import partial

from eolab.studies.landslide.channels import GROUPS
from eolab.tasks.baselines import Maker, pixel_boosting, threshold_rule

# Values of the pixel itself: no neighbourhood, no minimum or maximum of its patch
PIXEL_CHANNELS = (*GROUPS["bands"], *GROUPS["indices"])
BASELINES: dict[str, Maker] = {
    "slope_ndvi_rule": threshold_rule({"slope": ">=", "NDVI": "<="}),
    "pixel_boosting": partial(pixel_boosting, channels=PIXEL_CHANNELS),
}
