"""Domain functions of the scenes study (BigEarthNet): which land-cover classes a patch of 1.2 km holds.

Sumbul et al. 2019 (https://doi.org/10.1109/IGARSS.2019.8900532) and, version 2, Clasen et al. 2024
(https://doi.org/10.48550/arXiv.2407.03653).
"""

from eolab.data.splits import balanced_rows, positive_weights
from eolab.studies.scenes import explore, maps, report
from eolab.studies.scenes.balance import class_frequencies
from eolab.studies.scenes.choices import (
    Timed,
    colours,
    counted_classes,
    likeness,
    regrouped,
    split_rows,
    take,
    telling,
)
from eolab.studies.scenes.samples import (
    encode,
    projection,
    sample_producer,
    sample_table,
    split_column,
    store_arrays,
    store_metadata,
)

__all__ = [
    "Timed",
    "balanced_rows",
    "class_frequencies",
    "colours",
    "counted_classes",
    "encode",
    "explore",
    "likeness",
    "maps",
    "positive_weights",
    "projection",
    "regrouped",
    "report",
    "sample_producer",
    "sample_table",
    "split_column",
    "split_rows",
    "store_arrays",
    "store_metadata",
    "take",
    "telling",
]
