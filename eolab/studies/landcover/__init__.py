"""Domain functions of the land-cover study.

The study brings a CORINE map up to date by classifying Sentinel-2 time series pixel by pixel, following
Paris, Bruzzone and Fernández-Prieto (2019, https://doi.org/10.1109/TGRS.2018.2890404): the old map gives the
labels, the series gives the features, and the learned map replaces the old one.
"""

from eolab.studies.landcover import labels, maps, patches, samples, series, together, twin, validation
from eolab.studies.landcover.samples import sample_producer, sample_table, store_arrays, store_metadata
