"""Domain functions of the flood study (SEN12-FLOOD).

Each image of a scene tells whether a flood has been seen there by its day (Rambour et al. 2020,
https://doi.org/10.5194/isprs-archives-XLIII-B2-2020-1343-2020).
"""

from eolab.flood.samples import sample_producer, sample_table, split_column, store_arrays, store_metadata
from eolab.flood.sensors import RADAR_FLOOR_DB, Optical, Radar

__all__ = [
    "RADAR_FLOOR_DB",
    "Optical",
    "Radar",
    "sample_producer",
    "sample_table",
    "split_column",
    "store_arrays",
    "store_metadata",
]
