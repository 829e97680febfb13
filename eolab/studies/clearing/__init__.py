"""Study: need for forest clearing from Sentinel-2, for whole stands and in degrees of each pixel."""

from eolab.studies.clearing import experiment, explore, samples, truth
from eolab.studies.clearing.samples import sample_producer, sample_table, store_arrays, store_metadata

__all__ = [
    "experiment",
    "explore",
    "sample_producer",
    "sample_table",
    "samples",
    "store_arrays",
    "store_metadata",
    "truth",
]
