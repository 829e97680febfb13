"""Domain functions of the scenes study (BigEarthNet): which land-cover classes a patch of 1.2 km has.

Sumbul et al. 2019 (https://doi.org/10.1109/IGARSS.2019.8900532) and, version 2, Clasen et al. 2024
(https://doi.org/10.48550/arXiv.2407.03653).
"""

from eolab.studies.scenes import explore, maps, samples
from eolab.studies.scenes.samples import sample_producer, sample_table, store_arrays, store_metadata
