"""Domain functions of the landslide study (Landslide4Sense).

Landslides are marked pixel by pixel in patches of Sentinel-2 bands, slope and elevation (Ghorbanzadeh et al.
2022, https://doi.org/10.1109/TGRS.2022.3215209).
"""

from eolab.studies.landslide import channels, explore, folds, report, techniques
from eolab.studies.landslide.channels import select
from eolab.studies.landslide.samples import (
    CLASSES,
    FOLDS,
    demo_predict,
    fold_rows,
    labels,
    rows_of,
    sample_producer,
    sample_table,
    split_column,
    store_arrays,
    store_metadata,
)

__all__ = [
    "CLASSES",
    "FOLDS",
    "channels",
    "demo_predict",
    "explore",
    "fold_rows",
    "folds",
    "labels",
    "report",
    "rows_of",
    "sample_producer",
    "sample_table",
    "select",
    "split_column",
    "store_arrays",
    "store_metadata",
    "techniques",
]
