"""The sample store: what preprocessing ends in and all that training reads.

A store is a folder of uncompressed ``.npy`` arrays (memory-mapped, samples first, bands last),
``samples.parquet`` (one row a sample, in the order of the arrays) and ``store.json`` (schema, fingerprint,
coordinates, statistics, provenance).

Example:
    >>> store = write_store("data/pixels", table, arrays, "part", produce, fingerprint, metadata)
    >>> store.gather(store.indices("train")[:32])["image"].shape
    (32, 20, 12)
"""

from eolab.data.fingerprints import fingerprint_array, fingerprint_files
from eolab.data.store.grouped import GroupedStore
from eolab.data.store.layout import ArraySpec, required_bytes
from eolab.data.store.reading import Store, days, open_store, with_day
from eolab.data.store.writing import write_store
