"""Domain functions of the flood study (SEN12-FLOOD).

Each image of a sequence tells whether a flood has been seen there by its day (Rambour et al. 2020,
https://doi.org/10.5194/isprs-archives-XLIII-B2-2020-1343-2020).
"""

from eolab.studies.flood import baselines, delay, explore, samples, scoring, source
from eolab.studies.flood.samples import sample_producer, sample_table, store_arrays, store_metadata
