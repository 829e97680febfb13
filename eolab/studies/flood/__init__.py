"""Domain functions of the flood study (SEN12-FLOOD).

Each image of a sequence tells whether a flood has been seen there by its day (Rambour et al. 2020,
https://doi.org/10.5194/isprs-archives-XLIII-B2-2020-1343-2020).
"""

from eolab.data.sensors import RADAR_FLOOR_DB, Optical, Radar
from eolab.studies.flood import baselines, delay, explore, report, scoring
from eolab.studies.flood.image_tables import features, image_table
from eolab.studies.flood.predictions import make_sequences, predict, select, sequences_of
from eolab.studies.flood.samples import (
    fingerprint,
    nearest_training,
    sample_producer,
    sample_table,
    sequence_places,
    sequence_splits,
    store_arrays,
    store_metadata,
)

__all__ = [
    "RADAR_FLOOR_DB",
    "Optical",
    "Radar",
    "baselines",
    "delay",
    "explore",
    "features",
    "fingerprint",
    "image_table",
    "make_sequences",
    "nearest_training",
    "predict",
    "report",
    "sample_producer",
    "sample_table",
    "scoring",
    "select",
    "sequence_places",
    "sequence_splits",
    "sequences_of",
    "store_arrays",
    "store_metadata",
]
