"""How often each class occurs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from eolab.data.schemes import ClassScheme


def class_frequencies(labels: Any, scheme: ClassScheme, split: Any = None) -> pd.DataFrame:
    """Return how many patches hold each class.

    Args:
        labels: Which classes each patch has, (N, K).
        scheme: Names of the classes.
        split: Split of each patch (N,); None for no columns by split.

    Returns:
        A row a class, the most frequent first: class, patches, share, and the patches of each split.
    """
    held = np.asarray(labels).astype(bool)
    table = pd.DataFrame({"class": scheme.names, "patches": held.sum(axis=0), "share": held.mean(axis=0)})
    if split is not None:
        names = np.asarray(split, str)
        for name in pd.unique(names):
            table[name] = held[names == name].sum(axis=0)
    return table.sort_values("patches", ascending=False, kind="stable").reset_index(drop=True)
