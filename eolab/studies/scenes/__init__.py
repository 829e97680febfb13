"""Domain functions of the scenes study (BigEarthNet): which land-cover classes a patch of 1.2 km has.

Sumbul et al. 2019 (https://doi.org/10.1109/IGARSS.2019.8900532) and, version 2, Clasen et al. 2024
(https://doi.org/10.48550/arXiv.2407.03653).
"""

from eolab.studies.scenes import explore, literature, maps
from eolab.studies.scenes.balance import class_frequencies
from eolab.studies.scenes.choices import (
    TimedProducer,
    counted_classes,
    examples,
    image_features,
    split_rows,
    subset,
    true_colour,
    with_classes,
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
    "TimedProducer",
    "class_frequencies",
    "counted_classes",
    "encode",
    "examples",
    "explore",
    "image_features",
    "literature",
    "maps",
    "projection",
    "sample_producer",
    "sample_table",
    "split_column",
    "split_rows",
    "store_arrays",
    "store_metadata",
    "subset",
    "true_colour",
    "with_classes",
]
