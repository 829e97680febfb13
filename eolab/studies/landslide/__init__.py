"""Domain functions of the landslide study (Landslide4Sense).

Landslides are marked pixel by pixel in patches of Sentinel-2 bands, slope and elevation (Ghorbanzadeh et al.
2022, https://doi.org/10.1109/TGRS.2022.3215209).
"""

from eolab.studies.landslide import channels, explore, folds, report, samples, source, techniques
from eolab.studies.landslide.samples import sample_producer, sample_table, store_arrays, store_metadata
