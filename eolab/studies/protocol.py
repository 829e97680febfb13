"""What a study has to give so that its data become a sample store.

A study is a folder of notebooks with a ``study.yaml`` (see :mod:`eolab.runs.study`) and four functions. Its
notebook ``02_preprocess`` calls them in this order::

    table = my_study.sample_table(index, ...)           # a row a sample
    arrays = my_study.store_arrays(...)                 # what is stored of a sample
    store.write_store(
        run.path("store"), table, arrays, "part",
        produce=my_study.sample_producer(...),          # reads and computes the samples of a part
        fingerprint={"data": store.fingerprint_files(entry.path), ...},
        metadata=my_study.store_metadata(entry, ...),   # what the store says of itself
    )

Each takes what its own data need: their arguments differ, what they return does not.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import pandas as pd

from eolab.data.store import ArraySpec


class Produce(Protocol):
    """Return the arrays of the samples of one part, each ``(rows, *shape)`` as ``store_arrays`` says.

    The same rows give the same arrays, so that an interrupted store resumes; several threads may call it.
    """

    def __call__(self, rows: pd.DataFrame) -> Mapping[str, np.ndarray]:
        """Read and compute the samples of a part."""


class Study(Protocol):
    """The four functions of a study; its package is an instance."""

    def sample_table(self, *data: Any, **options: Any) -> pd.DataFrame:
        """Return the samples, a row a sample; those that cannot be used are left out.

        Columns: ``id`` (unique whole numbers), ``part`` (what is read and written at once, such as a scene or
        some patches), and what splits, groups and scores need: a place, a date, a label, a published split.
        """

    def store_arrays(self, *data: Any, **options: Any) -> dict[str, ArraySpec]:
        """Return what is stored of a sample: name → dims, shape, type, units and whether NaN is allowed.

        ``image`` holds what a model reads and ``label`` what it learns; masks have names of their own.
        """

    def sample_producer(self, *data: Any, **options: Any) -> Produce:
        """Return the function ``produce`` that reads and computes the samples of a part."""

    def store_metadata(self, *data: Any, **options: Any) -> dict[str, Any]:
        """Return what the store says of itself, as plain values.

        ``coords`` has the values of the dims (band names, ISO dates, class names), ``dataset`` the name of
        the entry in the catalogue; the entry's ``origin`` tells licence and whether data are simulated.
        """
